//! What HTTP/1.1 demands of a server, as one table: what a client sends, what it must get, and where that stands.
//!
//! The table knows nothing of the server but its routes (`/livez` says `ok`) and its published bounds (DESIGN 4.3). The
//! simulation runs it against the agent in virtual time, whole and byte by byte; the pollers' laboratory runs it
//! against the image over TCP.
//!
//! What must come back is written as the statuses of the answers, and how the connection goes on:
//!
//! | word | what it means |
//! |---|---|
//! | `200` | an answer with this status, and the body that belongs to it |
//! | `200h` | an answer to HEAD: no body |
//! | (nothing after the last answer) | the connection stays open, and the next request is answered |
//! | `close` | the server closes in order: all that was sent arrives, then FIN, no RST |
//! | `wait` | the server waits for more; once the deadline for a head has passed, it says 408 and closes |

/// One line of the table.
pub struct Case {
    /// Where the rule stands: RFC and section.
    pub rfc: &'static str,
    /// What is sent, in words.
    pub what: &'static str,
    /// What is sent.
    pub input: Vec<u8>,
    /// What must come back.
    pub expected: &'static str,
}

type Row<T> = (&'static str, &'static str, T, &'static str);

/// The whole table.
pub fn cases() -> Vec<Case> {
    let lines = LINES.iter().map(|&(rfc, what, line, expected)| case(rfc, what, host(line), expected));
    let fields = FIELDS.iter().map(|&(rfc, what, fields, expected)| case(rfc, what, livez(fields), expected));
    let whole = WHOLE.iter().map(|&(rfc, what, bytes, expected)| case(rfc, what, bytes.to_vec(), expected));
    lines.chain(fields).chain(whole).chain(long()).collect()
}

fn case(rfc: &'static str, what: &'static str, input: Vec<u8>, expected: &'static str) -> Case {
    Case { rfc, what, input, expected }
}

/// A request with this request line.
fn host(line: &[u8]) -> Vec<u8> {
    [line, b"\r\nHost: a\r\n\r\n"].concat()
}

/// A request for /livez with these lines beside its Host.
fn livez(fields: &[u8]) -> Vec<u8> {
    [b"GET /livez HTTP/1.1\r\nHost: a\r\n", fields, b"\r\n\r\n"].concat()
}

/// Request lines.
const LINES: &[Row<&[u8]>] = &[
    // Methods.
    ("9110 9.3.1", "GET", b"GET /livez HTTP/1.1", "200"),
    ("9110 9.3.2", "HEAD has no body", b"HEAD /livez HTTP/1.1", "200h"),
    ("9110 9.3.2", "HEAD of what is not there", b"HEAD /nothing HTTP/1.1", "404h"),
    ("9110 9.3.7", "OPTIONS of a path", b"OPTIONS /livez HTTP/1.1", "200"),
    ("9110 9.3.7", "OPTIONS of the server", b"OPTIONS * HTTP/1.1", "200"),
    ("9110 15.5.6", "POST is known and not allowed", b"POST /livez HTTP/1.1", "405"),
    ("9110 15.5.6", "PUT", b"PUT /livez HTTP/1.1", "405"),
    ("9110 15.5.6", "DELETE", b"DELETE /livez HTTP/1.1", "405"),
    ("9110 15.5.6", "PATCH", b"PATCH /livez HTTP/1.1", "405"),
    ("9110 9.3.8", "TRACE would echo secrets", b"TRACE /livez HTTP/1.1", "405"),
    ("9110 9.3.6", "CONNECT to a host: we are no proxy", b"CONNECT example.org:443 HTTP/1.1", "405"),
    ("9110 15.6.2", "a method that nobody knows", b"BREW /livez HTTP/1.1", "501 close"),
    ("9110 9.1", "methods are case-sensitive", b"get /livez HTTP/1.1", "501 close"),
    ("9110 5.6.2", "a method of all token characters", b"!#$%&'*+-.^_`|~09 /livez HTTP/1.1", "501 close"),
    ("9110 9.1", "a method that is no token", b"G@T /livez HTTP/1.1", "400 close"),
    ("9112 3", "no method", b" /livez HTTP/1.1", "400 close"),
    // The parts of the line and what is between them.
    ("9112 3", "only a method", b"GET", "400 close"),
    ("9112 3", "HTTP/0.9", b"GET /livez", "400 close"),
    ("9112 3", "HTTP/0.9 with a space", b"GET /livez ", "400 close"),
    ("9112 3", "no target", b"GET  HTTP/1.1", "400 close"),
    ("9112 3.2", "a space in the target", b"GET /live z HTTP/1.1", "400 close"),
    ("9112 3", "two spaces after the method", b"GET  /livez HTTP/1.1", "400 close"),
    ("9112 3", "two spaces before the version", b"GET /livez  HTTP/1.1", "400 close"),
    ("9112 3", "a space at the end", b"GET /livez HTTP/1.1 ", "400 close"),
    ("9112 3", "a space in front", b" GET /livez HTTP/1.1", "400 close"),
    ("9112 3", "a tab for a space", b"GET\t/livez HTTP/1.1", "400 close"),
    ("9112 3", "a vertical tab for a space", b"GET\x0b/livez HTTP/1.1", "400 close"),
    ("9112 2.2", "a CR for a space", b"GET\r/livez HTTP/1.1", "400 close"),
    ("9112 2.2", "a CR at the end", b"GET /livez HTTP/1.1\r", "400 close"),
    ("9112 2.2", "a lone LF", b"GET /livez HTTP/1.1\nX: y", "400 close"),
    ("9112 3", "a NUL in the method", b"GE\0T /livez HTTP/1.1", "400 close"),
    ("9112 3", "a NUL before the method", b"\0GET /livez HTTP/1.1", "400 close"),
    ("9112 3", "a NUL after the version", b"GET /livez HTTP/1.1\0", "400 close"),
    // Versions.
    ("9112 9.3", "HTTP/1.0 closes", b"GET /livez HTTP/1.0", "200 close"),
    ("9110 2.5", "a minor version to come", b"GET /livez HTTP/1.2", "200"),
    ("9110 2.5", "the last minor version", b"GET /livez HTTP/1.9", "200"),
    ("9110 15.6.6", "HTTP/0.9 with a version", b"GET /livez HTTP/0.9", "505 close"),
    ("9110 15.6.6", "HTTP/2", b"GET /livez HTTP/2.0", "505 close"),
    ("9110 15.6.6", "HTTP/9.9", b"GET /livez HTTP/9.9", "505 close"),
    ("9112 2.3", "a version in lower case", b"GET /livez http/1.1", "400 close"),
    ("9112 2.3", "two digits", b"GET /livez HTTP/1.10", "400 close"),
    ("9112 2.3", "two digits in front", b"GET /livez HTTP/01.1", "400 close"),
    ("9112 2.3", "no minor version", b"GET /livez HTTP/1", "400 close"),
    ("9112 2.3", "half a version", b"GET /livez HTTP/1.", "400 close"),
    ("9112 2.3", "a letter", b"GET /livez HTTP/1.x", "400 close"),
    ("9112 2.3", "a comma", b"GET /livez HTTP/1,1", "400 close"),
    ("9112 2.3", "another protocol", b"GET /livez ICAP/1.0", "400 close"),
    // Origin-form.
    ("9112 3.2.1", "a path that is not there", b"GET /nothing HTTP/1.1", "404"),
    ("3986 6.2.3", "paths are not normalised: a slash at the end", b"GET /livez/ HTTP/1.1", "404"),
    ("3986 6.2.3", "two slashes", b"GET //livez HTTP/1.1", "404"),
    ("3986 6.2.2.3", "dot segments", b"GET /x/../livez HTTP/1.1", "404"),
    ("3986 6.2.2.3", "dots that leave the root", b"GET /../../etc/passwd HTTP/1.1", "404"),
    ("3986 3.3", "paths are case-sensitive", b"GET /LIVEZ HTTP/1.1", "404"),
    ("3986 3.3", "parameters of a segment", b"GET /livez;v=1 HTTP/1.1", "404"),
    ("3986 3.4", "an empty query", b"GET /livez? HTTP/1.1", "200"),
    ("3986 3.4", "a query that nobody knows", b"GET /livez?a=b&c HTTP/1.1", "200"),
    ("3986 3.4", "question marks in a query", b"GET /livez?a?b?c HTTP/1.1", "200"),
    ("3986 3.4", "a path in a query", b"GET /livez?/../x HTTP/1.1", "200"),
    ("9112 3.2", "a fragment is not sent", b"GET /livez#top HTTP/1.1", "400 close"),
    ("9112 3.2.1", "a target without slash", b"GET livez HTTP/1.1", "400 close"),
    ("9112 3.2.1", "a backslash for a slash", b"GET \\livez HTTP/1.1", "400 close"),
    ("9112 3.2", "bytes that are not ASCII", b"GET /\xc3\xa4 HTTP/1.1", "400 close"),
    ("9112 3.2", "a NUL in the target", b"GET /livez\0 HTTP/1.1", "400 close"),
    ("9112 3.2", "a control in the target", b"GET /livez\x7f HTTP/1.1", "400 close"),
    ("9112 3.2", "a control in the query", b"GET /livez?a=\x01 HTTP/1.1", "400 close"),
    // Percent-encoding.
    ("3986 6.2.2.2", "an encoded letter", b"GET /%6Civez HTTP/1.1", "200"),
    ("3986 6.2.2.1", "hex digits of both cases", b"GET /%6c%69%76%65%7A HTTP/1.1", "200"),
    ("3986 2.2", "an encoded slash is not a slash", b"GET /%2Flivez HTTP/1.1", "404"),
    ("3986 2.2", "an encoded question mark belongs to the path", b"GET /livez%3Fverbose HTTP/1.1", "404"),
    ("3986 2.4", "encoded once, decoded once", b"GET /%256Civez HTTP/1.1", "404"),
    ("3986 2.1", "half an encoding", b"GET /livez% HTTP/1.1", "400 close"),
    ("3986 2.1", "half an encoding and one digit", b"GET /livez%4 HTTP/1.1", "400 close"),
    ("3986 2.1", "digits that are none", b"GET /%zzlivez HTTP/1.1", "400 close"),
    ("3986 7.3", "an encoded NUL", b"GET /livez%00 HTTP/1.1", "400 close"),
    ("3986 2.1", "half an encoding in the query", b"GET /livez?% HTTP/1.1", "400 close"),
    ("3986 7.3", "an encoded NUL in the query", b"GET /livez?a=%00 HTTP/1.1", "400 close"),
    ("3986 7.3", "an encoded line end is no line end", b"GET /livez%0d%0aX:%20y HTTP/1.1", "404"),
    // Absolute-form, authority-form, asterisk-form.
    ("9112 3.2.2", "absolute-form", b"GET http://a/livez HTTP/1.1", "200"),
    ("9112 3.2.2", "with a port", b"GET http://a:80/livez HTTP/1.1", "200"),
    ("9112 3.2.2", "with another host than Host", b"GET http://b/livez HTTP/1.1", "200"),
    ("9110 4.2.3", "schemes know no case", b"GET HTTP://a/livez HTTP/1.1", "200"),
    ("9110 4.2.3", "no path is the root", b"OPTIONS http://a HTTP/1.1", "200"),
    ("9112 3.2.2", "a query behind no path", b"OPTIONS http://a?x=/nothing HTTP/1.1", "200"),
    ("9112 3.2.2", "an IPv6 address", b"GET http://[::1]:80/livez HTTP/1.1", "200"),
    ("9110 4.2.1", "no host", b"GET http:///livez HTTP/1.1", "400 close"),
    ("9110 4.2.1", "a port without host", b"GET http://:80/livez HTTP/1.1", "400 close"),
    ("9110 4.2.4", "user information", b"GET http://user@a/livez HTTP/1.1", "400 close"),
    ("3986 3.2.3", "a port that is no number", b"GET http://a:b/livez HTTP/1.1", "400 close"),
    ("9110 4.2.2", "https, and this is not", b"GET https://a/livez HTTP/1.1", "400 close"),
    ("9112 3.2.2", "another scheme", b"GET file:///livez HTTP/1.1", "400 close"),
    ("9112 3.2.3", "authority-form is for CONNECT", b"GET a:80 HTTP/1.1", "400 close"),
    ("9112 3.2.3", "CONNECT to a path", b"CONNECT example.org:443/x HTTP/1.1", "400 close"),
    ("9112 3.2.4", "the asterisk is for OPTIONS", b"GET * HTTP/1.1", "400 close"),
    ("9112 3.2.4", "more than the asterisk", b"OPTIONS ** HTTP/1.1", "400 close"),
];

/// Fields of a request for /livez that has a Host already.
const FIELDS: &[Row<&[u8]>] = &[
    // Syntax.
    ("9112 5", "an ordinary field", b"X: y", "200"),
    ("9112 5", "no value", b"X:", "200"),
    ("9112 5", "no space before the value", b"X:y", "200"),
    ("9112 5", "tabs around the value", b"X:\t y \t", "200"),
    ("9110 5.5", "bytes above ASCII", b"X: \xff\x80", "200"),
    ("9110 5.6.2", "a name of all token characters", b"!#$%&'*+-.^_`|~09aZ: y", "200"),
    ("9110 5.3", "one name many times", b"X: 1\r\nX: 2\r\nx: 3", "200"),
    ("9112 5", "no colon", b"X y", "400 close"),
    ("9112 5", "no name", b": y", "400 close"),
    ("9112 5.1", "a space before the colon", b"X : y", "400 close"),
    ("9112 5.1", "a tab before the colon", b"X\t: y", "400 close"),
    ("9112 5.2", "a folded line", b"X: y\r\n z", "400 close"),
    ("9112 5.2", "a line folded with a tab", b"X: y\r\n\tz", "400 close"),
    ("9112 5.2", "a folded line that hides a field", b"X: y\r\n Content-Length: 5", "400 close"),
    ("9110 5.1", "a space in the name", b"X Y: z", "400 close"),
    ("9110 5.1", "brackets in the name", b"X(Y): z", "400 close"),
    ("9110 5.1", "a NUL in the name", b"X\0: y", "400 close"),
    ("9110 5.1", "bytes above ASCII in the name", b"X\xe9: y", "400 close"),
    ("9110 5.5", "a NUL in the value", b"X: \0", "400 close"),
    ("9110 5.5", "a control in the value", b"X: y\x01", "400 close"),
    ("9110 5.5", "DEL", b"X: y\x7f", "400 close"),
    ("9110 5.5", "a form feed at the end of the value", b"X: y\x0c", "400 close"),
    ("9110 5.5", "a form feed before the value", b"X:\x0cy", "400 close"),
    ("9112 2.2", "a CR in the value", b"X: y\rZ: z", "400 close"),
    ("9112 2.2", "a CR at the end of the value", b"X: y\r", "400 close"),
    ("9112 2.2", "a lone LF between fields", b"X: y\nZ: z", "400 close"),
    ("9112 2.2", "an empty line of a lone LF", b"X: y\r\n\nGET /x HTTP/1.1", "400 close"),
    // Host.
    ("9112 3.2", "Host twice", b"Host: b", "400 close"),
    ("9112 3.2", "the same Host twice", b"Host: a", "400 close"),
    ("9112 3.2", "a second Host in another case", b"hOST: b", "400 close"),
    // Content-Length.
    ("9110 8.6", "a body of no bytes", b"Content-Length: 0", "200"),
    ("9110 8.6", "zeros", b"Content-Length: 000", "200"),
    ("9110 8.6", "the same twice", b"Content-Length: 0\r\nContent-Length: 0", "200"),
    ("9112 6.3", "two lengths", b"Content-Length: 0\r\nContent-Length: 5", "400 close"),
    ("9112 6.3", "two lengths, the larger first", b"Content-Length: 5\r\nContent-Length: 0", "400 close"),
    ("9112 6.3", "two lengths in one", b"Content-Length: 0, 5", "400 close"),
    ("9112 6.3", "the same length twice in one", b"Content-Length: 0, 0", "400 close"),
    ("9110 8.6", "an empty length", b"Content-Length:", "400 close"),
    ("9110 8.6", "a plus", b"Content-Length: +0", "400 close"),
    ("9110 8.6", "a minus", b"Content-Length: -1", "400 close"),
    ("9110 8.6", "hexadecimal", b"Content-Length: 0x0", "400 close"),
    ("9110 8.6", "a space within", b"Content-Length: 0 0", "400 close"),
    ("9110 8.6", "an underscore within", b"Content-Length: 1_0", "400 close"),
    ("9110 8.6", "a fraction", b"Content-Length: 0.0", "400 close"),
    ("9110 8.6", "a power", b"Content-Length: 1e1", "400 close"),
    ("9110 8.6", "digits of another script", b"Content-Length: \xd9\xa0", "400 close"),
    ("9110 8.6", "more than 64 bits", b"Content-Length: 18446744073709551616", "400 close"),
    ("9110 8.6", "more than 64 bits, which may wrap to 0", b"Content-Length: 36893488147419103232", "400 close"),
    ("9110 15.5.14", "the largest length", b"Content-Length: 18446744073709551615", "413 close"),
    ("9110 15.5.14", "a body that does not come", b"Content-Length: 5", "413 close"),
    ("9110 15.5.14", "a body to HEAD's like", b"Content-Length: 5\r\n\r\nhello", "413 close"),
    ("9110 8.6", "a name that only looks like it", b"Content_Length: 5", "200"),
    // Transfer-Encoding.
    ("9112 6.1", "chunked: not implemented", b"Transfer-Encoding: chunked\r\n\r\n0", "501 close"),
    ("9112 7", "codings know no case", b"Transfer-Encoding: CHUNKED\r\n\r\n0", "501 close"),
    ("9112 6.1", "gzip, then chunked", b"Transfer-Encoding: gzip, chunked\r\n\r\n0", "501 close"),
    ("9112 6.1", "chunked in a second line", b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", "501 close"),
    ("9112 6.3", "both lengths", b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0", "400 close"),
    ("9112 6.3", "both lengths, the other way round", b"Content-Length: 5\r\nTransfer-Encoding: chunked", "400 close"),
    ("9112 6.3", "both, and a length of 0", b"Content-Length: 0\r\nTransfer-Encoding: chunked", "400 close"),
    ("9112 6.3", "both, and the coding is none", b"Content-Length: 0\r\nTransfer-Encoding: identity", "400 close"),
    ("9112 6.3", "chunked is not the last", b"Transfer-Encoding: chunked, gzip", "400 close"),
    ("9112 6.3", "not chunked at all", b"Transfer-Encoding: gzip", "400 close"),
    ("9112 6.3", "identity, which is no more", b"Transfer-Encoding: identity", "400 close"),
    ("9112 6.3", "an empty coding", b"Transfer-Encoding:", "400 close"),
    (
        "9112 6.3",
        "chunked, then identity in a second line",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "400 close",
    ),
    ("9112 6.3", "nearly chunked", b"Transfer-Encoding: xchunked", "400 close"),
    ("9112 6.3", "chunked in quotes", b"Transfer-Encoding: \"chunked\"", "400 close"),
    ("9112 6.3", "chunked with a parameter", b"Transfer-Encoding: chunked;x=y", "400 close"),
    ("9112 6.3", "a comma after it", b"Transfer-Encoding: chunked,", "400 close"),
    ("9112 5.1", "a space before the colon", b"Transfer-Encoding : chunked", "400 close"),
    ("9110 5.5", "a vertical tab before the coding", b"Transfer-Encoding: \x0bchunked", "400 close"),
    ("9112 5.2", "hidden in a folded line", b"X: y\r\n Transfer-Encoding: chunked", "400 close"),
    ("9112 2.2", "hidden behind a lone LF", b"X: y\nTransfer-Encoding: chunked", "400 close"),
    ("9112 2.2", "hidden behind a lone CR", b"X: y\rTransfer-Encoding: chunked", "400 close"),
    ("9110 5.1", "a name that only looks like it", b"Transfer_Encoding: chunked", "200"),
    ("9112 7.1", "chunks without end", b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\nx", "501 close"),
    ("9112 7.1", "a chunk of negative size", b"Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0", "501 close"),
    // Expect.
    ("9110 10.1.1", "nothing to wait for", b"Expect: 100-continue", "200"),
    ("9110 10.1.1", "in any case", b"Expect: 100-Continue\r\nContent-Length: 0", "200"),
    ("9110 10.1.1", "the final answer comes at once", b"Expect: 100-continue\r\nContent-Length: 5", "413 close"),
    ("9110 15.5.18", "something else", b"Expect: magic", "417 close"),
    ("9110 15.5.18", "something more", b"Expect: 100-continue, magic", "417 close"),
    // Connection.
    ("9112 9.3", "keep-alive is what happens anyway", b"Connection: keep-alive", "200"),
    ("9112 9.6", "close", b"Connection: close", "200 close"),
    ("9110 7.6.1", "options know no case", b"connection: CLOSE", "200 close"),
    ("9110 7.6.1", "close in a list", b"Connection: foo,\tclose , bar", "200 close"),
    ("9110 7.6.1", "close in a second line", b"Connection: foo\r\nConnection: close", "200 close"),
    ("9112 9.3", "close goes before keep-alive", b"Connection: keep-alive, close", "200 close"),
    (
        "9112 9.3",
        "close goes before keep-alive, in two lines",
        b"Connection: close\r\nConnection: keep-alive",
        "200 close",
    ),
    ("9110 5.6.1.2", "empty elements of a list", b"Connection: , ,close,", "200 close"),
    ("9110 7.6.1", "what only looks like close", b"Connection: closed, xclose, \"close\"", "200"),
    ("9110 7.6.1", "an empty list", b"Connection:", "200"),
    ("9110 7.6.1", "fields that are named are not needed", b"Connection: host, x\r\nX: y", "200"),
    (
        "9110 7.8",
        "an upgrade may be passed over",
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA",
        "200",
    ),
    (
        "6455 4.2.2",
        "no web socket here",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13",
        "200",
    ),
    // Fields that ask for less or other than everything.
    ("9110 14.2", "a range may be passed over", b"Range: bytes=0-0", "200"),
    ("9110 13.1.2", "a condition on what has no tag", b"If-None-Match: \"x\"", "200"),
    ("9110 12.5.3", "a coding of the answer that we do not have", b"Accept-Encoding: br;q=1, *;q=0", "200"),
    ("9110 10.1.4", "trailers", b"TE: trailers\r\nTrailer: X", "200"),
];

/// Whole connections.
const WHOLE: &[Row<&[u8]>] = &[
    // Host.
    ("9112 3.2", "HTTP/1.1 without Host", b"GET /livez HTTP/1.1\r\n\r\n", "400 close"),
    ("9112 3.2", "a later minor version without Host", b"GET /livez HTTP/1.2\r\n\r\n", "400 close"),
    ("9112 3.2", "absolute-form does not replace Host", b"GET http://a/livez HTTP/1.1\r\n\r\n", "400 close"),
    ("9112 3.2", "HTTP/1.0 needs no Host", b"GET /livez HTTP/1.0\r\n\r\n", "200 close"),
    ("9112 3.2", "an empty Host", b"GET /livez HTTP/1.1\r\nHost:\r\n\r\n", "200"),
    ("9110 7.2", "Host with a port", b"GET /livez HTTP/1.1\r\nHost: a:80\r\n\r\n", "200"),
    ("9110 7.2", "Host with an empty port", b"GET /livez HTTP/1.1\r\nHost: a:\r\n\r\n", "200"),
    ("9110 7.2", "Host is an IPv6 address", b"GET /livez HTTP/1.1\r\nHost: [fe80::1]:80\r\n\r\n", "200"),
    ("3986 3.2.2", "Host with an underscore", b"GET /livez HTTP/1.1\r\nHost: a_b.c\r\n\r\n", "200"),
    ("9112 3.2", "Host with a space", b"GET /livez HTTP/1.1\r\nHost: a b\r\n\r\n", "400 close"),
    ("9112 3.2", "Host with a path", b"GET /livez HTTP/1.1\r\nHost: a/b\r\n\r\n", "400 close"),
    ("9112 3.2", "Host with a user", b"GET /livez HTTP/1.1\r\nHost: u@a\r\n\r\n", "400 close"),
    ("9112 3.2", "two hosts in one", b"GET /livez HTTP/1.1\r\nHost: a, b\r\n\r\n", "400 close"),
    ("9112 3.2", "two hosts in one, without space", b"GET /livez HTTP/1.1\r\nHost: a,b\r\n\r\n", "400 close"),
    ("9112 3.2", "a port that is no number", b"GET /livez HTTP/1.1\r\nHost: a:b\r\n\r\n", "400 close"),
    ("9112 3.2", "two ports", b"GET /livez HTTP/1.1\r\nHost: a:80:81\r\n\r\n", "400 close"),
    ("9112 3.2", "half an address", b"GET /livez HTTP/1.1\r\nHost: [::1\r\n\r\n", "400 close"),
    ("9112 3.2", "more than an address", b"GET /livez HTTP/1.1\r\nHost: [::1]x\r\n\r\n", "400 close"),
    ("9112 3.2", "an address of letters", b"GET /livez HTTP/1.1\r\nHost: [zz]\r\n\r\n", "400 close"),
    ("9112 3.2", "half an encoding in Host", b"GET /livez HTTP/1.1\r\nHost: a%2\r\n\r\n", "400 close"),
    ("9112 3.2", "bytes above ASCII in Host", b"GET /livez HTTP/1.1\r\nHost: \xe4\r\n\r\n", "400 close"),
    ("9112 3.2", "Host before its line", b"Host: a\r\nGET /livez HTTP/1.1\r\n\r\n", "400 close"),
    // Space before the first field and empty lines.
    ("9112 2.2", "space before the first field", b"GET /livez HTTP/1.1\r\n Host: a\r\n\r\n", "400 close"),
    ("9112 2.2", "a space-only first line", b"GET /livez HTTP/1.1\r\n \r\nHost: a\r\n\r\n", "400 close"),
    ("9112 2.2", "empty lines before the request", b"\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n", "200"),
    ("9112 2.2", "empty lines of lone LFs", b"\n\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n", "400 close"),
    ("9112 2.2", "a CR before the request", b"\rGET /livez HTTP/1.1\r\nHost: a\r\n\r\n", "400 close"),
    ("9112 2.2", "lone LFs everywhere", b"GET /livez HTTP/1.1\nHost: a\n\n", "400 close"),
    ("9112 2.2", "lone CRs everywhere", b"GET /livez HTTP/1.1\rHost: a\r\r\n\r\n", "400 close"),
    ("9112 2.2", "a head that ends with a lone LF", b"GET /livez HTTP/1.1\r\nHost: a\r\n\n", "400 close"),
    // Connections of HTTP/1.0.
    ("9112 9.3", "HTTP/1.0 with keep-alive", b"GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "200"),
    ("9112 9.3", "in any case", b"GET /livez HTTP/1.0\r\nCONNECTION: Keep-Alive\r\n\r\n", "200"),
    ("9112 9.3", "and close", b"GET /livez HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", "200 close"),
    ("9112 C.2.2", "a proxy's word is not ours", b"GET /livez HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n", "200 close"),
    ("9112 9.3", "OPTIONS of HTTP/1.0 closes", b"OPTIONS / HTTP/1.0\r\n\r\n", "200 close"),
    ("9110 10.1.1", "HTTP/1.0 expects nothing", b"GET /livez HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", "200 close"),
    ("9112 6.1", "HTTP/1.0 has no codings", b"GET /livez HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 close"),
    // Bodies of methods that may have one.
    ("9110 15.5.12", "a body without a length where one may be", b"POST /beat HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "411 close"),
    ("9110 15.5.14", "a body that is too long where one may be", b"POST /beat HTTP/1.1\r\nHost: a\r\nContent-Length: 16385\r\n\r\n", "413 close"),
    ("9110 9.3.3", "a body that may be, to nobody", b"POST /beat HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "404 close"),
    ("9110 15.5.6", "POST with a body", b"POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "405 close"),
    ("9110 15.5.6", "POST without its body", b"POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", "405 close"),
    ("9110 15.5.6", "POST of no bytes", b"POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "405"),
    ("9110 15.5.6", "POST in chunks", b"POST /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "405 close"),
    ("9112 6.3", "POST with both lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 close"),
    ("9110 9.3.7", "OPTIONS with a body", b"OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", "413 close"),
    // Smuggling: what comes behind a body is never a request.
    ("9112 11.2", "a request in a body", b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 44\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\nX: abcdefgh\r\n\r\n", "413 close"),
    ("9112 11.2", "a request behind chunks", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n", "405 close"),
    ("9112 11.2", "a request behind both lengths", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n", "400 close"),
    ("9112 11.2", "a request behind an HTTP/1.0 coding", b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n", "400 close"),
    // Pipelines.
    ("9112 9.3.2", "three at once", b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\nHEAD /livez HTTP/1.1\r\nHost: a\r\n\r\nGET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", "200 200h 404"),
    ("9112 9.6", "nothing after close", b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n", "200 close"),
    ("9112 9.3", "nothing after HTTP/1.0", b"GET /livez HTTP/1.0\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n", "200 close"),
    ("9112 9.3", "HTTP/1.0 keeps, HTTP/1.1 goes on", b"GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n", "200 200"),
    ("9112 9.3.2", "404 and 405 do not end a pipeline", b"GET /x HTTP/1.1\r\nHost: a\r\n\r\nPUT / HTTP/1.1\r\nHost: a\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n", "404 405 200"),
    ("9112 9.3.2", "garbage after a request", b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\ngarbage\r\n\r\n", "200 400 close"),
    ("9112 9.3.2", "nothing after garbage", b"garbage\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n", "400 close"),
    ("9112 2.2", "empty lines between requests", b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n", "200 200"),
    ("9112 9.3.2", "the fields of one are not those of the next", b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Request-ID: one\r\n\r\nGET /livez HTTP/1.1\r\n\r\n", "200 400 close"),
    // What is not complete.
    ("9112 8", "half a method", b"GE", "wait"),
    ("9112 8", "a request line without end", b"GET /livez HTTP/1.1", "wait"),
    ("9112 8", "a CR without LF", b"GET /livez HTTP/1.1\r", "wait"),
    ("9112 8", "a head without its empty line", b"GET /livez HTTP/1.1\r\nHost: a\r\n", "wait"),
    ("9112 8", "half an empty line", b"GET /livez HTTP/1.1\r\nHost: a\r\n\r", "wait"),
    ("9112 8", "half a field name", b"GET /livez HTTP/1.1\r\nHo", "wait"),
    ("9112 8", "half a value", b"GET /livez HTTP/1.1\r\nHost: a\r\nX: y", "wait"),
    ("9112 8", "a request and a half", b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\nGET /li", "200 wait"),
    // Not HTTP/1.1 at all.
    ("9113 3.4", "HTTP/2 without asking", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 close"),
    ("8446 5.1", "TLS, which would wait for our answer", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400 close"),
    ("4253 4.2", "SSH", b"SSH-2.0-OpenSSH_9.2\r\n", "400 close"),
    ("9112 3", "SIP", b"OPTIONS sip:nm SIP/2.0\r\nVia: SIP/2.0/TCP nm;branch=foo\r\n\r\n", "400 close"),
    ("9112 3", "a PROXY header that nobody asked for", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 80\r\nGET / HTTP/1.0\r\n\r\n", "400 close"),
    ("9112 3", "a PROXY header in binary", b"\r\n\r\n\0\r\nQUIT\n\x21\x11", "400 close"),
    ("9112 3", "bytes above ASCII", b"\xff\xfe\xfd", "400 close"),
];

/// What is too long to be written down.
fn long() -> Vec<Case> {
    let text = |len| "y".repeat(len);
    let field = |name: &str, len| livez(format!("{name}: {}", text(len)).as_bytes());
    let target = |start: &str, len| host(format!("GET {start}{} HTTP/1.1", text(len)).as_bytes());
    let fields = |count: usize| livez(["X: y"].repeat(count).join("\r\n").as_bytes());
    let empty = |count: usize| ["\r\n".repeat(count).into_bytes(), livez(b"X: y")].concat();
    // A value of 3,000 bytes with another byte in it.
    let spoiled = |byte: u8| {
        let mut bytes = field("X", 3_000);
        bytes[2_500] = byte;
        bytes
    };
    let flood = ["GET /livez HTTP/1.1\r\n", &"X: y\r\n".repeat(500)].concat().into_bytes();
    let name = livez(format!("{}: y", text(2_000)).as_bytes());
    let cookies = livez(format!("Cookie: {0}\r\nCookie: {0}", text(5_000)).as_bytes());
    vec![
        case("9112 3", "a target of 900 bytes", target("/", 900), "404"),
        case("9110 15.5.15", "a target of 1,100 bytes", target("/", 1_100), "414 close"),
        case("9110 15.5.15", "a target of 20,000 bytes", target("/", 20_000), "414 close"),
        case("9110 15.5.15", "a query of 2,000 bytes", target("/livez?", 2_000), "414 close"),
        case("9112 3", "a method without end", text(5_000).into_bytes(), "414 close"),
        case("9110 5.4", "a cookie of 4,000 bytes", field("Cookie", 4_000), "200"),
        case("9110 5.4", "a value of 1,100 bytes", field("X", 1_100), "200"),
        case("6585 5", "a value of 9,000 bytes", field("X", 9_000), "431 close"),
        case("6585 5", "a value of 60,000 bytes", field("X", 60_000), "431 close"),
        case("6585 5", "a value of 2,000 bytes that must be read", field("Connection", 2_000), "431 close"),
        case("6585 5", "a name of 2,000 bytes", name, "431 close"),
        case("6585 5", "two cookies of 5,000 bytes", cookies, "431 close"),
        case("9110 5.4", "90 fields", fields(90), "200"),
        case("6585 5", "200 fields", fields(200), "431 close"),
        case("6585 5", "9,000 fields", fields(9_000), "431 close"),
        case("6585 5", "fields without end", flood, "431 close"),
        case("9112 2.2", "50 empty lines", empty(50), "200"),
        case("6585 5", "5,000 empty lines", empty(5_000), "431 close"),
        case("9110 5.5", "a NUL far into a value", spoiled(0), "400 close"),
        case("9112 2.2", "a lone LF far into a value", spoiled(b'\n'), "400 close"),
        case("9112 2.2", "a lone CR far into a value", spoiled(b'\r'), "400 close"),
        case("9112 9.3.2", "twenty at once", livez(b"X: y").repeat(20), TWENTY),
    ]
}

/// Twenty answers.
const TWENTY: &str = "200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200";
