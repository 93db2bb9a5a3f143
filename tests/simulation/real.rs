//! The real collector, sessions and SQLite store as `outpost collect` runs them, behind the simulated host.
//!
//! A crash is what it is for the real one: the connection to the file is dropped in the middle of its transaction,
//! and the file is opened again.

use crate::collector::{Service, SessionId};
use crate::oracle::{Oracle, Stored};
use crate::probe;
use outpost_cli::collect::limits::Deadlines;
use outpost_cli::collect::{self, Access, Keys, Now, Store};
use outpost_wire::limits::RECORD_MAX;
use outpost_wire::noise::Key;
use outpost_wire::session::LossReason;
use outpost_wire::{Record, Severity};
use rusqlite::Connection;
use smoltcp::time::Instant;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// The real collector.
pub struct Real {
    directory: TempDir,
    keyed: bool,
    collector: Option<collect::Collector>,
    /// What the oracle reads by.
    reader: Connection,
}

fn now_of(now: Instant) -> Now {
    let micros = now.total_micros();
    // Any day will do; what counts is that it is the same in every run.
    Now { monotonic: Duration::from_micros(micros as u64), unix_us: 1_800_000_000_000_000 + micros }
}

impl Real {
    pub fn new(keyed: bool) -> Real {
        let memory = PathBuf::from("/dev/shm");
        let directory = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
        let directory = directory.expect("a directory for the store");
        let file = directory.path().join("store.db");
        let collector = open(&file, keyed);
        let reader = Store::open_to_read(&file).expect("the store is there");
        Real { directory, keyed, collector: Some(collector), reader }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("store.db")
    }

    fn collector(&mut self) -> &mut collect::Collector {
        self.collector.as_mut().expect("it runs")
    }

    fn reopen(&mut self) {
        self.collector = Some(open(&self.file(), self.keyed));
        self.reader = Store::open_to_read(&self.file()).expect("the store is there");
    }

    fn read(&self) -> rusqlite::Result<BTreeMap<u64, Stored>> {
        let mut stored: BTreeMap<u64, Stored> = BTreeMap::new();
        let mut rows = self.reader.prepare(
            "SELECT b.boot_id, r.seq, r.mono_us, r.severity, r.txn, r.event, r.fields
             FROM records r JOIN boots b ON b.id = r.boot",
        )?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let fields: Option<Vec<u8>> = row.get(6)?;
            let record = Record {
                seq: row.get::<_, i64>(1)?.cast_unsigned(),
                mono_us: row.get::<_, i64>(2)?.cast_unsigned(),
                severity: Severity::from_number(row.get(3)?).expect("a stored severity is one"),
                transaction: row.get(4)?,
                event: row.get(5)?,
                fields: fields.as_deref().unwrap_or_default(),
            };
            let mut body = [0; RECORD_MAX];
            let len = record.encode_body(&mut body).expect("a stored record is one");
            let boot = stored.entry(row.get::<_, i64>(0)?.cast_unsigned()).or_default();
            boot.rows.insert(record.seq, body[..len].to_vec());
        }
        let mut rows = self.reader.prepare(
            "SELECT b.boot_id, l.from_seq, l.to_seq, l.reason FROM lost l JOIN boots b ON b.id = l.boot ORDER BY 1, 2",
        )?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let (from, to) = (row.get::<_, i64>(1)?.cast_unsigned(), row.get::<_, i64>(2)?.cast_unsigned());
            let reason = LossReason::from(row.get::<_, u8>(3)?);
            stored.entry(row.get::<_, i64>(0)?.cast_unsigned()).or_default().lost.push((from, to, reason));
        }
        Ok(stored)
    }
}

fn open(file: &std::path::Path, keyed: bool) -> collect::Collector {
    let access = match keyed {
        false => Access::clear(),
        true => Access::keyed(Keys::one(probe::AGENT, Key::new(probe::KEY)), false, &[0xc0; 32]),
    };
    collect::Collector::new(Store::open(file).expect("the store opens"), access, Deadlines::default())
}

impl Service for Real {
    fn connect(&mut self, now: Instant) -> SessionId {
        self.collector().connect(now_of(now), "agent".to_owned()).expect("few sessions").0
    }

    fn receive(&mut self, now: Instant, id: SessionId, bytes: &[u8], _oracle: &mut Oracle) {
        self.collector().receive(now_of(now), collect::SessionId(id), bytes);
    }

    fn poll(&mut self, now: Instant) -> Option<Instant> {
        let next = self.collector().poll(now_of(now));
        self.collector().take_output();
        next.map(|at| Instant::from_micros(at.as_micros() as i64 + 1).max(now))
    }

    fn outbox(&self, id: SessionId) -> &[u8] {
        self.collector.as_ref().map_or(&[], |collector| collector.outbox(collect::SessionId(id)))
    }

    fn sent(&mut self, now: Instant, id: SessionId, len: usize) {
        self.collector().sent(now_of(now), collect::SessionId(id), len);
    }

    fn has_ended(&self, id: SessionId) -> bool {
        self.collector.as_ref().is_none_or(|collector| collector.has_ended(collect::SessionId(id)))
    }

    fn must_go(&self, now: Instant, id: SessionId) -> bool {
        self.collector.as_ref().is_none_or(|collector| collector.must_go(now_of(now), collect::SessionId(id)))
    }

    fn disconnect(&mut self, now: Instant, id: SessionId) {
        self.collector().disconnect(now_of(now), collect::SessionId(id));
    }

    fn crash(&mut self) {
        self.collector = None;
        self.reopen();
    }

    fn back_up(&mut self) {
        let backup = self.directory.path().join("backup.db");
        let _ = std::fs::remove_file(&backup);
        let made = self.reader.execute("VACUUM INTO ?1", [backup.to_str().expect("a plain path")]);
        made.expect("a backup is made");
    }

    fn restore(&mut self) {
        self.collector = None;
        self.reader = Connection::open_in_memory().expect("memory");
        for file in ["store.db", "store.db-wal", "store.db-shm"] {
            let _ = std::fs::remove_file(self.directory.path().join(file));
        }
        std::fs::copy(self.directory.path().join("backup.db"), self.file()).expect("the backup is there");
        self.reopen();
    }

    fn stored(&self) -> BTreeMap<u64, Stored> {
        self.read().expect("the store is readable")
    }

    fn durable(&self, boot: u64) -> u64 {
        let query =
            self.reader.query_row("SELECT durable FROM boots WHERE boot_id = ?1", [boot.cast_signed()], |row| {
                row.get::<_, i64>(0)
            });
        query.map_or(0, i64::cast_unsigned)
    }
}
