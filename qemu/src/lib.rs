//! The QEMU machines that Outpost is run and tested on.
//!
//! One home for everything one has to know about QEMU: a [`Vm`] says what to boot on which [`Machine`], its
//! `start` gives a [`Running`] guest with its serial console, its monitor and its end.
//!
//! ```text
//! Vm ──start──▶ Running ──┬─ serial()   what the guest wrote, live
//!                         ├─ qmp()      power button, reset, monitor commands
//!                         └─ wait_exit  its end; dropping it kills QEMU
//! ```
//!
//! What always holds: every wait has a deadline, what QEMU writes is kept in bounded buffers, only the child
//! started here is ever killed, and an error says what QEMU itself said about it.
#![forbid(unsafe_code)]

mod disk;
mod error;
mod kvm;
mod link;
mod qmp;
mod running;
mod serial;
mod vm;

pub use disk::{Bus, Disk};
pub use error::Error;
pub use kvm::kvm_works;
pub use link::Link;
pub use qmp::Qmp;
pub use running::Running;
pub use serial::Serial;
pub use vm::{Accel, Forward, Machine, Network, Nic, Vm};

/// The program that is started.
pub const PROGRAM: &str = "qemu-system-x86_64";
