//! virtio over PCI (virtio 1.2, section 4.1): finding the card, its registers, its interrupts.
//!
//! A transitional device (0x1000, what Proxmox and plain QEMU give) has the modern registers beside the legacy ones;
//! those are used. The configuration space is reached by the ports 0xcf8 and 0xcfc, which QEMU, Firecracker and
//! Cloud Hypervisor all have: 256 bytes per function hold all we need, and no bus has to be mapped for it.
//!
//! [`Registers`] implements virtio-drivers' [`Transport`] anew because its own for PCI notifies with three accesses
//! where one does, knows no MSI-X, and trusts the device: a capability list that is a ring, a notify offset beyond
//! its region and a device that does not come out of reset each hang or panic it.

use super::AnyPort;
use super::card::{Card, Port as CardPort};
use super::msix::{Msix, Vectors};
use super::region::Region;
use super::start::{self, Failure};
use crate::interrupts;
use core::fmt;
use heapless::Vec;
use outpost::nic::Link;
use virtio_drivers::transport::pci::bus::{
    CapabilityInfo, Command, ConfigurationAccess, DeviceFunction, HeaderType, PciRoot,
};
use virtio_drivers::transport::pci::{
    VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_CAP_DEVICE_CFG, VIRTIO_PCI_CAP_NOTIFY_CFG, VIRTIO_VENDOR_ID,
};
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{Error, PhysAddr};
use x86_64::instructions::port::{Port, PortWrite};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Ids of network cards and of entropy sources, transitional and modern (section 4.1.2).
pub const NETWORK: [u16; 2] = [0x1000, 0x1041];
/// See [`NETWORK`].
pub const ENTROPY: [u16; 2] = [0x1005, 0x1044];

/// Buses that are searched: bus 0 and what is behind its bridges.
const BUSES: usize = 16;

/// Capabilities of one function: each takes at least 4 of the 192 bytes behind the header.
const CAPABILITIES: usize = 48;
const CAPABILITY_VENDOR: u8 = 0x09;
const CAPABILITY_MSIX: u8 = 0x11;

/// Configuration space through its two ports (PCI 3.0, 3.2.2.3.2).
#[derive(Clone, Copy)]
pub struct ConfigurationPorts;

impl ConfigurationPorts {
    fn select(device: DeviceFunction, register: u8) {
        let function = u32::from(device.bus) << 16 | u32::from(device.device) << 11 | u32::from(device.function) << 8;
        let address = 1 << 31 | function | u32::from(register & 0xfc);
        // SAFETY: 0xcf8 selects a configuration register and does nothing else; nobody but us uses it.
        unsafe { Port::<u32>::new(0xcf8).write(address) }
    }

    /// Writes a register that takes no more than its own 1 or 2 bytes at a time.
    pub fn write_part<T: PortWrite>(device: DeviceFunction, register: u8, value: T) {
        Self::select(device, register);
        // SAFETY: as in `write_word`; the one caller beside this file sets how its watchdog counts.
        unsafe { Port::<T>::new(0xcfc + u16::from(register & 3)).write(value) }
    }

    /// Whether the ports are there: the address register reads back what was written.
    fn present() -> bool {
        Self::select(DeviceFunction { bus: 0, device: 0, function: 0 }, 0);
        // SAFETY: reading the address register has no effect.
        unsafe { Port::<u32>::new(0xcf8).read() == 1 << 31 }
    }
}

impl ConfigurationAccess for ConfigurationPorts {
    fn read_word(&self, device: DeviceFunction, register: u8) -> u32 {
        Self::select(device, register);
        // SAFETY: reading a function's header and capabilities has no effect.
        unsafe { Port::<u32>::new(0xcfc).read() }
    }

    fn write_word(&mut self, device: DeviceFunction, register: u8, data: u32) {
        Self::select(device, register);
        // SAFETY: this file writes command and MSI-X control of the card it drives: decoding, DMA into memory that
        // is given to it queue by queue, and interrupts to vectors that have handlers.
        unsafe { Port::<u32>::new(0xcfc).write(data) }
    }

    unsafe fn unsafe_clone(&self) -> Self {
        *self
    }
}

/// Why a card on the bus cannot be driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PciFailure {
    /// It has only the legacy registers.
    LegacyOnly,
    /// A register block is missing, too small, or in no mapped BAR: which one.
    Registers(&'static str),
    /// The device itself.
    Start(Failure),
}

impl fmt::Display for PciFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PciFailure::LegacyOnly => {
                f.write_str("it has only the interface from before virtio 1.0; take off disable-modern=on")
            }
            PciFailure::Registers(which) => {
                write!(
                    f,
                    "its {which} registers are not where it says; the firmware gave it no address, restart the VM"
                )
            }
            PciFailure::Start(failure) => failure.fmt(f),
        }
    }
}

/// The configuration space of all buses; `None` where there is no PCI.
pub fn root() -> Option<PciRoot<ConfigurationPorts>> {
    ConfigurationPorts::present().then(|| PciRoot::new(ConfigurationPorts))
}

/// The first virtio device with one of these ids.
pub fn find(root: &PciRoot<ConfigurationPorts>, ids: [u16; 2]) -> Option<DeviceFunction> {
    find_of(root, VIRTIO_VENDOR_ID, &ids)
}

/// The first device of a vendor with one of these ids, on bus 0 or on a bus that the firmware put behind a bridge:
/// libvirt puts all of them there.
pub fn find_of(root: &PciRoot<ConfigurationPorts>, vendor: u16, ids: &[u16]) -> Option<DeviceFunction> {
    let mut buses: Vec<u8, BUSES> = Vec::new();
    let _ = buses.push(0);
    let mut next = 0;
    while let Some(bus) = buses.get(next).copied() {
        next += 1;
        for (device, info) in root.enumerate_bus(bus) {
            if info.vendor_id == vendor && ids.contains(&info.device_id) {
                return Some(device);
            }
            if info.header_type == HeaderType::PciPciBridge {
                // Primary, secondary and subordinate bus (PCI-to-PCI bridge 1.2, 3.2.5).
                let behind = (ConfigurationPorts.read_word(device, 0x18) >> 8) as u8;
                if !buses.contains(&behind) {
                    let _ = buses.push(behind);
                }
            }
        }
    }
    None
}

/// Takes a network card into service.
pub fn bring_up(
    root: &mut PciRoot<ConfigurationPorts>,
    device: DeviceFunction,
    seed: u64,
) -> Result<Card<AnyPort>, PciFailure> {
    let capabilities = capabilities(root, device);
    let mut registers = Registers::open(root, device, &capabilities)?;
    // Reset before anything else, lest the device interrupts with what its last driver told it.
    registers.set_status(DeviceStatus::empty());
    registers.vectors = capabilities
        .iter()
        .find(|capability| capability.id == CAPABILITY_MSIX)
        .and_then(|capability| Msix::find(device, capability))
        .and_then(|mut msix| msix.start());
    let started = start::start(&mut registers, seed).map_err(PciFailure::Start)?;
    let port = PciPort { registers, has_status: started.has_status };
    Ok(Card::new(AnyPort::Pci(port), started.mac, started.header, started.offload, started.rx, started.tx))
}

/// The capabilities of a function, as many as there can be: a list that is a ring ends, too.
pub fn capabilities(root: &PciRoot<ConfigurationPorts>, device: DeviceFunction) -> Vec<CapabilityInfo, CAPABILITIES> {
    root.capabilities(device).take(CAPABILITIES).collect()
}

/// The card and its interrupts.
pub struct PciPort {
    registers: Registers,
    has_status: bool,
}

impl CardPort for PciPort {
    fn kick(&mut self, queue: u16) {
        self.registers.notify(queue);
    }

    fn acknowledge(&mut self) -> bool {
        self.registers.ack_interrupt().contains(InterruptStatus::DEVICE_CONFIGURATION_INTERRUPT)
    }

    fn link(&mut self) -> Link {
        start::link(&self.registers, self.has_status)
    }

    fn interrupts(&self) -> bool {
        self.registers.vectors.is_some()
    }
}

/// `virtio_pci_common_cfg`, by offset (section 4.1.4.3).
mod common {
    pub const DEVICE_FEATURE_SELECT: usize = 0;
    pub const DEVICE_FEATURE: usize = 4;
    pub const DRIVER_FEATURE_SELECT: usize = 8;
    pub const DRIVER_FEATURE: usize = 12;
    pub const CONFIG_MSIX_VECTOR: usize = 16;
    pub const DEVICE_STATUS: usize = 20;
    pub const CONFIG_GENERATION: usize = 21;
    pub const QUEUE_SELECT: usize = 22;
    pub const QUEUE_SIZE: usize = 24;
    pub const QUEUE_MSIX_VECTOR: usize = 26;
    pub const QUEUE_ENABLE: usize = 28;
    pub const QUEUE_NOTIFY_OFFSET: usize = 30;
    pub const QUEUE_DESCRIPTORS: usize = 32;
    pub const QUEUE_DRIVER: usize = 40;
    pub const QUEUE_DEVICE: usize = 48;
    pub const LEN: usize = 56;
}

/// Queues of a card that we use: receive and transmit.
const QUEUES: usize = 2;

/// The registers of a modern device.
pub struct Registers {
    common: Region,
    notify: Region,
    notify_multiplier: usize,
    /// Where each queue is notified, within `notify`.
    notify_at: [usize; QUEUES],
    device: Option<Region>,
    vectors: Option<Vectors>,
}

impl Registers {
    /// Finds and maps the registers, and lets the device decode addresses and reach memory.
    pub fn open(
        root: &mut PciRoot<ConfigurationPorts>,
        device: DeviceFunction,
        capabilities: &[CapabilityInfo],
    ) -> Result<Registers, PciFailure> {
        // The first of each kind counts (section 4.1.4.1).
        let block = |kind| {
            let of_kind =
                |info: &&CapabilityInfo| info.id == CAPABILITY_VENDOR && info.private_header >> 8 == u16::from(kind);
            capabilities.iter().find(of_kind).map(|info| info.offset)
        };
        let map = |capability: u8, name| {
            let field = |at: u8| ConfigurationPorts.read_word(device, capability.saturating_add(at));
            Region::in_bar(device, field(4) as u8, field(8), field(12) as usize).ok_or(PciFailure::Registers(name))
        };
        let common = map(block(VIRTIO_PCI_CAP_COMMON_CFG).ok_or(PciFailure::LegacyOnly)?, "common")?;
        let capability = block(VIRTIO_PCI_CAP_NOTIFY_CFG).ok_or(PciFailure::LegacyOnly)?;
        let notify = map(capability, "notify")?;
        let device_block = block(VIRTIO_PCI_CAP_DEVICE_CFG).map(|capability| map(capability, "device")).transpose()?;
        if common.len() < common::LEN {
            return Err(PciFailure::Registers("common"));
        }
        let (_, command) = root.get_status_command(device);
        // No INTx: its routing is known to AML only.
        root.set_command(device, command | Command::MEMORY_SPACE | Command::BUS_MASTER | Command::INTERRUPT_DISABLE);
        Ok(Registers {
            common,
            notify,
            notify_multiplier: ConfigurationPorts.read_word(device, capability.saturating_add(16)) as usize,
            notify_at: [0; QUEUES],
            device: device_block,
            vectors: None,
        })
    }

    /// Writes a 64-bit register as the two halves that every device takes (section 4.1.3.1).
    fn write_address(&mut self, at: usize, address: PhysAddr) {
        self.common.write(at, address as u32);
        self.common.write(at + 4, (address >> 32) as u32);
    }

    fn read_features(&mut self, half: u32) -> u64 {
        self.common.write(common::DEVICE_FEATURE_SELECT, half);
        u64::from(self.common.read::<u32>(common::DEVICE_FEATURE)) << (32 * half)
    }
}

impl Transport for Registers {
    fn device_type(&self) -> DeviceType {
        DeviceType::Network
    }

    fn read_device_features(&mut self) -> u64 {
        self.read_features(0) | self.read_features(1)
    }

    fn write_driver_features(&mut self, features: u64) {
        for half in 0_u32..2 {
            self.common.write(common::DRIVER_FEATURE_SELECT, half);
            self.common.write(common::DRIVER_FEATURE, (features >> (32 * half)) as u32);
        }
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.common.write(common::QUEUE_SELECT, queue);
        self.common.read::<u16>(common::QUEUE_SIZE).into()
    }

    fn notify(&mut self, queue: u16) {
        if let Some(at) = self.notify_at.get(usize::from(queue)) {
            self.notify.write(*at, queue);
        }
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_truncate(self.common.read::<u8>(common::DEVICE_STATUS).into())
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.common.write(common::DEVICE_STATUS, status.bits() as u8);
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        self.common.write(common::QUEUE_SELECT, queue);
        self.common.write(common::QUEUE_SIZE, size as u16);
        self.write_address(common::QUEUE_DESCRIPTORS, descriptors);
        self.write_address(common::QUEUE_DRIVER, driver_area);
        self.write_address(common::QUEUE_DEVICE, device_area);
        if self.vectors.is_some() {
            // A reset forgets the vectors. The device reads back NO_VECTOR where it has no room for one
            // (section 4.1.5.1.2.1); then it is as good as without MSI-X.
            self.common.write(common::CONFIG_MSIX_VECTOR, Vectors::CONFIG);
            self.common.write(common::QUEUE_MSIX_VECTOR, Vectors::QUEUES);
            let config = self.common.read::<u16>(common::CONFIG_MSIX_VECTOR);
            let queues = self.common.read::<u16>(common::QUEUE_MSIX_VECTOR);
            if (config, queues) != (Vectors::CONFIG, Vectors::QUEUES) {
                self.vectors = None;
            }
        }
        let offset = usize::from(self.common.read::<u16>(common::QUEUE_NOTIFY_OFFSET));
        if let Some(at) = self.notify_at.get_mut(usize::from(queue)) {
            *at = offset.saturating_mul(self.notify_multiplier);
        }
        self.common.write(common::QUEUE_ENABLE, 1_u16);
    }

    fn queue_unset(&mut self, _: u16) {}

    fn queue_used(&mut self, queue: u16) -> bool {
        self.common.write(common::QUEUE_SELECT, queue);
        self.common.read::<u16>(common::QUEUE_ENABLE) == 1
    }

    /// With MSI-X an interrupt needs no acknowledgement, and which one came says what it was for.
    fn ack_interrupt(&mut self) -> InterruptStatus {
        let Some(vectors) = self.vectors else { return InterruptStatus::all() };
        let mut status = InterruptStatus::empty();
        status.set(InterruptStatus::QUEUE_INTERRUPT, interrupts::take(vectors.queues));
        status.set(InterruptStatus::DEVICE_CONFIGURATION_INTERRUPT, interrupts::take(vectors.config));
        status
    }

    fn read_config_generation(&self) -> u32 {
        self.common.read::<u8>(common::CONFIG_GENERATION).into()
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T, Error> {
        let device = self.device.as_ref().ok_or(Error::ConfigSpaceMissing)?;
        let end = offset.checked_add(size_of::<T>()).ok_or(Error::ConfigSpaceTooSmall)?;
        if end > device.len() {
            return Err(Error::ConfigSpaceTooSmall);
        }
        let mut value = T::new_zeroed();
        for (at, byte) in (offset..).zip(value.as_mut_bytes()) {
            *byte = device.read(at);
        }
        Ok(value)
    }

    fn write_config_space<T: IntoBytes + Immutable>(&mut self, _: usize, _: T) -> Result<(), Error> {
        // A modern network card's configuration is read-only (section 5.1.4.1).
        Err(Error::Unsupported)
    }
}
