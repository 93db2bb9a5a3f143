//! The machine's RAM as the image will find it, made of the firmware's memory map.

use core::ops::Range;

/// Physical memory that an image may claim: the log region from 1 MiB on and the image behind it (linker.ld).
pub const CLAIMED: Range<u64> = 1 << 20..16 << 20;

/// Ranges of RAM that are handed over: as many as the image reads (boot/start_info.rs).
pub const RANGES_MAX: usize = 64;

/// What the firmware says of a range of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RAM that is free once boot services have ended.
    Free,
    /// RAM that firmware keeps for a wake-up from sleep to memory (ACPI 6.5, 15.4). The image never sleeps and calls no
    /// firmware, so what it claims of it may be its own.
    Nvs,
    /// Everything else: tables, devices, the firmware's own.
    Kept,
}

/// RAM, its ranges joined where they touch.
#[derive(Debug)]
pub struct Ram {
    ranges: [(u64, u64); RANGES_MAX],
    count: usize,
}

impl Ram {
    /// Of this map: kind, first byte, length. `claimed` is what the image needs.
    pub fn of(map: impl Iterator<Item = (Kind, u64, u64)>, claimed: &Range<u64>) -> Ram {
        let mut ram = Ram { ranges: [(0, 0); RANGES_MAX], count: 0 };
        for (kind, start, len) in map {
            let end = start.saturating_add(len);
            match kind {
                Kind::Free => ram.add(start, end),
                Kind::Nvs => ram.add(start.max(claimed.start), end.min(claimed.end)),
                Kind::Kept => {}
            }
        }
        ram
    }

    /// The ranges: first byte and length.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        self.ranges.iter().take(self.count).map(|(start, end)| (*start, end - start))
    }

    /// The first byte of a range that is not RAM; `None`: all of it is.
    pub fn gap(&self, range: &Range<u64>) -> Option<u64> {
        let mut covered = range.start;
        while covered < range.end {
            let mut ranges = self.ranges.iter().take(self.count);
            match ranges.find(|(start, end)| *start <= covered && covered < *end) {
                Some((_, end)) => covered = *end,
                None => return Some(covered),
            }
        }
        None
    }

    /// When there are more ranges than can be handed over, the rest of the RAM is not used.
    fn add(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let joined = self.ranges.iter_mut().take(self.count).find(|range| range.1 == start || range.0 == end);
        match joined {
            Some(range) => *range = (range.0.min(start), range.1.max(end)),
            None => {
                if let Some(free) = self.ranges.get_mut(self.count) {
                    *free = (start, end);
                    self.count += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const NEEDED: Range<u64> = 0x10_0000..0xb0_0000;

    /// The low end of OVMF's map.
    const OVMF: [(Kind, u64, u64); 7] = [
        (Kind::Free, 0, 0xa_0000),
        (Kind::Free, 0x10_0000, 0x70_0000),
        (Kind::Nvs, 0x80_0000, 0x8000),
        (Kind::Free, 0x80_8000, 0x8000),
        (Kind::Nvs, 0x81_0000, 0xf_0000),
        (Kind::Free, 0x90_0000, 0x700_0000),
        (Kind::Kept, 0x790_0000, 0x10_0000),
    ];

    #[test]
    fn memory_for_sleep_is_ram_only_where_the_image_claims_it() {
        let ram = Ram::of(OVMF.into_iter(), &NEEDED);
        assert_eq!(ram.ranges().collect::<Vec<_>>(), [(0, 0xa_0000), (0x10_0000, 0x780_0000)]);
        assert_eq!(ram.gap(&NEEDED), None);
        let ram = Ram::of(OVMF.into_iter(), &(0x10_0000..0x80_1000));
        assert_eq!(ram.gap(&NEEDED), Some(0x80_1000));
    }

    #[test]
    fn what_the_firmware_keeps_is_a_gap() {
        // To write there would end the machine without a word.
        let mut map = OVMF;
        map[3].0 = Kind::Kept;
        assert_eq!(Ram::of(map.into_iter(), &NEEDED).gap(&NEEDED), Some(0x80_8000));
        assert_eq!(Ram::of(core::iter::empty(), &NEEDED).gap(&NEEDED), Some(0x10_0000));
    }

    #[test]
    fn a_map_in_any_order_and_of_any_length_is_read() {
        let ram = Ram::of(OVMF.into_iter().rev(), &NEEDED);
        assert_eq!(ram.gap(&NEEDED), None);
        let scattered = (0..1000).map(|index| (Kind::Free, index * 0x2000, 0x1000));
        assert_eq!(Ram::of(scattered, &NEEDED).ranges().count(), RANGES_MAX);
        let endless = [(Kind::Free, u64::MAX - 1, u64::MAX)];
        assert_eq!(Ram::of(endless.into_iter(), &NEEDED).ranges().collect::<Vec<_>>(), [(u64::MAX - 1, 1)]);
    }
}
