//! Last words: what a boot leaves for the next one, beside the log's ring, in memory that survives resets.
//!
//! ```text
//! log region = ring ........................................ · last words (512 bytes)
//! last words = state (cause, crash count) · mark (alive at) · record (a panic's), each with its own check
//! ```
//!
//! They are bytes that the image writes without asking the agent: a panic may have come in the middle of anything,
//! and then nothing but these is touched. The next boot reads them once ([`LastWords::begin`]), says how the last
//! one ended and moves the panic's record into the ring, under the boot id of the boot that panicked.
//!
//! What always holds: nothing that fails its check is believed; a record that the ring does not have yet is never
//! overwritten; no byte pattern can make this panic.

use crate::limits::{
    CRASH_BACKOFF_MAX, CRASH_BACKOFF_MIN, CRASH_TIME, CRASHES, LAST_WORDS, SAFE_MODE_TIME, WATCHDOG_TIME,
};
use crate::resume::Resumption;
use heapless::Vec;
use outpost_wire::limits::RECORD_MAX;
use outpost_wire::session::CRC;
use outpost_wire::{EndCause, Event, Panic, Record};
use smoltcp::time::{Duration, Instant};

const MAGIC: [u8; 8] = *b"OUTPLAST";

/// Where the parts lie; each has room to grow.
const STATE: usize = 0;
const MARK: usize = 64;
const RECORD: usize = 128;

const STATE_LEN: usize = 48;
const RECORD_HEAD: usize = 16;

const _: () = assert!(STATE_LEN <= MARK && RECORD + RECORD_HEAD + RECORD_MAX <= LAST_WORDS);

/// A hang may take this much longer than the watchdog's time to become a boot: the firmware of a busy machine.
const WATCHDOG_SLACK: Duration = Duration::from_secs(20);

/// The mark is written once a second and the watchdog counts whole ones.
const WATCHDOG_EARLY: Duration = Duration::from_secs(2);

/// How the boot before this one ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastBoot {
    /// Its id.
    pub boot_id: u64,
    /// How it ended.
    pub cause: EndCause,
    /// How long it had been up when it last said so.
    pub uptime: Duration,
}

/// A panic's record that the ring does not have yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftRecord {
    /// Whose it is.
    pub boot_id: u64,
    /// The record without its seq.
    pub body: Vec<u8, RECORD_MAX>,
}

/// What this boot has to know about those before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The one before; `None` after a cold start.
    pub last: Option<LastBoot>,
    /// Boots in a row, up to that one, that did not end in an orderly way.
    pub abnormal_ends: u32,
    /// They came so fast that this boot does no more than it must.
    pub safe_mode: bool,
    /// What the last panic left.
    pub record: Option<LeftRecord>,
    /// There was no reset: the machine stood still, and this boot began where the last one was.
    pub resumed: Option<Resumption>,
}

/// What the watchdog says about the reset that began this boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchdogVerdict {
    /// It caused the reset.
    Fired,
    /// It did not.
    Quiet,
    /// It does not tell: if it was armed and unfed for its time, it was the watchdog.
    Silent,
}

/// The part that changes at the beginning and at the end of a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    boot_id: u64,
    /// [`EndCause::Unknown`] as long as it runs.
    cause: EndCause,
    watchdog: bool,
    safe_mode: bool,
    /// Abnormal ends before this boot.
    abnormal_ends: u32,
    /// How long the last of those boots had been up.
    earlier_uptime_ms: u32,
    /// Up to the end, once there is one.
    uptime_us: u64,
}

/// This boot's last words, as far as they are spoken.
pub struct LastWords<'a> {
    bytes: &'a mut [u8; LAST_WORDS],
    state: State,
}

impl<'a> LastWords<'a> {
    /// Splits the log region into what is the ring's and what is kept for last words. `None`: it is too small.
    pub fn split(region: &mut [u8]) -> Option<(&mut [u8], &mut [u8; LAST_WORDS])> {
        region.split_last_chunk_mut()
    }

    /// Reads what the last boot left, and begins anew for the boot with this id. `unfed` says how much time lies
    /// between a mark and the beginning of this boot.
    pub fn begin(
        bytes: &'a mut [u8; LAST_WORDS],
        boot_id: u64,
        watchdog: WatchdogVerdict,
        unfed: impl Fn(u64) -> Duration,
    ) -> (LastWords<'a>, History) {
        let history = read_state(bytes).map(|state| history(bytes, state, watchdog, unfed));
        let (mut history, earlier_uptime_ms) = history.unwrap_or_default();
        history.record = read_record(bytes)
            .and_then(|(boot_id, body)| Some(LeftRecord { boot_id, body: Vec::from_slice(body).ok()? }));
        let state = State {
            boot_id,
            cause: EndCause::Unknown,
            watchdog: false,
            safe_mode: history.safe_mode,
            abnormal_ends: history.abnormal_ends,
            earlier_uptime_ms,
            uptime_us: 0,
        };
        let mut words = LastWords { bytes, state };
        words.put(MARK, &[0; 24]);
        words.write_state();
        (words, history)
    }

    /// The ring has the last boot's record: its place is free for this one's.
    pub fn record_is_kept(&mut self) {
        self.put(RECORD, &[0; RECORD_HEAD]);
    }

    /// From now on a watchdog waits to be fed.
    pub fn watchdog_armed(&mut self) {
        self.state.watchdog = true;
        self.write_state();
    }

    /// The boot lives at this moment, which a clock that runs through resets calls `ticks`.
    pub fn alive(&mut self, now: Instant, ticks: u64) {
        let uptime = micros(now);
        let mut mark = [0; 24];
        mark[..8].copy_from_slice(&uptime.to_le_bytes());
        mark[8..16].copy_from_slice(&ticks.to_le_bytes());
        mark[16..].copy_from_slice(&mark_check(uptime, ticks).to_le_bytes());
        self.put(MARK, &mark);
        if self.state.abnormal_ends > 0 && uptime >= SAFE_MODE_TIME.total_micros() {
            (self.state.abnormal_ends, self.state.safe_mode) = (0, false);
            self.write_state();
        }
    }

    /// The machine goes on under another boot id: returns what that boot has to know. It keeps the standing of the one
    /// before, which did not end, and its clock.
    pub fn renew(&mut self, now: Instant, boot_id: u64, resumed: Resumption) -> History {
        let State { boot_id: before, abnormal_ends, safe_mode, .. } = self.state;
        self.state.boot_id = boot_id;
        self.write_state();
        let uptime = Duration::from_micros(micros(now));
        let last = Some(LastBoot { boot_id: before, cause: EndCause::Resumed, uptime });
        History { last, abnormal_ends, safe_mode, record: None, resumed: Some(resumed) }
    }

    /// The boot ends in an orderly way.
    pub fn shutdown(&mut self, now: Instant) {
        self.end(now, EndCause::Shutdown);
    }

    /// The boot ends by a panic or a fault. The record of the first one stays. Returns how long to wait before the
    /// reset, lest a machine that crashes again and again does nothing else.
    pub fn panic(&mut self, now: Instant, cause: EndCause, panic: Panic<'_>) -> Duration {
        if read_record(self.bytes).is_none() {
            self.write_record(now, panic);
        }
        self.end(now, cause);
        let doublings = self.state.abnormal_ends.checked_sub(CRASHES - 1);
        doublings.map_or(Duration::ZERO, |doublings| {
            // More doublings than these are beyond the longest wait.
            CRASH_BACKOFF_MAX.min(CRASH_BACKOFF_MIN * (1 << doublings.min(16)))
        })
    }

    fn end(&mut self, now: Instant, cause: EndCause) {
        (self.state.cause, self.state.uptime_us) = (cause, micros(now));
        self.write_state();
    }

    fn write_state(&mut self) {
        let state = self.state;
        let mut out = [0; STATE_LEN];
        out[..8].copy_from_slice(&MAGIC);
        out[8..16].copy_from_slice(&state.boot_id.to_le_bytes());
        out[16..20].copy_from_slice(&[state.cause.into(), state.watchdog.into(), state.safe_mode.into(), 0]);
        out[20..24].copy_from_slice(&state.abnormal_ends.to_le_bytes());
        out[24..28].copy_from_slice(&state.earlier_uptime_ms.to_le_bytes());
        out[28..36].copy_from_slice(&state.uptime_us.to_le_bytes());
        let crc = CRC.checksum(&out[..STATE_LEN - 4]);
        out[STATE_LEN - 4..].copy_from_slice(&crc.to_le_bytes());
        self.put(STATE, &out);
    }

    /// Head: boot id, length, CRC of both and of the record.
    fn write_record(&mut self, now: Instant, panic: Panic<'_>) {
        let mut body = [0; RECORD_MAX];
        let Some(len) = encode(now, panic, &mut body) else { return };
        let mut head = [0; RECORD_HEAD];
        head[..8].copy_from_slice(&self.state.boot_id.to_le_bytes());
        head[8..12].copy_from_slice(&(len as u32).to_le_bytes());
        let crc = record_check(&head[..12], &body[..len]);
        head[12..].copy_from_slice(&crc.to_le_bytes());
        self.put(RECORD + RECORD_HEAD, &body[..len]);
        self.put(RECORD, &head);
    }

    /// All places are constants within the block, as the assertion at the top says.
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

/// What this state means to the next boot, and how long the boot had been up.
fn history(
    bytes: &[u8; LAST_WORDS],
    state: State,
    watchdog: WatchdogVerdict,
    unfed: impl Fn(u64) -> Duration,
) -> (History, u32) {
    let mark = read_mark(bytes);
    let (uptime_us, cause) = match state.cause {
        EndCause::Unknown => {
            let (alive_us, ticks) = mark.unwrap_or((0, 0));
            let unfed = mark.map_or(Duration::ZERO, |_| unfed(ticks));
            let starved =
                state.watchdog && (WATCHDOG_TIME - WATCHDOG_EARLY..=WATCHDOG_TIME + WATCHDOG_SLACK).contains(&unfed);
            let cause = match watchdog {
                WatchdogVerdict::Fired => EndCause::Watchdog,
                WatchdogVerdict::Silent if starved => EndCause::Watchdog,
                _ => EndCause::Reset,
            };
            (alive_us, cause)
        }
        cause => (state.uptime_us, cause),
    };
    let uptime_ms = u32::try_from(uptime_us / 1000).unwrap_or(u32::MAX);
    let orderly = cause == EndCause::Shutdown;
    let abnormal_ends = if orderly { 0 } else { state.abnormal_ends.saturating_add(1) };
    let window = u64::from(uptime_ms) + u64::from(state.earlier_uptime_ms);
    let crash_loop = abnormal_ends >= CRASHES && window <= CRASH_TIME.total_millis();
    let last = LastBoot { boot_id: state.boot_id, cause, uptime: Duration::from_micros(uptime_us) };
    let safe_mode = !orderly && (state.safe_mode || crash_loop);
    (History { last: Some(last), abnormal_ends, safe_mode, record: None, resumed: None }, uptime_ms)
}

fn read_state(bytes: &[u8; LAST_WORDS]) -> Option<State> {
    let state = bytes[STATE..].first_chunk::<STATE_LEN>()?;
    let valid = state.starts_with(&MAGIC) && CRC.checksum(&state[..STATE_LEN - 4]) == u32_at(state, STATE_LEN - 4);
    valid.then(|| State {
        boot_id: u64_at(state, 8),
        cause: state[16].into(),
        watchdog: state[17] != 0,
        safe_mode: state[18] != 0,
        abnormal_ends: u32_at(state, 20),
        earlier_uptime_ms: u32_at(state, 24),
        uptime_us: u64_at(state, 28),
    })
}

/// When the boot last lived: its uptime in microseconds, and the ticks.
fn read_mark(bytes: &[u8; LAST_WORDS]) -> Option<(u64, u64)> {
    let (uptime, ticks) = (u64_at(bytes, MARK), u64_at(bytes, MARK + 8));
    (u64_at(bytes, MARK + 16) == mark_check(uptime, ticks)).then_some((uptime, ticks))
}

/// Cheaper than a CRC; a mark of zeros does not pass.
fn mark_check(uptime: u64, ticks: u64) -> u64 {
    !(uptime ^ ticks.rotate_left(32))
}

/// Whose record there is, and its body.
fn read_record(bytes: &[u8; LAST_WORDS]) -> Option<(u64, &[u8])> {
    let (head, rest) = bytes[RECORD..].split_first_chunk::<RECORD_HEAD>()?;
    let record = rest.get(..u32_at(head, 8) as usize).filter(|record| (1..=RECORD_MAX).contains(&record.len()))?;
    (record_check(&head[..12], record) == u32_at(head, 12)).then_some((u64_at(head, 0), record))
}

fn record_check(head: &[u8], record: &[u8]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(head);
    digest.update(record);
    digest.finalize()
}

/// The panic's record without its seq, which the next boot knows.
fn encode(now: Instant, panic: Panic<'_>, out: &mut [u8]) -> Option<usize> {
    let event = Event::from(panic);
    let mut fields = [0; outpost_wire::limits::FIELDS_MAX];
    let len = event.encode(&mut fields)?;
    let spec = event.spec();
    let record = Record {
        seq: 1,
        mono_us: micros(now),
        severity: spec.severity,
        transaction: None,
        event: spec.id,
        fields: &fields[..len],
    };
    record.encode_body(out)
}

fn micros(now: Instant) -> u64 {
    u64::try_from(now.total_micros()).unwrap_or(0)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;
    use outpost_wire::Text;

    fn seconds(seconds: i64) -> Instant {
        Instant::from_secs(seconds)
    }

    fn panic() -> Panic<'static> {
        Panic { message: Text::new("why"), location: Text::new("src/x.rs:1"), rip: 1, backtrace: [7; 32] }
    }

    /// A boot of this many seconds that does this at its end; what it was told at its beginning.
    fn boot(block: &mut [u8; LAST_WORDS], id: u64, up_s: i64, end: impl FnOnce(&mut LastWords<'_>)) -> History {
        let (mut words, history) = LastWords::begin(block, id, WatchdogVerdict::Quiet, |_| Duration::ZERO);
        words.record_is_kept();
        words.alive(seconds(up_s), 0);
        end(&mut words);
        history
    }

    fn causes(history: &History) -> Option<(u64, EndCause, u64)> {
        history.last.as_ref().map(|last| (last.boot_id, last.cause, last.uptime.secs()))
    }

    #[test]
    fn each_end_has_its_cause() {
        // An operator who is told "reset" of a panic looks for the wrong thing.
        let mut block = [0xaa; LAST_WORDS];
        assert_eq!(boot(&mut block, 1, 5, |words| words.shutdown(seconds(6))), History::default());
        assert_eq!(causes(&boot(&mut block, 2, 7, |_| {})), Some((1, EndCause::Shutdown, 6)));
        let reset = boot(&mut block, 3, 1, |words| _ = words.panic(seconds(9), EndCause::Fault, panic()));
        assert_eq!(causes(&reset), Some((2, EndCause::Reset, 7)));
        let fault = boot(&mut block, 4, 1, |_| {});
        assert_eq!(causes(&fault), Some((3, EndCause::Fault, 9)));
        let left = fault.record.expect("the panic left its record");
        let record = Record::decode_body(1, &left.body).unwrap();
        assert_eq!((left.boot_id, record.mono_us), (3, 9_000_000));
        assert_eq!(record.decode_event(), Some(Event::Panic(panic())));
        assert_eq!(boot(&mut block, 5, 1, |_| {}).record, None, "it was kept, and is not left twice");
    }

    #[test]
    fn a_record_that_was_not_kept_stays() {
        // A machine that panics before it has its log must not overwrite what explains the first panic.
        let mut block = [0; LAST_WORDS];
        let quiet = WatchdogVerdict::Quiet;
        let first =
            LastWords::begin(&mut block, 1, quiet, |_| Duration::ZERO).0.panic(seconds(1), EndCause::Panic, panic());
        assert_eq!(first, Duration::ZERO);
        let other = Panic { rip: 2, ..panic() };
        LastWords::begin(&mut block, 2, quiet, |_| Duration::ZERO).0.panic(seconds(1), EndCause::Panic, other);
        let (_, history) = LastWords::begin(&mut block, 3, quiet, |_| Duration::ZERO);
        assert_eq!(causes(&history), Some((2, EndCause::Panic, 1)));
        assert_eq!(history.record.unwrap().boot_id, 1);
    }

    #[test]
    fn a_watchdog_is_known_by_its_own_word_or_by_the_time() {
        // A hang that is told as "reset" sends people to look for who pressed the button.
        let end = |armed: bool, verdict, unfed_s| {
            let mut block = [0; LAST_WORDS];
            let (mut words, _) = LastWords::begin(&mut block, 1, verdict, |_| Duration::ZERO);
            if armed {
                words.watchdog_armed();
            }
            words.alive(seconds(10), 1000);
            let (_, history) = LastWords::begin(&mut block, 2, verdict, |ticks| {
                assert_eq!(ticks, 1000);
                Duration::from_secs(unfed_s)
            });
            history.last.unwrap().cause
        };
        assert_eq!(end(true, WatchdogVerdict::Silent, 17), EndCause::Watchdog);
        assert_eq!(end(true, WatchdogVerdict::Silent, 1), EndCause::Reset);
        assert_eq!(end(true, WatchdogVerdict::Silent, 3600), EndCause::Reset);
        assert_eq!(end(false, WatchdogVerdict::Silent, 17), EndCause::Reset);
        assert_eq!(end(true, WatchdogVerdict::Quiet, 17), EndCause::Reset);
        assert_eq!(end(true, WatchdogVerdict::Fired, 0), EndCause::Watchdog);
    }

    #[test]
    fn a_crash_loop_leads_to_safe_mode_and_waits_longer_each_time() {
        // A machine that resets for ever serves nobody; one that was reset three times in a week is no crash loop.
        let mut block = [0; LAST_WORDS];
        let mut waited = std::vec::Vec::new();
        let mut crash = |block: &mut _, id, up_s| {
            boot(block, id, up_s, |words| waited.push(words.panic(seconds(up_s), EndCause::Panic, panic()).secs()))
        };
        for (id, up_s) in [(1, 100), (2, 100), (3, 1), (4, 1)] {
            assert!(!crash(&mut block, id, up_s).safe_mode, "boot {id}");
        }
        for id in 5..14 {
            let history = crash(&mut block, id, 1);
            assert!(history.safe_mode && history.abnormal_ends == id as u32 - 1, "boot {id}");
        }
        assert_eq!(waited, [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]);
    }

    #[test]
    fn a_resumed_machine_keeps_its_standing() {
        // A snapshot taken in a crash loop must not be a way out of safe mode, nor a resume count as a crash.
        let mut block = [0; LAST_WORDS];
        (1..=3).for_each(|id| drop(boot(&mut block, id, 1, |_| {})));
        let (mut words, before) = LastWords::begin(&mut block, 4, WatchdogVerdict::Quiet, |_| Duration::ZERO);
        assert!(before.safe_mode);
        let resumed = Resumption { sign: outpost_wire::ResumeSign::Generation, jump_us: 5, copy: true };
        let history = words.renew(seconds(9), 5, resumed);
        assert_eq!(causes(&history), Some((4, EndCause::Resumed, 9)));
        assert_eq!((history.abnormal_ends, history.safe_mode, history.resumed), (3, true, Some(resumed)));
        words.alive(seconds(12), 0);
        let (_, next) = LastWords::begin(&mut block, 6, WatchdogVerdict::Quiet, |_| Duration::ZERO);
        assert_eq!((causes(&next), next.abnormal_ends), (Some((5, EndCause::Reset, 12)), 4));
    }

    #[test]
    fn safe_mode_is_left_by_a_long_boot_or_an_orderly_end() {
        // Without a way out, one bad night takes the agent's checks away for ever.
        let loops = |block: &mut [u8; LAST_WORDS]| (1..=3).for_each(|id| drop(boot(block, id, 1, |_| {})));
        let long = SAFE_MODE_TIME.secs() as i64;
        for (up_s, orderly, then_safe) in [(long - 1, false, true), (long, false, false), (1, true, false)] {
            let mut block = [0; LAST_WORDS];
            loops(&mut block);
            let end = |words: &mut LastWords<'_>| {
                if orderly {
                    words.shutdown(seconds(up_s))
                }
            };
            assert!(boot(&mut block, 4, up_s, end).safe_mode);
            assert_eq!(boot(&mut block, 5, 1, |_| {}).safe_mode, then_safe, "{up_s} s, orderly: {orderly}");
        }
    }

    #[test]
    fn no_damage_is_believed() {
        // RAM that lost its contents, or another version's block, must not invent a crash.
        let mut block = [0; LAST_WORDS];
        boot(&mut block, 1, 5, |words| _ = words.panic(seconds(5), EndCause::Panic, panic()));
        let (_, whole) = LastWords::begin(&mut block.clone(), 2, WatchdogVerdict::Quiet, |_| Duration::ZERO);
        for at in 0..LAST_WORDS {
            let mut damaged = block;
            damaged[at] ^= 0x10;
            let (_, history) = LastWords::begin(&mut damaged, 2, WatchdogVerdict::Quiet, |_| Duration::ZERO);
            assert!(history.last.is_none() || history.last == whole.last, "byte {at}");
            assert!(history.record.is_none() || history.record == whole.record, "byte {at}");
        }
    }
}
