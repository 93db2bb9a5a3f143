//! The ring: records in a region of memory that survives resets.
//!
//! ```text
//! region  = header A · header B · index (one entry per segment) · segments of 4 KiB
//! segment = record entries of one boot and one lane, in order of seq, then zeros
//! entry   = len u8 · record (seq · body) · crc32 of the record, salted with the boot id
//! ```
//!
//! Every segment belongs to one lane of one boot, or is free. Two segments are open at a time: the vital and the
//! bulk one of the current boot. When none is free one is evicted, bulk before vital, and from the *middle*: the
//! first quarter of what the collector does not have stays (how the trouble began) and so does the present.
//! Records of earlier boots stay where they are and take part in the same rule, so that boots need no fixed shares.
//!
//! There is no table of losses: a seq that was given and that no segment holds *is* lost. So ranges are exact by
//! construction, need no bound, and cannot disagree with what is held. A [`Reader`] walks one boot in the order of
//! seq and meets each seq once, in a record or in a gap.
//!
//! What survives a reset at any instruction: an entry is written before its length, the length before the index
//! says so, and each part has its own CRC; what fails a CRC is not believed. Headers are written in turn.

use crate::limits::{LOG_BOOTS, LOG_SEGMENT, LOG_SEGMENTS_MIN};
use heapless::Vec;
use outpost_wire::limits::RECORD_MAX;
use outpost_wire::session::{CRC, LossReason};
use outpost_wire::{Lane, Record};

const MAGIC: [u8; 8] = *b"OUTPRING";
const LAYOUT: u32 = 1;
const HEADER: usize = 256;
const META: usize = 40;
/// What an entry costs beside its record: length and CRC.
const ENTRY_OVERHEAD: usize = 1 + 4;

const _: () = assert!(24 + LOG_BOOTS * 24 + 8 <= HEADER);
const _: () = assert!(LOG_SEGMENT >= RECORD_MAX + ENTRY_OVERHEAD && LOG_SEGMENT <= u16::MAX as usize);

/// One boot with records in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Its random id.
    pub id: u64,
    /// All up to and including this seq are durable elsewhere.
    pub acked: u64,
    /// The seq after the last one given.
    pub next: u64,
    /// Records in the ring that are not acknowledged.
    pub held: u64,
}

/// What the last boots left in the region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Salvage {
    /// Valid records that were not acknowledged yet.
    pub records: u64,
    /// Entries that were found damaged, the one being written at the reset included.
    pub torn: u32,
    /// Earlier boots given up because [`LOG_BOOTS`] others were waiting.
    pub boots_dropped: u32,
}

/// The ring of the current boot and what is left of earlier ones.
pub struct Ring<'a> {
    headers: &'a mut [u8],
    index: &'a mut [u8],
    data: &'a mut [u8],
    generation: u64,
    /// The current boot, then earlier ones from the newest to the oldest.
    boots: Vec<Boot, LOG_BOOTS>,
    /// Segments that are not free: whether the ring fills is asked often, and its index is long.
    taken: usize,
    open: [Option<u16>; 2],
    /// How many segments were opened in each lane: a reader that found nothing waits for the next one.
    opened: [u32; 2],
    salvage: Salvage,
    previous: Option<Boot>,
}

/// One entry of the index.
#[derive(Clone, Copy)]
struct Meta {
    boot: u64,
    first: u64,
    last: u64,
    used: u16,
    kind: u8,
    /// Records between `first` and `last` were found damaged.
    damaged: bool,
}

/// The kind of a segment that is free: its index entry is all zeros.
const FREE: u8 = 0;

fn kind(lane: Lane) -> u8 {
    match lane {
        Lane::Vital => 1,
        Lane::Bulk => 2,
    }
}

/// The slot of a lane in arrays of two.
fn slot(lane: Lane) -> usize {
    usize::from(kind(lane) - 1)
}

fn salt(boot: u64) -> u32 {
    (boot ^ (boot >> 32)) as u32
}

fn checksum(salt: u32, bytes: &[u8]) -> u32 {
    let mut digest = CRC.digest_with_initial(salt);
    digest.update(bytes);
    digest.finalize()
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

impl Meta {
    /// Guards `last` and `used`, which change with every record, more cheaply than a CRC.
    fn tail_check(&self) -> u32 {
        salt(self.boot ^ self.last.rotate_left(17)) ^ (u32::from(self.used) << 8) ^ 0x5eed_0000
    }

    fn write(&self, out: &mut [u8]) {
        out[..8].copy_from_slice(&self.boot.to_le_bytes());
        out[8..16].copy_from_slice(&self.first.to_le_bytes());
        out[16..20].copy_from_slice(&[self.kind, u8::from(self.damaged), 0, 0]);
        let crc = checksum(LAYOUT, &out[..20]);
        out[20..24].copy_from_slice(&crc.to_le_bytes());
        self.write_tail(out);
    }

    fn write_tail(&self, out: &mut [u8]) {
        out[24..32].copy_from_slice(&self.last.to_le_bytes());
        out[32..36].copy_from_slice(&u32::from(self.used).to_le_bytes());
        out[36..40].copy_from_slice(&self.tail_check().to_le_bytes());
    }

    /// Reads an entry that this boot wrote or checked.
    fn read(bytes: &[u8]) -> Meta {
        Meta {
            boot: u64_at(bytes, 0),
            first: u64_at(bytes, 8),
            last: u64_at(bytes, 24),
            used: u32_at(bytes, 32) as u16,
            kind: bytes[16],
            damaged: bytes[17] != 0,
        }
    }

    /// Reads an entry that an earlier boot left; `None` when it is free or cannot be believed. `last` is 0 when it
    /// alone cannot.
    fn salvage(bytes: &[u8]) -> Option<Meta> {
        let mut meta = Meta::read(bytes);
        let valid = checksum(LAYOUT, &bytes[..20]) == u32_at(bytes, 20);
        if !valid || meta.kind == FREE || meta.kind > 2 || meta.first == 0 {
            return None;
        }
        if meta.tail_check() != u32_at(bytes, 36) || meta.last < meta.first || meta.last == u64::MAX {
            meta.last = 0;
        }
        Some(meta)
    }
}

impl<'a> Ring<'a> {
    /// Takes over the region as the last boot left it, for the boot with this id.
    ///
    /// # Panics
    /// When the region is smaller than [`LOG_SEGMENTS_MIN`] segments: it is a constant of whoever calls.
    pub fn new(region: &'a mut [u8], boot_id: u64) -> Ring<'a> {
        let count = (region.len().saturating_sub(2 * HEADER) / (LOG_SEGMENT + META)).min(usize::from(u16::MAX));
        assert!(count >= LOG_SEGMENTS_MIN, "the log region is too small for a ring");
        let (headers, rest) = region.split_at_mut(2 * HEADER);
        let (index, data) = rest.split_at_mut(count * META);
        let current = Boot { id: boot_id, acked: 0, next: 1, held: 0 };
        let mut ring = Ring {
            headers,
            index,
            data,
            generation: 0,
            boots: Vec::from_array([current]),
            // `take_over` gives back those that hold nothing.
            taken: count,
            open: [None; 2],
            opened: [0; 2],
            salvage: Salvage::default(),
            previous: None,
        };
        ring.take_over();
        ring.write_header();
        ring
    }

    /// The parts of the region, in their order.
    #[cfg(feature = "seeded-bugs")]
    pub fn parts(&self) -> [&[u8]; 3] {
        [self.headers, self.index, self.data]
    }

    /// The boots that have something to tell: the current one, then earlier ones from the newest to the oldest.
    pub fn boots(&self) -> &[Boot] {
        &self.boots
    }

    /// The current boot.
    pub fn current(&self) -> Boot {
        self.boots[0]
    }

    /// What was found in the region at boot.
    pub fn salvage(&self) -> Salvage {
        self.salvage
    }

    /// The boot that wrote here last, as it was found, also when nothing of it is left to send.
    pub fn previous(&self) -> Option<Boot> {
        self.previous
    }

    /// Gives an earlier boot one more record, its last: the body that it left beside the ring. One that the ring has
    /// already is not taken twice.
    pub fn adopt(&mut self, boot_id: u64, body: &[u8]) -> Option<()> {
        let encode = |seq, out: &mut [u8]| Record::decode_body(seq, body).ok()?.encode(out);
        if boot_id == self.boots[0].id {
            self.append(Lane::Vital, encode);
            return Some(());
        }
        let place = match self.boots.iter().position(|boot| boot.id == boot_id) {
            Some(place) => place,
            None => {
                if self.boots.is_full() {
                    let dropped = self.boots.remove(1 + LOG_BOOTS / 2);
                    self.drop_boot(dropped.id);
                }
                let unknown = Boot { id: boot_id, acked: 0, next: 1, held: 0 };
                self.boots.insert(1, self.previous.filter(|boot| boot.id == boot_id).unwrap_or(unknown)).ok()?;
                1
            }
        };
        let seq = self.boots[place].next;
        if Reader::new(boot_id, seq - 1).peek(self) == Step::Record(seq - 1, body) {
            return Some(());
        }
        let segment = self.begin_segment(boot_id, Lane::Vital, seq);
        let written = self.write_entry(segment, seq, &encode);
        self.boots[place].next += 1;
        self.boots[place].held += u64::from(written.is_some());
        self.write_header();
        written
    }

    /// Bytes of all segments, and of those that are not free.
    pub fn size_and_used(&self) -> (u32, u32) {
        ((self.segments() * LOG_SEGMENT) as u32, (self.taken * LOG_SEGMENT) as u32)
    }

    /// Gives the next seq to the record that `encode` writes (at most [`RECORD_MAX`] bytes) and keeps it. A record
    /// that does not fit even an empty segment is lost, and being a gap it is told as such.
    pub fn append(&mut self, lane: Lane, encode: impl Fn(u64, &mut [u8]) -> Option<usize>) -> u64 {
        let seq = self.boots[0].next;
        let written = self.write_entry(self.open[slot(lane)], seq, &encode).or_else(|| {
            self.open_segment(lane, seq);
            self.write_entry(self.open[slot(lane)], seq, &encode)
        });
        self.boots[0].next += 1;
        self.boots[0].held += u64::from(written.is_some());
        seq
    }

    /// Everything of this boot up to and including `seq` is durable elsewhere: frees it. Returns whether that
    /// was news; a seq that was never given is not believed.
    pub fn acknowledge(&mut self, boot_id: u64, seq: u64) -> bool {
        let Some(place) = self.boots.iter().position(|boot| boot.id == boot_id) else { return false };
        let boot = self.boots[place];
        if seq <= boot.acked || seq >= boot.next {
            return false;
        }
        let mut freed = 0;
        for segment in 0..self.segments() {
            let meta = self.meta(segment);
            if meta.kind == FREE || meta.boot != boot_id || meta.first > seq {
                continue;
            }
            freed += self.count(segment, boot.acked, seq);
            if meta.last <= seq && !self.is_open(segment) {
                self.release(segment);
            }
        }
        self.boots[place].held -= freed;
        self.boots[place].acked = seq;
        if place > 0 && seq + 1 == boot.next {
            self.boots.remove(place);
        }
        self.write_header();
        true
    }

    /// The oldest seq of this boot that is in the ring; the next one when there is none.
    pub fn oldest(&self, boot: Boot) -> u64 {
        (0..self.segments())
            .filter(|&segment| self.meta(segment).kind != FREE && self.meta(segment).boot == boot.id)
            .filter_map(|segment| self.entry(segment, 0))
            .map(|(seq, ..)| seq)
            .min()
            .unwrap_or(boot.next)
    }

    /// Why a gap that begins at `seq` is there.
    pub fn reason(&self, boot: Boot, seq: u64) -> LossReason {
        if seq <= boot.acked {
            return LossReason::CollectorRolledBack;
        }
        let torn = boot.id != self.boots[0].id
            && (0..self.segments()).map(|segment| self.meta(segment)).any(|meta| {
                meta.kind != FREE && meta.boot == boot.id && meta.damaged && meta.first <= seq && seq <= meta.last
            });
        if torn { LossReason::Torn } else { LossReason::Overflow }
    }

    fn write_entry(
        &mut self,
        segment: Option<u16>,
        seq: u64,
        encode: &impl Fn(u64, &mut [u8]) -> Option<usize>,
    ) -> Option<()> {
        let segment = usize::from(segment?);
        let meta_bytes = self.index.get_mut(segment * META..)?.get_mut(..META)?;
        let mut meta = Meta::read(meta_bytes);
        let room = self.data.get_mut(segment * LOG_SEGMENT..)?.get_mut(usize::from(meta.used)..LOG_SEGMENT)?;
        let (len_byte, rest) = room.split_first_mut()?;
        let most = rest.len().checked_sub(4)?.min(RECORD_MAX);
        let len = encode(seq, &mut rest[..most])?;
        let crc = checksum(salt(meta.boot), rest.get(..len)?);
        rest.get_mut(len..len + 4)?.copy_from_slice(&crc.to_le_bytes());
        *len_byte = len as u8;
        meta.used += (len + ENTRY_OVERHEAD) as u16;
        meta.last = seq;
        meta.write_tail(meta_bytes);
        Some(())
    }

    fn open_segment(&mut self, lane: Lane, seq: u64) {
        if let Some(full) = self.open[slot(lane)].take()
            && self.meta(full.into()).last <= self.boots[0].acked
        {
            self.release(full.into());
        }
        self.open[slot(lane)] = self.begin_segment(self.boots[0].id, lane, seq);
    }

    /// An empty segment whose first record is to be this one.
    fn begin_segment(&mut self, boot: u64, lane: Lane, seq: u64) -> Option<u16> {
        let segment = self.take_segment()?;
        self.taken += 1;
        self.bytes_mut(segment).fill(0);
        self.set_meta(segment, Meta { boot, first: seq, last: seq, used: 0, kind: kind(lane), damaged: false });
        self.opened[slot(lane)] = self.opened[slot(lane)].wrapping_add(1);
        Some(segment as u16)
    }

    /// A free segment, made free by eviction where there is none: bulk gives way first, but a vital lane that has
    /// more than an eighth of all goes before it, so that a storm of vital records cannot take everything.
    fn take_segment(&mut self) -> Option<usize> {
        if let Some(free) = (0..self.segments()).find(|&segment| self.meta(segment).kind == FREE) {
            return Some(free);
        }
        let vital = (0..self.segments()).filter(|&segment| self.meta(segment).kind == kind(Lane::Vital)).count();
        let vital_first = vital > (self.segments() / 8).max(2);
        let choices = if vital_first { [Lane::Vital, Lane::Bulk] } else { [Lane::Bulk, Lane::Vital] };
        let victim = choices.into_iter().find_map(|choice| self.victim(choice))?;
        self.evict(victim);
        Some(victim)
    }

    /// The segment of this lane to give up: of the boot that has most of them, the first after its oldest quarter
    /// (by seq). As the boot goes on that is always the one after the gap, so one gap grows and no second begins.
    fn victim(&self, lane: Lane) -> Option<usize> {
        let candidates = |boot: u64| {
            (0..self.segments()).filter_map(move |segment| {
                let meta = self.meta(segment);
                (meta.kind == kind(lane) && meta.boot == boot && !self.is_open(segment)).then_some((segment, meta))
            })
        };
        let boot = match &self.boots[..] {
            [current] => current,
            boots => boots.iter().rev().max_by_key(|boot| candidates(boot.id).count())?,
        };
        let (oldest, newest) = candidates(boot.id)
            .map(|(_, meta)| (meta.first, meta.last))
            .reduce(|(oldest, newest), (first, last)| (oldest.min(first), newest.max(last)))?;
        let mark = oldest + (newest - oldest) / 4;
        let after = candidates(boot.id).filter(|(_, meta)| meta.first > mark).min_by_key(|(_, meta)| meta.first);
        after.or_else(|| candidates(boot.id).max_by_key(|(_, meta)| meta.first)).map(|(segment, _)| segment)
    }

    fn evict(&mut self, segment: usize) {
        let id = self.meta(segment).boot;
        if let Some(place) = self.boots.iter().position(|boot| boot.id == id) {
            self.boots[place].held -= self.count(segment, self.boots[place].acked, u64::MAX);
        }
        self.release(segment);
    }

    /// Frees a segment that is taken.
    fn release(&mut self, segment: usize) {
        self.taken -= 1;
        self.index[segment * META..][..META].fill(0);
    }

    /// How many records of this segment have `after < seq <= to`.
    fn count(&self, segment: usize, after: u64, to: u64) -> u64 {
        let (mut at, mut count) = (0, 0);
        while let Some((seq, _, next)) = self.entry(segment, at) {
            count += u64::from(after < seq && seq <= to);
            at = next;
        }
        count
    }

    /// The entry at this offset: its seq, its body and the offset after it.
    fn entry(&self, segment: usize, at: usize) -> Option<(u64, &[u8], usize)> {
        let used = usize::from(self.meta(segment).used);
        let (&len, rest) = self.bytes(segment).get(at..used)?.split_first()?;
        let (seq, body) = Record::split_seq(rest.get(..usize::from(len))?).ok()?;
        Some((seq, body, at + usize::from(len) + ENTRY_OVERHEAD))
    }

    fn segments(&self) -> usize {
        self.index.len() / META
    }

    fn is_open(&self, segment: usize) -> bool {
        self.open.iter().any(|open| open.is_some_and(|open| usize::from(open) == segment))
    }

    fn meta(&self, segment: usize) -> Meta {
        Meta::read(&self.index[segment * META..][..META])
    }

    fn set_meta(&mut self, segment: usize, meta: Meta) {
        meta.write(&mut self.index[segment * META..][..META]);
    }

    fn bytes(&self, segment: usize) -> &[u8] {
        &self.data[segment * LOG_SEGMENT..][..LOG_SEGMENT]
    }

    fn bytes_mut(&mut self, segment: usize) -> &mut [u8] {
        &mut self.data[segment * LOG_SEGMENT..][..LOG_SEGMENT]
    }
}

/// What comes next in a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'r> {
    /// A record: its seq, and its body without it.
    Record(u64, &'r [u8]),
    /// All from the first to the last of these seqs are lost, for this reason.
    Lost(u64, u64, LossReason),
    /// There is nothing more yet.
    End,
}

/// Walks one boot in the order of seq, and meets each seq exactly once. It may be kept while the ring changes.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    boot_id: u64,
    next: u64,
    lanes: [Position; 2],
}

/// Where a reader is in one lane. It is checked before it is used: the segment may have been evicted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Position {
    /// To be found.
    Unknown,
    /// At this offset of a segment that began with this seq.
    At { segment: u16, first: u64, at: u16 },
    /// Nowhere, until one more segment than so many is opened in this lane.
    Nowhere { opened: u32 },
    /// This boot goes on no more, and neither does the lane.
    Done,
}

impl Reader {
    /// A reader of this boot whose next step is at `next`.
    pub fn new(boot_id: u64, next: u64) -> Reader {
        Reader { boot_id, next: next.max(1), lanes: [Position::Unknown; 2] }
    }

    /// The boot that is read.
    pub fn boot_id(&self) -> u64 {
        self.boot_id
    }

    /// The seq of the next step.
    pub fn next_seq(&self) -> u64 {
        self.next
    }

    /// Goes on after this seq.
    pub fn pass(&mut self, seq: u64) {
        self.next = seq.saturating_add(1);
    }

    /// The step at `next_seq`; it stays there until `pass` is called with the step's (last) seq.
    pub fn peek<'r>(&mut self, ring: &'r Ring<'_>) -> Step<'r> {
        let Some(&boot) = ring.boots.iter().find(|boot| boot.id == self.boot_id) else { return Step::End };
        if self.next >= boot.next {
            return Step::End;
        }
        let vital = self.peek_lane(ring, boot, Lane::Vital);
        let bulk = self.peek_lane(ring, boot, Lane::Bulk);
        let nearest = match (vital, bulk) {
            (Some(a), Some(b)) => Some(if a.0 < b.0 { a } else { b }),
            (a, b) => a.or(b),
        };
        match nearest {
            Some((seq, body)) if seq == self.next => Step::Record(seq, body),
            _ => {
                let mut last = nearest.map_or(boot.next, |(seq, _)| seq) - 1;
                if self.next <= boot.acked {
                    last = last.min(boot.acked);
                }
                Step::Lost(self.next, last, ring.reason(boot, self.next))
            }
        }
    }

    /// The first record of this lane at or after `next`.
    fn peek_lane<'r>(&mut self, ring: &'r Ring<'_>, boot: Boot, lane: Lane) -> Option<(u64, &'r [u8])> {
        if self.lanes[slot(lane)] == (Position::Nowhere { opened: ring.opened[slot(lane)] }) {
            return None;
        }
        // A lane that goes on in another segment is looked up once more; both lookups go forward.
        for _ in 0..2 {
            if let Position::At { segment, first, at } = self.lanes[slot(lane)] {
                let meta = ring.meta(segment.into());
                if meta.boot == boot.id && meta.first == first && meta.kind == kind(lane) {
                    let mut at = usize::from(at);
                    while let Some((seq, body, after)) = ring.entry(segment.into(), at) {
                        if seq >= self.next {
                            self.lanes[slot(lane)] = Position::At { segment, first, at: at as u16 };
                            return Some((seq, body));
                        }
                        at = after;
                    }
                    self.lanes[slot(lane)] = Position::At { segment, first, at: at as u16 };
                    if ring.open[slot(lane)] == Some(segment) {
                        return None;
                    }
                }
            }
            self.lanes[slot(lane)] = self.find(ring, boot, lane);
        }
        None
    }

    /// The segment of this lane where the first record at or after `next` is, or will be.
    fn find(&self, ring: &Ring<'_>, boot: Boot, lane: Lane) -> Position {
        if self.lanes[slot(lane)] == Position::Done {
            return Position::Done;
        }
        let current = boot.id == ring.boots[0].id;
        let open = ring.open[slot(lane)].filter(|_| current);
        let found = (0..ring.segments())
            .map(|segment| (segment as u16, ring.meta(segment)))
            .filter(|(_, meta)| meta.kind == kind(lane) && meta.boot == boot.id && meta.last >= self.next)
            .filter(|(segment, meta)| !meta.damaged || ring.count((*segment).into(), self.next - 1, u64::MAX) > 0)
            .min_by_key(|(_, meta)| meta.first)
            .or_else(|| open.map(|segment| (segment, ring.meta(segment.into()))));
        match found {
            Some((segment, meta)) => Position::At { segment, first: meta.first, at: 0 },
            None if current => Position::Nowhere { opened: ring.opened[slot(lane)] },
            None => Position::Done,
        }
    }
}

/// The header and what is taken over from earlier boots.
impl Ring<'_> {
    fn write_header(&mut self) {
        self.generation += 1;
        let count = self.segments() as u32;
        let half = if self.generation.is_multiple_of(2) { 0 } else { HEADER };
        let out = &mut self.headers[half..half + HEADER];
        out.fill(0);
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&LAYOUT.to_le_bytes());
        out[12..16].copy_from_slice(&count.to_le_bytes());
        out[16..24].copy_from_slice(&self.generation.to_le_bytes());
        out[24..28].copy_from_slice(&(self.boots.len() as u32).to_le_bytes());
        for (boot, place) in self.boots.iter().zip(out[28..].chunks_exact_mut(24)) {
            place[..8].copy_from_slice(&boot.id.to_le_bytes());
            place[8..16].copy_from_slice(&boot.acked.to_le_bytes());
            place[16..].copy_from_slice(&boot.next.to_le_bytes());
        }
        let crc = checksum(LAYOUT, &out[..HEADER - 4]);
        out[HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
    }

    /// The generation and boots of a header, when it can be believed.
    fn read_header(&self, header: &[u8]) -> Option<(u64, Vec<Boot, LOG_BOOTS>)> {
        let valid = header[..8] == MAGIC
            && u32_at(header, 8) == LAYOUT
            && u32_at(header, 12) as usize == self.segments()
            && checksum(LAYOUT, &header[..HEADER - 4]) == u32_at(header, HEADER - 4);
        if !valid {
            return None;
        }
        let mut boots = Vec::new();
        for place in header[28..].chunks_exact(24).take(u32_at(header, 24) as usize) {
            let (acked, next) = (u64_at(place, 8).min(u64::MAX - 1), u64_at(place, 16));
            boots.push(Boot { id: u64_at(place, 0), acked, next: next.max(acked + 1), held: 0 }).ok()?;
        }
        Some((u64_at(header, 16), boots))
    }

    fn take_over(&mut self) {
        let headers = self.headers.chunks_exact(HEADER).filter_map(|header| self.read_header(header));
        let (generation, mut earlier) = headers.max_by_key(|(generation, _)| *generation).unwrap_or_default();
        self.generation = generation;
        for segment in 0..self.segments() {
            let found = Meta::salvage(&self.index[segment * META..][..META]);
            let boot = found.and_then(|meta| earlier.iter_mut().find(|boot| boot.id == meta.boot));
            let kept = match (found, boot) {
                (Some(meta), Some(boot)) => self.salvage_segment(segment, meta, boot),
                _ => false,
            };
            if !kept {
                self.release(segment);
            }
        }
        self.previous = earlier.first().copied();
        // A boot id that comes twice (a machine without entropy) goes on where it was: no seq is given twice.
        if let Some(place) = earlier.iter().position(|boot| boot.id == self.boots[0].id) {
            self.boots[0] = earlier.remove(place);
        }
        earlier.retain(|boot| boot.acked + 1 < boot.next);
        while earlier.len() + 1 > LOG_BOOTS {
            // The oldest boot shows how a crash loop began, the newest how it is now.
            let dropped = earlier.remove(LOG_BOOTS / 2);
            self.drop_boot(dropped.id);
        }
        self.salvage.records = earlier.iter().map(|boot| boot.held).sum();
        self.boots.extend(earlier);
    }

    /// Frees what an earlier boot holds.
    fn drop_boot(&mut self, id: u64) {
        self.salvage.boots_dropped += 1;
        for segment in 0..self.segments() {
            if self.meta(segment).kind != FREE && self.meta(segment).boot == id {
                self.release(segment);
            }
        }
    }

    /// Moves the valid entries of a segment to its beginning and clears the rest; `false` when nothing of it is
    /// worth keeping.
    fn salvage_segment(&mut self, segment: usize, mut meta: Meta, boot: &mut Boot) -> bool {
        let salt = salt(meta.boot);
        let claimed = meta.last;
        let bytes = self.bytes_mut(segment);
        let (mut at, mut used, mut last, mut held, mut torn) = (0, 0, 0, 0, false);
        while at < LOG_SEGMENT {
            let Some((seq, end)) = valid_entry(bytes, at, salt, last.max(meta.first - 1)) else {
                // Damaged, or being written at the reset: look for the next entry at every byte.
                torn |= bytes[at] != 0;
                at += 1;
                continue;
            };
            bytes.copy_within(at..end, used);
            used += end - at;
            at = end;
            last = seq;
            held += u64::from(seq > boot.acked);
        }
        bytes[used..].fill(0);
        meta.used = used as u16;
        meta.damaged |= claimed > last;
        meta.last = last.max(claimed);
        boot.next = boot.next.max(meta.last + 1);
        boot.held += held;
        self.salvage.torn += u32::from(torn);
        self.set_meta(segment, meta);
        meta.last > boot.acked
    }
}

/// The seq and end of the entry at this offset, when its CRC is right and its seq is above `after`.
fn valid_entry(bytes: &[u8], at: usize, salt: u32, after: u64) -> Option<(u64, usize)> {
    let (&len, rest) = bytes.get(at..)?.split_first().filter(|(len, _)| **len > 0)?;
    let record = rest.get(..usize::from(len))?;
    let (seq, _) = Record::split_seq(record).ok()?;
    let crc = rest.get(usize::from(len)..)?.first_chunk::<4>()?;
    let valid = usize::from(len) <= RECORD_MAX && seq > after && seq < u64::MAX - 1;
    (valid && checksum(salt, record) == u32::from_le_bytes(*crc))
        .then_some((seq, at + usize::from(len) + ENTRY_OVERHEAD))
}

#[cfg(test)]
mod tests;
