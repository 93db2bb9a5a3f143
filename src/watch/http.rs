//! The kind `http`: one request, and what comes of it.

use super::probe::Target;
use super::response::{Reading, Response};
use super::stream::Stream;
use crate::config::checks::Kind;
use crate::limits::PROBE_TX;
use core::fmt::Write;
use heapless::String;
use outpost_wire::ProbeReason;

/// The port that a URL need not name.
pub const HTTP_PORT: u16 = 80;

/// A page that was asked for.
pub struct Page<'c> {
    target: Target<'c>,
    response: Response<'c>,
}

impl<'c> Page<'c> {
    /// The connection is open: asks. A reason is the end.
    pub fn begin(target: Target<'c>, trace: (u128, u64), stream: &mut dyn Stream) -> Result<Page<'c>, ProbeReason> {
        let Kind::Http { head, body, .. } = &target.check.kind else { return Err(ProbeReason::Malformed) };
        let request = request(target, trace).map_err(|_| ProbeReason::Malformed)?;
        if !stream.send(request.as_bytes()) {
            return Err(ProbeReason::Closed);
        }
        let needle = if *head { "" } else { target.text(*body) };
        Ok(Page { target, response: Response::new(needle.as_bytes()) })
    }

    /// The status that was answered; 0 before that.
    pub fn status(&self) -> u16 {
        self.response.status()
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
        match reading {
            Reading::More => None,
            Reading::Malformed => Some(ProbeReason::Malformed),
            Reading::Done if !good => Some(ProbeReason::Status),
            Reading::Done if !self.response.found() => Some(ProbeReason::Body),
            Reading::Done => Some(ProbeReason::Ok),
        }
    }
}

/// RFC 9112, section 3; the trace of this probe joins the target's logs with ours (W3C Trace Context, section 3.2).
fn request(target: Target<'_>, trace: (u128, u64)) -> Result<String<PROBE_TX>, core::fmt::Error> {
    let check = target.check;
    let Kind::Http { path, head, .. } = &check.kind else { return Err(core::fmt::Error) };
    let mut request = String::new();
    write!(request, "{} {} HTTP/1.1\r\nHost: ", if *head { "HEAD" } else { "GET" }, target.text(*path))?;
    write!(request, "{}", check.peer.host)?;
    if check.peer.port != HTTP_PORT {
        write!(request, ":{}", check.peer.port)?;
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
