//! Answers of DNS servers: none panics or takes long, and what is believed is the address of a machine, for a while.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outpost::limits::{DNS_ADDRESSES, DNS_TTL_MAX, DNS_TTL_MIN};
use outpost::net::answer::{ADDRESS, Refusal, open, parse, question};
use outpost::net::is_machine;

const HOST: &str = "logs.example.org";

fuzz_target!(|data: &[u8]| {
    // Id and question are ours, else hardly any answer would come further than that: the input is what follows them, and
    // the bytes of the header between.
    let [flags @ .., _, _, _, _] = data.first_chunk::<12>().copied().unwrap_or_default();
    let mut packet = question(HOST, ADDRESS, 7).to_vec();
    packet[2..4].copy_from_slice(&flags[..2]);
    packet[6..12].copy_from_slice(&flags[2..]);
    packet.extend(data.get(8..).unwrap_or_default());
    if let Ok(answer) = parse(&packet, HOST, 7) {
        assert!((1..=DNS_ADDRESSES).contains(&answer.addresses.len()));
        assert!(answer.addresses.is_sorted() && answer.addresses.iter().all(|address| is_machine(*address)));
        assert!((DNS_TTL_MIN..=DNS_TTL_MAX).contains(&answer.ttl));
    }
    // What a check of DNS looks at: any record, whose it is, and the names in it.
    if let Some(opened) = open(&packet, HOST, ADDRESS, 7) {
        for found in opened.records() {
            assert!(found.owner.len() + found.data.len() < packet.len());
            let _ = opened.same(found.owner, opened.asked()) || opened.is_name(found.data, HOST);
        }
    }
    assert_eq!(parse(&packet, HOST, 8), Err(Refusal::NotOurs));
    let _ = parse(data, HOST, 7);
});
