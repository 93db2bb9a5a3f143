//! QEMU's monitor: one JSON document a line over a Unix socket (QEMU Machine Protocol, docs/interop/qmp-spec).

use crate::Error;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long QEMU may take for one command.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Longest answer believed, in bytes: a page-table dump of many gigabytes.
const ANSWER_MAX: u64 = 16 * 1024 * 1024;

/// Events that are remembered.
const EVENTS_MAX: usize = 64;

/// A connection to the monitor of one machine.
pub struct Qmp {
    stream: BufReader<UnixStream>,
    /// Names of the last events.
    events: VecDeque<String>,
}

impl Qmp {
    /// Connects; `None` as long as there is nothing to connect to.
    pub(crate) fn connect(path: &Path) -> Option<Qmp> {
        Some(Qmp { stream: BufReader::new(UnixStream::connect(path).ok()?), events: VecDeque::new() })
    }

    /// Ends the negotiation that QEMU begins with its greeting.
    pub(crate) fn negotiate(&mut self) -> Result<(), Error> {
        self.execute("qmp_capabilities", json!({})).map(drop)
    }

    /// Whether QEMU has told of this event, `GUEST_PANICKED` for example.
    pub fn told_of(&mut self, event: &str) -> Result<bool, Error> {
        // What it had to tell comes before this answer.
        self.status()?;
        Ok(self.events.iter().any(|name| name == event))
    }

    /// Presses the power button.
    pub fn system_powerdown(&mut self) -> Result<(), Error> {
        self.execute("system_powerdown", json!({})).map(drop)
    }

    /// Presses the reset button: RAM stays as it is.
    pub fn system_reset(&mut self) -> Result<(), Error> {
        self.execute("system_reset", json!({})).map(drop)
    }

    /// Ends QEMU at once.
    pub fn quit(&mut self) -> Result<(), Error> {
        self.execute("quit", json!({})).map(drop)
    }

    /// How the guest's processor fares: `running`, `paused`, `internal-error`, `shutdown`, ...
    pub fn status(&mut self) -> Result<String, Error> {
        let answer = self.execute("query-status", json!({}))?;
        answer
            .get("status")
            .and_then(Value::as_str)
            .map(String::from)
            .ok_or_else(|| problem("query-status", "no status"))
    }

    /// A command of the human monitor, such as `info tlb`, and what it printed.
    pub fn human(&mut self, command: &str) -> Result<String, Error> {
        let answer = self.execute("human-monitor-command", json!({ "command-line": command }))?;
        answer.as_str().map(String::from).ok_or_else(|| problem(command, "the answer is not text"))
    }

    /// Any command, and what it returned.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, Error> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let request = format!("{}\n", json!({ "execute": command, "arguments": arguments }));
        let stream = self.stream.get_mut();
        stream
            .set_write_timeout(Some(ANSWER_TIMEOUT))
            .and_then(|()| stream.write_all(request.as_bytes()))
            .map_err(|error| problem(command, error))?;
        // Between the request and its answer QEMU tells of events, and at first its greeting.
        loop {
            let message = self.message(command, deadline)?;
            if let Some(event) = message.get("event").and_then(Value::as_str) {
                self.events.truncate(EVENTS_MAX - 1);
                self.events.push_front(event.to_owned());
            }
            if let Some(result) = message.get("return") {
                return Ok(result.clone());
            }
            if let Some(error) = message.get("error") {
                return Err(problem(command, error.get("desc").and_then(Value::as_str).unwrap_or("refused")));
            }
        }
    }

    fn message(&mut self, command: &str, deadline: Instant) -> Result<Value, Error> {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut line = Vec::new();
        self.stream
            // A zero timeout would mean "none".
            .get_mut()
            .set_read_timeout(Some(left.max(Duration::from_millis(1))))
            .and_then(|()| self.stream.by_ref().take(ANSWER_MAX).read_until(b'\n', &mut line))
            .map_err(|error| match error.kind() {
                ErrorKind::WouldBlock => problem(command, format_args!("no answer within {ANSWER_TIMEOUT:?}")),
                _ => problem(command, error),
            })?;
        if line.is_empty() {
            return Err(problem(command, "QEMU closed the connection"));
        }
        serde_json::from_slice(&line).map_err(|error| problem(command, error))
    }
}

fn problem(command: &str, problem: impl std::fmt::Display) -> Error {
    Error::Monitor { command: command.to_owned(), problem: problem.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn events_and_errors_are_told_from_answers() {
        // An event taken for an answer would shift every later answer by one.
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let qemu = thread::spawn(move || {
            theirs.write_all(b"{\"QMP\":{}}\n{\"event\":\"RESET\"}\n{\"return\":\"text\"}\n").unwrap();
            theirs.write_all(b"{\"error\":{\"class\":\"GenericError\",\"desc\":\"no such thing\"}}\n").unwrap();
            theirs
        });
        let mut qmp = Qmp { stream: BufReader::new(ours), events: VecDeque::new() };
        assert_eq!(qmp.human("info tlb").unwrap(), "text");
        assert_eq!(qmp.events, ["RESET"]);
        assert!(qmp.quit().unwrap_err().to_string().contains("no such thing"));
        drop(qemu.join().unwrap());
        assert!(qmp.quit().is_err());
    }
}
