//! What came before: request heads with what the parser made of them, and answers as they went out.
//!
//! A poller sends the same bytes every time and gets the same answer but for its number. So the last few of either
//! are kept, and a request that is one of them costs a comparison, a copy and eight digits. What always holds: a kept
//! head gives what a fresh parser gives for these bytes, for the parser depends on nothing else; a kept answer is used
//! only where everything that it was made of is equal, or for the head that it was given to before, while all that the
//! answer depends on beside the head is as it was: the agent's health.

use super::answer::{HeadOf, hex, write_head};
use super::request::{Parser, Progress, Request};
use super::routes::{Body, Media};
use crate::limits::{FAMILIAR, FAMILIAR_ANSWER, FAMILIAR_HEAD};

/// Both kinds.
pub struct Familiar {
    heads: [Head; FAMILIAR],
    answers: [Kept; FAMILIAR],
    /// Which of each kind gives way next.
    next_head: usize,
    next_answer: usize,
}

#[derive(Clone, Copy)]
struct Head {
    /// Length in bytes; 0 while there is none.
    len: usize,
    bytes: [u8; FAMILIAR_HEAD],
    request: Option<Request>,
    answer: Option<Last>,
}

/// The answer that a head got last: its place, and how often health had changed by then.
#[derive(Clone, Copy)]
struct Last {
    place: usize,
    changes: u32,
}

/// A head that came before, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known(usize);

#[derive(Clone, Copy)]
struct Kept {
    of: Option<Made>,
    len: usize,
    /// Where the digits of the transaction are.
    digits: usize,
    bytes: [u8; FAMILIAR_ANSWER],
}

/// What an answer is made of, beside the number of its transaction and the boot's id.
#[derive(Clone, Copy)]
struct Made {
    status: u16,
    media: Media,
    body: &'static [u8],
    headers: &'static str,
    keep_alive: bool,
    say_keep_alive: bool,
    head_only: bool,
}

impl PartialEq for Made {
    /// Texts of the image are known by where they lie: two of equal bytes may be told apart, which costs a place, never
    /// a wrong answer.
    fn eq(&self, other: &Made) -> bool {
        core::ptr::eq(self.body, other.body)
            && core::ptr::eq(self.headers, other.headers)
            && (self.status, self.media) == (other.status, other.media)
            && (self.keep_alive, self.say_keep_alive) == (other.keep_alive, other.say_keep_alive)
            && self.head_only == other.head_only
    }
}

/// Digits of a transaction's number.
const DIGITS: usize = 8;

impl Familiar {
    /// Nothing has come yet.
    pub const fn new() -> Familiar {
        Familiar {
            heads: [Head { len: 0, bytes: [0; FAMILIAR_HEAD], request: None, answer: None }; FAMILIAR],
            answers: [Kept { of: None, len: 0, digits: 0, bytes: [0; FAMILIAR_ANSWER] }; FAMILIAR],
            next_head: 0,
            next_answer: 0,
        }
    }

    /// The length of the head at the beginning of `bytes`, and which it is, when it came before.
    pub fn find(&self, bytes: &[u8]) -> Option<(usize, Known)> {
        let begins =
            |head: &Head| head.len > 0 && head.len <= bytes.len() && same(&head.bytes[..head.len], &bytes[..head.len]);
        let at = self.heads.iter().position(begins)?;
        Some((self.heads[at].len, Known(at)))
    }

    /// What it asks for: what a fresh parser would say.
    pub fn request(&self, known: Known) -> Option<&Request> {
        self.heads[known.0].request.as_ref()
    }

    /// The place of the answer that it gets, when it got that before and health, which has changed so often, is as it was.
    pub fn answered(&self, known: Known, changes: u32) -> Option<usize> {
        self.heads[known.0].answer.filter(|last| last.changes == changes).map(|last| last.place)
    }

    /// The status of the answer at a place.
    pub fn status(&self, place: usize) -> u16 {
        self.answers[place].of.map_or(0, |made| made.status)
    }

    /// Takes in which answer a head got. Nothing else decides over it than its request and health.
    pub fn learn(&mut self, known: Known, place: usize, changes: u32) {
        self.heads[known.0].answer = Some(Last { place, changes });
    }

    /// As [`Parser::feed`].
    pub fn feed(&mut self, parser: &mut Parser, bytes: &[u8]) -> (usize, Progress) {
        let fresh = parser.is_fresh();
        if fresh
            && let Some((len, known)) = self.find(bytes)
            && let Some(request) = self.request(known)
        {
            return (len, Progress::Complete(*request));
        }
        let (taken, progress) = parser.feed(bytes);
        if let Progress::Complete(request) = &progress
            && fresh
            && taken <= FAMILIAR_HEAD
            && request.outside.is_empty()
            // A token is kept nowhere.
            && request.query.beat.is_none()
        {
            let head = &mut self.heads[self.next_head];
            self.next_head = (self.next_head + 1) % FAMILIAR;
            head.len = taken;
            head.bytes[..taken].copy_from_slice(&bytes[..taken]);
            (head.request, head.answer) = (Some(*request), None);
        }
        (taken, progress)
    }

    /// The answer's place, when it is one that can be kept: short, fixed, and to a request that brought no id of its
    /// own. [`Familiar::write`] writes it.
    pub fn answer(&mut self, head: &HeadOf<'_>, head_only: bool) -> Option<usize> {
        let (Some(request), Body::Fixed(body)) = (head.request, head.answer.body) else { return None };
        if !request.outside.is_empty() {
            return None;
        }
        let made = Made {
            status: head.answer.status,
            media: head.answer.media,
            body,
            headers: head.answer.headers,
            keep_alive: request.keep_alive,
            say_keep_alive: request.say_keep_alive,
            head_only,
        };
        if let Some(at) = self.answers.iter().position(|kept| kept.of == Some(made)) {
            return Some(at);
        }
        let mut text = [0; crate::limits::ANSWER_HEAD];
        let len = write_head(head, &mut text);
        let body = if head_only { &[] } else { body };
        let at = self.next_answer;
        let kept = &mut self.answers[at];
        kept.of = None;
        for head in &mut self.heads {
            head.answer = head.answer.filter(|last| last.place != at);
        }
        let room = kept.bytes.get_mut(..len + body.len())?;
        let (head_room, body_room) = room.split_at_mut(len);
        head_room.copy_from_slice(&text[..len]);
        body_room.copy_from_slice(body);
        // The number is the last thing that a head says (`write_head`).
        kept.digits = len.checked_sub(DIGITS + b"\r\n\r\n".len())?;
        kept.len = len + body.len();
        kept.of = Some(made);
        self.next_answer = (at + 1) % FAMILIAR;
        Some(at)
    }

    /// Writes the answer at a place with this transaction's number; returns its length.
    pub fn write(&self, at: usize, transaction: u32, out: &mut [u8]) -> usize {
        let kept = &self.answers[at];
        let out = &mut out[..kept.len];
        out.copy_from_slice(&kept.bytes[..kept.len]);
        out[kept.digits..kept.digits + DIGITS].copy_from_slice(&hex::<DIGITS>(u64::from(transaction)));
        kept.len
    }
}

/// Bytes of heads that are compared at a time.
const PIECE: usize = 32;

/// Whether two heads of one length are the same. The last piece overlaps the one before it, and pieces are compared
/// by words that are spelled out: a comparison of any length costs four times as much.
fn same(a: &[u8], b: &[u8]) -> bool {
    match (a.last_chunk(), b.last_chunk()) {
        (Some(last_a), Some(last_b)) => {
            let mut pieces = a.as_chunks().0.iter().zip(b.as_chunks().0);
            same_piece(last_a, last_b) && pieces.all(|(a, b)| same_piece(a, b))
        }
        _ => a == b,
    }
}

#[inline(always)]
fn same_piece(a: &[u8; PIECE], b: &[u8; PIECE]) -> bool {
    let (a, b) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
    let differs = |at: usize| u64::from_ne_bytes(a[at]) ^ u64::from_ne_bytes(b[at]);
    differs(0) | differs(1) | differs(2) | differs(3) == 0
}

impl Default for Familiar {
    fn default() -> Self {
        Familiar::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::routes::{Answer, Media};
    use crate::limits::ANSWER_HEAD;

    #[test]
    fn a_familiar_head_means_what_it_meant() {
        // What is kept of one request must never answer another: not a longer one, not one that is still coming.
        let get = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n{more}\r\n").into_bytes();
        let long = format!("X-Long: {}\r\n", "x".repeat(FAMILIAR_HEAD));
        let requests = [
            get("/livez", ""),
            get("/livez", "Connection: close\r\n"),
            get("/readyz?verbose", ""),
            get("/livez", "X-Request-ID: 7\r\n"),
            get("/livez", "X-Request-ID: 8\r\n"),
            get("/livez", &long),
            get("/nothing", ""),
            get("/about", ""),
            get("/status", ""),
            b"BREW / HTTP/1.1\r\n\r\n".to_vec(),
        ];
        let mut familiar = Familiar::new();
        for round in 0..3 {
            for request in &requests {
                let expected = Parser::new().feed(request);
                assert_eq!(familiar.feed(&mut Parser::new(), request), expected, "round {round}");
                let mut pipelined = request.clone();
                pipelined.extend(b"GET / HTTP/1.1\r\n");
                assert_eq!(familiar.feed(&mut Parser::new(), &pipelined).0, Parser::new().feed(&pipelined).0);
                // One byte is missing; and a line came before.
                let cut = &request[..request.len() - 1];
                assert_eq!(familiar.feed(&mut Parser::new(), cut), Parser::new().feed(cut));
                let mut begun = [Parser::new(); 2];
                for parser in &mut begun {
                    assert_eq!(parser.feed(b"GET /healthz HTTP/1.1\r\n").1, Progress::More);
                }
                let [parser, other] = &mut begun;
                assert_eq!(familiar.feed(parser, request), other.feed(request));
            }
        }
    }

    #[test]
    fn a_head_gets_its_answer_again_while_both_are_kept_and_health_is_the_same() {
        // An answer of another request, or of a health that has passed, would be a lie.
        let text = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
        let mut familiar = Familiar::new();
        let keep = |familiar: &mut Familiar, path: &str, body: &'static [u8]| {
            let Progress::Complete(request) = familiar.feed(&mut Parser::new(), &text(path)).1 else { panic!() };
            let answer = Answer { status: 200, media: Media::Text, body: Body::Fixed(body), headers: "" };
            let (body_len, request) = (body.len(), Some(&request));
            let head = HeadOf { answer: &answer, body_len, request, boot_id: 1, transaction: 1 };
            let place = familiar.answer(&head, false).unwrap();
            let (_, known) = familiar.find(&text(path)).unwrap();
            (known, place)
        };
        let bodies: [&'static [u8]; FAMILIAR] = [b"b", b"c", b"d", b"e"];
        for anew in [false, true] {
            let (known, place) = keep(&mut familiar, "/livez", b"a");
            assert_eq!(familiar.answered(known, 7), None);
            familiar.learn(known, place, 7);
            assert_eq!((familiar.answered(known, 7), familiar.status(place)), (Some(place), 200));
            assert_eq!(familiar.answered(known, 8), None, "health is another");
            for (at, body) in bodies.into_iter().enumerate() {
                // Either new heads push the old one out, or new answers to one other head push out its answer.
                keep(&mut familiar, if anew { ["/1", "/2", "/3", "/4"][at] } else { "/readyz" }, body);
            }
            assert_eq!(familiar.answered(known, 7), None);
            familiar = Familiar::new();
        }
    }

    #[test]
    fn a_kept_answer_is_the_one_that_is_written_anew() {
        // An answer with the wrong number, length or connection header breaks whoever reads it.
        let request = |text: &[u8]| match Parser::new().feed(text).1 {
            Progress::Complete(request) => request,
            other => panic!("{other:?}"),
        };
        let requests = [
            request(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"),
            request(b"GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
            request(b"GET /livez HTTP/1.0\r\n\r\n"),
        ];
        let answer = |status, body, headers| Answer { status, media: Media::Text, body: Body::Fixed(body), headers };
        let answers = [answer(200, b"ok\n", ""), answer(200, b"ok", ""), answer(405, b"", "\r\nAllow: GET")];
        let mut familiar = Familiar::new();
        for transaction in [1, 2, 0xdead_beef] {
            for request in &requests {
                for answer in &answers {
                    for head_only in [false, true] {
                        let Body::Fixed(body) = answer.body else { panic!() };
                        let boot_id = 0x0123_4567_89ab_cdef;
                        let body_len = body.len();
                        let head = HeadOf { answer, body_len, request: Some(request), boot_id, transaction };
                        let (mut expected, mut out) = ([0; ANSWER_HEAD], [0xaa; ANSWER_HEAD]);
                        let mut len = write_head(&head, &mut expected);
                        if !head_only {
                            expected[len..len + body_len].copy_from_slice(body);
                            len += body_len;
                        }
                        for _ in 0..2 {
                            let at = familiar.answer(&head, head_only).unwrap();
                            assert_eq!(familiar.write(at, transaction, &mut out), len);
                            assert_eq!(out[..len], expected[..len]);
                        }
                    }
                }
            }
        }
        let with_id = request(b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Request-ID: x\r\n\r\n");
        for (request, body) in
            [(Some(&with_id), Body::Fixed(b"")), (None, Body::Fixed(b"")), (Some(&requests[0]), Body::Rendered(3))]
        {
            let answer = Answer { status: 200, media: Media::Text, body, headers: "" };
            let head = HeadOf { answer: &answer, body_len: 0, request, boot_id: 1, transaction: 1 };
            assert_eq!(familiar.answer(&head, false), None);
        }
    }
}
