//! The kind `ntp`: whether a time server answers, how far it says to be from a reference clock, and how far from ours.
//!
//! Our clock may be wrong as well. A server is good when it is as near as asked for and we know the time well enough to
//! say so; it is bad when it is further off than its check allows and than both of us may be wrong. In between nothing
//! is learnt of it (`no_clock`). Our clock is what the *other* servers say: one that is the only witness to itself would
//! always be right.

use super::question::Found;
use crate::time::Estimate;
use crate::time::sntp::{self, Answer, Refusal};
use outpost_wire::ProbeReason;
use smoltcp::time::Instant;

/// The port of time servers.
pub const NTP_PORT: u16 = 123;

/// Reads what came `now`; `None` when it is no answer to what was asked.
pub fn read(bytes: &[u8], nonce: u64, max_stratum: u8, now: Instant) -> Option<Found> {
    match sntp::parse(bytes, nonce) {
        Ok(answer) if answer.stratum <= max_stratum => Some(Found::Time(answer, now)),
        Err(Refusal::Malformed | Refusal::Origin) => None,
        // It says itself that it is of no use: not synchronised, too far off, or that it will not answer (RFC 5905,
        // section 7.4).
        Ok(_) | Err(_) => Some(Found::Reason(ProbeReason::Stratum)),
    }
}

/// Holds an answer that took from `sent` to `came` against what UTC was then; a limit of 0 is none.
pub fn judge(answer: &Answer, sent: Instant, came: Instant, ours: Option<Estimate>, max_offset_ms: u16) -> ProbeReason {
    if max_offset_ms == 0 {
        return ProbeReason::Ok;
    }
    let Some(ours) = ours.map(|ours| ours.carried_to(came)) else { return ProbeReason::NoClock };
    let round_trip = (came - sent).total_micros().saturating_sub(answer.sent_us - answer.received_us);
    let offset = (answer.sent_us + round_trip / 2).abs_diff(ours.unix_us);
    let error = ours.error_us + round_trip.div_ceil(2);
    let max = u64::from(max_offset_ms) * 1000;
    match () {
        () if offset > max + error => ProbeReason::Offset,
        () if offset <= max && error <= max => ProbeReason::Ok,
        () => ProbeReason::NoClock,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    #[test]
    fn who_is_wrong_is_not_guessed() {
        // A server that is blamed for our own clock wakes somebody at night, and one that is green because nobody knows better
        // is found out by its clients.
        let unix_us = 1_700_000_000_000_000;
        let (sent, came) = (Instant::from_secs(50), Instant::from_secs(50) + smoltcp::time::Duration::from_millis(4));
        let ours = |error_ms: u64| Estimate {
            at: sent,
            unix_us,
            error_us: error_ms * 1000,
            stratum: 2,
            server: Ipv4Addr::new(10, 0, 0, 1),
        };
        let judge = |offset_ms: i64, ours: Option<Estimate>, max_ms: u16| {
            let server = (unix_us + 2000).saturating_add_signed(offset_ms * 1000);
            let answer = Answer { stratum: 2, received_us: server, sent_us: server, root_distance_us: 0 };
            super::judge(&answer, sent, came, ours, max_ms)
        };
        use ProbeReason::{NoClock, Offset, Ok};
        for (offset_ms, error_ms, found) in [
            (0, 5, Ok),
            (99, 5, Ok),
            (-99, 90, Ok),
            (101, 5, NoClock),
            (-106, 5, NoClock),
            (108, 5, Offset),
            (-108, 5, Offset),
            (0, 150, NoClock),
            (240, 150, NoClock),
            (260, 150, Offset),
        ] {
            assert_eq!(judge(offset_ms, Some(ours(error_ms)), 100), found, "{offset_ms} ms, known to {error_ms} ms");
        }
        assert_eq!((judge(0, None, 100), judge(10_000, None, 100), judge(10_000, None, 0)), (NoClock, NoClock, Ok));
    }
}
