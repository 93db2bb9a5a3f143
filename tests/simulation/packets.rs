//! Targets that are asked by one packet (icmp, dns, ntp) and answer as a script says, right, wrong or forged; and what the
//! agent makes of that.
//!
//! Each has an address of its own on the cable of `watch`. Packets are made here byte by byte, as the RFCs have them, so
//! that a mistake of the agent is not made twice.

use crate::alone::{AGENT, AGENT_MAC};
use crate::watch::{Manner, OK, PAGE, Told, World, always, document};
use outpost_wire::ProbeReason;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::Ipv4Address;
use std::collections::BTreeMap;

/// The MAC of all of them.
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 99];

/// The target with number 0; the others follow.
const FIRST: u8 = 100;

/// UTC of moment zero, in seconds since 1970.
pub const UTC_S: u64 = 1_790_000_000;

/// What a target does when it is asked.
#[derive(Clone, Copy)]
pub enum Does {
    /// Answers as it should.
    Answers,
    /// Answers, and changes its answer like this; after so long, once more without the change.
    Forges(fn(&mut Reply), Option<Duration>),
    /// Answers after this time.
    Late(Duration),
    /// Hears nothing, and does not answer ARP.
    Away,
    /// Takes what comes and says nothing.
    Hangs,
    /// Says by ICMP that it cannot be delivered, with this type and code, and these changes.
    Undelivered(u8, u8, fn(&mut Reply)),
}

/// A packet on its way to the agent.
pub struct Reply {
    from: [u8; 4],
    /// 1: ICMP, 17: UDP.
    protocol: u8,
    /// Of UDP, the one it is from and the one it is for.
    ports: [u16; 2],
    body: Vec<u8>,
    /// Added to its checksum.
    wrong: u16,
}

/// What all these targets do.
#[derive(Default)]
pub struct Packets {
    pub scripts: BTreeMap<usize, Vec<(Instant, Does)>>,
    /// Seconds that the time servers of the agent itself are ahead of UTC, by the last byte of their addresses.
    pub clocks: BTreeMap<u8, i64>,
    /// After each so much time the clocks of all time servers jump ahead by a day.
    pub day: Option<Duration>,
    /// Questions to each target: when they arrived.
    pub asked: Vec<(Instant, usize)>,
}

impl Packets {
    pub fn new(scripts: impl IntoIterator<Item = (usize, Vec<(Instant, Does)>)>) -> Packets {
        Packets { scripts: scripts.into_iter().collect(), ..Packets::default() }
    }

    /// The frames that follow this one, and how much later; `None` when it is not for one of these targets.
    pub fn take(&mut self, now: Instant, frame: &[u8]) -> Option<Vec<(Duration, Vec<u8>)>> {
        if frame[12..14] == [8, 6] {
            let asked = *frame.get(41)?;
            // The gateway is there all the time: with it, silence is that of the targets and not the agent's own.
            let is_gateway = asked == 1 && !self.scripts.is_empty();
            let own = frame.get(38..41)? == [10, 1, 0] && (is_gateway || self.does(now, asked).is_some());
            let silent = matches!(self.does(now, asked), Some(Does::Away));
            return own.then(|| if silent { vec![] } else { vec![(Duration::ZERO, arp(frame))] });
        }
        let to = *frame.get(33)?;
        let does = self.does(now, to).filter(|_| frame[12..14] == [8, 0])?;
        let days = self.day.map_or(0, |day| now.total_micros() / day.total_micros() as i64);
        let mut reply = Reply::to(frame, now, self.clocks.get(&to).copied().unwrap_or(0) + days * 86_400)?;
        if let Some(number) = to.checked_sub(FIRST) {
            self.asked.push((now, number.into()));
        }
        Some(match does {
            Does::Away | Does::Hangs => vec![],
            Does::Answers => vec![(Duration::ZERO, reply.encode())],
            Does::Late(after) => vec![(after, reply.encode())],
            Does::Forges(change, real) => {
                let real = real.map(|after| (after, reply.encode()));
                change(&mut reply);
                [Some((Duration::ZERO, reply.encode())), real].into_iter().flatten().collect()
            }
            Does::Undelivered(kind, code, change) => {
                let mut body = vec![kind, code, 0, 0, 0, 0, 0, 0];
                body.extend(&frame[14..14 + 28]);
                let mut reply = Reply { from: reply.from, protocol: 1, ports: [0; 2], body, wrong: 0 };
                change(&mut reply);
                vec![(Duration::ZERO, reply.encode())]
            }
        })
    }

    fn does(&self, now: Instant, last: u8) -> Option<Does> {
        if self.clocks.contains_key(&last) {
            return Some(Does::Answers);
        }
        let script = self.scripts.get(&usize::from(last.checked_sub(FIRST)?))?;
        script.iter().rev().find(|(from, _)| *from <= now).map(|(_, does)| *does)
    }
}

fn arp(question: &[u8]) -> Vec<u8> {
    let mut frame = [&AGENT_MAC.0[..], &MAC, &question[12..20], &[0, 2], &MAC].concat();
    frame.extend(&question[38..42]);
    frame.extend(&question[22..32]);
    frame
}

impl Reply {
    /// What a good server answers to this frame.
    fn to(frame: &[u8], now: Instant, ahead_s: i64) -> Option<Reply> {
        let packet = &frame[14..];
        let (from, body) = ([packet[16], packet[17], packet[18], packet[19]], &packet[20..]);
        let port = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
        let (ports, body) = match packet[9] {
            1 => ([0; 2], [&[0, 0, 0, 0], &body[4..]].concat()),
            // What TCP has to say goes by other ways.
            6 => ([0; 2], vec![]),
            17 if port(2) == 53 => ([port(2), port(0)], dns(&body[8..])),
            17 if port(2) == 123 => ([port(2), port(0)], ntp(&body[8..], now, ahead_s)),
            _ => return None,
        };
        Some(Reply { from, protocol: packet[9], ports, body, wrong: 0 })
    }

    fn encode(&self) -> Vec<u8> {
        let udp_len = (8 + self.body.len()) as u16;
        let mut body = match self.protocol {
            17 => [self.ports[0].to_be_bytes(), self.ports[1].to_be_bytes(), udp_len.to_be_bytes(), [0; 2]].concat(),
            _ => vec![],
        };
        body.extend(&self.body);
        let pseudo = [&self.from[..], &AGENT.octets(), &[0, 17], &udp_len.to_be_bytes()].concat();
        let (at, pseudo) = if self.protocol == 17 { (6, &pseudo[..]) } else { (2, &[][..]) };
        if body.len() >= at + 2 {
            body[at..at + 2].fill(0);
            let sum = checksum(&[pseudo, &body].concat()).wrapping_add(self.wrong);
            body[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        let len = (20 + body.len()) as u16;
        let mut header = [&[0x45, 0], &len.to_be_bytes()[..], &[0, 0, 0, 0, 64, self.protocol, 0, 0]].concat();
        header.extend(self.from);
        header.extend(AGENT.octets());
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        [&AGENT_MAC.0[..], &MAC, &[8, 0], &header, &body].concat()
    }
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum = words.sum::<u32>();
    let sum = (sum >> 16) + (sum & 0xffff);
    !((sum + (sum >> 16)) as u16)
}

/// Records for each type that is asked for: `www` is another name for `web`, and the name with the other records.
fn dns(question: &[u8]) -> Vec<u8> {
    let kind = question[question.len() - 3];
    let mut answer = question.to_vec();
    answer[2..4].copy_from_slice(&[0x81, 0x80]);
    let name = |text: &str| {
        let labels = text.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
        labels.chain([0]).collect::<Vec<u8>>()
    };
    // Names of the shop are the machine of the targets' second address, by no other name.
    if kind == 1 && question.windows(5).any(|label| label == b"\x04shop") {
        answer[6..8].copy_from_slice(&[0, 1]);
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 1, 0, 21]);
        return answer;
    }
    let data: Vec<Vec<u8>> = match kind {
        1 => vec![vec![192, 0, 2, 10], vec![192, 0, 2, 11]],
        28 => vec![[&[0x20, 1, 0x0d, 0xb8], &[0; 11][..], &[0x10]].concat()],
        15 => vec![[&[0, 10][..], &name("Mail.example.org")].concat()],
        16 => vec![b"\x07v=spf1 \x04-all".to_vec()],
        6 => vec![[name("ns.example.org"), name("root.example.org"), vec![0; 20]].concat()],
        2 | 12 => vec![name("ns.example.org")],
        5 => vec![name("web.example.org")],
        _ => vec![],
    };
    let web = name("web.example.org");
    let alias: &[Vec<u8>] = if kind == 5 { &[] } else { std::slice::from_ref(&web) };
    answer[6..8].copy_from_slice(&((alias.len() + data.len()) as u16).to_be_bytes());
    for (owner, kind, data) in alias
        .iter()
        .map(|data| (vec![0xc0, 12], 5, data))
        .chain(data.iter().map(|data| (if kind == 5 { vec![0xc0, 12] } else { web.clone() }, kind, data)))
    {
        answer.extend(owner);
        answer.extend([0, kind, 0, 1, 0, 0, 0, 60]);
        answer.extend((data.len() as u16).to_be_bytes());
        answer.extend(data);
    }
    answer
}

fn ntp(request: &[u8], now: Instant, ahead_s: i64) -> Vec<u8> {
    let mut answer = vec![0; 48];
    (answer[0], answer[1]) = (0x24, 2);
    answer[24..32].copy_from_slice(&request[40..48]);
    let unix_us = (UTC_S as i64 + ahead_s) * 1_000_000 + now.total_micros();
    let seconds = (unix_us / 1_000_000 + 2_208_988_800) as u32;
    let fraction = (((unix_us % 1_000_000) as u64) << 32) / 1_000_000 + 1;
    for at in [32, 40] {
        answer[at..at + 4].copy_from_slice(&seconds.to_be_bytes());
        answer[at + 4..at + 8].copy_from_slice(&(fraction as u32).to_be_bytes());
    }
    answer
}

const ICMP: &str = r#""icmp": {"address": "{ip}"}"#;
const DNS: &str = r#""dns": {"server": "{ip}", "name": "www.example.org"}"#;
const NTP: &str = r#""ntp": {"server": "{ip}"}"#;

/// Each kind as it stands in a configuration.
const KINDS: [&str; 3] = [ICMP, DNS, NTP];

/// Runs checks of these kinds against targets that do this, for 60 s, each probe with 4 s in 10.
fn run(rows: &[(&str, Does)], clocks: &[(u8, i64)]) -> World {
    let mut packets = Packets::new(rows.iter().enumerate().map(|(number, row)| (number, since_boot(row.1))));
    packets.clocks = clocks.iter().copied().collect();
    let mut world = World::new(rows.iter().map(|_| always(Manner::Refuses)).collect());
    world.packets = packets;
    let kinds: Vec<&str> = rows.iter().map(|row| row.0).collect();
    world.run(&document(&kinds, 10, 4), Instant::from_secs(60));
    world
}

pub fn since_boot(does: Does) -> Vec<(Instant, Does)> {
    vec![(Instant::ZERO, does)]
}

/// What is put in place of `{ip}` for this target.
pub fn address(number: usize) -> Ipv4Address {
    Ipv4Address::new(10, 1, 0, FIRST + number as u8)
}

#[test]
fn each_kind_has_its_good_and_its_bad_answers() {
    // A DNS server that answers something is not one that answers right.
    use Does::*;
    let asks = |rest: &str| format!(r#""dns": {{"server": "{{ip}}", "name": "www.example.org", {rest}}}"#);
    let stratum = |max| format!(r#""ntp": {{"server": "{{ip}}", "max_stratum": {max}}}"#);
    let says_nxdomain = Forges(|reply| reply.body[3] = 0x83, None);
    let bad = Some(ProbeReason::Answer);
    let table: Vec<(String, Does, Option<ProbeReason>)> = vec![
        (ICMP.into(), Answers, None),
        (NTP.into(), Answers, None),
        (DNS.into(), Answers, None),
        (asks(r#""answers": ["192.0.2.11", "192.0.2.10"]"#), Answers, None),
        (asks(r#""answers": ["192.0.2.11", "192.0.2.12"]"#), Answers, bad),
        (asks(r#""type": "AAAA", "answers": ["2001:db8::10"]"#), Answers, None),
        (asks(r#""type": "AAAA", "answers": ["2001:db8::11"]"#), Answers, bad),
        (asks(r#""type": "MX", "answers": ["10 mail.example.org"]"#), Answers, None),
        (asks(r#""type": "MX", "answers": ["20 mail.example.org"]"#), Answers, bad),
        (asks(r#""type": "TXT", "answers": ["v=spf1 -all"]"#), Answers, None),
        (asks(r#""type": "TXT", "answers": ["v=spf1 -al"]"#), Answers, bad),
        (asks(r#""type": "SOA", "answers": ["ns.example.org"]"#), Answers, None),
        (asks(r#""type": "CNAME", "answers": ["WEB.example.org"]"#), Answers, None),
        (asks(r#""type": "CNAME", "answers": ["web.example.or"]"#), Answers, bad),
        (asks(r#""rcode": "NXDOMAIN""#), says_nxdomain, None),
        (asks(r#""rcode": "NXDOMAIN""#), Answers, bad),
        (DNS.into(), says_nxdomain, bad),
        // No record of the type; and only one of another name.
        (asks(r#""type": "NS""#), Forges(|reply| reply.body[7] = 1, None), bad),
        (DNS.into(), Forges(|reply| reply.body[33 + 18] ^= 1, None), bad),
        (stratum(2), Answers, None),
        (stratum(1), Answers, Some(ProbeReason::Stratum)),
        (NTP.into(), Forges(|reply| reply.body[0] = 0xe4, None), Some(ProbeReason::Stratum)),
        (NTP.into(), Forges(|reply| reply.body[1] = 16, None), Some(ProbeReason::Stratum)),
        (
            NTP.into(),
            Forges(
                |reply| {
                    reply.body[1] = 0;
                    reply.body[12..16].copy_from_slice(b"DENY");
                },
                None,
            ),
            Some(ProbeReason::Stratum),
        ),
        (ICMP.into(), Away, Some(ProbeReason::TimeoutConnect)),
        (DNS.into(), Hangs, Some(ProbeReason::TimeoutResponse)),
        (format!(r#""slow_ms": 3, {ICMP}"#), Late(Duration::from_millis(5)), Some(ProbeReason::Slow)),
    ];
    let rows: Vec<(&str, Does)> = table.iter().map(|(kind, does, _)| (kind.as_str(), *does)).collect();
    let world = run(&rows, &[]);
    for (number, (kind, _, reason)) in table.iter().enumerate() {
        assert_eq!(world.found(number), *reason, "{kind}");
    }
}

/// What a stranger, or a broken server, may say in place of the answer.
type Forgery = (&'static str, fn(&mut Reply));

/// For each of these kinds: what must count for nothing.
const FORGERIES: [(&str, &[Forgery]); 3] = [
    (
        ICMP,
        &[
            ("another address", |reply| reply.from[3] ^= 1),
            ("another id", |reply| reply.body[5] ^= 1),
            ("another check's id", |reply| reply.body[4] ^= 0x40),
            ("another sequence number", |reply| reply.body[7] ^= 1),
            ("another payload", |reply| reply.body[63] ^= 1),
            ("cut short", |reply| reply.body.truncate(63)),
            ("without a payload", |reply| reply.body.truncate(8)),
            ("cut in its head", |reply| reply.body.truncate(5)),
            ("nothing", |reply| reply.body.clear()),
            ("huge", |reply| reply.body.resize(1480, 0)),
            ("garbage", |reply| reply.body.fill(0xff)),
            ("an echo of its own", |reply| reply.body[0] = 8),
            ("a wrong checksum", |reply| reply.wrong = 1),
        ],
    ),
    (
        DNS,
        &[
            ("another address", |reply| reply.from[3] ^= 1),
            ("another port", |reply| reply.ports[0] ^= 1),
            ("to another port", |reply| reply.ports[1] ^= 1),
            ("to another check's port", |reply| reply.ports[1] ^= 0x100),
            ("another id", |reply| reply.body[1] ^= 1),
            ("another name", |reply| reply.body[13] ^= 1),
            ("another type", |reply| reply.body[30] ^= 1),
            ("another class", |reply| reply.body[32] ^= 2),
            ("two questions", |reply| reply.body[5] = 2),
            ("the question", |reply| reply.body[2] &= 0x7f),
            ("cut in the question", |reply| reply.body.truncate(30)),
            ("cut in its head", |reply| reply.body.truncate(11)),
            ("nothing", |reply| reply.body.clear()),
            ("garbage", |reply| reply.body.fill(0xff)),
            ("a wrong checksum", |reply| reply.wrong = 1),
        ],
    ),
    (
        NTP,
        &[
            ("another address", |reply| reply.from[3] ^= 1),
            ("another port", |reply| reply.ports[0] ^= 1),
            ("to another port", |reply| reply.ports[1] ^= 1),
            ("another nonce", |reply| reply.body[31] ^= 1),
            ("a client's packet", |reply| reply.body[0] = 0x23),
            ("version 2", |reply| reply.body[0] = 0x14),
            ("cut short", |reply| reply.body.truncate(47)),
            ("nothing", |reply| reply.body.clear()),
            ("garbage", |reply| reply.body.fill(0xff)),
            ("a wrong checksum", |reply| reply.wrong = 1),
        ],
    ),
];

#[test]
fn what_is_forged_counts_for_nothing() {
    // Whoever can guess must neither turn a dead target green, nor, by being first, a live one red.
    for (kind, forgeries) in FORGERIES {
        let rows = |real| forgeries.iter().map(|(_, forgery)| (kind, Does::Forges(*forgery, real))).collect::<Vec<_>>();
        let (dead, live) = (run(&rows(None), &[]), run(&rows(Some(Duration::from_millis(30))), &[]));
        for (number, (name, _)) in forgeries.iter().enumerate() {
            assert_eq!(dead.found(number), Some(ProbeReason::TimeoutResponse), "{kind}: {name}");
            assert_eq!(live.found(number), None, "{kind}: {name}, then the real one");
        }
    }
}

#[test]
fn what_is_odd_and_still_an_answer_is_one() {
    // Extensions, padding and records that nobody asked for are no reason to wake somebody.
    let huge: fn(&mut Reply) = |reply| reply.body.resize(1400, 0xa5);
    let many: fn(&mut Reply) = |reply| reply.body[6..8].fill(0xff);
    let rows = [(DNS, huge), (DNS, many), (NTP, huge)].map(|(kind, change)| (kind, Does::Forges(change, None)));
    let world = run(&rows, &[]);
    assert_eq!([0, 1, 2].map(|number| world.found(number)), [None; 3]);
    // And the same answer again, which comes to nobody.
    let world = run(&KINDS.map(|kind| (kind, Does::Forges(|_| {}, Some(Duration::from_millis(3))))), &[]);
    assert_eq!([0, 1, 2].map(|number| world.found(number)), [None; 3]);
}

#[test]
fn an_answer_that_is_late_is_not_the_next_ones() {
    // It comes in the middle of the next probe: taken for its answer, a target that needs 12 s would be up with 2.
    let late = Does::Late(Duration::from_secs(12));
    let world = run(&KINDS.map(|kind| (kind, late)), &[]);
    assert_eq!([0, 1, 2].map(|number| world.found(number)), [Some(ProbeReason::TimeoutResponse); 3]);
}

#[test]
fn a_router_that_says_so_is_believed_and_a_stranger_is_not() {
    // Unreachable is another thing to do than hanging; but anybody can send such a message.
    use Does::Undelivered;
    let plain: fn(&mut Reply) = |_| {};
    for (kind, code) in [(3, 0), (3, 1), (3, 3), (3, 13), (11, 0)] {
        let world = run(&KINDS.map(|check| (check, Undelivered(kind, code, plain))), &[]);
        let all = [Some(ProbeReason::Unreachable); 3];
        assert_eq!([0, 1, 2].map(|number| world.found(number)), all, "type {kind}, code {code}");
        assert!(world.events.iter().all(|(at, number, _)| {
            world.packets.asked.iter().any(|(asked, of)| of == number && *at < *asked + Duration::from_millis(10))
        }));
    }
    let router: fn(&mut Reply) = |reply| reply.from = [10, 1, 0, 1];
    assert_eq!(run(&[(DNS, Undelivered(3, 1, router))], &[]).found(0), Some(ProbeReason::Unreachable));
    // Whoever guesses a port could say so of a connection that comes about: it is the reason in the end, and no end itself.
    let tcp = run(&[(r#""tcp": {"address": "{ip}:80"}"#, Undelivered(3, 1, plain))], &[]);
    assert_eq!(tcp.found(0), Some(ProbeReason::Unreachable));
    for (at, ..) in tcp.events.iter().filter(|(_, _, told)| *told != Told::Down) {
        let syns = tcp.packets.asked.iter().filter(|(asked, _)| asked < at && *at < *asked + Duration::from_secs(5));
        assert_eq!(syns.count(), 3, "{:?}", tcp.packets.asked);
    }
    let forged: [fn(&mut Reply); 9] = [
        |reply| reply.body[1] = 4,
        |reply| reply.body[0] = 5,
        |reply| reply.wrong = 1,
        // Where it was to go, its protocol, the two halves of its first words, and too little of it.
        |reply| reply.body[8 + 19] ^= 1,
        |reply| reply.body[8 + 9] ^= 7,
        |reply| reply.body[8 + 21] ^= 1,
        |reply| reply.body[8 + 27] ^= 1,
        |reply| reply.body.truncate(8 + 27),
        |reply| reply.body[8] = 0x4f,
    ];
    for (number, change) in forged.into_iter().enumerate() {
        let world = run(&KINDS.map(|check| (check, Undelivered(3, 1, change))), &[]);
        let all = [Some(ProbeReason::TimeoutResponse); 3];
        assert_eq!([0, 1, 2].map(|number| world.found(number)), all, "forgery {number}");
    }
}

#[test]
fn our_own_clock_is_not_what_a_time_server_is_blamed_for() {
    // A check of time is worth what the clock is that it is held against: without one, or with none but the server's own,
    // green would be luck and red a lie.
    let limited = r#""ntp": {"server": "{ip}", "max_offset_ms": 500}"#;
    let tight = r#""ntp": {"server": "{ip}", "max_offset_ms": 1}"#;
    let ours = r#""ntp": {"server": "10.1.0.1", "max_offset_ms": 500}"#;
    /// A server whose clock is a second behind.
    const BEHIND: Does = Does::Forges(
        |reply| {
            for at in [35, 43] {
                reply.body[at] = reply.body[at].wrapping_sub(1);
            }
        },
        None,
    );
    // What was found of servers that are right, and a second behind, with these clocks of our own time servers.
    let found = |check: &str, clocks: &[(u8, i64)]| {
        let world = run(&[(check, Does::Answers), (check, BEHIND)], clocks);
        [0, 1].map(|number| {
            let mut told = world.told(number);
            told.dedup();
            told
        })
    };
    let failed = |reason| Told::Failed(reason, 0);
    let nothing = || vec![failed(ProbeReason::NoClock)];
    assert_eq!(found(limited, &[]), [nothing(), nothing()]);
    assert_eq!(found(NTP, &[]), [vec![Told::Up], vec![Told::Up]]);
    let late = vec![failed(ProbeReason::Offset), Told::Down, failed(ProbeReason::Offset)];
    assert_eq!(found(limited, &[(1, 0)]), [vec![Told::Up], late.clone()]);
    // The path to our server alone takes 2 ms: to say that one is within 1 ms would be luck, that it is not within 1 s is not.
    assert_eq!(found(tight, &[(1, 0)]), [nothing(), late]);
    // It is our time server itself that is checked.
    assert_eq!(found(ours, &[(1, 0)]), [nothing(), nothing()]);
}

#[test]
fn kinds_that_hang_do_not_move_each_other() {
    // The known disease of probers: 16 of 20 that hang, and the healthy ones are looked at every minute instead.
    let kind = |number: usize| [PAGE, ICMP, DNS, NTP][number % 4];
    let mut world = World::new(
        (0..20).map(|number| always(if number < 4 { Manner::Answers(OK) } else { Manner::Hangs })).collect(),
    );
    let fate = |number: usize| match number {
        0..4 => Does::Answers,
        4..12 => Does::Hangs,
        _ => Does::Away,
    };
    world.packets =
        Packets::new((0..20).filter(|number| number % 4 != 0).map(|number| (number, since_boot(fate(number)))));
    let kinds: Vec<&str> = (0..20).map(kind).collect();
    world.run(&document(&kinds, 2, 2), Instant::from_secs(300));
    for number in 0..20 {
        let mut starts: Vec<Instant> = match number % 4 {
            0 => world.syns[number].clone(),
            _ => world.packets.asked.iter().filter(|(_, of)| *of == number).map(|(at, _)| *at).collect(),
        };
        starts.dedup_by(|later, earlier| *later < *earlier + Duration::from_millis(1_900));
        // Nobody says where one is that is away.
        let expected = if number > 11 && number % 4 != 0 { 0..=0 } else { 148..=150 };
        assert!(expected.contains(&starts.len()), "{number}: {}", starts.len());
        for pair in starts.get(1..).unwrap_or_default().windows(2) {
            assert_eq!(pair[1] - pair[0], Duration::from_secs(2), "{number} at {}", pair[1]);
        }
    }
    assert!((0..4).all(|number| world.told(number) == [Told::Up]));
    assert!((4..20).all(|number| world.told(number).contains(&Told::Down)));
}

#[test]
fn the_log_tells_the_script_of_each_kind() {
    // An outage that is told late, twice, or not at all is what postmortems are about.
    let at = Instant::from_secs;
    let script = vec![
        (at(0), Does::Answers),
        (at(100), Does::Hangs),
        // Too short to be believed.
        (at(205), Does::Answers),
        (at(300), Does::Undelivered(3, 1, |_| {})),
        (at(315), Does::Answers),
        (at(400), Does::Undelivered(3, 3, |_| {})),
        (at(500), Does::Answers),
    ];
    let mut world = World::new(KINDS.map(|_| always(Manner::Refuses)).to_vec());
    world.packets = Packets::new((0..3).map(|number| (number, script.clone())));
    world.run(&document(&KINDS, 10, 5), at(700));
    let expected = [
        (Told::Up, 0, 20),
        (Told::Down, 100 + 20, 100 + 35),
        (Told::Up, 205, 205 + 20),
        (Told::Down, 400 + 20, 400 + 30),
        (Told::Up, 500 + 10, 500 + 20),
    ];
    for number in 0..3 {
        let edges = world.events.iter().filter(|(_, of, told)| *of == number && !matches!(told, Told::Failed(..)));
        let edges: Vec<_> = edges.map(|(at, _, told)| (*told, *at)).collect();
        assert_eq!(edges.len(), expected.len(), "{edges:?}");
        for ((told, when), (expected, from, to)) in edges.iter().zip(expected) {
            assert_eq!(*told, expected, "{edges:?}");
            assert!((at(from)..=at(to)).contains(when), "{told:?} at {when}, expected from {from} to {to} s");
        }
    }
}
