//! The rules of the house that the compiler does not know: DESIGN, section 3, as tests.
//!
//! Each rule is a function from names and texts to what breaks it, and each is shown a breach, so that none of
//! them is a test that cannot fail.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is in a checkout and not its sources.
const NOT_SOURCES: [&str; 4] = [".git", "target", "dist", "raw"];

/// What the agent must not name: the clock, the hardware and the heap of whatever runs it.
const FOREIGN_TO_THE_AGENT: [&str; 12] = [
    "std::",
    "alloc::",
    "extern crate",
    "core::arch",
    "asm!",
    "x86_64::",
    "virtio_drivers",
    "Instant::now",
    "SystemTime",
    "static mut",
    "as *const",
    "as *mut",
];

/// The members of the workspace that each member may use. Everything else would be a circle, or hardware and host
/// code reaching the agent.
const DIRECTIONS: [(&str, &[&str]); 6] = [
    ("outpost-wire", &[]),
    ("outpost-qemu", &[]),
    ("outpost-uefi", &[]),
    ("outpost-bench", &["outpost", "outpost-cli", "outpost-qemu", "outpost-wire"]),
    ("outpost", &["outpost-wire"]),
    ("outpost-cli", &["outpost", "outpost-qemu", "outpost-wire"]),
];

/// What may name the hardware, and nothing else: the image, and the loader of its disk.
const MACHINES: [&str; 2] = ["cfg(target_os = \"none\")", "cfg(target_os = \"uefi\")"];

/// Crates that know the hardware: they belong to the image, never to the agent.
const HARDWARE: [&str; 5] = ["x86_64", "virtio-drivers", "acpi", "uefi", "uart_16550"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file below `folder` with its path from the root of the checkout and its text.
fn files(folder: &str, extension: &str) -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if NOT_SOURCES.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(extension) {
                let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
                found.push((path.strip_prefix(&root).unwrap().to_string_lossy().into_owned(), text));
            }
        }
    }
    assert!(!found.is_empty(), "no {extension} file in {folder}: this test looks in the wrong place");
    found
}

/// The workspace as cargo sees it.
fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn assert_none(breaches: Vec<String>) {
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

/// A file whose first line does not say what the file is for.
fn without_doc(files: &[(String, String)]) -> Vec<String> {
    let silent = files.iter().filter(|(_, text)| !text.starts_with("//! "));
    silent.map(|(path, _)| format!("{path} does not begin with a `//!` doc")).collect()
}

#[test]
fn every_file_says_what_it_is_for() {
    assert_none(without_doc(&files("", ".rs")));
    assert_eq!(without_doc(&[(String::from("a.rs"), String::from("use core::fmt;\n//! late\n"))]).len(), 1);
}

/// The code of a file: without comments, and without its tests, which stand last.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text.get(..end).unwrap_or(text).lines().enumerate();
    lines.map(|(number, line)| (number + 1, line.split("//").next().unwrap_or_default()))
}

/// A line of the agent that names what only its surroundings may know. Files of tests alone may: tests.rs, fixture.rs.
fn foreign_names(files: &[(String, String)]) -> Vec<String> {
    let mut breaches = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| !path.ends_with("/tests.rs") && !path.ends_with("/fixture.rs"))
    {
        for (number, line) in code(text) {
            let foreign = FOREIGN_TO_THE_AGENT.iter().filter(|name| line.contains(**name));
            breaches.extend(foreign.map(|name| format!("{path}:{number}: the agent must not name `{name}`")));
        }
    }
    breaches
}

#[test]
fn the_agent_knows_no_clock_no_hardware_and_no_heap() {
    assert_none(foreign_names(&files("src", ".rs")));
    assert_none(foreign_names(&files("wire/src", ".rs")));
    let bad = "//! doc std::\nlet now = std::time::Instant::now();\n#[cfg(test)]\nmod tests {\nuse std::vec;\n";
    let breaches = foreign_names(&[(String::from("src/a.rs"), String::from(bad))]);
    assert_eq!(breaches.len(), 2, "{breaches:?}");
}

/// A crate outside boot/ whose root does not forbid `unsafe`: the compiler then does the rest.
fn without_forbid(roots: &[(String, String)]) -> Vec<String> {
    let open = roots.iter().filter(|(_, text)| !text.contains("#![forbid(unsafe_code)]"));
    open.map(|(path, _)| format!("{path} does not say `#![forbid(unsafe_code)]`")).collect()
}

#[test]
fn unsafe_is_in_boot_only() {
    let mut roots = Vec::new();
    for package in packages() {
        for target in package["targets"].as_array().unwrap() {
            let path = PathBuf::from(target["src_path"].as_str().unwrap());
            let is_test = target["kind"].as_array().unwrap().iter().any(|kind| kind == "test");
            if !is_test && !path.starts_with(fs::canonicalize(root().join("boot")).unwrap()) {
                roots.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(roots.len() >= 4, "the members of the workspace, only {} crates found", roots.len());
    assert_none(without_forbid(&roots));
    assert_eq!(without_forbid(&[(String::from("a.rs"), String::from("//! a\n"))]).len(), 1);
}

/// A member that uses another against the direction, or brings hardware into the agent.
fn wrong_dependencies(packages: &[Value]) -> Vec<String> {
    let mut breaches = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let Some((_, allowed)) = DIRECTIONS.iter().find(|(member, _)| *member == name) else {
            breaches.push(format!("{name} is a new member: say in DIRECTIONS what it may use"));
            continue;
        };
        for dependency in package["dependencies"].as_array().unwrap().iter().filter(|entry| entry["kind"].is_null()) {
            let used = dependency["name"].as_str().unwrap();
            if used.starts_with("outpost") && !allowed.contains(&used) {
                breaches.push(format!("{name} must not use {used}"));
            }
            let target = dependency["target"].as_str().unwrap_or_default();
            if HARDWARE.contains(&used) && !MACHINES.contains(&target) {
                breaches.push(format!("{name} uses {used}, which is for the image and its loader alone"));
            }
        }
    }
    breaches
}

#[test]
fn members_use_each_other_in_one_direction() {
    assert_none(wrong_dependencies(&packages()));
    let bad = serde_json::json!([
        {"name": "outpost-wire", "dependencies": [{"name": "outpost", "kind": null, "target": null}]},
        {"name": "outpost", "dependencies": [{"name": "x86_64", "kind": null, "target": null}]},
        {"name": "outpost-new", "dependencies": []},
    ]);
    assert_eq!(wrong_dependencies(bad.as_array().unwrap()).len(), 3);
}

/// A file that names a folder of the machine it was written on.
fn machine_paths(files: &[(String, String)]) -> Vec<String> {
    // Put together here, so that this file does not break its own rule.
    let folders = ["work", "root", "home"].map(|name| format!("/{name}/"));
    let mut breaches = Vec::new();
    for (path, text) in files {
        for (number, line) in text.lines().enumerate() {
            if folders.iter().any(|folder| line.contains(folder.as_str())) {
                breaches.push(format!("{path}:{}: names a folder of one machine: {line}", number + 1));
            }
        }
    }
    breaches
}

#[test]
fn no_file_names_a_folder_of_one_machine() {
    assert_none(machine_paths(&files("", "")));
    let bad = format!("see /{}/me/outpost", "home");
    assert_eq!(machine_paths(&[(String::from("README.md"), bad)]).len(), 1);
}

#[test]
fn every_test_file_is_run() {
    // The tests of the checkout are targets of several packages, so cargo does not find them by itself.
    let packages = packages();
    let targets = packages.iter().flat_map(|package| package["targets"].as_array().unwrap());
    let known: Vec<PathBuf> =
        targets.filter_map(|target| fs::canonicalize(target["src_path"].as_str().unwrap()).ok()).collect();
    for (path, _) in files("tests", ".rs") {
        let depth = Path::new(&path).components().count();
        if depth == 2 || (depth == 3 && path.ends_with("/main.rs")) {
            let full = fs::canonicalize(root().join(&path)).unwrap();
            assert!(known.contains(&full), "{path} is in no Cargo.toml: add a [[test]] for it");
        }
    }
}

#[test]
fn the_top_level_is_where_everybody_expects_it() {
    for name in ["Cargo.toml", "src", "boot", "linker.ld", "qemu", "tests", "Makefile", ".ci/run"] {
        assert!(root().join(name).exists(), "{name} is missing at the top of the checkout");
    }
}
