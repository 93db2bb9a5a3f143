//! What the fuzz targets share: how bytes of the fuzzer become a session's stream that gets past CRC and seal, and the
//! agent's side of a session.
#![forbid(unsafe_code)]

use outpost::log::{Identity, Log, Phase, Security, Ship, Stats};
use outpost_wire::noise::{Ephemerals, KEY_LEN, Key, SEALED_MAX, Transport};
use outpost_wire::session::CRC;
use outpost_wire::{DownReason, NetworkDown};
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{Loopback, Medium};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpCidr, Ipv4Address};
use std::net::SocketAddrV4;

/// Name of the agent in every session.
pub const AGENT: &str = "a";

const ADDRESS: Ipv4Address = Ipv4Address::new(10, 0, 0, 1);
const PORT: u16 = 7600;

/// Rounds of one input: the handshakes, Hello, what the input says, and what follows from it.
const ROUNDS: i64 = 24;

/// The key that both ends of a keyed session share.
pub fn key() -> Key {
    Key::new([0x5a; KEY_LEN])
}

/// Secrets for the handshakes of one end.
pub fn ephemerals(end: u8) -> Ephemerals {
    Ephemerals::new(&[end; KEY_LEN])
}

/// The parts that `data` describes: `length u8 · kind u8 · length bytes`. Kind 0 is meant as it is, every other as a
/// frame of that kind with the right length and CRC, which a fuzzer would not find by itself.
fn parts(data: &[u8]) -> impl Iterator<Item = (bool, Vec<u8>)> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let [len, kind, tail @ ..] = rest else { return None };
        let (body, next) = tail.split_at(usize::from(*len).min(tail.len()));
        rest = next;
        if *kind == 0 {
            return Some((false, body.to_vec()));
        }
        let mut frame = (body.len() as u16 + 1).to_le_bytes().to_vec();
        frame.push(*kind);
        frame.extend(body);
        let crc = CRC.checksum(&frame);
        frame.extend(crc.to_le_bytes());
        Some((true, frame))
    })
}

/// The stream that `data` describes, in the clear.
pub fn stream(data: &[u8]) -> Vec<u8> {
    parts(data).flat_map(|(_, bytes)| bytes).collect()
}

/// The same, each frame sealed, as one says it who knows the key. What is meant as it is stays so: the other end must
/// not take it, or anything after it.
pub fn sealed(data: &[u8], channel: &mut Transport) -> Vec<u8> {
    let seal = |(frame, bytes): (bool, Vec<u8>)| {
        if !frame {
            return bytes;
        }
        let mut out = [0; SEALED_MAX];
        out[2..2 + bytes.len()].copy_from_slice(&bytes);
        let len = channel.seal(&mut out, bytes.len()).expect("parts are shorter than frames may be");
        out[..len].to_vec()
    };
    parts(data).flat_map(seal).collect()
}

/// Runs the agent's side against a collector: `answer` gets what the agent said since the last time, when there is
/// something, and returns what the collector says to it. Returns whether the agent ever believed that it was connected,
/// and its counts.
pub fn agent_against(security: Security, mut answer: impl FnMut(&[u8]) -> Vec<u8>) -> (bool, Stats) {
    let mut region = vec![0; 64 * 1024];
    let mut log = Log::new(&mut region, 7);
    let mut now = Instant::ZERO;
    let agent = AGENT.try_into().unwrap();
    let identity = Identity { agent, image_id: [0; 32], hashes: None };
    let mut ship = Ship::new(SocketAddrV4::new(ADDRESS, PORT), identity, security, 1, now);
    let mut device = Loopback::new(Medium::Ip);
    let mut interface = Interface::new(Config::new(HardwareAddress::Ip), &mut device, now);
    interface.update_ip_addrs(|addresses| addresses.push(IpCidr::new(ADDRESS.into(), 8)).unwrap());
    let buffer = || tcp::SocketBuffer::new(vec![0; 8 * 1024]);
    let mut sockets = SocketSet::new(Vec::new());
    let agent = sockets.add(tcp::Socket::new(buffer(), buffer()));
    let collector = sockets.add(tcp::Socket::new(buffer(), buffer()));
    sockets.get_mut::<tcp::Socket<'_>>(collector).listen(PORT).unwrap();
    let (mut to_say, mut connected) = (Vec::new(), false);
    for round in 0..ROUNDS {
        now += Duration::from_millis(25);
        if round % 3 == 0 {
            log.emit(now, None, NetworkDown { reason: DownReason::NoLink });
        }
        let socket = sockets.get_mut::<tcp::Socket<'_>>(agent);
        ship.poll(now, socket, interface.context(), &mut log, true);
        connected |= ship.status().phase == Phase::Connected;
        let socket = sockets.get_mut::<tcp::Socket<'_>>(collector);
        if socket.can_recv() {
            let heard = socket.recv(|bytes| (bytes.len(), bytes.to_vec())).unwrap_or_default();
            to_say.extend(answer(&heard));
        }
        let said = socket.send_slice(&to_say).unwrap_or(0);
        to_say.drain(..said);
        interface.poll(now, &mut device, &mut sockets);
        let stats = log.stats();
        assert_eq!(stats.emitted, stats.delivered + stats.lost + stats.buffered);
        assert!(stats.lost == 0, "nothing here is lost");
    }
    (connected, log.stats())
}
