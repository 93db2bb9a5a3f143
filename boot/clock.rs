//! Monotonic time: kvmclock where the host offers it, else the TSC with a stated, measured or guessed frequency.
//!
//! Measured against the PIT, and on machines without one against the local APIC's timer where its frequency is known. The
//! PIT is set going at the entry and read when the clock is needed: what must be done meanwhile is done meanwhile.
//!
//! Zero is the entry of the image. Time never goes back, and reading it divides by nothing but a constant.

use crate::hypervisor::{self, Hypervisor, KvmClock, tsc};
use crate::interrupts::{LocalApic, LocalRegister};
use crate::scale::Scale;
use core::sync::atomic::{AtomicU64, Ordering};
use smoltcp::time::{Duration, Instant};
use x86_64::instructions::port::Port;

const NS: u64 = 1_000_000_000;

/// The frequency assumed when nothing tells it: wrong by a small factor, so that timers still come.
const GUESS_HZ: u64 = 2_000_000_000;

/// Its name, which says so.
const GUESSED: &str = "tsc (guessed frequency)";

/// The clock. Copies tell the same time.
#[derive(Clone, Copy)]
pub struct Clock {
    source: Source,
    tsc_hz: u64,
    name: &'static str,
}

#[derive(Clone, Copy)]
enum Source {
    Kvm { clock: &'static KvmClock, zero_ns: u64 },
    Tsc { zero: u64, scale: Scale },
}

impl Clock {
    /// Finds the best clock; `entry` is the TSC when the image was entered, `pit` what counts since then.
    pub fn start(entry: u64, pit: Pit, apic: &LocalApic) -> Clock {
        if let Some(clock) = KvmClock::start()
            && let (Some(zero_ns), Some(tsc_hz)) = (clock.at(entry), clock.tsc_hz())
        {
            return Clock { source: Source::Kvm { clock, zero_ns }, tsc_hz, name: "kvmclock" };
        }
        let (tsc_hz, name) = hypervisor::stated_tsc_hz()
            .map(|hz| (hz, "tsc"))
            .or_else(|| pit.tsc_hz().map(|hz| (hz, "tsc (PIT)")))
            .or_else(|| hypervisor::base_hz().map(|hz| (hz, "tsc (base frequency)")))
            .or_else(|| apic_tsc_hz(apic).map(|hz| (hz, "tsc (APIC)")))
            .unwrap_or((GUESS_HZ, GUESSED));
        let scale = Scale::new(tsc_hz, NS).unwrap_or(Scale { multiplier: 1 << 31, shift: 0 });
        Clock { source: Source::Tsc { zero: entry, scale }, tsc_hz, name }
    }

    /// Time since the image was entered.
    pub fn now(&self) -> Instant {
        static LATEST_NS: AtomicU64 = AtomicU64::new(0);
        let ns = self.ns_at(tsc());
        let latest = LATEST_NS.load(Ordering::Relaxed).max(ns);
        LATEST_NS.store(latest, Ordering::Relaxed);
        Instant::from_micros((latest / 1000) as i64)
    }

    #[inline(always)]
    fn ns_at(&self, tsc: u64) -> u64 {
        match self.source {
            // 0 when the host never holds still: `now` then repeats the latest time.
            Source::Kvm { clock, zero_ns } => clock.at(tsc).unwrap_or(0).saturating_sub(zero_ns),
            Source::Tsc { zero, scale } => scale.apply(tsc.saturating_sub(zero)),
        }
    }

    /// A count that goes on through resets, where the machine has one; [`Self::unfed_since`] takes it.
    pub fn ticks(&self) -> u64 {
        match self.source {
            Source::Kvm { clock, .. } => clock.at(tsc()).unwrap_or(0),
            Source::Tsc { .. } => tsc(),
        }
    }

    /// The time between such a count of an earlier boot and the entry of this one; zero when the count began anew.
    pub fn unfed_since(&self, ticks: u64) -> Duration {
        let ns = match self.source {
            Source::Kvm { zero_ns, .. } => zero_ns.saturating_sub(ticks),
            Source::Tsc { zero, scale } => scale.apply(zero.saturating_sub(ticks)),
        };
        Duration::from_micros(ns / 1000)
    }

    /// Lets a tenth of a second pass without asking an interrupt for it.
    pub fn pause(&self) {
        let until = self.now() + Duration::from_millis(100);
        while self.now() < until {
            core::hint::spin_loop();
        }
    }

    /// Microseconds between two values of the TSC.
    pub fn us_between(&self, from: u64, to: u64) -> u32 {
        let us = self.ns_at(to).saturating_sub(self.ns_at(from)) / 1000;
        u32::try_from(us).unwrap_or(u32::MAX)
    }

    /// How long so many ticks of the TSC take.
    pub fn time_of(&self, ticks: u64) -> Duration {
        let hz = self.tsc_hz.max(1);
        Duration::from_micros(ticks / hz * 1_000_000 + ticks % hz * 1_000_000 / hz)
    }

    /// The TSC's frequency.
    pub fn tsc_hz(&self) -> u64 {
        self.tsc_hz
    }

    /// Whether nothing tells how fast it is.
    pub fn is_guess(&self) -> bool {
        self.name == GUESSED
    }

    /// What the clock is, in words.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// kvmclock, if that is what it is, with its time at our zero.
    pub fn kvm(&self) -> Option<(&'static KvmClock, u64)> {
        match self.source {
            Source::Kvm { clock, zero_ns } => Some((clock, zero_ns)),
            Source::Tsc { .. } => None,
        }
    }
}

/// The PIT's frequency.
const PIT_HZ: u64 = 1_193_182;

/// How long the TSC is measured: 5 ms, of which two reads can be off by some 2 µs: 0.04 %.
const PIT_TICKS: u16 = 5966;

/// Reads of a PIT that does not count before it is held for absent.
const PIT_STILL_TRIES: u32 = 200;

/// Reads in all; 5 ms take some 5,000 on hardware, and under QEMU's `-icount`, where a read takes 30 ns, 200,000.
const PIT_TRIES: u32 = 1_000_000;

/// Samples at either end, of which the tightest counts: the host may take the processor away during any of them.
const SAMPLES: u32 = 8;

/// A moment on both clocks.
#[derive(Clone, Copy)]
struct Sample {
    tsc: u64,
    count: u32,
    spread: u64,
}

impl Sample {
    /// Ticks of the PIT between the two; it counts down and goes round.
    fn ticks_since(&self, earlier: &Sample) -> u16 {
        earlier.count.wrapping_sub(self.count) as u16
    }
}

/// A stretch of time by both clocks.
struct Span {
    tsc: u64,
    ticks: u64,
    /// The longest time between two looks.
    gap: u64,
}

impl Span {
    /// Looks at both from `start` on until so many ticks have passed. `None`: the PIT does not count.
    fn measure(start: &Sample, ticks: u16) -> Option<Span> {
        let (mut last, mut gap) = (start.tsc, 0);
        let mut still = 0;
        let mut reached = false;
        for _ in 0..PIT_TRIES {
            let now = pit_sample();
            gap = gap.max(now.tsc.saturating_sub(last));
            last = now.tsc;
            let passed = now.ticks_since(start);
            still = if passed == 0 { still + 1 } else { 0 };
            reached = (ticks..u16::MAX / 2).contains(&passed);
            if reached || still >= PIT_STILL_TRIES {
                break;
            }
        }
        let end = tightest(pit_sample);
        let gap = gap.max(end.tsc.saturating_sub(last));
        let span = Span { tsc: end.tsc.saturating_sub(start.tsc), ticks: end.ticks_since(start).into(), gap };
        (reached && span.ticks > 0).then_some(span)
    }

    fn tsc_hz(&self) -> Option<u64> {
        Some(self.tsc.saturating_mul(PIT_HZ) / self.ticks).filter(|hz| *hz > 1_000_000)
    }
}

/// The PIT, set going when the image was entered where nobody states how fast the TSC is.
pub struct Pit {
    begun: Option<Sample>,
}

impl Pit {
    /// Sets channel 0 going (microvm has no port 0x61 for channel 2) and looks at it.
    pub fn start() -> Pit {
        let stated = Hypervisor::detect() == Hypervisor::Kvm || hypervisor::stated_tsc_hz().is_some();
        Pit { begun: (!stated).then(pit_begin) }
    }

    /// The TSC's frequency against it.
    fn tsc_hz(self) -> Option<u64> {
        let hz = self.begun.and_then(|begun| hz_since(&begun)).or_else(lowest_hz);
        pit_command(0x30, 1); // mode 0: ends, so that the VMM has no timer to run for us
        hz
    }
}

/// The last piece of a measurement that began with the entry, in ticks: half a millisecond.
const PIT_PIECE: u16 = 597;

/// How much longer than that piece the whole may be: what the piece is off by is then less than half a round.
const PIECES_MAX: u64 = 1000;

/// The frequency since the entry. The count goes round in 55 ms, and so much may have passed: a short piece tells how
/// often it did. `None`: the host took the processor away for half of the piece, or for long before.
fn hz_since(begun: &Sample) -> Option<u64> {
    const ROUND: u64 = 1 << 16;
    let from = tightest(pit_sample);
    let piece = Span::measure(&from, PIT_TICKS.saturating_sub(from.ticks_since(begun)).max(PIT_PIECE))?;
    let tsc = from.tsc.saturating_sub(begun.tsc) + piece.tsc;
    if piece.gap > piece.tsc / 2 || tsc / PIECES_MAX > piece.tsc {
        return None;
    }
    let seen = u64::from(from.ticks_since(begun)) + piece.ticks;
    let expected = tsc.saturating_mul(PIT_HZ) / piece.tsc_hz()?;
    let rounds = (expected + ROUND / 2).saturating_sub(seen) / ROUND;
    Span { tsc, ticks: seen + rounds * ROUND, gap: piece.gap }.tsc_hz()
}

/// How often it is measured anew when the host took the processor away for a good part of it.
const PIT_ATTEMPTS: u32 = 5;

/// The frequency, measured anew. When the host takes the processor away for more than a round, ticks are missing, and the
/// frequency comes out too high, never too low. So the lowest of all attempts is the right one.
fn lowest_hz() -> Option<u64> {
    let mut lowest = None;
    for _ in 0..PIT_ATTEMPTS {
        let Some(span) = Span::measure(&pit_begin(), PIT_TICKS) else { break };
        let Some(hz) = span.tsc_hz() else { break };
        lowest = Some(lowest.map_or(hz, |lowest: u64| lowest.min(hz)));
        if span.gap <= span.tsc / 8 {
            break;
        }
    }
    lowest
}

/// The local APIC's timer of QEMU and of KVM counts nanoseconds (QEMU: hw/intc/apic.c, KVM: APIC_BUS_CYCLE_NS), whatever
/// the processor; without its divider.
pub fn apic_hz() -> Option<u64> {
    matches!(Hypervisor::detect(), Hypervisor::Tcg | Hypervisor::Kvm).then_some(1_000_000_000)
}

/// The divider of 1 (Intel SDM 3A, 11.5.4).
const APIC_DIVIDE_BY_1: u32 = 0b1011;

/// How long the TSC is measured against it, in its ticks: 5 ms.
const APIC_TICKS: u32 = 5_000_000;

/// Reads at most until that time has passed: each takes 30 ns at least.
const APIC_TRIES: u32 = 1_000_000;

/// The TSC's frequency against the local APIC's timer, which is not in service yet.
fn apic_tsc_hz(apic: &LocalApic) -> Option<u64> {
    let apic_hz = apic_hz()?;
    apic.write(LocalRegister::TimerDivide, APIC_DIVIDE_BY_1);
    apic.write(LocalRegister::TimerInitial, u32::MAX);
    let count = || apic.read(LocalRegister::TimerCurrent);
    let moment = || {
        let before = tsc();
        let (count, after) = (count(), tsc());
        Sample { tsc: before + (after - before) / 2, count, spread: after - before }
    };
    let start = tightest(moment);
    (0..APIC_TRIES).find(|_| start.count.wrapping_sub(count()) >= APIC_TICKS)?;
    let end = tightest(moment);
    apic.write(LocalRegister::TimerInitial, 0);
    let ticks = u128::from(start.count.wrapping_sub(end.count));
    let hz = u128::from(end.tsc.saturating_sub(start.tsc)) * u128::from(apic_hz) / ticks;
    u64::try_from(hz).ok().filter(|hz| *hz > 1_000_000)
}

fn tightest(sample: impl Fn() -> Sample) -> Sample {
    let first = sample();
    (1..SAMPLES).map(|_| sample()).fold(first, |best, next| if next.spread < best.spread { next } else { best })
}

fn pit_sample() -> Sample {
    let before = tsc();
    write_port(0x43, 0); // latch channel 0
    let after = tsc();
    let count = u16::from_le_bytes([read_port(0x40), read_port(0x40)]).into();
    Sample { tsc: before + (after - before) / 2, count, spread: after - before }
}

/// Sets the PIT going.
fn pit_begin() -> Sample {
    pit_command(0x34, 0); // channel 0, both bytes, mode 2: counts down from 65,536 and round again
    tightest(pit_sample)
}

fn pit_command(command: u8, count: u16) {
    write_port(0x43, command);
    for byte in count.to_le_bytes() {
        write_port(0x40, byte);
    }
}

fn write_port(port: u16, value: u8) {
    // SAFETY: the PIT's ports; its interrupt is masked, and nothing else uses it.
    unsafe { Port::<u8>::new(port).write(value) }
}

fn read_port(port: u16) -> u8 {
    // SAFETY: as above.
    unsafe { Port::<u8>::new(port).read() }
}
