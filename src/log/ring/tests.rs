//! The ring against an independent account of what was given to it: whatever happens, each seq is met once, as the
//! very bytes that were emitted or as lost, never as both.

use super::*;
use std::collections::{BTreeMap, HashMap};
use std::vec::Vec;

fn region(segments: usize) -> Vec<u8> {
    vec![0; 2 * HEADER + segments * (META + LOG_SEGMENT)]
}

/// A small generator (SplitMix64): the seed alone reproduces a run.
pub(super) struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Gives the ring a record with this body.
fn put(ring: &mut Ring<'_>, lane: Lane, body: &[u8]) -> u64 {
    ring.append(lane, |seq, out| {
        let at = postcard_u64(seq, out)?;
        out.get_mut(at..at + body.len())?.copy_from_slice(body);
        Some(at + body.len())
    })
}

fn postcard_u64(mut value: u64, out: &mut [u8]) -> Option<usize> {
    let mut at = 0;
    while value >= 0x80 {
        *out.get_mut(at)? = value as u8 | 0x80;
        (value, at) = (value >> 7, at + 1);
    }
    *out.get_mut(at)? = value as u8;
    Some(at + 1)
}

fn body(random: &mut Random) -> Vec<u8> {
    (0..random.below(60) + 4).map(|_| random.next() as u8).collect()
}

/// First and last seq lost, and why.
type Gap = (u64, u64, LossReason);

/// Everything that a fresh reader meets in a boot.
fn walk(ring: &Ring<'_>, boot: Boot) -> (BTreeMap<u64, Vec<u8>>, Vec<Gap>) {
    let (mut records, mut lost, mut expected) = (BTreeMap::new(), Vec::new(), 1);
    let mut reader = Reader::new(boot.id, 1);
    loop {
        match reader.peek(ring) {
            Step::Record(seq, body) => {
                assert_eq!(seq, expected, "a record was passed over or came twice");
                records.insert(seq, body.to_vec());
                expected = seq + 1;
                reader.pass(seq);
            }
            Step::Lost(from, to, reason) => {
                assert_eq!(from, expected, "a range begins too early or too late");
                assert!(from <= to);
                lost.push((from, to, reason));
                expected = to + 1;
                reader.pass(to);
            }
            Step::End => break,
        }
    }
    assert_eq!(expected, boot.next, "the walk ends before or after what was emitted");
    let taken = (0..ring.segments()).filter(|&segment| ring.meta(segment).kind != FREE).count();
    assert_eq!(ring.taken, taken, "a warning of a ring that fills would come too early or never");
    (records, lost)
}

/// What was emitted, recorded outside of the ring.
type Emitted = HashMap<(u64, u64), Vec<u8>>;

/// Compares the ring with what was emitted.
fn check(ring: &Ring<'_>, emitted: &Emitted) {
    for &boot in ring.boots() {
        let (records, lost) = walk(ring, boot);
        for (seq, bytes) in &records {
            assert_eq!(emitted.get(&(boot.id, *seq)), Some(bytes), "boot {} seq {seq}", boot.id);
        }
        let held = records.keys().filter(|seq| **seq > boot.acked).count() as u64;
        assert_eq!(held, boot.held);
        let gaps: u64 = lost.iter().filter(|gap| gap.0 > boot.acked).map(|gap| gap.1 - gap.0 + 1).sum();
        assert_eq!(boot.next - 1, boot.acked + gaps + held, "emitted = delivered + lost + buffered");
        for (from, to, reason) in lost {
            assert_eq!(reason == LossReason::CollectorRolledBack, to <= boot.acked, "{from} to {to}");
        }
    }
}

#[test]
fn a_random_life_keeps_every_promise() {
    // Appends, acks, overflows of both lanes and resets in any order: what is read is what was emitted, and what a
    // long-lived reader was told is never taken back.
    for seed in 0..40 {
        let random = &mut Random(seed);
        let mut memory = region(8 + random.below(12) as usize);
        let (mut emitted, mut boot_id) = (Emitted::new(), 0);
        for _ in 0..4 {
            boot_id += 1;
            let before = emitted.keys().filter(|(boot, _)| *boot == boot_id).count();
            assert_eq!(before, 0);
            let mut ring = Ring::new(&mut memory, boot_id);
            check(&ring, &emitted);
            let mut reader = Reader::new(boot_id, 1);
            let mut told_lost = Vec::new();
            let vital_share = [0, 1, 10, 50, 100][random.below(5) as usize];
            for _ in 0..random.below(4000) {
                match random.below(100) {
                    0 => {
                        let boot = ring.boots()[random.below(ring.boots().len() as u64) as usize];
                        let seq = boot.acked + random.below(boot.next - boot.acked + 2);
                        let believed = ring.acknowledge(boot.id, seq);
                        assert_eq!(believed, boot.acked < seq && seq < boot.next);
                    }
                    1 if random.below(5) == 0 => check(&ring, &emitted),
                    1..30 => match reader.peek(&ring) {
                        Step::Record(seq, body) => {
                            assert_eq!(emitted.get(&(boot_id, seq)).map(|bytes| &bytes[..]), Some(body));
                            assert_eq!(seq, reader.next_seq());
                            reader.pass(seq);
                        }
                        Step::Lost(from, to, _) => {
                            assert_eq!(from, reader.next_seq());
                            told_lost.push((from, to));
                            reader.pass(to);
                        }
                        Step::End => assert_eq!(reader.next_seq(), ring.current().next),
                    },
                    _ => {
                        let lane = if random.below(100) < vital_share { Lane::Vital } else { Lane::Bulk };
                        let body = body(random);
                        let seq = put(&mut ring, lane, &body);
                        assert!(emitted.insert((boot_id, seq), body).is_none(), "a seq was given twice");
                    }
                }
            }
            check(&ring, &emitted);
            let (records, _) = walk(&ring, ring.current());
            for (from, to) in told_lost {
                assert!(records.range(from..=to).next().is_none(), "told lost, and yet there");
            }
        }
    }
}

#[test]
fn overflow_takes_the_middle_and_leaves_the_cause_and_the_present() {
    // Dropping the oldest loses how the trouble began, dropping the newest loses what is.
    let mut memory = region(32);
    let mut ring = Ring::new(&mut memory, 7);
    let first_vital = put(&mut ring, Lane::Vital, b"the cause");
    for i in 0..100_000u32 {
        put(&mut ring, Lane::Bulk, &i.to_le_bytes());
    }
    let (records, lost) = walk(&ring, ring.current());
    assert!(records.contains_key(&first_vital));
    let [(from, to, LossReason::Overflow)] = lost[..] else { panic!("one range is enough: {lost:?}") };
    let per_segment = 4096 / 11;
    assert!(from > 5 * per_segment, "the first quarter stays: lost from {from}");
    assert!(to < 100_001 - 15 * per_segment, "the present stays: lost to {to}");
    assert!(records.contains_key(&100_001));
}

#[test]
fn a_storm_of_vital_records_leaves_the_bulk_lane_its_room() {
    // A flapping link must not cost what happened before it.
    let mut memory = region(32);
    let mut ring = Ring::new(&mut memory, 7);
    for _ in 0..1000 {
        put(&mut ring, Lane::Bulk, b"what happened before");
    }
    for _ in 0..100_000 {
        put(&mut ring, Lane::Vital, b"network.down");
    }
    let (records, _) = walk(&ring, ring.current());
    assert!((1..=1000).all(|seq| records.contains_key(&seq)));
    assert!(records.contains_key(&101_000));
}

#[test]
fn everything_is_freed_when_it_is_acknowledged() {
    // A ring that frees less than it is allowed to overflows one day without need.
    let mut memory = region(8);
    let mut ring = Ring::new(&mut memory, 7);
    for _ in 0..200 {
        for _ in 0..100 {
            put(&mut ring, Lane::Bulk, b"0123456789");
            put(&mut ring, Lane::Vital, b"0123456789");
        }
        assert_eq!(ring.current().held, 200);
        assert!(ring.acknowledge(7, ring.current().next - 1));
        assert_eq!(ring.current().held, 0);
    }
}

/// A region as the reset at some instruction would leave it: some of the bytes that change have changed.
fn torn(before: &[u8], after: &[u8], changed: &[usize], done: usize) -> Vec<u8> {
    let mut mix = before.to_vec();
    for &at in &changed[..done] {
        mix[at] = after[at];
    }
    mix
}

#[test]
fn a_reset_at_any_byte_of_a_write_costs_at_most_that_record() {
    // A torn write must neither be believed nor take its neighbours with it. The order of stores is not ours, so
    // every prefix of three orders is tried: upwards, downwards and shuffled.
    let random = &mut Random(1);
    let mut memory = region(8);
    let mut emitted = Emitted::new();
    let mut ring = Ring::new(&mut memory, 5);
    for round in 0..30 {
        let lane = if random.below(4) == 0 { Lane::Vital } else { Lane::Bulk };
        let (before, body) = (snapshot(&ring), body(random));
        let seq = put(&mut ring, lane, &body);
        let after = snapshot(&ring);
        emitted.insert((5, seq), body);
        if round == 10 {
            assert!(ring.acknowledge(5, 3));
        }
        let mut changed: Vec<usize> = (0..before.len()).filter(|&at| before[at] != after[at]).collect();
        for order in 0..3 {
            match order {
                0 => {}
                1 => changed.reverse(),
                _ => shuffle(&mut changed, random),
            }
            for done in 0..=changed.len() {
                let mut mix = torn(&before, &after, &changed, done);
                let next = Ring::new(&mut mix, 6);
                check(&next, &emitted);
                let Some(&boot) = next.boots().get(1) else {
                    assert_eq!(seq, 1, "all is gone");
                    continue;
                };
                let (records, lost) = walk(&next, boot);
                assert!((boot.acked + 1..seq).all(|seq| records.contains_key(&seq)), "{done} of {}", changed.len());
                assert!(lost.iter().all(|(from, to, _)| *to <= 3 || (*from..=*to).eq(seq..=seq)), "{lost:?}");
                assert!(done < changed.len() || records.contains_key(&seq));
            }
        }
    }
}

fn shuffle(places: &mut [usize], random: &mut Random) {
    (1..places.len()).for_each(|i| places.swap(i, random.below(i as u64 + 1) as usize));
}

#[test]
fn a_reset_in_the_middle_of_an_ack_costs_nothing_that_was_not_acknowledged() {
    // Each ack rewrites a header; a header that is half old and half new must not take the ring with it.
    let random = &mut Random(4);
    let mut memory = region(8);
    let mut emitted = Emitted::new();
    let mut ring = Ring::new(&mut memory, 5);
    for _ in 0..20 {
        for _ in 0..60 {
            let body = body(random);
            emitted.insert((5, put(&mut ring, Lane::Bulk, &body)), body);
        }
        let (before, acked) = (snapshot(&ring), ring.current().acked + 40);
        assert!(ring.acknowledge(5, acked));
        let after = snapshot(&ring);
        let mut changed: Vec<usize> = (0..before.len()).filter(|&at| before[at] != after[at]).collect();
        shuffle(&mut changed, random);
        for done in (0..=changed.len()).step_by(3) {
            let mut mix = torn(&before, &after, &changed, done);
            let next = Ring::new(&mut mix, 6);
            let boot = next.boots()[1];
            let (records, _) = walk(&next, boot);
            assert!((acked + 1..ring.current().next).all(|seq| records.contains_key(&seq)), "{done}");
            assert!(boot.acked == acked || boot.acked == acked - 40);
        }
    }
}

/// The region as it is while a ring uses it.
fn snapshot(ring: &Ring<'_>) -> Vec<u8> {
    [&*ring.headers, &*ring.index, &*ring.data].concat()
}

#[test]
fn a_reset_in_the_middle_of_an_eviction_is_survived() {
    // Evicting, clearing and opening a segment changes thousands of bytes: at any of them, what is read afterwards
    // must have been emitted.
    let random = &mut Random(2);
    let mut memory = region(8);
    let mut ring = Ring::new(&mut memory, 5);
    let mut emitted = Emitted::new();
    let mut evictions = 0;
    for _ in 0..3000 {
        let before = snapshot(&ring);
        let body = body(random);
        let seq = put(&mut ring, Lane::Bulk, &body);
        emitted.insert((5, seq), body);
        let after = snapshot(&ring);
        let mut changed: Vec<usize> = (0..before.len()).filter(|&at| before[at] != after[at]).collect();
        if changed.len() < 1000 {
            continue;
        }
        evictions += 1;
        shuffle(&mut changed, random);
        for _ in 0..8 {
            let mut mix = torn(&before, &after, &changed, random.below(changed.len() as u64) as usize);
            let next = Ring::new(&mut mix, 6);
            check(&next, &emitted);
            assert!(walk(&next, next.boots()[1]).0.contains_key(&(seq - 1)), "the present is gone");
        }
    }
    assert!(evictions > 10);
}

#[test]
fn a_damaged_record_is_told_as_torn_and_costs_no_other() {
    // A flipped bit in memory that survived a reset: exactly that record is lost, and the loss is declared.
    let mut memory = region(8);
    let mut ring = Ring::new(&mut memory, 5);
    for i in 0..10u8 {
        put(&mut ring, Lane::Bulk, &[i; 20]);
    }
    drop(ring);
    let place = memory.windows(20).position(|window| window == [4; 20]).unwrap();
    let last = memory.windows(20).position(|window| window == [9; 20]).unwrap();
    memory[place] ^= 1;
    memory[last] ^= 1;
    let ring = Ring::new(&mut memory, 6);
    let (records, lost) = walk(&ring, ring.boots()[1]);
    assert!(records.keys().copied().eq([1, 2, 3, 4, 6, 7, 8, 9]));
    assert_eq!(lost, [(5, 5, LossReason::Torn), (10, 10, LossReason::Torn)]);
    assert_eq!(ring.salvage(), Salvage { records: 8, torn: 1, boots_dropped: 0 });
}

#[test]
fn nothing_in_the_region_is_believed_without_proof() {
    // The region is whatever memory held: noise, another layout, a flipped bit anywhere. It must never panic, and a
    // record that comes out must have gone in.
    let random = &mut Random(3);
    for _ in 0..50 {
        let mut memory = region(8);
        memory.iter_mut().for_each(|byte| *byte = random.next() as u8);
        let ring = Ring::new(&mut memory, 6);
        assert_eq!((ring.boots().len(), ring.current().next), (1, 1));
    }
    let mut memory = region(8);
    let mut ring = Ring::new(&mut memory, 5);
    let mut emitted = Emitted::new();
    for _ in 0..500 {
        let body = body(random);
        emitted.insert((5, put(&mut ring, Lane::Bulk, &body)), body);
    }
    drop(ring);
    for _ in 0..500 {
        let mut damaged = memory.clone();
        for _ in 0..random.below(40) {
            let (at, bit) = (random.below(damaged.len() as u64) as usize, random.below(8));
            damaged[at] ^= 1 << bit;
        }
        // Headers and index are small: hit them as often as the rest.
        for _ in 0..random.below(3) {
            damaged[random.below(2 * HEADER as u64 + 8 * META as u64) as usize] = random.next() as u8;
        }
        let mut ring = Ring::new(&mut damaged, 6);
        for &boot in &ring.boots()[1..] {
            for (seq, bytes) in walk(&ring, boot).0 {
                assert_eq!(emitted.get(&(boot.id, seq)), Some(&bytes));
            }
        }
        put(&mut ring, Lane::Vital, b"goes on");
    }
    let mut other = memory.clone();
    other[8] += 1;
    other[HEADER + 8] += 1;
    assert_eq!(Ring::new(&mut other, 6).boots().len(), 1, "another layout");
}

#[test]
fn boots_keep_their_records_apart_until_each_is_delivered() {
    // A crash loop without a network: the first boot's records, where it began, must still be there at the end.
    let mut memory = region(64);
    for boot_id in 1..=12 {
        let mut ring = Ring::new(&mut memory, boot_id);
        put(&mut ring, Lane::Vital, &[boot_id as u8; 30]);
    }
    let mut ring = Ring::new(&mut memory, 13);
    let ids: Vec<u64> = ring.boots().iter().map(|boot| boot.id).collect();
    assert_eq!(ids, [13, 12, 11, 10, 9, 3, 2, 1]);
    for boot_id in [1, 2, 3, 9, 10, 11, 12] {
        let boot = *ring.boots().last().unwrap();
        let place = *ring.boots().iter().find(|boot| boot.id == boot_id).unwrap();
        assert_eq!(walk(&ring, place).0[&1], [boot_id as u8; 30]);
        assert_eq!(boot.id, boot_id);
        assert!(ring.acknowledge(boot_id, 1));
    }
    assert_eq!(ring.boots().len(), 1);
    assert_eq!(ring.size_and_used().1, 0, "what is delivered is freed");
    // The same boot id again goes on after its last seq.
    put(&mut ring, Lane::Bulk, b"one");
    drop(ring);
    assert_eq!(put(&mut Ring::new(&mut memory, 13), Lane::Bulk, b"two"), 2);
}
