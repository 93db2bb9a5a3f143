//! Events that no seed brings about: an agent with a wrong configuration and nobody around it, for a quarter of an hour.

use crate::nic::AgentNic;
use crate::{events, probe};
use outpost::agent::{Agent, Wake};
use outpost::config::load;
use outpost::limits;
use outpost::log::{Reader, Step, dependency};
use outpost_wire::{Event, Record, Severity};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::EthernetAddress;

/// Mistakes beside what can be read: an address, a time server that does not answer, a drill, a severity.
const CONFIG: &[u8] = br#"{
    "nmae": "outpost",
    "network": {"static": {"address": "10.1.0.50/24"}},
    "time": {"servers": ["10.1.0.9"]},
    "drill": {"records_per_s": 1},
    "severity": {"boot.started": "debug", "config.invalid": 20}
}"#;

/// Longer than it takes until a clock counts as lost.
const END: Instant = Instant::from_millis_const(900_000);

#[test]
fn what_is_rare_is_told_too() {
    // An event that cannot happen is a promise to the operator that nobody keeps.
    if let Err(panic) = probe::alone(rare) {
        panic!("{panic}");
    }
}

fn rare() {
    dependency::install();
    let mut nic = AgentNic::new(EthernetAddress([2, 0, 0, 0, 0, 50]), 256);
    let (mut storage, mut region) = (probe::storage(), vec![0; 256 * 1024]);
    let mut now = Instant::from_secs(1);
    let config = load(Some(CONFIG));
    let mut agent =
        Agent::new(probe::facts(1, [1; 32]), config, &probe::NO_CHECKS, &mut storage, &mut region, &mut nic, now);
    let mut told = Vec::new();
    let mut reader = agent.log().reader(1);
    while now < END {
        // More lines than an event may have records in a second.
        for line in 0..if now < Instant::from_secs(3) { 2 * limits::LOG_LIMITED_PER_SECOND } else { 0 } {
            log::warn!(target: "library", "line {line}");
        }
        let wake = agent.poll(now, &mut nic);
        nic.take_sent();
        take(&mut agent, &mut reader, &mut told);
        let at = if let Wake::At(at) = wake { at } else { END };
        now = at.clamp(now + Duration::from_millis(20), now + Duration::from_secs(1));
    }
    // The next world gets no lines.
    log::set_max_level(log::LevelFilter::Off);
    for name in ["config.invalid", "dependency.log", "suppressed", "clock.lost", "drill.record"] {
        assert!(told.iter().any(|(event, _)| *event == name), "{name} is not among {told:?}");
        events::seen(name);
    }
    // The configured severity is in force from the first record on.
    assert_eq!(told[0], ("boot.started", Severity::DEBUG));
    assert!(told.contains(&("config.invalid", Severity::from_number(20).unwrap())), "{told:?}");
}

/// The records since the last call: event and severity.
fn take(agent: &mut Agent<'_>, reader: &mut Reader, told: &mut Vec<(&'static str, Severity)>) {
    while let Step::Record(seq, body) = agent.log().read(reader) {
        let record = Record::decode_body(seq, body).unwrap();
        told.push((record.decode_event().as_ref().map(Event::spec).unwrap().name, record.severity));
        reader.pass(seq);
    }
}
