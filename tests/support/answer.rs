//! An HTTP answer as a strict client reads it: what is not exactly as it must be is refused.

/// Answers with a head longer than this are refused by the parser.
const HEAD_MAX: usize = 4096;

/// Bodies longer than this are refused by the parser.
const BODY_MAX: usize = 256 * 1024;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// What every answer must have, whatever was asked (DESIGN 4.3).
    pub fn demands(&self) -> Result<(), String> {
        let has = |name| self.header(name).is_some_and(|value| !value.is_empty());
        if self.header("x-content-type-options") != Some("nosniff") {
            return Err(format!("X-Content-Type-Options is {:?}", self.header("x-content-type-options")));
        }
        let names: [(&str, bool); 4] = [
            ("content-type", !self.body.is_empty()),
            ("cache-control", !self.body.is_empty()),
            ("x-request-id", true),
            ("allow", self.status == 405),
        ];
        match names.into_iter().find(|&(name, needed)| needed && !has(name)) {
            Some((name, _)) => Err(format!("status {} and no header {name}", self.status)),
            None => Ok(()),
        }
    }
}

/// What the body must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "not every test program asks for all of them")]
pub enum Body {
    /// None at all: the answer to HEAD, whatever its Content-Length says.
    Head,
    /// Exactly `ok`, but for white space at the end, when the status is 200.
    Ok,
    /// A JSON document when the status is 200.
    Json,
    /// Anything.
    Any,
}

/// Takes one answer from the front of `bytes`; `Ok(None)`: not complete yet.
pub fn take_answer(bytes: &mut Vec<u8>, body: Body) -> Result<Option<Answer>, String> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if bytes.len() > HEAD_MAX { Err("the head does not end".into()) } else { Ok(None) };
    };
    let head = core::str::from_utf8(&bytes[..end]).map_err(|_| "the head is not text")?;
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let rest = status_line.strip_prefix("HTTP/1.1 ").ok_or_else(|| format!("status line {status_line:?}"))?;
    let (code, reason) = rest.split_once(' ').ok_or_else(|| format!("status line {status_line:?}"))?;
    let status: u16 = code.parse().map_err(|_| format!("status line {status_line:?}"))?;
    if code.len() != 3 || !(200..600).contains(&status) || reason.is_empty() {
        return Err(format!("status line {status_line:?}"));
    }
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("header line {line:?}"))?;
        let token = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if name.is_empty() || !name.chars().all(token) || value.chars().any(char::is_control) {
            return Err(format!("header line {line:?}"));
        }
        headers.push((name.to_ascii_lowercase(), value.trim().to_string()));
    }
    let mut lengths = headers.iter().filter(|(name, _)| name == "content-length");
    let length = match (lengths.next(), lengths.next()) {
        (Some((_, value)), None) => value.parse::<usize>().map_err(|_| format!("Content-Length {value:?}"))?,
        (None, _) => return Err(format!("no Content-Length in {head:?}")),
        (Some(_), Some(_)) => return Err("two Content-Lengths".into()),
    };
    if length > BODY_MAX {
        return Err(format!("Content-Length {length}"));
    }
    let total = end + 4 + if body == Body::Head { 0 } else { length };
    if bytes.len() < total {
        return Ok(None);
    }
    let answer = Answer { status, headers, body: bytes[end + 4..total].to_vec() };
    bytes.drain(..total);
    Ok(Some(answer))
}

impl Body {
    /// Whether an answer has the body it must have.
    pub fn check(self, answer: &Answer) -> Result<(), String> {
        let text = String::from_utf8_lossy(&answer.body);
        let right = match self {
            Body::Head | Body::Any => true,
            Body::Ok => answer.status != 200 || text.trim_end() == "ok",
            Body::Json => answer.status != 200 || (text.starts_with('{') && text.trim_end().ends_with('}')),
        };
        if right { Ok(()) } else { Err(format!("body {text:?}")) }
    }
}
