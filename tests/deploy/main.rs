//! What `deploy/` and `docs/deploy/` give to users, tried as far as this machine can.
//!
//! | file | what it shows |
//! |---|---|
//! | `libvirt.rs` | a real libvirtd defines, starts, resets, shuts down the shipped domain; no record is lost |
//! | `upgrade.rs` | `upgrade.sh` under load: no request fails, and a new one that is not ready changes nothing |
//! | `qemu.rs` | every command line of docs/deploy/qemu.md boots what it says |
//! | `alerts.rs` | each alert fires and stays quiet, and asks for metrics that exist |
//! | `kubernetes.rs` | the objects for KubeVirt are what their projects publish |
//! | `vmm.rs` | Firecracker and Cloud Hypervisor boot what is shipped for them, where they are |
//! | `host.rs` | what the first two share: a host of its own, with libvirt's default network |
//! | `guest.rs` | what the others share: a guest on QEMU's user network |
//!
//! The image is the one that OUTPOST_IMAGE names, else `dist/outpost.elf`: `make image` builds it.

mod alerts;
mod guest;
mod host;
#[path = "../support/image.rs"]
mod image;
mod kubernetes;
mod libvirt;
mod qemu;
#[path = "../support/mod.rs"]
mod support;
mod upgrade;
mod vmm;
