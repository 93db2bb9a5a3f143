//! What UTC was when a record was made: from the `clock.sync` records of its boot, also those that came after it.
//!
//! ```text
//! monotonic ──sync────────record────────sync──▶   between two: interpolated
//! UTC       ──────?───────────────────────────    before the first or after the last: carried on, less and less sure
//! ```
//!
//! Computed when records are read, so that a sync that comes later improves what came before it, and nothing that is
//! stored is ever rewritten. What always holds: two syncs that contradict each other widen the error of what lies
//! between them by what they do not explain; a boot without a sync has no UTC.

use outpost_wire::{ClockSync, Event, Record};
use rusqlite::{Connection, Transaction, params};

/// How fast a clock may run away from UTC, in parts per million (RFC 5905, section 7.2, PHI).
const DRIFT_PPM: u64 = 15;

/// A moment in UTC and how wrong it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc {
    /// Microseconds since 1970-01-01 UTC.
    pub us: i64,
    /// It is at most so many microseconds off.
    pub error_us: u64,
}

/// What UTC was at one moment of a boot.
#[derive(Clone, Copy, Debug)]
struct Sync {
    mono_us: u64,
    utc: Utc,
}

impl Sync {
    /// What UTC was at another moment, as far as this one alone can say.
    fn carried_to(&self, mono_us: u64) -> Utc {
        let us = self.utc.us.saturating_add(signed(mono_us).saturating_sub(signed(self.mono_us)));
        Utc { us, error_us: self.utc.error_us.saturating_add(drift(self.mono_us.abs_diff(mono_us))) }
    }
}

/// The clock of one boot.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// In the order of time.
    syncs: Vec<Sync>,
}

impl Clock {
    /// The clock of the boot with this row in a store.
    pub fn of(connection: &Connection, boot: i64) -> rusqlite::Result<Clock> {
        let mut statement = connection
            .prepare_cached("SELECT mono_us, unix_us, error_us FROM clock WHERE boot = ?1 ORDER BY mono_us")?;
        let syncs = statement.query_map([boot], |row| {
            let utc = Utc { us: row.get(1)?, error_us: row.get::<_, i64>(2)?.cast_unsigned() };
            Ok(Sync { mono_us: row.get::<_, i64>(0)?.cast_unsigned(), utc })
        })?;
        Ok(Clock { syncs: syncs.collect::<rusqlite::Result<_>>()? })
    }

    /// What UTC was at this moment of the boot; `None` when nothing is known of it.
    pub fn utc(&self, mono_us: u64) -> Option<Utc> {
        let (before, after) = self.syncs.split_at(self.syncs.partition_point(|sync| sync.mono_us <= mono_us));
        match (before.last(), after.first()) {
            (None, None) => None,
            // The moment of a sync itself: what others say does not make it less sure.
            (Some(sync), _) if sync.mono_us == mono_us => Some(sync.utc),
            (Some(only), None) | (None, Some(only)) => Some(only.carried_to(mono_us)),
            (Some(before), Some(after)) => Some(between(before, after, mono_us)),
        }
    }
}

/// Interpolates; where the two contradict each other by more than drift and their errors explain (the machine stood
/// still, or a server was wrong), nobody knows where between them that happened.
fn between(before: &Sync, after: &Sync, mono_us: u64) -> Utc {
    let length = after.mono_us - before.mono_us;
    let expected = before.carried_to(after.mono_us);
    let step = i128::from(after.utc.us) - i128::from(expected.us);
    let share = step * i128::from(mono_us - before.mono_us) / i128::from(length.max(1));
    let us = i128::from(before.carried_to(mono_us).us) + share;
    let explained = expected.error_us.saturating_add(after.utc.error_us);
    let unexplained = u64::try_from(step.unsigned_abs()).unwrap_or(u64::MAX).saturating_sub(explained);
    let error_us = before.utc.error_us.max(after.utc.error_us).saturating_add(unexplained);
    Utc { us: i64::try_from(us).unwrap_or(before.utc.us), error_us }
}

fn drift(distance_us: u64) -> u64 {
    // Rounded up: an error is never shown too small.
    u64::try_from((u128::from(distance_us) * u128::from(DRIFT_PPM)).div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

fn signed(us: u64) -> i64 {
    i64::try_from(us).unwrap_or(i64::MAX)
}

/// Takes note of what this record says of UTC; `false` when it says nothing.
pub(super) fn note(connection: &Connection, boot: i64, record: &Record<'_>) -> rusqlite::Result<bool> {
    let Some(Event::ClockSync(ClockSync { unix_us, error_us, .. })) = record.decode_event() else { return Ok(false) };
    connection
        .prepare_cached("INSERT OR IGNORE INTO clock (boot, mono_us, unix_us, error_us) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![boot, record.mono_us.cast_signed(), signed(unix_us), error_us])?;
    Ok(true)
}

/// Takes note of what the records say that were stored before there was a place for it.
pub(super) fn fill(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare("SELECT boot, mono_us, fields FROM records WHERE event = ?1")?;
    let mut rows = statement.query([ClockSync::SPEC.id])?;
    while let Some(row) = rows.next()? {
        let fields: Option<Vec<u8>> = row.get(2)?;
        let record = Record {
            seq: 1,
            mono_us: row.get::<_, i64>(1)?.cast_unsigned(),
            severity: outpost_wire::Severity::INFO,
            transaction: None,
            event: ClockSync::SPEC.id,
            fields: fields.as_deref().unwrap_or_default(),
        };
        note(transaction, row.get(0)?, &record)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    fn clock(syncs: &[(u64, i64, u64)]) -> Clock {
        let sync = |&(mono_us, us, error_us)| Sync { mono_us, utc: Utc { us, error_us } };
        Clock { syncs: syncs.iter().map(sync).collect() }
    }

    fn utc(us: i64, error_us: u64) -> Option<Utc> {
        Some(Utc { us, error_us })
    }

    #[test]
    fn utc_of_a_record_before_between_and_after_syncs() {
        // A postmortem joins the logs of machines by this: an error shown too small puts effects before causes.
        let never = clock(&[]);
        assert_eq!(never.utc(5 * S), None);
        let once = clock(&[(100 * S, 1_000_000_000, 2000)]);
        assert_eq!(once.utc(100 * S), utc(1_000_000_000, 2000));
        assert_eq!(once.utc(0), utc(900_000_000, 3500), "from boot to the first sync: 15 ppm of 100 s more");
        assert_eq!(once.utc(300 * S), utc(1_200_000_000, 5000));
        assert_eq!(once.utc(100 * S + 1), utc(1_000_000_001, 2001), "rounded up");
        // The clock lost 10 ms in 1,000 s: spread over them.
        let twice = clock(&[(0, 0, 1000), (1000 * S, 1_000_010_000, 3000)]);
        assert_eq!(twice.utc(500 * S), utc(500_005_000, 3000));
        assert_eq!(twice.utc(1000 * S), utc(1_000_010_000, 3000));
    }

    #[test]
    fn syncs_that_contradict_each_other_are_not_believed_more_than_they_deserve() {
        // A machine that stood still for an hour, or a server that was wrong: the truth is one or the other.
        let hour = 3600 * S;
        let paused = clock(&[(0, 0, 1000), (10 * S, (hour + 10 * S) as i64, 1000)]);
        let middle = paused.utc(5 * S).unwrap();
        let (awake, asleep) = (5 * S as i64, (hour + 5 * S) as i64);
        let covers = |moment: i64| middle.us.abs_diff(moment) <= middle.error_us;
        assert!(covers(awake) && covers(asleep), "{middle:?}");
        let back = clock(&[(0, hour as i64, 1000), (10 * S, 10 * S as i64, 1000)]);
        let middle = back.utc(5 * S).unwrap();
        assert!(middle.us.abs_diff(5 * S as i64) <= middle.error_us, "{middle:?}");
        let absurd = clock(&[(0, i64::MIN, u64::MAX), (1, i64::MAX, u64::MAX), (u64::MAX, 0, 0)]);
        for moment in [0, 1, 5, u64::MAX / 2, u64::MAX] {
            assert!(absurd.utc(moment).is_some());
        }
    }
}
