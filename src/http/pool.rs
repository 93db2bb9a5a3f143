//! The connection table: every TCP connection to the HTTP port, found by its far end in constant time.
//!
//! Each connection has a socket set of its own, so that a frame, a timer or an answer meets one socket however many
//! there are. There is no pool of listening sockets: a SYN takes a free connection, which then listens for that very
//! SYN, so the backlog is whatever is free. When nothing is free, what matters least gives way:
//!
//! free → oldest TIME-WAIT → oldest half-open, once aged → oldest that waits for a request, once aged → oldest
//! half-open → oldest that waits for a request → oldest busy
//!
//! Young ones come last: a flood must not reset the client that has just connected and is about to ask. But the oldest
//! gives way in the end: whatever an attacker holds, it has to win its place again and again.

use super::exchange::Exchange;
use crate::limits;
use crate::net::frame::Flow;
use crate::net::lists::Lists;
use crate::net::wheel::Wheel;
use heapless::Vec;
use smoltcp::iface::{SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::EthernetAddress;

const SIZE: usize = limits::CONNECTIONS;

/// Hash buckets: two per connection keep the chains short.
const BUCKETS: usize = 2 * SIZE;

/// Hash buckets for addresses.
const SOURCES: usize = SIZE;

/// What a connection is doing, as far as giving way goes. Each class is a list, the oldest in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Class {
    /// Nothing: there is no connection.
    Free,
    /// The handshake is not complete.
    HalfOpen,
    /// Established, and no complete request has come.
    Idle,
    /// An answer is on its way, or it is closing.
    Busy,
    /// Closed by both ends; kept so that late segments meet it.
    TimeWait,
}

const CLASSES: usize = 5;

impl Class {
    /// As it is written in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Free => "free",
            Class::HalfOpen => "half_open",
            Class::Idle => "idle",
            Class::Busy => "busy",
            Class::TimeWait => "time_wait",
        }
    }
}

/// One connection.
pub struct Connection<'a> {
    set: SocketSet<'a>,
    /// What HTTP is doing on it.
    pub exchange: Exchange,
    /// The far end.
    pub flow: Flow,
    /// The MAC its last frame came from.
    pub mac: EthernetAddress,
    class: Class,
    /// When it entered its class, or moved to the end of it.
    since: Instant,
}

impl<'a> Connection<'a> {
    /// Its socket set, of this one socket.
    pub fn set(&mut self) -> &mut SocketSet<'a> {
        &mut self.set
    }

    /// Its socket, and what HTTP is doing on it.
    pub fn parts(&mut self) -> (&mut tcp::Socket<'a>, &mut Exchange) {
        (self.set.get_mut(SocketHandle::default()), &mut self.exchange)
    }

    /// Its socket, to be looked at.
    pub fn seen(&self) -> &tcp::Socket<'a> {
        self.set.get(SocketHandle::default())
    }

    /// Its socket.
    pub fn socket(&mut self) -> &mut tcp::Socket<'a> {
        self.set.get_mut(SocketHandle::default())
    }
}

/// The memory of the pool. Empty memory is all zeros: it is .bss in the image.
pub struct Memory<'a> {
    receive: [[u8; limits::CONNECTION_RX]; SIZE],
    send: [[u8; limits::CONNECTION_TX]; SIZE],
    sockets: Vec<SocketStorage<'a>, SIZE>,
    connections: Vec<Connection<'a>, SIZE>,
    classes: Lists<CLASSES, SIZE>,
    buckets: Lists<BUCKETS, SIZE>,
    sources: Lists<SOURCES, SIZE>,
    wheel: Wheel<SIZE>,
}

impl Memory<'_> {
    /// Empty memory.
    pub const fn new() -> Self {
        Memory {
            receive: [[0; limits::CONNECTION_RX]; SIZE],
            send: [[0; limits::CONNECTION_TX]; SIZE],
            sockets: Vec::new(),
            connections: Vec::new(),
            classes: Lists::new(),
            buckets: Lists::new(),
            sources: Lists::new(),
            wheel: Wheel::new(),
        }
    }
}

impl Default for Memory<'_> {
    fn default() -> Self {
        Memory::new()
    }
}

/// Which connection gave way to a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// None had to.
    Free,
    /// One that was closed already.
    TimeWait,
    /// A half-open one.
    HalfOpen,
    /// An idle one.
    Idle,
    /// One with an answer on its way: no others were left.
    Busy,
}

/// The table.
pub struct Pool<'a> {
    connections: &'a mut [Connection<'a>],
    classes: &'a mut Lists<CLASSES, SIZE>,
    buckets: &'a mut Lists<BUCKETS, SIZE>,
    /// Connections by their client's address, where there is a share for each.
    sources: &'a mut Lists<SOURCES, SIZE>,
    /// When which connection is next due.
    pub wheel: &'a mut Wheel<SIZE>,
    counts: [u16; CLASSES],
    /// Makes buckets unguessable, so that no client can put all its connections into one.
    secret: u64,
}

impl<'a> Pool<'a> {
    /// A table of `size` free connections (at most [`limits::CONNECTIONS`]).
    pub fn new(memory: &'a mut Memory<'a>, size: usize, secret: u64) -> Pool<'a> {
        let size = size.min(SIZE);
        let Memory { receive, send, sockets, connections, classes, buckets, sources, wheel } = memory;
        while sockets.len() < size && sockets.push(SocketStorage::EMPTY).is_ok() {}
        for ((storage, receive), send) in sockets.chunks_mut(1).zip(receive).zip(send) {
            let mut set = SocketSet::new(storage);
            let mut socket =
                tcp::Socket::new(tcp::SocketBuffer::new(&mut receive[..]), tcp::SocketBuffer::new(&mut send[..]));
            // Answers are written whole; waiting for more (Nagle) would only delay them.
            socket.set_nagle_enabled(false);
            set.add(socket);
            let thing = connections.len();
            let fresh = Connection {
                set,
                exchange: Exchange::new(Instant::ZERO),
                flow: Flow::default(),
                mac: EthernetAddress([0; 6]),
                class: Class::Free,
                since: Instant::ZERO,
            };
            if connections.push(fresh).is_ok() {
                classes.push_back(Class::Free as usize, thing);
            }
        }
        let counts = [connections.len() as u16, 0, 0, 0, 0];
        Pool { connections: connections.as_mut_slice(), classes, buckets, sources, wheel, counts, secret }
    }

    /// One connection.
    #[inline(always)]
    pub fn get(&mut self, at: usize) -> &mut Connection<'a> {
        &mut self.connections[at]
    }

    /// The connections of a class with their numbers, the oldest first.
    pub fn of(&self, class: Class) -> impl Iterator<Item = (usize, &Connection<'a>)> {
        let first = self.classes.front(class as usize);
        core::iter::successors(first, |&at| self.classes.after(at)).map(|at| (at, &self.connections[at]))
    }

    /// What a connection is doing.
    #[inline(always)]
    pub fn class(&self, at: usize) -> Class {
        self.connections[at].class
    }

    /// How many connections there can be.
    pub fn size(&self) -> usize {
        self.connections.len()
    }

    /// How many are in this class.
    pub fn count(&self, class: Class) -> u16 {
        self.counts[class as usize]
    }

    /// Whether a new connection would cost another one its place: in TIME-WAIT there is nothing left to lose.
    #[inline(always)]
    pub fn is_full(&self) -> bool {
        self.count(Class::Free) + self.count(Class::TimeWait) == 0
    }

    /// The oldest connection of a class.
    pub fn front(&self, class: Class) -> Option<usize> {
        self.classes.front(class as usize)
    }

    /// The connection with this far end.
    #[inline(always)]
    pub fn find(&self, flow: Flow) -> Option<usize> {
        let mut at = self.buckets.front(self.bucket(flow));
        while let Some(thing) = at {
            if self.connections[thing].flow == flow {
                return at;
            }
            at = self.buckets.after(thing);
        }
        None
    }

    /// The connection that gives way to a new one; `None` only in a table without connections.
    pub fn gives_way(&self, now: Instant) -> Option<(usize, Taken)> {
        let aged = |at: &usize| now - self.connections[*at].since >= limits::HALF_OPEN_GRACE;
        let oldest = |class| self.front(class);
        oldest(Class::Free)
            .map(|at| (at, Taken::Free))
            .or_else(|| oldest(Class::TimeWait).map(|at| (at, Taken::TimeWait)))
            .or_else(|| oldest(Class::HalfOpen).filter(aged).map(|at| (at, Taken::HalfOpen)))
            .or_else(|| oldest(Class::Idle).filter(aged).map(|at| (at, Taken::Idle)))
            .or_else(|| oldest(Class::HalfOpen).map(|at| (at, Taken::HalfOpen)))
            .or_else(|| oldest(Class::Idle).map(|at| (at, Taken::Idle)))
            .or_else(|| oldest(Class::Busy).map(|at| (at, Taken::Busy)))
    }

    /// Makes a connection one with this far end; its socket is closed and must be made to listen.
    pub fn take(&mut self, at: usize, now: Instant, flow: Flow, mac: EthernetAddress) {
        if self.class(at) != Class::Free {
            self.forget(at);
        }
        let connection = &mut self.connections[at];
        connection.flow = flow;
        connection.mac = mac;
        connection.exchange.renew(now);
        self.buckets.push_back(self.bucket(flow), at);
        self.change_class(at, Class::HalfOpen, now);
    }

    /// Forgets a connection. Nothing is sent: the far end learns by RST when it speaks again.
    pub fn free(&mut self, at: usize) {
        self.forget(at);
        self.set_class(at, Class::Free, Instant::ZERO);
    }

    /// Takes it out of all that finds a connection but its class.
    fn forget(&mut self, at: usize) {
        self.connections[at].socket().abort();
        self.buckets.remove(at);
        self.sources.remove(at);
        self.wheel.cancel(at);
    }

    /// Puts a connection into a class; an idle one that stays idle becomes the youngest, but for what came since
    /// [`limits::IDLE_ORDER`].
    #[inline(always)]
    pub fn set_class(&mut self, at: usize, class: Class, now: Instant) {
        let connection = &self.connections[at];
        if connection.class != class || (class == Class::Idle && now >= connection.since + limits::IDLE_ORDER) {
            self.change_class(at, class, now);
        }
    }

    fn change_class(&mut self, at: usize, class: Class, now: Instant) {
        let connection = &mut self.connections[at];
        let before = core::mem::replace(&mut connection.class, class);
        connection.since = now;
        self.counts[before as usize] -= 1;
        self.counts[class as usize] += 1;
        self.classes.push_back(class as usize, at);
        if class == Class::TimeWait {
            self.sources.remove(at);
        }
    }

    /// From now on the connection counts for its client's address: until it is free or in TIME-WAIT.
    pub fn count_for_source(&mut self, at: usize) {
        self.sources.push_back(self.source(self.connections[at].flow.address), at);
    }

    /// How many connections count for this address.
    pub fn of_source(&self, address: [u8; 4]) -> usize {
        let same = |at: &usize| self.connections[*at].flow.address == address;
        let first = self.sources.front(self.source(address));
        core::iter::successors(first, |at| self.sources.after(*at)).filter(same).count()
    }

    /// How long a connection has been in its class.
    pub fn age(&self, at: usize, now: Instant) -> Duration {
        now - self.connections[at].since
    }

    fn bucket(&self, flow: Flow) -> usize {
        let key = u64::from(u32::from_be_bytes(flow.address)) << 16 | u64::from(flow.port);
        self.mixed(key) % BUCKETS
    }

    fn source(&self, address: [u8; 4]) -> usize {
        self.mixed(u32::from_be_bytes(address).into()) % SOURCES
    }

    fn mixed(&self, key: u64) -> usize {
        const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
        // Twice: ports that follow one another are a lattice behind a single product, and some secrets put hundreds of
        // them into few buckets.
        let once = (key ^ self.secret).wrapping_mul(MIX ^ self.secret << 1);
        ((once ^ once >> 32).wrapping_mul(MIX) >> 40) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_young_give_way_last_and_a_handshake_before_a_client() {
        // A thousand SYNs at once reset whoever had just connected, or kept the next one out for a second.
        // The memory passes over the stack on its way to the heap.
        let thread = std::thread::Builder::new().stack_size(32 << 20).spawn(young_and_old).unwrap();
        thread.join().unwrap();
    }

    fn young_and_old() {
        let mut pool = Pool::new(Box::leak(Box::new(Memory::new())), 3, 1);
        let flow = |port| Flow { address: [192, 0, 2, 1], port };
        let at = Instant::from_millis;
        let take = |pool: &mut Pool<'_>, ms, port| {
            let (place, taken) = pool.gives_way(at(ms)).unwrap();
            pool.take(place, at(ms), flow(port), EthernetAddress([2; 6]));
            (place, taken)
        };
        let [idle, client, half_open] = [1, 2, 3].map(|port| take(&mut pool, 0, port).0);
        pool.set_class(idle, Class::Idle, at(0));
        pool.set_class(client, Class::Idle, at(1500));
        assert_eq!(take(&mut pool, 1600, 4), (half_open, Taken::HalfOpen), "it is old");
        assert_eq!(take(&mut pool, 1601, 5), (idle, Taken::Idle), "it is old");
        assert_eq!(take(&mut pool, 1602, 6), (half_open, Taken::HalfOpen), "all are young, and this is no client yet");
        assert_eq!(pool.find(flow(2)), Some(client));
        assert!(pool.is_full());
        pool.set_class(idle, Class::TimeWait, at(1700));
        assert!(!pool.is_full(), "nobody loses anything");
        assert_eq!(take(&mut pool, 1700, 7), (idle, Taken::TimeWait));
        assert_eq!((pool.find(flow(5)), pool.find(flow(7))), (None, Some(idle)), "it is found by its new far end only");
    }
}
