//! What a release gives to its user: the static command outside a checkout, its pages and completions as real programs
//! take them, its notices, and the Debian package in a real system.
//!
//! `scripts/dist --light target/dist` makes what is tested here, with the command compiled as tests are; `make dist` makes
//! the same by the same script, compiled for its users.

mod command;
mod package;
#[path = "../support/mod.rs"]
mod support;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// How long any program here may run, in seconds; each is told to be done much earlier.
const PROGRAM_LIMIT: &str = "90";

/// A path in this checkout.
fn beside(path: &str) -> PathBuf {
    std::fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap().join(path)
}

/// A file of the light release.
fn released(name: &str) -> PathBuf {
    let path = beside("target/dist").join(name);
    assert!(path.exists(), "{} is not there. Build it: scripts/dist --light target/dist", path.display());
    path
}

/// The package.
fn package_file() -> PathBuf {
    released(&format!("outpost_{}-1_amd64.deb", env!("CARGO_PKG_VERSION")))
}

/// Whether this machine has a program.
fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// A program with a deadline, without input.
fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", PROGRAM_LIMIT]).arg(name).stdin(Stdio::null());
    command
}

/// Runs a program to its end; both outputs as one text.
fn run(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    (status.code(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

/// What a program that must succeed says.
fn told(command: &mut Command) -> String {
    let (code, text) = run(command);
    assert_eq!(code, Some(0), "{command:?}:\n{text}");
    text
}
