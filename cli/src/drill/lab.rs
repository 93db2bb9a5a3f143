//! What a drill plays in: two targets and a receiver of notifications in this process, a collector and a guest beside it,
//! and everything that is seen of them, with its moment.

use super::Scenario;
use super::report::Step;
use crate::fetch::Client;
use outpost_qemu::{Accel, Forward, Machine, Network, Running, Vm};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often what is waited for is looked at, and the agent asked.
const LOOK: Duration = Duration::from_millis(25);
const ASK_EVERY: Duration = Duration::from_millis(100);

/// How long one question to the agent may take: a guest that is cut off answers none.
const ANSWER: Duration = Duration::from_secs(1);

/// How long all may take to stand.
const READY: Duration = Duration::from_secs(30);

/// Sightings that are kept of each kind.
const SEEN: usize = 20_000;

/// Bytes of a request that a server here reads.
const REQUEST: u64 = 256 * 1024;

/// How long a client of a server here may take.
const CLIENT: Duration = Duration::from_secs(2);

/// How long an agent that is to fail by itself gets to start before.
pub(super) const FAILS_AFTER_S: u64 = 12;

/// What was seen, and when.
type Sightings = Arc<Mutex<Vec<(Instant, Value)>>>;

fn lock(sightings: &Sightings) -> MutexGuard<'_, Vec<(Instant, Value)>> {
    sightings.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note(sightings: &Sightings, what: Value) {
    let mut all = lock(sightings);
    if all.len() < SEEN {
        all.push((Instant::now(), what));
    }
}

/// Where something is to be seen.
#[derive(Clone, Copy)]
pub(super) enum Where {
    /// Among what the collector stored.
    Store,
    /// In the agent's own `/status`; null while it does not answer.
    Status,
    /// Among the notifications.
    Notices,
}

/// What is to be seen: step, what it is in words, within how many seconds, where, and how it is known.
pub(super) struct Wanted {
    pub step: &'static str,
    pub what: &'static str,
    pub within_s: u64,
    pub place: Where,
    pub is_it: Box<dyn Fn(&Value) -> bool>,
}

/// All of it; ends when dropped.
pub(super) struct Lab {
    pub shop: Target,
    pub guest: Running,
    collector: Collector,
    records: Sightings,
    answers: Sightings,
    notices: Sightings,
    stop: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    _blog: Target,
    _receiver: Target,
    _folder: tempfile::TempDir,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        self.collector.kill();
        self.guest.kill();
    }
}

impl Lab {
    /// Starts everything and waits until the agent knows that its targets are up.
    pub(super) fn start(
        scenario: Scenario,
        machine: Machine,
        accel: Accel,
        image: &Path,
        stop: Arc<AtomicBool>,
    ) -> Result<Lab, String> {
        let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
        let [records, answers, notices] = [(); 3].map(|()| Sightings::default());
        let (shop, blog) = (Target::start(None)?, Target::start(None)?);
        let receiver = Target::start(Some(notices.clone()))?;
        let collector = Collector::start(folder.path(), receiver.address, records.clone())?;
        let config = folder.path().join("config.json");
        let document = configuration(scenario, collector.address.port(), &[shop.address, blog.address]);
        fs::write(&config, document.to_string()).map_err(|error| format!("{}: {error}", config.display()))?;
        let watchdog = if machine == Machine::Q35 { "i6300esb" } else { "ib700" };
        let vm = Vm {
            accel,
            config: Some(config),
            network: Network::User(vec![Forward::to(80)]),
            shielded: true,
            extra: ["-device", watchdog, "-action", "watchdog=reset"].map(String::from).into(),
            ..Vm::new(machine, image)
        };
        let guest = vm.start().map_err(|error| error.to_string())?;
        let port = guest.forwarded(80).ok_or("QEMU forwards no port")?;
        let over = Arc::new(AtomicBool::new(false));
        ask(&port.to_string(), answers.clone(), over.clone())?;
        let parts = (folder, receiver, blog);
        let mut lab = Lab {
            shop,
            guest,
            collector,
            records,
            answers,
            notices,
            stop,
            over,
            _blog: parts.2,
            _receiver: parts.1,
            _folder: parts.0,
        };
        lab.ready()?;
        Ok(lab)
    }

    fn ready(&mut self) -> Result<(), String> {
        let wanted = Wanted {
            step: "start",
            what: "",
            within_s: READY.as_secs(),
            place: Where::Status,
            is_it: Box::new(is_well),
        };
        let steps = self.watch(Instant::now(), &[wanted])?;
        if steps.iter().all(Step::passed) {
            return Ok(());
        }
        Err(format!(
            "the agent did not come to know that its targets are up within {} s. Its console ends with:\n{}",
            READY.as_secs(),
            self.guest.serial().tail()
        ))
    }

    /// Waits for all of these, counted from `from`, and says which were seen when.
    pub(super) fn watch(&mut self, from: Instant, wanted: &[Wanted]) -> Result<Vec<Step>, String> {
        let longest = wanted.iter().map(|wanted| Duration::from_secs(wanted.within_s)).max().unwrap_or_default();
        let mut seen: Vec<Option<Duration>> = vec![None; wanted.len()];
        loop {
            for (wanted, seen) in wanted.iter().zip(&mut seen).filter(|(_, seen)| seen.is_none()) {
                *seen = self.first(from, wanted);
                if let (Some(after), false) = (*seen, wanted.what.is_empty()) {
                    eprintln!("  {:>6.1} s  {}: {}", after.as_secs_f64(), wanted.step, wanted.what);
                }
            }
            if seen.iter().all(Option::is_some) || from.elapsed() > longest {
                break;
            }
            self.pause(LOOK)?;
        }
        let step = |(wanted, after): (&Wanted, Option<Duration>)| Step {
            step: wanted.step,
            what: wanted.what.to_owned(),
            after,
            within: Duration::from_secs(wanted.within_s),
        };
        Ok(wanted.iter().zip(seen).map(step).collect())
    }

    fn first(&self, from: Instant, wanted: &Wanted) -> Option<Duration> {
        let sightings = match wanted.place {
            Where::Store => &self.records,
            Where::Status => &self.answers,
            Where::Notices => &self.notices,
        };
        let all = lock(sightings);
        let found = all.iter().find(|(at, what)| *at >= from && (wanted.is_it)(what));
        found.map(|(at, _)| at.duration_since(from))
    }

    /// The boot that the agent is in, as it last said.
    pub(super) fn boot(&self) -> String {
        let all = lock(&self.answers);
        all.iter().rev().find_map(|(_, status)| boot_of(status)).unwrap_or_default().to_owned()
    }

    /// Waits for a line on the guest's console; its moment.
    pub(super) fn console(&mut self, line: &str, within: Duration) -> Result<Instant, String> {
        let deadline = Instant::now() + within;
        while !self.guest.serial().text().contains(line) {
            if Instant::now() > deadline {
                return Err(format!("{line:?} did not come on the guest's console within {within:?}"));
            }
            self.pause(LOOK)?;
        }
        Ok(Instant::now())
    }

    /// Sleeps, unless somebody wants an end.
    pub(super) fn pause(&mut self, time: Duration) -> Result<(), String> {
        let until = Instant::now() + time;
        loop {
            if self.stop.load(Ordering::Acquire) {
                return Err("interrupted; what it had started is ended".to_owned());
            }
            if let Some(error) = self.guest.ended() {
                return Err(error.to_string());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    pub(super) fn kill_collector(&mut self) {
        self.collector.kill();
    }

    pub(super) fn restart_collector(&mut self) -> Result<(), String> {
        self.collector.run(self.records.clone())
    }

    /// What `outpost verify` says of the store.
    pub(super) fn store_is_whole(&self) -> Result<bool, String> {
        let mut verify = command()?;
        verify.arg("verify").arg(&self.collector.store).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(verify.status().map_err(|error| format!("outpost verify: {error}"))?.success())
    }

    /// Notifications that do not say that this is an exercise, and how many came at all.
    pub(super) fn unmarked(&self) -> (usize, usize) {
        let all = lock(&self.notices);
        let marked = |notice: &Value| notice.get("exercise").and_then(Value::as_bool) == Some(true);
        (all.iter().filter(|(_, notice)| !marked(notice)).count(), all.len())
    }
}

/// Whether the agent knows that all its targets are up, and has a collector.
pub(super) fn is_well(status: &Value) -> bool {
    let targets = status.get("targets").and_then(Value::as_array);
    let up = |target: &Value| target.get("state").and_then(Value::as_str) == Some("up");
    targets.is_some_and(|targets| targets.len() == 2 && targets.iter().all(up)) && is_connected(status)
}

/// The boot that this is the status of.
pub(super) fn boot_of(status: &Value) -> Option<&str> {
    status.get("boot_id").and_then(Value::as_str)
}

/// Whether the agent has a collector.
pub(super) fn is_connected(status: &Value) -> bool {
    status.pointer("/collector/state").and_then(Value::as_str) == Some("connected")
}

/// The agent's configuration: two targets, probed each second.
fn configuration(scenario: Scenario, collector: u16, targets: &[SocketAddr; 2]) -> Value {
    let check = |(name, address): (&str, &SocketAddr)| {
        json!({
            "name": name, "group": "Drill", "owner": "whoever runs the drill", "impact": "none, this is an exercise",
            "runbook": "drill", "interval_s": 1, "timeout_s": 1, "rise": 2, "fall": 2,
            "http": { "url": format!("http://10.0.2.2:{}/", address.port()) },
        })
    };
    let checks: Vec<Value> = ["shop", "blog"].into_iter().zip(targets).map(check).collect();
    let mut drill = json!({ "exercise": true });
    match scenario {
        Scenario::GuestHang => drill["hang_after_s"] = FAILS_AFTER_S.into(),
        Scenario::GuestPanic => drill["panic_after_s"] = FAILS_AFTER_S.into(),
        _ => {}
    }
    json!({
        "name": "drill", "collector": { "address": format!("10.0.2.2:{collector}") }, "drill": drill, "checks": checks,
    })
}

/// This program.
fn command() -> Result<Command, String> {
    std::env::current_exe().map(Command::new).map_err(|error| format!("this program cannot be found: {error}"))
}

/// Asks the agent for its `/status` until all is over.
fn ask(address: &str, answers: Sightings, over: Arc<AtomicBool>) -> Result<(), String> {
    let client = Client::new(address, ANSWER)?;
    let ask = move || {
        while !over.load(Ordering::Acquire) {
            let answer = client.get("/status").ok().and_then(|answer| serde_json::from_slice(&answer.body).ok());
            note(&answers, answer.unwrap_or_default());
            std::thread::sleep(ASK_EVERY);
        }
    };
    thread("status", ask)
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map(drop).map_err(|error| format!("the system refused a thread: {error}"))
}

/// `outpost collect` as a process of its own.
struct Collector {
    address: SocketAddr,
    notify: String,
    store: PathBuf,
    said: PathBuf,
    child: Option<Child>,
}

impl Collector {
    fn start(folder: &Path, receiver: SocketAddr, records: Sightings) -> Result<Collector, String> {
        // The agent knows this port for all of the drill.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = free.map_err(|error| format!("no port of 127.0.0.1: {error}"))?;
        let notify = format!("http://{receiver}/");
        let (store, said) = (folder.join("drill.db"), folder.join("collector"));
        let mut collector = Collector { address, notify, store, said, child: None };
        collector.run(records)?;
        Ok(collector)
    }

    fn run(&mut self, records: Sightings) -> Result<(), String> {
        let said = File::create(&self.said).map_err(|error| format!("{}: {error}", self.said.display()))?;
        let mut collect = command()?;
        collect.arg("collect").arg("--json").arg("--store").arg(&self.store);
        collect.args(["--listen", &self.address.to_string(), "--notify", &self.notify]);
        collect.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(said);
        let mut child = collect.spawn().map_err(|error| format!("the collector: {error}"))?;
        let lines = child.stdout.take();
        self.child = Some(child);
        let Some(lines) = lines else { return Ok(()) };
        thread("records", move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                note(&records, serde_json::from_str(&line).unwrap_or_default());
            }
        })?;
        let deadline = Instant::now() + CLIENT;
        while !fs::read_to_string(&self.said).unwrap_or_default().contains("collecting on") {
            if Instant::now() > deadline + READY {
                let said = fs::read_to_string(&self.said).unwrap_or_default();
                return Err(format!("the collector did not start: {said}"));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A small HTTP server: of what is watched, or of notifications.
pub(super) struct Target {
    pub address: SocketAddr,
    notices: Option<Sightings>,
    dead: Arc<AtomicBool>,
}

impl Target {
    fn start(notices: Option<Sightings>) -> Result<Target, String> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut target = Target { address: any, notices, dead: Arc::default() };
        target.come_back()?;
        Ok(target)
    }

    /// Closes its port: who connects is refused.
    pub(super) fn die(&mut self) {
        self.dead.store(true, Ordering::Release);
        // So that it looks.
        let _ = TcpStream::connect_timeout(&self.address, CLIENT);
    }

    /// Listens where it did before.
    pub(super) fn come_back(&mut self) -> Result<(), String> {
        let listener = TcpListener::bind(self.address).map_err(|error| format!("{}: {error}", self.address))?;
        self.address = listener.local_addr().map_err(|error| error.to_string())?;
        self.dead = Arc::default();
        let (dead, notices) = (self.dead.clone(), self.notices.clone());
        thread("target", move || {
            for stream in listener.incoming() {
                if dead.load(Ordering::Acquire) {
                    return;
                }
                match stream {
                    // A client that goes away gets no answer.
                    Ok(stream) => drop(serve(stream, notices.as_ref())),
                    Err(_) => std::thread::sleep(LOOK),
                }
            }
        })
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.die();
    }
}

fn serve(stream: TcpStream, notices: Option<&Sightings>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(CLIENT))?;
    stream.set_write_timeout(Some(CLIENT))?;
    let mut reader = BufReader::new(&stream).take(REQUEST);
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line)? > 0 && line != "\r\n" {
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or(0);
        }
        line.clear();
    }
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    if let (Some(notices), Ok(notice)) = (notices, serde_json::from_slice(&body)) {
        note(notices, notice);
    }
    (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
}
