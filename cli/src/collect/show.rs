//! What the collector shows: records as they were stored, and lines about sessions, as JSON or for a terminal.
//!
//! Nothing here is trusted: names and texts come from outside, and control characters in them are escaped before
//! they reach a terminal. Every JSON line has the same keys; what is particular to an event is under `fields`, so
//! that no field can hide a key.

use super::clock::Utc;
use outpost_wire::{Event, Record, Severity, Value as WireValue, session::LossReason};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::sync::Arc;

/// What the collector has to say.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Something is durable in the store.
    Stored(Stored),
    /// A line about a session or the collector itself, for its operator.
    Notice(String),
    /// This many were stored and not shown, because whoever reads the output was too slow.
    Skipped(u64),
}

/// One thing in the store: a record, a declared loss or an oddity.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Name of the agent.
    pub agent: Arc<str>,
    /// Random id of the agent's boot.
    pub boot_id: u64,
    /// When the collector received it, in microseconds since 1970-01-01 UTC by the collector's clock.
    pub received_us: i64,
    /// When it happened, where the agent's clock was known when this was read.
    pub utc: Option<Utc>,
    /// How severe it is.
    pub severity: Severity,
    /// Seq and monotonic time in microseconds, where it is a record.
    pub record: Option<(u64, u64)>,
    /// The transaction, local to the boot.
    pub transaction: Option<u32>,
    /// The event's name, or `#id` where this version does not know it.
    pub event: String,
    /// What is particular to the event.
    pub fields: Map<String, Value>,
}

impl Stored {
    /// A record of this boot; `name_of` finds interned texts.
    pub fn record(
        agent: Arc<str>,
        boot_id: u64,
        received_us: i64,
        record: &Record<'_>,
        mut name_of: impl FnMut(u16) -> Option<String>,
    ) -> Stored {
        let mut fields = Map::new();
        let event = match record.read_fields() {
            Some((spec, read)) => {
                fields.extend(read.map(|(name, value)| (name.to_owned(), json_value(value, &mut name_of))));
                spec.name.to_owned()
            }
            None => {
                fields.insert("raw".to_owned(), Value::String(hex(record.fields)));
                event_name(record.event)
            }
        };
        let (severity, transaction) = (record.severity, record.transaction);
        let place = Some((record.seq, record.mono_us));
        Stored { agent, boot_id, received_us, utc: None, severity, record: place, transaction, event, fields }
    }

    /// A declaration that these seqs will never come.
    pub fn lost(agent: Arc<str>, boot_id: u64, received_us: i64, range: (u64, u64), reason: LossReason) -> Stored {
        let reason = reason.word().map_or_else(|number| format!("#{number}"), str::to_owned);
        let detail = json!({ "from": range.0, "to": range.1, "reason": reason });
        Stored::oddity(agent, boot_id, received_us, "lost", detail)
    }

    /// Something that should not be, found by the collector.
    pub fn oddity(agent: Arc<str>, boot_id: u64, received_us: i64, event: &str, detail: Value) -> Stored {
        let fields = if let Value::Object(fields) = detail { fields } else { Map::new() };
        let (severity, event) = (Severity::WARN, event.to_owned());
        Stored { agent, boot_id, received_us, utc: None, severity, record: None, transaction: None, event, fields }
    }

    /// One line of JSON, without the line end.
    pub fn json(&self) -> String {
        self.value().to_string()
    }

    /// The JSON object; all have the same keys.
    pub fn value(&self) -> Value {
        json!({
            "agent": &*self.agent,
            "boot": format!("{:016x}", self.boot_id),
            "seq": self.record.map(|(seq, _)| seq),
            "mono_us": self.record.map(|(_, mono_us)| mono_us),
            "utc": self.utc.map(|moment| utc(moment.us)),
            "utc_error_us": self.utc.map(|moment| moment.error_us),
            "received_at": utc(self.received_us),
            "severity": self.severity.name(),
            "severity_number": self.severity.number(),
            "event": self.event,
            "transaction": self.transaction,
            "fields": self.fields,
        })
    }

    /// One line for a terminal, without the line end.
    pub fn pretty(&self, colour: bool) -> String {
        let time = utc(self.received_us);
        format!("{} {} {}", time.get(11..23).unwrap_or_default(), escape(&self.agent), self.story(colour))
    }

    /// What happened, for a terminal: severity, event, transaction and fields.
    pub fn story(&self, colour: bool) -> String {
        let (paint, plain) = if colour { (severity_colour(self.severity), "\x1b[0m") } else { ("", "") };
        let mut line = format!("{paint}{:<6}{plain} {}", self.severity.name(), escape(&self.event));
        if let Some(transaction) = self.transaction {
            let _ = write!(line, " txn={transaction}");
        }
        for (name, value) in &self.fields {
            let text = match value {
                Value::String(text) if !text.contains([' ', '"', '=']) && !text.is_empty() => escape(text),
                other => escape(&other.to_string()),
            };
            let _ = write!(line, " {name}={text}");
        }
        line
    }
}

/// The name of an event, or `#id` where this version does not know it.
pub fn event_name(id: u16) -> String {
    let spec = outpost_wire::CATALOGUE.iter().find(|spec| spec.id == id);
    spec.map_or_else(|| format!("#{id}"), |spec| spec.name.to_owned())
}

/// The text with control characters written as escapes: what is shown cannot move the cursor or forge a line.
pub fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if c.is_control() {
            out.extend(c.escape_unicode())
        } else {
            out.push(c)
        }
        out
    })
}

/// RFC 3339 with microseconds; a moment outside the years that has says so.
pub fn utc(unix_us: i64) -> String {
    jiff::Timestamp::from_microsecond(unix_us).map_or_else(|_| "out-of-range".to_owned(), |t| format!("{t:.6}"))
}

/// The interned name that `intern` gives, where `record` is one.
pub fn interned<'a>(record: &Record<'a>) -> Option<(u16, &'a str)> {
    match record.decode_event() {
        Some(Event::Intern(intern)) => Some((intern.id.0, intern.text.as_str())),
        _ => None,
    }
}

fn json_value(value: WireValue<'_>, name_of: &mut impl FnMut(u16) -> Option<String>) -> Value {
    match value {
        WireValue::Number(number) => number.into(),
        WireValue::Bool(yes) => yes.into(),
        WireValue::Text(text) => text.into(),
        WireValue::Word(Ok(word)) => word.into(),
        WireValue::Word(Err(number)) => format!("#{number}").into(),
        WireValue::Ip4([a, b, c, d]) => format!("{a}.{b}.{c}.{d}").into(),
        WireValue::Bytes(bytes) if bytes.iter().all(|&byte| byte == 0) => Value::Null,
        WireValue::Bytes(bytes) => hex(bytes).into(),
        WireValue::Name(0) => Value::Null,
        WireValue::Name(id) => name_of(id).unwrap_or_else(|| format!("#{id}")).into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// SGR codes of ECMA-48: red, yellow, bold or dim.
fn severity_colour(severity: Severity) -> &'static str {
    match severity.name() {
        "error" | "fatal" => "\x1b[31m",
        "warn" => "\x1b[33m",
        "notice" => "\x1b[1m",
        "trace" | "debug" => "\x1b[2m",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[u8] = &[0, 3, 0xc8, 1, 192, 0, 2, 1, 42];

    fn stored(event: u16, fields: &[u8]) -> Stored {
        let record =
            Record { seq: 7, mono_us: 1_500_000, severity: Severity::INFO, transaction: Some(5), event, fields };
        Stored::record("a\x1b[2J".into(), 0xab, 1_700_000_000_123_456, &record, |id| {
            (id == 3).then(|| "/livez".to_owned())
        })
    }

    #[test]
    fn json_line_of_a_record() {
        // Scripts read these lines: a renamed key breaks them silently.
        assert_eq!(
            stored(8, FIELDS).json(),
            r##"{"agent":"a\u001b[2J","boot":"00000000000000ab","seq":7,"mono_us":1500000,"utc":null,"utc_error_us":null,"received_at":"2023-11-14T22:13:20.123456Z","severity":"info","severity_number":9,"event":"http.request","transaction":5,"fields":{"method":"GET","route":"/livez","status":200,"client":"192.0.2.1","duration_us":42}}"##
        );
        let unknown = stored(9999, &[1, 0xff]).json();
        assert!(unknown.contains(r##""event":"#9999""##) && unknown.contains(r#"{"raw":"01ff"}"#), "{unknown}");
        // A known event with fields of another layout is raw too, under its name.
        assert!(stored(8, &[1]).json().contains(r#""event":"http.request","transaction":5,"fields":{"raw":"01"}"#));
    }

    #[test]
    fn a_terminal_line_cannot_carry_control_characters() {
        // An agent's name must not be able to clear the operator's screen or forge a line.
        assert_eq!(
            stored(8, FIELDS).pretty(false),
            "22:13:20.123 a\\u{1b}[2J info   http.request txn=5 method=GET route=/livez status=200 client=192.0.2.1 duration_us=42"
        );
        assert!(!stored(8, FIELDS).pretty(false).contains('\x1b'));
        assert!(stored(4, &[0]).pretty(true).contains("\x1b[0m"));
    }
}
