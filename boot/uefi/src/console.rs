//! What the loader says: on the firmware's console, and on the serial port, for many a VM has no screen that anybody
//! looks at. Where the firmware's console is the serial port too, it stands there twice.

use core::arch::asm;
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use uefi::{Status, boot, system};

/// The first serial port of a PC.
const COM1: u16 = 0x3f8;

/// Looks at a serial port that is never ready.
const TRIES: u32 = 100_000;

/// Says one line.
pub fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(Serial, "outpost: {line}\r");
    system::with_stdout(|console| {
        let _ = writeln!(console, "outpost: {line}");
    });
}

/// The serial port, as the firmware or the VMM set it up.
struct Serial;

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(send);
        Ok(())
    }
}

fn send(byte: u8) {
    for _ in 0..TRIES {
        let status: u8;
        // SAFETY: reading the line status changes nothing that we use; without a port it reads as 0xff.
        unsafe { asm!("in al, dx", in("dx") COM1 + 5, out("al") status, options(nomem, nostack, preserves_flags)) }
        if status & 0x20 != 0 {
            break;
        }
    }
    // SAFETY: the transmit register of a serial port; without one the byte goes nowhere.
    unsafe { asm!("out dx, al", in("dx") COM1, in("al") byte, options(nomem, nostack, preserves_flags)) }
}

/// A broken belief of ours, or of the `uefi` crate's about the firmware.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let _ = writeln!(Serial, "\noutpost: the loader stops: {info}. Please report this.\r");
    // SAFETY: nothing of the loader is needed any more; what it asked for, the firmware keeps.
    let _ = unsafe { boot::exit(boot::image_handle(), Status::ABORTED, 0, core::ptr::null_mut()) };
    loop {
        // SAFETY: waits; the firmware refused to take the machine back.
        unsafe { asm!("hlt", options(nomem, nostack)) }
    }
}
