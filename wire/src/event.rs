//! How the catalogue is declared: one definition per event gives its type, its encoding and its published spec.

use crate::{Kind, Severity, Value};

/// Which lane of the ring a record lives in: bulk records give way first when the ring is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Boot, panic, loss, clock, names, changes of state: few, and what a postmortem needs.
    Vital,
    /// Everything else.
    Bulk,
}

/// One field of an event, as published.
#[derive(Clone, Copy, Debug)]
pub struct FieldSpec {
    /// Its name; the unit, where there is one, is the last part (`duration_us`).
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// It came later than its event: absent in records of before.
    pub later: bool,
}

impl FieldSpec {
    /// The unit of its number, which is the last part of its name; `None` for what has none, like a count or an id.
    pub fn unit(&self) -> Option<&'static str> {
        UNITS.iter().find(|(end, _)| self.name.ends_with(end)).map(|(_, unit)| *unit)
    }
}

/// How the names of fields end that have a unit.
const UNITS: &[(&str, &str)] =
    &[("_us", "microseconds"), ("_ms", "milliseconds"), ("_s", "seconds"), ("_bytes", "bytes")];

/// One event of the catalogue: what it takes to read its records.
#[derive(Clone, Copy, Debug)]
pub struct EventSpec {
    /// Its number on the wire; never given twice.
    pub id: u16,
    /// Its name, like `boot.started`.
    pub name: &'static str,
    /// Its severity unless config says otherwise.
    pub severity: Severity,
    /// Its lane in the ring.
    pub lane: Lane,
    /// Its fields in the order of their encoding; new ones only at the end.
    pub fields: &'static [FieldSpec],
}

/// What is published about an event for people. It stands apart from the spec because the image, which needs the
/// specs, has no use for its text.
#[derive(Clone, Copy, Debug)]
pub struct EventDoc {
    /// The event.
    pub spec: &'static EventSpec,
    /// The version that first had it.
    pub since: &'static str,
    /// What happened, in one sentence.
    pub meaning: &'static str,
    /// What an operator does about it.
    pub action: &'static str,
    /// What each field says, in their order.
    pub fields: &'static [&'static str],
}

impl EventDoc {
    /// Its fields, each with what it says.
    pub fn fields(&self) -> impl Iterator<Item = (&'static FieldSpec, &'static str)> {
        self.spec.fields.iter().zip(self.fields.iter().copied())
    }
}

/// The names and values of a record's fields, read by its event's spec: showing records takes no code for each event.
///
/// A field that came later than the record is left out, bytes behind the last known field are passed over.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    specs: core::slice::Iter<'static, FieldSpec>,
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'static str, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let spec = self.specs.as_slice().first().filter(|spec| !(spec.later && self.rest.is_empty()))?;
        let (value, rest) = spec.kind.read(self.rest)?;
        (self.specs, self.rest) = (self.specs.as_slice().get(1..)?.iter(), rest);
        Some((spec.name, value))
    }
}

impl Lane {
    /// Its name, as published.
    pub const fn name(self) -> &'static str {
        match self {
            Lane::Vital => "vital",
            Lane::Bulk => "bulk",
        }
    }
}

impl EventSpec {
    /// The fields that `bytes` hold; `None` when these are not the event's fields.
    pub fn read<'a>(&self, bytes: &'a [u8]) -> Option<Fields<'a>> {
        let fields = Fields { specs: self.fields.iter(), rest: bytes };
        let mut end = fields.clone();
        while end.next().is_some() {}
        // It ended before a field: that field came later than the record, or the record is damaged.
        let whole = end.specs.as_slice().first().is_none_or(|spec| spec.later && end.rest.is_empty());
        whole.then_some(fields)
    }

    /// The longest encoding of its fields, in bytes.
    pub const fn max_len(&self) -> usize {
        let (mut sum, mut i) = (0, 0);
        while i < self.fields.len() {
            sum += self.fields[i].kind.max_len();
            i += 1;
        }
        sum
    }

    /// Whether fields that came later stand behind those that did not.
    pub const fn grew_at_the_end(&self) -> bool {
        let mut i = 1;
        while i < self.fields.len() {
            if self.fields[i - 1].later && !self.fields[i].later {
                return false;
            }
            i += 1;
        }
        true
    }
}

/// Generates, from the catalogue: a struct per event, the enum of them all, encoder, decoder and specs.
macro_rules! events {
    ($(
        $(#[doc = $meaning:literal])+
        $id:literal $type:ident $(<$life:lifetime>)? = $name:literal, $lane:ident, $severity:ident, since $since:literal,
        action $action:literal
        { $( $(#[doc = $doc:literal])+ $field:ident : $field_type:ty ),* $(,)? }
    )*) => {
        $(
            $(#[doc = $meaning])+
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub struct $type $(<$life>)? {
                $( $(#[doc = $doc])+ pub $field: $field_type, )*
            }

            impl $(<$life>)? $type $(<$life>)? {
                /// What it takes to read this event.
                pub const SPEC: EventSpec = EventSpec {
                    id: $id,
                    name: $name,
                    severity: Severity::$severity,
                    lane: Lane::$lane,
                    fields: &[$( FieldSpec {
                        name: stringify!($field),
                        kind: <$field_type as Field>::KIND,
                        later: <$field_type as Field>::ABSENT.is_some(),
                    } ),*],
                };
            }

            const _: () = assert!($type::SPEC.grew_at_the_end(), concat!($name, " has an older field behind a later one"));
            const _: () = assert!($type::SPEC.max_len() <= limits::FIELDS_MAX, concat!($name, " can exceed a record"));

            impl<'e $(, $life: 'e)?> From<$type $(<$life>)?> for Event<'e> {
                fn from(event: $type $(<$life>)?) -> Self {
                    Event::$type(event)
                }
            }
        )*

        /// One occurrence of any event, with its fields, not yet a record: it has no seq and no time.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Event<'a> {
            $( $(#[doc = $meaning])+ $type($type $(<$life>)?), )*
        }

        /// Every event there is, in the order of their ids.
        pub const CATALOGUE: &[EventSpec] = &[$( $type::SPEC ),*];

        /// What is published about every event, in the same order.
        pub const DOCUMENTATION: &[EventDoc] = &[$( EventDoc {
            spec: &$type::SPEC,
            since: $since,
            meaning: concat!($($meaning),+).trim_ascii(),
            action: $action,
            fields: &[$( concat!($($doc),+).trim_ascii() ),*],
        } ),*];

        impl<'a> Event<'a> {
            /// What it takes to read this event.
            pub const fn spec(&self) -> &'static EventSpec {
                match self { $( Event::$type(_) => &$type::SPEC, )* }
            }

            /// Writes the fields into the beginning of `out`; `None` when they do not fit ([`limits::FIELDS_MAX`]
            /// bytes always suffice). Returns how many bytes were written.
            pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
                let mut at = 0;
                match self { $( Event::$type(_event) => {
                    $( at += postcard::to_slice(&_event.$field, out.get_mut(at..)?).ok()?.len(); )*
                } )* }
                Some(at)
            }

            /// Reads the fields of the event with this id; `None` when the id is unknown or the bytes are not its
            /// fields. Bytes after the last known field are a newer version's and are passed over; where they end
            /// before a [`Later`](crate::Later) field, the record is older than that field.
            pub fn decode(id: u16, bytes: &'a [u8]) -> Option<Event<'a>> {
                let mut _rest = bytes;
                match id {
                    $( $id => {
                        $(
                            let ($field, next) = match <$field_type as Field>::ABSENT {
                                Some(absent) if _rest.is_empty() => (absent, _rest),
                                _ => postcard::take_from_bytes(_rest).ok()?,
                            };
                            _rest = next;
                        )*
                        Some(Event::$type($type { $($field),* }))
                    } )*
                    _ => None,
                }
            }
        }
    };
}
pub(crate) use events;

#[cfg(test)]
mod tests {
    /// A catalogue of one event that has grown by two fields.
    mod grown {
        use crate::event::{EventDoc, EventSpec, FieldSpec, Lane};
        use crate::{Field, Later, Severity, Text, limits};

        events! {
            /// A test.
            1 Grown<'a> = "grown", Bulk, INFO, since "0.1.0",
            action "Nothing to do."
            {
                /// It was there from the first.
                count: u16,
                /// It came later.
                text: Later<Text<'a, 8>>,
                /// It came last.
                last: Later<u8>,
            }
        }
    }
    use crate::{Later, Text, Value};
    use grown::{CATALOGUE, DOCUMENTATION, Event, Grown};

    #[test]
    fn a_record_of_before_a_field_came_is_still_its_event() {
        // A field that is added must neither make stored records unreadable nor invent a value for them.
        let whole = [0xac, 0x02, 2, b'h', b'i', 7];
        let (text, last) = (Text::<8>::new("hi"), 7);
        let ages = [
            (6, Some(text), Some(last), &["count", "text", "last"][..]),
            (5, Some(text), None, &["count", "text"][..]),
            (2, None, None, &["count"][..]),
        ];
        for (len, text, last, names) in ages {
            let event = Event::decode(1, &whole[..len]).unwrap();
            let Event::Grown(grown) = event;
            assert_eq!((grown.count, grown.text.get(), grown.last.get()), (300, text, last));
            let values = [Value::Number(300), Value::Text("hi"), Value::Number(7)];
            let shown = CATALOGUE[0].read(&whole[..len]).unwrap();
            assert!(shown.eq(names.iter().copied().zip(values)));
            // What is absent stays absent when it is written again.
            let mut again = [0; 8];
            assert_eq!(event.encode(&mut again), Some(len));
            assert_eq!(again[..len], whole[..len]);
        }
        // It ends inside a field, or without one that was always there: that is no age but damage.
        for len in [0, 1, 3, 4] {
            assert_eq!(Event::decode(1, &whole[..len]), None, "{len}");
            assert!(CATALOGUE[0].read(&whole[..len]).is_none(), "{len}");
        }
        let made_now = Grown { count: 300, text: Later::new(text), last: Later::new(last) };
        assert_eq!(Event::decode(1, &whole), Some(made_now.into()));
        assert!(CATALOGUE[0].fields.iter().map(|field| field.later).eq([false, true, true]));
        assert_eq!((CATALOGUE[0].name, Event::from(made_now).spec().max_len()), ("grown", 14));
        assert_eq!(
            DOCUMENTATION[0].fields().last().map(|(field, doc)| (field.name, doc)),
            Some(("last", "It came last."))
        );
    }
}
