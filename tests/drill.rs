//! `outpost drill` as people run it: real guests, real trouble, and a report that says what was seen.

use serde_json::Value;
use std::process::{Command, Output, Stdio};

#[path = "support/image.rs"]
mod image;
mod support;

const OUTPOST: &str = env!("CARGO_BIN_EXE_outpost");

/// Runs this drill; `None`: QEMU is not here, which was said.
fn drill(scenario: &str) -> Option<Output> {
    let installed = Command::new(outpost_qemu::PROGRAM).arg("--version").stdout(Stdio::null()).status();
    if installed.is_err() {
        let why = outpost_qemu::Error::NotInstalled.to_string();
        support::left_out(support::Why::Skipped, &format!("drill {scenario}"), &why);
        return None;
    }
    let mut command = Command::new(OUTPOST);
    Some(command.args(["drill", scenario, "--json", "--image"]).arg(image::image()).output().unwrap())
}

/// The steps of a drill that has to pass.
fn passes(scenario: &str) -> Option<Vec<Value>> {
    let output = drill(scenario)?;
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!((output.status.code(), &report["passed"]), (Some(0), &true.into()), "{said}\n{report:#}");
    assert_eq!((&report["exercise"], &report["drills"][0]["scenario"]), (&true.into(), &scenario.into()), "{report:#}");
    report["drills"][0]["steps"].as_array().cloned()
}

fn names(steps: &[Value]) -> Vec<&str> {
    steps.iter().map(|step| step["step"].as_str().unwrap()).collect()
}

#[test]
fn a_target_that_dies_is_detected_shown_notified_and_seen_to_recover() {
    // A drill that says "passed" by looking at nothing teaches people to trust what does not work.
    let Some(steps) = passes("target-dies") else { return };
    let all = ["detect", "show", "notify", "recover", "show again", "notify again", "records", "exercise"];
    assert_eq!(names(&steps), all);
    // Two probes in a row, a second apart, have to fail first.
    for step in &steps[..6] {
        let after = step["after_ms"].as_u64().unwrap();
        assert!((500..=12_000).contains(&after), "{step}");
    }
}

#[test]
fn an_agent_that_panics_says_so_and_comes_back() {
    // The one that watches is the last that anybody looks at.
    let Some(steps) = passes("guest-panic") else { return };
    assert_eq!(names(&steps), ["detect", "show", "notify", "recover", "records", "exercise"]);
}

#[test]
fn a_machine_that_stood_still_says_so() {
    // Its probes of that time are missing, and nothing else would tell.
    let Some(steps) = passes("clock-jump") else { return };
    assert_eq!(names(&steps), ["detect", "show", "notify", "recover", "show again", "records", "exercise"]);
}

#[test]
fn what_cannot_be_played_is_no_drill_that_passed() {
    // A drill in a nightly job that has not run for weeks must be red.
    let output = Command::new(OUTPOST).args(["drill", "target-dies", "--image", "/nowhere.elf"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("/nowhere.elf is not there"), "{said}");
    assert!(output.stdout.is_empty());
    let output = Command::new(OUTPOST).args(["drill", "sharks"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
