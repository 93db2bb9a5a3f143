//! Turning one clock's ticks into another's by a multiplication and a shift: no division when time is read.

/// The factor `multiplier / 2^32`, with the ticks shifted before: the form in which kvmclock gives its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// The factor, in 1/2^32.
    pub multiplier: u32,
    /// Shift of the ticks before the multiplication: left when positive, right when negative.
    pub shift: i8,
}

impl Scale {
    /// From ticks of a clock of `from_hz` to ticks of one of `to_hz`. `None` for 0 Hz.
    pub fn new(from_hz: u64, to_hz: u64) -> Option<Scale> {
        if from_hz == 0 || to_hz == 0 {
            return None;
        }
        // The factor is brought into [2^31, 2^32) / 2^32, where the multiplier has all its bits.
        let (mut numerator, mut denominator, mut shift) = (u128::from(to_hz), u128::from(from_hz), 0i8);
        while numerator >= denominator {
            denominator <<= 1;
            shift += 1;
        }
        while numerator << 1 < denominator {
            numerator <<= 1;
            shift -= 1;
        }
        let multiplier = u32::try_from((numerator << 32) / denominator).ok()?;
        Some(Scale { multiplier, shift })
    }

    /// These ticks in the other clock's; saturating.
    pub fn apply(self, ticks: u64) -> u64 {
        let shifted = match self.shift {
            left @ 0..=63 => ticks.checked_shl(left as u32).filter(|shifted| shifted >> left == ticks),
            right @ -63..=-1 => Some(ticks >> -right),
            _ => Some(0),
        };
        ((u128::from(shifted.unwrap_or(u64::MAX)) * u128::from(self.multiplier)) >> 32) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_right_to_a_microsecond() {
        // A multiplier with too few bits would let the clock run away from the VMM's.
        for hz in [1_000_000, 24_000_000, 999_999_937, 2_494_140_000, 5_000_000_000] {
            let scale = Scale::new(hz, 1_000_000_000).unwrap();
            let hour = scale.apply(hz * 3600);
            assert!(hour.abs_diff(3_600_000_000_000) <= 1_000, "{hz} Hz: {hour} ns");
        }
    }

    #[test]
    fn ten_years_do_not_overflow() {
        // A clock that wraps would stop every timer.
        let seconds = 10 * 365 * 86_400;
        let scale = Scale::new(3_000_000_000, 1_000_000_000).unwrap();
        assert!(scale.apply(3_000_000_000 * seconds).abs_diff(1_000_000_000 * seconds) < 1_000_000_000);
    }

    #[test]
    fn extremes_saturate() {
        // A hypervisor may hand us any multiplier and shift.
        assert_eq!(Scale::new(0, 1), None);
        assert_eq!(Scale::new(1, 0), None);
        for shift in i8::MIN..=i8::MAX {
            let _ = Scale { multiplier: u32::MAX, shift }.apply(u64::MAX);
        }
        assert_eq!(Scale { multiplier: 1 << 31, shift: 1 }.apply(7), 7);
        assert_eq!(Scale { multiplier: 1 << 31, shift: -2 }.apply(80), 10);
        assert!(Scale::new(1, u64::MAX).is_some() && Scale::new(u64::MAX, 1).is_some());
    }
}
