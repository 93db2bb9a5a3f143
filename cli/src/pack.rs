//! Packs a linked image: the file that is deployed has most of the image as an LZ4 block, which boot/entry.s unpacks.
//!
//! ```text
//!  linked   boot │ notes │ rodata  text  data │ tables  stacks │ bss
//!                        └───── unpacked ─────┘
//!  packed   boot │ notes │ zeros                               │ LZ4 block, zeros
//! ```
//!
//! What always holds: what is packed comes out as it went in, which is tried here each time; the packed file needs the
//! memory of the linked one and no more; none of its segments is writable and executable.

use lz4::block::{self, CompressionMode};
use object::LittleEndian;
use object::elf::{FileHeader64, PF_R, PF_W, PF_X, PT_LOAD, PT_NOTE, ProgramHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use std::ops::Range;

/// The slowest of LZ4's levels: it is packed once and unpacked at each boot, at the same speed whatever the level.
const LEVEL: i32 = 12;

/// Bytes of an ELF64 header and of a program header.
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;

/// What segments are apart in memory at most.
const PAGE: usize = 4096;

/// What offsets in the file and addresses are both multiples of: `max-page-size` in build.rs.
const ALIGN: usize = 16;

/// The two words at the beginning of .boot (boot/entry.s): length and hash of the block.
const WORDS: usize = 8;

/// The segments of an image, linked or packed.
struct Parts<'e> {
    /// The one that is entered.
    boot: &'e ProgramHeader64<LittleEndian>,
    /// The one that names the image.
    notes: &'e ProgramHeader64<LittleEndian>,
    /// The others with bytes in the file, by address.
    filled: Vec<&'e ProgramHeader64<LittleEndian>>,
    /// The last in memory.
    bss: &'e ProgramHeader64<LittleEndian>,
}

impl<'e> Parts<'e> {
    fn of(elf: &'e [u8]) -> Result<Parts<'e>, String> {
        let text = |error: object::Error| error.to_string();
        let header = FileHeader64::<LittleEndian>::parse(elf).map_err(text)?;
        let endian = header.endian().map_err(text)?;
        let headers = header.program_headers(endian, elf).map_err(text)?;
        let entry = header.e_entry(endian);
        let is_boot = |segment: &ProgramHeader64<LittleEndian>| memory(segment).contains(&entry);
        let mut loads: Vec<_> = headers.iter().filter(|segment| segment.p_type(endian) == PT_LOAD).collect();
        loads.sort_by_key(|segment| segment.p_vaddr(endian));
        let bss = *loads.last().ok_or("it has no segments")?;
        Ok(Parts {
            boot: loads.iter().find(|segment| is_boot(segment)).ok_or("no segment of it is entered")?,
            notes: headers.iter().find(|segment| segment.p_type(endian) == PT_NOTE).ok_or("it has no notes")?,
            filled: loads.into_iter().filter(|segment| !is_boot(segment) && segment.p_filesz(endian) > 0).collect(),
            bss,
        })
    }

    /// The end of the notes in memory, behind which everything is packed.
    fn unpacked_start(&self) -> u64 {
        memory(self.notes).end
    }
}

/// The virtual addresses of a segment.
fn memory(segment: &ProgramHeader64<LittleEndian>) -> Range<u64> {
    let start = segment.p_vaddr(LittleEndian);
    start..start.saturating_add(segment.p_memsz(LittleEndian))
}

/// The bytes of a segment in the file.
fn bytes<'e>(segment: &ProgramHeader64<LittleEndian>, elf: &'e [u8]) -> Result<&'e [u8], String> {
    segment.data(LittleEndian, elf).map_err(|()| String::from("it ends too early"))
}

/// The packed image of a linked one; its id is that of the linked one still.
pub fn pack(linked: &[u8]) -> Result<Vec<u8>, String> {
    let parts = Parts::of(linked)?;
    let start = parts.unpacked_start();
    let plain = plain(&parts, linked)?;
    let block = block::compress(&plain, Some(CompressionMode::HIGHCOMPRESSION(LEVEL)), false)
        .map_err(|error| format!("it cannot be packed: {error}"))?;
    let mut boot = bytes(parts.boot, linked)?.to_vec();
    let words = boot.first_chunk_mut::<WORDS>().ok_or("its first segment is too short")?;
    if *words != [0; WORDS] {
        return Err(String::from("it is packed already"));
    }
    let len = u32::try_from(block.len()).map_err(|_| "it is too long")?;
    words[..4].copy_from_slice(&len.to_le_bytes());
    words[4..].copy_from_slice(&hash(&block).to_le_bytes());
    let notes = bytes(parts.notes, linked)?;
    let bss = memory(parts.bss);
    let rest = memory(parts.notes).start..bss.start;
    if block.len() as u64 > bss.end - bss.start || start + plain.len() as u64 > bss.start {
        return Err(String::from("there is no room to unpack it: .bss is smaller than what is packed"));
    }

    // Physical addresses are these virtual ones less something.
    let base = parts.bss.p_vaddr(LittleEndian).wrapping_sub(parts.bss.p_paddr(LittleEndian));
    let segments = [
        (PT_LOAD, PF_R.0 | PF_X.0, memory(parts.boot), &boot[..]),
        (PT_LOAD, PF_R.0 | PF_W.0, rest.clone(), notes),
        (PT_LOAD, PF_R.0 | PF_W.0, bss, &block[..]),
        (PT_NOTE, PF_R.0, memory(parts.notes), notes),
    ];
    let mut packed = linked.get(..HEADER).ok_or("it ends too early")?.to_vec();
    // e_phoff; e_shoff: no sections; e_phnum; e_shnum and e_shstrndx.
    packed[0x20..0x28].copy_from_slice(&(HEADER as u64).to_le_bytes());
    packed[0x28..0x30].fill(0);
    packed[0x38..0x3a].copy_from_slice(&(segments.len() as u16).to_le_bytes());
    packed[0x3c..0x40].fill(0);
    let mut end = HEADER + segments.len() * PROGRAM_HEADER;
    let mut notes_at = 0;
    for (kind, flags, memory, bytes) in &segments {
        // The notes are there once, in the segment that is loaded.
        let offset = if *kind == PT_NOTE { notes_at } else { end.next_multiple_of(ALIGN) };
        end = end.max(offset + bytes.len());
        if memory.start == rest.start {
            notes_at = offset;
        }
        packed.extend([kind.0, *flags].iter().flat_map(|word| word.to_le_bytes()));
        let physical = memory.start.wrapping_sub(base);
        let (file, memory_len) = (bytes.len() as u64, memory.end - memory.start);
        // Notes are words (ELF gABI, Note Section).
        let align = if *kind == PT_NOTE { 4 } else { ALIGN as u64 };
        let fields = [offset as u64, memory.start, physical, file, memory_len, align];
        packed.extend(fields.iter().flat_map(|word| word.to_le_bytes()));
    }
    for (_, _, _, bytes) in &segments[..3] {
        packed.resize(packed.len().next_multiple_of(ALIGN), 0);
        packed.extend_from_slice(bytes);
    }
    if unpack(&packed)? != plain {
        return Err(String::from("it does not come out as it went in"));
    }
    Ok(packed)
}

/// What a linked image has behind its notes in memory, up to the zeros.
fn plain(parts: &Parts<'_>, linked: &[u8]) -> Result<Vec<u8>, String> {
    let mut plain = Vec::new();
    for segment in &parts.filled {
        let at = memory(segment).start;
        let mut bytes = bytes(segment, linked)?;
        let mut from = at;
        if at < parts.unpacked_start() {
            from = parts.unpacked_start();
            bytes = bytes.get((from - at) as usize..).ok_or("its notes are not at its beginning")?;
        }
        let offset = usize::try_from(from - parts.unpacked_start()).map_err(|_| "it is too long")?;
        if offset < plain.len() || offset - plain.len() > PAGE {
            return Err(String::from("its segments do not follow one another"));
        }
        plain.resize(offset, 0);
        plain.extend_from_slice(bytes);
    }
    Ok(plain)
}

/// What the packed image `elf` has in memory behind its notes when it runs.
pub fn unpack(elf: &[u8]) -> Result<Vec<u8>, String> {
    let parts = Parts::of(elf)?;
    let block = bytes(parts.bss, elf)?;
    let words = bytes(parts.boot, elf)?.first_chunk::<WORDS>().ok_or("its first segment is too short")?;
    let [len, hashed] =
        [&words[..4], &words[4..]].map(|word| word.iter().rev().fold(0, |all, byte| all << 8 | u32::from(*byte)));
    if len as usize != block.len() || hashed != hash(block) {
        return Err(String::from("what is packed in it is damaged"));
    }
    let room = memory(parts.bss).start - parts.unpacked_start();
    let room = i32::try_from(room).map_err(|_| "it is too long")?;
    block::decompress(block, Some(room)).map_err(|error| format!("what is packed in it is damaged: {error}"))
}

/// FNV-1a over words instead of bytes, the last filled up with zeros, from the length on and with a rotation: as
/// boot/entry.s has it.
fn hash(block: &[u8]) -> u32 {
    block.chunks(4).fold(block.len() as u32, |hash, bytes| {
        let word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        (hash ^ word).rotate_left(13).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image as linker.ld makes it, with `rodata` behind its notes, `text`, and .bss.
    fn linked(rodata: &[u8], text: &[u8]) -> Vec<u8> {
        const BASE: u64 = 0xffff_ffff_8000_0000;
        let notes = [b"\x04\0\0\0\x04\0\0\0\x01\0\0\0Note", &b"abcd"[..]].concat();
        let boot = [&[0; WORDS][..], b"code"].concat();
        let constants = [&notes[..], rodata].concat();
        let segments: [(u32, u32, u64, &[u8], u64); 5] = [
            (1, 5, 0x50_0000, &boot, 12),
            (1, 4, 0x50_1000, &constants, constants.len() as u64),
            (1, 5, 0x50_2000, text, text.len() as u64),
            (1, 6, 0x50_4000, &[], 0x4000),
            (4, 4, 0x50_1000, &notes, notes.len() as u64),
        ];
        let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
        elf.extend([BASE + 0x50_0008, 64, 0].iter().flat_map(|value: &u64| value.to_le_bytes()));
        elf.extend_from_slice(&[0, 0, 0, 0, 64, 0, 56, 0, 5, 0, 64, 0, 0, 0, 0, 0]);
        let mut at = 64 + 5 * 56;
        let mut notes_at = 0;
        for (kind, flags, address, bytes, memory) in &segments {
            notes_at = if *address == 0x50_1000 && *kind == 1 { at } else { notes_at };
            let offset = if *kind == 4 { notes_at } else { at } as u64;
            elf.extend([kind, flags].iter().flat_map(|word| word.to_le_bytes()));
            let fields = [offset, BASE + address, *address, bytes.len() as u64, *memory, 4];
            elf.extend(fields.iter().flat_map(|word| word.to_le_bytes()));
            at += if *kind == 4 { 0 } else { bytes.len() };
        }
        for (_, _, _, bytes, _) in &segments[..4] {
            elf.extend_from_slice(bytes);
        }
        elf
    }

    #[test]
    fn what_is_packed_comes_out_at_its_place() {
        // The entry has no idea of segments: what is not at its distance from the notes runs as something else.
        let packed = pack(&linked(b"constants", &[0x90; 3000])).unwrap();
        let plain = unpack(&packed).unwrap();
        let text_at = 0x1000 - 20;
        assert_eq!(&plain[..9], b"constants");
        assert!(plain[9..text_at].iter().all(|byte| *byte == 0));
        assert_eq!(&plain[text_at..], &[0x90; 3000]);
        let parts = Parts::of(&packed).unwrap();
        assert_eq!(memory(parts.bss), 0xffff_ffff_8050_4000..0xffff_ffff_8050_8000);
        assert_eq!(parts.boot.p_paddr(LittleEndian), 0x50_0000);
        assert_eq!(bytes(parts.notes, &packed).unwrap().len(), 20);
        assert!(packed.len() < 700, "{} bytes", packed.len());
    }

    #[test]
    fn damage_is_found_before_anything_is_unpacked() {
        // Lengths and offsets of a damaged block lead anywhere.
        let packed = pack(&linked(b"constants and more constants", b"text that is text")).unwrap();
        let begin = bytes(Parts::of(&packed).unwrap().bss, &packed).unwrap().as_ptr().addr() - packed.as_ptr().addr();
        for at in begin..packed.len() {
            let mut damaged = packed.clone();
            damaged[at] ^= 1;
            assert!(unpack(&damaged).unwrap_err().contains("damaged"), "byte {at}");
        }
        // A product carries upwards only: without the rotation two flips of the highest one would cancel out.
        for bit in [1, 0x80] {
            for second in (begin + 7..packed.len()).step_by(4) {
                let mut damaged = packed.clone();
                damaged[begin + 3] ^= bit;
                damaged[second] ^= bit;
                assert!(unpack(&damaged).unwrap_err().contains("damaged"), "bytes {} and {second}", begin + 3);
            }
        }
        for len in 0..packed.len() {
            assert!(unpack(&packed[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn what_cannot_be_packed_is_refused() {
        // Such an image would be unpacked over its own block, or twice.
        let noise: Vec<u8> = (0..0x2100_u32).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 11) as u8).collect();
        assert!(pack(&linked(b"", &noise)).unwrap_err().contains("no room"));
        let packed = pack(&linked(b"constants", b"text")).unwrap();
        assert!(pack(&packed).is_err());
        assert!(pack(b"").is_err());
    }
}
