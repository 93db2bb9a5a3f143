//! What `deploy/` and `docs/deploy/` give to users, tried as far as this machine can.
//!
//! | file | what it shows |
//! |---|---|
//! | `libvirt.rs` | a real libvirtd defines, starts, resets, shuts down the shipped domain; no record is lost |
//! | `upgrade.rs` | `upgrade.sh` under load: no request fails, and a new one that is not ready changes nothing |
//! | `host.rs` | what they share: a host of its own, with libvirt's default network |
//!
//! The image is the one that OUTPOST_IMAGE names, else `dist/outpost.elf`: `make image` builds it.

mod host;
#[path = "../support/image.rs"]
mod image;
mod libvirt;
#[path = "../support/mod.rs"]
mod support;
mod upgrade;
