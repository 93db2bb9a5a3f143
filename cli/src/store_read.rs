//! Reading a store: the one view of it that `logs`, `timeline` and the forwarders share.
//!
//! ```text
//! records ─┐
//! lost    ─┼─ of one boot, in the order of seq ─▶ Entry, Entry, …
//! holes   ─┘
//! ```
//!
//! What always holds: the entries of a boot cover every seq from where the reader stood up to what is durable, each
//! once and in order. A seq is a record, or declared lost, or `Missing`: nothing is passed over in silence, also
//! when the store was damaged or somebody deleted rows. What is not durable yet is not seen, so that a reader that
//! remembers the last seq of each boot never has to look back; the one exception, a record that comes although it was
//! declared lost, is announced by an oddity, and [`Place::read`] looks it up.

use crate::collect::{Clock, OpenError, Store, Stored, event_name};
use outpost_wire::session::LossReason;
use outpost_wire::{Record, Severity};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Entries that a boot has at least in its turn, so that many boots do not mean many tiny reads.
const SHARE_MIN: u32 = 16;

/// A boot of an agent, as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Its row.
    pub row: i64,
    /// Name of the agent.
    pub agent: Arc<str>,
    /// Random id of the boot.
    pub boot_id: u64,
    /// Up to this seq everything is a record or declared lost.
    pub durable: u64,
}

pub use crate::collect::Utc;

/// What stands at a place of the log.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A record; its fields are still encoded.
    Record {
        /// Its seq.
        seq: u64,
        /// Monotonic time since boot, in microseconds.
        mono_us: u64,
        /// Its severity as emitted.
        severity: Severity,
        /// Its transaction, local to the boot.
        transaction: Option<u32>,
        /// Id of its event.
        event: u16,
        /// Its fields, encoded.
        fields: Vec<u8>,
    },
    /// Seqs that the agent declared lost.
    Lost {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
        /// Why.
        reason: LossReason,
    },
    /// Records that were here and went by the collector's retention.
    Retired {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
    /// Seqs that the store neither has nor knows to be lost; `outpost verify` calls them unaccounted.
    Missing {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
    /// Something that the collector itself found.
    Oddity {
        /// Its row.
        row: i64,
        /// Its name, like `record.conflict`.
        event: String,
        /// What is particular to it, a JSON object.
        detail: String,
    },
}

/// One place of the log of one boot.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The boot.
    pub boot: Arc<Boot>,
    /// When the collector received it, in microseconds since 1970-01-01 UTC by the collector's clock.
    pub received_us: i64,
    /// When it happened, where the agent's clock was known.
    pub utc: Option<Utc>,
    /// What it is.
    pub what: What,
}

impl Entry {
    /// When it happened, or else when it was received, in microseconds since 1970-01-01 UTC.
    pub fn time_us(&self) -> i64 {
        self.utc.map_or(self.received_us, |utc| utc.us)
    }

    /// The last seq that it speaks of, or the row of an oddity: a reader that has it goes on after it.
    pub fn place(&self) -> u64 {
        match self.what {
            What::Record { seq, .. } => seq,
            What::Lost { to, .. } | What::Retired { to, .. } | What::Missing { to, .. } => to,
            What::Oddity { row, .. } => row.cast_unsigned(),
        }
    }

    /// Its severity as emitted.
    pub fn severity(&self) -> Severity {
        match self.what {
            What::Record { severity, .. } => severity,
            What::Missing { .. } => Severity::ERROR,
            What::Retired { .. } => Severity::INFO,
            What::Lost { .. } | What::Oddity { .. } => Severity::WARN,
        }
    }

    /// The name of its event; `lost` and `missing` are the collector's own.
    pub fn event(&self) -> String {
        match &self.what {
            What::Record { event, .. } => event_name(*event),
            What::Lost { .. } => "lost".to_owned(),
            What::Retired { .. } => "retired".to_owned(),
            What::Missing { .. } => "missing".to_owned(),
            What::Oddity { event, .. } => event.clone(),
        }
    }

    /// Where a record, or the first of a range, stands in the log of all agents: agent/boot/seq. An oddity has its
    /// row in place of a seq.
    pub fn uid(&self) -> String {
        let place = match self.what {
            What::Record { seq, .. } => seq.to_string(),
            What::Lost { from, to, .. } => format!("lost-{from}-{to}"),
            What::Retired { from, to } => format!("retired-{from}-{to}"),
            What::Missing { from, to } => format!("missing-{from}-{to}"),
            What::Oddity { row, .. } => format!("oddity-{row}"),
        };
        format!("{}/{:016x}/{place}", self.boot.agent, self.boot.boot_id)
    }
}

/// An open store.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
}

impl Reader {
    /// Opens a store for reading alone; a collector may be writing to it.
    pub fn open(path: &Path) -> Result<Reader, OpenError> {
        Store::open_to_read(path).map(Reader::new)
    }

    /// Reads by this connection to a store.
    pub fn new(connection: Connection) -> Reader {
        Reader { connection }
    }

    /// The connection, for what is not the log.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// A number that changes when somebody else has written to the store.
    pub fn version(&self) -> rusqlite::Result<i64> {
        self.connection.query_row("PRAGMA data_version", [], |row| row.get(0))
    }

    /// Every boot, in the order in which the store first saw them.
    pub fn boots(&self) -> rusqlite::Result<Vec<Arc<Boot>>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT boots.id, name, boot_id, durable FROM boots JOIN agents ON agents.id = boots.agent ORDER BY boots.id",
        )?;
        let boots = statement.query_map([], |row| boot(row, 0).map(Arc::new))?;
        boots.collect()
    }

    /// What comes after seq `after` of a boot, in order, up to what was durable when `boot` was read: at most `limit`
    /// records with the gaps around them. Nothing when there is nothing.
    pub fn entries(&self, boot: &Arc<Boot>, after: u64, limit: u32) -> rusqlite::Result<Vec<Entry>> {
        let records = self.records(boot, after, limit)?;
        let to = match records.last().map(Entry::place) {
            Some(last) if records.len() >= limit as usize => last,
            _ => boot.durable,
        };
        let mut gaps = Gaps { boot, lost: self.lost(boot, after, to)?, expected: after + 1, entries: Vec::new() };
        for record in records {
            let seq = record.place();
            gaps.until(seq, record.received_us);
            gaps.expected = seq + 1;
            gaps.entries.push(record);
        }
        let received_us = gaps.entries.last().map(|entry| entry.received_us);
        if gaps.expected <= to {
            let received_us = received_us.map_or_else(|| self.last_seen(boot), Ok)?;
            gaps.until(to + 1, received_us);
        }
        Ok(gaps.entries)
    }

    /// What the collector found after row `after`, oldest first, at most `limit`.
    pub fn oddities(&self, after: i64, limit: u32) -> rusqlite::Result<Vec<Entry>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT oddities.id, boots.id, name, boot_id, durable, received_us, event, detail
             FROM oddities JOIN boots ON boots.id = oddities.boot JOIN agents ON agents.id = boots.agent
             WHERE oddities.id > ?1 ORDER BY oddities.id LIMIT ?2",
        )?;
        let rows = statement.query_map(params![after, limit], |row| {
            Ok(Entry {
                boot: Arc::new(boot(row, 1)?),
                received_us: row.get(5)?,
                utc: None,
                what: What::Oddity { row: row.get(0)?, event: row.get(6)?, detail: row.get(7)? },
            })
        })?;
        rows.collect()
    }

    /// The entry in the collector's form, with its fields decoded and interned names looked up.
    pub fn decode(&self, entry: &Entry) -> Stored {
        let (agent, boot_id, received_us) = (entry.boot.agent.clone(), entry.boot.boot_id, entry.received_us);
        match &entry.what {
            What::Record { seq, mono_us, severity, transaction, event, fields } => {
                let (seq, mono_us) = (*seq, *mono_us);
                let (severity, transaction, event) = (*severity, *transaction, *event);
                let record = Record { seq, mono_us, severity, transaction, event, fields };
                let name_of = |id| self.name(entry.boot.row, id);
                Stored { utc: entry.utc, ..Stored::record(agent, boot_id, received_us, &record, name_of) }
            }
            What::Lost { from, to, reason } => Stored::lost(agent, boot_id, received_us, (*from, *to), *reason),
            What::Missing { from, to } | What::Retired { from, to } => {
                let detail = json!({ "from": from, "to": to });
                let mut stored = Stored::oddity(agent, boot_id, received_us, &entry.event(), detail);
                stored.severity = entry.severity();
                stored
            }
            What::Oddity { event, detail, .. } => {
                let detail = serde_json::from_str(detail).unwrap_or(Value::Null);
                Stored::oddity(agent, boot_id, received_us, event, detail)
            }
        }
    }

    fn records(&self, boot: &Arc<Boot>, after: u64, limit: u32) -> rusqlite::Result<Vec<Entry>> {
        let clock = Clock::of(&self.connection, boot.row)?;
        let mut statement = self.connection.prepare_cached(
            "SELECT seq, received_us, mono_us, severity, txn, event, fields
             FROM records WHERE boot = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq LIMIT ?4",
        )?;
        let rows =
            statement.query_map(params![boot.row, after.cast_signed(), boot.durable.cast_signed(), limit], |row| {
                let mono_us = row.get::<_, i64>(2)?.cast_unsigned();
                Ok(Entry {
                    boot: boot.clone(),
                    received_us: row.get(1)?,
                    utc: clock.utc(mono_us),
                    what: What::Record {
                        seq: row.get::<_, i64>(0)?.cast_unsigned(),
                        mono_us,
                        severity: Severity::from_number(row.get(3)?).unwrap_or(Severity::INFO),
                        transaction: row.get(4)?,
                        event: row.get(5)?,
                        fields: row.get::<_, Option<Vec<u8>>>(6)?.unwrap_or_default(),
                    },
                })
            })?;
        rows.collect()
    }

    /// The record that an oddity says has come although it was declared lost.
    fn late(&self, oddity: &Entry) -> rusqlite::Result<Option<Entry>> {
        let What::Oddity { event, detail, .. } = &oddity.what else { return Ok(None) };
        let detail: Value = serde_json::from_str(detail).unwrap_or_default();
        match detail.get("seq").and_then(Value::as_u64) {
            Some(seq @ 1..) if event == "record.late" => {
                let entries = self.records(&oddity.boot, seq - 1, 1)?;
                Ok(entries.into_iter().find(|entry| entry.place() == seq))
            }
            _ => Ok(None),
        }
    }

    fn lost(&self, boot: &Boot, after: u64, to: u64) -> rusqlite::Result<Vec<Range>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT from_seq, to_seq, received_us, reason FROM lost
             WHERE boot = ?1 AND from_seq <= ?3 AND to_seq > ?2
             UNION ALL SELECT from_seq, to_seq, retired_us, NULL FROM retired
             WHERE boot = ?1 AND from_seq <= ?3 AND to_seq > ?2 ORDER BY 1",
        )?;
        let rows = statement.query_map(params![boot.row, after.cast_signed(), to.cast_signed()], |row| {
            Ok(Range {
                from: row.get::<_, i64>(0)?.cast_unsigned(),
                to: row.get::<_, i64>(1)?.cast_unsigned(),
                received_us: row.get(2)?,
                reason: row.get::<_, Option<u8>>(3)?.map(LossReason::from),
            })
        })?;
        rows.collect()
    }

    fn last_seen(&self, boot: &Boot) -> rusqlite::Result<i64> {
        self.connection.query_row("SELECT last_seen_us FROM boots WHERE id = ?1", [boot.row], |row| row.get(0))
    }

    fn name(&self, boot: i64, id: u16) -> Option<String> {
        let mut statement =
            self.connection.prepare_cached("SELECT text FROM names WHERE boot = ?1 AND id = ?2").ok()?;
        statement.query_row(params![boot, id], |row| row.get(0)).optional().ok().flatten()
    }
}

/// How far a reader has read: the last seq of each boot and the last row of the oddities. Also the distance between
/// two such places, for [`Place::advance`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The last seq of each boot, by its row.
    pub seqs: BTreeMap<i64, u64>,
    /// The last row of the oddities.
    pub oddity: i64,
    /// The boot that had the last turn.
    turn: i64,
}

impl Place {
    /// After everything that is in the store now.
    pub fn end(reader: &Reader, boots: &[Arc<Boot>]) -> rusqlite::Result<Place> {
        let oddity = reader.connection.query_row("SELECT ifnull(max(id), 0) FROM oddities", [], |row| row.get(0))?;
        Ok(Place { seqs: boots.iter().map(|boot| (boot.row, boot.durable)).collect(), oddity, turn: 0 })
    }

    /// Where these entries end.
    pub fn of<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> Place {
        let mut place = Place::default();
        for entry in entries {
            if let What::Oddity { row, .. } = entry.what {
                place.oddity = row;
            } else {
                place.pass(entry.boot.row, entry.place());
                place.turn = entry.boot.row;
            }
        }
        place
    }

    /// What comes next, about `limit` entries, and each boot's in order. No boot waits for another: those that have
    /// something share the limit, and the next call begins after the last that had its turn.
    pub fn read(&self, reader: &Reader, limit: u32) -> rusqlite::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for oddity in reader.oddities(self.oddity, limit)? {
            let late = reader.late(&oddity)?;
            entries.push(oddity);
            entries.extend(late);
        }
        let mut boots = reader.boots()?;
        boots.retain(|boot| boot.durable > self.after(boot));
        let share = (limit / u32::try_from(boots.len()).unwrap_or(u32::MAX).max(1)).max(SHARE_MIN);
        let first = boots.partition_point(|boot| boot.row <= self.turn);
        boots.rotate_left(first);
        for boot in boots {
            if entries.len() >= limit as usize {
                break;
            }
            entries.append(&mut reader.entries(&boot, self.after(&boot), share)?);
        }
        Ok(entries)
    }

    /// Goes on to there.
    pub fn advance(&mut self, to: &Place) {
        to.seqs.iter().for_each(|(boot, seq)| self.pass(*boot, *seq));
        self.oddity = self.oddity.max(to.oddity);
        self.turn = to.turn;
    }

    /// Never back: a record can come late, behind where its boot was read to.
    fn pass(&mut self, boot: i64, seq: u64) {
        let place = self.seqs.entry(boot).or_insert(seq);
        *place = seq.max(*place);
    }

    fn after(&self, boot: &Boot) -> u64 {
        self.seqs.get(&boot.row).copied().unwrap_or(0)
    }
}

/// The boot in four columns from this one on.
fn boot(row: &Row<'_>, first: usize) -> rusqlite::Result<Boot> {
    Ok(Boot {
        row: row.get(first)?,
        agent: row.get::<_, String>(first + 1)?.into(),
        boot_id: row.get::<_, i64>(first + 2)?.cast_unsigned(),
        durable: row.get::<_, i64>(first + 3)?.cast_unsigned(),
    })
}

/// A row of `lost`, or of `retired`.
struct Range {
    from: u64,
    to: u64,
    received_us: i64,
    /// Why it was lost; nothing for what went by retention.
    reason: Option<LossReason>,
}

/// Cuts the holes between records into what was declared lost and what is missing.
struct Gaps<'a> {
    boot: &'a Arc<Boot>,
    lost: Vec<Range>,
    /// The next seq that nothing was said of.
    expected: u64,
    entries: Vec<Entry>,
}

impl Gaps<'_> {
    /// Says what became of every seq from the expected one to before `end`.
    fn until(&mut self, end: u64, received_us: i64) {
        let mut at = self.expected;
        for range in &self.lost {
            let (from, to) = (range.from.max(at), range.to.min(end.saturating_sub(1)));
            if from > to {
                continue;
            }
            if at < from {
                let what = What::Missing { from: at, to: from - 1 };
                self.entries.push(Entry { boot: self.boot.clone(), received_us, utc: None, what });
            }
            let what = match range.reason {
                Some(reason) => What::Lost { from, to, reason },
                None => What::Retired { from, to },
            };
            self.entries.push(Entry { boot: self.boot.clone(), received_us: range.received_us, utc: None, what });
            at = to + 1;
        }
        if at < end {
            let what = What::Missing { from: at, to: end - 1 };
            self.entries.push(Entry { boot: self.boot.clone(), received_us, utc: None, what });
        }
        self.expected = end;
    }
}
