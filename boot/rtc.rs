//! The CMOS real-time clock: wall time to the second, where the machine has one.

/// The registers of the clock, as they stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    second: u8,
    minute: u8,
    hour: u8,
    day: u8,
    month: u8,
    year: u8,
    century: u8,
    /// Status B: bit 1 = 24 hours, bit 2 = binary.
    format: u8,
}

impl Registers {
    /// Seconds since 1970-01-01 UTC. `None`: no date that exists, so there is no clock (it reads 0xff throughout)
    /// or it was never set.
    pub fn unix_seconds(&self) -> Option<u64> {
        let binary = self.format & 4 != 0;
        let number = |value: u8| {
            if binary {
                return Some(u64::from(value));
            }
            (value >> 4 <= 9 && value & 15 <= 9).then_some(u64::from(value >> 4) * 10 + u64::from(value & 15))
        };
        let hour = if self.format & 2 != 0 {
            number(self.hour)?
        } else {
            let hour = number(self.hour & 0x7f)?;
            if !(1..=12).contains(&hour) {
                return None;
            }
            hour % 12 + if self.hour & 0x80 != 0 { 12 } else { 0 }
        };
        let (minute, second) = (number(self.minute)?, number(self.second)?);
        let (day, month, year) = (number(self.day)?, number(self.month)?, number(self.year)?);
        // The century register is a habit of PCs, not a standard: believed when it makes sense.
        let century = number(self.century).filter(|century| (20..=21).contains(century)).unwrap_or(20);
        let year = century * 100 + year;
        let valid = hour < 24 && minute < 60 && second < 60 && (1..=12).contains(&month) && year < century * 100 + 100;
        if !valid || day < 1 || day > days_in(month, year) {
            return None;
        }
        let leaps = |year: u64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
        let days = (year - 1970) * 365 + leaps(year) - leaps(1970)
            + (1..month).map(|month| days_in(month, year)).sum::<u64>()
            + day
            - 1;
        Some(((days * 24 + hour) * 60 + minute) * 60 + second)
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(month: u64, year: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Looks at a clock that is just changing: that takes 2 ms at most (MC146818A), a look about 1 µs.
#[cfg(target_os = "none")]
const CHANGE_TRIES: u32 = 5_000;

/// Reads until two agree.
#[cfg(target_os = "none")]
const AGREE_TRIES: u32 = 4;

/// The wall time now, in seconds since 1970 UTC.
#[cfg(target_os = "none")]
pub fn read() -> Option<u64> {
    let mut last = None;
    for _ in 0..AGREE_TRIES {
        // A missing clock reads 0xff, "changing" for ever.
        (0..CHANGE_TRIES).find(|_| register(0x0a) & 0x80 == 0)?;
        let [second, minute, hour, day, month, year, century, format] = [0, 2, 4, 7, 8, 9, 0x32, 0x0b].map(register);
        let now = Some(Registers { second, minute, hour, day, month, year, century, format });
        if now == last {
            return now?.unix_seconds();
        }
        last = now;
    }
    None
}

#[cfg(target_os = "none")]
fn register(index: u8) -> u8 {
    use x86_64::instructions::port::Port;
    // SAFETY: selects a CMOS register; bit 7 stays 0, which leaves NMIs as they are.
    unsafe { Port::<u8>::new(0x70).write(index) };
    // SAFETY: reads it; nothing else uses the CMOS.
    unsafe { Port::<u8>::new(0x71).read() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Registers =
        Registers { second: 0x56, minute: 0x34, hour: 0x12, day: 0x29, month: 2, year: 0x24, century: 0x20, format: 2 };

    #[test]
    fn every_format_gives_the_same_second() {
        // A clock in binary or 12-hour form would put every record hours away.
        let expected = Some(1_709_210_096); // date -u -d '2024-02-29 12:34:56' +%s
        assert_eq!(NOON.unix_seconds(), expected);
        let binary = Registers { second: 56, minute: 34, hour: 12, day: 29, year: 24, century: 20, format: 6, ..NOON };
        assert_eq!(binary.unix_seconds(), expected);
        assert_eq!(Registers { hour: 0x92, format: 0, ..NOON }.unix_seconds(), expected);
        assert_eq!(Registers { century: 0xff, ..NOON }.unix_seconds(), expected);
        let midnight = Registers { hour: 0x12, format: 0, ..NOON };
        assert_eq!(midnight.unix_seconds(), expected.map(|noon| noon - 43_200));
    }

    #[test]
    fn what_is_no_date_is_no_time() {
        // microvm under KVM has no clock and reads 0xff everywhere.
        let absent = Registers {
            second: 255,
            minute: 255,
            hour: 255,
            day: 255,
            month: 255,
            year: 255,
            century: 255,
            format: 255,
        };
        assert_eq!(absent.unix_seconds(), None);
        assert_eq!(Registers { month: 0, ..NOON }.unix_seconds(), None);
        assert_eq!(Registers { day: 0, ..NOON }.unix_seconds(), None);
        assert_eq!(Registers { year: 0x23, ..NOON }.unix_seconds(), None, "29 February 2023");
        assert_eq!(Registers { second: 0x5a, ..NOON }.unix_seconds(), None);
        assert_eq!(Registers { hour: 0, format: 0, ..NOON }.unix_seconds(), None);
    }
}
