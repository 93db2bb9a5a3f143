//! Whether the machine stood still and goes on: from a snapshot, perhaps as one of two copies.
//!
//! A copy has its twin's boot id, the next seq to give, keys and TCP sequence numbers. Two that go on with them give two
//! records one name, and encrypt two messages with one key. So a machine that may be a copy begins a new boot at once:
//! the agent is made anew with another id and seed over the same log region, as after a reset. What was recorded before
//! stays the old boot's.
//!
//! | sign | what it means | what is done |
//! |---|---|---|
//! | the generation id changed | restored, or a copy: the VMM says so | a new boot |
//! | wall time jumped, there is no generation id | paused, restored or a copy: nobody can tell | a new boot |
//! | wall time jumped, the generation id stayed | paused, or the host's clock was set | told, and UTC is asked anew |
//!
//! Wall time is the machine's own clock, kvmclock or RTC, and never what time servers say: who corrects a wrong clock has
//! not stood still.

use crate::limits::WALL_JUMP;
use outpost_wire::ResumeSign;
use smoltcp::time::Instant;

/// The id that the VMM gives a machine and each copy of it.
pub type Generation = [u64; 2];

/// The machine has stood still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumption {
    /// By what it was noticed.
    pub sign: ResumeSign,
    /// By how much wall time went ahead of monotonic time, in microseconds.
    pub jump_us: i64,
    /// It may be a copy: this boot is over.
    pub copy: bool,
}

/// What is watched.
pub struct Watch {
    generation: Option<Generation>,
    /// Wall time in microseconds at the last look that found any.
    wall: Option<(Instant, u64)>,
}

impl Watch {
    /// Begins to watch a machine with this generation id, if it has one.
    pub fn new(generation: Option<Generation>) -> Watch {
        Watch { generation, wall: None }
    }

    /// The generation id at the last look.
    pub fn generation(&self) -> Option<Generation> {
        self.generation
    }

    /// Whether the generation id is another one than before. Cheap, and to be asked before anything is said to others:
    /// then [`look`](Self::look) is due.
    pub fn is_other(&self, generation: Option<Generation>) -> bool {
        generation != self.generation
    }

    /// Looks at both signs; to be called every [`WALL_LOOK`](crate::limits::WALL_LOOK).
    pub fn look(&mut self, now: Instant, generation: Option<Generation>, unix_us: Option<u64>) -> Option<Resumption> {
        let copied = self.is_other(generation);
        self.generation = generation;
        let before = self.wall;
        self.wall = unix_us.map(|unix_us| (now, unix_us)).or(before);
        let jump_us = match (before, unix_us) {
            (Some((then, unix_then)), Some(unix_us)) => {
                let passed_us = now.total_micros().saturating_sub(then.total_micros());
                (unix_us.wrapping_sub(unix_then) as i64).saturating_sub(passed_us)
            }
            _ => 0,
        };
        if copied {
            return Some(Resumption { sign: ResumeSign::Generation, jump_us, copy: true });
        }
        let jumped = jump_us.unsigned_abs() >= WALL_JUMP.total_micros();
        jumped.then_some(Resumption { sign: ResumeSign::WallClock, jump_us, copy: generation.is_none() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;
    const NOON: u64 = 1_795_305_600 * SECOND;

    fn at(seconds: i64) -> Instant {
        Instant::from_secs(seconds)
    }

    #[test]
    fn a_clock_of_whole_seconds_never_jumps() {
        // A false alarm drops every connection.
        let mut watch = Watch::new(None);
        for look in 0..10_000_i64 {
            let now = Instant::from_millis(look * 3_777);
            let wall = NOON + (now.total_micros() as u64) / SECOND * SECOND;
            assert_eq!(watch.look(now, None, Some(wall)), None, "{now}");
        }
    }

    #[test]
    fn without_a_generation_id_a_jump_is_a_new_boot() {
        // A twin that goes on under our boot id gives its records the names of ours.
        let mut watch = Watch::new(None);
        assert_eq!(watch.look(at(10), None, Some(NOON)), None);
        let found = watch.look(at(14), None, Some(NOON + 64 * SECOND)).unwrap();
        assert_eq!(found, Resumption { sign: ResumeSign::WallClock, jump_us: 60_000_000, copy: true });
        assert_eq!(watch.look(at(18), None, Some(NOON + 68 * SECOND)), None, "it is told once");
        let back = watch.look(at(22), None, Some(NOON)).unwrap();
        assert_eq!((back.jump_us, back.copy), (-72_000_000, true));
    }

    #[test]
    fn the_generation_id_tells_a_copy_from_a_pause() {
        // Every nightly backup that pauses a VM would else end its boot.
        let mut watch = Watch::new(Some([1, 2]));
        assert_eq!(watch.look(at(10), Some([1, 2]), Some(NOON)), None);
        let paused = watch.look(at(14), Some([1, 2]), Some(NOON + 600 * SECOND)).unwrap();
        assert_eq!(paused, Resumption { sign: ResumeSign::WallClock, jump_us: 596_000_000, copy: false });
        assert!(watch.is_other(Some([1, 3])) && !watch.is_other(Some([1, 2])));
        let copied = watch.look(at(15), Some([1, 3]), Some(NOON + 601 * SECOND)).unwrap();
        assert_eq!(copied, Resumption { sign: ResumeSign::Generation, jump_us: 0, copy: true });
        assert!(!watch.is_other(Some([1, 3])));
    }

    #[test]
    fn a_clock_that_is_away_or_mad_is_no_jump_by_itself() {
        // An RTC that cannot be read for a moment, or that says anything, must not panic.
        let mut watch = Watch::new(None);
        assert_eq!(watch.look(at(1), None, None), None);
        assert_eq!(watch.look(at(5), None, Some(NOON)), None);
        assert_eq!(watch.look(at(9), None, None), None);
        assert_eq!(watch.look(at(13), None, Some(NOON + 8 * SECOND)), None, "the look between is bridged");
        for mad in [0, u64::MAX, 1 << 63, NOON] {
            let _ = watch.look(Instant::from_micros(i64::MAX), None, Some(mad));
            let _ = watch.look(Instant::from_micros(i64::MIN), None, Some(mad));
        }
    }
}
