//! The `log` crate's sink: lines of libraries inside the image wait in one bounded queue until the next poll, which
//! stamps the time and makes them records of `dependency.log`.
//!
//! What always holds: a line never waits for a lock and never allocates; one that finds no room is counted.

use crate::limits::LOG_DEPENDENCY_LINES;
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use heapless::{Deque, String};
use outpost_wire::{DependencyLog, Text};
use spin::Mutex;

const TARGET_MAX: usize = 40;
const TEXT_MAX: usize = 120;

static SINK: Sink = Sink::new();

/// Makes this the sink of the `log` crate. Has no effect when another one is there already.
pub fn install() {
    if ::log::set_logger(&SINK).is_ok() {
        ::log::set_max_level(::log::LevelFilter::Info);
    }
}

/// The oldest line that waits.
pub(super) fn take() -> Option<Line> {
    SINK.take()
}

/// Whether there may be a line, or one that found no room.
#[inline(always)]
pub(super) fn waits() -> bool {
    SINK.waits.load(Ordering::Relaxed)
}

/// How many lines found no room since the last call.
pub(super) fn take_dropped() -> u32 {
    SINK.dropped.swap(0, Ordering::Relaxed)
}

/// One line of a library.
pub(super) struct Line {
    level: u8,
    target: String<TARGET_MAX>,
    text: String<TEXT_MAX>,
}

impl Line {
    /// The line as an event.
    pub(super) fn event(&self) -> DependencyLog<'_> {
        DependencyLog { level: self.level, target: Text::new(&self.target), text: Text::new(&self.text) }
    }
}

struct Sink {
    queue: Mutex<Deque<Line, LOG_DEPENDENCY_LINES>>,
    dropped: AtomicU32,
    /// Anything came since the queue was last found empty.
    waits: AtomicBool,
}

impl Sink {
    const fn new() -> Sink {
        Sink { queue: Mutex::new(Deque::new()), dropped: AtomicU32::new(0), waits: AtomicBool::new(false) }
    }

    fn take(&self) -> Option<Line> {
        let line = self.queue.try_lock()?.pop_front();
        self.waits.store(line.is_some(), Ordering::Relaxed);
        line
    }
}

impl ::log::Log for Sink {
    fn enabled(&self, metadata: &::log::Metadata<'_>) -> bool {
        metadata.level() <= ::log::Level::Info
    }

    fn log(&self, record: &::log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut line = Line { level: record.level() as u8, target: String::new(), text: String::new() };
        // Cut where it is too long: the beginning of a line says most.
        let _ = Cut(&mut line.target).write_str(record.target());
        let _ = Cut(&mut line.text).write_fmt(*record.args());
        let queued = self.queue.try_lock().is_some_and(|mut queue| queue.push_back(line).is_ok());
        self.waits.store(true, Ordering::Relaxed);
        if !queued {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

/// Writes as much as fits, cut between characters; then refuses, so that formatting ends early.
pub(super) struct Cut<'s, const MAX: usize>(pub(super) &'s mut String<MAX>);

impl<const MAX: usize> Write for Cut<'_, MAX> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let room = MAX - self.0.len();
        let fits = &text[..text.floor_char_boundary(room)];
        self.0.push_str(fits).map_err(|_| core::fmt::Error)?;
        if fits.len() == text.len() { Ok(()) } else { Err(core::fmt::Error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::log::{Level, Log, Record};

    fn say(sink: &Sink, level: Level, text: &str) {
        sink.log(&Record::builder().level(level).target("smoltcp").args(format_args!("{text}")).build());
    }

    #[test]
    fn lines_wait_in_order_and_those_without_room_are_counted() {
        // A library that logs in a loop must neither block, nor allocate, nor lose lines silently.
        let sink = Sink::new();
        for i in 0..LOG_DEPENDENCY_LINES + 3 {
            say(&sink, Level::Warn, &format!("line {i}"));
        }
        say(&sink, Level::Debug, "never recorded");
        let held = sink.queue.lock();
        say(&sink, Level::Warn, "while the queue is being read");
        drop(held);
        assert_eq!(sink.dropped.load(Ordering::Relaxed), 4);
        for i in 0..LOG_DEPENDENCY_LINES {
            let line = sink.take().unwrap();
            let event = line.event();
            assert_eq!((event.level, event.target.as_str()), (2, "smoltcp"));
            assert_eq!(event.text.as_str(), format!("line {i}"));
        }
        assert!(sink.take().is_none());
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        // A cut inside a character would panic inside whatever library spoke.
        let sink = Sink::new();
        say(&sink, Level::Error, &"é".repeat(100));
        assert_eq!(sink.take().unwrap().event().text.as_str(), "é".repeat(60));
        say(&sink, Level::Error, &format!("x{}", "é".repeat(100)));
        assert_eq!(sink.take().unwrap().event().text.as_str(), format!("x{}", "é".repeat(59)));
    }
}
