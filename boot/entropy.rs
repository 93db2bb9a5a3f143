//! Random bytes for the seed and the boot id, and an honest word on where they came from.

use crate::hypervisor::{leaf, tsc};
use outpost_wire::EntropySource;
use x86_64::instructions::random::RdRand;

/// Words that a boot needs: the seed and the boot id.
const WORDS: usize = 5;

/// Asks per word; Intel says that ten failures in a row mean a broken generator (DRNG guide, 5.2.1), and RDSEED
/// may run dry for longer under load.
const TRIES: u32 = 100;

/// Samples of the TSC when there is nothing better.
const JITTER_SAMPLES: u32 = 256;

/// The random words of a boot.
pub struct Entropy {
    words: [u64; WORDS],
    source: EntropySource,
}

impl Entropy {
    /// Collects: from RDSEED, else RDRAND, else from timing alone. `own` is what only this one of a machine's copies
    /// has: it keeps them apart where there is nothing better than timing.
    pub fn collect(own: &[u64]) -> Entropy {
        if let Some(words) = collect(rdseed).or_else(|| collect(rdrand)) {
            return Entropy { words, source: EntropySource::Cpu };
        }
        Entropy { words: jitter(own), source: EntropySource::Weak }
    }

    /// A random device gave these bytes: they are mixed in, and the source is now that device.
    pub fn strengthen(&mut self, bytes: &[u8; WORDS * 8]) {
        for (word, bytes) in self.words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word ^= u64::from_le_bytes(*bytes);
        }
        self.source = EntropySource::Virtio;
    }

    /// Where the bytes came from.
    pub fn source(&self) -> EntropySource {
        self.source
    }

    /// The seed.
    pub fn seed(&self) -> [u8; 32] {
        let mut seed = [0; 32];
        for (bytes, word) in seed.as_chunks_mut::<8>().0.iter_mut().zip(self.words) {
            *bytes = word.to_le_bytes();
        }
        seed
    }

    /// The id of this boot, never 0.
    pub fn boot_id(&self) -> u64 {
        self.words[WORDS - 1].max(1)
    }
}

/// Words from a generator, unless it fails or repeats itself: some processors answer "success" and all ones, or
/// the same word for ever, after a resume.
fn collect(generator: fn() -> Option<u64>) -> Option<[u64; WORDS]> {
    let mut words = [0; WORDS];
    for index in 0..WORDS {
        let word = generator()?;
        if word == 0 || word == u64::MAX || words[..index].contains(&word) {
            return None;
        }
        words[index] = word;
    }
    Some(words)
}

fn rdrand() -> Option<u64> {
    let generator = RdRand::new()?;
    (0..TRIES).find_map(|_| generator.get_u64())
}

fn rdseed() -> Option<u64> {
    let offered = leaf(7).is_some_and(|_| core::arch::x86_64::__cpuid_count(7, 0).ebx & 1 << 18 != 0);
    if !offered {
        return None;
    }
    (0..TRIES).find_map(|_| {
        let mut word = 0;
        // SAFETY: CPUID offers RDSEED.
        let filled = unsafe { core::arch::x86_64::_rdseed64_step(&mut word) };
        (filled == 1).then_some(word)
    })
}

/// Words from how long port accesses take, stirred (the finalizer of SplitMix64): different from boot to boot, but
/// an attacker who knows the host can narrow them down, so the source stays "weak".
fn jitter(own: &[u64]) -> [u64; WORDS] {
    let mut state = own.iter().fold(tsc(), |state, own| stir(state ^ own));
    core::array::from_fn(|_| {
        for _ in 0..JITTER_SAMPLES {
            // SAFETY: port 0x80 is the POST code port; reading it does nothing but take time.
            unsafe { x86_64::instructions::port::Port::<u8>::new(0x80).read() };
            state = stir(state ^ tsc().rotate_left(17));
        }
        state
    })
}

fn stir(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}
