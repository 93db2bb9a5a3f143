//! Reads an HTTP/1.x request line by line as it arrives.
//!
//! Nothing of the head is kept but what an answer depends on, so a head of 8 KiB needs no 8 KiB: only the request line
//! and the lines of such fields must fit the connection's receive buffer, a cookie of 4 KiB passes through it. The rules
//! are RFC 9112 (syntax) and RFC 9110 (semantics); where they let a server be lenient about something that request
//! smuggling lives on (bare LF, folded headers, space before a colon, both lengths), this parser refuses.
//!
//! A `Request` is parsed, not authorised.

use super::accept::Wants;
use super::document::Document;
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
    /// A signal: on `/beat` alone, elsewhere it is not allowed.
    Post,
    /// Known, and not allowed here (405).
    NotAllowed,
}

/// Why a request cannot be answered with what it asks for. The connection is closed after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400: it is not HTTP/1.x, or ambiguous.
    BadRequest,
    /// 400: it is a TLS handshake.
    Tls,
    /// 408: the rest of it did not come in time.
    Timeout,
    /// 411: it brings a body whose length it does not say.
    LengthRequired,
    /// 413: it brings a body, or one that is too long.
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
            Refusal::BadRequest | Refusal::Tls => 400,
            Refusal::Timeout => 408,
            Refusal::LengthRequired => 411,
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

impl Request {
    /// Whether only the addresses of `http.operator_allow` get what it asks for.
    pub const fn needs_operator(&self) -> bool {
        self.route.is_operator() || self.query.verbose
    }

    /// How many shared buffers its answer may need in an agent with so many checks.
    pub fn buffers(&self, checks: usize) -> usize {
        match (self.route, self.query.document.and_then(Document::get)) {
            (Route::Schema, Some(document)) => document.buffers(),
            _ => self.route.buffers(checks),
        }
    }
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
    /// Within a field value that nothing depends on.
    Value,
}

/// The fields that something depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Host,
    Connection,
    ContentLength,
    TransferEncoding,
    TraceParent,
    RequestId,
    Expect,
    Accept,
    AcceptEncoding,
    UserAgent,
    Authorization,
}

impl Field {
    const NAMES: [(&[u8], Field); 11] = [
        (b"host", Field::Host),
        (b"connection", Field::Connection),
        (b"content-length", Field::ContentLength),
        (b"transfer-encoding", Field::TransferEncoding),
        (b"traceparent", Field::TraceParent),
        (b"x-request-id", Field::RequestId),
        (b"expect", Field::Expect),
        (b"accept", Field::Accept),
        (b"accept-encoding", Field::AcceptEncoding),
        (b"user-agent", Field::UserAgent),
        (b"authorization", Field::Authorization),
    ];

    fn find(name: &[u8]) -> Option<Field> {
        Field::NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|&(_, field)| field)
    }
}

/// The state between two lines of one request.
#[derive(Clone, Copy, Debug)]
pub struct Parser {
    stage: Stage,
    request: Request,
    minor_version: u8,
    host_seen: bool,
    length: Option<u64>,
    /// Whether there is a transfer coding, and if so, whether the last one is `chunked`.
    chunked_last: Option<bool>,
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
            chunked_last: None,
            close: false,
            bytes: 0,
            lines: 0,
        }
    }

    /// Whether no line of a request has come yet.
    pub fn is_fresh(&self) -> bool {
        self.bytes == 0
    }

    /// Reads whole lines from `bytes`, and what has come of a field value that nothing depends on. Returns how many
    /// bytes were taken, and what came of them; after `Complete` or `Refused` a new parser is needed.
    pub fn feed(&mut self, bytes: &[u8]) -> (usize, Progress) {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            // What cannot begin a method (a TLS handshake) is told so at once; it may never send a line's end.
            if self.stage == Stage::RequestLine && rest.first().is_some_and(|&byte| byte != b'\r' && !is_token(byte)) {
                // RFC 8446, section 5.1: a record of type handshake.
                let refusal = if rest.starts_with(&[0x16]) { Refusal::Tls } else { Refusal::BadRequest };
                return (at, Progress::Refused(refusal));
            }
            let Some(len) = rest.iter().position(|&byte| byte == b'\n') else { break };
            at += len + 1;
            // RFC 9112, section 2.2: a lone LF may be taken for a line end; it may also hide a second request.
            let Some((b'\r', line)) = rest[..len].split_last() else {
                return (at, Progress::Refused(Refusal::BadRequest));
            };
            match self.line(line) {
                Ok(None) => {}
                Ok(Some(request)) => return (at, Progress::Complete(request)),
                Err(refusal) => return (at, Progress::Refused(refusal)),
            }
        }
        match self.pass_over(&bytes[at..]) {
            Ok(passed) => (at + passed, Progress::More),
            Err(refusal) => (at, Progress::Refused(refusal)),
        }
    }

    /// Takes what there is of a line without end, when it is in a value that nothing depends on.
    fn pass_over(&mut self, rest: &[u8]) -> Result<usize, Refusal> {
        if self.stage == Stage::Headers
            && let Some(colon) = rest.iter().position(|&byte| byte == b':')
            && is_field_name(&rest[..colon])
            && Field::find(&rest[..colon]).is_none()
        {
            self.stage = Stage::Value;
        }
        if self.stage != Stage::Value {
            return Ok(0);
        }
        // Whether a CR belongs to the line's end shows when the next byte comes.
        let value = rest.strip_suffix(b"\r").unwrap_or(rest);
        self.count(value.len())?;
        if is_field_value(value) { Ok(value.len()) } else { Err(Refusal::BadRequest) }
    }

    fn count(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.bytes = self.bytes.saturating_add(u16::try_from(bytes).unwrap_or(u16::MAX));
        if usize::from(self.bytes) > limits::HTTP_HEAD { Err(Refusal::HeadersTooLarge) } else { Ok(()) }
    }

    /// The refusal for a line that does not fit the receive buffer.
    pub fn line_too_long(&self) -> Refusal {
        match self.stage {
            Stage::RequestLine => Refusal::TargetTooLong,
            Stage::Headers | Stage::Value => Refusal::HeadersTooLarge,
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<Request>, Refusal> {
        self.count(line.len() + 2)?;
        self.lines = self.lines.saturating_add(1);
        if self.lines > limits::HTTP_HEAD_LINES {
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
            (Stage::Value, rest) if is_field_value(rest) => {
                self.stage = Stage::Headers;
                Ok(None)
            }
            (Stage::Value, _) => Err(Refusal::BadRequest),
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
            b"POST" => Method::Post,
            b"PUT" | b"DELETE" | b"PATCH" | b"CONNECT" | b"TRACE" => Method::NotAllowed,
            [] => return Err(Refusal::BadRequest),
            other if other.iter().all(|&byte| is_token(byte)) => return Err(Refusal::NotImplemented),
            _ => return Err(Refusal::BadRequest),
        };
        self.target(target, method == b"CONNECT")?;
        if self.request.method == Method::Post && self.request.route != Route::Beat {
            self.request.method = Method::NotAllowed;
        }
        Ok(())
    }

    /// RFC 9112, section 3.2: origin-form, absolute-form, `*` for OPTIONS, or authority-form for CONNECT.
    fn target(&mut self, target: &[u8], connect: bool) -> Result<(), Refusal> {
        if !target.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(Refusal::BadRequest);
        }
        let origin = match target {
            [b'/', ..] => target,
            b"*" if self.request.method == Method::Options => {
                self.request.route = Route::Server;
                return Ok(());
            }
            authority if connect && is_host(authority) => {
                self.request.route = Route::Server;
                return Ok(());
            }
            _ => {
                let (scheme, rest) = target.split_at_checked(7).ok_or(Refusal::BadRequest)?;
                let end = rest.iter().position(|&byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
                let (authority, rest) = rest.split_at(end);
                // RFC 9110, section 4.2.1: an empty host must be refused; 4.2.4: user information is bait.
                let named = authority.first().is_some_and(|&byte| byte != b':') && is_host(authority);
                if !scheme.eq_ignore_ascii_case(b"http://") || !named {
                    return Err(Refusal::BadRequest);
                }
                rest
            }
        };
        let (path, query) = match origin.iter().position(|&byte| byte == b'?') {
            Some(at) => (&origin[..at], &origin[at + 1..]),
            None => (origin, &b""[..]),
        };
        let path = if path.is_empty() { b"/" } else { path };
        if !is_encoded(path) || !is_encoded(query) {
            return Err(Refusal::BadRequest);
        }
        (self.request.route, self.request.query) = Route::find(path, query);
        Ok(())
    }

    /// RFC 9112, section 5: field-name ":" OWS field-value OWS.
    fn header(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let colon = line.iter().position(|&byte| byte == b':').ok_or(Refusal::BadRequest)?;
        let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
        // Also refuses folded lines (section 5.2) and space before the colon (section 5.1).
        if !is_field_name(name) || !is_field_value(value) {
            return Err(Refusal::BadRequest);
        }
        match Field::find(name) {
            Some(Field::Host) => {
                // RFC 9112, section 3.2: exactly one, and it must be a host.
                let twice = core::mem::replace(&mut self.host_seen, true);
                if twice || !is_host(value) { Err(Refusal::BadRequest) } else { Ok(()) }
            }
            Some(Field::Connection) => {
                for option in value.split(|&byte| byte == b',').map(trim) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.request.say_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
                Ok(())
            }
            Some(Field::ContentLength) => {
                let length = decimal(value).ok_or(Refusal::BadRequest)?;
                // RFC 9112, section 6.3: two lengths are an attack or a broken proxy.
                match self.length.replace(length) {
                    Some(other) if other != length => Err(Refusal::BadRequest),
                    _ => Ok(()),
                }
            }
            Some(Field::TransferEncoding) => {
                let last = value.rsplit(|&byte| byte == b',').next().map(trim);
                self.chunked_last = Some(last.is_some_and(|last| last.eq_ignore_ascii_case(b"chunked")));
                Ok(())
            }
            Some(Field::TraceParent) => {
                self.request.outside.see_trace(value);
                Ok(())
            }
            Some(Field::RequestId) => {
                self.request.outside.see_request_id(value);
                Ok(())
            }
            Some(Field::Accept) => {
                self.request.wants.see_accept(value);
                Ok(())
            }
            Some(Field::AcceptEncoding) => {
                self.request.wants.see_encoding(value);
                Ok(())
            }
            Some(Field::UserAgent) => {
                self.request.wants.see_agent(value);
                Ok(())
            }
            Some(Field::Authorization) => {
                if let Some(beat) = &mut self.request.query.beat {
                    beat.see_authorization(value);
                }
                Ok(())
            }
            // RFC 9110, section 10.1.1. What it would wait for is never read: the answer is the final one.
            Some(Field::Expect) if !value.eq_ignore_ascii_case(b"100-continue") => Err(Refusal::Expectation),
            Some(Field::Expect) | None => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<Request, Refusal> {
        if self.minor_version >= 1 && !self.host_seen {
            return Err(Refusal::BadRequest);
        }
        match (self.chunked_last, self.length) {
            (None, None | Some(0)) => {}
            // RFC 9112, sections 6.1 and 6.3: nobody knows where such a request ends. Both together are smuggling.
            (Some(_), Some(_)) | (Some(false), _) => return Err(Refusal::BadRequest),
            (Some(true), None) if self.minor_version == 0 => return Err(Refusal::BadRequest),
            // The method is what is wrong with it. Its body is not read, so nothing can come after it.
            _ if self.request.method == Method::NotAllowed => self.close = true,
            // Its body is dropped as it comes, after the answer (RFC 9112, section 9.6).
            (None, Some(length)) if self.request.method == Method::Post && length <= limits::BEAT_BODY => {
                self.close = true;
            }
            // RFC 9110, section 15.5.12.
            (Some(true), None) if self.request.method == Method::Post => return Err(Refusal::LengthRequired),
            (Some(true), None) => return Err(Refusal::NotImplemented),
            (None, Some(_)) => return Err(Refusal::BodyTooLarge),
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

fn is_field_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&byte| is_token(byte))
}

/// RFC 9110, section 5.5: CR, LF and NUL are dangerous, other controls have no meaning.
fn is_field_value(value: &[u8]) -> bool {
    value.iter().all(|&byte| (byte >= b' ' && byte != 0x7f) || byte == b'\t')
}

/// RFC 9110, section 5.6.3: white space is space and tab. What else `trim_ascii` takes away must be seen and refused.
fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// RFC 3986, section 3.2.2: a host, and maybe a port. A comma, which that allows, joins two Host fields into one.
fn is_host(text: &[u8]) -> bool {
    let end = match text {
        [b'[', ..] => text.iter().position(|&byte| byte == b']').map_or(0, |at| at + 1),
        _ => text.iter().position(|&byte| byte == b':').unwrap_or(text.len()),
    };
    let (name, port) = text.split_at(end);
    let named = match name {
        [b'[', literal @ .., b']'] => literal.iter().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(byte)),
        name => is_encoded(name) && name.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(b)),
    };
    named && matches!(port, [] | [b':', ..]) && port.iter().skip(1).all(u8::is_ascii_digit)
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
