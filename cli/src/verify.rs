//! `outpost verify`: is every record of every boot in a store accounted for?
//!
//! For each boot, every seq from 1 to the highest that the store has must be a record, declared lost, or retired (it was
//! here and went by retention). What the agent is known to have emitted beyond that is an unknown tail: the machine ended
//! before it could send it.

use crate::collect::{OpenError, Store, escape, utc};
use crate::forward::{Receiver, receivers};
use outpost_wire::{BootPreviousEnded, Event};
use rusqlite::{Connection, params};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Gaps that are listed per boot; more are counted.
const GAPS_SHOWN: usize = 20;

const EXAMPLES: &str = "\
Examples:
  outpost verify outpost.db
  outpost verify --json outpost.db | jq '.boots[] | select(.gaps > 0)'

Exit code: 0 every record is stored or declared lost, 1 something is unaccounted for, 2 the store cannot be read,
3 nothing is unaccounted for but the end of a boot that was cut off before its last records were sent.";

/// What `outpost verify` is told.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The store of a collector; it may be running
    #[arg(value_name = "STORE")]
    pub store: PathBuf,
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

/// What was found in a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Each boot of each agent, in the order in which the store first saw them.
    pub boots: Vec<BootReport>,
    /// What SQLite itself found damaged in the file.
    pub damage: Vec<String>,
    /// What the collector found odd and told: how much of that is kept, and how much went because it was old.
    pub oddities: (u64, u64),
    /// The receivers that something was forwarded to.
    pub receivers: Vec<Receiver>,
}

/// What was found of one boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootReport {
    /// Name of the agent.
    pub agent: String,
    /// Random id of the boot.
    pub boot_id: u64,
    /// Records stored.
    pub records: u64,
    /// Seqs that are declared lost and not stored.
    pub lost: u64,
    /// Seqs that were stored and went by the collector's retention.
    pub retired: u64,
    /// Highest seq that is stored or declared lost.
    pub highest: u64,
    /// Highest seq that the agent is known to have emitted.
    pub emitted: u64,
    /// Seqs between 1 and the highest that are neither.
    pub unaccounted: u64,
    /// The first of the ranges they form.
    pub gaps: Vec<(u64, u64)>,
    /// Records that claim a seq of another.
    pub conflicts: u64,
}

/// The answer in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is stored or declared lost.
    Accounted,
    /// Something is neither, or the file is damaged.
    Unaccounted,
    /// Only the end of some boot is unknown.
    UnknownTail,
}

impl Report {
    /// The answer in one word.
    pub fn verdict(&self) -> Verdict {
        if !self.damage.is_empty() || self.boots.iter().any(|boot| boot.unaccounted > 0) {
            Verdict::Unaccounted
        } else if self.boots.iter().any(|boot| boot.emitted > boot.highest) {
            Verdict::UnknownTail
        } else {
            Verdict::Accounted
        }
    }
}

/// Verifies a store, which a collector may be writing to.
pub fn verify(store: &Path) -> Result<Report, OpenError> {
    let connection = Store::open_to_read(store)?;
    report(&connection).map_err(|error| OpenError::reading(store, &error))
}

/// Verifies and prints; has told everything when it returns.
pub fn run(args: &Args) -> ExitCode {
    let report = match verify(&args.store) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("outpost verify: {error}");
            return ExitCode::from(2);
        }
    };
    if args.json {
        println!("{}", json(&report))
    } else {
        print!("{}", text(&report))
    }
    ExitCode::from(match report.verdict() {
        Verdict::Accounted => 0,
        Verdict::Unaccounted => 1,
        Verdict::UnknownTail => 3,
    })
}

fn report(connection: &Connection) -> rusqlite::Result<Report> {
    // One transaction is one state of the store, whatever a collector writes meanwhile.
    let snapshot = connection.unchecked_transaction()?;
    let mut check = snapshot.prepare("PRAGMA quick_check(10)")?;
    let damage = check.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    let mut boots = snapshot.prepare(
        "SELECT boots.id, name, boot_id, next, (SELECT count(*) FROM conflicts WHERE boot = boots.id)
         FROM boots JOIN agents ON agents.id = boots.agent ORDER BY boots.id",
    )?;
    let mut boots: Vec<BootReport> = boots
        .query_map([], |row| {
            let unsigned = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
            let empty = BootReport {
                agent: row.get(1)?,
                boot_id: unsigned(2)?,
                records: 0,
                lost: 0,
                retired: 0,
                highest: 0,
                emitted: unsigned(3)?.saturating_sub(1),
                unaccounted: 0,
                gaps: Vec::new(),
                conflicts: unsigned(4)?,
            };
            walk(&snapshot, row.get(0)?, empty)
        })?
        .collect::<rusqlite::Result<_>>()?;
    hear_successors(&snapshot, &mut boots)?;
    let oddities = snapshot.query_row("SELECT count(*), ifnull(max(id), 0) - count(*) FROM oddities", [], |row| {
        Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?.cast_unsigned()))
    })?;
    let damage = damage.into_iter().filter(|line| line != "ok").collect();
    Ok(Report { boots, damage, oddities, receivers: receivers(&snapshot)? })
}

/// What a boot says of the one before it: where a store lost records after it had acknowledged them (it was rolled back to a
/// backup), the agent has them no more and cannot say so, but the boot that came after told how many there were.
fn hear_successors(connection: &Connection, boots: &mut [BootReport]) -> rusqlite::Result<()> {
    let mut told = connection.prepare(
        "SELECT name, fields FROM records JOIN boots ON boots.id = records.boot JOIN agents ON agents.id = boots.agent
         WHERE event = ?1",
    )?;
    let mut rows = told.query(params![BootPreviousEnded::SPEC.id])?;
    while let Some(row) = rows.next()? {
        let (agent, fields): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let Some(Event::BootPreviousEnded(ended)) = Event::decode(BootPreviousEnded::SPEC.id, &fields) else {
            continue;
        };
        let boot_id = u64::from_be_bytes(ended.boot_id);
        if let Some(boot) = boots.iter_mut().find(|boot| boot.agent == agent && boot.boot_id == boot_id) {
            boot.emitted = boot.emitted.max(ended.last_seq);
        }
    }
    Ok(())
}

/// Walks over all that is known of a boot in the order of seq.
fn walk(connection: &Connection, row: i64, mut boot: BootReport) -> rusqlite::Result<BootReport> {
    let mut ranges = connection.prepare_cached(
        "SELECT seq, seq, 1 FROM records WHERE boot = ?1 UNION ALL
         SELECT from_seq, to_seq, 0 FROM lost WHERE boot = ?1 UNION ALL
         SELECT from_seq, to_seq, 2 FROM retired WHERE boot = ?1 ORDER BY 1, 3",
    )?;
    let mut rows = ranges.query(params![row])?;
    let mut stored_in_lost = 0;
    let mut lost_to = 0;
    while let Some(row) = rows.next()? {
        let (from, to) = (row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?.cast_unsigned());
        let kind: u8 = row.get(2)?;
        if from > boot.highest + 1 {
            boot.unaccounted += from - boot.highest - 1;
            if boot.gaps.len() < GAPS_SHOWN {
                boot.gaps.push((boot.highest + 1, from - 1));
            }
        }
        if kind != LOST {
            // What came after all although it was declared lost counts once.
            stored_in_lost += (to.min(lost_to) + 1).saturating_sub(from);
            *(if kind == RECORD { &mut boot.records } else { &mut boot.retired }) += to - from + 1;
        } else {
            boot.lost += (to + 1).saturating_sub(from.max(lost_to + 1));
            lost_to = lost_to.max(to);
        }
        boot.highest = boot.highest.max(to);
    }
    boot.lost = boot.lost.saturating_sub(stored_in_lost);
    Ok(boot)
}

/// Kinds of ranges, as the query of [`walk`] numbers and orders them: what was declared lost comes before the record that
/// came after all, where both begin with one seq.
const LOST: u8 = 0;
const RECORD: u8 = 1;

fn text(report: &Report) -> String {
    let mut lines: Vec<String> = report.damage.iter().map(|line| format!("the file is damaged: {line}")).collect();
    for boot in &report.boots {
        let name = format!("{} boot {:016x}", escape(&boot.agent), boot.boot_id);
        let mut line =
            format!("{name}: {} records up to seq {}, {} declared lost", boot.records, boot.highest, boot.lost);
        if boot.retired > 0 {
            line += &format!(", {} retired", boot.retired);
        }
        if boot.conflicts > 0 {
            line += &format!(", {} conflicts kept", boot.conflicts);
        }
        lines.push(line);
        lines.extend(boot.gaps.iter().map(|(from, to)| format!("{name}: UNACCOUNTED: seqs {from} to {to}")));
        if boot.emitted > boot.highest {
            let (from, to) = (boot.highest + 1, boot.emitted);
            lines.push(format!("{name}: unknown tail: seqs {from} to {to} were emitted and have not arrived"));
        }
    }
    match report.oddities {
        (0, 0) => {}
        (kept, 0) => lines.push(format!("{kept} oddities were told: outpost logs shows them")),
        (kept, gone) => lines.push(format!("{kept} oddities are told by outpost logs, {gone} older ones went")),
    }
    for Receiver { name, waiting, refused, arrived_us, .. } in &report.receivers {
        let name = escape(name);
        let mut line =
            format!("forwarded to {name}: {waiting} records have not arrived, {refused} were refused for good");
        if *waiting > 0 {
            line += &format!(
                "; the last ones arrived at {}. No longer in use? outpost collect --forget '{name}'",
                utc(*arrived_us)
            );
        }
        lines.push(line);
    }
    lines.push(match report.verdict() {
        Verdict::Accounted => "every record is accounted for".to_owned(),
        Verdict::Unaccounted => {
            let seqs: u64 = report.boots.iter().map(|boot| boot.unaccounted).sum();
            format!("{seqs} records are UNACCOUNTED for; please report this with the lines above")
        }
        Verdict::UnknownTail => {
            "every record is accounted for but unknown tails: if the agent still runs, it sends them; if its machine \
             was cut off, they are gone"
                .to_owned()
        }
    });
    lines.join("\n") + "\n"
}

fn json(report: &Report) -> serde_json::Value {
    let boots: Vec<_> = report
        .boots
        .iter()
        .map(|boot| {
            serde_json::json!({
                "agent": boot.agent, "boot": format!("{:016x}", boot.boot_id),
                "records": boot.records, "lost": boot.lost, "retired": boot.retired, "highest": boot.highest, "emitted": boot.emitted,
                "unaccounted": boot.unaccounted, "gaps": boot.gaps, "conflicts": boot.conflicts,
            })
        })
        .collect();
    let verdict = match report.verdict() {
        Verdict::Accounted => "accounted",
        Verdict::Unaccounted => "unaccounted",
        Verdict::UnknownTail => "unknown_tail",
    };
    let receivers: Vec<_> = report
        .receivers
        .iter()
        .map(|Receiver { name, waiting, refused, arrived_us, .. }| {
            serde_json::json!({
                "name": name, "waiting": waiting, "refused": refused, "last_arrival": utc(*arrived_us),
            })
        })
        .collect();
    serde_json::json!({
        "verdict": verdict, "boots": boots, "damage": report.damage, "receivers": receivers,
        "oddities": { "kept": report.oddities.0, "gone": report.oddities.1 },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use outpost_wire::EndCause;

    #[test]
    fn what_a_store_lost_of_a_boot_that_is_over_is_told_by_the_next() {
        // A backup is restored: the agent has those records no more and cannot declare them, so somebody else must know.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        drop(Store::open(&path).unwrap());
        let ended = BootPreviousEnded {
            cause: EndCause::Reset,
            last_seq: 9,
            salvaged: 0,
            torn: 0,
            boot_id: [0, 0, 0, 0, 0, 0, 0, 7],
            uptime_s: 1,
            abnormal_ends: 1,
            safe_mode: false,
        };
        let mut fields = [0; outpost_wire::limits::FIELDS_MAX];
        let len = Event::from(ended).encode(&mut fields).unwrap();
        let store = Connection::open(&path).unwrap();
        store
            .execute_batch(
                "INSERT INTO agents VALUES (1, 'a');
                 INSERT INTO boots (id, agent, boot_id, first_seen_us, last_seen_us, next, durable)
                     VALUES (1, 1, 7, 0, 0, 6, 5), (2, 1, 8, 0, 0, 1, 0);
                 WITH RECURSIVE seqs(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM seqs WHERE seq < 5)
                 INSERT INTO records (boot, seq, received_us, mono_us, severity, event) SELECT 1, seq, 0, 0, 9, 1 FROM seqs;",
            )
            .unwrap();
        assert_eq!(verify(&path).unwrap().verdict(), Verdict::Accounted);
        let insert = "INSERT INTO records (boot, seq, received_us, mono_us, severity, event, fields)
                      VALUES (2, 1, 0, 0, 9, ?1, ?2)";
        store.execute(insert, params![BootPreviousEnded::SPEC.id, &fields[..len]]).unwrap();
        let report = verify(&path).unwrap();
        assert_eq!(report.verdict(), Verdict::UnknownTail);
        assert!(text(&report).contains("unknown tail: seqs 6 to 9"), "{}", text(&report));
    }
}
