//! The serial console: a 16550 at 0x3f8.
//!
//! [`Serial`] queues and never waits: the loop moves what the chip's FIFO takes. [`Port`] waits for the chip, with
//! a bound, for the few lines that must be out before the image goes on or ends.

use core::fmt;
use outpost::limits::{LOG_CONSOLE_LINE, LOG_CONSOLE_PER_CALL};
use x86_64::instructions::port::Port as IoPort;

const BASE: u16 = 0x3f8;

/// Bytes that the chip's FIFO takes at once when it says that it is empty.
const FIFO: usize = 16;

/// Times to look at a chip that is not ready: 16 characters at 115,200 baud take 1.4 ms, a port read about 1 µs on
/// hardware, and a chip that is not there (reads 0xff) is always ready.
const READY_TRIES: u32 = 20_000;

/// Bytes that wait for the chip: what the agent says in one turn, several times over.
const QUEUE: usize = 4096;

/// What the agent says in one turn at most, with CR LF behind each line: it is asked only when that fits.
const TURN: usize = LOG_CONSOLE_PER_CALL * (LOG_CONSOLE_LINE + 2);

const _: () = assert!(TURN <= QUEUE / 2);

fn write_register(register: u16, value: u8) {
    // SAFETY: the ports 0x3f8 to 0x3ff belong to the serial console, and only this module writes them.
    unsafe { IoPort::<u8>::new(BASE + register).write(value) }
}

fn transmitter_empty() -> bool {
    // SAFETY: reading the line status has no effect that another part relies on.
    let status = unsafe { IoPort::<u8>::new(BASE + 5).read() };
    status & 0x20 != 0
}

/// Sets the chip up: 115,200 baud, 8N1, FIFO on, no interrupts.
pub fn start() {
    for (register, value) in [(1, 0), (3, 0x80), (0, 1), (1, 0), (3, 0x03), (2, 0xc7), (4, 0x03)] {
        write_register(register, value);
    }
}

/// The chip itself, for lines that cannot wait for the loop.
pub struct Port;

impl fmt::Write for Port {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                send(b'\r');
            }
            send(byte);
        }
        Ok(())
    }
}

/// Sends one byte, or drops it when the chip stays busy: the line is less important than going on.
fn send(byte: u8) {
    for _ in 0..READY_TRIES {
        if transmitter_empty() {
            break;
        }
    }
    write_register(0, byte);
}

/// The queue in front of the chip.
pub struct Serial {
    queue: heapless::Deque<u8, QUEUE>,
    dropped: u32,
}

impl Serial {
    /// An empty queue.
    pub const fn new() -> Serial {
        Serial { queue: heapless::Deque::new(), dropped: 0 }
    }

    /// Whether a turn of the agent's fits: when not, it keeps what it has to say.
    pub fn has_room(&self) -> bool {
        QUEUE - self.queue.len() >= TURN
    }

    /// Whether nothing waits for the chip.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Gives the chip what it takes now; `true` when more waits.
    pub fn drain(&mut self) -> bool {
        while !self.queue.is_empty() && transmitter_empty() {
            for _ in 0..FIFO {
                let Some(byte) = self.queue.pop_front() else { break };
                write_register(0, byte);
            }
        }
        if self.queue.is_empty() && self.dropped > 0 {
            let dropped = core::mem::take(&mut self.dropped);
            let _ = fmt::Write::write_fmt(self, format_args!("outpost: {dropped} bytes did not fit the console\n"));
        }
        !self.queue.is_empty()
    }

    /// Waits, bounded, until everything is out: before the machine ends.
    pub fn finish(&mut self) {
        while let Some(byte) = self.queue.pop_front() {
            send(byte);
        }
    }
}

impl embedded_io::ErrorType for Serial {
    type Error = core::convert::Infallible;
}

impl embedded_io::Write for Serial {
    /// Queues everything; what does not fit is dropped and counted, for the console must not stall the agent.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        for byte in bytes {
            let needed = if *byte == b'\n' { 2 } else { 1 };
            if QUEUE - self.queue.len() < needed {
                self.dropped = self.dropped.saturating_add(1);
                continue;
            }
            if *byte == b'\n' {
                let _ = self.queue.push_back(b'\r');
            }
            let _ = self.queue.push_back(*byte);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        self.finish();
        Ok(())
    }
}

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let _ = embedded_io::Write::write(self, text.as_bytes());
        Ok(())
    }
}
