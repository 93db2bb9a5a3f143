//! The image fails on purpose, on real machines: every end must be one line on serial, a record in the log region
//! and the reset or stop that was asked for.
//!
//! The failures are compiled in by the feature `fault-drill` and asked for on the kernel command line, so this
//! builds an image of its own; what is released does not have them.

use outpost_qemu::{Error, Machine, Vm};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

#[path = "support/events.rs"]
mod events;
mod support;

/// A boot under TCG takes well under a second; this machine may be busy.
const DEADLINE: Duration = Duration::from_secs(60);

/// QEMU's status after the image's stop by isa-debug-exit: `0x10 << 1 | 1`.
const STOPPED: i32 = 33;

const LOG_REGION: (u64, u64) = (0x10_0000, 0x40_0000);

/// The image with the drills; `None`: it cannot be built here, which was said.
fn image() -> Option<&'static Path> {
    static IMAGE: OnceLock<Option<PathBuf>> = OnceLock::new();
    IMAGE.get_or_init(build).as_deref()
}

fn build() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = root.join("target/fault-drill");
    let status = Command::new(env!("CARGO"))
        .args(["build-image", "--quiet", "--features", "fault-drill", "--target-dir"])
        .arg(&target)
        .current_dir(&root)
        // Flags of an outer cargo would silently replace those that the image needs.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET")
        .stdin(Stdio::null())
        .status()
        .expect("cargo runs, for it runs this test");
    assert!(status.success(), "the image with the drills does not build; cargo's messages above say why");
    let installed = Command::new(outpost_qemu::PROGRAM).arg("--version").stdout(Stdio::null()).status();
    if installed.is_err() {
        support::left_out(support::Why::Skipped, "faults", &Error::NotInstalled.to_string());
        return None;
    }
    Some(target.join("x86_64-unknown-none/image/image"))
}

/// A machine whose image fails in this way, and then stops or resets.
fn vm(machine: Machine, image: &Path, drill: &str, on_panic: &str) -> Vm {
    Vm {
        nic: None,
        reboot: false,
        command_line: format!("outpost.drill={drill} outpost.on_panic={on_panic}"),
        ..Vm::new(machine, image)
    }
}

/// The line that the end wrote, after checking that it is the only one.
fn last_line(console: &str) -> &str {
    let lines: Vec<&str> = console.lines().filter(|line| line.contains("outpost: panic:")).collect();
    assert_eq!(lines.len(), 1, "one line tells the end:\n{console}");
    lines[0]
}

#[test]
fn every_fault_is_one_line_and_a_stop() {
    // A fault without a handler, or whose handler faults, is a triple fault: a reset that nobody can explain.
    let Some(image) = image() else { return };
    for (drill, expected) in [
        ("panic", &["drill: a panic with a\\nline break", "drill.rs:"][..]),
        ("page-fault", &["vector 14 error 0x0", "cr2 0x10", "at page fault"]),
        ("write-text", &["vector 14 error 0x3", "at page fault"]),
        ("execute-data", &["vector 14 error 0x11", "at page fault"]),
        ("stack-overflow", &["vector 14 error 0x2", "at stack overflow"]),
        ("double-fault", &["vector 8", "at double fault"]),
    ] {
        let mut vm = vm(Machine::Microvm, image, drill, "stop");
        vm.extra = vec![String::from("-device"), String::from("isa-debug-exit,iobase=0xf4,iosize=4")];
        let mut running = vm.start().unwrap_or_else(|error| panic!("{drill}: {error}"));
        let status = running.wait_exit(DEADLINE).unwrap_or_else(|error| panic!("{drill}: {error}"));
        assert_eq!(status.code(), Some(STOPPED), "{drill}: {status}");
        let console = running.serial().text();
        let line = last_line(&console);
        for part in expected {
            assert!(line.contains(part), "{drill}: `{part}` is missing in `{line}`");
        }
    }
}

#[test]
fn every_machine_resets_after_a_fault() {
    // A machine that hangs instead of resetting is dead until somebody looks.
    let Some(image) = image() else { return };
    for machine in [Machine::Microvm, Machine::Q35, Machine::Pc] {
        let mut running = vm(machine, image, "stack-overflow", "reset").start().unwrap();
        let status = running.wait_exit(DEADLINE).unwrap_or_else(|error| panic!("{machine}: {error}"));
        assert!(status.success(), "{machine}: {status}");
        assert!(last_line(&running.serial().text()).ends_with("resetting"), "{machine}");
    }
}

#[test]
fn every_way_of_a_reset_works_alone() {
    // A way that is only tried behind another one that always works has never been tried.
    let Some(image) = image() else { return };
    for (machine, ways) in [
        (Machine::Microvm, &["acpi"][..]),
        (Machine::Q35, &["acpi", "chipset", "keyboard"]),
        // Its FADT is of revision 1 and names no register.
        (Machine::Pc, &["chipset", "keyboard"]),
    ] {
        for way in ways {
            let drill = format!("reset-{way}");
            let mut running = Vm { reboot: true, ..vm(machine, image, &drill, "reset") }.start().unwrap();
            let told = running.wait_for("boot.previous_ended cause=reset", DEADLINE);
            told.unwrap_or_else(|error| panic!("{machine} by {way}: {error}"));
        }
    }
}

#[test]
fn a_triple_fault_is_told_by_the_next_boot() {
    // Nothing of ours runs at a triple fault, so only the region can say that there was a boot.
    let Some(image) = image() else { return };
    for machine in [Machine::Microvm, Machine::Q35] {
        let mut running = Vm { reboot: true, ..vm(machine, image, "triple-fault", "reset") }.start().unwrap();
        running.wait_for("boot.previous_ended cause=reset", DEADLINE).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn a_panic_leaves_its_record_in_the_log_region() {
    // The next boot sends what lies there: without the record a crash loop has no cause.
    let Some(image) = image() else { return };
    let mut running = vm(Machine::Microvm, image, "panic", "stop").start().unwrap();
    running.wait_for("stopping", DEADLINE).unwrap();
    let dump = Path::new(env!("CARGO_TARGET_TMPDIR")).join("log-region");
    let arguments = serde_json::json!({ "val": LOG_REGION.0, "size": LOG_REGION.1, "filename": dump });
    // The line comes before the record, so the region is looked at until the record is there.
    let recorded = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        running.qmp().execute("pmemsave", arguments.clone()).unwrap();
        let region = std::fs::read(&dump).unwrap();
        region.windows(14).any(|bytes| bytes == b"drill: a panic")
    });
    assert!(recorded, "no panic record in the log region");
    events::seen("panic");
}
