//! A peer's TCP/IP: smoltcp once more, on the other side of the cable, with an unbounded card.

use crate::nic::PeerNic;
use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr, Ipv4Address, Ipv4Cidr};

/// Polls of one moment at most: a peer that has more to do than that is a bug of the simulation.
const POLLS: usize = 10_000;

/// A host with an address, a gateway and TCP sockets.
pub struct Station {
    pub mac: EthernetAddress,
    pub address: Ipv4Address,
    pub nic: PeerNic,
    pub interface: Interface,
    pub sockets: SocketSet<'static>,
}

impl Station {
    pub fn new(
        mac: EthernetAddress,
        address: Ipv4Cidr,
        gateway: Option<Ipv4Address>,
        seed: u64,
        now: Instant,
    ) -> Station {
        let mut nic = PeerNic::default();
        let mut config = Config::new(HardwareAddress::Ethernet(mac));
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut nic, now);
        interface.update_ip_addrs(|addresses| addresses.push(IpCidr::Ipv4(address)).expect("one address fits"));
        if let Some(gateway) = gateway {
            interface.routes_mut().add_default_ipv4_route(gateway).expect("one route fits");
        }
        Station { mac, address: address.address(), nic, interface, sockets: SocketSet::new(Vec::new()) }
    }

    /// A TCP socket with these buffers.
    pub fn tcp_socket(&mut self, rx: usize, tx: usize) -> SocketHandle {
        self.sockets.add(tcp::Socket::new(tcp::SocketBuffer::new(vec![0; rx]), tcp::SocketBuffer::new(vec![0; tx])))
    }

    /// Handles what has arrived and sends what is due.
    pub fn poll(&mut self, now: Instant) {
        for _ in 0..POLLS {
            if self.interface.poll(now, &mut self.nic, &mut self.sockets) == PollResult::None {
                return;
            }
        }
        panic!("a peer's stack does not come to rest at {now}");
    }

    /// When the stack next has something to do by itself.
    pub fn wake(&mut self, now: Instant) -> Option<Instant> {
        self.interface.poll_at(now, &self.sockets)
    }
}
