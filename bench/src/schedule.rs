//! Whether checks keep their schedule: while most targets hang, beside Prometheus with its blackbox_exporter, and while
//! the status page is hammered; and what a check costs.
//!
//! ```text
//!  Outpost ───────────────────┐    4 targets that answer: when did each probe arrive, and from whom?
//!  Prometheus ▶ blackbox ─────┴──▶ 16 that accept and never say anything
//! ```
//!
//! Lateness is seen where the probes arrive, the same for both: behind the even grid that a prober's own arrivals at one
//! target fit best. What Outpost says of itself stands beside it.

use crate::client::{After, Connection};
use crate::guest::{Guest, Process};
use crate::lab;
use crate::load::wrk;
use crate::namespace::Link;
use crate::report::{Cell, Report, duration, grouped};
use crate::stats::{percentile, range};
use outpost::{limits, watch};
use outpost_cli::fetch::Client;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The columns of its table.
pub const COLUMNS: [&str; 2] = ["Outpost", "Prometheus + blackbox_exporter"];

/// Targets that answer, and targets that hang.
const GOOD: u16 = 4;
const HANGING: u16 = 16;

/// From one probe of a target to the next, and how long one may take.
const INTERVAL: Duration = Duration::from_secs(2);
const TIMEOUT_S: u64 = 1;

/// How long arrivals are looked at, after how long everybody has found his pace.
const WATCHED: Duration = Duration::from_secs(40);
const SETTLE: Duration = Duration::from_secs(6);

/// The first ports of both kinds of targets.
const GOOD_PORT: u16 = 8001;
const HANGING_PORT: u16 = 9001;

/// Connections that a hanging target holds at a time: more than any prober opens within its timeout.
const HELD: usize = 64;

/// How often a target looks for who comes. Half of it is how late an arrival is seen, the same for everybody.
const LOOK: Duration = Duration::from_micros(500);

/// How long a target waits for a request that was begun.
const REQUEST_LIMIT: Duration = Duration::from_secs(1);

/// Clients that hammer the status page, and for how many seconds.
const CLIENTS: u32 = 256;
const HAMMERED_S: u32 = 20;

/// Where blackbox_exporter and Prometheus listen, in our own namespace.
const BLACKBOX: &str = "127.0.0.1:9115";
const PROMETHEUS: &str = "127.0.0.1:9090";

/// How long these two may take until they listen.
const LISTEN_LIMIT: Duration = Duration::from_secs(20);

/// How long an answer of the guest may take, also while it is hammered.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// When a probe came: the target's number, who sent it.
type Arrivals = Arc<Mutex<BTreeMap<(u16, IpAddr), Vec<Instant>>>>;

/// The targets; they end with this.
pub struct Targets {
    host: Ipv4Addr,
    arrivals: Arrivals,
    stop: Arc<AtomicBool>,
}

impl Targets {
    /// Begins to listen at our end of this link.
    pub fn start(host: Ipv4Addr) -> Result<Targets, String> {
        let targets = Targets { host, arrivals: Arrivals::default(), stop: Arc::default() };
        for number in 0..GOOD {
            let (listener, arrivals, stop) =
                (listen(host, GOOD_PORT + number)?, targets.arrivals.clone(), targets.stop.clone());
            thread::spawn(move || answer_all(&listener, number, &arrivals, &stop));
        }
        let listeners =
            (0..HANGING).map(|number| listen(host, HANGING_PORT + number)).collect::<Result<Vec<_>, _>>()?;
        let stop = targets.stop.clone();
        thread::spawn(move || hold_all(&listeners, &stop));
        Ok(targets)
    }

    /// What stands in Outpost's configuration for them: the first so many of them, over and over when there are more.
    fn checks(&self, count: usize) -> Value {
        let check = |(number, url): (usize, String)| {
            json!({
                "name": format!("target-{number:02}"), "owner": "bench", "impact": "none", "runbook": "bench",
                "interval_s": INTERVAL.as_secs(), "timeout_s": TIMEOUT_S, "http": { "url": url },
            })
        };
        self.urls().cycle().take(count).enumerate().map(check).collect()
    }

    fn urls(&self) -> impl Iterator<Item = String> + Clone {
        let host = self.host;
        let ports = (0..GOOD).map(|number| GOOD_PORT + number).chain((0..HANGING).map(|number| HANGING_PORT + number));
        ports.map(move |port| format!("http://{host}:{port}/"))
    }

    /// The probes that this prober began between these moments, by target.
    fn arrived(&self, from: IpAddr, begin: Instant, end: Instant) -> Vec<Vec<f64>> {
        let arrivals = self.arrivals.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let of = |number| {
            let all = arrivals.get(&(number, from)).map_or(&[][..], Vec::as_slice);
            let seen = all.iter().filter(|at| (begin..end).contains(*at));
            seen.map(|at| (*at - begin).as_secs_f64() * 1e6).collect()
        };
        (0..GOOD).map(of).collect()
    }
}

impl Drop for Targets {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

fn listen(host: Ipv4Addr, port: u16) -> Result<TcpListener, String> {
    let listener = TcpListener::bind((host, port)).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|error| format!("a target on {host}:{port}: {error}"))
}

/// A target that answers.
fn answer_all(listener: &TcpListener, number: u16, arrivals: &Arrivals, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        let Ok((stream, from)) = listener.accept() else {
            thread::sleep(LOOK);
            continue;
        };
        let mut arrivals = arrivals.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        arrivals.entry((number, from.ip())).or_default().push(Instant::now());
        drop(arrivals);
        // Whoever says nothing in time is a probe all the same.
        let _ = answer(stream);
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(REQUEST_LIMIT))?;
    let (mut request, mut chunk) = (Vec::new(), [0; 1024]);
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut chunk)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => request.extend_from_slice(&chunk[..count]),
        }
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
}

/// The targets that hang.
fn hold_all(listeners: &[TcpListener], stop: &AtomicBool) {
    let mut held: Vec<VecDeque<TcpStream>> = listeners.iter().map(|_| VecDeque::new()).collect();
    while !stop.load(Ordering::Acquire) {
        for (listener, held) in listeners.iter().zip(&mut held) {
            while let Ok((stream, _)) = listener.accept() {
                held.push_back(stream);
                if held.len() > HELD {
                    held.pop_front();
                }
            }
        }
        thread::sleep(LOOK);
    }
}

/// How late probes came.
#[derive(Debug, Default, PartialEq)]
struct Lateness {
    /// Of each probe, in microseconds.
    late_us: Vec<f64>,
    /// Slots without a probe.
    missed: u64,
}

impl Lateness {
    /// Of arrivals at one target (microseconds, in order), from one slot to the next `interval_us`.
    fn of(arrivals: &[f64], interval_us: f64) -> Lateness {
        let Some(first) = arrivals.first() else { return Lateness::default() };
        let slot = |at: &f64| ((at - first) / interval_us).round();
        // The grid lies where no probe is early.
        let base = arrivals.iter().map(|at| at - slot(at) * interval_us).fold(f64::INFINITY, f64::min);
        let slots = arrivals.last().map_or(0.0, |last| slot(last) + 1.0);
        Lateness {
            late_us: arrivals.iter().map(|at| at - slot(at) * interval_us - base).collect(),
            missed: (slots as u64).saturating_sub(arrivals.len() as u64),
        }
    }

    /// Of all targets.
    fn of_all(targets: &[Vec<f64>]) -> Lateness {
        let interval_us = INTERVAL.as_secs_f64() * 1e6;
        let mut all = Lateness::default();
        for arrivals in targets {
            let one = Lateness::of(arrivals, interval_us);
            all.late_us.extend(one.late_us);
            all.missed += one.missed;
        }
        all
    }

    fn cell(&self) -> Result<Cell, String> {
        let all = percentile(&self.late_us, 50).zip(percentile(&self.late_us, 99)).zip(range(&self.late_us));
        let ((p50, p99), (_, worst)) = all.ok_or("no probe arrived")?;
        let (p50, p99, worst, count) = (duration(p50), duration(p99), duration(worst), self.late_us.len());
        let text = format!("p50 {p50}, p99 {p99}, worst {worst}; {} of {count} slots missed", self.missed);
        Ok(Cell::new(text, json!({ "late_us": self.late_us, "missed": self.missed })))
    }
}

/// Boots an Outpost with so many of these checks.
fn boot(folder: &Path, link: &Link, targets: &Targets, count: usize, icount: bool) -> Result<(Guest, Process), String> {
    let listen = SocketAddr::from((link.host, lab::COLLECTOR_PORT));
    let mut config = lab::config(link, listen);
    config["checks"] = targets.checks(count);
    let guest = lab::guest(folder, "schedule", &config, link.clone())?;
    let icount = if icount { &["-icount", "shift=0"][..] } else { &[] };
    let (process, _) = guest.boot_with(|vm| vm.extra.extend(icount.iter().map(|word| (*word).to_owned())))?;
    Ok((guest, process))
}

/// Lateness while most targets hang: of both probers at once, and of Outpost by its own clock, by instructions.
pub fn lag(report: &mut Report, folder: &Path, link: &Link, targets: &Targets) -> Result<(), String> {
    let none = || Ok(Cell::new("–", json!(null)));
    let (guest, outpost) = boot(folder, link, targets, usize::from(GOOD + HANGING), false)?;
    let peers = prometheus(folder, targets);
    thread::sleep(SETTLE);
    let begin = Instant::now();
    thread::sleep(WATCHED);
    let end = Instant::now();
    let seen = |from: IpAddr| Lateness::of_all(&targets.arrived(from, begin, end)).cell();
    let figure = format!("probes of {GOOD} targets that answer, {HANGING} others hang");
    let how = format!(
        "as they arrive there for {} s, every {} s, behind the grid that fits them best; both at once; load {}",
        WATCHED.as_secs(),
        INTERVAL.as_secs(),
        crate::load_average()
    );
    // Prometheus runs beside the targets, and comes from their own address.
    let theirs = peers.as_ref().map_err(Clone::clone).and_then(|_| seen(link.host.into()));
    report.row(figure, how, vec![seen(link.guest.into()), theirs]);
    drop(peers);
    report.row("the same, as Outpost says itself", histogram_of(), vec![told(&guest), none()]);
    drop(outpost);
    let (guest, outpost) = boot(folder, link, targets, usize::from(GOOD + HANGING), true)?;
    thread::sleep(WATCHED);
    let how = format!(
        "{}, under `-icount shift=0`: an instruction takes a nanosecond, however busy the host is",
        histogram_of()
    );
    report.row("the same by the guest's instructions", how, vec![told(&guest), none()]);
    drop(outpost);
    Ok(())
}

fn histogram_of() -> String {
    String::from("`outpost_probe_start_lag_seconds` of /metrics, of all checks")
}

/// What Outpost says of its own lateness.
fn told(guest: &Guest) -> Result<Cell, String> {
    let client = Client::new(&guest.address().to_string(), ANSWER_LIMIT)?;
    let metrics = String::from_utf8_lossy(&client.get("/metrics")?.body).into_owned();
    let value = |name: &str| metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    let buckets: Vec<(f64, f64)> = metrics.lines().filter_map(bucket).collect();
    let count = value("outpost_probe_start_lag_seconds_count ").ok_or("no histogram of lags in /metrics")?;
    let at_most = |percent: f64| buckets.iter().find(|(_, below)| *below >= count * percent / 100.0).map(|(at, _)| *at);
    let shown = |seconds: Option<f64>| match seconds {
        Some(seconds) if seconds.is_finite() => format!("≤ {}", duration(seconds * 1e6)),
        _ => String::from("beyond all classes"),
    };
    let worst = value("outpost_probe_start_lag_max_seconds ").unwrap_or(f64::NAN);
    let text = format!(
        "p50 {}, p99 {}, worst {}; {} probes",
        shown(at_most(50.0)),
        shown(at_most(99.0)),
        duration(worst * 1e6),
        grouped(count)
    );
    Ok(Cell::new(text, json!({ "buckets": buckets, "count": count, "worst_s": worst })))
}

/// A bucket of the histogram of lags: its upper bound, and how many are not above.
fn bucket(line: &str) -> Option<(f64, f64)> {
    let rest = line.strip_prefix("outpost_probe_start_lag_seconds_bucket{le=\"")?;
    let (bound, count) = rest.split_once("\"} ")?;
    Some((if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? }, count.trim().parse().ok()?))
}

/// Prometheus and blackbox_exporter, probing the same targets at the same pace.
fn prometheus(folder: &Path, targets: &Targets) -> Result<[Process; 2], String> {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok::<_, String>(path)
    };
    let modules = format!("modules:\n  http_2xx:\n    prober: http\n    timeout: {TIMEOUT_S}s\n");
    let urls: Vec<String> = targets.urls().collect();
    let scrape = json!({
        "global": { "scrape_interval": format!("{}s", INTERVAL.as_secs()), "scrape_timeout": "1500ms" },
        "scrape_configs": [{
            "job_name": "blackbox", "metrics_path": "/probe", "params": { "module": ["http_2xx"] },
            "static_configs": [{ "targets": urls }],
            "relabel_configs": [
                { "source_labels": ["__address__"], "target_label": "__param_target" },
                { "source_labels": ["__param_target"], "target_label": "instance" },
                { "target_label": "__address__", "replacement": BLACKBOX },
            ],
        }],
    });
    // JSON is YAML.
    let (modules, scrape) = (write("blackbox.yml", &modules)?, write("prometheus.yml", &scrape.to_string())?);
    let mut blackbox = Command::new("prometheus-blackbox-exporter");
    blackbox.arg(format!("--config.file={}", modules.display())).arg(format!("--web.listen-address={BLACKBOX}"));
    let blackbox = listening(&mut blackbox, &folder.join("blackbox.out"), BLACKBOX)?;
    let mut prometheus = Command::new("prometheus");
    prometheus.arg(format!("--config.file={}", scrape.display()));
    prometheus.arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()));
    prometheus.args([&format!("--web.listen-address={PROMETHEUS}"), "--log.level=warn"]);
    Ok([blackbox, listening(&mut prometheus, &folder.join("prometheus.out"), PROMETHEUS)?])
}

fn listening(command: &mut Command, output: &std::path::PathBuf, address: &str) -> Result<Process, String> {
    let mut process = Process::spawn(command, output)?;
    let deadline = Instant::now() + LISTEN_LIMIT;
    while TcpStream::connect(address).is_err() {
        if Instant::now() >= deadline || !process.is_running() {
            return Err(format!("nobody listens on {address}; see {}", output.display()));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(process)
}

/// The status page while many ask for it at once, and what becomes of the probes meanwhile.
pub fn page(report: &mut Report, folder: &Path, link: &Link, targets: &Targets) -> Result<(), String> {
    let none = || Ok(Cell::new("–", json!(null)));
    let (guest, _outpost) = boot(folder, link, targets, usize::from(GOOD + HANGING), false)?;
    // Its bars and curves have something to show.
    thread::sleep(SETTLE * 2);
    let client = Client::new(&guest.address().to_string(), ANSWER_LIMIT)?;
    let bytes = client.get("/")?.body.len();
    let text = format!("{} bytes", grouped(bytes as f64));
    let figure = format!("status page of {} targets", GOOD + HANGING);
    report.row(figure, "body of GET /", vec![Ok(Cell::new(text, json!(bytes))), none()]);
    let begin = Instant::now();
    let load = wrk(&guest.url_of("/"), CLIENTS, HAMMERED_S);
    let end = Instant::now();
    let cell = load.map(|load| {
        let errors = if load.errors == 0 { String::new() } else { format!(", **{} errors**", load.errors) };
        let (p50, p99) = (duration(load.p50_us), duration(load.p99_us));
        let raw =
            json!({ "p50_us": load.p50_us, "p99_us": load.p99_us, "requests": load.requests, "errors": load.errors });
        Cell::new(format!("p50 {p50}, p99 {p99}, {}/s{errors}", grouped(load.per_second)), raw)
    });
    let how = format!("`wrk -t1 -c{CLIENTS} -d{HAMMERED_S}s --latency`, tap, TCG; load {}", crate::load_average());
    report.row(format!("the page, {CLIENTS} clients at once"), how, vec![cell, none()]);
    let probes = Lateness::of_all(&targets.arrived(link.guest.into(), begin, end)).cell();
    report.row("probes meanwhile", "as they arrive at the targets that answer", vec![probes, none()]);
    // That it still answers others.
    let alive = Connection::open(guest.address())?.get(guest.path, After::Close)?;
    if alive == 200 { Ok(()) } else { Err(format!("{} answers {alive} after that", guest.path)) }
}

/// What a check costs in memory.
pub fn cost(report: &mut Report, folder: &Path, link: &Link, targets: &Targets) -> Result<(), String> {
    let none = || Ok(Cell::new("–", json!(null)));
    let statics = size_of::<watch::Memory<'_>>();
    let each = statics as f64 / limits::CHECKS as f64;
    let text = format!(
        "{} bytes each, room for {}: {} KiB of the image's memory",
        grouped(each),
        limits::CHECKS,
        statics / 1024
    );
    report.row(
        "a check's room",
        "`size_of::<watch::Memory>()`; there whether it is used or not",
        vec![Ok(Cell::new(text, json!(statics))), none()],
    );
    let mut resident = Vec::new();
    for count in [0, limits::CHECKS] {
        let (_guest, process) = boot(folder, link, targets, count, false)?;
        thread::sleep(SETTLE);
        resident.push(process.resident_kib()?);
    }
    let text = resident.iter().map(|kib| format!("{:.1} MiB", *kib as f64 / 1024.0)).collect::<Vec<_>>().join(" and ");
    let figure = format!("QEMU resident, without a check and with {}", limits::CHECKS);
    let how = format!("VmRSS, {} s after the first answer", SETTLE.as_secs());
    report.row(figure, how, vec![Ok(Cell::new(text, json!(resident))), none()]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_behind_the_best_grid() {
        // Measured from the first arrival, one late beginning would make all others early.
        let even = Lateness::of(&[30.0, 100.0, 200.0, 310.0], 100.0);
        assert_eq!(even, Lateness { late_us: vec![30.0, 0.0, 0.0, 10.0], missed: 0 });
        let gaps = Lateness::of(&[0.0, 100.0, 400.0], 100.0);
        assert_eq!((gaps.missed, gaps.late_us), (2, vec![0.0; 3]));
        assert!(Lateness::of(&[], 100.0).cell().is_err());
    }

    #[test]
    fn buckets_are_read_as_they_are_written() {
        // A bucket that is not understood would move the percentile to the next.
        assert_eq!(bucket("outpost_probe_start_lag_seconds_bucket{le=\"0.001\"} 7"), Some((0.001, 7.0)));
        assert_eq!(bucket("outpost_probe_start_lag_seconds_bucket{le=\"+Inf\"} 9"), Some((f64::INFINITY, 9.0)));
        assert_eq!(bucket("outpost_probe_start_lag_seconds_count 9"), None);
    }

    #[test]
    fn a_target_tells_who_came_when() {
        // A target that does not count would make any prober punctual.
        let targets = Targets::start(Ipv4Addr::LOCALHOST).unwrap();
        let begin = Instant::now();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, GOOD_PORT)).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("ok"), "{answer}");
        let arrived = targets.arrived(Ipv4Addr::LOCALHOST.into(), begin, Instant::now());
        assert_eq!(arrived.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 0, 0]);
    }
}
