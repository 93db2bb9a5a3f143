//! Reads what a checked web server answers, byte by byte as it comes, and keeps only what is judged: the status, and
//! whether a text stands in the body.
//!
//! Whatever a server sends, this ends: the head and the body are read up to a bound. The rules are those of RFC 9112;
//! where a server breaks them in a way that leaves its meaning open, it is `malformed`, not guessed at.

use crate::limits::{PROBE_BODY, PROBE_HEAD, PROBE_LINE, PROBE_NEEDLE};

/// What can be said of the answer so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// More is needed.
    More,
    /// All that was asked for is known.
    Done,
    /// It is no HTTP/1.x answer.
    Malformed,
    /// It leads elsewhere: [`Response::place`] says where.
    Elsewhere,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    StatusLine,
    Field,
    /// So many bytes of the body are still to come; `None`: as many as come.
    Body(Option<u64>),
    ChunkSize,
    /// So many bytes of this chunk are still to come, without the end of its line.
    Chunk(u64),
    ChunkEnd,
}

/// An answer on its way.
#[derive(Clone, Debug)]
pub struct Response<'n> {
    needle: Needle<'n>,
    part: Part,
    line: [u8; PROBE_LINE],
    /// How long this line is; it may be longer than what is kept of it. In the end, what is kept is where it leads.
    line_len: usize,
    /// Bytes of heads and of framing so far, and of the body.
    head: usize,
    body: usize,
    status: u16,
    length: Option<u64>,
    chunked: bool,
    /// Whether an answer that leads elsewhere is none yet.
    leads: bool,
}

impl<'n> Response<'n> {
    /// Nothing has come yet. With a `needle` the body is searched for it; without one the answer is known when its
    /// head is.
    pub fn new(needle: &'n [u8]) -> Response<'n> {
        Response {
            leads: false,
            needle: Needle::new(needle),
            part: Part::StatusLine,
            line: [0; PROBE_LINE],
            line_len: 0,
            head: 0,
            body: 0,
            status: 0,
            length: None,
            chunked: false,
        }
    }

    /// An answer that leads elsewhere ends with that: the page is still to come.
    pub fn that_leads(self) -> Response<'n> {
        Response { leads: true, ..self }
    }

    /// What is read next is another answer; the place that the last one led to stays until it begins.
    pub fn begin_again(&mut self) {
        let (line, line_len, leads) = (self.line, self.line_len, self.leads);
        *self = Response { line, line_len, leads, ..Response::new(self.needle.text) };
    }

    /// Where it leads, as long as nothing else was read; nothing when that is too long.
    pub fn place(&self) -> &[u8] {
        self.line.get(..self.line_len).unwrap_or_default()
    }

    /// Keeps a part of the place.
    pub fn keep_place(&mut self, from: usize) {
        self.line.copy_within(from.min(PROBE_LINE).., 0);
        self.line_len = self.line_len.saturating_sub(from);
    }

    /// The place was asked for, and is forgotten.
    pub fn forget_place(&mut self) {
        self.line_len = 0;
    }

    /// Whether anything has come.
    pub fn has_begun(&self) -> bool {
        self.head > 0
    }

    /// The status code; 0 before it is known.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the text was found; always so when none is looked for.
    pub fn found(&self) -> bool {
        self.needle.found()
    }

    /// Takes in the next bytes.
    pub fn read(&mut self, bytes: &[u8]) -> Reading {
        for &byte in bytes {
            let reading = self.step(byte);
            if reading != Reading::More {
                return reading;
            }
        }
        Reading::More
    }

    /// The same, handing on each byte of the body.
    pub fn read_body(&mut self, bytes: &[u8], body: &mut dyn FnMut(u8)) -> Reading {
        for &byte in bytes {
            if matches!(self.part, Part::Body(_) | Part::Chunk(_)) {
                body(byte);
            }
            let reading = self.step(byte);
            if reading != Reading::More {
                return reading;
            }
        }
        Reading::More
    }

    /// The server has closed the connection: whether that ends the answer in order (RFC 9112, section 8).
    pub fn end(&self) -> Reading {
        match self.part {
            Part::Body(None) => Reading::Done,
            _ => Reading::Malformed,
        }
    }

    fn step(&mut self, byte: u8) -> Reading {
        match self.part {
            Part::Body(left) => {
                let left = left.map(|left| left - 1);
                self.part = Part::Body(left);
                self.take(byte, left == Some(0))
            }
            Part::Chunk(left) => {
                self.part = if left == 1 { Part::ChunkEnd } else { Part::Chunk(left - 1) };
                self.take(byte, false)
            }
            Part::StatusLine | Part::Field | Part::ChunkSize | Part::ChunkEnd => {
                self.head += 1;
                if byte != b'\n' {
                    if let Some(place) = self.line.get_mut(self.line_len) {
                        *place = byte;
                    }
                    self.line_len += 1;
                    return if self.head < PROBE_HEAD { Reading::More } else { Reading::Malformed };
                }
                let line = self.line;
                let kept = line.get(..self.line_len).unwrap_or(&line);
                let whole = self.line_len <= PROBE_LINE;
                self.line_len = 0;
                // A lone LF ends a line as well (RFC 9112, section 2.2).
                self.end_line(kept.strip_suffix(b"\r").unwrap_or(kept), whole)
            }
        }
    }

    /// A byte of the body.
    fn take(&mut self, byte: u8, last: bool) -> Reading {
        self.body += 1;
        self.needle.see(byte);
        if self.needle.found() || last || self.body >= PROBE_BODY { Reading::Done } else { Reading::More }
    }

    fn end_line(&mut self, line: &[u8], whole: bool) -> Reading {
        match self.part {
            Part::StatusLine => self.status_line(line),
            Part::Field if line.is_empty() => self.end_head(),
            Part::Field => self.field(line, whole),
            Part::ChunkSize => self.chunk_size(line),
            Part::ChunkEnd if line.is_empty() => self.go_on(Part::ChunkSize),
            Part::ChunkEnd | Part::Body(_) | Part::Chunk(_) => Reading::Malformed,
        }
    }

    fn go_on(&mut self, part: Part) -> Reading {
        self.part = part;
        Reading::More
    }

    /// RFC 9112, section 4.
    fn status_line(&mut self, line: &[u8]) -> Reading {
        let code = match line {
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'..=b'9', b' ', code @ ..] => code,
            _ => return Reading::Malformed,
        };
        let (digits, rest) = code.split_at_checked(3).unwrap_or_default();
        let status = number(digits, 10).filter(|status| (100..600).contains(status));
        match status {
            Some(status) if rest.is_empty() || rest[0] == b' ' => self.status = status as u16,
            _ => return Reading::Malformed,
        }
        (self.length, self.chunked) = (None, false);
        self.go_on(Part::Field)
    }

    fn field(&mut self, line: &[u8], whole: bool) -> Reading {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            return if whole { Reading::Malformed } else { Reading::More };
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        // RFC 9110, section 15.4: those of which a client knows where to go on.
        if self.leads && matches!(self.status, 301..=303 | 307 | 308) && name.eq_ignore_ascii_case(b"location") {
            self.line_len = if whole { value.len() } else { 0 };
            self.line[..self.line_len].copy_from_slice(&value[..self.line_len]);
            return Reading::Elsewhere;
        }
        if !whole {
            // A field that is longer than what is kept is not one that counts.
            return Reading::More;
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = number(value, 10);
            if length.is_none() || self.length.is_some_and(|before| Some(before) != length) {
                return Reading::Malformed;
            }
            self.length = length;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            // Nothing else was asked for (RFC 9112, section 6.1).
            self.chunked = value.eq_ignore_ascii_case(b"chunked");
            if !self.chunked {
                return Reading::Malformed;
            }
        }
        Reading::More
    }

    fn end_head(&mut self) -> Reading {
        if self.status == 101 {
            return Reading::Malformed;
        }
        if self.status < 200 {
            // The answer itself is still to come (RFC 9110, section 15.2).
            return self.go_on(Part::StatusLine);
        }
        let none = matches!(self.status, 204 | 304) || self.length == Some(0) && !self.chunked;
        if none || self.needle.found() {
            return Reading::Done;
        }
        self.go_on(if self.chunked { Part::ChunkSize } else { Part::Body(self.length) })
    }

    /// RFC 9112, section 7.1; what stands behind a semicolon is for others.
    fn chunk_size(&mut self, line: &[u8]) -> Reading {
        let size = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        match number(size, 16) {
            None => Reading::Malformed,
            Some(0) => Reading::Done,
            Some(size) => self.go_on(Part::Chunk(size)),
        }
    }
}

/// An unsigned number with at most 15 digits, which none of ours has more of.
fn number(digits: &[u8], radix: u32) -> Option<u64> {
    if digits.is_empty() || digits.len() > 15 {
        return None;
    }
    digits
        .iter()
        .try_fold(0u64, |sum, &digit| Some(sum * u64::from(radix) + u64::from(char::from(digit).to_digit(radix)?)))
}

/// A text that is looked for in a stream, each byte seen once (Knuth, Morris, Pratt).
#[derive(Clone, Debug)]
pub struct Needle<'n> {
    text: &'n [u8],
    /// For each number of bytes that match: how many of them still match when the next one does not.
    fall_back: [u8; PROBE_NEEDLE],
    matched: usize,
}

const _: () = assert!(PROBE_NEEDLE <= u8::MAX as usize);

impl<'n> Needle<'n> {
    /// Looks for the first [`PROBE_NEEDLE`] bytes of this.
    pub fn new(text: &'n [u8]) -> Needle<'n> {
        let text = text.get(..PROBE_NEEDLE).unwrap_or(text);
        let mut fall_back = [0; PROBE_NEEDLE];
        let mut matched = 0;
        for at in 1..text.len() {
            while matched > 0 && text[at] != text[matched] {
                matched = usize::from(fall_back[matched - 1]);
            }
            matched += usize::from(text[at] == text[matched]);
            fall_back[at] = matched as u8;
        }
        Needle { text, fall_back, matched: 0 }
    }

    /// Whether it has been seen.
    pub fn found(&self) -> bool {
        self.matched == self.text.len()
    }

    /// The next byte of the stream; does nothing once the text was found.
    pub fn see(&mut self, byte: u8) {
        if self.found() {
            return;
        }
        while self.matched > 0 && self.text[self.matched] != byte {
            self.matched = usize::from(self.fall_back[self.matched - 1]);
        }
        self.matched += usize::from(self.text[self.matched] == byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Read whole and byte by byte, which must be the same.
    fn read(answer: &str, needle: &str) -> (Reading, u16, bool) {
        let whole = {
            let mut response = Response::new(needle.as_bytes());
            (response.read(answer.as_bytes()), response.status(), response.found())
        };
        let mut response = Response::new(needle.as_bytes());
        let mut last = Reading::More;
        for byte in answer.bytes() {
            if last == Reading::More {
                last = response.read(&[byte]);
            }
        }
        assert_eq!(whole, (last, response.status(), response.found()), "{answer:?}");
        whole
    }

    #[test]
    fn a_head_is_enough_when_no_text_is_looked_for() {
        assert_eq!(read("HTTP/1.1 200 OK\r\nServer: x\r\n\r\n", ""), (Reading::Done, 200, true));
        assert_eq!(read("HTTP/1.0 503\r\n\r\n", ""), (Reading::Done, 503, true));
        assert_eq!(read("HTTP/1.1 200 OK\r\nServer: x\r\n", ""), (Reading::More, 200, true));
        let informed = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\n";
        assert_eq!(read(informed, ""), (Reading::Done, 404, true));
    }

    #[test]
    fn the_text_is_found_wherever_the_body_is_cut() {
        let sized = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nall is well.";
        assert_eq!(read(sized, "is well"), (Reading::Done, 200, true));
        assert_eq!(read(sized, "is ill"), (Reading::Done, 200, false));
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: CHUNKED\r\n\r\n5\r\nall i\r\n6;x=y\r\ns well\r\n0\r\n\r\n";
        assert_eq!(read(chunked, "is well"), (Reading::Done, 200, true));
        assert_eq!(read(chunked, "is ill"), (Reading::Done, 200, false));
        let open = "HTTP/1.1 200 OK\r\n\r\nall is";
        assert_eq!(read(open, "well"), (Reading::More, 200, false));
        assert_eq!(read("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "well"), (Reading::Done, 204, false));
    }

    #[test]
    fn an_end_before_its_time_is_no_answer() {
        let ended = |answer: &str| {
            let mut response = Response::new(b"well");
            assert_eq!(response.read(answer.as_bytes()), Reading::More, "{answer:?}");
            response.end()
        };
        assert_eq!(ended("HTTP/1.1 200 OK\r\n\r\nall is"), Reading::Done);
        assert_eq!(ended("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall is"), Reading::Malformed);
        assert_eq!(ended("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nall is"), Reading::Malformed);
        assert_eq!(ended("HTTP/1.1 200 OK\r\nConte"), Reading::Malformed);
        assert_eq!(ended(""), Reading::Malformed);
    }

    #[test]
    fn what_is_no_answer() {
        for answer in [
            "SSH-2.0-OpenSSH_9.2\r\n",
            "HTTP/2 200\r\n",
            "HTTP/1.1 20\r\n",
            "HTTP/1.1 2000\r\n",
            "HTTP/1.1 099 x\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno field\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab",
        ] {
            let mut response = Response::new(b"well");
            let mut reading = response.read(answer.as_bytes());
            if reading == Reading::More {
                reading = response.read(b"\r\n\r\n");
            }
            assert_eq!(reading, Reading::Malformed, "{answer:?}");
        }
    }

    #[test]
    fn whatever_comes_has_an_end() {
        // A server that never ends its head, or its body, must not be read for ever.
        let mut response = Response::new(b"never");
        assert_eq!(response.read(b"HTTP/1.1 200 OK\r\n"), Reading::More);
        let endless = (0..).find(|_| response.read(&[b'a'; 100]) != Reading::More).unwrap();
        assert_eq!(endless, PROBE_HEAD / 100);
        let mut response = Response::new(b"never");
        assert_eq!(response.read(b"HTTP/1.1 200 OK\r\n\r\n"), Reading::More);
        let endless = (0..).find(|_| response.read(&[b'a'; 100]) == Reading::Done).unwrap();
        assert_eq!((endless, response.found()), (PROBE_BODY / 100, false));
    }

    #[test]
    fn a_needle_agrees_with_a_search() {
        // Texts that repeat themselves are where a search that forgets what it has seen goes wrong.
        let mut random = 1u64;
        let mut bit = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            b'a' + (random >> 62) as u8 / 2
        };
        for round in 0..5000 {
            let text: std::vec::Vec<u8> = (0..1 + round % 9).map(|_| bit()).collect();
            let stream: std::vec::Vec<u8> = (0..40).map(|_| bit()).collect();
            let mut needle = Needle::new(&text);
            stream.iter().for_each(|&byte| needle.see(byte));
            assert_eq!(needle.found(), stream.windows(text.len()).any(|window| window == text));
        }
    }
}
