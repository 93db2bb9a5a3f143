//! Heads of answers, and the shared buffers that rendered bodies wait in.

use super::request::Request;
use super::routes::{Answer, reason};
use crate::limits;
use core::ops::Range;

/// What a head says beside the answer itself.
pub struct HeadOf<'r> {
    /// What is answered, and its body's length in bytes.
    pub answer: &'r Answer,
    /// Length of the body in bytes, also when it is left out.
    pub body_len: usize,
    /// The request; `None` when it could not be understood.
    pub request: Option<&'r Request>,
    /// The boot, whose id begins every request id.
    pub boot_id: u64,
    /// The transaction.
    pub transaction: u32,
}

/// Writes the head into the beginning of `out` ([`limits::ANSWER_HEAD`] bytes suffice); returns its length.
pub fn write_head(head: &HeadOf<'_>, out: &mut [u8]) -> usize {
    let mut out = Out { out, len: 0 };
    let status = head.answer.status;
    out.put(b"HTTP/1.1 ");
    out.put(&decimal::<3>(u32::from(status)));
    out.put(b" ");
    out.put(reason(status).as_bytes());
    out.put(b"\r\nContent-Type: ");
    out.put(head.answer.media.name().as_bytes());
    out.put(b"\r\nContent-Length: ");
    let length = decimal::<5>(head.body_len as u32);
    let zeros = length.iter().take(length.len() - 1).take_while(|&&digit| digit == b'0').count();
    out.put(&length[zeros..]);
    out.put(head.answer.headers.as_bytes());
    if status == 503 {
        out.put(b"\r\nRetry-After: 1");
    }
    match head.request {
        Some(request) if request.keep_alive && request.say_keep_alive => out.put(b"\r\nConnection: keep-alive"),
        Some(request) if request.keep_alive => {}
        _ => out.put(b"\r\nConnection: close"),
    }
    if !head.answer.headers.starts_with("\r\nCache-Control: ") {
        out.put(b"\r\nCache-Control: no-store");
    }
    out.put(b"\r\nX-Content-Type-Options: nosniff\r\nX-Request-Id: ");
    let outside = head.request.map(|request| &request.outside);
    match outside.and_then(|outside| outside.request_id()) {
        Some(id) => out.put(id.as_bytes()),
        None => {
            out.put(&hex::<16>(head.boot_id));
            out.put(b"-");
            out.put(&hex::<8>(u64::from(head.transaction)));
        }
    }
    if let Some(trace) = outside.and_then(|outside| outside.trace()) {
        // W3C Trace Context Level 2, section 4: the caller learns the span we answered it in.
        out.put(b"\r\ntraceresponse: 00-");
        out.put(&hex::<16>(u64::from_be_bytes(*trace.id.first_chunk().unwrap_or(&[0; 8]))));
        out.put(&hex::<16>(u64::from_be_bytes(*trace.id.last_chunk().unwrap_or(&[0; 8]))));
        out.put(b"-");
        out.put(&hex::<16>(span(head.boot_id, head.transaction)));
        out.put(if trace.sampled { b"-01" } else { b"-00" });
    }
    out.put(b"\r\n\r\n");
    out.len
}

/// The id of our span of a transaction: never zero, the same wherever it is asked for.
pub fn span(boot_id: u64, transaction: u32) -> u64 {
    boot_id.wrapping_add(u64::from(transaction)).max(1)
}

/// Bytes into a slice whose size is known to suffice.
struct Out<'o> {
    out: &'o mut [u8],
    len: usize,
}

impl Out<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        debug_assert!(end <= self.out.len(), "ANSWER_HEAD is too small");
        if let Some(room) = self.out.get_mut(self.len..end) {
            room.copy_from_slice(bytes);
            self.len = end;
        }
    }
}

fn decimal<const DIGITS: usize>(mut number: u32) -> [u8; DIGITS] {
    let mut digits = [b'0'; DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    digits
}

/// The low digits of a number in hexadecimal.
pub fn hex<const DIGITS: usize>(number: u64) -> [u8; DIGITS] {
    const { assert!(DIGITS <= 16) };
    let digits = [eight_digits((number >> 32) as u32), eight_digits(number as u32)];
    let mut low = [0; DIGITS];
    low.copy_from_slice(&digits.as_flattened()[16 - DIGITS..]);
    low
}

/// All digits at once, a byte each: every answer has some.
fn eight_digits(number: u32) -> [u8; 8] {
    let halves = u64::from(number & 0xffff) | u64::from(number >> 16) << 32;
    let bytes = (halves & 0x0000_00ff_0000_00ff) | (halves & 0x0000_ff00_0000_ff00) << 8;
    let nibbles = (bytes & 0x000f_000f_000f_000f) | (bytes & 0x00f0_00f0_00f0_00f0) << 4;
    // 6 more than a nibble above 9 reaches the next bit.
    let letters = (nibbles + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    (nibbles + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

/// The shared buffers. Empty ones are all zeros: .bss in the image.
pub struct Memory {
    buffers: [[u8; limits::ANSWER]; limits::ANSWERS],
    /// How many answers are in each; several send the same one.
    users: [u16; limits::ANSWERS],
}

impl Memory {
    /// All free.
    pub const fn new() -> Memory {
        Memory { buffers: [[0; limits::ANSWER]; limits::ANSWERS], users: [0; limits::ANSWERS] }
    }

    /// Takes so many free buffers that lie side by side.
    pub fn take(&mut self, count: usize) -> Option<Range<usize>> {
        let first = self.users.windows(count).position(|buffers| buffers.iter().all(|&users| users == 0))?;
        let buffers = first..first + count;
        self.users[buffers.clone()].fill(1);
        Some(buffers)
    }

    /// Lets one more answer be in buffers that hold it already. `false`: as many buffers are shared as may be.
    pub fn share(&mut self, buffers: Range<usize>) -> bool {
        let shared = self.users.iter().filter(|&&users| users > 1).count();
        let users = &mut self.users[buffers];
        if users.contains(&1) && shared + users.len() > limits::ANSWERS_SHARED {
            return false;
        }
        users.iter_mut().for_each(|users| *users += 1);
        true
    }

    /// Whether nobody else has its answer in these buffers.
    pub fn is_alone(&self, buffers: Range<usize>) -> bool {
        self.users[buffers].iter().all(|&users| users == 1)
    }

    /// Gives buffers back; they are free when all who share them have.
    pub fn give_back(&mut self, buffers: Range<usize>) {
        self.users[buffers].iter_mut().for_each(|users| *users = users.saturating_sub(1));
    }

    /// The bytes of buffers that were taken together.
    pub fn get(&mut self, buffers: Range<usize>) -> &mut [u8] {
        self.buffers[buffers].as_flattened_mut()
    }

    /// How many are in use.
    pub fn in_use(&self) -> usize {
        self.users.iter().filter(|&&users| users > 0).count()
    }
}

impl Default for Memory {
    fn default() -> Self {
        Memory::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::{Parser, Progress};
    use crate::http::routes::{Body, Media};
    use crate::http::trace::Outside;

    fn request() -> Request {
        match Parser::new().feed(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").1 {
            Progress::Complete(request) => request,
            other => panic!("{other:?}"),
        }
    }

    fn head(status: u16, body_len: usize, request: Option<&Request>) -> String {
        let answer = Answer {
            status,
            media: Media::Text,
            body: Body::Fixed(b""),
            headers: if status == 405 { "\r\nAllow: GET" } else { "" },
        };
        let mut out = [0; limits::ANSWER_HEAD];
        let head = HeadOf { answer: &answer, body_len, request, boot_id: 0xab, transaction: 7 };
        let len = write_head(&head, &mut out);
        String::from_utf8(out[..len].to_vec()).unwrap()
    }

    #[test]
    fn hexadecimal_is_what_the_formatter_writes() {
        // A wrong digit joins two transactions, or none.
        for number in [0, 1, 9, 10, 0xf, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, u64::MAX, 0xa0a0_9090] {
            assert_eq!(hex::<16>(number), *format!("{number:016x}").as_bytes());
            assert_eq!(hex::<8>(number), *format!("{:08x}", number as u32).as_bytes());
            assert_eq!(hex::<2>(number), *format!("{:02x}", number as u8).as_bytes());
        }
    }

    #[test]
    fn golden_head() {
        // Every poller reads these bytes.
        assert_eq!(
            head(200, 2, Some(&request())),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
             X-Request-Id: 00000000000000ab-00000007\r\n\r\n"
        );
    }

    #[test]
    fn the_longest_head_fits() {
        // A head that is cut would run into the next answer.
        for status in [200, 405, 431, 503] {
            let text = head(status, limits::ANSWER, None);
            assert!(text.ends_with("\r\n\r\n") && text.contains("Connection: close"), "{text}");
            assert!(text.contains("Content-Length: 16384\r\n"));
        }
        assert!(head(200, 0, None).contains("Content-Length: 0\r\n"));
        let mut outside = Outside::NONE;
        outside.see_trace(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        outside.see_request_id(&[b'x'; 64]);
        let request = Request { say_keep_alive: true, outside, ..request() };
        let text = head(405, limits::ANSWER, Some(&request));
        assert!(
            text.ends_with("xxx\r\ntraceresponse: 00-4bf92f3577b34da6a3ce929d0e0e4736-00000000000000b2-01\r\n\r\n"),
            "{text}"
        );
    }
}
