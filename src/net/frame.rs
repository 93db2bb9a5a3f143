//! A first look at a frame: whose is it? Nothing here is believed beyond where to send the frame next; smoltcp
//! checks lengths and checksums again, but for that of an IP header, which is checked here for what is for us.

use core::net::Ipv4Addr;
use smoltcp::wire::EthernetAddress;

/// Length of an Ethernet header in bytes.
pub const ETHERNET_HEADER: usize = 14;

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
/// IP protocol numbers of what we read and write ourselves.
pub const PROTOCOL_ICMP: u8 = 1;
/// Of UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// Of TCP.
pub const PROTOCOL_TCP: u8 = 6;
const TCP_HEADER: usize = 20;
const FLAG_SYN: u8 = 0x02;
const FLAGS: u8 = 0x3f & !0x08;

/// The far end of a connection to our one address and port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// The client's address.
    pub address: [u8; 4],
    /// The client's port.
    pub port: u16,
}

/// A TCP segment for our address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Who sent it.
    pub flow: Flow,
    /// The port it is for.
    pub to_port: u16,
    /// Whether it asks for a new connection: SYN and nothing else (PSH aside).
    pub opens: bool,
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// A TCP segment for our address.
    Tcp(Segment),
    /// An ICMP packet for our address: for a probe, or answered to the sender's MAC.
    Icmp,
    /// A UDP datagram for our address: for a probe, or for the Ethernet interface.
    Udp,
    /// ARP, DHCP, broadcasts, replies to what we asked: the Ethernet interface sorts them out.
    Other,
}

/// Sorts a frame that arrived on the card with this MAC while we have this address.
#[inline(always)]
pub fn sort(frame: &[u8], mac: EthernetAddress, address: Option<Ipv4Addr>) -> Sort {
    match plain_segment(frame, mac, address) {
        Some(segment) => Sort::Tcp(segment),
        None => sort_any(frame, mac, address),
    }
}

/// The segment in a frame that has no IP options, as nearly all have none: what [`try_sort`] finds in it, with all of it at
/// places that are known beforehand.
#[inline(always)]
fn plain_segment(frame: &[u8], mac: EthernetAddress, address: Option<Ipv4Addr>) -> Option<Segment> {
    let frame = frame.first_chunk::<{ HEADERS + TCP_HEADER }>()?;
    let (head, tcp) = frame.split_first_chunk::<HEADERS>()?;
    // Both MACs are in the first word: all of ours, and the bit of the other one that says that it is a group's.
    let [a, b, c, d, e, f] = mac.0;
    let to = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
    let macs = u64::from_le_bytes(*head.first_chunk()?) ^ to;
    let kind = u32::from_le_bytes([head[12], head[13], head[14], 0]);
    let fragment = u16::from_le_bytes([head[20], head[21]]) & u16::from_le_bytes([0x3f, 0xff]);
    let is_plain = macs << 15 == 0
        && kind == u32::from_le_bytes([8, 0, 0x45, 0])
        && fragment == 0
        && head[23] == PROTOCOL_TCP
        && head[30..34] == address?.octets()
        && is_right(head[ETHERNET_HEADER..].first_chunk()?);
    is_plain.then(|| Segment {
        flow: Flow { address: [head[26], head[27], head[28], head[29]], port: u16::from_be_bytes([tcp[0], tcp[1]]) },
        to_port: u16::from_be_bytes([tcp[2], tcp[3]]),
        opens: tcp[13] & FLAGS == FLAG_SYN,
    })
}

#[inline(never)]
fn sort_any(frame: &[u8], mac: EthernetAddress, address: Option<Ipv4Addr>) -> Sort {
    try_sort(frame, mac, address).unwrap_or(Sort::Other)
}

fn try_sort(frame: &[u8], mac: EthernetAddress, address: Option<Ipv4Addr>) -> Option<Sort> {
    let (ethernet, packet) = frame.split_at_checked(ETHERNET_HEADER)?;
    let from_group = ethernet[6] & 1 == 1;
    if ethernet[..6] != mac.0 || from_group || ethernet[12..14] != ETHERTYPE_IPV4 {
        return None;
    }
    // RFC 791, section 3.1. Options move what follows, so the header's own length counts.
    let head = packet.first_chunk::<20>()?;
    let header_len = usize::from(head[0] & 0x0f) * 4;
    let fragment = u16::from_be_bytes([head[6], head[7]]) & 0x3fff;
    if head[0] >> 4 != 4 || header_len < 20 || fragment != 0 || head[16..20] != address?.octets() {
        return None;
    }
    if sum(packet.get(..header_len)?) != u16::MAX {
        return None;
    }
    match head[9] {
        PROTOCOL_ICMP => Some(Sort::Icmp),
        PROTOCOL_UDP => Some(Sort::Udp),
        PROTOCOL_TCP => {
            let tcp = packet.get(header_len..)?.first_chunk::<TCP_HEADER>()?;
            Some(Sort::Tcp(Segment {
                flow: Flow {
                    address: [head[12], head[13], head[14], head[15]],
                    port: u16::from_be_bytes([tcp[0], tcp[1]]),
                },
                to_port: u16::from_be_bytes([tcp[2], tcp[3]]),
                opens: tcp[13] & FLAGS == FLAG_SYN,
            }))
        }
        _ => None,
    }
}

/// What an IP packet for us carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'f> {
    /// Who says that it sent it.
    pub from: Ipv4Addr,
    /// One of the protocols above.
    pub protocol: u8,
    /// What follows the IP header.
    pub body: &'f [u8],
}

/// The packet in a frame that [`sort`] found to be one of ICMP or UDP; its checksum counts, unless `vouched` says that the
/// card has looked at it.
pub fn packet(frame: &[u8], vouched: bool) -> Option<Packet<'_>> {
    let packet = frame.get(ETHERNET_HEADER..)?;
    let head = packet.first_chunk::<20>()?;
    let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let body = packet.get((usize::from(head[0] & 0x0f) * 4).max(20)..len)?;
    let from = Ipv4Addr::new(head[12], head[13], head[14], head[15]);
    let good = match head[9] {
        PROTOCOL_ICMP => checksum(0, body) == 0,
        // None was sent (RFC 768).
        PROTOCOL_UDP if vouched || body.get(6..8)? == [0, 0] => true,
        PROTOCOL_UDP => checksum(pseudo_header(&head[12..20], PROTOCOL_UDP, body.len()), body) == 0,
        _ => false,
    };
    good.then_some(Packet { from, protocol: head[9], body })
}

/// Room for the headers of a frame that [`write_headers`] writes.
pub const HEADERS: usize = ETHERNET_HEADER + 20;

/// Writes the headers of Ethernet and IPv4, without options, of a frame that carries a packet of this protocol (RFC 791,
/// section 3.1).
pub fn write_headers(frame: &mut [u8], macs: [EthernetAddress; 2], protocol: u8, from: Ipv4Addr, to: Ipv4Addr) {
    let len = (frame.len().saturating_sub(ETHERNET_HEADER) as u16).to_be_bytes();
    let Some(header) = frame.first_chunk_mut::<HEADERS>() else { return };
    let [ours, theirs] = macs;
    header[..6].copy_from_slice(&theirs.0);
    header[6..12].copy_from_slice(&ours.0);
    // No fragments, and so no id (RFC 6864, section 4); TTL 64 as for what smoltcp sends.
    header[12..26].copy_from_slice(&[8, 0, 0x45, 0, len[0], len[1], 0, 0, 0x40, 0, 64, protocol, 0, 0]);
    header[26..30].copy_from_slice(&from.octets());
    header[30..].copy_from_slice(&to.octets());
    write_checksum(&mut frame[ETHERNET_HEADER..]);
}

/// The part of a UDP checksum that comes from the IP header: `addresses` are both, as they stand there (RFC 768).
pub fn pseudo_header(addresses: &[u8], protocol: u8, len: usize) -> u32 {
    u32::from(protocol) + len as u32 + words(addresses)
}

/// The Internet checksum of `body`, on top of the sum of something else (RFC 1071): 0 when a right one is part of it.
pub fn checksum(sum: u32, body: &[u8]) -> u16 {
    // At most 2^15 words of 16 bits: nothing overflows.
    let sum = sum + words(body);
    let sum = (sum >> 16) + (sum & 0xffff);
    !(((sum >> 16) + sum) as u16)
}

fn words(bytes: &[u8]) -> u32 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low));
    bytes.chunks(2).map(word).sum()
}

/// Writes the checksum of an IPv4 header without options, where it is still zero.
pub fn write_checksum(packet: &mut [u8]) {
    if let Some(header) = packet.first_chunk_mut::<20>() {
        let checksum = !folded(sum_plain(header));
        header[10..12].copy_from_slice(&checksum.to_ne_bytes());
    }
}

/// The sum that IPv4's checksum is made of, over a header; with a right checksum in it, all ones. Its bytes are in the
/// machine's order, for the sum is the same in any (RFC 1071, sections 1 and 2).
fn sum(header: &[u8]) -> u16 {
    let word = |bytes: &[u8; 4]| u64::from(u32::from_ne_bytes(*bytes));
    folded(header.as_chunks::<4>().0.iter().map(word).sum())
}

/// Whether the checksum in a header without options is right.
#[inline(always)]
fn is_right(header: &[u8; 20]) -> bool {
    // All ones, as [`folded`] makes it of any multiple of them.
    sum_plain(header).is_multiple_of(0xffff)
}

/// What [`folded`] makes the sum of: that of a header without options, two words of 64 bits and one of 32, where what is
/// carried comes in again.
#[inline(always)]
fn sum_plain(header: &[u8; 20]) -> u64 {
    let (words, rest) = header.as_chunks::<8>();
    let ([first, second], Some(last)) = (words, rest.first_chunk::<4>()) else { return 0 };
    let (sum, carry) = u64::from_ne_bytes(*first).overflowing_add(u64::from_ne_bytes(*second));
    // A sum that something was carried from has room for it.
    let (sum, more) = (sum + u64::from(carry)).overflowing_add(u64::from(u32::from_ne_bytes(*last)));
    sum + u64::from(more)
}

/// 16 bits of a sum of words, where what is carried comes in again (RFC 1071, section 2): the remainder by all ones, which
/// stand for 0 unless nothing was added.
#[inline(always)]
pub fn folded(sum: u64) -> u16 {
    if sum == 0 { 0 } else { ((sum - 1) % 0xffff + 1) as u16 }
}

/// Who says in an ARP packet that this address is its own (RFC 5227, section 2.4): a request says so as well as a reply.
pub fn claimant(frame: &[u8], address: Ipv4Addr) -> Option<EthernetAddress> {
    let packet = frame.get(12..)?.first_chunk::<20>()?;
    // Ethernet and IPv4, request or reply (RFC 826); then the sender's MAC and its address.
    let (head, sender) = packet.split_at(10);
    let is_arp = head[..9] == [0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0] && matches!(head[9], 1 | 2);
    (is_arp && sender[6..] == address.octets()).then(|| EthernetAddress::from_bytes(&sender[..6]))
}

/// The MAC a frame came from; zeros when it is too short to have one.
pub fn source(frame: &[u8]) -> EthernetAddress {
    frame.get(6..12).map_or(EthernetAddress([0; 6]), EthernetAddress::from_bytes)
}

/// Who says in a frame's IPv4 header that it sent it; `None` when it is too short to have one.
pub fn sender(frame: &[u8]) -> Option<Ipv4Addr> {
    let header = frame.get(ETHERNET_HEADER..)?.first_chunk::<20>()?;
    Some(Ipv4Addr::new(header[12], header[13], header[14], header[15]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
    const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    fn segment(options: &[u8], flags: u8) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0];
        frame.push(0x45 + (options.len() / 4) as u8);
        frame.extend([0, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 10, 0, 0, 2][1..].iter());
        frame.extend(options);
        renew_checksum(&mut frame);
        frame.extend([0x30, 0x39, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
        frame
    }

    /// As RFC 791, section 3.1 has it, sixteen bits at a time.
    fn renew_checksum(frame: &mut [u8]) {
        let header_len = usize::from(frame[14] & 0x0f) * 4;
        frame[24..26].fill(0);
        let header = frame[14..14 + header_len].chunks(2);
        let sum: u32 = header.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
        let checksum = (0..2).fold(sum, |sum, _| (sum & 0xffff) + (sum >> 16)) as u16;
        frame[24..26].copy_from_slice(&(!checksum).to_be_bytes());
    }

    #[test]
    fn a_header_that_was_damaged_is_not_ours_and_our_own_is_right() {
        // smoltcp no longer looks at it: a flipped bit in the sender's address would answer a stranger.
        for options in [&[][..], &[0xff; 4], &[0xff; 40]] {
            let good = segment(options, 0x10);
            assert!(matches!(sort(&good, MAC, Some(OURS)), Sort::Tcp(_)));
            for bit in 14 * 8..(34 + options.len()) * 8 {
                let mut damaged = good.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(sort(&damaged, MAC, Some(OURS)), Sort::Other, "bit {bit}");
            }
        }
        for last in 0..=255 {
            let mut frame = segment(&[], 0x10);
            (frame[18], frame[33]) = (last ^ 0x5a, last);
            renew_checksum(&mut frame);
            let right = frame.clone();
            frame[24..26].fill(0);
            write_checksum(&mut frame[14..]);
            assert_eq!(frame, right);
        }
        write_checksum(&mut []);
    }

    #[test]
    fn both_looks_at_a_frame_see_the_same() {
        // The short one is there for speed: where it saw something else, an attacker would choose which one looks.
        let mut random = 1u64;
        let mut next = move || {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (random >> 33) as usize
        };
        let mut plain = 0;
        for _ in 0..200_000 {
            let mut frame = segment(&[1; 40][..next() % 3 / 2 * 4], [0x02, 0x10, 0x18][next() % 3]);
            for _ in 0..next() % 3 {
                let at = next() % frame.len();
                frame[at] = next() as u8;
            }
            if next() % 4 > 0 && usize::from(frame[14] & 0x0f) * 4 + 14 <= frame.len() {
                renew_checksum(&mut frame);
            }
            frame.truncate(frame.len() - next() % 40 / 38);
            let address = [OURS, Ipv4Addr::new(10, 0, 0, 3)][next() % 8 / 7];
            let found = plain_segment(&frame, MAC, Some(address));
            plain += usize::from(found.is_some());
            if let Some(segment) = found {
                assert_eq!(try_sort(&frame, MAC, Some(address)), Some(Sort::Tcp(segment)), "{frame:?}");
            }
        }
        assert!((40_000..160_000).contains(&plain), "{plain}");
    }

    #[test]
    fn ip_options_do_not_move_the_ports() {
        // Reading ports at a fixed offset would answer live connections with RST as soon as a router adds an option.
        for options in [&[][..], &[1, 1, 1, 0], &[1; 40]] {
            let Sort::Tcp(found) = sort(&segment(options, 0x02), MAC, Some(OURS)) else { panic!("{options:?}") };
            assert_eq!(found.flow, Flow { address: [192, 0, 2, 1], port: 12345 });
            assert_eq!((found.to_port, found.opens), (80, true));
        }
    }

    #[test]
    fn only_a_bare_syn_opens() {
        for (flags, opens) in [(0x02, true), (0x0a, true), (0x12, false), (0x03, false), (0x06, false), (0x10, false)] {
            let Sort::Tcp(found) = sort(&segment(&[], flags), MAC, Some(OURS)) else { panic!() };
            assert_eq!(found.opens, opens, "{flags:#x}");
        }
    }

    #[test]
    fn a_claim_to_our_address_is_seen_and_nothing_else_is_one() {
        // A machine with our address takes half of our clients; a probe (sender 0.0.0.0) does not have it yet.
        let mut frame = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 8, 6];
        frame.extend([0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
        for operation in [1, 2] {
            frame[21] = operation;
            assert_eq!(claimant(&frame, OURS), Some(EthernetAddress([2, 0, 0, 0, 0, 9])));
        }
        for (at, value) in
            [(12, 6), (13, 0), (15, 6), (16, 9), (18, 8), (19, 16), (20, 1), (21, 3), (21, 0), (28, 0), (31, 3)]
        {
            let mut other = frame.clone();
            other[at] = value;
            assert_eq!(claimant(&other, OURS), None, "byte {at} = {value:#x}");
        }
        assert!((0..32).all(|len| claimant(&frame[..len], OURS).is_none()));
    }

    #[test]
    fn what_is_not_for_us_or_cut_short_is_other() {
        let frame = segment(&[], 2);
        for len in 0..frame.len() {
            assert_eq!(sort(&frame[..len], MAC, Some(OURS)), Sort::Other, "cut at {len}");
        }
        assert_eq!(sort(&frame, MAC, None), Sort::Other);
        for (at, value) in
            [(0, 0xff), (5, 2), (6, 0x03), (13, 6), (14, 0x65), (14, 0x44), (20, 0x20), (33, 3), (23, 17)]
        {
            let mut other = frame.clone();
            other[at] = value;
            assert_eq!(sort(&other, MAC, Some(OURS)), Sort::Other, "byte {at} = {value:#x}");
        }
    }
}
