//! Answers of DNS servers: whether one is to our question, and which addresses it gives (RFC 1035, RFC 2181).
//!
//! smoltcp's parser reads packet, question and records; here stands what they mean. What always holds: any bytes are
//! looked at in bounded time, nothing is believed that does not repeat our id and our question, and an address is one
//! that a single machine can have.

#[cfg(test)]
mod tests;

use crate::limits::{DNS_ADDRESSES, DNS_CHAIN, DNS_TTL_MAX, DNS_TTL_MIN, HOST_NAME_MAX};
use core::net::Ipv4Addr;
use heapless::Vec;
use outpost_wire::DnsFailure;
use smoltcp::time::Duration;
use smoltcp::wire::{DnsFlags, DnsOpcode, DnsPacket, DnsQuestion, DnsRcode, DnsRecord, DnsRecordData, DnsRepr};

/// Longest question in bytes: header, name, type and class.
pub const QUESTION_MAX: usize = 12 + HOST_NAME_MAX + 2 + 4;

/// What a server said about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its addresses in numeric order, the lowest where there are more than fit: the order in which a server rotates
    /// them changes nothing.
    pub addresses: Vec<Ipv4Addr, DNS_ADDRESSES>,
    /// For how long they are good, within [`DNS_TTL_MIN`] and [`DNS_TTL_MAX`].
    pub ttl: Duration,
}

/// Why a packet gives no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is no answer to what was asked: late, or forged.
    NotOurs,
    /// It is one, and says this.
    Failed(DnsFailure),
}

/// The type of an address record.
pub const ADDRESS: u16 = 1;

/// A question for the records of `host` of this type, to be told apart by `id`.
pub fn question(host: &str, kind: u16, id: u16) -> Vec<u8, QUESTION_MAX> {
    let name = encoded(host);
    let repr = DnsRepr {
        transaction_id: id,
        opcode: DnsOpcode::Query,
        flags: DnsFlags::RECURSION_DESIRED,
        question: DnsQuestion { name: &name, type_: kind.into() },
    };
    let mut packet = Vec::new();
    // It fits: the longest name was counted in.
    let _ = packet.resize_default(repr.buffer_len());
    repr.emit(&mut DnsPacket::new_unchecked(packet.as_mut_slice()));
    packet
}

/// An answer to what was asked.
pub struct Opened<'b> {
    packet: DnsPacket<&'b [u8]>,
    /// The name in the question, and what follows the question.
    asked: &'b [u8],
    rest: &'b [u8],
}

/// One record of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Found<'b> {
    /// Whose it is, as it stands in the packet.
    pub owner: &'b [u8],
    /// Its type.
    pub kind: u16,
    /// Its data.
    pub data: &'b [u8],
}

/// Reads what is said to be the answer to `question(host, kind, id)`.
pub fn open<'b>(bytes: &'b [u8], host: &str, kind: u16, id: u16) -> Option<Opened<'b>> {
    let packet = DnsPacket::new_checked(bytes).ok()?;
    let is_answer = packet.flags().contains(DnsFlags::RESPONSE) && packet.opcode() == DnsOpcode::Query;
    let (rest, asked) = DnsQuestion::parse(bytes.get(12..)?).ok()?;
    let ours = packet.transaction_id() == id && packet.question_count() == 1 && u16::from(asked.type_) == kind;
    // RFC 5452, section 9.1. Letters of a name have no case (RFC 4343).
    let ours = is_answer && ours && asked.name.eq_ignore_ascii_case(&encoded(host));
    ours.then_some(Opened { packet, asked: asked.name, rest })
}

impl<'b> Opened<'b> {
    /// What the server says of the question as a whole (RFC 1035, section 4.1.1).
    pub fn rcode(&self) -> u8 {
        self.packet.rcode().into()
    }

    /// The name that was asked for, as it stands in the packet.
    pub fn asked(&self) -> &'b [u8] {
        self.asked
    }

    /// The records of the answer, up to one that is none. Each takes at least 11 bytes, so the packet's length bounds this.
    pub fn records(&self) -> impl Iterator<Item = Found<'b>> + Clone {
        let mut rest = self.rest;
        (0..self.packet.answer_record_count()).map_while(move |_| {
            let (next, record) = DnsRecord::parse(rest).ok()?;
            // Behind the name type, class, TTL and length (RFC 1035, section 4.1.3).
            let (head, data) = rest.get(record.name.len()..rest.len() - next.len())?.split_first_chunk::<10>()?;
            let kind = u16::from_be_bytes([head[0], head[1]]);
            rest = next;
            Some(Found { owner: record.name, kind, data })
        })
    }

    /// Whether two names, as they stand in the packet, have the same labels.
    pub fn same(&self, a: &[u8], b: &[u8]) -> bool {
        same(&self.packet, a, b)
    }

    /// Whether a name in the packet is this one.
    pub fn is_name(&self, name: &[u8], text: &str) -> bool {
        same(&self.packet, name, &encoded(text))
    }
}

/// Reads what is said to be the answer to `question(host, ADDRESS, id)`.
pub fn parse(bytes: &[u8], host: &str, id: u16) -> Result<Answer, Refusal> {
    let Opened { packet, asked, rest } = open(bytes, host, ADDRESS, id).ok_or(Refusal::NotOurs)?;
    match packet.rcode() {
        DnsRcode::NoError => addresses(&packet, rest, asked).map_err(Refusal::Failed),
        DnsRcode::NXDomain => Err(Refusal::Failed(DnsFailure::NoSuchName)),
        DnsRcode::Refused => Err(Refusal::Failed(DnsFailure::Refused)),
        _ => Err(Refusal::Failed(DnsFailure::ServerFailure)),
    }
}

/// The addresses of `name`, or of what it is another name for, whatever the order of the records.
fn addresses<'a>(packet: &'a DnsPacket<&'a [u8]>, records: &'a [u8], name: &'a [u8]) -> Result<Answer, DnsFailure> {
    let truncated = packet.flags().contains(DnsFlags::TRUNCATED);
    let (mut name, mut ttl_s) = (name, u32::MAX);
    let mut addresses = Vec::new();
    for _ in 0..=DNS_CHAIN {
        let (mut rest, mut canonical) = (records, None);
        // Each record takes at least 11 bytes, so the packet's length bounds this.
        for _ in 0..packet.answer_record_count() {
            let Ok((next, record)) = DnsRecord::parse(rest) else {
                return Err(if truncated { DnsFailure::Truncated } else { DnsFailure::Malformed });
            };
            rest = next;
            // RFC 2181, section 8: what has the highest bit is meant as 0.
            let record_ttl_s = if record.ttl > i32::MAX as u32 { 0 } else { record.ttl };
            match record.data {
                _ if !same(packet, record.name, name) => continue,
                DnsRecordData::A(address) if super::is_machine(address) => insert(&mut addresses, address),
                DnsRecordData::Cname(target) => canonical = Some(target),
                _ => continue,
            }
            ttl_s = ttl_s.min(record_ttl_s);
        }
        if !addresses.is_empty() {
            let ttl = Duration::from_secs(ttl_s.into()).clamp(DNS_TTL_MIN, DNS_TTL_MAX);
            return Ok(Answer { addresses, ttl });
        }
        match canonical {
            Some(target) => name = target,
            None => break,
        }
    }
    Err(if truncated { DnsFailure::Truncated } else { DnsFailure::NoAddress })
}

/// Keeps the lowest ones in order, each once.
fn insert(addresses: &mut Vec<Ipv4Addr, DNS_ADDRESSES>, address: Ipv4Addr) {
    let Err(place) = addresses.binary_search(&address) else { return };
    if addresses.is_full() && place < addresses.len() {
        addresses.pop();
    }
    // Full, it lies above all that are kept.
    let _ = addresses.insert(place, address);
}

/// Whether two names, as they stand in the packet, have the same labels.
fn same(packet: &DnsPacket<&[u8]>, a: &[u8], b: &[u8]) -> bool {
    let mut b = packet.parse_name(b);
    let fits = packet.parse_name(a).all(|label| match (label, b.next()) {
        (Ok(label), Some(Ok(other))) => label.eq_ignore_ascii_case(other),
        _ => false,
    });
    fits && b.next().is_none()
}

/// A name as labels with their lengths (RFC 1035, section 3.1).
fn encoded(host: &str) -> Vec<u8, { HOST_NAME_MAX + 2 }> {
    let mut name = Vec::new();
    for label in host.split('.') {
        // It fits: a label takes a byte for its dot or the end, and the configuration bounds both lengths.
        let _ = name.push(label.len() as u8);
        let _ = name.extend_from_slice(label.as_bytes());
    }
    let _ = name.push(0);
    name
}
