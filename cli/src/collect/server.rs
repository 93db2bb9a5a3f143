//! The collector on real sockets: one thread that reads, commits and writes for all sessions.
//!
//! One thread is enough because the work is the commit, and one commit serves all; and it needs no lock, no queue
//! between reader and writer, and no order to reason about. While it commits, what arrives waits in the kernel's
//! buffers, and when those are full, in the agents' rings.

use super::access::Access;
use super::collector::{Collector, Now, SessionId};
use super::limits::{self, Deadlines, DiskKept};
use super::retention::Retention;
use super::show::Output;
use super::status::{Questions, Report, Status};
use super::store::Store;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);
/// Session n has the token n + 2.
const FIRST_SESSION: usize = 2;

/// How soon accepting is tried again after the system refused it (for want of file descriptors, say).
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How a collector is started.
#[derive(Debug)]
pub struct Options {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// File of the store.
    pub store: PathBuf,
    /// Whether to listen beyond this machine although sessions without a key can be forged.
    pub insecure: bool,
    /// Who may open a session.
    pub access: Access,
    /// What to keep.
    pub retention: Retention,
    /// Where to serve `/healthz` and `/metrics`.
    pub http: Option<SocketAddr>,
    /// What stays free on the store's disk.
    pub disk_kept: DiskKept,
    /// How long clients may take.
    pub deadlines: Deadlines,
}

impl Options {
    /// A collector of clear sessions here with this store, everything else as usual.
    pub fn new(listen: SocketAddr, store: PathBuf) -> Options {
        Options {
            listen,
            store,
            insecure: false,
            access: Access::clear(),
            retention: Retention::default(),
            http: None,
            disk_kept: DiskKept::default(),
            deadlines: Deadlines::default(),
        }
    }
}

/// Why a collector could not start, or ended, in words for people.
#[derive(Debug)]
pub struct ServerError(String);

impl std::fmt::Display for ServerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ServerError {}

/// A running collector; stops when dropped.
#[derive(Debug)]
pub struct Server {
    local_address: SocketAddr,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    status: Option<Status>,
    thread: Option<JoinHandle<Result<(), ServerError>>>,
}

impl Server {
    /// Opens the store, listens and serves in a thread of its own. What was stored comes out of the receiver, after
    /// its commit and in its order; when the receiver is slow, the output skips and says so. The receiver is at
    /// its end when the collector has ended.
    pub fn start(options: Options) -> Result<(Server, Receiver<Output>), ServerError> {
        let listen = options.listen;
        if !listen.ip().is_loopback() && !options.insecure && options.access.allows_clear() {
            return Err(ServerError(format!(
                "{listen} can be reached from other machines, and without a key any of them could acknowledge \
                 records to an agent, which erases them, or write into the store. Give it keys (--keys FILE, made by \
                 `outpost key new`), listen on 127.0.0.1, or add --insecure if this network is trusted."
            )));
        }
        let store = Store::open(&options.store).map_err(|error| ServerError(error.to_string()))?;
        let mut listener =
            TcpListener::bind(listen).map_err(|error| ServerError(explain_bind("--listen", listen, &error)))?;
        let system = |error: io::Error| ServerError(format!("the system refused what a collector needs: {error}"));
        let local_address = listener.local_addr().map_err(system)?;
        let poll = Poll::new().map_err(system)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(system)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).map_err(system)?);
        let (mut status, mut questions) = (None, None);
        if let Some(address) = options.http {
            let waker = waker.clone();
            // Waking fails only when the loop is gone, which the question finds out.
            let (thread, asked) = Status::start(address, move || drop(waker.wake()))
                .map_err(|error| ServerError(explain_bind("--http", address, &error)))?;
            (status, questions) = (Some(thread), Some(asked));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = sync_channel(limits::OUTPUT);
        let mut turn = Turn {
            collector: Collector::new(store, options.access, options.deadlines).with_retention(options.retention),
            listener,
            poll,
            connections: BTreeMap::new(),
            started: Instant::now(),
            output: sender,
            skipped: 0,
            questions,
            disk: Disk { store: options.store, kept: options.disk_kept, size: 0, free: 0 },
            look_at_disk: Duration::ZERO,
            stop: stop.clone(),
        };
        let now = turn.now();
        turn.collector.watch(now).map_err(|error| ServerError(error.to_string()))?;
        let thread = std::thread::Builder::new()
            .name("collector".to_owned())
            .spawn(move || turn.run().map_err(|error| ServerError(format!("the collector ended: {error}"))))
            .map_err(system)?;
        Ok((Server { local_address, stop, waker, status, thread: Some(thread) }, receiver))
    }

    /// Where it listens.
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Where it serves `/healthz` and `/metrics`.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.status.as_ref().map(Status::address)
    }

    /// Ends in order: commits and acknowledges what came, says Bye and closes; takes a second at most beside the
    /// commit.
    pub fn stop(mut self) -> Result<(), ServerError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), ServerError> {
        self.stop.store(true, Ordering::Release);
        // It fails only when the thread is gone, which join says better.
        let _ = self.waker.wake();
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(ServerError("the collector panicked; please report the lines above".to_owned())),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

fn explain_bind(option: &str, listen: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => format!(
            "{listen} is taken by another program, perhaps another collector. End it, or choose another port: \
             {option} {}:{}",
            listen.ip(),
            listen.port().wrapping_add(1).max(1024)
        ),
        ErrorKind::AddrNotAvailable => {
            format!("{listen} is not an address of this machine. `ip address` lists those that are.")
        }
        ErrorKind::PermissionDenied => {
            format!("{listen} needs more rights ({error}). Choose a port above 1023: {option} {}:7600", listen.ip())
        }
        _ => format!("cannot listen on {listen}: {error}"),
    }
}

/// A connection and what its socket last said.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// There may be something to read: set by an event, cleared by `WouldBlock`.
    readable: bool,
    /// We have said all and closed our half.
    finished: bool,
}

/// What a read or a write found.
enum Io {
    Open,
    Gone,
}

struct Turn {
    collector: Collector,
    listener: TcpListener,
    poll: Poll,
    connections: BTreeMap<SessionId, Connection>,
    started: Instant,
    output: SyncSender<Output>,
    skipped: u64,
    questions: Option<Questions>,
    disk: Disk,
    /// When the disk is looked at again.
    look_at_disk: Duration,
    stop: Arc<AtomicBool>,
}

impl Turn {
    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(limits::SESSIONS);
        let mut accepting = true;
        loop {
            // Seen before the last read: what came before the stop is stored.
            let stopping = self.stop.load(Ordering::Acquire);
            let accept_failed = accepting && self.accept().is_err();
            accepting = accept_failed;
            self.watch_disk();
            self.read();
            let wake = self.collector.poll(self.now());
            self.report();
            self.write();
            self.show();
            if stopping {
                self.end();
                return Ok(());
            }
            let wait = self.wait(wake, accept_failed);
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    LISTENER => accepting = true,
                    WAKER => {}
                    Token(token) => {
                        let id = SessionId((token - FIRST_SESSION) as u64);
                        if let Some(connection) = self.connections.get_mut(&id) {
                            connection.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
                        }
                    }
                }
            }
        }
    }

    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { monotonic: self.started.elapsed(), unix_us: i64::try_from(unix.as_micros()).unwrap_or(i64::MAX) }
    }

    fn wait(&self, wake: Option<Duration>, accept_failed: bool) -> Option<Duration> {
        if self.connections.values().any(|connection| connection.readable) {
            return Some(Duration::ZERO);
        }
        let wake = wake.map_or(self.look_at_disk, |at| at.min(self.look_at_disk));
        let until = wake.saturating_sub(self.started.elapsed());
        Some(if accept_failed { until.min(ACCEPT_RETRY) } else { until })
    }

    /// Accepts all that wait; an error says that more may wait and must be tried again.
    fn accept(&mut self) -> io::Result<()> {
        // As many as there may be sessions in one turn: a flood must not keep those that are open from their turn.
        for _ in 0..limits::SESSIONS {
            let (mut stream, peer) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => {
                    self.collector.notice(self.now(), format!("a connection could not be accepted: {error}"));
                    return Err(error);
                }
            };
            let Some(id) = self.collector.connect(self.now(), peer.to_string()) else { continue };
            let token = Token(usize::try_from(id.0).unwrap_or(usize::MAX).saturating_add(FIRST_SESSION));
            let interest = Interest::READABLE | Interest::WRITABLE;
            // Without it an Ack can wait 40 ms for the agent's delayed acknowledgement of the one before it.
            let ready =
                stream.set_nodelay(true).and_then(|()| self.poll.registry().register(&mut stream, token, interest));
            match ready {
                Ok(()) => {
                    self.connections.insert(id, Connection { stream, readable: true, finished: false });
                }
                Err(_) => self.collector.disconnect(self.now(), id),
            }
        }
        Err(ErrorKind::WouldBlock.into())
    }

    fn read(&mut self) {
        let now = self.now();
        let mut buffer = [0; limits::READ_TURN];
        let mut gone = Vec::new();
        for (id, connection) in self.connections.iter_mut().filter(|(_, connection)| connection.readable) {
            match connection.stream.read(&mut buffer) {
                Ok(0) => gone.push(*id),
                // What comes after the end is read and forgotten: closing with unread bytes would send RST, and
                // that can take Bye away from the agent (RFC 1122, section 4.2.2.13).
                Ok(len) => self.collector.receive(now, *id, buffer.get(..len).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => connection.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => gone.push(*id),
            }
        }
        self.forget(now, gone);
    }

    fn write(&mut self) {
        let now = self.now();
        let mut gone = Vec::new();
        for (id, connection) in &mut self.connections {
            if matches!(flush(&mut self.collector, now, *id, connection), Io::Gone) || self.collector.must_go(now, *id)
            {
                gone.push(*id);
            }
        }
        self.forget(now, gone);
    }

    fn forget(&mut self, now: Now, ids: Vec<SessionId>) {
        for id in ids {
            self.connections.remove(&id);
            self.collector.disconnect(now, id);
        }
    }

    /// Stops taking records in before the disk is full: the agents have room for them, and what else is on this
    /// machine does not fall with us.
    fn watch_disk(&mut self) {
        let now = self.now();
        if now.monotonic < self.look_at_disk {
            return;
        }
        self.look_at_disk = now.monotonic + limits::DISK_EVERY;
        self.disk.look();
        self.collector.refuse(self.disk.full());
    }

    /// Answers whoever asks how we are.
    fn report(&mut self) {
        let Some(questions) = &self.questions else { return };
        for question in questions.try_iter() {
            let metrics = self.collector.metrics(self.now(), self.disk.size, self.disk.free);
            // Whoever asked may have gone.
            let _ = question.try_send(Report { problem: self.collector.problem(), metrics });
        }
    }

    fn show(&mut self) {
        for output in self.collector.take_output() {
            if self.skipped > 0 && self.output.try_send(Output::Skipped(self.skipped)).is_ok() {
                self.skipped = 0;
            }
            if let Err(TrySendError::Full(_)) = self.output.try_send(output) {
                self.skipped += 1;
            }
        }
    }

    fn end(&mut self) {
        self.collector.shut_down(self.now());
        let deadline = Instant::now() + limits::STOP_FLUSH;
        loop {
            self.read();
            self.write();
            if self.connections.values().all(|connection| connection.finished) || Instant::now() >= deadline {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.show();
    }
}

/// The disk that the store is on, as `df` counts: what is reserved for root is not there for us.
struct Disk {
    store: PathBuf,
    kept: DiskKept,
    /// Bytes, and those of them that are free. Nothing, until the first look.
    size: u64,
    free: u64,
}

impl Disk {
    fn look(&mut self) {
        // What cannot be told does not stop us: a write that fails does.
        if let Ok(disk) = rustix::fs::statvfs(&self.store) {
            let used = disk.f_blocks.saturating_sub(disk.f_bfree);
            self.size = used.saturating_add(disk.f_bavail).saturating_mul(disk.f_frsize);
            self.free = disk.f_bavail.saturating_mul(disk.f_frsize);
        }
    }

    /// What to say when too little of it is free to take anything in.
    fn full(&self) -> Option<String> {
        let kept = self.kept.of(self.size);
        (self.free < kept).then(|| {
            format!(
                "the disk of {} has {} MB left, and with less than {} MB the collector stops taking records in; make \
                 room on it, or let the oldest records go (--keep, --max-size)",
                self.store.display(),
                self.free / 1_000_000,
                kept.div_ceil(1_000_000)
            )
        })
    }
}

/// Sends what waits; when the session has ended and all is said, closes our half.
fn flush(collector: &mut Collector, now: Now, id: SessionId, connection: &mut Connection) -> Io {
    while !collector.outbox(id).is_empty() {
        match connection.stream.write(collector.outbox(id)) {
            Ok(0) => return Io::Gone,
            Ok(len) => collector.sent(now, id, len),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Io::Open,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Io::Gone,
        }
    }
    if collector.has_ended(id) && !connection.finished {
        connection.finished = true;
        // An error says that the connection is gone, which the next read finds out.
        let _ = connection.stream.shutdown(Shutdown::Write);
    }
    Io::Open
}
