//! A record: one occurrence of an event, with its seq, its time and the severity in force when it was emitted.
//!
//! ```text
//! record = seq varint · body
//! body   = mono_us varint · severity u8 · transaction varint (0: none) · event id varint · fields
//! ```
//!
//! The body travels without its seq inside a batch, whose header has the first one. Decoding a record proves its
//! header only: the fields are decoded by [`Event::decode`], and an unknown event's are kept as they are.

use crate::event::{EventSpec, Fields};
use crate::{CATALOGUE, Event, Severity, limits};

/// One record, decoded as far as its header; `fields` are still encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Sequence number in its boot, from 1, without gaps. A record that has one is *emitted*.
    pub seq: u64,
    /// Monotonic time since boot, in microseconds.
    pub mono_us: u64,
    /// Severity as in force when it was emitted.
    pub severity: Severity,
    /// The transaction it belongs to, local to its boot; never 0.
    pub transaction: Option<u32>,
    /// Id of its event in the catalogue; may be unknown to this version.
    pub event: u16,
    /// The event's fields, encoded.
    pub fields: &'a [u8],
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// They end inside the header, or are longer than a record may be.
    Length,
    /// A number is out of its range.
    Number,
}

impl<'a> Record<'a> {
    /// Writes seq and body into the beginning of `out`, returning how many bytes; `None` when it does not fit.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let seq = put(&self.seq, out)?;
        Some(seq + self.encode_body(out.get_mut(seq..)?)?)
    }

    /// Writes the body alone.
    pub fn encode_body(&self, out: &mut [u8]) -> Option<usize> {
        let mut at = put(&self.mono_us, out)?;
        at += put(&self.severity.number(), out.get_mut(at..)?)?;
        at += put(&self.transaction.unwrap_or(0), out.get_mut(at..)?)?;
        at += put(&self.event, out.get_mut(at..)?)?;
        out.get_mut(at..at + self.fields.len())?.copy_from_slice(self.fields);
        Some(at + self.fields.len())
    }

    /// Reads seq and body; the fields are the rest of `bytes`.
    pub fn decode(bytes: &'a [u8]) -> Result<Record<'a>, RecordError> {
        let (seq, body) = Self::split_seq(bytes)?;
        Self::decode_body(seq, body)
    }

    /// The seq of an encoded record, and its body.
    pub fn split_seq(bytes: &'a [u8]) -> Result<(u64, &'a [u8]), RecordError> {
        take::<u64>(bytes)
    }

    /// Reads a body whose seq is known from its batch.
    pub fn decode_body(seq: u64, bytes: &'a [u8]) -> Result<Record<'a>, RecordError> {
        if bytes.len() > limits::RECORD_MAX {
            return Err(RecordError::Length);
        }
        let (mono_us, rest) = take::<u64>(bytes)?;
        let (severity, rest) = take::<u8>(rest)?;
        let (transaction, rest) = take::<u32>(rest)?;
        let (event, fields) = take::<u16>(rest)?;
        if seq == 0 {
            return Err(RecordError::Number);
        }
        Ok(Record {
            seq,
            mono_us,
            severity: Severity::from_number(severity).ok_or(RecordError::Number)?,
            transaction: (transaction != 0).then_some(transaction),
            event,
            fields,
        })
    }

    /// The record's event and its fields, to be shown; `None` when this version does not know it, as for
    /// [`decode_event`](Self::decode_event).
    pub fn read_fields(&self) -> Option<(&'static EventSpec, Fields<'a>)> {
        let spec = CATALOGUE.iter().find(|spec| spec.id == self.event)?;
        Some((spec, spec.read(self.fields)?))
    }

    /// The record's event with its fields; `None` when this version does not know it.
    pub fn decode_event(&self) -> Option<Event<'a>> {
        Event::decode(self.event, self.fields)
    }
}

fn put<T: serde::Serialize>(value: &T, out: &mut [u8]) -> Option<usize> {
    Some(postcard::to_slice(value, out).ok()?.len())
}

fn take<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), RecordError> {
    postcard::take_from_bytes(bytes).map_err(|error| match error {
        postcard::Error::DeserializeUnexpectedEnd => RecordError::Length,
        _ => RecordError::Number,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: Record<'static> =
        Record { seq: 300, mono_us: 1_000_000, severity: Severity::INFO, transaction: Some(7), event: 4, fields: &[1] };
    const GOLDEN_BYTES: [u8; 9] = [0xac, 0x02, 0xc0, 0x84, 0x3d, 9, 7, 4, 1];

    #[test]
    fn golden_bytes() {
        // A change of layout would make stored and salvaged records unreadable.
        let mut buffer = [0; limits::RECORD_MAX];
        let len = GOLDEN.encode(&mut buffer).unwrap();
        assert_eq!(buffer[..len], GOLDEN_BYTES);
        assert_eq!(Record::decode(&GOLDEN_BYTES), Ok(GOLDEN));
    }

    #[test]
    fn every_truncation_and_garbage_is_refused_or_harmless() {
        // Salvage and the collector decode whatever bytes they find.
        for len in 0..GOLDEN_BYTES.len() - 1 {
            assert_eq!(Record::decode(&GOLDEN_BYTES[..len]), Err(RecordError::Length), "{len}");
        }
        assert_eq!(Record::decode(&[1, 1, 0, 0, 4]), Err(RecordError::Number));
        assert_eq!(Record::decode(&[0, 1, 9, 0, 4]), Err(RecordError::Number));
        assert_eq!(Record::decode(&[0xff; 12]), Err(RecordError::Number));
    }
}
