//! What is believed of a target: not the last outcome alone, but several in a row.
//!
//! ```text
//! Unknown ── rise good ones ──▶ Up ──── fall bad ones ────▶ Down
//!    └────── fall bad ones ───▶ Down ── rise good ones ───▶ Up
//! ```
//! What always holds: after a boot nothing is believed before `rise` or `fall` probes agree; a probe that says nothing of
//! its target (we had no network, or no clock to judge it by) neither counts nor makes what is believed look fresh.

use outpost_wire::ProbeReason;
use smoltcp::time::{Duration, Instant};

/// What is believed of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Too few probes agree so far.
    Unknown,
    /// The last probes were good.
    Up,
    /// The last probes were bad.
    Down,
}

/// What one probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// When it ended.
    pub at: Instant,
    /// From its start to its end.
    pub took: Duration,
    /// What was wrong, or that nothing was.
    pub reason: ProbeReason,
    /// The status that the target answered; 0 when it answered none.
    pub status: u16,
}

impl Outcome {
    /// Whether the target did as it should.
    pub fn is_good(&self) -> bool {
        self.reason == ProbeReason::Ok
    }

    /// Whether it says anything of the target.
    pub fn is_evidence(&self) -> bool {
        !matches!(self.reason, ProbeReason::NoNetwork | ProbeReason::NoClock)
    }
}

/// How many outcomes in a row change what is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Good ones; at least 1.
    pub rise: u8,
    /// Bad ones; at least 1.
    pub fall: u8,
}

/// What is believed of one target, and on what grounds.
#[derive(Clone, Copy, Debug)]
pub struct Belief {
    standing: Standing,
    since: Instant,
    /// The last one that was evidence.
    last: Option<Outcome>,
    /// How many outcomes in a row were as good or bad as the last one.
    streak: u8,
}

impl Belief {
    /// Nothing is known yet.
    pub const fn new(now: Instant) -> Belief {
        Belief { standing: Standing::Unknown, since: now, last: None, streak: 0 }
    }

    /// Takes in an outcome; `true` when it is enough for [`Belief::turn`].
    pub fn take(&mut self, outcome: Outcome, rules: Rules) -> bool {
        if !outcome.is_evidence() {
            return false;
        }
        let same = self.last.is_some_and(|before| before.is_good() == outcome.is_good());
        self.streak = if same { self.streak.saturating_add(1) } else { 1 };
        self.last = Some(outcome);
        let (standing, needed) =
            if outcome.is_good() { (Standing::Up, rules.rise) } else { (Standing::Down, rules.fall) };
        self.standing != standing && self.streak >= needed
    }

    /// Believes what this outcome says, since it was found; returns what was believed before, and since when.
    pub fn turn(&mut self, outcome: &Outcome) -> (Standing, Instant) {
        let standing = if outcome.is_good() { Standing::Up } else { Standing::Down };
        (core::mem::replace(&mut self.standing, standing), core::mem::replace(&mut self.since, outcome.at))
    }

    /// Bad ones so far do not count towards the next change: they were not the target's.
    pub fn forget_failures(&mut self) {
        if self.last.is_some_and(|last| !last.is_good()) {
            self.streak = 0;
        }
    }

    /// What is believed, and since when.
    pub fn standing(&self) -> (Standing, Instant) {
        (self.standing, self.since)
    }

    /// The last outcome that said anything of the target.
    pub fn last(&self) -> Option<&Outcome> {
        self.last.as_ref()
    }

    /// How many outcomes in a row were as good or bad as the last one.
    pub fn streak(&self) -> u8 {
        self.streak
    }

    /// Since when the last evidence is older than two intervals, if it is: what is believed may not be so any more.
    pub fn stale_since(&self, now: Instant, interval: Duration) -> Option<Instant> {
        let old = self.last?.at + interval * 2;
        (now > old).then_some(old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { rise: 2, fall: 3 };

    fn outcome(at_s: i64, reason: ProbeReason) -> Outcome {
        Outcome { at: Instant::from_secs(at_s), took: Duration::from_millis(5), reason, status: 0 }
    }

    #[test]
    fn only_several_in_a_row_change_what_is_believed() {
        // A green page after one lucky answer, or a page at night for one lost packet.
        use ProbeReason::{Ok, Refused};
        let mut belief = Belief::new(Instant::ZERO);
        let story = [
            (Ok, Standing::Unknown),
            (Refused, Standing::Unknown),
            (Ok, Standing::Unknown),
            (Ok, Standing::Up),
            (Refused, Standing::Up),
            (Refused, Standing::Up),
            (Ok, Standing::Up),
            (Refused, Standing::Up),
            (Refused, Standing::Up),
            (Refused, Standing::Down),
            (Ok, Standing::Down),
            (Ok, Standing::Up),
        ];
        for (at, (reason, standing)) in (1..).zip(story) {
            let before = belief.standing().0;
            assert_eq!(belief.take(outcome(at, reason), RULES), before != standing, "at {at}");
            if before != standing {
                assert_eq!(belief.turn(&outcome(at, reason)).0, before);
            }
            assert_eq!(belief.standing().0, standing, "at {at}");
        }
        assert_eq!(belief.standing().1, Instant::from_secs(12));
    }

    #[test]
    fn without_a_network_nothing_is_learnt() {
        // Our own cut cable must not turn every target red, nor keep old news fresh.
        let interval = Duration::from_secs(10);
        let mut belief = Belief::new(Instant::ZERO);
        belief.take(outcome(10, ProbeReason::Ok), RULES);
        assert!(belief.take(outcome(20, ProbeReason::Ok), RULES));
        belief.turn(&outcome(20, ProbeReason::Ok));
        for at in [30, 40, 50] {
            assert!(!belief.take(outcome(at, ProbeReason::NoNetwork), RULES));
        }
        assert_eq!(belief.standing().0, Standing::Up);
        assert_eq!(belief.stale_since(Instant::from_secs(40), interval), None);
        assert_eq!(belief.stale_since(Instant::from_secs(41), interval), Some(Instant::from_secs(40)));
        assert_eq!(belief.streak(), 2);
        // What was bad before the cut was noticed does not count together with what is bad after it.
        let bad = |at| outcome(at, ProbeReason::TimeoutConnect);
        assert!(!belief.take(bad(60), RULES) && !belief.take(bad(70), RULES));
        belief.forget_failures();
        assert!(!belief.take(bad(80), RULES) && !belief.take(bad(90), RULES) && belief.take(bad(100), RULES));
    }
}
