//! How deep a stack was ever used: entry.s fills the stacks with [`PAINT`], and what is not painted any more was used.

use core::ops::Range;

/// What an unused word of a stack holds, twice the value in entry.s.
pub const PAINT: u64 = 0x5afe_57ac_5afe_57ac;

/// Words looked at in one turn, of which there is one a second: the main stack takes four minutes, and a turn is a
/// sixth of serving one request. It is a warning for who looks after the machine, and nothing that must be quick.
const TURN: u64 = 64;

const WORD: u64 = 8;

/// The gauge of one stack.
pub struct Gauge {
    stack: Range<u64>,
    /// The lowest address known to be used.
    mark: u64,
    /// Where the next turn begins.
    at: u64,
}

impl Gauge {
    /// A gauge that has not looked yet. Both ends are multiples of 8.
    pub const fn new(stack: Range<u64>) -> Gauge {
        Gauge { mark: stack.end, at: stack.start, stack }
    }

    /// Looks at the next words from the far end upwards and says how many bytes were in use at most, as far as is
    /// known. Upwards, for a function may leave parts of its frame untouched; in turns, so that none takes long.
    pub fn look(&mut self, read: impl Fn(u64) -> u64) -> u32 {
        // The first look goes all the way, once: 0 would be taken for a stack that nobody uses.
        let turn = if self.mark == self.stack.end { u64::MAX } else { self.at + TURN * WORD };
        let end = self.mark.min(turn);
        while self.at < end && read(self.at) == PAINT {
            self.at += WORD;
        }
        if self.at < end {
            self.mark = self.at;
        }
        if self.at == self.mark {
            self.at = self.stack.start;
        }
        (self.stack.end - self.mark) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_word_is_found_whatever_lies_above() {
        // A gauge that stopped at the first untouched word from the top would call a stack half empty that is full.
        let mut words = vec![PAINT; 4096];
        let mut gauge = Gauge::new(0..4096 * WORD);
        let passes = 4096 / TURN + 1;
        let look = |gauge: &mut Gauge, words: &[u64]| {
            (0..2 * passes).map(|_| gauge.look(|at| words[(at / WORD) as usize])).last().unwrap()
        };
        assert_eq!(look(&mut gauge, &words), 0);
        words[4000..].fill(1);
        assert_eq!(gauge.look(|at| words[(at / WORD) as usize]), 96 * 8, "the first look finds what there is");
        assert_eq!(look(&mut gauge, &words), 96 * 8);
        words[7] = 0;
        assert_eq!(look(&mut gauge, &words), 4089 * 8);
        words[0] = 0;
        assert_eq!(look(&mut gauge, &words), 4096 * 8);
    }
}
