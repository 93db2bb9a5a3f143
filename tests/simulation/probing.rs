//! Being scanned, over time: every probe is counted, few are told, and nobody else notices.

use crate::alone::{PEER, accepted, ask, converse, run, start, with_agent, with_configured};
use crate::dialects::records_of;
use crate::frames;
use crate::nic::AgentNic;
use outpost::agent::Agent;
use smoltcp::time::{Duration, Instant};

/// A value of `/metrics`, which is longer than the send buffer: asked for with acknowledgements.
fn metric(agent: &mut Agent<'_>, nic: &mut AgentNic, now: Instant, port: u16, series: &str) -> u64 {
    let page = crate::alone::ask_long(agent, nic, now, port, "/metrics");
    let line = page.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
    let line = line.unwrap_or_else(|| panic!("{series} is not in {page}"));
    line.rsplit(' ').next().expect("a value").parse().expect("a number")
}

fn refuses(agent: &mut Agent<'_>, nic: &mut AgentNic, now: Instant, port: u16) -> bool {
    nic.arrive(frames::syn(PEER, port, 80));
    accepted(&run(agent, nic, now, now + Duration::from_millis(1)), port).is_none()
}

#[test]
fn a_scanner_is_counted_and_told_once_a_minute() {
    // A scan that fills the log is an attack on the log.
    const ROUNDS: u16 = 300;
    with_agent(&[], |agent, nic| {
        let mut now = start();
        for round in 0..ROUNDS {
            let port = 10_000 + 10 * round;
            for (offset, path) in [(0, "/wp-login.php"), (1, "/a/%2e%2E/b"), (2, "/unknown")] {
                assert!(ask(agent, nic, now, port + offset, path).starts_with("HTTP/1.1 404 "), "{path}");
            }
            let hello = converse(agent, nic, now, port + 3, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
            let nonsense = converse(agent, nic, now, port + 4, b"SSH-2.0-OpenSSH_9.2\r\n");
            for (answer, port) in [(hello, port + 3), (nonsense, port + 4)] {
                let bad = |segment: &smoltcp::wire::TcpPacket<&[u8]>| segment.payload().starts_with(b"HTTP/1.1 400 ");
                let answer = answer.expect("the connection is accepted");
                assert!(answer.iter().any(|frame| frames::tcp_to(frame, port, bad) == Some(true)));
            }
            now += Duration::from_secs(1);
            run(agent, nic, now - Duration::from_millis(900), now);
        }
        let told = records_of(agent, "http.probed");
        let minutes = usize::from(ROUNDS) / 60;
        for class in ["AttackPath", "Traversal", "UnknownPaths", "Malformed", "Tls"] {
            let count = told.iter().filter(|event| event.contains(&format!("class: {class},"))).count();
            assert!((minutes..=minutes + 1).contains(&count), "{class}: {count} in {told:?}");
        }
        assert!(told.iter().all(|event| event.contains("client: 10.1.0.20")), "{told:?}");
        for (port, class, count) in [
            (50_000, "attack_path", u64::from(ROUNDS)),
            (50_001, "traversal", u64::from(ROUNDS)),
            (50_002, "tls", u64::from(ROUNDS)),
            (50_003, "malformed", u64::from(ROUNDS)),
        ] {
            let series = format!("outpost_http_probes_total{{class=\"{class}\"}}");
            assert_eq!(metric(agent, nic, now, port, &series), count, "{class}");
        }
        let unknown = metric(agent, nic, now, 50_004, "outpost_http_probes_total{class=\"unknown_paths\"}");
        assert!(unknown > u64::from(ROUNDS) / 2 && unknown < u64::from(ROUNDS), "{unknown}");
    });
}

#[test]
fn checks_of_a_load_balancer_are_not_an_attack() {
    // HAProxy's TCP check is SYN, SYN|ACK, RST every second for years.
    with_agent(&[], |agent, nic| {
        let mut now = start();
        for port in 10_000..10_200 {
            nic.arrive(frames::syn(PEER, port, 80));
            let server = accepted(&run(agent, nic, now, now + Duration::from_millis(1)), port).expect("accepted");
            nic.arrive(frames::reset(PEER, port, 80, server));
            now += Duration::from_secs(1);
            run(agent, nic, now - Duration::from_millis(900), now);
        }
        assert_eq!(records_of(agent, "http.probed"), [""; 0]);
        assert_eq!(metric(agent, nic, now, 50_000, "outpost_http_connections_empty_total"), 200);
        let open = metric(agent, nic, now, 50_001, "outpost_http_connections{state=\"half_open\"}");
        assert_eq!(open, 0, "no trace is left");
    });
}

#[test]
fn one_client_has_its_share_and_no_more() {
    // One broken client with all the connections there are is an outage for everybody else.
    const SHARE: u16 = 8;
    with_configured(
        |config| config.http.connections_per_source = Some(SHARE),
        &[],
        |agent, nic| {
            let now = start();
            // Half-open ones do not count: anybody can send a SYN in this client's name.
            for port in 20_000..20_100 {
                assert!(!refuses(agent, nic, now, port));
            }
            for port in 10_000..10_000 + SHARE {
                assert!(converse(agent, nic, now, port, b"").is_some(), "connection {port}");
            }
            assert!(refuses(agent, nic, now, 30_000));
            let told = records_of(agent, "http.probed");
            assert!(told.len() == 1 && told[0].contains("OverShare") && told[0].contains("count: 1"), "{told:?}");
            let later = now + outpost::limits::IDLE_TIME + outpost::limits::CLOSE_TIME;
            run(agent, nic, now, later);
            assert!(!refuses(agent, nic, later, 30_000), "closed ones do not count");
            let refused = "outpost_http_connections_refused_total{reason=\"over_share\"}";
            assert_eq!(metric(agent, nic, later, 30_001, refused), 1);
        },
    );
}

#[test]
fn where_to_report_a_weakness_is_public() {
    // A finder who finds no address publishes instead.
    let path = "/.well-known/security.txt";
    with_configured(
        |config| {
            let security =
                r#"{"security": {"contact": "mailto:security@example.org", "expires": "2027-12-31T23:59:59Z"}}"#;
            config.security = outpost::config::load(Some(security.as_bytes())).config.security;
            config.http.operator_allow.clear();
        },
        &[],
        |agent, nic| {
            let answer = ask(agent, nic, start(), 40_000, path);
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            assert!(answer.contains("\r\nContent-Type: text/plain; charset=utf-8\r\n"), "{answer}");
            let file = "\r\n\r\nContact: mailto:security@example.org\nExpires: 2027-12-31T23:59:59Z\n";
            assert!(answer.ends_with(file), "{answer}");
            assert!(ask(agent, nic, start(), 40_001, "/status").starts_with("HTTP/1.1 403 "));
        },
    );
    with_agent(&[], |agent, nic| {
        assert!(ask(agent, nic, start(), 40_000, path).starts_with("HTTP/1.1 404 "));
        assert_eq!(records_of(agent, "http.probed"), [""; 0]);
    });
}
