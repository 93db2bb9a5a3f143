//! Web servers that lead elsewhere: where a probe goes on, and where it does not.

use crate::watch::{Manner, OK, Told, World, always, document};
use outpost_wire::ProbeReason;
use smoltcp::time::Instant;

/// A page whose redirects may also lead to the second address of the targets' machine, and to where none may.
const LISTED: &str = r#""http": {"url": "http://{}/health", "redirects": ["10.1.0.21", "169.254.169.254"]}"#;
const PLAIN: &str = r#""http": {"url": "http://{}/health"}"#;
const WANTED: &str = r#""http": {"url": "http://{}/health", "status": [302]}"#;
const WELL: &str = r#""http": {"url": "http://{}/health", "body": "is well"}"#;
const HEAD: &str = r#""http": {"url": "http://{}/health", "method": "HEAD"}"#;

#[test]
fn a_probe_goes_on_to_its_own_host_and_to_those_that_are_listed() {
    // Whoever answers would choose what we ask: a machine of our own network, or the one that hands out its secrets.
    use Manner::{Answers, Leads, Lost, Refuses};
    let bad = |status| Some((ProbeReason::Redirect, status));
    let long: &str = Box::leak(format!("/{}", "x".repeat(300)).into_boxed_str());
    type Row = (&'static str, Manner, Option<(ProbeReason, u16)>);
    let table: [Row; 23] = [
        // Where others lead to: by their numbers, these listen at 8000, 8001 and 8002.
        (WELL, Answers(OK), None),
        (PLAIN, Refuses, Some((ProbeReason::Refused, 0))),
        (PLAIN, Lost, Some((ProbeReason::TimeoutConnect, 0))),
        (WELL, Leads("/there"), None),
        (HEAD, Leads("/there"), None),
        (PLAIN, Leads("http://10.1.0.20:8000/there"), None),
        (PLAIN, Leads("//10.1.0.20:8000?there"), None),
        (LISTED, Leads("HTTP://10.1.0.21:8000/there"), None),
        (PLAIN, Leads("http://10.1.0.21:8000/there"), bad(302)),
        (PLAIN, Leads("http://10.1.0.20:8001/there"), Some((ProbeReason::Refused, 0))),
        (PLAIN, Leads("http://10.1.0.20:8002/there"), Some((ProbeReason::TimeoutConnect, 0))),
        (PLAIN, Leads("https://10.1.0.20:8000/there"), bad(302)),
        (LISTED, Leads("http://127.0.0.1:8000/there"), bad(302)),
        (LISTED, Leads("http://169.254.169.254/latest"), bad(302)),
        (LISTED, Leads("http://10.1.0.21@10.1.0.99/"), bad(302)),
        (LISTED, Leads("http://10.1.0.99/"), bad(302)),
        (LISTED, Leads("there"), bad(302)),
        (PLAIN, Leads(long), bad(302)),
        (PLAIN, Leads("/there and back"), bad(302)),
        (PLAIN, Answers("HTTP/1.1 308 Permanent Redirect\r\nLocation: /health\r\n\r\n"), bad(308)),
        (PLAIN, Answers("HTTP/1.1 302 Found\r\n\r\n"), Some((ProbeReason::Status, 302))),
        (PLAIN, Answers("HTTP/1.1 304 Not Modified\r\nLocation: /x\r\n\r\n"), Some((ProbeReason::Status, 304))),
        (WANTED, Answers("HTTP/1.1 302 Found\r\nLocation: http://10.1.0.99/\r\n\r\n"), None),
    ];
    let mut world = World::new(table.iter().map(|row| always(row.1)).collect());
    world.run(&document(&table.map(|row| row.0), 10, 4), Instant::from_secs(60));
    for (number, (kind, manner, bad)) in table.into_iter().enumerate() {
        let mut told = world.told(number);
        told.dedup();
        match bad {
            None => assert_eq!(told, [Told::Up], "{kind} {manner:?}"),
            Some((reason, status)) => {
                let failed = Told::Failed(reason, status);
                assert_eq!(told, [failed, Told::Down, failed], "{kind} {manner:?}");
            }
        }
    }
    let asked = |line: &str| world.requests.iter().filter(|request| request.starts_with(line.as_bytes())).count();
    assert!(asked("GET /there HTTP/1.1\r\nHost: 10.1.0.21:8000\r\n") >= 5);
    assert!(asked("GET /?there HTTP/1.1\r\nHost: 10.1.0.20:8000\r\n") >= 5);
    assert!(asked("HEAD /there HTTP/1.1\r\n") >= 5);
    // The one that goes in a circle: asked once, and four times more.
    let circle = format!("GET /health HTTP/1.1\r\nHost: 10.1.0.20:{}\r\n", 8000 + 19);
    let probes = world.events.iter().filter(|(_, of, told)| *of == 19 && *told != Told::Down).count();
    assert_eq!(asked(&circle), probes * 5);
}
