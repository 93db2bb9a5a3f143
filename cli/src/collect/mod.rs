//! `outpost collect`: receives the records of agents, stores them durably, and only then acknowledges.
//!
//! ```text
//! sockets ─ server ─▶ collector ─▶ session (one per agent) ─▶ store (SQLite)
//!                         └─ commit ─▶ Ack to the agents, output to whoever reads it
//! ```
//!
//! `collector`, `session` and `store` know no socket, thread or clock: the simulation runs them as they are.

mod access;
mod clock;
mod collector;
pub mod limits;
mod retention;
mod server;
mod session;
mod show;
mod status;
mod store;

pub use access::{Access, Keys, KeysError};
pub use clock::{Clock, Utc};
pub use collector::{Collector, Now, SessionId};
pub use retention::Retention;
pub use server::{Options, Server, ServerError};
pub use session::End;
pub use show::{Output, Stored, escape, event_name, utc};
pub use store::{OpenError, Store};

use crate::forward::{Forwarders, Target};
use crate::key;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// How long a signal waits at most to be seen.
const SIGNAL_CHECK: Duration = Duration::from_millis(100);

const EXAMPLES: &str = "\
Examples:
  outpost collect                              listen on 127.0.0.1:7600, store in outpost.db
  outpost collect --json | jq .event           one JSON object per record
  outpost collect --listen 10.0.0.5:7600 --keys /etc/outpost/keys --store /var/lib/outpost/store.db
  outpost collect --keep 30d --max-size 10GiB  let the oldest records go, and say which
  outpost verify outpost.db                    is every record of every boot accounted for?
  outpost collect --forward otlp=http://127.0.0.1:4318 --forward 'syslog=logs:601?facility=local3'
  outpost collect --notify /etc/outpost/page --notify http://127.0.0.1:8080/alert   (docs/notify.md)

In the agent's configuration: {\"collector\": {\"address\": \"10.0.0.5:7600\", \"key\": \"…\"}}
`outpost key new --agent NAME` makes a key and its line for the key file.

A record is acknowledged only after it is durable. Ctrl-C ends in order; nothing is lost by killing it either.
Exit code: 0 after an orderly end, 1 when it could not start or go on.";

/// What `outpost collect` is told.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7600")]
    pub listen: SocketAddr,
    /// File of the store; made when it is not there. With less than 1 GiB left on its disk, or a twentieth of a smaller
    /// one, nothing more is taken in: agents keep their records
    #[arg(long, value_name = "FILE", default_value = "outpost.db")]
    pub store: PathBuf,
    /// Print each stored record as one line of JSON (the default when the output is not a terminal)
    #[arg(long, conflicts_with = "pretty")]
    pub json: bool,
    /// Print each stored record as one line for people (the default on a terminal)
    #[arg(long)]
    pub pretty: bool,
    /// Listen beyond this machine although anyone who reaches the port can then acknowledge and so erase records
    #[arg(long)]
    pub insecure: bool,
    /// Send everything on: otlp=http://HOST:4318 (OTLP/HTTP) or syslog=HOST:601 (RFC 5424 over TCP), again and again
    /// until it has arrived; a new receiver gets the store from its beginning. More than once: to each
    #[arg(long, value_name = "RECEIVER")]
    pub forward: Vec<Target>,
    /// Tell of targets that go down or come up, of agents that fall silent, are isolated or start anew, and of incidents:
    /// a JSON document on the standard input of this command, or posted to this http:// URL; one at a time, in order,
    /// again until it has arrived. More than once: to each
    #[arg(long, value_name = "CMD|URL", value_parser = Target::notify)]
    pub notify: Vec<Target>,
    /// Forget how far a receiver is that --forward or --notify does not name any more, written as the log names it
    #[arg(long, value_name = "RECEIVER")]
    pub forget: Vec<String>,
    /// File of the agents' keys (lines `agent key`, or a JSON object): only sessions with them are served
    #[arg(long, value_name = "FILE")]
    pub keys: Option<PathBuf>,
    /// Keep records so long (30d, 12h); older ones go and are told as retired [default: for ever]
    #[arg(long, value_name = "AGE", value_parser = retention::parse_duration)]
    pub keep: Option<i64>,
    /// Let the oldest records go while the store holds more (10GiB); the file does not shrink, its room is used again
    #[arg(long, value_name = "SIZE", value_parser = retention::parse_size)]
    pub max_size: Option<u64>,
    /// Serve /healthz and /metrics of the collector itself there (127.0.0.1:9464)
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub http: Option<SocketAddr>,
    /// Serve agents without a key too
    #[arg(long, requires = "keys")]
    pub allow_clear: bool,
}

/// Runs until SIGINT or SIGTERM; has told everything when it returns.
pub fn run(args: &Args) -> ExitCode {
    match collect(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outpost collect: {error}");
            ExitCode::FAILURE
        }
    }
}

fn collect(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // The second one ends at once, should the orderly end hang.
        signal_hook::flag::register_conditional_shutdown(signal, 1, stop.clone())?;
        signal_hook::flag::register(signal, stop.clone())?;
    }
    let mut options = Options::new(args.listen, args.store.clone());
    options.insecure = args.insecure;
    if let Some(path) = &args.keys {
        options.access = Access::keyed(Keys::read(path)?, args.allow_clear, &key::random()?);
    }
    options.http = args.http;
    options.retention = Retention { keep_us: args.keep, max_bytes: args.max_size };
    let clear = options.access.allows_clear();
    let (server, output) = Server::start(options)?;
    eprintln!("collecting on {} into {}", server.local_address(), args.store.display());
    if let Some(address) = server.http_address() {
        eprintln!("its health and metrics: http://{address}/healthz and http://{address}/metrics");
    }
    if clear && !server.local_address().ip().is_loopback() {
        eprintln!(
            "warning: sessions without a key are served: anyone who reaches this port can acknowledge records, which \
             erases them"
        );
    }
    // A server has opened the store, so that it has its tables.
    let receivers = [&args.forward[..], &args.notify].concat();
    let forwarders = Forwarders::start(&args.store, &receivers, &args.forget, |line| eprintln!("forward {line}"))?;
    let mut printer = Printer::new(Format::of(args.json, args.pretty));
    let ended_by_itself = printer.print_until(&output, &stop);
    let result = server.stop();
    printer.print_until(&output, &stop);
    forwarders.stop();
    result?;
    if ended_by_itself { Err("it ended without being asked to".into()) } else { Ok(()) }
}

/// How records are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line.
    Json,
    /// One line for people, with colour or without.
    Pretty {
        /// Whether the severity is coloured.
        colour: bool,
    },
}

impl Format {
    /// What was asked for, or else what fits standard output; no colour off a terminal or with NO_COLOR
    /// (no-color.org).
    pub fn of(json: bool, pretty: bool) -> Format {
        let terminal = io::stdout().is_terminal();
        if json || (!pretty && !terminal) {
            return Format::Json;
        }
        Format::Pretty { colour: terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }
}

/// Prints what a collector says: records to standard output, lines about it to standard error.
#[derive(Debug)]
pub struct Printer {
    format: Format,
    /// Gone when nobody reads it any more: the collector goes on without.
    out: Option<BufWriter<io::Stdout>>,
}

impl Printer {
    /// Prints in this format.
    pub fn new(format: Format) -> Printer {
        Printer { format, out: Some(BufWriter::new(io::stdout())) }
    }

    /// Prints until `stop` is set and nothing more is there; `true` when the collector ended.
    pub fn print_until(&mut self, output: &Receiver<Output>, stop: &AtomicBool) -> bool {
        loop {
            match output.recv_timeout(SIGNAL_CHECK) {
                Ok(first) => {
                    self.print(&first);
                    // Bounded, so that a stream without pause is shown as it comes.
                    output.try_iter().take(limits::OUTPUT).for_each(|next| self.print(&next));
                    self.flush();
                }
                Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if stop.load(Ordering::Acquire) {
                output.try_iter().take(limits::OUTPUT).for_each(|next| self.print(&next));
                self.flush();
                return false;
            }
        }
    }

    /// Prints one output.
    pub fn print(&mut self, output: &Output) {
        match output {
            Output::Stored(stored) => {
                let line = match self.format {
                    Format::Json => stored.json(),
                    Format::Pretty { colour } => stored.pretty(colour),
                };
                self.write(|out| writeln!(out, "{line}"));
            }
            Output::Notice(line) => eprintln!("collector: {line}"),
            Output::Skipped(count) => {
                eprintln!("collector: {count} lines were not shown because their reader is slow; all are in the store");
            }
        }
    }

    /// Shows what was printed so far.
    pub fn flush(&mut self) {
        self.write(|out| out.flush());
    }

    fn write(&mut self, action: impl FnOnce(&mut BufWriter<io::Stdout>) -> io::Result<()>) {
        let Some(out) = &mut self.out else { return };
        if let Err(error) = action(out) {
            eprintln!("collector: records are no longer shown ({error}); they are stored all the same");
            self.out = None;
        }
    }
}
