//! What one record costs the guest in instructions, from `emit` into the ring.
//!
//! The configuration's drill makes records at a rate; two rates over the same time differ in nothing but their
//! number, so the difference of what was executed, divided by it, is one record: its making, its place in the ring, and
//! the serial console's look at it (which shows few of them). Nobody speaks to the guest, and its time is a count of its
//! own instructions, so nothing depends on the host and a repetition finds the same number.

use crate::counter::Plugin;
use crate::guest::Process;
use crate::image::Image;
use crate::lab;
use outpost_qemu::{Machine, Vm};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// Records each second of the two loads: the agent makes them every 5 ms, 10 and 50 at a time.
pub const RATES: [u64; 2] = [2_000, 10_000];

/// How long the loads last, in seconds: all of it stays in the ring, and most of it gives way again.
pub const FITTING_S: u64 = 10;
/// The longer of two loads whose difference meets a full ring.
pub const OVERFLOWING_S: u64 = 60;
/// The shorter of them; the ring is full by then.
pub const FULL_S: u64 = 30;

/// How long one load may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// How a guest ends that resets: QEMU is told to end instead.
const ENDED: Option<i32> = Some(0);

/// What was executed over a whole boot, start and end included, in which the drill made records.
pub struct Load {
    /// Records that the drill made.
    pub records: u64,
    /// Instructions.
    pub instructions: u64,
    by_address: Vec<u64>,
}

impl Load {
    /// Boots the image without a network, and lets it make so many records a second for this long.
    pub fn run(plugin: &Plugin, image: &Image, folder: &Path, rate: u64, seconds: u64) -> Result<Load, String> {
        let drill = json!({ "drill": { "records_per_s": rate, "panic_after_s": seconds } });
        let config = lab::write_config(folder, "emit", &drill)?;
        let extra = plugin.arguments_alone(Some(image.code));
        let vm =
            Vm { nic: None, config: Some(config), reboot: false, extra, ..Vm::new(Machine::Microvm, lab::image()) };
        let console = folder.join("emit.console");
        let code = Process::start(&vm, &console)?.wait(LIMIT)?;
        if code != ENDED {
            return Err(format!("QEMU ended with {code:?}; see {}", console.display()));
        }
        let counter = plugin.open()?;
        let (instructions, by_address) = (counter.read()?.instructions, counter.by_address(image.code)?);
        Ok(Load { records: rate * seconds, instructions, by_address })
    }

    /// Instructions per record of what `self` did more than `less`.
    pub fn each_beyond(&self, less: &Load) -> f64 {
        (self.instructions - less.instructions) as f64 / (self.records - less.records) as f64
    }

    /// The same by function, the largest first.
    pub fn functions_beyond(&self, less: &Load, image: &Image) -> Vec<(String, f64)> {
        let pairs = self.by_address.iter().zip(&less.by_address);
        let counts: Vec<u64> = pairs.map(|(more, less)| more.saturating_sub(*less)).collect();
        let records = (self.records - less.records) as f64;
        image.by_function(&counts).into_iter().map(|(name, count)| (name, count as f64 / records)).collect()
    }
}
