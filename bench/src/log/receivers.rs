//! What other systems are sent of the same records: our own forwarders run against two receivers that only count.

use super::hour::Hour;
use outpost_cli::forward::{Forwarders, Target};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long a forwarder may take for the hour.
const LIMIT: Duration = Duration::from_secs(60);

/// How long a client may be silent within a message.
const SILENCE: Duration = Duration::from_secs(10);

/// The attribute by which the records in an OTLP request are counted: each has one.
const UID: &[u8] = b"log.record.uid";

/// What the forwarders sent.
pub struct Forwarded {
    /// RFC 5424 messages with octet counting (RFC 6587, section 3.4.1), one after the other.
    pub syslog: Vec<u8>,
    /// The bodies of OTLP/HTTP requests.
    pub otlp: Vec<Vec<u8>>,
}

/// Forwards everything in this store, which holds the hour, both ways.
pub fn forward(hour: &Hour, store: &Path) -> Result<Forwarded, String> {
    let (syslog_port, syslog) = listen(take_syslog)?;
    let (otlp_port, otlp) = listen(take_otlp)?;
    let targets = [format!("syslog=127.0.0.1:{syslog_port}"), format!("otlp=http://127.0.0.1:{otlp_port}")];
    let targets = targets.iter().map(|target| target.parse::<Target>()).collect::<Result<Vec<_>, _>>()?;
    let forwarders = Forwarders::start(store, &targets, &[], |line| eprintln!("bench: forward {line}"))?;
    let deadline = Instant::now() + LIMIT;
    let syslog = gather(&syslog, hour.len(), deadline, |message| messages(message).count());
    let otlp = gather(&otlp, hour.len(), deadline, |body| body.windows(UID.len()).filter(|at| *at == UID).count());
    forwarders.stop();
    Ok(Forwarded { syslog: syslog?.concat(), otlp: otlp? })
}

/// Takes pieces until they hold so many records.
fn gather(
    pieces: &Receiver<Vec<u8>>,
    records: usize,
    deadline: Instant,
    count: impl Fn(&[u8]) -> usize,
) -> Result<Vec<Vec<u8>>, String> {
    let (mut gathered, mut counted) = (Vec::new(), 0);
    while counted < records {
        let left = deadline.saturating_duration_since(Instant::now());
        let piece = pieces.recv_timeout(left).map_err(|_| format!("{counted} of {records} records were forwarded"))?;
        counted += count(&piece);
        gathered.push(piece);
    }
    if counted == records { Ok(gathered) } else { Err(format!("{counted} instead of {records} records came")) }
}

/// The messages in a stream with octet counting; ends at what is not one.
pub fn messages(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = stream;
    std::iter::from_fn(move || {
        let blank = rest.iter().position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(rest.get(..blank)?).ok()?.parse().ok()?;
        let (message, next) = rest.get(blank + 1..)?.split_at_checked(length)?;
        rest = next;
        Some(message)
    })
}

/// Listens, and hands each connection to `take`, one after the other. Ends with this process.
fn listen(take: fn(TcpStream, &Sender<Vec<u8>>) -> std::io::Result<()>) -> Result<(u16, Receiver<Vec<u8>>), String> {
    let failed = |error: std::io::Error| format!("a receiver could not listen: {error}");
    let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let sender = sender.clone();
            // Each in a thread: the forwarder opens the next connection before it closes the one before.
            thread::spawn(move || {
                // A client that breaks off sends again, and what is missing is told by `gather`.
                let _ = stream.set_read_timeout(Some(SILENCE)).and_then(|()| take(stream, &sender));
            });
        }
    });
    Ok((port, receiver))
}

/// A whole connection is one piece.
fn take_syslog(mut stream: TcpStream, pieces: &Sender<Vec<u8>>) -> std::io::Result<()> {
    let mut stream_bytes = Vec::new();
    stream.read_to_end(&mut stream_bytes)?;
    // Nobody takes it any more when all have come.
    let _ = pieces.send(stream_bytes);
    Ok(())
}

/// The body of a request is one piece; each is answered with 200.
fn take_otlp(stream: TcpStream, pieces: &Sender<Vec<u8>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(&stream);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line)? > 2 {
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or(0);
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    let _ = pieces.send(body);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart_by_their_lengths() {
        // Cut at line ends, a message with a line break in it would be counted twice.
        let all: Vec<&[u8]> = messages(b"3 a\nb5 <30>x").collect();
        assert_eq!(all, [b"a\nb".as_slice(), b"<30>x"]);
        assert_eq!(messages(b"3 cut9 cut").count(), 1, "what is cut off is none");
    }
}
