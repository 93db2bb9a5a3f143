//! What the machine tells the agent once, at boot. The agent never asks for any of it.

use crate::content::Content;
use crate::crash::History;
use heapless::{String, Vec};
use outpost_wire::EntropySource;
use smoltcp::time::Instant;

/// Wall time as the machine knew it at one moment of monotonic time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallTime {
    /// The monotonic moment.
    pub at: Instant,
    /// Microseconds since 1970-01-01 UTC at that moment.
    pub unix_us: u64,
    /// How far off it may be, in microseconds.
    pub error_us: u64,
    /// Where it came from: `kvmclock`, `rtc`.
    pub source: &'static str,
}

/// One phase of the boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Its name.
    pub name: &'static str,
    /// How long it took, in microseconds.
    pub took_us: u32,
}

/// The machine, as found.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Random id of this boot.
    pub boot_id: u64,
    /// Random bytes for everything that must not be guessed (TCP sequence numbers, ports).
    pub seed: [u8; 32],
    /// Where the seed came from.
    pub entropy: EntropySource,
    /// Board and VMM in words, like `microvm, QEMU TCG`.
    pub machine: String<40>,
    /// What brought the image to its entry: `pvh`, the VMM itself; `uefi`, the loader of the disk image.
    pub boot_path: &'static str,
    /// RAM in bytes.
    pub memory_bytes: u64,
    /// Where monotonic time comes from: `kvmclock`, `tsc`.
    pub clock: &'static str,
    /// Wall time, where the machine has any.
    pub wall: Option<WallTime>,
    /// The image id (zeros when the image was not made by `outpost image`).
    pub image_id: [u8; 32],
    /// Git revision the image was built from, or `unknown`.
    pub revision: &'static str,
    /// The phases of the boot before the agent started, in order.
    pub phases: Vec<Phase, 12>,
    /// How the boots before this one ended.
    pub history: History,
    /// The pages that came along.
    pub content: Content,
    /// The watchdog that is fed, if any.
    pub watchdog: Option<&'static str>,
}
