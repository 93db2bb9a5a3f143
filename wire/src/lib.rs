//! What travels and what is kept: events, records, frames and the log session.
//!
//! A third party needs this crate (or `SPEC.md`, which says the same in words) and nothing else to decode
//! Outpost's log. It is `no_std`, has no heap and no unsafe, and is the one home of every id and every layout:
//!
//! ```text
//! Event ──encode──▶ Record ──(ring)──▶ Data frame ──(session)──▶ collector ──decode──▶ Record ──▶ Event
//! ```
//!
//! What always holds: ids and field orders only grow at the end; a decoder that meets more than it knows keeps
//! the bytes and goes on; nothing that arrives can make it panic.
#![no_std]
#![forbid(unsafe_code)]

mod catalogue;
mod digest;
mod event;
mod hash;
pub mod limits;
pub mod noise;
mod record;
pub mod session;
mod severity;
mod value;

pub use catalogue::*;
pub use digest::Sha256;
pub use event::{EventDoc, EventSpec, FieldSpec, Fields, Lane};
pub use hash::CATALOGUE_HASH;
pub use record::{Record, RecordError};
pub use severity::Severity;
pub use value::{Field, Ip4, Kind, Later, NameId, Text, Value};
