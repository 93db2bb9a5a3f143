//! The agent: `poll` is its table of contents. (skeleton)

use crate::config::Loaded;
use crate::facts::Facts;
use crate::nic::Nic;
use smoltcp::time::Instant;

/// What the agent asks of the machine after a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Call again at this moment, or earlier when a frame arrives.
    At(Instant),
    /// Call again when a frame arrives.
    OnFrame,
    /// The agent has ended in order: switch the machine off.
    PowerOff,
}

/// The memory of the agent: static in the image, leaked in a test.
#[derive(Debug, Default)]
pub struct Storage {}

impl Storage {
    /// Empty memory, in .bss.
    pub const fn new() -> Storage {
        Storage {}
    }
}

/// The agent.
pub struct Agent<'a> {
    storage: &'a mut Storage,
    log_region: &'a mut [u8],
}

impl<'a> Agent<'a> {
    /// An agent for this machine. `now` is the moment of the call, `log_region` the log's memory as the last
    /// boot left it.
    pub fn new<N: Nic>(
        facts: Facts,
        config: Loaded,
        storage: &'a mut Storage,
        log_region: &'a mut [u8],
        nic: &mut N,
        now: Instant,
    ) -> Agent<'a> {
        let _ = (facts, config, nic, now);
        Agent { storage, log_region }
    }

    /// Does everything that is due, in bounded time, and says when there is more to do.
    pub fn poll<N: Nic>(&mut self, now: Instant, nic: &mut N) -> Wake {
        let _ = (now, nic, &mut self.storage, &mut self.log_region);
        Wake::OnFrame
    }

    /// The operator asked for an orderly end: the log is flushed within a bound, then `poll` says `PowerOff`.
    pub fn shut_down(&mut self, now: Instant, cause: outpost_wire::ShutdownCause) {
        let _ = (now, cause);
    }

    /// Writes at most a few of the lines that the serial console has not shown yet; `true` when there are more.
    pub fn console<W: embedded_io::Write>(&mut self, now: Instant, out: &mut W) -> bool {
        let _ = (now, out);
        false
    }

    /// The image is about to reset: writes the panic record into the ring. Bounded, and safe to call at any point.
    pub fn record_panic(&mut self, now: Instant, panic: outpost_wire::Panic<'_>) {
        let _ = (now, panic);
    }
}
