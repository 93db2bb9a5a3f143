//! The two ways to a receiver of notifications: a program that is run for each, or a URL that each is posted to.
//!
//! What always holds: one delivery at a time, each ends within [`TIMEOUT`], and only a receiver's own word counts: exit
//! code 0 or a status of 2xx. A program that takes longer is killed with all that it started.

use super::Failure;
use super::otlp::{retry_after, shown};
use crate::fetch;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long one delivery may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How often a program is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// Bytes of an answer's body that are read.
const ANSWER_MAX: u64 = 4 * 1024;

/// The exit code for "what I was given is wrong" (sysexits.h, EX_DATAERR).
const DATA_ERROR: i32 = 65;

/// A way to a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    /// A command for the shell, which gets the document on its standard input.
    Command(String),
    /// Where it is posted to.
    Url(String),
}

/// What became of a delivery.
#[derive(Debug)]
pub(super) enum Delivery {
    /// The receiver has it.
    Done,
    /// The receiver says that this document is wrong.
    Refused(String),
    /// It may work later.
    Failed(Failure),
}

impl Channel {
    /// Delivers a document; waits for the receiver's word.
    pub(super) fn deliver(&self, document: &str) -> Delivery {
        let outcome = match self {
            Channel::Command(command) => run(command, document),
            Channel::Url(url) => post(url, document),
        };
        outcome.unwrap_or_else(|failure| Delivery::Failed(failure.into()))
    }
}

fn run(command: &str, document: &str) -> Result<Delivery, String> {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        // Ours is for records; what a program has to say goes where our own messages go.
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("no shell could be started: {error}"))?;
    if let Some(mut input) = child.stdin.take() {
        // It fits the pipe, so this does not wait; a program that does not read it is one all the same.
        let _ = writeln!(input, "{document}");
    }
    let Some(status) = wait(&mut child).map_err(|error| error.to_string())? else {
        if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = child.wait();
        return Err(format!("it was killed, for it took longer than {TIMEOUT:?}"));
    };
    match status.code() {
        Some(0) => Ok(Delivery::Done),
        Some(DATA_ERROR) => Ok(Delivery::Refused(format!("it ended with {DATA_ERROR}"))),
        Some(code) => Err(format!("it ended with {code}")),
        None => Err(format!("it was ended: {status}")),
    }
}

fn wait(child: &mut Child) -> std::io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(Some(status)),
            None if Instant::now() >= deadline => return Ok(None),
            None => std::thread::sleep(LOOK),
        }
    }
}

fn post(url: &str, document: &str) -> Result<Delivery, String> {
    let mut response = fetch::http(TIMEOUT)
        .post(url)
        .content_type("application/json")
        .header("Connection", "close")
        .send(document)
        .map_err(|error| format!("it does not answer: {}", shown(&error.to_string())))?;
    let status = response.status().as_u16();
    let asked = response.headers().get("Retry-After").and_then(|value| value.to_str().ok());
    let after = asked.and_then(retry_after);
    let mut body = Vec::new();
    let _ = response.body_mut().as_reader().take(ANSWER_MAX).read_to_end(&mut body);
    let said = format!("it answers {status} {}", shown(&String::from_utf8_lossy(&body)));
    Ok(match status {
        200..=299 => Delivery::Done,
        400 | 413 | 422 => Delivery::Refused(said),
        _ => Delivery::Failed(Failure { why: said, after }),
    })
}
