//! What the HTTP interface does under load, path by path, and under attack.

use crate::attack::{Attack, Pace};
use crate::client::{After, Connection};
use crate::guest::{Guest, Process};
use crate::load::wrk;
use crate::report::{Cell, Report, duration, grouped};
use crate::stats::{percentile, range};
use serde_json::json;
use std::thread;
use std::time::{Duration, Instant};

/// The columns of its table.
pub const COLUMNS: [&str; 2] = ["measured", "promise"];

/// The paths: the commonest health check, the largest answer that is asked again and again, and what people look at.
const PATHS: [&str; 3] = ["/livez", "/metrics", "/"];

/// Connections that wrk keeps open.
const CONNECTIONS: [u32; 4] = [1, 8, 64, 256];

/// Connections that say nothing, and as many handshakes that are never finished.
const ATTACKERS: usize = 1000;

/// How long the poller asks, with and without an attack, and how long it waits between two questions.
const POLLED: Duration = Duration::from_secs(15);
const POLL_EVERY: Duration = Duration::from_millis(25);

/// How long an attack lasts before it is looked at, and how long a guest is left alone after its first answer.
const SETTLE: Duration = Duration::from_secs(3);

/// How long a guest is left alone after an attack: its half-open connections are given up after 10 s.
const AFTERMATH: Duration = Duration::from_secs(12);

/// The promise: a poller gets its answer within this time, in milliseconds.
const ANSWER_PROMISE_MS: f64 = 100.0;

/// Each path at each number of connections, the paths taking turns.
pub fn paths(report: &mut Report, guest: &Guest, process: &Process, seconds: u32) {
    for connections in CONNECTIONS {
        for path in PATHS {
            let plural = if connections == 1 { "" } else { "s" };
            let figure = format!("GET {path}, {connections} connection{plural}");
            let cell = load(guest, process, path, connections, seconds);
            let how =
                format!("`wrk -t1 -c{connections} -d{seconds}s --latency`, tap, TCG; load {}", crate::load_average());
            report.row(figure, how, vec![cell, Ok(Cell::new("–", json!(null)))]);
        }
    }
}

fn load(guest: &Guest, process: &Process, path: &str, connections: u32, seconds: u32) -> Result<Cell, String> {
    let status = Connection::open(guest.address())?.get(path, After::Close)?;
    if status != 200 {
        return Err(format!("{path} answers {status}"));
    }
    let before = process.cpu_time()?;
    let result = wrk(&guest.url_of(path), connections, seconds)?;
    let per_cpu_second = result.requests as f64 / (process.cpu_time()? - before).as_secs_f64();
    let errors = if result.errors == 0 { String::new() } else { format!(", **{} errors**", result.errors) };
    let text = format!(
        "p50 {}, p99 {}, {}/s, {} per QEMU-CPU-second{errors}",
        duration(result.p50_us),
        duration(result.p99_us),
        grouped(result.per_second),
        grouped(per_cpu_second)
    );
    let raw = json!({
        "p50_us": result.p50_us, "p99_us": result.p99_us, "requests": result.requests,
        "per_second": result.per_second, "requests_per_qemu_cpu_second": per_cpu_second, "errors": result.errors,
    });
    Ok(Cell::new(text, raw))
}

/// A poller's answers while an attacker holds what it can.
pub fn attack(report: &mut Report, guest: &Guest) -> Result<(), String> {
    thread::sleep(SETTLE);
    let how = format!(
        "a new connection and GET {} every {} ms for {} s; load {}",
        guest.path,
        POLL_EVERY.as_millis(),
        POLLED.as_secs(),
        crate::load_average()
    );
    report.row("a poller's answer, nobody else there", how, vec![poll(guest).cell(), Ok(Cell::new("–", json!(null)))]);
    let promise = format!("worst ≤ {ANSWER_PROMISE_MS:.0} ms, none fails");
    for (pace, name) in [(Pace::Even, "renewed one by one"), (Pace::Bursts, "renewed all at once each second")] {
        let attack = Attack::begin(&guest.link, guest.address(), guest.path, ATTACKERS, pace)?;
        thread::sleep(SETTLE);
        let polled = poll(guest);
        let begun = grouped(attack.end()? as f64);
        let figure =
            format!("… while another address has {ATTACKERS} idle + {ATTACKERS} half-open connections, {name}");
        let how = format!("the same; {begun} SYNs in all; load {}", crate::load_average());
        report.row(figure, how, vec![polled.cell(), Ok(Cell::new(promise.clone(), json!(ANSWER_PROMISE_MS)))]);
        // What the attack left behind is given up by the guest.
        thread::sleep(AFTERMATH);
    }
    Ok(())
}

/// What became of a poller's questions.
#[derive(Default)]
struct Polled {
    /// How long each answer took from the first SYN on, in microseconds.
    times: Vec<f64>,
    /// Why others have none.
    failures: Vec<String>,
}

impl Polled {
    fn cell(&self) -> Result<Cell, String> {
        let all = percentile(&self.times, 50).zip(percentile(&self.times, 99)).zip(range(&self.times));
        let ((p50, p99), (_, worst)) = all.ok_or_else(|| self.failures.first().cloned().unwrap_or_default())?;
        let (p50, p99, worst, count) = (duration(p50), duration(p99), duration(worst), self.times.len());
        let failed = match self.failures.first() {
            None => String::new(),
            Some(first) => format!(", **{} failed**, the first by: {first}", self.failures.len()),
        };
        let raw = json!({ "times_us": self.times, "failures": self.failures });
        Ok(Cell::new(format!("worst {worst} of {count}, p99 {p99}, p50 {p50}{failed}"), raw))
    }
}

fn poll(guest: &Guest) -> Polled {
    let (mut polled, end) = (Polled::default(), Instant::now() + POLLED);
    while Instant::now() < end {
        let begin = Instant::now();
        let answer = Connection::open(guest.address()).and_then(|mut open| open.get(guest.path, After::Close));
        match answer {
            Ok(200) => polled.times.push(begin.elapsed().as_secs_f64() * 1e6),
            Ok(status) => polled.failures.push(format!("status {status}")),
            Err(problem) => polled.failures.push(problem),
        }
        thread::sleep(POLL_EVERY.saturating_sub(begin.elapsed()));
    }
    polled
}
