//! Two builds of the same sources give the same bytes.
//!
//! The second is made by another user's name and home, from a checkout at another path, with crates unpacked elsewhere,
//! in another time zone and with another umask. Where the bytes differ, the test says in which section.

use crate::folder::{OUTPOST, root};
use object::{Object, ObjectSection};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a build may take; on a quiet machine of two cores it is 40 s.
const BUILD: Duration = Duration::from_secs(1200);

/// How often a build that runs is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What is shown of the first bytes that differ.
const SHOWN: usize = 24;

/// What `git` says in `folder`.
fn git(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("git").current_dir(folder).args(arguments).output().expect("git is installed");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The checkout `from` a second time at `to`, with what was changed in it since its last commit.
fn copy_checkout(from: &Path, to: &Path) {
    git(from, &["clone", "--quiet", "--shared", ".", &to.to_string_lossy()]);
    for name in git(from, &["ls-files", "--cached", "--others", "--exclude-standard", "-z"]).split(|byte| *byte == 0) {
        let name = str::from_utf8(name).unwrap();
        let copy = to.join(name);
        match fs::read(from.join(name)) {
            _ if name.is_empty() => {}
            // Deleted, and not committed yet.
            Err(_) => drop(fs::remove_file(copy)),
            Ok(now) if fs::read(&copy).is_ok_and(|committed| committed == now) => {}
            Ok(now) => {
                fs::create_dir_all(copy.parent().unwrap()).unwrap();
                fs::write(&copy, now).unwrap();
            }
        }
    }
}

/// A home of cargo in which the crates are not unpacked yet. None of them is downloaded again.
fn second_cargo_home(at: &Path) {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.unwrap_or_else(|| std::env::home_dir().unwrap().join(".cargo"));
    fs::create_dir_all(at.join("registry")).unwrap();
    for part in ["cache", "index"] {
        symlink(home.join("registry").join(part), at.join("registry").join(part)).unwrap();
    }
}

/// Runs `command` to its end, with its words in `log`; fails when it does.
fn run(command: &mut Command, log: &Path) {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(log).unwrap());
    let mut child = command.spawn().unwrap();
    let began = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if began.elapsed() > BUILD => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("the build did not end in {BUILD:?}:\n{}", fs::read_to_string(log).unwrap());
            }
            None => sleep(LOOK),
        }
    };
    assert!(status.success(), "{command:?}: {status}\n{}", fs::read_to_string(log).unwrap());
}

/// `outpost image` in the checkout `folder`: everything that it makes, into `out`.
fn image(folder: &Path, out: &Path) -> Command {
    let mut command = Command::new("sh");
    // Another umask: nothing of a file but its bytes may count. The second call builds nothing, it writes the other form.
    let script =
        "umask 077 && \"$0\" image --out \"$1\" --format raw --json && \"$0\" image --out \"$1\" --format qcow2 --json";
    command.args(["-c", script, OUTPOST]).arg(out).current_dir(folder);
    command
}

/// Where two files differ, in words; nothing when they do not.
fn difference(ours: &[u8], other: &[u8]) -> Option<String> {
    if ours == other {
        return None;
    }
    let mut text = format!("{} and {} bytes", ours.len(), other.len());
    let (Ok(a), Ok(b)) = (object::File::parse(ours), object::File::parse(other)) else {
        show(&mut text, "the file", ours, other);
        return Some(text);
    };
    let mut ranges = Vec::new();
    for section in a.sections().filter(|section| section.file_range().is_some()) {
        let name = section.name().unwrap_or("?");
        let data = section.data().unwrap_or_default();
        match b.section_by_name(name) {
            Some(same) => show(&mut text, name, data, same.data().unwrap_or_default()),
            None => text += &format!("\n  {name}: only in the first"),
        }
        ranges.extend(section.file_range());
    }
    if ranges.is_empty() {
        show(&mut text, "the file, which has no sections", ours, other);
    }
    Some(text)
}

/// Adds where two stretches of bytes differ.
fn show(text: &mut String, name: &str, ours: &[u8], other: &[u8]) {
    let differ = |(a, b): (&u8, &u8)| a != b;
    let count = ours.iter().zip(other).filter(|pair| differ(*pair)).count();
    let first = ours.iter().zip(other).position(differ).unwrap_or(ours.len().min(other.len()));
    if count > 0 || ours.len() != other.len() {
        let around = |bytes: &[u8]| {
            let from = bytes.get(first.saturating_sub(SHOWN)..).unwrap_or_default();
            from.get(..from.len().min(2 * SHOWN)).unwrap_or_default().escape_ascii().to_string()
        };
        let (a, b) = (around(ours), around(other));
        let _ = write!(
            text,
            "\n  {name}: {} and {} bytes, {count} differ, the first at {first:#x}:\n    {a}\n    {b}",
            ours.len(),
            other.len(),
        );
    }
}

#[test]
#[ignore = "it builds everything a second time; `make test` runs it beside the others"]
fn two_builds_in_two_folders_give_the_same_bytes() {
    // A path, a user's name or an hour in the image: nobody could check that a binary was made from these sources.
    let scratch = tempfile::tempdir().unwrap();
    let (first, second) = (root(), scratch.path().join("some body's folder/outpost-again"));
    copy_checkout(&first, &second);
    let home = scratch.path().join("home of another");
    second_cargo_home(&home.join("cargo"));

    let (ours, others) = (scratch.path().join("ours"), scratch.path().join("others"));
    run(&mut image(&first, &ours), &scratch.path().join("first.log"));
    let mut command = image(&second, &others);
    command
        .envs([("HOME", home.as_path()), ("CARGO_HOME", &home.join("cargo"))])
        .envs([("USER", "somebody"), ("LOGNAME", "somebody"), ("TZ", "Pacific/Kiritimati"), ("LC_ALL", "C")])
        .envs([("CARGO_NET_OFFLINE", "true"), ("CARGO_INCREMENTAL", "1")])
        .env_remove("CARGO_TARGET_DIR");
    // Rust's own home is the one thing that is not moved.
    if let Some(rustup) = std::env::var_os("RUSTUP_HOME").or_else(|| Some(std::env::home_dir()?.join(".rustup").into()))
    {
        command.env("RUSTUP_HOME", rustup);
    }
    run(&mut command, &scratch.path().join("second.log"));

    let mut wrong = String::new();
    for name in ["outpost.elf", "outpost.debug.elf", "outpost.efi", "outpost.raw", "outpost.qcow2"] {
        let read = |folder: &Path| fs::read(folder.join(name)).unwrap();
        if let Some(text) = difference(&read(&ours), &read(&others)) {
            let _ = write!(wrong, "\n{name}: {text}");
        }
    }
    assert!(wrong.is_empty(), "two builds of the same sources differ:{wrong}");
}

#[test]
fn where_two_files_differ_is_said() {
    // A failure that shows two hashes says nothing about the cause.
    assert_eq!(difference(b"same", b"same"), None);
    let told = difference(b"built in /some/a", b"built in /some/b").unwrap();
    assert!(told.contains("1 differ, the first at 0xf") && told.contains("/some/b"), "{told}");
    let program = fs::read(OUTPOST).unwrap();
    let mut changed = program.clone();
    let elf = object::File::parse(program.as_slice()).unwrap();
    let (at, _) = elf.section_by_name(".rodata").unwrap().file_range().unwrap();
    changed[at as usize + 3] ^= 1;
    let told = difference(&program, &changed).unwrap();
    assert!(told.contains(".rodata: ") && told.contains("the first at 0x3") && !told.contains(".text"), "{told}");
}
