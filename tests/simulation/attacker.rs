//! A host that follows no rules: floods, forged segments, broken packets and noise, frame by frame.
//!
//! It forges no address of a peer that is judged: what it sends may cost the agent, but never a good client's
//! answer.

use crate::frames::{self, Route};
use crate::rng::Rng;
use smoltcp::wire::*;

/// Frames of one burst, at most.
const BURST: u64 = 120;

/// The attacker, on the agent's own network.
pub struct Attacker {
    pub mac: EthernetAddress,
    agent_mac: EthernetAddress,
    agent: Ipv4Address,
    /// The first three bytes of the network's addresses.
    network: [u8; 3],
    rng: Rng,
    /// Frames seen on the network, to be sent again cut short.
    seen: Vec<Vec<u8>>,
}

impl Attacker {
    pub fn new(mac: EthernetAddress, agent_mac: EthernetAddress, agent: Ipv4Address, rng: Rng) -> Attacker {
        let [a, b, c, _] = agent.octets();
        Attacker { mac, agent_mac, agent, network: [a, b, c], rng, seen: Vec::new() }
    }

    /// Keeps a frame that went to the agent.
    pub fn see(&mut self, frame: &[u8]) {
        if self.seen.len() < 64 {
            self.seen.push(frame.to_vec());
        } else {
            let place = self.rng.below(64) as usize;
            self.seen[place] = frame.to_vec();
        }
    }

    /// A burst of frames of one kind.
    pub fn burst(&mut self) -> Vec<Vec<u8>> {
        let kind = self.rng.below(8);
        let count = self.rng.range(1, BURST);
        (0..count).map(|_| self.frame(kind)).collect()
    }

    fn frame(&mut self, kind: u64) -> Vec<u8> {
        match kind {
            // Half-open connections from addresses that nobody has.
            0 => {
                let from = self.nobody();
                self.segment(from, TcpControl::Syn, false)
            }
            // Segments of connections that do not exist.
            1 => {
                let control = self.rng.pick(&[TcpControl::None, TcpControl::Fin, TcpControl::Rst, TcpControl::Psh]);
                let from = self.nobody();
                self.segment(from, control, true)
            }
            // From addresses that cannot be: the agent itself (LAND), broadcast, multicast, loopback, nobody.
            2 => {
                let from = self.rng.pick(&[
                    self.agent,
                    Ipv4Address::BROADCAST,
                    Ipv4Address::new(224, 0, 0, 5),
                    Ipv4Address::new(127, 0, 0, 1),
                    Ipv4Address::UNSPECIFIED,
                ]);
                let control = self.rng.pick(&[TcpControl::Syn, TcpControl::Rst, TcpControl::None]);
                self.segment(from, control, false)
            }
            // Frames of others, cut short.
            3 => match self.seen.len() as u64 {
                0 => self.noise(),
                len => {
                    let frame = &self.seen[self.rng.below(len) as usize];
                    frame[..self.rng.below(frame.len() as u64 + 1) as usize].to_vec()
                }
            },
            4 => self.arp(),
            // IP headers with every field at random and a right checksum.
            5 => self.broken_ip(),
            6 => self.udp(),
            _ => self.noise(),
        }
    }

    fn nobody(&mut self) -> Ipv4Address {
        let [a, b, c] = self.network;
        Ipv4Address::new(a, b, c, self.rng.range(200, 250) as u8)
    }

    fn route(&self, from: Ipv4Address, to: Ipv4Address) -> Route {
        Route { from_mac: self.mac, to_mac: self.agent_mac, from, to }
    }

    fn to_agent(&self, kind: EthernetProtocol, payload: &[u8]) -> Vec<u8> {
        frames::ethernet(self.mac, self.agent_mac, kind, payload)
    }

    fn segment(&mut self, from: Ipv4Address, control: TcpControl, acknowledges: bool) -> Vec<u8> {
        let rng = &mut self.rng;
        let payload = rng.bytes(if control == TcpControl::Psh { 40 } else { 0 });
        let repr = TcpRepr {
            src_port: rng.range(1, 65_535) as u16,
            dst_port: if rng.chance(900) { 80 } else { rng.range(1, 65_535) as u16 },
            control,
            seq_number: TcpSeqNumber(rng.next() as i32),
            ack_number: acknowledges.then(|| TcpSeqNumber(rng.next() as i32)),
            window_len: rng.pick(&[0, 1, 1024, 65_535]),
            window_scale: None,
            max_seg_size: rng.pick(&[None, Some(0), Some(1), Some(536), Some(1460), Some(65_535)]),
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &payload,
        };
        frames::tcp(self.route(from, self.agent), &repr)
    }

    fn arp(&mut self) -> Vec<u8> {
        let target = if self.rng.chance(300) { self.agent } else { self.nobody() };
        let source = self.nobody();
        let operation = self.rng.pick(&[ArpOperation::Request, ArpOperation::Reply, ArpOperation::Unknown(9)]);
        let mut frame = frames::arp(self.route(source, target), operation);
        if self.rng.chance(300) {
            // One of the fields that say which protocols this is about.
            let place = 14 + self.rng.below(8) as usize;
            frame[place] = self.rng.next() as u8;
        }
        if self.rng.chance(300) {
            frame.truncate(14 + self.rng.below(28) as usize);
        }
        frame
    }

    fn broken_ip(&mut self) -> Vec<u8> {
        let mut bytes = self.rng.bytes(60);
        bytes[0] = 0x40 | (self.rng.below(16) as u8);
        if self.rng.chance(700) {
            bytes[2..4].copy_from_slice(&(self.rng.below(120) as u16).to_be_bytes());
        }
        bytes[9] = self.rng.pick(&[1, 6, 17, 2, 255]);
        let source = self.nobody();
        bytes[12..16].copy_from_slice(&source.octets());
        bytes[16..20].copy_from_slice(&self.agent.octets());
        let header = usize::from(bytes[0] & 15) * 4;
        if (20..=60).contains(&header) {
            Ipv4Packet::new_unchecked(&mut bytes[..]).fill_checksum();
        }
        let len = self.rng.range(0, 60) as usize;
        let len = if self.rng.chance(300) { len } else { bytes.len() };
        self.to_agent(EthernetProtocol::Ipv4, &bytes[..len])
    }

    fn udp(&mut self) -> Vec<u8> {
        let payload_len = self.rng.below(400) as usize;
        let payload = self.rng.bytes(payload_len);
        let repr =
            UdpRepr { src_port: self.rng.pick(&[53, 67, 123, 9]), dst_port: self.rng.pick(&[53, 68, 123, 9, 0]) };
        let from = self.nobody();
        let to = if self.rng.chance(500) { self.agent } else { Ipv4Address::BROADCAST };
        frames::udp(self.route(from, to), repr, &payload)
    }

    fn noise(&mut self) -> Vec<u8> {
        let len = self.rng.pick(&[0, 1, 13, 14, 15, 33, 34, 60, 300, 1514]);
        let mut bytes = self.rng.bytes(len);
        if len >= 14 {
            let to = if self.rng.chance(500) { self.agent_mac } else { EthernetAddress::BROADCAST };
            bytes[..6].copy_from_slice(to.as_bytes());
            bytes[6..12].copy_from_slice(self.mac.as_bytes());
            let kind = self.rng.pick(&[0x0800u16, 0x0806, 0x86dd, 0x8100, 0, 0x0600]);
            bytes[12..14].copy_from_slice(&kind.to_be_bytes());
        }
        bytes
    }
}
