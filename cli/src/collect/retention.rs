//! Retention: the oldest records go when they are too old or the store too large, and what went stays told of.
//!
//! What always holds: a seq that is not in `records` any more is in a range of `retired`, written in the transaction
//! that deleted it, so that `verify` and every reader know it from one that is missing; at most [`BATCH`] records go
//! at once, so that acknowledgements do not wait; what the clock of a boot was stays known.

use super::store::Store;
use rusqlite::{Connection, params};

/// Records that go at once: a few milliseconds.
const BATCH: usize = 2000;

/// What to keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Records received longer ago than so many microseconds go.
    pub keep_us: Option<i64>,
    /// The oldest records go while the store uses more bytes than that.
    pub max_bytes: Option<u64>,
}

impl Retention {
    /// Whether everything is kept.
    pub fn is_none(&self) -> bool {
        *self == Retention::default()
    }
}

/// A number of seconds from a text like `30d`: s, m, h, d or w.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400), ("w", 604_800)];
    number_with_unit(text, &units)
        .and_then(|seconds| i64::try_from(seconds).ok()?.checked_mul(1_000_000))
        .ok_or_else(|| "allowed is a number and one of s, m, h, d, w, like 30d".to_owned())
}

/// A number of bytes from a text like `10GiB`.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
    number_with_unit(text, &units)
        .ok_or_else(|| "allowed is a number and one of KiB, MiB, GiB, TiB, like 10GiB".to_owned())
}

fn number_with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, factor) =
        units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?.trim_end(), *factor)))?;
    number.parse::<u64>().ok().filter(|number| *number > 0)?.checked_mul(factor)
}

impl Store {
    /// Retires the oldest records that must go, and the oddities that were told before what is left; at most a batch of
    /// each. Says how many went. It is durable with the next commit.
    pub fn retire(&mut self, retention: Retention, now_us: i64) -> rusqlite::Result<usize> {
        let cutoff = retention.keep_us.map_or(i64::MIN, |keep| now_us.saturating_sub(keep));
        let (records, horizon) = self.retire_records(retention, cutoff, now_us)?;
        Ok(records + self.retire_oddities(horizon)?)
    }

    /// Says how many records went, and when the last of what may go now was received.
    fn retire_records(&mut self, retention: Retention, cutoff: i64, now_us: i64) -> rusqlite::Result<(usize, i64)> {
        let used = self.used_bytes()?;
        let too_large = retention.max_bytes.is_some_and(|max| used > max);
        let Some((boot, oldest)) = oldest(self.connection())? else { return Ok((0, cutoff)) };
        if !too_large && oldest >= cutoff {
            return Ok((0, cutoff));
        }
        let going = {
            let mut statement = self
                .connection()
                .prepare_cached("SELECT seq, received_us FROM records WHERE boot = ?1 ORDER BY seq LIMIT ?2")?;
            let rows = statement.query_map(params![boot, BATCH as i64], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let rows: Vec<(i64, i64)> = rows.collect::<rusqlite::Result<_>>()?;
            rows.into_iter().take_while(|(_, received)| too_large || *received < cutoff).collect::<Vec<_>>()
        };
        let (Some(&(first, _)), Some(&(last, received))) = (going.first(), going.last()) else {
            return Ok((0, cutoff));
        };
        self.begin_any()?;
        for run in going.chunk_by(|(seq, _), (next, _)| seq + 1 == *next) {
            if let (Some((from, _)), Some((to, _))) = (run.first(), run.last()) {
                retired(self.connection(), boot, *from, *to, now_us)?;
            }
        }
        for table in ["records", "conflicts"] {
            self.connection()
                .prepare_cached(&format!("DELETE FROM {table} WHERE boot = ?1 AND seq BETWEEN ?2 AND ?3"))?
                .execute(params![boot, first, last])?;
        }
        Ok((going.len(), cutoff.max(received)))
    }

    /// Deletes oddities that were told before this moment. The newest stays: the ids of those to come go on from it,
    /// and a forwarder knows by the id what it has sent. Ids have no gaps, so that what went can be counted.
    fn retire_oddities(&mut self, before_us: i64) -> rusqlite::Result<usize> {
        const GOING: &str = "SELECT max(id) FROM (SELECT id, received_us FROM oddities ORDER BY id LIMIT ?2)
             WHERE received_us < ?1 AND id < (SELECT max(id) FROM oddities)";
        let last: Option<i64> =
            self.connection().prepare_cached(GOING)?.query_row(params![before_us, BATCH as i64], |row| row.get(0))?;
        let Some(last) = last else { return Ok(0) };
        self.begin_any()?;
        self.connection().prepare_cached("DELETE FROM oddities WHERE id <= ?1")?.execute([last])
    }

    /// Bytes of the file that hold something.
    pub fn used_bytes(&self) -> rusqlite::Result<u64> {
        let read = |pragma: &str| {
            self.connection()
                .query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0))
                .map(i64::cast_unsigned)
        };
        Ok(read("page_count")?.saturating_sub(read("freelist_count")?) * read("page_size")?)
    }
}

/// The boot with the oldest record, and when that was received.
fn oldest(connection: &Connection) -> rusqlite::Result<Option<(i64, i64)>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, (SELECT received_us FROM records WHERE boot = boots.id ORDER BY seq LIMIT 1) AS oldest
         FROM boots WHERE oldest NOT NULL ORDER BY oldest, id LIMIT 1",
    )?;
    let mut rows = statement.query([])?;
    rows.next()?.map(|row| Ok((row.get(0)?, row.get(1)?))).transpose()
}

/// Takes note of a range that went; one that follows another becomes part of it.
fn retired(connection: &Connection, boot: i64, from: i64, to: i64, now_us: i64) -> rusqlite::Result<()> {
    let grown = connection
        .prepare_cached("UPDATE retired SET to_seq = ?3, retired_us = ?4 WHERE boot = ?1 AND to_seq = ?2 - 1")?
        .execute(params![boot, from, to, now_us])?;
    if grown == 0 {
        connection
            .prepare_cached("INSERT INTO retired (boot, from_seq, to_seq, retired_us) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![boot, from, to, now_us])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::limits::ODDITY_ROWS;
    use super::*;
    use outpost_wire::session::{BootRange, Hello};
    use serde_json::json;

    #[test]
    fn what_was_odd_is_kept_as_long_as_records_and_its_ids_go_on() {
        // One agent that sends nonsense for a year must not fill the disk; a forwarder must not pass over what comes
        // after because its id was given before.
        let mut store = Store::in_memory().unwrap();
        let current = BootRange { boot_id: 7, oldest: 1, next: 1 };
        let (catalogue, image_id, config, severities) = ([0; 8], [0; 32], [0; 8], [0; 8]);
        let hello = Hello { features: 0, agent: "a", current, previous: None, catalogue, image_id, config, severities };
        let boot = store.hello(&hello, "peer", 0).unwrap().boots[0].clone().unwrap();
        let odd = |store: &mut Store, at| store.oddity(&boot, "record.conflict", json!({}), at).unwrap();
        (1..=3000).for_each(|at| odd(&mut store, at));
        let ids = |store: &Store| -> (i64, i64) {
            let sql = "SELECT min(id), max(id) FROM oddities";
            store.connection().query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
        };
        let keep = Retention { keep_us: Some(10), max_bytes: None };
        assert_eq!(store.retire(keep, 2910).unwrap(), BATCH);
        assert_eq!(store.retire(keep, 2910).unwrap(), 2899 - BATCH);
        assert_eq!((store.retire(keep, 2910).unwrap(), ids(&store)), (0, (2900, 3000)));
        assert_eq!((store.retire(keep, 9999).unwrap(), ids(&store)), (100, (3000, 3000)), "the newest stays");
        assert_eq!(store.retire(keep, 9999).unwrap(), 0);
        odd(&mut store, 10_000);
        assert_eq!(ids(&store), (3000, 3001));
        // Without retention there is a bound all the same.
        store.connection().execute("UPDATE oddities SET id = ?1 WHERE id = 3001", [ODDITY_ROWS + 2999]).unwrap();
        odd(&mut store, 10_001);
        assert_eq!(ids(&store), (ODDITY_ROWS + 2999, ODDITY_ROWS + 3000));
    }

    #[test]
    fn what_an_operator_writes_is_understood_or_refused() {
        // Taking 30 minutes for 30 months deletes two and a half years of records.
        assert_eq!(parse_duration("30d"), Ok(30 * 86_400 * 1_000_000));
        assert_eq!(parse_duration("90 m"), Ok(5400 * 1_000_000));
        assert_eq!(parse_size("10GiB"), Ok(10 << 30));
        for bad in ["", "30", "d", "0d", "-1d", "30M", "1.5d", "30dd", "99999999999999999999d", "9999999999999999w"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        for bad in ["", "10", "10GB", "0MiB", "10gib", "99999999999TiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
