//! `/beat`: what those who push say of themselves, and who they are.
//!
//! ```text
//! /beat/TOKEN   /beat/TOKEN/start   /beat/TOKEN/fail      the token in the path, or
//! /beat         /beat/start         /beat/fail            in `Authorization: Bearer TOKEN`
//! ```
//! What always holds: a token is hashed where it is parsed and kept nowhere, so nothing that shows a request can show it.

use crate::limits::{BEAT_TOKEN_MAX, BEAT_TOKEN_MIN};
use outpost_wire::Sha256;

/// The first half of a token's SHA-256: 128 bits, as many as the shortest token has.
pub type Fingerprint = [u8; 16];

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// It is done, and all is well.
    Done,
    /// A run begins.
    Start,
    /// A run went wrong.
    Fail,
}

/// What is said, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// What is said.
    pub signal: Signal,
    /// Of the token, if one was given.
    pub token: Option<Fingerprint>,
}

impl Beat {
    /// What a path says; `None` when it is not one of these.
    #[inline(never)]
    pub fn find(path: &[u8]) -> Option<Beat> {
        let rest = path.strip_prefix(b"/beat")?;
        let (rest, signal) = match (rest.strip_suffix(b"/start"), rest.strip_suffix(b"/fail")) {
            (Some(rest), _) => (rest, Signal::Start),
            (_, Some(rest)) => (rest, Signal::Fail),
            _ => (rest, Signal::Done),
        };
        let token = match rest {
            [] => None,
            [b'/', token @ ..] => Some(fingerprint(token)?),
            _ => return None,
        };
        Some(Beat { signal, token })
    }

    /// Reads the value of an Authorization field (RFC 6750, section 2.1); a token in the path comes first.
    #[inline(never)]
    pub fn see_authorization(&mut self, value: &[u8]) {
        let (scheme, token) = value.split_at_checked(b"Bearer ".len()).unwrap_or_default();
        if scheme.eq_ignore_ascii_case(b"Bearer ") && self.token.is_none() {
            self.token = fingerprint(token);
        }
    }
}

/// `None` when it cannot be a token: none has a sign that a path must encode.
fn fingerprint(token: &[u8]) -> Option<Fingerprint> {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    let good = (BEAT_TOKEN_MIN..=BEAT_TOKEN_MAX).contains(&token.len()) && token.iter().all(allowed);
    good.then(|| Sha256::of(&[token]).first_chunk().copied()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_signal_and_what_is_not() {
        // A signal that is taken for another one is a failed backup that looks well.
        let token = "0123456789abcdefghij-_";
        let known = fingerprint(token.as_bytes());
        // sha256sum says so.
        assert_eq!(known.unwrap()[..4], Sha256::of(&[token.as_bytes()])[..4]);
        for (path, found) in [
            ("/beat", Some((Signal::Done, None))),
            ("/beat/start", Some((Signal::Start, None))),
            ("/beat/fail", Some((Signal::Fail, None))),
            ("/beat/0123456789abcdefghij-_", Some((Signal::Done, known))),
            ("/beat/0123456789abcdefghij-_/start", Some((Signal::Start, known))),
            ("/beat/0123456789abcdefghij-_/fail", Some((Signal::Fail, known))),
            ("/beat/0123456789abcdefghij-_/stop", None),
            ("/beat/0123456789abcdefghij-_/", None),
            ("/beat/0123456789abcdefghij-", None),
            ("/beat/0123456789abcdefghij%2d", None),
            ("/beat/", None),
            ("/beats", None),
        ] {
            let beat = Beat::find(path.as_bytes());
            assert_eq!(beat.map(|beat| (beat.signal, beat.token)), found, "{path}");
        }
        for (value, found) in [
            ("Bearer 0123456789abcdefghij-_", known),
            ("bEARER 0123456789abcdefghij-_", known),
            ("Basic 0123456789abcdefghij-_", None),
            ("Bearer short", None),
            ("Bearer", None),
            ("", None),
        ] {
            let mut beat = Beat { signal: Signal::Done, token: None };
            beat.see_authorization(value.as_bytes());
            assert_eq!(beat.token, found, "{value}");
        }
    }
}
