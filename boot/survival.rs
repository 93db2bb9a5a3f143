//! What outlives this boot: its last words, and the watchdog that ends a boot which can no longer speak.
//!
//! The loop and the panic path share one cell. A panic that comes while the loop holds it, which is for the few
//! instructions of [`mark`], leaves no record; its line on serial it leaves always.

use crate::acpi::Platform;
use crate::clock::Clock;
use crate::watchdog::Watchdog;
use outpost::crash::{History, LastWords};
use outpost::limits::LAST_WORDS;
use outpost::resume::Resumption;
use outpost_wire::{EndCause, Panic};
use smoltcp::time::{Duration, Instant};

static SURVIVAL: spin::Mutex<Option<Survival>> = spin::Mutex::new(None);

struct Survival {
    words: LastWords<'static>,
    watchdog: Watchdog,
    clock: Clock,
}

/// Reads the last boot's words, begins this one's and arms the watchdog. Returns what came before, and the
/// watchdog's name.
pub fn begin(
    block: &'static mut [u8; LAST_WORDS],
    boot_id: u64,
    platform: &Platform,
    clock: Clock,
) -> (History, Option<&'static str>) {
    let (mut watchdog, verdict) = Watchdog::find(platform);
    let (mut words, history) = LastWords::begin(block, boot_id, verdict, |ticks| clock.unfed_since(ticks));
    let name = watchdog.name();
    if name.is_some() {
        watchdog.arm();
        words.watchdog_armed();
    }
    words.alive(clock.now(), clock.ticks());
    *SURVIVAL.lock() = Some(Survival { words, watchdog, clock });
    (history, name)
}

/// The log has what the last panic left.
pub fn record_is_kept() {
    with(|survival| survival.words.record_is_kept());
}

/// A poll was completed: the boot lives, the watchdog is fed.
pub fn mark(now: Instant) {
    with(|survival| {
        survival.words.alive(now, survival.clock.ticks());
        survival.watchdog.feed();
    });
}

/// The machine goes on under another boot id. Returns what that boot has to know.
pub fn renew(now: Instant, boot_id: u64, resumed: Resumption) -> History {
    with(|survival| survival.words.renew(now, boot_id, resumed)).unwrap_or_default()
}

/// The boot ends in an orderly way.
pub fn shutdown(now: Instant) {
    with(|survival| {
        survival.words.shutdown(now);
        survival.watchdog.disarm();
    });
}

/// Keeps a panic's record. Returns how long to wait before the reset.
pub fn panic(cause: EndCause, panic: Panic<'_>) -> Duration {
    with(|survival| survival.words.panic(survival.clock.now(), cause, panic)).unwrap_or(Duration::ZERO)
}

/// Stands still for so long, with the watchdog fed.
pub fn wait(time: Duration) {
    with(|survival| {
        let until = survival.clock.now() + time;
        while survival.clock.now() < until {
            survival.watchdog.feed();
            survival.clock.pause();
        }
    });
}

/// The machine is to stand still for good: nothing may reset it.
pub fn disarm() {
    with(|survival| survival.watchdog.disarm());
}

fn with<R>(act: impl FnOnce(&mut Survival) -> R) -> Option<R> {
    SURVIVAL.try_lock()?.as_mut().map(act)
}
