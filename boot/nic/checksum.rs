//! Checksums of TCP that the device computes and vouches for (virtio 1.2, sections 5.1.6.2 and 5.1.6.4): a fifth of
//! what a request costs without it.
//!
//! Sent, a segment carries the sum of its pseudo header, and the virtio-net header says where the device puts the rest.
//! Received, the header says when the device vouches for the frame, which may then carry such an unfinished sum; what
//! nobody vouches for is checked here, as smoltcp no longer does.

use outpost::net::frame::folded;
use smoltcp::wire::{EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, TcpPacket, UdpPacket};

/// `virtio_net_hdr.flags`: the checksum is to be finished (by the device), or need not be (by us).
const NEEDS_CHECKSUM: u8 = 1;
/// `virtio_net_hdr.flags`: the device has checked it.
const DATA_VALID: u8 = 2;

/// Where an Ethernet frame has its type, and an IPv4 header without options its parts.
const ETHERTYPE: usize = 12;
const IP: usize = 14;
const IP_PROTOCOL: usize = IP + 9;
const IP_SOURCE: usize = IP + 12;
const TCP: usize = IP + 20;
/// The checksum's place in a TCP header.
const TCP_CHECKSUM: usize = 16;
const TCP_HEADER: usize = 20;

/// Leaves the checksum of a frame to be sent to the device, when it is a TCP segment; `header` is the frame's
/// virtio-net header.
pub fn leave_to_device(header: &mut [u8], frame: &mut [u8]) {
    let is_tcp = frame.len() >= TCP + TCP_HEADER
        && frame[ETHERTYPE..=IP] == [0x08, 0x00, 0x45]
        && frame[IP_PROTOCOL] == u8::from(IpProtocol::Tcp);
    let Some(header) = header.first_chunk_mut::<10>() else { return };
    if !is_tcp {
        header[0] = 0;
        return;
    }
    // Flags, no segmentation (its three fields stay zero), where the sum begins, and where in that it is put.
    header[0] = NEEDS_CHECKSUM;
    header[6..8].copy_from_slice(&(TCP as u16).to_le_bytes());
    header[8..10].copy_from_slice(&(TCP_CHECKSUM as u16).to_le_bytes());
    // Both addresses, 32 bits at a time and in the machine's order, which comes to the same (RFC 1071, section 2); then
    // protocol and length.
    let addresses = frame[IP_SOURCE..].first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
    let rest = (u16::from(u8::from(IpProtocol::Tcp)) + (frame.len() - TCP) as u16).to_be();
    let sum = folded((addresses & 0xffff_ffff) + (addresses >> 32) + u64::from(rest));
    frame[TCP + TCP_CHECKSUM..TCP + TCP_CHECKSUM + 2].copy_from_slice(&sum.to_ne_bytes());
}

/// Whether a received frame may be believed: the device vouches for it, or its checksum is right, or it has none that
/// smoltcp would leave unchecked.
pub fn is_sound(header: &[u8], frame: &[u8]) -> bool {
    let vouched = header.first().is_some_and(|flags| flags & (NEEDS_CHECKSUM | DATA_VALID) != 0);
    vouched || is_right(frame)
}

#[inline(never)]
fn is_right(frame: &[u8]) -> bool {
    let Ok(frame) = EthernetFrame::new_checked(frame) else { return true };
    if frame.ethertype() != EthernetProtocol::Ipv4 {
        return true;
    }
    let Ok(packet) = Ipv4Packet::new_checked(frame.payload()) else { return true };
    // smoltcp takes in no fragments.
    if packet.more_frags() || packet.frag_offset() != 0 {
        return true;
    }
    let (from, to) = (packet.src_addr().into(), packet.dst_addr().into());
    match packet.next_header() {
        IpProtocol::Tcp => {
            TcpPacket::new_checked(packet.payload()).is_ok_and(|segment| segment.verify_checksum(&from, &to))
        }
        IpProtocol::Udp => {
            UdpPacket::new_checked(packet.payload()).is_ok_and(|datagram| datagram.verify_checksum(&from, &to))
        }
        _ => true,
    }
}
