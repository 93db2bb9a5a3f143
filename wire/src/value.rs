//! The types an event's field may have, and how each is written.
//!
//! A field's encoding is postcard's for the type named here: integers as LEB128 varints (u8 as one byte),
//! `bool` as one byte, text as a varint length and UTF-8. Each type knows its longest encoding, so that an event
//! that could exceed a record does not compile.

use core::fmt;
use serde::{Deserialize, Serialize};

/// A field's value, seen without knowing the event: what decoders, JSON writers and the serial console need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A whole number.
    Number(u64),
    /// Yes or no.
    Bool(bool),
    /// Text, as long as its field allows.
    Text(&'a str),
    /// One word of a closed list; `Err` holds a number this version has no word for.
    Word(Result<&'static str, u8>),
    /// An IPv4 address.
    Ip4([u8; 4]),
    /// The id of a text that an `intern` record of the same boot gave (0: none).
    Name(u16),
    /// Bytes, shown in hexadecimal; all zeros mean "none".
    Bytes(&'a [u8]),
}

/// The type of a field, as published in the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One byte.
    U8,
    /// A varint of up to 3 bytes.
    U16,
    /// A varint of up to 5 bytes.
    U32,
    /// A varint of up to 10 bytes.
    U64,
    /// One byte, 0 or 1.
    Bool,
    /// A varint length and that many bytes of UTF-8, at most this many.
    Text(usize),
    /// One byte, an index into this closed list of words.
    Word(&'static [&'static str]),
    /// Four bytes in network order.
    Ip4,
    /// A varint of up to 3 bytes: the id of an interned text.
    Name,
    /// Exactly this many bytes.
    Bytes(usize),
}

impl Kind {
    /// Reads a value of this type from the beginning of `bytes`: the value and what follows; `None` when it is none.
    pub fn read(self, bytes: &[u8]) -> Option<(Value<'_>, &[u8])> {
        fn number<'b, T: Deserialize<'b> + Into<u64>>(bytes: &'b [u8]) -> Option<(u64, &'b [u8])> {
            postcard::take_from_bytes::<T>(bytes).ok().map(|(number, rest)| (number.into(), rest))
        }
        let as_number = |(number, rest)| (Value::Number(number), rest);
        Some(match self {
            Kind::U8 => as_number(number::<u8>(bytes)?),
            Kind::U16 => as_number(number::<u16>(bytes)?),
            Kind::U32 => as_number(number::<u32>(bytes)?),
            Kind::U64 => as_number(number::<u64>(bytes)?),
            Kind::Name => postcard::take_from_bytes(bytes).map(|(id, rest)| (Value::Name(id), rest)).ok()?,
            Kind::Bool => postcard::take_from_bytes(bytes).map(|(yes, rest)| (Value::Bool(yes), rest)).ok()?,
            Kind::Word(words) => {
                let (&number, rest) = bytes.split_first()?;
                (Value::Word(words.get(usize::from(number)).copied().ok_or(number)), rest)
            }
            Kind::Text(max) => {
                let (text, rest) = postcard::take_from_bytes::<&str>(bytes).ok()?;
                (text.len() <= max).then_some((Value::Text(text), rest))?
            }
            Kind::Ip4 => bytes.split_first_chunk().map(|(octets, rest)| (Value::Ip4(*octets), rest))?,
            Kind::Bytes(len) => bytes.split_at_checked(len).map(|(bytes, rest)| (Value::Bytes(bytes), rest))?,
        })
    }

    /// The longest encoding of this type, in bytes.
    pub const fn max_len(self) -> usize {
        match self {
            Kind::U8 | Kind::Bool | Kind::Word(_) => 1,
            Kind::U16 | Kind::Name => 3,
            Kind::U32 => 5,
            Kind::U64 => 10,
            Kind::Ip4 => 4,
            Kind::Text(max) => 2 + max,
            Kind::Bytes(len) => len,
        }
    }
}

/// A Rust type that can be a field of an event.
pub trait Field: Sized {
    /// Its published type.
    const KIND: Kind;

    /// What stands for it in a record that is older than the field; `None` where the field is as old as its event.
    const ABSENT: Option<Self> = None;
}

/// A field that came later than its event: absent in records of before. It stands behind all fields that did not.
///
/// There is no value that means "absent", neither in Rust nor in what is shown: whoever reads one has to say what
/// follows from not knowing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Later<T>(Option<T>);

impl<T> Later<T> {
    /// The field of a record that is made now.
    pub fn new(value: T) -> Self {
        Later(Some(value))
    }

    /// Its value, unless the record is older than it.
    pub fn get(self) -> Option<T> {
        self.0
    }
}

impl<T: Field> Field for Later<T> {
    const KIND: Kind = T::KIND;
    const ABSENT: Option<Self> = Some(Later(None));
}

impl<T: Serialize> Serialize for Later<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(value) => value.serialize(serializer),
            // No byte: what is absent stands at the end.
            None => serializer.serialize_unit(),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Later<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::new)
    }
}

macro_rules! number_fields {
    ($($type:ty => $kind:ident),*) => { $(
        impl Field for $type {
            const KIND: Kind = Kind::$kind;
        }
    )* };
}
number_fields!(u8 => U8, u16 => U16, u32 => U32, u64 => U64);

impl Field for bool {
    const KIND: Kind = Kind::Bool;
}

macro_rules! byte_fields {
    ($($len:literal),*) => { $(
        impl Field for [u8; $len] {
            const KIND: Kind = Kind::Bytes($len);
        }
    )* };
}
byte_fields!(6, 8, 16, 32);

/// The id of a text interned in this boot; 0 means "none".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NameId(pub u16);

impl Field for NameId {
    const KIND: Kind = Kind::Name;
}

/// An IPv4 address in network order; `0.0.0.0` means "none".
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ip4(pub [u8; 4]);

impl fmt::Debug for Ip4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        write!(f, "{a}.{b}.{c}.{d}")
    }
}

impl Field for Ip4 {
    const KIND: Kind = Kind::Ip4;
}

/// Text of at most `MAX` bytes. Longer text is cut at a character boundary when it is made, and refused when
/// it is decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Text<'a, const MAX: usize>(&'a str);

impl<'a, const MAX: usize> Text<'a, MAX> {
    /// The longest beginning of `text` that fits.
    pub fn new(text: &'a str) -> Self {
        Text(&text[..text.floor_char_boundary(MAX)])
    }

    /// The text itself.
    pub fn as_str(&self) -> &'a str {
        self.0
    }
}

impl<'de: 'a, 'a, const MAX: usize> Deserialize<'de> for Text<'a, MAX> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&'de str>::deserialize(deserializer)?;
        if text.len() > MAX {
            return Err(serde::de::Error::custom("text is longer than its field allows"));
        }
        Ok(Text(text))
    }
}

impl<const MAX: usize> Field for Text<'_, MAX> {
    const KIND: Kind = Kind::Text(MAX);
}

/// Declares a closed list of words: an enum that is one byte on the wire. Words only grow at the end; a number
/// without a word decodes as `Other`.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $variant:ident = $number:literal $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(from = "u8", into = "u8")]
        pub enum $name {
            $($(#[$word_doc])* $variant,)*
            /// A number that this version has no word for.
            Other(u8),
        }

        impl $name {
            /// The words, in the order of their numbers.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word, or the number where there is none.
            pub const fn word(self) -> Result<&'static str, u8> {
                match self { $($name::$variant => Ok($word),)* $name::Other(number) => Err(number) }
            }
        }

        impl From<u8> for $name {
            fn from(number: u8) -> Self {
                match number { $($number => $name::$variant,)* other => $name::Other(other) }
            }
        }

        impl From<$name> for u8 {
            fn from(word: $name) -> u8 {
                match word { $($name::$variant => $number,)* $name::Other(number) => number }
            }
        }

        impl crate::Field for $name {
            const KIND: crate::Kind = crate::Kind::Word($name::WORDS);
        }
    };
}
pub(crate) use words;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters() {
        // Cutting inside a character would panic, or make a record that no decoder accepts.
        assert_eq!(Text::<4>::new("aéé").as_str(), "aé");
        assert_eq!(Text::<4>::new("ab").as_str(), "ab");
    }

    #[test]
    fn too_long_text_is_refused() {
        // A peer that sends more than the field allows must not get it into a bounded buffer.
        let mut buffer = [0; 16];
        let bytes = postcard::to_slice("12345", &mut buffer).unwrap();
        assert!(postcard::from_bytes::<Text<'_, 4>>(bytes).is_err());
        assert!(postcard::from_bytes::<Text<'_, 5>>(bytes).is_ok());
    }
}
