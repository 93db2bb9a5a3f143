//! The log: the only exit for events.
//!
//! ```text
//! emit ─▶ severity ─▶ ring ─▶ ship ─▶ collector          volume.rs decides, before a seq is given, what is emitted
//!                      ├───▶ sink ─▶ syslog server        names.rs gives texts their ids, dependency.rs is the
//!                      └───▶ console (one line a record)  `log` crate's sink
//! ```
//!
//! What always holds: [`Log::emit`] neither blocks nor fails; what has a seq is delivered, declared lost, or still
//! in the ring (see [`Stats`]); nothing here formats text before a line is shown.

#[cfg(feature = "seeded-bugs")]
mod bugs;
mod console;
pub mod dependency;
mod names;
mod retry;
mod ring;
mod ship;
mod sink;
mod syslog;
mod volume;

#[cfg(feature = "seeded-bugs")]
pub use bugs::Bug;
pub use ring::{Boot, Reader, Salvage, Step};
pub use ship::{Identity, Phase, Security, Ship, Status};
pub use sink::{Sink, SinkStatus};

use crate::crash::LeftRecord;
use crate::limits::{LOG_LOSS_RECENT, LOG_SEVERITY_RULES};
use crate::{FAR, sooner};
use console::Console;
use heapless::Vec;
use names::Names;
use outpost_wire::limits::INTERN_TEXT_MAX;
use outpost_wire::{
    DependencyLog, Event, EventSpec, HttpRequest, Intern, NameId, Record, Severity, Shutdown, Text, TransactionBound,
};
use ring::Ring;
use smoltcp::time::Instant;
use volume::{Bucket, Limiter, Requests};

/// The log of one boot, in a region of memory that survives resets.
pub struct Log<'a> {
    ring: Ring<'a>,
    names: Names,
    console: Console,
    requests: Requests,
    limiter: Limiter,
    traced: Bucket,
    severities: Vec<(u16, Severity), LOG_SEVERITY_RULES>,
    delivered: u64,
    sent_unacknowledged: u64,
    /// Records that were lost until the last poll, and when there were last more of them.
    lost: (u64, Option<Instant>),
    suppressed: u64,
    counted: u64,
    #[cfg(feature = "seeded-bugs")]
    bug: Option<Bug>,
    /// The boot's last record is written.
    ended: bool,
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
    /// Records whose bytes a syslog server's TCP took. That is the next hop only: none of them counts as delivered.
    pub sent_unacknowledged: u64,
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
    ///
    /// # Panics
    /// When the region is too small for a ring ([`LOG_SEGMENTS_MIN`](crate::limits::LOG_SEGMENTS_MIN)).
    pub fn new(region: &'a mut [u8], boot_id: u64) -> Log<'a> {
        let ring = Ring::new(region, boot_id);
        Log {
            delivered: ring.current().acked,
            ring,
            names: Names::new(),
            console: Console::new(boot_id),
            requests: Requests::new(),
            limiter: Limiter::default(),
            traced: Bucket::new(),
            severities: Vec::new(),
            sent_unacknowledged: 0,
            lost: (0, None),
            suppressed: 0,
            counted: 0,
            #[cfg(feature = "seeded-bugs")]
            bug: None,
            ended: false,
        }
    }

    /// Makes this a record and returns its seq. When the ring is full, older records give way and are declared lost.
    pub fn emit<'e>(&mut self, now: Instant, transaction: Option<u32>, event: impl Into<Event<'e>>) -> u64 {
        self.append(now, transaction, &event.into())
    }

    /// The one copy of it, for all kinds of events.
    #[inline(never)]
    fn append(&mut self, now: Instant, transaction: Option<u32>, event: &Event<'_>) -> u64 {
        let spec = event.spec();
        if self.ended {
            self.suppressed += 1;
            return self.ring.current().next - 1;
        }
        let (mono_us, severity) = (micros(now), self.severity(spec));
        self.ring.append(spec.lane, |seq, out| {
            let header = Record { seq, mono_us, severity, transaction, event: spec.id, fields: &[] };
            let at = header.encode(out)?;
            Some(at + event.encode(out.get_mut(at..)?)?)
        })
    }

    /// Like `emit`, for events that others can cause without end: above its rate an event is not recorded but
    /// counted, and told by one `suppressed` record a second.
    pub fn emit_limited<'e>(
        &mut self,
        now: Instant,
        transaction: Option<u32>,
        event: impl Into<Event<'e>>,
    ) -> Option<u64> {
        self.append_limited(now, transaction, &event.into())
    }

    /// The one copy of it, too.
    #[inline(never)]
    fn append_limited(&mut self, now: Instant, transaction: Option<u32>, event: &Event<'_>) -> Option<u64> {
        self.tell(now);
        if self.limiter.admit(now, event.spec().id) {
            return Some(self.append(now, transaction, event));
        }
        self.suppressed += 1;
        None
    }

    /// One answered request: a record when it is the first of its route and status within a second or when it brought
    /// an outside transaction id; else counted in `http.requests`. Such ids have a rate, for anybody can make them up:
    /// above it they are told by `suppressed`, and the request goes the way of one that brought none.
    pub fn http_request(
        &mut self,
        now: Instant,
        transaction: u32,
        request: HttpRequest,
        bound: Option<TransactionBound<'_>>,
    ) {
        self.tell(now);
        let traced = bound.is_some_and(|bound| {
            let admitted = self.traced.admit(now);
            if admitted {
                self.emit(now, Some(transaction), bound);
            } else {
                self.suppressed += 1;
                self.limiter.hold_back(now, TransactionBound::SPEC.id, 1);
            }
            admitted
        });
        if traced || self.requests.admit(now, request.route, request.status) {
            self.emit(now, Some(transaction), request);
        } else {
            self.counted += 1;
        }
    }

    /// The id of this text (its first [`INTERN_TEXT_MAX`] bytes), to be named in records; the first time in a boot
    /// this emits `intern`. `NameId(0)` ("none") when the table is full.
    pub fn name(&mut self, now: Instant, text: &str) -> NameId {
        let text = Text::<INTERN_TEXT_MAX>::new(text).as_str();
        if let Some(id) = self.names.find(text) {
            return id;
        }
        let Some(id) = self.names.add(text) else { return NameId(0) };
        self.tell_name(now, id);
        id
    }

    /// Does what is due: ends the seconds of volume rules and takes in the lines of dependencies. Call it once a poll.
    pub fn poll(&mut self, now: Instant) {
        let lost = self.lost();
        if lost > self.lost.0 {
            self.lost = (lost, Some(now));
        }
        self.tell(now);
        for _ in 0..crate::limits::LOG_DEPENDENCY_LINES {
            let Some(line) = dependency::take() else { break };
            self.emit_limited(now, None, line.event());
        }
        let dropped = dependency::take_dropped();
        if dropped > 0 {
            self.suppressed += u64::from(dropped);
            self.limiter.hold_back(now, DependencyLog::SPEC.id, dropped);
        }
    }

    /// When `poll` or `console` has more to do, if nothing else happens before.
    #[inline(always)]
    pub fn poll_at(&self) -> Instant {
        sooner(sooner(self.requests.poll_at(), self.limiter.poll_at()), self.console.poll_at())
    }

    /// Whether `poll` has something to do; `at` is what `poll_at` says.
    #[inline(always)]
    pub fn is_due(&self, now: Instant, at: Instant) -> bool {
        now >= at || dependency::waits()
    }

    /// Whether `console` has something to say.
    #[inline(always)]
    pub fn has_to_show(&self) -> bool {
        !self.console.is_up_to_date(&self.ring)
    }

    /// Writes a few of the lines that the console has not shown yet; `true` when there are more to show now. A line
    /// that the console refuses is not repeated.
    pub fn console<W: embedded_io::Write>(&mut self, now: Instant, out: &mut W) -> bool {
        if !self.has_to_show() {
            return false;
        }
        self.console.show(now, &self.ring, &self.names, out).unwrap_or(false)
    }

    /// Takes in the record of the panic that ended an earlier boot: it becomes that boot's last, in place of one that
    /// was unfinished when the panic came.
    pub fn adopt(&mut self, left: &LeftRecord) {
        // What has no room is a gap at the end of that boot, and told as such.
        let _ = self.ring.adopt(left.boot_id, &left.body);
    }

    /// The boot before this one, as far as the region knows it.
    pub fn previous(&self) -> Option<Boot> {
        self.ring.previous()
    }

    /// What the region holds of an earlier boot; `None` when it holds nothing that the collector does not have.
    pub fn earlier(&self, boot_id: u64) -> Option<Boot> {
        self.ring.boots().iter().skip(1).find(|boot| boot.id == boot_id).copied()
    }

    /// Records the end of the boot: what was counted and not told is told first, and after it nothing is recorded,
    /// so that it is the last record.
    pub fn end(&mut self, now: Instant, shutdown: Shutdown) {
        self.tell_counted_until(now, FAR);
        self.tell_suppressed_until(now, FAR);
        self.emit(now, None, shutdown);
        self.ended = true;
    }

    /// Records of this event get this severity from now on; `false` when the table of such rules is full.
    pub fn set_severity(&mut self, event: u16, severity: Severity) -> bool {
        self.severities.push((event, severity)).is_ok()
    }

    /// Bytes of all segments of the ring, and of those in use. Looks at the whole index: for answers, not for every poll.
    pub fn size_and_used(&self) -> (u32, u32) {
        self.ring.size_and_used()
    }

    /// When the oldest record that the collector has not acknowledged was emitted, in microseconds of monotonic time.
    /// Looks at the whole index: for answers, not for every poll.
    pub fn oldest_unacked_us(&self) -> Option<u64> {
        let mut reader = self.reader(self.ring.current().acked + 1);
        if let Step::Lost(_, to, _) = reader.peek(&self.ring) {
            reader.pass(to);
        }
        let Step::Record(seq, body) = reader.peek(&self.ring) else { return None };
        Record::decode_body(seq, body).ok().map(|record| record.mono_us)
    }

    /// What became of the records of this boot.
    pub fn stats(&self) -> Stats {
        let current = self.ring.current();
        let emitted = self.emitted();
        Stats {
            emitted,
            delivered: self.delivered,
            lost: self.lost(),
            buffered: current.held,
            sent_unacknowledged: self.sent_unacknowledged,
            suppressed: self.suppressed,
            counted: self.counted,
            salvaged: self.ring.boots()[1..].iter().map(|boot| boot.held).sum(),
        }
    }

    /// How many records this boot has emitted.
    pub fn emitted(&self) -> u64 {
        self.ring.current().next - 1
    }

    /// How many of them neither the collector nor the ring has.
    fn lost(&self) -> u64 {
        self.emitted() - self.delivered - self.ring.current().held
    }

    /// When a poll last found that records of this boot were lost.
    pub fn last_loss(&self) -> Option<Instant> {
        self.lost.1
    }

    /// Whether that is recent enough to be worth a warning.
    pub fn lost_lately(&self, now: Instant) -> bool {
        self.last_loss().is_some_and(|at| now < at + LOG_LOSS_RECENT)
    }

    /// How many records, or losses to be told, of this boot and earlier ones the collector has not confirmed.
    pub fn pending(&self) -> u64 {
        self.ring.boots().iter().map(|boot| boot.next - 1 - boot.acked).sum()
    }

    /// What earlier boots left in the region, as found at boot.
    pub fn salvage(&self) -> Salvage {
        self.ring.salvage()
    }

    /// The boots that something is held of: this one, then earlier ones from the newest to the oldest.
    pub fn boots(&self) -> &[Boot] {
        self.ring.boots()
    }

    /// A reader of this boot, from this seq on.
    pub fn reader(&self, from: u64) -> Reader {
        Reader::new(self.ring.current().id, from)
    }

    /// What comes next for this reader; it stays there until [`Reader::pass`].
    pub fn read<'r>(&'r self, reader: &mut Reader) -> Step<'r> {
        reader.peek(&self.ring)
    }

    /// The text of a name of this boot.
    pub fn name_text(&self, id: NameId) -> Option<&str> {
        self.names.text(id)
    }

    fn severity(&self, spec: &EventSpec) -> Severity {
        let rule = self.severities.iter().rev().find(|(event, _)| *event == spec.id);
        rule.map_or(spec.severity, |(_, severity)| *severity)
    }

    /// Tells what volume rules held back in windows that are over.
    #[inline(always)]
    fn tell(&mut self, now: Instant) {
        if self.requests.is_due(now) {
            self.tell_counted_until(now, now);
        }
        if self.limiter.is_due(now) {
            self.tell_suppressed_until(now, now);
        }
    }

    fn tell_counted_until(&mut self, now: Instant, until: Instant) {
        while let Some(summary) = self.requests.due(until) {
            self.emit(now, None, summary);
        }
    }

    fn tell_suppressed_until(&mut self, now: Instant, until: Instant) {
        while let Some(summary) = self.limiter.due(until) {
            self.emit(now, None, summary);
        }
    }

    fn tell_name(&mut self, now: Instant, id: NameId) {
        let Some(text) = self.names.text(id) else { return };
        // The borrow of the text ends before the table is written: the text is copied, once per name and boot.
        let mut copy = heapless::String::<INTERN_TEXT_MAX>::new();
        let _ = copy.push_str(text);
        let seq = self.emit(now, None, Intern { id, text: Text::new(&copy) });
        self.names.told(id, seq);
    }

    /// The collector will never have these records of this boot: names among them are told again.
    fn renew_names(&mut self, now: Instant, from: u64, to: u64) {
        while let Some(id) = self.names.told_within(from, to) {
            self.tell_name(now, id);
        }
    }

    /// Everything of this boot up to `seq` is durable at the collector; `delivered` of it are records.
    fn acknowledge(&mut self, boot_id: u64, seq: u64, delivered: u64) {
        let current = boot_id == self.ring.current().id;
        if self.ring.acknowledge(boot_id, seq) && current {
            self.delivered += delivered;
        }
    }
}

/// Monotonic time as records carry it.
fn micros(now: Instant) -> u64 {
    u64::try_from(now.total_micros()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
