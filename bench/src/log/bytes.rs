//! Bytes per record of the reference hour, in each of the forms that a record takes on its way.
//!
//! All of it by the code that production runs: the agent's encoder and ring, the frames of the session, the collector
//! with its SQLite store. Nothing here is timed, so every run finds the same numbers.

use super::hour::{Boot, Hour};
use outpost_cli::collect::{Access, Collector, Now, Store};
use outpost_cli::store_read::Reader;
use outpost_wire::limits::FRAME_MAX;
use outpost_wire::noise::SEAL_OVERHEAD;
use outpost_wire::session::{BootRange, DataWriter, Hello, Message, Mode, preface};
use std::path::Path;
use std::time::Duration;

/// The promises of PROMISES.md, in bytes per record.
pub const ENCODED_PROMISE: f64 = 22.0;
/// In the ring.
pub const RING_PROMISE: f64 = 28.0;
/// On the wire, in batches.
pub const WIRE_PROMISE: f64 = 22.0;
/// In the store with its index.
pub const STORE_PROMISE: f64 = 150.0;

/// The agent's name.
const AGENT: &str = "outpost-fra1";

/// Between two commits of the collector, longer than it waits for company.
const COMMIT: Duration = Duration::from_millis(50);

/// Mean size of a record as it is encoded: seq, time, severity, transaction, event and fields.
pub fn encoded(hour: &Hour) -> f64 {
    let mut buffer = [0; outpost_wire::limits::RECORD_MAX];
    let records = hour.boots.iter().flat_map(Boot::records);
    let bytes: usize = records.filter_map(|record| record.encode(&mut buffer)).sum();
    bytes as f64 / hour.len() as f64
}

/// Mean size in the log region: lengths, CRCs, what segments leave over and their index included.
pub fn in_the_ring(hour: &Hour) -> f64 {
    hour.ring_bytes / hour.len() as f64
}

/// Mean size in full frames of the session, as an agent that has more than one to tell sends them: clear and sealed.
pub fn on_the_wire(hour: &Hour) -> (f64, f64) {
    let frames = hour.boots.iter().flat_map(|boot| frames(boot, boot.bodies.len()));
    let (count, bytes) = frames.fold((0, 0), |(count, bytes), frame| (count + 1, bytes + frame.len()));
    let records = hour.len() as f64;
    (bytes as f64 / records, (bytes + count * SEAL_OVERHEAD) as f64 / records)
}

/// The same when each record travels in a frame of its own, which is what an agent with nothing else to tell sends.
pub fn alone_on_the_wire(hour: &Hour) -> (f64, f64) {
    let bytes: usize = hour.boots.iter().flat_map(|boot| frames(boot, 1)).map(|frame| frame.len()).sum();
    let clear = bytes as f64 / hour.len() as f64;
    (clear, clear + SEAL_OVERHEAD as f64)
}

/// Mean size in a store that the collector made of the hour, as its file is when the collector has ended.
pub fn in_the_store(hour: &Hour, path: &Path) -> Result<f64, String> {
    collect(hour, path)?;
    let bytes = std::fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?.len();
    Ok(bytes as f64 / hour.len() as f64)
}

/// Gives the hour to a collector, as it would have come: each record when it was emitted.
pub fn collect(hour: &Hour, path: &Path) -> Result<(), String> {
    let store = Store::open(path).map_err(|error| error.to_string())?;
    let mut collector = Collector::new(store, Access::clear(), Default::default());
    for boot in &hour.boots {
        let at = |mono_us: u64| Now {
            monotonic: Duration::from_micros(boot.unix_us - super::hour::BEGIN_UNIX_US + mono_us),
            unix_us: (boot.unix_us + mono_us).cast_signed(),
        };
        let session = collector.connect(at(0), String::from("10.20.0.15:50000")).ok_or("the collector is full")?;
        collector.receive(at(0), session, &opening(boot, boot.bodies.len()));
        // Records may come only after Welcome.
        commit(&mut collector, at(0));
        let mut last = 0;
        for (record, frame) in boot.records().zip(frames(boot, 1)) {
            // Half a minute of them in one commit: it makes no difference to the file, and the hour passes quickly.
            if record.mono_us > last + 30_000_000 {
                commit(&mut collector, at(last));
                last = record.mono_us;
            }
            collector.receive(at(record.mono_us), session, &frame);
        }
        commit(&mut collector, at(last));
        if let Some(problem) = collector.problem() {
            return Err(problem);
        }
        collector.disconnect(at(last), session);
        commit(&mut collector, at(last));
    }
    drop(collector);
    let stored = stored(path)?;
    if stored == hour.len() { Ok(()) } else { Err(format!("the collector stored {stored} of {} records", hour.len())) }
}

/// How many records a store holds.
pub fn stored(path: &Path) -> Result<usize, String> {
    let store = Reader::open(path).map_err(|error| error.to_string())?;
    let count = store.connection().query_row("SELECT count(*) FROM records", [], |row| row.get::<_, u32>(0));
    count.map(|count| count as usize).map_err(|error| error.to_string())
}

fn commit(collector: &mut Collector, now: Now) {
    collector.poll(now);
    collector.poll(Now { monotonic: now.monotonic + COMMIT, ..now });
    for id in collector.sessions().collect::<Vec<_>>() {
        let len = collector.outbox(id).len();
        collector.sent(now, id, len);
    }
    collector.take_output();
}

/// Preface and Hello of a session in which this boot tells of so many records.
pub fn opening(boot: &Boot, records: usize) -> Vec<u8> {
    named_opening(AGENT, boot.id, records)
}

/// The same of an agent with this name and boot.
pub fn named_opening(agent: &str, boot_id: u64, records: usize) -> Vec<u8> {
    let hello = Hello {
        features: 0,
        agent,
        current: BootRange { boot_id, oldest: 1, next: records as u64 + 1 },
        previous: None,
        catalogue: outpost_wire::CATALOGUE_HASH,
        image_id: [7; 32],
        config: [7; 8],
        severities: [0; 8],
    };
    let mut frame = [0; FRAME_MAX];
    let len = Message::Hello(hello).encode(&mut frame).unwrap_or(0);
    [&preface(Mode::Clear)[..], &frame[..len]].concat()
}

/// The boot's records in Data frames of at most this many.
pub fn frames(boot: &Boot, most: usize) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut bodies = (1..).zip(&boot.bodies).peekable();
    while let Some((first, _)) = bodies.peek() {
        let mut frame = [0; FRAME_MAX];
        // A frame that holds the longest record has room for a first one.
        let Some(mut writer) = DataWriter::new(&mut frame, 0, *first) else { break };
        while writer.records() < most && bodies.next_if(|(seq, body)| writer.push(*seq, body)).is_some() {}
        let Some(len) = writer.finish() else { break };
        frames.push(frame[..len].to_vec());
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::hour;

    #[test]
    fn a_record_is_as_small_as_promised() {
        // A field too many in the most frequent event, or a wasteful index, would halve how long a ring lasts.
        let hour = hour::reference();
        let folder = tempfile::tempdir().unwrap();
        let (clear, keyed) = on_the_wire(&hour);
        let sizes = [
            (encoded(&hour), ENCODED_PROMISE),
            (in_the_ring(&hour), RING_PROMISE),
            (clear, WIRE_PROMISE),
            (keyed, WIRE_PROMISE),
            (in_the_store(&hour, &folder.path().join("store.db")).unwrap(), STORE_PROMISE),
        ];
        for (size, promise) in sizes {
            assert!(size > promise / 3.0 && size <= promise, "{sizes:?}: size and promise");
        }
    }

    #[test]
    fn the_hour_is_the_same_every_time_and_nothing_of_it_is_lost() {
        // A comparison with another hour's records, or with a part of them, would say nothing.
        let [first, second] = [hour::reference(), hour::reference()];
        for (a, b) in first.boots.iter().zip(&second.boots) {
            assert!(a.bodies == b.bodies && a.records().count() == a.bodies.len());
            assert!(a.records().zip(a.records().skip(1)).all(|(before, after)| before.mono_us <= after.mono_us));
            let sent: Vec<u8> = frames(a, usize::MAX).concat();
            let told: usize = a.bodies.iter().map(|body| body.len() + 1).sum();
            assert!(sent.len() > told && sent.len() < told + told / 20);
        }
        assert!((4_000..10_000).contains(&first.len()), "{} records", first.len());
        let seen = |id| first.boots.iter().flat_map(Boot::records).any(|record| record.event == id);
        for event in ["http.request", "http.requests", "suppressed", "panic", "clock.sync", "transaction.bound"] {
            let spec = outpost_wire::CATALOGUE.iter().find(|spec| spec.name == event).unwrap();
            assert!(seen(spec.id), "{event}");
        }
    }
}
