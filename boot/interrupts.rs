//! Interrupts: each does nothing but set a flag, so that `hlt` ends and the loop looks.
//!
//! ```text
//! device ──MSI-X──▶ vector ──▶ stub: flag, woken, EOI        loop: take(vector) · idle()
//! device ──GSI──▶ IOAPIC ──▶ ┘
//! ```
//!
//! What always holds: no wake-up is lost. A stub sets `woken`, and [`idle`] reads it with interrupts off and
//! goes to sleep by `sti; hlt`, between which none is taken (Intel SDM 2B, STI). After each [`idle`] the loop looks at
//! everything that an interrupt can mean.

use crate::acpi::{IoApic, Platform, Pm1, Polarity, Trigger};
use crate::exceptions::Table;
use crate::memory::map_device;
use core::arch::global_asm;
use core::ptr::{NonNull, addr_of};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering};
use x86_64::instructions::interrupts;
use x86_64::instructions::port::Port;
use x86_64::registers::model_specific::Msr;

global_asm!(
    include_str!("interrupts.s"),
    pending = sym PENDING,
    woken = sym WOKEN,
    acknowledge = sym ACKNOWLEDGE,
    pm1_status = sym PM1_STATUS,
    pm1_events = sym PM1_EVENTS,
    options(att_syntax)
);

/// The first vector after the exceptions.
const FIRST: u8 = 32;

/// Vectors for devices, as interrupts.s has stubs for: the timer, the SCI, and a card's queues many times over.
const DEVICE_VECTORS: usize = 32;
const _: () = assert!((FIRST as usize).is_multiple_of(DEVICE_VECTORS), "`take` finds a vector's flag by a remainder");

/// Where a masked legacy PIC would still send a spurious interrupt: behind our own vectors.
const PIC_VECTORS: u8 = 0xe0;

const SPURIOUS: u8 = 0xff;

static PENDING: [AtomicBool; DEVICE_VECTORS] = [const { AtomicBool::new(false) }; DEVICE_VECTORS];
static WOKEN: AtomicBool = AtomicBool::new(false);
/// Address of the local APIC's EOI register. Interrupts are off until it is set.
static ACKNOWLEDGE: AtomicU64 = AtomicU64::new(0);
static PM1_STATUS: AtomicU16 = AtomicU16::new(0);
static PM1_EVENTS: AtomicU16 = AtomicU16::new(0);
static ALLOCATED: AtomicU8 = AtomicU8::new(0);
static IOAPICS: spin::Mutex<heapless::Vec<Controller, 4>> = spin::Mutex::new(heapless::Vec::new());

unsafe extern "C" {
    static interrupt_stubs: u8;
    static sci_stub: u8;
    static spurious_stub: u8;
}

/// Fills the table's entries from 32 on.
pub fn fill(table: &mut Table) {
    for vector in usize::from(FIRST)..=usize::from(SPURIOUS) {
        table.set(vector, addr_of!(spurious_stub) as u64);
    }
    for index in 0..DEVICE_VECTORS {
        table.set(usize::from(FIRST) + index, addr_of!(interrupt_stubs) as u64 + index as u64 * 16);
    }
    table.set(usize::from(SCI), addr_of!(sci_stub) as u64);
}

/// The vector of the system control interrupt, the last of the devices': its stub is special.
const SCI: u8 = FIRST + DEVICE_VECTORS as u8 - 1;

/// A vector of its own for a device's interrupt; `None` when all are given out.
pub fn allocate_vector() -> Option<u8> {
    let next = |given: u8| (usize::from(given) < DEVICE_VECTORS - 1).then_some(given + 1);
    let index = ALLOCATED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()?;
    Some(FIRST + index)
}

/// Whether the vector's interrupt came since the last call.
pub fn take(vector: u8) -> bool {
    // A remainder and no difference, for a vector is always one of ours and this is asked several times in each turn.
    let flag = &PENDING[usize::from(vector) % DEVICE_VECTORS];
    flag.load(Ordering::Relaxed) && flag.swap(false, Ordering::Acquire)
}

/// Sleeps until an interrupt, unless one has come since the last call returned. What wakes us is looked at by the turn
/// of the loop that follows, so it does not keep the next call from sleeping.
pub fn idle() {
    interrupts::disable();
    if WOKEN.load(Ordering::Relaxed) {
        interrupts::enable();
    } else {
        interrupts::enable_and_hlt();
    }
    WOKEN.store(false, Ordering::Release);
}

/// The local APIC.
pub struct LocalApic {
    registers: NonNull<u8>,
}

/// Registers of the local APIC, by offset (Intel SDM 3A, table 11-1).
#[derive(Clone, Copy)]
pub enum LocalRegister {
    /// Who we are, for messages to us.
    Id = 0x20,
    /// Which priorities are held back.
    TaskPriority = 0x80,
    /// End of interrupt.
    Acknowledge = 0xb0,
    /// Spurious vector, and the switch of the whole APIC.
    Spurious = 0xf0,
    /// The timer's vector and mode.
    Timer = 0x320,
    /// The pin of the legacy PIC.
    Lint0 = 0x350,
    /// The timer's start value.
    TimerInitial = 0x380,
    /// The timer's value now.
    TimerCurrent = 0x390,
    /// The timer's divider.
    TimerDivide = 0x3e0,
}

const MASKED: u32 = 1 << 16;

impl LocalApic {
    /// Switches the local APIC on, in the mode that has its registers in memory.
    fn start() -> Option<LocalApic> {
        const BASE: u32 = 0x1b;
        const ENABLED: u64 = 1 << 11;
        const X2APIC: u64 = 1 << 10;
        // SAFETY: IA32_APIC_BASE exists on every processor with a local APIC, which all with long mode have.
        let base = unsafe { Msr::new(BASE).read() };
        if base & X2APIC != 0 {
            // The way back from x2APIC leads through "disabled" (Intel SDM 3A, 11.12.5).
            // SAFETY: interrupts are off and nothing uses the APIC yet.
            unsafe { Msr::new(BASE).write(base & !(ENABLED | X2APIC)) };
        }
        // SAFETY: as above; the address stays as it was.
        unsafe { Msr::new(BASE).write(base & !X2APIC | ENABLED) };
        let registers = map_device(base & 0xf_ffff_ffff_f000, 4096)?;
        let apic = LocalApic { registers };
        apic.write(LocalRegister::TaskPriority, 0);
        apic.write(LocalRegister::Timer, MASKED);
        apic.write(LocalRegister::Lint0, MASKED);
        apic.write(LocalRegister::Spurious, 1 << 8 | u32::from(SPURIOUS));
        let acknowledge = registers.as_ptr() as u64 + LocalRegister::Acknowledge as u64;
        ACKNOWLEDGE.store(acknowledge, Ordering::Release);
        Some(apic)
    }

    /// Reads a register.
    pub fn read(&self, register: LocalRegister) -> u32 {
        // SAFETY: `map_device` mapped this page for ever, and every register lies in it, aligned to 16 bytes.
        unsafe { self.at(register).read_volatile() }
    }

    /// Writes a register.
    pub fn write(&self, register: LocalRegister, value: u32) {
        // SAFETY: as in `read`; a write acts on this APIC only, never on memory.
        unsafe { self.at(register).write_volatile(value) }
    }

    fn at(&self, register: LocalRegister) -> *mut u32 {
        self.registers.as_ptr().wrapping_add(register as usize).cast()
    }
}

/// An IOAPIC in service.
struct Controller {
    registers: NonNull<u8>,
    gsi_base: u32,
    lines: u32,
}

// SAFETY: the registers are mapped for ever, and `IOAPICS` guards them.
unsafe impl Send for Controller {}

impl Controller {
    fn start(ioapic: &IoApic) -> Option<Controller> {
        let mut controller =
            Controller { registers: map_device(ioapic.address, 0x20)?, gsi_base: ioapic.gsi_base, lines: 0 };
        let version = controller.read(1);
        // A machine without the IOAPIC that we assumed reads all ones.
        if version == u32::MAX {
            return None;
        }
        controller.lines = (version >> 16 & 0xff) + 1;
        for line in 0..controller.lines {
            controller.write(0x10 + line * 2, MASKED);
        }
        Some(controller)
    }

    fn read(&mut self, index: u32) -> u32 {
        self.select(index);
        // SAFETY: the data window lies at 0x10 of the mapped registers.
        unsafe { self.registers.as_ptr().wrapping_add(0x10).cast::<u32>().read_volatile() }
    }

    fn write(&mut self, index: u32, value: u32) {
        self.select(index);
        // SAFETY: as in `read`; what the registers hold routes interrupts to vectors that all have stubs.
        unsafe { self.registers.as_ptr().wrapping_add(0x10).cast::<u32>().write_volatile(value) }
    }

    fn select(&mut self, index: u32) {
        // SAFETY: the index register lies at the start of the mapped registers.
        unsafe { self.registers.as_ptr().cast::<u32>().write_volatile(index) }
    }
}

/// Takes the interrupt controllers into service, everything masked. `None`: there is no local APIC.
pub fn start(platform: &Platform) -> Option<LocalApic> {
    silence_pic();
    let apic = LocalApic::start()?;
    let mut ioapics = IOAPICS.lock();
    for ioapic in &platform.ioapics {
        if let Some(controller) = Controller::start(ioapic) {
            let _ = ioapics.push(controller);
        }
    }
    LOCAL_ID.store((apic.read(LocalRegister::Id) >> 24) as u8, Ordering::Relaxed);
    Some(apic)
}

static LOCAL_ID: AtomicU8 = AtomicU8::new(0);

/// The id of the only processor's APIC: where messages go.
pub fn local_id() -> u8 {
    LOCAL_ID.load(Ordering::Relaxed)
}

/// Sends a global interrupt to a vector. `false`: no IOAPIC serves it.
///
/// A level-triggered line comes again until its device is served, and the common stub does not serve it: only
/// the SCI has a stub that does.
pub fn route_gsi(gsi: u32, vector: u8, trigger: Trigger, polarity: Polarity) -> bool {
    let mut ioapics = IOAPICS.lock();
    let serves = |ioapic: &&mut Controller| gsi.checked_sub(ioapic.gsi_base).is_some_and(|line| line < ioapic.lines);
    let Some(ioapic) = ioapics.iter_mut().find(serves) else { return false };
    let entry = 0x10 + (gsi - ioapic.gsi_base) * 2;
    let low = u32::from(polarity == Polarity::Low) << 13 | u32::from(trigger == Trigger::Level) << 15;
    ioapic.write(entry + 1, u32::from(local_id()) << 24);
    ioapic.write(entry, low | u32::from(vector));
    true
}

/// Where and what a device writes to raise a vector by MSI or MSI-X (Intel SDM 3A, 11.11).
#[allow(dead_code, reason = "the network card's part uses it")]
pub fn message(vector: u8) -> (u64, u32) {
    (0xfee0_0000 | u64::from(local_id()) << 12, u32::from(vector))
}

/// Sends the SCI to its stub, which clears the PM1 events as it takes them.
pub fn route_sci(pm1: &Pm1) -> bool {
    PM1_STATUS.store(pm1.status, Ordering::Release);
    route_gsi(pm1.sci.gsi, SCI, pm1.sci.trigger, pm1.sci.polarity)
}

/// The PM1 status bits that came since the last call.
pub fn take_pm1_events() -> u16 {
    if PM1_EVENTS.load(Ordering::Relaxed) == 0 { 0 } else { PM1_EVENTS.swap(0, Ordering::Acquire) }
}

/// Moves the legacy PIC's vectors away from the exceptions and masks all its lines; harmless without one.
fn silence_pic() {
    let sequence = [
        (0x20, 0x11),
        (0xa0, 0x11),
        (0x21, PIC_VECTORS),
        (0xa1, PIC_VECTORS + 8),
        (0x21, 4),
        (0xa1, 2),
        (0x21, 1),
        (0xa1, 1),
        (0x21, 0xff),
        (0xa1, 0xff),
    ];
    for (port, value) in sequence {
        // SAFETY: these ports belong to the PIC, which nothing else uses.
        unsafe { Port::<u8>::new(port).write(value) };
    }
}
