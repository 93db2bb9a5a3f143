//! A split virtqueue (virtio 1.2, section 2.7) with one fixed buffer per descriptor.
//!
//! ```text
//!            offer + publish                       used ring
//!   Slot ────────────────────▶ the device's ────────────────────▶ Slot
//!    ▲                                                  take      │
//!    └────────────────────────────────────────────────────────────┘
//! ```
//!
//! Descriptor `i` describes buffer `i` for ever, so nothing is allocated, chained or copied, and a buffer that
//! comes back is offered again by writing two bytes. What always holds: a buffer is reachable either through
//! exactly one [`Slot`] or by the device, never both. Everything the device writes (index, id, length) is read
//! once and checked: a wrong length costs the frame, a wrong index or id ends the queue, for from then on nobody
//! knows which buffers are whose. Both are counted; neither can panic or make us touch memory outside a buffer.
//!
//! The memory is shared with a device that runs at the same time as we do, so all of it is atomics. This file knows
//! no hardware: the tests run it on the host, against a device that misbehaves (`tests/virtqueue.rs`).

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};
use heapless::Vec;

/// Bytes of a buffer: a virtio-net header and a full Ethernet frame. Firecracker refuses less than 1,526.
pub const BUFFER: usize = 1536;

/// Descriptor flag: the device writes into the buffer.
const DEVICE_WRITES: u16 = 2;
/// `available.flags`: the driver needs no interrupts.
const NO_INTERRUPT: u16 = 1;
/// `used.flags`: the device needs no notifications.
const NO_NOTIFY: u16 = 1;

#[repr(C)]
struct Descriptor {
    address: AtomicU64,
    len: AtomicU32,
    flags: AtomicU16,
    next: AtomicU16,
}

#[repr(C)]
struct Available<const N: usize> {
    flags: AtomicU16,
    index: AtomicU16,
    ring: [AtomicU16; N],
    used_event: AtomicU16,
}

#[repr(C)]
struct Element {
    id: AtomicU32,
    len: AtomicU32,
}

/// Legacy devices know the rings by one page number and expect the used ring on the next page (section 2.7.2).
#[repr(C, align(4096))]
struct Used<const N: usize> {
    flags: AtomicU16,
    index: AtomicU16,
    ring: [Element; N],
    available_event: AtomicU16,
}

/// The static memory of one queue of `N` buffers: all zeros, so it costs no byte of the image.
#[repr(C, align(4096))]
pub struct Memory<const N: usize> {
    descriptors: [Descriptor; N],
    available: Available<N>,
    used: Used<N>,
    buffers: UnsafeCell<[[u8; BUFFER]; N]>,
    taken: AtomicBool,
}

// SAFETY: The rings are atomics. The buffers are reached only through the `Slot`s of the one `Queue` that `taken`
// admits, and each `Slot` is the only one for its buffer.
unsafe impl<const N: usize> Sync for Memory<N> {}

impl<const N: usize> Memory<N> {
    /// Memory no queue uses yet.
    pub const fn new() -> Memory<N> {
        // Section 2.7: the size is a power of two, at most 32,768; so indices may wrap at 2^16.
        const { assert!(N.is_power_of_two() && N <= 32768) };
        Memory {
            descriptors: [const {
                Descriptor {
                    address: AtomicU64::new(0),
                    len: AtomicU32::new(0),
                    flags: AtomicU16::new(0),
                    next: AtomicU16::new(0),
                }
            }; N],
            available: Available {
                flags: AtomicU16::new(0),
                index: AtomicU16::new(0),
                ring: [const { AtomicU16::new(0) }; N],
                used_event: AtomicU16::new(0),
            },
            used: Used {
                flags: AtomicU16::new(0),
                index: AtomicU16::new(0),
                ring: [const { Element { id: AtomicU32::new(0), len: AtomicU32::new(0) } }; N],
                available_event: AtomicU16::new(0),
            },
            buffers: UnsafeCell::new([[0; BUFFER]; N]),
            taken: AtomicBool::new(false),
        }
    }

    fn buffer(&self, id: u16) -> *mut [u8; BUFFER] {
        self.buffers.get().cast::<[u8; BUFFER]>().wrapping_add(usize::from(id))
    }
}

/// Who writes into the buffers of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The device, as in a receive queue.
    FromDevice,
    /// We, as in a transmit queue.
    ToDevice,
}

/// Where the device finds the three parts of the queue, in physical addresses.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The descriptor table.
    pub descriptors: u64,
    /// The available ring.
    pub available: u64,
    /// The used ring.
    pub used: u64,
}

/// A buffer that is ours.
#[derive(Debug)]
pub struct Slot {
    id: u16,
    bytes: &'static mut [u8; BUFFER],
}

impl Slot {
    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// Its bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes
    }
}

/// The driver's side of a virtqueue.
pub struct Queue<const N: usize> {
    memory: &'static Memory<N>,
    direction: Direction,
    /// VIRTIO_F_EVENT_IDX was negotiated. Without it Firecracker and Cloud Hypervisor interrupt for every buffer.
    event_index: bool,
    /// Which buffers are the device's.
    with_device: [bool; N],
    /// Buffers offered, published and taken back since the start, each modulo 2^16.
    offered: u16,
    published: u16,
    taken: u16,
    armed: bool,
    errors: u64,
    broken: bool,
}

impl<const N: usize> Queue<N> {
    /// The queue over `memory`, and its buffers, all ours. `None` when the memory already has a queue.
    ///
    /// `physical` gives the address at which the device finds a byte of ours.
    pub fn new(
        memory: &'static Memory<N>,
        direction: Direction,
        event_index: bool,
        physical: impl Fn(*const u8) -> u64,
    ) -> Option<(Queue<N>, Vec<Slot, N>)> {
        if memory.taken.swap(true, Ordering::AcqRel) {
            return None;
        }
        let flags = if direction == Direction::FromDevice { DEVICE_WRITES } else { 0 };
        let mut slots = Vec::new();
        for (id, descriptor) in (0..).zip(&memory.descriptors) {
            let buffer = memory.buffer(id);
            descriptor.address.store(physical(buffer.cast()), Ordering::Relaxed);
            descriptor.flags.store(flags, Ordering::Relaxed);
            // SAFETY: `id` is below `N`, so this is a buffer of `memory`, which lives for ever; `taken` was false,
            // so this is the first queue over it and the only slot for this buffer.
            let bytes = unsafe { &mut *buffer };
            // There are as many places as descriptors.
            let _ = slots.push(Slot { id, bytes });
        }
        let mut queue = Queue {
            memory,
            direction,
            event_index,
            with_device: [false; N],
            offered: 0,
            published: 0,
            taken: 0,
            armed: true,
            errors: 0,
            broken: false,
        };
        queue.disarm();
        Some((queue, slots))
    }

    /// Where the device finds the rings.
    pub fn addresses(&self, physical: impl Fn(*const u8) -> u64) -> Addresses {
        Addresses {
            descriptors: physical((&raw const self.memory.descriptors).cast()),
            available: physical((&raw const self.memory.available).cast()),
            used: physical((&raw const self.memory.used).cast()),
        }
    }

    /// Gives a buffer to the device, `len` bytes of it; the device sees it after the next [`publish`](Self::publish).
    pub fn offer(&mut self, slot: Slot, len: usize) {
        let id = usize::from(slot.id);
        self.memory.descriptors[id].len.store(len.min(BUFFER) as u32, Ordering::Relaxed);
        self.memory.available.ring[usize::from(self.offered) % N].store(slot.id, Ordering::Relaxed);
        self.with_device[id] = true;
        self.offered = self.offered.wrapping_add(1);
    }

    /// How many offered buffers the device does not know of yet.
    pub fn unpublished(&self) -> u16 {
        self.offered.wrapping_sub(self.published)
    }

    /// Shows the device what was offered; `true` when it asks to be notified of it.
    #[must_use]
    pub fn publish(&mut self) -> bool {
        let (old, new) = (self.published, self.offered);
        if old == new {
            return false;
        }
        self.memory.available.index.store(new, Ordering::Release);
        self.published = new;
        // Section 2.7.13.4.1: the index must be visible before we look whether the device went to
        // sleep, else both sides wait for each other. Only a full fence orders a store before a later load.
        fence(Ordering::SeqCst);
        if self.event_index {
            let event = self.memory.used.available_event.load(Ordering::Relaxed);
            // Section 2.7.10: notify when `event` is one of old..new, modulo 2^16.
            new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
        } else {
            self.memory.used.flags.load(Ordering::Relaxed) & NO_NOTIFY == 0
        }
    }

    /// Whether the device has buffers that it is not done with.
    pub fn outstanding(&self) -> bool {
        !self.broken && self.memory.used.index.load(Ordering::Acquire) != self.published
    }

    /// Whether the device says it is done with a buffer.
    pub fn pending(&self) -> bool {
        !self.broken && self.memory.used.index.load(Ordering::Acquire) != self.taken
    }

    /// A buffer the device is done with and, where the device writes, how many bytes it wrote.
    pub fn take(&mut self) -> Option<(Slot, usize)> {
        // Every round takes one of at most `N` published buffers and publishes none.
        while self.done() > 0 {
            self.disarm();
            let (slot, len) = self.returned()?;
            if self.direction == Direction::ToDevice {
                return Some((slot, 0));
            }
            if len <= BUFFER {
                return Some((slot, len));
            }
            self.errors += 1;
            self.offer(slot, BUFFER);
        }
        None
    }

    /// Takes back all buffers that the device is done with, where nothing but their return counts.
    pub fn reclaim(&mut self, free: &mut Vec<Slot, N>) {
        let done = self.done();
        if done > 0 {
            self.disarm();
        }
        for _ in 0..done {
            let Some((slot, _)) = self.returned() else { return };
            // There is a place for each buffer of the queue.
            let _ = free.push(slot);
        }
    }

    /// How many buffers the device says it is done with; more than it has end the queue.
    #[inline(always)]
    fn done(&mut self) -> u16 {
        if self.broken {
            return 0;
        }
        let done = self.memory.used.index.load(Ordering::Acquire).wrapping_sub(self.taken);
        if done > self.published.wrapping_sub(self.taken) {
            return self.lose_trust();
        }
        done
    }

    #[cold]
    fn lose_trust(&mut self) -> u16 {
        self.errors += 1;
        self.broken = true;
        0
    }

    /// The next buffer of those that are [`done`](Self::done), and how many bytes the device says that it wrote.
    #[inline(always)]
    fn returned(&mut self) -> Option<(Slot, usize)> {
        let (memory, taken) = (self.memory, self.taken);
        let element = &memory.used.ring[usize::from(taken) % N];
        let (id, len) = (element.id.load(Ordering::Relaxed), element.len.load(Ordering::Relaxed) as usize);
        let owned = usize::try_from(id).ok().and_then(|id| self.with_device.get_mut(id));
        let Some(owned @ true) = owned else {
            self.lose_trust();
            return None;
        };
        *owned = false;
        self.taken = taken.wrapping_add(1);
        let id = id as u16;
        // SAFETY: `id` is below `N` as `with_device` has it, so this is a buffer of the memory, which lives for
        // ever; it was the device's until now, so no slot for it exists.
        let bytes = unsafe { &mut *memory.buffer(id) };
        Some((Slot { id, bytes }, len))
    }

    /// Asks for an interrupt at the next used buffer. Look at [`pending`](Self::pending) afterwards: what came
    /// before makes no interrupt.
    pub fn arm(&mut self) {
        self.armed = true;
        self.memory.available.used_event.store(self.taken, Ordering::Relaxed);
        self.memory.available.flags.store(0, Ordering::Relaxed);
        // The request must be visible before the caller looks: the mirror image of `publish`.
        fence(Ordering::SeqCst);
    }

    /// Asks for no interrupts. With the event index an event in the past says so; it comes round once in 65,536
    /// buffers, and an interrupt too many does no harm.
    fn disarm(&mut self) {
        if self.armed {
            self.armed = false;
            self.memory.available.used_event.store(self.taken.wrapping_sub(1), Ordering::Relaxed);
            // Section 2.7.7.1: with the event index the flags must stay 0.
            let flags = if self.event_index { 0 } else { NO_INTERRUPT };
            self.memory.available.flags.store(flags, Ordering::Relaxed);
        }
    }

    /// How often the device got an index, an id or a length wrong.
    pub fn errors(&self) -> u64 {
        self.errors
    }

    /// Whether the device lost our trust: the queue stays silent until the machine resets.
    pub fn broken(&self) -> bool {
        self.broken
    }
}
