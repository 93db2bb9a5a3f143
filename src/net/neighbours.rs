//! The neighbours: which machine of our link has which MAC, as ARP told us.
//!
//! smoltcp keeps such a table for itself and shows it to nobody. This one is beside it and is only looked at by people:
//! what is in it was heard, not necessarily used.

use super::Address;
use super::frame::ETHERNET_HEADER;
use crate::limits;
use core::fmt::{self, Display};
use core::net::Ipv4Addr;
use heapless::Vec;
use smoltcp::time::Instant;
use smoltcp::wire::{ArpPacket, ArpRepr, EthernetAddress};

const ETHERTYPE_ARP: &[u8] = &[0x08, 0x06];

/// One machine of our link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its MAC.
    pub mac: EthernetAddress,
    /// When it last said so.
    pub heard: Instant,
}

/// Those that spoke to us, at most [`limits::NEIGHBOURS`].
#[derive(Debug, Default)]
pub struct Neighbours(Vec<Neighbour, { limits::NEIGHBOURS }>);

impl Neighbours {
    /// All of them.
    pub fn known(&self) -> &[Neighbour] {
        &self.0
    }

    /// The one with this address.
    pub fn find(&self, address: Ipv4Addr) -> Option<&Neighbour> {
        self.0.iter().find(|known| known.address == address)
    }

    /// Forgets all: the address they spoke to is gone.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes in a frame, if it is ARP for `own`, and returns whose it is. When there is no room, the one that was silent longest goes, but not
    /// the gateway: whether it answers is what people ask first.
    pub fn see(&mut self, now: Instant, frame: &[u8], own: &Address) -> Option<Neighbour> {
        let new = sender(now, frame, own.cidr.address())?;
        match self.0.iter_mut().find(|known| known.address == new.address) {
            Some(known) => *known = new,
            None => {
                if self.0.is_full() {
                    let others = self.0.iter().enumerate().filter(|(_, known)| own.gateway != Some(known.address));
                    let oldest = others.min_by_key(|(_, known)| known.heard).map(|(at, _)| at);
                    oldest.map(|at| self.0.swap_remove(at));
                }
                // There is room: made above.
                let _ = self.0.push(new);
            }
        }
        Some(new)
    }
}

/// Who sent this ARP packet to us: RFC 826, the packets that a table is filled from.
fn sender(now: Instant, frame: &[u8], own: Ipv4Addr) -> Option<Neighbour> {
    if frame.get(12..ETHERNET_HEADER)? != ETHERTYPE_ARP {
        return None;
    }
    let packet = ArpPacket::new_checked(frame.get(ETHERNET_HEADER..)?).ok()?;
    let Ok(ArpRepr::EthernetIpv4 {
        source_hardware_addr: mac,
        source_protocol_addr: address,
        target_protocol_addr,
        ..
    }) = ArpRepr::parse(&packet)
    else {
        return None;
    };
    let usable = mac.is_unicast() && !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast();
    (target_protocol_addr == own && usable).then_some(Neighbour { address, mac, heard: now })
}

/// A MAC as `ip` and `arp` write it.
pub struct Mac(pub EthernetAddress);

impl Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smoltcp::wire::{ArpOperation, Ipv4Cidr};

    const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
    const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn own() -> Address {
        Address { cidr: Ipv4Cidr::new(OWN, 24), gateway: Some(ROUTER), dns: Vec::new(), ntp: Vec::new(), lease: None }
    }

    fn arp(from: Ipv4Addr, to: Ipv4Addr, last: u8) -> Vec<u8, 64> {
        let repr = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr: EthernetAddress([2, 0, 0, 0, 0, last]),
            source_protocol_addr: from,
            target_hardware_addr: EthernetAddress([2, 0, 0, 0, 0, 1]),
            target_protocol_addr: to,
        };
        let mut frame = Vec::new();
        frame.resize(ETHERNET_HEADER + repr.buffer_len(), 0).unwrap();
        frame[12..ETHERNET_HEADER].copy_from_slice(ETHERTYPE_ARP);
        repr.emit(&mut ArpPacket::new_unchecked(&mut frame[ETHERNET_HEADER..]));
        frame
    }

    #[test]
    fn the_table_is_bounded_keeps_the_gateway_and_believes_no_nonsense() {
        // A big network must not push out the one neighbour that everything goes through.
        let mut table = Neighbours::default();
        table.see(Instant::from_secs(1), &arp(ROUTER, OWN, 9), &own());
        for host in 10..100 {
            table.see(Instant::from_secs(i64::from(host)), &arp(Ipv4Addr::new(10, 0, 0, host), OWN, host), &own());
        }
        assert_eq!(table.known().len(), limits::NEIGHBOURS);
        assert_eq!(table.find(ROUTER).unwrap().heard, Instant::from_secs(1));
        assert!(table.find(Ipv4Addr::new(10, 0, 0, 99)).is_some() && table.find(Ipv4Addr::new(10, 0, 0, 10)).is_none());
        table.see(Instant::from_secs(200), &arp(ROUTER, OWN, 77), &own());
        let router = table.find(ROUTER).unwrap();
        assert_eq!((router.mac.0[5], router.heard), (77, Instant::from_secs(200)), "the last word counts");

        let mut table = Neighbours::default();
        let good = arp(ROUTER, OWN, 9);
        let mut group = good.clone();
        group[ETHERNET_HEADER + 8] = 3;
        for frame in [&arp(ROUTER, ROUTER, 9)[..], &arp(Ipv4Addr::UNSPECIFIED, OWN, 9), &group, &good[..30], &[]] {
            table.see(Instant::ZERO, frame, &own());
        }
        assert_eq!(table.known(), []);
    }
}
