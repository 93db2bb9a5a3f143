//! The end of a boot that went wrong: one line on serial, one record in the log, then reset (or the stop that
//! tests ask for).
//!
//! A panic and a processor exception end here alike. Ending can itself go wrong, so each further entry does less:
//! the second leaves out the record, the third everything but the end.

use crate::clock::Clock;
use crate::power;
use crate::serial::Port;
use core::fmt::Write;
use core::panic::PanicInfo;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, Ordering};
use outpost::Agent;
use outpost_wire::{Panic, Text};
use smoltcp::time::Instant;

static ENTRIES: AtomicU8 = AtomicU8::new(0);
static STOP: AtomicBool = AtomicBool::new(false);
static AGENT: AtomicPtr<Agent<'static>> = AtomicPtr::new(null_mut());
static CLOCK: spin::Mutex<Option<Clock>> = spin::Mutex::new(None);

/// Chooses the stop that tests see instead of a reset.
pub fn stop_instead_of_reset() {
    STOP.store(true, Ordering::Relaxed);
}

/// From now on the panic path can record.
pub fn arm(agent: *mut Agent<'static>, clock: Clock) {
    *CLOCK.lock() = Some(clock);
    AGENT.store(agent, Ordering::Release);
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
    end(&message, fault.name, fault.rip)
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
    end(&message, &location, 0)
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

fn end(message: &str, location: &str, rip: u64) -> ! {
    x86_64::instructions::interrupts::disable();
    let entry = ENTRIES.fetch_add(1, Ordering::Relaxed);
    let stop = STOP.load(Ordering::Relaxed);
    if entry < 2 {
        let after = if stop { "stopping" } else { "resetting" };
        let _ = writeln!(Port, "\noutpost: panic: {} at {location} rip {rip:#x}: {after}", Escaped(message));
    }
    if entry == 0 {
        record(Panic { message: Text::new(message), location: Text::new(location), rip });
    }
    if stop { power::stop() } else { power::reset() }
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

fn record(panic: Panic<'_>) {
    let agent = AGENT.swap(null_mut(), Ordering::Acquire);
    let now = CLOCK.try_lock().and_then(|clock| clock.map(|clock| clock.now())).unwrap_or(Instant::ZERO);
    // SAFETY: the pointer is null or to the agent of `main`'s frame, which never ends. The loop reaches the agent
    // only through this same pointer; whatever reference it holds is never used again, for interrupts are off,
    // there is one processor, and this path does not return: the program that held it has ended, and this is
    // another one that reads its memory. The agent may be half-way through a change, so `record_panic` promises
    // to be safe at any point: it reads nothing but integers and bytes, and checks them against bounds.
    let agent = unsafe { agent.as_mut() };
    if let Some(agent) = agent {
        agent.record_panic(now, panic);
    }
}
