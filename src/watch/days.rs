//! Ninety days of each check: how many probes of each UTC day were good, and how many were bad.
//!
//! ```text
//! log region = ring ........ · days (64 rows of 728 bytes) · last words
//! row        = key of the check · 90 days, each 8 bytes: good (20 bits) · bad (20 bits) · check sum (24 bits)
//! ```
//! They stand in memory that survives resets, where an outcome changes eight bytes and nothing else. The place of a day
//! is its number modulo 90, and its check sum covers the key and the day itself: so a day that has passed out of the
//! window, half a write, a layout of another version or memory that never was ours are no data, without a header that
//! could be wrong. What always holds: what does not check out counts as nothing, never as good; a check that watches
//! something else under the same name begins anew.

use crate::config::Host;
use crate::config::checks::{Check, Checks};
use crate::limits::{CHECK_DAYS, CHECKS};
use outpost_wire::Sha256;
use outpost_wire::session::CRC;

/// Changes when what is written here means something else.
const LAYOUT: u8 = 1;

const KEY: usize = 8;
const CELL: usize = 8;
const ROW: usize = KEY + CELL * CHECK_DAYS;

/// Bytes of all rows.
pub const REGION: usize = ROW * CHECKS;

/// More outcomes than this of one day are as many as this: 12 a second.
const MOST: u32 = (1 << 20) - 1;

const DAY_US: u64 = 86_400_000_000;

/// What is known of one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Day {
    /// Probes that were good.
    pub good: u32,
    /// Probes that were bad.
    pub bad: u32,
}

/// What a boot found when it first knew the day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Days with data, of all checks.
    pub kept: u16,
    /// Days that were not what had been written.
    pub damaged: u16,
    /// Days that came along and of which there was nothing here.
    pub restored: u16,
    /// Days that came along and cannot be: of no check that there is, of the future, or counted too high.
    pub left_out: u16,
}

/// The rows of the checks of this boot.
pub struct Days<'a> {
    region: &'a mut [u8],
    /// The row of each check; the memory may be too small for all.
    rows: [u8; CHECKS],
    keys: [u64; CHECKS],
    /// The day since 1970-01-01 UTC; `None` as long as the clock is not known.
    today: Option<u32>,
    /// Outcomes from before it was.
    early: [Day; CHECKS],
}

impl<'a> Days<'a> {
    /// The rows of these checks in memory as the last boot left it. Rows that belong to none of them are given to those
    /// that have none.
    pub fn new(checks: &Checks, region: &'a mut [u8]) -> Days<'a> {
        let mut days =
            Days { region, rows: [u8::MAX; CHECKS], keys: [0; CHECKS], today: None, early: [Day::default(); CHECKS] };
        let count = checks.list().len();
        for (key, check) in days.keys.iter_mut().zip(checks.list()) {
            *key = key_of(checks, check);
        }
        let mut taken = 0u64;
        for row in 0..days.region.len().min(REGION) / ROW {
            let held = days.word(row * ROW);
            if let Some(number) = days.keys.iter().take(count).position(|key| *key == held)
                && usize::from(days.rows[number]) >= CHECKS
            {
                days.rows[number] = row as u8;
                taken |= 1 << row;
            }
        }
        for number in 0..count {
            let free = taken.trailing_ones() as usize;
            let room = free < CHECKS && (free + 1) * ROW <= days.region.len();
            if room && usize::from(days.rows[number]) >= CHECKS {
                days.rows[number] = free as u8;
                taken |= 1 << free;
                days.region[free * ROW..(free + 1) * ROW].fill(0);
                days.put(free * ROW, days.keys[number]);
            }
        }
        days
    }

    /// What UTC is at this moment, where it is known, and what it was when the boot began. The first time it says what is
    /// left of earlier boots, and takes of what came along (`brought`: days, each of the check with this number) those
    /// days of which nothing is left; outcomes from before count for today, if it was this day then, too.
    pub fn know(
        &mut self,
        unix_us: u64,
        booted_us: u64,
        brought: impl Iterator<Item = (Option<usize>, u32, Day)>,
    ) -> Option<Found> {
        let today = (unix_us / DAY_US) as u32;
        if self.today.replace(today).is_some() {
            return None;
        }
        let mut found = self.look_back(today);
        for (number, day, counted) in brought {
            self.restore(number, day, counted, today, &mut found);
        }
        for number in 0..CHECKS {
            let early = core::mem::take(&mut self.early[number]);
            if booted_us / DAY_US == u64::from(today) {
                self.add_all(number, early);
            }
        }
        Some(found)
    }

    /// What is left of earlier boots; what is not a day of the window is wiped out.
    fn look_back(&mut self, today: u32) -> Found {
        let mut found = Found::default();
        for number in 0..CHECKS {
            for day in today.saturating_sub(CHECK_DAYS as u32 - 1)..=today {
                let Some(at) = self.place(number, day) else { continue };
                let cell = self.word(at);
                if self.read(number, day).is_some() {
                    found.kept += 1;
                } else if cell != 0 {
                    // A day of earlier windows is not damaged, only over.
                    let over = (1..=4).any(|back| {
                        day.checked_sub(back * CHECK_DAYS as u32).is_some_and(|day| self.is_sound(number, day, cell))
                    });
                    found.damaged += u16::from(!over);
                    self.put(at, 0);
                }
            }
        }
        found
    }

    /// Takes in a day that came along. One of which something is known here stays as it is: after a reset it has what was
    /// brought in it already. Days before the window are over, and days without data are none.
    fn restore(&mut self, number: Option<usize>, day: u32, counted: Day, today: u32, found: &mut Found) {
        let age = i64::from(today) - i64::from(day);
        let Day { good, bad } = counted;
        if counted == Day::default() || age >= CHECK_DAYS as i64 {
            return;
        }
        match number.filter(|number| age >= 0 && good.max(bad) <= MOST && self.place(*number, day).is_some()) {
            None => found.left_out = found.left_out.saturating_add(1),
            Some(number) if self.read(number, day).is_none() => {
                self.write(number, day, counted);
                found.restored += 1;
            }
            Some(_) => {}
        }
    }

    /// Counts an outcome of a check for today.
    pub fn add(&mut self, number: usize, good: bool) {
        self.add_all(number, Day { good: good.into(), bad: (!good).into() });
    }

    fn add_all(&mut self, number: usize, more: Day) {
        let Some(today) = self.today else {
            if let Some(early) = self.early.get_mut(number) {
                *early = sum(*early, more);
            }
            return;
        };
        let day = sum(self.read(number, today).unwrap_or_default(), more);
        if day != Day::default() {
            self.write(number, today, day);
        }
    }

    /// The last days of a check, today the last of them; nothing as long as the day is not known.
    pub fn of(&self, number: usize) -> impl Iterator<Item = Option<Day>> + '_ {
        let today = self.today;
        let from = today.map_or(1, |today| today.saturating_sub(CHECK_DAYS as u32 - 1));
        (from..=today.unwrap_or_default()).map(move |day| self.read(number, day))
    }

    /// All of them together, and how many of the days have data.
    pub fn total(&self, number: usize) -> (Day, u32) {
        self.of(number).flatten().fold((Day::default(), 0), |(total, count), day| {
            (Day { good: total.good + day.good, bad: total.bad + day.bad }, count + 1)
        })
    }

    /// Today, once it is known.
    pub fn today(&self) -> Option<u32> {
        self.today
    }

    /// What is known of one day of a check; not of days before the window.
    pub fn read(&self, number: usize, day: u32) -> Option<Day> {
        let cell = self.word(self.place(number, day)?);
        let found = Day { good: cell as u32 & MOST, bad: (cell >> 20) as u32 & MOST };
        self.is_sound(number, day, cell).then_some(found)
    }

    /// As if this had been counted then.
    #[cfg(test)]
    pub fn set(&mut self, number: usize, day: u32, counted: Day) {
        self.write(number, day, counted);
    }

    fn write(&mut self, number: usize, day: u32, Day { good, bad }: Day) {
        let Some(at) = self.place(number, day) else { return };
        let counts = u64::from(good) | u64::from(bad) << 20;
        self.put(at, counts | self.check_sum(number, day, counts) << 40);
    }

    fn place(&self, number: usize, day: u32) -> Option<usize> {
        let row = usize::from(*self.rows.get(number)?);
        (row < CHECKS).then_some(row * ROW + KEY + day as usize % CHECK_DAYS * CELL)
    }

    /// Memory that was never written is no day: its check sum would have to be 0, and no counts are never written.
    fn is_sound(&self, number: usize, day: u32, cell: u64) -> bool {
        let counts = cell & ((1 << 40) - 1);
        counts != 0 && cell >> 40 == self.check_sum(number, day, counts)
    }

    fn check_sum(&self, number: usize, day: u32, counts: u64) -> u64 {
        let mut digest = CRC.digest();
        digest.update(&self.keys.get(number).copied().unwrap_or_default().to_le_bytes());
        digest.update(&day.to_le_bytes());
        digest.update(&counts.to_le_bytes());
        u64::from(digest.finalize()) & 0x00ff_ffff
    }

    fn word(&self, at: usize) -> u64 {
        self.region.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// Eight bytes at a multiple of eight: one store, so that a reset finds the old ones or the new.
    fn put(&mut self, at: usize, word: u64) {
        if let Some(place) = self.region.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
            *place = word.to_le_bytes();
        }
    }
}

fn sum(one: Day, other: Day) -> Day {
    Day { good: (one.good + other.good).min(MOST), bad: (one.bad + other.bad).min(MOST) }
}

/// What a check's history hangs on: its name, what it does and to whom.
fn key_of(checks: &Checks, check: &Check) -> u64 {
    let mut digest = Sha256::new();
    digest.update([LAYOUT]);
    digest.update(check.peer.port.to_le_bytes());
    match &check.peer.host {
        Host::Address(address) => digest.update(address.octets()),
        Host::Name(name) => digest.update(name),
    }
    for text in [check.kind_name(), checks.text(check.name)] {
        digest.update([0]);
        digest.update(text);
    }
    digest.finalize().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_into;
    use std::vec::Vec;

    const TODAY: u32 = 20_779;

    fn checks(names: &[&str]) -> Checks {
        let list: Vec<String> = names
            .iter()
            .map(|name| {
                format!(
                    r#"{{"name": "{name}", "owner": "o", "impact": "i", "runbook": "r", "tcp": {{"address": "192.0.2.1:22"}}}}"#
                )
            })
            .collect();
        let mut checks = Checks::new();
        let loaded = load_into(Some(format!(r#"{{"checks": [{}]}}"#, list.join(",")).as_bytes()), &mut checks);
        assert_eq!(loaded.problem_count, 0);
        checks
    }

    fn us(day: u32) -> u64 {
        u64::from(day) * DAY_US + DAY_US / 2
    }

    /// It comes alone.
    fn know(days: &mut Days<'_>, unix_us: u64, booted_us: u64) -> Option<Found> {
        days.know(unix_us, booted_us, core::iter::empty())
    }

    #[test]
    fn days_are_what_was_counted_on_them() {
        // A day that takes over the counts of the day 90 before it, or one without data that looks good.
        let mut region = vec![0; REGION];
        let mut days = Days::new(&checks(&["a", "b"]), &mut region);
        for at in 0..200 {
            assert_eq!(know(&mut days, us(TODAY + at), 0).is_some(), at == 0);
            for probe in 0..at % 5 {
                days.add(1, probe % 2 == 0);
            }
        }
        let expected: Vec<Option<Day>> = (110..200)
            .map(|at| at % 5)
            .map(|count: u32| (count > 0).then_some(Day { good: count.div_ceil(2), bad: count / 2 }))
            .collect();
        assert_eq!(days.of(1).collect::<Vec<_>>(), expected);
        assert_eq!(days.of(0).flatten().count(), 0);
        assert_eq!(days.total(1), (Day { good: 18 * 6, bad: 18 * 4 }, 72));
    }

    #[test]
    fn the_next_boot_finds_them_under_the_same_checks() {
        // Days under the name of another target are worse than none.
        let mut region = vec![0xa5; REGION];
        let mut days = Days::new(&checks(&["a", "b"]), &mut region);
        know(&mut days, us(TODAY), 0);
        days.add(0, true);
        days.add(1, false);
        let mut days = Days::new(&checks(&["c", "b", "a"]), &mut region);
        assert_eq!(days.of(1).count(), 0, "the day is not known yet");
        assert_eq!(know(&mut days, us(TODAY + 1), 0), Some(Found { kept: 2, ..Found::default() }));
        assert_eq!([0, 1, 2].map(|number| days.total(number).0.good), [0, 0, 1]);
        assert_eq!([0, 1, 2].map(|number| days.total(number).0.bad), [0, 1, 0]);
        // What is over is not damaged.
        let mut days = Days::new(&checks(&["a"]), &mut region);
        assert_eq!(know(&mut days, us(TODAY + 100), 0), Some(Found::default()));
        assert_eq!(days.total(0), (Day::default(), 0));
    }

    #[test]
    fn no_damage_is_taken_for_a_day() {
        // Bits that flip, a write that was cut off: never green.
        for bit in 0..64 {
            let mut region = vec![0; REGION];
            let checks = checks(&["a"]);
            let mut days = Days::new(&checks, &mut region);
            know(&mut days, us(TODAY), 0);
            (0..1000).for_each(|at| days.add(0, at % 3 != 0));
            let at = days.place(0, TODAY).unwrap();
            region[at + bit / 8] ^= 1 << (bit % 8);
            let mut days = Days::new(&checks, &mut region);
            assert_eq!(know(&mut days, us(TODAY), 0), Some(Found { damaged: 1, ..Found::default() }), "bit {bit}");
            assert_eq!(days.total(0), (Day::default(), 0));
        }
    }

    #[test]
    fn outcomes_from_before_the_clock_was_known_count_on_their_day() {
        let mut region = vec![0; REGION];
        let checks = checks(&["a"]);
        for (booted, good) in [(us(TODAY) - 5, 3), (us(TODAY) - DAY_US, 0)] {
            region.fill(0);
            let mut days = Days::new(&checks, &mut region);
            (0..3).for_each(|_| days.add(0, true));
            know(&mut days, us(TODAY), booted);
            assert_eq!(days.total(0).0.good, good);
        }
    }

    #[test]
    fn any_memory_will_do() {
        // Too small, or not ours: less is kept, nothing breaks.
        for len in [0, 7, ROW - 1, ROW, 3 * ROW + 5, REGION + 9] {
            let mut region: Vec<u8> = (0..len).map(|at| (at * 31 % 251) as u8).collect();
            let mut days = Days::new(&checks(&["a", "b", "c", "d"]), &mut region);
            know(&mut days, us(TODAY), 0);
            (0..4).for_each(|number| days.add(number, true));
            let kept: u32 = (0..4).map(|number| days.total(number).1).sum();
            assert_eq!(kept as usize, (len / ROW).min(4));
        }
        let mut region = vec![0; REGION];
        let mut days = Days::new(&checks(&["a"]), &mut region);
        know(&mut days, us(3), 0);
        days.set(0, 3, Day { good: MOST, bad: MOST });
        days.add(0, true);
        assert_eq!(days.total(0).0, Day { good: MOST, bad: MOST });
    }

    #[test]
    fn what_came_along_fills_the_days_without_data_and_no_other() {
        // A history that counts twice after each reset, or takes the place of what was seen here.
        let brought = [
            (Some(0), TODAY - 89, Day { good: 7, bad: 1 }),
            (Some(0), TODAY - 1, Day { good: 100, bad: 0 }),
            (Some(0), TODAY, Day { good: 50, bad: 5 }),
            // Over, and without data: nothing to tell of.
            (Some(0), TODAY - 90, Day { good: 1, bad: 0 }),
            (Some(0), 0, Day { good: 1, bad: 0 }),
            (None, TODAY - 2, Day::default()),
            // What cannot be: nobody's, of the future, more than can be counted.
            (None, TODAY - 2, Day { good: 1, bad: 0 }),
            (Some(0), TODAY + 1, Day { good: 1, bad: 0 }),
            (Some(0), u32::MAX, Day { good: 1, bad: 0 }),
            (Some(1), TODAY - 2, Day { good: MOST + 1, bad: 0 }),
            (Some(1), TODAY - 2, Day { good: 0, bad: u32::MAX }),
            (Some(CHECKS), TODAY - 2, Day { good: 1, bad: 0 }),
        ];
        let checks = checks(&["a", "b"]);
        let mut region = vec![0; REGION];
        let mut days = Days::new(&checks, &mut region);
        (0..3).for_each(|_| days.add(0, false));
        let found = days.know(us(TODAY), us(TODAY), brought.into_iter());
        assert_eq!(found, Some(Found { kept: 0, damaged: 0, restored: 3, left_out: 6 }));
        assert_eq!(days.read(0, TODAY), Some(Day { good: 50, bad: 8 }), "what was brought, and what was seen since");
        assert_eq!(days.total(0), (Day { good: 157, bad: 9 }, 3));
        assert_eq!(days.total(1), (Day::default(), 0));
        // A reset: all of it is here.
        let mut days = Days::new(&checks, &mut region);
        let found = days.know(us(TODAY), us(TODAY), brought.into_iter());
        assert_eq!(found, Some(Found { kept: 3, damaged: 0, restored: 0, left_out: 6 }));
        assert_eq!(days.total(0), (Day { good: 157, bad: 9 }, 3));
        // No memory to keep it in: it is left out, and said.
        let mut days = Days::new(&checks, &mut []);
        let found = days.know(us(TODAY), us(TODAY), brought.into_iter());
        assert_eq!(found.map(|found| (found.restored, found.left_out)), Some((0, 9)));
    }
}
