//! The image on real machines: QEMU's boards and cards, translated and under KVM, a real TCP client, a real
//! collector process with its SQLite store.
//!
//! What runs over QEMU's user network here says *that* something works, never how fast (DESIGN 3, "Tests").
//!
//! | file | what it shows |
//! |---|---|
//! | `answers.rs` | every answer is as its schema says, and what `outpost support` and `top` make of them |
//! | `serve.rs` | every machine and card serves, logs, switches off, and comes back after a reset |
//! | `trouble.rs` | what is wrong with a machine stands on its serial console, with the remedy |
//! | `chaos.rs` | a collector killed again and again, a cut link, a reset: every record is accounted for |
//! | `config.rs` | the configuration is read from every source, in its order |
//! | `content.rs` | runbooks and contacts are served with DNS, NTP, gateway and collector gone |
//! | `crash.rs` | whatever ends a boot, the next one has its records and knows how it ended |
//! | `heartbeat.rs` | a job calls home with a real curl, says that it failed, and stays silent |
//! | `history.rs` | a machine that takes the place of another shows the days that the collector's store has |
//! | `identity.rs` | the image id of the file is what `/about` and the collector's store say |
//! | `incidents.rs` | a signed document of a real nginx is taken, shown and kept |
//! | `memory.rs` | no page is writable and executable, in the file and on the running machine |
//! | `platform.rs` | machines without clock chip, timer, ACPI or interrupts serve, and come back after a panic |
//! | `power.rs` | the power button ends the boot in order, whatever else happens |
//! | `resume.rs` | a machine that stood still notices, and copies of one snapshot part |
//! | `names.rs` | host names come from a real dnsmasq, and are kept while it is away |
//! | `host.rs` | `outpost up` and the errors of the host side |
//! | `sink.rs` | records reach a real rsyslog straight from the guest, and are not said to be delivered |
//! | `time.rs` | wall time comes from a real chrony |
//! | `tls.rs` | a real nginx over TLS, good and bad, and /livez meanwhile |
//! | `uefi.rs` | the disk image under OVMF, and what its loader says of broken ones |
//! | `watch.rs` | a real nginx is up, down and up again |
//! | `lab.rs` | what they share: a collector, a guest, an HTTP client |
//!
//! The image is the one that OUTPOST_IMAGE names, else `dist/outpost.elf`: `make image` builds it.

mod answers;
mod chaos;
mod config;
mod content;
mod crash;
#[path = "../support/events.rs"]
mod events;
#[path = "../../cli/tests/support/fill.rs"]
mod fill;
mod heartbeat;
mod history;
mod host;
mod identity;
#[path = "../support/image.rs"]
mod image;
mod incidents;
mod lab;
mod memory;
mod names;
#[allow(dead_code, reason = "other groups look for programs, too")]
#[path = "../support/namespace.rs"]
mod namespace;
#[path = "../support/openapi.rs"]
mod openapi;
mod platform;
mod power;
mod resume;
#[path = "../support/rsyslog.rs"]
mod rsyslog;
mod serve;
mod sink;
#[path = "../support/mod.rs"]
mod support;
mod time;
mod tls;
mod trouble;
mod uefi;
mod watch;
