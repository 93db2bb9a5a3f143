//! An attacker with a thousand silent connections and a thousand half-open ones, and checks that reset every handshake,
//! over a real network. What it must not take is exact in tests/simulation/siege.rs; here the host's own TCP is used up.

use crate::frames::{self, Route};
use crate::lab::{Guest, lab};
use nix::sys::resource::{Resource, setrlimit};
use smoltcp::wire::{EthernetAddress, TcpControl, TcpRepr, TcpSeqNumber};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Connections of either kind.
const EACH: u16 = 1000;

/// How often the poller asks while it goes on, and how many times.
const EVERY: Duration = Duration::from_millis(50);
const POLLS: u32 = 60;

/// Half of the answers must come within this; each must come. (A shared machine may stop QEMU for longer.)
const PROMISE: Duration = Duration::from_millis(100);

/// Sends IP packets with any source address.
struct Raw(Socket, Ipv4Addr);

impl Raw {
    fn open(guest: &Guest) -> Raw {
        // 255 is IPPROTO_RAW: we write the header ourselves.
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))).unwrap();
        Raw(socket, guest.link.guest)
    }

    fn send(&self, from: Ipv4Addr, port: u16, control: TcpControl, number: i32) {
        let nobody = EthernetAddress::default();
        let segment = TcpRepr {
            src_port: port,
            dst_port: 80,
            control,
            seq_number: TcpSeqNumber(number),
            ack_number: None,
            window_len: 64_000,
            window_scale: None,
            max_seg_size: None,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: b"",
        };
        let route = Route { from_mac: nobody, to_mac: nobody, from, to: self.1 };
        let frame = frames::tcp(route, &segment);
        // The host puts its own Ethernet header around the packet.
        let to = SockAddr::from(SocketAddr::V4(SocketAddrV4::new(self.1, 0)));
        self.0.send_to(&frame[14..], &to).unwrap();
    }
}

/// Another address of the guest's network; nobody has those from 100 on.
fn neighbour(guest: &Guest, last: u8) -> Ipv4Addr {
    let [a, b, c, _] = guest.link.host.octets();
    Ipv4Addr::new(a, b, c, last)
}

/// A connection that comes from this address of ours.
fn connect_from(from: Ipv4Addr, guest: &Guest) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddrV4::new(from, 0).into()).unwrap();
    socket.connect_timeout(&guest.http().into(), Duration::from_secs(5)).unwrap();
    socket.into()
}

/// Takes the whole table of connections, and holds on to it.
#[test]
fn a_thousand_idle_and_a_thousand_half_open_keep_nobody_out() {
    lab("attack::a_thousand_idle_and_a_thousand_half_open_keep_nobody_out", &["ip"], |lab| {
        setrlimit(Resource::RLIMIT_NOFILE, 4096, 4096).unwrap();
        let guest = lab.boot(1);
        let attacker = guest.link.add_host(66).unwrap();
        let idle: Vec<TcpStream> = (0..EACH).map(|_| connect_from(attacker, &guest)).collect();
        let raw = Raw::open(&guest);
        let mut took: Vec<Duration> = thread::scope(|scope| {
            scope.spawn(|| {
                // As long as the poller asks, in bursts of what one poll of the guest takes.
                for burst in 0..POLLS {
                    for at in 0..u32::from(EACH) / POLLS + 1 {
                        let number = burst * 100 + at;
                        raw.send(neighbour(&guest, 200), 10_000 + number as u16, TcpControl::Syn, 1000);
                    }
                    thread::sleep(EVERY);
                }
            });
            let poll = |_| {
                let asked = Instant::now();
                let answer = guest.get("/livez").expect("the poller is answered");
                assert_eq!(answer.status, 200);
                let took = asked.elapsed();
                thread::sleep(EVERY.saturating_sub(took));
                took
            };
            (0..POLLS).map(poll).collect()
        });
        took.sort();
        let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
        println!("{POLLS} polls during the attack: median {median:?}, worst {worst:?}");
        assert!(median <= PROMISE, "{took:?}");
        let connections = &guest.status()["connections"];
        assert!(connections["recycled"].as_u64() > Some(900), "the attack did not fill the table: {connections}");
        assert_eq!(connections["refused"], 0);
        drop(idle);
    });
}

/// Load balancers check a port by a handshake that they reset; each that stayed would be one connection less.
#[test]
fn handshakes_that_are_reset_leave_no_trace() {
    lab("attack::handshakes_that_are_reset_leave_no_trace", &["ip"], |lab| {
        let guest = lab.boot(1);
        let raw = Raw::open(&guest);
        for second in 0..3u16 {
            let began = Instant::now();
            for source in 100..150 {
                raw.send(neighbour(&guest, source), 20_000 + second, TcpControl::Syn, 1000);
            }
            thread::sleep(Duration::from_millis(100));
            let connections = &guest.status()["connections"];
            assert_eq!(connections["half_open"], 50, "the checks did not arrive: {connections}");
            for source in 100..150 {
                raw.send(neighbour(&guest, source), 20_000 + second, TcpControl::Rst, 1001);
            }
            thread::sleep(Duration::from_secs(1).saturating_sub(began.elapsed()));
            let connections = &guest.status()["connections"];
            assert_eq!((&connections["open"], &connections["half_open"]), (&1.into(), &0.into()), "{connections}");
        }
        assert_eq!(guest.status()["connections"]["recycled"], 0);
    });
}
