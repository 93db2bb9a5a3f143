//! Every bound of the wire format, with the reason for its number.

/// Longest encoded record, in bytes: a batch of one always fits one TCP segment, and a length fits one byte.
pub const RECORD_MAX: usize = 240;

/// Room for a record's own header (seq, time, severity, transaction, event id), in bytes, at its longest.
pub const RECORD_HEADER_MAX: usize = 10 + 10 + 1 + 5 + 3;

/// Longest encoding of an event's fields, in bytes.
pub const FIELDS_MAX: usize = RECORD_MAX - RECORD_HEADER_MAX;

/// Longest id of an incident or a maintenance, in bytes.
pub const INCIDENT_ID_MAX: usize = 40;

/// Longest title of an incident or a maintenance, in bytes: a line or two on a phone.
pub const INCIDENT_TITLE_MAX: usize = 100;

/// Longest frame on the session, in bytes, everything included: one Ethernet MSS (1,460) less room for TCP
/// options (40) and for the authentication tag of a keyed session (16).
pub const FRAME_MAX: usize = 1400;

/// Longest name of an agent, in bytes: a DNS label (RFC 1035, section 2.3.4), so that it can be a host name.
pub const AGENT_NAME_MAX: usize = 63;

/// Longest text that can be given an id by an `intern` record, in bytes.
pub const INTERN_TEXT_MAX: usize = 64;

const _: () = assert!(RECORD_MAX <= u8::MAX as usize);
const _: () = assert!(FRAME_MAX > RECORD_MAX + crate::session::FRAME_OVERHEAD + 12);
