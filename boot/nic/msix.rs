//! MSI-X (PCI 3.0, 6.8.2): interrupts as writes to the local APIC, without an IOAPIC and without its routing tables.

use super::pci::ConfigurationPorts;
use super::region::Region;
use crate::interrupts;
use virtio_drivers::transport::pci::bus::{CapabilityInfo, ConfigurationAccess, DeviceFunction};

/// In the upper half of the capability's first word.
const ENABLE: u32 = 1 << 31;
const MASK_ALL: u32 = 1 << 30;

/// Bytes of a table entry: address, its upper half, data, control.
const ENTRY: usize = 16;

/// The interrupt vectors behind the table entries that we use.
#[derive(Clone, Copy, Debug)]
pub struct Vectors {
    /// Of both queues.
    pub queues: u8,
    /// Of changes of the configuration, the link's state among them.
    pub config: u8,
}

impl Vectors {
    /// Number of the table entry for the queues.
    pub const QUEUES: u16 = 0;
    /// Number of the table entry for changes.
    pub const CONFIG: u16 = 1;
}

/// The capability and its table.
pub struct Msix {
    device: DeviceFunction,
    capability: u8,
    table: Region,
}

impl Msix {
    /// The table, if it has an entry for each of our vectors.
    pub fn find(device: DeviceFunction, capability: &CapabilityInfo) -> Option<Msix> {
        let entries = usize::from(capability.private_header & 0x7ff) + 1;
        let place = ConfigurationPorts.read_word(device, capability.offset.checked_add(4)?);
        let table = Region::in_bar(device, (place & 7) as u8, place & !7, entries.min(2) * ENTRY)?;
        (entries >= 2).then_some(Msix { device, capability: capability.offset, table })
    }

    /// Fills the table and turns MSI-X on. `None`: no vectors are left.
    pub fn start(&mut self) -> Option<Vectors> {
        let vectors = Vectors { queues: interrupts::allocate_vector()?, config: interrupts::allocate_vector()? };
        let control = ConfigurationPorts.read_word(self.device, self.capability);
        // Enabled but masked while the table is written: INTx is off from here on.
        ConfigurationPorts.write_word(self.device, self.capability, control | ENABLE | MASK_ALL);
        self.fill(Vectors::QUEUES, vectors.queues);
        self.fill(Vectors::CONFIG, vectors.config);
        ConfigurationPorts.write_word(self.device, self.capability, (control | ENABLE) & !MASK_ALL);
        Some(vectors)
    }

    fn fill(&mut self, entry: u16, vector: u8) {
        let (address, data) = interrupts::message(vector);
        let at = usize::from(entry) * ENTRY;
        for (word, value) in [address as u32, (address >> 32) as u32, data, 0].into_iter().enumerate() {
            self.table.write(at + 4 * word, value);
        }
    }
}
