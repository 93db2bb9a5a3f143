//! The store: one SQLite file that holds every record, every declared loss and every boot of every agent.
//!
//! What always holds: a record is one row, found by (boot, seq); `boots.durable` says up to which seq everything
//! is a record or declared lost, and moves in the same transaction as what it speaks of; nothing is durable
//! before [`Store::commit`] has returned, and what [`Store::commit`] returns is exactly what became durable.
//!
//! SQLite's defaults do not promise that a commit survives a power cut in WAL mode; `synchronous=FULL` does
//! (sqlite.org/wal.html, "Performance Considerations"), and is read back, because a pragma that is misspelled or
//! refused is silently ignored.

use super::clock::{self, Clock};
use super::limits;
use super::show::{self, Stored};
use outpost_wire::session::{BootRange, Hello, LossReason};
use outpost_wire::{Event, NameId, Record, Severity, limits::RECORD_MAX};
use rusqlite::{Connection, OpenFlags, OptionalExtension, named_params, params};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::sync::Arc;

/// "OUTP" in the header of the file, so that no other program's database is taken for a store.
const APPLICATION_ID: i64 = 0x4f55_5450;

/// The schema, as the steps that led to it; `user_version` is how many of them a store has. Never edit a step that
/// was released: add one.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE agents (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
    CREATE TABLE boots (
        id INTEGER PRIMARY KEY,
        agent INTEGER NOT NULL REFERENCES agents,
        boot_id INTEGER NOT NULL,          -- as u64
        first_seen_us INTEGER NOT NULL,    -- times: microseconds since 1970-01-01 UTC, the collector's clock
        last_seen_us INTEGER NOT NULL,
        image_id BLOB, config BLOB, catalogue BLOB,
        next INTEGER NOT NULL,             -- the highest `next` the agent told: all before it were emitted
        durable INTEGER NOT NULL,          -- up to here everything is in records or lost
        UNIQUE (agent, boot_id)
    );
    CREATE TABLE records (
        boot INTEGER NOT NULL, seq INTEGER NOT NULL,
        received_us INTEGER NOT NULL,
        mono_us INTEGER NOT NULL, severity INTEGER NOT NULL, txn INTEGER, event INTEGER NOT NULL, fields BLOB,
        utc_us INTEGER, utc_error_us INTEGER,
        PRIMARY KEY (boot, seq)
    ) WITHOUT ROWID;
    CREATE TABLE lost (
        boot INTEGER NOT NULL, from_seq INTEGER NOT NULL, to_seq INTEGER NOT NULL,
        received_us INTEGER NOT NULL, reason INTEGER NOT NULL,
        PRIMARY KEY (boot, from_seq)
    ) WITHOUT ROWID;
    -- The second and later of different records that claimed one seq.
    CREATE TABLE conflicts (
        boot INTEGER NOT NULL, seq INTEGER NOT NULL, body BLOB NOT NULL, received_us INTEGER NOT NULL,
        PRIMARY KEY (boot, seq, body)
    ) WITHOUT ROWID;
    CREATE TABLE names (
        boot INTEGER NOT NULL, id INTEGER NOT NULL, text TEXT NOT NULL, PRIMARY KEY (boot, id)
    ) WITHOUT ROWID;
    CREATE TABLE sessions (
        id INTEGER PRIMARY KEY, boot INTEGER NOT NULL, peer TEXT NOT NULL,
        opened_us INTEGER NOT NULL, closed_us INTEGER, ended TEXT
    );
    CREATE TABLE oddities (
        id INTEGER PRIMARY KEY, boot INTEGER NOT NULL, received_us INTEGER NOT NULL,
        event TEXT NOT NULL, detail TEXT NOT NULL
    );
",
    "
    -- Up to where a forwarder's receiver has everything; boot 0 stands for the oddities and their rows.
    CREATE TABLE cursors (
        forwarder TEXT NOT NULL, boot INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (forwarder, boot)
    ) WITHOUT ROWID;
    CREATE TABLE forwarders (
        name TEXT PRIMARY KEY,
        refused INTEGER NOT NULL,          -- records that its receiver would not take
        arrived_us INTEGER NOT NULL        -- when something last arrived
    ) WITHOUT ROWID;
",
    "
    -- Records that were stored and went by retention: known from those that are missing.
    CREATE TABLE retired (
        boot INTEGER NOT NULL, from_seq INTEGER NOT NULL, to_seq INTEGER NOT NULL, retired_us INTEGER NOT NULL,
        PRIMARY KEY (boot, from_seq)
    ) WITHOUT ROWID;
    -- What clock.sync records say, kept when they are retired.
    CREATE TABLE clock (
        boot INTEGER NOT NULL, mono_us INTEGER NOT NULL, unix_us INTEGER NOT NULL, error_us INTEGER NOT NULL,
        PRIMARY KEY (boot, mono_us)
    ) WITHOUT ROWID;
    -- UTC is computed when records are read: a later clock.sync changes it.
    ALTER TABLE records DROP COLUMN utc_us;
    ALTER TABLE records DROP COLUMN utc_error_us;
",
    "
    -- Whether the boot said that it is of an exercise.
    ALTER TABLE boots ADD COLUMN exercise INTEGER NOT NULL DEFAULT 0;
    -- What target.watched records say, kept when they are retired.
    CREATE TABLE watched (
        boot INTEGER NOT NULL, target TEXT NOT NULL, owner TEXT NOT NULL, impact TEXT NOT NULL, runbook TEXT NOT NULL,
        PRIMARY KEY (boot, target)
    ) WITHOUT ROWID;
    -- What a receiver of notifications was told and has not ended, or would have been told but for a maintenance.
    CREATE TABLE problems (
        id INTEGER PRIMARY KEY,
        forwarder TEXT NOT NULL, key TEXT NOT NULL, agent TEXT NOT NULL,
        held INTEGER NOT NULL,             -- 0 told, 1 not told yet, 2 no problem but news that was told
        notice TEXT NOT NULL,              -- the document
        UNIQUE (forwarder, key)
    );
",
];

/// The schema version that this program writes.
const SCHEMA: u32 = MIGRATIONS.len() as u32;

/// Why a store cannot be used, in words for people.
#[derive(Debug)]
pub struct OpenError(String);

impl OpenError {
    /// Reading a store failed.
    pub fn of(error: &rusqlite::Error) -> OpenError {
        OpenError(format!("the store cannot be read: {error}."))
    }

    /// Reading this store failed after it was opened.
    pub fn reading(path: &Path, error: &rusqlite::Error) -> OpenError {
        OpenError(explain_open(path, error))
    }
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OpenError {}

/// A boot of an agent, with its row in the store.
#[derive(Clone, Debug)]
pub struct Boot {
    row: i64,
    /// Name of the agent.
    pub agent: Arc<str>,
    /// Random id of the boot.
    pub boot_id: u64,
}

/// A session that was told to the store.
#[derive(Debug)]
pub struct Greeted {
    /// Its row.
    pub session: i64,
    /// The boots in the order of Hello.
    pub boots: [Option<Boot>; 2],
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is new.
    New,
    /// The same record was there already.
    Same,
    /// Another record had its seq; both are kept.
    Conflict,
}

/// The store, with the transaction that waits to be committed.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    in_transaction: bool,
    pending: Vec<Stored>,
    /// Why nothing may be added, where nothing may.
    refused: Option<String>,
    /// The clocks of boots that speak, as the transaction has them.
    clocks: BTreeMap<i64, Clock>,
}

impl Store {
    /// Opens or makes the store in this file.
    pub fn open(path: &Path) -> Result<Store, OpenError> {
        let shown = path.display();
        let explain = |error: rusqlite::Error| OpenError(explain_open(path, &error));
        let connection = Connection::open(path).map_err(explain)?;
        connection.busy_timeout(limits::STORE_BUSY).map_err(explain)?;
        let version = check_ours(&connection, path)?;
        back_up(&connection, version, path)?;
        let journal: String = connection.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0)).map_err(explain)?;
        if journal != "wal" {
            return Err(OpenError(format!(
                "{shown} cannot keep a write-ahead log (journal mode is {journal}): the file system lacks shared \
                 memory, as network file systems do. Put the store on a local disk."
            )));
        }
        let store = Store::prepare(connection).map_err(explain)?;
        match store.synchronous() {
            Ok(2) => Ok(store),
            other => Err(OpenError(format!(
                "{shown}: SQLite did not accept synchronous=FULL (it says {other:?}), so that a commit could be lost \
                 with the power. This SQLite must not be used."
            ))),
        }
    }

    /// A store that is gone with the process: for simulations.
    pub fn in_memory() -> Result<Store, OpenError> {
        Connection::open_in_memory().and_then(Store::prepare).map_err(|error| OpenError(error.to_string()))
    }

    /// Opens an existing store for reading alone, as [`crate::verify`] does.
    pub fn open_to_read(path: &Path) -> Result<Connection, OpenError> {
        let explain = |error: rusqlite::Error| OpenError(explain_open(path, &error));
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(explain)?;
        connection.busy_timeout(limits::STORE_BUSY).map_err(explain)?;
        match check_ours(&connection, path)? {
            SCHEMA => Ok(connection),
            0 => Err(OpenError(format!("{} is empty: no collector has used it as its store.", path.display()))),
            version => Err(OpenError(format!(
                "{} has the older schema {version}; `outpost collect --store` on it brings it to {SCHEMA}.",
                path.display()
            ))),
        }
    }

    fn prepare(mut connection: Connection) -> rusqlite::Result<Store> {
        connection.pragma_update(None, "synchronous", "FULL")?;
        // After a burst the log would otherwise keep its largest size for ever.
        connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
        connection.set_prepared_statement_cache_capacity(32);
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let version: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        for (_, step) in (0..).zip(MIGRATIONS).filter(|(number, _)| *number >= version) {
            transaction.execute_batch(step)?;
        }
        if version < SCHEMA {
            clock::fill(&transaction)?;
            transaction.pragma_update(None, "user_version", SCHEMA)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        }
        transaction.execute("UPDATE sessions SET ended = 'the collector was killed' WHERE ended IS NULL", [])?;
        transaction.commit()?;
        Ok(Store { connection, in_transaction: false, pending: Vec::new(), refused: None, clocks: BTreeMap::new() })
    }

    /// SQLite's own number for how it syncs: 2 is FULL.
    pub fn synchronous(&self) -> rusqlite::Result<i64> {
        self.connection.query_row("PRAGMA synchronous", [], |row| row.get(0))
    }

    /// Takes note of a session and of its boots.
    pub fn hello(&mut self, hello: &Hello<'_>, peer: &str, now_us: i64) -> rusqlite::Result<Greeted> {
        self.begin()?;
        let agent = self.agent(hello.agent)?;
        let name: Arc<str> = hello.agent.into();
        let current = self.boot(agent, &name, &hello.current, now_us)?;
        self.connection
            .prepare_cached("UPDATE boots SET image_id = ?2, config = ?3, catalogue = ?4 WHERE id = ?1")?
            .execute(params![current.row, hello.image_id, hello.config, hello.catalogue])?;
        let previous = hello.previous.map(|range| self.boot(agent, &name, &range, now_us)).transpose()?;
        self.connection
            .prepare_cached("INSERT INTO sessions (boot, peer, opened_us) VALUES (?1, ?2, ?3)")?
            .execute(params![current.row, peer, now_us])?;
        let session = self.connection.last_insert_rowid();
        self.connection
            .prepare_cached("DELETE FROM sessions WHERE id <= ?1")?
            .execute([session - limits::SESSION_ROWS])?;
        Ok(Greeted { session, boots: [Some(current), previous] })
    }

    /// Takes note of how a session ended.
    pub fn close_session(&mut self, session: i64, ended: &str, now_us: i64) -> rusqlite::Result<()> {
        self.begin()?;
        self.connection
            .prepare_cached("UPDATE sessions SET closed_us = ?2, ended = ?3 WHERE id = ?1")?
            .execute(params![session, now_us, ended])?;
        Ok(())
    }

    /// Up to which seq everything of this boot is a record or declared lost. Speaks of what is durable only while
    /// nothing waits to be committed.
    pub fn durable(&self, boot: &Boot) -> rusqlite::Result<u64> {
        let durable: i64 = self
            .connection
            .prepare_cached("SELECT durable FROM boots WHERE id = ?1")?
            .query_row([boot.row], |row| row.get(0))?;
        Ok(durable.cast_unsigned())
    }

    /// Adds a record; its seq must not be above [`limits::SEQ_MAX`].
    pub fn record(&mut self, boot: &Boot, record: &Record<'_>, now_us: i64) -> rusqlite::Result<Kept> {
        self.begin()?;
        let new = self
            .connection
            .prepare_cached(
                "INSERT INTO records (boot, seq, received_us, mono_us, severity, txn, event, fields)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                boot.row,
                record.seq.cast_signed(),
                now_us,
                record.mono_us.cast_signed(),
                record.severity.number(),
                record.transaction,
                record.event,
                (!record.fields.is_empty()).then_some(record.fields),
            ])?;
        if new == 0 {
            return self.compare(boot, record, now_us);
        }
        if let Some((id, text)) = show::interned(record) {
            self.connection
                .prepare_cached("INSERT OR REPLACE INTO names (boot, id, text) VALUES (?1, ?2, ?3)")?
                .execute(params![boot.row, id, text])?;
        }
        self.note(boot, record)?;
        if clock::note(&self.connection, boot.row, record)? || self.clocks.len() > limits::SESSIONS {
            self.clocks.clear();
        }
        let clock = match self.clocks.entry(boot.row) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Clock::of(&self.connection, boot.row)?),
        };
        let utc = clock.utc(record.mono_us);
        let mut stored = Stored::record(boot.agent.clone(), boot.boot_id, now_us, record, |id| self.name(boot, id));
        stored.utc = utc;
        self.pending.push(stored);
        if self.is_declared_lost(boot, record.seq)? {
            // Whoever reads in the order of seq has passed this place: the oddity tells them to look again.
            let detail = json!({ "seq": record.seq, "event": show::event_name(record.event) });
            self.oddity(boot, "record.late", detail, now_us)?;
        }
        Ok(Kept::New)
    }

    /// Adds a range of seqs that will never come.
    pub fn lost(&mut self, boot: &Boot, from: u64, to: u64, reason: LossReason, now_us: i64) -> rusqlite::Result<()> {
        self.begin()?;
        // Two sessions of one boot may declare ranges that begin alike: the longer one says all.
        self.connection
            .prepare_cached(
                "INSERT INTO lost (boot, from_seq, to_seq, received_us, reason) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO UPDATE SET to_seq = max(to_seq, excluded.to_seq)",
            )?
            .execute(params![boot.row, from.cast_signed(), to.cast_signed(), now_us, u8::from(reason)])?;
        self.pending.push(Stored::lost(boot.agent.clone(), boot.boot_id, now_us, (from, to), reason));
        Ok(())
    }

    /// Everything of this boot up to `durable` has now been added; the agent has emitted all before `next`.
    pub fn advance(&mut self, boot: &Boot, durable: u64, next: u64, now_us: i64) -> rusqlite::Result<()> {
        self.begin()?;
        self.connection
            .prepare_cached(
                "UPDATE boots SET durable = max(durable, ?2), next = max(next, ?3), last_seen_us = ?4 WHERE id = ?1",
            )?
            .execute(params![boot.row, durable.cast_signed(), next.cast_signed(), now_us])?;
        Ok(())
    }

    /// Adds something that should not be.
    pub fn oddity(&mut self, boot: &Boot, event: &str, detail: Value, now_us: i64) -> rusqlite::Result<()> {
        self.begin()?;
        self.connection
            .prepare_cached("INSERT INTO oddities (boot, received_us, event, detail) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![boot.row, now_us, event, detail.to_string()])?;
        self.connection
            .prepare_cached("DELETE FROM oddities WHERE id <= ?1")?
            .execute([self.connection.last_insert_rowid() - limits::ODDITY_ROWS])?;
        self.pending.push(Stored::oddity(boot.agent.clone(), boot.boot_id, now_us, event, detail));
        Ok(())
    }

    /// The newest boot of each agent, and whether the last that was told of the agent is that it is silent.
    pub fn agents(&self) -> rusqlite::Result<Vec<(Boot, bool)>> {
        let mut statement = self.connection.prepare(
            "SELECT max(boots.id), name, boot_id,
                 (SELECT event FROM oddities WHERE boot IN (SELECT id FROM boots b WHERE b.agent = agents.id)
                  AND event IN ('agent.silent', 'agent.back') ORDER BY id DESC LIMIT 1)
             FROM boots JOIN agents ON agents.id = boots.agent GROUP BY agents.id",
        )?;
        let rows = statement.query_map([], |row| {
            let (name, told): (String, Option<String>) = (row.get(1)?, row.get(3)?);
            let boot_id = row.get::<_, i64>(2)?.cast_unsigned();
            Ok((Boot { row: row.get(0)?, agent: name.into(), boot_id }, told.as_deref() == Some("agent.silent")))
        })?;
        rows.collect()
    }

    /// Whether anything waits to be committed.
    pub fn is_dirty(&self) -> bool {
        self.in_transaction
    }

    /// How many records, losses and oddities wait to be committed.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Makes everything added so far durable and returns it in order. After an error nothing of it is in the
    /// store: call [`Store::roll_back`] and forget it.
    pub fn commit(&mut self) -> rusqlite::Result<Vec<Stored>> {
        if self.in_transaction {
            self.connection.execute_batch("COMMIT")?;
            self.in_transaction = false;
        }
        Ok(std::mem::take(&mut self.pending))
    }

    /// Forgets everything that was not committed.
    pub fn roll_back(&mut self) {
        self.clocks.clear();
        self.pending.clear();
        self.in_transaction = false;
        if !self.connection.is_autocommit() {
            // The only failure is that there is no transaction, which is what is wanted.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    /// Sets a pragma, for tests that bring about what a full disk does.
    #[cfg(test)]
    pub(super) fn set_pragma(&self, name: &str, value: u32) {
        self.connection.query_row(&format!("PRAGMA {name} = {value}"), [], |_| Ok(())).unwrap();
    }

    /// Reads a pragma.
    #[cfg(test)]
    pub(super) fn pragma(&self, name: &str) -> u32 {
        self.connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).unwrap()
    }

    /// The connection, for the other half of what a store does.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// From now on nothing may be added, for this reason, or everything may again. Records may go all the same.
    pub fn refuse(&mut self, reason: Option<String>) {
        self.refused = reason;
    }

    /// Why nothing may be added, where nothing may.
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// Begins a transaction that adds something.
    fn begin(&mut self) -> rusqlite::Result<()> {
        if let Some(reason) = &self.refused {
            let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
            return Err(rusqlite::Error::SqliteFailure(full, Some(reason.clone())));
        }
        self.begin_any()
    }

    /// Begins a transaction.
    pub(super) fn begin_any(&mut self) -> rusqlite::Result<()> {
        if !self.in_transaction {
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
            self.in_transaction = true;
        }
        Ok(())
    }

    fn agent(&self, name: &str) -> rusqlite::Result<i64> {
        self.connection
            .prepare_cached("INSERT INTO agents (name) VALUES (?1) ON CONFLICT DO UPDATE SET name = name RETURNING id")?
            .query_row([name], |row| row.get(0))
    }

    fn boot(&self, agent: i64, name: &Arc<str>, range: &BootRange, now_us: i64) -> rusqlite::Result<Boot> {
        let row = self
            .connection
            .prepare_cached(
                "INSERT INTO boots (agent, boot_id, first_seen_us, last_seen_us, next, durable)
                 VALUES (:agent, :boot, :now, :now, :next, 0)
                 ON CONFLICT DO UPDATE SET last_seen_us = :now, next = max(next, :next) RETURNING id",
            )?
            .query_row(
                named_params! {
                    ":agent": agent, ":boot": range.boot_id.cast_signed(), ":now": now_us,
                    ":next": range.next.cast_signed()
                },
                |row| row.get(0),
            )?;
        Ok(Boot { row, agent: name.clone(), boot_id: range.boot_id })
    }

    /// Keeps what a record says of its whole boot, as notifications need it when the record has gone.
    fn note(&self, boot: &Boot, record: &Record<'_>) -> rusqlite::Result<()> {
        match record.decode_event() {
            Some(Event::DrillStarted(_)) => {
                self.connection.prepare_cached("UPDATE boots SET exercise = 1 WHERE id = ?1")?.execute([boot.row])?;
            }
            Some(Event::TargetWatched(watched)) => {
                let NameId(id) = watched.check;
                let target = self.name(boot, id).unwrap_or_else(|| format!("#{id}"));
                let (owner, impact) = (watched.owner.as_str(), watched.impact.as_str());
                self.connection
                    .prepare_cached(
                        "INSERT OR REPLACE INTO watched (boot, target, owner, impact, runbook) VALUES (?1, ?2, ?3, ?4, ?5)",
                    )?
                    .execute(params![boot.row, target, owner, impact, watched.runbook.as_str()])?;
            }
            _ => {}
        }
        Ok(())
    }

    fn name(&self, boot: &Boot, id: u16) -> Option<String> {
        let mut statement =
            self.connection.prepare_cached("SELECT text FROM names WHERE boot = ?1 AND id = ?2").ok()?;
        statement.query_row(params![boot.row, id], |row| row.get(0)).ok()
    }

    /// The seq is taken: the same record again is nothing new, another one is kept beside it and told of.
    fn compare(&mut self, boot: &Boot, record: &Record<'_>, now_us: i64) -> rusqlite::Result<Kept> {
        let mut body = [0; RECORD_MAX];
        let body = record.encode_body(&mut body).and_then(|len| body.get(..len)).unwrap_or(record.fields);
        let stored = self.stored_body(boot, record.seq)?;
        if stored.as_deref() == Some(body) {
            return Ok(Kept::Same);
        }
        let new = self
            .connection
            .prepare_cached("INSERT OR IGNORE INTO conflicts (boot, seq, body, received_us) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![boot.row, record.seq.cast_signed(), body, now_us])?;
        if new == 0 {
            return Ok(Kept::Same);
        }
        let detail = json!({ "seq": record.seq, "event": show::event_name(record.event) });
        self.oddity(boot, "record.conflict", detail, now_us)?;
        Ok(Kept::Conflict)
    }

    fn is_declared_lost(&self, boot: &Boot, seq: u64) -> rusqlite::Result<bool> {
        let mut before = self.connection.prepare_cached(
            "SELECT to_seq >= ?2 FROM lost WHERE boot = ?1 AND from_seq <= ?2 ORDER BY from_seq DESC LIMIT 1",
        )?;
        let lost = before.query_row(params![boot.row, seq.cast_signed()], |row| row.get(0)).optional()?;
        Ok(lost.unwrap_or(false))
    }

    fn stored_body(&self, boot: &Boot, seq: u64) -> rusqlite::Result<Option<Vec<u8>>> {
        self.connection
            .prepare_cached("SELECT mono_us, severity, txn, event, fields FROM records WHERE boot = ?1 AND seq = ?2")?
            .query_row(params![boot.row, seq.cast_signed()], |row| {
                let fields: Option<Vec<u8>> = row.get(4)?;
                let record = Record {
                    seq,
                    mono_us: row.get::<_, i64>(0)?.cast_unsigned(),
                    severity: Severity::from_number(row.get(1)?).unwrap_or(Severity::INFO),
                    transaction: row.get(2)?,
                    event: row.get(3)?,
                    fields: fields.as_deref().unwrap_or_default(),
                };
                let mut body = [0; RECORD_MAX];
                Ok(record.encode_body(&mut body).and_then(|len| body.get(..len)).map(<[u8]>::to_vec))
            })
            .optional()
            .map(Option::flatten)
    }
}

/// The schema version of a store, 0 of an empty file; refuses what is another program's or from a newer version.
fn check_ours(connection: &Connection, path: &Path) -> Result<u32, OpenError> {
    let shown = path.display();
    let read = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let explain = |error: rusqlite::Error| OpenError(explain_open(path, &error));
    let application = read("PRAGMA application_id").map_err(explain)?;
    let tables = read("SELECT count(*) FROM sqlite_schema").map_err(explain)?;
    if application != APPLICATION_ID && tables > 0 {
        return Err(OpenError(format!(
            "{shown} is the database of another program and is left as it is. Name another file with --store."
        )));
    }
    let version = u32::try_from(read("PRAGMA user_version").map_err(explain)?).unwrap_or(u32::MAX);
    if version > SCHEMA {
        return Err(OpenError(format!(
            "{shown} was written by a newer Outpost (schema {version}; this one knows up to {SCHEMA}). Run that version, \
             or name another file with --store."
        )));
    }
    Ok(version)
}

/// Copies a store that is about to be migrated, to stand beside it as FILE.schema-N until somebody deletes it.
fn back_up(connection: &Connection, version: u32, path: &Path) -> Result<(), OpenError> {
    if version == 0 || version == SCHEMA {
        return Ok(());
    }
    let backup = format!("{}.schema-{version}", path.display());
    if Path::new(&backup).exists() {
        // Of an attempt that did not end: the store is still what it was then, or is newer and has its own copy.
        return Ok(());
    }
    connection.execute("VACUUM INTO ?1", [&backup]).map(drop).map_err(|error| {
        let _ = std::fs::remove_file(&backup);
        OpenError(format!(
            "{} has the older schema {version}, and the copy that is made before it is brought to {SCHEMA} could not \
             be written to {backup}: {error}. Make room as large as the store and start again.",
            path.display()
        ))
    })
}

fn explain_open(path: &Path, error: &rusqlite::Error) -> String {
    let shown = path.display();
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
            format!("{shown} is not a store, or is damaged ({error}). Name another file with --store, or restore it.")
        }
        Some(rusqlite::ErrorCode::CannotOpen) => {
            format!("{shown} cannot be opened ({error}). Check that it and its directory exist and are writable.")
        }
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            format!("{shown} is in use by another program ({error}). End it, or name another file with --store.")
        }
        Some(rusqlite::ErrorCode::DiskFull) => {
            format!("{shown}: the disk is full ({error}). Make room and start again.")
        }
        _ => format!("{shown} cannot be used as a store: {error}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_on_disk_syncs_every_commit_and_keeps_its_mark() {
        // In WAL mode only synchronous=FULL (2) makes a commit survive a power cut; SQLite ignores a wrong pragma.
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        for _ in 0..2 {
            let store = Store::open(&path).unwrap();
            assert_eq!(store.synchronous(), Ok(2));
            let journal: String = store.connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
            assert_eq!(journal, "wal");
            assert_eq!(store.pragma("user_version"), SCHEMA);
            assert_eq!(i64::from(store.pragma("application_id")), APPLICATION_ID);
        }
    }

    #[test]
    fn a_migration_that_fails_leaves_nothing_behind() {
        // Half a schema could neither be used nor be migrated again.
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let connection = Connection::open(&path).unwrap();
        // A store of ours (by its mark) in which the first step must fail at its last table.
        connection
            .execute_batch(&format!("PRAGMA application_id = {APPLICATION_ID}; CREATE TABLE oddities (x);"))
            .unwrap();
        assert!(Store::open(&path).is_err());
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        assert_eq!(tables, 1);
    }

    #[test]
    fn a_store_of_the_schema_before_is_copied_and_brought_forward_with_all_it_holds() {
        // An update must neither lose a record nor leave its operator without a way back.
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let connection = Connection::open(&path).unwrap();
        MIGRATIONS[..2].iter().for_each(|step| connection.execute_batch(step).unwrap());
        connection
            .execute_batch(&format!(
                "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 2;
                 INSERT INTO agents VALUES (1, 'a'); INSERT INTO boots VALUES (1, 1, 7, 0, 0, NULL, NULL, NULL, 3, 2);
                 INSERT INTO records VALUES (1, 1, 0, 1000000, 9, NULL, 4, x'00', NULL, NULL);
                 -- clock.sync: 1 s after 1970, 1 ms off, stratum 1, server 1.2.3.4, no step.
                 INSERT INTO records VALUES (1, 2, 0, 2000000, 9, NULL, 20, x'C0843DE80701010203040000', NULL, NULL);"
            ))
            .unwrap();
        drop(connection);
        let store = Store::open(&path).unwrap();
        assert_eq!(store.pragma("user_version"), SCHEMA);
        let count = |connection: &Connection| -> i64 {
            connection.query_row("SELECT count(*) FROM records", [], |row| row.get(0)).unwrap()
        };
        assert_eq!(count(&store.connection), 2);
        let utc = Clock::of(&store.connection, 1).unwrap().utc(1_000_000).unwrap();
        assert_eq!((utc.us, utc.error_us), (0, 1015));
        let copy = Connection::open(directory.path().join("store.db.schema-2")).unwrap();
        let version: i64 = copy.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert_eq!((version, count(&copy)), (2, 2));
    }
}
