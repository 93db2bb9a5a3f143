//! A network of our own: nothing here touches that of the host.
//!
//! The benchmark starts itself again in new network, process and mount namespaces without names. They end with it: however it
//! is ended, the kernel then kills every QEMU, collector and load generator in it and removes the taps.

pub use outpost_qemu::Link;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::{env, fs};

/// The argument by which the second start is known.
pub const INSIDE: &str = "--inside";

/// Open files: 1,000 held connections and as many again of the load generators, with room.
const OPEN_FILES: u32 = 16384;

/// Whether we may do all this; otherwise a sentence says how.
pub fn check_root() -> Result<(), String> {
    // /proc/self belongs to the effective user.
    match fs::metadata("/proc/self").map(|own| own.uid()) {
        Ok(0) => Ok(()),
        _ => Err(String::from(
            "measuring needs root, for a network namespace with taps of its own (the host's network is not touched). \
             Run: sudo make bench",
        )),
    }
}

/// Starts this program again inside. Returns only when that did not work.
pub fn enter() -> String {
    let program = match env::current_exe() {
        Ok(program) => program,
        Err(error) => return format!("this program's own path cannot be read: {error}"),
    };
    let error = Command::new("prlimit")
        .arg(format!("--nofile={OPEN_FILES}"))
        .args("unshare --net --pid --fork --kill-child --mount-proc --".split(' '))
        .arg(program)
        .arg(INSIDE)
        .args(env::args_os().skip(1))
        .exec();
    format!("prlimit and unshare (Debian package util-linux) could not be started: {error}")
}
