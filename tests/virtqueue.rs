//! The card's driver (`boot/nic/queue.rs`, `boot/nic/card.rs`) on the host, against a device that knows only what a
//! real one knows, the addresses of the rings, and that misbehaves.

// What only the image calls is unused here.
#[allow(dead_code)]
#[path = "../boot/nic/card.rs"]
mod card;
#[allow(dead_code)]
#[path = "../boot/nic/checksum.rs"]
mod checksum;
#[allow(dead_code)]
#[path = "../boot/nic/places.rs"]
mod places;
#[allow(dead_code)]
#[path = "../boot/nic/queue.rs"]
mod queue;

use card::{BUFFERS, Card, CardMemory, HEADER, LEGACY_HEADER, Port};
use outpost::nic::{Link, Nic};
use queue::{Addresses, BUFFER, Direction, Memory, Queue};
use smoltcp::phy::{Device, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering::SeqCst};

const NOW: Instant = Instant::ZERO;

/// Rounds of what has to go on for long: past the wrap of the 16-bit indices. Miri, which takes a thousand times as long,
/// is after memory and not after arithmetic: there it is twice around all buffers.
const ROUNDS: u32 = if cfg!(miri) { 2 * BUFFERS as u32 + 3 } else { 70_000 };

/// On the host a device finds memory where we do.
fn physical(byte: *const u8) -> u64 {
    byte as u64
}

/// The device's side of one queue, after section 2.7 of the specification and not after the driver's types.
struct FakeQueue {
    size: u16,
    rings: Addresses,
    seen: u16,
    used: u16,
}

impl FakeQueue {
    fn new<const N: usize>(queue: &Queue<N>) -> FakeQueue {
        FakeQueue { size: N as u16, rings: queue.addresses(physical), seen: 0, used: 0 }
    }

    fn u16(&self, address: u64) -> &AtomicU16 {
        // SAFETY: the driver's ring memory is leaked, aligned for its fields, and shared as atomics.
        unsafe { AtomicU16::from_ptr(address as *mut u16) }
    }

    fn u32(&self, address: u64) -> &AtomicU32 {
        // SAFETY: as in `u16`.
        unsafe { AtomicU32::from_ptr(address as *mut u32) }
    }

    fn available_index(&self) -> u16 {
        self.u16(self.rings.available + 2).load(SeqCst)
    }

    fn available_flags(&self) -> u16 {
        self.u16(self.rings.available).load(SeqCst)
    }

    fn used_event(&self) -> u16 {
        self.u16(self.rings.available + 4 + 2 * u64::from(self.size)).load(SeqCst)
    }

    fn set_available_event(&self, event: u16) {
        self.u16(self.rings.used + 4 + 8 * u64::from(self.size)).store(event, SeqCst);
    }

    fn set_used_flags(&self, flags: u16) {
        self.u16(self.rings.used).store(flags, SeqCst);
    }

    fn set_used_index(&self, index: u16) {
        self.u16(self.rings.used + 2).store(index, SeqCst);
    }

    /// The next descriptor on offer: id, address, length, flags.
    fn next(&mut self) -> Option<(u16, u64, u32, u16)> {
        if self.seen == self.available_index() {
            return None;
        }
        let id = self.u16(self.rings.available + 4 + 2 * u64::from(self.seen % self.size)).load(SeqCst);
        self.seen = self.seen.wrapping_add(1);
        let descriptor = self.rings.descriptors + 16 * u64::from(id);
        // SAFETY: as in `u16`.
        let address = unsafe { AtomicU64::from_ptr(descriptor as *mut u64) }.load(SeqCst);
        let len = self.u32(descriptor + 8).load(SeqCst);
        Some((id, address, len, self.u16(descriptor + 12).load(SeqCst)))
    }

    /// Says that it is done with a buffer; whether the driver asked for an interrupt (section 2.7.7.2).
    fn finish(&mut self, id: u32, len: u32) -> bool {
        let element = self.rings.used + 4 + 8 * u64::from(self.used % self.size);
        self.u32(element).store(id, SeqCst);
        self.u32(element + 4).store(len, SeqCst);
        let old = self.used;
        self.used = old.wrapping_add(1);
        self.set_used_index(self.used);
        self.used_event() == old
    }

    /// Puts a frame into the next buffer on offer.
    fn deliver(&mut self, frame: &[u8], header: usize) -> bool {
        let (id, address, len, flags) = self.next().expect("a posted buffer");
        assert_eq!((len as usize, flags), (BUFFER, 2));
        let place = (address as *mut u8).wrapping_add(header);
        // SAFETY: the buffer on offer is the device's, and `frame` fits behind the header.
        unsafe { std::ptr::copy_nonoverlapping(frame.as_ptr(), place, frame.len()) };
        self.finish(id.into(), (header + frame.len()) as u32)
    }

    /// Sends the next frame on offer.
    fn send(&mut self, header: usize) -> Option<Vec<u8>> {
        let (id, address, len, flags) = self.next()?;
        assert_eq!(flags, 0);
        // SAFETY: the buffer on offer is the device's, `len` bytes of it.
        let bytes = unsafe { std::slice::from_raw_parts(address as *const u8, len as usize) };
        assert!(bytes[..header].iter().all(|byte| *byte == 0), "the header asks for an offload");
        let frame = bytes[header..].to_vec();
        // Nothing was written, so the length of a sent buffer means nothing (section 2.7.8.2).
        self.finish(id.into(), u32::MAX);
        Some(frame)
    }
}

fn small(direction: Direction, event_index: bool) -> (Queue<4>, Vec<queue::Slot>, FakeQueue) {
    let memory: &'static Memory<4> = Box::leak(Box::new(Memory::new()));
    let (queue, slots) = Queue::new(memory, direction, event_index, physical).expect("fresh memory");
    let device = FakeQueue::new(&queue);
    (queue, slots.into_iter().collect(), device)
}

#[test]
fn memory_has_one_queue_only() {
    // Two queues over one memory would hand out the same buffer twice.
    let memory: &'static Memory<4> = Box::leak(Box::new(Memory::new()));
    assert!(Queue::new(memory, Direction::ToDevice, false, physical).is_some());
    assert!(Queue::new(memory, Direction::ToDevice, false, physical).is_none());
}

#[test]
fn layout_is_what_a_legacy_device_expects() {
    // A legacy device computes the ring addresses from one page number (section 2.7.2).
    let memory: &'static CardMemory = Box::leak(Box::new(Memory::new()));
    let (queue, _) = Queue::new(memory, Direction::FromDevice, false, physical).expect("fresh memory");
    let rings = queue.addresses(physical);
    assert_eq!(rings.descriptors % 4096, 0);
    assert_eq!(rings.available, rings.descriptors + 16 * BUFFERS as u64);
    assert_eq!(rings.used, (rings.available + 2 * (3 + BUFFERS as u64)).next_multiple_of(4096));
}

#[test]
fn buffers_go_round_past_the_wrap_of_the_index() {
    // At 2^16 the indices wrap: a buffer must not get lost, doubled or mixed up, in either suppression mode.
    for event_index in [false, true] {
        let (mut queue, slots, mut device) = small(Direction::FromDevice, event_index);
        for slot in slots {
            queue.offer(slot, BUFFER);
        }
        for round in 0..ROUNDS {
            let _ = queue.publish();
            let (id, address, ..) = device.next().expect("a published buffer");
            // SAFETY: the buffer is the device's and larger than four bytes.
            unsafe { (address as *mut [u8; 4]).write(round.to_le_bytes()) };
            device.finish(id.into(), 4);
            let (slot, len) = queue.take().expect("the buffer back");
            assert_eq!((&slot.bytes()[..len], queue.take().is_none()), (&round.to_le_bytes()[..], true));
            queue.offer(slot, BUFFER);
        }
        assert_eq!((queue.errors(), queue.broken()), (0, false));
    }
}

#[test]
fn the_device_is_notified_exactly_when_it_asks() {
    // One notification too few and both sides wait for ever; each one too many is an exit of the machine.
    let starts: &[u16] = if cfg!(miri) { &[0, 5] } else { &[0, 0x7ffe, 0xfffe, 0xffff] };
    for &start in starts {
        // The device asks to be told when this many buffers more than `start` are there.
        for (event, asked) in [(u16::MAX, false), (0, true), (1, true), (2, true), (3, false), (0x8000, false)] {
            let (mut queue, mut slots, mut device) = small(Direction::ToDevice, true);
            for _ in 0..start {
                queue.offer(slots.pop().expect("a slot"), 1);
                let _ = queue.publish();
                let (id, ..) = device.next().expect("a published buffer");
                device.finish(id.into(), 0);
                slots.extend(queue.take().map(|(slot, _)| slot));
            }
            slots.drain(..3).for_each(|slot| queue.offer(slot, 1));
            device.set_available_event(start.wrapping_add(event));
            assert_eq!(queue.publish(), asked, "event {event} at {start}");
            assert!(!queue.publish(), "nothing new was offered");
        }
    }
    for (flags, asked) in [(0, true), (1, false)] {
        let (mut queue, mut slots, device) = small(Direction::ToDevice, false);
        device.set_used_flags(flags);
        queue.offer(slots.remove(0), 1);
        assert_eq!(queue.publish(), asked);
    }
}

#[test]
fn interrupts_come_only_when_asked_for() {
    // Unasked they cost an exit per frame; asked and missed, the card is deaf.
    let (mut queue, slots, mut device) = small(Direction::FromDevice, true);
    slots.into_iter().for_each(|slot| queue.offer(slot, BUFFER));
    let _ = queue.publish();
    assert_eq!(device.available_flags(), 0, "with the event index the flags stay 0 (section 2.7.7.1)");
    assert!(!device.deliver(b"one", 0), "not armed");
    queue.take().expect("a frame");
    queue.arm();
    assert!(device.deliver(b"two", 0), "armed");
    assert!(!device.deliver(b"three", 0), "busy with the one before");
    queue.take().expect("a frame");
    assert!(!device.deliver(b"four", 0), "busy");

    let (mut queue, slots, mut device) = small(Direction::FromDevice, false);
    slots.into_iter().for_each(|slot| queue.offer(slot, BUFFER));
    let _ = queue.publish();
    assert_eq!(device.available_flags(), 1);
    queue.arm();
    assert_eq!(device.available_flags(), 0);
    device.deliver(b"one", 0);
    queue.take().expect("a frame");
    assert_eq!(device.available_flags(), 1);
}

#[test]
fn an_id_that_is_not_the_devices_ends_the_queue() {
    // Believed, it would be memory outside the buffers, or one buffer in two hands.
    for id in [4, 5, 0xffff, 0x1_0000, u32::MAX, 1] {
        let (mut queue, slots, mut device) = small(Direction::FromDevice, true);
        for slot in slots.into_iter().take(1) {
            queue.offer(slot, BUFFER);
        }
        let _ = queue.publish();
        device.finish(id, 64);
        assert!(queue.take().is_none(), "id {id:#x}");
        assert_eq!((queue.errors(), queue.broken()), (1, true), "id {id:#x}");
        device.finish(0, 64);
        assert!(queue.take().is_none() && !queue.pending(), "no way back");
    }
}

#[test]
fn an_id_that_comes_twice_ends_the_queue() {
    // The buffer is ours by then: smoltcp may be reading it.
    let (mut queue, slots, mut device) = small(Direction::FromDevice, true);
    slots.into_iter().for_each(|slot| queue.offer(slot, BUFFER));
    let _ = queue.publish();
    device.finish(2, 64);
    device.finish(2, 64);
    let first = queue.take().expect("the buffer");
    assert!(queue.take().is_none());
    assert_eq!((first.1, queue.errors(), queue.broken()), (64, 1, true));
}

#[test]
fn a_used_index_that_runs_ahead_ends_the_queue() {
    // Old ring entries would be taken for new ones.
    for ahead in [3, 5, 0x7fff, 0xffff] {
        let (mut queue, slots, device) = small(Direction::FromDevice, true);
        slots.into_iter().take(2).for_each(|slot| queue.offer(slot, BUFFER));
        let _ = queue.publish();
        device.set_used_index(ahead);
        assert!(queue.take().is_none(), "{ahead} ahead");
        assert_eq!((queue.errors(), queue.broken()), (1, true), "{ahead} ahead");
    }
}

#[test]
fn a_buffer_that_was_offered_but_not_published_cannot_come_back() {
    // The device could otherwise be given a buffer that the driver already has again.
    let (mut queue, slots, mut device) = small(Direction::FromDevice, true);
    slots.into_iter().for_each(|slot| queue.offer(slot, BUFFER));
    device.finish(0, 64);
    assert!(queue.take().is_none());
    assert!(queue.broken());
}

#[test]
fn a_length_beyond_the_buffer_costs_the_frame_only() {
    // Believed, smoltcp would read the next buffer or what lies behind them.
    let (mut queue, slots, mut device) = small(Direction::FromDevice, true);
    slots.into_iter().for_each(|slot| queue.offer(slot, BUFFER));
    let _ = queue.publish();
    for len in [BUFFER as u32 + 1, u32::MAX] {
        let (id, ..) = device.next().expect("a buffer");
        device.finish(id.into(), len);
    }
    device.deliver(b"good", 0);
    let (slot, len) = queue.take().expect("the good one");
    assert_eq!((&slot.bytes()[..len], queue.errors(), queue.broken()), (&b"good"[..], 2, false));
    assert_eq!(queue.unpublished(), 2, "the buffers of the bad ones are offered again");
}

/// What the tests and the card see of the hardware.
#[derive(Default)]
struct Wires {
    kicks: [u32; 2],
    interrupts: u32,
    changed: bool,
    down: bool,
}

struct FakePort(Rc<RefCell<Wires>>);

impl Port for FakePort {
    fn kick(&mut self, queue: u16) {
        self.0.borrow_mut().kicks[usize::from(queue)] += 1;
    }

    fn acknowledge(&mut self) -> bool {
        let mut wires = self.0.borrow_mut();
        wires.interrupts = 0;
        std::mem::take(&mut wires.changed)
    }

    fn link(&mut self) -> Link {
        if self.0.borrow().down { Link::Down } else { Link::Up }
    }

    fn interrupts(&self) -> bool {
        true
    }
}

struct Bench {
    card: Card<FakePort>,
    wires: Rc<RefCell<Wires>>,
    rx: FakeQueue,
    tx: FakeQueue,
    header: usize,
}

fn bench(event_index: bool, header: usize) -> Bench {
    bench_with(event_index, header, false)
}

fn bench_with(event_index: bool, header: usize, offload: bool) -> Bench {
    let queue = |direction| {
        let memory: &'static CardMemory = Box::leak(Box::new(Memory::new()));
        Queue::new(memory, direction, event_index, physical).expect("fresh memory")
    };
    let (rx, tx) = (queue(Direction::FromDevice), queue(Direction::ToDevice));
    let (rx_device, tx_device) = (FakeQueue::new(&rx.0), FakeQueue::new(&tx.0));
    let wires = Rc::new(RefCell::new(Wires::default()));
    let mac = EthernetAddress([2, 0, 0, 0, 0, 1]);
    let card = Card::new(FakePort(wires.clone()), mac, header, offload, rx, tx);
    Bench { card, wires, rx: rx_device, tx: tx_device, header }
}

impl Bench {
    fn receive(&mut self) -> Option<Vec<u8>> {
        self.card.receive(NOW).map(|(frame, _)| frame.consume(<[u8]>::to_vec))
    }

    fn transmit(&mut self, frame: &[u8]) -> bool {
        let Some(token) = self.card.transmit(NOW) else { return false };
        token.consume(frame.len(), |bytes| bytes.copy_from_slice(frame));
        true
    }
}

#[test]
fn frames_travel_both_ways_in_order() {
    // A wrong header length shifts every frame; a lost buffer stops the card after 128 of them.
    for (event_index, header) in [(true, HEADER), (false, HEADER), (false, LEGACY_HEADER)] {
        let mut bench = bench(event_index, header);
        for round in 0..ROUNDS {
            let frame = round.to_le_bytes().repeat(if round % 2 == 0 { 15 } else { 378 });
            bench.rx.deliver(&frame, bench.header);
            assert_eq!(bench.receive().as_ref(), Some(&frame));
            assert!(bench.transmit(&frame));
            bench.card.flush();
            assert_eq!(bench.tx.send(bench.header), Some(frame));
        }
        let counters = bench.card.counters();
        assert_eq!((counters.rx_frames, counters.tx_frames, counters.device_errors), (ROUNDS.into(), ROUNDS.into(), 0));
        assert_eq!((counters.rx_bytes, counters.tx_full), (counters.tx_bytes, 0));
    }
}

/// A TCP segment of 10.0.0.2 with its right checksum, or the sum of its pseudo header where the device does the rest.
fn segment(finished: bool) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 8, 0];
    frame.extend([0x45, 0, 0, 45, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 2, 192, 0, 2, 200]);
    frame.extend([0, 80, 0x30, 0x39, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 4, 0, 0, 0, 0, 0]);
    frame.extend(b"hello");
    // RFC 9293, section 3.1, word by word: the pseudo header, then the segment with a zero where the sum goes.
    let pseudo = [0x0a00, 0x0002, 0xc000, 0x02c8, 6, 25];
    let padded = [&frame[34..], &[0]].concat();
    let words = padded.as_chunks::<2>().0.iter().map(|word| u32::from(u16::from_be_bytes(*word)));
    let mut sum: u32 = pseudo.iter().sum::<u32>() + if finished { words.sum() } else { 0 };
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = if finished { !(sum as u16) } else { sum as u16 };
    frame[50..52].copy_from_slice(&sum.to_be_bytes());
    frame
}

#[test]
fn the_device_finishes_checksums_of_tcp_and_of_nothing_else() {
    // A sum in the wrong place, or a request to finish one that is right already, and nobody takes our answers.
    let mut bench = bench_with(true, HEADER, true);
    let mut blank = segment(true);
    blank[50..52].fill(0);
    let mut arp = blank.clone();
    arp[13] = 6;
    // Every buffer once, and then one that has carried a segment.
    let segments = std::iter::repeat_n((&blank, [1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0], segment(false)), BUFFERS);
    let last = (&arp, [0, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0], arp.clone());
    for (frame, header, expected) in segments.chain([last]) {
        assert!(bench.transmit(frame));
        bench.card.flush();
        let (id, address, len, _) = bench.tx.next().expect("the frame");
        // SAFETY: the buffer on offer is the device's, `len` bytes of it.
        let bytes = unsafe { std::slice::from_raw_parts(address as *const u8, len as usize) };
        assert_eq!((&bytes[..HEADER], &bytes[HEADER..]), (&header[..], &expected[..]));
        bench.tx.finish(id.into(), 0);
    }
}

#[test]
fn what_the_device_does_not_vouch_for_is_checked() {
    // smoltcp no longer looks: a flipped bit would reach the log as what the collector said.
    let mut bad = segment(true);
    bad[40] ^= 1;
    for (flags, frame, passes) in [
        (0, segment(true), true),
        (0, bad.clone(), false),
        (0, segment(false), false),
        (1, segment(false), true),
        (2, bad.clone(), true),
        (0, vec![0xff; 60], true),
    ] {
        let mut bench = bench_with(true, HEADER, true);
        let mut delivered = vec![0; HEADER];
        delivered[0] = flags;
        delivered.extend(&frame);
        bench.rx.deliver(&delivered, 0);
        let expected = if passes { frame } else { Vec::new() };
        assert_eq!(bench.receive(), Some(expected), "flags {flags}");
    }
    let mut bench = bench_with(true, HEADER, false);
    bench.rx.deliver(&bad, HEADER);
    assert_eq!(bench.receive(), Some(bad), "without the offload smoltcp checks it");
}

#[test]
fn all_receive_buffers_are_posted_at_once() {
    // Firecracker delivers nothing below 65,562 bytes.
    let mut bench = bench(true, HEADER);
    assert_eq!(bench.wires.borrow().kicks[usize::from(card::RX)], 1);
    let posted: u32 = std::iter::from_fn(|| bench.rx.next()).map(|(_, _, len, _)| len).sum();
    assert_eq!(posted as usize, BUFFERS * BUFFER);
}

#[test]
fn a_poll_kicks_once() {
    // A kick is an exit of the machine, the dearest thing a packet costs.
    let mut bench = bench(true, HEADER);
    let before = bench.wires.borrow().kicks;
    for _ in 0..10 {
        assert!(bench.transmit(b"frame"));
    }
    assert_eq!((bench.wires.borrow().kicks, bench.tx.available_index()), (before, 0), "before the flush");
    bench.card.flush();
    bench.card.flush();
    assert_eq!((bench.wires.borrow().kicks, bench.tx.available_index()), ([before[0], before[1] + 1], 10));
}

#[test]
fn a_device_that_missed_a_kick_is_reminded() {
    // QEMU did under load, and the machine was off the network until somebody reset it.
    let mut bench = bench(true, HEADER);
    let posted = bench.wires.borrow().kicks;
    assert!(bench.transmit(b"a frame of ours"));
    bench.card.flush();
    bench.wires.borrow_mut().kicks = [0; 2];
    bench.card.remind();
    assert_eq!((posted[0], bench.wires.borrow().kicks), (1, [1, 1]));
    // Nothing is said of what is done.
    assert_eq!(bench.tx.send(bench.header).as_deref(), Some(&b"a frame of ours"[..]));
    bench.card.remind();
    assert_eq!(bench.wires.borrow().kicks, [2, 1]);
}

#[test]
fn a_long_poll_hands_over_buffers_before_it_ends() {
    // A burst longer than the queue would starve the device of receive buffers, and wait for it to send.
    let mut bench = bench(true, HEADER);
    for _ in 0..3 * BUFFERS {
        bench.rx.deliver(b"frame", HEADER);
        assert!(bench.receive().is_some() && bench.transmit(b"frame"));
        let _ = bench.tx.send(HEADER);
    }
    assert_eq!(bench.card.counters().tx_full, 0);
}

#[test]
fn a_full_transmit_queue_stops_reception_and_is_counted() {
    // A token cannot fail: a frame received without room for its answer loses the answer (it was SYN|ACK).
    let mut bench = bench(true, HEADER);
    while bench.tx.available_index() < BUFFERS as u16 {
        assert!(bench.transmit(b"frame"));
        bench.card.flush();
    }
    bench.rx.deliver(b"request", HEADER);
    assert!(bench.receive().is_none() && !bench.transmit(b"more"));
    assert_eq!(bench.card.counters().tx_full, 2);
    assert!(bench.card.prepare_sleep(), "nothing can be done until the device has sent something");
    assert_eq!(bench.tx.used_event(), 0, "and the first completion wakes us");
    assert!(bench.tx.send(HEADER).is_some());
    assert!(!bench.card.prepare_sleep(), "now it can");
    assert_eq!(bench.receive().as_deref(), Some(&b"request"[..]));
    assert_ne!(bench.tx.used_event(), 1, "completions are silent again");
}

#[test]
fn sleep_is_refused_while_a_frame_waits() {
    // The frame that came between the last look and `hlt` makes no interrupt any more.
    for event_index in [false, true] {
        let mut bench = bench(event_index, HEADER);
        assert!(bench.card.prepare_sleep());
        bench.rx.deliver(b"frame", HEADER);
        assert!(!bench.card.prepare_sleep());
        assert!(bench.receive().is_some());
        bench.wires.borrow_mut().interrupts = 1;
        assert!(bench.card.prepare_sleep());
        assert_eq!(bench.wires.borrow().interrupts, 0, "an unacknowledged line makes no further edge");
        assert_eq!(bench.rx.available_flags(), 0);
        assert!(bench.rx.deliver(b"frame", HEADER) || !event_index, "the next frame interrupts");
    }
}

#[test]
fn spurious_interrupts_change_nothing() {
    // Interrupts without a frame come at any time, as one per 2^16 does by design.
    let mut bench = bench(true, HEADER);
    for _ in 0..ROUNDS.min(1000) {
        bench.wires.borrow_mut().interrupts = 1;
        assert!(bench.receive().is_none());
        assert_eq!(bench.card.link(), Link::Up);
        assert!(bench.card.prepare_sleep());
    }
    assert_eq!(bench.card.counters().device_errors, 0);
}

#[test]
fn frames_without_room_for_a_header_are_counted_and_skipped() {
    // Lengths of 0 to the header's would underflow the frame.
    let mut bench = bench(true, HEADER);
    for len in [0, 1, HEADER as u32, BUFFER as u32 + 1, u32::MAX] {
        let (id, ..) = bench.rx.next().expect("a buffer");
        bench.rx.finish(id.into(), len);
    }
    bench.rx.deliver(b"good", HEADER);
    assert_eq!(bench.receive().as_deref(), Some(&b"good"[..]));
    assert_eq!(bench.card.counters().device_errors, 5);
    // Buffers go back a few at a time.
    for _ in 6..16 {
        bench.rx.deliver(b"good", HEADER);
        assert!(bench.receive().is_some());
    }
    bench.card.flush();
    assert_eq!(bench.rx.available_index() as usize, BUFFERS + 16, "no buffer is lost");
    assert_eq!(bench.card.link(), Link::Up);
}

#[test]
fn a_frame_that_nobody_consumes_gives_its_buffer_back() {
    // A dropped token must not cost a buffer.
    let mut bench = bench(true, HEADER);
    for _ in 0..3 * BUFFERS {
        bench.rx.deliver(b"frame", HEADER);
        drop(bench.card.receive(NOW).expect("a frame"));
        bench.card.flush();
    }
}

#[test]
fn the_link_follows_the_device_and_a_broken_queue_is_down() {
    // The agent says "link down" on serial only when it hears of it.
    let mut bench = bench(true, HEADER);
    assert_eq!(bench.card.link(), Link::Up);
    bench.wires.borrow_mut().down = true;
    assert_eq!(bench.card.link(), Link::Up, "no change was announced");
    bench.wires.borrow_mut().changed = true;
    assert!(!bench.card.prepare_sleep(), "the agent has to hear of it first");
    assert_eq!(bench.card.link(), Link::Down);
    bench.wires.borrow_mut().changed = true;
    assert!(bench.card.prepare_sleep(), "it is still the same");
    bench.wires.borrow_mut().down = false;
    bench.wires.borrow_mut().changed = true;
    assert!(!bench.card.prepare_sleep());
    assert_eq!(bench.card.link(), Link::Up);
    bench.rx.finish(0xdead, 1);
    assert!(bench.receive().is_none());
    assert_eq!((bench.card.link(), bench.card.counters().device_errors), (Link::Down, 1));
}
