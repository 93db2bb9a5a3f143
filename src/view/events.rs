//! `/events`: the records in the ring, a JSON document a line.
//!
//! A line is what `outpost logs --json` prints of the same record, but for `received_at`, which a collector adds, and
//! `runbook`, which only the agent knows: its content bundle has a page for the event. Lost
//! records are a `gap` line in their place, and the last line says where to go on. Records of one boot are told, of
//! this one unless another is asked for.

use super::{View, hex_text};
use crate::content;
use crate::http::query::Query;
use crate::limits;
use crate::log::{Boot, Log, Reader, Step};
use crate::time::utc::rfc3339;
use core::fmt::{self, Display};
use core::net::Ipv4Addr;
use heapless::{String, Vec};
use outpost_wire::session::LossReason;
use outpost_wire::{Fields, NameId, Record, Value};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use smoltcp::time::Instant;

/// One record. The order of the fields is that of `outpost logs --json`.
#[derive(Serialize)]
struct RecordLine<'v> {
    agent: &'v str,
    boot: &'v str,
    seq: u64,
    mono_us: u64,
    utc: Option<&'v str>,
    utc_error_us: Option<u64>,
    severity: &'static str,
    severity_number: u8,
    event: &'v str,
    transaction: Option<u32>,
    fields: Named<'v>,
    /// Where the content bundle's page for this event is, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    runbook: Option<RunbookPath>,
}

/// Every path of a runbook fits.
type RunbookPath = String<{ RUNBOOKS.len() + content::NAME }>;

const RUNBOOKS: &str = "/runbook/";

#[derive(Serialize)]
struct GapLine {
    gap: Gap,
}

#[derive(Serialize)]
struct Gap {
    from: u64,
    to: u64,
    reason: &'static str,
}

/// The last line.
#[derive(Serialize)]
struct NextLine<'v> {
    next: u64,
    boot: &'v str,
    earlier_boots: Vec<String<16>, { limits::LOG_BOOTS }>,
}

/// The longest last line with its line end, in bytes.
const NEXT_MAX: usize = 80 + 24 * limits::LOG_BOOTS;

impl View<'_, '_> {
    /// Writes what the query asks for; `None` when it names a boot of which nothing is held.
    pub fn write_events(&self, query: &Query, out: &mut [u8]) -> Option<usize> {
        let boots = self.log.boots();
        let this = boots.first()?;
        let boot = boots.iter().find(|boot| query.boot.is_none_or(|id| id == boot.id))?;
        let boot_text = hex_text::<16>(boot.id);
        let limit = query.limit.unwrap_or(limits::EVENTS_DEFAULT);
        let from = query.since.unwrap_or(boot.next.saturating_sub(limit.into()));
        let mut reader = Reader::new(boot.id, from);
        let mut lines = Lines { room: out.len().checked_sub(NEXT_MAX)?, out, len: 0 };
        for _ in 0..limit {
            let told = match self.log.read(&mut reader) {
                Step::End => break,
                Step::Lost(from, to, reason) => lines.put(&GapLine { gap: gap(boot, from, to, reason) }).map(|()| to),
                Step::Record(seq, body) => self.put_record(boot, this, &boot_text, seq, body, &mut lines).map(|()| seq),
            };
            match told {
                Some(seq) => reader.pass(seq),
                None => break,
            }
        }
        lines.room = lines.out.len();
        let earlier_boots = boots.iter().skip(1).map(|boot| hex_text(boot.id)).collect();
        lines.put(&NextLine { next: reader.next_seq(), boot: &boot_text, earlier_boots })?;
        Some(lines.len)
    }

    fn put_record(
        &self,
        boot: &Boot,
        this: &Boot,
        boot_text: &str,
        seq: u64,
        body: &[u8],
        lines: &mut Lines<'_>,
    ) -> Option<()> {
        // What is in the ring has passed its CRC; what is no record all the same is a line without fields.
        let nothing = Record::decode_body(seq, &[0, 1, 0, 0]);
        let record = Record::decode_body(seq, body).or(nothing).ok()?;
        let is_this = boot.id == this.id;
        let read = record.read_fields();
        let moment = Instant::from_micros(i64::try_from(record.mono_us).unwrap_or(i64::MAX));
        let estimate = self.known.time.now(self.now).filter(|_| is_this).map(|known| known.carried_to(moment));
        let utc = estimate.map(|estimate| rfc3339(estimate.unix_us));
        let mut unknown = String::<8>::new();
        let name = match &read {
            Some((spec, _)) => spec.name,
            None => {
                let _ = core::fmt::write(&mut unknown, format_args!("#{}", record.event));
                &unknown
            }
        };
        lines.put(&RecordLine {
            agent: &self.config().name,
            boot: boot_text,
            seq,
            mono_us: record.mono_us,
            utc: utc.as_ref().and_then(|utc| core::str::from_utf8(utc).ok()),
            utc_error_us: estimate.map(|estimate| estimate.error_us),
            severity: record.severity.name(),
            severity_number: record.severity.number(),
            event: name,
            transaction: record.transaction,
            fields: Named {
                fields: read.map(|(_, fields)| fields),
                raw: record.fields,
                log: is_this.then_some(self.log),
            },
            runbook: self.has_runbook(name).then(|| runbook_path(name)),
        })
    }
}

#[inline(never)]
fn runbook_path(event: &str) -> RunbookPath {
    let mut path = RunbookPath::new();
    // It fits: no name in a bundle is longer.
    let _ = path.push_str(RUNBOOKS).and_then(|()| path.push_str(event));
    path
}

fn gap(boot: &Boot, from: u64, to: u64, reason: LossReason) -> Gap {
    // The collector has these: they are not lost, only no longer here.
    let reason = if from <= boot.acked { "delivered" } else { reason.word().unwrap_or("other") };
    Gap { from, to, reason }
}

/// Lines into a slice, as far as there is room.
struct Lines<'o> {
    out: &'o mut [u8],
    len: usize,
    room: usize,
}

impl Lines<'_> {
    fn put(&mut self, line: &impl Serialize) -> Option<()> {
        let room = self.out.get_mut(self.len..self.room)?;
        let len = serde_json_core::to_slice(line, room).ok()?;
        *room.get_mut(len)? = b'\n';
        self.len += len + 1;
        Some(())
    }
}

/// The fields of a record by their names; of an unknown event, its bytes.
struct Named<'v> {
    fields: Option<Fields<'v>>,
    raw: &'v [u8],
    /// Where its interned texts are: those of earlier boots are not kept.
    log: Option<&'v Log<'v>>,
}

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.fields {
            None => map.serialize_entry("raw", &Raw(self.raw))?,
            Some(fields) => fields
                .clone()
                .try_for_each(|(name, value)| map.serialize_entry(name, &FieldValue { value, log: self.log }))?,
        }
        map.end()
    }
}

/// One value, as `outpost logs` writes it.
struct FieldValue<'v> {
    value: Value<'v>,
    log: Option<&'v Log<'v>>,
}

impl Serialize for FieldValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = |name: NameId| self.log.and_then(|log| log.name_text(name));
        match self.value {
            Value::Number(number) => serializer.serialize_u64(number),
            Value::Bool(yes) => serializer.serialize_bool(yes),
            Value::Text(text) | Value::Word(Ok(text)) => serializer.serialize_str(text),
            Value::Word(Err(number)) => serializer.collect_str(&format_args!("#{number}")),
            Value::Ip4(octets) => serializer.collect_str(&format_args!("{}", Ipv4Addr::from(octets))),
            Value::Bytes(bytes) if bytes.iter().all(|&byte| byte == 0) => serializer.serialize_none(),
            Value::Bytes(bytes) => serializer.collect_str(&format_args!("{}", Hex(bytes))),
            Value::Name(0) => serializer.serialize_none(),
            Value::Name(id) => match text(NameId(id)) {
                Some(text) => serializer.serialize_str(text),
                None => serializer.collect_str(&format_args!("#{id}")),
            },
        }
    }
}

/// The fields of an event that this version does not know: of a newer image, before a reset.
struct Raw<'v>(&'v [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}", Hex(self.0)))
    }
}

struct Hex<'b>(&'b [u8]);

impl Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
