//! Failing on purpose, to see that the end works: only in images built with the feature `fault-drill`, and only
//! when the kernel command line asks for it, which nobody on the network can.

use crate::cmdline;
use crate::power::{self, Way};

/// Fails in the way that `outpost.drill=` names. `crashed`: an earlier boot did already.
pub fn start(line: &str, crashed: bool) {
    match cmdline::values(line, "outpost.drill").last() {
        Some("panic") => panic!("drill: a panic with a\nline break"),
        Some("page-fault") => read(0x10),
        Some("write-text") => write_text(),
        Some("execute-data") => execute_data(),
        Some("stack-overflow") => {
            core::hint::black_box(overflow(1));
        }
        Some("double-fault") => double_fault(),
        // Once: the next boot is to tell of it.
        Some("triple-fault") if !crashed => power::triple_fault(),
        Some("reset-acpi") if !crashed => reset_only(Way::Acpi),
        Some("reset-chipset") if !crashed => reset_only(Way::Chipset),
        Some("reset-keyboard") if !crashed => reset_only(Way::Keyboard),
        _ => {}
    }
}

/// Resets in this way, and stands still when that does nothing.
fn reset_only(way: Way) -> ! {
    power::reset_by(way);
    power::stop()
}

/// Reads where nothing is mapped.
fn read(address: usize) {
    // SAFETY: none: the page fault is what the drill wants, and it does not come back.
    let _ = unsafe { core::ptr::with_exposed_provenance::<u8>(address).read_volatile() };
}

fn write_text() {
    // SAFETY: none: as in `read`.
    unsafe { (write_text as fn() as *mut u8).write_volatile(0) };
}

fn execute_data() {
    static CODE: [u8; 16] = [0xc3; 16];
    // SAFETY: none: as in `read`.
    let code: fn() = unsafe { core::mem::transmute(CODE.as_ptr()) };
    code();
}

/// Recurses until the stack meets its guard page.
fn overflow(depth: u64) -> u64 {
    let frame = core::hint::black_box([depth; 64]);
    if depth == u64::MAX { 0 } else { overflow(depth + 1).wrapping_add(frame[(depth % 64) as usize]) }
}

/// Divides by zero on a stack whose address cannot exist: the stack fault inside the divide error is a double fault.
fn double_fault() {
    // SAFETY: none: as in `read`.
    unsafe { core::arch::asm!("mov rsp, {}", "xor ecx, ecx", "div ecx", "ud2", in(reg) 1u64 << 63, options(noreturn)) }
}
