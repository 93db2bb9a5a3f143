//! What `outpost.elf` must be before any of it is used: whole, an Outpost image, and at home where Outpost lives.

use crate::ram::CLAIMED;
use core::fmt;
use core::ops::Range;
use object::LittleEndian;
use object::elf::{FileHeader64, NoteType, PT_LOAD, PT_NOTE};
use object::read::elf::{FileHeader, ProgramHeader};
use sha2::{Digest, Sha256};

/// Segments that there may be; the image has three.
pub const SEGMENTS_MAX: usize = 8;

/// The log region comes first, and no segment lies in it (linker.ld).
const IMAGE_START: u64 = 5 << 20;

/// XEN_ELFNOTE_PHYS32_ENTRY (Xen: docs/misc/pvh.pandoc).
const PVH_ENTRY: NoteType = NoteType(18);

/// A part of the file and its place in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Segment {
    /// Where it begins in the file.
    pub offset: u32,
    /// Its bytes in the file.
    pub len: u32,
    /// Its physical address.
    pub address: u32,
    /// Zeros behind what is in the file.
    pub zeros: u32,
}

/// An image that can be started.
#[derive(Debug)]
pub struct Image {
    segments: [Segment; SEGMENTS_MAX],
    count: usize,
    /// The 32-bit entry.
    pub entry: u32,
    /// End of the memory that it needs.
    pub end: u64,
}

/// Why a file is not started.
#[derive(Debug, PartialEq)]
pub enum Refusal {
    /// It is not an ELF file that can be read.
    NotElf,
    /// It has no PVH entry or no image id.
    NotOutpost,
    /// Its bytes are not those that its id was made of.
    Damaged,
    /// It is another image than this loader was made for.
    Other,
    /// A part of it belongs where Outpost does not live.
    Misplaced,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::NotElf => "is no ELF file or ends too early",
            Refusal::NotOutpost => "is no image that outpost image has made",
            Refusal::Damaged => "is damaged: its bytes do not match the image id in it",
            Refusal::Other => "is another image than this loader was made for",
            Refusal::Misplaced => "wants memory that is not Outpost's",
        })
    }
}

impl Image {
    /// Checks a file. `bound` is the id of the image that the loader belongs to; all zeros are any.
    pub fn check(file: &[u8], bound: &[u8; 32]) -> Result<Image, Refusal> {
        let not_elf = |_| Refusal::NotElf;
        let header = FileHeader64::<LittleEndian>::parse(file).map_err(not_elf)?;
        let endian = header.endian().map_err(not_elf)?;
        let mut image = Image { segments: Default::default(), count: 0, entry: 0, end: IMAGE_START };
        let mut id: Option<([u8; 32], Range<usize>)> = None;
        for header in header.program_headers(endian, file).map_err(not_elf)? {
            let segment = Segment::of(header, file.len())?;
            match header.p_type(endian) {
                PT_LOAD => image.add(segment)?,
                PT_NOTE => {
                    let mut notes = header.notes(endian, file).map_err(not_elf)?.ok_or(Refusal::NotElf)?;
                    while let Some(note) = notes.next().map_err(not_elf)? {
                        let bytes = note.desc();
                        match note.name() {
                            b"Xen" if note.n_type(endian) == PVH_ENTRY => image.entry = little(bytes),
                            // It is a part of the file, so the distance of the two is its place.
                            b"Outpost" => id = bytes.try_into().ok().zip(part(file, bytes)),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        let (id, place) = id.ok_or(Refusal::NotOutpost)?;
        if image.entry == 0 {
            return Err(Refusal::NotOutpost);
        }
        if hash(file, place).ok_or(Refusal::NotElf)? != id {
            return Err(Refusal::Damaged);
        }
        if *bound != [0; 32] && id != *bound {
            return Err(Refusal::Other);
        }
        let starts = |segment: &Segment| (segment.address..segment.address + segment.len).contains(&image.entry);
        if image.segments().iter().any(starts) { Ok(image) } else { Err(Refusal::Misplaced) }
    }

    /// The parts to load.
    pub fn segments(&self) -> &[Segment] {
        self.segments.get(..self.count).unwrap_or_default()
    }

    fn add(&mut self, segment: Segment) -> Result<(), Refusal> {
        let end = |segment: &Segment| u64::from(segment.address) + u64::from(segment.len) + u64::from(segment.zeros);
        let overlaps =
            |other: &Segment| u64::from(segment.address) < end(other) && u64::from(other.address) < end(&segment);
        if u64::from(segment.address) < IMAGE_START
            || end(&segment) > CLAIMED.end
            || self.segments().iter().any(overlaps)
        {
            return Err(Refusal::Misplaced);
        }
        *self.segments.get_mut(self.count).ok_or(Refusal::Misplaced)? = segment;
        self.count += 1;
        self.end = self.end.max(end(&segment));
        Ok(())
    }
}

impl Segment {
    fn of(header: &impl ProgramHeader<Endian = LittleEndian, Word = u64>, file_len: usize) -> Result<Segment, Refusal> {
        let endian = LittleEndian;
        let (offset, len) = header.file_range(endian);
        // What is all zeros has no place in the file, so its offset says nothing.
        if len > 0 && offset.checked_add(len).is_none_or(|end| end > file_len as u64) {
            return Err(Refusal::NotElf);
        }
        let small = |value: u64| u32::try_from(value).map_err(|_| Refusal::Misplaced);
        let zeros = header.p_memsz(endian).checked_sub(len).ok_or(Refusal::NotElf)?;
        Ok(Segment {
            offset: small(offset)?,
            len: small(len)?,
            address: small(header.p_paddr(endian))?,
            zeros: small(zeros)?,
        })
    }
}

/// Where a part of the file is in it.
fn part(file: &[u8], bytes: &[u8]) -> Option<Range<usize>> {
    let start = bytes.as_ptr().addr().checked_sub(file.as_ptr().addr())?;
    Some(start..start + bytes.len())
}

/// The image id: the hash of the file with zeros in the id's place.
fn hash(file: &[u8], id: Range<usize>) -> Option<[u8; 32]> {
    let digest =
        Sha256::new().chain_update(file.get(..id.start)?).chain_update([0; 32]).chain_update(file.get(id.end..)?);
    Some(digest.finalize().into())
}

/// A number of four or eight bytes; 0 when it has another length or does not fit.
fn little(bytes: &[u8]) -> u32 {
    let (low, high) = bytes.split_at_checked(4).unwrap_or_default();
    if high.iter().any(|byte| *byte != 0) {
        return 0;
    }
    low.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// One byte of a file.
    fn put(file: &mut [u8], at: usize, value: u64, len: usize) {
        file[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
    }

    /// The place of the id in `sealed`'s file.
    const ID: usize = 64 + 3 * 56 + 24 + 20;

    /// Segments at these addresses with these lengths in memory, each of 16 bytes in the file; an entry; an id.
    fn sealed(segments: [(u64, u64); 2], entry: u64) -> Vec<u8> {
        let mut file = vec![0; 400];
        file[..20].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0");
        put(&mut file, 20, 1, 4);
        put(&mut file, 32, 64, 8);
        for (at, value) in [(52, 64), (54, 56), (56, 3), (58, 64)] {
            put(&mut file, at, value, 2);
        }
        for (index, (address, len)) in segments.into_iter().enumerate() {
            let at = 64 + 56 * index;
            for (offset, value, len) in [(0, 1, 4), (8, 320, 8), (24, address, 8), (32, 16, 8), (40, len, 8)] {
                put(&mut file, at + offset, value, len);
            }
        }
        let at = 64 + 2 * 56;
        for (offset, value, len) in [(0, 4, 4), (8, 64 + 3 * 56, 8), (32, 76, 8), (40, 76, 8), (48, 4, 8)] {
            put(&mut file, at + offset, value, len);
        }
        let at = 64 + 3 * 56;
        for (offset, value) in [(0, 4), (4, 8), (8, 18), (24, 8), (28, 32), (32, 1)] {
            put(&mut file, at + offset, value, 4);
        }
        file[at + 12..at + 16].copy_from_slice(b"Xen\0");
        put(&mut file, at + 16, entry, 8);
        file[at + 36..at + 44].copy_from_slice(b"Outpost\0");
        let id = hash(&file, ID..ID + 32).unwrap();
        file[ID..ID + 32].copy_from_slice(&id);
        file
    }

    fn good() -> Vec<u8> {
        sealed([(0x50_0000, 16), (0x60_0000, 0x1000)], 0x50_0004)
    }

    #[test]
    fn a_good_image_is_accepted_with_what_it_needs() {
        let image = Image::check(&good(), &[0; 32]).unwrap();
        assert_eq!((image.entry, image.end), (0x50_0004, 0x60_1000));
        let second = Segment { offset: 320, len: 16, address: 0x60_0000, zeros: 0xff0 };
        assert_eq!(image.segments()[1], second);
    }

    #[test]
    fn zeros_have_no_place_in_the_file() {
        // A linker may give .bss an offset behind the end of the file.
        let mut file = good();
        put(&mut file, 64 + 56 + 8, 4096, 8);
        put(&mut file, 64 + 56 + 32, 0, 8);
        file[ID..ID + 32].fill(0);
        let id = hash(&file, ID..ID + 32).unwrap();
        file[ID..ID + 32].copy_from_slice(&id);
        let image = Image::check(&file, &[0; 32]).unwrap();
        assert_eq!((image.segments()[1].len, image.segments()[1].zeros), (0, 0x1000));
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        // Half a file on the ESP must end in a sentence, not in a triple fault.
        for len in 0..400 {
            assert!(Image::check(&good()[..len], &[0; 32]).is_err(), "{len} bytes");
        }
        for at in 0..400 {
            let mut file = good();
            file[at] ^= 1;
            assert!(Image::check(&file, &[0; 32]).is_err(), "byte {at}");
        }
        assert_eq!(Image::check(&good()[..399], &[0; 32]).unwrap_err(), Refusal::Damaged);
        assert_eq!(Image::check(b"", &[0; 32]).unwrap_err(), Refusal::NotElf);
    }

    #[test]
    fn an_image_of_another_release_is_refused() {
        // A signed loader vouches for one image and no other.
        let file = good();
        let id: [u8; 32] = file[ID..ID + 32].try_into().unwrap();
        assert!(Image::check(&file, &id).is_ok());
        assert_eq!(Image::check(&file, &[1; 32]).unwrap_err(), Refusal::Other);
    }

    #[test]
    fn a_segment_that_lies_elsewhere_is_refused() {
        // It would overwrite the log, the firmware's tables or another segment.
        for segments in [
            [(0x40_0000, 16), (0x50_0000, 16)],
            [(0x50_0000, 16), (0x50_0008, 16)],
            [(0x50_0000, 0x200_0000), (0x60_0000, 16)],
            [(0x50_0000, 16), (0x1_0000_0000, 16)],
            [(0x50_0000, 16), (0x60_0000, u64::MAX)],
        ] {
            assert_eq!(Image::check(&sealed(segments, 0x50_0004), &[0; 32]).unwrap_err(), Refusal::Misplaced);
        }
        let elsewhere = sealed([(0x50_0000, 16), (0x60_0000, 16)], 0x70_0000);
        assert_eq!(Image::check(&elsewhere, &[0; 32]).unwrap_err(), Refusal::Misplaced);
        let nowhere = sealed([(0x50_0000, 16), (0x60_0000, 16)], 1 << 32);
        assert_eq!(Image::check(&nowhere, &[0; 32]).unwrap_err(), Refusal::NotOutpost);
    }
}
