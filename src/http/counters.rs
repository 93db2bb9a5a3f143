//! What the HTTP server counts: whole numbers in fixed places, so that counting costs an addition. Names and text come
//! when somebody asks (`src/view/metrics.rs`).

use super::routes::Route;
use smoltcp::time::Duration;

/// The statuses that routes answer with, most frequent first, each with its text. The last place is for any other.
pub const ANSWERED: [(u16, &str); 8] =
    [(200, "200"), (503, "503"), (404, "404"), (403, "403"), (405, "405"), (400, "400"), (500, "500"), (0, "other")];

/// The statuses of requests that reach no route.
pub const REFUSED: [(u16, &str); 10] = [
    (400, "400"),
    (408, "408"),
    (411, "411"),
    (413, "413"),
    (414, "414"),
    (417, "417"),
    (431, "431"),
    (501, "501"),
    (505, "505"),
    (0, "other"),
];

/// Upper bounds of the classes of durations, in microseconds, and in seconds as text; the last class has none.
pub const DURATIONS: [(i64, &str); 6] = [
    (1_000, "0.001"),
    (10_000, "0.01"),
    (100_000, "0.1"),
    (1_000_000, "1.0"),
    (10_000_000, "10.0"),
    (i64::MAX, "+Inf"),
];

/// What the server has counted since boot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Transactions begun; the last one's number.
    pub transactions: u32,
    /// Requests by route and status answered ([`ANSWERED`]).
    pub answered: [[u64; ANSWERED.len()]; Route::COUNT],
    /// The same requests by how long they took ([`DURATIONS`]); each counts in one class.
    pub durations: [u64; DURATIONS.len()],
    /// How long they took together, in microseconds.
    pub duration_us: u64,
    /// Requests refused before they reached a route, by status ([`REFUSED`]).
    pub rejected: [u64; REFUSED.len()],
    /// Connections that completed their handshake.
    pub accepted: u64,
    /// Connections that ended without a request: checks of a load balancer, or a scan.
    pub empty: u64,
    /// New connections dropped because no connection could give way.
    pub refused: u64,
    /// Half-open connections that gave way, or did not complete in time.
    pub recycled_half_open: u64,
    /// Idle connections that gave way.
    pub recycled_idle: u64,
    /// Connections aborted because the far end took nothing for too long.
    pub given_up: u64,
    /// Answers that found no free shared buffer.
    pub no_buffer: u64,
}

impl Counters {
    /// The next transaction's number: 0 means none and is passed over when the count wraps.
    pub fn next_transaction(&mut self) -> u32 {
        self.transactions = self.upcoming_transaction();
        self.transactions
    }

    /// The number that the next transaction will have.
    pub fn upcoming_transaction(&self) -> u32 {
        self.transactions.checked_add(1).unwrap_or(1)
    }

    /// A request was answered.
    pub fn answer(&mut self, route: Route, status: u16, took: Duration) {
        self.answered[route as usize][place(&ANSWERED, status)] += 1;
        let took = took.total_micros();
        let class = DURATIONS.iter().position(|(bound, _)| took as i64 <= *bound).unwrap_or(0);
        self.durations[class] += 1;
        self.duration_us += took;
    }

    /// A request was refused before it reached a route.
    pub fn reject(&mut self, status: u16) {
        self.rejected[place(&REFUSED, status)] += 1;
    }

    /// What tells that connections are short: half-open and idle ones recycled, new ones refused.
    pub fn pressure(&self) -> [u64; 3] {
        [self.recycled_half_open, self.recycled_idle, self.refused]
    }
}

fn place<const N: usize>(statuses: &[(u16, &str); N], status: u16) -> usize {
    statuses.iter().position(|(known, _)| *known == status).unwrap_or(N - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::Refusal;

    #[test]
    fn a_request_is_counted_once_where_it_belongs() {
        // A class too far is a latency that nobody had.
        let mut counters = Counters::default();
        for (took, class) in [(0, 0), (1_000, 0), (1_001, 1), (10_000_000, 4), (10_000_001, 5), (u64::MAX >> 1, 5)] {
            let before = counters.durations[class];
            counters.duration_us = 0;
            counters.answer(Route::Livez, 200, Duration::from_micros(took));
            assert_eq!(counters.durations[class], before + 1, "{took} us");
            assert_eq!(counters.duration_us, took);
        }
        assert_eq!(counters.answered[Route::Livez as usize][0], 6);
        counters.answer(Route::NotFound, 418, Duration::ZERO);
        assert_eq!(counters.answered[Route::NotFound as usize], [0, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn every_refusal_has_a_place() {
        // What is counted as "other" tells nobody what the client did.
        let mut counters = Counters::default();
        for refusal in [
            Refusal::BadRequest,
            Refusal::Tls,
            Refusal::Timeout,
            Refusal::LengthRequired,
            Refusal::BodyTooLarge,
            Refusal::TargetTooLong,
            Refusal::Expectation,
            Refusal::HeadersTooLarge,
            Refusal::NotImplemented,
            Refusal::Version,
        ] {
            counters.reject(refusal.status());
        }
        assert_eq!(counters.rejected, [2, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
    }
}
