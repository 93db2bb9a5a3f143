//! The durable cursor of a forwarder: up to where everything has arrived, in the same file as what it speaks of.
//!
//! It has a connection of its own, which never makes the collector wait: its transactions do not sync (the next commit
//! of the collector does), and it never checkpoints. After a power cut the cursor may be a moment old; what lies between
//! is sent twice. A save that finds the store busy is made up for by the next.

use crate::collect::limits::STORE_BUSY;
use crate::store_read::{Place, Reader};
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a save waits for the collector's transaction: a few group commits.
const BUSY: Duration = Duration::from_millis(250);

/// The row that stands for the oddities among those of boots, which begin at 1.
const ODDITIES: i64 = 0;

/// A receiver that the store remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// As it was given to `--forward`.
    pub name: String,
    /// Seqs that are stored and have not arrived there.
    pub waiting: u64,
    /// Records that it would not take.
    pub refused: u64,
    /// When something last arrived, in microseconds since 1970-01-01 UTC.
    pub arrived_us: i64,
    /// Problems that it was told of and that go on.
    pub open: u64,
    /// Problems that are held while a maintenance lasts.
    pub held: u64,
}

/// Every receiver that something ever arrived at, in use or not: the store cannot know.
pub fn receivers(connection: &Connection) -> rusqlite::Result<Vec<Receiver>> {
    let mut statement = connection.prepare_cached(
        "SELECT name, refused, arrived_us,
             (SELECT ifnull(sum(max(durable - ifnull(seq, 0), 0)), 0) FROM boots
              LEFT JOIN cursors ON cursors.forwarder = forwarders.name AND cursors.boot = boots.id),
             (SELECT count(*) FROM problems WHERE forwarder = name AND held = 0),
             (SELECT count(*) FROM problems WHERE forwarder = name AND held = 1)
         FROM forwarders ORDER BY name",
    )?;
    let rows = statement.query_map([], |row| {
        let (refused, waiting): (i64, i64) = (row.get(1)?, row.get(3)?);
        Ok(Receiver {
            name: row.get(0)?,
            waiting: waiting.cast_unsigned(),
            refused: refused.cast_unsigned(),
            arrived_us: row.get(2)?,
            open: row.get::<_, i64>(4)?.cast_unsigned(),
            held: row.get::<_, i64>(5)?.cast_unsigned(),
        })
    })?;
    rows.collect()
}

/// Forgets how far these receivers are; the others that the store remembers are returned.
pub(super) fn forget(store: &Path, names: &[String]) -> rusqlite::Result<Vec<Receiver>> {
    let mut connection = Connection::open_with_flags(store, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(STORE_BUSY)?;
    // Reading waits for nobody; a collector that has nothing to forget must not fail to start because it is busy.
    if !names.is_empty() {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for name in names {
            transaction.execute("DELETE FROM cursors WHERE forwarder = ?1", [name])?;
            transaction.execute("DELETE FROM forwarders WHERE name = ?1", [name])?;
            transaction.execute("DELETE FROM problems WHERE forwarder = ?1", [name])?;
        }
        transaction.commit()?;
    }
    receivers(&connection)
}

/// A forwarder's place in the store, and what is not saved of it yet.
pub(super) struct Cursor {
    name: String,
    reader: Reader,
    place: Place,
    unsaved: Place,
    refused: u64,
    saved: Instant,
}

impl Cursor {
    /// The cursor of the forwarder with this name; a new one stands at the beginning of the store, or at its end when it
    /// `begins_now`.
    pub(super) fn open(store: &Path, name: &str, begins_now: bool) -> rusqlite::Result<Cursor> {
        let connection = Connection::open_with_flags(store, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        let mut place = Place::default();
        {
            let mut statement = connection.prepare("SELECT boot, seq FROM cursors WHERE forwarder = ?1")?;
            let mut rows = statement.query([name])?;
            while let Some(row) = rows.next()? {
                match (row.get(0)?, row.get::<_, i64>(1)?) {
                    (ODDITIES, row) => place.oddity = row,
                    (boot, seq) => drop(place.seqs.insert(boot, seq.cast_unsigned())),
                }
            }
        }
        let known = "SELECT count(*) FROM forwarders WHERE name = ?1";
        let is_new = connection.query_row(known, [name], |row| row.get::<_, i64>(0))? == 0;
        let (reader, name) = (Reader::new(connection), name.to_owned());
        if !(is_new && begins_now) {
            return Ok(Cursor { name, reader, place, unsaved: Place::default(), refused: 0, saved: Instant::now() });
        }
        let end = Place::end(&reader, &reader.boots()?)?;
        let cursor = Cursor { name, reader, place: end.clone(), unsaved: end, refused: 0, saved: Instant::now() };
        // Where it began must not move by a restart before anything has arrived.
        cursor.write()?;
        Ok(Cursor { unsaved: Place::default(), ..cursor })
    }

    /// Where it stood when it was opened.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The store.
    pub(super) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Everything up to there has arrived.
    pub(super) fn advance(&mut self, to: &Place) {
        self.unsaved.advance(to);
    }

    /// So many records were refused for good.
    pub(super) fn refuse(&mut self, records: u64) {
        self.refused += records;
    }

    /// Saves what is not saved, unless the last time was less than `every` ago.
    pub(super) fn save(&mut self, every: Duration) {
        let nothing = self.unsaved == Place::default() && self.refused == 0;
        if nothing || (!every.is_zero() && self.saved.elapsed() < every) {
            return;
        }
        self.saved = Instant::now();
        // The store is busy or its disk is full: the collector says so, and the next save makes up for this one.
        if self.write().is_ok() {
            (self.unsaved, self.refused) = (Place::default(), 0);
        }
    }

    fn write(&self) -> rusqlite::Result<()> {
        let connection = self.reader.connection();
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let written = self.rows(connection).and_then(|()| connection.execute_batch("COMMIT"));
        if written.is_err() {
            // It fails where the error has ended the transaction already.
            let _ = connection.execute_batch("ROLLBACK");
        }
        written
    }

    fn rows(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached(
                "INSERT INTO forwarders (name, refused, arrived_us) VALUES (?1, ?2, unixepoch('subsec') * 1000000)
                 ON CONFLICT DO UPDATE SET refused = refused + excluded.refused, arrived_us = excluded.arrived_us",
            )?
            .execute(params![self.name, self.refused.cast_signed()])?;
        let mut row = connection.prepare_cached(
            "INSERT INTO cursors (forwarder, boot, seq) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)",
        )?;
        for (boot, seq) in &self.unsaved.seqs {
            row.execute(params![self.name, boot, seq.cast_signed()])?;
        }
        if self.unsaved.oddity > 0 {
            row.execute(params![self.name, ODDITIES, self.unsaved.oddity])?;
        }
        Ok(())
    }
}
