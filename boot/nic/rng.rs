//! A virtio entropy source (virtio 1.2, section 5.4): the host's random bytes, for a processor that has none of its
//! own. Asked once for each boot id, with a bound; it shares its transports and its queue with the card. It writes to one
//! static buffer, and only while it is asked.

use super::queue::{BUFFER, Direction, Memory, Queue, Slot};
use super::{mmio, pci, start};
use crate::acpi::Platform;
use crate::clock::Clock;
use core::mem::ManuallyDrop;
use heapless::Vec;
use smoltcp::time::Duration;
use virtio_drivers::transport::mmio::MmioTransport;
use virtio_drivers::transport::{DeviceType, Transport};

/// How long the device may take: QEMU answers within a millisecond unless its source ran dry.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// The only queue.
const REQUESTS: u16 = 0;

static MEMORY: Memory<1> = Memory::new();

/// The device, in service: a machine that was copied asks it again.
pub struct Rng {
    transport: AnyTransport,
    queue: Queue<1>,
    /// The only buffer, unless the device still has it.
    slot: Option<Slot>,
}

enum AnyTransport {
    Mmio(ManuallyDrop<MmioTransport<'static>>),
    Pci(pci::Registers),
}

impl Rng {
    /// Finds the machine's entropy device and takes it into service.
    pub fn find(platform: &Platform, command_line: &str) -> Option<Rng> {
        let places = mmio::places(platform, command_line);
        if let Some((_, mut transport)) = mmio::find(&places, DeviceType::EntropySource) {
            let (queue, slots) = start(&mut *transport)?;
            return Some(Rng { transport: AnyTransport::Mmio(transport), queue, slot: slots.into_iter().next() });
        }
        let mut root = pci::root()?;
        let device = pci::find(&root, pci::ENTROPY)?;
        let capabilities = pci::capabilities(&root, device);
        let mut transport = pci::Registers::open(&mut root, device, &capabilities).ok()?;
        let (queue, slots) = start(&mut transport)?;
        Some(Rng { transport: AnyTransport::Pci(transport), queue, slot: slots.into_iter().next() })
    }

    /// Random bytes. `None`: it gave too few in time.
    pub fn read<const LEN: usize>(&mut self, clock: &Clock) -> Option<[u8; LEN]> {
        const { assert!(LEN <= BUFFER) };
        // What it did not give in time the last time may have come by now, but it was for another boot.
        let slot = self.slot.take().or_else(|| self.queue.take().map(|(slot, _)| slot))?;
        self.queue.offer(slot, LEN);
        if self.queue.publish() {
            match &mut self.transport {
                AnyTransport::Mmio(transport) => transport.notify(REQUESTS),
                AnyTransport::Pci(transport) => transport.notify(REQUESTS),
            }
        }
        let deadline = clock.now() + WAIT_MAX;
        while !self.queue.pending() {
            if clock.now() > deadline {
                return None;
            }
            core::hint::spin_loop();
        }
        let (slot, len) = self.queue.take()?;
        // A short answer is refused, not padded: what is missing would be zeros that pass for random.
        let bytes = if len < LEN { None } else { slot.bytes().first_chunk().copied() };
        self.slot = Some(slot);
        bytes
    }
}

fn start<T: Transport>(transport: &mut T) -> Option<(Queue<1>, Vec<Slot, 1>)> {
    start::negotiate(transport, 0, 0).ok()?;
    let started = start::queue(transport, REQUESTS, &MEMORY, Direction::FromDevice, false).ok()?;
    start::run(transport).ok()?;
    Some(started)
}
