//! Reads an HTTP/1.x request line by line as it arrives.
//!
//! Nothing of the head is kept but what an answer depends on, so a head of 8 KiB needs no 8 KiB: only one line at a
//! time must fit the connection's receive buffer. The rules are RFC 9112 (syntax) and RFC 9110 (semantics); where
//! they let a server be lenient about something that request smuggling lives on (bare LF, folded headers, space
//! before a colon, both lengths), this parser refuses.
//!
//! A `Request` is parsed, not authorised.

use super::accept::Wants;
use super::query::Query;
use super::routes::Route;
use super::trace::Outside;
use crate::limits;

/// What the client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The resource.
    Get,
    /// Its headers.
    Head,
    /// What may be asked of it.
    Options,
    /// Known, and not allowed here (405).
    NotAllowed,
}

/// Why a request cannot be answered with what it asks for. The connection is closed after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400: it is not HTTP/1.x, or ambiguous.
    BadRequest,
    /// 408: the rest of it did not come in time.
    Timeout,
    /// 413: it brings a body.
    BodyTooLarge,
    /// 414: its target is too long.
    TargetTooLong,
    /// 417: it expects something else than `100-continue`.
    Expectation,
    /// 431: a header line, or all of them together, are too long.
    HeadersTooLarge,
    /// 501: a method or transfer coding that is not implemented.
    NotImplemented,
    /// 505: not HTTP/1.x.
    Version,
}

impl Refusal {
    /// The status code that says so.
    pub const fn status(self) -> u16 {
        match self {
            Refusal::BadRequest => 400,
            Refusal::Timeout => 408,
            Refusal::BodyTooLarge => 413,
            Refusal::TargetTooLong => 414,
            Refusal::Expectation => 417,
            Refusal::HeadersTooLarge => 431,
            Refusal::NotImplemented => 501,
            Refusal::Version => 505,
        }
    }
}

/// A complete request head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub method: Method,
    /// What answers.
    pub route: Route,
    /// What the route was asked with.
    pub query: Query,
    /// In which form the answer is read best.
    pub wants: Wants,
    /// Whether the connection stays open after the answer.
    pub keep_alive: bool,
    /// Whether an HTTP/1.0 client asked to stay and must be told that it may.
    pub say_keep_alive: bool,
    /// The ids it brought.
    pub outside: Outside,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The line in hand is not complete.
    More,
    /// The head is complete.
    Complete(Request),
    /// It cannot be answered.
    Refused(Refusal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    RequestLine,
    Headers,
}

/// The state between two lines of one request.
#[derive(Clone, Copy, Debug)]
pub struct Parser {
    stage: Stage,
    request: Request,
    minor_version: u8,
    host_seen: bool,
    length: Option<u64>,
    transfer_encoding: bool,
    close: bool,
    /// Bytes and lines of this head so far.
    bytes: u16,
    lines: u8,
}

impl Parser {
    /// Before the first byte of a request.
    pub const fn new() -> Parser {
        Parser {
            stage: Stage::RequestLine,
            request: Request {
                method: Method::Get,
                route: Route::NotFound,
                query: Query::NONE,
                wants: Wants::ANYTHING,
                keep_alive: true,
                say_keep_alive: false,
                outside: Outside::NONE,
            },
            minor_version: 1,
            host_seen: false,
            length: None,
            transfer_encoding: false,
            close: false,
            bytes: 0,
            lines: 0,
        }
    }

    /// Whether no line of a request has come yet.
    pub fn is_fresh(&self) -> bool {
        self.bytes == 0
    }

    /// Reads whole lines from `bytes`. Returns how many bytes were taken, and what came of them; after `Complete`
    /// or `Refused` a new parser is needed.
    pub fn feed(&mut self, bytes: &[u8]) -> (usize, Progress) {
        let mut at = 0;
        while let Some(len) = bytes[at..].iter().position(|&byte| byte == b'\n') {
            let line = &bytes[at..at + len];
            at += len + 1;
            // RFC 9112, section 2.2: a lone LF may be taken for a line end; it may also hide a second request.
            let Some((b'\r', line)) = line.split_last() else {
                return (at, Progress::Refused(Refusal::BadRequest));
            };
            match self.line(line) {
                Ok(None) => {}
                Ok(Some(request)) => return (at, Progress::Complete(request)),
                Err(refusal) => return (at, Progress::Refused(refusal)),
            }
        }
        (at, Progress::More)
    }

    /// The refusal for a line that does not fit the receive buffer.
    pub fn line_too_long(&self) -> Refusal {
        match self.stage {
            Stage::RequestLine => Refusal::TargetTooLong,
            Stage::Headers => Refusal::HeadersTooLarge,
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<Request>, Refusal> {
        self.bytes = self.bytes.saturating_add(line.len() as u16 + 2);
        self.lines = self.lines.saturating_add(1);
        if usize::from(self.bytes) > limits::HTTP_HEAD || self.lines > limits::HTTP_HEAD_LINES {
            return Err(Refusal::HeadersTooLarge);
        }
        match (self.stage, line) {
            // RFC 9112, section 2.2: empty lines before a request line are passed over.
            (Stage::RequestLine, []) => Ok(None),
            (Stage::RequestLine, line) => {
                self.request_line(line)?;
                self.stage = Stage::Headers;
                Ok(None)
            }
            (Stage::Headers, []) => self.finish().map(Some),
            (Stage::Headers, line) => self.header(line).map(|()| None),
        }
    }

    /// RFC 9112, section 3: method SP request-target SP HTTP-version.
    fn request_line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let mut words = line.split(|&byte| byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Refusal::BadRequest);
        };
        self.minor_version = match version {
            b"HTTP/1.1" => 1,
            b"HTTP/1.0" => 0,
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
                // RFC 9110, section 2.5: a higher minor version is treated as the highest known.
                if *major == b'1' { 1 } else { return Err(Refusal::Version) }
            }
            _ => return Err(Refusal::BadRequest),
        };
        self.request.method = match method {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"OPTIONS" => Method::Options,
            b"POST" | b"PUT" | b"DELETE" | b"PATCH" | b"CONNECT" | b"TRACE" => Method::NotAllowed,
            [] => return Err(Refusal::BadRequest),
            other if other.iter().all(|&byte| is_token(byte)) => return Err(Refusal::NotImplemented),
            _ => return Err(Refusal::BadRequest),
        };
        self.target(target)
    }

    /// RFC 9112, section 3.2: origin-form, absolute-form, or `*` for OPTIONS.
    fn target(&mut self, target: &[u8]) -> Result<(), Refusal> {
        if !target.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(Refusal::BadRequest);
        }
        let origin = match target {
            [b'/', ..] => target,
            b"*" if self.request.method == Method::Options => {
                self.request.route = Route::Server;
                return Ok(());
            }
            _ => {
                let (scheme, rest) = target.split_at_checked(7).ok_or(Refusal::BadRequest)?;
                if !scheme.eq_ignore_ascii_case(b"http://") || rest.is_empty() || rest[0] == b'/' {
                    return Err(Refusal::BadRequest);
                }
                rest.iter().position(|&byte| byte == b'/').map_or(&b"/"[..], |path| &rest[path..])
            }
        };
        let (path, query) = match origin.iter().position(|&byte| byte == b'?') {
            Some(at) => (&origin[..at], &origin[at + 1..]),
            None => (origin, &b""[..]),
        };
        if !is_encoded(path) || !is_encoded(query) {
            return Err(Refusal::BadRequest);
        }
        (self.request.route, self.request.query) = Route::find(path, query);
        Ok(())
    }

    /// RFC 9112, section 5: field-name ":" OWS field-value OWS.
    fn header(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let colon = line.iter().position(|&byte| byte == b':').ok_or(Refusal::BadRequest)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        // Also refuses folded lines (section 5.2) and space before the colon (section 5.1).
        if name.is_empty() || !name.iter().all(|&byte| is_token(byte)) {
            return Err(Refusal::BadRequest);
        }
        // RFC 9110, section 5.5: CR, LF and NUL are dangerous, other controls have no meaning.
        if value.iter().any(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
            return Err(Refusal::BadRequest);
        }
        if name.eq_ignore_ascii_case(b"host") {
            self.host(value)
        } else if name.eq_ignore_ascii_case(b"connection") {
            for option in value.split(|&byte| byte == b',') {
                let option = option.trim_ascii();
                self.close |= option.eq_ignore_ascii_case(b"close");
                self.request.say_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            }
            Ok(())
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let length = decimal(value).ok_or(Refusal::BadRequest)?;
            // RFC 9112, section 6.3: two lengths are an attack or a broken proxy.
            match self.length.replace(length) {
                Some(other) if other != length => Err(Refusal::BadRequest),
                _ => Ok(()),
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.transfer_encoding = true;
            Ok(())
        } else if name.eq_ignore_ascii_case(b"accept") {
            self.request.wants.see_accept(value);
            Ok(())
        } else if name.eq_ignore_ascii_case(b"accept-encoding") {
            self.request.wants.see_encoding(value);
            Ok(())
        } else if name.eq_ignore_ascii_case(b"user-agent") {
            self.request.wants.see_agent(value);
            Ok(())
        } else if name.eq_ignore_ascii_case(b"traceparent") {
            self.request.outside.see_trace(value);
            Ok(())
        } else if name.eq_ignore_ascii_case(b"x-request-id") {
            self.request.outside.see_request_id(value);
            Ok(())
        } else if name.eq_ignore_ascii_case(b"expect") && !value.eq_ignore_ascii_case(b"100-continue") {
            // RFC 9110, section 10.1.1.
            Err(Refusal::Expectation)
        } else {
            Ok(())
        }
    }

    /// RFC 9112, section 3.2: exactly one Host, and it must be one.
    fn host(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let twice = core::mem::replace(&mut self.host_seen, true);
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+;=".contains(byte);
        if twice || !value.iter().all(allowed) { Err(Refusal::BadRequest) } else { Ok(()) }
    }

    fn finish(&mut self) -> Result<Request, Refusal> {
        if self.minor_version >= 1 && !self.host_seen {
            return Err(Refusal::BadRequest);
        }
        match (self.transfer_encoding, self.length) {
            // RFC 9112, section 6.1: both together are request smuggling.
            (true, Some(_)) => return Err(Refusal::BadRequest),
            (true, None) => return Err(Refusal::NotImplemented),
            (false, Some(length)) if length > 0 => return Err(Refusal::BodyTooLarge),
            _ => {}
        }
        let keep_alive = !self.close && (self.minor_version >= 1 || self.request.say_keep_alive);
        let say_keep_alive = keep_alive && self.request.say_keep_alive;
        Ok(Request { keep_alive, say_keep_alive, ..self.request })
    }
}

impl Default for Parser {
    fn default() -> Self {
        Parser::new()
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 3986, section 2.1: every `%` has two hex digits, and none of them makes a NUL.
fn is_encoded(text: &[u8]) -> bool {
    text.iter().enumerate().filter(|(_, byte)| **byte == b'%').all(|(at, _)| match text.get(at + 1..at + 3) {
        Some(digits) => digits.iter().all(u8::is_ascii_hexdigit) && digits != b"00",
        None => false,
    })
}

/// A number of digits only (no sign, no space); `None` when it is not one or does not fit.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Progress {
        Parser::new().feed(text.as_bytes()).1
    }

    fn complete(text: &str) -> Request {
        match parse(text) {
            Progress::Complete(request) => request,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn what_real_pollers_send() {
        // Each of these marks us down when it is misread.
        let keep = |text| complete(text).keep_alive;
        assert!(keep("GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(!keep("GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        assert!(!keep("GET /livez HTTP/1.1\r\nHost: a\r\nconnection:Foo , CLOSE\r\n\r\n"));
        assert!(!keep("OPTIONS / HTTP/1.0\r\n\r\n"), "HAProxy's default check");
        let ab = complete("GET /livez HTTP/1.0\r\nConnection: Keep-Alive\r\nHost: a:80\r\n\r\n");
        assert!(ab.keep_alive && ab.say_keep_alive, "ab -k");
        assert_eq!(complete("OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n").route, Route::Server);
        assert_eq!(complete("GET http://h:80/livez?x HTTP/1.1\r\nHost: h\r\n\r\n").route, Route::Livez);
        assert_eq!(complete("GET http://h HTTP/1.1\r\nHost: h\r\n\r\n").route, Route::Root);
        assert_eq!(complete("\r\n\r\nGET /%6Civez HTTP/1.1\r\nHost: h\r\n\r\n").route, Route::Livez);
        assert_eq!(complete("POST /livez HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").method, Method::NotAllowed);
    }

    #[test]
    fn refusals() {
        use Refusal::*;
        // Each line: what arrives, and the answer the RFC asks for. A wrong one is a smuggling hole or a dead client.
        for (text, refusal) in [
            ("GET / HTTP/1.1\n\n", BadRequest),
            ("GET / HTTP/1.1\r\n\r\n", BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", BadRequest),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", BadRequest),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", BadRequest),
            ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", BadRequest),
            ("GET / HTTP/1.1\r\nno colon\r\n\r\n", BadRequest),
            ("GET  / HTTP/1.1\r\n\r\n", BadRequest),
            ("GET / \r\n\r\n", BadRequest),
            ("GET /\r\n\r\n", BadRequest),
            ("GET / HTTP/1.1 x\r\n\r\n", BadRequest),
            ("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", BadRequest),
            ("GET /%0 HTTP/1.1\r\nHost: a\r\n\r\n", BadRequest),
            ("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", BadRequest),
            ("GET /#f HTTP/1.1\r\nHost: a\r\n\r\n", BadRequest),
            ("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", BadRequest),
            ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", BadRequest),
            ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", BadRequest),
            ("\u{16}\u{3}\u{1} tls hello\r\n", BadRequest),
            ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", NotImplemented),
            ("get / HTTP/1.1\r\nHost: a\r\n\r\n", NotImplemented),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Version),
            ("PRI * HTTP/2.0\r\n\r\n", Version),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", BodyTooLarge),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 0\r\n\r\n", BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 1\r\n\r\n", BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", NotImplemented),
            ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\n\r\n", Expectation),
        ] {
            assert_eq!(parse(text), Progress::Refused(refusal), "{text:?}");
        }
    }

    #[test]
    fn a_request_may_be_split_anywhere() {
        // Slow networks deliver a byte at a time.
        let text = b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET ";
        for split in 1..text.len() - 4 {
            let mut parser = Parser::new();
            let (first, progress) = parser.feed(&text[..split]);
            let progress = if progress == Progress::More { parser.feed(&text[first..]).1 } else { progress };
            let Progress::Complete(request) = progress else { panic!("split at {split}: {progress:?}") };
            assert!(!request.keep_alive && request.route == Route::Readyz);
        }
        assert_eq!(Parser::new().feed(text).0, text.len() - 4, "the next request is left alone");
    }

    #[test]
    fn heads_are_bounded() {
        // A client that never stops sending headers must not keep a connection for ever.
        let mut many = String::from("GET / HTTP/1.1\r\nHost: a\r\n");
        for _ in 0..limits::HTTP_HEAD_LINES {
            many += "X: y\r\n";
        }
        assert_eq!(parse(&many), Progress::Refused(Refusal::HeadersTooLarge));
        let mut long = String::from("GET / HTTP/1.1\r\nHost: a\r\n");
        for _ in 0..10 {
            long += &format!("X: {}\r\n", "y".repeat(1000));
        }
        assert_eq!(parse(&long), Progress::Refused(Refusal::HeadersTooLarge));
    }
}
