//! What the guest's CPU executed, exactly: the shared file of the plugin bench/plugin/count.c.
//!
//! The plugin adds while the guest runs, we read the file: no stop, no sampling, no monitor. A measurement is the
//! difference of two readings.

use crate::command::run;
use std::fs::File;
use std::ops::Sub;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// How long the plugin's compilation may take.
const COMPILE_LIMIT: Duration = Duration::from_secs(60);

/// Where the counters by address begin in the file.
const HEADER: u64 = 4096;

/// How often the guest is looked at while it is expected to halt.
const LOOK: Duration = Duration::from_micros(200);

/// How often in a row it must look halted: once proves nothing on a host that was busy elsewhere.
const STILL: u32 = 2;

/// How long it may take to halt: longer means that it never does.
const SETTLE_LIMIT: Duration = Duration::from_secs(2);

/// One reading, or the difference of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Instructions executed.
    pub instructions: u64,
    /// Of these, `hlt`.
    pub halts: u64,
    /// Accesses to devices: ports and device memory, reads and writes.
    pub device_accesses: u64,
}

impl Sub for Count {
    type Output = Count;

    fn sub(self, before: Count) -> Count {
        Count {
            instructions: self.instructions - before.instructions,
            halts: self.halts - before.halts,
            device_accesses: self.device_accesses - before.device_accesses,
        }
    }
}

/// Which code is counted by address.
#[derive(Clone, Copy, Debug)]
pub struct Code {
    /// Its first address, as the CPU sees it.
    pub begin: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

/// The plugin, compiled.
pub struct Plugin {
    library: PathBuf,
    counters: PathBuf,
}

impl Plugin {
    /// Compiles `source` into `folder`.
    pub fn compile(source: &Path, folder: &Path) -> Result<Plugin, String> {
        let library = folder.join("count.so");
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-fPIC", "-shared", "-o"]).args([library.as_path(), source]);
        run(&mut compiler, COMPILE_LIMIT)?;
        Ok(Plugin { library, counters: folder.join("counters") })
    }

    /// QEMU's arguments for it. Virtual time then counts instructions, one a nanosecond: what the guest does by
    /// its clock does not depend on how fast the host is.
    pub fn arguments(&self, code: Option<Code>) -> Vec<String> {
        let mut plugin = format!("{},out={}", self.library.display(), self.counters.display());
        if let Some(Code { begin, bytes }) = code {
            plugin += &format!(",code={begin:#x},bytes={bytes}");
        }
        // The clock chip goes by virtual time, too: held against the host's the guest would seem to stand still.
        ["-icount", "shift=0", "-rtc", "clock=vm", "-plugin", &plugin].map(String::from).into()
    }

    /// The same for a guest that nobody speaks to: its time jumps over its sleep, and its random numbers are the same
    /// each time, so that it executes the same instructions in every run.
    pub fn arguments_alone(&self, code: Option<Code>) -> Vec<String> {
        // A later -icount adds to an earlier one.
        let mut arguments = self.arguments(code);
        arguments.extend(["-icount", "sleep=off", "-seed", "1"].map(String::from));
        arguments
    }

    /// The counters of the QEMU that was started last with [`Plugin::arguments`].
    pub fn open(&self) -> Result<Counter, String> {
        match File::open(&self.counters) {
            Ok(file) => Ok(Counter { file }),
            Err(error) => Err(format!("the counting plugin wrote no file ({error})")),
        }
    }
}

/// The counters of one running guest.
pub struct Counter {
    file: File,
}

impl Counter {
    /// What was executed so far.
    pub fn read(&self) -> Result<Count, String> {
        // The order is that of `enum counter` in count.c.
        let [instructions, halts, port_reads, port_writes, memory_reads, memory_writes] = self.read_words(0)?;
        let device_accesses = port_reads + port_writes + memory_reads + memory_writes;
        Ok(Count { instructions, halts, device_accesses })
    }

    /// Waits until the guest has halted after `before` was read and stays halted; what it executed by then.
    pub fn settle(&self, before: Count) -> Result<Count, String> {
        let deadline = Instant::now() + SETTLE_LIMIT;
        let (mut last, mut still) = (before, 0);
        loop {
            thread::sleep(LOOK);
            let now = self.read()?;
            still = if now == last && now.halts > before.halts { still + 1 } else { 0 };
            if still == STILL {
                return Ok(now);
            }
            if Instant::now() >= deadline {
                return Err(format!("the guest did not halt within {SETTLE_LIMIT:?}"));
            }
            last = now;
        }
    }

    /// How often the instruction at each address of `code` was executed.
    pub fn by_address(&self, code: Code) -> Result<Vec<u64>, String> {
        let length = usize::try_from(code.bytes).map_err(|error| error.to_string())? * 8;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, HEADER).map_err(unreadable)?;
        Ok(bytes.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word)).collect())
    }

    fn read_words<const N: usize>(&self, at: u64) -> Result<[u64; N], String> {
        let mut bytes = [[0; 8]; N];
        self.file.read_exact_at(bytes.as_flattened_mut(), at).map_err(unreadable)?;
        Ok(bytes.map(u64::from_ne_bytes))
    }
}

fn unreadable(error: std::io::Error) -> String {
    format!("the counting plugin's file cannot be read: {error}")
}
