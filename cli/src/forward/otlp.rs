//! OTLP/HTTP with protobuf (OpenTelemetry protocol specification 1.x, "OTLP/HTTP"): one batch, one request, one answer.
//!
//! An answer of 2xx is the receiver's word for it; everything else is tried again, with one exception: a receiver that
//! has taken records before and calls one of them bad will not change its mind, and must not hold up all others. So
//! bad batches are cut in halves until the bad record is alone; that one is told and counted as refused.

use super::{Failure, Item, Refused, Sink};
use crate::fetch;
use crate::store_read::{Boot, Reader};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use serde_json::Value;
use std::io::Read;
use std::time::Duration;
use ureq::Agent;

/// How long a request may take: the specification's default.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read: enough for a sentence about what was refused.
const ANSWER_MAX: u64 = 64 * 1024;

/// Characters of a receiver's text that are shown.
const TEXT_SHOWN: usize = 300;

/// A receiver of OTLP.
pub(super) struct Otlp {
    url: String,
    http: Agent,
    /// Whether it has ever taken anything: only then is what it calls bad bad.
    proven: bool,
    /// Batches that were taken since `settle` last told.
    taken: usize,
}

impl Otlp {
    pub(super) fn new(url: String) -> Otlp {
        Otlp { url, http: fetch::http(TIMEOUT), proven: false, taken: 0 }
    }

    /// Sends these, in halves where the receiver calls them bad.
    fn export(&mut self, items: &[Item], refused: &mut Vec<Refused>) -> Result<(), Failure> {
        match self.post(items)? {
            Answer::Taken(None) => {}
            Answer::Taken(Some(partly)) => refused.push(partly),
            Answer::Bad(why) => match items {
                [_, _, ..] => {
                    let (first, second) = items.split_at(items.len() / 2);
                    self.export(first, refused)?;
                    self.export(second, refused)?;
                }
                [item] if self.proven => {
                    refused.push(Refused { records: 1, why: format!("{}: {why}", item.entry.uid()) })
                }
                _ => return Err(why.into()),
            },
        }
        Ok(())
    }

    fn post(&mut self, items: &[Item]) -> Result<Answer, Failure> {
        let url = &self.url;
        let mut response = self
            .http
            .post(url)
            .content_type("application/x-protobuf")
            .header("Connection", "close")
            .send(&request(items).encode_to_vec()[..])
            .map_err(|error| format!("{url} does not answer: {}", shown(&error.to_string())))?;
        let status = response.status().as_u16();
        let asked = response.headers().get("Retry-After").and_then(|value| value.to_str().ok());
        let after = asked.and_then(retry_after);
        let mut body = Vec::new();
        // What an answer says beyond its status is a courtesy; a broken one is no reason to send all again.
        let _ = response.body_mut().as_reader().take(ANSWER_MAX).read_to_end(&mut body);
        match status {
            200..=299 => {
                self.proven = true;
                Ok(Answer::Taken(partial_success(&body, items)))
            }
            400 | 413 | 422 => Ok(Answer::Bad(format!("{url} answers {status}: {}", shown(&text(&body))))),
            301 | 302 | 307 | 308 | 401 | 403 | 404 | 405 | 415 => Err(format!(
                "{url} answers {status}, so this is not its address or it wants something else: {}",
                shown(&text(&body))
            )
            .into()),
            _ => Err(Failure { why: format!("{url} answers {status}"), after }),
        }
    }
}

impl Sink for Otlp {
    fn send(&mut self, items: &[Item], _: &Reader) -> Result<Vec<Refused>, Failure> {
        let mut refused = Vec::new();
        self.export(items, &mut refused)?;
        self.taken += 1;
        Ok(refused)
    }

    fn settle(&mut self) -> Result<usize, Failure> {
        Ok(std::mem::take(&mut self.taken))
    }

    fn is_ready(&self) -> bool {
        true
    }

    fn reset(&mut self) {
        self.taken = 0;
    }
}

/// What a receiver said of a request.
enum Answer {
    /// It has it, but for what is said here.
    Taken(Option<Refused>),
    /// It will not take it as it is.
    Bad(String),
}

/// What a receiver did not take of what it took ("Partial Success"): it must not be sent again.
fn partial_success(body: &[u8], items: &[Item]) -> Option<Refused> {
    let partial = ExportLogsServiceResponse::decode(body).ok()?.partial_success?;
    let records = u64::try_from(partial.rejected_log_records).ok().filter(|records| *records > 0)?;
    let uid = |item: Option<&Item>| item.map(|item| item.entry.uid()).unwrap_or_default();
    let (first, last) = (uid(items.first()), uid(items.last()));
    Some(Refused { records, why: format!("some of {first} to {last}: {}", shown(&partial.error_message)) })
}

/// Seconds or a date (RFC 9110, section 10.2.3).
pub(super) fn retry_after(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value.trim()).ok()?.timestamp();
    Some(date.duration_since(jiff::Timestamp::now()).try_into().unwrap_or_default())
}

/// The message of an error answer: a `google.rpc.Status`, whose second field it is, or else plain text.
fn text(body: &[u8]) -> String {
    /// The part of `google.rpc.Status` that speaks to people.
    #[derive(Clone, PartialEq, prost::Message)]
    struct Status {
        #[prost(string, tag = "2")]
        message: String,
    }
    match Status::decode(body) {
        Ok(status) if !status.message.is_empty() => status.message,
        _ => String::from_utf8_lossy(body).into_owned(),
    }
}

pub(super) fn shown(text: &str) -> String {
    let start: String = text.trim().chars().take(TEXT_SHOWN).collect();
    crate::collect::escape(&start)
}

/// The request for these, with one resource for each run of entries of one boot.
fn request(items: &[Item]) -> ExportLogsServiceRequest {
    let runs = items.chunk_by(|a, b| a.entry.boot.row == b.entry.boot.row);
    let resource_logs = runs.filter_map(|run| {
        let first = run.first()?;
        let scope = InstrumentationScope {
            name: "outpost".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Default::default()
        };
        let log_records = run.iter().map(record).collect();
        Some(ResourceLogs {
            resource: Some(resource(&first.entry.boot, first.version.as_deref())),
            scope_logs: vec![ScopeLogs { scope: Some(scope), log_records, ..Default::default() }],
            ..Default::default()
        })
    });
    ExportLogsServiceRequest { resource_logs: resource_logs.collect() }
}

fn resource(boot: &Boot, version: Option<&str>) -> Resource {
    let mut attributes = vec![
        attribute("service.name", "outpost".into()),
        attribute("service.instance.id", (*boot.agent).into()),
        attribute("outpost.boot_id", format!("{:016x}", boot.boot_id).into()),
    ];
    attributes.extend(version.map(|version| attribute("service.version", version.into())));
    Resource { attributes, ..Default::default() }
}

fn record(item: &Item) -> LogRecord {
    let (entry, stored) = (&item.entry, &item.stored);
    let nanoseconds = |us: i64| u64::try_from(us).unwrap_or(0).saturating_mul(1000);
    let mut attributes = vec![attribute("log.record.uid", entry.uid().into())];
    if let Some((seq, mono_us)) = stored.record {
        attributes.push(attribute("outpost.seq", seq.into()));
        attributes.push(attribute("outpost.mono_us", mono_us.into()));
    }
    attributes.extend(stored.transaction.map(|number| attribute("outpost.transaction", number.into())));
    attributes.extend(entry.utc.map(|utc| attribute("outpost.utc_error_us", utc.error_us.into())));
    for (name, value) in &stored.fields {
        attributes.push(attribute(&format!("outpost.fields.{name}"), value.clone()));
    }
    LogRecord {
        // 0 is "unknown or missing" (logs data model, "Field: Timestamp").
        time_unix_nano: entry.utc.map_or(0, |utc| nanoseconds(utc.us)),
        observed_time_unix_nano: nanoseconds(entry.received_us),
        severity_number: stored.severity.number().into(),
        severity_text: stored.severity.name().to_owned(),
        body: Some(any(item.body().into())),
        attributes,
        trace_id: item.trace.map(Vec::from).unwrap_or_default(),
        event_name: stored.event.clone(),
        ..Default::default()
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(any(value)), ..Default::default() }
}

fn any(value: Value) -> AnyValue {
    let value = match value {
        Value::Null => None,
        Value::Bool(yes) => Some(any_value::Value::BoolValue(yes)),
        // OTLP has signed numbers alone; what is larger is kept exact as text.
        Value::Number(number) => Some(match number.as_i64() {
            Some(number) => any_value::Value::IntValue(number),
            None => any_value::Value::StringValue(number.to_string()),
        }),
        Value::String(text) => Some(any_value::Value::StringValue(text)),
        other => Some(any_value::Value::StringValue(other.to_string())),
    };
    AnyValue { value }
}

/// What two records come to that are sent to this URL by one forwarder: how many the receiver refused for good and why,
/// or why they must be sent again. For tests, and for the fuzz target that answers them.
#[cfg(any(test, fuzzing))]
pub(super) fn two_records(url: &str) -> Result<Vec<Refused>, Failure> {
    use crate::collect::Stored;
    use crate::store_read::{Entry, What};
    use std::sync::Arc;
    let boot = Arc::new(Boot { row: 1, agent: "fra1".into(), boot_id: 7, durable: 2 });
    let item = |seq| {
        let record = outpost_wire::Record {
            seq,
            mono_us: seq,
            severity: outpost_wire::Severity::INFO,
            transaction: None,
            event: 4,
            fields: &[1],
        };
        let (severity, event, fields) = (record.severity, record.event, record.fields.to_vec());
        let what = What::Record { seq, mono_us: seq, severity, transaction: None, event, fields };
        let stored = Stored::record(boot.agent.clone(), boot.boot_id, 1, &record, |_| None);
        Item {
            entry: Entry { boot: boot.clone(), received_us: 1, utc: None, what },
            stored,
            trace: None,
            version: None,
        }
    };
    let mut otlp = Otlp { proven: true, ..Otlp::new(url.to_owned()) };
    let mut refused = Vec::new();
    otlp.export(&[item(1), item(2)], &mut refused)?;
    Ok(refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::HEAD_MAX;
    use std::io::Write;
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        // Read wrongly, it would mean to hammer a receiver that asks for rest, or to wait for ever.
        assert_eq!(retry_after(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        let soon = jiff::Timestamp::now() + Duration::from_secs(60);
        let date = jiff::fmt::rfc2822::to_string(&soon.to_zoned(jiff::tz::TimeZone::UTC)).unwrap();
        let wait = retry_after(&date).unwrap();
        assert!(Duration::from_secs(58) < wait && wait <= Duration::from_secs(60), "{wait:?}");
        assert_eq!(retry_after("soon"), None);
        assert_eq!(retry_after("-1"), None);
    }

    /// What two records come to when this is all that the receiver says.
    fn answered(answer: &[u8]) -> Result<usize, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/logs", listener.local_addr().unwrap());
        let (answer, stop) = (answer.to_vec(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let receiver = std::thread::spawn(move || {
            for stream in listener.incoming().take_while(|_| !stopped.load(Ordering::Acquire)) {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(&answer);
                // All of the request is taken, so that the end is no reset.
                let _ = stream.shutdown(Shutdown::Write);
                let _ = stream.read_to_end(&mut Vec::new());
            }
        });
        let result = std::panic::catch_unwind(|| two_records(&url));
        stop.store(true, Ordering::Release);
        let _ = TcpStream::connect(&url["http://".len()..url.len() - "/v1/logs".len()]);
        receiver.join().unwrap();
        result.expect("nothing that a receiver says may panic").map(|refused| refused.len())
    }

    #[test]
    fn a_receiver_is_believed_only_when_it_has_said_all_of_it() {
        // A cursor that moves on a word that was not meant loses records; a panic ends the forwarder without a word.
        let head = |line: usize| format!("HTTP/1.1 200 OK\r\nx: {}\n\r\n", "y".repeat(line));
        for (answer, refused) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"[..], 0),
            (b"HTTP/1.1 204 No Content\r\n\r\n", 0),
            (b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n\x0a\x04\x08\x01\x12\x00\r\n0\r\n\r\n", 1),
            (b"HTTP/1.1 200 OK\r\n\r\n\x0a\x04\x08\x02\x12\x00", 1),
            // It has them, whatever the rest was to say: sent again, they would be there twice.
            (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n\x0a", 0),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\xff\xff\xff", 0),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", 0),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n\x0a\x0a\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff", 0),
            (b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", 2),
        ] {
            let shown = String::from_utf8_lossy(answer);
            assert_eq!(answered(answer).ok(), Some(refused), "{shown}");
        }
        for answer in [
            &b""[..],
            b"HTTP/1.1 200",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Le",
            b"SSH-2.0 200 OK\r\n\r\n",
            b"200 200 200\r\n\r\n",
            b"HTTP/1.1 2000 OK\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n",
            b"HTTP/1.1 503 No\r\nRetry-After: 99999999999999999999\r\n\r\n",
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            head(HEAD_MAX).as_bytes(),
            head(1_000_000).as_bytes(),
        ] {
            let shown = String::from_utf8_lossy(&answer[..answer.len().min(60)]).into_owned();
            let failure = answered(answer).expect_err(&shown);
            assert!(failure.why.len() < 1000 && !failure.why.contains(char::is_control), "{shown}: {}", failure.why);
        }
        // A line that ends about where the bound on the head is: read by another client, the bound was less than zero.
        for line in (8170..8200).chain(HEAD_MAX - 40..HEAD_MAX) {
            let _ = answered(head(line).as_bytes());
        }
        assert_eq!(answered(head(8192).as_bytes()).ok(), Some(0));
        let asked = b"HTTP/1.1 429 Slow down\r\nretry-after: 7\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(answered(asked).unwrap_err().after, Some(Duration::from_secs(7)));
    }
}
