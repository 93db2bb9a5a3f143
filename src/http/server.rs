//! The HTTP server: frames in, answers out, over the connection table.
//!
//! A frame meets its connection in [`Server::ingress`]; everything that changed, by a frame or by a timer, is on the
//! list of touched connections, and [`Server::serve`] visits only those.

use super::accept::Wants;
use super::answer;
use super::beat::Beat;
pub use super::counters::Counters;
use super::exchange::Service;
use super::familiar::Familiar;
use super::pool::{self, Class, Pool, Taken};
use super::probes::Probes;
use super::query::Query;
use super::request::Request;
use super::routes::{Answer, Body, HEARD, NOT_FOUND, Route, respond};
use super::touched::Touched;
use crate::incidents::Incidents;
use crate::limits;
use crate::log::Log;
use crate::net::Network;
use crate::net::frame::Segment;
use crate::net::link::{Hop, OneFrame, ToHop};
use crate::nic::Nic;
use crate::view::{Parts, View};
use crate::watch::Watch;
use crate::{FAR, sooner};
use core::ops::Range;
use heapless::Vec;
use outpost_wire::{HttpRecycled, NameId, ProbeClass};
use smoltcp::iface::{Interface, PollResult};
use smoltcp::phy::TxToken;
use smoltcp::socket::tcp::State;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::EthernetAddress;

/// The server's memory. Empty memory is all zeros: it is .bss in the image.
pub struct Memory<'a> {
    pool: pool::Memory<'a>,
    answers: answer::Memory,
    touched: Touched<{ limits::CONNECTIONS }>,
    scratch: [u8; limits::CONNECTION_RX],
}

impl Memory<'_> {
    /// Empty memory.
    pub const fn new() -> Self {
        Memory {
            pool: pool::Memory::new(),
            answers: answer::Memory::new(),
            touched: Touched::new(),
            scratch: [0; limits::CONNECTION_RX],
        }
    }
}

impl Default for Memory<'_> {
    fn default() -> Self {
        Memory::new()
    }
}

/// What the server needs from the agent while it serves.
pub struct Surroundings<'s, 'a, N> {
    /// The time.
    pub now: Instant,
    /// The card.
    pub nic: &'s mut N,
    /// The network, with the interface that connections live on.
    pub network: &'s mut Network<'a>,
    /// What serving does not change.
    pub parts: &'s Parts,
    /// Incidents and maintenances.
    pub incidents: &'s Incidents<'a>,
    /// Those who are watched.
    pub watch: &'s mut Watch<'a>,
    /// Where events go.
    pub log: &'s mut Log<'a>,
}

/// What all connections share.
pub struct Desk<'a> {
    /// The shared answer buffers.
    pub answers: &'a mut answer::Memory,
    /// A place to put a wrapped request together.
    pub scratch: &'a mut [u8; limits::CONNECTION_RX],
    /// What came before.
    pub familiar: Familiar,
    /// What is counted.
    pub counters: Counters,
    /// Who looks for weak spots.
    pub probes: Probes,
    /// The interned names of the routes.
    pub names: [NameId; Route::COUNT],
}

/// The server.
pub struct Server<'a> {
    port: u16,
    /// Connections that one client may have.
    share: Option<u16>,
    pool: Pool<'a>,
    desk: Desk<'a>,
    /// The answer that was rendered last for everyone.
    shown: Option<Shown>,
    /// The connections to visit.
    touched: &'a mut Touched<{ limits::CONNECTIONS }>,
    /// What `http.recycled` has told, and when it last did.
    told: [u64; 3],
    told_at: Instant,
    /// When there is more to tell than that, or of who looks for weak spots.
    tell_at: Instant,
    /// Whether a signal came since the last call of `serve`.
    heard: bool,
}

/// An answer that may be given to others who ask the same.
struct Shown {
    route: Route,
    query: Query,
    wants: Wants,
    answer: Answer,
    /// What it was rendered into: there until somebody else takes them.
    buffers: Range<usize>,
    until: Instant,
}

/// `http.recycled` is told at most this often: an attack causes thousands a second.
const TELL_EVERY: Duration = Duration::from_secs(1);

impl<'a> Server<'a> {
    /// A server on this port with room for `size` connections, `share` of them for one client. Emits the `intern`
    /// records of its routes.
    pub fn new(
        port: u16,
        share: Option<u16>,
        size: usize,
        memory: &'a mut Memory<'a>,
        secret: u64,
        log: &mut Log<'_>,
        now: Instant,
    ) -> Self {
        let Memory { pool, answers, touched, scratch } = memory;
        Server {
            port,
            share,
            pool: Pool::new(pool, size, secret),
            desk: Desk {
                answers,
                scratch,
                familiar: Familiar::new(),
                counters: Counters::default(),
                probes: Probes::new(),
                names: Route::ALL.map(|route| log.name(now, route.name())),
            },
            shown: None,
            touched,
            told: [0; 3],
            told_at: now,
            tell_at: FAR,
            heard: false,
        }
    }

    /// The port it serves.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether a new connection would cost another one its place while some are still to be visited. Visit them
    /// first: one may set itself free, and a handshake whose last segment is here already must not be recycled.
    #[inline(always)]
    pub fn is_full(&self) -> bool {
        self.pool.is_full() && !self.touched.is_empty()
    }

    /// A segment for our port. `Err` gives the token back when it belongs to no connection.
    pub fn ingress<T: TxToken>(
        &mut self,
        now: Instant,
        segment: Segment,
        frame: &[u8],
        token: T,
        hop: Hop,
        interface: &mut Interface,
    ) -> Result<(), T> {
        let found = self.pool.find(segment.flow);
        let at = match found {
            // RFC 9293, section 3.6.1: a new SYN may reopen a connection in TIME-WAIT.
            Some(at) if segment.opens && self.pool.get(at).socket().state() == State::TimeWait => {
                self.pool.free(at);
                self.open(now, segment, hop.destination)
            }
            None if segment.opens => self.open(now, segment, hop.destination),
            None => return Err(token),
            found => found,
        };
        let Some(at) = at else { return Ok(()) };
        let connection = self.pool.get(at);
        connection.mac = hop.destination;
        let mut device = OneFrame::ip(frame, token, hop);
        interface.poll_ingress_single(now, &mut device, connection.set());
        self.touched.touch(at);
        Ok(())
    }

    /// A connection for a new client. One that is refused is told nothing: its SYN comes again by itself, when there
    /// may be room.
    fn open(&mut self, now: Instant, segment: Segment, mac: EthernetAddress) -> Option<usize> {
        if self.exceeds_share(now, segment.flow.address) {
            return None;
        }
        let Some((at, taken)) = self.pool.gives_way(now) else {
            self.desk.counters.refused += 1;
            return None;
        };
        match taken {
            Taken::Free | Taken::TimeWait => {}
            Taken::HalfOpen => self.desk.counters.recycled_half_open += 1,
            Taken::Idle => self.desk.counters.recycled_idle += 1,
            Taken::Busy => self.desk.counters.given_up += 1,
        }
        self.pool.get(at).exchange.release(&mut self.desk);
        self.pool.take(at, now, segment.flow, mac);
        let socket = self.pool.get(at).socket();
        socket.set_timeout(Some(limits::IDLE_TIME + limits::HEAD_TIME));
        // The socket is closed and the port is not 0 (the config refuses it): listening cannot fail.
        let _ = socket.listen(segment.to_port);
        Some(at)
    }

    /// Whether this client has its share of connections. Only completed handshakes count: SYNs with a forged sender
    /// would take the share of whom they name.
    #[inline(always)]
    fn exceeds_share(&mut self, now: Instant, client: [u8; 4]) -> bool {
        self.share.is_some_and(|share| self.has_share(share, now, client))
    }

    #[inline(never)]
    fn has_share(&mut self, share: u16, now: Instant, client: [u8; 4]) -> bool {
        let exceeds = self.pool.of_source(client) >= share.into();
        if exceeds {
            self.desk.probes.see(now, ProbeClass::OverShare, client);
        }
        exceeds
    }

    /// Visits every connection that was touched or whose timer is due: reads, answers, sends. `true` when somebody who is
    /// watched was heard.
    pub fn serve<N: Nic>(&mut self, around: &mut Surroundings<'_, 'a, N>) -> bool {
        while let Some(due) = self.pool.wheel.take_due(around.now) {
            self.touched.touch(due);
        }
        for _ in 0..self.touched.len() {
            if let Some(at) = self.touched.take() {
                self.visit(at, around);
            }
        }
        if self.desk.probes.poll_at().is_some() || self.has_to_tell() {
            self.tell(around.now, around.log);
        }
        core::mem::take(&mut self.heard)
    }

    fn visit<N: Nic>(&mut self, at: usize, around: &mut Surroundings<'_, 'a, N>) {
        let now = around.now;
        let class = self.pool.class(at);
        if class == Class::Free {
            return;
        }
        let connection = self.pool.get(at);
        let client = connection.flow.address;
        let (mut socket, mut exchange) = connection.parts();
        let (mut state, had_data, mut queued) = (socket.state(), socket.recv_queue() > 0, socket.send_queue());
        // Whether a segment leaves for sure, unless the far end's window is closed: what is written below, or SYN|ACK.
        let mut surely_due = false;
        match state {
            // The SYN was damaged, or the far end reset the handshake (a TCP check): leave no trace.
            State::Listen => {
                self.desk.counters.empty += 1;
                return self.release(at);
            }
            State::SynReceived => {
                let age = self.pool.age(at, now);
                if age >= limits::CLOSE_TIME {
                    self.desk.counters.recycled_half_open += 1;
                    return self.release(at);
                }
                surely_due = age == Duration::ZERO;
            }
            // The far end's FIN is to be acknowledged.
            State::TimeWait => surely_due = class != Class::TimeWait,
            State::Closed => {}
            _ => {
                if class == Class::HalfOpen {
                    if !self.accept(at, now) {
                        return self.release(at);
                    }
                    // Nothing came but the handshake's last segment: what is due next is what SYN|ACK has set a timer for.
                    if state == State::Established && !had_data && self.pool.wheel.has(at) {
                        return;
                    }
                    (socket, exchange) = self.pool.get(at).parts();
                }
                let mut requests_left = limits::REQUESTS_PER_POLL;
                // A request that must be rendered costs one of those left, so this ends.
                loop {
                    let mut service = Service {
                        now,
                        parts: around.parts,
                        log: around.log,
                        desk: &mut self.desk,
                        requests_left: &mut requests_left,
                    };
                    let Some(request) = exchange.advance(socket, client, &mut service) else { break };
                    self.answer(at, request, &mut requests_left, around);
                    (socket, exchange) = self.pool.get(at).parts();
                }
                (state, queued) = (socket.state(), socket.send_queue());
            }
        }
        let timed = self.pool.wheel.has(at);
        let connection = self.pool.get(at);
        // An acknowledgement of all that was sent: nothing is due but what the timer in the wheel is for.
        let quiet = timed && !had_data && queued == 0 && state == State::Established;
        surely_due |= queued > 0;
        // What fits any segment goes in one; what then is due is at the earliest that it goes once more.
        let alone = queued <= limits::SEGMENT_MIN;
        let mut due = None;
        let hop = Hop { source: around.network.mac(), destination: connection.mac };
        let mut device = ToHop { device: &mut *around.nic, hop: Some(hop) };
        let interface = around.network.direct();
        let rounds = if quiet { 0 } else { limits::SEGMENTS_PER_POLL + 1 };
        for _ in 0..rounds {
            if !core::mem::take(&mut surely_due) {
                due = interface.poll_at(now, connection.set());
                if due.is_none_or(|due| due > now) {
                    break;
                }
            }
            let sent = interface.poll_egress(now, &mut device, connection.set()) == PollResult::SocketStateChanged;
            if sent && alone {
                due = Some(now + limits::RETRANSMIT_MIN);
                break;
            }
        }
        let (socket, exchange) = connection.parts();
        let (class, deadline) = match socket.state() {
            State::Closed if socket.remote_endpoint().is_none() => {
                self.desk.counters.empty += u64::from(exchange.is_unused());
                return self.release(at);
            }
            State::SynReceived => (Class::HalfOpen, now + limits::CLOSE_TIME),
            State::TimeWait => (Class::TimeWait, now + limits::CLOSE_TIME),
            State::Established if exchange.is_reading() => (Class::Idle, exchange.deadline()),
            _ => (Class::Busy, exchange.deadline()),
        };
        let unsent = due.is_some_and(|due| due <= now);
        let again = unsent || (class != Class::HalfOpen && exchange.is_pending(socket));
        self.pool.set_class(at, class, now);
        self.pool.wheel.schedule(at, due.map_or(deadline, |due| due.min(deadline)));
        if again {
            self.touched.touch(at);
        }
    }

    /// The handshake is complete. `false`: meanwhile the client has its share, and this one is over it.
    fn accept(&mut self, at: usize, now: Instant) -> bool {
        let client = self.pool.get(at).flow.address;
        if self.exceeds_share(now, client) {
            return false;
        }
        self.desk.counters.accepted += 1;
        // Also for what its own first request is told about connections.
        self.pool.set_class(at, Class::Idle, now);
        if self.share.is_some() {
            self.pool.count_for_source(at);
        }
        true
    }

    /// Answers what must be rendered, here where the whole table can be seen.
    #[inline(never)]
    fn answer<N: Nic>(
        &mut self,
        at: usize,
        mut request: Request,
        requests_left: &mut usize,
        around: &mut Surroundings<'_, 'a, N>,
    ) {
        let client = self.pool.get(at).flow.address;
        let (answer, buffers) = match request.query.beat {
            Some(beat) => (self.hear(beat, &mut request, around), None),
            None => self.render(&request, client, around),
        };
        let (socket, exchange) = self.pool.get(at).parts();
        let mut service =
            Service { now: around.now, parts: around.parts, log: around.log, desk: &mut self.desk, requests_left };
        exchange.answer(Ok(&request), &answer, buffers, socket, client, &mut service);
    }

    /// Takes in a signal. One with an unknown token is a path that leads nowhere, in every way.
    #[inline(never)]
    fn hear<N: Nic>(&mut self, beat: Beat, request: &mut Request, around: &mut Surroundings<'_, 'a, N>) -> Answer {
        let transaction = self.desk.counters.upcoming_transaction();
        self.heard = true;
        if around.watch.beat(around.now, transaction, beat, around.log) {
            return HEARD;
        }
        (request.route, request.query.beat) = (Route::NotFound, None);
        NOT_FOUND
    }

    /// Renders an answer into shared buffers, if enough are free.
    fn render<N: Nic>(
        &mut self,
        request: &Request,
        client: [u8; 4],
        around: &mut Surroundings<'_, 'a, N>,
    ) -> (Answer, Option<Range<usize>>) {
        if let Some(shown) = self.show_again(request, around.now) {
            return shown;
        }
        let Some(buffers) = self.buffers(request.buffers(around.watch.all().len()), client) else {
            self.desk.counters.no_buffer += 1;
            return (Answer::status_only(503), None);
        };
        let view = View {
            now: around.now,
            known: around.parts.known(around.incidents.told()),
            network: around.network,
            watch: &*around.watch,
            log: around.log,
            pool: &self.pool,
            counters: &self.desk.counters,
            probes: &self.desk.probes,
            answers_in_use: self.desk.answers.in_use(),
            nic: around.nic.counters(),
        };
        match respond(request, &view, self.desk.answers.get(buffers.clone())) {
            Some(answer @ Answer { body: Body::Rendered(len), .. }) => {
                // What it turned out not to need is for others.
                let end = buffers.start + len.div_ceil(limits::ANSWER).clamp(1, buffers.len());
                self.desk.answers.give_back(end..buffers.end);
                let buffers = buffers.start..end;
                if request.route.is_shown_again() {
                    let Request { route, query, wants, .. } = *request;
                    let until = around.now + limits::SHOWN_AGAIN;
                    self.shown = Some(Shown { route, query, wants, answer, buffers: buffers.clone(), until });
                }
                (answer, Some(buffers))
            }
            other => {
                self.desk.answers.give_back(buffers);
                (other.unwrap_or(Answer::status_only(500)), None)
            }
        }
    }

    /// What was rendered a moment ago for somebody else.
    fn show_again(&mut self, request: &Request, now: Instant) -> Option<(Answer, Option<Range<usize>>)> {
        let shown = self.shown.as_ref().filter(|shown| {
            now < shown.until
                && (shown.route, shown.query, shown.wants) == (request.route, request.query, request.wants)
        })?;
        self.desk.answers.share(shown.buffers.clone()).then(|| (shown.answer, Some(shown.buffers.clone())))
    }

    /// Shared buffers for an answer to this client. When none are free, whoever has most of them gives some up.
    fn buffers(&mut self, count: usize, client: [u8; 4]) -> Option<Range<usize>> {
        // Each round frees a connection that held some of them.
        for _ in 0..=limits::ANSWERS {
            if let Some(buffers) = self.desk.answers.take(count) {
                // Something else is written there now.
                let overlaps =
                    |shown: &mut Shown| shown.buffers.start < buffers.end && buffers.start < shown.buffers.end;
                self.shown.take_if(overlaps);
                return Some(buffers);
            }
            let at = self.greediest(client)?;
            self.desk.counters.given_up += 1;
            self.release(at);
        }
        None
    }

    /// Of the client whose answers hold at least two buffers more than this one's: the answer that it has taken nothing
    /// of for longest.
    fn greediest(&mut self, client: [u8; 4]) -> Option<usize> {
        let mut holders: Vec<(usize, [u8; 4], Instant), { limits::ANSWERS }> = Vec::new();
        for at in 0..self.pool.size() {
            let connection = self.pool.get(at);
            // Of those who share an answer, one that gives it up frees nothing.
            if connection.exchange.buffers().is_some_and(|buffers| self.desk.answers.is_alone(buffers)) {
                // There are no more of them than buffers.
                let _ = holders.push((at, connection.flow.address, connection.exchange.deadline()));
            }
        }
        let held = |client| holders.iter().filter(|holder| holder.1 == client).count();
        let most = holders.iter().map(|holder| holder.1).max_by_key(|client| held(*client))?;
        let of_it = holders.iter().filter(|holder| holder.1 == most && held(most) > held(client) + 1);
        of_it.min_by_key(|holder| holder.2).map(|holder| holder.0)
    }

    fn release(&mut self, at: usize) {
        self.pool.get(at).exchange.release(&mut self.desk);
        self.pool.free(at);
    }

    /// Our address changed: every connection is dead.
    pub fn abandon_all(&mut self) {
        for at in 0..self.pool.size() {
            if self.pool.class(at) != Class::Free {
                self.release(at);
            }
        }
    }

    /// Tells what is due of probing clients and short connections; `tell_at` is when the rest is.
    #[inline(never)]
    fn tell(&mut self, now: Instant, log: &mut Log<'_>) {
        self.desk.probes.tell(now, log);
        self.tell_pressure(now, log);
        let pressed = self.has_to_tell().then(|| self.told_at + TELL_EVERY);
        self.tell_at = sooner(sooner(FAR, self.desk.probes.poll_at()), pressed);
    }

    fn tell_pressure(&mut self, now: Instant, log: &mut Log<'_>) {
        if !self.has_to_tell() || now < self.told_at + TELL_EVERY {
            return;
        }
        let pressure = self.desk.counters.pressure();
        let [half_open, idle, refused] =
            core::array::from_fn(|at| u32::try_from(pressure[at] - self.told[at]).unwrap_or(u32::MAX));
        log.emit(now, None, HttpRecycled { half_open, idle, refused });
        (self.told, self.told_at) = (pressure, now);
    }

    /// Whether `http.recycled` is due: its counters only grow, so their sum tells.
    fn has_to_tell(&self) -> bool {
        let sum = |[half_open, idle, refused]: [u64; 3]| half_open + idle + refused;
        sum(self.desk.counters.pressure()) != sum(self.told)
    }

    /// When there is more to do, if no frame comes before; the end of time means never.
    #[inline(always)]
    pub fn poll_at(&self, now: Instant) -> Instant {
        let at = sooner(self.tell_at, self.pool.wheel.next_at());
        if self.touched.is_empty() { at } else { at.min(now + limits::RETRY) }
    }
}
