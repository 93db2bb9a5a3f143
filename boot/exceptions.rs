//! Processor exceptions: every one ends in the panic path, the dangerous ones on stacks of their own.
//!
//! A page fault may be the main stack's overflow into its guard page, a double fault follows any broken stack,
//! and an NMI or a machine check may come at any instruction: these four never use the stack they find.

use crate::memory;
use crate::once::Once;
use crate::panic::{self, Fault};
use core::arch::global_asm;
use x86_64::instructions::segmentation::{CS, Segment};
use x86_64::instructions::tables::{lidt, load_tss};
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable};
use x86_64::structures::idt::{Entry, HandlerFunc};
use x86_64::structures::tss::TaskStateSegment;
use x86_64::{PrivilegeLevel, VirtAddr};

global_asm!(include_str!("exceptions.s"), exception = sym exception, options(att_syntax));

/// Entries of the interrupt table: all that there are.
const VECTORS: usize = 256;

const NMI: usize = 2;
const DOUBLE_FAULT: usize = 8;
const PAGE_FAULT: usize = 14;
const MACHINE_CHECK: usize = 18;

const NAMES: [&str; 32] = [
    "divide error",
    "debug",
    "NMI",
    "breakpoint",
    "overflow",
    "bound range",
    "invalid opcode",
    "no FPU",
    "double fault",
    "vector 9",
    "invalid TSS",
    "segment not present",
    "stack segment fault",
    "general protection",
    "page fault",
    "vector 15",
    "x87 error",
    "alignment check",
    "machine check",
    "SIMD error",
    "virtualization",
    "control protection",
    "vector 22",
    "vector 23",
    "vector 24",
    "vector 25",
    "vector 26",
    "vector 27",
    "hypervisor injection",
    "VMM communication",
    "security",
    "vector 31",
];

/// What the stub leaves on the stack, and above it what the processor pushed.
#[repr(C)]
struct Frame {
    vector: u64,
    error_code: u64,
    rip: u64,
    _cs: u64,
    _rflags: u64,
    rsp: u64,
}

extern "C" fn exception(frame: &Frame) -> ! {
    let vector = frame.vector as usize;
    let cr2 = x86_64::registers::control::Cr2::read_raw();
    let overflow = vector == PAGE_FAULT && memory::in_stack_guard(cr2);
    let name = if overflow { "stack overflow" } else { NAMES.get(vector).unwrap_or(&"exception") };
    panic::fault(Fault {
        name,
        vector: frame.vector,
        error_code: frame.error_code,
        rip: frame.rip,
        rsp: frame.rsp,
        cr2: (vector == PAGE_FAULT).then_some(cr2),
    })
}

/// The interrupt table. `interrupts` fills the entries from 32 on and calls [`Table::load`].
pub struct Table(&'static mut [Entry<HandlerFunc>; VECTORS]);

impl Table {
    /// The table, its exceptions filled in; `None` after the first time. Loads our own GDT and TSS first, for the
    /// entries carry the code segment.
    pub fn new() -> Option<Table> {
        // Not `Entry::missing()`, which is not zero: the table would be 4 KiB of the file. Every entry is set anyway.
        // SAFETY: an entry is integers alone.
        const UNSET: Entry<HandlerFunc> = unsafe { core::mem::zeroed() };
        static TABLE: Once<[Entry<HandlerFunc>; VECTORS]> = Once::new([UNSET; VECTORS]);
        unsafe extern "C" {
            static exception_stubs: u8;
        }
        let mut table = Table(TABLE.take()?);
        load_segments()?;
        let stubs = core::ptr::addr_of!(exception_stubs) as u64;
        for vector in 0..32 {
            table.set(vector, stubs + vector as u64 * 16);
        }
        for (vector, stack) in [(PAGE_FAULT, 0), (DOUBLE_FAULT, 1), (NMI, 2), (MACHINE_CHECK, 2)] {
            let entry = &mut table.0[vector];
            // SAFETY: the stub at this address is made for an interrupt gate.
            let options = unsafe { entry.set_handler_addr(VirtAddr::new(stubs + vector as u64 * 16)) };
            // SAFETY: `load_segments` put a mapped stack into this slot of the TSS.
            unsafe { options.set_stack_index(stack) };
        }
        Some(table)
    }

    /// Sets the stub of a vector; its address must be one of the assembler stubs'.
    pub fn set(&mut self, vector: usize, stub: u64) {
        // SAFETY: the callers pass the addresses of stubs that keep all registers and end in `iretq`, or do not return.
        unsafe { self.0[vector].set_handler_addr(VirtAddr::new(stub)) };
    }

    /// Makes the processor use the table.
    pub fn load(self) {
        let limit = (size_of::<[Entry<HandlerFunc>; VECTORS]>() - 1) as u16;
        let pointer = DescriptorTablePointer { limit, base: VirtAddr::from_ptr(self.0) };
        // SAFETY: the table is static, and nobody has a reference to it any more.
        unsafe { lidt(&pointer) }
    }
}

/// Loads the GDT and the TSS with the stacks for exceptions.
fn load_segments() -> Option<()> {
    static TSS: Once<TaskStateSegment> = Once::new(TaskStateSegment::new());
    static GDT: Once<GlobalDescriptorTable> = Once::new(GlobalDescriptorTable::new());
    let tss = TSS.take()?;
    let [page_fault, double_fault, others] = memory::fault_stacks().map(|stack| VirtAddr::new(stack.end));
    let unused = VirtAddr::zero();
    tss.interrupt_stack_table = [page_fault, double_fault, others, unused, unused, unused, unused];
    let gdt = GDT.take()?;
    let code = gdt.append(Descriptor::kernel_code_segment());
    let task = gdt.append(Descriptor::tss_segment(tss));
    gdt.load();
    debug_assert_eq!(code.rpl(), PrivilegeLevel::Ring0);
    // SAFETY: `code` names the 64-bit code segment just loaded.
    unsafe { CS::set_reg(code) };
    // SAFETY: `task` names the TSS descriptor just loaded.
    unsafe { load_tss(task) };
    Some(())
}
