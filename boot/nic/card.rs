//! A virtio network card (virtio 1.2, section 5.1) as smoltcp and the agent see it: two queues of fixed buffers.
//!
//! Nothing is copied: smoltcp reads a frame where the device wrote it and writes one where the device will read it,
//! behind the virtio-net header. A received buffer goes back to its queue when its token is dropped. The device is
//! told of new buffers once per poll, in [`flush`](Nic::flush), and only when it asks for that.
//!
//! Interrupts are off while the agent is busy and while frames are being sent; [`Card::prepare_sleep`] asks for one
//! and looks again before it says that sleeping is safe. The hardware below is behind [`Port`], so that the tests
//! can be the device.

use super::checksum;
use super::queue::{BUFFER, Memory, Queue, Slot};
use heapless::Vec;
use outpost::nic::{Counters, Link, Nic};
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;

/// Buffers per direction: a burst of 64 connections and its acknowledgements; 2 × 192 KiB.
pub const BUFFERS: usize = 128;

/// Buffers of one queue that do not wait for the end of the poll, so that device and agent work at the same time.
const BATCH: u16 = BUFFERS as u16 / 4;

/// Receive buffers that wait for more of them before they go back to the device: it has all the others, and each
/// publication costs a fence, often an exit, too.
const REFILL: u16 = BUFFERS as u16 / 8;
const _: () = assert!((BUFFERS - REFILL as usize) * BUFFER >= 65_562, "Firecracker would deliver no frame");

/// The longest frame: 1,500 bytes and the Ethernet header.
const FRAME: usize = 1514;

/// Bytes of the virtio-net header (section 5.1.6), and of the one a legacy device has instead (section 5.1.6.1).
pub const HEADER: usize = 12;
/// See [`HEADER`].
pub const LEGACY_HEADER: usize = 10;
const _: () = assert!(HEADER + FRAME <= BUFFER);

/// Number of the receive queue (section 5.1.2).
pub const RX: u16 = 0;
/// Number of the transmit queue.
pub const TX: u16 = 1;

/// The memory of one queue of a card.
pub type CardMemory = Memory<BUFFERS>;
/// A queue with those of its buffers that are ours.
pub type CardQueue = (Queue<BUFFERS>, Vec<Slot, BUFFERS>);

/// The hardware below a card.
pub trait Port {
    /// Tells the device that a queue has new buffers.
    fn kick(&mut self, queue: u16);

    /// Acknowledges the interrupts that came since the last call; `true` when the device's configuration or state
    /// may have changed.
    fn acknowledge(&mut self) -> bool;

    /// The link as the device has it now; `Down` also when the device says that it needs a reset.
    fn link(&mut self) -> Link;

    /// Whether the device can interrupt; if not it must be polled.
    fn interrupts(&self) -> bool;
}

struct Receive {
    queue: Queue<BUFFERS>,
    header: usize,
    offload: bool,
    frames: u64,
    bytes: u64,
    errors: u64,
}

struct Transmit {
    queue: Queue<BUFFERS>,
    free: Vec<Slot, BUFFERS>,
    header: usize,
    offload: bool,
    frames: u64,
    bytes: u64,
    full: u64,
}

/// The card.
pub struct Card<P> {
    port: P,
    mac: EthernetAddress,
    link: Link,
    rx: Receive,
    tx: Transmit,
}

impl<P: Port> Card<P> {
    /// A card whose device is running; posts the receive buffers. `header` is the length the device uses, `offload`
    /// says that checksums are left to it.
    pub fn new(
        mut port: P,
        mac: EthernetAddress,
        header: usize,
        offload: bool,
        rx: CardQueue,
        tx: CardQueue,
    ) -> Card<P> {
        let (mut queue, slots) = rx;
        for slot in slots {
            queue.offer(slot, BUFFER);
        }
        let rx = Receive { queue, header, offload, frames: 0, bytes: 0, errors: 0 };
        let (queue, free) = tx;
        let tx = Transmit { queue, free, header, offload, frames: 0, bytes: 0, full: 0 };
        let link = port.link();
        let mut card = Card { port, mac, link, rx, tx };
        card.flush();
        card
    }

    /// Gets ready for sleep, after a [`flush`](Nic::flush). `true`: nothing is pending and the next frame interrupts; an
    /// interrupt from here on must end the sleep, also one that comes before it begins. `false`: poll again first.
    #[inline(always)]
    pub fn prepare_sleep(&mut self) -> bool {
        // Before the look at the queues: an interrupt line that is still up makes no further edge.
        if self.notice() {
            return false;
        }
        self.rx.queue.arm();
        if self.tx.reclaim() {
            return !self.rx.queue.pending();
        }
        // No frame can be received while none can be answered: the next completed transmission wakes us.
        self.tx.queue.arm();
        !self.tx.queue.pending()
    }

    /// Whether the device never interrupts, so that the caller must look after it instead of sleeping long.
    pub fn must_poll(&self) -> bool {
        !self.port.interrupts()
    }

    /// Tells the device of the buffers it has, whether it asks or not; once a second is often enough. QEMU before 8.0
    /// leaves out the fence of [`Queue::publish`] under TCG with one processor, though it is a device on another one: each
    /// may then see the other awake, and a card that was not told of its only buffers says nothing for ever.
    pub fn remind(&mut self) {
        if self.rx.queue.outstanding() {
            self.port.kick(RX);
        }
        if self.tx.queue.outstanding() {
            self.port.kick(TX);
        }
    }

    /// Asks the device for its link: where an interrupt says that something changed, this is not needed.
    pub fn look_at_link(&mut self) {
        self.link = self.port.link();
    }

    /// Takes in what interrupts say; whether the link is another one.
    #[inline(always)]
    fn notice(&mut self) -> bool {
        self.port.acknowledge() && core::mem::replace(&mut self.link, self.port.link()) != self.link
    }

    /// Whether there is a buffer to transmit with.
    #[inline(always)]
    fn can_transmit(&mut self) -> bool {
        if self.tx.queue.unpublished() >= BATCH {
            self.publish_tx();
        }
        let can = self.tx.reclaim();
        self.tx.full += u64::from(!can);
        can
    }

    #[inline(never)]
    fn publish_rx(&mut self) {
        if self.rx.queue.publish() {
            self.port.kick(RX);
        }
    }

    #[inline(never)]
    fn publish_tx(&mut self) {
        if self.tx.queue.publish() {
            self.port.kick(TX);
        }
    }
}

impl Transmit {
    /// Whether there is a free buffer. Sent ones are taken back when there is no other, so most polls never look.
    #[inline(always)]
    fn reclaim(&mut self) -> bool {
        !self.free.is_empty() || self.take_back()
    }

    fn take_back(&mut self) -> bool {
        self.queue.reclaim(&mut self.free);
        !self.free.is_empty()
    }
}

impl Receive {
    /// The next frame. A buffer without one is counted and offered again.
    fn take(&mut self) -> Option<(Slot, usize)> {
        // At most `BUFFERS` rounds: the queue gives each published buffer once, and nothing is published here.
        while let Some((slot, len)) = self.queue.take() {
            if len > self.header {
                return Some((slot, len));
            }
            self.errors += 1;
            self.queue.offer(slot, BUFFER);
        }
        None
    }
}

impl<P: Port> Nic for Card<P> {
    fn mac(&self) -> EthernetAddress {
        self.mac
    }

    /// Interrupts are acknowledged here, too, early in a poll: behind the kick at its end, the VMM is busy with the
    /// frames, and the access waits for it.
    fn link(&mut self) -> Link {
        self.notice();
        if self.rx.queue.broken() || self.tx.queue.broken() { Link::Down } else { self.link }
    }

    fn counters(&self) -> Counters {
        Counters {
            rx_frames: self.rx.frames,
            rx_bytes: self.rx.bytes,
            tx_frames: self.tx.frames,
            tx_bytes: self.tx.bytes,
            tx_full: self.tx.full,
            device_errors: self.rx.errors + self.rx.queue.errors() + self.tx.queue.errors(),
            rx_buffers: BUFFERS as u16,
            tx_buffers: BUFFERS as u16,
            tx_free: self.tx.free.len() as u16,
        }
    }

    #[inline(always)]
    fn flush(&mut self) {
        if self.tx.queue.unpublished() > 0 {
            self.publish_tx();
        }
        if self.rx.queue.unpublished() >= REFILL {
            self.publish_rx();
        }
    }
}

impl<P: Port> Device for Card<P> {
    type RxToken<'a>
        = Received<'a>
    where
        P: 'a;
    type TxToken<'a>
        = Outgoing<'a>
    where
        P: 'a;

    fn receive(&mut self, _now: Instant) -> Option<(Received<'_>, Outgoing<'_>)> {
        if !self.rx.queue.pending() {
            return None;
        }
        if self.rx.queue.unpublished() >= REFILL {
            self.publish_rx();
        }
        if !self.can_transmit() {
            return None;
        }
        let (slot, len) = self.rx.take()?;
        Some((Received { rx: &mut self.rx, slot: Some(slot), len }, Outgoing { tx: &mut self.tx }))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Outgoing<'_>> {
        if self.can_transmit() { Some(Outgoing { tx: &mut self.tx }) } else { None }
    }

    fn capabilities(&self) -> DeviceCapabilities {
        capabilities(self.tx.offload)
    }
}

/// What a card can do: Ethernet frames and, with `offload`, the checksums of TCP.
pub fn capabilities(offload: bool) -> DeviceCapabilities {
    let mut capabilities = DeviceCapabilities::default();
    capabilities.medium = Medium::Ethernet;
    capabilities.max_transmission_unit = FRAME;
    if offload {
        capabilities.checksum.tcp = Checksum::None;
        capabilities.checksum.udp = Checksum::Tx;
    }
    capabilities
}

/// A received frame, still where the device wrote it. Dropping it gives the buffer back.
pub struct Received<'a> {
    rx: &'a mut Receive,
    slot: Option<Slot>,
    len: usize,
}

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        let bytes = self.slot.as_ref().map_or(&[][..], |slot| slot.bytes());
        let (header, frame) = bytes.get(..self.len).unwrap_or(&[]).split_at_checked(self.rx.header).unwrap_or_default();
        self.rx.frames += 1;
        self.rx.bytes += frame.len() as u64;
        read(if !self.rx.offload || checksum::is_sound(header, frame) { frame } else { &[] })
    }
}

impl Drop for Received<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.rx.queue.offer(slot, BUFFER);
        }
    }
}

/// The right to send one frame; it exists only while there is a free buffer.
pub struct Outgoing<'a> {
    tx: &'a mut Transmit,
}

impl TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let Some(mut slot) = self.tx.free.pop() else { unreachable!("a transmit token without a free buffer") };
        // But for what `checksum` writes, the header stays as it was at boot, all zeros: no segmentation (section
        // 5.1.6.2). Only we write into this buffer.
        let end = self.tx.header + len;
        let (header, frame) = slot.bytes_mut()[..end].split_at_mut(self.tx.header);
        let result = write(frame);
        if self.tx.offload {
            checksum::leave_to_device(header, frame);
        }
        self.tx.queue.offer(slot, end);
        self.tx.frames += 1;
        self.tx.bytes += len as u64;
        result
    }
}
