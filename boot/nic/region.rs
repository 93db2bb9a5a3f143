//! A block of device registers: mapped for ever, every access checked against its length.

use super::pci::ConfigurationPorts;
use crate::memory;
use core::ptr::NonNull;
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction};

/// Bytes of one block that are mapped at most: a notify block of 4 bytes for each of many queues, of which we use two.
const LEN_MAX: usize = 16 * 1024;

/// A register's type: what the processor reads and writes in one access.
pub trait Register: Copy + Default {}
impl Register for u8 {}
impl Register for u16 {}
impl Register for u32 {}

/// The block.
pub struct Region {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the registers are mapped for ever, and whoever has the region has them alone.
unsafe impl Send for Region {}

impl Region {
    /// Maps `len` bytes at `offset` of a memory BAR. `None`: no such BAR, or the firmware gave it no address.
    pub fn in_bar(device: DeviceFunction, bar: u8, offset: u32, len: usize) -> Option<Region> {
        Region::map(bar_address(device, bar)?.checked_add(offset.into())?, len)
    }

    /// Maps `len` bytes at a physical address. `None`: they cannot be mapped.
    pub fn map(physical: u64, len: usize) -> Option<Region> {
        let len = len.min(LEN_MAX);
        let start = memory::map_device(physical, len)?;
        start.addr().get().is_multiple_of(align_of::<u32>()).then_some(Region { start, len })
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Reads the register at `offset`; zero where there is none.
    pub fn read<T: Register>(&self, offset: usize) -> T {
        let Some(register) = self.at::<T>(offset) else { return T::default() };
        // SAFETY: `at` checked that the register lies in the window, aligned; the window is device memory for ever.
        unsafe { register.read_volatile() }
    }

    /// Writes the register at `offset`; nothing happens where there is none.
    pub fn write<T: Register>(&mut self, offset: usize, value: T) {
        let Some(register) = self.at::<T>(offset) else { return };
        // SAFETY: as in `read`; only the device sees the write, and what it may do in memory the queues say.
        unsafe { register.write_volatile(value) }
    }

    fn at<T>(&self, offset: usize) -> Option<*mut T> {
        let inside = offset.checked_add(size_of::<T>())? <= self.len && offset.is_multiple_of(align_of::<T>());
        inside.then(|| self.start.as_ptr().wrapping_add(offset).cast())
    }
}

/// The address in a memory BAR, with both halves of a 64-bit one (PCI 3.0, 6.2.5.1).
fn bar_address(device: DeviceFunction, bar: u8) -> Option<u64> {
    if bar > 5 {
        return None;
    }
    let register = 0x10 + 4 * bar;
    let low = ConfigurationPorts.read_word(device, register);
    let high = match low & 0x7 {
        0 => 0,
        4 if bar < 5 => ConfigurationPorts.read_word(device, register + 4),
        _ => return None,
    };
    Some(u64::from(high) << 32 | u64::from(low & !0xf)).filter(|address| *address != 0)
}
