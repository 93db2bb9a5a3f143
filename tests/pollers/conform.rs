//! The table of HTTP/1.1 (tests/support/conformance.rs) against the image, with the host's TCP.

use crate::answer::Body;
use crate::conformance::{Case, cases};
use crate::lab::{Guest, lab, read_answer};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// How long the guest must be silent where it waits for more. Its deadline is tested in virtual time.
const SILENCE: Duration = Duration::from_millis(150);

fn run(case: &Case, guest: &Guest) -> Result<(), String> {
    let mut stream = guest.connect().map_err(|error| error.to_string())?;
    // A guest that refuses a flood may close, and the host then reset, before all of it is sent.
    let _ = stream.write_all(&case.input);
    let mut bytes = Vec::new();
    let mut end = None;
    for word in case.expected.split_ascii_whitespace() {
        let (digits, body) = word.strip_suffix('h').map_or((word, Body::Any), |digits| (digits, Body::Head));
        let Ok(status) = digits.parse::<u16>() else {
            end = Some(word);
            continue;
        };
        let answer = read_answer(&mut stream, &mut bytes, body)?;
        if answer.status != status {
            return Err(format!("status {} instead of {status}", answer.status));
        }
        answer.demands()?;
    }
    match end {
        None => is_alive(&mut stream, &mut bytes),
        Some("close") => match stream.read(&mut [0; 1]) {
            Ok(0) if bytes.is_empty() => Ok(()),
            other => Err(format!("{other:?} after {bytes:?} instead of the end")),
        },
        _ => {
            stream.set_read_timeout(Some(SILENCE)).map_err(|error| error.to_string())?;
            match stream.read(&mut [0; 1]) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(()),
                other => Err(format!("{other:?} instead of silence")),
            }
        }
    }
}

/// One more request, and no byte before its answer or after it.
fn is_alive(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<(), String> {
    let next = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(next).and_then(|()| stream.shutdown(Shutdown::Write)).map_err(|error| error.to_string())?;
    let answer = read_answer(stream, bytes, Body::Ok)?;
    Body::Ok.check(&answer)?;
    match (answer.status, stream.read(&mut [0; 1])) {
        (200, Ok(0)) if bytes.is_empty() => Ok(()),
        (status, end) => Err(format!("the next request: status {status}, then {end:?} and {bytes:?}")),
    }
}

/// The simulation's client is smoltcp, as the agent's own TCP is: what both get wrong shows here only.
#[test]
fn every_case_over_a_real_tcp() {
    lab("conform::every_case_over_a_real_tcp", &["ip"], |lab| {
        let guest = lab.boot(1);
        let cases = cases();
        let failed = cases.iter().filter_map(|case| {
            let problem = run(case, &guest).err()?;
            Some(format!("RFC {}: {}: {problem}", case.rfc, case.what))
        });
        let failed: Vec<String> = failed.collect();
        assert!(failed.is_empty(), "{} of {} cases:\n  {}", failed.len(), cases.len(), failed.join("\n  "));
    });
}
