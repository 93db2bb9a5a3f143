//! A lazy timer wheel: when is which connection next due?
//!
//! A deadline that moves away costs nothing: the timer fires at the old moment, its owner sees that nothing is due
//! yet and schedules it again. Only a deadline that comes nearer moves it. Granularity is one tick; a timer fires
//! at its tick or up to one tick later, never earlier, and one beyond the horizon fires at the horizon.

use super::lists::Lists;
use smoltcp::time::Instant;

/// A tick is 2^14 µs, 16.4 ms: finer than any timer of TCP that matters (RFC 6298 RTO ≥ 1 s, delayed ACK ≤ 500 ms).
const TICK_SHIFT: u32 = 14;

/// Slots of the wheel: a horizon of 16.8 s, beyond which a timer is looked at once per turn.
pub const SLOTS: usize = 1024;

/// Timers for the things `0..THINGS`, at most one each.
pub struct Wheel<const THINGS: usize> {
    slots: Lists<SLOTS, THINGS>,
    /// A bit per slot that may hold a timer.
    occupied: [u64; SLOTS / 64],
    /// The last tick that has fired.
    fired: u64,
    /// No slot of an earlier tick holds a timer, so most polls need not look; 0 when no slot does.
    next: u64,
}

impl<const THINGS: usize> Wheel<THINGS> {
    /// No timers; time begins at 0.
    pub const fn new() -> Self {
        Wheel { slots: Lists::new(), occupied: [0; SLOTS / 64], fired: 0, next: 0 }
    }

    /// Makes sure that `thing` fires at `at` or earlier.
    #[inline(always)]
    pub fn schedule(&mut self, thing: usize, at: Instant) {
        let tick = (micros(at) >> TICK_SHIFT) + 1;
        let ahead = tick.saturating_sub(self.fired).clamp(1, SLOTS as u64 - 1);
        if self.slots.list_of(thing).is_none_or(|slot| self.ahead_of(slot) > ahead) {
            self.put(thing, ahead);
        }
    }

    /// Has `thing` fire so many ticks after the fired one.
    fn put(&mut self, thing: usize, ahead: u64) {
        let slot = slot_of(self.fired + ahead);
        self.slots.push_back(slot, thing);
        self.occupied[slot / 64] |= 1 << (slot % 64);
        let tick = self.fired + ahead;
        self.next = if self.next == 0 { tick } else { self.next.min(tick) };
    }

    /// Forgets a thing's timer.
    pub fn cancel(&mut self, thing: usize) {
        self.slots.remove(thing);
    }

    /// Whether a thing has a timer.
    #[inline(always)]
    pub fn has(&self, thing: usize) -> bool {
        self.slots.list_of(thing).is_some()
    }

    /// When a thing's timer fires; `None` when it has none.
    pub fn due(&self, thing: usize) -> Option<Instant> {
        let tick = self.fired + self.ahead_of(self.slots.list_of(thing)?);
        Some(Instant::from_micros((tick << TICK_SHIFT) as i64))
    }

    /// Takes one thing whose timer has fired by `now`; call until `None`.
    pub fn take_due(&mut self, now: Instant) -> Option<usize> {
        let now = micros(now) >> TICK_SHIFT;
        if self.next == 0 || now < self.next {
            self.fired = now.max(self.fired);
            return None;
        }
        // Far behind (a machine that was stopped): one whole turn fires everything.
        if now > self.fired + SLOTS as u64 {
            self.fired = now - SLOTS as u64;
        }
        loop {
            let slot = slot_of(self.fired);
            if let Some(thing) = self.slots.front(slot) {
                self.slots.remove(thing);
                return Some(thing);
            }
            self.occupied[slot / 64] &= !(1 << (slot % 64));
            let next = self.next_occupied();
            match next {
                Some(tick) if tick <= now => self.fired = tick,
                _ => {
                    self.fired = now.max(self.fired);
                    self.next = next.unwrap_or(0);
                    return None;
                }
            }
        }
    }

    /// When the next timer fires.
    pub fn next_at(&self) -> Option<Instant> {
        (self.next != 0).then(|| Instant::from_micros((self.next << TICK_SHIFT) as i64))
    }

    /// The next tick after the fired one whose slot may hold a timer.
    fn next_occupied(&self) -> Option<u64> {
        let start = slot_of(self.fired + 1);
        // The word of `start` is looked at twice: from `start` up, and last of all below it.
        for step in 0..=self.occupied.len() {
            let word = (start / 64 + step) % self.occupied.len();
            let from = u64::MAX << (start % 64);
            let mask = match step {
                0 => from,
                16 => !from,
                _ => u64::MAX,
            };
            let bits = self.occupied[word] & mask;
            if bits != 0 {
                return Some(self.fired + self.ahead_of(word * 64 + bits.trailing_zeros() as usize));
            }
        }
        None
    }

    /// How many ticks after the fired one a slot is: 1 to `SLOTS`.
    #[inline(always)]
    fn ahead_of(&self, slot: usize) -> u64 {
        (slot + SLOTS - slot_of(self.fired + 1)) as u64 % SLOTS as u64 + 1
    }
}

const _: () = assert!(SLOTS / 64 == 16, "next_occupied looks at 16 words and the first again");

impl<const THINGS: usize> Default for Wheel<THINGS> {
    fn default() -> Self {
        Wheel::new()
    }
}

fn slot_of(tick: u64) -> usize {
    tick as usize % SLOTS
}

fn micros(at: Instant) -> u64 {
    at.total_micros().max(0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn fires_once_at_its_time_and_not_before() {
        // A timer that fires early spins the machine; one that never fires leaves a dead connection for ever.
        let mut wheel = Wheel::<8>::new();
        wheel.schedule(3, at(1000));
        assert_eq!(wheel.take_due(at(1000)), None);
        let next = wheel.next_at().unwrap();
        assert!(next >= at(1000) && next <= at(1017), "{next}");
        assert_eq!(wheel.take_due(next), Some(3));
        assert_eq!(wheel.take_due(next), None);
        assert_eq!(wheel.next_at(), None);
    }

    #[test]
    fn only_a_nearer_deadline_moves_a_timer() {
        let mut wheel = Wheel::<8>::new();
        wheel.schedule(1, at(500));
        wheel.schedule(1, at(900));
        assert!(wheel.next_at().unwrap() < at(520));
        wheel.schedule(1, at(100));
        assert!(wheel.next_at().unwrap() < at(120));
        assert_eq!((wheel.due(1), wheel.due(2)), (wheel.next_at(), None));
        wheel.cancel(1);
        assert_eq!(wheel.take_due(at(2000)), None);
    }

    #[test]
    fn beyond_the_horizon_and_after_a_long_stop() {
        let mut wheel = Wheel::<8>::new();
        wheel.schedule(1, at(3_600_000));
        assert_eq!(wheel.take_due(at(16_000)), None);
        assert_eq!(wheel.take_due(at(17_000)), Some(1), "fires at the horizon so that its owner can look again");
        wheel.schedule(1, at(18_000));
        wheel.schedule(2, at(30_000));
        let mut due = [wheel.take_due(at(9_000_000)), wheel.take_due(at(9_000_000))];
        due.sort();
        assert_eq!(due, [Some(1), Some(2)]);
    }

    #[test]
    fn agrees_with_a_sorted_list() {
        // Slots are reused every turn: a stale bit or a wrapped distance would lose or delay a timer.
        let mut wheel = Wheel::<32>::new();
        let mut model = [None::<i64>; 32];
        let (mut random, mut now) = (7u64, 0i64);
        for _ in 0..50_000 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let thing = (random >> 33) as usize % 32;
            let wait = ((random >> 40) % 12_000) as i64;
            if model[thing].is_none_or(|at| now + wait < at) {
                model[thing] = Some(now + wait);
            }
            wheel.schedule(thing, at(now + wait));
            now += (random >> 20) as i64 % 40;
            while let Some(due) = wheel.take_due(at(now)) {
                let expected = model[due].take().expect("fired without a timer");
                assert!(expected <= now, "fired {} ms early", expected - now);
            }
            assert!(model.iter().flatten().all(|&at| at > now - 34), "a timer is late");
        }
    }
}
