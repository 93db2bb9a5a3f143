//! How late probes start, of all checks together: enough to say whether the schedule is kept, in 72 bytes.

use smoltcp::time::Duration;

/// Upper bounds of the classes, in microseconds, and in seconds as text; the last class has none. What is promised, 1 ms, is
/// one of them.
pub const LAGS: [(i64, &str); 6] =
    [(100, "0.0001"), (1_000, "0.001"), (10_000, "0.01"), (100_000, "0.1"), (1_000_000, "1.0"), (i64::MAX, "+Inf")];

/// What was counted since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Starts by how late they were ([`LAGS`]); each counts in one class.
    pub classes: [u64; LAGS.len()],
    /// How late they were together, in microseconds.
    pub sum_us: u64,
    /// The latest.
    pub max: Duration,
}

impl Lag {
    /// A probe started so late.
    pub fn add(&mut self, lag: Duration) {
        let micros = lag.total_micros();
        let class = LAGS.iter().position(|(bound, _)| micros as i64 <= *bound).unwrap_or(0);
        self.classes[class] += 1;
        self.sum_us = self.sum_us.saturating_add(micros);
        self.max = self.max.max(lag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_counts_once_where_it_belongs() {
        // A class too low is a schedule that looks kept.
        let mut lag = Lag::default();
        for micros in [0, 100, 101, 1_000, 1_001, 1_000_001] {
            lag.add(Duration::from_micros(micros));
        }
        assert_eq!(lag.classes, [2, 2, 1, 0, 0, 1]);
        assert_eq!((lag.sum_us, lag.max), (1_002_203, Duration::from_micros(1_000_001)));
    }
}
