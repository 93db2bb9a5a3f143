//! The collector's own `/healthz` and `/metrics`, for whoever watches the watcher.
//!
//! One thread serves one connection at a time and asks the collector's loop for each answer; so an answer also says
//! that the loop turns. What always holds: a client has [`CLIENT_TIME`] in all, its request [`REQUEST_MAX`] bytes, and
//! none of that can hold up an acknowledgement.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a client may take in all.
const CLIENT_TIME: Duration = Duration::from_secs(2);

/// How long the loop may take to answer: a commit on a slow disk, and no more.
const LOOP_TIME: Duration = Duration::from_secs(5);

/// Longest request head in bytes; most headers in it.
const REQUEST_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 64;

/// How the collector is.
#[derive(Debug)]
pub(super) struct Report {
    /// Why it does not do its work, where it does not.
    pub problem: Option<String>,
    /// Prometheus text.
    pub metrics: String,
}

/// Where the loop takes questions from: it sends a report to each.
pub(super) type Questions = Receiver<SyncSender<Report>>;

/// The thread that serves; stops when dropped.
#[derive(Debug)]
pub(super) struct Status {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Status {
    /// Listens and serves. `wake` makes the loop look for questions.
    pub(super) fn start(listen: SocketAddr, wake: impl Fn() + Send + 'static) -> std::io::Result<(Status, Questions)> {
        let listener = TcpListener::bind(listen)?;
        let address = listener.local_addr()?;
        let (ask, questions) = sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let thread = std::thread::Builder::new().name("status".to_owned()).spawn(move || {
            for stream in listener.incoming() {
                if seen.load(Ordering::Acquire) {
                    return;
                }
                match stream {
                    // A client that goes away gets no answer.
                    Ok(stream) => drop(serve(stream, &ask, &wake)),
                    // For want of file descriptors, say: not in a tight loop.
                    Err(_) => std::thread::sleep(Duration::from_millis(100)),
                }
            }
        })?;
        Ok((Status { address, stop, thread: Some(thread) }, questions))
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // It waits for a connection; when that does not come, neither does its end, and the process ends it.
        if TcpStream::connect_timeout(&self.address, CLIENT_TIME).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: TcpStream, ask: &SyncSender<SyncSender<Report>>, wake: &impl Fn()) -> std::io::Result<()> {
    stream.set_write_timeout(Some(CLIENT_TIME))?;
    let (status, kind, body) = match request(&mut stream)? {
        Request::Get(path) => answer(&path, ask, wake),
        Request::Other => ("405 Method Not Allowed", TEXT, "allowed is GET\n".to_owned()),
        Request::Bad => ("400 Bad Request", TEXT, "this is not an HTTP request\n".to_owned()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}

const TEXT: &str = "text/plain; charset=utf-8";

fn answer(path: &str, ask: &SyncSender<SyncSender<Report>>, wake: &impl Fn()) -> (&'static str, &'static str, String) {
    if !matches!(path, "/healthz" | "/metrics") {
        return ("404 Not Found", TEXT, "here are /healthz and /metrics\n".to_owned());
    }
    let (reply, report) = sync_channel(1);
    // A full queue is a question that the loop has not looked at: the answer to that is below.
    if let Err(TrySendError::Disconnected(_)) = ask.try_send(reply) {
        return ("503 Service Unavailable", TEXT, "the collector has ended\n".to_owned());
    }
    wake();
    match (path, report.recv_timeout(LOOP_TIME)) {
        (_, Err(_)) => {
            ("503 Service Unavailable", TEXT, "the collector does not answer: is its disk stuck?\n".to_owned())
        }
        ("/metrics", Ok(report)) => ("200 OK", "text/plain; version=0.0.4; charset=utf-8", report.metrics),
        (_, Ok(Report { problem: None, .. })) => ("200 OK", TEXT, "ok\n".to_owned()),
        (_, Ok(Report { problem: Some(problem), .. })) => ("503 Service Unavailable", TEXT, problem + "\n"),
    }
}

enum Request {
    /// GET of this path.
    Get(String),
    Other,
    Bad,
}

fn request(stream: &mut TcpStream) -> std::io::Result<Request> {
    let deadline = Instant::now() + CLIENT_TIME;
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || head.len() > REQUEST_MAX {
            return Ok(Request::Bad);
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(Request::Bad),
            Ok(len) => head.extend_from_slice(buffer.get(..len).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(&head) {
            Ok(httparse::Status::Partial) => {}
            Err(_) => return Ok(Request::Bad),
            Ok(httparse::Status::Complete(_)) => {
                let path = parsed.path.unwrap_or_default().split('?').next().unwrap_or_default();
                return Ok(match parsed.method {
                    Some("GET") => Request::Get(path.to_owned()),
                    _ => Request::Other,
                });
            }
        }
    }
}
