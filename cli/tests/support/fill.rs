//! A store with records of known times and contents, written by the collector's own code.
//!
//! Each test program uses a part of it.

#![allow(dead_code)]

use outpost_cli::collect::Store;
use outpost_wire::session::{BootRange, Hello, LossReason};
use outpost_wire::{Event, Record, Severity, limits};
use rusqlite::{Connection, params};
use std::path::Path;

/// 2026-03-01T12:00:00Z, in microseconds: when the fixtures begin.
pub const NOON: i64 = 1_772_366_400_000_000;

/// A second in microseconds.
pub const SECOND: i64 = 1_000_000;

/// What is written of a boot, in the order of seq.
pub enum Line<'a> {
    /// Seconds after noon at which it is received, its transaction and event. It is emitted a second after the
    /// record before it for each seq.
    Record(i64, Option<u32>, Event<'a>),
    /// A record as it is on the wire.
    Raw(i64, u16, &'a [u8]),
    /// So many seqs declared lost.
    Lost(i64, u64, LossReason),
    /// So many seqs of which the store knows nothing.
    Missing(u64),
}

/// Adds a boot to a store.
pub fn boot(store: &Path, agent: &str, boot_id: u64, lines: &[Line<'_>]) {
    let mut store = Store::open(store).unwrap();
    let current = BootRange { boot_id, oldest: 1, next: 1 };
    let hello = Hello {
        features: 0,
        agent,
        current,
        previous: None,
        catalogue: [1; 8],
        image_id: [2; 32],
        config: [3; 8],
        severities: [4; 8],
    };
    let boot = store.hello(&hello, "127.0.0.1:1", NOON).unwrap().boots[0].clone().unwrap();
    let mut seq = 1;
    let mut last = NOON;
    for line in lines {
        let mut buffer = [0; limits::FIELDS_MAX];
        let (after, transaction, severity, event, fields) = match line {
            Line::Record(after, transaction, event) => {
                let len = event.encode(&mut buffer).unwrap();
                (after, *transaction, event.spec().severity, event.spec().id, &buffer[..len])
            }
            Line::Raw(after, event, fields) => (after, None, Severity::INFO, *event, *fields),
            Line::Lost(after, count, reason) => {
                store.lost(&boot, seq, seq + count - 1, *reason, NOON + after * SECOND).unwrap();
                seq += count;
                continue;
            }
            Line::Missing(count) => {
                seq += count;
                continue;
            }
        };
        last = NOON + after * SECOND;
        let record = Record { seq, mono_us: seq * 1_000_000, severity, transaction, event, fields };
        store.record(&boot, &record, last).unwrap();
        seq += 1;
    }
    store.advance(&boot, seq - 1, seq, last).unwrap();
    store.commit().unwrap();
}

/// Gives the records of a boot a UTC so many microseconds before they were received, and its error.
pub fn synchronise(store: &Path, boot_id: u64, before_us: i64, error_us: i64) {
    let connection = Connection::open(store).unwrap();
    let sql = "INSERT INTO clock (boot, mono_us, unix_us, error_us)
               SELECT boot, mono_us, received_us - ?2, ?3 FROM records
               WHERE boot = (SELECT id FROM boots WHERE boot_id = ?1)";
    connection.execute(sql, params![boot_id as i64, before_us, error_us]).unwrap();
}
