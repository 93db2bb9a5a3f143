//! The pvpanic device: the host is told that the image has crashed (QEMU: docs/specs/pvpanic.txt).
//!
//! A guest that says "panicked" is stopped or switched off by its VMM, and its RAM goes with it. This image resets itself
//! and sends the records that are in its RAM, so it says "crashed, and sees to it itself", which changes nothing but that
//! the host knows. "Panicked" is said where the image stands still afterwards (`on_panic: "stop"`).

use crate::hypervisor::Hypervisor;
use crate::nic::pci;
use crate::nic::region::Region;
use virtio_drivers::transport::pci::bus::Command;
use x86_64::instructions::port::Port;

/// Where the ISA device is unless somebody moved it. Its register reads as what it understands.
const PORT: u16 = 0x505;

/// The PCI device (QEMU: docs/specs/pci-ids.txt); the same register is the first of its memory.
const PCI: (u16, u16) = (0x1b36, 0x0011);

const PANICKED: u8 = 1 << 0;
const CRASH_LOADED: u8 = 1 << 1;

/// Bits that nobody has given a meaning: a port without a device has them all set.
const UNKNOWN: u8 = 0xf0;

static DEVICE: spin::Mutex<Option<Device>> = spin::Mutex::new(None);

enum Device {
    Port,
    Memory(Region),
}

/// Finds the device, lest it has to be searched in a panic.
pub fn find() {
    let under_qemu = matches!(Hypervisor::detect(), Hypervisor::Kvm | Hypervisor::Tcg);
    let port = under_qemu.then_some(Device::Port).filter(|device| device.understands() & UNKNOWN == 0);
    *DEVICE.lock() = port.or_else(in_pci);
}

fn in_pci() -> Option<Device> {
    let mut root = pci::root()?;
    let (device, _) = root.enumerate_bus(0).find(|(_, info)| (info.vendor_id, info.device_id) == PCI)?;
    let registers = Region::in_bar(device, 0, 0, 1)?;
    let (_, command) = root.get_status_command(device);
    root.set_command(device, command | Command::MEMORY_SPACE);
    Some(Device::Memory(registers))
}

/// Tells the host. `stops`: the image stands still afterwards.
pub fn tell(stops: bool) {
    let event = if stops { PANICKED } else { CRASH_LOADED };
    if let Some(Some(device)) = DEVICE.try_lock().as_deref_mut()
        && device.understands() & event != 0
    {
        device.write(event);
    }
}

impl Device {
    fn understands(&self) -> u8 {
        match self {
            // SAFETY: reading this port of QEMU's boards tells what the device understands, and does nothing.
            Device::Port => unsafe { Port::<u8>::new(PORT).read() },
            Device::Memory(registers) => registers.read(0),
        }
    }

    fn write(&mut self, event: u8) {
        match self {
            // SAFETY: the device said that it understands the event; it tells the host.
            Device::Port => unsafe { Port::<u8>::new(PORT).write(event) },
            Device::Memory(registers) => registers.write(0, event),
        }
    }
}
