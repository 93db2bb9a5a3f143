//! The end of a boot that went wrong: a record in the last words, one line on serial, then reset (or the stop that
//! tests ask for).
//!
//! A panic and a processor exception end here alike. Nothing is asked of the agent, which may be half-way through
//! anything. Ending can itself go wrong, so each further entry does less: the second leaves out the record, the third
//! everything but the end.

use crate::backtrace;
use crate::power;
use crate::pvpanic;
use crate::serial::Port;
use crate::survival;
use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use outpost_wire::{EndCause, Panic, Text};
use smoltcp::time::Duration;

static ENTRIES: AtomicU8 = AtomicU8::new(0);
static STOP: AtomicBool = AtomicBool::new(false);

/// Chooses the stop that tests see instead of a reset.
pub fn stop_instead_of_reset() {
    STOP.store(true, Ordering::Relaxed);
}

/// A processor exception.
pub struct Fault {
    /// Its name.
    pub name: &'static str,
    /// Its vector.
    pub vector: u64,
    /// What the processor says about it.
    pub error_code: u64,
    /// The instruction that it came at.
    pub rip: u64,
    /// The stack pointer there.
    pub rsp: u64,
    /// The address that faulted.
    pub cr2: Option<u64>,
}

/// Ends after an exception.
pub fn fault(fault: Fault) -> ! {
    let mut message = heapless::String::<96>::new();
    let _ = write!(message, "vector {} error {:#x} rsp {:#x}", fault.vector, fault.error_code, fault.rsp);
    if let Some(cr2) = fault.cr2 {
        let _ = write!(message, " cr2 {cr2:#x}");
    }
    end(EndCause::Fault, &message, fault.name, Some(fault.rip), fault.rsp)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let mut message = heapless::String::<96>::new();
    // What does not fit is cut: `write!` fails then, and what came before stands.
    let _ = write!(Cut(&mut message), "{}", info.message());
    let mut location = heapless::String::<48>::new();
    if let Some(at) = info.location() {
        // The end of a path names the file; its beginning is where somebody built the image.
        let file = at.file();
        let tail = file.ceil_char_boundary(file.len().saturating_sub(36));
        let _ = write!(location, "{}:{}", &file[tail..], at.line());
    }
    // The frames of the callers lie above this one.
    let here = 0_u8;
    end(EndCause::Panic, &message, &location, None, (&raw const here).addr() as u64)
}

/// Takes as much of the text as fits.
struct Cut<'a>(&'a mut heapless::String<96>);

impl Write for Cut<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let room = self.0.capacity() - self.0.len();
        let fits = text.floor_char_boundary(room);
        let _ = self.0.push_str(&text[..fits]);
        if fits < text.len() { Err(core::fmt::Error) } else { Ok(()) }
    }
}

fn end(cause: EndCause, message: &str, location: &str, rip: Option<u64>, stack: u64) -> ! {
    x86_64::instructions::interrupts::disable();
    let entry = ENTRIES.fetch_add(1, Ordering::Relaxed);
    let stop = STOP.load(Ordering::Relaxed);
    let mut wait = Duration::ZERO;
    let callers = if entry == 0 { backtrace::walk(stack) } else { backtrace::Backtrace::new() };
    // A failed assertion has no instruction of its own: the innermost call stands for it.
    let rip = rip.or_else(|| callers.first().copied()).unwrap_or(0);
    if entry == 0 {
        let (message, location) = (Text::new(message), Text::new(location));
        wait = survival::panic(cause, Panic { message, location, rip, backtrace: backtrace::packed(&callers) });
        let _ = write!(Port, "\noutpost: backtrace");
        let _ = callers.iter().try_for_each(|caller| write!(Port, " {caller:#x}"));
    }
    if entry < 2 {
        let after = if stop { "stopping" } else { "resetting" };
        let _ = writeln!(Port, "\noutpost: panic: {} at {location} rip {rip:#x}: {after}", Escaped(message));
    }
    if entry == 0 {
        pvpanic::tell(stop);
    }
    if stop {
        survival::disarm();
        power::stop()
    }
    if wait > Duration::ZERO {
        let _ = writeln!(Port, "outpost: one crash after another: {} s before the reset", wait.secs());
        survival::wait(wait);
    }
    power::reset()
}

/// Text whose control characters cannot forge a line of the console.
struct Escaped<'a>(&'a str);

impl core::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for character in self.0.chars() {
            if character.is_control() { write!(f, "{}", character.escape_default())? } else { f.write_char(character)? }
        }
        Ok(())
    }
}
