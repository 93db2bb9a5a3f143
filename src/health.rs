//! The agent's own health: one state that every dialect of the HTTP interface tells.
//!
//! Live means that the loop turns; ready means that no check fails. A warning never fails readiness, and what the
//! agent watches never changes its own health.

use smoltcp::time::Instant;

/// How a check stands, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As it should be.
    Pass,
    /// Worth a look; the agent serves.
    Warn,
    /// The agent is not ready.
    Fail,
}

impl State {
    /// As it is written in answers.
    pub const fn name(self) -> &'static str {
        match self {
            State::Pass => "pass",
            State::Warn => "warn",
            State::Fail => "fail",
        }
    }
}

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Check {
    /// A card, a link and an address.
    Network,
    /// The configuration document.
    Config,
    /// Wall time.
    Clock,
    /// Log delivery.
    Collector,
    /// The random seed.
    Entropy,
    /// The stacks.
    Memory,
    /// The operator's own switch.
    Maintenance,
    /// How this boot came about, and what it is for.
    Boot,
}

/// All checks, in the order they are shown.
pub const CHECKS: [Check; 8] = [
    Check::Network,
    Check::Config,
    Check::Clock,
    Check::Collector,
    Check::Entropy,
    Check::Memory,
    Check::Maintenance,
    Check::Boot,
];

impl Check {
    /// As it is written in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Check::Network => "network",
            Check::Config => "config",
            Check::Clock => "clock",
            Check::Collector => "collector",
            Check::Entropy => "entropy",
            Check::Memory => "memory",
            Check::Maintenance => "maintenance",
            Check::Boot => "boot",
        }
    }

    /// The check of this name.
    pub fn named(name: &[u8]) -> Option<Check> {
        CHECKS.into_iter().find(|check| check.name().as_bytes() == name)
    }
}

/// What a load balancer should make of the agent, beyond whether it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nothing that it would have to know.
    Serving,
    /// Answers may get lost or the agent may end: prefer another. A warning that touches no answer (no collector, no
    /// time server) is not meant.
    Degraded,
    /// The operator takes the agent out: send nothing more, at once.
    Withdrawn,
}

/// Why a check stands as it does: a closed list. A reason says which state it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing is wrong.
    Ok,
    /// Just booted: no address yet.
    Starting,
    /// There is no network card.
    NoNic,
    /// The card has no link.
    NoLink,
    /// There is no address.
    NoAddress,
    /// Another machine says that it has our address.
    DuplicateAddress,
    /// The link has come and gone several times of late.
    LinkFlaps,
    /// The last lookup of a host name failed.
    NamesUnresolved,
    /// No document: defaults are in force.
    ConfigAbsent,
    /// The document has errors.
    ConfigInvalid,
    /// The runbooks that came along are not used.
    ContentRefused,
    /// Wall time is what the machine said, and nobody has confirmed it.
    Unsynchronised,
    /// Wall time is not known.
    ClockUnknown,
    /// Wall time may be far off: no server has confirmed it for long, or none is near.
    ClockError,
    /// No collector is configured.
    NoCollector,
    /// No collector is configured, only a syslog server, which acknowledges nothing.
    NextHopOnly,
    /// Nobody answers: neither gateway nor collector nor any target.
    Isolated,
    /// There is no session to the collector.
    Disconnected,
    /// There is none because the collector cannot store.
    CollectorFull,
    /// There is none because the collector requires a key.
    KeyRequired,
    /// There is none because the collector speaks another version.
    OtherVersion,
    /// The collector is not authenticated.
    NotAuthenticated,
    /// A key is configured, but the random seed can be guessed: no session is opened.
    KeyRefused,
    /// The log's memory is nearly full of records that the collector does not have: soon some will be lost.
    RingFilling,
    /// Records of this boot were lost lately.
    RecordsLost,
    /// The random seed can be guessed.
    WeakEntropy,
    /// A stack was at some time over nine tenths full.
    StackHigh,
    /// The operator asked for it.
    Maintenance,
    /// The image crashed again and again: it does no more than it must.
    SafeMode,
    /// The configuration asks for trouble.
    Drill,
    /// The machine was asked to switch off, and will.
    ShuttingDown,
}

impl Reason {
    /// The state it means.
    pub const fn state(self) -> State {
        match self {
            Reason::Ok => State::Pass,
            Reason::Starting
            | Reason::NoNic
            | Reason::NoLink
            | Reason::NoAddress
            | Reason::ConfigInvalid
            | Reason::Maintenance
            | Reason::SafeMode
            | Reason::ShuttingDown => State::Fail,
            Reason::DuplicateAddress
            | Reason::LinkFlaps
            | Reason::Isolated
            | Reason::NamesUnresolved
            | Reason::ContentRefused
            | Reason::ConfigAbsent
            | Reason::Unsynchronised
            | Reason::ClockUnknown
            | Reason::ClockError
            | Reason::NoCollector
            | Reason::NextHopOnly
            | Reason::Disconnected
            | Reason::CollectorFull
            | Reason::KeyRequired
            | Reason::OtherVersion
            | Reason::NotAuthenticated
            | Reason::KeyRefused
            | Reason::RingFilling
            | Reason::RecordsLost
            | Reason::WeakEntropy
            | Reason::StackHigh
            | Reason::Drill => State::Warn,
        }
    }

    /// In words; empty when nothing is wrong.
    pub const fn text(self) -> &'static str {
        match self {
            Reason::Ok => "",
            Reason::Starting => "starting, no address yet",
            Reason::NoNic => "no network card",
            Reason::NoLink => "no link",
            Reason::NoAddress => "no address",
            Reason::DuplicateAddress => "another machine has our address, see network.conflict in the log",
            Reason::Isolated => "isolated: nobody answers, neither gateway nor collector nor targets",
            Reason::LinkFlaps => "the link comes and goes",
            Reason::ContentRefused => "the content bundle is refused, there are no runbooks, see /about",
            Reason::NamesUnresolved => "a host name is not resolved, see names in /status",
            Reason::ConfigAbsent => "absent, defaults are in force",
            Reason::ConfigInvalid => "invalid, see config_errors in /status",
            Reason::Unsynchronised => "unsynchronised",
            Reason::ClockUnknown => "unknown",
            Reason::ClockError => "large error",
            Reason::NoCollector => "not configured",
            Reason::NextHopOnly => "not configured, syslog is next hop only",
            Reason::Disconnected => "disconnected",
            Reason::CollectorFull => "disconnected, the collector's disk is full or failing",
            Reason::KeyRequired => "disconnected, the collector requires a key",
            Reason::OtherVersion => "disconnected, the collector speaks another version",
            Reason::NotAuthenticated => "not authenticated",
            Reason::KeyRefused => "weak entropy, no keyed session is opened",
            Reason::RingFilling => "over 80 % of the log's memory waits for the collector",
            Reason::RecordsLost => "records were lost within 10 minutes, see log in /status",
            Reason::WeakEntropy => "weak",
            Reason::StackHigh => "a stack was over 90 % full",
            Reason::Maintenance => "the operator asked for it",
            Reason::SafeMode => "safe mode after a crash loop, see last_reset in /about",
            Reason::Drill => "a drill is configured",
            Reason::ShuttingDown => "shutting down",
        }
    }

    /// What it means for who sends requests here.
    const fn standing(self) -> Standing {
        match self {
            Reason::Maintenance | Reason::ShuttingDown => Standing::Withdrawn,
            Reason::DuplicateAddress | Reason::LinkFlaps | Reason::StackHigh | Reason::Drill => Standing::Degraded,
            _ => Standing::Serving,
        }
    }
}

/// What a check found last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Why, and with it how the check stands.
    pub reason: Reason,
    /// Since when the reason is this one.
    pub since: Instant,
}

impl Finding {
    /// How the check stands.
    pub const fn state(self) -> State {
        self.reason.state()
    }
}

/// All findings. What probes ask for again and again is kept with them.
#[derive(Clone, Debug)]
pub struct Health {
    findings: [Finding; CHECKS.len()],
    ready: bool,
    standing: Standing,
    changes: u32,
}

impl Health {
    /// Everything passes, since `now`.
    pub const fn new(now: Instant) -> Health {
        let findings = [Finding { reason: Reason::Ok, since: now }; CHECKS.len()];
        Health { findings, ready: true, standing: Standing::Serving, changes: 0 }
    }

    /// What this check found last.
    pub fn get(&self, check: Check) -> Finding {
        self.findings[check as usize]
    }

    /// Takes in what a check finds now; since-when moves only when it differs.
    pub fn set(&mut self, check: Check, reason: Reason, now: Instant) {
        let finding = &mut self.findings[check as usize];
        if finding.reason != reason {
            *finding = Finding { reason, since: now };
            self.changes = self.changes.wrapping_add(1);
            self.ready = self.worst() != State::Fail;
            let standings = self.findings.iter().map(|finding| finding.reason.standing());
            self.standing = standings.max().unwrap_or(Standing::Serving);
        }
    }

    /// How often a check has found something else: as long as this stays, all that is said of health does.
    pub const fn changes(&self) -> u32 {
        self.changes
    }

    /// Whether no check fails.
    pub const fn is_ready(&self) -> bool {
        self.ready
    }

    /// What a load balancer should make of the agent.
    pub const fn standing(&self) -> Standing {
        self.standing
    }

    /// The worst state of all checks.
    pub fn worst(&self) -> State {
        self.findings.iter().map(|finding| finding.state()).max().unwrap_or(State::Pass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_ready_and_a_failure_is_not() {
        // The wrong way round takes every agent out of service when its collector restarts.
        let mut health = Health::new(Instant::ZERO);
        health.set(Check::Collector, Reason::Disconnected, Instant::from_secs(1));
        assert!(health.is_ready() && health.worst() == State::Warn);
        health.set(Check::Network, Reason::NoAddress, Instant::from_secs(2));
        health.set(Check::Network, Reason::NoAddress, Instant::from_secs(9));
        assert!(!health.is_ready());
        assert_eq!(health.get(Check::Network).since, Instant::from_secs(2), "since-when is when it began");
        health.set(Check::Network, Reason::Ok, Instant::from_secs(10));
        assert!(health.is_ready());
    }

    #[test]
    fn only_what_touches_answers_sends_clients_elsewhere() {
        // A fleet without a collector would have nowhere to send its clients.
        let mut health = Health::new(Instant::ZERO);
        for (reason, standing) in [
            (Reason::Disconnected, Standing::Serving),
            (Reason::LinkFlaps, Standing::Degraded),
            (Reason::NoAddress, Standing::Serving),
            (Reason::ShuttingDown, Standing::Withdrawn),
        ] {
            health.set(Check::Network, reason, Instant::ZERO);
            assert_eq!(health.standing(), standing, "{reason:?}");
        }
        health.set(Check::Memory, Reason::StackHigh, Instant::ZERO);
        assert_eq!(health.standing(), Standing::Withdrawn, "the strongest counts");
    }
}
