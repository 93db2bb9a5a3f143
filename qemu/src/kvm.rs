//! Whether KVM can run a guest here.

use crate::{Accel, Machine, Vm};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

/// How long a guest must run to be believed.
const TRIAL: Duration = Duration::from_millis(300);

/// Whether QEMU can run a guest under KVM on this host; `Err` says why not. Tried once per process, by starting
/// a machine without an image for a moment: a `/dev/kvm` that can be opened proves nothing about nested hosts.
pub fn kvm_works() -> Result<(), &'static str> {
    static WORKS: OnceLock<Result<(), String>> = OnceLock::new();
    WORKS.get_or_init(try_kvm).as_ref().copied().map_err(String::as_str)
}

fn try_kvm() -> Result<(), String> {
    let vm = Vm { accel: Accel::Kvm, nic: None, kernel: None, ..Vm::new(Machine::Microvm, "") };
    let mut running = vm.start().map_err(|error| error.to_string())?;
    thread::sleep(TRIAL);
    match running.qmp().status() {
        Ok(status) if status == "running" => Ok(()),
        Ok(status) => Err(format!("a guest under KVM stopped with the status {status}.")),
        Err(error) => Err(running.ended().unwrap_or(error).to_string()),
    }
}
