//! `outpost check` as a person or a pipeline runs it: its lines, its JSON and its exit codes.

use outpost::config::load;
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Output, Stdio};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/config");

fn check(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_outpost"))
        .arg("check")
        .args(arguments)
        .current_dir(DATA)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The terminal must show the sentences of the image, not others.
#[test]
fn says_what_the_image_says() {
    let output = check(&["mistakes.json"], b"");
    let loaded = load(Some(&std::fs::read(format!("{DATA}/mistakes.json")).unwrap()));
    let mut expected: Vec<String> = loaded.problems.iter().map(|problem| format!("mistakes.json:{problem}")).collect();
    expected.push("mistakes.json: and 4 more, shown when these are gone".into());
    expected.push("mistakes.json: 12 problems; the image would boot with what is right, and not be ready".into());
    assert_eq!(text(&output.stdout).lines().collect::<Vec<_>>(), expected);
    assert_eq!(output.status.code(), Some(1));
}

/// A pipeline must be able to tell right from wrong from unreadable by the exit code alone.
#[test]
fn exit_codes_tell_the_verdict() {
    let empty = check(&["-"], b"{}");
    assert_eq!((empty.status.code(), text(&empty.stdout)), (Some(0), "stdin: ok, hash d2a3656ac58a0953\n"));
    let right = check(&["fleet.json"], b"");
    assert_eq!(right.status.code(), Some(0));
    assert!(text(&right.stdout).starts_with("fleet.json: ok, hash "));

    let absent = check(&["absent.json"], b"");
    assert_eq!((absent.status.code(), absent.stdout.len()), (Some(2), 0));
    assert!(text(&absent.stderr).contains("absent.json cannot be read: No such file"), "{}", text(&absent.stderr));
    assert_eq!(check(&["."], b"").status.code(), Some(2));
}

/// Standard input and JSON, as a script uses them; the secret must not come out.
#[test]
fn json_has_the_problems_and_what_is_in_force() {
    let key = "ab".repeat(32);
    let document =
        format!(r#"{{"collector": {{"address": "10.0.2.2:7600", "key": "{key}"}}, "http": {{"port": 70000}}}}"#);
    let output = check(&["-", "--json"], document.as_bytes());
    assert_eq!(output.status.code(), Some(1));
    assert!(!text(&output.stdout).contains(&key));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], false);
    assert_eq!(report["problem_count"], 1);
    assert_eq!(report["problems"][0]["pointer"], "/http/port");
    assert_eq!(report["problems"][0]["text"], "70000 is not a port: allowed are 1 to 65535");
    assert_eq!(report["effective"]["collector"]["key"], "(secret)");
    assert_eq!(report["effective"]["http"]["port"], 80);
}
