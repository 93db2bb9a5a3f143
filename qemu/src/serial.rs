//! What a stream of QEMU's wrote: the guest's serial console, or QEMU's own standard error.
//!
//! A thread reads the pipe to its end, so that neither QEMU nor the guest ever waits for us; the newest
//! [`KEPT`] bytes stay readable while the guest runs.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes kept of a stream, the newest ones: thousands of console lines.
const KEPT: usize = 256 * 1024;

/// Lines of a console that an error quotes.
const QUOTED_LINES: usize = 25;

/// A stream of text that is still being written.
#[derive(Clone)]
pub struct Serial {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    /// How many bytes were dropped before `bytes`.
    dropped: usize,
    /// The writer is gone.
    ended: bool,
}

/// What came of waiting for a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    Seen,
    Ended,
    TimedOut,
}

impl Serial {
    /// Reads `stream` to its end in a thread of its own.
    pub(crate) fn read(mut stream: impl Read + Send + 'static) -> Serial {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let serial = Serial { shared: Arc::clone(&shared) };
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            loop {
                let read = match stream.read(&mut chunk) {
                    Ok(read) => read,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                    Err(_) => 0,
                };
                let mut state = shared.lock();
                state.ended = read == 0;
                state.append(chunk.get(..read).unwrap_or_default());
                shared.changed.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        serial
    }

    /// Everything that is kept, as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.shared.lock().bytes).into_owned()
    }

    /// What was written after `position` bytes (0 at first), and the position after it. Never waits.
    pub fn since(&self, position: usize) -> (String, usize) {
        let state = self.shared.lock();
        let new = state.bytes.get(position.saturating_sub(state.dropped)..).unwrap_or_default();
        (String::from_utf8_lossy(new).into_owned(), state.dropped + state.bytes.len())
    }

    /// The last lines, for an error: without control characters, for a guest must not move our cursor.
    pub fn tail(&self) -> String {
        let text = self.text().replace(|c: char| c.is_control() && c != '\n', "");
        let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        lines.get(lines.len().saturating_sub(QUOTED_LINES)..).unwrap_or_default().join("\n")
    }

    pub(crate) fn wait_for(&self, text: &str, deadline: Instant) -> Waited {
        self.wait_until(deadline, |state| contains(&state.bytes, text.as_bytes()))
    }

    /// Waits until the writer is gone.
    pub(crate) fn wait_end(&self, deadline: Instant) {
        self.wait_until(deadline, |_| false);
    }

    fn wait_until(&self, deadline: Instant, seen: impl Fn(&State) -> bool) -> Waited {
        let mut state = self.shared.lock();
        loop {
            if seen(&state) {
                return Waited::Seen;
            }
            if state.ended {
                return Waited::Ended;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return Waited::TimedOut;
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    /// The state. A reader that panicked leaves it whole, so poisoning means nothing here.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let surplus = self.bytes.len().saturating_sub(KEPT);
        self.bytes.drain(..surplus);
        self.dropped += surplus;
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || haystack.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Write};

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[test]
    fn text_is_seen_while_the_writer_goes_on() {
        // A wait that only looks at the end of the stream would hang on every guest that keeps running.
        let (reader, mut writer) = std::io::pipe().unwrap();
        let serial = Serial::read(reader);
        writer.write_all(b"boot\nserving on").unwrap();
        writer.write_all(b" port 80\n").unwrap();
        assert_eq!(serial.wait_for("serving on port", soon()), Waited::Seen);
        assert_eq!(serial.wait_for("never", Instant::now() + Duration::from_millis(20)), Waited::TimedOut);
        drop(writer);
        assert_eq!(serial.wait_for("never", soon()), Waited::Ended);
        let (first, position) = serial.since(0);
        assert_eq!((first.as_str(), serial.since(position).0.as_str()), ("boot\nserving on port 80\n", ""));
    }

    #[test]
    fn a_guest_that_floods_its_console_costs_bounded_memory() {
        // A crash loop writes for hours; the newest lines are the ones that matter.
        let mut flood = vec![b'x'; 3 * KEPT];
        flood.extend_from_slice(b"\nthe \x1b[2Jend\r\n");
        let serial = Serial::read(Cursor::new(flood));
        serial.wait_end(soon());
        assert_eq!(serial.text().len(), KEPT);
        assert_eq!(serial.tail().lines().last(), Some("the [2Jend"));
        assert_eq!(serial.since(3 * KEPT + 1).0, "the \x1b[2Jend\r\n");
    }
}
