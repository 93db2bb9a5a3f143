//! The content bundle: pages that the operator brings along, runbooks and contacts, ready to be sent as they are, and the
//! days of the checks as another machine has seen them.
//!
//! `outpost content build` makes it on the host; it reaches the image beside the configuration (docs/content.md), so the
//! pages are there when DNS, gateway and collector are not. Numbers are little-endian:
//!
//! ```text
//!  0  8  "OUTPOSTC"            16  32  SHA-256 of everything before and behind it
//!  8  2  version, 1            48  48 × entries
//! 10  2  how many entries      ..      the pages
//! 12  4  length of the whole
//! entry: 32 name, zeros behind it · 4 kind · 4 where it begins · 4 its length · 4 zeros
//! ```
//! What always holds: a bundle that is not whole, or of which any entry is out of place, is refused whole, and that is told.

use crate::hash::fnv1a;
use crate::limits::{CONTENT_MAX, CONTENT_PAGES};
use crate::watch::brought::ROW as HISTORY_ROW;
use outpost_wire::{ContentReason, Sha256};

/// How a bundle begins.
pub const MAGIC: [u8; 8] = *b"OUTPOSTC";

/// The version of the format.
pub const VERSION: u16 = 1;

/// Length of what comes before the entries, in bytes, and where in it the digest is.
pub const HEADER: usize = 48;

/// Where the digest begins.
pub const DIGEST_AT: usize = 16;

/// Length of an entry, in bytes.
pub const ENTRY: usize = 48;

/// Longest name of an entry, in bytes: as long as the anchor of a runbook may be.
pub const NAME: usize = 32;

/// What an entry is. Kinds that are not known are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// A runbook: HTML for `/runbook/NAME`.
    Runbook = 1,
    /// The contacts: HTML for `/contacts`.
    Contacts = 2,
    /// The list of runbooks: HTML for `/runbook/`.
    List = 3,
    /// A configuration document: it counts as the module's, where the bundle is the module.
    Config = 4,
    /// Days of the checks that another machine has seen (`watch::brought`).
    History = 5,
}

/// A bundle, or that there is none.
#[derive(Clone, Copy, Debug)]
pub struct Content {
    bundle: &'static [u8],
    problem: Option<ContentReason>,
}

impl Content {
    /// There is none.
    pub const NONE: Content = Content { bundle: &[], problem: None };

    /// Checks these bytes; what is wrong with them is kept to be told.
    #[inline(never)]
    pub fn open(bytes: &'static [u8]) -> Content {
        match check(bytes) {
            Ok(()) => Content { bundle: bytes, problem: None },
            Err(problem) => Content { bundle: &[], problem: Some(problem) },
        }
    }

    /// Why there is no content although there was a bundle.
    pub fn problem(&self) -> Option<ContentReason> {
        self.problem
    }

    /// Its length in bytes; 0: there is none.
    pub fn len(&self) -> usize {
        self.bundle.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bundle.is_empty()
    }

    /// The digest that stands in it.
    pub fn digest(&self) -> [u8; 32] {
        self.bundle.get(DIGEST_AT..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default()
    }

    /// The configuration document that came along.
    pub fn config(&self) -> Option<&'static [u8]> {
        entries(self.bundle).find(|entry| entry.kind == Kind::Config as u32)?.body(self.bundle)
    }

    /// The only page of this kind.
    pub fn page(&self, kind: Kind) -> Option<&'static [u8]> {
        entries(self.bundle).find(|entry| entry.kind == kind as u32)?.body(self.bundle)
    }

    /// The runbook whose name has this hash: by it a request remembers the name until it is answered, and two names of one bundle
    /// never share it ([`fnv1a`]).
    pub fn runbook(&self, name: u64) -> Option<&'static [u8]> {
        let named = |entry: &Entry<'_>| entry.kind == Kind::Runbook as u32 && fnv1a(entry.name) == name;
        entries(self.bundle).find(named)?.body(self.bundle)
    }

    /// Whether there is a runbook of this name.
    pub fn has_runbook(&self, name: &str) -> bool {
        self.runbook(fnv1a(name.as_bytes())).is_some()
    }

    /// How many runbooks there are.
    pub fn runbooks(&self) -> usize {
        entries(self.bundle).filter(|entry| entry.kind == Kind::Runbook as u32).count()
    }
}

/// The digest that stands in a whole bundle: of everything in it but itself.
pub fn digest(bundle: &[u8]) -> [u8; 32] {
    let (head, rest) = bundle.split_at_checked(HEADER).unwrap_or_default();
    Sha256::of(&[&head[..DIGEST_AT.min(head.len())], rest])
}

struct Entry<'b> {
    name: &'b [u8],
    kind: u32,
    at: usize,
    len: usize,
}

impl Entry<'_> {
    fn body<'b>(&self, bundle: &'b [u8]) -> Option<&'b [u8]> {
        bundle.get(self.at..self.at.checked_add(self.len)?)
    }
}

fn number(bytes: &[u8], at: usize) -> usize {
    let number = bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
    u32::from_le_bytes(number) as usize
}

/// Version, and how many entries there are.
fn version_and_count(bundle: &[u8]) -> (u16, usize) {
    let word = number(bundle, 8);
    (word as u16, word >> 16)
}

fn entries(bundle: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let (_, count) = version_and_count(bundle);
    let list = bundle.get(HEADER..).unwrap_or_default().chunks_exact(ENTRY).take(count);
    list.map(|entry| {
        let name = &entry[..NAME];
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        Entry { name, kind: number(entry, 32) as u32, at: number(entry, 36), len: number(entry, 40) }
    })
}

fn check(bytes: &[u8]) -> Result<(), ContentReason> {
    if !bytes.starts_with(&MAGIC) || bytes.len() < HEADER {
        return Err(ContentReason::Malformed);
    }
    if bytes.len() > CONTENT_MAX {
        return Err(ContentReason::TooLong);
    }
    let (version, count) = version_and_count(bytes);
    if version != VERSION {
        return Err(ContentReason::Version);
    }
    if number(bytes, 12) != bytes.len() {
        return Err(ContentReason::Truncated);
    }
    if digest(bytes)[..] != bytes[DIGEST_AT..HEADER] {
        return Err(ContentReason::Digest);
    }
    let pages_at = HEADER + count * ENTRY;
    let in_place = |entry: Entry<'_>| {
        let others = entries(bytes).filter(|other| other.kind == entry.kind && fnv1a(other.name) == fnv1a(entry.name));
        let is_whole = entry.kind != Kind::History as u32 || entry.len.is_multiple_of(HISTORY_ROW);
        entry.at >= pages_at && entry.body(bytes).is_some() && others.count() == 1 && is_whole
    };
    if count > CONTENT_PAGES || pages_at > bytes.len() || !entries(bytes).all(in_place) {
        return Err(ContentReason::Malformed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(pages: &[(&str, u32, &[u8])]) -> Vec<u8> {
        let mut at = HEADER + pages.len() * ENTRY;
        let mut behind = Vec::new();
        for (name, kind, body) in pages {
            let mut entry = name.as_bytes().to_vec();
            entry.resize(NAME, 0);
            for number in [*kind, at as u32, body.len() as u32, 0] {
                entry.extend(number.to_le_bytes());
            }
            behind.extend(entry);
            at += body.len();
        }
        pages.iter().for_each(|(_, _, body)| behind.extend(*body));
        sealed(pages.len() as u16, &behind)
    }

    fn sealed(count: u16, behind: &[u8]) -> Vec<u8> {
        let mut bundle = MAGIC.to_vec();
        bundle.extend(VERSION.to_le_bytes());
        bundle.extend(count.to_le_bytes());
        bundle.extend(((HEADER + behind.len()) as u32).to_le_bytes());
        bundle.extend([0; 32]);
        bundle.extend(behind);
        let digest = digest(&bundle);
        bundle[DIGEST_AT..HEADER].copy_from_slice(&digest);
        bundle
    }

    fn open(bytes: Vec<u8>) -> Content {
        Content::open(bytes.leak())
    }

    fn some() -> Vec<u8> {
        bundle(&[("shop", 1, b"<h1>Shop"), ("contacts", 2, b"Ring."), ("", 3, b"list"), ("x", 99, b""), ("", 4, b"{}")])
    }

    #[test]
    fn each_page_is_found_by_its_name_and_no_other() {
        // The runbook of another service, at three in the morning.
        let content = open(some());
        assert_eq!(content.problem(), None);
        assert_eq!(content.runbook(fnv1a(b"shop")), Some(&b"<h1>Shop"[..]));
        assert!(!content.has_runbook("sho") && !content.has_runbook("contacts") && !content.has_runbook(""));
        assert_eq!(content.page(Kind::Contacts), Some(&b"Ring."[..]));
        assert_eq!((content.page(Kind::List), content.config()), (Some(&b"list"[..]), Some(&b"{}"[..])));
        assert_eq!((content.runbooks(), Content::NONE.runbooks()), (1, 0));
        assert_eq!(Content::NONE.page(Kind::Contacts), None);
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_refused() {
        // Half a runbook that looks like a whole one.
        let whole = some();
        for bit in 0..whole.len() * 8 {
            let mut bad = whole.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let content = open(bad);
            assert!(content.problem().is_some() && content.is_empty(), "bit {bit}");
        }
        for len in 0..whole.len() {
            assert!(open(whole[..len].to_vec()).problem().is_some(), "cut at {len}");
        }
    }

    #[test]
    fn a_bundle_whose_entries_lie_is_refused_with_the_reason() {
        // With a right digest: made by somebody, not by accident.
        let entry = |at: u32, len: u32| {
            let mut entry = vec![b'a'; NAME];
            for number in [1, at, len, 0] {
                entry.extend(number.to_le_bytes());
            }
            entry
        };
        let history: Vec<u8> =
            [[0; NAME].as_slice(), &[5, 0, 0, 0, 96, 0, 0, 0], &(HISTORY_ROW as u32 - 1).to_le_bytes(), &[0; 4]]
                .concat();
        let refused = |bytes: Vec<u8>| open(bytes).problem();
        assert_eq!(refused(sealed(1, &entry(96, 0))), None);
        for (count, behind) in [
            (1, entry(96, 1)),
            (1, entry(u32::MAX, u32::MAX)),
            (1, entry(0, 8)),
            (2, [entry(144, 0), entry(144, 0)].concat()),
            (3, entry(192, 0)),
            (u16::MAX, entry(192, 0)),
            (1, [&history[..], &[0; HISTORY_ROW - 1]].concat()),
        ] {
            assert_eq!(refused(sealed(count, &behind)), Some(ContentReason::Malformed), "{count}");
        }
        let big = vec![0; CONTENT_MAX];
        assert_eq!(refused(sealed(0, &big)), Some(ContentReason::TooLong));
        assert_eq!(refused(sealed(0, &big[HEADER..])), None);
        assert_eq!(refused(b"{\"name\": \"a\"}".to_vec()), Some(ContentReason::Malformed));
        let mut newer = some();
        newer[8] = 2;
        assert_eq!(refused(newer), Some(ContentReason::Version));
    }
}
