//! A network namespace for one test and what it starts: ports of its own, and a loopback that is nobody else's.

use crate::support::{Why, left_out};
use nix::sched::{CloneFlags, unshare};
use outpost_qemu::Link;
use std::path::{Path, PathBuf};
use std::{panic, thread};

/// Where Debian puts programs that are not for everyone.
const FOLDERS: [&str; 2] = ["/usr/lib/nagios/plugins", "/usr/sbin"];

/// Runs a test in a namespace of its own, or says why it cannot. `programs` are those that scripts/setup installs.
pub fn in_a_namespace(name: &str, programs: &[&str], test: impl FnOnce() + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        return left_out(Why::NotHere, name, "a network namespace of its own needs root");
    }
    if let Some(missing) = programs.iter().find(|program| find(program).is_none()) {
        return left_out(Why::Skipped, name, &format!("{missing} is not installed: scripts/setup test"));
    }
    // The namespace is this thread's and of what it starts; it is gone with the last of them.
    let test = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        Link::prepare().unwrap();
        test();
    });
    if let Err(panic) = test.join() {
        panic::resume_unwind(panic);
    }
}

/// Where a program is, or something in the checkout that set-up puts there.
pub fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(beside(program)).filter(|path| path.exists());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// A path in this checkout.
pub fn beside(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
