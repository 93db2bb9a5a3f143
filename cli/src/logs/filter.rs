//! Which entries are shown, and how severe they are held to be.
//!
//! A gap could hide what is looked for: it is shown whatever event or severity is asked for, as long as its agent,
//! boot and time are; and in the story of a transaction where it lies within the story.

use super::moment;
use crate::store_read::{Boot, Entry, Reader, What};
use outpost_wire::{Event, Severity};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The filters of the command line.
#[derive(clap::Args, Debug, Default)]
#[group(skip)]
#[command(next_help_heading = "Filters")]
pub struct Args {
    /// From this moment: RFC 3339, a date, or how long ago ("10m ago", 2h)
    #[arg(long, value_name = "MOMENT", value_parser = moment::parse, allow_hyphen_values = true)]
    pub since: Option<i64>,
    /// Before this moment
    #[arg(long, value_name = "MOMENT", value_parser = moment::parse, allow_hyphen_values = true)]
    pub until: Option<i64>,
    /// Event by name or pattern (probe.*); more than once: any of them
    #[arg(long, value_name = "NAME")]
    pub event: Vec<String>,
    /// Of this severity or worse: trace, debug, info, notice, warn, error, fatal or an OpenTelemetry number
    #[arg(long, value_name = "SEVERITY", value_parser = severity)]
    pub severity: Option<Severity>,
    /// One request's whole story: its number, its W3C trace id or its X-Request-ID
    #[arg(long, value_name = "ID")]
    pub transaction: Option<String>,
    /// Agent by name or pattern
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// Boot by its id, or the beginning of one
    #[arg(long, value_name = "HEX", value_parser = boot_id)]
    pub boot: Option<String>,
    /// Hold events to be as severe as this file says: {"probe.failed": "warn", "http.rejected": 5}
    #[arg(long, value_name = "FILE")]
    pub severity_map: Option<PathBuf>,
}

fn severity(text: &str) -> Result<Severity, String> {
    let number = || text.parse().ok().and_then(Severity::from_number);
    Severity::from_name(text).or_else(number).ok_or_else(|| {
        "not a severity. Use trace, debug, info, notice, warn, error, fatal or an OpenTelemetry number from 1 to 24"
            .to_owned()
    })
}

fn boot_id(text: &str) -> Result<String, String> {
    let hex = !text.is_empty() && text.len() <= 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hex { Ok(text.to_ascii_lowercase()) } else { Err("not a boot id: up to 16 hexadecimal digits".to_owned()) }
}

/// The filters, ready for use on a store.
pub struct Filter<'a> {
    args: &'a Args,
    severities: BTreeMap<String, Severity>,
    transaction: Option<Transaction>,
    /// Whether an event's name is asked for, by name.
    events: RefCell<BTreeMap<String, bool>>,
    reader: &'a Reader,
}

impl<'a> Filter<'a> {
    /// Prepares the filters; an error is a sentence for people.
    pub fn new(args: &'a Args, reader: &'a Reader) -> Result<Filter<'a>, String> {
        let severities = args.severity_map.as_deref().map(read_severities).transpose()?.unwrap_or_default();
        let mut filter = Filter { args, severities, transaction: None, events: RefCell::default(), reader };
        if let Some(id) = &args.transaction {
            let boots = filter.boots().map_err(|error| error.to_string())?;
            filter.transaction = Some(Transaction::find(id, reader, &boots).map_err(|error| error.to_string())?);
        }
        Ok(filter)
    }

    /// The boots that may be shown.
    pub fn boots(&self) -> rusqlite::Result<Vec<Arc<Boot>>> {
        let mut boots = self.reader.boots()?;
        boots.retain(|boot| self.shows_boot(boot));
        Ok(boots)
    }

    /// Whether nothing belongs to the transaction that is asked for.
    pub fn finds_no_transaction(&self) -> bool {
        self.transaction.as_ref().is_some_and(|transaction| transaction.stories.is_empty())
    }

    /// How severe it is held to be.
    pub fn severity(&self, entry: &Entry) -> Severity {
        if self.severities.is_empty() {
            return entry.severity();
        }
        self.severities.get(&entry.event()).copied().unwrap_or_else(|| entry.severity())
    }

    /// Whether it is shown.
    pub fn shows(&mut self, entry: &Entry) -> bool {
        if !self.shows_boot(&entry.boot) {
            return false;
        }
        let time = entry.time_us();
        if self.args.since.is_some_and(|since| time < since) || self.args.until.is_some_and(|until| time >= until) {
            return false;
        }
        if let Some(transaction) = &mut self.transaction
            && !transaction.shows(entry)
        {
            return false;
        }
        if matches!(entry.what, What::Lost { .. } | What::Retired { .. } | What::Missing { .. }) {
            return true;
        }
        self.args.severity.is_none_or(|least| self.severity(entry) >= least) && self.shows_event(entry)
    }

    fn shows_boot(&self, boot: &Boot) -> bool {
        self.args.agent.as_ref().is_none_or(|pattern| self.glob(pattern, &boot.agent))
            && self.args.boot.as_ref().is_none_or(|prefix| format!("{:016x}", boot.boot_id).starts_with(prefix))
    }

    fn shows_event(&self, entry: &Entry) -> bool {
        if self.args.event.is_empty() {
            return true;
        }
        let any = |name: &str| self.args.event.iter().any(|pattern| self.glob(pattern, name));
        *self.events.borrow_mut().entry(entry.event()).or_insert_with_key(|name| any(name))
    }

    /// SQLite's own patterns: `*`, `?` and `[a-z]`.
    fn glob(&self, pattern: &str, text: &str) -> bool {
        if pattern == text {
            return true;
        }
        let glob = self.reader.connection().prepare_cached("SELECT ?2 GLOB ?1");
        glob.and_then(|mut glob| glob.query_row([pattern, text], |row| row.get(0))).unwrap_or(false)
    }
}

/// The map of a file; every event must exist and every severity be one, so that a slip of the pen is not a filter.
fn read_severities(path: &Path) -> Result<BTreeMap<String, Severity>, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{shown} cannot be read: {error}. Give the path of a severity map."))?;
    let map: BTreeMap<String, Value> = serde_json::from_str(&text).map_err(|error| {
        format!("{shown} is not a severity map ({error}). Write it like {{\"probe.failed\": \"warn\"}}.")
    })?;
    map.into_iter()
        .map(|(event, value)| {
            let known = outpost_wire::CATALOGUE.iter().any(|spec| spec.name == event) || event.starts_with('#');
            if !known && !crate::explain::is_of_the_collector(&event) {
                return Err(format!("{shown}: no event is called {event:?}. `outpost explain` lists them."));
            }
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let severity = severity(&text).map_err(|problem| format!("{shown}: {event}: {value} is {problem}."))?;
            Ok((event, severity))
        })
        .collect()
}

/// What belongs to one request.
struct Transaction {
    id: TransactionId,
    /// The transactions of boots, by the boot's row and their number, with their first and last seq.
    stories: BTreeMap<(i64, u32), (u64, u64)>,
    /// Rows of the boots that have one.
    boots: BTreeSet<i64>,
}

/// What a transaction is looked for by. A text can be more than one of them.
struct TransactionId {
    /// Its number in its boot.
    number: Option<u32>,
    /// Its W3C trace id, as hexadecimal digits.
    trace: Option<String>,
    /// What X-Request-ID said.
    request: String,
}

impl Transaction {
    fn find(text: &str, reader: &Reader, boots: &[Arc<Boot>]) -> rusqlite::Result<Transaction> {
        let mut found = Transaction { id: TransactionId::new(text), stories: BTreeMap::new(), boots: BTreeSet::new() };
        let connection = reader.connection();
        let mut bound =
            connection.prepare("SELECT txn, fields FROM records WHERE boot = ?1 AND event = ?2 AND txn IS NOT NULL")?;
        for boot in boots {
            let derived = found.id.derived_from(boot.boot_id);
            for number in found.id.number.into_iter().chain(derived) {
                found.add(reader, boot.row, number)?;
            }
            let mut rows = bound.query((boot.row, outpost_wire::TransactionBound::SPEC.id))?;
            while let Some(row) = rows.next()? {
                let fields: Vec<u8> = row.get(1)?;
                if found.id.is_bound_by(&fields) {
                    found.add(reader, boot.row, row.get(0)?)?;
                }
            }
        }
        Ok(found)
    }

    fn add(&mut self, reader: &Reader, boot: i64, number: u32) -> rusqlite::Result<()> {
        let mut span = reader
            .connection()
            .prepare_cached("SELECT min(seq), max(seq) FROM records WHERE boot = ?1 AND txn = ?2")?;
        let (first, last): (Option<i64>, Option<i64>) =
            span.query_row((boot, number), |row| Ok((row.get(0)?, row.get(1)?)))?;
        if let Some((first, last)) = first.zip(last) {
            self.stories.insert((boot, number), (first.cast_unsigned(), last.cast_unsigned()));
            self.boots.insert(boot);
        }
        Ok(())
    }

    fn shows(&mut self, entry: &Entry) -> bool {
        let boot = entry.boot.row;
        match &entry.what {
            What::Record { seq, transaction: Some(number), event, fields, .. } => {
                // With --follow a transaction can begin, or get its name, now.
                let begins = self.id.number == Some(*number)
                    || self.id.derived_from(entry.boot.boot_id) == Some(*number)
                    || (*event == outpost_wire::TransactionBound::SPEC.id && self.id.is_bound_by(fields));
                if begins {
                    self.boots.insert(boot);
                    self.stories.entry((boot, *number)).or_insert((*seq, *seq));
                }
                self.stories.contains_key(&(boot, *number))
            }
            What::Lost { from, to, .. } | What::Retired { from, to } | What::Missing { from, to } => {
                let of_boot = (boot, 0)..=(boot, u32::MAX);
                self.boots.contains(&boot)
                    && self.stories.range(of_boot).any(|(_, (first, last))| from <= last && first <= to)
            }
            _ => false,
        }
    }
}

impl TransactionId {
    fn new(text: &str) -> TransactionId {
        // A whole traceparent (W3C Trace Context, section 3.2): version-trace-parent-flags.
        let trace = match text.split('-').collect::<Vec<_>>()[..] {
            [_, trace, parent, _] if parent.len() == 16 => trace,
            _ => text,
        };
        let is_trace = trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit());
        TransactionId {
            number: text.parse().ok(),
            trace: is_trace.then(|| trace.to_ascii_lowercase()),
            request: text.to_owned(),
        }
    }

    /// The transaction of this boot that the forwarders give this trace id for want of one from outside.
    fn derived_from(&self, boot_id: u64) -> Option<u32> {
        let (boot, number) = self.trace.as_deref()?.split_at_checked(16)?;
        let number = u32::try_from(u64::from_str_radix(number, 16).ok()?).ok()?;
        (u64::from_str_radix(boot, 16) == Ok(boot_id)).then_some(number)
    }

    fn is_bound_by(&self, fields: &[u8]) -> bool {
        let Some(Event::TransactionBound(bound)) = Event::decode(outpost_wire::TransactionBound::SPEC.id, fields)
        else {
            return false;
        };
        let trace: String = bound.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
        bound.request_id.as_str() == self.request || self.trace.as_ref() == Some(&trace)
    }
}
