//! The router between the agent's network and the outside, with its DHCP and time servers. All work on frames and keep no
//! state but what a test has told them, so that what they send is known from what they got.

use crate::frames::{self, Route};
use crate::rng::Rng;
use smoltcp::time::Instant;
use smoltcp::wire::*;

/// A network with its router.
#[derive(Clone, Copy, Debug)]
pub struct Subnet {
    pub router: Ipv4Cidr,
    pub router_mac: EthernetAddress,
}

/// What the DHCP server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DhcpMode {
    /// Gives the agent its address.
    Serve,
    /// Says nothing.
    Silent,
    /// Refuses every request.
    Refuse,
    /// Answers with nonsense, which the agent may refuse or survive, but which leads to no wrong lasting lease.
    Nonsense,
}

/// What the time server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeMode {
    /// Tells the time.
    Serve,
    /// Says nothing.
    Silent,
    /// Answers with what no client may believe.
    Nonsense,
}

/// Microseconds since 1970-01-01 UTC when the world begins: 2026-11-22, so that a wrong era would show.
pub const UTC_AT_START_US: u64 = 1_795_305_600_000_000;

/// Seconds from the beginning of NTP's first era to 1970 (RFC 5905, figure 4).
const NTP_EPOCH_S: u64 = 2_208_988_800;

/// The router and its servers. Port 0 is the agent's network, port 1 the outside.
pub struct Gateway {
    pub subnets: [Subnet; 2],
    /// The hosts of both networks.
    pub neighbours: Vec<(Ipv4Address, EthernetAddress)>,
    pub agent_address: Ipv4Address,
    pub dhcp: DhcpMode,
    pub time: TimeMode,
    pub lease_s: u32,
    /// Leases given (acknowledgements sent in mode `Serve`).
    pub leases: u64,
    /// How much of time went by while the agent's machine stood still.
    pub stood_still_us: u64,
    rng: Rng,
}

impl Gateway {
    pub fn new(
        subnets: [Subnet; 2],
        neighbours: Vec<(Ipv4Address, EthernetAddress)>,
        agent_address: Ipv4Address,
        lease_s: u32,
        rng: Rng,
    ) -> Gateway {
        Gateway {
            subnets,
            neighbours,
            agent_address,
            dhcp: DhcpMode::Serve,
            time: TimeMode::Serve,
            lease_s,
            leases: 0,
            stood_still_us: 0,
            rng,
        }
    }

    /// A frame came in at `port`; the answer is frames with the port they leave at.
    pub fn receive(&mut self, now: Instant, port: usize, frame: &[u8]) -> Vec<(usize, Vec<u8>)> {
        let Ok(ethernet) = EthernetFrame::new_checked(frame) else { return Vec::new() };
        let answer = match ethernet.ethertype() {
            EthernetProtocol::Arp => self.arp(port, ethernet.payload()).map(|frame| (port, frame)),
            EthernetProtocol::Ipv4 => self.ipv4(now, port, &ethernet),
            _ => None,
        };
        answer.into_iter().collect()
    }

    fn arp(&self, port: usize, payload: &[u8]) -> Option<Vec<u8>> {
        let subnet = self.subnets[port];
        let ArpRepr::EthernetIpv4 {
            operation, source_hardware_addr, source_protocol_addr, target_protocol_addr, ..
        } = ArpRepr::parse(&ArpPacket::new_checked(payload).ok()?).ok()?
        else {
            return None;
        };
        if operation != ArpOperation::Request || target_protocol_addr != subnet.router.address() {
            return None;
        }
        let back = Route {
            from_mac: subnet.router_mac,
            to_mac: source_hardware_addr,
            from: target_protocol_addr,
            to: source_protocol_addr,
        };
        Some(frames::arp(back, ArpOperation::Reply))
    }

    fn ipv4(&mut self, now: Instant, port: usize, ethernet: &EthernetFrame<&[u8]>) -> Option<(usize, Vec<u8>)> {
        let packet = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
        if !packet.verify_checksum() {
            return None;
        }
        let to_us = packet.dst_addr() == self.subnets[port].router.address();
        if packet.dst_addr().is_broadcast() || to_us {
            let udp = UdpPacket::new_checked(packet.payload()).ok()?;
            let addresses = (packet.src_addr().into(), packet.dst_addr().into());
            let sound = packet.next_header() == IpProtocol::Udp && udp.verify_checksum(&addresses.0, &addresses.1);
            let answer = match udp.dst_port() {
                _ if !sound || port != 0 => None,
                67 => self.dhcp_request(udp.payload()),
                123 if to_us => self.time_request(now, udp.payload()).map(|answer| {
                    let back = Route {
                        from_mac: self.subnets[0].router_mac,
                        to_mac: ethernet.src_addr(),
                        from: packet.dst_addr(),
                        to: packet.src_addr(),
                    };
                    frames::udp(back, UdpRepr { src_port: 123, dst_port: udp.src_port() }, &answer)
                }),
                _ => None,
            };
            return answer.map(|frame| (0, frame));
        }
        if ethernet.dst_addr() != self.subnets[port].router_mac || packet.hop_limit() <= 1 {
            return None;
        }
        let out = self.subnets.iter().position(|subnet| subnet.router.contains_addr(&packet.dst_addr()))?;
        let (_, mac) = self.neighbours.iter().find(|(address, _)| *address == packet.dst_addr())?;
        let mut bytes = ethernet.payload()[..usize::from(packet.total_len())].to_vec();
        let mut forwarded = Ipv4Packet::new_unchecked(&mut bytes[..]);
        forwarded.set_hop_limit(packet.hop_limit() - 1);
        forwarded.fill_checksum();
        Some((out, frames::ethernet(self.subnets[out].router_mac, *mac, EthernetProtocol::Ipv4, &bytes)))
    }

    fn dhcp_request(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let packet = DhcpPacket::new_checked(payload).ok()?;
        let request = DhcpRepr::parse(&packet).ok()?;
        let server = self.subnets[0].router.address();
        let mut kind = match request.message_type {
            DhcpMessageType::Discover => DhcpMessageType::Offer,
            // RFC 2131, section 4.3.2: a request that names another server is not for us.
            DhcpMessageType::Request if request.server_identifier.is_none_or(|id| id == server) => {
                let asked = request.requested_ip.unwrap_or(request.client_ip);
                if asked == self.agent_address { DhcpMessageType::Ack } else { DhcpMessageType::Nak }
            }
            _ => return None,
        };
        let mut answer = DhcpAnswer {
            kind,
            transaction: request.transaction_id,
            client: request.client_hardware_address,
            address: self.agent_address,
            options: Vec::new(),
        };
        match self.dhcp {
            DhcpMode::Silent => return None,
            DhcpMode::Refuse if kind == DhcpMessageType::Ack => kind = DhcpMessageType::Nak,
            DhcpMode::Nonsense => return Some(self.nonsense(answer)),
            _ => {}
        }
        answer.kind = kind;
        answer.option(54, &server.octets());
        if kind != DhcpMessageType::Nak {
            answer.option(51, &self.lease_s.to_be_bytes());
            answer.option(1, &self.subnets[0].router.netmask().octets());
            answer.option(3, &server.octets());
            answer.option(6, &server.octets());
            answer.option(42, &server.octets());
        }
        if kind == DhcpMessageType::Ack {
            self.leases += 1;
        }
        Some(self.dhcp_frame(&answer))
    }

    /// An answer that is wrong in one of the ways that servers and attackers are wrong.
    fn nonsense(&mut self, mut answer: DhcpAnswer) -> Vec<u8> {
        let server = self.subnets[0].router.address().octets();
        let mask = self.subnets[0].router.netmask().octets();
        let rng = &mut self.rng;
        let mut lease = rng.range(1, 5) as u32;
        let (mut mask, mut router, mut identifier) = (mask.to_vec(), server.to_vec(), Some(server));
        match rng.below(12) {
            0 => answer.transaction = !answer.transaction,
            1 => answer.client = EthernetAddress([2, 9, 9, 9, 9, 9]),
            2 => {
                answer.address = rng.pick(&[
                    Ipv4Address::UNSPECIFIED,
                    Ipv4Address::BROADCAST,
                    Ipv4Address::new(224, 0, 0, 1),
                    Ipv4Address::new(127, 0, 0, 1),
                ])
            }
            3 => mask = vec![255, 0, 255, 0],
            4 => mask = vec![0; 4],
            5 => mask.truncate(3),
            6 => router = rng.bytes(64),
            7 => router = vec![255; 4],
            8 => identifier = None,
            9 => {
                let wrong = [[9, 9, 9, 9], [0; 4], [255; 4], [224, 0, 0, 1], self.agent_address.octets()];
                identifier = Some(rng.pick(&wrong));
            }
            10 => lease = 0,
            // The length of the last option points behind the packet.
            _ => answer.options.extend([12, 255, 1]),
        }
        if let Some(identifier) = identifier {
            answer.option(54, &identifier);
        }
        answer.option(51, &lease.to_be_bytes());
        answer.option(1, &mask);
        answer.option(3, &router);
        if rng.chance(200) {
            // T1 and T2 behind the end of the lease, and before its start.
            answer.option(58, &u32::MAX.to_be_bytes());
            answer.option(59, &[0; 4]);
        }
        if rng.chance(200) {
            answer.option(6, &[8; 61]);
        }
        self.dhcp_frame(&answer)
    }

    /// The answer of an NTP server (RFC 5905, figure 8) that is right to the microsecond.
    fn time_request(&mut self, now: Instant, request: &[u8]) -> Option<Vec<u8>> {
        if self.time == TimeMode::Silent || request.len() < 48 {
            return None;
        }
        let utc_us = UTC_AT_START_US + now.total_micros() as u64 + self.stood_still_us;
        let (seconds, rest_us) = (utc_us / 1_000_000 + NTP_EPOCH_S, utc_us % 1_000_000);
        let stamp = ((seconds << 32) | ((rest_us << 32) / 1_000_000)).to_be_bytes();
        let mut answer = vec![0; 48];
        answer[..4].copy_from_slice(&[0x24, 2, 6, 0xec]);
        answer[24..32].copy_from_slice(&request[40..48]);
        answer[32..40].copy_from_slice(&stamp);
        answer[40..48].copy_from_slice(&stamp);
        if self.time == TimeMode::Nonsense {
            // The time is wrong, too: whoever believes it is found out.
            answer[32..48].iter_mut().for_each(|byte| *byte = !*byte);
            match self.rng.below(6) {
                0 => answer[24] ^= 1,
                1 => answer[1] = self.rng.pick(&[0, 16, 255]),
                2 => answer[0] = self.rng.pick(&[0xe4, 0x23, 0x25, 0]),
                3 => answer[12..16].copy_from_slice(b"RATE"),
                4 => answer[32..48].fill(0),
                _ => answer.truncate(47),
            }
            if answer[12..16] == *b"RATE" {
                answer[1] = 0;
            }
        }
        Some(answer)
    }

    fn dhcp_frame(&self, answer: &DhcpAnswer) -> Vec<u8> {
        let subnet = self.subnets[0];
        let everyone = Route {
            from_mac: subnet.router_mac,
            to_mac: EthernetAddress::BROADCAST,
            from: subnet.router.address(),
            to: Ipv4Address::BROADCAST,
        };
        frames::udp(everyone, UdpRepr { src_port: 67, dst_port: 68 }, &answer.bytes())
    }
}

/// A DHCP answer (RFC 2131, section 2), written by hand so that it can be wrong.
struct DhcpAnswer {
    kind: DhcpMessageType,
    transaction: u32,
    client: EthernetAddress,
    address: Ipv4Address,
    options: Vec<u8>,
}

impl DhcpAnswer {
    fn option(&mut self, kind: u8, data: &[u8]) {
        self.options.extend([kind, data.len() as u8]);
        self.options.extend(data);
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; 236];
        bytes[..3].copy_from_slice(&[2, 1, 6]);
        bytes[4..8].copy_from_slice(&self.transaction.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.address.octets());
        bytes[28..34].copy_from_slice(self.client.as_bytes());
        bytes.extend([0x63, 0x82, 0x53, 0x63, 53, 1, self.kind.into()]);
        bytes.extend(&self.options);
        bytes.push(255);
        bytes
    }
}
