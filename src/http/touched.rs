//! The connections that something happened to, each once, in the order in which it first did.

/// A round of numbers below `SIZE`. Empty memory is all zeros.
pub struct Touched<const SIZE: usize> {
    waiting: [bool; SIZE],
    round: [u16; SIZE],
    first: usize,
    count: usize,
}

impl<const SIZE: usize> Touched<SIZE> {
    /// None.
    pub const fn new() -> Self {
        const { assert!(SIZE.is_power_of_two() && SIZE <= 1 << 16) };
        Touched { waiting: [false; SIZE], round: [0; SIZE], first: 0, count: 0 }
    }

    /// Puts a number at the end, unless it waits already.
    #[inline(always)]
    pub fn touch(&mut self, number: usize) {
        // There is a place for each number, and none is in twice.
        if !core::mem::replace(&mut self.waiting[number], true) {
            self.round[(self.first + self.count) % SIZE] = number as u16;
            self.count += 1;
        }
    }

    /// Takes the first.
    #[inline(always)]
    pub fn take(&mut self) -> Option<usize> {
        self.count = self.count.checked_sub(1)?;
        let number = usize::from(self.round[self.first % SIZE]);
        self.first = (self.first + 1) % SIZE;
        self.waiting[number] = false;
        Some(number)
    }

    /// How many there are.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<const SIZE: usize> Default for Touched<SIZE> {
    fn default() -> Self {
        Touched::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn each_waits_once_and_the_first_comes_first() {
        // A connection that is lost here is never answered; one that is in twice could push another out.
        let mut touched = Touched::<8>::new();
        let mut model = VecDeque::new();
        let mut random = 1u64;
        for _ in 0..10_000 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let number = (random >> 33) as usize % 8;
            if random >> 62 == 0 {
                assert_eq!(touched.take(), model.pop_front());
            } else {
                touched.touch(number);
                if !model.contains(&number) {
                    model.push_back(number);
                }
            }
            assert_eq!((touched.len(), touched.is_empty()), (model.len(), model.is_empty()));
        }
    }
}
