//! The documents of `schema/`: what describes every answer is served by the image itself.
//!
//! ```text
//! schema/*.json ─ build.rs: white space out, gzip ─▶ .rodata ─┬─ the client can undo gzip: as it is
//!                                                             └─ it cannot: inflated into answer buffers
//! ```

use crate::limits;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

/// One of them.
pub struct Document {
    /// Its file name.
    name: &'static str,
    /// Its length in bytes, inflated.
    length: usize,
    /// Its bytes as a gzip file (RFC 1952) without optional fields.
    pub gzip: &'static [u8],
}

/// All of them, by name.
static DOCUMENTS: &[Document] = include!(concat!(env!("OUT_DIR"), "/documents.rs"));

/// `/schema/`: which there are.
pub static LIST: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/documents.list"));

/// Shared buffers that the longest document, events.json, is inflated into.
pub const BUFFERS: usize = 4;

/// Bytes before and after the deflate stream of such a gzip file.
const GZIP_HEADER: usize = 10;
const GZIP_TRAILER: usize = 8;

const _: () = {
    let mut at = 0;
    while at < DOCUMENTS.len() {
        assert!(DOCUMENTS[at].buffers() <= BUFFERS, "a document of schema/ is too long to be inflated");
        at += 1;
    }
};

/// The number of the document with this name.
pub fn find(name: &[u8]) -> Option<u8> {
    Some(DOCUMENTS.iter().position(|document| document.name.as_bytes() == name)? as u8)
}

impl Document {
    /// The document with this number.
    pub fn get(number: u8) -> Option<&'static Document> {
        DOCUMENTS.get(usize::from(number))
    }

    /// How many shared buffers it is inflated into.
    pub const fn buffers(&self) -> usize {
        self.length.div_ceil(limits::ANSWER)
    }

    /// Writes it as it was before it was packed; its length, or `None` when it does not fit.
    // On a stack of its own: the state is 11 KiB.
    #[inline(never)]
    pub fn inflate(&self, out: &mut [u8]) -> Option<usize> {
        let packed = self.gzip.get(GZIP_HEADER..self.gzip.len() - GZIP_TRAILER)?;
        let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (_, _, written) = decompress(&mut DecompressorOxide::new(), packed, out, 0, flags);
        (written == self.length).then_some(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_comes_out_as_it_went_in() {
        // A client that cannot undo gzip would get half a schema, or none.
        let mut out = vec![0; BUFFERS * limits::ANSWER];
        for document in DOCUMENTS {
            let length = document.inflate(&mut out).unwrap_or_else(|| panic!("{}", document.name));
            assert!(out[..length].starts_with(b"{\"") && out[..length].ends_with(b"}"), "{}", document.name);
            // RFC 1952, section 2.3: no name, no time, and the length at the end.
            assert_eq!(document.gzip[..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
            assert!(document.gzip.ends_with(&(length as u32).to_le_bytes()));
            assert_eq!(document.inflate(&mut out[..length - 1]), None);
        }
        assert!(find(b"events.json").is_some() && find(b"events").is_none() && find(b"").is_none());
    }
}
