//! Is it them, or is it us? When nobody at all can be reached, it is the agent that is cut off.
//!
//! ```text
//! two targets in a row say nothing, or all that there are, ──▶ the gateway is asked by ARP, the collector's
//! or silence would make one down: its edge is held             acknowledgements are looked at
//!        ▲                                                        │
//!        ├── anybody says anything: what is held is down now ◀────┤
//!        └── anybody says anything ── isolated ◀── nobody does for ANSWER_TIME: what is held is forgotten
//! ```
//! What always holds: it takes a witness beside the targets, a gateway or a collector, and every one that there is must be
//! silent. A gateway that answers while all behind it is dead is not enough to clear the targets: an outage of all of them
//! looks just so from here, and hiding it would be worse than telling it wrongly. While isolated, silence is shown and
//! counted, but changes nobody's standing; what is believed goes stale. Nobody is down by silence before somebody else was
//! heard after it, or [`HOLD_TIME`] has passed; where there is no witness, nothing is held.

use super::standing::Outcome;
use outpost_wire::ProbeReason;
use smoltcp::time::{Duration, Instant};

/// The gateway is asked and everything is judged this often (RFC 1122, section 2.3.2.1: at most once a second).
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A witness that has said nothing for so long while it was asked is silent: three questions.
pub const ANSWER_TIME: Duration = Duration::from_secs(3);

/// Silent targets that make us wonder, where there are so many: one alone is most likely just dead.
const TARGETS: u32 = 2;

/// An edge waits no longer than this for somebody to be heard: a slot and a timeout of most other targets. When not even
/// those have told by then whose fault it is, a wrong word is better than none.
pub const HOLD_TIME: Duration = Duration::from_secs(90);

/// What one of those says who are no targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Witness {
    /// Whether it answers, as far as one can expect by now.
    pub answers: bool,
    /// When it was heard last.
    pub heard: Option<Instant>,
}

/// What others than the targets say; `None`: there is no such machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Witnesses {
    /// The gateway's answers to ARP.
    pub gateway: Option<Witness>,
    /// The collector's acknowledgements.
    pub collector: Option<Witness>,
}

impl Witnesses {
    fn all(&self) -> impl Iterator<Item = &Witness> {
        [&self.gateway, &self.collector].into_iter().flatten()
    }
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
    /// When a target said anything last.
    heard: Option<Instant>,
    /// A bit for each target whose edge is held.
    held: u64,
    /// As many silent ones make us wonder.
    needed: u32,
}

/// Whether nothing at all came back. `Unreachable` is no silence: a router said so, and who hears a router is not cut off
/// (RFC 792). That is no more than a gateway which answers ARP proves, and has the same consequence.
fn is_silence(reason: ProbeReason) -> bool {
    use ProbeReason::{Dns, TimeoutConnect, TimeoutResponse};
    matches!(reason, Dns | TimeoutConnect | TimeoutResponse)
}

impl Isolation {
    /// Nothing is known yet; `probed`: how many there are that we ask.
    pub fn new(probed: usize) -> Isolation {
        Isolation { needed: TARGETS.min(probed as u32), ..Isolation::default() }
    }

    /// Since when we are cut off, if we are.
    pub fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Whether this outcome may say more of us than of its target.
    pub fn doubts(outcome: &Outcome) -> bool {
        is_silence(outcome.reason) || outcome.reason == ProbeReason::Late
    }

    /// Takes in what a probe found.
    pub fn see(&mut self, number: u8, outcome: &Outcome) {
        // Silence of those who push says nothing new: they would need us to be reached.
        if !outcome.is_evidence() || outcome.reason == ProbeReason::Late {
            return;
        }
        if !is_silence(outcome.reason) {
            return self.hear(outcome.at);
        }
        self.quiet_since.get_or_insert(outcome.at);
        self.silent |= 1 << number;
        self.wonder(outcome.at);
    }

    /// A target said something.
    pub fn hear(&mut self, now: Instant) {
        let Isolation { since, held, needed, .. } = *self;
        let look_at = (since.is_some() || held != 0).then_some(now);
        *self = Isolation { since, held, needed, look_at, heard: Some(now), ..Isolation::default() };
    }

    /// The edge of this target waits for somebody to be heard.
    pub fn hold(&mut self, now: Instant, number: u8) {
        self.held |= 1 << number;
        self.look_at.get_or_insert(now);
        self.wonder(now);
    }

    /// Begins to ask, where enough are silent; where nobody is probed, for those who push and are late.
    fn wonder(&mut self, now: Instant) {
        let silent = self.silent.count_ones();
        if silent >= self.needed && (silent > 0 || self.held != 0) {
            self.asking_since.get_or_insert(now);
            self.look_at.get_or_insert(now);
        }
    }

    /// It waits no longer.
    pub fn let_go(&mut self, number: u8) {
        self.held &= !(1 << number);
    }

    /// A bit for each target whose edge is held.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Whether an edge that was found then is to be told now.
    pub fn is_settled(&self, now: Instant, found: Instant, witnesses: &Witnesses) -> bool {
        let mut heard = witnesses.all().filter_map(|witness| witness.heard).chain(self.heard);
        now >= found + HOLD_TIME || witnesses.all().next().is_none() || heard.any(|heard| heard >= found)
    }

    /// When the witnesses are to be asked next, if they are.
    pub fn look_at(&self) -> Option<Instant> {
        self.look_at
    }

    /// Somebody of our link was heard: it may be a witness.
    pub fn look_soon(&mut self, now: Instant) {
        if self.held != 0 {
            self.look_at = Some(now);
        }
    }

    /// Judges by what the witnesses say now.
    pub fn judge(&mut self, now: Instant, witnesses: &Witnesses) -> Option<Turn> {
        let alone = witnesses.all().next().is_some() && witnesses.all().all(|witness| !witness.answers);
        let asked = self.asking_since.is_some_and(|since| now >= since + ANSWER_TIME);
        // Those who push are late, somebody was heard, and nobody else is probed.
        if self.since.is_none() && self.held == 0 && self.silent == 0 {
            self.asking_since = None;
        }
        let wonders = self.asking_since.is_some();
        self.look_at = (wonders || self.held != 0).then_some(now + LOOK_EVERY);
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

    /// One that never was heard, or that answers now and was heard then.
    fn witness(heard_s: Option<i64>) -> Witness {
        Witness { answers: heard_s.is_some(), heard: heard_s.map(Instant::from_secs) }
    }

    fn witnesses(gateway: Option<bool>, collector: Option<bool>) -> Witnesses {
        let one = |answers: bool| witness(answers.then_some(1));
        Witnesses { gateway: gateway.map(one), collector: collector.map(one) }
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
            let witnesses = witnesses(gateway, collector);
            let mut isolation = Isolation::new(5);
            isolation.see(0, &outcome(10, ProbeReason::TimeoutConnect));
            assert_eq!(isolation.look_at(), None, "one alone is just dead");
            isolation.see(0, &outcome(11, ProbeReason::TimeoutConnect));
            assert_eq!(isolation.look_at(), None, "also when it is so twice");
            isolation.see(1, &outcome(12, ProbeReason::TimeoutResponse));
            assert_eq!(isolation.look_at(), Some(Instant::from_secs(12)));
            assert_eq!(isolation.judge(Instant::from_secs(14), &witnesses), None, "they had no time to answer");
            let turn = isolation.judge(Instant::from_secs(15), &witnesses);
            let expected = isolated.then_some(Turn::Isolated(Duration::from_secs(5), 2));
            assert_eq!(turn, expected, "{witnesses:?}");
            assert_eq!(isolation.since().is_some(), isolated);
            assert!(Isolation::doubts(&outcome(16, ProbeReason::TimeoutConnect)));
            assert!(!Isolation::doubts(&outcome(16, ProbeReason::Refused)), "who refuses is there");
        }
    }

    #[test]
    fn an_edge_waits_for_somebody_who_is_heard_after_it() {
        // What was heard before proves nothing of now, and an edge that nobody ever vouches for must not wait for ever.
        let found = Instant::from_secs(100);
        let settled = |now_s, witnesses| Isolation::new(5).is_settled(Instant::from_secs(now_s), found, &witnesses);
        let gateway = |heard_s| Witnesses { gateway: Some(witness(heard_s)), collector: None };
        let collector = |heard_s| Witnesses { gateway: Some(witness(None)), collector: Some(witness(heard_s)) };
        assert!(settled(100, Witnesses::default()), "there is nobody to wait for");
        assert!(!settled(101, gateway(None)) && !settled(101, gateway(Some(99))) && !settled(101, collector(Some(99))));
        assert!(settled(101, gateway(Some(100))) && settled(101, collector(Some(101))));
        assert!(!settled(189, gateway(None)) && settled(190, gateway(None)));
        let mut isolation = Isolation::new(5);
        isolation.see(0, &outcome(100, ProbeReason::TimeoutConnect));
        isolation.hold(found, 0);
        assert_eq!(isolation.judge(found, &gateway(None)), None);
        isolation.see(1, &outcome(102, ProbeReason::Ok));
        assert_eq!(isolation.look_at(), Some(Instant::from_secs(102)), "at once");
        assert!(
            isolation.is_settled(Instant::from_secs(102), found, &gateway(None)),
            "another target is a witness, too"
        );
        isolation.let_go(0);
        assert_eq!(isolation.judge(Instant::from_secs(103), &gateway(None)), None);
        assert_eq!(isolation.look_at(), None, "nobody is asked any more");
    }

    #[test]
    fn one_that_is_all_there_is_suffices() {
        // With a single target, or with heartbeats alone, there is no second one whose silence could tell.
        for (probed, targets) in [(1, 1), (0, 0)] {
            let mut isolation = Isolation::new(probed);
            if probed > 0 {
                isolation.see(0, &outcome(10, ProbeReason::TimeoutConnect));
            }
            isolation.hold(Instant::from_secs(10), 0);
            let silent = witnesses(Some(false), None);
            assert_eq!(isolation.judge(Instant::from_secs(12), &silent), None);
            let turn = isolation.judge(Instant::from_secs(13), &silent);
            assert!(matches!(turn, Some(Turn::Isolated(_, number)) if number == targets), "{turn:?}");
            isolation.let_go(0);
            assert_eq!(isolation.judge(Instant::from_secs(14), &silent), None, "still");
            let back = isolation.judge(Instant::from_secs(15), &witnesses(Some(true), None));
            assert_eq!(back, Some(Turn::Rejoined(Duration::from_secs(2))));
        }
    }

    #[test]
    fn anybody_who_says_anything_ends_it() {
        // An agent that goes on excusing outages after its cable is back.
        let cut = &witnesses(Some(false), None);
        let isolated = || {
            let mut isolation = Isolation::new(5);
            isolation.see(3, &outcome(10, ProbeReason::TimeoutConnect));
            isolation.see(4, &outcome(10, ProbeReason::TimeoutConnect));
            assert!(isolation.judge(Instant::from_secs(13), cut).is_some());
            assert_eq!(isolation.judge(Instant::from_secs(14), cut), None);
            isolation
        };
        let back = Some(Turn::Rejoined(Duration::from_secs(7)));
        let mut by_gateway = isolated();
        assert_eq!(by_gateway.judge(Instant::from_secs(20), &witnesses(Some(true), None)), back);
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
