//! What the log costs: bytes per record, instructions to emit one, records each second, time until one is safe.
//!
//! Everything is measured with the records of one reference hour ([`hour`]), in the forms in which production sends
//! them. Bytes are exact and the same in every run; what is timed is one run on one machine, beside rsyslog.

mod bytes;
mod hour;
mod receivers;

use crate::report::{Cell, Report, grouped};
use hour::{Boot, Hour};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

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
