//! One direction of a cable, with its faults: loss, duplication, reordering, corruption, delay, partition.
//!
//! What always holds: without faults frames arrive in the order they were sent; a frame is changed by at most
//! one flipped bit, which every checksum above finds (Ethernet's own CRC would drop most such frames unseen).

use crate::rng::Rng;
use smoltcp::time::{Duration, Instant};

/// What a direction does to frames, in times per thousand frames and microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub loss: u64,
    pub duplicate: u64,
    pub reorder: u64,
    pub corrupt: u64,
    pub delay_us: (u64, u64),
}

/// How much later than its neighbours a reordered frame arrives, at most.
const REORDER_US: u64 = 50_000;

/// One direction.
#[derive(Debug)]
pub struct Link {
    pub faults: Faults,
    /// Partition: nothing passes.
    pub cut: bool,
    rng: Rng,
    last_arrival: Instant,
}

impl Link {
    pub fn new(faults: Faults, rng: Rng) -> Link {
        Link { faults, cut: false, rng, last_arrival: Instant::ZERO }
    }

    /// Sends a frame, calling `arrive` for each copy with the moment it comes out at the other end.
    pub fn carry(&mut self, now: Instant, frame: &[u8], mut arrive: impl FnMut(Instant, Vec<u8>)) {
        let copies = 1 + u32::from(self.rng.chance(self.faults.duplicate));
        for _ in 0..copies {
            if self.cut || self.rng.chance(self.faults.loss) {
                continue;
            }
            let mut copy = frame.to_vec();
            if self.rng.chance(self.faults.corrupt) {
                let bit = self.rng.below(copy.len() as u64 * 8);
                copy[(bit / 8) as usize] ^= 1 << (bit % 8);
            }
            let (low, high) = self.faults.delay_us;
            let at = now + Duration::from_micros(self.rng.range(low, high));
            if self.rng.chance(self.faults.reorder) {
                arrive(at + Duration::from_micros(self.rng.below(REORDER_US)), copy);
            } else {
                self.last_arrival = self.last_arrival.max(at);
                arrive(self.last_arrival, copy);
            }
        }
    }
}
