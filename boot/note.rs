//! What the image says of itself to whoever looks at the file: version, revision, event catalogue.
//!
//! An ELF note beside the one of the image id; `outpost verify-image` and `readelf -n` show it.

use outpost_wire::CATALOGUE_HASH;

/// Version and revision.
const TEXT: &str = concat!(env!("CARGO_PKG_VERSION"), " ", env!("OUTPOST_REVISION"));

/// A note as the ELF specification has it: lengths, type, name (padded), description.
#[repr(C, align(4))]
struct Note {
    name_len: u32,
    description_len: u32,
    kind: u32,
    name: [u8; 16],
    catalogue: [u8; 8],
    text: [u8; TEXT.len()],
}

// SAFETY: linker.ld gives this section to notes alone, and what is in it is a whole one.
#[unsafe(link_section = ".note.outpost.about")]
#[used]
static ABOUT: Note = Note {
    name_len: 14,
    description_len: 8 + TEXT.len() as u32,
    kind: 1,
    name: *b"Outpost.about\0\0\0",
    catalogue: CATALOGUE_HASH,
    text: match TEXT.as_bytes().first_chunk() {
        Some(text) => *text,
        None => unreachable!(),
    },
};
