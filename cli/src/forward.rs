//! Forwarding: everything in the store, also what was lost, goes on to a system that people already have.
//!
//! ```text
//!            read, in order of seq        send              certain to have arrived
//! store ──▶ Place `sent` ──▶ items ──▶ Sink (otlp, syslog) ──▶ Place `settled` ──▶ store (cursors)
//!              ▲                          │ failure
//!              └────────── settled ◀──────┘ wait, then again from there
//! ```
//!
//! What always holds: a forwarder reads the store and never stands between an agent and its acknowledgement; the
//! records of a boot go out in order, and after a failure again from the last that is certain to have arrived, so
//! that each arrives at least once; what a receiver refuses for good is told by name and counted in the store, and
//! what was lost before goes out as a record that says so.

mod bound;
mod channel;
mod cursor;
mod notice;
mod notify;
mod otlp;
mod syslog;
mod target;

pub use cursor::{Receiver, receivers};
pub use target::Target;

use crate::collect::Stored;
use crate::store_read::{Entry, Place, Reader};
use bound::Bound;
use cursor::Cursor;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Records in one batch, about: some 100 KB of OTLP.
const BATCH: u32 = 256;

/// Batches that are sent and not yet certain to have arrived.
const IN_FLIGHT: usize = 64;

/// How often an idle forwarder looks for more.
const POLL: Duration = Duration::from_millis(100);

/// The first wait after a failure; each further one is twice as long.
const BACK_OFF_MIN: Duration = Duration::from_millis(200);

/// The longest wait that we choose ourselves.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// The longest wait that a receiver may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// How often a failure that goes on is told.
const TELL: Duration = Duration::from_secs(60);

/// How often the cursor is saved at most: what a crash makes us send again.
const SAVE: Duration = Duration::from_secs(1);

/// How long stopping waits for a forwarder that is amid a request.
const STOP: Duration = Duration::from_secs(2);

/// One entry on its way.
struct Item {
    entry: Entry,
    stored: Stored,
    /// The trace it belongs to: the one bound from outside, or one of our own.
    trace: Option<[u8; 16]>,
    /// Version of the image, where its boot.started is known.
    version: Option<Arc<str>>,
}

impl Item {
    /// The event and its fields, for people.
    fn body(&self) -> String {
        let story = self.stored.story(false);
        story.split_once(' ').map_or_else(String::new, |(_, story)| story.trim_start().to_owned())
    }
}

/// Why something could not be sent now.
#[derive(Debug)]
struct Failure {
    /// For people.
    why: String,
    /// How long the receiver wants to be left alone.
    after: Option<Duration>,
}

impl From<String> for Failure {
    fn from(why: String) -> Failure {
        Failure { why, after: None }
    }
}

/// A way to a receiver.
trait Sink: Send {
    /// Sends a batch of what the store has; returns what of it the receiver refused for good, one sentence each.
    fn send(&mut self, items: &[Item], store: &Reader) -> Result<Vec<Refused>, Failure>;

    /// How many of these, from the first on, make one batch: at least one.
    fn batch(&self, items: &[Item]) -> usize {
        items.len()
    }

    /// Whether something has arrived that must not be sent twice for want of a saved cursor.
    fn must_save(&mut self) -> bool {
        false
    }

    /// How many batches have become certain to have arrived since the last call, from the oldest on.
    fn settle(&mut self) -> Result<usize, Failure>;

    /// Whether it can take a batch now; otherwise `settle` must be called again first.
    fn is_ready(&self) -> bool;

    /// Forgets its connections and what was sent by them.
    fn reset(&mut self);
}

/// Records that a receiver will not take, however often they are sent.
#[derive(Debug)]
struct Refused {
    records: u64,
    why: String,
}

/// What an OTLP receiver at this URL makes of two records, in words for people: for the fuzz target `otlp`.
#[cfg(fuzzing)]
pub fn otlp_two_records(url: &str) -> Vec<String> {
    match otlp::two_records(url) {
        Ok(refused) => refused.into_iter().map(|refused| refused.why).collect(),
        Err(failure) => vec![failure.why],
    }
}

/// The running forwarders of a collector.
#[derive(Debug)]
pub struct Forwarders {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Forwarders {
    /// Starts a thread for each target on this store, which must have been opened by a collector before. How far the
    /// receivers to `forget` are is forgotten, and of the others that nothing is sent to any more `tell` gets a line, as
    /// all that is for the operator.
    pub fn start(store: &Path, targets: &[Target], forget: &[String], tell: fn(&str)) -> Result<Forwarders, String> {
        if let Some(both) = targets.iter().find(|target| forget.contains(&target.name)) {
            return Err(format!("{} is to be forwarded to and forgotten: take one of the two away", both.name));
        }
        if let Some((at, twice)) =
            (0..).zip(targets).find(|(at, it)| targets.iter().take(*at).any(|other| other.name == it.name))
        {
            return Err(format!("{} is given twice ({}): once is enough", twice.name, at + 1));
        }
        let remembered = cursor::forget(store, forget)
            .map_err(|error| format!("what was forwarded before cannot be read: {error}"))?;
        for Receiver { name, waiting, .. } in remembered {
            if targets.iter().all(|target| target.name != name) {
                tell(&format!(
                    "{name}: nothing is sent there any more, {waiting} records have not arrived. To go on: give it again \
                     by --forward or --notify. To forget how far it is: --forget '{name}'"
                ));
            }
        }
        let stop = Arc::new(AtomicBool::new(false));
        let mut forwarders = Forwarders { stop: stop.clone(), threads: Vec::new() };
        for target in targets {
            let cursor = Cursor::open(store, &target.name, target.begins_now())
                .map_err(|error| format!("the cursor of {} cannot be read: {error}", target.name))?;
            let mut forwarder = Forwarder::new(target, cursor, stop.clone(), tell);
            let thread = std::thread::Builder::new()
                .name("forward".to_owned())
                .spawn(move || forwarder.run())
                .map_err(|error| format!("the system refused a thread: {error}"))?;
            forwarders.threads.push(thread);
        }
        Ok(forwarders)
    }

    /// Saves the cursors and ends. A forwarder amid a request that does not end is left to the end of the process:
    /// it sends that again the next time.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        let deadline = Instant::now() + STOP;
        while Instant::now() < deadline && !self.threads.iter().all(JoinHandle::is_finished) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// What a forwarder last told of its receiver.
enum Health {
    Works,
    Fails { since: Instant, told: Instant, back_off: Duration },
}

struct Forwarder {
    name: String,
    cursor: Cursor,
    sink: Box<dyn Sink>,
    bound: Bound,
    /// Up to here everything was sent.
    sent: Place,
    /// Where each batch ends that is sent and not settled.
    in_flight: VecDeque<Place>,
    /// Up to here everything has arrived.
    settled: Place,
    /// The store's version in which there was nothing more to send.
    idle_at: Option<i64>,
    health: Health,
    stop: Arc<AtomicBool>,
    tell: fn(&str),
}

impl Forwarder {
    fn new(target: &Target, cursor: Cursor, stop: Arc<AtomicBool>, tell: fn(&str)) -> Forwarder {
        let settled = cursor.place().clone();
        Forwarder {
            name: target.name.clone(),
            cursor,
            sink: target.sink(tell),
            bound: Bound::default(),
            sent: settled.clone(),
            in_flight: VecDeque::new(),
            settled,
            idle_at: None,
            health: Health::Works,
            stop,
            tell,
        }
    }

    fn run(&mut self) {
        while !self.stop.load(Ordering::Acquire) {
            match self.turn() {
                Ok(true) => {}
                Ok(false) => self.wait(POLL),
                Err(failure) => {
                    self.sink.reset();
                    self.in_flight.clear();
                    self.sent = self.settled.clone();
                    self.idle_at = None;
                    let wait = self.failed(&failure);
                    self.wait(wait);
                }
            }
            let every = if self.sink.must_save() { Duration::ZERO } else { SAVE };
            self.cursor.save(every);
        }
        self.cursor.save(Duration::ZERO);
    }

    /// One step; `false` when there is nothing to do now.
    fn turn(&mut self) -> Result<bool, Failure> {
        let settled = self.sink.settle()?;
        for place in self.in_flight.drain(..settled.min(self.in_flight.len())) {
            self.settled.advance(&place);
            self.cursor.advance(&place);
        }
        if settled > 0 {
            self.works();
        }
        if !self.sink.is_ready() || self.in_flight.len() >= IN_FLIGHT {
            return Ok(settled > 0);
        }
        let reading = |error: rusqlite::Error| format!("the store cannot be read: {error}");
        let reader = self.cursor.reader();
        let version = reader.version().map_err(reading)?;
        if self.idle_at == Some(version) {
            return Ok(settled > 0);
        }
        let entries = self.sent.read(reader, BATCH).map_err(reading)?;
        if entries.is_empty() {
            self.idle_at = Some(version);
            return Ok(settled > 0);
        }
        let mut items = self.bound.items(reader, &self.sent, entries).map_err(reading)?;
        items.truncate(self.sink.batch(&items).max(1));
        let place = Place::of(items.iter().map(|item| &item.entry));
        for refused in self.sink.send(&items, reader)? {
            self.cursor.refuse(refused.records);
            (self.tell)(&format!("{}: refused {} records for good: {}", self.name, refused.records, refused.why));
        }
        self.sent.advance(&place);
        self.in_flight.push_back(place);
        Ok(true)
    }

    /// Takes note of a failure and returns how long to wait.
    fn failed(&mut self, failure: &Failure) -> Duration {
        let now = Instant::now();
        let (since, told, back_off) = match self.health {
            Health::Works => (now, None, BACK_OFF_MIN),
            Health::Fails { since, told, back_off } => (since, Some(told), (back_off * 2).min(BACK_OFF_MAX)),
        };
        let due = told.is_none_or(|told| now >= told + TELL);
        if due {
            let name = &self.name;
            (self.tell)(&format!(
                "{name}: {}. Nothing is lost: it waits in the store and is sent again in order.",
                failure.why
            ));
        }
        self.health = Health::Fails { since, told: if due { now } else { told.unwrap_or(now) }, back_off };
        match failure.after {
            Some(after) => after.clamp(BACK_OFF_MIN, RETRY_AFTER_MAX),
            None => back_off + jitter(back_off),
        }
    }

    fn works(&mut self) {
        if let Health::Fails { since, .. } = std::mem::replace(&mut self.health, Health::Works) {
            (self.tell)(&format!("{}: works again after {:.0?}", self.name, since.elapsed()));
        }
    }

    /// Sleeps, but not past the stop.
    fn wait(&self, duration: Duration) {
        let until = Instant::now() + duration;
        while !self.stop.load(Ordering::Acquire) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(POLL));
        }
    }
}

/// Up to a quarter of the wait, so that many collectors do not come back to one receiver at one moment.
fn jitter(wait: Duration) -> Duration {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    wait / 4 * (nanos / 1000 % 100) / 100
}
