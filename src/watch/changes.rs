//! What became up or down lately: what the feed is made of.

use super::Outcome;
use crate::limits::CHECK_CHANGES;
use heapless::Deque;

/// A target became up or down.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// The check's number.
    pub number: u8,
    /// The outcome that made it so.
    pub outcome: Outcome,
    /// For how many seconds it had been otherwise; 0 when nothing was known of it.
    pub lasted_s: u32,
}

/// The last [`CHECK_CHANGES`] of them.
#[derive(Clone, Debug)]
pub struct Changes {
    latest: Deque<Change, CHECK_CHANGES>,
    /// How many there ever were in this boot.
    count: u64,
}

impl Changes {
    /// None yet.
    pub const fn new() -> Changes {
        Changes { latest: Deque::new(), count: 0 }
    }

    /// Adds the latest one; the oldest gives way.
    pub fn push(&mut self, change: Change) {
        if self.latest.is_full() {
            self.latest.pop_front();
        }
        // There is room now.
        let _ = self.latest.push_back(change);
        self.count += 1;
    }

    /// The latest first, each with its number in this boot, which stays its own.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Change)> {
        (0..self.count).rev().zip(self.latest.iter().rev())
    }
}

impl Default for Changes {
    fn default() -> Changes {
        Changes::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outpost_wire::ProbeReason;
    use smoltcp::time::{Duration, Instant};

    #[test]
    fn each_keeps_its_number() {
        // An entry that has another id each time is news again to every reader.
        let mut changes = Changes::new();
        for at in 0..3 * CHECK_CHANGES as u64 {
            let outcome =
                Outcome { at: Instant::from_secs(at as i64), took: Duration::ZERO, reason: ProbeReason::Ok, status: 0 };
            changes.push(Change { number: 0, outcome, lasted_s: 0 });
            let held: std::vec::Vec<u64> = changes.iter().map(|(number, _)| number).collect();
            assert!(changes.iter().all(|(number, change)| change.outcome.at.secs() == number as i64));
            assert_eq!((held[0], held.len()), (at, CHECK_CHANGES.min(at as usize + 1)));
        }
    }
}
