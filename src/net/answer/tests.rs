//! Answers of DNS servers as tables: what is one, what it gives, and why it gives nothing.

use super::*;
use std::vec::Vec;

/// A record of class IN: its owner's bytes, type, TTL and data.
type Record<'r> = (&'r [u8], u16, u32, &'r [u8]);

/// The owner that points at the question's name.
const ASKED: &[u8] = &[0xc0, 12];

/// An answer to `host` with these flags and records.
fn answer(host: &str, id: u16, flags: u16, records: &[Record<'_>]) -> Vec<u8> {
    let mut packet = question(host, ADDRESS, id).to_vec();
    packet[2..4].copy_from_slice(&flags.to_be_bytes());
    packet[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
    for (name, kind, ttl, data) in records {
        packet.extend(*name);
        packet.extend(kind.to_be_bytes());
        packet.extend([0, 1]);
        packet.extend(ttl.to_be_bytes());
        packet.extend((data.len() as u16).to_be_bytes());
        packet.extend(*data);
    }
    packet
}

const HOST: &str = "logs.example.org";
const OK: u16 = 0x8180;

fn addresses(packet: &[u8]) -> Result<(Vec<[u8; 4]>, u64), Refusal> {
    let answer = parse(packet, HOST, 7)?;
    Ok((answer.addresses.iter().map(Ipv4Addr::octets).collect(), answer.ttl.secs()))
}

#[test]
fn addresses_come_with_the_shortest_ttl_of_their_chain() {
    // The TTL of the last record alone keeps an address long after its alias was changed.
    let alias = b"\x03eu1\xc0\x11";
    let target = [0xc0, 12 + HOST.len() as u8 + 2 + 4 + 12];
    for reverse in [false, true] {
        let mut records: Vec<Record<'_>> =
            vec![(ASKED, 5, 60, alias), (&target, 1, 300, &[192, 0, 2, 9]), (&target, 1, 300, &[192, 0, 2, 1])];
        records[1..].rotate_left(usize::from(reverse));
        let packet = answer(HOST, 7, OK, &records);
        assert_eq!(addresses(&packet), Ok((vec![[192, 0, 2, 1], [192, 0, 2, 9]], 60)));
    }
    let a = |ttl| addresses(&answer(HOST, 7, OK, &[(ASKED, 1, ttl, &[192, 0, 2, 1])])).unwrap().1;
    assert_eq!([a(0), a(1 << 31), a(90), a(86_400)], [DNS_TTL_MIN.secs(), DNS_TTL_MIN.secs(), 90, 3600]);
}

#[test]
fn each_failure_has_its_reason() {
    // An operator who reads "timeout" where the zone lacks the name looks at the wrong machine.
    let failed = |packet: &[u8]| match parse(packet, HOST, 7) {
        Err(Refusal::Failed(reason)) => Some(reason),
        _ => None,
    };
    let of = |flags, records: &[Record<'_>]| failed(&answer(HOST, 7, flags, records));
    assert_eq!(of(OK | 3, &[]), Some(DnsFailure::NoSuchName));
    assert_eq!(of(OK | 5, &[]), Some(DnsFailure::Refused));
    assert_eq!(of(OK | 2, &[]), Some(DnsFailure::ServerFailure));
    assert_eq!(of(OK, &[]), Some(DnsFailure::NoAddress));
    assert_eq!(of(OK, &[(ASKED, 28, 9, &[0; 16])]), Some(DnsFailure::NoAddress));
    assert_eq!(of(OK, &[(b"\x01x\0", 1, 9, &[192, 0, 2, 1])]), Some(DnsFailure::NoAddress), "another's address");
    assert_eq!(of(OK | 0x200, &[]), Some(DnsFailure::Truncated));
    assert_eq!(of(OK, &[(ASKED, 1, 9, &[192, 0, 2])]), Some(DnsFailure::Malformed));
    for nobody in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4]] {
        assert_eq!(of(OK, &[(ASKED, 1, 9, &nobody)]), Some(DnsFailure::NoAddress), "{nobody:?}");
    }
    // An alias of itself, and pointers that lead nowhere or in circles.
    assert_eq!(of(OK, &[(ASKED, 5, 9, ASKED)]), Some(DnsFailure::NoAddress));
    let circle = [0xc0, 12 + HOST.len() as u8 + 2 + 4];
    for name in [&circle[..], &[0xff, 0xff], &[0x80, 0], &[0xc0]] {
        let packet = answer(HOST, 7, OK, &[(name, 1, 9, &[192, 0, 2, 1])]);
        assert!(failed(&packet).is_some(), "{name:?}");
    }
}

#[test]
fn only_an_answer_to_our_question_is_one() {
    // Whoever guesses less than all of it must not lead the log to a machine of his own.
    let good = answer(HOST, 7, OK, &[(ASKED, 1, 9, &[192, 0, 2, 1])]);
    assert!(parse(&good, HOST, 7).is_ok() && parse(&good, "LOGS.example.org", 7).is_ok());
    assert_eq!(parse(&good, HOST, 8), Err(Refusal::NotOurs));
    assert_eq!(parse(&good, "logs.example.com", 7), Err(Refusal::NotOurs));
    assert_eq!(parse(&good, "example.org", 7), Err(Refusal::NotOurs));
    assert_eq!(parse(&question(HOST, ADDRESS, 7), HOST, 7), Err(Refusal::NotOurs), "our own question");
    for (at, byte) in [(2, 0xa8), (5, 0), (5, 2), (12 + HOST.len() + 3, 28), (12 + HOST.len() + 5, 3)] {
        let mut packet = good.clone();
        packet[at] = byte;
        assert_eq!(parse(&packet, HOST, 7), Err(Refusal::NotOurs), "byte {at}");
    }
    for length in 0..good.len() {
        assert!(parse(&good[..length], HOST, 7).is_err(), "cut at {length}");
    }
}

#[test]
fn more_addresses_than_fit_are_the_lowest() {
    // Kept in the order of the server, each rotation would look like a move.
    let all: Vec<[u8; 4]> = (1..=9).map(|last| [192, 0, 2, last]).collect();
    for turn in 0..9 {
        let mut turned = all.clone();
        turned.rotate_left(turn);
        let records: Vec<Record<'_>> = turned.iter().map(|address| (ASKED, 1, 60, &address[..])).collect();
        assert_eq!(addresses(&answer(HOST, 7, OK, &records)).unwrap().0, all[..DNS_ADDRESSES]);
    }
}

#[test]
fn any_bytes_end() {
    let mut random = crate::random::Random::new(3);
    let good = answer(HOST, 7, OK, &[(ASKED, 5, 60, b"\x03eu1\xc0\x11"), (ASKED, 1, 9, &[192, 0, 2, 1])]);
    for _ in 0..50_000 {
        let mut packet = good.clone();
        for _ in 0..1 + random.number() % 6 {
            let at = random.number() as usize % packet.len();
            packet[at] = random.number() as u8;
        }
        packet.truncate(random.number() as usize % 128);
        if let Ok(answer) = parse(&packet, HOST, 7) {
            assert!(!answer.addresses.is_empty() && answer.addresses.is_sorted());
        }
    }
}
