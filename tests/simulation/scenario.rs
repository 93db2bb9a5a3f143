//! What a seed means: the shape of the world, its faults, and what happens in it when.

use crate::collector::Mood;
use crate::gateway::{DhcpMode, TimeMode};
use crate::link::Faults;
use crate::rng::Rng;
use outpost::nic::Link;
use smoltcp::time::{Duration, Instant};

/// Something that happens to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Collector(Mood),
    CollectorCrashes,
    CollectorRestarts,
    CollectorBacksUp,
    CollectorRollsBack,
    SyslogCrashes,
    SyslogRestarts,
    Dhcp(DhcpMode),
    Time(TimeMode),
    /// The agent's cable passes nothing, in both directions.
    AgentCut(bool),
    /// The collector's cable passes nothing, in both directions.
    CollectorCut(bool),
    /// What the agent's card says of its link.
    AgentLink(Link),
    /// The hypervisor does not run the guest for so long.
    Pause(Duration),
    /// The machine is reset: the log region stays, everything else is gone.
    Reset,
    /// The image panics: a last record, then a reset.
    Panic,
    /// A reset during which some bits of the log region flip.
    DamagingReset,
    /// The whole machine stands still while wall time goes on by so much, and is the same one afterwards.
    StandsStill(Duration),
    /// It is written into a snapshot, and runs on.
    Snapshot,
    /// It goes on from the snapshot as a copy, by so much later; what it did since is another copy's.
    Restored(Duration),
    /// A burst of the attacker.
    Burst,
    /// The agent records so many lines of a dependency in each poll, as a library does that has gone mad.
    Chatter(u8),
    /// All faults end.
    Heal,
}

/// The world of one seed.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    /// No faults and no resets: every request must be answered.
    pub clean: bool,
    /// The agent's address comes by DHCP.
    pub dhcp: bool,
    pub collector_outside: bool,
    pub faults: Faults,
    pub region: usize,
    pub tx_queue: usize,
    pub clients: usize,
    /// Connections each client opens before the network heals, and the mean gap between them.
    pub connections: u64,
    pub gap_us: u64,
    /// The session is authenticated and encrypted.
    pub keyed: bool,
    /// Records go to a syslog server, too.
    pub syslog: bool,
    /// The collector is the real one, not the independent one.
    pub real_collector: bool,
    /// The independent collector commits within this time.
    pub commit_us: u64,
    /// The named bug "ack before commit" of the independent collector.
    pub ack_before_commit: bool,
    pub lease_s: u32,
    /// When the agent is polled for the first time: frames already wait then.
    pub first_poll: Instant,
    /// How long one poll takes.
    pub poll_us: u64,
    pub heal_at: Instant,
    /// The VMM tells a copy that it is one.
    pub generation: bool,
    pub changes: Vec<(Instant, Change)>,
}

/// Small enough to overflow in these worlds; the smallest is the least that makes a ring.
const REGIONS: &[usize] = &[34_000, 34_000, 64 * 1024, 1024 * 1024];

/// Resets in one world at most: fewer than the boots whose records the ring keeps apart.
const CRASH_LOOP: u64 = outpost::limits::LOG_BOOTS as u64 - 1;

/// How often the machine stands still in one world at most.
const STANDSTILLS: u64 = 2;

impl Scenario {
    pub fn new(seed: u64) -> Scenario {
        let rng = &mut Rng::new(seed);
        // What came later draws from a stream of its own, so that the worlds of before stay what they were.
        let later = &mut Rng::new(!seed);
        let clean = rng.chance(200);
        let heal_at = Instant::from_millis(rng.range(10_000, 40_000) as i64);
        let low = rng.pick(&[0, 0, 100, 2_000]);
        let delay_us = (low, low + rng.pick(&[0, 50, 1_000, 20_000]));
        let faults = if clean {
            Faults { delay_us, ..Faults::default() }
        } else {
            Faults {
                loss: rng.pick(&[0, 0, 10, 50, 150]),
                duplicate: rng.pick(&[0, 0, 20, 100]),
                reorder: rng.pick(&[0, 0, 50, 200]),
                corrupt: rng.pick(&[0, 0, 10, 30]),
                delay_us,
            }
        };
        let connections = rng.range(5, 40);
        let mut scenario = Scenario {
            seed,
            clean,
            dhcp: rng.chance(600),
            collector_outside: rng.chance(500),
            faults,
            region: rng.pick(REGIONS),
            tx_queue: rng.pick(&[4, 16, 64, 256]),
            clients: rng.range(1, 4) as usize,
            connections,
            gap_us: heal_at.total_micros() as u64 / connections,
            keyed: later.chance(500),
            syslog: later.chance(500),
            real_collector: rng.chance(400),
            ack_before_commit: false,
            commit_us: rng.pick(&[0, 1_000, 50_000]),
            lease_s: rng.pick(&[8, 60, 86_400, u32::MAX]),
            first_poll: Instant::from_millis(rng.pick(&[0, 5, 300])),
            poll_us: rng.range(1, 40),
            heal_at,
            generation: false,
            changes: Vec::new(),
        };
        scenario.draw_changes(rng, later);
        scenario
    }

    /// A world in which the ring overflows while the independent collector is away, and which has no other trouble.
    pub fn with_overflow(seed: u64) -> Scenario {
        let mut scenario = Scenario::quiet(seed);
        let moment = |ms| Instant::from_millis(ms);
        scenario.changes.extend([
            (moment(500), Change::Chatter(6)),
            (moment(2_000), Change::CollectorCut(true)),
            (moment(9_000), Change::CollectorCut(false)),
        ]);
        scenario.changes.sort_by_key(|&(moment, _)| moment);
        scenario
    }

    /// A world in which the independent collector acknowledges what it has not stored yet, and crashes.
    pub fn with_hasty_collector(seed: u64) -> Scenario {
        let mut scenario = Scenario { ack_before_commit: true, commit_us: 200_000, ..Scenario::quiet(seed) };
        scenario.changes.push((Instant::from_millis(500), Change::Chatter(1)));
        for second in 2..8 {
            scenario.changes.push((Instant::from_millis(second * 1_000), Change::CollectorCrashes));
            scenario.changes.push((Instant::from_millis(second * 1_000 + 100), Change::CollectorRestarts));
        }
        scenario.changes.sort_by_key(|&(moment, _)| moment);
        scenario
    }

    /// A world in which the collector is in this mood for a while, and somebody begins to listen again in between.
    pub fn with_moody_collector(seed: u64, mood: Mood) -> Scenario {
        let mut scenario = Scenario { keyed: false, ..Scenario::quiet(seed) };
        let moment = |ms| Instant::from_millis(ms);
        scenario
            .changes
            .extend([(moment(2_000), Change::Collector(Mood::Away)), (moment(4_000), Change::Collector(mood))]);
        scenario.changes.sort_by_key(|&(moment, _)| moment);
        scenario
    }

    /// The world of this seed, but without faults, with the least ring and the independent collector.
    fn quiet(seed: u64) -> Scenario {
        let heal_at = Instant::from_secs(10);
        Scenario {
            clean: false,
            faults: Faults::default(),
            region: REGIONS[0],
            real_collector: false,
            heal_at,
            changes: vec![(heal_at, Change::Heal)],
            ..Scenario::new(seed)
        }
    }

    fn draw_changes(&mut self, rng: &mut Rng, later: &mut Rng) {
        let end = self.heal_at.total_micros() as u64;
        let mut at = |rng: &mut Rng, change| {
            let moment = Instant::from_micros(rng.below(end) as i64);
            self.changes.push((moment, change));
            moment
        };
        let mut spans: Vec<(Change, Change)> = Vec::new();
        for _ in 0..rng.below(6) {
            at(rng, Change::Burst);
        }
        if rng.chance(500) {
            spans.push((Change::Chatter(rng.range(1, 6) as u8), Change::Chatter(0)));
        }
        if !self.clean {
            for _ in 0..rng.below(4) {
                spans.push((
                    Change::Collector(rng.pick(&[Mood::Away, Mood::Mute, Mood::Mad, Mood::Full])),
                    Change::Collector(Mood::Well),
                ));
            }
            for _ in 0..rng.below(4) {
                spans.push((Change::CollectorCrashes, Change::CollectorRestarts));
            }
            for _ in 0..rng.below(3) {
                spans.push((Change::AgentCut(true), Change::AgentCut(false)));
                spans.push((Change::CollectorCut(true), Change::CollectorCut(false)));
            }
            if rng.chance(300) {
                spans.push((Change::AgentLink(Link::Down), Change::AgentLink(Link::Up)));
            }
            if rng.chance(300) {
                let mode = rng.pick(&[DhcpMode::Silent, DhcpMode::Refuse, DhcpMode::Nonsense]);
                spans.push((Change::Dhcp(mode), Change::Dhcp(DhcpMode::Serve)));
            }
            if rng.chance(300) {
                let mode = rng.pick(&[TimeMode::Silent, TimeMode::Nonsense]);
                spans.push((Change::Time(mode), Change::Time(TimeMode::Serve)));
            }
            if rng.chance(300) {
                let pause = Duration::from_millis(rng.range(1, 20_000));
                at(rng, Change::Pause(pause));
            }
            match rng.below(6) {
                0 => {
                    at(rng, Change::Reset);
                }
                1 => {
                    at(rng, Change::Panic);
                }
                2 => {
                    for _ in 0..rng.range(2, CRASH_LOOP) {
                        let change = rng.pick(&[Change::Reset, Change::Panic]);
                        at(rng, change);
                    }
                }
                3 => {
                    at(rng, Change::DamagingReset);
                }
                4 => spans.push((Change::CollectorBacksUp, Change::CollectorRollsBack)),
                _ => {}
            }
        }
        let mut draw = |rng: &mut Rng, (begin, finish)| {
            // Some troubles are there from the first moment on.
            let a = if rng.chance(200) { 0 } else { rng.below(end) };
            let b = rng.below(end);
            self.changes.push((Instant::from_micros(a.min(b) as i64), begin));
            self.changes.push((Instant::from_micros(a.max(b) as i64), finish));
        };
        spans.into_iter().for_each(|span| draw(rng, span));
        for _ in 0..if self.clean || !self.syslog { 0 } else { later.below(4) } {
            draw(later, (Change::SyslogCrashes, Change::SyslogRestarts));
        }
        self.generation = later.chance(500);
        let ends = |change: &Change| matches!(change, Change::Reset | Change::Panic | Change::DamagingReset);
        let boots = self.changes.iter().filter(|(_, change)| ends(change)).count() as u64;
        if !self.clean && boots + STANDSTILLS < CRASH_LOOP && later.chance(300) {
            for _ in 0..later.range(1, STANDSTILLS) {
                let time = Duration::from_millis(later.range(6_000, 90_000_000));
                if later.chance(500) {
                    let (a, b) = (later.below(end) as i64, later.below(end) as i64);
                    self.changes.push((Instant::from_micros(a.min(b)), Change::Snapshot));
                    self.changes.push((Instant::from_micros(a.max(b)), Change::Restored(time)));
                } else {
                    self.changes.push((Instant::from_micros(later.below(end) as i64), Change::StandsStill(time)));
                }
            }
        }
        self.changes.push((self.heal_at, Change::Heal));
        self.changes.sort_by_key(|&(moment, _)| moment);
    }
}
