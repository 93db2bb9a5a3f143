//! The one-shot timer that ends `hlt`: the local APIC's, by TSC deadline where there is one.

use crate::clock::{self, Clock};
use crate::hypervisor::{has_tsc_deadline, tsc};
use crate::interrupts::{self, LocalApic, LocalRegister};
use crate::scale::Scale;
use smoltcp::time::{Duration, Instant};
use x86_64::registers::model_specific::Msr;

const TSC_DEADLINE_MODE: u32 = 0b10 << 17;
const DIVIDE_BY_16: u32 = 0b11;
const MSR_TSC_DEADLINE: u32 = 0x6e0;
const US: u64 = 1_000_000;

/// How long the APIC timer is measured against the clock.
const MEASURE: Duration = Duration::from_millis(1);

/// Looks at the clock while measuring; a clock that stands still must not hold the boot.
const MEASURE_TRIES: u32 = 1_000_000;

/// The timer.
pub struct Timer {
    apic: LocalApic,
    clock: Clock,
    /// Ticks per microsecond of what the timer counts.
    scale: Scale,
    deadline: bool,
    vector: u8,
    armed: Option<Instant>,
}

impl Timer {
    /// Takes the timer into service; it will raise `vector`.
    pub fn start(apic: LocalApic, vector: u8, clock: &Clock) -> Timer {
        let deadline = has_tsc_deadline();
        let ticks_hz = if deadline { clock.tsc_hz() } else { apic_ticks_hz(&apic, clock) };
        let mode = if deadline { TSC_DEADLINE_MODE } else { 0 };
        apic.write(LocalRegister::Timer, mode | u32::from(vector));
        // One tick per microsecond for a timer that does not count: it then comes too early or not at all, and
        // frames still end the sleep.
        let scale = Scale::new(US, ticks_hz).unwrap_or(Scale { multiplier: 1 << 31, shift: 1 });
        Timer { apic, clock: *clock, scale, deadline, vector, armed: None }
    }

    /// Has the interrupt come at this moment at the latest; `now` may be a little old. An earlier one that is still to come is left alone:
    /// waking too early costs one empty turn, setting the timer costs an exit to the VMM in each.
    pub fn arm(&mut self, at: Instant, now: Instant) {
        // The timer counts by a frequency that was measured: it can come before the clock says so, and then it is not
        // still to come. Who trusted the clock alone slept until the next frame.
        if interrupts::take(self.vector) {
            self.armed = None;
        }
        if self.armed.is_some_and(|armed| now < armed && armed <= at) {
            return;
        }
        self.armed = Some(at);
        let now = self.clock.now();
        let remaining = if at > now { (at - now).total_micros() } else { 1 };
        let ticks = self.scale.apply(remaining).max(1);
        if self.deadline {
            // SAFETY: CPUID offers the MSR; it raises the timer's vector, which has a stub, and no more.
            unsafe { Msr::new(MSR_TSC_DEADLINE).write(tsc().saturating_add(ticks)) };
        } else {
            self.apic.write(LocalRegister::TimerInitial, u32::try_from(ticks).unwrap_or(u32::MAX));
        }
    }
}

/// The frequency of the APIC timer, divided by 16: known, or measured.
fn apic_ticks_hz(apic: &LocalApic, clock: &Clock) -> u64 {
    apic.write(LocalRegister::TimerDivide, DIVIDE_BY_16);
    if let Some(hz) = clock::apic_hz() {
        return hz / 16;
    }
    apic.write(LocalRegister::TimerInitial, u32::MAX);
    let start = (clock.now(), apic.read(LocalRegister::TimerCurrent));
    let mut end = start;
    for _ in 0..MEASURE_TRIES {
        if clock.now() - start.0 >= MEASURE {
            end = (clock.now(), apic.read(LocalRegister::TimerCurrent));
            break;
        }
    }
    apic.write(LocalRegister::TimerInitial, 0);
    let us = (end.0 - start.0).total_micros().max(1);
    u64::from(start.1.wrapping_sub(end.1)) * US / us
}
