//! What checks over TLS cost, by the kind of key the server has: guest instructions of one, and what becomes of those who ask
//! the agent while many targets shake hands.
//!
//! ```text
//!  8 × openssl s_server ◀── TLS 1.3 ── Outpost ◀── GET /livez, all the time ── our client
//! ```
//!
//! Each instruction is a nanosecond of the guest's time, by which the frames on its wire are dated, too. While it sleeps that
//! time is the host's: a busy host makes some answers look slow, and never one quick.

use crate::client::{After, Connection};
use crate::command::run;
use crate::counter::{Count, Counter, Plugin};
use crate::guest::{Guest, Process};
use crate::lab;
use crate::namespace::Link;
use crate::report::{Cell, Report, duration, grouped};
use crate::stats::{median, percentile, range, spread_percent};
use outpost_cli::fetch::Client;
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// The columns of its table: kinds of keys.
pub const COLUMNS: [&str; 3] = ["P-256", "RSA-2048", "Ed25519"];

/// How `openssl genpkey` is asked for each.
const KEYS: [&str; 3] = [
    "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
    "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
    "-algorithm ED25519",
];

/// Targets that shake hands at once, and the port of the first; each kind of key has as many ports.
const TARGETS: u16 = 8;
const PORT: u16 = 9443;

/// From one probe of a target to the next.
const INTERVAL: Duration = Duration::from_secs(2);

/// The name in the certificates.
const NAME: &str = "shop.example";

/// How long openssl may take, to make a key or to listen.
const OPENSSL_LIMIT: Duration = Duration::from_secs(30);

/// How long the guest may take until all targets are up, where each instruction is counted.
const UP_LIMIT: Duration = Duration::from_secs(60);

/// Checks that are counted of each kind.
const COUNTED: usize = 4;

/// A guest that executes less than `CALM_MOST` instructions in this time is between two checks; a check is far more.
const CALM: Duration = Duration::from_millis(400);
const CALM_MOST: u64 = 200_000;

/// How long the next check may be in coming, and in ending.
const CHECK_LIMIT: Duration = Duration::from_secs(30);

/// How long the agent is asked while targets shake hands, and the pause between two questions.
const ASKED: Duration = Duration::from_secs(12);
const PAUSE: Duration = Duration::from_millis(1);

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// Bytes of a pcap file's header, and of that of each frame: seconds, microseconds, bytes here, bytes there.
const PCAP_HEADER: usize = 24;
const FRAME_HEADER: usize = 16;

/// Servers that show certificates, as many of each kind; they end with this.
pub struct Servers {
    /// What pins the key of each kind.
    pins: Vec<String>,
    link: Link,
    _running: Vec<Process>,
}

impl Servers {
    /// Makes keys and certificates in `folder` and begins to listen at our end of this link.
    pub fn start(folder: &Path, link: &Link) -> Result<Servers, String> {
        let (mut pins, mut running) = (Vec::new(), Vec::new());
        let mut ports = PORT..;
        for (number, key) in KEYS.iter().enumerate() {
            pins.push(certificate(folder, number, key)?);
            for port in ports.by_ref().take(TARGETS.into()) {
                running.push(server(folder, number, SocketAddr::from((link.host, port)))?);
            }
        }
        Ok(Servers { pins, link: link.clone(), _running: running })
    }

    /// What stands in Outpost's configuration for so many targets of one kind, with the key pinned or not.
    fn checks(&self, kind: usize, count: u16, pinned: bool) -> Value {
        let first = PORT + kind as u16 * TARGETS;
        let check = |port: u16| {
            let mut https = json!({ "url": format!("https://{}:{port}/", self.link.host) });
            match pinned {
                true => https["pin"] = json!(self.pins[kind]),
                false => https["server_name"] = json!(NAME),
            }
            json!({
                "name": format!("target-{port}"), "owner": "bench", "impact": "none", "runbook": "bench",
                "interval_s": INTERVAL.as_secs(), "timeout_s": INTERVAL.as_secs(), "rise": 1, "https": https,
            })
        };
        (first..first + count).map(check).collect()
    }

    /// Boots an Outpost that watches them, and waits until they are up.
    fn watched(&self, folder: &Path, checks: Value, arguments: Vec<String>) -> Result<(Guest, Process), String> {
        let listen = SocketAddr::from((self.link.host, lab::COLLECTOR_PORT));
        let mut config = lab::config(&self.link, listen);
        config["checks"] = checks;
        let mut guest = lab::guest(folder, "tls", &config, self.link.clone())?;
        guest.boot_limit = UP_LIMIT;
        let (process, _) = guest.boot_with(|vm| vm.extra.extend(arguments))?;
        let client = Client::new(&guest.address().to_string(), ANSWER_LIMIT)?;
        let deadline = Instant::now() + UP_LIMIT;
        loop {
            let status: Value = serde_json::from_slice(&client.get("/status")?.body).map_err(|e| e.to_string())?;
            let targets = status["targets"].as_array().map_or(&[][..], Vec::as_slice);
            let Some(down) = targets.iter().find(|target| target["state"] != "up") else { break };
            if Instant::now() >= deadline {
                return Err(format!("a target is not up: {} ({})", down["state"], down["reason"]));
            }
            thread::sleep(CALM);
        }
        Ok((guest, process))
    }
}

fn file(folder: &Path, kind: usize, name: &str) -> PathBuf {
    folder.join(format!("tls{kind}.{name}"))
}

/// Makes a key and a certificate for it; the SHA-256 of the public key.
fn certificate(folder: &Path, kind: usize, key: &str) -> Result<String, String> {
    let [private, certificate] = ["key", "crt"].map(|name| file(folder, kind, name).display().to_string());
    let script = format!(
        "openssl genpkey {key} -out '{private}' && \
         openssl req -new -x509 -key '{private}' -days 30 -subj /CN={NAME} -addext subjectAltName=DNS:{NAME} \
         -out '{certificate}' && openssl pkey -in '{private}' -pubout -outform DER | sha256sum"
    );
    let hash = run(Command::new("sh").args(["-ec", &script]), OPENSSL_LIMIT)?;
    hash.split_whitespace().next().map(String::from).ok_or_else(|| String::from("sha256sum says nothing"))
}

/// A server with this kind of key, listening.
fn server(folder: &Path, kind: usize, listen: SocketAddr) -> Result<Process, String> {
    let mut command = Command::new("openssl");
    command.args(["s_server", "-quiet", "-www", "-tls1_3", "-accept", &listen.to_string(), "-key"]);
    command.arg(file(folder, kind, "key")).arg("-cert").arg(file(folder, kind, "crt"));
    let output = folder.join(format!("s_server-{}.out", listen.port()));
    let mut process = Process::spawn(&mut command, &output)?;
    let deadline = Instant::now() + OPENSSL_LIMIT;
    while TcpStream::connect(listen).is_err() {
        if Instant::now() >= deadline || !process.is_running() {
            return Err(format!("openssl s_server does not listen on {listen}; see {}", output.display()));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(process)
}

/// Guest instructions of one check, by kind of key, and of the server's signature alone.
pub fn keys(report: &mut Report, folder: &Path, servers: &Servers, plugin: &Plugin) {
    let counted = |kind, pinned| {
        let (_guest, _process) = servers.watched(folder, servers.checks(kind, 1, pinned), plugin.arguments(None))?;
        let bursts = bursts(&plugin.open()?)?;
        let middle = median(&bursts).ok_or("no check was seen")?;
        Ok::<_, String>((middle, spread_percent(&bursts).unwrap_or(0.0), bursts))
    };
    let each: Vec<_> = (0..KEYS.len()).map(|kind| [counted(kind, true), counted(kind, false)]).collect();
    let cell = |(middle, spread, bursts): &(f64, f64, Vec<f64>)| {
        Cell::new(format!("{} ({spread:.1} %)", grouped(*middle)), json!(bursts))
    };
    let how = format!(
        "counting plugin, `-icount shift=0`: median of {COUNTED} checks (their spread), each a connection, TLS 1.3 \
         (keys agreed on over P-256), GET and its answer"
    );
    for (place, figure) in ["a check with the server's key pinned", "… without a pin: nobody's signature is checked"]
        .into_iter()
        .enumerate()
    {
        let cells = each.iter().map(|kind| kind[place].as_ref().map(cell).map_err(String::clone)).collect();
        report.row(format!("guest instructions of {figure}"), how.clone(), cells);
    }
    let cells = each.iter().map(|[pinned, not]| {
        let signature = pinned.as_ref().map_err(String::clone)?.0 - not.as_ref().map_err(String::clone)?.0;
        Ok(Cell::new(grouped(signature), json!(signature)))
    });
    report.row("… of which the server's signature", "difference of the two rows above", cells.collect());
}

/// What each of some checks executed, from the calm before it to the calm after it.
fn bursts(counter: &Counter) -> Result<Vec<f64>, String> {
    let mut bursts = Vec::new();
    let mut before = calm(counter)?;
    while bursts.len() < COUNTED {
        let deadline = Instant::now() + CHECK_LIMIT;
        while (counter.read()? - before).instructions < CALM_MOST * 2 {
            if Instant::now() >= deadline {
                return Err(format!("no check came within {CHECK_LIMIT:?}"));
            }
            thread::sleep(CALM / 20);
        }
        let after = calm(counter)?;
        bursts.push((after - before).instructions as f64);
        before = after;
    }
    Ok(bursts)
}

/// Waits until the guest is between two checks.
fn calm(counter: &Counter) -> Result<Count, String> {
    let deadline = Instant::now() + CHECK_LIMIT;
    let mut before = counter.read()?;
    loop {
        thread::sleep(CALM);
        let now = counter.read()?;
        if (now - before).instructions < CALM_MOST {
            return Ok(now);
        }
        if Instant::now() >= deadline {
            return Err(format!("the guest did not come to rest within {CHECK_LIMIT:?}"));
        }
        before = now;
    }
}

/// How long those wait who ask the agent while its targets shake hands.
pub fn handshakes(report: &mut Report, folder: &Path, servers: &Servers) {
    let cells = (0..KEYS.len()).map(|kind| {
        let delays = delays_with(folder, servers, kind)?;
        let all = percentile(&delays, 50).zip(percentile(&delays, 99)).zip(range(&delays));
        let ((p50, p99), (_, worst)) = all.ok_or("nothing was answered")?;
        let (count, handshakes) = (delays.len(), f64::from(TARGETS) * ASKED.as_secs_f64() / INTERVAL.as_secs_f64());
        let text = format!("p50 {}, p99 {}, worst {}", duration(p50), duration(p99), duration(worst));
        let text = format!("{text} of {} beside some {handshakes:.0} handshakes", grouped(count as f64));
        Ok(Cell::new(text, json!({ "p50_us": p50, "p99_us": p99, "worst_us": worst, "count": count })))
    });
    let cells = cells.collect();
    let how = format!(
        "from a question on the guest's wire to its answer, in guest time (`-icount shift=0`), a question every {} ms for \
         {} s; load {}",
        PAUSE.as_millis(),
        ASKED.as_secs(),
        crate::load_average()
    );
    report.row(format!("GET /livez while {TARGETS} targets are checked over TLS"), how, cells);
}

/// Each delay in microseconds, with targets of this kind.
fn delays_with(folder: &Path, servers: &Servers, kind: usize) -> Result<Vec<f64>, String> {
    let dump = folder.join("tls.pcap");
    let dumped = format!("filter-dump,id=frames,netdev=net0,file={}", dump.display());
    let arguments = ["-icount", "shift=0", "-rtc", "clock=vm", "-object", &dumped].map(String::from).to_vec();
    let (guest, process) = servers.watched(folder, servers.checks(kind, TARGETS, true), arguments)?;
    let mut client = Connection::open(guest.address())?;
    let begin = Instant::now();
    while begin.elapsed() < ASKED {
        match client.get(guest.path, After::Keep)? {
            200 => thread::sleep(PAUSE),
            status => return Err(format!("{} is answered with {status}", guest.path)),
        }
    }
    drop(process);
    let file = std::fs::read(&dump).map_err(|error| format!("{}: {error}", dump.display()))?;
    Ok(delays(&file, guest.path))
}

/// How long each GET of this path waited for its answer, in microseconds, from what the guest's wire carried.
fn delays(file: &[u8], path: &str) -> Vec<f64> {
    let asks = format!("GET {path} ");
    let (mut rest, mut asked, mut delays) = (file.get(PCAP_HEADER..).unwrap_or_default(), None, Vec::new());
    while let Some((header, frames)) = rest.split_first_chunk::<FRAME_HEADER>() {
        let [seconds, micros, len, _] =
            [0, 4, 8, 12].map(|at| u32::from_le_bytes(header[at..].first_chunk().copied().unwrap_or_default()));
        let at = f64::from(seconds) * 1e6 + f64::from(micros);
        let Some((frame, next)) = frames.split_at_checked(len as usize) else { break };
        let has = |text: &[u8]| frame.windows(text.len()).any(|bytes| bytes == text);
        if has(asks.as_bytes()) {
            asked = Some(at);
        } else if has(b"HTTP/1.1 200 OK\r\n")
            && let Some(asked) = asked.take()
        {
            delays.push(at - asked);
        }
        rest = next;
    }
    delays
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_dated_by_its_own_question() {
        // Of a file that ends within a frame, as QEMU leaves it, the rest counts; an answer to nobody is none.
        let frame = |seconds: u32, micros: u32, text: &str| {
            let len = text.len() as u32;
            [seconds, micros, len, len].iter().flat_map(|word| word.to_le_bytes()).chain(text.bytes()).collect()
        };
        let frames: [Vec<u8>; 6] = [
            frame(1, 0, "HTTP/1.1 200 OK\r\n"),
            frame(1, 10, "xxGET /livez HTTP/1.1\r\n"),
            frame(1, 500, "GET /status HTTP/1.1\r\n"),
            frame(2, 30, "xxHTTP/1.1 200 OK\r\n"),
            frame(2, 40, "GET /livez HTTP/1.1\r\n"),
            frame(2, 50, "HTTP/1.1 200 OK\r\n"),
        ];
        let file = [vec![0; PCAP_HEADER], frames.concat()].concat();
        assert_eq!(delays(&file, "/livez"), [1_000_020.0, 10.0]);
        assert_eq!(delays(&file[..file.len() - 1], "/livez"), [1_000_020.0]);
        assert_eq!(delays(&[], "/livez"), [0.0; 0]);
    }
}
