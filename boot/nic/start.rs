//! Bringing a virtio device up (virtio 1.2, sections 3.1.1 and 5.1.5): reset, features, queues, running. The same on
//! every transport. The steps are for any kind of device, [`start`] puts them together for a network card.

use super::card::{CardMemory, CardQueue, HEADER, LEGACY_HEADER, RX, TX};
use super::queue::{Direction, Memory, Queue, Slot};
use crate::memory;
use core::fmt;
use heapless::Vec;
use outpost::nic::Link;
use smoltcp::wire::EthernetAddress;
use virtio_drivers::transport::{DeviceStatus, Transport};

/// Feature bits (sections 5.1.3, 6 and, for `ANY_LAYOUT`, 6.3).
/// Checksums are left to the device both ways or not at all: `CSUM` and `GUEST_CSUM`.
const OFFLOAD: u64 = 1 << 0 | 1 << 1;
const MAC: u64 = 1 << 5;
const STATUS: u64 = 1 << 16;
const ANY_LAYOUT: u64 = 1 << 27;
const EVENT_INDEX: u64 = 1 << 29;
const VERSION_1: u64 = 1 << 32;

/// Offsets in the device's configuration (section 5.1.4).
const CONFIG_MAC: usize = 0;
const CONFIG_STATUS: usize = 6;

/// Times to look at a device that is being reset; each look is an exit of the machine, so this is milliseconds.
const RESET_TRIES: u32 = 10_000;

static RX_MEMORY: CardMemory = Memory::new();
static TX_MEMORY: CardMemory = Memory::new();
const _: () = assert!(2 * size_of::<CardMemory>() <= 1024 * 1024, "the card's share of 12 MiB is 1 MiB");

/// A running device.
pub struct Started {
    /// Our hardware address.
    pub mac: EthernetAddress,
    /// Bytes before each frame.
    pub header: usize,
    /// Whether checksums are left to the device, both ways.
    pub offload: bool,
    /// The receive queue; no buffer is posted yet.
    pub rx: CardQueue,
    /// The transmit queue.
    pub tx: CardQueue,
    /// Whether the device's configuration has a link status.
    pub has_status: bool,
}

/// Why a device could not be brought up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It does not come out of reset.
    Reset,
    /// It offers neither VERSION_1 nor, on the legacy interface, ANY_LAYOUT.
    TooOld,
    /// It refused the features that it offered.
    Features,
    /// A queue is smaller than ours.
    QueueSize {
        /// Its number.
        number: u16,
        /// Entries it has at most.
        offered: u32,
        /// Entries we use.
        needed: usize,
    },
    /// Its registers cannot be mapped.
    Registers,
    /// The queues belong to another card already.
    Second,
    /// It says itself that it failed.
    Failed,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Reset => f.write_str("it does not answer a reset; the VMM's device is broken, restart the VM"),
            Failure::TooOld => f.write_str("it offers neither virtio 1.0 nor ANY_LAYOUT; use a VMM made after 2014"),
            Failure::Features => f.write_str("it refuses features that it offers; remove offload options from it"),
            Failure::QueueSize { number, offered, needed } => {
                write!(f, "its queue {number} has {offered} entries and we need {needed}; set its queue size to 256")
            }
            Failure::Registers => f.write_str("its registers are where the image is; restart the VM"),
            Failure::Second => f.write_str("the only card we drive was taken before; remove one of them"),
            Failure::Failed => f.write_str("it says that it failed; look into the VMM's log, restart the VM"),
        }
    }
}

/// Brings a network device up. On failure it is told so and left alone.
pub fn start<T: Transport>(transport: &mut T, seed: u64) -> Result<Started, Failure> {
    let result = try_start(transport, seed);
    if result.is_err() {
        transport.set_status(DeviceStatus::FAILED);
    }
    result
}

fn try_start<T: Transport>(transport: &mut T, seed: u64) -> Result<Started, Failure> {
    // Without ANY_LAYOUT a legacy device wants the header in a descriptor of its own (section 5.1.6.6).
    let features = negotiate(transport, OFFLOAD | MAC | STATUS | EVENT_INDEX, ANY_LAYOUT)?;
    let event_index = features & EVENT_INDEX != 0;
    let rx = queue(transport, RX, &RX_MEMORY, Direction::FromDevice, event_index)?;
    let tx = queue(transport, TX, &TX_MEMORY, Direction::ToDevice, event_index)?;
    let mac = if features & MAC != 0 { read_mac(transport) } else { None };
    run(transport)?;
    Ok(Started {
        mac: mac.unwrap_or_else(|| local_mac(seed)),
        header: if transport.requires_legacy_layout() { LEGACY_HEADER } else { HEADER },
        offload: features & OFFLOAD == OFFLOAD,
        rx,
        tx,
        has_status: features & STATUS != 0,
    })
}

/// Resets a device of any kind and takes those of the `wanted` features that it has. It must have VERSION_1 or, on
/// the legacy interface, `legacy_needed`.
pub fn negotiate<T: Transport>(transport: &mut T, wanted: u64, legacy_needed: u64) -> Result<u64, Failure> {
    transport.set_status(DeviceStatus::empty());
    if !(0..RESET_TRIES).any(|_| transport.get_status().is_empty()) {
        return Err(Failure::Reset);
    }
    let status = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER;
    transport.set_status(status);
    let legacy = transport.requires_legacy_layout();
    let needed = if legacy { legacy_needed } else { VERSION_1 };
    let features = transport.read_device_features() & (wanted | needed);
    if features & needed != needed {
        return Err(Failure::TooOld);
    }
    transport.write_driver_features(features);
    if legacy {
        transport.set_guest_page_size(4096);
        return Ok(features);
    }
    transport.set_status(status | DeviceStatus::FEATURES_OK);
    if !transport.get_status().contains(DeviceStatus::FEATURES_OK) {
        return Err(Failure::Features);
    }
    Ok(features)
}

/// Sets one queue up.
pub fn queue<T: Transport, const N: usize>(
    transport: &mut T,
    number: u16,
    memory: &'static Memory<N>,
    direction: Direction,
    event_index: bool,
) -> Result<(Queue<N>, Vec<Slot, N>), Failure> {
    let offered = transport.max_queue_size(number);
    if offered < N as u32 {
        return Err(Failure::QueueSize { number, offered, needed: N });
    }
    let (queue, slots) = Queue::new(memory, direction, event_index, memory::virt_to_phys).ok_or(Failure::Second)?;
    let at = queue.addresses(memory::virt_to_phys);
    transport.queue_set(number, N as u32, at.descriptors, at.available, at.used);
    Ok((queue, slots))
}

/// Lets the device run.
pub fn run<T: Transport>(transport: &mut T) -> Result<(), Failure> {
    transport.set_status(transport.get_status() | DeviceStatus::DRIVER_OK);
    let failed = transport.get_status().contains(DeviceStatus::DEVICE_NEEDS_RESET);
    if failed { Err(Failure::Failed) } else { Ok(()) }
}

/// The device's own address, unless it is none that a card can have.
fn read_mac<T: Transport>(transport: &T) -> Option<EthernetAddress> {
    let mut bytes = [0; 6];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = transport.read_config_space(CONFIG_MAC + at).ok()?;
    }
    Some(EthernetAddress(bytes)).filter(EthernetAddress::is_unicast)
}

/// A locally administered unicast address out of the seed.
fn local_mac(seed: u64) -> EthernetAddress {
    let [first, rest @ .., _, _] = seed.to_le_bytes();
    let [a, b, c, d, e] = rest;
    EthernetAddress([first & 0xfc | 0x02, a, b, c, d, e])
}

/// The link as the device has it now. Without a status field it is up (section 5.1.4.2); a device that needs a
/// reset (section 2.1.1) is no link.
pub fn link<T: Transport>(transport: &T, has_status: bool) -> Link {
    let failed = transport.get_status().contains(DeviceStatus::DEVICE_NEEDS_RESET);
    let down = has_status && transport.read_config_space::<u16>(CONFIG_STATUS).is_ok_and(|status| status & 1 == 0);
    if failed || down { Link::Down } else { Link::Up }
}
