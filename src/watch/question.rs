//! A probe that is one packet and its answer: kinds `icmp`, `dns` and `ntp`. There is no socket and no buffer for it: the
//! packet is made when it is sent, and an answer is read where it arrives.
//!
//! ```text
//! start ─▶ Seeking ───────────────▶ Waiting ───────────────▶ Outcome
//!             │ timeout_connect        │ unreachable, timeout_response, what the kind says
//! ```
//! One packet, no second try: what is lost on the way is what such a check is to see, and `fall` says how many count.
//! What always holds: nothing is believed but from the address that was asked, to the port or id it was asked from,
//! repeating a number that nobody else was told; a message of ICMP must quote the head of what was sent. All else is as if it had not
//! come, so that whoever guesses gains nothing and the real answer still counts.

use super::probe::Target;
use super::{FIRST_PORT, PORTS, dns, icmp, ntp};
use crate::config::checks::Kind;
use crate::limits::PROBE_PACKET;
use crate::net::frame::{self, PROTOCOL_ICMP, PROTOCOL_UDP, Packet};
use crate::time::{Time, sntp};
use core::net::Ipv4Addr;
use heapless::Vec;
use outpost_wire::ProbeReason;
use smoltcp::time::Instant;

/// The part of a packet's head that ICMP quotes at least (RFC 792).
pub const QUOTED: usize = 8;

const UDP_HEADER: usize = 8;

/// A question, on its way or not yet.
pub struct Question {
    /// Everything that an answer has to repeat is made of this.
    nonce: u64,
    /// The first of the ports or ids of its check.
    number: u16,
    sent: Option<Instant>,
    /// The head of what was sent.
    head: [u8; QUOTED],
    found: Option<Found>,
}

/// What came.
#[derive(Clone, Copy)]
pub enum Found {
    /// The end of the probe.
    Reason(ProbeReason),
    /// What a time server says, and when that came: to be held against our clock.
    Time(sntp::Answer, Instant),
}

impl Question {
    /// A question of the check with this number.
    pub fn new(number: u16, nonce: u64) -> Question {
        Question { nonce, number, sent: None, head: [0; QUOTED], found: None }
    }

    /// When it was sent.
    pub fn sent(&self) -> Option<Instant> {
        self.sent
    }

    /// What came of it, held against what our clock says now.
    pub fn outcome(&self, target: Target<'_>, time: &Time) -> Option<ProbeReason> {
        match (self.found?, self.sent, &target.check.kind) {
            (Found::Time(answer, came), Some(sent), Kind::Ntp { max_offset_ms, .. }) => {
                let ours = time.without(target.address, came);
                Some(ntp::judge(&answer, sent, came, ours, *max_offset_ms))
            }
            (Found::Time(..), ..) => None,
            (Found::Reason(reason), ..) => Some(reason),
        }
    }

    /// The packet of this question and its protocol, for one who has this address.
    pub fn packet(&self, target: Target<'_>, from: Ipv4Addr) -> (u8, Vec<u8, PROBE_PACKET>) {
        let mut packet = Vec::new();
        let protocol = match &target.check.kind {
            Kind::Icmp => {
                icmp::write_question(&mut packet, icmp_id(self.number, self.nonce), self.nonce);
                PROTOCOL_ICMP
            }
            kind => {
                // It fits: so much was counted in.
                let _ = packet.resize_default(UDP_HEADER);
                let _ = match kind {
                    Kind::Dns { name, record, .. } => {
                        packet.extend_from_slice(&dns::question(target.text(*name), *record, self.nonce))
                    }
                    _ => packet.extend_from_slice(&sntp::request(self.nonce)),
                };
                self.write_udp_header(&mut packet, target, from);
                PROTOCOL_UDP
            }
        };
        (protocol, packet)
    }

    /// This packet was sent.
    pub fn is_sent(&mut self, now: Instant, packet: &[u8]) {
        self.sent = Some(now);
        self.head = packet.first_chunk().copied().unwrap_or_default();
    }

    /// RFC 768.
    fn write_udp_header(&self, packet: &mut [u8], target: Target<'_>, from: Ipv4Addr) {
        let len = packet.len();
        for (at, number) in [(0, self.port()), (2, target.check.peer.port), (4, len as u16)] {
            packet[at..at + 2].copy_from_slice(&number.to_be_bytes());
        }
        let [from, to] = [from, target.address].map(u32::from);
        let addresses = u64::from(from) << 32 | u64::from(to);
        let sum = frame::checksum(frame::pseudo_header(&addresses.to_be_bytes(), PROTOCOL_UDP, len), packet);
        packet[6..8].copy_from_slice(&if sum == 0 { u16::MAX } else { sum }.to_be_bytes());
    }

    /// The port it is asked from: one of those of its check.
    fn port(&self) -> u16 {
        FIRST_PORT + self.number * PORTS + (self.nonce >> 16) as u16 % PORTS
    }

    /// Takes in a packet that may be the answer; `false` when it is not.
    pub fn hear(&mut self, now: Instant, target: Target<'_>, packet: &Packet<'_>) -> bool {
        if self.sent.is_none() || self.found.is_some() || packet.from != target.address {
            return false;
        }
        self.found = match (&target.check.kind, packet.protocol) {
            (Kind::Icmp, PROTOCOL_ICMP) => {
                icmp::is_answer(packet.body, &self.head, self.nonce).then_some(Found::Reason(ProbeReason::Ok))
            }
            (kind, PROTOCOL_UDP) => {
                let Some((header, body)) = packet.body.split_at_checked(UDP_HEADER) else { return false };
                let ports = [target.check.peer.port.to_be_bytes(), self.port().to_be_bytes()];
                let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
                let Some(body) = len.checked_sub(UDP_HEADER).and_then(|len| body.get(..len)) else { return false };
                match kind {
                    _ if header[..4] != *ports.as_flattened() => None,
                    Kind::Dns { .. } => dns::judge(body, target, self.nonce).map(Found::Reason),
                    Kind::Ntp { max_stratum, .. } => ntp::read(body, self.nonce, *max_stratum, now),
                    _ => None,
                }
            }
            _ => None,
        };
        self.found.is_some()
    }

    /// Takes in what a router, or the target itself, says of a packet with this head.
    pub fn is_unreachable(&mut self, head: &[u8; QUOTED]) -> bool {
        let ours = self.sent.is_some() && self.found.is_none() && *head == self.head;
        if ours {
            self.found = Some(Found::Reason(ProbeReason::Unreachable));
        }
        ours
    }
}

/// The id of an echo: which check it is of, and ten bits that nobody knows.
fn icmp_id(number: u16, nonce: u64) -> u16 {
    number << icmp::ID_BITS | (nonce >> 48) as u16 & ((1 << icmp::ID_BITS) - 1)
}
