//! Puts the files of a release into the command: those of the folder that OUTPOST_EMBED names (`scripts/dist` makes it).
//!
//! Without that variable nothing is put in. `src/embedded.rs` hands out what was.
#![forbid(unsafe_code)]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=OUTPOST_EMBED");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let folder = env::var_os("OUTPOST_EMBED").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let names = folder.as_deref().map(|folder| copy(folder, &out)).unwrap_or_default();
    let mut list = String::from("&[\n");
    for name in names {
        writeln!(list, "({name:?}, include_bytes!(concat!(env!(\"OUT_DIR\"), \"/embedded/{name}\"))),")
            .expect("memory takes everything");
    }
    fs::write(out.join("embedded.rs"), list + "]\n").expect("OUT_DIR can be written");
}

/// Copies the files to where the compiler sees the same relative path in every checkout; returns their names in order.
fn copy(folder: &Path, out: &Path) -> Vec<String> {
    let out = out.join("embedded");
    fs::create_dir_all(&out).expect("OUT_DIR can be written");
    println!("cargo:rerun-if-changed={}", folder.display());
    let entries = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("OUTPOST_EMBED={}, which cannot be read: {error}", folder.display()));
    let mut names: Vec<String> = entries
        .map(|entry| {
            let path = entry.expect("the folder can be read").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("plain names").to_owned();
            fs::copy(&path, out.join(&name)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            name
        })
        .collect();
    names.sort();
    names
}
