//! What the machine tells the agent of itself while it runs: processor time, memory, stacks.

use crate::clock::Clock;
use crate::gauge::Gauge;
use crate::memory;
use outpost::vitals::{Stack, Vitals};
use smoltcp::time::Instant;

/// What is counted between two tellings.
pub struct Meter {
    /// In ticks of the TSC.
    idle: u64,
    main: Gauge,
}

impl Meter {
    /// A meter that has counted nothing yet.
    pub fn new() -> Meter {
        Meter { idle: 0, main: Gauge::new(memory::main_stack()) }
    }

    /// The processor slept for so many ticks of the TSC.
    pub fn slept(&mut self, ticks: u64) {
        self.idle += ticks;
    }

    /// How the machine is doing. The stacks for faults are unused, or the machine would be ending.
    pub fn vitals(&mut self, now: Instant, clock: &Clock) -> Vitals {
        let idle = clock.time_of(self.idle);
        let used = self.main.look(memory::read_word);
        let [page_fault, double_fault, other_fault] = memory::fault_stacks();
        let stacks = [
            ("main", memory::main_stack(), used),
            ("page_fault", page_fault, 0),
            ("double_fault", double_fault, 0),
            ("other_fault", other_fault, 0),
        ];
        Vitals {
            idle,
            busy: now - (Instant::ZERO + idle).min(now),
            memory: memory::regions(),
            stacks: stacks.map(|(name, stack, high_water)| Stack {
                name,
                bytes: (stack.end - stack.start) as u32,
                high_water,
            }),
        }
    }
}
