//! `outpost up`: the image in QEMU with a collector beside it, in one command.
//!
//! ```text
//! browser, curl ─▶ 127.0.0.1:PORT ─▶ QEMU's user network ─▶ image
//! terminal ◀─ collector in this process ◀─ 10.0.2.2:PORT ◀──┘ records
//! ```
//!
//! Ctrl-C presses the guest's power button and waits, for a bounded time, for its end and for its last record.

use crate::collect::{Access, Format, Keys, Options, Output, Printer, Server};
use crate::{content, embedded, image, key};
use outpost::config;
use outpost_qemu::{Accel, Error, Forward, Machine, Network, Running, Vm, kvm_works};
use outpost_wire::noise::Key;
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{fs, io};

/// How often signals and QEMU are looked at while no record comes.
const TICK: Duration = Duration::from_millis(50);

/// How long the guest has, after its power button, to send what it has and to switch off.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the last records may take from the guest's end to the store.
const LAST_RECORDS: Duration = Duration::from_secs(2);

/// How long the URLs wait for the guest to have an address.
const NETWORK_UP: Duration = Duration::from_secs(3);

/// After this long without a record the guest's console is shown: something is wrong.
const FIRST_RECORD: Duration = Duration::from_secs(10);

/// Exit code after a second Ctrl-C, as of a program that SIGINT ended.
const INTERRUPTED: u8 = 130;

const EXAMPLES: &str = "\
Examples:
  outpost up                             boot the image on http://127.0.0.1:8080
  outpost up --port 8081 --machine q35   another port, another board
  outpost up --config config.json        with your configuration
  outpost up --json | jq .event          records as JSON lines

Which image: the one of --image, else the one that a release of this command carries, else the one that the
checkout here builds.
Ctrl-C shuts the guest down, a second one kills it. Records stay in the store (--store).
Exit code: 0 after a clean shutdown, 130 after a second Ctrl-C, 1 otherwise.";

/// The arguments of `outpost up`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Port of 127.0.0.1 that leads to the guest's HTTP port
    #[arg(long, default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// The board that QEMU plays
    #[arg(long, value_enum, default_value_t = MachineArg::Microvm)]
    machine: MachineArg,
    /// What runs the guest: auto is kvm where it works
    #[arg(long, value_enum, default_value_t = AccelArg::Auto)]
    accel: AccelArg,
    /// RAM of the guest in MiB
    #[arg(long, value_name = "MIB", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    memory: u32,
    /// Configuration document; the collector's address is added when it has none
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Content bundle with runbooks and contacts
    #[arg(long, value_name = "FILE")]
    content: Option<PathBuf>,
    /// Boot this image instead of the one that this command carries or builds
    #[arg(long, value_name = "ELF")]
    image: Option<PathBuf>,
    /// File of the store [default: up.db; dist/up.db with the image of a checkout]
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// Print each record as one line of JSON, and nothing else to standard output
    #[arg(long)]
    json: bool,
    /// Show the guest's serial console too (on standard error)
    #[arg(long)]
    console: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum MachineArg {
    Microvm,
    Q35,
    Pc,
}

impl MachineArg {
    pub(crate) fn machine(self) -> Machine {
        match self {
            MachineArg::Microvm => Machine::Microvm,
            MachineArg::Q35 => Machine::Q35,
            MachineArg::Pc => Machine::Pc,
        }
    }
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum AccelArg {
    Auto,
    Tcg,
    Kvm,
}

/// Runs until the guest has ended; has told everything when it returns.
pub fn run(args: &Args) -> ExitCode {
    up(args).unwrap_or_else(|problem| {
        eprintln!("outpost up: {problem}");
        ExitCode::FAILURE
    })
}

fn up(args: &Args) -> Result<ExitCode, String> {
    // Before anything that takes long.
    check_port(args.port)?;
    args.content.as_deref().map(content::accepted).transpose()?;
    let accel = accel(args.accel)?;
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let (image, store) = find_image(args.image.as_deref(), folder.path())?;
    let store = args.store.clone().unwrap_or(store);
    // Signals are kept from here on: one that comes while QEMU starts must not leave it alone.
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(|error| format!("no signals: {error}"))?;
    let (document, key) = (Document::read(args.config.as_deref())?, key::random()?);
    let mut options = Options::new(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0).into(), store.clone());
    options.access = Access::keyed(Keys::one(&document.agent, Key::new(key)), false, &key::random()?);
    let (server, output) = Server::start(options).map_err(|error| error.to_string())?;
    let document = document.with_collector(server.local_address().port(), &key::hex(&key));
    let config = folder.path().join("config.json");
    write_secret(&config, &document.bytes).map_err(|error| format!("{}: {error}", config.display()))?;

    let machine = args.machine.machine();
    let host = SocketAddrV4::new(Ipv4Addr::LOCALHOST, args.port);
    let vm = Vm {
        accel,
        memory_mib: args.memory,
        config: Some(config),
        content: args.content.clone(),
        network: Network::User(vec![Forward { host, guest_port: document.http_port }]),
        shielded: true,
        ..Vm::new(machine, image)
    };
    let mut running = vm.start().map_err(|error| error.to_string())?;
    // QEMU's user network loses what is asked of a guest without an address, so the URLs are told when they work.
    // One that does not come up is shown by its silence below.
    let _ = running.wait_for("network.up", NETWORK_UP);
    eprintln!("Outpost on {machine}, {accel}, {} MiB. Ctrl-C shuts it down.", args.memory);
    for path in ["/", "/livez", "/readyz", "/status", "/about"] {
        eprintln!("  http://{host}{path}");
    }
    let session = if document.ours { "Its records, over a session with a fresh key" } else { "Records" };
    eprintln!("{session}, as they are stored in {}:", store.display());
    let session = Session {
        running,
        server,
        output,
        signals,
        printer: Printer::new(Format::of(args.json, !args.json)),
        console: args.console.then_some(0),
        records: 0,
        last_words: false,
    };
    session.run()
}

/// The image to boot, and where its records are stored if nobody says: the one asked for, the one that this command
/// carries, or the one of the checkout.
pub(crate) fn find_image(asked: Option<&Path>, folder: &Path) -> Result<(PathBuf, PathBuf), String> {
    match (asked, embedded::image()) {
        (Some(image), _) if !image.is_file() => Err(format!("{} is not there: {}", image.display(), IMAGE_REMEDY)),
        (Some(image), _) => Ok((image.to_owned(), PathBuf::from("up.db"))),
        (None, Some(bytes)) => Ok((image::extract(bytes, folder)?.path, PathBuf::from("up.db"))),
        (None, None) => {
            let root = image::checkout()?;
            Ok((image::build(&root, &root.join("dist"))?.path, root.join("dist/up.db")))
        }
    }
}

const IMAGE_REMEDY: &str = "write one with `outpost image`, or leave --image out.";

fn check_port(port: u16) -> Result<(), String> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(format!(
            "port {port} of 127.0.0.1 is taken by another program. Choose another: outpost up --port {}",
            port.checked_add(1).unwrap_or(8080)
        )),
        Err(error) => {
            Err(format!("port {port} of 127.0.0.1 cannot be used: {error}. Choose another: outpost up --port 8080"))
        }
    }
}

pub(crate) fn accel(wanted: AccelArg) -> Result<Accel, String> {
    match wanted {
        AccelArg::Tcg => Ok(Accel::Tcg),
        AccelArg::Auto => Ok(if kvm_works().is_ok() { Accel::Kvm } else { Accel::Tcg }),
        AccelArg::Kvm => match kvm_works() {
            Ok(()) => Ok(Accel::Kvm),
            Err(why) => Err(format!("KVM does not work here: {why} Without it: outpost up --accel tcg")),
        },
    }
}

/// Writes a file that nobody else can read.
fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

/// The configuration as the guest gets it.
struct Document {
    bytes: Vec<u8>,
    /// The agent's name in it.
    agent: String,
    /// Whether it names no collector, so that ours is added.
    ours: bool,
    /// Where the guest will listen.
    http_port: u16,
}

impl Document {
    /// The user's document, or an empty one. What is wrong in it is told and goes to the guest as it is, which boots
    /// with defaults for it.
    fn read(file: Option<&Path>) -> Result<Document, String> {
        let (bytes, ours) = match file {
            None => (json!({ "name": "outpost-up" }).to_string().into_bytes(), true),
            Some(path) => {
                let shown = path.display();
                let bytes = fs::read(path).map_err(|error| format!("{shown} cannot be read: {error}."))?;
                for problem in &config::load(Some(&bytes)).problems {
                    eprintln!("{shown}:{problem}");
                }
                let ours = match serde_json::from_slice(&bytes) {
                    Ok(Value::Object(keys)) => !keys.contains_key("collector"),
                    Ok(_) => false,
                    Err(_) => return Err(format!("{shown} is not JSON. Mend it: outpost check {shown}")),
                };
                if !ours {
                    eprintln!("{shown}: its records go to the collector it names, not to this terminal.");
                }
                (bytes, ours)
            }
        };
        let config = config::load(Some(&bytes)).config;
        Ok(Document { bytes, agent: config.name.to_string(), ours, http_port: config.http.port })
    }

    /// With our collector, where it names none.
    fn with_collector(mut self, port: u16, key: &str) -> Document {
        if self.ours
            && let Ok(Value::Object(mut keys)) = serde_json::from_slice(&self.bytes)
        {
            let collector = json!({ "address": format!("10.0.2.2:{port}"), "key": key });
            keys.insert(String::from("collector"), collector);
            self.bytes = Value::Object(keys).to_string().into_bytes();
        }
        self
    }
}

/// A guest and its collector, until both have ended.
struct Session {
    running: Running,
    server: Server,
    output: Receiver<Output>,
    signals: Signals,
    printer: Printer,
    /// How far the console was shown, where it is shown at all.
    console: Option<usize>,
    records: u64,
    /// The guest's `shutdown` record is in the store.
    last_words: bool,
}

impl Session {
    fn run(mut self) -> Result<ExitCode, String> {
        let started = Instant::now();
        let mut silent = true;
        let mut power_off_by = None;
        loop {
            self.show(TICK)?;
            let pressed = self.signals.pending().count();
            if pressed > 0 && power_off_by.is_some() {
                eprintln!("Killed.");
                self.running.kill();
                return Ok(ExitCode::from(INTERRUPTED));
            }
            if pressed > 0 {
                eprintln!("Shutting the guest down; once more Ctrl-C kills it.");
                self.running.qmp().system_powerdown().map_err(|error| error.to_string())?;
                power_off_by = Some(Instant::now() + SHUTDOWN_TIMEOUT);
            }
            match self.running.ended() {
                None => {}
                Some(Error::Ended { status: Some(status), .. }) if power_off_by.is_some() && status.success() => {
                    return self.finish();
                }
                Some(error) => return Err(error.to_string()),
            }
            if power_off_by.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(format!(
                    "the guest did not switch off within {} s and was killed.{}",
                    SHUTDOWN_TIMEOUT.as_secs(),
                    self.quote_console()
                ));
            }
            if silent && self.records > 0 {
                silent = false;
            } else if silent && started.elapsed() >= FIRST_RECORD {
                silent = false;
                let seconds = FIRST_RECORD.as_secs();
                eprintln!("No record came within {seconds} s; still waiting.{}", self.quote_console());
            }
        }
    }

    /// Shows what was stored, waiting at most this long for the first, and what the guest's console said.
    fn show(&mut self, wait: Duration) -> Result<(), String> {
        match self.output.recv_timeout(wait) {
            Ok(first) => {
                let more: Vec<Output> = self.output.try_iter().collect();
                for output in std::iter::once(first).chain(more) {
                    if let Output::Stored(stored) = &output {
                        self.records += u64::from(stored.record.is_some());
                        self.last_words |= stored.event == "shutdown";
                    }
                    self.printer.print(&output);
                }
                self.printer.flush();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(String::from("the collector ended by itself.")),
        }
        if let Some(position) = &mut self.console {
            let (text, end) = self.running.serial().since(*position);
            *position = end;
            eprint!("{}", text.replace(|c: char| c.is_control() && c != '\n', ""));
        }
        Ok(())
    }

    /// The guest has switched off: waits for its last records.
    fn finish(mut self) -> Result<ExitCode, String> {
        let deadline = Instant::now() + LAST_RECORDS;
        while !self.last_words && Instant::now() < deadline {
            self.show(TICK)?;
        }
        self.server.stop().map_err(|error| error.to_string())?;
        if self.last_words {
            eprintln!("Shut down cleanly; {} records stored.", self.records);
            Ok(ExitCode::SUCCESS)
        } else {
            Err(String::from("the guest switched off, but its last record did not arrive."))
        }
    }

    fn quote_console(&self) -> String {
        let console = self.running.serial().tail();
        if console.is_empty() {
            return String::from(" The guest's serial console is empty.");
        }
        console
            .lines()
            .fold(String::from(" The guest's serial console ends with:"), |text, line| text + "\n  | " + line)
    }
}
