//! A collector as a real process, and an agent that speaks to it over a real socket.
//!
//! Each test program uses a part of it.
//!
//! The agent's records are a function of boot id and seq, so that what is stored can be compared by identity.

#![allow(dead_code)]

use outpost_wire::noise::{Ephemeral, Ephemerals, HANDSHAKE_LEN, Initiator, Key, OPENING_MAX, SEALED_MAX, Transport};
use outpost_wire::session::{BootRange, Bye, DataWriter, Hello, Message, Mode, Welcome, preface};
use outpost_wire::{Event, HttpRequest, Ip4, Method, NameId, Record, Severity, limits};
use rusqlite::Connection;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long anything in these tests may take; an answer in time is the normal case.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Lines that a process wrote, as they come.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn follow(stream: impl Read + Send + 'static) -> Lines {
        let lines = Lines::default();
        let sink = lines.0.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                sink.lock().unwrap().push(line);
            }
        });
        lines
    }

    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// The first line that contains this, when it comes in time.
    pub fn wait_for(&self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.all().iter().find(|line| line.contains(part)) {
                return line.clone();
            }
            assert!(Instant::now() < deadline, "no line with {part:?} came: {:#?}", self.all());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// `outpost collect` as a process.
pub struct Process {
    pub child: Child,
    pub address: SocketAddr,
    pub out: Lines,
    pub err: Lines,
}

impl Process {
    pub fn start(store: &Path) -> Process {
        Process::start_with(store, &[])
    }

    /// With more arguments.
    pub fn start_with(store: &Path, arguments: &[&str]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outpost"));
        command.arg("collect").args(arguments);
        Process::run(command, store)
    }

    /// Under a shell that first runs this line.
    pub fn start_after(line: &str, store: &Path) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{line}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_outpost")]);
        Process::spawn(command, store)
    }

    fn spawn(mut command: Command, store: &Path) -> Process {
        command.arg("collect");
        Process::run(command, store)
    }

    fn run(mut command: Command, store: &Path) -> Process {
        command.args(["--listen", "127.0.0.1:0", "--json", "--store"]).arg(store);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (Lines::follow(child.stdout.take().unwrap()), Lines::follow(child.stderr.take().unwrap()));
        let line = err.wait_for("collecting on ");
        let address = line.split(' ').nth(2).unwrap().parse().unwrap();
        Process { child, address, out, err }
    }

    /// SIGKILL: no chance to do anything in order.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Waits for it to end by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the collector did not end: {:#?}", self.err.all());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What `outpost collect` with these arguments says as it refuses to start: exit code and standard error.
pub fn refused(listen: &str, store: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outpost"));
    command.args(["collect", "--listen", listen, "--store"]).arg(store);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    // One that started after all is ended, and its code is that of the signal.
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the collector said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Welcome(Welcome),
    Ack {
        boot: u8,
        seq: u64,
    },
    Bye(Bye),
    /// The connection is closed in order (`false`: reset).
    Closed(bool),
}

/// One session of a test agent.
pub struct Agent {
    pub stream: TcpStream,
    pub boot_id: u64,
    received: Vec<u8>,
    /// Of a keyed session.
    pub channel: Option<Transport>,
}

/// A handshake's secret, another one each time.
pub fn ephemeral() -> Ephemeral {
    static COUNT: AtomicU8 = AtomicU8::new(0);
    Ephemerals::new(&[COUNT.fetch_add(1, Ordering::Relaxed); 32]).fresh()
}

/// What begins a keyed session of this agent.
pub fn opening(key: &Key, agent: &str) -> (Initiator, Vec<u8>) {
    let mut out = [0; OPENING_MAX];
    let (initiator, len) = Initiator::begin(key, agent, ephemeral(), &mut out).unwrap();
    (initiator, out[..len].to_vec())
}

pub fn hello(agent: &str, boot_id: u64, oldest: u64, next: u64) -> Hello<'_> {
    let current = BootRange { boot_id, oldest, next };
    Hello {
        features: 0,
        agent,
        current,
        previous: None,
        catalogue: [1; 8],
        image_id: [2; 32],
        config: [3; 8],
        severities: [4; 8],
    }
}

pub fn encode(message: Message<'_>) -> Vec<u8> {
    let mut frame = [0; limits::FRAME_MAX];
    let len = message.encode(&mut frame).unwrap();
    frame[..len].to_vec()
}

/// The body of the record with this seq.
pub fn body(boot_id: u64, seq: u64) -> Vec<u8> {
    let event = Event::from(HttpRequest {
        method: Method::Get,
        route: NameId(1),
        status: 200,
        client: Ip4([192, 0, 2, boot_id as u8]),
        duration_us: seq as u32 * 3,
    });
    record_body(seq, &event)
}

pub fn record_body(seq: u64, event: &Event<'_>) -> Vec<u8> {
    let mut fields = [0; limits::FIELDS_MAX];
    let len = event.encode(&mut fields).unwrap();
    raw_body(seq, event.spec().id, &fields[..len])
}

pub fn raw_body(seq: u64, event: u16, fields: &[u8]) -> Vec<u8> {
    let mut out = [0; limits::RECORD_MAX];
    let record = Record { seq, mono_us: seq * 1000, severity: Severity::INFO, transaction: None, event, fields };
    let len = record.encode_body(&mut out).unwrap();
    out[..len].to_vec()
}

/// Data frames of these bodies, whose first has this seq.
pub fn data(boot: u8, first_seq: u64, bodies: &[Vec<u8>]) -> Vec<u8> {
    let (mut out, mut seq) = (Vec::new(), first_seq);
    let end = first_seq + bodies.len() as u64;
    while seq < end {
        let mut frame = [0; limits::FRAME_MAX];
        let mut writer = DataWriter::new(&mut frame, boot, seq).unwrap();
        while seq < end && writer.push(seq, &bodies[(seq - first_seq) as usize]) {
            seq += 1;
        }
        let len = writer.finish().unwrap();
        out.extend_from_slice(&frame[..len]);
    }
    out
}

impl Agent {
    /// A second handle on the session of an agent, for a thread that only sends.
    pub fn sender(&self) -> Agent {
        Agent { stream: self.stream.try_clone().unwrap(), boot_id: self.boot_id, received: Vec::new(), channel: None }
    }

    /// Connects and sends these bytes.
    pub fn raw(address: SocketAddr, bytes: &[u8]) -> Agent {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(bytes).unwrap();
        Agent { stream, boot_id: 0, received: Vec::new(), channel: None }
    }

    /// Sends the preface and Hello, without waiting for Welcome.
    pub fn greet(address: SocketAddr, hello: Hello<'_>) -> Agent {
        let bytes = [&preface(Mode::Clear)[..], &encode(Message::Hello(hello))].concat();
        Agent { boot_id: hello.current.boot_id, ..Agent::raw(address, &bytes) }
    }

    /// Opens a session and returns what Welcome said.
    pub fn open(address: SocketAddr, hello: Hello<'_>) -> (Agent, Welcome) {
        let mut agent = Agent::greet(address, hello);
        match agent.next() {
            Said::Welcome(welcome) => (agent, welcome),
            other => panic!("instead of Welcome came {other:?}"),
        }
    }

    /// Sends the records of the current boot with these seqs; an error is for later to find.
    pub fn send(&mut self, from: u64, to: u64) {
        let bodies: Vec<_> = (from..=to).map(|seq| body(self.boot_id, seq)).collect();
        let bytes = self.sealed(&data(0, from, &bodies));
        let _ = self.stream.write_all(&bytes);
    }

    /// Sends these frames.
    pub fn write(&mut self, frames: &[u8]) {
        let bytes = self.sealed(frames);
        self.stream.write_all(&bytes).unwrap();
    }

    pub fn say(&mut self, message: Message<'_>) {
        let bytes = self.sealed(&encode(message));
        self.stream.write_all(&bytes).unwrap();
    }

    /// These frames as they travel.
    pub fn sealed(&mut self, frames: &[u8]) -> Vec<u8> {
        let Some(channel) = &mut self.channel else { return frames.to_vec() };
        let (mut rest, mut all) = (frames, Vec::new());
        while let Some((_, len)) = Message::decode(rest).unwrap() {
            let mut out = [0; SEALED_MAX];
            out[2..2 + len].copy_from_slice(&rest[..len]);
            let sealed = channel.seal(&mut out, len).unwrap();
            all.extend_from_slice(&out[..sealed]);
            rest = &rest[len..];
        }
        all
    }

    /// Opens a keyed session up to the handshake.
    pub fn prove(address: SocketAddr, key: &Key, name: &str) -> Agent {
        let (initiator, bytes) = opening(key, name);
        let mut agent = Agent::raw(address, &bytes);
        let mut answer = [0; HANDSHAKE_LEN];
        agent.stream.read_exact(&mut answer).unwrap();
        agent.channel = Some(initiator.finish(&answer).unwrap());
        agent
    }

    /// Opens a keyed session and returns what Welcome said.
    pub fn open_keyed(address: SocketAddr, key: &Key, hello: Hello<'_>) -> (Agent, Welcome) {
        let mut agent = Agent { boot_id: hello.current.boot_id, ..Agent::prove(address, key, hello.agent) };
        agent.say(Message::Hello(hello));
        match agent.next() {
            Said::Welcome(welcome) => (agent, welcome),
            other => panic!("instead of Welcome came {other:?}"),
        }
    }

    /// Whether the collector closes without another whole message: of a session whose channel was never made.
    pub fn next_closed(&mut self) -> Said {
        let mut rest = Vec::new();
        Said::Closed(self.stream.read_to_end(&mut rest).is_ok())
    }

    /// The next thing the collector says.
    pub fn next(&mut self) -> Said {
        loop {
            let mut sealed = None;
            let frame = match &mut self.channel {
                None => &self.received[..],
                Some(channel) => {
                    sealed = channel.open(&mut self.received).unwrap();
                    sealed.map_or(&[][..], |taken| &self.received[2..taken - 16])
                }
            };
            if let Some((message, len)) = Message::decode(frame).unwrap() {
                let said = match message {
                    Message::Welcome(welcome) => Said::Welcome(welcome),
                    Message::Ack(ack) => Said::Ack { boot: ack.boot, seq: ack.seq },
                    Message::Bye(bye) => Said::Bye(bye),
                    other => panic!("a collector never sends {other:?}"),
                };
                self.received.drain(..sealed.unwrap_or(len));
                return said;
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Said::Closed(true),
                Ok(len) => self.received.extend_from_slice(&buffer[..len]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("the collector said nothing for {PATIENCE:?}")
                }
                Err(_) => return Said::Closed(false),
            }
        }
    }

    /// Waits until the current boot is acknowledged up to here, and no further.
    pub fn expect_ack(&mut self, seq: u64) {
        loop {
            match self.next() {
                Said::Ack { boot: 0, seq: acked } if acked < seq => {}
                said => return assert_eq!(said, Said::Ack { boot: 0, seq }),
            }
        }
    }
}

/// The seqs and bodies that a store holds of a boot.
pub fn stored(store: &Path, boot_id: u64) -> Vec<(u64, Vec<u8>)> {
    let connection = Connection::open(store).unwrap();
    let mut statement = connection
        .prepare(
            "SELECT seq, mono_us, severity, txn, event, fields FROM records JOIN boots ON boots.id = boot
             WHERE boot_id = ?1 ORDER BY seq",
        )
        .unwrap();
    let rows = statement.query_map([boot_id as i64], |row| {
        let fields: Option<Vec<u8>> = row.get(5)?;
        let record = Record {
            seq: row.get::<_, i64>(0)? as u64,
            mono_us: row.get::<_, i64>(1)? as u64,
            severity: Severity::from_number(row.get(2)?).unwrap(),
            transaction: row.get(3)?,
            event: row.get(4)?,
            fields: fields.as_deref().unwrap_or_default(),
        };
        let mut out = [0; limits::RECORD_MAX];
        let len = record.encode_body(&mut out).unwrap();
        Ok((record.seq, out[..len].to_vec()))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

pub fn query<T: rusqlite::types::FromSql>(store: &Path, sql: &str) -> T {
    Connection::open(store).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

/// The first column of all rows.
pub fn strings(store: &Path, sql: &str) -> Vec<String> {
    let connection = Connection::open(store).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

pub fn execute(store: &Path, sql: &str) {
    Connection::open(store).unwrap().execute_batch(sql).unwrap();
}

/// `outpost verify` on this store: its exit code and what it printed.
pub fn verify(store: &Path) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_outpost")).arg("verify").arg(store).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text)
}

/// The answer to a GET: its status and body.
pub fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
    (head[9..12].parse().unwrap(), body.to_owned())
}

/// A directory of its own for a test, and the store in it.
pub fn directory() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store.db");
    (directory, store)
}
