//! The log session: how records get to the collector and how it says what it holds.
//!
//! TCP, opened by the agent. First the preface (magic, version, mode), then frames both ways:
//!
//! ```text
//! preface = "OUTP" · version u8 (1) · mode u8 (0 clear, 1 keyed)
//! frame   = len u16 LE (of kind and body) · kind u8 · body · crc u32 LE (CRC-32/ISO-HDLC of all before it)
//!
//! agent                                   collector
//!   preface, Hello{boots, …}  ─────────▶
//!                             ◀─────────  Welcome{durable seq per boot}
//!   Lost*, Data*, Alive       ─────────▶
//!                             ◀─────────  Ack{boot, seq}      only after the commit is durable
//! ```
//!
//! A boot is named by its place in Hello: 0 the current one, 1 an earlier one, whose records come first.
//! Everything of a boot is told in the order of seq: each seq is either in a Data frame or inside a Lost range.
//! `durable` and `Ack` are cumulative: everything up to and including that seq is stored, or stored as lost.
//! Bodies only grow at the end: a decoder passes over what follows the fields it knows, and over unknown kinds.

use crate::{Record, RecordError, limits, value::words};
use serde::{Deserialize, Serialize};

/// The first four bytes from the agent.
pub const MAGIC: [u8; 4] = *b"OUTP";

/// The version of this protocol.
pub const VERSION: u8 = 1;

/// Length of the preface in bytes.
pub const PREFACE_LEN: usize = 6;

/// What a frame costs beside its body: length, kind and CRC, in bytes.
pub const FRAME_OVERHEAD: usize = 2 + 1 + 4;

/// CRC-32/ISO-HDLC (the CRC of Ethernet, zlib and PNG), with one table for every user.
pub static CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// Whether frames travel as they are or inside an authenticated, encrypted channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// As they are.
    Clear = 0,
    /// Noise NNpsk0 with the agent's key.
    Keyed = 1,
}

/// The preface that opens a session in this mode.
pub const fn preface(mode: Mode) -> [u8; PREFACE_LEN] {
    [MAGIC[0], MAGIC[1], MAGIC[2], MAGIC[3], VERSION, mode as u8]
}

/// What one boot of the agent has to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootRange {
    /// Random id of the boot.
    pub boot_id: u64,
    /// The oldest seq still in the ring (equal to `next` when there is none).
    pub oldest: u64,
    /// The seq that the next record gets: all before it were emitted.
    pub next: u64,
}

/// The agent's first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello<'a> {
    /// Bits for what the agent can do beyond version 1; none are given yet.
    pub features: u32,
    /// The agent's name from its config, at most [`limits::AGENT_NAME_MAX`] bytes.
    pub agent: &'a str,
    /// The boot that speaks.
    pub current: BootRange,
    /// An earlier boot: the oldest one of which records, or losses to be told, are still held.
    pub previous: Option<BootRange>,
    /// The first 8 bytes of the SHA-256 of the catalogue's schema, or zeros.
    pub catalogue: [u8; 8],
    /// The image id.
    pub image_id: [u8; 32],
    /// The first 8 bytes of the SHA-256 of the redacted config, or zeros.
    pub config: [u8; 8],
    /// The first 8 bytes of the SHA-256 of the config's severity rules as JSON, or zeros when there are none. It came
    /// after the first agents: a Hello that ends before it has zeros.
    #[serde(skip)]
    pub severities: [u8; 8],
}

/// The collector's answer to Hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Bits for what the collector can do beyond version 1; none are given yet.
    pub features: u32,
    /// Up to where it holds the current boot; 0 when it holds nothing.
    pub current: u64,
    /// Up to where it holds the previous boot.
    pub previous: u64,
}

words! {
    /// Why records were lost before they could be sent.
    LossReason {
        /// The ring was full and they made room for newer ones.
        Overflow = 0 "overflow",
        /// Found damaged after a reset.
        Torn = 1 "torn",
        /// The collector lost what it had acknowledged; the agent had freed it.
        CollectorRolledBack = 2 "collector_rolled_back",
    }
}

/// Records of one boot that will never come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Which boot, by its place in Hello.
    pub boot: u8,
    /// First seq lost.
    pub from: u64,
    /// Last seq lost.
    pub to: u64,
    /// Why.
    pub reason: LossReason,
}

/// Cumulative acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Which boot, by its place in Hello.
    pub boot: u8,
    /// Everything up to and including this seq is durable.
    pub seq: u64,
}

/// Sent by the agent when it has nothing else to say, so that silence means trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// The seq that the current boot's next record gets.
    pub next: u64,
}

words! {
    /// Why the collector closes a session.
    ByeReason {
        /// It speaks another version.
        Version = 0 "version",
        /// It requires a keyed session.
        KeyRequired = 1 "key_required",
        /// It cannot store: the disk is full or failing.
        Storage = 2 "storage",
        /// It is shutting down.
        Shutdown = 3 "shutdown",
        /// What the agent sent breaks the protocol.
        Protocol = 4 "protocol",
    }
}

/// The collector's last message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bye {
    /// Why.
    pub reason: ByeReason,
}

/// A run of records of one boot with consecutive seqs, still encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    /// Which boot, by its place in Hello.
    pub boot: u8,
    /// Seq of the first record.
    pub first_seq: u64,
    /// Each record: len u8 · body.
    bodies: &'a [u8],
}

impl<'a> Data<'a> {
    /// The records of this batch; ends with an error at the first that cannot be read.
    pub fn records(&self) -> impl Iterator<Item = Result<Record<'a>, RecordError>> + use<'a> {
        let (mut seq, mut rest) = (self.first_seq, self.bodies);
        core::iter::from_fn(move || {
            let (&len, tail) = rest.split_first()?;
            let Some((body, next)) = tail.split_at_checked(usize::from(len)) else {
                rest = &[];
                return Some(Err(RecordError::Length));
            };
            rest = next;
            let record = Record::decode_body(seq, body);
            match (&record, seq.checked_add(1)) {
                (Ok(_), Some(next_seq)) => seq = next_seq,
                _ => rest = &[],
            }
            Some(record)
        })
    }
}

/// A message, decoded from one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Kind 1, agent to collector.
    Hello(Hello<'a>),
    /// Kind 2, collector to agent.
    Welcome(Welcome),
    /// Kind 3, agent to collector.
    Data(Data<'a>),
    /// Kind 4, agent to collector.
    Lost(Lost),
    /// Kind 5, collector to agent.
    Ack(Ack),
    /// Kind 6, agent to collector.
    Alive(Alive),
    /// Kind 7, collector to agent.
    Bye(Bye),
    /// A kind this version does not know: passed over.
    Unknown(u8),
}

const KIND_HELLO: u8 = 1;
const KIND_WELCOME: u8 = 2;
const KIND_DATA: u8 = 3;
const KIND_LOST: u8 = 4;
const KIND_ACK: u8 = 5;
const KIND_ALIVE: u8 = 6;
const KIND_BYE: u8 = 7;

/// Why a frame cannot be read. The session must be closed: its framing is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Its length is zero or above [`limits::FRAME_MAX`].
    Length,
    /// Its CRC does not match its bytes.
    Crc,
    /// Its body is not what its kind says.
    Body,
}

impl<'a> Message<'a> {
    /// Reads the first frame of `bytes`: `Ok(None)` when it is not complete yet, else the message and the
    /// number of bytes it took. At most [`limits::FRAME_MAX`] bytes are ever needed.
    pub fn decode(bytes: &'a [u8]) -> Result<Option<(Message<'a>, usize)>, FrameError> {
        let Some((head, _)) = bytes.split_first_chunk::<2>() else { return Ok(None) };
        let len = usize::from(u16::from_le_bytes(*head));
        let total = len + FRAME_OVERHEAD - 1;
        if len == 0 || total > limits::FRAME_MAX {
            return Err(FrameError::Length);
        }
        let Some(frame) = bytes.get(..total) else { return Ok(None) };
        let (covered, crc) = frame.split_last_chunk::<4>().ok_or(FrameError::Length)?;
        if CRC.checksum(covered) != u32::from_le_bytes(*crc) {
            return Err(FrameError::Crc);
        }
        let (kind, body) = (covered[2], &covered[3..]);
        Ok(Some((Message::decode_body(kind, body).ok_or(FrameError::Body)?, total)))
    }

    fn decode_body(kind: u8, body: &'a [u8]) -> Option<Message<'a>> {
        Some(match kind {
            KIND_HELLO => {
                let (mut hello, rest): (Hello<'a>, _) = postcard::take_from_bytes(body).ok()?;
                hello.severities = rest.first_chunk().copied().unwrap_or_default();
                if hello.agent.is_empty() || hello.agent.len() > limits::AGENT_NAME_MAX {
                    return None;
                }
                Message::Hello(hello)
            }
            KIND_WELCOME => Message::Welcome(take(body)?),
            KIND_DATA => {
                let (boot, rest) = postcard::take_from_bytes::<u8>(body).ok()?;
                let (first_seq, bodies) = postcard::take_from_bytes::<u64>(rest).ok()?;
                if first_seq == 0 || bodies.is_empty() {
                    return None;
                }
                Message::Data(Data { boot, first_seq, bodies })
            }
            KIND_LOST => {
                let lost: Lost = take(body)?;
                if lost.from == 0 || lost.from > lost.to {
                    return None;
                }
                Message::Lost(lost)
            }
            KIND_ACK => Message::Ack(take(body)?),
            KIND_ALIVE => Message::Alive(take(body)?),
            KIND_BYE => Message::Bye(take(body)?),
            other => Message::Unknown(other),
        })
    }

    /// Writes this message as one frame into the beginning of `out`, returning its length; `None` when it does
    /// not fit ([`limits::FRAME_MAX`] bytes always suffice). `Unknown` cannot be written.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let (kind, body_len) = {
            let body = out.get_mut(3..)?;
            match self {
                Message::Hello(m) => {
                    let at = put(m, body)?;
                    (KIND_HELLO, at + put(&m.severities, body.get_mut(at..)?)?)
                }
                Message::Welcome(m) => (KIND_WELCOME, put(m, body)?),
                Message::Data(m) => {
                    let mut at = put(&m.boot, body)?;
                    at += put(&m.first_seq, body.get_mut(at..)?)?;
                    body.get_mut(at..at + m.bodies.len())?.copy_from_slice(m.bodies);
                    (KIND_DATA, at + m.bodies.len())
                }
                Message::Lost(m) => (KIND_LOST, put(m, body)?),
                Message::Ack(m) => (KIND_ACK, put(m, body)?),
                Message::Alive(m) => (KIND_ALIVE, put(m, body)?),
                Message::Bye(m) => (KIND_BYE, put(m, body)?),
                Message::Unknown(_) => return None,
            }
        };
        seal(kind, body_len, out)
    }
}

/// Builds a Data frame in place, record by record, so that nothing is copied twice.
pub struct DataWriter<'b> {
    out: &'b mut [u8],
    at: usize,
    next_seq: u64,
    records: usize,
}

impl<'b> DataWriter<'b> {
    /// Begins a batch of this boot in `out`, which bounds the frame (at most [`limits::FRAME_MAX`] bytes of it
    /// are used); `None` when not even one record is sure to fit.
    pub fn new(out: &'b mut [u8], boot: u8, first_seq: u64) -> Option<DataWriter<'b>> {
        let len = out.len().min(limits::FRAME_MAX);
        let out = &mut out[..len];
        let mut at = 3;
        at += put(&boot, out.get_mut(at..)?)?;
        at += put(&first_seq, out.get_mut(at..)?)?;
        (at + 1 + limits::RECORD_MAX + 4 <= len).then_some(DataWriter { out, at, next_seq: first_seq, records: 0 })
    }

    /// Appends the record with this seq and body; `false` when it is not the next one or there is no room.
    pub fn push(&mut self, seq: u64, body: &[u8]) -> bool {
        let end = self.at + 1 + body.len();
        let (Ok(len), true, true) = (u8::try_from(body.len()), seq == self.next_seq, end + 4 <= self.out.len()) else {
            return false;
        };
        self.out[self.at] = len;
        self.out[self.at + 1..end].copy_from_slice(body);
        self.at = end;
        self.next_seq += 1;
        self.records += 1;
        true
    }

    /// How many records are in.
    pub fn records(&self) -> usize {
        self.records
    }

    /// The seq after the last record that is in.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Ends the frame, returning its length in bytes; `None` when it has no record.
    pub fn finish(self) -> Option<usize> {
        if self.records == 0 {
            return None;
        }
        seal(KIND_DATA, self.at - 3, self.out)
    }
}

/// Puts length, kind and CRC around a body that stands at `out[3..3 + body_len]`.
fn seal(kind: u8, body_len: usize, out: &mut [u8]) -> Option<usize> {
    let total = body_len + FRAME_OVERHEAD;
    if total > limits::FRAME_MAX {
        return None;
    }
    let frame = out.get_mut(..total)?;
    let (covered, crc) = frame.split_last_chunk_mut::<4>()?;
    covered[..2].copy_from_slice(&u16::try_from(body_len + 1).ok()?.to_le_bytes());
    covered[2] = kind;
    *crc = CRC.checksum(covered).to_le_bytes();
    Some(total)
}

fn put<T: Serialize>(value: &T, out: &mut [u8]) -> Option<usize> {
    Some(postcard::to_slice(value, out).ok()?.len())
}

fn take<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    postcard::take_from_bytes(body).ok().map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: Hello<'static> = Hello {
        features: 0,
        agent: "fra1",
        current: BootRange { boot_id: 0x1234, oldest: 1, next: 3 },
        previous: Some(BootRange { boot_id: 0x99, oldest: 7, next: 9 }),
        catalogue: [1; 8],
        image_id: [2; 32],
        config: [3; 8],
        severities: [4; 8],
    };

    fn round_trip(message: Message<'_>, golden_body: &[u8]) {
        let mut out = [0; limits::FRAME_MAX];
        let len = message.encode(&mut out).unwrap();
        assert_eq!(&out[3..len - 4], golden_body);
        assert_eq!(Message::decode(&out[..len]), Ok(Some((message, len))));
        for short in 0..len {
            assert_eq!(Message::decode(&out[..short]), Ok(None), "a frame cut at {short}");
        }
    }

    #[test]
    fn golden_bytes_of_every_message() {
        // Another layout of any of these would cut off every agent already deployed.
        let mut hello = [0u8; 71];
        hello[..6].copy_from_slice(&[0, 4, b'f', b'r', b'a', b'1']);
        hello[6..10].copy_from_slice(&[0xb4, 0x24, 1, 3]);
        hello[10..15].copy_from_slice(&[1, 0x99, 0x01, 7, 9]);
        hello[15..23].fill(1);
        hello[23..55].fill(2);
        hello[55..63].fill(3);
        hello[63..].fill(4);
        round_trip(Message::Hello(HELLO), &hello);
        round_trip(Message::Welcome(Welcome { features: 1, current: 300, previous: 2 }), &[1, 0xac, 0x02, 2]);
        round_trip(
            Message::Lost(Lost { boot: 1, from: 4, to: 5, reason: LossReason::CollectorRolledBack }),
            &[1, 4, 5, 2],
        );
        round_trip(Message::Ack(Ack { boot: 0, seq: 128 }), &[0, 0x80, 1]);
        round_trip(Message::Alive(Alive { next: 9 }), &[9]);
        round_trip(Message::Bye(Bye { reason: ByeReason::Storage }), &[2]);
        assert_eq!(preface(Mode::Clear), *b"OUTP\x01\x00");
    }

    #[test]
    fn an_older_hello_is_read() {
        // An agent that does not know the last field yet must not be turned away.
        let mut out = [0; limits::FRAME_MAX];
        let len = Message::Hello(HELLO).encode(&mut out).unwrap();
        let len = seal(KIND_HELLO, len - FRAME_OVERHEAD - 8, &mut out).unwrap();
        let older = Hello { severities: [0; 8], ..HELLO };
        assert_eq!(Message::decode(&out[..len]), Ok(Some((Message::Hello(older), len))));
    }

    #[test]
    fn a_batch_keeps_its_records_and_seqs() {
        // A record that takes its neighbour's seq would be stored as a conflict, or silently replace it.
        let mut out = [0; limits::FRAME_MAX];
        let mut writer = DataWriter::new(&mut out, 0, 41).unwrap();
        assert!(writer.push(41, &[1, 9, 0, 4, 0]));
        assert!(!writer.push(43, &[1, 9, 0, 4, 0]), "a gap must start a new batch");
        assert!(writer.push(42, &[2, 9, 0, 4, 1]));
        let len = writer.finish().unwrap();
        assert_eq!(out[..len - 4], [15, 0, 3, 0, 41, 5, 1, 9, 0, 4, 0, 5, 2, 9, 0, 4, 1]);
        let Ok(Some((Message::Data(data), _))) = Message::decode(&out[..len]) else { panic!("not a batch") };
        let seqs = data.records().map(|record| record.unwrap().seq);
        assert!(seqs.eq([41, 42]));
    }

    #[test]
    fn hostile_frames_are_refused() {
        // Lengths and numbers of a peer must neither panic nor be believed.
        let mut out = [0; limits::FRAME_MAX];
        let len = Message::Alive(Alive { next: 9 }).encode(&mut out).unwrap();
        out[3] ^= 1;
        assert_eq!(Message::decode(&out[..len]), Err(FrameError::Crc));
        assert_eq!(Message::decode(&[0, 0, 0]), Err(FrameError::Length));
        assert_eq!(Message::decode(&[0xff, 0xff]), Err(FrameError::Length));
        let len = seal(KIND_LOST, 4, &mut out).unwrap();
        assert_eq!(Message::decode(&out[..len]), Err(FrameError::Body));
        let mut data = [0; 64];
        data[3..9].copy_from_slice(&[0, 1, 200, 1, 2, 3]);
        let len = seal(KIND_DATA, 6, &mut data).unwrap();
        let Ok(Some((Message::Data(batch), _))) = Message::decode(&data[..len]) else { panic!("not a batch") };
        assert!(batch.records().eq([Err(RecordError::Length)]));
    }
}
