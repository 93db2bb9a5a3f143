//! DER, as far as a certificate needs it: one element after the other, each checked once.
//!
//! X.690, section 10: lengths are definite and as short as can be, so that the same certificate has one form only. What
//! always holds: a reader gives out slices of what it was given and nothing else; it never panics, and each step takes
//! at least two bytes from it, so that whoever loops over it ends.

/// Tags (X.690, section 8; RFC 5280 for those of a context).
pub const BIT_STRING: u8 = 0x03;
/// A string of bytes.
pub const OCTET_STRING: u8 = 0x04;
/// A whole number.
pub const INTEGER: u8 = 0x02;
/// A truth value.
pub const BOOLEAN: u8 = 0x01;
/// The name of an algorithm, an attribute or an extension.
pub const OID: u8 = 0x06;
/// A list of different things.
pub const SEQUENCE: u8 = 0x30;
/// An unordered list.
pub const SET: u8 = 0x31;
/// A moment, its year in two digits.
pub const UTC_TIME: u8 = 0x17;
/// A moment, its year in four digits.
pub const GENERALIZED_TIME: u8 = 0x18;

/// One element: its tag, what is in it, and all of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'d> {
    /// Its tag.
    pub tag: u8,
    /// What is in it.
    pub content: &'d [u8],
    /// Tag, length and content.
    pub whole: &'d [u8],
}

/// Reads elements that stand one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'d>(&'d [u8]);

impl<'d> Reader<'d> {
    /// Reads these bytes.
    pub const fn new(bytes: &'d [u8]) -> Reader<'d> {
        Reader(bytes)
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next element; `None` when there is none, or it is not DER.
    fn element(&mut self) -> Option<Element<'d>> {
        let whole = self.0;
        let (&tag, rest) = whole.split_first()?;
        // The long form of tags stands in no certificate.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81 => {
                (rest.split_first().filter(|(len, _)| **len >= 0x80).map(|(len, _)| usize::from(*len))?, &rest[1..])
            }
            0x82 => {
                let (bytes, rest) = rest.split_first_chunk()?;
                (Some(u16::from_be_bytes(*bytes)).filter(|len| *len >= 0x100).map(usize::from)?, rest)
            }
            // A longer one is not for us: a record has no room for it.
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some(Element { tag, content, whole: &whole[..whole.len() - rest.len()] })
    }

    /// The content of the next element, when it has this tag.
    pub fn read(&mut self, tag: u8) -> Option<&'d [u8]> {
        self.element().filter(|element| element.tag == tag).map(|element| element.content)
    }

    /// The content of the next element, when it has this tag; otherwise it is left for later.
    pub fn read_if(&mut self, tag: u8) -> Option<&'d [u8]> {
        if self.0.first() == Some(&tag) { self.read(tag) } else { None }
    }

    /// What the next element holds, when it has this tag.
    pub fn enter(&mut self, tag: u8) -> Option<Reader<'d>> {
        self.read(tag).map(Reader)
    }
}

impl<'d> Iterator for Reader<'d> {
    type Item = Element<'d>;

    fn next(&mut self) -> Option<Element<'d>> {
        self.element()
    }
}
