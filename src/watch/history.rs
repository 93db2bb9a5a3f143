//! The last outcomes of a check, small enough to keep for all of them: what a sparkline is drawn from.

use crate::limits::CHECK_HISTORY;
use smoltcp::time::Duration;

/// The highest latency that is kept apart, in milliseconds; anything slower is as slow as this.
const SLOWEST_MS: u16 = 0x7fff;

/// One past outcome: good or bad in the first bit, its latency in milliseconds in the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past(u16);

impl Past {
    /// Whether the target did as it should.
    pub fn is_good(self) -> bool {
        self.0 > SLOWEST_MS
    }

    /// From the start of the probe to its end, in milliseconds.
    pub fn took_ms(self) -> u16 {
        self.0 & SLOWEST_MS
    }
}

/// The last [`CHECK_HISTORY`] outcomes.
#[derive(Clone, Copy, Debug)]
pub struct History {
    past: [Past; CHECK_HISTORY],
    /// How many there ever were, up to twice the room: where the next one goes.
    count: u8,
}

const _: () = assert!(CHECK_HISTORY * 2 <= u8::MAX as usize);

impl History {
    /// Nothing yet.
    pub const fn new() -> History {
        History { past: [Past(0); CHECK_HISTORY], count: 0 }
    }

    /// Adds the latest one; the oldest gives way.
    pub fn push(&mut self, good: bool, took: Duration) {
        let took_ms = took.total_millis().min(SLOWEST_MS.into()) as u16;
        let at = usize::from(self.count) % CHECK_HISTORY;
        self.past[at] = Past(took_ms | if good { SLOWEST_MS + 1 } else { 0 });
        self.count += 1;
        if usize::from(self.count) == CHECK_HISTORY * 2 {
            self.count = CHECK_HISTORY as u8;
        }
    }

    /// All of them, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Past> {
        let count = usize::from(self.count);
        (count.saturating_sub(CHECK_HISTORY)..count).map(|at| self.past[at % CHECK_HISTORY])
    }
}

impl Default for History {
    fn default() -> History {
        History::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_ones_in_order() {
        // A window that loses its place shows an outage at another time than it was.
        let mut history = History::new();
        for number in 0..1000u64 {
            history.push(number % 3 != 0, Duration::from_millis(number));
            let first = (number + 1).saturating_sub(CHECK_HISTORY as u64);
            let expected: std::vec::Vec<_> = (first..=number).map(|number| (number % 3 != 0, number as u16)).collect();
            let held: std::vec::Vec<_> = history.iter().map(|past| (past.is_good(), past.took_ms())).collect();
            assert_eq!(held, expected);
        }
        history.push(true, Duration::from_secs(100));
        assert_eq!(history.iter().last().map(Past::took_ms), Some(SLOWEST_MS));
    }
}
