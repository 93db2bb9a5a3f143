//! The ids that a client brings for its transaction, strictly read: W3C Trace Context and X-Request-ID.
//!
//! What is not exactly as the rules say is passed over, never repaired: the request is answered all the same.

use outpost_wire::{Text, TransactionBound};

/// Longest request id that is taken over, in bytes.
pub const REQUEST_ID_MAX: usize = 64;

/// A `traceparent` (W3C Trace Context, section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The trace; never all zeros.
    pub id: [u8; 16],
    /// The caller's span; never all zeros.
    pub parent: [u8; 8],
    /// Whether the caller records this trace.
    pub sampled: bool,
}

impl Trace {
    /// Reads a `traceparent` header.
    pub fn parse(value: &[u8]) -> Option<Trace> {
        let (head, rest) = value.split_at_checked(55)?;
        let [version] = hex_bytes::<1>(&head[..2])?;
        // Section 3.2.2: version ff is forbidden; version 00 ends here, a later one may go on after a dash.
        if version == 0xff || !(rest.is_empty() || (version > 0 && rest[0] == b'-')) {
            return None;
        }
        if head[2] != b'-' || head[35] != b'-' || head[52] != b'-' {
            return None;
        }
        let [flags] = hex_bytes::<1>(&head[53..])?;
        let trace = Trace { id: hex_bytes(&head[3..35])?, parent: hex_bytes(&head[36..52])?, sampled: flags & 1 == 1 };
        (trace.id != [0; 16] && trace.parent != [0; 8]).then_some(trace)
    }
}

/// An id that the client gave its request: 1 to 64 of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    bytes: [u8; REQUEST_ID_MAX],
    len: u8,
}

impl RequestId {
    /// Reads an `X-Request-ID` header.
    pub fn parse(value: &[u8]) -> Option<RequestId> {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
        if value.is_empty() || !value.iter().all(allowed) {
            return None;
        }
        let mut bytes = [0; REQUEST_ID_MAX];
        bytes.get_mut(..value.len())?.copy_from_slice(value);
        Some(RequestId { bytes, len: value.len() as u8 })
    }

    /// As it came.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

/// What a request brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outside {
    trace: Once<Trace>,
    request_id: Once<RequestId>,
}

/// A header that counts only when it comes once: two are no id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Once<T> {
    #[default]
    Never,
    Seen(Option<T>),
    Twice,
}

impl<T: Copy> Once<T> {
    fn see(&mut self, value: Option<T>) {
        *self = if matches!(self, Once::Never) { Once::Seen(value) } else { Once::Twice };
    }

    fn get(&self) -> Option<&T> {
        match self {
            Once::Seen(value) => value.as_ref(),
            _ => None,
        }
    }
}

impl Outside {
    /// Nothing.
    pub const NONE: Outside = Outside { trace: Once::Never, request_id: Once::Never };

    /// Takes in a `traceparent` header.
    pub fn see_trace(&mut self, value: &[u8]) {
        self.trace.see(Trace::parse(value));
    }

    /// Takes in an `X-Request-ID` header.
    pub fn see_request_id(&mut self, value: &[u8]) {
        self.request_id.see(RequestId::parse(value));
    }

    /// Whether it brought nothing at all.
    pub fn is_empty(&self) -> bool {
        matches!(self, Outside { trace: Once::Never, request_id: Once::Never })
    }

    /// The trace, if the request brought a valid one.
    pub fn trace(&self) -> Option<&Trace> {
        self.trace.get()
    }

    /// The request id, if the request brought a valid one.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.get().map(RequestId::as_str)
    }

    /// The event that binds the transaction to what the request brought; `None` when it brought nothing.
    pub fn bound(&self) -> Option<TransactionBound<'_>> {
        let (trace, request_id) = (self.trace(), self.request_id());
        if trace.is_none() && request_id.is_none() {
            return None;
        }
        Some(TransactionBound {
            trace_id: trace.map_or([0; 16], |trace| trace.id),
            parent_id: trace.map_or([0; 8], |trace| trace.parent),
            request_id: Text::new(request_id.unwrap_or_default()),
        })
    }
}

/// Lower-case hexadecimal only (section 3.2.2: "HEXDIGLC").
fn hex_bytes<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn traceparent_is_read_strictly() {
        // Taking over a malformed id would join our records to a trace that does not exist.
        let trace = Trace::parse(GOOD).unwrap();
        assert_eq!((trace.id[0], trace.parent[7], trace.sampled), (0x4b, 0xb7, true));
        let changed = |at: usize, byte: u8| {
            let mut text = GOOD.to_vec();
            text[at] = byte;
            Trace::parse(&text)
        };
        for (at, byte) in [(0, b'g'), (2, b'_'), (3, b'A'), (35, b' '), (52, b'0'), (54, b'x')] {
            assert_eq!(changed(at, byte), None, "byte {at}");
        }
        assert_eq!(Trace::parse(b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), None);
        assert_eq!(Trace::parse(b"00-00000000000000000000000000000000-00f067aa0ba902b7-01"), None);
        assert_eq!(Trace::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"), None);
        assert_eq!(Trace::parse(&[GOOD, b"-x"].concat()), None, "version 00 has nothing behind the flags");
        assert!(Trace::parse(&[b"01", &GOOD[2..], b"-x"].concat()).is_some(), "a later version may");
        assert_eq!(Trace::parse(&[b"01", &GOOD[2..], b"x"].concat()), None);
        assert!((0..55).all(|len| Trace::parse(&GOOD[..len]).is_none()));
    }

    #[test]
    fn request_ids_are_bounded_and_plain() {
        // It is echoed into a header and shown in logs: nothing but these characters may get there.
        assert_eq!(RequestId::parse(b"a.B_9-").unwrap().as_str(), "a.B_9-");
        assert!(RequestId::parse(&[b'a'; 64]).is_some());
        for bad in [&b""[..], b"a b", b"a\r\nb", b"a\"", &[b'a'; 65], "é".as_bytes()] {
            assert_eq!(RequestId::parse(bad), None);
        }
    }

    #[test]
    fn two_headers_are_none() {
        // Which of two a proxy in front believed cannot be known.
        let mut outside = Outside::NONE;
        outside.see_trace(GOOD);
        assert!(outside.bound().is_some());
        outside.see_trace(GOOD);
        assert_eq!(outside.bound(), None);
    }
}
