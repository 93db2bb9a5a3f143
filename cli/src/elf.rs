//! What an image says of itself: its notes, its entry, its segments.
//!
//! The file may come from anybody. That its id is right proves that its bytes belong together, and nothing about who
//! made it; that is what a signature is for.

use object::LittleEndian;
use object::elf::{FileHeader64, PF_R, PF_W, PF_X, PT_LOAD, PT_NOTE};
use object::read::elf::{FileHeader, ProgramHeader};
use sha2::{Digest, Sha256};
use std::ops::Range;

/// Bytes of the image id.
const ID_LEN: usize = 32;

/// Bytes of the catalogue's hash, with which the note `Outpost.about` begins (boot/note.rs).
const CATALOGUE_LEN: usize = 8;

/// Segments that there may be: an image has four.
const SEGMENTS_MAX: usize = 16;

/// What is in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// The id that it names.
    pub id: [u8; ID_LEN],
    /// The id that its bytes have.
    pub computed: [u8; ID_LEN],
    /// The version of Outpost.
    pub version: String,
    /// The git revision, with `+` when it was changed since.
    pub revision: String,
    /// The name of its event catalogue.
    pub catalogue: [u8; CATALOGUE_LEN],
    /// Where it is entered (virtual address).
    pub entry: u64,
    /// What is loaded.
    pub segments: Vec<Segment>,
}

/// A part of memory that the image is loaded into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Virtual addresses.
    pub memory: Range<u64>,
    /// Bytes in the file.
    pub file: u64,
    /// Readable, writable, executable.
    pub flags: [bool; 3],
}

impl Segment {
    /// Its flags as `r-x`.
    pub fn rights(&self) -> String {
        self.flags.iter().zip("rwx".chars()).map(|(set, letter)| if *set { letter } else { '-' }).collect()
    }

    /// Whether it can be written and executed.
    pub fn writable_code(&self) -> bool {
        self.flags[1] && self.flags[2]
    }
}

impl Inside {
    /// Reads a packed image. (Of one with symbols everything but `computed`, which covers every byte of the file.)
    pub fn read(elf: &[u8]) -> Result<Inside, String> {
        let told = |error: object::Error| format!("it is no image of Outpost: {error}");
        let header = FileHeader64::<LittleEndian>::parse(elf).map_err(told)?;
        let endian = header.endian().map_err(told)?;
        let (mut segments, mut id, mut about) = (Vec::new(), None, None);
        let headers = header.program_headers(endian, elf).map_err(told)?;
        if headers.len() > SEGMENTS_MAX {
            return Err(format!("it has {} segments; no image of Outpost has more than {SEGMENTS_MAX}", headers.len()));
        }
        for segment in headers {
            let (address, len) = (segment.p_vaddr(endian), segment.p_memsz(endian));
            let end = address.checked_add(len).ok_or("a segment ends beyond any memory")?;
            if segment.p_type(endian) == PT_LOAD {
                let flags = [PF_R, PF_W, PF_X].map(|flag| segment.p_flags(endian).0 & flag.0 != 0);
                segments.push(Segment { memory: address..end, file: segment.p_filesz(endian), flags });
            }
            if segment.p_type(endian) != PT_NOTE {
                continue;
            }
            let mut notes = segment.notes(endian, elf).map_err(told)?.ok_or("its notes cannot be read")?;
            while let Some(note) = notes.next().map_err(told)? {
                match note.name() {
                    // The description is a part of `elf`, so the distance of the two is its place in the file.
                    b"Outpost" if note.desc().len() == ID_LEN => {
                        id = Some(note.desc().as_ptr().addr() - elf.as_ptr().addr());
                    }
                    b"Outpost.about" => about = Some(note.desc()),
                    _ => {}
                }
            }
        }
        let place = id.ok_or("it is no image of Outpost: it has no image id")?;
        let named = elf.get(place..place + ID_LEN).and_then(|bytes| bytes.try_into().ok());
        let id: [u8; ID_LEN] = named.ok_or("its notes cannot be read")?;
        let (before, after) = (elf.get(..place), elf.get(place + ID_LEN..));
        let mut hash = Sha256::new();
        for part in [before, Some(&[0; ID_LEN][..]), after] {
            hash.update(part.unwrap_or_default());
        }
        let (catalogue, text) = about
            .and_then(|about| about.split_first_chunk())
            .ok_or("it does not say which version of Outpost it is")?;
        let text = String::from_utf8_lossy(text).into_owned();
        let (version, revision) = text.split_once(' ').unwrap_or((&text, "unknown"));
        Ok(Inside {
            id,
            computed: hash.finalize().into(),
            version: version.to_owned(),
            revision: revision.to_owned(),
            catalogue: *catalogue,
            entry: header.e_entry(endian),
            segments,
        })
    }
}
