//! The kind `heartbeat`: nobody is asked. Others say that they live ([`crate::http::beat`]), and silence is what is found.
//!
//! ```text
//! a beat ──▶ quiet ── period + grace ──▶ late ── period + grace ──▶ late ...
//!   ▲           │ start: a run is timed    done: ok, and what the run took    fail: reported, at once
//! ```
//! What always holds: only silence while we listened counts. After a boot, and whenever we could not be reached, the time
//! begins anew, so that our own outage is never told as theirs; what is shown goes stale by itself meanwhile.

use super::standing::Outcome;
use crate::config::checks::{Check, Kind};
use crate::http::beat::Signal;
use outpost_wire::ProbeReason;
use smoltcp::time::{Duration, Instant};

/// What was heard of one who pushes.
#[derive(Clone, Copy, Debug)]
pub struct Pulse {
    /// The longest silence that is good.
    patience: Duration,
    /// Since when there is silence.
    quiet_since: Instant,
    /// When the run in hand began, if we were told.
    run: Option<Instant>,
}

impl Pulse {
    /// For a check of this kind; `None` for others.
    pub fn new(check: &Check, now: Instant) -> Option<Pulse> {
        let Kind::Heartbeat { .. } = check.kind else { return None };
        Some(Pulse { patience: check.interval(), quiet_since: now, run: None })
    }

    /// When silence has been too long.
    pub fn due(&self) -> Instant {
        self.quiet_since + self.patience
    }

    /// The time begins anew: until now we could not have heard anything.
    pub fn restart(&mut self, now: Instant) {
        self.quiet_since = now;
    }

    /// Takes in a signal; what it says of the target, if anything.
    pub fn hear(&mut self, now: Instant, signal: Signal, slow_ms: u16) -> Option<Outcome> {
        if signal == Signal::Start {
            self.run = Some(now);
            return None;
        }
        self.quiet_since = now;
        let took = self.run.take().map_or(Duration::ZERO, |began| now - began);
        let reason = match signal {
            Signal::Fail => ProbeReason::Reported,
            _ if slow_ms > 0 && took > Duration::from_millis(slow_ms.into()) => ProbeReason::Slow,
            _ => ProbeReason::Ok,
        };
        Some(Outcome { at: now, took, reason, status: 0 })
    }

    /// What silence says, once it has been too long.
    pub fn silence(&mut self, now: Instant) -> Option<Outcome> {
        if now < self.due() {
            return None;
        }
        self.quiet_since = now;
        Some(Outcome { at: now, took: Duration::ZERO, reason: ProbeReason::Late, status: 0 })
    }
}
