//! Power: the button, switching off, reset, and the stop that a test sees.

use crate::acpi::{Platform, Pm1, Polarity, Register, Trigger};
use crate::interrupts;
use crate::memory::map_device;
use core::ptr::NonNull;
use x86_64::instructions::hlt;
use x86_64::instructions::port::Port;

/// QEMU's isa-debug-exit as the tests place it. QEMU ends with status `code << 1 | 1`; without the device nothing
/// happens.
const DEBUG_EXIT: u16 = 0xf4;

/// What is written there for a deliberate stop: QEMU ends with status 33.
const STOP_CODE: u32 = 0x10;

/// Where QEMU's microvm has its generic event device, which no static table names
/// (QEMU: docs/specs/acpi_hw_reduced_hotplug.rst).
const MICROVM_EVENTS: u64 = 0xfea0_0000;
const MICROVM_EVENT_GSI: u32 = 9;
const MICROVM_POWER_DOWN: u32 = 2;

const PM1_POWER_BUTTON: u16 = 1 << 8;
const SCI_ENABLED: u16 = 1;

/// Sleep type 5 with the enable bit, as QEMU's q35 and pc have it in their `_S5` package (type 0): PM1 exists on no
/// other machine that boots by PVH.
const PM1_SLEEP: u16 = 1 << 13;

/// Sleep type 5 with the enable bit in the sleep control register (ACPI 6.5, 4.8.3.7).
const REDUCED_SLEEP: u8 = 5 << 2 | 1 << 5;

/// Looks at PM1 control until ACPI is on.
const ENABLE_TRIES: u32 = 1000;

/// How long a reset gets before the next way is tried, in reads of a port: a microsecond each on hardware and in QEMU,
/// so some tens of milliseconds.
const RESET_WAIT_READS: u32 = 20_000;

static RESET: spin::Mutex<Option<(Place, u8)>> = spin::Mutex::new(None);

/// A register of the machine, reachable.
#[derive(Clone, Copy)]
enum Place {
    Io(u16),
    Memory(NonNull<u8>),
}

// SAFETY: the pointer is to device registers, mapped for ever.
unsafe impl Send for Place {}

impl Place {
    fn reach(register: Register) -> Option<Place> {
        match register {
            Register::Io(port) => Some(Place::Io(port)),
            Register::Memory(address) => map_device(address, 1).map(Place::Memory),
        }
    }

    fn write(self, value: u8) {
        match self {
            Place::Io(port) => write_port(port, value),
            // SAFETY: `reach` mapped this byte for ever; ACPI says that it resets or switches off, no more.
            Place::Memory(at) => unsafe { at.write_volatile(value) },
        }
    }
}

/// How the power button is heard.
enum Button {
    None,
    EventDevice { registers: NonNull<u8>, vector: u8 },
    Pm1,
}

/// The machine's power management.
pub struct Power {
    button: Button,
    sleep: Option<Place>,
    pm1: Option<Pm1>,
}

impl Power {
    /// Listens for the power button and remembers how to end.
    pub fn start(platform: &Platform) -> Power {
        *RESET.lock() = platform.reset.and_then(|(register, value)| Some((Place::reach(register)?, value)));
        let button = match platform.pm1 {
            Some(pm1) => listen_pm1(&pm1),
            None if platform.is_microvm() => listen_microvm(),
            None => None,
        };
        Power {
            button: button.unwrap_or(Button::None),
            sleep: platform.sleep_control.and_then(Place::reach),
            pm1: platform.pm1,
        }
    }

    /// Whether the power button was pressed since the last call.
    pub fn button_pressed(&mut self) -> bool {
        match self.button {
            Button::None => false,
            Button::EventDevice { registers, vector } => {
                if !interrupts::take(vector) {
                    return false;
                }
                // SAFETY: the event selector is mapped for ever; reading it clears it.
                let events = unsafe { registers.cast::<u32>().read_volatile() };
                events & MICROVM_POWER_DOWN != 0
            }
            Button::Pm1 => interrupts::take_pm1_events() & PM1_POWER_BUTTON != 0,
        }
    }

    /// Switches the machine off; where it cannot be, stops it.
    pub fn off(&mut self) -> ! {
        if let Some(place) = self.sleep {
            place.write(REDUCED_SLEEP);
        }
        if let Some(pm1) = self.pm1 {
            // SAFETY: PM1 control; the agent has ended, and this ends the machine.
            unsafe { Port::<u16>::new(pm1.control).write(PM1_SLEEP) };
        }
        halt()
    }
}

fn listen_microvm() -> Option<Button> {
    let registers = map_device(MICROVM_EVENTS, 16)?;
    let vector = interrupts::allocate_vector()?;
    interrupts::route_gsi(MICROVM_EVENT_GSI, vector, Trigger::Edge, Polarity::High)
        .then_some(Button::EventDevice { registers, vector })
}

fn listen_pm1(pm1: &Pm1) -> Option<Button> {
    if read_word(pm1.control) & SCI_ENABLED == 0 && pm1.smi_command != 0 {
        write_port(pm1.smi_command, pm1.acpi_enable);
        (0..ENABLE_TRIES).find(|_| read_word(pm1.control) & SCI_ENABLED != 0)?;
    }
    // What was pending belongs to an earlier boot.
    write_word(pm1.status, u16::MAX);
    write_word(pm1.status.checked_add(pm1.enable_offset)?, PM1_POWER_BUTTON);
    interrupts::route_sci(pm1).then_some(Button::Pm1)
}

/// A way to reset the machine. The log region survives all of them under QEMU.
#[derive(Clone, Copy)]
pub enum Way {
    /// The register that the FADT names: QEMU's microvm has no other, Cloud Hypervisor neither.
    Acpi,
    /// The chipset's reset control register (ICH9 and PIIX3 datasheets: RST_CNT, RCR).
    Chipset,
    /// The keyboard controller's line to the processor. It ends a Firecracker machine, and its RAM with it.
    Keyboard,
    /// The processor gives up.
    TripleFault,
}

/// Resets the machine by the first way that works.
pub fn reset() -> ! {
    for way in [Way::Acpi, Way::Chipset, Way::Keyboard, Way::TripleFault] {
        reset_by(way);
    }
    halt()
}

/// Tries to reset the machine in this way and gives it its time; comes back when that did nothing.
pub fn reset_by(way: Way) {
    match way {
        Way::Acpi => {
            let register = RESET.try_lock().and_then(|register| *register);
            let Some((place, value)) = register else { return };
            place.write(value);
        }
        // First what is to be reset, then that it is to be done now.
        Way::Chipset => [0x02, 0x06].into_iter().for_each(|value| write_port(0xcf9, value)),
        Way::Keyboard => write_port(0x64, 0xfe),
        Way::TripleFault => triple_fault(),
    }
    for _ in 0..RESET_WAIT_READS {
        // SAFETY: the POST code port; reading it does nothing but take time.
        unsafe { Port::<u8>::new(0x80).read() };
    }
}

/// Stops in a way that QEMU sees where it has isa-debug-exit, and stands still elsewhere.
pub fn stop() -> ! {
    // SAFETY: the port belongs to isa-debug-exit, or to nobody.
    unsafe { Port::<u32>::new(DEBUG_EXIT).write(STOP_CODE) };
    halt()
}

/// Nothing more happens: interrupts off for good.
fn halt() -> ! {
    loop {
        x86_64::instructions::interrupts::disable();
        hlt();
    }
}

/// An exception that has nowhere to go: the processor gives up, and the machine is reset.
pub fn triple_fault() -> ! {
    let nowhere = x86_64::structures::DescriptorTablePointer { limit: 0, base: x86_64::VirtAddr::zero() };
    // SAFETY: an empty interrupt table makes the next exception a triple fault, which is wanted.
    unsafe { x86_64::instructions::tables::lidt(&nowhere) };
    x86_64::instructions::interrupts::int3();
    halt()
}

fn write_port(port: u16, value: u8) {
    // SAFETY: the callers name ports that reset the machine or switch ACPI on, which touches no memory of ours.
    unsafe { Port::<u8>::new(port).write(value) }
}

fn read_word(port: u16) -> u16 {
    // SAFETY: PM1's registers, which the FADT names; reading has no effect.
    unsafe { Port::<u16>::new(port).read() }
}

fn write_word(port: u16, value: u16) {
    // SAFETY: PM1's registers, which nothing but this module and the SCI's stub uses.
    unsafe { Port::<u16>::new(port).write(value) }
}
