//! Days that came along: what a collector kept of a machine that is no more, for the one that takes its place.
//!
//! `outpost history` makes them of the `check.day` records in a store; they are an entry of the content bundle, whose
//! digest says that they are whole. Numbers are little-endian, and there are rows and nothing else:
//!
//! ```text
//! row = 32 name of the check, zeros behind it · 4 its last day, since 1970-01-01 UTC · 4 zeros · 90 × (4 good · 4 bad)
//! ```
//! The last of the 90 is the last day. What always holds: any bytes are rows; what they say is judged by `Days::restore`.

use super::Day;
use crate::config::checks::Checks;
use crate::content::NAME;
use crate::limits::CHECK_DAYS;

const HEAD: usize = NAME + 8;
const CELL: usize = 8;

/// Length of a row, in bytes.
pub const ROW: usize = HEAD + CELL * CHECK_DAYS;

/// The row of a check; `None` when no check has such a name.
pub fn row(name: &str, last_day: u32, days: &[Day; CHECK_DAYS]) -> Option<[u8; ROW]> {
    let mut row = [0; ROW];
    row[..NAME].get_mut(..name.len())?.copy_from_slice(name.as_bytes());
    row[NAME..NAME + 4].copy_from_slice(&last_day.to_le_bytes());
    for (cell, day) in row[HEAD..].chunks_exact_mut(CELL).zip(days) {
        cell[..4].copy_from_slice(&day.good.to_le_bytes());
        cell[4..].copy_from_slice(&day.bad.to_le_bytes());
    }
    Some(row)
}

/// The name and the days of each row.
pub fn rows(bytes: &[u8]) -> impl Iterator<Item = (&[u8], impl Iterator<Item = (u32, Day)>)> {
    bytes.chunks_exact(ROW).map(|row| {
        let name = row[..NAME].split(|byte| *byte == 0).next().unwrap_or_default();
        let number =
            |at: usize| row.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u32::from_le_bytes(*word));
        let last = number(NAME);
        let days = (0..CHECK_DAYS).map(move |at| {
            let cell = HEAD + at * CELL;
            (last.saturating_sub((CHECK_DAYS - 1 - at) as u32), Day { good: number(cell), bad: number(cell + 4) })
        });
        (name, days)
    })
}

/// Each day with the number of its check, where there is one of that name.
pub(super) fn days<'b>(checks: &'b Checks, bytes: &'b [u8]) -> impl Iterator<Item = (Option<usize>, u32, Day)> + 'b {
    rows(bytes).flat_map(|(name, days)| {
        let number = checks.list().iter().position(|check| checks.text(check.name).as_bytes() == name);
        days.map(move |(day, counted)| (number, day, counted))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_were_written() {
        // A day too early, or the good ones as bad ones: a bar that tells of another outage.
        let mut days = [Day::default(); CHECK_DAYS];
        days[0] = Day { good: 1, bad: 2 };
        days[89] = Day { good: u32::MAX, bad: 3 };
        let longest = "x".repeat(NAME);
        let bytes = [row("shop", 20_779, &days).unwrap(), row(&longest, 5, &days).unwrap()].concat();
        let read: Vec<_> = rows(&bytes).map(|(name, days)| (name, days.collect::<Vec<_>>())).collect();
        assert_eq!((read.len(), read[0].0, read[1].0), (2, &b"shop"[..], longest.as_bytes()));
        assert_eq!(read[0].1[0], (20_690, Day { good: 1, bad: 2 }));
        assert_eq!(read[0].1[89], (20_779, Day { good: u32::MAX, bad: 3 }));
        assert_eq!(read[1].1[0].0, 0, "before 1970 there is nothing");
        assert_eq!(row(&"x".repeat(NAME + 1), 5, &days), None);
        assert_eq!(rows(&bytes[..ROW - 1]).count(), 0);
    }
}
