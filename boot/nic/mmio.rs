//! virtio-mmio (virtio 1.2, section 4.2), version 2 and legacy: the transport of microvm and Firecracker. The
//! registers are virtio-drivers' [`MmioTransport`]; here is where to find one and its interrupt.

use super::AnyPort;
use super::card::{Card, Port};
use super::places::{self, LEN_MIN, PLACES, Place};
use super::region::Region;
use super::start::{self, Failure};
use crate::acpi::{Platform, Polarity, Trigger};
use crate::{cmdline, interrupts, memory};
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use heapless::Vec;
use outpost::nic::Link;
use virtio_drivers::transport::mmio::MmioTransport;
use virtio_drivers::transport::{DeviceType, Transport};

/// Where QEMU's microvm has its second IOAPIC; no other machine has one there.
const MICROVM_IOAPIC: u64 = 0xfec1_0000;

const PAGE: u64 = 4096;

/// Where the interrupt is acknowledged, and that it was taken for whatever reason it came (section 4.2.2).
const INTERRUPT_ACKNOWLEDGE: u64 = 0x64;
const ALL_INTERRUPTS: u32 = 3;

/// A device and its interrupt. It runs until the machine ends, so the transport is never dropped: its drop resets.
///
/// The interrupt is acknowledged by one access, unread: reading why it came would be another one per request. The
/// link is looked at once a second instead.
pub struct MmioPort {
    acknowledge: Region,
    transport: ManuallyDrop<MmioTransport<'static>>,
    vector: Option<u8>,
    has_status: bool,
}

impl Port for MmioPort {
    fn kick(&mut self, queue: u16) {
        self.transport.notify(queue);
    }

    #[inline(always)]
    fn acknowledge(&mut self) -> bool {
        if self.vector.is_some_and(interrupts::take) {
            self.acknowledge.write(0, ALL_INTERRUPTS);
        }
        false
    }

    fn link(&mut self) -> Link {
        start::link(&*self.transport, self.has_status)
    }

    fn interrupts(&self) -> bool {
        self.vector.is_some()
    }
}

/// The places to look at.
pub fn places(platform: &Platform, command_line: &str) -> Vec<Place, PLACES> {
    let listed = cmdline::values(command_line, "virtio_mmio.device").filter_map(places::parse);
    let microvm = platform.ioapics.iter().find(|ioapic| ioapic.address == MICROVM_IOAPIC);
    let fixed = microvm.into_iter().flat_map(|ioapic| places::microvm(ioapic.gsi_base));
    listed.chain(fixed).take(PLACES).collect()
}

/// The first device of a kind among `places`.
pub fn find(places: &[Place], kind: DeviceType) -> Option<(Place, ManuallyDrop<MmioTransport<'static>>)> {
    let mut mapped = None;
    places.iter().find_map(|place| {
        let transport = ManuallyDrop::new(device(*place, &mut mapped)?);
        (transport.device_type() == kind).then_some((*place, transport))
    })
}

/// The device at a place. Several places share a page, which is mapped once: `mapped` is the last one.
fn device(place: Place, mapped: &mut Option<(u64, NonNull<u8>)>) -> Option<MmioTransport<'static>> {
    let (page, offset) = (place.address / PAGE * PAGE, (place.address % PAGE) as usize);
    if !place.address.is_multiple_of(4) || offset + LEN_MIN > PAGE as usize {
        return None;
    }
    let start = match *mapped {
        Some((at, start)) if at == page => start,
        _ => memory::map_device(page, PAGE as usize)?,
    };
    *mapped = Some((page, start));
    // SAFETY: `offset` lies in the page that was just mapped at `start`.
    let header = unsafe { start.byte_add(offset) };
    // SAFETY: `header` is aligned, and the device window behind it is at least `LEN_MIN` long and stays for ever.
    // Where no device is, the magic value is missing and this is an error. Each place is looked at once.
    unsafe { MmioTransport::new(header.cast(), LEN_MIN) }.ok()
}

/// Takes a network card into service.
pub fn bring_up(
    mut transport: ManuallyDrop<MmioTransport<'static>>,
    place: Place,
    seed: u64,
) -> Result<Card<AnyPort>, Failure> {
    let acknowledge = Region::map(place.address + INTERRUPT_ACKNOWLEDGE, size_of::<u32>()).ok_or(Failure::Registers)?;
    let started = start::start(&mut *transport, seed)?;
    let vector = interrupts::allocate_vector()
        .filter(|vector| interrupts::route_gsi(place.gsi, *vector, Trigger::Edge, Polarity::High));
    // A line that is up already would make no edge.
    transport.ack_interrupt();
    let port = MmioPort { acknowledge, transport, vector, has_status: started.has_status };
    Ok(Card::new(AnyPort::Mmio(port), started.mac, started.header, started.offload, started.rx, started.tx))
}
