//! Gives the image its linker script and its revision, and refuses a build whose flags would not boot.
//!
//! The script is named here and not in `.cargo/config.toml`, for `[target] rustflags` are dropped without a word
//! when the environment sets RUSTFLAGS; the two code generation flags that can only stand there are checked.
#![forbid(unsafe_code)]

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    // The sources are named because the revision says whether they were changed since the commit.
    for path in ["build.rs", "linker.ld", "Cargo.lock", "boot", "src", "wire"] {
        println!("cargo:rerun-if-changed={path}");
    }
    // Where git keeps them differs in a worktree; a path that does not exist would build everything every time.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists()) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    println!("cargo:rustc-env=OUTPOST_REVISION={}", revision());
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        check_flags();
        let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
        println!("cargo:rustc-link-arg-bins=-T{root}/linker.ld");
        println!("cargo:rustc-link-arg-bins=--orphan-handling=error");
        // linker.ld gives each segment pages of its own in memory. In the file they follow one another: whoever loads a
        // PVH kernel copies it, and maps nothing.
        println!("cargo:rustc-link-arg-bins=-zmax-page-size=16");
    }
}

/// The image is linked at fixed addresses in the top 2 GiB; other code models give an image that dies at its
/// first instruction.
fn check_flags() {
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    for wanted in ["relocation-model=static", "code-model=kernel"] {
        assert!(
            flags.contains(wanted),
            "the image needs `-C {wanted}`, and .cargo/config.toml sets it, but this build lost it: \
             unset RUSTFLAGS and CARGO_ENCODED_RUSTFLAGS (they replace the file's flags) and build again"
        );
    }
}

/// The git revision, short, with `+` when something was changed since; `unknown` outside a checkout.
fn revision() -> String {
    git(&["describe", "--always", "--dirty=+", "--abbrev=10", "--exclude=*"]).unwrap_or_else(|| "unknown".to_owned())
}

/// What git answers.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
