//! Watchdogs: a machine whose loop no longer turns is reset by its VMM.
//!
//! | device | where | how it is found |
//! |---|---|---|
//! | i6300esb | PCI: q35, pc | on the bus; it also says whether it caused the last reset |
//! | ib700 | ISA: microvm, pc | not at all: its two ports can only be written |
//!
//! So on QEMU's boards that have no i6300esb the ib700's ports are written as if it were there; a port that nobody
//! has swallows that. It is fed after a completed poll and nowhere else, at most once a second.

use crate::acpi::Platform;
use crate::hypervisor::Hypervisor;
use crate::nic::pci::{self, ConfigurationPorts};
use crate::nic::region::{Region, Register};
use outpost::crash::WatchdogVerdict;
use outpost::limits::WATCHDOG_TIME;
use virtio_drivers::transport::pci::bus::{Command, DeviceFunction, PciRoot};
use x86_64::instructions::port::Port;

/// Intel 6300ESB's watchdog timer (Intel 6300ESB datasheet, 16.5).
const INTEL: u16 = 0x8086;
const I6300ESB: u16 = 0x25ab;
/// Its registers in memory, by offset: the two stages' counts, in units of 2^15 ticks of 33 MHz, and reload.
const STAGE_1: usize = 0;
const STAGE_2: usize = 4;
const RELOAD: usize = 0xc;
const RELOAD_NOW: u16 = 1 << 8;
/// Read: the last reset was this timer's. Written: forget it.
const TIMED_OUT: u16 = 1 << 9;
/// Its registers in configuration space.
const CONFIG: u8 = 0x60;
const LOCK: u8 = 0x68;
/// No interrupt from the first stage, a unit is 1 kHz, and the second stage resets.
const CONFIG_RESETS: u16 = 0b11;
const ENABLED: u8 = 1 << 1;
const REGISTERS_LEN: usize = 16;

/// The ib700's ports (iBASE IB700 manual): what disarms it, and what arms and feeds it.
const IB700_DISARM: u16 = 0x441;
const IB700_FEED: u16 = 0x443;
/// It counts 30 s less 2 s for each unit written.
const IB700_UNITS: u8 = (30 - WATCHDOG_TIME.secs() as u8) / 2;

const _: () = assert!(WATCHDOG_TIME.secs().is_multiple_of(2) && WATCHDOG_TIME.secs() <= 30);

/// The watchdog, if any.
pub enum Watchdog {
    /// None.
    Absent,
    /// On the PCI bus.
    I6300esb(I6300esb),
    /// Perhaps: it cannot be asked.
    Ib700,
}

/// The device on the PCI bus.
pub struct I6300esb {
    device: DeviceFunction,
    registers: Region,
}

impl Watchdog {
    /// Finds the watchdog and asks whether it caused this boot.
    pub fn find(platform: &Platform) -> (Watchdog, WatchdogVerdict) {
        if let Some(device) = pci::root().and_then(I6300esb::find) {
            let verdict = if device.fired() { WatchdogVerdict::Fired } else { WatchdogVerdict::Quiet };
            return (Watchdog::I6300esb(device), verdict);
        }
        let hypervisor = matches!(Hypervisor::detect(), Hypervisor::Kvm | Hypervisor::Tcg);
        let board = platform.is_microvm() || platform.described && !platform.hardware_reduced;
        let watchdog = if hypervisor && board { Watchdog::Ib700 } else { Watchdog::Absent };
        (watchdog, WatchdogVerdict::Silent)
    }

    /// Its name for people.
    pub fn name(&self) -> Option<&'static str> {
        match self {
            Watchdog::Absent => None,
            Watchdog::I6300esb(_) => Some("i6300esb"),
            Watchdog::Ib700 => Some("ib700, if the machine has one"),
        }
    }

    /// From now on it resets the machine unless it is fed.
    pub fn arm(&mut self) {
        if let Watchdog::I6300esb(device) = self {
            device.arm();
        }
        self.feed();
    }

    /// Gives the machine its time anew.
    pub fn feed(&mut self) {
        match self {
            Watchdog::Absent => {}
            Watchdog::I6300esb(device) => device.write(RELOAD, RELOAD_NOW),
            Watchdog::Ib700 => write_port(IB700_FEED, IB700_UNITS),
        }
    }

    /// It no longer resets the machine: an orderly end is not a hang.
    pub fn disarm(&mut self) {
        match self {
            Watchdog::Absent => {}
            Watchdog::I6300esb(device) => ConfigurationPorts::write_part(device.device, LOCK, 0_u8),
            Watchdog::Ib700 => write_port(IB700_DISARM, 0),
        }
    }
}

impl I6300esb {
    fn find(mut root: PciRoot<ConfigurationPorts>) -> Option<I6300esb> {
        let device = pci::find_of(&root, INTEL, &[I6300ESB])?;
        let registers = Region::in_bar(device, 0, 0, REGISTERS_LEN)?;
        let (_, command) = root.get_status_command(device);
        root.set_command(device, command | Command::MEMORY_SPACE);
        Some(I6300esb { device, registers })
    }

    fn fired(&self) -> bool {
        self.registers.read::<u16>(RELOAD) & TIMED_OUT != 0
    }

    fn arm(&mut self) {
        self.write(RELOAD, TIMED_OUT);
        ConfigurationPorts::write_part(self.device, CONFIG, CONFIG_RESETS);
        // A unit is 1 ms less 0.7 %; the reset comes when both stages have counted.
        let half = WATCHDOG_TIME.total_millis() as u32 / 2;
        self.write(STAGE_1, half);
        self.write(STAGE_2, half);
        ConfigurationPorts::write_part(self.device, LOCK, ENABLED);
    }

    /// Writes a register; each write has to be unlocked by two others.
    fn write<T: Register>(&mut self, offset: usize, value: T) {
        self.registers.write(RELOAD, 0x80_u16);
        self.registers.write(RELOAD, 0x86_u16);
        self.registers.write(offset, value);
    }
}

fn write_port(port: u16, value: u8) {
    // SAFETY: the ports belong to the ib700, or on these boards to nobody.
    unsafe { Port::<u8>::new(port).write(value) }
}
