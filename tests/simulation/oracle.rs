//! The oracle: what was emitted and what became of it, written down outside the agent and judged by identity
//! (boot, seq, bytes), never by the agent's own counters.
//!
//! ```text
//! emitted (seen in the ring after each poll) ═══ stored ⊎ declared lost ⊎ still in the ring
//! ```

use crate::gateway::UTC_AT_START_US;
use outpost::limits::WALL_LOOK;
use outpost_wire::session::LossReason;
use outpost_wire::{Event, Record};
use smoltcp::time::{Duration, Instant};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// How much longer a host may keep the processor for itself in these worlds.
const BUSY: Duration = Duration::from_secs(20);

/// Violations kept in words; more only count.
const VIOLATIONS: usize = 20;

/// A record's identity.
pub type Identity = (u64, u64);

/// What the collector's store holds of one boot, as the oracle reads it at the end.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// Body by seq.
    pub rows: BTreeMap<u64, Vec<u8>>,
    /// Ranges declared lost: first, last, why.
    pub lost: Vec<(u64, u64, LossReason)>,
    /// Seqs that were stored although they were there already.
    pub twice: Vec<u64>,
}

/// The witness.
#[derive(Default)]
pub struct Oracle {
    /// Body of every record that was given a seq.
    emitted: BTreeMap<Identity, Vec<u8>>,
    /// Boots in their order, with the seq of the last record seen.
    pub boots: Vec<(u64, u64)>,
    pub violations: Vec<String>,
    /// Requests that records tell of, one by one or as a number.
    pub requests: u64,
    /// How sessions to the collector ended, as records tell it.
    pub ends: BTreeSet<&'static str>,
    /// Records that tell what UTC is.
    pub clock_syncs: u64,
    /// Whether a boot was in safe mode, which asks no time server.
    pub safe_mode: bool,
    /// How many of the boots ended before the ring's memory was damaged: of them records may be missing at the end.
    damaged: usize,
    /// How much of time went by while the machine stood still, and when it must have noticed.
    stood_still_us: u64,
    noticed_by_us: u64,
    /// All that was true of it: records of before a standstill are dated by what is believed when they are sent.
    stood_still_before_us: Vec<u64>,
    /// Ranges that a collector was told are lost, still to be compared with the ring.
    declared: Vec<(u64, u64, u64)>,
}

impl Oracle {
    /// The agent starts a boot.
    pub fn boot(&mut self, boot: u64) {
        self.boots.push((boot, 0));
    }

    /// The machine stood still for so long, up to this moment.
    pub fn stood_still(&mut self, now: Instant, time: Duration) {
        self.stood_still_before_us.push(self.stood_still_us);
        self.stood_still_us += time.total_micros();
        self.noticed_by_us = (now + WALL_LOOK + BUSY).total_micros() as u64;
    }

    /// Whether UTC that is this far from what it was without standstills may be right.
    pub fn may_be_off(&self, off_us: u64, error_us: u64) -> bool {
        let mut sums = self.stood_still_before_us.iter().copied().chain([self.stood_still_us]);
        sums.any(|sum| off_us.abs_diff(sum) <= error_us)
    }

    /// The machine went back to a snapshot: what it recorded since is only where it was sent to.
    pub fn went_back(&mut self) {
        self.damage();
    }

    /// The memory of the ring was damaged after the boots so far.
    pub fn damage(&mut self) {
        self.damaged = self.boots.len();
    }

    /// The boots whose records must all be accounted for, each with its last seq.
    pub fn accountable(&self) -> &[(u64, u64)] {
        &self.boots[self.damaged..]
    }

    /// The current boot and the seq of its last record.
    pub fn last(&self) -> Option<(u64, u64)> {
        self.boots.last().copied()
    }

    /// How many records were emitted.
    pub fn emitted_count(&self) -> usize {
        self.emitted.len()
    }

    /// Whether this record was emitted.
    pub fn was_emitted(&self, boot: u64, seq: u64) -> bool {
        self.emitted.contains_key(&(boot, seq))
    }

    /// A record of the current boot was seen that was not there before.
    pub fn emit(&mut self, seq: u64, body: &[u8]) {
        let Some((boot, last)) = self.boots.last_mut() else { return };
        let (boot, expected) = (*boot, *last + 1);
        *last = seq;
        if seq != expected {
            self.violation(format!("boot {boot:x}: seq {seq} was emitted after {}", expected - 1));
        }
        self.emitted.insert((boot, seq), body.to_vec());
        if !body.is_empty() {
            self.understand(seq, body);
        }
    }

    /// What a record says must be a record of the catalogue, and true where the oracle knows better.
    fn understand(&mut self, seq: u64, body: &[u8]) {
        let record = match Record::decode_body(seq, body) {
            Ok(record) => record,
            Err(error) => return self.violation(format!("seq {seq} is no record: {error:?}")),
        };
        match record.decode_event() {
            None => self.violation(format!("seq {seq} has no event of the catalogue: {record:?}")),
            Some(Event::HttpRequest(_)) => self.requests += 1,
            Some(Event::CollectorLost(event)) => {
                self.ends.insert(event.reason.word().unwrap_or("other"));
            }
            Some(Event::HttpRequests(event)) => self.requests += u64::from(event.count),
            Some(Event::ClockSync(event)) => {
                self.clock_syncs += 1;
                let truth = UTC_AT_START_US + record.mono_us + self.stood_still_us;
                // An answer from before a standstill is believed until that is noticed.
                let stale = record.mono_us < self.noticed_by_us && event.unix_us < truth;
                if event.unix_us.abs_diff(truth) > u64::from(event.error_us) && !stale {
                    self.violation(format!("{event:?} at {} us, when UTC was {truth}", record.mono_us));
                }
            }
            Some(_) => {}
        }
    }

    /// Something that must not happen.
    pub fn violation(&mut self, text: String) {
        if self.violations.len() < VIOLATIONS {
            self.violations.push(text);
        }
    }

    /// The collector was given this record: it must be one that was emitted, byte for byte.
    pub fn received(&mut self, boot: u64, seq: u64, body: &[u8]) {
        match self.emitted.get(&(boot, seq)) {
            None => self.violation(format!("boot {boot:x}: seq {seq} was received and never emitted")),
            Some(emitted) if emitted != body => {
                self.violation(format!("boot {boot:x}: seq {seq} was received with other bytes"));
            }
            Some(_) => {}
        }
    }

    /// The collector was told that these are lost.
    pub fn declare_lost(&mut self, boot: u64, from: u64, to: u64) {
        self.declared.push((boot, from, to));
    }

    /// The ranges of the current boot that were declared lost since the last call.
    pub fn take_declared(&mut self) -> Vec<(u64, u64)> {
        let current = self.last().map(|(boot, _)| boot);
        let declared = core::mem::take(&mut self.declared).into_iter();
        declared.filter(|(boot, ..)| Some(*boot) == current).map(|(_, from, to)| (from, to)).collect()
    }

    /// How many bytes the records of all boots have.
    pub fn emitted_bytes(&self) -> usize {
        self.emitted.values().map(Vec::len).sum()
    }

    /// The law, at the end. `buffered`: from which seq on the ring still holds each boot's records.
    pub fn judge(&mut self, stored: &BTreeMap<u64, Stored>, buffered: &BTreeMap<u64, u64>, rolled_back: bool) {
        // What a collector lost after it had acknowledged it, the agent cannot declare when its boot is over and has left
        // the ring; but the boot after it said how many there were, and by that `outpost verify` finds it.
        let bodies = stored.values().flat_map(|store| &store.rows).filter(|_| rolled_back);
        let ended = |(seq, body): (&u64, &Vec<u8>)| match Record::decode_body(*seq, body).ok()?.decode_event()? {
            Event::BootPreviousEnded(ended) => Some((u64::from_be_bytes(ended.boot_id), ended.last_seq)),
            _ => None,
        };
        let told: BTreeMap<u64, u64> = bodies.filter_map(ended).collect();
        let mut fate: BTreeMap<Identity, &'static str> = BTreeMap::new();
        let mut notes = Vec::new();
        for (&boot, store) in stored {
            for (&seq, body) in &store.rows {
                fate.insert((boot, seq), "stored");
                if self.emitted.get(&(boot, seq)) != Some(body) {
                    notes.push(format!("boot {boot:x}: stored seq {seq} is not what was emitted"));
                }
            }
            for seq in &store.twice {
                notes.push(format!("boot {boot:x}: seq {seq} was stored twice"));
            }
            for &(from, to, _) in &store.lost {
                for seq in from..=to {
                    if !self.emitted.contains_key(&(boot, seq)) {
                        notes.push(format!("boot {boot:x}: seq {seq} is declared lost and was never emitted"));
                        break;
                    }
                    match fate.entry((boot, seq)) {
                        Entry::Occupied(first) => {
                            notes.push(format!("boot {boot:x}: seq {seq} is declared lost and also {}", first.get()));
                        }
                        Entry::Vacant(none) => {
                            none.insert("declared lost");
                        }
                    }
                }
            }
        }
        let mut nowhere: Vec<(u64, u64, u64)> = Vec::new();
        for &(boot, seq) in self.emitted.keys() {
            let damaged = self.boots[..self.damaged].iter().any(|&(id, _)| id == boot);
            let in_ring = buffered.get(&boot).is_some_and(|&from| seq >= from);
            let told = told.get(&boot).is_some_and(|last| seq <= *last);
            if fate.contains_key(&(boot, seq)) || in_ring || damaged || told {
                continue;
            }
            match nowhere.last_mut() {
                Some((of, _, to)) if *of == boot && *to + 1 == seq => *to = seq,
                _ => nowhere.push((boot, seq, seq)),
            }
        }
        for (boot, from, to) in nowhere {
            notes.push(format!("boot {boot:x}: seq {from} to {to} were emitted and are nowhere"));
        }
        for note in notes {
            self.violation(note);
        }
    }
}
