//! What HTTP does on one connection: read a request, answer it, read the next.
//!
//! ```text
//! Reading ──head complete or refused──▶ Answering ──room in the send buffer──▶ Reading (keep-alive)
//!    ▲                                      │ rendered body                       or Closing
//!    └────────────── all sent ─────────── Sending
//! ```

use super::answer::{HeadOf, Memory as Answers, write_head};
use super::request::{Method as Asked, Parser, Progress, Refusal, Request};
use super::routes::{Answer, Body, Route, respond, respond_at_once};
use super::server::Counters;
use crate::limits;
use crate::log::Log;
use crate::view::View;
use outpost_wire::{HttpRejected, HttpRequest, Ip4, Method, NameId};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;

/// How far an exchange is.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// A request is awaited, or the parser has some of it.
    Reading,
    /// The request is complete (or cannot be understood) and waits for room to be answered.
    Answering(Result<Request, Refusal>),
    /// A rendered body goes out as room allows: bytes `at..len` of the buffer are left.
    Sending { buffer: usize, at: usize, len: usize, keep_alive: bool },
    /// Our side is closed.
    Closing,
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
}

/// What an exchange needs from the agent.
pub struct Service<'s, 'l> {
    /// The time.
    pub now: Instant,
    /// What the agent knows.
    pub view: &'s View<'s>,
    /// Where events go.
    pub log: &'s mut Log<'l>,
    /// The shared buffers.
    pub answers: &'s mut Answers,
    /// A place to put a wrapped request together.
    pub scratch: &'s mut [u8; limits::CONNECTION_RX],
    /// What is counted.
    pub counters: &'s mut Counters,
    /// The interned names of the routes.
    pub names: &'s [NameId; Route::COUNT],
}

impl Exchange {
    /// Before the first request of a connection that was opened now.
    pub const fn new(now: Instant) -> Exchange {
        Exchange { phase: Phase::Reading, parser: Parser::new(), began: None, deadline: after(now, limits::HEAD_TIME) }
    }

    /// When the far end will have taken too long.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether no request is in hand.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Reading) && self.began.is_none()
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
    pub fn release(&mut self, answers: &mut Answers) {
        if let Phase::Sending { buffer, .. } = self.phase {
            answers.give_back(buffer);
        }
        self.phase = Phase::Closing;
    }

    /// Goes as far as data, room and time allow.
    pub fn advance(&mut self, socket: &mut tcp::Socket<'_>, client: [u8; 4], service: &mut Service<'_, '_>) {
        if service.now >= self.deadline {
            self.too_late(socket, service);
        }
        let mut answered = 0;
        while answered < limits::REQUESTS_PER_POLL {
            let went_on = match self.phase {
                Phase::Reading => self.read(socket, service),
                Phase::Answering(request) => {
                    answered += 1;
                    has_room(socket) && self.answer(request, socket, client, service)
                }
                Phase::Sending { .. } => self.send(socket, service),
                Phase::Closing => {
                    // What still comes is read and dropped: unread data would make our FIN a RST (RFC 9112, 9.6).
                    while socket.recv(|bytes| (bytes.len(), bytes.len())).is_ok_and(|len| len > 0) {}
                    false
                }
            };
            if !went_on {
                break;
            }
        }
    }

    fn too_late(&mut self, socket: &mut tcp::Socket<'_>, service: &mut Service<'_, '_>) {
        match self.phase {
            Phase::Reading if self.began.is_some() => self.phase = Phase::Answering(Err(Refusal::Timeout)),
            Phase::Reading => self.close(socket, service),
            _ => {
                service.counters.given_up += 1;
                self.release(service.answers);
                socket.abort();
            }
        }
        self.deadline = after(service.now, limits::CLOSE_TIME);
    }

    fn close(&mut self, socket: &mut tcp::Socket<'_>, service: &mut Service<'_, '_>) {
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
            progress = socket.recv(|bytes| self.parser.feed(bytes)).unwrap_or(Progress::More);
            if progress == Progress::More && socket.recv_queue() > 0 {
                progress = self.read_wrapped(socket, service.scratch);
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

    fn answer(
        &mut self,
        request: Result<Request, Refusal>,
        socket: &mut tcp::Socket<'_>,
        client: [u8; 4],
        service: &mut Service<'_, '_>,
    ) -> bool {
        let transaction = service.counters.next_transaction();
        let operator = service.view.config.http.operator_allow.iter().any(|net| net.contains_addr(&client.into()));
        let at_once = match &request {
            Ok(request) => respond_at_once(request, service.view, operator),
            Err(refusal) => Some(Answer::status_only(refusal.status())),
        };
        let (answer, buffer) = match (at_once, &request) {
            (Some(answer), _) => (answer, None),
            (None, Ok(request)) => render(request, service),
            (None, Err(_)) => (Answer::status_only(500), None),
        };
        let (head_only, keep_alive) = match &request {
            Ok(request) => (request.method == Asked::Head, request.keep_alive),
            Err(_) => (false, false),
        };
        let (body, body_len) = match answer.body {
            Body::Fixed(text) => (text.as_bytes(), text.len()),
            Body::Rendered(len) => (&b""[..], len),
        };
        let head = HeadOf {
            answer: &answer,
            body_len,
            request: request.as_ref().ok(),
            boot_id: service.view.facts.boot_id,
            transaction,
        };
        put(socket, service.scratch, |out| {
            let len = write_head(&head, out);
            if head_only {
                return len;
            }
            out[len..len + body.len()].copy_from_slice(body);
            len + body.len()
        });
        self.record(request, answer.status, client, transaction, service);
        self.parser = Parser::new();
        self.began = None;
        self.deadline = after(service.now, limits::IDLE_TIME);
        match buffer {
            Some(buffer) if !head_only => {
                self.phase = Phase::Sending { buffer, at: 0, len: body_len, keep_alive };
                self.deadline = after(service.now, limits::SEND_TIME);
            }
            Some(buffer) => {
                service.answers.give_back(buffer);
                self.sent(keep_alive, socket, service);
            }
            None => self.sent(keep_alive, socket, service),
        }
        true
    }

    fn send(&mut self, socket: &mut tcp::Socket<'_>, service: &mut Service<'_, '_>) -> bool {
        let Phase::Sending { buffer, at, len, keep_alive } = self.phase else { return false };
        let sent = socket.send_slice(&service.answers.get(buffer)[at..len]).unwrap_or(0);
        if at + sent == len {
            service.answers.give_back(buffer);
            self.sent(keep_alive, socket, service);
            return true;
        }
        self.phase = Phase::Sending { buffer, at: at + sent, len, keep_alive };
        if sent > 0 {
            self.deadline = after(service.now, limits::SEND_TIME);
        }
        if !socket.may_send() {
            self.release(service.answers);
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
        request: Result<Request, Refusal>,
        status: u16,
        client: [u8; 4],
        transaction: u32,
        service: &mut Service<'_, '_>,
    ) {
        let client = Ip4(client);
        let Ok(request) = request else {
            service.counters.rejected += 1;
            service.log.emit_limited(service.now, Some(transaction), HttpRejected { status, client });
            return;
        };
        service.counters.requests += 1;
        let took = self.began.map_or(0, |began| (service.now - began).total_micros());
        let method = match request.method {
            Asked::Get => Method::Get,
            Asked::Head => Method::Head,
            Asked::Options => Method::Options,
            Asked::NotAllowed => Method::Unsupported,
        };
        let route = service.names[request.route as usize];
        let duration_us = u32::try_from(took).unwrap_or(u32::MAX);
        let event = HttpRequest { method, route, status, client, duration_us };
        let bound = request.outside.bound();
        if let Some(bound) = bound {
            service.log.emit(service.now, Some(transaction), bound);
        }
        service.log.http_request(service.now, transaction, event, bound.is_some());
    }
}

/// Renders an answer into a shared buffer, if one is free.
fn render(request: &Request, service: &mut Service<'_, '_>) -> (Answer, Option<usize>) {
    let Some(buffer) = service.answers.take() else {
        service.counters.no_buffer += 1;
        return (Answer::status_only(503), None);
    };
    let out = service.answers.get(buffer);
    match respond(request, service.view, service.log, out) {
        Some(answer) if matches!(answer.body, Body::Rendered(_)) => (answer, Some(buffer)),
        other => {
            service.answers.give_back(buffer);
            (other.unwrap_or(Answer::status_only(500)), None)
        }
    }
}

/// Room for the head of any answer and a short body.
const ROOM: usize = limits::ANSWER_HEAD + 112;

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

const fn after(now: Instant, wait: smoltcp::time::Duration) -> Instant {
    Instant::from_micros_const(now.total_micros() + wait.total_micros() as i64)
}

const _: () = assert!(ROOM <= limits::CONNECTION_RX, "an answer fits the scratch");
