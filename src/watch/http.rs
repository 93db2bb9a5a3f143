//! The kind `http`: one request, and what comes of it; where the answer leads elsewhere, one more.
//!
//! What always holds: a probe goes on only to its own host and to those that its check lists, never to one that is
//! link-local or loopback, and at most [`PROBE_REDIRECTS`] times. A server that answers cannot make us ask another one
//! that nobody has named.

use super::probe::Target;
use super::response::{Reading, Response};
use super::stream::Stream;
use crate::config::Host;
use crate::config::checks::{Kind, Words};
use crate::limits::{PROBE_REDIRECTS, PROBE_TX};
use crate::net::is_machine;
use crate::net::resolve::Resolver;
use core::fmt::Write;
use core::net::Ipv4Addr;
use heapless::String;
use outpost_wire::ProbeReason;

/// The port that a URL need not name.
pub const HTTP_PORT: u16 = 80;

/// The port that a URL of `https` need not name.
pub const HTTPS_PORT: u16 = 443;

/// A page that is asked for.
pub struct Page<'c> {
    target: Target<'c>,
    response: Response<'c>,
    /// How many redirects were followed. After the first the path is what the response keeps as its place.
    followed: u8,
    /// One of the hosts that the check lists; `None`: its own.
    host: Option<Words>,
    port: u16,
    leads: bool,
}

impl<'c> Page<'c> {
    /// The page of this check.
    pub fn new(target: Target<'c>) -> Page<'c> {
        let mut response = Response::new(b"");
        if let Kind::Http { head, body, statuses, .. } = &target.check.kind {
            response = Response::new(if *head { b"" } else { target.text(*body).as_bytes() });
            // A check for which one is good wants to see it.
            if !statuses.iter().any(|status| (300..400).contains(status)) {
                response = response.that_leads();
            }
        }
        Page { target, response, followed: 0, host: None, port: target.check.peer.port, leads: false }
    }

    /// The connection is open: asks.
    pub fn ask(&mut self, trace: (u128, u64), stream: &mut dyn Stream) -> Result<(), ProbeReason> {
        let request = self.request(trace).map_err(|_| ProbeReason::Malformed)?;
        self.response.forget_place();
        if stream.send(request.as_bytes()) { Ok(()) } else { Err(ProbeReason::Closed) }
    }

    /// The listed host that it is asked from; `None`: the check's own.
    pub fn listed(&self) -> Option<&'c str> {
        self.host.map(|listed| self.target.text(listed))
    }

    /// The status that was answered; 0 before that.
    pub fn status(&self) -> u16 {
        self.response.status()
    }

    /// Whether the answer leads elsewhere.
    pub fn leads(&self) -> bool {
        self.leads
    }

    /// Reads what has come; a reason is the end.
    pub fn read(&mut self, stream: &mut dyn Stream) -> Option<ProbeReason> {
        let (mut reading, mut more) = (Reading::More, true);
        while more && reading == Reading::More {
            more = stream.receive(&mut |bytes| reading = self.response.read(bytes));
        }
        if reading == Reading::More && stream.is_over() {
            if !self.response.has_begun() {
                return Some(ProbeReason::Closed);
            }
            reading = self.response.end();
        }
        let Kind::Http { statuses, .. } = &self.target.check.kind else { return Some(ProbeReason::Malformed) };
        let status = self.response.status();
        let good = if statuses.is_empty() { (200..300).contains(&status) } else { statuses.contains(&status) };
        self.leads = reading == Reading::Elsewhere;
        match reading {
            Reading::More | Reading::Elsewhere => None,
            Reading::Malformed => Some(ProbeReason::Malformed),
            Reading::Done if !good => Some(ProbeReason::Status),
            Reading::Done if !self.response.found() => Some(ProbeReason::Body),
            Reading::Done => Some(ProbeReason::Ok),
        }
    }

    /// The address and port that the answer leads to, if it may; what is asked for from then on is the page there.
    pub fn follow(&mut self, names: &Resolver) -> Option<(Ipv4Addr, u16)> {
        let Kind::Http { redirects, .. } = &self.target.check.kind else { return None };
        let Place { host, path } = Place::read(self.response.place(), self.target.check.tls.is_some())?;
        let own = &self.target.check.peer.host;
        let (to, port) = match host {
            None => (self.host, self.port),
            Some((host, port)) if is(own, host) => (None, port),
            Some((host, port)) => {
                let listed = redirects.iter().find(|listed| self.target.text(**listed).eq_ignore_ascii_case(host))?;
                (Some(*listed), port)
            }
        };
        // Its own host has the address that the probe began with, whatever its name says by now.
        let address = match to {
            None => self.target.address,
            Some(listed) => names.address(self.target.text(listed))?,
        };
        if self.followed >= PROBE_REDIRECTS || !is_machine(address) || address.is_link_local() {
            return None;
        }
        self.response.keep_place(path);
        self.response.begin_again();
        self.followed += 1;
        (self.host, self.port, self.leads) = (to, port, false);
        Some((address, port))
    }

    /// RFC 9112, section 3; the trace of this probe joins the target's logs with ours (W3C Trace Context, section 3.2).
    fn request(&self, trace: (u128, u64)) -> Result<String<PROBE_TX>, core::fmt::Error> {
        let check = self.target.check;
        let Kind::Http { path, head, .. } = &check.kind else { return Err(core::fmt::Error) };
        let path = match self.followed {
            0 => self.target.text(*path),
            _ => core::str::from_utf8(self.response.place()).map_err(|_| core::fmt::Error)?,
        };
        let slash = if path.starts_with('/') { "" } else { "/" };
        let mut request = String::new();
        write!(request, "{} {slash}{path} HTTP/1.1\r\nHost: ", if *head { "HEAD" } else { "GET" })?;
        let name = check.tls.map(|tls| tls.server_name).filter(|name| !self.target.text(*name).is_empty());
        match self.host.or(name) {
            None => write!(request, "{}", check.peer.host)?,
            Some(listed) => request.write_str(self.target.text(listed))?,
        }
        if self.port != if check.tls.is_some() { HTTPS_PORT } else { HTTP_PORT } {
            write!(request, ":{}", self.port)?;
        }
        write!(
            request,
            "\r\nUser-Agent: outpost/{}\r\nAccept: */*\r\nConnection: close\r\ntraceparent: 00-{:032x}-{:016x}-01\r\n\r\n",
            crate::VERSION,
            trace.0,
            trace.1,
        )?;
        Ok(request)
    }
}

/// Whether a host is the one of this text.
fn is(host: &Host, text: &str) -> bool {
    match host {
        Host::Address(address) => text.parse() == Ok(*address),
        Host::Name(name) => name.eq_ignore_ascii_case(text),
    }
}

/// Where a redirect leads (RFC 9110, section 10.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'l> {
    /// The host and its port; `None`: the same again.
    pub host: Option<(&'l str, u16)>,
    /// Where in the text its path begins.
    pub path: usize,
}

impl<'l> Place<'l> {
    /// Reads a URL of `https`, or else of `http`, or a path from the root. Others need more than a probe knows, TLS or the
    /// page before; and what was asked over TLS goes on over nothing less.
    pub fn read(text: &'l [u8], secure: bool) -> Option<Place<'l>> {
        // As in the configuration: what may stand in a request line as it is (RFC 3986, sections 3.3 and 3.4).
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:/?@!$&'()*+,;=%[]".contains(byte);
        let text = core::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| allowed(&byte)))?;
        let (name, port) = if secure { ("https:", HTTPS_PORT) } else { ("http:", HTTP_PORT) };
        let scheme = text.get(..name.len()).map_or(0, |own| if own.eq_ignore_ascii_case(name) { own.len() } else { 0 });
        let Some(rest) = text.get(scheme..)?.strip_prefix("//") else {
            return (scheme == 0 && text.starts_with('/')).then_some(Place { host: None, path: 0 });
        };
        let (authority, _) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = match authority.split_once(':') {
            None => (authority, port),
            Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0)?),
        };
        Some(Place { host: Some((host, port)), path: scheme + 2 + authority.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_asked_for_is_a_place() {
        // A place that is read otherwise than the target meant it is a request to somebody else.
        let read =
            |text: &'static str| Place::read(text.as_bytes(), false).map(|place| (place.host, &text[place.path..]));
        for (text, host, path) in [
            ("/", None, "/"),
            ("/a?b=c", None, "/a?b=c"),
            ("http://shop.example/x", Some(("shop.example", 80)), "/x"),
            ("HTTP://shop.example:8080", Some(("shop.example", 8080)), ""),
            ("//192.0.2.1?x", Some(("192.0.2.1", 80)), "?x"),
            // No host is called so.
            ("http://user@shop.example/", Some(("user@shop.example", 80)), "/"),
            ("http:///x", Some(("", 80)), "/x"),
        ] {
            assert_eq!(read(text), Some((host, path)), "{text}");
        }
        for text in
            ["", "x", "?x", "https://shop.example/", "http:/x", "http:x", "ftp://a/", "http://a:0/", "http://a:b/"]
        {
            assert_eq!(read(text), None, "{text}");
        }
        let secure =
            |text: &'static str| Place::read(text.as_bytes(), true).map(|place| (place.host, &text[place.path..]));
        assert_eq!(secure("HTTPS://shop.example/x"), Some((Some(("shop.example", 443)), "/x")));
        assert_eq!(secure("//shop.example:8443"), Some((Some(("shop.example", 8443)), "")));
        assert_eq!((secure("/x"), secure("http://shop.example/x")), (Some((None, "/x")), None));
        for text in ["/a b", "/\r\nHost: x", "/ä", "/#top", "http://a\\b/"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
