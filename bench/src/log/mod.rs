//! What the log costs: bytes per record, instructions to emit one, records each second, time until one is safe.
//!
//! Everything is measured with the records of one reference hour ([`hour`]), in the forms in which production sends
//! them. Bytes are exact and the same in every run; what is timed is one run on one machine, beside rsyslog.

mod ack;
mod bytes;
mod emit;
mod hour;
mod receivers;
mod throughput;

use crate::client::Connection;
use crate::counter::Plugin;
use crate::image::Image;
use crate::lab;
use crate::namespace::Link;
use crate::report::{Cell, Report, duration, grouped};
use crate::stats::{median, percentile, range};
use ack::Watcher;
use hour::{Boot, Hour};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::thread;
use std::time::Duration;
use throughput::{Collector, Receiver, Rsyslog, Run};

/// Functions that are listed of an emitted record.
const LISTED: usize = 12;

/// Senders at the same time, and how often each is measured.
const SENDERS: [usize; 3] = [1, 8, 64];
const ROUNDS: usize = 3;

/// Records that are followed to their acknowledgement, the shortest time between two, and how long a guest is left
/// alone before.
const FOLLOWED: u64 = 200;
const APART: Duration = Duration::from_millis(100);
const SETTLE: Duration = Duration::from_secs(3);

/// The columns of the log's table.
pub const COLUMNS: [&str; 2] = ["measured", "promise"];

/// Rows of bytes per record, and what the hour consists of.
pub fn bytes(report: &mut Report, folder: &Path) -> Result<(), String> {
    let hour = hour::reference();
    let store = folder.join("hour.db");
    let mut row = |figure: &str, promise: Option<f64>, bytes: Result<f64, String>, how: &str| {
        let measured = bytes.map(|bytes| Cell::new(format!("{bytes:.1}"), json!(bytes)));
        let promise = Cell::new(promise.map_or(String::from("–"), |most| format!("≤ {most:.0}")), json!(promise));
        report.row(format!("bytes per record, {figure}"), how, vec![measured, Ok(promise)]);
    };
    row(
        "encoded",
        Some(bytes::ENCODED_PROMISE),
        Ok(bytes::encoded(&hour)),
        "seq, time, severity, transaction, event, fields",
    );
    row(
        "in the ring",
        Some(bytes::RING_PROMISE),
        Ok(bytes::in_the_ring(&hour)),
        "whole segments of 4 KiB with their index: lengths, CRCs and what is left over included",
    );
    let (clear, keyed) = bytes::on_the_wire(&hour);
    row("on the wire, full batches, clear", Some(bytes::WIRE_PROMISE), Ok(clear), "Data frames as TCP carries them");
    row("on the wire, full batches, keyed", Some(bytes::WIRE_PROMISE), Ok(keyed), "the same, sealed");
    let (clear, keyed) = bytes::alone_on_the_wire(&hour);
    row(
        "on the wire, one to a frame, clear",
        None,
        Ok(clear),
        "what an agent sends that has one record to tell in 20 ms",
    );
    row("on the wire, one to a frame, keyed", None, Ok(keyed), "the same, sealed");
    let stored = bytes::in_the_store(&hour, &store);
    row(
        "in SQLite",
        Some(bytes::STORE_PROMISE),
        stored,
        "the store's file after the collector took the hour, with all indexes, not vacuumed",
    );
    let forwarded = receivers::forward(&hour, &store);
    let each = |bytes: usize| bytes as f64 / hour.len() as f64;
    let syslog = forwarded.as_ref().map(|sent| each(sent.syslog.len())).map_err(String::clone);
    row("as RFC 5424 over TCP", None, syslog, "what our forwarder sends of the same records, octet-counted");
    let otlp = forwarded.as_ref().map(|sent| each(sent.otlp.iter().map(Vec::len).sum())).map_err(String::clone);
    row(
        "as OTLP/HTTP protobuf",
        None,
        otlp,
        "bodies of our forwarder's requests, up to 256 records each, not compressed",
    );
    report.condition("reference hour", summary(&hour));
    report.note("The reference hour by event", by_event(&hour));
    Ok(())
}

/// Guest instructions of one record, and where they go.
pub fn emit(report: &mut Report, plugin: &Plugin, image: &Image, folder: &Path) -> Result<(), String> {
    let run = |rate, seconds| emit::Load::run(plugin, image, folder, rate, seconds);
    let [slow, fast] = emit::RATES;
    let (few, many) = (run(slow, emit::FITTING_S)?, run(fast, emit::FITTING_S)?);
    let again = run(fast, emit::FITTING_S)?;
    let spread = again.each_beyond(&few) / many.each_beyond(&few) * 100.0 - 100.0;
    let mut row = |figure: &str, each: f64, how: String| {
        report.row(figure, how, vec![Ok(Cell::new(grouped(each), json!(each))), Ok(Cell::new("–", json!(null)))]);
    };
    let how = format!(
        "counting plugin, `-icount shift=0,sleep=off`: {} records less {} in {} s, no network; a repetition differs by {spread:.3} %",
        grouped(many.records as f64),
        grouped(few.records as f64),
        emit::FITTING_S,
    );
    row("guest instructions per record emitted", many.each_beyond(&few), how);
    let (full, overflowing) = (run(fast, emit::FULL_S)?, run(fast, emit::OVERFLOWING_S)?);
    let how = format!(
        "the same: {} s less {} s at {}/s; with 1/50 of a poll's own cost",
        emit::OVERFLOWING_S,
        emit::FULL_S,
        grouped(fast as f64)
    );
    row("guest instructions per record emitted into a full ring", overflowing.each_beyond(&full), how);
    let mut text = String::from("| instructions | function |\n|---:|---|\n");
    for (name, each) in many.functions_beyond(&few, image).into_iter().take(LISTED) {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "| {each:.1} | `{name}` |");
    }
    report.note("One emitted record by function", text);
    Ok(())
}

/// One who takes records.
struct Contender<'a> {
    name: &'static str,
    /// When a run ends.
    until: &'static str,
    receiver: Result<Box<dyn Receiver + 'a>, String>,
}

impl Contender<'_> {
    fn take(&mut self, senders: usize) -> Result<Run, String> {
        self.receiver.as_mut().map_err(|problem| problem.clone())?.take(senders)
    }
}

/// Records each second, of the collector and of rsyslog in turns.
pub fn throughput(report: &mut Report, folder: &Path) -> Result<(), String> {
    let hour = hour::reference();
    let store = folder.join("forwarded.db");
    bytes::collect(&hour, &store)?;
    let stream = receivers::forward(&hour, &store)?.syslog;
    let rsyslog =
        |synced| -> Result<Box<dyn Receiver>, String> { Ok(Box::new(Rsyslog::start(folder, &stream, synced)?)) };
    let collector = Collector::start(folder, &hour).map(|collector| Box::new(collector) as _);
    let mut contenders = [
        Contender {
            name: "outpost collect",
            until: "until the last record is durable and acknowledged",
            receiver: collector,
        },
        Contender {
            name: "rsyslog",
            until: "until the last line is in its file; it acknowledges nothing and syncs nothing",
            receiver: rsyslog(false),
        },
        Contender {
            name: "rsyslog with sync=\"on\"",
            until: "the same, with an fsync after each of its batches; it acknowledges nothing",
            receiver: rsyslog(true),
        },
    ];
    for senders in SENDERS {
        let mut runs = contenders.each_ref().map(|_| Vec::new());
        for _ in 0..ROUNDS {
            for (contender, runs) in contenders.iter_mut().zip(&mut runs) {
                runs.push(contender.take(senders));
            }
        }
        for (Contender { name, until, .. }, runs) in contenders.iter().zip(runs) {
            let plural = if senders == 1 { "" } else { "s" };
            let figure = format!("records per second from {senders} sender{plural}, {name}");
            let records = grouped(throughput::RECORDS as f64);
            let load = crate::load_average();
            let how = format!("median of {ROUNDS}, taking turns: {records} records by TCP, {until}; load {load}");
            report.row(figure, how, vec![rate(runs), Ok(Cell::new("–", json!(null)))]);
        }
    }
    Ok(())
}

/// The cell of a receiver's runs.
fn rate(runs: Vec<Result<Run, String>>) -> Result<Cell, String> {
    let runs: Vec<Run> = runs.into_iter().collect::<Result<_, _>>()?;
    let rates: Vec<f64> = runs.iter().map(|run| run.per_second).collect();
    let cpu: Vec<f64> = runs.iter().map(|run| run.cpu_us).collect();
    let (Some(middle), Some((low, high)), Some(cpu_middle)) = (median(&rates), range(&rates), median(&cpu)) else {
        return Err(String::from("nothing was measured"));
    };
    let text = format!("{} ({}–{}), {cpu_middle:.1} µs CPU each", grouped(middle), grouped(low), grouped(high));
    Ok(Cell::new(text, json!({ "per_second": rates, "cpu_us": cpu })))
}

/// From emission to durable acknowledgement, of a guest that has nothing else to do.
pub fn ack(report: &mut Report, folder: &Path, link: Link) -> Result<(), String> {
    let watched = SocketAddr::from((link.host, lab::COLLECTOR_PORT));
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, lab::COLLECTOR_PORT));
    let _collector = lab::collector(folder, "ack", listen, &[])?;
    let watcher = Watcher::start(watched, listen)?;
    let guest = lab::guest(folder, "ack", &lab::config(&link, watched), link)?;
    let (_process, _) = guest.boot()?;
    thread::sleep(SETTLE);
    let mut connection = Connection::open(guest.address())?;
    let (mut told, mut acknowledged) = (Vec::new(), Vec::new());
    for number in 0..FOLLOWED {
        // Not in step with the guest's seconds.
        thread::sleep(APART + Duration::from_millis(number * 7 % 50));
        let way = watcher.follow(&mut connection, guest.path, number)?;
        told.push(way.told_us);
        acknowledged.push(way.acknowledged_us);
    }
    let mut row = |figure: &str, times: Vec<f64>, how: &str| {
        let cell = percentile(&times, 50)
            .zip(percentile(&times, 99))
            .map(|(p50, p99)| Cell::new(format!("p50 {}, p99 {}", duration(p50), duration(p99)), json!(times)));
        let how = format!("{how}; {FOLLOWED} records, load {}", crate::load_average());
        report.row(figure, how, vec![cell.ok_or_else(|| String::from("no record")), Ok(Cell::new("–", json!(null)))]);
    };
    row(
        "time from emission to durable acknowledgement, idle",
        acknowledged,
        "microvm under TCG, collector on the host over a tap, clear; from before the request that is recorded until the Ack passes the tap",
    );
    row("… of it until the record has left the guest", told, "the same; an agent waits up to 20 ms for company");
    Ok(())
}

fn summary(hour: &Hour) -> String {
    let boots = hour.boots.iter().map(|boot| grouped(boot.bodies.len() as f64)).collect::<Vec<_>>().join(" and ");
    format!("{} records of two boots ({boots}), made by bench/src/log/hour.rs", grouped(hour.len() as f64))
}

fn by_event(hour: &Hour) -> String {
    let mut events: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut buffer = [0; outpost_wire::limits::RECORD_MAX];
    for record in hour.boots.iter().flat_map(Boot::records) {
        let spec = outpost_wire::CATALOGUE.iter().find(|spec| spec.id == record.event);
        let (count, bytes) = events.entry(spec.map_or("?", |spec| spec.name)).or_default();
        *count += 1;
        *bytes += record.encode(&mut buffer).unwrap_or(0);
    }
    let mut events: Vec<_> = events.into_iter().collect();
    events.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    let mut text = String::from("| records | bytes each, encoded | event |\n|---:|---:|---|\n");
    for (name, (count, bytes)) in events {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "| {} | {:.1} | `{name}` |", grouped(count as f64), bytes as f64 / count as f64);
    }
    text
}
