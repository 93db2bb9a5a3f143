//! A virtio entropy source (virtio 1.2, section 5.4): the host's random bytes, for a processor that has none of its
//! own. Asked once at boot, with a bound, then reset; it shares its transports and its queue with the card.

use super::queue::{BUFFER, Direction, Memory};
use super::{mmio, pci, start};
use crate::acpi::Platform;
use crate::clock::Clock;
use smoltcp::time::Duration;
use virtio_drivers::transport::{DeviceStatus, DeviceType, Transport};

/// How long the device may take: QEMU answers within a millisecond unless its source ran dry.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// The only queue.
const REQUESTS: u16 = 0;

static MEMORY: Memory<1> = Memory::new();

/// Random bytes of the machine's entropy device. `None`: there is none, or it gave too few in time.
pub fn read<const LEN: usize>(platform: &Platform, command_line: &str, clock: &Clock) -> Option<[u8; LEN]> {
    const { assert!(LEN <= BUFFER) };
    let places = mmio::places(platform, command_line);
    if let Some((_, mut transport)) = mmio::find(&places, DeviceType::EntropySource) {
        return ask(&mut *transport, clock);
    }
    let mut root = pci::root()?;
    let device = pci::find(&root, pci::ENTROPY)?;
    let capabilities = pci::capabilities(&root, device);
    ask(&mut pci::Registers::open(&mut root, device, &capabilities).ok()?, clock)
}

fn ask<T: Transport, const LEN: usize>(transport: &mut T, clock: &Clock) -> Option<[u8; LEN]> {
    let bytes = request(transport, clock);
    // Whatever came of it, the device must write no more.
    transport.set_status(DeviceStatus::empty());
    bytes
}

fn request<T: Transport, const LEN: usize>(transport: &mut T, clock: &Clock) -> Option<[u8; LEN]> {
    start::negotiate(transport, 0, 0).ok()?;
    let (mut queue, slots) = start::queue(transport, REQUESTS, &MEMORY, Direction::FromDevice, false).ok()?;
    start::run(transport).ok()?;
    queue.offer(slots.into_iter().next()?, LEN);
    if queue.publish() {
        transport.notify(REQUESTS);
    }
    let deadline = clock.now() + WAIT_MAX;
    while !queue.pending() {
        if clock.now() > deadline {
            return None;
        }
        core::hint::spin_loop();
    }
    // A short answer is refused, not padded: what is missing would be zeros that pass for random.
    let (slot, len) = queue.take()?;
    if len < LEN { None } else { slot.bytes().first_chunk().copied() }
}
