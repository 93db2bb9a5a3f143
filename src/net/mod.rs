//! The network: two smoltcp interfaces over one card, and how we get our address.
//!
//! ```text
//! frame ── frame::sort ──┬─ TCP to the HTTP port ──▶ the connection table (http::pool) ─┐
//!                        ├─ ICMP, UDP for a probe ─▶ watch                              │
//!                        ├─ other TCP, ICMP ───────▶ no socket: RST, echo reply ────────┤ direct (Medium::Ip)
//!                        └─ ARP, DHCP, our own connections ─▶ ethernet (Medium::Ethernet)
//! ```
//!
//! `direct` answers to the MAC a frame came from and takes whatever address it was sent to; only `ethernet` speaks ARP and
//! has our address.

pub mod answer;
pub mod frame;
mod hops;
pub mod link;
pub mod lists;
pub mod neighbours;
pub mod resolve;
pub mod wheel;

use crate::config::{Network as NetworkConfig, StaticNetwork};
use crate::limits;
use crate::log::Log;
use crate::nic::{Link, Nic};
use core::net::Ipv4Addr;
use frame::{ETHERNET_HEADER, HEADERS, Packet};
use heapless::Vec;
use hops::Hops;
use link::{Hop, OneFrame, Shape, ToHop, as_ip};
use neighbours::Neighbours;
use outpost_wire::{DhcpBound, DhcpLost, DhcpTimeout, DownReason, Ip4, NetworkConflict, NetworkDown, NetworkUp};
use smoltcp::iface::{Config, Context, Interface, SocketHandle, SocketSet, SocketStorage};
use smoltcp::phy::TxToken;
use smoltcp::socket::dhcpv4::{self, RetryConfig};
use smoltcp::socket::{tcp, udp};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, DhcpPacket, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr,
    HardwareAddress, IpAddress, IpCidr, IpEndpoint, Ipv4Cidr,
};

/// After this long without an answer the search for a DHCP server is reported; then each time it has doubled.
const DHCP_PATIENCE: Duration = Duration::from_secs(10);

/// How long a DHCP server has to answer a DISCOVER before the next one: 4 s, as RFC 2131 says in section 4.1. The first is
/// often lost: we are there before the bridge that we are plugged into forwards anything (libvirt's takes 4 s).
const DHCP_RETRY: Duration = Duration::from_secs(4);

/// Frames that the Ethernet interface may send in one poll: few are ever waiting (ARP, DHCP, log batches).
const EGRESS_PER_POLL: usize = 16;

/// Sockets of the Ethernet interface: DHCP, the collector session, the syslog server, NTP, DNS.
const SOCKETS: usize = 5;

/// What we ask of a DHCP server (RFC 2132): subnet mask, router, DNS servers, NTP servers.
const DHCP_OPTIONS: &[u8] = &[1, 3, 6, DHCP_NTP];

const DHCP_NTP: u8 = 42;

/// How long the address is ours, in seconds (RFC 2132, section 9.2).
const DHCP_LEASE: u8 = 51;

/// The longest DHCP packet that is looked into for options, in bytes: what a server may send unasked (RFC 2131,
/// section 2), with room for a few more options.
const DHCP_PACKET: usize = 1024;

/// Room for one NTP packet in bytes, with some for extensions that are cut off.
const NTP_ROOM: usize = 96;

/// NTP packets that can wait, each way: one per server.
const NTP_PACKETS: usize = crate::time::SERVERS;

/// Whether the network is usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Just booted: asking for an address, not long enough to complain.
    Starting,
    /// There is a link and an address.
    Up,
    /// It is not usable.
    Down(DownReason),
}

/// An address with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Our address and prefix.
    pub cidr: Ipv4Cidr,
    /// The router for everything else.
    pub gateway: Option<Ipv4Addr>,
    /// DNS servers, in order.
    pub dns: Vec<Ipv4Addr, { limits::DNS_SERVERS }>,
    /// NTP servers that DHCP named.
    pub ntp: Vec<Ipv4Addr, { crate::time::SERVERS }>,
    /// The lease it came with; `None` when it is configured.
    pub lease: Option<Lease>,
}

/// What a DHCP server promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The server.
    pub server: Ipv4Addr,
    /// When it gave the address, or last renewed it.
    pub at: Instant,
    /// For how long from then; `None` when it did not say.
    pub time: Option<Duration>,
}

impl From<&StaticNetwork> for Address {
    fn from(network: &StaticNetwork) -> Self {
        Address {
            cidr: network.address,
            gateway: network.gateway,
            dns: network.dns.clone(),
            ntp: Vec::new(),
            lease: None,
        }
    }
}

/// Buffers of the sockets that are not connections.
pub struct Memory<'a> {
    // Vectors, because an empty one is all zeros and an empty socket is not: this is .bss, not image.
    sockets: Vec<SocketStorage<'a>, SOCKETS>,
    nothing: Vec<SocketStorage<'a>, 0>,
    collector_rx: [u8; limits::COLLECTOR_RX],
    collector_tx: [u8; limits::COLLECTOR_TX],
    sink_rx: [u8; limits::SINK_RX],
    sink_tx: [u8; limits::SINK_TX],
    dhcp_packet: [u8; DHCP_PACKET],
    ntp_metadata: [Vec<udp::PacketMetadata, NTP_PACKETS>; 2],
    ntp_payload: [[u8; NTP_PACKETS * NTP_ROOM]; 2],
    dns_metadata: (Vec<udp::PacketMetadata, { limits::DNS_PACKETS }>, Vec<udp::PacketMetadata, 1>),
    dns_payload: ([u8; limits::DNS_PACKETS * limits::DNS_ANSWER], [u8; answer::QUESTION_MAX]),
}

impl Memory<'_> {
    /// Empty buffers.
    pub const fn new() -> Self {
        Memory {
            sockets: Vec::new(),
            nothing: Vec::new(),
            collector_rx: [0; limits::COLLECTOR_RX],
            collector_tx: [0; limits::COLLECTOR_TX],
            sink_rx: [0; limits::SINK_RX],
            sink_tx: [0; limits::SINK_TX],
            dhcp_packet: [0; DHCP_PACKET],
            ntp_metadata: [const { Vec::new() }; 2],
            ntp_payload: [[0; NTP_PACKETS * NTP_ROOM]; 2],
            dns_metadata: (Vec::new(), Vec::new()),
            dns_payload: ([0; limits::DNS_PACKETS * limits::DNS_ANSWER], [0; answer::QUESTION_MAX]),
        }
    }
}

impl Default for Memory<'_> {
    fn default() -> Self {
        Memory::new()
    }
}

/// The two interfaces and our address.
pub struct Network<'a> {
    mac: EthernetAddress,
    /// Whether the card has looked at the checksums of UDP.
    vouched: bool,
    ethernet: Interface,
    direct: Interface,
    sockets: SocketSet<'a>,
    nothing: SocketSet<'a>,
    dhcp: Option<SocketHandle>,
    collector: SocketHandle,
    sink: SocketHandle,
    ntp: SocketHandle,
    dns: SocketHandle,
    state: State,
    link: Link,
    address: Option<Address>,
    /// Who else said that it has our address.
    conflict: Option<Conflict>,
    /// When the link was last lost, the latest at the end.
    link_lost: [Option<Instant>; limits::LINK_FLAPS],
    neighbours: Neighbours,
    hops: Hops,
    /// Since when we look for a DHCP server, and when to report that none answered.
    searching: Instant,
    report_at: Instant,
    /// When the Ethernet interface next has something to do.
    due: Instant,
}

/// Another machine that says that it has our address.
#[derive(Clone, Copy, Debug)]
struct Conflict {
    mac: EthernetAddress,
    /// When it last said so.
    at: Instant,
    /// How often it has since it was last told, and when that was.
    claims: u32,
    told: Option<Instant>,
}

impl State {
    /// As it is written in answers.
    pub const fn name(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Up => "up",
            State::Down(DownReason::NoNic) => "no_nic",
            State::Down(DownReason::NoLink) => "no_link",
            State::Down(_) => "no_address",
        }
    }
}

impl<'a> Network<'a> {
    /// The network on this card; nothing is sent before the first poll.
    pub fn new<N: Nic>(
        config: &NetworkConfig,
        memory: &'a mut Memory<'a>,
        nic: &mut N,
        seed: u64,
        now: Instant,
    ) -> Network<'a> {
        let mac = nic.mac();
        let capabilities = nic.capabilities();
        let vouched = !capabilities.checksum.udp.rx();
        let interface = |address, capabilities, seed| {
            let mut config = Config::new(address);
            config.random_seed = seed;
            Interface::new(config, &mut Shape(capabilities), now)
        };
        let ethernet = interface(HardwareAddress::Ethernet(mac), capabilities.clone(), seed);
        let mut direct = interface(HardwareAddress::Ip, as_ip(capabilities), seed.rotate_left(32));
        // `frame::sort` has looked at the address, and [`Network::is_broadcast`] at who opens a connection: with no list
        // of its own to go through, a frame costs it some 60 instructions less.
        direct.set_any_ip(true);
        while memory.sockets.push(SocketStorage::EMPTY).is_ok() {}
        let mut sockets = SocketSet::new(memory.sockets.as_mut_slice());
        let collector = tcp_socket(&mut sockets, &mut memory.collector_rx, &mut memory.collector_tx);
        let sink = tcp_socket(&mut sockets, &mut memory.sink_rx, &mut memory.sink_tx);
        let [received, sent] = &mut memory.ntp_metadata;
        let [receive, send] = &mut memory.ntp_payload;
        let ntp = sockets.add(udp::Socket::new(packets(received, receive), packets(sent, send)));
        let (received, sent) = &mut memory.dns_metadata;
        let (receive, send) = &mut memory.dns_payload;
        let dns = sockets.add(udp::Socket::new(packets(received, receive), packets(sent, send)));
        let mut network = Network {
            mac,
            vouched,
            ethernet,
            direct,
            dhcp: None,
            collector,
            sink,
            ntp,
            dns,
            sockets,
            nothing: SocketSet::new(memory.nothing.as_mut_slice()),
            state: State::Starting,
            link: Link::Up,
            address: None,
            conflict: None,
            link_lost: [None; limits::LINK_FLAPS],
            neighbours: Neighbours::default(),
            hops: Hops::default(),
            searching: now,
            report_at: now + DHCP_PATIENCE,
            due: now,
        };
        match config {
            NetworkConfig::Dhcp => {
                let mut socket = dhcpv4::Socket::new();
                socket.set_parameter_request_list(DHCP_OPTIONS);
                let mut retries = RetryConfig::default();
                retries.discover_timeout = DHCP_RETRY;
                socket.set_retry_config(retries);
                socket.set_receive_packet_buffer(&mut memory.dhcp_packet);
                network.dhcp = Some(network.sockets.add(socket));
            }
            NetworkConfig::Static(fixed) => network.set_address(Some(Address::from(fixed))),
        }
        network
    }

    /// Whether the network is usable.
    pub fn state(&self) -> State {
        self.state
    }

    /// Our MAC.
    pub fn mac(&self) -> EthernetAddress {
        self.mac
    }

    /// Our address, when there is one.
    pub fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// The link as the card last saw it.
    pub fn link(&self) -> Link {
        self.link
    }

    /// Which machines of our link spoke to us.
    pub fn neighbours(&self) -> &Neighbours {
        &self.neighbours
    }

    /// The sockets of the collector session and of the syslog server, and those of the NTP and DNS clients, to be looked
    /// at.
    pub fn own_sockets(&self) -> ([&tcp::Socket<'a>; 2], [&udp::Socket<'a>; 2]) {
        let tcp = [self.collector, self.sink].map(|handle| self.sockets.get(handle));
        (tcp, [self.ntp, self.dns].map(|handle| self.sockets.get(handle)))
    }

    /// Our IPv4 address alone.
    pub fn ip(&self) -> Option<Ipv4Addr> {
        Some(self.address.as_ref()?.cidr.address())
    }

    /// Whether another machine said of late that it has our address.
    pub fn has_conflict(&self, now: Instant) -> bool {
        self.conflict.is_some_and(|conflict| now < conflict.at + limits::CONFLICT_TIME)
    }

    /// Whether the link was lost again and again of late.
    pub fn flaps(&self, now: Instant) -> bool {
        self.link_lost[0].is_some_and(|first| now < first + limits::LINK_FLAP_TIME)
    }

    /// For how long no DHCP server has answered; `None` when there is an address or none is sought.
    pub fn searching_for(&self, now: Instant) -> Option<Duration> {
        (self.dhcp.is_some() && self.address.is_none()).then(|| now - self.searching)
    }

    /// The interface that serves connections.
    pub fn direct(&mut self) -> &mut Interface {
        &mut self.direct
    }

    /// Whether a segment to this port is for a connection that we opened.
    pub fn opened(&self, port: u16) -> bool {
        [self.collector, self.sink].into_iter().any(|handle| {
            let socket = self.sockets.get::<tcp::Socket<'_>>(handle);
            socket.local_endpoint().is_some_and(|local| local.port == port)
        })
    }

    /// The collector's socket, and what it needs to connect. The interface is looked at again afterwards.
    pub fn collector(&mut self) -> (&mut tcp::Socket<'a>, &mut Context) {
        self.due = Instant::ZERO;
        (self.sockets.get_mut(self.collector), self.ethernet.context())
    }

    /// The syslog server's socket, and what it needs to connect. The interface is looked at again afterwards.
    pub fn sink(&mut self) -> (&mut tcp::Socket<'a>, &mut Context) {
        self.due = Instant::ZERO;
        (self.sockets.get_mut(self.sink), self.ethernet.context())
    }

    /// The NTP client's socket. The interface is looked at again afterwards.
    pub fn ntp(&mut self) -> &mut udp::Socket<'a> {
        self.due = Instant::ZERO;
        self.sockets.get_mut(self.ntp)
    }

    /// Whether the NTP client has an answer to read.
    pub fn has_ntp(&self) -> bool {
        self.sockets.get::<udp::Socket<'_>>(self.ntp).can_recv()
    }

    /// The DNS client's socket. The interface is looked at again afterwards.
    pub fn dns(&mut self) -> &mut udp::Socket<'a> {
        self.due = Instant::ZERO;
        self.sockets.get_mut(self.dns)
    }

    /// Whether the DNS client has an answer to read.
    pub fn has_dns(&self) -> bool {
        self.sockets.get::<udp::Socket<'_>>(self.dns).can_recv()
    }

    /// A frame for the Ethernet interface.
    pub fn ingress<T: TxToken>(&mut self, now: Instant, frame: &[u8], token: T) {
        if let Some(mac) = self.ip().and_then(|address| frame::claimant(frame, address)).filter(|mac| *mac != self.mac)
        {
            let (claims, told) = self.conflict.map_or((0, None), |conflict| (conflict.claims, conflict.told));
            self.conflict = Some(Conflict { mac, at: now, claims: claims.saturating_add(1), told });
        }
        if let Some(address) = &self.address
            && let Some(sender) = self.neighbours.see(now, frame, address)
        {
            self.hops.heard(now, sender.address, sender.mac);
        }
        let mut device = OneFrame::ethernet(frame, token);
        self.ethernet.poll_ingress_single(now, &mut device, &mut self.sockets);
        self.due = Instant::ZERO;
    }

    /// What a connection needs to be opened.
    pub fn context(&mut self) -> &mut Context {
        self.ethernet.context()
    }

    /// The machine of our link that leads to `address`.
    fn hop(&self, address: Ipv4Addr) -> Option<Ipv4Addr> {
        let own = self.address.as_ref()?;
        if own.cidr.contains_addr(&address) { Some(address) } else { own.gateway }
    }

    /// What an ICMP or UDP frame carries, if it is sound.
    pub fn packet<'f>(&self, frame: &'f [u8]) -> Option<Packet<'f>> {
        frame::packet(frame, self.vouched)
    }

    /// Sends a packet that somebody else has made; `false` when the way there is not known, or the card is full.
    pub fn send<N: Nic>(&mut self, now: Instant, nic: &mut N, to: Ipv4Addr, protocol: u8, body: &[u8]) -> bool {
        let way = self.hop(to).and_then(|hop| self.hops.mac(hop)).zip(self.ip());
        let Some((mac, from)) = way else { return false };
        let Some(token) = nic.transmit(now) else { return false };
        token.consume(HEADERS + body.len(), |frame| {
            frame[HEADERS..].copy_from_slice(body);
            frame::write_headers(frame, [self.mac, mac], protocol, from, to);
        });
        true
    }

    /// Asks for the MAC of the machine that leads to `address`, unless that is known or was asked just now.
    pub fn seek<N: Nic>(&mut self, now: Instant, nic: &mut N, address: Ipv4Addr) {
        let Some(own) = self.address.as_ref().map(|own| own.cidr.address()) else { return };
        if let Some(hop) = self.hop(address).filter(|hop| self.hops.is_to_be_asked(now, *hop)) {
            self.ask(now, nic, own, hop);
        }
    }

    /// Asks the gateway whether it lives, and says when it last said anything; `None` when there is none.
    pub fn gateway_heard<N: Nic>(&mut self, now: Instant, nic: &mut N) -> Option<Option<Instant>> {
        let own = self.address.as_ref()?;
        let (gateway, address) = (own.gateway?, own.cidr.address());
        if self.hops.is_to_be_asked_anew(now, gateway) {
            self.ask(now, nic, address, gateway);
        }
        Some(self.neighbours.find(gateway).map(|gateway| gateway.heard))
    }

    fn ask<N: Nic>(&mut self, now: Instant, nic: &mut N, own: Ipv4Addr, hop: Ipv4Addr) {
        let question = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request,
            source_hardware_addr: self.mac,
            source_protocol_addr: own,
            target_hardware_addr: EthernetAddress([0; 6]),
            target_protocol_addr: hop,
        };
        // Without room it is asked a second later.
        let Some(token) = nic.transmit(now) else { return };
        token.consume(ETHERNET_HEADER + question.buffer_len(), |frame| {
            let header = EthernetRepr {
                src_addr: self.mac,
                dst_addr: EthernetAddress::BROADCAST,
                ethertype: EthernetProtocol::Arp,
            };
            header.emit(&mut EthernetFrame::new_unchecked(&mut *frame));
            question.emit(&mut ArpPacket::new_unchecked(&mut frame[ETHERNET_HEADER..]));
        });
    }

    /// A frame for one socket that is alone in its set.
    pub fn ingress_for<T: TxToken>(&mut self, now: Instant, frame: &[u8], token: T, set: &mut SocketSet<'_>) {
        self.ethernet.poll_ingress_single(now, &mut OneFrame::ethernet(frame, token), set);
    }

    /// Sends what one socket that is alone in its set has to send; returns when it next has something to do.
    pub fn egress_for<N: Nic>(&mut self, now: Instant, nic: &mut N, set: &mut SocketSet<'_>) -> Instant {
        for _ in 0..limits::PROBE_SEGMENTS {
            match self.ethernet.poll_at(now, set) {
                None => return Instant::from_micros(i64::MAX),
                Some(due) if due > now => return due,
                Some(_) => self.ethernet.poll_egress(now, &mut ToHop { device: &mut *nic, hop: None }, set),
            };
        }
        // The transmit queue is full, or more is waiting than one poll may send.
        now + limits::RETRY
    }

    /// Whether no machine has this address, but all of our network. What it sends is dropped (RFC 1122, section 3.2.1.3).
    pub fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        self.address.as_ref().is_some_and(|own| own.cidr.broadcast() == Some(address))
    }

    /// A TCP segment or ICMP packet for our address that belongs to no connection: RST, or echo reply.
    pub fn ingress_stray<T: TxToken>(&mut self, now: Instant, frame: &[u8], token: T, hop: Hop) {
        if frame::sender(frame).is_some_and(|sender| self.is_broadcast(sender)) {
            return;
        }
        let mut device = OneFrame::ip(frame, token, hop);
        self.direct.poll_ingress_single(now, &mut device, &mut self.nothing);
    }

    /// Follows the card's link and the lease. `true` when our address changed: connections to the old one are dead.
    pub fn poll(&mut self, now: Instant, link: Link, log: &mut Log<'_>) -> bool {
        let before = core::mem::replace(&mut self.link, link);
        let link_came = before != Link::Up && link == Link::Up;
        if before == Link::Up && link == Link::Down {
            self.link_lost.rotate_left(1);
            self.link_lost[limits::LINK_FLAPS - 1] = Some(now);
        }
        if now < self.due && link == Link::Up && !link_came {
            return false;
        }
        let before = self.ip();
        if let Some(handle) = self.dhcp {
            if link_came {
                // Another network may be behind the link now: ask for an address again (RFC 2131, section 3.7).
                self.sockets.get_mut::<dhcpv4::Socket>(handle).reset();
            }
            self.follow_dhcp(now, handle, log);
        }
        let state = match (link, &self.address) {
            (Link::Absent, _) => State::Down(DownReason::NoNic),
            (Link::Down, _) => State::Down(DownReason::NoLink),
            (Link::Up, Some(_)) => State::Up,
            (Link::Up, None) if self.state == State::Starting && now < self.report_at => State::Starting,
            (Link::Up, None) => State::Down(DownReason::NoAddress),
        };
        if core::mem::replace(&mut self.state, state) != state {
            self.report(now, log);
        }
        self.report_conflict(now, log);
        before != self.ip()
    }

    fn report(&self, now: Instant, log: &mut Log<'_>) {
        match (self.state, &self.address) {
            (State::Up, Some(address)) => log.emit(
                now,
                None,
                NetworkUp {
                    address: Ip4(address.cidr.address().octets()),
                    prefix: address.cidr.prefix_len(),
                    gateway: ip4(address.gateway),
                },
            ),
            (State::Down(reason), _) => log.emit(now, None, NetworkDown { reason }),
            _ => return,
        };
    }

    fn report_conflict(&mut self, now: Instant, log: &mut Log<'_>) {
        let (Some(conflict), Some(address)) = (&mut self.conflict, &self.address) else { return };
        let soon = conflict.told.is_some_and(|told| now < told + limits::CONFLICT_TELL);
        if conflict.claims > 0 && !soon {
            let address = Ip4(address.cidr.address().octets());
            log.emit(now, None, NetworkConflict { address, mac: conflict.mac.0, claims: conflict.claims });
            (conflict.claims, conflict.told) = (0, Some(now));
        }
    }

    fn follow_dhcp(&mut self, now: Instant, handle: SocketHandle, log: &mut Log<'_>) {
        let lease = match self.sockets.get_mut::<dhcpv4::Socket>(handle).poll() {
            None => {
                if self.address.is_none() && now >= self.report_at {
                    let waited = now - self.searching;
                    log.emit(now, None, DhcpTimeout { waited_s: waited.secs() as u32 });
                    self.report_at = now + waited.max(DHCP_PATIENCE);
                }
                return;
            }
            Some(dhcpv4::Event::Deconfigured) => None,
            Some(dhcpv4::Event::Configured(config)) => Some(Address {
                cidr: config.address,
                gateway: config.router,
                dns: config
                    .dns_servers
                    .iter()
                    .copied()
                    .filter(|server| is_machine(*server))
                    .take(limits::DNS_SERVERS)
                    .collect(),
                ntp: config.packet.as_ref().map(ntp_servers).unwrap_or_default(),
                lease: Some(Lease {
                    server: config.server.address,
                    at: now,
                    time: config.packet.as_ref().and_then(lease_time),
                }),
            }),
        };
        match (&lease, &self.address) {
            (Some(new), _) => {
                log.emit(
                    now,
                    None,
                    DhcpBound {
                        address: Ip4(new.cidr.address().octets()),
                        prefix: new.cidr.prefix_len(),
                        server: ip4(new.lease.map(|lease| lease.server)),
                        router: ip4(new.gateway),
                        dns_servers: new.dns.len() as u8,
                        waited_ms: u32::try_from((now - self.searching).total_millis()).unwrap_or(u32::MAX),
                    },
                );
            }
            (None, Some(old)) => {
                log.emit(now, None, DhcpLost { address: Ip4(old.cidr.address().octets()) });
                self.searching = now;
                self.report_at = now + DHCP_PATIENCE;
            }
            (None, None) => return,
        }
        self.set_address(lease);
    }

    fn set_address(&mut self, address: Option<Address>) {
        if address.as_ref().map(|address| address.cidr) != self.address.as_ref().map(|address| address.cidr) {
            self.conflict = None;
            self.neighbours.clear();
            self.hops.clear();
        }
        self.ethernet.update_ip_addrs(|addresses| {
            addresses.clear();
            // There is room: the list was just cleared and holds at least one.
            let _ = address.as_ref().map(|address| addresses.push(IpCidr::Ipv4(address.cidr)));
        });
        self.ethernet.routes_mut().remove_default_ipv4_route();
        // smoltcp asserts that what it asks ARP for is one host; a DHCP server may name anything.
        let gateway = address.as_ref().and_then(|address| address.gateway);
        if let Some(gateway) = gateway.filter(|gateway| IpAddress::Ipv4(*gateway).is_unicast()) {
            // The table was just emptied of its only route.
            let _ = self.ethernet.routes_mut().add_default_ipv4_route(gateway);
        }
        self.address = address;
    }

    /// Sends what the Ethernet interface has to send.
    pub fn egress<N: Nic>(&mut self, now: Instant, nic: &mut N) {
        if now < self.due {
            return;
        }
        for handle in [self.collector, self.sink] {
            let socket = self.sockets.get::<tcp::Socket<'_>>(handle);
            let opening = socket.remote_endpoint().filter(|_| socket.state() == tcp::State::SynSent);
            if let Some(IpEndpoint { addr: IpAddress::Ipv4(address), .. }) = opening {
                self.seek(now, nic, address);
            }
        }
        for _ in 0..EGRESS_PER_POLL {
            self.due = self.ethernet.poll_at(now, &self.sockets).unwrap_or(Instant::from_micros(i64::MAX));
            if self.due > now {
                break;
            }
            self.ethernet.poll_egress(now, &mut ToHop { device: &mut *nic, hop: None }, &mut self.sockets);
        }
        if self.due <= now {
            // The transmit queue is full, or more is waiting than one poll may send.
            self.due = now + limits::RETRY;
        }
        if self.state != State::Up && self.dhcp.is_some() {
            self.due = self.due.min(self.report_at.max(now + limits::RETRY));
        }
    }

    /// When the Ethernet interface next has something to do.
    pub fn poll_at(&self) -> Instant {
        self.due
    }
}

fn lease_time(packet: &DhcpPacket<&[u8]>) -> Option<Duration> {
    let option = packet.options().find(|option| option.kind == DHCP_LEASE)?;
    let seconds = u32::from_be_bytes(option.data.try_into().ok()?);
    // RFC 2131, section 3.3: all ones is for ever.
    (seconds != u32::MAX).then_some(Duration::from_secs(seconds.into()))
}

/// Option 42 (RFC 2132, section 8.3): addresses, four bytes each. What is no address of a machine is passed over.
fn ntp_servers(packet: &DhcpPacket<&[u8]>) -> Vec<Ipv4Addr, { crate::time::SERVERS }> {
    let option = packet.options().find(|option| option.kind == DHCP_NTP);
    let addresses = option.map_or(&[][..], |option| option.data).as_chunks::<4>().0;
    let addresses = addresses.iter().map(|&octets| Ipv4Addr::from(octets));
    addresses.filter(|address| is_machine(*address)).take(crate::time::SERVERS).collect()
}

/// Whether it can be one machine on a network: not "this network" (0/8), loopback, multicast (224/4), or reserved and
/// broadcast (240/4). RFC 6890, section 2.2.2.
pub fn is_machine(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [1..=126 | 128..=223, ..])
}

fn tcp_socket<'a>(sockets: &mut SocketSet<'a>, receive: &'a mut [u8], send: &'a mut [u8]) -> SocketHandle {
    sockets.add(tcp::Socket::new(tcp::SocketBuffer::new(receive), tcp::SocketBuffer::new(send)))
}

fn packets<'a, const N: usize>(
    metadata: &'a mut Vec<udp::PacketMetadata, N>,
    payload: &'a mut [u8],
) -> udp::PacketBuffer<'a> {
    while metadata.push(udp::PacketMetadata::EMPTY).is_ok() {}
    udp::PacketBuffer::new(metadata.as_mut_slice(), payload)
}

fn ip4(address: Option<Ipv4Addr>) -> Ip4 {
    Ip4(address.map_or([0; 4], |address| address.octets()))
}
