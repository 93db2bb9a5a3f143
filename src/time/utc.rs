//! UTC as people and other programs read it: RFC 3339, to the microsecond.

/// Bytes of such a moment.
pub const LEN: usize = 27;

/// The last moment that four digits of a year can say.
const LAST_US: u64 = 253_402_300_799_999_999;

/// Microseconds since 1970-01-01 UTC like `2026-03-01T12:00:00.000000Z`; a later moment than there are years for is
/// the last of them.
pub fn rfc3339(unix_us: u64) -> [u8; LEN] {
    let unix_us = unix_us.min(LAST_US);
    let (day, second) = (unix_us / 86_400_000_000, unix_us / 1_000_000 % 86_400);
    // Years begin in March here, so that the leap day is the last of a year (Hinnant, "chrono-Compatible Low-Level
    // Date Algorithms", civil_from_days). 719,468 days lie between 0000-03-01 and 1970-01-01.
    let day = day + 719_468;
    let (era, day_of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);

    let mut text = *b"0000-00-00T00:00:00.000000Z";
    for (end, digits, mut number) in [
        (4, 4, year),
        (7, 2, month),
        (10, 2, day_of_month),
        (13, 2, second / 3600),
        (16, 2, second / 60 % 60),
        (19, 2, second % 60),
        (26, 6, unix_us % 1_000_000),
    ] {
        for digit in text[end - digits..end].iter_mut().rev() {
            *digit += (number % 10) as u8;
            number /= 10;
        }
    }
    text
}

/// Days from 1970-01-01 to a date of any year that four digits can say; before it they are negative. A day that its month
/// does not have is one of the next month.
pub const fn days(year: i64, month: i64, day: i64) -> i64 {
    // As above, the other way round (Hinnant, days_from_civil).
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Seconds since 1970-01-01 UTC of a moment like `2027-12-31T23:59:59Z`, to the second; the 29th of February is one in
/// any year, where there is none the 1st of March.
pub fn parse(text: &str) -> Option<u64> {
    let shape = b"0000-00-00T00:00:00Z";
    if text.len() != shape.len() || text.bytes().zip(shape).any(|(byte, sign)| *sign != b'0' && byte != *sign) {
        return None;
    }
    let part = |from: usize, to: usize| {
        let digits = text.as_bytes().get(from..to)?;
        digits.iter().try_fold(0u64, |sum, &digit| Some(sum * 10 + u64::from(char::from(digit).to_digit(10)?)))
    };
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
    let days = match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let allowed = (1..=12).contains(&month) && (1..=days).contains(&day) && hour < 24 && minute < 60 && second < 60;
    // Before 1970 there is nothing to tell.
    let day = u64::try_from(self::days(year as i64, month as i64, day as i64)).ok().filter(|_| allowed)?;
    Some(((day * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_is_written() {
        // Leap days and ends of years, where a count of days goes wrong; and what is no moment.
        let mut unix_s = 0;
        while unix_s < 253_402_300_800 {
            let text = rfc3339(unix_s * 1_000_000);
            let text = format!("{}Z", core::str::from_utf8(&text[..19]).unwrap());
            assert_eq!(parse(&text), Some(unix_s), "{text}");
            unix_s += 86_399 * 7 + 12_345;
        }
        assert_eq!(parse("2024-02-29T00:00:00Z"), Some(1_709_164_800));
        for none in [
            "1969-12-31T23:59:59Z",
            "2027-13-01T00:00:00Z",
            "2027-04-31T00:00:00Z",
            "2027-01-01T24:00:00Z",
            "2027-01-01 00:00:00Z",
            "2027-01-01T00:00:00",
            "2027-01-01T00:00:0xZ",
            "2027-00-01T00:00:00Z",
            "2027-01-00T00:00:00Z",
            "",
        ] {
            assert_eq!(parse(none), None, "{none}");
        }
    }

    #[test]
    fn dates_are_right_at_their_edges() {
        // A wrong day in a postmortem is worse than none.
        for (unix_us, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399_999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (951_868_800_000_001, "2000-03-01T00:00:00.000001Z"),
            (1_700_000_000_123_456, "2023-11-14T22:13:20.123456Z"),
            (1_709_164_800_000_000, "2024-02-29T00:00:00.000000Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
            (LAST_US, "9999-12-31T23:59:59.999999Z"),
            (u64::MAX, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(core::str::from_utf8(&rfc3339(unix_us)), Ok(expected));
        }
    }

    #[test]
    fn dates_come_from_their_days() {
        // A certificate that ends on a leap day, or in a century that has none.
        for day in (-200_000i64..700_000).step_by(13) {
            let text = rfc3339((day.max(0) * 86_400_000_000) as u64);
            let number = |from: usize, to: usize| {
                text[from..to].iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'))
            };
            assert_eq!(days(number(0, 4), number(5, 7), number(8, 10)), day.max(0));
        }
        assert_eq!(days(1969, 12, 31), -1);
        assert_eq!(days(0, 3, 1), -719_468);
    }
}
