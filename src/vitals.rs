//! What only the machine knows of how it is doing and the agent shows: processor time, memory, stacks.
//!
//! The machine hands it over at most once a second ([`Agent::observe`](crate::Agent::observe)); before the first time
//! everything is zero. All of it is counted since boot, so it needs no wall clock. There is no heap, and memory is
//! given out by the linker: what a `free` would show are the image's regions, which never change.

use smoltcp::time::Duration;

/// How the machine is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Time that the processor spent asleep, in `hlt`.
    pub idle: Duration,
    /// Time that it was awake, the boot included.
    pub busy: Duration,
    /// What the memory that the image claims is for.
    pub memory: Memory,
    /// The stacks. Those for faults are used by none that goes on.
    pub stacks: [Stack; 4],
}

/// Bytes of each region that is mapped, device registers aside. All other RAM is never touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The log's region, which survives a reset.
    pub log: u64,
    /// Constants.
    pub rodata: u64,
    /// Code.
    pub text: u64,
    /// Variables that do not begin as zero.
    pub data: u64,
    /// Page tables.
    pub tables: u64,
    /// Stacks, without their guard pages.
    pub stacks: u64,
    /// Variables that begin as zero: connections, buffers and queues.
    pub bss: u64,
}

impl Memory {
    /// Each region with its name.
    pub const fn regions(&self) -> [(&'static str, u64); 7] {
        [
            ("log", self.log),
            ("rodata", self.rodata),
            ("text", self.text),
            ("data", self.data),
            ("tables", self.tables),
            ("stacks", self.stacks),
            ("bss", self.bss),
        ]
    }
}

/// One stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stack {
    /// Its name; empty when there is none.
    pub name: &'static str,
    /// Its size in bytes.
    pub bytes: u32,
    /// The most that was ever in use, in bytes, as far as the machine has looked: it looks at a part at a time.
    pub high_water: u32,
}

impl Vitals {
    /// Whether a stack was at some time over nine tenths full.
    pub fn stack_is_high(&self) -> bool {
        self.stacks.iter().any(|stack| u64::from(stack.high_water) * 10 > u64::from(stack.bytes) * 9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_high_above_nine_tenths() {
        // Said too late, the warning comes after the crash; of a machine that says nothing there is nothing to warn.
        let with = |high_water| Vitals {
            stacks: [
                Stack::default(),
                Stack { name: "main", bytes: 1000, high_water },
                Stack::default(),
                Stack::default(),
            ],
            ..Vitals::default()
        };
        assert!(!Vitals::default().stack_is_high());
        assert!(!with(900).stack_is_high());
        assert!(with(901).stack_is_high());
    }
}
