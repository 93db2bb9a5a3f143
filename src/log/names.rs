//! Names: texts that many records repeat travel once per boot, as `intern` records, and have an id from then on.
//!
//! What always holds: an id names one text for the whole boot, and the table and its bytes are bounded.

use crate::limits::{LOG_NAMES, LOG_NAMES_BYTES};
use heapless::{String, Vec};
use outpost_wire::NameId;

/// The names of this boot.
pub struct Names {
    /// All texts, one after the other.
    texts: String<LOG_NAMES_BYTES>,
    names: Vec<Name, LOG_NAMES>,
}

struct Name {
    /// Where its text ends; it begins where the one before ends.
    end: u16,
    /// The seq of its last `intern` record.
    seq: u64,
}

impl Names {
    /// No names yet.
    pub const fn new() -> Names {
        Names { texts: String::new(), names: Vec::new() }
    }

    /// The id of this text, when it has one.
    pub fn find(&self, text: &str) -> Option<NameId> {
        (1..=self.names.len() as u16).map(NameId).find(|&id| self.text(id) == Some(text))
    }

    /// The text with this id.
    pub fn text(&self, id: NameId) -> Option<&str> {
        let place = usize::from(id.0).checked_sub(1)?;
        let end = self.names.get(place)?.end;
        let start = place.checked_sub(1).and_then(|before| self.names.get(before)).map_or(0, |name| name.end);
        self.texts.get(start.into()..end.into())
    }

    /// Gives this text an id; `None` when there is no room.
    pub fn add(&mut self, text: &str) -> Option<NameId> {
        if self.names.is_full() || self.texts.push_str(text).is_err() {
            return None;
        }
        let name = Name { end: self.texts.len() as u16, seq: 0 };
        self.names.push(name).ok()?;
        Some(NameId(self.names.len() as u16))
    }

    /// This name was told by the record with this seq.
    pub fn told(&mut self, id: NameId, seq: u64) {
        if let Some(name) = usize::from(id.0).checked_sub(1).and_then(|place| self.names.get_mut(place)) {
            name.seq = seq;
        }
    }

    /// A name whose last `intern` record is among these seqs.
    pub fn told_within(&self, from: u64, to: u64) -> Option<NameId> {
        let place = self.names.iter().position(|name| from <= name.seq && name.seq <= to)?;
        Some(NameId(place as u16 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_one_text_until_the_table_is_full() {
        // An id that came to name another text would rewrite the story of older records.
        let mut names = Names::new();
        assert_eq!(names.add("/livez"), Some(NameId(1)));
        assert_eq!(names.add("é"), Some(NameId(2)));
        assert_eq!((names.text(NameId(3)), names.text(NameId(100))), (None, None), "ids that were never given");
        for i in 2..LOG_NAMES {
            assert!(names.add(&i.to_string()).is_some());
        }
        assert_eq!(names.add("one too many"), None);
        assert_eq!((names.text(NameId(1)), names.text(NameId(2))), (Some("/livez"), Some("é")));
        assert_eq!((names.text(NameId(0)), names.text(NameId(LOG_NAMES as u16 + 1))), (None, None));
        assert_eq!(names.find("é"), Some(NameId(2)));
    }

    #[test]
    fn texts_are_bounded_by_bytes_too() {
        // Long texts must not push the table past its memory, nor leave half a text behind.
        let mut names = Names::new();
        let long = "x".repeat(LOG_NAMES_BYTES - 1);
        assert_eq!(names.add(&long), Some(NameId(1)));
        assert_eq!(names.add("ab"), None);
        assert_eq!(names.add("a"), Some(NameId(2)));
        assert_eq!(names.text(NameId(2)), Some("a"));
    }
}
