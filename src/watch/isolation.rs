//! Is it them, or is it us? When nobody at all can be reached, it is the agent that is cut off.
//!
//! ```text
//! targets say nothing, two or more in a row ──▶ the gateway is asked by ARP, the collector's acknowledgements are looked at
//!        ▲                                           │ neither answers for ANSWER_TIME
//!        └── anybody says anything ── isolated ◀─────┘
//! ```
//! What always holds: it takes a witness beside the targets, a gateway or a collector, and every one that there is must be
//! silent. A gateway that answers while all behind it is dead is not enough to clear the targets: an outage of all of them
//! looks just so from here, and hiding it would be worse than telling it wrongly. While isolated, silence is shown and
//! counted, but changes nobody's standing; what is believed goes stale.

use super::standing::Outcome;
use outpost_wire::ProbeReason;
use smoltcp::time::{Duration, Instant};

/// The gateway is asked and everything is judged this often (RFC 1122, section 2.3.2.1: at most once a second).
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A witness that has said nothing for so long while it was asked is silent: three questions.
pub const ANSWER_TIME: Duration = Duration::from_secs(3);

/// Silent targets that make us wonder: one alone is most likely just dead.
const TARGETS: u32 = 2;

/// What others than the targets say; `None`: there is no such machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Witnesses {
    /// Whether the gateway answers.
    pub gateway: Option<bool>,
    /// Whether the collector acknowledges.
    pub collector: Option<bool>,
}

/// A change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Cut off; how long nobody has said anything, and how many targets were tried.
    Isolated(Duration, u32),
    /// Back; how long it was.
    Rejoined(Duration),
}

/// What is believed of ourselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Isolation {
    /// A bit for each target that was silent since any said anything, and when the first of them was.
    silent: u64,
    quiet_since: Option<Instant>,
    /// Since when the witnesses are asked.
    asking_since: Option<Instant>,
    look_at: Option<Instant>,
    since: Option<Instant>,
}

/// Whether nothing at all came back. `Unreachable` is no silence: a router said so, and who hears a router is not cut off
/// (RFC 792). That is no more than a gateway which answers ARP proves, and has the same consequence.
fn is_silence(reason: ProbeReason) -> bool {
    use ProbeReason::{Dns, TimeoutConnect, TimeoutResponse};
    matches!(reason, Dns | TimeoutConnect | TimeoutResponse)
}

impl Isolation {
    /// Since when we are cut off, if we are.
    pub fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Whether this outcome says more of us than of its target.
    pub fn excuses(&self, outcome: &Outcome) -> bool {
        self.since.is_some() && is_silence(outcome.reason)
    }

    /// Takes in what a probe found.
    pub fn see(&mut self, number: u8, outcome: &Outcome) {
        // Silence of those who push says nothing new: they would need us to be reached.
        if !outcome.is_evidence() || outcome.reason == ProbeReason::Late {
            return;
        }
        if !is_silence(outcome.reason) {
            *self = Isolation { since: self.since, look_at: self.since.map(|_| outcome.at), ..Isolation::default() };
            return;
        }
        self.quiet_since.get_or_insert(outcome.at);
        self.silent |= 1 << number;
        if self.silent.count_ones() >= TARGETS {
            self.asking_since.get_or_insert(outcome.at);
            self.look_at.get_or_insert(outcome.at);
        }
    }

    /// When the witnesses are to be asked next, if they are.
    pub fn look_at(&self) -> Option<Instant> {
        self.look_at
    }

    /// Judges by what the witnesses say now.
    pub fn judge(&mut self, now: Instant, witnesses: Witnesses) -> Option<Turn> {
        let all = [witnesses.gateway, witnesses.collector];
        let alone = all.iter().any(Option::is_some) && all.iter().flatten().all(|answers| !answers);
        let asked = self.asking_since.is_some_and(|since| now >= since + ANSWER_TIME);
        let wonders = self.asking_since.is_some();
        self.look_at = wonders.then_some(now + LOOK_EVERY);
        match self.since {
            None if asked && alone => {
                self.since = Some(now);
                let quiet = self.quiet_since.map_or(Duration::ZERO, |since| now - since);
                Some(Turn::Isolated(quiet, self.silent.count_ones()))
            }
            Some(since) if !(wonders && alone) => {
                self.since = None;
                Some(Turn::Rejoined(now - since))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(at_s: i64, reason: ProbeReason) -> Outcome {
        Outcome { at: Instant::from_secs(at_s), took: Duration::ZERO, reason, status: 0 }
    }

    #[test]
    fn every_witness_that_there_is_must_be_silent_and_there_must_be_one() {
        // A collector that still acknowledges proves that we are not cut off; nobody to ask proves nothing.
        for (gateway, collector, isolated) in [
            (Some(false), Some(false), true),
            (Some(false), None, true),
            (None, Some(false), true),
            (None, None, false),
            (Some(true), Some(false), false),
            (Some(false), Some(true), false),
            (Some(true), None, false),
        ] {
            let witnesses = Witnesses { gateway, collector };
            let mut isolation = Isolation::default();
            isolation.see(0, &outcome(10, ProbeReason::TimeoutConnect));
            assert_eq!(isolation.look_at(), None, "one alone is just dead");
            isolation.see(0, &outcome(11, ProbeReason::TimeoutConnect));
            assert_eq!(isolation.look_at(), None, "also when it is so twice");
            isolation.see(1, &outcome(12, ProbeReason::TimeoutResponse));
            assert_eq!(isolation.look_at(), Some(Instant::from_secs(12)));
            assert_eq!(isolation.judge(Instant::from_secs(14), witnesses), None, "they had no time to answer");
            let turn = isolation.judge(Instant::from_secs(15), witnesses);
            let expected = isolated.then_some(Turn::Isolated(Duration::from_secs(5), 2));
            assert_eq!(turn, expected, "{witnesses:?}");
            assert_eq!(isolation.excuses(&outcome(16, ProbeReason::TimeoutConnect)), isolated);
            assert!(!isolation.excuses(&outcome(16, ProbeReason::Refused)), "who refuses is there");
        }
    }

    #[test]
    fn anybody_who_says_anything_ends_it() {
        // An agent that goes on excusing outages after its cable is back.
        let cut = Witnesses { gateway: Some(false), collector: None };
        let isolated = || {
            let mut isolation = Isolation::default();
            isolation.see(3, &outcome(10, ProbeReason::TimeoutConnect));
            isolation.see(4, &outcome(10, ProbeReason::TimeoutConnect));
            assert!(isolation.judge(Instant::from_secs(13), cut).is_some());
            assert_eq!(isolation.judge(Instant::from_secs(14), cut), None);
            isolation
        };
        let back = Some(Turn::Rejoined(Duration::from_secs(7)));
        let mut by_gateway = isolated();
        assert_eq!(by_gateway.judge(Instant::from_secs(20), Witnesses { gateway: Some(true), collector: None }), back);
        for reason in [
            ProbeReason::Ok,
            ProbeReason::Refused,
            ProbeReason::Status,
            ProbeReason::Reported,
            ProbeReason::Unreachable,
        ] {
            let mut by_target = isolated();
            by_target.see(4, &outcome(20, reason));
            assert_eq!(by_target.look_at(), Some(Instant::from_secs(20)), "at once");
            assert_eq!(by_target.judge(Instant::from_secs(20), cut), back, "{reason:?}");
            assert_eq!((by_target.since(), by_target.look_at()), (None, None));
        }
        for reason in [ProbeReason::Late, ProbeReason::NoNetwork] {
            let mut still = isolated();
            still.see(4, &outcome(20, reason));
            assert_eq!(still.judge(Instant::from_secs(20), cut), None, "{reason:?}");
        }
    }
}
