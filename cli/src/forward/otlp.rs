//! OTLP/HTTP with protobuf (OpenTelemetry protocol specification 1.x, "OTLP/HTTP"): one batch, one request, one answer.
//!
//! An answer of 2xx is the receiver's word for it; everything else is tried again, with one exception: a receiver that
//! has taken records before and calls one of them bad will not change its mind, and must not hold up all others. So
//! bad batches are cut in halves until the bad record is alone; that one is told and counted as refused.

use super::{Failure, Item, Refused, Sink};
use crate::store_read::Boot;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use serde_json::Value;
use std::io::Read;
use std::time::Duration;

/// How long a request may take, in seconds: the specification's default.
const TIMEOUT_S: u64 = 10;

/// Bytes of an answer that are read: enough for a sentence about what was refused.
const ANSWER_MAX: u64 = 64 * 1024;

/// Characters of a receiver's text that are shown.
const TEXT_SHOWN: usize = 300;

/// A receiver of OTLP.
pub(super) struct Otlp {
    url: String,
    /// Whether it has ever taken anything: only then is what it calls bad bad.
    proven: bool,
    /// Batches that were taken since `settle` last told.
    taken: usize,
}

impl Otlp {
    pub(super) fn new(url: String) -> Otlp {
        Otlp { url, proven: false, taken: 0 }
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
        let response = minreq::post(url)
            .with_header("Content-Type", "application/x-protobuf")
            .with_header("User-Agent", concat!("outpost/", env!("CARGO_PKG_VERSION")))
            .with_header("Connection", "close")
            .with_body(request(items).encode_to_vec())
            .with_timeout(TIMEOUT_S)
            .with_follow_redirects(false)
            .send_lazy()
            .map_err(|error| format!("{url} does not answer: {error}"))?;
        let status = response.status_code;
        let after = response
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("retry-after"))
            .and_then(|(_, value)| retry_after(value));
        let mut body = Vec::new();
        // 204 has no body, and need not say so (RFC 9110, section 15.3.5).
        if status != 204 {
            // What an answer of 2xx says beyond that is a courtesy; a broken one is no reason to send all again.
            let _ = response.take(ANSWER_MAX).read_to_end(&mut body);
        }
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
    fn send(&mut self, items: &[Item]) -> Result<Vec<Refused>, Failure> {
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
fn retry_after(value: &str) -> Option<Duration> {
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

fn shown(text: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
