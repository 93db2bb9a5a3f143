//! The logs of all boots as one, oldest first.
//!
//! ```text
//! boot a: 1 2 3 ─┐
//! boot b: 1 2   ─┼─ whose next entry is the oldest? ─▶ one stream
//! oddities: 1   ─┘
//! ```
//!
//! The order of seq within a boot is never given up: a clock that went back, or a record without a time among those
//! that have one, can place a boot's records late beside another boot's, but never turn them round.

use crate::store_read::{Boot, Entry, Reader};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

/// Entries that wait in memory, for all boots together; each boot has at least [`CHUNK_MIN`].
const CHUNKS: u32 = 16 * 1024;

/// Entries of one boot that are read at once, at least.
const CHUNK_MIN: u32 = 16;

/// Entries of one boot that are read at once, at most.
const CHUNK_MAX: u32 = 1024;

/// One boot, or what the collector found, and what was read of it.
struct Strand {
    /// `None`: the collector's own.
    boot: Option<Arc<Boot>>,
    /// The last seq, or row, that was read.
    after: u64,
    waiting: VecDeque<Entry>,
}

/// The logs of some boots, as one.
pub struct Merge<'a> {
    reader: &'a Reader,
    strands: Vec<Strand>,
    /// When the next entry of each strand that has one happened.
    next: BinaryHeap<Reverse<(i64, usize)>>,
    chunk: u32,
}

impl<'a> Merge<'a> {
    /// The whole logs of these boots and what the collector found.
    pub fn new(reader: &'a Reader, boots: &[Arc<Boot>]) -> rusqlite::Result<Merge<'a>> {
        let chunk = (CHUNKS / u32::try_from(boots.len()).unwrap_or(u32::MAX).max(1)).clamp(CHUNK_MIN, CHUNK_MAX);
        let strand = |boot| Strand { boot, after: 0, waiting: VecDeque::new() };
        let strands = boots.iter().cloned().map(Some).chain([None]).map(strand).collect();
        let mut merge = Merge { reader, strands, next: BinaryHeap::new(), chunk };
        for index in 0..merge.strands.len() {
            merge.queue(index)?;
        }
        Ok(merge)
    }

    fn queue(&mut self, index: usize) -> rusqlite::Result<()> {
        let Some(strand) = self.strands.get_mut(index) else { return Ok(()) };
        if strand.waiting.is_empty() {
            strand.fill(self.reader, self.chunk)?;
        }
        self.next.extend(strand.waiting.front().map(|entry| Reverse((entry.time_us(), index))));
        Ok(())
    }
}

impl Iterator for Merge<'_> {
    type Item = rusqlite::Result<Entry>;

    fn next(&mut self) -> Option<rusqlite::Result<Entry>> {
        let Reverse((_, index)) = self.next.pop()?;
        let entry = self.strands.get_mut(index)?.waiting.pop_front()?;
        Some(self.queue(index).map(|()| entry))
    }
}

impl Strand {
    fn fill(&mut self, reader: &Reader, chunk: u32) -> rusqlite::Result<()> {
        let entries = match &self.boot {
            Some(boot) if self.after >= boot.durable => return Ok(()),
            Some(boot) => reader.entries(boot, self.after, chunk)?,
            None => reader.oddities(self.after.cast_signed(), chunk)?,
        };
        self.after = entries.last().map_or(self.after, Entry::place);
        self.waiting = entries.into();
        Ok(())
    }
}
