//! The kind `icmp`: an echo (RFC 792), and what ICMP says of the packets of any probe.

use super::question::QUOTED;
use crate::limits::PROBE_PACKET;
use crate::net::frame;
use core::net::Ipv4Addr;
use heapless::Vec;

/// Bits of an id behind the number of the check.
pub const ID_BITS: u32 = 10;

const ECHO_REPLY: u8 = 0;
const UNREACHABLE: u8 = 3;
const ECHO: u8 = 8;
const TIME_EXCEEDED: u8 = 11;

/// Unreachable without "fragmentation needed", which is about a way and not about its end.
const FRAGMENTATION_NEEDED: u8 = 4;

const HEADER: usize = 8;

/// Bytes that the target is to send back: as many as `ping` has.
const PAYLOAD: usize = 56;

/// An echo of this id; its sequence number and what it carries are made of `nonce`.
pub fn write_question(packet: &mut Vec<u8, PROBE_PACKET>, id: u16, nonce: u64) {
    // It fits: so much was counted in.
    let _ = packet.extend_from_slice(&[ECHO, 0, 0, 0]);
    let _ = packet.extend_from_slice(&id.to_be_bytes());
    let _ = packet.extend_from_slice(&(nonce as u16).to_be_bytes());
    let _ = packet.extend_from_slice(&payload(nonce));
    let checksum = frame::checksum(0, packet).to_be_bytes();
    packet[2..4].copy_from_slice(&checksum);
}

fn payload(nonce: u64) -> [u8; PAYLOAD] {
    let nonce = nonce.to_be_bytes();
    core::array::from_fn(|at| nonce[at % nonce.len()])
}

/// Whether this is the reply to the echo with this head and nonce: all that was sent comes back.
pub fn is_answer(body: &[u8], head: &[u8; HEADER], nonce: u64) -> bool {
    let Some((reply, rest)) = body.split_at_checked(HEADER) else { return false };
    reply[..2] == [ECHO_REPLY, 0] && reply[4..] == head[4..] && *rest == payload(nonce)
}

/// The number of the check whose echo this may be the reply to.
pub fn replied(body: &[u8]) -> Option<u16> {
    let reply = body.first_chunk::<HEADER>()?;
    (reply[0] == ECHO_REPLY).then(|| u16::from_be_bytes([reply[4], reply[5]]) >> ID_BITS)
}

/// A packet that could not be delivered, as ICMP quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// Where it was to go.
    pub to: Ipv4Addr,
    /// Its protocol.
    pub protocol: u8,
    /// Its head.
    pub head: [u8; QUOTED],
}

impl Undelivered {
    /// Reads a message that says so: unreachable (all but a too small MTU), or its time was exceeded on the way.
    pub fn read(body: &[u8]) -> Option<Undelivered> {
        let (message, quoted) = body.split_at_checked(HEADER)?;
        match (message[0], message[1]) {
            (UNREACHABLE, FRAGMENTATION_NEEDED) => return None,
            (UNREACHABLE | TIME_EXCEEDED, _) => {}
            _ => return None,
        }
        let head = quoted.first_chunk::<20>()?;
        let quoted = quoted.get(usize::from(head[0] & 0x0f) * 4..)?;
        let to = Ipv4Addr::new(head[16], head[17], head[18], head[19]);
        Some(Undelivered { to, protocol: head[9], head: *quoted.first_chunk()? })
    }

    /// The number of the check whose packet this may be, where `port` says whose port one is.
    pub fn number(&self, port: impl Fn(u16) -> Option<usize>) -> Option<usize> {
        let word = |at: usize| u16::from_be_bytes([self.head[at], self.head[at + 1]]);
        match self.protocol {
            frame::PROTOCOL_ICMP => Some(usize::from(word(4) >> ID_BITS)),
            frame::PROTOCOL_TCP | frame::PROTOCOL_UDP => port(word(0)),
            _ => None,
        }
    }
}
