//! Our own HTTP client: as little as it takes to send a request at an exact moment and to know that it was answered.
//! Load is the business of wrk and ab.

use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// How often something that we wait for is looked at: the resolution of all boot times.
pub const LOOK: Duration = Duration::from_micros(250);

/// How often a handshake is begun with a guest that does not answer yet. Those begun since QEMU opened the tap wait in
/// its queue, and a guest that comes up finds the first one at once: the interval is not the resolution.
const KNOCK_EVERY: Duration = Duration::from_millis(10);

/// How many handshakes are open at most; the oldest is given up for a new one. Two seconds and a half of them.
const KNOCKS_MAX: usize = 256;

/// What Linux says of a handshake that has begun: EINPROGRESS, for which std has no stable name.
const IN_PROGRESS: i32 = 115;

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Longest answer that is believed, in bytes.
const ANSWER_MAX: usize = 64 * 1024;

/// Waits until a GET is answered with 200; whether it was before the deadline and while `goes_on`.
pub fn first_answer(address: SocketAddr, path: &str, deadline: Instant, mut goes_on: impl FnMut() -> bool) -> bool {
    let mut knocks: Vec<Socket> = Vec::new();
    let mut next = Instant::now();
    while Instant::now() < deadline && goes_on() {
        if Instant::now() >= next {
            next = Instant::now() + KNOCK_EVERY;
            if knocks.len() == KNOCKS_MAX {
                knocks.remove(0);
            }
            knocks.extend(knock(address));
        }
        // A socket has a peer once its handshake is complete. A guest may complete one and reset it, or answer
        // that it is not ready: then we go on knocking.
        if let Some(open) = knocks.iter().position(|knock| knock.peer_addr().is_ok()) {
            let socket = knocks.remove(open);
            let connection = socket.set_nonblocking(false).and_then(|()| Connection::over(socket.into(), address));
            if connection.is_ok_and(|mut connection| connection.get(path, After::Keep) == Ok(200)) {
                return true;
            }
        }
        thread::sleep(LOOK);
    }
    false
}

/// Begins a handshake without waiting for it.
fn knock(address: SocketAddr) -> Option<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    socket.set_nonblocking(true).ok()?;
    match socket.connect(&address.into()) {
        Ok(()) => Some(socket),
        Err(error) if error.raw_os_error() == Some(IN_PROGRESS) => Some(socket),
        Err(_) => None,
    }
}

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It is kept for the next request.
    Keep,
    /// The server closes it.
    Close,
}

/// A connection over which requests go one after the other.
pub struct Connection {
    stream: TcpStream,
    host: SocketAddr,
}

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr) -> Result<Connection, String> {
        let stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT).map_err(|error| format!("connect: {error}"))?;
        Connection::over(stream, address).map_err(|error| format!("connect: {error}"))
    }

    /// Connects from this address of ours.
    pub fn open_from(from: Ipv4Addr, address: SocketAddr) -> Result<Connection, String> {
        let open = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.bind(&SocketAddr::from((from, 0)).into())?;
            socket.connect_timeout(&address.into(), ANSWER_LIMIT)?;
            Connection::over(socket.into(), address)
        };
        open().map_err(|error| format!("connect from {from}: {error}"))
    }

    fn over(stream: TcpStream, host: SocketAddr) -> std::io::Result<Connection> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.set_write_timeout(Some(ANSWER_LIMIT))?;
        Ok(Connection { stream, host })
    }

    /// One request and its whole answer; the status.
    pub fn get(&mut self, path: &str, after: After) -> Result<u16, String> {
        self.ask(path, after)?;
        self.answer(after)
    }

    /// Sends a request.
    pub fn ask(&mut self, path: &str, after: After) -> Result<(), String> {
        self.ask_with(path, if after == After::Close { "Connection: close\r\n" } else { "" })
    }

    /// Sends a request with more header lines, each ended.
    pub fn ask_with(&mut self, path: &str, headers: &str) -> Result<(), String> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.host.ip());
        self.stream.write_all(request.as_bytes()).map_err(|error| format!("send: {error}"))
    }

    /// Receives the whole answer to it, and the end of the connection where the server closes it; the status.
    pub fn answer(&mut self, after: After) -> Result<u16, String> {
        let deadline = Instant::now() + ANSWER_LIMIT;
        let mut received = Vec::new();
        loop {
            let complete = Answer::parse(&received)?;
            if let (Some(answer), After::Keep) = (&complete, after) {
                return Ok(answer.status);
            }
            let mut chunk = [0; 4096];
            let count = self.stream.read(&mut chunk).map_err(|error| format!("receive: {error}"))?;
            match (count, complete) {
                (0, Some(answer)) => return Ok(answer.status),
                (0, None) => return Err(String::from("the connection was closed before the answer was complete")),
                _ if Instant::now() >= deadline => return Err(format!("no answer within {ANSWER_LIMIT:?}")),
                (count, _) => received.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            }
        }
    }
}

/// A complete answer.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
}

impl Answer {
    /// `None` while it is not complete. Answers with a Content-Length only: all of ours and of the peers have one.
    fn parse(received: &[u8]) -> Result<Option<Answer>, String> {
        if received.len() > ANSWER_MAX {
            return Err(format!("the answer is longer than {ANSWER_MAX} bytes"));
        }
        let Some(head) = received.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
        let text = String::from_utf8_lossy(received.get(..head).unwrap_or_default());
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| format!("not an HTTP answer: {text:.60}"))?;
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        let length = length.ok_or("the answer has no Content-Length")?;
        Ok((received.len() - head - 4 >= length).then_some(Answer { status }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn an_answer_is_complete_with_its_last_byte() {
        // Taken for complete at the blank line, the rest would be read as the next answer.
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";
        for length in 0..whole.len() {
            assert_eq!(Answer::parse(&whole[..length]), Ok(None), "{length}");
        }
        assert_eq!(Answer::parse(whole), Ok(Some(Answer { status: 200 })));
        assert!(Answer::parse(b"HTTP/1.1 200 OK\r\n\r\n").unwrap_err().contains("Content-Length"));
        assert!(Answer::parse(b"SSH-2.0-x\r\n\r\n").is_err());
    }

    #[test]
    fn only_a_200_is_a_first_answer() {
        // A boot that is counted at its first 503 would look faster than it is ready.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            for status in ["503 No", "200 OK"] {
                // The client knocks more than once: connections without a request are those it gave up.
                loop {
                    let (mut stream, _) = listener.accept().unwrap();
                    let mut request = [0; 256];
                    if stream.read(&mut request).is_ok_and(|count| count > 0) {
                        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                        stream.write_all(answer.as_bytes()).unwrap();
                        break;
                    }
                }
            }
        });
        assert!(first_answer(address, "/livez", Instant::now() + Duration::from_secs(10), || true));
        server.join().unwrap();
        assert!(!first_answer(address, "/livez", Instant::now() + Duration::from_secs(10), || false));
    }
}
