//! Bugs with names, planted by the simulation to see that its oracle finds them. Compiled in by the feature
//! `seeded-bugs` alone, which no image has, and asleep until one is planted.

use super::ship::Told;
use super::{Log, Reader};

/// A bug that loses, invents or repeats records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// What gave way in the ring is passed over in silence.
    DropWithoutLost,
    /// A range of lost records ends with one that is not lost.
    RangeOffByOne,
    /// A session begins with the last record that the collector has.
    Replay,
}

impl Log<'_> {
    /// The region as a snapshot of the machine would have it now.
    pub fn region(&self) -> [&[u8]; 3] {
        self.ring.parts()
    }

    /// From now on the log has this bug.
    pub fn plant(&mut self, bug: Bug) {
        self.bug = Some(bug);
    }

    /// What the bug makes of a step that is about to be told; `None`: it is skipped.
    pub(super) fn spoil_step(&self, step: Told, reader: &mut Reader) -> Option<Told> {
        match (self.bug, step) {
            (Some(Bug::DropWithoutLost), Told::Lost(to, _)) => {
                reader.pass(to);
                None
            }
            (Some(Bug::RangeOffByOne), Told::Lost(to, reason)) if to + 1 < self.ring.current().next => {
                Some(Told::Lost(to + 1, reason))
            }
            _ => Some(step),
        }
    }

    /// What the bug makes of the seq where a session begins.
    pub(super) fn spoil_resume(&self, seq: u64) -> u64 {
        if self.bug == Some(Bug::Replay) { (seq - 1).max(1) } else { seq }
    }
}
