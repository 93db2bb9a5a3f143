//! The HTTP client's side of the contract (DESIGN 4.3), written without a look at the server: which requests are
//! sent, and what their answers must be.

use crate::answer::{Answer, Body};
use crate::openapi::{Interface, Seen};
use crate::rng::Rng;

/// What the answer to one request must be.
#[derive(Clone, Debug)]
pub struct Expectation {
    pub request: String,
    pub statuses: &'static [u16],
    pub body: Body,
    /// The request's own id, which the answer carries; none: the answer has one of the server's.
    pub id: Option<String>,
    /// The trace that the request belongs to, which the answer names.
    pub trace: Option<String>,
    /// The server closes after this answer.
    pub closes: bool,
}

impl Expectation {
    /// Whether others had the buffers that the answer would have been rendered into: it is asked for again. `/livez`
    /// and `/readyz` need none.
    pub fn found_busy(&self, answer: &Answer) -> bool {
        let needs_none = ["/livez", "/healthz", "/readyz "].iter().any(|path| self.request.contains(path));
        answer.status == 503 && answer.body == b"Service Unavailable" && !needs_none
    }

    /// Whether this answer is what it must be.
    pub fn check(&self, answer: &Answer) -> Result<(), String> {
        let request = &self.request;
        let busy = self.found_busy(answer);
        if busy && answer.header("retry-after").is_none() {
            return Err(format!("{request}: busy, and not said when to come again"));
        }
        if !busy && !self.statuses.contains(&answer.status) {
            return Err(format!("{request}: status {} instead of {:?}", answer.status, self.statuses));
        }
        answer.demands().map_err(|problem| format!("{request}: {problem}"))?;
        let id = answer.header("x-request-id");
        if self.id.as_deref().is_some_and(|own| id != Some(own)) {
            return Err(format!("{request}: request id {id:?} instead of {:?}", self.id));
        }
        if let Some(trace) = &self.trace {
            let response = answer.header("traceresponse").unwrap_or_default();
            if response.split('-').nth(1) != Some(trace) {
                return Err(format!("{request}: traceresponse {response:?} in trace {trace}"));
            }
        }
        if self.closes && answer.header("connection") != Some("close") {
            return Err(format!("{request}: does not say that it closes"));
        }
        self.body.check(answer).map_err(|problem| format!("{request}: {problem}"))?;
        let mut words = request.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some(method @ ("GET" | "HEAD" | "OPTIONS")), Some(target), Some("HTTP/1.0" | "HTTP/1.1")) => {
                let Answer { status, headers, body } = answer;
                Interface::get().judge(&Seen { method, target, status: *status, headers, body })
            }
            _ => Ok(()),
        }
    }
}

/// The requests of one connection, in order, with what must come back.
#[derive(Debug, Default)]
pub struct Conversation {
    pub bytes: Vec<u8>,
    pub expected: Vec<Expectation>,
    /// What is sent is not HTTP as it should be: any answer of the list may come, or none, and then the end.
    pub refusable: bool,
}

/// Paths with what they answer to GET: for everyone, and for the operator's networks only.
const PUBLIC: &[(&str, &[u16], Body)] = &[
    ("/livez", &[200], Body::Ok),
    ("/healthz", &[200], Body::Ok),
    ("/readyz", &[200, 503], Body::Ok),
    // Others may have the shared buffers, and UTC is not known from the first moment.
    ("/feed.atom", &[200, 503], Body::Any),
    ("/api/v2/summary.json", &[200, 503], Body::Any),
    ("/badge.svg", &[200, 503], Body::Any),
];
const OPERATOR: &[(&str, &[u16], Body)] = &[
    ("/status", &[200], Body::Json),
    ("/about", &[200], Body::Json),
    ("/metrics", &[200], Body::Any),
    ("/health", &[200, 503], Body::Any),
    ("/readyz/clock", &[200], Body::Any),
    ("/readyz/network", &[200, 503], Body::Any),
    ("/config", &[200], Body::Json),
    ("/debug/net", &[200], Body::Json),
    ("/events", &[200], Body::Any),
    ("/events?since=0&limit=1000", &[200], Body::Any),
    ("/events?limit=0", &[400], Body::Any),
    ("/events?boot=0123456789abcdef", &[404], Body::Any),
    ("/schema/", &[200], Body::Json),
    ("/schema/debug-net.json", &[200], Body::Any),
    ("/schema/events.json", &[200], Body::Any),
];
const UNKNOWN: &[(&str, &[u16], Body)] = &[("/nothing-here", &[404], Body::Any), ("/livez/x", &[404], Body::Any)];

/// What a refused request may be answered with.
const REFUSALS: &[u16] = &[400, 403, 404, 405, 408, 411, 413, 414, 417, 431, 501, 505];

impl Conversation {
    /// `count` good requests, the last of which may ask the server to close. `operator`: the client's address is
    /// in one of the operator's networks.
    pub fn good(rng: &mut Rng, count: usize, operator: bool) -> Conversation {
        let mut conversation = Conversation::default();
        for number in 1..=count {
            conversation.push_request(rng, number == count, operator);
        }
        conversation
    }

    fn push_request(&mut self, rng: &mut Rng, last: bool, operator: bool) {
        let (paths, method) = match rng.below(10) {
            0..=5 => (PUBLIC, "GET"),
            6 => (OPERATOR, "GET"),
            7 => (PUBLIC, "HEAD"),
            8 => (PUBLIC, "OPTIONS"),
            _ => (UNKNOWN, "GET"),
        };
        let (path, mut statuses, mut body) = rng.pick(paths);
        if core::ptr::eq(paths, OPERATOR) && !operator {
            (statuses, body) = (&[403], Body::Any);
        }
        match method {
            "HEAD" => body = Body::Head,
            "OPTIONS" => (statuses, body) = (&[200, 503], Body::Any),
            _ => {}
        }
        let (version, connection, closes) = match rng.below(if last { 4 } else { 1 }) {
            0 => ("1.1", "", false),
            1 => {
                ("1.1", rng.pick(&["Connection: close\r\n", "connection: CLOSE\r\n", "Connection:  Close \r\n"]), true)
            }
            2 => ("1.0", "", true),
            _ => ("1.0", "Connection: keep-alive\r\n", false),
        };
        let host = if version == "1.1" || rng.chance(500) { "Host: outpost\r\n" } else { "" };
        let mut filler = String::new();
        for number in 0..rng.below(4) {
            let value = "x".repeat(rng.below(120) as usize);
            filler += &format!("X-Filler-{number}: {value}\r\n");
        }
        let id = rng.chance(200).then(|| format!("client-{:016x}", rng.next()));
        let trace =
            rng.chance(200).then(|| format!("{:032x}", u128::from(rng.next()) << 64 | u128::from(rng.next() | 1)));
        if rng.chance(200) {
            filler += "Accept-Encoding: deflate;q=0.5, gzip\r\n";
        }
        if let Some(id) = &id {
            filler += &format!("X-Request-ID: {id}\r\n");
        }
        if let Some(trace) = &trace {
            filler += &format!("traceparent: 00-{trace}-00f067aa0ba902b7-01\r\n");
        }
        let request = format!("{method} {path} HTTP/{version}");
        self.bytes.extend(format!("{request}\r\n{host}{filler}{connection}\r\n").as_bytes());
        let request = request + " " + connection.trim();
        self.expected.push(Expectation { request, statuses, body, id, trace, closes });
    }

    /// One request that must be refused, with right status or a close.
    pub fn bad(rng: &mut Rng) -> Conversation {
        // Longer than a whole head may be.
        let long = "a".repeat(rng.range(9_000, 40_000) as usize);
        let (bytes, statuses): (Vec<u8>, &'static [u16]) = match rng.below(16) {
            0 => (rng.bytes(64), REFUSALS),
            1 => (b"GARBAGE\r\n\r\n".to_vec(), &[400]),
            2 => (b"GET /livez HTTP/2.0\r\nHost: a\r\n\r\n".to_vec(), &[505]),
            3 => (b"GET /livez HTTP/1.1\r\n\r\n".to_vec(), &[400]),
            4 => (b"BREW /livez HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), &[501, 405]),
            5 => (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes(), &[414]),
            6 => (format!("GET /livez HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n").into_bytes(), &[431]),
            7 => (b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_vec(), &[400]),
            8 => (b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1x\r\n\r\n".to_vec(), &[400]),
            9 => (b"POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc".to_vec(), &[405, 413, 501]),
            10 => {
                (b"POST /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(), REFUSALS)
            }
            11 => (b"GET /livez HTTP/1.1\r\nHost : a\r\n\r\n".to_vec(), &[400]),
            12 => (b"GET /livez HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n".to_vec(), &[400]),
            13 => (vec![b'G'; long.len()], REFUSALS),
            14 => (b"GET  /livez  HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), &[400]),
            _ => (vec![0; rng.range(1, 3000) as usize], REFUSALS),
        };
        let request = String::from_utf8_lossy(&bytes[..bytes.len().min(48)]).into_owned();
        let expectation = Expectation { request, statuses, body: Body::Any, id: None, trace: None, closes: false };
        Conversation { bytes, expected: vec![expectation], refusable: true }
    }

    /// A request that never ends: 408 or a close, by the server's deadline.
    pub fn truncated(rng: &mut Rng) -> Conversation {
        let whole: &[u8] = b"GET /livez HTTP/1.1\r\nHost: outpost\r\nX-Filler: 1\r\n\r\n";
        let bytes = whole[..rng.range(1, whole.len() as u64 - 1) as usize].to_vec();
        let request = String::from_utf8_lossy(&bytes).into_owned();
        let expectation =
            Expectation { request, statuses: &[408], body: Body::Any, id: None, trace: None, closes: false };
        Conversation { bytes, expected: vec![expectation], refusable: true }
    }
}
