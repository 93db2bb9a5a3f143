//! The certificate that a target showed, as answers show it.

use crate::config::checks::Secure;
use crate::limits::TLS_NAMES;
use heapless::String;
use outpost_wire::ProbeReason;

/// Seconds of a day.
const DAY: i64 = 86_400;

/// What is kept of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// From when on it is valid, in seconds since 1970.
    pub not_before: i64,
    /// Until when, likewise.
    pub not_after: i64,
    /// SHA-256 of its SubjectPublicKeyInfo: what a pin would be.
    pub pin: [u8; 32],
    /// The names that it is for, as many as there is room for.
    pub names: String<TLS_NAMES>,
    /// Whether the target proved that it has the key that is pinned. Otherwise anybody may have shown it.
    pub authenticated: bool,
}

impl Seen {
    /// What its dates mean for a check at this moment of UTC, in seconds since 1970. Without a clock nothing can be said
    /// of them: with a pin, who answers is known all the same; without one, the dates are all that was to be found out.
    pub fn judge(&self, secure: &Secure, utc_s: Option<i64>) -> ProbeReason {
        match utc_s {
            None if secure.pin.is_some() => ProbeReason::Ok,
            None => ProbeReason::NoClock,
            Some(now) if now < self.not_before => ProbeReason::Expired,
            Some(now) if now + i64::from(secure.expiry_days) * DAY >= self.not_after => ProbeReason::Expired,
            Some(_) => ProbeReason::Ok,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::checks::Words;

    #[test]
    fn dates_count_to_the_second_and_an_unknown_clock_is_never_green() {
        // A certificate that ends tonight behind a green dot.
        let seen =
            Seen { not_before: 1000, not_after: 100 * DAY, pin: [0; 32], names: String::new(), authenticated: false };
        for pin in [None, Some([1; 32])] {
            let secure = |expiry_days| Secure { pin, server_name: Words::default(), expiry_days };
            for (days, now, expected) in [
                (14, 999, ProbeReason::Expired),
                (14, 1000, ProbeReason::Ok),
                (14, 86 * DAY - 1, ProbeReason::Ok),
                (14, 86 * DAY, ProbeReason::Expired),
                (0, 86 * DAY, ProbeReason::Ok),
                (0, 100 * DAY - 1, ProbeReason::Ok),
                (0, 100 * DAY, ProbeReason::Expired),
            ] {
                assert_eq!(seen.judge(&secure(days), Some(now)), expected, "{days} {now}");
            }
            let unknown = if pin.is_some() { ProbeReason::Ok } else { ProbeReason::NoClock };
            assert_eq!(seen.judge(&secure(14), None), unknown);
        }
    }
}
