//! Drills: trouble made on purpose, because the configuration that the machine was booted with asks for it. Nobody on
//! the network can.
//!
//! Load is made here. Failing is the machine's part: the agent says when ([`Drills::due`]), the image does it.

use crate::config;
use crate::limits::{DRILL_EVERY, DRILL_PER_POLL};
use crate::log::Log;
use outpost_wire::DrillRecord;
use smoltcp::time::{Duration, Instant};

/// How the machine is to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// By a panic.
    Panic,
    /// By standing still with interrupts on, so that only a watchdog ends it.
    Hang,
}

/// The drills of this boot.
#[derive(Clone, Copy, Debug)]
pub struct Drills {
    asked: config::Drill,
    started: Instant,
    made: u64,
    made_at: Instant,
}

impl Drills {
    /// Drills that count their time from `started` on.
    pub fn new(asked: config::Drill, started: Instant) -> Drills {
        Drills { asked, started, made: 0, made_at: started }
    }

    /// Emits the records that are due, at most [`DRILL_PER_POLL`]; the others are due at the next call.
    pub fn make_load(&mut self, now: Instant, log: &mut Log<'_>) {
        let Some(per_second) = self.asked.records_per_s else { return };
        let due = (now - self.started).total_micros().saturating_mul(per_second.into()) / 1_000_000;
        for _ in 0..due.saturating_sub(self.made).min(DRILL_PER_POLL) {
            self.made += 1;
            log.emit(now, None, DrillRecord { number: self.made });
        }
        self.made_at = now;
    }

    /// How the machine is to fail now.
    pub fn due(&self, now: Instant) -> Option<Failure> {
        self.failures().find(|(at, _)| *at <= now).map(|(_, failure)| failure)
    }

    /// When there is more to do.
    pub fn poll_at(&self) -> Option<Instant> {
        let load = self.asked.records_per_s.map(|per_second| {
            let next = self.started + Duration::from_micros((self.made + 1) * 1_000_000 / u64::from(per_second.max(1)));
            next.max(self.made_at + DRILL_EVERY)
        });
        load.into_iter().chain(self.failures().map(|(at, _)| at)).min()
    }

    fn failures(&self) -> impl Iterator<Item = (Instant, Failure)> {
        let failures = [(self.asked.panic_after_s, Failure::Panic), (self.asked.hang_after_s, Failure::Hang)];
        let started = self.started;
        failures
            .into_iter()
            .filter_map(move |(after_s, failure)| Some((started + Duration::from_secs(after_s?.into()), failure)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_is_as_fast_as_asked_and_never_more_than_a_poll_takes() {
        // A drill that makes less load than it says proves nothing; one that makes all at once stops the agent.
        let mut region = vec![0; 512 + 256 * 4136];
        let mut log = Log::new(&mut region, 1);
        let asked = config::Drill { records_per_s: Some(10_000), ..config::Drill::default() };
        let mut drills = Drills::new(asked, Instant::from_secs(1));
        let (mut now, mut polls) = (Instant::from_secs(1), 0);
        while now < Instant::from_secs(3) {
            let before = log.stats().emitted;
            drills.make_load(now, &mut log);
            assert!(log.stats().emitted - before <= DRILL_PER_POLL);
            let next = drills.poll_at().unwrap();
            now = next.max(now + Duration::from_micros(500));
            polls += 1;
        }
        let emitted = log.stats().emitted;
        assert!((19_800..=20_000).contains(&emitted), "{emitted} records in two seconds");
        assert!(polls < 1000, "{polls} polls in two seconds");
    }

    #[test]
    fn failures_come_when_asked() {
        // A drill that does not come shows a crash survival that was never tried.
        let asked = config::Drill { panic_after_s: Some(3), hang_after_s: Some(2), ..config::Drill::default() };
        let drills = Drills::new(asked, Instant::from_secs(1));
        assert_eq!(drills.poll_at(), Some(Instant::from_secs(3)));
        assert_eq!(drills.due(Instant::from_millis(2999)), None);
        assert_eq!(drills.due(Instant::from_secs(3)), Some(Failure::Hang));
        assert_eq!(drills.due(Instant::from_secs(4)), Some(Failure::Panic));
        assert_eq!(Drills::new(config::Drill::default(), Instant::ZERO).poll_at(), None);
    }
}
