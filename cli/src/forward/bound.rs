//! What an entry belongs to beyond itself: the trace of its transaction, and the version of its image.

use super::Item;
use crate::store_read::{Boot, Entry, Place, Reader, What};
use outpost_wire::{BootStarted, Event, TransactionBound};
use rusqlite::OptionalExtension;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Transactions whose trace is remembered. A request is answered long before so many others are.
const TRACES: usize = 4096;

/// Boots whose version is remembered.
const VERSIONS: usize = 4096;

/// How many seqs before the place of a forwarder that starts may have bound a transaction that goes on after it.
const LOOK_BACK: u64 = 256;

/// The traces and versions that were seen.
#[derive(Default)]
pub(super) struct Bound {
    /// The trace of a transaction, by the boot's row.
    traces: BTreeMap<(i64, u32), [u8; 16]>,
    /// The same keys, oldest first.
    order: VecDeque<(i64, u32)>,
    /// The version of each boot's image, which also says that its past was looked at.
    versions: BTreeMap<i64, Option<Arc<str>>>,
}

impl Bound {
    /// The entries, which come after `place`, with what they belong to.
    pub(super) fn items(&mut self, reader: &Reader, place: &Place, entries: Vec<Entry>) -> rusqlite::Result<Vec<Item>> {
        let item = |entry: Entry| {
            let version = self.version(reader, place, &entry.boot)?;
            self.learn(&entry);
            let trace = match entry.what {
                What::Record { transaction: Some(number), .. } => Some(self.trace(&entry.boot, number)),
                _ => None,
            };
            Ok(Item { stored: reader.decode(&entry), entry, trace, version })
        };
        entries.into_iter().map(item).collect()
    }

    /// The trace from outside, or else one made of boot id and number, which names the transaction for ever.
    fn trace(&self, boot: &Boot, number: u32) -> [u8; 16] {
        self.traces.get(&(boot.row, number)).copied().unwrap_or_else(|| {
            let mut trace = [0; 16];
            let (first, last) = trace.split_at_mut(8);
            first.copy_from_slice(&boot.boot_id.to_be_bytes());
            last.copy_from_slice(&u64::from(number).to_be_bytes());
            trace
        })
    }

    fn learn(&mut self, entry: &Entry) {
        let What::Record { transaction: Some(number), event, fields, .. } = &entry.what else { return };
        if *event != TransactionBound::SPEC.id {
            return;
        }
        // All zeros: only X-Request-ID was given (W3C Trace Context, section 3.2.2.3, calls it invalid).
        let Some(Event::TransactionBound(bound)) = Event::decode(*event, fields) else { return };
        if bound.trace_id == [0; 16] {
            return;
        }
        let key = (entry.boot.row, *number);
        if self.traces.insert(key, bound.trace_id).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > TRACES
            && let Some(oldest) = self.order.pop_front()
        {
            self.traces.remove(&oldest);
        }
    }

    /// The version of the boot's image. The first time it also learns which transactions were bound shortly before.
    fn version(&mut self, reader: &Reader, place: &Place, boot: &Arc<Boot>) -> rusqlite::Result<Option<Arc<str>>> {
        if let Some(version) = self.versions.get(&boot.row) {
            return Ok(version.clone());
        }
        let fields: Option<Vec<u8>> = reader
            .connection()
            .prepare_cached("SELECT fields FROM records WHERE boot = ?1 AND event = ?2 AND seq <= ?3 LIMIT 1")?
            .query_row((boot.row, BootStarted::SPEC.id, LOOK_BACK.cast_signed()), |row| row.get(0))
            .optional()?;
        let version = fields.as_deref().and_then(|fields| match Event::decode(BootStarted::SPEC.id, fields)? {
            Event::BootStarted(started) => Some(started.version.as_str().into()),
            _ => None,
        });
        let after = place.seqs.get(&boot.row).copied().unwrap_or(0);
        for entry in reader.entries(boot, after.saturating_sub(LOOK_BACK), LOOK_BACK as u32)? {
            if entry.place() <= after {
                self.learn(&entry);
            }
        }
        if self.versions.len() >= VERSIONS {
            self.versions.pop_first();
        }
        self.versions.insert(boot.row, version.clone());
        Ok(version)
    }
}
