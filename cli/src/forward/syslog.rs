//! Syslog: RFC 5424 over TCP with octet counting (RFC 6587, section 3.4.1).
//!
//! The protocol has no acknowledgement, and what TCP acknowledged may lie in the buffers of a receiver that is killed
//! before it read it. A receiver closes its end only after it has read ours to the end, so records go out in rounds,
//! each on a connection of its own:
//!
//! ```text
//! round n    ──records──▶ our end closed ──▶ its end closed: all was read ── SETTLE passes ──▶ settled
//! round n+1        connected before that ▲   stays open: the receiver that read it still lives ▲
//! ```
//!
//! The witness matters because a killed process closes its end, too. Whatever breaks, all rounds that are not settled
//! are sent again: at least once, in order. What a receiver loses later, after it read it and lived on, is beyond
//! what this protocol can tell.

use super::{Failure, Item, Refused, Sink};
use crate::collect::utc;
use crate::store_read::{Reader, Utc, What};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write as _};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// How long a connection may take to open, and a write to move.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a round lasts at most.
const ROUND: Duration = Duration::from_secs(1);

/// Batches in a round, at most.
const ROUND_BATCHES: usize = 16;

/// How long a receiver must live on after it read a round: what it takes to write it down.
const SETTLE: Duration = Duration::from_secs(2);

/// How long a receiver may take to read a round and close its end.
const CONFIRM: Duration = Duration::from_secs(60);

/// Bytes that are read at once of what a receiver says; it has nothing to say.
const SAID: usize = 512;

/// A record's id in structured data needs an enterprise number, and we have none: this one is for examples (RFC 5612)
/// and can be nobody else's.
const ENTERPRISE: &str = "32473";

/// A receiver of syslog.
pub(super) struct Syslog {
    address: String,
    facility: u8,
    /// The round that is open.
    open: Option<Round>,
    /// The rounds whose end we closed, oldest first.
    closed: VecDeque<Round>,
}

/// A connection and how many batches went over it.
struct Round {
    stream: TcpStream,
    batches: usize,
    since: Instant,
    /// When the receiver closed its end.
    read_at: Option<Instant>,
}

impl Syslog {
    pub(super) fn new(address: String, facility: u8) -> Syslog {
        Syslog { address, facility, open: None, closed: VecDeque::new() }
    }

    fn connect(&self) -> Result<Round, Failure> {
        let address = &self.address;
        let failed = |error: std::io::Error| format!("{address} cannot be reached: {error}");
        let mut last = None;
        for resolved in address.to_socket_addrs().map_err(failed)? {
            match TcpStream::connect_timeout(&resolved, TIMEOUT) {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(failed)?;
                    stream.set_write_timeout(Some(TIMEOUT)).map_err(failed)?;
                    return Ok(Round { stream, batches: 0, since: Instant::now(), read_at: None });
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or_else(|| format!("{address} has no address"), failed).into())
    }

    /// Closes our end of the open round, once a connection that can bear witness is there.
    fn close_round(&mut self) -> Result<(), Failure> {
        let witness = self.connect()?;
        let Some(mut round) = self.open.take() else { return Ok(()) };
        // It must have been alive when the witness was there already: else the two may be of different receivers.
        if round.is_at_end(&self.address)? {
            return Err(self.broke());
        }
        round.stream.shutdown(Shutdown::Write).map_err(|error| format!("{}: {error}", self.address))?;
        round.since = Instant::now();
        self.closed.push_back(round);
        self.open = Some(witness);
        Ok(())
    }

    fn broke(&self) -> Failure {
        format!("{} closed the connection", self.address).into()
    }
}

impl Sink for Syslog {
    fn send(&mut self, items: &[Item], _: &Reader) -> Result<Vec<Refused>, Failure> {
        let mut bytes = Vec::new();
        for item in items {
            let message = message(item, self.facility);
            // Writing into memory does not fail.
            let _ = write!(bytes, "{} {message}", message.len());
        }
        if self.open.is_none() {
            self.open = Some(self.connect()?);
        }
        let Some(round) = &mut self.open else { return Err(self.broke()) };
        if round.batches == 0 {
            round.since = Instant::now();
        }
        round.stream.write_all(&bytes).map_err(|error| format!("{} takes no more: {error}", self.address))?;
        round.batches += 1;
        Ok(Vec::new())
    }

    fn settle(&mut self) -> Result<usize, Failure> {
        let Some(open) = &mut self.open else { return Ok(0) };
        let (idle, lasted) = (open.batches == 0, open.since.elapsed() >= ROUND || open.batches >= ROUND_BATCHES);
        if open.is_at_end(&self.address)? {
            if idle && self.closed.is_empty() {
                // A receiver may close what is idle: nothing of ours was in it.
                self.open = None;
                return Ok(0);
            }
            return Err(self.broke());
        }
        for round in &mut self.closed {
            if round.read_at.is_none() && round.is_at_end(&self.address)? {
                round.read_at = Some(Instant::now());
            }
            if round.read_at.is_none() && round.since.elapsed() >= CONFIRM {
                return Err(format!(
                    "{} has not read what was sent {CONFIRM:?} ago, or does not close its end after ours, by which \
                     alone delivery can be known",
                    self.address
                )
                .into());
            }
        }
        let mut settled = 0;
        while self.closed.front().is_some_and(|round| round.read_at.is_some_and(|at| at.elapsed() >= SETTLE)) {
            settled += self.closed.pop_front().map_or(0, |round| round.batches);
        }
        if !idle && lasted && self.is_ready() {
            self.close_round()?;
        }
        Ok(settled)
    }

    /// Rounds follow each other: a receiver may read its connections side by side, and would mix them.
    fn is_ready(&self) -> bool {
        self.closed.back().is_none_or(|round| round.read_at.is_some())
    }

    fn reset(&mut self) {
        self.open = None;
        self.closed.clear();
    }
}

impl Round {
    /// Whether the receiver has closed its end; an error is a connection that broke. What it says is passed over.
    fn is_at_end(&mut self, address: &str) -> Result<bool, Failure> {
        let mut look = || {
            self.stream.set_nonblocking(true)?;
            let read = self.stream.read(&mut [0; SAID]);
            self.stream.set_nonblocking(false)?;
            read
        };
        match look() {
            Ok(0) => Ok(true),
            Ok(_) => Ok(false),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(false),
            Err(error) => Err(format!("the connection to {address} broke: {error}").into()),
        }
    }
}

/// An entry as a message of RFC 5424, without its length.
fn message(item: &Item, facility: u8) -> String {
    let (entry, stored) = (&item.entry, &item.stored);
    let priority = u16::from(facility) * 8 + u16::from(stored.severity.syslog());
    let timestamp = entry.utc.map_or_else(|| "-".to_owned(), |moment| utc(moment.us));
    let mut out = format!(
        "<{priority}>1 {timestamp} {} outpost {:016x} {} ",
        header(&stored.agent, 255),
        stored.boot_id,
        header(&stored.event, 32),
    );
    match entry.utc {
        // syncAccuracy is in microseconds and only for clocks that are synchronised (section 7.1.3).
        Some(Utc { error_us, .. }) => {
            let _ = write!(out, "[timeQuality tzKnown=\"1\" isSynced=\"1\" syncAccuracy=\"{error_us}\"]");
        }
        None => out += "[timeQuality tzKnown=\"0\" isSynced=\"0\"]",
    }
    if let What::Record { seq, mono_us, .. } = entry.what {
        // From 1 to 2147483647 and round again; sysUpTime is in hundredths of a second (sections 7.3.1 and 7.3.3).
        let sequence = seq.saturating_sub(1) % 0x7fff_ffff + 1;
        let _ = write!(out, "[meta sequenceId=\"{sequence}\" sysUpTime=\"{}\"]", mono_us / 10_000);
    }
    let _ = write!(out, "[outpost@{ENTERPRISE}");
    parameter(&mut out, "uid", &entry.uid());
    parameter(&mut out, "receivedAt", &utc(entry.received_us));
    if let Some((seq, mono_us)) = stored.record {
        parameter(&mut out, "seq", &seq.to_string());
        parameter(&mut out, "mono_us", &mono_us.to_string());
    }
    if let (Some(number), Some(trace)) = (stored.transaction, item.trace) {
        parameter(&mut out, "transaction", &number.to_string());
        parameter(&mut out, "traceId", &format!("{:032x}", u128::from_be_bytes(trace)));
    }
    out.push(']');
    if !stored.fields.is_empty() {
        let _ = write!(out, "[fields@{ENTERPRISE}");
        for (name, value) in &stored.fields {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            parameter(&mut out, name, &text);
        }
        out.push(']');
    }
    out.push(' ');
    out += &item.body();
    out
}

/// A header field: printable US-ASCII without spaces, cut to its length (section 6).
fn header(text: &str, max: usize) -> String {
    let printable = |c: char| if c.is_ascii_graphic() { c } else { '?' };
    let text: String = text.chars().take(max).map(printable).collect();
    if text.is_empty() { "-".to_owned() } else { text }
}

/// A parameter of structured data: `"`, `\` and `]` are escaped by a backslash (section 6.3.3), control characters as
/// the terminal shows them, because many receivers end a line at one.
fn parameter(out: &mut String, name: &str, value: &str) {
    let name: String =
        name.chars().take(32).map(|c| if c.is_ascii_graphic() && !"=]\"".contains(c) { c } else { '?' }).collect();
    let _ = write!(out, " {name}=\"");
    for c in crate::collect::escape(value).chars() {
        if matches!(c, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::Stored;
    use crate::store_read::{Boot, Entry};
    use outpost_wire::{Record, Severity};
    use serde_json::json;
    use std::sync::Arc;

    fn item(utc: Option<Utc>, event: &str, fields: serde_json::Value) -> Item {
        let boot = Arc::new(Boot { row: 1, agent: "fra 1".into(), boot_id: 0xab, durable: 9 });
        let (severity, transaction, fields_raw) = (Severity::ERROR, Some(7), &[][..]);
        let record =
            Record { seq: 2_147_483_648, mono_us: 1_500_000, severity, transaction, event: 4, fields: fields_raw };
        let mut stored = Stored::record(boot.agent.clone(), 0xab, 0, &record, |_| None);
        stored.event = event.to_owned();
        stored.fields = fields.as_object().unwrap().clone();
        let what =
            What::Record { seq: record.seq, mono_us: record.mono_us, severity, transaction, event: 4, fields: vec![] };
        let entry = Entry { boot, received_us: 1_700_000_000_123_456, utc, what };
        Item { entry, stored, trace: Some([0x4b; 16]), version: None }
    }

    #[test]
    fn a_message_is_what_rfc_5424_says() {
        // A receiver that cannot parse a message files it under its own time and name, or drops it.
        let text = "say \"]\\\"\nnow";
        let synchronised = Some(Utc { us: 1_700_000_000_000_001, error_us: 250 });
        assert_eq!(
            message(&item(synchronised, "network.down", json!({ "reason": text, "n": 3 })), 19),
            "<155>1 2023-11-14T22:13:20.000001Z fra?1 outpost 00000000000000ab network.down \
             [timeQuality tzKnown=\"1\" isSynced=\"1\" syncAccuracy=\"250\"]\
             [meta sequenceId=\"1\" sysUpTime=\"150\"]\
             [outpost@32473 uid=\"fra 1/00000000000000ab/2147483648\" receivedAt=\"2023-11-14T22:13:20.123456Z\" \
             seq=\"2147483648\" mono_us=\"1500000\" transaction=\"7\" traceId=\"4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b\"]\
             [fields@32473 reason=\"say \\\"\\]\\\\\\\"\\\\u{a}now\" n=\"3\"] \
             network.down txn=7 reason=\"say \\\"]\\\\\\\"\\nnow\" n=3"
        );
        let unknown = message(&item(None, "an.event.with.a.name.that.is.too.long", json!({})), 3);
        assert!(unknown.starts_with("<27>1 - fra?1 outpost 00000000000000ab an.event.with.a.name.that.is.too [timeQuality tzKnown=\"0\" isSynced=\"0\"][meta "), "{unknown}");
    }

    #[test]
    fn severities_are_those_of_the_table() {
        // An emergency filed as a notice wakes nobody.
        let pairs = [(5, 7), (9, 6), (10, 5), (13, 4), (17, 3), (18, 2), (19, 1), (21, 0), (1, 7), (24, 0)];
        for (number, syslog) in pairs {
            assert_eq!(Severity::from_number(number).unwrap().syslog(), syslog, "{number}");
        }
    }
}
