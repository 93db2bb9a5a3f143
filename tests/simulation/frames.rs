//! Frames built by hand: what the gateway, the attacker and the single tests send.

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::*;

/// Who sends to whom, on both layers.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    pub from_mac: EthernetAddress,
    pub to_mac: EthernetAddress,
    pub from: Ipv4Address,
    pub to: Ipv4Address,
}

/// An Ethernet frame around this payload.
pub fn ethernet(from: EthernetAddress, to: EthernetAddress, kind: EthernetProtocol, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; EthernetFrame::<&[u8]>::buffer_len(payload.len())];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    frame.set_src_addr(from);
    frame.set_dst_addr(to);
    frame.set_ethertype(kind);
    frame.payload_mut().copy_from_slice(payload);
    bytes
}

fn ipv4(route: Route, next_header: IpProtocol, payload_len: usize, emit: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let ip = Ipv4Repr { src_addr: route.from, dst_addr: route.to, next_header, payload_len, hop_limit: 64 };
    let mut bytes = vec![0; ip.buffer_len() + payload_len];
    let mut packet = Ipv4Packet::new_unchecked(&mut bytes[..]);
    ip.emit(&mut packet, &ChecksumCapabilities::default());
    emit(packet.payload_mut());
    ethernet(route.from_mac, route.to_mac, EthernetProtocol::Ipv4, &bytes)
}

/// A TCP segment.
pub fn tcp(route: Route, segment: &TcpRepr<'_>) -> Vec<u8> {
    ipv4(route, IpProtocol::Tcp, segment.buffer_len(), |payload| {
        let mut packet = TcpPacket::new_unchecked(payload);
        segment.emit(&mut packet, &route.from.into(), &route.to.into(), &ChecksumCapabilities::default());
    })
}

/// The SYN of an ordinary client.
pub fn syn(route: Route, src_port: u16, dst_port: u16) -> Vec<u8> {
    let segment = TcpRepr {
        control: TcpControl::Syn,
        window_scale: Some(7),
        max_seg_size: Some(1460),
        sack_permitted: true,
        ..plain(src_port, dst_port)
    };
    tcp(route, &segment)
}

/// What that client says next, in answer to a SYN with this number: an acknowledgement, with data or without.
pub fn first_data(route: Route, src_port: u16, dst_port: u16, server: TcpSeqNumber, data: &[u8]) -> Vec<u8> {
    let control = if data.is_empty() { TcpControl::None } else { TcpControl::Psh };
    let base = plain(src_port, dst_port);
    let (seq_number, ack_number) = (base.seq_number + 1, Some(server + 1));
    tcp(route, &TcpRepr { control, seq_number, ack_number, payload: data, ..base })
}

/// What a TCP check says next: a reset.
pub fn reset(route: Route, src_port: u16, dst_port: u16, server: TcpSeqNumber) -> Vec<u8> {
    let base = plain(src_port, dst_port);
    let (seq_number, ack_number) = (base.seq_number + 1, Some(server + 1));
    tcp(route, &TcpRepr { control: TcpControl::Rst, seq_number, ack_number, ..base })
}

/// An acknowledgement of everything up to this number, from a client that sent so many bytes after its SYN.
pub fn acknowledge(route: Route, src_port: u16, dst_port: u16, sent: usize, server: TcpSeqNumber) -> Vec<u8> {
    let base = plain(src_port, dst_port);
    let (seq_number, ack_number) = (base.seq_number + 1 + sent, Some(server));
    tcp(route, &TcpRepr { seq_number, ack_number, ..base })
}

fn plain(src_port: u16, dst_port: u16) -> TcpRepr<'static> {
    TcpRepr {
        src_port,
        dst_port,
        control: TcpControl::None,
        seq_number: TcpSeqNumber(1000),
        ack_number: None,
        window_len: 64_240,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    }
}

/// A UDP datagram.
pub fn udp(route: Route, ports: UdpRepr, payload: &[u8]) -> Vec<u8> {
    ipv4(route, IpProtocol::Udp, ports.header_len() + payload.len(), |room| {
        ports.emit(
            &mut UdpPacket::new_unchecked(room),
            &route.from.into(),
            &route.to.into(),
            payload.len(),
            |data| data.copy_from_slice(payload),
            &ChecksumCapabilities::default(),
        );
    })
}

/// An echo request.
pub fn ping(route: Route, seq_no: u16) -> Vec<u8> {
    let echo = Icmpv4Repr::EchoRequest { ident: 7, seq_no, data: b"outpost" };
    ipv4(route, IpProtocol::Icmp, echo.buffer_len(), |room| {
        echo.emit(&mut Icmpv4Packet::new_unchecked(room), &ChecksumCapabilities::default());
    })
}

/// An ARP packet for Ethernet and IPv4.
pub fn arp(route: Route, operation: ArpOperation) -> Vec<u8> {
    let packet = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: route.from_mac,
        source_protocol_addr: route.from,
        target_hardware_addr: route.to_mac,
        target_protocol_addr: route.to,
    };
    let mut bytes = vec![0; packet.buffer_len()];
    packet.emit(&mut ArpPacket::new_unchecked(&mut bytes));
    ethernet(route.from_mac, route.to_mac, EthernetProtocol::Arp, &bytes)
}

/// The same frame with IP options that mean nothing (RFC 791, section 3.1: NOP), when there is room for them.
pub fn with_ip_options(frame: &[u8]) -> Vec<u8> {
    const OPTIONS: [u8; 8] = [1; 8];
    let ethernet = EthernetFrame::new_unchecked(frame);
    let short = frame.len() + OPTIONS.len() <= 1514;
    if frame.len() < 34 || !short || ethernet.ethertype() != EthernetProtocol::Ipv4 || frame[14] != 0x45 {
        return frame.to_vec();
    }
    let mut bytes = frame.to_vec();
    bytes.splice(34..34, OPTIONS);
    let mut packet = Ipv4Packet::new_unchecked(&mut bytes[14..]);
    let total = packet.total_len() + OPTIONS.len() as u16;
    packet.set_header_len(28);
    packet.set_total_len(total);
    packet.fill_checksum();
    bytes
}

/// The TCP segment of a frame to this port: `look` sees it; `None` when it is something else.
pub fn tcp_to<R>(frame: &[u8], port: u16, look: impl FnOnce(&TcpPacket<&[u8]>) -> R) -> Option<R> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    let packet = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
    if ethernet.ethertype() != EthernetProtocol::Ipv4 || packet.next_header() != IpProtocol::Tcp {
        return None;
    }
    let segment = TcpPacket::new_checked(packet.payload()).ok()?;
    (segment.dst_port() == port).then(|| look(&segment))
}
