//! When a check is due: fixed slots of monotonic time.
//!
//! A slot does not move when a probe takes long or starts late: the next one is where it always was. The first slots of
//! checks with the same interval are spread over it by the checks' names, so that they do not all start at once, and
//! so that a restart does not change who starts when.

use crate::hash::fnv1a;
use smoltcp::time::{Duration, Instant};

/// The slots of one check.
#[derive(Clone, Copy, Debug)]
pub struct Slots {
    interval: Duration,
    next: Instant,
}

/// A slot that is to be used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// How long ago the earliest slot that is not used yet was due.
    pub lag: Duration,
    /// Slots before it that passed by unused.
    pub missed: u64,
}

impl Slots {
    /// The slots of the check with this name; `interval` is not 0.
    pub fn new(name: &str, interval: Duration, started: Instant) -> Slots {
        let phase_us = spread(name) % interval.total_micros().max(1);
        Slots { interval, next: started + Duration::from_micros(phase_us) }
    }

    /// When the next one is due.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// The slot that is due, if one is. Only the latest is used: what was slept through is not made up for.
    pub fn due(&mut self, now: Instant) -> Option<Slot> {
        if now < self.next {
            return None;
        }
        let lag = now - self.next;
        let missed = lag.total_micros() / self.interval.total_micros().max(1);
        self.next += Duration::from_micros(self.interval.total_micros() * (missed + 1));
        Some(Slot { lag, missed })
    }
}

/// A number that differs between names: its high bits differ most, so they are folded in.
fn spread(name: &str) -> u64 {
    let hash = fnv1a(name.as_bytes());
    hash ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);

    #[test]
    fn slots_do_not_move() {
        // A schedule that counts from the end of a probe drifts by the length of each.
        let mut slots = Slots::new("shop", INTERVAL, Instant::ZERO);
        let first = slots.next();
        assert_eq!(slots.due(first - Duration::from_micros(1)), None);
        let late = Duration::from_millis(700);
        assert_eq!(slots.due(first + late), Some(Slot { lag: late, missed: 0 }));
        assert_eq!(slots.next(), first + INTERVAL);
        // Two slots were slept through: the third is used, and the fourth is where it always was.
        let now = first + INTERVAL * 3 + late;
        assert_eq!(slots.due(now), Some(Slot { lag: INTERVAL * 2 + late, missed: 2 }));
        assert_eq!(slots.next(), first + INTERVAL * 4);
    }

    #[test]
    fn names_spread_over_the_interval() {
        // Sixty checks that start in the same millisecond are a burst every half minute.
        let mut quarters = [0; 4];
        for number in 0..60 {
            let phase = Slots::new(&std::format!("web-{number}"), INTERVAL, Instant::ZERO).next() - Instant::ZERO;
            assert!(phase < INTERVAL);
            quarters[(phase.total_micros() * 4 / INTERVAL.total_micros()) as usize] += 1;
        }
        assert!(quarters.iter().all(|&count| count >= 8), "{quarters:?}");
    }
}
