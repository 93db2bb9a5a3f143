//! Health as load balancers and people see it: what the network and the log do to it over time.

use crate::alone::{AGENT, AGENT_MAC, ask, run, start, with_agent, with_configured};
use crate::events;
use crate::frames::{self, Route};
use crate::nic::AgentNic;
use core::net::SocketAddrV4;
use outpost::agent::Agent;
use outpost::config::Collector;
use outpost::limits;
use outpost::log::Step;
use outpost::nic::Link;
use outpost_wire::{Event, Record, ShutdownCause};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{ArpOperation, EthernetAddress, Ipv4Address};

const DEGRADED: &str = "\r\nx-envoy-degraded: true\r\n";
const WITHDRAWN: &str = "\r\nx-envoy-immediate-health-check-fail: true\r\n";

/// Every record of this boot: its event's name and how it reads.
pub fn records(agent: &mut Agent<'_>) -> Vec<(&'static str, String)> {
    let log = agent.log();
    let mut reader = log.reader(1);
    let mut found = Vec::new();
    while let Step::Record(seq, body) = log.read(&mut reader) {
        let event = Record::decode_body(seq, body).expect("whole").decode_event().expect("known");
        if !matches!(event, Event::DependencyLog(_)) {
            events::seen(event.spec().name);
        }
        found.push((event.spec().name, format!("{event:?}")));
        reader.pass(seq);
    }
    found
}

/// Those of one event.
pub fn records_of(agent: &mut Agent<'_>, name: &str) -> Vec<String> {
    records(agent).into_iter().filter(|(event, _)| *event == name).map(|(_, text)| text).collect()
}

/// Polls until `until`; the card stays as it is.
fn pass(agent: &mut Agent<'_>, nic: &mut AgentNic, from: Instant, until: Instant) {
    run(agent, nic, from, until);
}

#[test]
fn a_second_machine_with_our_address_is_told_and_forgotten() {
    // Half of the clients reach the other machine, and nothing else shows why; but an ARP packet is easily forged, so it
    // must neither take the agent out of service nor fill the log.
    const CLAIMS: u64 = 100;
    with_agent(&[], |agent, nic| {
        run(agent, nic, start(), start() + Duration::from_millis(1));
        let other = EthernetAddress([2, 0, 0, 0, 0, 66]);
        let claim = Route { from_mac: other, to_mac: EthernetAddress::BROADCAST, from: AGENT, to: AGENT };
        let ours = Route { from_mac: AGENT_MAC, ..claim };
        let probe = Route { from: Ipv4Address::UNSPECIFIED, ..claim };
        let mut now = start() + Duration::from_secs(1);
        for harmless in [ours, probe] {
            nic.arrive(frames::arp(harmless, ArpOperation::Request));
        }
        assert!(!ask(agent, nic, now, 40_000, "/livez").contains(DEGRADED));
        for number in 0..CLAIMS {
            let operation = if number % 2 == 0 { ArpOperation::Request } else { ArpOperation::Reply };
            nic.arrive(frames::arp(claim, operation));
            let next = now + Duration::from_millis(100);
            pass(agent, nic, now, next);
            now = next;
        }
        let told = records_of(agent, "network.conflict");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("[2, 0, 0, 0, 0, 66]") && told[0].contains("claims: 1"), "{told:?}");
        let ready = ask(agent, nic, now, 40_001, "/readyz");
        assert!(ready.starts_with("HTTP/1.1 200 ") && ready.contains(DEGRADED), "{ready}");
        let status = ask(agent, nic, now, 40_002, "/status");
        assert!(
            status.contains(r#""name":"network","status":"warn","reason":"another machine has our address"#),
            "{status}"
        );
        let gone = now + limits::CONFLICT_TIME;
        pass(agent, nic, now, gone);
        let told = records_of(agent, "network.conflict");
        let rest = format!("claims: {}", CLAIMS - 1);
        assert!(told.len() == 2 && told[1].contains(&rest), "the others are counted: {told:?}");
        assert!(!ask(agent, nic, gone, 40_003, "/readyz").contains(DEGRADED));
    });
}

#[test]
fn a_link_that_comes_and_goes_is_a_warning_for_a_while() {
    // Each loss is over before anybody looks; together they are a broken cable.
    with_agent(&[], |agent, nic| {
        let mut now = start();
        for number in 1..=limits::LINK_FLAPS as u16 {
            assert!(!ask(agent, nic, now, 40_000 + number, "/livez").contains(DEGRADED), "loss {number}");
            for link in [Link::Down, Link::Up] {
                nic.link = link;
                let next = now + Duration::from_secs(5);
                pass(agent, nic, now, next);
                now = next;
            }
        }
        let ready = ask(agent, nic, now, 40_100, "/readyz?verbose");
        assert!(ready.starts_with("HTTP/1.1 200 ") && ready.contains(DEGRADED), "{ready}");
        assert!(ask(agent, nic, now, 40_101, "/health").contains(r#""output":"the link comes and goes""#));
        let later = now + limits::LINK_FLAP_TIME;
        assert!(!ask(agent, nic, later, 40_102, "/livez").contains(DEGRADED));
    });
}

/// A collector that nobody runs.
fn nobody() -> Option<Collector> {
    Some(Collector { address: SocketAddrV4::new([10, 1, 0, 99].into(), 7600).into(), key: None })
}

#[test]
fn an_agent_that_shuts_down_says_so_first() {
    // A load balancer that learns it from a refused connection has lost requests.
    with_configured(
        |config| config.collector = nobody(),
        &[],
        |agent, nic| {
            let ready = ask(agent, nic, start(), 40_000, "/readyz");
            assert!(ready.starts_with("HTTP/1.1 200 ") && !ready.contains("x-envoy"), "{ready}");
            let now = start() + Duration::from_secs(1);
            agent.shut_down(now, ShutdownCause::PowerButton);
            let ready = ask(agent, nic, now, 40_001, "/readyz");
            assert!(ready.starts_with("HTTP/1.1 503 ") && ready.contains(WITHDRAWN), "{ready}");
            assert!(ready.ends_with("\r\n\r\n[-]boot failed: shutting down\nreadyz check failed\n"), "{ready}");
            let live = ask(agent, nic, now, 40_002, "/livez");
            assert!(live.starts_with("HTTP/1.1 200 ") && live.contains(WITHDRAWN) && live.ends_with("ok"), "{live}");
        },
    );
}

#[test]
fn a_ring_that_fills_is_told_before_records_are_lost() {
    // When the first record is lost it is too late to give the collector its disk back.
    with_configured(
        |config| config.collector = nobody(),
        &[],
        |agent, nic| {
            let mut now = start();
            let (mut told, mut port) = (false, 10_000);
            while agent.log().stats().lost == 0 {
                let (size, used) = agent.log().size_and_used();
                let filling = ask(agent, nic, now, port, "/health").contains("over 80 %");
                port += 1;
                assert_eq!(filling, u64::from(used) * 100 > u64::from(size) * 80, "{used} of {size}");
                told |= filling;
                for number in 0..100 {
                    agent.log().emit(now, None, outpost_wire::DrillRecord { number });
                }
                now += Duration::from_secs(11);
            }
            assert!(told);
        },
    );
}

#[test]
fn one_check_can_be_asked_for_alone() {
    // A probe of what does not exist must not pass, or a typing error hides every failure.
    with_configured(
        |config| config.http.maintenance = true,
        &[],
        |agent, nic| {
            for (port, path, status, body) in [
                (40_000, "/readyz/clock", 200, "ok"),
                (40_001, "/readyz/maint%65nance?verbose", 503, "[-]maintenance failed: the operator asked for it\n"),
                (40_002, "/readyz/etcd", 404, "Not Found: see /\n"),
                (40_003, "/readyz/", 404, "Not Found: see /\n"),
                (40_004, "/readyz?exclude=maintenance", 200, "ok"),
                (40_005, "/healthz?exclude=loop", 200, "ok"),
            ] {
                let answer = ask(agent, nic, start(), port, path);
                assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
                assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{path}: {answer}");
                assert_eq!(answer.contains(WITHDRAWN), status != 404, "{path}: {answer}");
            }
            let health = ask(agent, nic, start(), 40_006, "/health");
            assert!(
                health.starts_with("HTTP/1.1 503 ") && health.contains("Content-Type: application/health+json\r\n")
            );
        },
    );
}
