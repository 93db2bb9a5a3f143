//! Pulls a file from a web server: one request, and all of its body or a word for why not.
//!
//! ```text
//! start ─▶ Connecting ─▶ Answering ─▶ the file
//!            │ connect       │ timeout, status, http, too_large
//! ```
//! What always holds: a pull that was started ends, at the deadline of its state at the latest, whatever the server does;
//! of the body no more is kept than a document may have. Redirects are not followed: the URL is the operator's to change.

use crate::config::{Incidents, Peer};
use crate::limits::{INCIDENT_ANSWER_TIME, INCIDENT_DOCUMENT, INCIDENT_TX, PROBE_CONNECT_TIME};
use crate::watch::{HTTP_PORT, Reading, Response};
use core::fmt::Write;
use core::net::Ipv4Addr;
use heapless::{String, Vec};
use outpost_wire::IncidentRefusal;
use smoltcp::iface::Context;
use smoltcp::socket::tcp;
use smoltcp::time::Instant;

/// What is pulled: the line of the signature, and the document.
pub type File = Vec<u8, { super::verify::FIRST_LINE + INCIDENT_DOCUMENT }>;

/// A pull on its way.
pub struct Fetch {
    address: Ipv4Addr,
    deadline: Instant,
    /// `None` while it connects.
    answer: Option<Response<'static>>,
}

/// How far it is.
pub enum Progress {
    /// It goes on; to be looked at again at this moment, or when a segment comes.
    Until(Instant),
    /// The file is there.
    Whole,
    /// It is not: why, and the status of the server or 0.
    Failed(IncidentRefusal, u16),
}

impl Fetch {
    /// Begins to connect; `None` when the network cannot do that now.
    pub fn start(
        now: Instant,
        address: Ipv4Addr,
        server: &Peer,
        from_port: u16,
        socket: &mut tcp::Socket<'_>,
        cx: &mut Context,
    ) -> Option<Fetch> {
        socket.abort();
        socket.connect(cx, (address, server.port), from_port).ok()?;
        // Also for when nobody looks any more: what is left half-closed goes away.
        socket.set_timeout(Some(INCIDENT_ANSWER_TIME));
        Some(Fetch { address, deadline: now + PROBE_CONNECT_TIME, answer: None })
    }

    /// The address that is to be found on the link, while that matters.
    pub fn seeks(&self) -> Option<Ipv4Addr> {
        self.answer.is_none().then_some(self.address)
    }

    /// Goes on, in bounded time; the body is added to `file`.
    pub fn poll(
        &mut self,
        now: Instant,
        settings: &Incidents,
        socket: &mut tcp::Socket<'_>,
        file: &mut File,
    ) -> Progress {
        let progress = self.step(now, settings, socket, file);
        match progress {
            Progress::Until(_) => {}
            Progress::Whole => socket.close(),
            Progress::Failed(..) => socket.abort(),
        }
        progress
    }

    fn step(&mut self, now: Instant, settings: &Incidents, socket: &mut tcp::Socket<'_>, file: &mut File) -> Progress {
        let late = now >= self.deadline;
        let Some(answer) = &mut self.answer else {
            match socket.state() {
                tcp::State::SynSent | tcp::State::SynReceived if !late => return Progress::Until(self.deadline),
                tcp::State::SynSent | tcp::State::SynReceived | tcp::State::Closed => {
                    return Progress::Failed(IncidentRefusal::Connect, 0);
                }
                _ => {}
            }
            if !request(settings).is_ok_and(|request| socket.send_slice(request.as_bytes()).is_ok()) {
                return Progress::Failed(IncidentRefusal::Connect, 0);
            }
            file.clear();
            self.deadline = now + INCIDENT_ANSWER_TIME;
            // No document has a NUL in it: the text that is never found makes the parser go on to the end of the body.
            self.answer = Some(Response::new(b"\0"));
            return Progress::Until(self.deadline);
        };
        let (mut reading, mut is_full) = (Reading::More, false);
        while socket.can_recv() && reading == Reading::More && !is_full {
            let read = socket
                .recv(|bytes| (bytes.len(), answer.read_body(bytes, &mut |byte| is_full |= file.push(byte).is_err())));
            reading = read.unwrap_or(Reading::Malformed);
        }
        if reading == Reading::More && !is_full && !socket.may_recv() {
            reading = answer.end();
        }
        match (reading, answer.status()) {
            // Where it leads is not asked for.
            (Reading::Malformed | Reading::Elsewhere, status) => Progress::Failed(IncidentRefusal::Http, status),
            (_, status) if status >= 201 => Progress::Failed(IncidentRefusal::Status, status),
            (_, status) if is_full => Progress::Failed(IncidentRefusal::TooLarge, status),
            (Reading::Done, 200) => Progress::Whole,
            (Reading::Done, status) => Progress::Failed(IncidentRefusal::Http, status),
            (Reading::More, status) if late => Progress::Failed(IncidentRefusal::Timeout, status),
            (Reading::More, _) => Progress::Until(self.deadline),
        }
    }
}

/// RFC 9112, section 3. What the server compresses cannot be read.
fn request(settings: &Incidents) -> Result<String<INCIDENT_TX>, core::fmt::Error> {
    let server = settings.server.as_ref().ok_or(core::fmt::Error)?;
    let mut request = String::new();
    write!(request, "GET {} HTTP/1.1\r\nHost: {}", settings.path, server.host)?;
    if server.port != HTTP_PORT {
        write!(request, ":{}", server.port)?;
    }
    let version = crate::VERSION;
    write!(
        request,
        "\r\nUser-Agent: outpost/{version}\r\nAccept: */*\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n"
    )?;
    Ok(request)
}
