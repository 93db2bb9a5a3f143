//! What HTTP does on one connection: read a request, answer it, read the next.
//!
//! ```text
//! Reading ──head complete or refused──▶ Answering ──room in the send buffer──▶ Reading (keep-alive)
//!    ▲                                      │ long body                           or Closing
//!    └────────────── all sent ─────────── Sending
//! ```

use super::answer::{HeadOf, write_head};
use super::request::{Method as Asked, Parser, Progress, Refusal, Request};
use super::routes::{Answer, Body, Route, respond_at_once};
use super::server::Desk;
use crate::limits;
use crate::log::Log;
use crate::view::Parts;
use core::ops::Range;
use outpost_wire::{HttpRejected, HttpRequest, Ip4, Method, ProbeClass, TransactionBound};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};

/// How far an exchange is.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// A request is awaited, or the parser has some of it.
    Reading,
    /// The request is complete (or cannot be understood) and waits for room to be answered.
    Answering(Result<Request, Refusal>),
    /// A body goes out as room allows: bytes `at..len` of it are left.
    Sending { body: Source, at: usize, len: usize, keep_alive: bool },
    /// Our side is closed.
    Closing,
}

/// Where a body that goes out piece by piece lies.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// In shared buffers, from the first up to the second; they are given back when it is sent.
    Buffers(u8, u8),
    /// In the image.
    Fixed(&'static [u8]),
}

/// The state of HTTP on one connection.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    phase: Phase,
    parser: Parser,
    /// When the first byte of the request in hand came; `None` between requests.
    began: Option<Instant>,
    /// When the far end has taken too long.
    deadline: Instant,
    /// Whether anything was ever asked on this connection.
    asked: bool,
}

/// What became of the bytes in front.
enum Familiarity {
    /// They are no request that came before, or it cannot be answered now.
    Unknown,
    /// Its answer is written.
    Answered,
    /// Its answer must be rendered.
    ToRender(Request),
}

/// An answer, as it is counted and recorded.
struct Given {
    method: Asked,
    route: Route,
    status: u16,
    client: [u8; 4],
}

/// What an exchange needs from the agent.
pub struct Service<'s, 'l> {
    /// The time.
    pub now: Instant,
    /// What the agent knows, and serving does not change.
    pub parts: &'s Parts,
    /// Where events go.
    pub log: &'s mut Log<'l>,
    /// What all connections share.
    pub desk: &'s mut Desk<'l>,
    /// How many requests may still be answered in this poll.
    pub requests_left: &'s mut usize,
}

impl Exchange {
    /// Before the first request of a connection that was opened now.
    pub const fn new(now: Instant) -> Exchange {
        Exchange {
            phase: Phase::Reading,
            parser: Parser::new(),
            began: None,
            deadline: after(now, limits::HEAD_TIME),
            asked: false,
        }
    }

    /// Begins anew for a connection that was opened now, as [`Exchange::new`]; what is as new already stays.
    pub fn renew(&mut self, now: Instant) {
        if !self.parser.is_fresh() {
            self.parser = Parser::new();
        }
        (self.phase, self.began, self.asked) = (Phase::Reading, None, false);
        self.deadline = after(now, limits::HEAD_TIME);
    }

    /// When the far end will have taken too long.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether no complete request has come that is not answered.
    pub fn is_reading(&self) -> bool {
        matches!(self.phase, Phase::Reading)
    }

    /// The shared buffers that its answer is in.
    pub fn buffers(&self) -> Option<Range<usize>> {
        match self.phase {
            Phase::Sending { body: Source::Buffers(first, end), .. } => Some(first.into()..end.into()),
            _ => None,
        }
    }

    /// Whether nothing was asked and nobody has closed it yet.
    pub fn is_unused(&self) -> bool {
        matches!(self.phase, Phase::Reading) && self.began.is_none() && !self.asked
    }

    /// Whether there is more to do at once: the bound of requests per poll was reached.
    pub fn is_pending(&self, socket: &tcp::Socket<'_>) -> bool {
        match self.phase {
            Phase::Reading => self.began.is_none() && socket.recv_queue() > 0,
            Phase::Answering(_) => has_room(socket),
            _ => false,
        }
    }

    /// Gives back what it holds of shared memory.
    pub fn release(&mut self, desk: &mut Desk<'_>) {
        if let Some(buffers) = self.buffers() {
            desk.answers.give_back(buffers);
        }
        self.phase = Phase::Closing;
    }

    /// Goes as far as data, room and time allow. A request comes back when its answer must be rendered: it is then
    /// given to [`Exchange::answer`], and the exchange goes on with another call.
    #[must_use]
    pub fn advance(
        &mut self,
        socket: &mut tcp::Socket<'_>,
        client: [u8; 4],
        service: &mut Service<'_, '_>,
    ) -> Option<Request> {
        if service.now >= self.deadline {
            self.too_late(socket, service);
        }
        loop {
            let went_on = match self.phase {
                Phase::Reading if socket.recv_queue() == 0 && socket.may_recv() => return None,
                Phase::Reading => match self.familiar(socket, client, service) {
                    Familiarity::Answered => true,
                    Familiarity::ToRender(request) => return Some(request),
                    Familiarity::Unknown => self.read(socket, service),
                },
                Phase::Answering(asked) => {
                    if !can_answer(socket, service) {
                        return None;
                    }
                    if self.respond(asked.as_ref().map_err(|refusal| *refusal), socket, client, service).is_none() {
                        return asked.ok();
                    }
                    true
                }
                Phase::Sending { .. } => self.send(socket, service),
                Phase::Closing => {
                    // What still comes is read and dropped: unread data would make our FIN a RST (RFC 9112, 9.6).
                    while socket.recv(|bytes| (bytes.len(), bytes.len())).is_ok_and(|len| len > 0) {}
                    false
                }
            };
            if !went_on {
                return None;
            }
        }
    }

    /// Answers a whole request that came before, if it can be answered now: the most frequent by far, and never written
    /// down here.
    fn familiar(
        &mut self,
        socket: &mut tcp::Socket<'_>,
        client: [u8; 4],
        service: &mut Service<'_, '_>,
    ) -> Familiarity {
        if !self.parser.is_fresh() || !can_answer(socket, service) {
            return Familiarity::Unknown;
        }
        let familiar = &service.desk.familiar;
        let found = socket.recv(|bytes| familiar.find(bytes).map_or((0, None), |(len, known)| (len, Some(known))));
        let Ok(Some(known)) = found else { return Familiarity::Unknown };
        let Some(request) = familiar.request(known) else { return Familiarity::Unknown };
        self.began.get_or_insert(service.now);
        let changes = service.parts.health.changes();
        if let Some(place) = familiar.answered(known, changes) {
            let given = Given { method: request.method, route: request.route, status: familiar.status(place), client };
            let keep_alive = request.keep_alive;
            *service.requests_left -= 1;
            self.repeat(place, given, keep_alive, socket, service);
            return Familiarity::Answered;
        }
        let request = *request;
        let Some(kept) = self.respond(Ok(&request), socket, client, service) else {
            return Familiarity::ToRender(request);
        };
        // Over an operator's answer decides also who asks; one that leads nowhere is looked at each time.
        if let Some(place) = kept
            && !request.needs_operator()
            && request.route != Route::NotFound
        {
            service.desk.familiar.learn(known, place, changes);
        }
        Familiarity::Answered
    }

    /// Gives the answer that was kept at a place.
    fn repeat(
        &mut self,
        place: usize,
        given: Given,
        keep_alive: bool,
        socket: &mut tcp::Socket<'_>,
        service: &mut Service<'_, '_>,
    ) {
        let transaction = service.desk.counters.next_transaction();
        let familiar = &service.desk.familiar;
        put(socket, service.desk.scratch, |out| familiar.write(place, transaction, out));
        self.count(given, transaction, None, service);
        (self.began, self.asked) = (None, true);
        self.sent(keep_alive, socket, service);
    }

    /// Answers at once, with an answer that was kept at a place or not; `None` when the answer must be rendered.
    fn respond(
        &mut self,
        asked: Result<&Request, Refusal>,
        socket: &mut tcp::Socket<'_>,
        client: [u8; 4],
        service: &mut Service<'_, '_>,
    ) -> Option<Option<usize>> {
        *service.requests_left -= 1;
        let answer = match asked {
            Ok(request) => {
                let allowed = &service.parts.loaded.config.http.operator_allow;
                let is_operator = || allowed.iter().any(|net| net.contains_addr(&client.into()));
                respond_at_once(request, &service.parts.health, is_operator)?
            }
            Err(refusal) => Answer::status_only(refusal.status()),
        };
        Some(self.answer(asked, &answer, None, socket, client, service))
    }

    fn too_late(&mut self, socket: &mut tcp::Socket<'_>, service: &mut Service<'_, '_>) {
        match self.phase {
            Phase::Reading if self.began.is_some() => self.phase = Phase::Answering(Err(Refusal::Timeout)),
            Phase::Reading => self.close(socket, service),
            _ => {
                service.desk.counters.given_up += 1;
                self.release(service.desk);
                socket.abort();
            }
        }
        self.deadline = after(service.now, limits::CLOSE_TIME);
    }

    fn close(&mut self, socket: &mut tcp::Socket<'_>, service: &mut Service<'_, '_>) {
        service.desk.counters.empty += u64::from(self.is_unused());
        socket.close();
        self.phase = Phase::Closing;
        self.deadline = after(service.now, limits::CLOSE_TIME);
    }

    fn read(&mut self, socket: &mut tcp::Socket<'_>, service: &mut Service<'_, '_>) -> bool {
        let waiting = socket.recv_queue();
        if waiting > 0 && self.began.is_none() {
            self.began = Some(service.now);
            self.deadline = after(service.now, limits::HEAD_TIME);
        }
        let mut progress = Progress::More;
        if waiting > 0 {
            let familiar = &mut service.desk.familiar;
            progress = socket.recv(|bytes| familiar.feed(&mut self.parser, bytes)).unwrap_or(Progress::More);
            if progress == Progress::More && socket.recv_queue() > 0 {
                progress = self.read_wrapped(socket, service.desk.scratch);
            }
        }
        match progress {
            Progress::Complete(request) => self.phase = Phase::Answering(Ok(request)),
            Progress::Refused(refusal) => self.phase = Phase::Answering(Err(refusal)),
            Progress::More if socket.recv_queue() == socket.recv_capacity() => {
                self.phase = Phase::Answering(Err(self.parser.line_too_long()));
            }
            Progress::More if !socket.may_recv() && is_established(socket) => self.close(socket, service),
            Progress::More => return false,
        }
        true
    }

    /// A line that runs across the end of the receive ring (smoltcp shows only the part before it) is read from a
    /// copy.
    fn read_wrapped(&mut self, socket: &mut tcp::Socket<'_>, scratch: &mut [u8; limits::CONNECTION_RX]) -> Progress {
        let Ok(len) = socket.peek_slice(scratch) else { return Progress::More };
        let (mut taken, progress) = self.parser.feed(&scratch[..len]);
        while taken > 0 {
            let Ok(step) = socket.recv(|bytes| (bytes.len().min(taken), bytes.len().min(taken))) else { break };
            taken -= step;
        }
        progress
    }

    /// Writes the head of an answer, and its body as far as it is short; `buffers` are those it was rendered into. Returns
    /// the place where all of it is kept, if it is.
    pub fn answer(
        &mut self,
        request: Result<&Request, Refusal>,
        answer: &Answer,
        buffers: Option<Range<usize>>,
        socket: &mut tcp::Socket<'_>,
        client: [u8; 4],
        service: &mut Service<'_, '_>,
    ) -> Option<usize> {
        let transaction = service.desk.counters.next_transaction();
        let (head_only, keep_alive) = match request {
            Ok(request) => (request.method == Asked::Head, request.keep_alive),
            Err(_) => (false, false),
        };
        let (at_once, source, body_len) = match (answer.body, buffers) {
            (Body::Fixed(body), _) if body.len() <= SHORT_BODY => (body, None, body.len()),
            (Body::Fixed(body), _) => (&b""[..], Some(Source::Fixed(body)), body.len()),
            (Body::Rendered(len), Some(buffers)) => {
                (&b""[..], Some(Source::Buffers(buffers.start as u8, buffers.end as u8)), len)
            }
            (Body::Rendered(_), None) => (&b""[..], None, 0),
        };
        let head =
            HeadOf { answer, body_len, request: request.ok(), boot_id: service.parts.facts.boot_id, transaction };
        let kept = if source.is_none() { service.desk.familiar.answer(&head, head_only) } else { None };
        let familiar = &service.desk.familiar;
        put(socket, service.desk.scratch, |out| {
            if let Some(at) = kept {
                return familiar.write(at, transaction, out);
            }
            let len = write_head(&head, out);
            if head_only {
                return len;
            }
            out[len..len + at_once.len()].copy_from_slice(at_once);
            len + at_once.len()
        });
        self.record(request, answer.status, client, transaction, service);
        if !self.parser.is_fresh() {
            self.parser = Parser::new();
        }
        (self.began, self.asked) = (None, true);
        match source {
            Some(body) => {
                let at = if head_only { body_len } else { 0 };
                self.phase = Phase::Sending { body, at, len: body_len, keep_alive };
                self.deadline = after(service.now, limits::SEND_TIME);
            }
            None => self.sent(keep_alive, socket, service),
        }
        kept
    }

    fn send(&mut self, socket: &mut tcp::Socket<'_>, service: &mut Service<'_, '_>) -> bool {
        let Phase::Sending { body, at, len, keep_alive } = self.phase else { return false };
        let bytes = match body {
            Source::Buffers(first, end) => &*service.desk.answers.get(first.into()..end.into()),
            Source::Fixed(bytes) => bytes,
        };
        let sent = socket.send_slice(&bytes[at..len]).unwrap_or(0);
        self.phase = Phase::Sending { body, at: at + sent, len, keep_alive };
        if at + sent == len {
            self.release(service.desk);
            self.sent(keep_alive, socket, service);
            return true;
        }
        if sent > 0 {
            self.deadline = after(service.now, limits::SEND_TIME);
        }
        if !socket.may_send() {
            self.release(service.desk);
        }
        false
    }

    fn sent(&mut self, keep_alive: bool, socket: &mut tcp::Socket<'_>, service: &mut Service<'_, '_>) {
        if keep_alive {
            self.phase = Phase::Reading;
            self.deadline = after(service.now, limits::IDLE_TIME);
        } else {
            self.close(socket, service);
        }
    }

    fn record(
        &self,
        request: Result<&Request, Refusal>,
        status: u16,
        client: [u8; 4],
        transaction: u32,
        service: &mut Service<'_, '_>,
    ) {
        let probes = &mut service.desk.probes;
        let request = match request {
            Ok(request) => request,
            Err(refusal) => {
                match refusal {
                    Refusal::BadRequest => probes.see(service.now, ProbeClass::Malformed, client),
                    Refusal::Tls => probes.see(service.now, ProbeClass::Tls, client),
                    _ => {}
                }
                service.desk.counters.reject(status);
                let event = HttpRejected { status, client: Ip4(client) };
                service.log.emit_limited(service.now, Some(transaction), event);
                return;
            }
        };
        match (request.route, request.query.probe) {
            (Route::NotFound, Some(class)) => probes.see(service.now, class, client),
            (Route::NotFound, None) => probes.see_unknown(service.now, client),
            _ => {}
        }
        let given = Given { method: request.method, route: request.route, status, client };
        let bound = if request.outside.is_empty() { None } else { request.outside.bound() };
        self.count(given, transaction, bound, service);
    }

    /// Counts and records an answer to a request that was understood.
    fn count(
        &self,
        given: Given,
        transaction: u32,
        bound: Option<TransactionBound<'_>>,
        service: &mut Service<'_, '_>,
    ) {
        let Given { method, route, status, client } = given;
        let took = self.began.map_or(Duration::ZERO, |began| service.now - began);
        service.desk.counters.answer(route, status, took);
        let method = match method {
            Asked::Get => Method::Get,
            Asked::Head => Method::Head,
            Asked::Options => Method::Options,
            Asked::Post => Method::Post,
            Asked::NotAllowed => Method::Unsupported,
        };
        let route = service.desk.names[route as usize];
        let duration_us = u32::try_from(took.total_micros()).unwrap_or(u32::MAX);
        let event = HttpRequest { method, route, status, client: Ip4(client), duration_us };
        service.log.http_request(service.now, transaction, event, bound);
    }
}

/// The longest body that is written together with its head, in bytes.
const SHORT_BODY: usize = 112;

/// Room for the head of any answer and a short body.
const ROOM: usize = limits::ANSWER_HEAD + SHORT_BODY;

fn can_answer(socket: &tcp::Socket<'_>, service: &Service<'_, '_>) -> bool {
    *service.requests_left > 0 && has_room(socket)
}

fn has_room(socket: &tcp::Socket<'_>) -> bool {
    socket.may_send() && socket.send_capacity() - socket.send_queue() >= ROOM
}

/// Writes into the send buffer in place where its free part is in one piece, else by way of a copy.
fn put(socket: &mut tcp::Socket<'_>, scratch: &mut [u8; limits::CONNECTION_RX], write: impl Fn(&mut [u8]) -> usize) {
    let in_place = socket.send(|out| if out.len() >= ROOM { (write(out), true) } else { (0, false) });
    if in_place == Ok(false) {
        let len = write(scratch);
        // `has_room` was asked before: it all fits.
        let _ = socket.send_slice(&scratch[..len]);
    }
}

fn is_established(socket: &tcp::Socket<'_>) -> bool {
    !matches!(socket.state(), tcp::State::Listen | tcp::State::SynReceived | tcp::State::SynSent)
}

const fn after(now: Instant, wait: Duration) -> Instant {
    Instant::from_micros_const(now.total_micros() + wait.total_micros() as i64)
}

const _: () = assert!(limits::ANSWERS <= u8::MAX as usize);
const _: () = assert!(ROOM <= limits::CONNECTION_RX, "an answer fits the scratch");
