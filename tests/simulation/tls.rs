//! Targets that speak TLS, well and badly, and what the agent finds. The server is a script of its own (`tests/tls`).

use crate::packets::{self, Does, Packets};
use crate::tls_server::{ALERT, APPLICATION_DATA, HANDSHAKE, Server, record, take_records};
use crate::watch::{Manner, OK, Told, World, always, document};
use outpost::facts::WallTime;
use outpost_wire::ProbeReason;
use sha2::{Digest, Sha256};
use smoltcp::time::{Duration, Instant};

const P256: &[u8] = include_bytes!("../data/tls/p256.der");
const EXPIRED: &[u8] = include_bytes!("../data/tls/expired.der");
const KEY: &[u8] = include_bytes!("../data/tls/p256.key");

/// What a target does that is asked for TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// All is well.
    Good,
    /// Its certificate ended in 2021.
    Expired,
    /// It has the certificate and not its key.
    Impostor,
    /// It speaks TLS 1.2.
    Old,
    /// It takes the ClientHello and says nothing more.
    HangsAfterHello,
    /// It proves who it is, and says nothing more.
    HangsWhenOpen,
    /// It is a web server without TLS.
    Clear,
    /// It ends without saying so.
    Cut,
    /// Its answer is long.
    Long,
    /// Leads whoever asks for anything but `/there` to this place, and cuts the connection.
    Leads(&'static str),
    /// It asks for a certificate when all is over, as nobody may who was not told that it could.
    Asks,
}

/// One connection to such a target.
#[derive(Default)]
pub struct Conversation {
    heard: Vec<u8>,
    server: Option<Server>,
    /// What it says next.
    pub out: Vec<u8>,
    done: bool,
}

impl Conversation {
    /// Whether it has said all.
    pub fn is_over(&self) -> bool {
        self.done && self.out.is_empty()
    }

    /// Takes in what came.
    pub fn go_on(&mut self, manner: Tls, came: Vec<u8>) {
        self.heard.extend(came);
        for heard in take_records(&mut self.heard) {
            match (&mut self.server, manner) {
                (_, Tls::Old) => {
                    self.out.extend(record(ALERT, &[2, 70]));
                    self.done = true;
                }
                (_, Tls::Clear) => {
                    self.out.extend(b"HTTP/1.1 400 Bad Request\r\n\r\n");
                    self.done = true;
                }
                (_, Tls::HangsAfterHello) => {}
                (None, _) => {
                    let (mut server, hello) = Server::hello(&heard);
                    self.out.extend(hello);
                    let chain = if manner == Tls::Expired { EXPIRED } else { P256 };
                    let key = if manner == Tls::Impostor { &[5; 32] } else { KEY };
                    self.out.extend(server.flight(&[chain, EXPIRED], key));
                    self.server = Some(server);
                }
                (Some(server), _) => {
                    server.hear(&heard);
                    if server.said.ends_with(b"\r\n\r\n") && manner != Tls::HangsWhenOpen && !self.done {
                        let there = server.said.starts_with(b"GET /there HTTP/1.1\r\n");
                        let long = [OK.as_bytes(), &[b'x'; 16_000]].concat();
                        self.out.extend(match manner {
                            Tls::Asks => server.seal(HANDSHAKE, &[13, 0, 0, 3, 0, 0, 0]),
                            Tls::Long => server.seal(APPLICATION_DATA, &long),
                            Tls::Leads(place) if !there => {
                                let text =
                                    format!("HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n");
                                server.seal(APPLICATION_DATA, text.as_bytes())
                            }
                            Tls::Cut => server.seal(APPLICATION_DATA, b"HTTP/1.1 200 OK\r\n\r\nall"),
                            _ => server.seal(APPLICATION_DATA, OK.as_bytes()),
                        });
                        if !matches!(manner, Tls::Cut | Tls::Leads(_)) || there {
                            self.out.extend(server.seal(ALERT, &[1, 0]));
                        }
                        self.done = true;
                    }
                }
            }
        }
    }
}

/// 2026-11-22, as the machine's clock has it.
fn wall() -> Option<WallTime> {
    Some(WallTime { at: Instant::ZERO, unix_us: 1_795_305_600_000_000, error_us: 1_000_000, source: "rtc" })
}

fn pin() -> String {
    // SubjectPublicKeyInfo of a key on P-256: 91 bytes, which begin so (RFC 5480, section 2.1.1).
    let at = P256.windows(4).position(|bytes| bytes == [0x30, 0x59, 0x30, 0x13]).expect("a P-256 key");
    Sha256::digest(&P256[at..at + 91]).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn each_way_to_be_bad_over_tls_has_its_reason() {
    // The pin is what makes an answer worth something: whoever has not the key must be told from who has.
    let pinned = format!(r#""https": {{"url": "https://{{}}/", "body": "is well", "pin": "{}"}}"#, pin());
    let other = format!(r#""https": {{"url": "https://{{}}/", "pin": "{}"}}"#, "0".repeat(64));
    let open = r#""https": {"url": "https://{}/", "server_name": "www.shop.example"}"#.to_string();
    let cut = r#""https": {"url": "https://{}/", "body": "is well"}"#.to_string();
    let tls = r#""tls": {"address": "{}", "server_name": "shop.example"}"#.to_string();
    let proven = format!(r#""tls": {{"address": "{{}}", "pin": "{}", "expiry_days": 365}}"#, pin());
    let strange = r#""tls": {"address": "{}", "server_name": "shop.example.org"}"#.to_string();
    use ProbeReason::{Certificate, Closed, Expired, TimeoutResponse, TlsVersion};
    let table = [
        (&pinned, Tls::Good, None),
        (&open, Tls::Good, None),
        (&tls, Tls::Good, None),
        (&proven, Tls::Good, None),
        (&pinned, Tls::Long, None),
        (&tls, Tls::HangsWhenOpen, None),
        (&other, Tls::Good, Some(Certificate)),
        (&strange, Tls::Good, Some(Certificate)),
        (&pinned, Tls::Impostor, Some(Certificate)),
        (&tls, Tls::Expired, Some(Expired)),
        (&open, Tls::Old, Some(TlsVersion)),
        (&open, Tls::Clear, Some(ProbeReason::Tls)),
        (&pinned, Tls::Asks, Some(ProbeReason::Tls)),
        (&pinned, Tls::HangsAfterHello, Some(TimeoutResponse)),
        (&open, Tls::HangsWhenOpen, Some(TimeoutResponse)),
    ];
    let mut world = World::new(table.iter().map(|row| always(Manner::Tls(row.1))).collect());
    world.wall = wall();
    let kinds: Vec<&str> = table.iter().map(|row| row.0.as_str()).collect();
    world.run(&document(&kinds, 10, 4), Instant::from_secs(60));
    for (number, (kind, manner, bad)) in table.iter().enumerate() {
        assert_eq!(world.found(number), *bad, "{kind} {manner:?}");
    }

    // Who is cut off in the middle did not say all, even if it never said how much that would be.
    let mut world = World::new(vec![always(Manner::Tls(Tls::Cut))]);
    world.wall = wall();
    world.run(&document(&[&cut], 10, 4), Instant::from_secs(60));
    assert!(world.told(0).contains(&Told::Failed(Closed, 200)), "{:?}", world.told(0));
}

#[test]
fn without_a_clock_no_date_is_green() {
    // An agent that does not know what day it is must not say that a certificate is still good. With a pin it knows who
    // answers, and that is what was asked.
    let tls = r#""tls": {"address": "{}"}"#.to_string();
    let proven = format!(r#""tls": {{"address": "{{}}", "pin": "{}"}}"#, pin());
    let mut world = World::new(vec![always(Manner::Tls(Tls::Good)); 2]);
    world.run(&document(&[&tls, &proven], 10, 4), Instant::from_secs(100));
    assert!(!world.told(0).is_empty());
    assert!(world.told(0).iter().all(|told| *told == Told::Failed(ProbeReason::NoClock, 0)), "{:?}", world.told(0));
    assert_eq!(world.told(1), [Told::Up]);
}

#[test]
fn handshakes_that_hang_do_not_move_the_others() {
    // A session for each check: with a pool, 14 that hang would leave none for those that answer.
    let open = r#""https": {"url": "https://{}/"}"#;
    let mut scripts = vec![always(Manner::Tls(Tls::Good)); 2];
    scripts.extend(vec![always(Manner::Tls(Tls::HangsAfterHello)); 7]);
    scripts.extend(vec![always(Manner::Tls(Tls::HangsWhenOpen)); 7]);
    let mut world = World::new(scripts);
    world.wall = wall();
    world.run(&document(&[open; 16], 2, 2), Instant::from_secs(60));
    assert!((0..2).all(|number| world.told(number) == [Told::Up]));
    for (number, syns) in world.syns.iter().enumerate() {
        assert!((28..=30).contains(&syns.len()), "{number}: {}", syns.len());
        // The first waits for ARP.
        for pair in syns[1..].windows(2) {
            assert_eq!(pair[1] - pair[0], Duration::from_secs(2), "{number} at {}", pair[1]);
        }
    }
}

#[test]
fn redirects_lead_over_tls_alone_and_to_who_must_be_there() {
    // A redirect must not lead out of TLS, nor to a server that is not the one that was meant.
    use ProbeReason::{Certificate, Redirect};
    let pinned = format!(r#""https": {{"url": "https://{{}}/", "body": "is well", "pin": "{}"}}"#, pin());
    let named = r#""https": {"url": "https://{}/", "body": "is well", "server_name": "shop.example"}"#.to_string();
    let listed = format!(
        r#""https": {{"url": "https://{{}}/", "body": "is well", "pin": "{}",
           "redirects": ["10.1.0.21", "169.254.169.254"]}}"#,
        pin()
    );
    let table = [
        // By their numbers, these listen at 8000 to 8002.
        (&pinned, Tls::Good, None),
        (&pinned, Tls::Impostor, Some(Certificate)),
        (&named, Tls::Expired, Some(ProbeReason::Expired)),
        (&pinned, Tls::Leads("/there"), None),
        (&named, Tls::Leads("/there"), None),
        (&named, Tls::Leads("HTTPS://10.1.0.20:8000/there"), None),
        (&listed, Tls::Leads("https://10.1.0.21:8000/there"), None),
        (&pinned, Tls::Leads("https://10.1.0.21:8000/there"), Some(Redirect)),
        (&pinned, Tls::Leads("https://10.1.0.20:8001/there"), Some(Certificate)),
        (&named, Tls::Leads("https://10.1.0.20:8002/there"), Some(ProbeReason::Expired)),
        (&pinned, Tls::Leads("http://10.1.0.20:8000/there"), Some(Redirect)),
        (&listed, Tls::Leads("https://169.254.169.254/there"), Some(Redirect)),
        (&pinned, Tls::Leads("/circle"), Some(Redirect)),
    ];
    judge(&table);
}

#[test]
fn redirects_lead_to_a_listed_name_that_proves_to_be_it() {
    // Whoever answers at the address of a listed name is not yet who the name is for.
    use ProbeReason::{Certificate, Redirect};
    let pinned = format!(r#""https": {{"url": "https://{{}}/", "body": "is well", "pin": "{}"}}"#, pin());
    let named = r#""https": {"url": "https://{}/", "body": "is well", "server_name": "shop.example"}"#.to_string();
    let by_name = r#""https": {"url": "https://{}/", "body": "is well", "server_name": "shop.example",
           "redirects": ["www.shop.example", "www.shop.invalid"]}"#
        .to_string();
    let pinned_by_name = format!(
        r#""https": {{"url": "https://{{}}/", "body": "is well", "pin": "{}", "redirects": ["www.shop.invalid"]}}"#,
        pin()
    );
    let table = [
        // By their numbers, these listen at 8000 to 8002.
        (&pinned, Tls::Good, None),
        (&pinned, Tls::Impostor, Some(Certificate)),
        (&named, Tls::Expired, Some(ProbeReason::Expired)),
        // Who is led to must have the name that is listed, or with a pin that key, whatever the name.
        (&by_name, Tls::Leads("https://WWW.shop.example:8000/there"), None),
        (&by_name, Tls::Leads("https://www.shop.invalid:8000/there"), Some(Certificate)),
        (&by_name, Tls::Leads("https://www.shop.example:8002/there"), Some(ProbeReason::Expired)),
        (&by_name, Tls::Leads("https://shop.example:8000/there"), Some(Redirect)),
        (&pinned_by_name, Tls::Leads("https://www.shop.invalid:8000/there"), None),
        (&pinned_by_name, Tls::Leads("https://www.shop.invalid:8001/there"), Some(Certificate)),
        (&pinned_by_name, Tls::Leads("http://www.shop.invalid:8000/there"), Some(Redirect)),
    ];
    judge(&table);
}

/// Lets targets do this, and expects that of each of these checks: the reason of each probe, or that all are good.
fn judge(table: &[(&String, Tls, Option<ProbeReason>)]) {
    let mut world = World::new(table.iter().map(|row| always(Manner::Tls(row.1))).collect());
    world.wall = wall();
    // Behind the targets, who knows all names.
    world.packets = Packets::new([(table.len(), packets::since_boot(Does::Answers))]);
    world.dns = Some(packets::address(table.len()));
    let kinds: Vec<&str> = table.iter().map(|row| row.0.as_str()).collect();
    world.run(&document(&kinds, 10, 4), Instant::from_secs(60));
    for (number, (kind, manner, bad)) in table.iter().enumerate() {
        let told = world.told(number);
        let reasons: Vec<_> = told
            .iter()
            .filter_map(|told| if let Told::Failed(reason, _) = told { Some(*reason) } else { None })
            .collect();
        match bad {
            None => assert_eq!(told, [Told::Up], "{kind} {manner:?}"),
            Some(bad) => {
                assert!(told.contains(&Told::Down) && !told.contains(&Told::Up), "{kind} {manner:?}: {told:?}");
                assert!(reasons.iter().all(|reason| reason == bad), "{kind} {manner:?}: {told:?}");
            }
        }
    }
}
