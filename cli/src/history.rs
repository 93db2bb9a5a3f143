//! `outpost history`: the days of an agent's checks out of a collector's store, for the machine that takes its place.
//!
//! ```text
//! store ─ check.day of each boot ─▶ what each UTC day was like ─▶ a content bundle that has nothing else in it
//!                                                             └─▶ outpost content build --history, or --store at once
//! ```
//! The agent tells every hour how each check's day is so far, so the last record of a boot is what the boot knew of that
//! day. What always holds: of a day that several boots saw, nothing bad is lost because a later boot began anew.

use crate::collect::{OpenError, Store, escape};
use crate::content;
use crate::logs::StoreArgs;
use outpost::limits::CHECK_DAYS;
use outpost::time::utc::rfc3339;
use outpost::watch::{Day, brought};
use outpost_wire::{CheckDay, Event, HistoryKept, HistoryRestored};
use rusqlite::params;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

const DAY_S: u64 = 86_400;

const EXAMPLES: &str = "\
Examples:
  outpost history                            what outpost.db has of each check
  outpost history store.db --agent fra1 --out history.bin
  outpost content build content --history history.bin

history.bin is a content bundle: give it to the image as it is, or put it into the one with the runbooks. A store has
what --keep of outpost collect has left of it: the page shows 90 days.
Exit code: 0 there are days, 1 there are none, 2 the store cannot be read or the file cannot be written.";

/// What `outpost history` is told.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Which store
    #[command(flatten)]
    pub store: StoreArgs,
    /// The agent whose checks are meant, where the store has several
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// Write the days into this file
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Tell the result as one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// The days of each check of one agent, by the check's name and the day since 1970-01-01 UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The agent.
    pub agent: String,
    /// The last 90 days of each check that has any.
    pub checks: BTreeMap<String, BTreeMap<u32, Day>>,
    /// Days of the future: somebody's clock was wrong.
    pub future: usize,
}

/// Reads and tells; has told everything when it returns.
pub fn run(args: &Args) -> ExitCode {
    let history = match read(args.store.path(), args.agent.as_deref(), today()) {
        Ok(history) => history,
        Err(problem) => return failed(&problem),
    };
    if history.checks.is_empty() {
        eprintln!("outpost history: {}", history.nothing(args.store.path()));
        return ExitCode::FAILURE;
    }
    if let Some(out) = &args.out {
        let written = content::bundle_of_history(&history.rows()).and_then(|bundle| {
            crate::image::replace(out, &bundle).map_err(|error| format!("{} cannot be written: {error}", out.display()))
        });
        if let Err(problem) = written {
            return failed(&problem);
        }
    }
    if args.json {
        println!("{}", history.json())
    } else {
        print!("{}", history.text());
        args.out.iter().for_each(|out| println!("written to {}", out.display()));
    }
    ExitCode::SUCCESS
}

fn failed(problem: &str) -> ExitCode {
    eprintln!("outpost history: {problem}");
    ExitCode::from(2)
}

/// This day by the host's clock, since 1970-01-01 UTC.
pub fn today() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(now.as_secs() / DAY_S).unwrap_or(u32::MAX)
}

/// What a boot knows of the days so far, and whether it began with nothing.
#[derive(Default)]
struct Boot {
    row: i64,
    anew: bool,
    days: BTreeMap<(String, u32), Day>,
}

/// The last 90 days of the checks of an agent: of the only one that has any, when none is named.
pub fn read(path: &Path, agent: Option<&str>, today: u32) -> Result<History, String> {
    let reading = |error: rusqlite::Error| OpenError::reading(path, &error).to_string();
    let connection = Store::open_to_read(path).map_err(|error| error.to_string())?;
    let mut statement = connection
        .prepare(
            "SELECT agents.name, boots.id, event, fields FROM records JOIN boots ON boots.id = records.boot
             JOIN agents ON agents.id = boots.agent WHERE event IN (?1, ?2, ?3) ORDER BY boots.id, seq",
        )
        .map_err(reading)?;
    let ids = params![CheckDay::SPEC.id, HistoryKept::SPEC.id, HistoryRestored::SPEC.id];
    let mut rows = statement.query(ids).map_err(reading)?;
    let (mut agents, mut all, mut boot) = (BTreeSet::new(), BTreeMap::new(), Boot::default());
    while let Some(row) = rows.next().map_err(reading)? {
        let name: String = row.get(0).map_err(reading)?;
        let (boot_row, event): (i64, u16) = (row.get(1).map_err(reading)?, row.get(2).map_err(reading)?);
        let fields: Option<Vec<u8>> = row.get(3).map_err(reading)?;
        if agent.is_some_and(|agent| agent != name) {
            continue;
        }
        if boot.row != boot_row {
            fold(&mut all, std::mem::take(&mut boot));
            boot.row = boot_row;
        }
        match Event::decode(event, fields.as_deref().unwrap_or_default()) {
            Some(Event::HistoryKept(kept)) => boot.anew = kept.days == 0,
            Some(Event::HistoryRestored(restored)) => boot.anew &= restored.days == 0,
            Some(Event::CheckDay(told)) => {
                let names = connection.prepare_cached("SELECT text FROM names WHERE boot = ?1 AND id = ?2");
                let check =
                    names.and_then(|mut names| names.query_row(params![boot_row, told.check.0], |row| row.get(0)));
                // A name that went astray belongs to nobody.
                let Ok(check) = check else { continue };
                agents.insert(name);
                boot.days.insert((check, told.day), Day { good: told.good, bad: told.bad });
            }
            _ => {}
        }
    }
    fold(&mut all, boot);
    if agents.len() > 1 {
        let names: Vec<String> = agents.iter().map(|name| escape(name)).collect();
        return Err(format!("several agents told of their days: say which by --agent ({})", names.join(", ")));
    }
    let agent = agents.into_iter().next().or(agent.map(str::to_owned)).unwrap_or_default();
    let mut history = History { agent, ..History::default() };
    for ((check, day), counted) in all {
        if day > today {
            history.future += 1;
        } else if today - day < CHECK_DAYS as u32 {
            history.checks.entry(check).or_default().insert(day, counted);
        }
    }
    Ok(history)
}

/// Puts what a boot knew to what was known before it.
fn fold(all: &mut BTreeMap<(String, u32), Day>, boot: Boot) {
    for (key, day) in boot.days {
        let before = all.entry(key).or_default();
        // Days that survived are in it already; they cannot have become fewer.
        let has_it_all = !boot.anew && day.good >= before.good && day.bad >= before.bad;
        *before = match has_it_all {
            true => day,
            false => Day { good: before.good.saturating_add(day.good), bad: before.bad.saturating_add(day.bad) },
        };
    }
}

impl History {
    /// The entry of a content bundle.
    pub fn rows(&self) -> Vec<u8> {
        let row = |(name, days): (&String, &BTreeMap<u32, Day>)| {
            let last = *days.keys().next_back()?;
            let mut all = [Day::default(); CHECK_DAYS];
            for (day, counted) in days {
                *all.iter_mut().rev().nth((last - day) as usize)? = *counted;
            }
            brought::row(name, last, &all)
        };
        self.checks.iter().filter_map(row).flatten().collect()
    }

    /// What to say when there are no days.
    pub fn nothing(&self, store: &Path) -> String {
        let of = if self.agent.is_empty() { String::new() } else { format!(" of {}", escape(&self.agent)) };
        let future = match self.future {
            0 => String::new(),
            count => format!(" ({count} told of the future: some clock was wrong)"),
        };
        format!(
            "{} has no days{of} of the last {CHECK_DAYS}{future}: an agent tells them once a time server has answered it, \
             every hour. `outpost logs --event check.day` shows what there is.",
            store.display()
        )
    }

    fn text(&self) -> String {
        let mut text = format!("{}: {} checks\n", escape(&self.agent), self.checks.len());
        for (name, days) in &self.checks {
            let (good, bad) = total(days);
            let share = 100.0 * good as f64 / (good + bad).max(1) as f64;
            let (first, last) = ends(days);
            let name = escape(name);
            text += &format!("  {name:32} {:2} days from {first} to {last}, {share:.3} % good\n", days.len());
        }
        if self.future > 0 {
            text += &format!("{} days of the future are left out: some clock was wrong\n", self.future);
        }
        text
    }

    fn json(&self) -> Value {
        let checks: BTreeMap<&String, Value> = self
            .checks
            .iter()
            .map(|(name, days)| {
                let list =
                    days.iter().map(|(day, Day { good, bad })| json!({ "date": date(*day), "good": good, "bad": bad }));
                (name, list.collect())
            })
            .collect();
        json!({ "agent": self.agent, "checks": checks, "future": self.future })
    }
}

/// Probes of all days together, the good and the bad.
fn total(days: &BTreeMap<u32, Day>) -> (u64, u64) {
    days.values().fold((0, 0), |(good, bad), day| (good + u64::from(day.good), bad + u64::from(day.bad)))
}

fn ends(days: &BTreeMap<u32, Day>) -> (String, String) {
    let date_of = |day: Option<&u32>| day.map_or_else(String::new, |day| date(*day));
    (date_of(days.keys().next()), date_of(days.keys().next_back()))
}

fn date(day: u32) -> String {
    let text = rfc3339(u64::from(day) * DAY_S * 1_000_000);
    String::from_utf8_lossy(&text[..10]).into_owned()
}
