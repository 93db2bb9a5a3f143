//! The agent's side of the session against a collector that says anything: nothing is freed that was not told, and
//! the counts hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outpost::log::{Identity, Log, Security, Ship};
use outpost_wire::{DownReason, NetworkDown};
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{Loopback, Medium};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpCidr, Ipv4Address};
use std::net::SocketAddrV4;

const ADDRESS: Ipv4Address = Ipv4Address::new(10, 0, 0, 1);
const PORT: u16 = 7600;

/// Rounds of one input: the handshake, Hello, what the input says, and what follows from it.
const ROUNDS: i64 = 24;

fuzz_target!(|data: &[u8]| {
    let mut region = vec![0; 64 * 1024];
    let mut log = Log::new(&mut region, 7);
    let mut now = Instant::ZERO;
    let identity = Identity { agent: "a".try_into().unwrap(), image_id: [0; 32], config: [0; 8], severities: [0; 8] };
    let mut ship = Ship::new(SocketAddrV4::new(ADDRESS, PORT), identity, Security::Clear, 1, now);
    let mut device = Loopback::new(Medium::Ip);
    let mut interface = Interface::new(Config::new(HardwareAddress::Ip), &mut device, now);
    interface.update_ip_addrs(|addresses| addresses.push(IpCidr::new(ADDRESS.into(), 8)).unwrap());
    let buffer = || tcp::SocketBuffer::new(vec![0; 8 * 1024]);
    let mut sockets = SocketSet::new(Vec::new());
    let agent = sockets.add(tcp::Socket::new(buffer(), buffer()));
    let collector = sockets.add(tcp::Socket::new(buffer(), buffer()));
    sockets.get_mut::<tcp::Socket<'_>>(collector).listen(PORT).unwrap();
    let stream = outpost_fuzz::stream(data);
    let mut said = 0;
    for round in 0..ROUNDS {
        now += Duration::from_millis(25);
        if round % 3 == 0 {
            log.emit(now, None, NetworkDown { reason: DownReason::NoLink });
        }
        let socket = sockets.get_mut::<tcp::Socket<'_>>(agent);
        ship.poll(now, socket, interface.context(), &mut log, true);
        let socket = sockets.get_mut::<tcp::Socket<'_>>(collector);
        // Not before Hello came: Welcome answers it.
        if socket.can_recv() {
            let _ = socket.recv(|bytes| (bytes.len(), ()));
            said += socket.send_slice(&stream[said..]).unwrap_or(0);
        }
        interface.poll(now, &mut device, &mut sockets);
        let stats = log.stats();
        assert_eq!(stats.emitted, stats.delivered + stats.lost + stats.buffered);
        assert!(stats.lost == 0, "nothing here is lost");
    }
});
