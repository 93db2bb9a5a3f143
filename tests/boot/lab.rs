//! A laboratory: one collector process with its store in a folder of its own, and the guests that log to it.
//!
//! Everything here ends with its value: the collector, the guests, the folder. A test that fails shows the
//! console of its guest.

use outpost_qemu::{Accel, Forward, Machine, Network, Nic, Running, Vm, kvm_works};
use outpost_wire::Event;
use outpost_wire::session::Mode;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io, thread};
use tempfile::TempDir;

pub use crate::image::image;
use crate::support::{Why, left_out};

/// The `outpost` command under test.
pub const OUTPOST: &str = env!("CARGO_BIN_EXE_outpost");

/// Name of the guests here.
const AGENT: &str = "lab";
/// Their key in keyed sessions.
pub const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// How long anything may take that takes milliseconds on a quiet machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often a client that was not answered asks again.
const RETRY: Duration = Duration::from_millis(30);

/// How long a client waits for one answer: QEMU's user network loses what comes before the guest listens.
const ANSWER: Duration = Duration::from_secs(2);

/// Guests that run at the same time: a test machine has two cores.
const GUESTS: usize = 2;

/// The image under test with its symbols.
pub fn debug_image() -> PathBuf {
    image().with_extension("debug.elf")
}

/// Whether guests run under this accelerator; tells when they do not.
pub fn can_run(accel: Accel, name: &str) -> bool {
    match accel {
        Accel::Tcg => true,
        Accel::Kvm => kvm_works().inspect_err(|why| left_out(Why::NotHere, name, why)).is_ok(),
    }
}

/// A collector process; killed by SIGKILL when it is dropped.
pub struct Collector {
    child: Child,
    /// The port that it listens on, on the host's loopback.
    pub port: u16,
}

impl Collector {
    /// One that serves sessions of this mode and no others, with `store.db` in this folder. Port 0 is any.
    pub fn start(folder: &Path, port: u16, mode: Mode) -> Collector {
        let mut command = Command::new(OUTPOST);
        command.args(["collect", "--listen", &format!("127.0.0.1:{port}"), "--store"]).arg(folder.join("store.db"));
        if mode == Mode::Keyed {
            let keys = folder.join("keys");
            let mut file =
                fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&keys).unwrap();
            writeln!(file, "{AGENT} {KEY}").unwrap();
            command.arg("--keys").arg(keys);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let port = port_in(&line).unwrap_or_else(|| panic!("the collector did not say where it listens: {line}"));
        // It must not block on a full pipe later, and a test that fails shows what it said.
        thread::spawn(move || said.lines().map_while(Result::ok).for_each(|line| eprintln!("collector: {line}")));
        Collector { child, port }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let (_, _) = (self.child.kill(), self.child.wait());
    }
}

/// A chronyd that serves the host's time as stratum 8 and touches no clock.
pub struct Chrony(Child);

impl Chrony {
    /// On port 123 of this network namespace's loopback.
    pub fn start(lab: &Lab) -> Chrony {
        let folder = lab.folder().join("chrony");
        fs::create_dir(&folder).unwrap();
        let path = folder.display();
        let config = format!(
            "local stratum 8\nallow 127.0.0.0/8\nbindaddress 127.0.0.1\ncmdport 0\nbindcmdaddress /\npidfile {path}/pid\n"
        );
        let file = lab.file("chrony.conf", &config);
        let chronyd = Command::new("chronyd")
            .args(["-d", "-x", "-u", "root", "-f"])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Chrony(chronyd.unwrap())
    }
}

impl Drop for Chrony {
    fn drop(&mut self) {
        let (_, _) = (self.0.kill(), self.0.wait());
    }
}

/// The configuration of a guest that logs to a collector of this mode on this port, with this drill.
pub fn config(port: u16, mode: Mode, drill: Option<Value>) -> String {
    let mut collector = json!({ "address": format!("10.0.2.2:{port}") });
    if mode == Mode::Keyed {
        collector["key"] = KEY.into();
    }
    let mut config = json!({ "name": AGENT, "collector": collector });
    if let Some(drill) = drill {
        config["drill"] = drill;
    }
    config.to_string()
}

/// A collector and what it stored.
pub struct Lab {
    folder: TempDir,
    collector: Collector,
    mode: Mode,
    _slot: Slot,
}

impl Lab {
    /// A collector of clear sessions with an empty store, on a port of its own.
    pub fn new() -> Lab {
        Lab::of(Mode::Clear)
    }

    /// The same, of sessions of this mode.
    pub fn of(mode: Mode) -> Lab {
        let slot = Slot::take();
        let folder = tempfile::tempdir().unwrap();
        let collector = Collector::start(folder.path(), 0, mode);
        Lab { folder, collector, mode, _slot: slot }
    }

    /// The port that the collector listens on, on the host's loopback.
    pub fn port(&self) -> u16 {
        self.collector.port
    }

    /// The configuration of a guest that logs to the collector, with this drill.
    pub fn config(&self, drill: Option<Value>) -> String {
        config(self.port(), self.mode, drill)
    }

    /// The laboratory's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into the laboratory's folder.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// The image on this machine with this card, with all defaults but the collector.
    pub fn vm(&self, machine: Machine, nic: Nic, accel: Accel) -> Vm {
        Vm {
            nic: Some(nic),
            accel,
            config: Some(self.file("config.json", &self.config(None))),
            network: Network::User(vec![Forward::to(80)]),
            ..Vm::new(machine, image())
        }
    }

    /// The records of this event in the store, oldest boot first: boot, seq, fields.
    pub fn records(&self, event: &str) -> Vec<Stored> {
        let id = outpost_wire::CATALOGUE.iter().find(|spec| spec.name == event).expect("a known event").id;
        self.stored().into_iter().filter(|record| record.event == id).collect()
    }

    /// Everything in the store, in order of boots and seqs.
    pub fn stored(&self) -> Vec<Stored> {
        let path = self.folder.path().join("store.db");
        let store = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        store.busy_timeout(PATIENCE).unwrap();
        let mut query = store.prepare("SELECT boot, seq, event, fields FROM records ORDER BY boot, seq").unwrap();
        let rows = query.query_map([], |row| {
            let fields = row.get::<_, Option<Vec<u8>>>(3)?.unwrap_or_default();
            Ok(Stored { boot: row.get(0)?, seq: row.get(1)?, event: row.get(2)?, fields })
        });
        let rows: Vec<Stored> = rows.unwrap().collect::<Result<_, _>>().unwrap();
        let known = outpost_wire::CATALOGUE.iter().filter(|spec| rows.iter().any(|row| row.event == spec.id));
        known.for_each(|spec| crate::events::seen(spec.name));
        rows
    }

    /// Waits until the store holds `count` records of this event, and returns them.
    pub fn wait_for(&self, event: &str, count: usize) -> Vec<Stored> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let records = self.records(event);
            if records.len() >= count {
                return records;
            }
            assert!(Instant::now() < deadline, "{} of {count} {event} records in the store", records.len());
            thread::sleep(RETRY);
        }
    }
}

/// One record as the store has it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The row of its boot.
    pub boot: i64,
    /// Its sequence number.
    pub seq: i64,
    /// The id of its event.
    pub event: u16,
    fields: Vec<u8>,
}

impl Stored {
    /// The event, decoded.
    pub fn event(&self) -> Event<'_> {
        Event::decode(self.event, &self.fields).expect("the store holds what the catalogue can read")
    }
}

/// A guest that was started, and the way to its HTTP port.
pub struct Guest {
    /// The machine.
    pub running: Running,
    http: SocketAddrV4,
}

impl Guest {
    /// Boots.
    pub fn boot(vm: &Vm) -> Guest {
        let running = vm.start().unwrap_or_else(|error| panic!("{error}"));
        let http = running.forwarded(80).expect("a laboratory's guest has its HTTP port forwarded");
        Guest { running, http }
    }

    /// Asks until this path is answered with 200.
    pub fn wait_ok(&mut self, path: &str) -> Answer {
        // What QEMU's user network gets for a guest without an address is lost, and it asks again seconds later.
        // A guest that does not say so has until the deadline below.
        let _ = self.running.wait_for("network.up", PATIENCE);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = get(self.http, path);
            match answer {
                Ok(answer) if answer.status == 200 => return answer,
                _ if Instant::now() < deadline => thread::sleep(RETRY),
                _ => panic!("GET {path} was not answered with 200 within {PATIENCE:?}, at last: {answer:?}"),
            }
        }
    }

    /// The host's end of its HTTP port.
    pub fn http(&self) -> SocketAddrV4 {
        self.http
    }

    /// The URL of a path, for other programs.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    /// Waits for a line of the console that has all these words.
    pub fn wait_for_line(&mut self, words: &[&str]) {
        wait_for_line(&mut self.running, words);
    }

    /// Plugs the card's cable in, or out.
    pub fn set_link(&mut self, up: bool) {
        self.running.qmp().execute("set_link", serde_json::json!({ "name": "net0", "up": up })).unwrap();
    }

    /// Waits until QEMU says that its machine is in this state.
    pub fn wait_status(&mut self, status: &str, patience: Duration) {
        let deadline = Instant::now() + patience;
        loop {
            let now = self.running.qmp().status().unwrap();
            if now == status {
                return;
            }
            assert!(Instant::now() < deadline, "the machine is not `{status}` within {patience:?} but `{now}`");
            thread::sleep(RETRY);
        }
    }

    /// Presses the power button and waits for QEMU's end.
    pub fn power_down(&mut self) {
        self.running.qmp().system_powerdown().unwrap();
        let status = self.running.wait_exit(PATIENCE).unwrap_or_else(|error| panic!("{error}"));
        assert!(status.success(), "QEMU ended with {status}");
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the guest's console\n{}\n---", self.running.serial().tail());
        }
    }
}

/// Waits for a line of the console that has all these words.
pub fn wait_for_line(running: &mut Running, words: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    let found = |text: &str| text.lines().any(|line| words.iter().all(|word| line.contains(word)));
    while !found(&running.serial().text()) {
        let ended = running.ended();
        let console = running.serial().tail();
        // What it wrote between the look and its end counts.
        assert!(ended.is_none() || found(&console), "{}", ended.map(|error| error.to_string()).unwrap_or_default());
        assert!(Instant::now() < deadline, "no line of the console has all of {words:?}:\n{console}");
        thread::sleep(RETRY);
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// Body.
    pub body: String,
}

/// One GET over one connection of its own.
pub fn get(address: SocketAddrV4, path: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::V4(address), ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.take(1024 * 1024).read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// The port in a sentence that names an address of the loopback.
pub fn port_in(sentence: &str) -> Option<u16> {
    let digits = sentence.split("127.0.0.1:").nth(1)?;
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// One of the [`GUESTS`] places, free again when it is dropped.
pub struct Slot;

static TAKEN: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

impl Slot {
    /// Waits for a place and takes it.
    pub fn take() -> Slot {
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = FREED.wait_while(taken, |taken| *taken >= GUESTS).unwrap_or_else(PoisonError::into_inner);
        *taken += 1;
        Slot
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        FREED.notify_one();
    }
}
