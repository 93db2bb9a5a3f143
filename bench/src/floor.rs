//! The floor guest: an ELF that exits at once, so that QEMU's own start can be told from the guest's.
//!
//! It is entered as the image is (PVH: 32-bit protected mode at the address in a Xen note) and writes to QEMU's
//! `isa-debug-exit` device. The file is made here, byte by byte, because it is smaller than a linker script for it.

/// What QEMU must be given for the guest's exit to work.
pub const DEVICE: [&str; 2] = ["-device", "isa-debug-exit,iobase=0xf4,iosize=0x4"];

/// With what QEMU exits: isa-debug-exit makes `value << 1 | 1` of what is written, and the guest writes 0.
pub const EXIT_CODE: i32 = 1;

/// Where it is loaded: 1 MiB, the first address that is RAM on every PC.
const ADDRESS: u64 = 0x10_0000;

/// `xor eax, eax; out 0xf4, al; hlt; jmp` back to the hlt.
const CODE: [u8; 7] = [0x31, 0xc0, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd];

/// The sizes of an ELF64 header and of a program header (System V ABI, "Object Files").
const HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;

/// The type of the note that names the 32-bit entry (Xen's elfnote.h, XEN_ELFNOTE_PHYS32_ENTRY).
const PHYS32_ENTRY: u32 = 18;

/// The ELF file.
pub fn elf() -> Vec<u8> {
    let mut note = Vec::new();
    for word in [4, 4, PHYS32_ENTRY] {
        note.extend(word.to_le_bytes());
    }
    note.extend(b"Xen\0");
    note.extend((ADDRESS as u32).to_le_bytes());

    let note_at = HEADER + 2 * PROGRAM_HEADER;
    let code_at = note_at + note.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]); // executable, x86-64, version 1
    elf.extend([ADDRESS, HEADER, 0].iter().flat_map(|field| field.to_le_bytes()));
    elf.extend([0, 0, 0, 0, HEADER as u8, 0, PROGRAM_HEADER as u8, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    // PT_LOAD, readable and executable; then PT_NOTE, readable.
    for (kind, flags, at, address, len) in
        [(1u32, 5u32, code_at, ADDRESS, CODE.len() as u64), (4, 4, note_at, 0, note.len() as u64)]
    {
        elf.extend([kind, flags].iter().flat_map(|field| field.to_le_bytes()));
        elf.extend([at, address, address, len, len, 4].iter().flat_map(|field| field.to_le_bytes()));
    }
    elf.extend(note);
    elf.extend(CODE);
    elf
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::LittleEndian;
    use object::elf::{FileHeader64, PT_LOAD};
    use object::read::elf::{FileHeader, ProgramHeader};

    #[test]
    fn a_loader_finds_the_code_and_the_entry() {
        // A floor guest that QEMU refuses would make every boot look as if it cost nothing.
        let elf = elf();
        let header = FileHeader64::<LittleEndian>::parse(elf.as_slice()).unwrap();
        let segments = header.program_headers(LittleEndian, elf.as_slice()).unwrap();
        let load = segments.iter().find(|segment| segment.p_type(LittleEndian) == PT_LOAD).unwrap();
        assert_eq!(load.data(LittleEndian, elf.as_slice()).unwrap(), CODE);
        assert_eq!(load.p_paddr(LittleEndian), ADDRESS);
        let mut notes =
            segments.iter().find_map(|segment| segment.notes(LittleEndian, elf.as_slice()).unwrap()).unwrap();
        let note = notes.next().unwrap().unwrap();
        assert_eq!((note.name(), note.n_type(LittleEndian).0), (b"Xen".as_slice(), PHYS32_ENTRY));
        assert_eq!(note.desc(), (ADDRESS as u32).to_le_bytes());
    }
}
