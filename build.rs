//! Gives the image its linker script, its revision and the documents of `schema/`, and refuses a build whose flags
//! would not boot.
//!
//! The script is named here and not in `.cargo/config.toml`, for `[target] rustflags` are dropped without a word
//! when the environment sets RUSTFLAGS; the two code generation flags that can only stand there are checked.
#![forbid(unsafe_code)]

use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// What the image is made of: the revision says whether any of it was changed since the commit.
const SOURCES: [&str; 10] = [
    ".cargo",
    "Cargo.lock",
    "Cargo.toml",
    "boot",
    "build.rs",
    "linker.ld",
    "rust-toolchain.toml",
    "schema",
    "src",
    "wire",
];

/// Digits of the revision: always so many, for git would show more in a repository that has more commits.
const REVISION_DIGITS: usize = 10;

fn main() {
    for path in SOURCES {
        println!("cargo:rerun-if-changed={path}");
    }
    // Where git keeps them differs in a worktree; a path that does not exist would build everything every time.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists()) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    println!("cargo:rustc-env=OUTPOST_REVISION={}", revision());
    pack_documents(Path::new("schema"), Path::new(&env::var("OUT_DIR").expect("cargo sets OUT_DIR")));
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

/// Writes what `src/http/document.rs` serves: each document of `schema/` without its white space and as gzip (the same
/// bytes for the same file, whenever it is built), and the list of them.
fn pack_documents(from: &Path, to: &Path) {
    let mut paths: Vec<_> = fs::read_dir(from)
        .expect("schema/ can be read")
        .map(|entry| entry.expect("schema/ can be read").path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .collect();
    paths.sort();
    let (mut documents, mut list) = (String::new(), Vec::new());
    for path in paths {
        let name = path.file_name().expect("it has a name").to_string_lossy().into_owned();
        let text = fs::read(&path).unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()));
        let document: Value =
            serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{} is not JSON: {error}", path.display()));
        let plain = document.to_string();
        let mut packer = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::best());
        packer.write_all(plain.as_bytes()).expect("memory takes everything");
        fs::write(to.join(&name), packer.finish().expect("memory takes everything")).expect("OUT_DIR can be written");
        let length = plain.len();
        writeln!(
            documents,
            "Document {{ name: {name:?}, length: {length}, gzip: include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}\")) }},"
        )
        .expect("memory takes everything");
        let title = document.pointer("/title").or(document.pointer("/info/title"));
        list.push(json!({ "path": format!("/schema/{name}"), "title": title, "bytes": length }));
    }
    fs::write(to.join("documents.rs"), format!("&[\n{documents}]\n")).expect("OUT_DIR can be written");
    let list = json!({ "documents": list }).to_string() + "\n";
    fs::write(to.join("documents.list"), list).expect("OUT_DIR can be written");
}

/// The git revision, short, with `+` when a source was changed since; `unknown` outside a checkout.
fn revision() -> String {
    let Some(mut revision) = git(&["rev-parse", "HEAD"]) else { return "unknown".to_owned() };
    revision.truncate(REVISION_DIGITS);
    let changed = git(&[&["status", "--porcelain", "--"], SOURCES.as_slice()].concat());
    revision + if changed.is_some_and(|changed| changed.is_empty()) { "" } else { "+" }
}

/// What git answers.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
