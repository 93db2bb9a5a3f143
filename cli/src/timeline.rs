//! `outpost timeline`: what happened in a stretch of time, as the first draft of a postmortem.
//!
//! ```text
//! store ─▶ merge ─┬─ before --from: what is open at the beginning?
//!                 └─ until --to: detection, changes with gaps in their places, recovery
//! ```
//!
//! It only says what records say, each with its seq, and how well its time is known. What was lost is said where it
//! was lost, because the cause may have been in it.

use crate::collect::{OpenError, Stored, escape, utc};
use crate::logs::filter::{self, Filter};
use crate::logs::format::{json, milliseconds, time};
use crate::logs::merge::Merge;
use crate::logs::{StoreArgs, moment};
use crate::store_read::{Entry, Reader, What};
use outpost_wire::{CATALOGUE, DOCUMENTATION, Lane, Severity};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

/// Rows of changes; what comes after is counted. A postmortem of more is one of several.
const CHANGES_MAX: usize = 5_000;

/// What goes wrong and by what it is over, for one agent. A boot that begins ends what the boot before it had.
const PROBLEMS: [(&str, &[&str]); 8] = [
    ("network.down", &["network.up", BOOT]),
    ("dhcp.lost", &["dhcp.bound", BOOT]),
    ("dhcp.timeout", &["dhcp.bound", BOOT]),
    ("collector.lost", &["collector.connected", BOOT]),
    ("clock.lost", &["clock.sync", BOOT]),
    ("config.invalid", &[BOOT]),
    ("panic", &[BOOT]),
    ("shutdown", &[BOOT]),
];

/// The first record of a boot.
const BOOT: &str = "boot.started";

/// Of the vital lane, but no change: these come all the time. (clock.sync is one where it ends clock.lost.)
const ROUTINE: [&str; 2] = ["intern", "clock.sync"];

const EXAMPLES: &str = "\
Examples:
  outpost timeline --from \"2h ago\" > postmortem.md
  outpost timeline store.db --from 2026-03-01T11:50:00Z --to 2026-03-01T12:30:00Z --agent fra1
  outpost timeline --json --from 2026-03-01 | jq .recovery

It has what changed: network, collector, boot, configuration, clock, panics, warnings and worse; the others are counted.
Exit code: 0 it was written, 2 the store cannot be read.";

/// What `outpost timeline` is told.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Which store
    #[command(flatten)]
    pub store: StoreArgs,
    /// From this moment: RFC 3339, a date, or how long ago ("10m ago", 2h)
    #[arg(long, value_name = "MOMENT", value_parser = moment::parse)]
    pub from: Option<i64>,
    /// Before this moment
    #[arg(long, value_name = "MOMENT", value_parser = moment::parse)]
    pub to: Option<i64>,
    /// Agent by name or pattern
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// JSON instead of Markdown
    #[arg(long)]
    pub json: bool,
}

/// Tells what happened; has told everything when it returns.
pub fn run(args: &Args) -> ExitCode {
    let text = match Timeline::read(args) {
        Ok(timeline) if args.json => format!("{:#}\n", timeline.json()),
        Ok(timeline) => timeline.markdown(),
        Err(error) => {
            eprintln!("outpost timeline: {error}");
            return ExitCode::from(2);
        }
    };
    // A reader that went away (`| head`) has what it wanted.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// An entry with what it decodes to.
#[derive(Clone)]
struct Change {
    entry: Entry,
    stored: Stored,
}

/// A problem, and what it was over by.
struct Problem {
    began: Change,
    ended: Option<Change>,
}

/// What happened in a stretch of time.
struct Timeline {
    from: Option<i64>,
    to: Option<i64>,
    /// Records seen in it, of all kinds, by agent.
    agents: BTreeMap<Arc<str>, u64>,
    /// The first that says that something is wrong, and whether a gap of its agent lies before it.
    detection: Option<(Change, bool)>,
    changes: Vec<Change>,
    changes_left_out: u64,
    /// In the order in which they began; those that began before and were over before are not here.
    problems: Vec<Problem>,
    /// Records that are no change, by event.
    others: BTreeMap<String, u64>,
}

impl Timeline {
    fn read(args: &Args) -> Result<Timeline, String> {
        let path = args.store.path();
        let reader = Reader::open(path).map_err(|error| error.to_string())?;
        let reading = |error: rusqlite::Error| OpenError::reading(path, &error).to_string();
        let of_agent = filter::Args { agent: args.agent.clone(), ..filter::Args::default() };
        let mut filter = Filter::new(&of_agent, &reader)?;
        let snapshot = reader.connection().unchecked_transaction().map_err(reading)?;
        let mut timeline = Timeline {
            from: args.from,
            to: args.to,
            agents: BTreeMap::new(),
            detection: None,
            changes: Vec::new(),
            changes_left_out: 0,
            problems: Vec::new(),
            others: BTreeMap::new(),
        };
        let boots = filter.boots().map_err(reading)?;
        for entry in Merge::new(&reader, &boots).map_err(reading)? {
            let entry = entry.map_err(reading)?;
            if filter.shows(&entry) && timeline.to.is_none_or(|to| entry.time_us() < to) {
                timeline.take(&reader, entry);
            }
        }
        snapshot.finish().map_err(reading)?;
        timeline.problems.retain(|problem| {
            let over = problem.ended.as_ref().map(|ended| ended.entry.time_us());
            over.zip(args.from).is_none_or(|(over, from)| over >= from)
        });
        Ok(timeline)
    }

    fn take(&mut self, reader: &Reader, entry: Entry) {
        let before = self.from.is_some_and(|from| entry.time_us() < from);
        let event = entry.event();
        let ends = self.problems.iter().any(|problem| problem.is_ended_by(&entry, &event));
        if !before && matches!(entry.what, What::Record { .. }) {
            *self.agents.entry(entry.boot.agent.clone()).or_default() += 1;
        }
        if !ends && !is_change(&entry, &event) {
            if !before {
                *self.others.entry(event).or_default() += 1;
            }
            return;
        }
        let change = Change { stored: reader.decode(&entry), entry };
        for problem in self.problems.iter_mut().filter(|problem| problem.is_ended_by(&change.entry, &event)) {
            problem.ended = Some(change.clone());
        }
        if PROBLEMS.iter().any(|(name, _)| *name == event) && !self.goes_on(&change.entry, &event) {
            self.problems.push(Problem { began: change.clone(), ended: None });
        }
        if before {
            return;
        }
        if self.detection.is_none() && !change.is_gap() && change.stored.severity >= Severity::WARN {
            let agent = &change.entry.boot.agent;
            let gap = self.changes.iter().any(|earlier| earlier.is_gap() && earlier.entry.boot.agent == *agent);
            self.detection = Some((change.clone(), gap));
        }
        if self.changes.len() < CHANGES_MAX {
            self.changes.push(change);
        } else {
            self.changes_left_out += 1;
        }
    }

    /// Whether this problem of this agent was there already: collector.lost is told again and again.
    fn goes_on(&self, entry: &Entry, event: &str) -> bool {
        let same = |problem: &Problem| {
            problem.ended.is_none()
                && problem.began.stored.event == event
                && problem.began.entry.boot.agent == entry.boot.agent
        };
        self.problems.iter().any(same)
    }

    fn gaps(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.is_gap())
    }

    /// From and to, as far as they were given.
    fn stretch(&self) -> String {
        let shown = |us| utc(us).replace(".000000Z", "Z");
        let from = self.from.map_or_else(|| "the first record".to_owned(), shown);
        format!("{from} to {}", self.to.map_or_else(|| "the last record".to_owned(), shown))
    }

    fn markdown(&self) -> String {
        let mut out = format!("# Timeline, {}\n\n", self.stretch());
        let agents: Vec<_> =
            self.agents.iter().map(|(agent, records)| format!("{} ({records} records)", cell(agent))).collect();
        let _ = writeln!(out, "Agents: {}.", if agents.is_empty() { "none".to_owned() } else { agents.join(", ") });
        out += "A time with ± is UTC and how far off it may be at most; one marked `recv` is when the collector \
                received the record, because the agent's clock was not known.\n\n## Detection\n\n";
        match &self.detection {
            Some((change, gap)) => {
                let _ = writeln!(
                    out,
                    "{}: **{}** on {}. {}",
                    time(&change.entry),
                    cell(&change.stored.event),
                    change.place(),
                    change.meaning()
                );
                let _ = writeln!(out, "\n`{}`", code(&change.stored.story(false)));
                if *gap {
                    out += "\nRecords of this agent are lost before it: the first sign may have been among them.\n";
                }
            }
            None => out += "No record says that something went wrong.\n",
        }
        for problem in self.problems.iter().filter(|problem| self.is_before(problem)) {
            let began = &problem.began;
            let _ = writeln!(
                out,
                "\nAlready so at the beginning: {} on {} since {}.",
                cell(&began.stored.event),
                began.place(),
                time(&began.entry)
            );
        }
        out += "\n## Changes\n\n";
        if self.changes.is_empty() {
            out += "None.\n";
        } else {
            out += "| time | agent | seq | severity | event | what |\n|---|---|---|---|---|---|\n";
            self.changes.iter().for_each(|change| out += &change.row());
        }
        if self.changes_left_out > 0 {
            let _ = writeln!(out, "\nAnd {} more: ask for a shorter time.", self.changes_left_out);
        }
        out += "\n## Recovery\n\n";
        if self.problems.is_empty() {
            out += "There was nothing to recover from.\n";
        } else {
            out += "| problem | agent | began | over | by | lasted |\n|---|---|---|---|---|---|\n";
            self.problems.iter().for_each(|problem| out += &problem.row());
        }
        out += "\n## Gaps\n\n";
        if self.gaps().next().is_none() {
            out += "None: every record of this time that the store knows of is in it.\n";
        }
        for gap in self.gaps() {
            let _ = writeln!(out, "* {} boot {:016x}: {}", cell(&gap.stored.agent), gap.stored.boot_id, gap.what());
        }
        if !self.others.is_empty() {
            let others: Vec<_> = self.others.iter().map(|(event, count)| format!("{} {count}", cell(event))).collect();
            let _ = writeln!(out, "\nNot shown: {}.", others.join(", "));
        }
        out
    }

    fn is_before(&self, problem: &Problem) -> bool {
        self.from.is_some_and(|from| problem.began.entry.time_us() < from)
    }

    fn json(&self) -> Value {
        let problem = |problem: &Problem| {
            json!({
                "problem": problem.began.stored.event, "agent": &*problem.began.stored.agent,
                "began": problem.began.json(), "over": problem.ended.as_ref().map(Change::json),
                "lasted_us": problem.lasted().map(|(us, _)| us),
                "lasted_error_us": problem.lasted().and_then(|(_, error_us)| error_us),
                "began_before": self.is_before(problem),
            })
        };
        json!({
            "from": self.from.map(utc), "to": self.to.map(utc),
            "agents": self.agents.iter().map(|(agent, records)| json!({ "agent": &**agent, "records": records })).collect::<Vec<_>>(),
            "detection": self.detection.as_ref().map(|(change, _)| change.json()),
            "gap_before_detection": self.detection.as_ref().is_some_and(|(_, gap)| *gap),
            "changes": self.changes.iter().map(Change::json).collect::<Vec<_>>(),
            "changes_left_out": self.changes_left_out,
            "recovery": self.problems.iter().map(problem).collect::<Vec<_>>(),
            "gaps": self.gaps().map(Change::json).collect::<Vec<_>>(),
            "others": self.others,
        })
    }
}

/// What the catalogue calls a change of state, and whatever is a warning or worse.
fn is_change(entry: &Entry, event: &str) -> bool {
    let vital = CATALOGUE.iter().any(|spec| spec.name == event && spec.lane == Lane::Vital);
    (vital && !ROUTINE.contains(&event)) || entry.severity() >= Severity::WARN
}

impl Problem {
    fn is_ended_by(&self, entry: &Entry, event: &str) -> bool {
        let ends = |(name, by): &(&str, &[&str])| *name == self.began.stored.event && by.contains(&event);
        self.ended.is_none() && self.began.entry.boot.agent == entry.boot.agent && PROBLEMS.iter().any(ends)
    }

    /// How long, in microseconds, and how wrong that may be: exact within a boot, unknown (`None`) where a time is
    /// the collector's.
    fn lasted(&self) -> Option<(i64, Option<u64>)> {
        let (began, ended) = (&self.began.entry, &self.ended.as_ref()?.entry);
        if let (What::Record { mono_us: from, .. }, What::Record { mono_us: to, .. }) = (&began.what, &ended.what)
            && began.boot.row == ended.boot.row
        {
            return Some((to.saturating_sub(*from).cast_signed(), Some(0)));
        }
        let error_us = began.utc.zip(ended.utc).map(|(a, b)| a.error_us.saturating_add(b.error_us));
        Some((ended.time_us().saturating_sub(began.time_us()), error_us))
    }

    fn row(&self) -> String {
        let (over, by) = match &self.ended {
            Some(ended) => (time(&ended.entry), format!("{} {}", cell(&ended.stored.event), ended.seq())),
            None => ("**not over**".to_owned(), String::new()),
        };
        let lasted = match self.lasted() {
            None => String::new(),
            Some((us, error_us)) => {
                let seconds = format!("{:.3} s", us as f64 / 1e6);
                match error_us {
                    Some(0) => seconds,
                    Some(error_us) => format!("{seconds} ±{}", milliseconds(error_us)),
                    None => format!("{seconds} (by receipt)"),
                }
            }
        };
        let (event, agent) = (cell(&self.began.stored.event), cell(&self.began.stored.agent));
        let began = time(&self.began.entry);
        format!("| {event} {} | {agent} | {began} | {over} | {by} | {lasted} |\n", self.began.seq())
    }
}

impl Change {
    fn is_gap(&self) -> bool {
        matches!(self.entry.what, What::Lost { .. } | What::Retired { .. } | What::Missing { .. })
    }

    /// `#12`, or `#5–#7` of a gap.
    fn seq(&self) -> String {
        match self.entry.what {
            What::Record { seq, .. } => format!("#{seq}"),
            What::Lost { from, to, .. } | What::Retired { from, to } | What::Missing { from, to } => {
                format!("#{from}–#{to}")
            }
            What::Oddity { .. } => "–".to_owned(),
        }
    }

    /// Agent, boot and seq.
    fn place(&self) -> String {
        format!("{} (boot {:016x}, {})", cell(&self.stored.agent), self.stored.boot_id, self.seq())
    }

    fn meaning(&self) -> &'static str {
        DOCUMENTATION.iter().find(|doc| doc.spec.name == self.stored.event).map_or("", |doc| doc.meaning)
    }

    fn what(&self) -> String {
        match &self.entry.what {
            What::Lost { from, to, .. } => {
                let reason = self.stored.fields.get("reason").and_then(Value::as_str).unwrap_or_default();
                format!("{} records, #{from} to #{to}, declared lost ({reason})", to - from + 1)
            }
            What::Retired { from, to } => {
                format!("{} records, #{from} to #{to}, retired: too old, or the store was full", to - from + 1)
            }
            What::Missing { from, to } => {
                format!("{} records, #{from} to #{to}, UNACCOUNTED: neither stored nor declared lost", to - from + 1)
            }
            _ => {
                let story = self.stored.story(false);
                story.split_once(&self.stored.event).map_or("", |(_, fields)| fields).trim().to_owned()
            }
        }
    }

    fn row(&self) -> String {
        let event = if self.is_gap() { "**gap**".to_owned() } else { cell(&self.stored.event) };
        format!(
            "| {} | {} | {} | {} | {event} | {} |\n",
            time(&self.entry),
            cell(&self.stored.agent),
            self.seq(),
            self.stored.severity.name(),
            cell(&self.what())
        )
    }

    fn json(&self) -> Value {
        json(&self.entry, &self.stored)
    }
}

/// Text as a cell of a Markdown table: what comes from outside can neither end the cell nor become markup.
fn cell(text: &str) -> String {
    escape(text).chars().fold(String::new(), |mut out, c| {
        if matches!(c, '|' | '\\' | '`' | '*' | '_' | '<' | '>' | '[' | ']' | '&') {
            out.push('\\');
        }
        out.push(c);
        out
    })
}

/// Text inside backticks, which no escape can bring in.
fn code(text: &str) -> String {
    escape(text).replace('`', "'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_of_the_tables_exists() {
        // A renamed event would be a problem that is never seen, or never over.
        let names = PROBLEMS.iter().flat_map(|(name, by)| [*name].into_iter().chain(by.iter().copied())).chain(ROUTINE);
        for name in names {
            assert!(CATALOGUE.iter().any(|spec| spec.name == name), "{name}");
        }
    }
}
