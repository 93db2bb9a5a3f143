//! `/debug/net`: what netstat, ss, arp, ip and ethtool would show.

use super::View;
use super::names::Names;
use crate::config::Network as NetworkConfig;
use crate::http::pool::{Class, Connection};
use crate::limits;
use crate::net::neighbours::Mac;
use core::fmt::Display;
use core::net::Ipv4Addr;
use heapless::Vec;
use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{IpEndpoint, Ipv4Cidr};

/// `/debug/net`.
#[derive(Serialize)]
pub struct NetDocument<'v> {
    state: &'static str,
    link: &'static str,
    mac: Shown<Mac>,
    address: Option<Shown<Ipv4Cidr>>,
    lease: Option<LeaseDocument>,
    dns: Vec<Shown<Ipv4Addr>, { limits::DNS_SERVERS }>,
    names: Names<'v>,
    routes: Vec<RouteDocument, 2>,
    neighbours: Vec<NeighbourDocument, { limits::NEIGHBOURS }>,
    time_servers: Vec<ServerDocument, { crate::time::SERVERS }>,
    card: CardDocument,
    timers: TimersDocument,
    sockets: Vec<SocketDocument, 6>,
    connections: ConnectionsDocument<'v>,
}

#[derive(Serialize)]
struct LeaseDocument {
    server: Shown<Ipv4Addr>,
    since_s: u64,
    left_s: Option<u64>,
}

#[derive(Serialize)]
struct RouteDocument {
    to: Shown<Ipv4Cidr>,
    via: Option<Shown<Ipv4Addr>>,
}

#[derive(Serialize)]
struct NeighbourDocument {
    address: Shown<Ipv4Addr>,
    mac: Shown<Mac>,
    heard_s: u64,
}

#[derive(Serialize)]
struct ServerDocument {
    address: Shown<Ipv4Addr>,
    state: &'static str,
    stratum: Option<u8>,
    offset_us: Option<i64>,
    delay_us: Option<u64>,
    error_us: Option<u64>,
    last_answer_s: Option<u64>,
    next_in_s: u64,
    asked: u32,
    believed: u32,
}

#[derive(Serialize)]
struct CardDocument {
    rx_frames: u64,
    rx_bytes: u64,
    rx_buffers: u16,
    tx_frames: u64,
    tx_bytes: u64,
    tx_buffers: u16,
    tx_free: u16,
    tx_full: u64,
    device_errors: u64,
}

#[derive(Serialize)]
struct TimersDocument {
    network_in_ms: Option<u64>,
    log_in_ms: Option<u64>,
    connections_in_ms: Option<u64>,
    connections_with_one: u16,
}

/// A socket that is not one of the many connections.
#[derive(Serialize)]
struct SocketDocument {
    what: &'static str,
    protocol: &'static str,
    state: Option<Shown<tcp::State>>,
    local_port: Option<u16>,
    remote: Option<Shown<IpEndpoint>>,
    received_bytes: usize,
    unsent_bytes: usize,
}

#[derive(Serialize)]
struct ConnectionsDocument<'v> {
    limit: u16,
    free: u16,
    half_open: u16,
    idle: u16,
    busy: u16,
    time_wait: u16,
    accepted: u64,
    refused: u64,
    recycled: u64,
    given_up: u64,
    shown: Connections<'v>,
    truncated: bool,
}

#[derive(Serialize)]
struct ConnectionDocument {
    remote: Shown<IpEndpoint>,
    mac: Shown<Mac>,
    class: &'static str,
    class_for_ms: u64,
    state: Shown<tcp::State>,
    received_bytes: usize,
    unsent_bytes: usize,
    deadline_in_ms: u64,
    timer_in_ms: Option<u64>,
}

impl<'v> View<'v, '_> {
    /// `/debug/net`.
    pub fn debug_net(&self) -> NetDocument<'_> {
        let (network, config) = (self.network, self.config());
        let address = network.address();
        NetDocument {
            state: network.state().name(),
            link: network.link().name(),
            mac: Shown(Mac(network.mac())),
            address: address.map(|address| Shown(address.cidr)),
            lease: address.and_then(|address| address.lease).map(|lease| LeaseDocument {
                server: Shown(lease.server),
                since_s: self.seconds_since(lease.at),
                left_s: lease.time.map(|time| self.ms_until(lease.at + time) / 1000),
            }),
            dns: address.iter().flat_map(|address| &address.dns).copied().map(Shown).collect(),
            names: self.names(),
            routes: address.map(routes).unwrap_or_default(),
            neighbours: network
                .neighbours()
                .known()
                .iter()
                .map(|known| NeighbourDocument {
                    address: Shown(known.address),
                    mac: Shown(Mac(known.mac)),
                    heard_s: self.seconds_since(known.heard),
                })
                .collect(),
            time_servers: self.time_servers(),
            card: self.card(),
            timers: self.timers(),
            sockets: self.sockets(matches!(config.network, NetworkConfig::Dhcp)),
            connections: self.connections_shown(),
        }
    }

    fn time_servers(&self) -> Vec<ServerDocument, { crate::time::SERVERS }> {
        let chosen = self.known.time.now(self.now);
        let show = |server: &crate::time::Server| ServerDocument {
            address: Shown(server.address),
            state: server.state(self.now),
            stratum: server.sample.map(|sample| sample.stratum),
            offset_us: server.sample.zip(chosen).map(|(sample, chosen)| sample.offset().wrapping_sub(chosen.offset())),
            delay_us: server.sample.map(|_| server.delay.total_micros()),
            error_us: server.sample.map(|sample| sample.error_us),
            last_answer_s: server.sample.map(|sample| self.seconds_since(sample.at)),
            next_in_s: self.ms_until(server.next()) / 1000,
            asked: server.asked,
            believed: server.believed,
        };
        self.known.time.servers().iter().map(show).collect()
    }

    fn card(&self) -> CardDocument {
        let card = &self.nic;
        CardDocument {
            rx_frames: card.rx_frames,
            rx_bytes: card.rx_bytes,
            rx_buffers: card.rx_buffers,
            tx_frames: card.tx_frames,
            tx_bytes: card.tx_bytes,
            tx_buffers: card.tx_buffers,
            tx_free: card.tx_free,
            tx_full: card.tx_full,
            device_errors: card.device_errors,
        }
    }

    fn timers(&self) -> TimersDocument {
        let in_ms = |at: Instant| (at < FAR).then(|| self.ms_until(at));
        let wheel = &self.pool.wheel;
        TimersDocument {
            network_in_ms: in_ms(self.network.poll_at()),
            log_in_ms: in_ms(self.log.poll_at()),
            connections_in_ms: wheel.next_at().and_then(in_ms),
            connections_with_one: (0..self.pool.size()).filter(|&at| wheel.due(at).is_some()).count() as u16,
        }
    }

    /// Those that are not connections: what `ss -l` would show, and what we opened ourselves.
    fn sockets(&self, dhcp: bool) -> Vec<SocketDocument, 6> {
        let ([collector, sink], clients) = self.network.own_sockets();
        let mut sockets = Vec::new();
        let mut show = |what, protocol, state, local_port, remote, queues: (usize, usize)| {
            let (received_bytes, unsent_bytes) = queues;
            // There is room for each of the six calls.
            let _ = sockets.push(SocketDocument {
                what,
                protocol,
                state: Option::map(state, Shown),
                local_port,
                remote: Option::map(remote, Shown),
                received_bytes,
                unsent_bytes,
            });
        };
        show("http", "tcp", Some(tcp::State::Listen), Some(self.config().http.port), None, (0, 0));
        for (what, socket, used) in
            [("collector", collector, self.known.ship.is_some()), ("sink", sink, self.known.sink.is_some())]
        {
            if used {
                let queues = (socket.recv_queue(), socket.send_queue());
                let local = socket.local_endpoint().map(|local| local.port);
                show(what, "tcp", Some(socket.state()), local, socket.remote_endpoint(), queues);
            }
        }
        for (what, socket) in ["ntp", "dns"].into_iter().zip(clients).filter(|(_, socket)| socket.is_open()) {
            let queues = (socket.recv_queue(), socket.send_queue());
            show(what, "udp", None, Some(socket.endpoint().port), None, queues);
        }
        if dhcp {
            show("dhcp", "udp", None, Some(68), None, (0, 0));
        }
        sockets
    }

    fn connections_shown(&self) -> ConnectionsDocument<'_> {
        let (pool, counters) = (self.pool, self.counters);
        ConnectionsDocument {
            limit: pool.size() as u16,
            free: pool.count(Class::Free),
            half_open: pool.count(Class::HalfOpen),
            idle: pool.count(Class::Idle),
            busy: pool.count(Class::Busy),
            time_wait: pool.count(Class::TimeWait),
            accepted: counters.accepted,
            refused: counters.refused,
            recycled: counters.recycled_half_open + counters.recycled_idle,
            given_up: counters.given_up,
            shown: Connections(self),
            truncated: pool.size() - usize::from(pool.count(Class::Free)) > limits::CONNECTIONS_SHOWN,
        }
    }

    fn connection(&self, at: usize, connection: &Connection<'_>) -> ConnectionDocument {
        let (socket, flow) = (connection.seen(), connection.flow);
        ConnectionDocument {
            remote: Shown(IpEndpoint::new(Ipv4Addr::from(flow.address).into(), flow.port)),
            mac: Shown(Mac(connection.mac)),
            class: self.pool.class(at).name(),
            class_for_ms: self.pool.age(at, self.now).total_millis(),
            state: Shown(socket.state()),
            received_bytes: socket.recv_queue(),
            unsent_bytes: socket.send_queue(),
            deadline_in_ms: self.ms_until(connection.exchange.deadline()),
            timer_in_ms: self.pool.wheel.due(at).map(|due| self.ms_until(due)),
        }
    }

    /// Milliseconds until a moment; 0 when it is over.
    fn ms_until(&self, at: Instant) -> u64 {
        if at > self.now { (at - self.now).total_millis() } else { 0 }
    }
}

/// Later than any deadline.
const FAR: Instant = Instant::from_micros_const(i64::MAX);

fn routes(address: &crate::net::Address) -> Vec<RouteDocument, 2> {
    let link = RouteDocument { to: Shown(address.cidr.network()), via: None };
    let everything = Ipv4Cidr::new(Ipv4Addr::UNSPECIFIED, 0);
    let default = address.gateway.map(|gateway| RouteDocument { to: Shown(everything), via: Some(Shown(gateway)) });
    [Some(link), default].into_iter().flatten().collect()
}

/// The connections that are shown one by one: of each class the oldest first, and first those that do something.
struct Connections<'v>(&'v dyn Listing);

/// A view without its lifetimes.
trait Listing {
    fn list(&self, each: &mut dyn FnMut(ConnectionDocument));
}

impl Listing for View<'_, '_> {
    fn list(&self, each: &mut dyn FnMut(ConnectionDocument)) {
        let classes = [Class::Busy, Class::HalfOpen, Class::Idle, Class::TimeWait];
        let all = classes.into_iter().flat_map(|class| self.pool.of(class));
        all.take(limits::CONNECTIONS_SHOWN).for_each(|(at, connection)| each(self.connection(at, connection)));
    }
}

impl Serialize for Connections<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        let mut outcome = Ok(());
        self.0.list(&mut |connection| {
            if outcome.is_ok() {
                outcome = list.serialize_element(&connection);
            }
        });
        outcome?;
        list.end()
    }
}

/// A value as the text it displays as.
#[derive(Clone, Copy)]
pub(super) struct Shown<T>(pub(super) T);

impl<T: Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // By a reference to any such value, so that there is one copy of the code behind it.
        serializer.collect_str(&self.0 as &dyn Display)
    }
}
