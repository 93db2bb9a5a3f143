//! A keyed session: what both ends of the log session share of Noise (`Noise_NNpsk0_25519_ChaChaPoly_SHA256`,
//! Noise Protocol Framework, revision 34).
//!
//! ```text
//! agent                                                    collector
//!   preface · len u8 · name · first message (48 bytes)  ─▶   finds the key by the name
//!                                                       ◀─   second message (48 bytes)
//!   sealed frame (Hello)                                ─▶   only this proves that the agent is there now
//!   sealed frame = len u16 LE · ciphertext of one frame · tag (16 bytes)
//! ```
//!
//! The clear text before the first message is its prologue: who changes the version or the name breaks it. The
//! first message carries nothing, because whoever recorded it can send it again. What always holds: nothing here
//! panics on what came from outside; a key is never shown, not even by `Debug`; keys are erased when dropped.

use crate::limits::{AGENT_NAME_MAX, FRAME_MAX};
use crate::session::{Mode, PREFACE_LEN, preface};
use clatter::bytearray::SensitiveByteArray;
use clatter::crypto::{cipher::ChaChaPoly, dh::X25519};
use clatter::error::DhResult;
use clatter::traits::{CryptoComponent, Dh, Hash, Rng};
use clatter::transportstate::TransportState;
use clatter::{Handshaker, KeyPair, NqHandshakeCore, handshakepattern::noise_nn_psk0};
use core::fmt;

/// Length of a key and of every other secret here, in bytes.
pub const KEY_LEN: usize = 32;

/// Length of either handshake message in bytes: an ephemeral public key and the tag of an empty payload.
pub const HANDSHAKE_LEN: usize = 32 + TAG_LEN;

/// Length of the tag that authenticates a sealed frame, in bytes.
pub const TAG_LEN: usize = 16;

/// What sealing adds to a frame: its length and its tag, in bytes.
pub const SEAL_OVERHEAD: usize = 2 + TAG_LEN;

/// Longest sealed frame, in bytes.
pub const SEALED_MAX: usize = FRAME_MAX + SEAL_OVERHEAD;

/// Longest prologue: preface, length of the name and name, in bytes.
pub const PROLOGUE_MAX: usize = PREFACE_LEN + 1 + AGENT_NAME_MAX;

/// Longest opening: prologue and first message, in bytes.
pub const OPENING_MAX: usize = PROLOGUE_MAX + HANDSHAKE_LEN;

const _: () = assert!(SEALED_MAX <= 1460 - 40, "a sealed frame fits one segment, TCP's options too");

/// Secret bytes, erased when dropped.
type SecretBytes = SensitiveByteArray<[u8; KEY_LEN]>;

/// The secret that an agent and its collector share.
#[derive(Clone, PartialEq)]
pub struct Key(SecretBytes);

impl Key {
    /// The key of these bytes.
    pub fn new(bytes: [u8; KEY_LEN]) -> Key {
        Key(SecretBytes::new(bytes))
    }

    /// The key that 64 hexadecimal digits give; `None` for anything else.
    pub fn from_hex(digits: &str) -> Option<Key> {
        let digits: &[u8; 2 * KEY_LEN] = digits.as_bytes().try_into().ok()?;
        let mut bytes = [0; KEY_LEN];
        for (byte, [high, low]) in bytes.iter_mut().zip(digits.as_chunks().0) {
            let nibble = |digit: u8| u8::try_from(char::from(digit).to_digit(16)?).ok();
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Some(Key::new(bytes))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Secrets for one handshake each, from one random seed: the hash of the seed and of how many came before.
pub struct Ephemerals {
    seed: SecretBytes,
    count: u64,
}

impl Ephemerals {
    /// From 32 random bytes that are as secret as a key. They may serve other purposes: what is made of them here
    /// is of no use for those, and the other way round.
    pub fn new(seed: &[u8; KEY_LEN]) -> Ephemerals {
        Ephemerals { seed: hash(b"outpost ephemeral keys", seed), count: 0 }
    }

    /// The next secret; none comes twice.
    pub fn fresh(&mut self) -> Ephemeral {
        self.count += 1;
        Ephemeral(hash(&self.count.to_le_bytes(), &self.seed))
    }
}

impl fmt::Debug for Ephemerals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(secret, {} used)", self.count)
    }
}

/// The secret of one handshake.
pub struct Ephemeral(SecretBytes);

impl Ephemeral {
    /// A key that nobody else has, instead.
    pub fn into_key(self) -> Key {
        Key(self.0)
    }
}

fn hash(label: &[u8], seed: &[u8; KEY_LEN]) -> SecretBytes {
    let mut hasher = Sha256::default();
    hasher.input(label);
    hasher.input(seed);
    hasher.result()
}

/// What came is not from one who knows the key, or was changed on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAuthentic;

type Core = NqHandshakeCore<Curve, ChaChaPoly, Sha256, NoRng>;

fn core(key: &Key, prologue: &[u8], initiator: bool, secret: Ephemeral) -> Option<Core> {
    let ephemeral = KeyPair::new(Curve::pubkey(&secret.0), secret.0);
    let mut core = Core::new(noise_nn_psk0(), prologue, initiator, None, Some(ephemeral), None, None).ok()?;
    core.push_psk(&*key.0);
    Some(core)
}

/// The agent's side of a handshake that is under way.
pub struct Initiator(Core);

impl Initiator {
    /// Begins a handshake: writes the opening for this agent into `out` and returns its length. `None` when the
    /// name is empty or too long.
    pub fn begin(key: &Key, agent: &str, secret: Ephemeral, out: &mut [u8; OPENING_MAX]) -> Option<(Initiator, usize)> {
        let name_len =
            u8::try_from(agent.len()).ok().filter(|len| (1..=AGENT_NAME_MAX).contains(&usize::from(*len)))?;
        let prologue_len = PREFACE_LEN + 1 + agent.len();
        let (prologue, message) = out.split_at_mut_checked(prologue_len)?;
        let (head, name) = prologue.split_at_mut_checked(PREFACE_LEN)?;
        head.copy_from_slice(&preface(Mode::Keyed));
        let (len, name) = name.split_first_mut()?;
        *len = name_len;
        name.copy_from_slice(agent.as_bytes());
        let mut core = core(key, prologue, true, secret)?;
        let len = core.write_message(&[], message).ok()?;
        Some((Initiator(core), prologue_len + len))
    }

    /// Takes the collector's answer: from here on both ends know that the other one has the key, the collector
    /// with the first sealed frame.
    pub fn finish(mut self, answer: &[u8; HANDSHAKE_LEN]) -> Result<Transport, NotAuthentic> {
        self.0.read_message(answer, &mut []).map_err(|_| NotAuthentic)?;
        Ok(Transport(self.0.finalize().map_err(|_| NotAuthentic)?))
    }
}

/// What stands before the first message of an opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening<'a> {
    /// The name that the agent claims; nothing is proven yet.
    pub agent: &'a str,
    prologue: &'a [u8],
    message: &'a [u8],
}

impl<'a> Opening<'a> {
    /// Reads the opening, whose preface was checked, from the beginning of `bytes`: `Ok(None)` while it is not
    /// complete, else it and its length. A name that cannot be one is an error.
    pub fn read(bytes: &'a [u8]) -> Result<Option<(Opening<'a>, usize)>, NotAuthentic> {
        let Some(&len) = bytes.get(PREFACE_LEN) else { return Ok(None) };
        let len = usize::from(len);
        if len == 0 || len > AGENT_NAME_MAX {
            return Err(NotAuthentic);
        }
        let Some((prologue, rest)) = bytes.split_at_checked(PREFACE_LEN + 1 + len) else { return Ok(None) };
        let Some(message) = rest.get(..HANDSHAKE_LEN) else { return Ok(None) };
        let name = prologue.get(PREFACE_LEN + 1..).unwrap_or_default();
        let agent = core::str::from_utf8(name).map_err(|_| NotAuthentic)?;
        Ok(Some((Opening { agent, prologue, message }, prologue.len() + HANDSHAKE_LEN)))
    }

    /// Answers as the collector, with the key of this agent. Success does not prove that the agent is there: the
    /// opening may be a recorded one.
    pub fn answer(&self, key: &Key, secret: Ephemeral) -> Result<(Transport, [u8; HANDSHAKE_LEN]), NotAuthentic> {
        let mut core = core(key, self.prologue, false, secret).ok_or(NotAuthentic)?;
        core.read_message(self.message, &mut []).map_err(|_| NotAuthentic)?;
        let mut answer = [0; HANDSHAKE_LEN];
        core.write_message(&[], &mut answer).map_err(|_| NotAuthentic)?;
        Ok((Transport(core.finalize().map_err(|_| NotAuthentic)?), answer))
    }
}

/// The channel after the handshake.
pub struct Transport(TransportState<ChaChaPoly, Sha256>);

impl Transport {
    /// Seals the frame that stands at `out[2..2 + frame_len]` and returns how many bytes of `out` to send; `None`
    /// when the frame is longer than [`FRAME_MAX`].
    pub fn seal(&mut self, out: &mut [u8; SEALED_MAX], frame_len: usize) -> Option<usize> {
        let sealed_len = u16::try_from(frame_len + TAG_LEN).ok().filter(|_| frame_len <= FRAME_MAX)?;
        let (len, sealed) = out.split_first_chunk_mut::<2>()?;
        *len = sealed_len.to_le_bytes();
        self.0.send_in_place(sealed, frame_len).ok()?;
        Some(2 + usize::from(sealed_len))
    }

    /// Opens the first sealed frame of `bytes` where it stands: `Ok(None)` while it is not complete, else how many
    /// bytes it takes; the frame is then at `bytes[2..taken - TAG_LEN]`. After an error nothing more can be opened.
    pub fn open(&mut self, bytes: &mut [u8]) -> Result<Option<usize>, NotAuthentic> {
        let Some((len, rest)) = bytes.split_first_chunk_mut::<2>() else { return Ok(None) };
        let len = usize::from(u16::from_le_bytes(*len));
        if len <= TAG_LEN || len > FRAME_MAX + TAG_LEN {
            return Err(NotAuthentic);
        }
        let Some(sealed) = rest.get_mut(..len) else { return Ok(None) };
        self.0.receive_in_place(sealed, len).map_err(|_| NotAuthentic)?;
        Ok(Some(2 + len))
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl fmt::Debug for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// SHA-256 of the version that the image has anyway; the library's own is an older one beside it.
#[derive(Clone, Default)]
struct Sha256(crate::Sha256);

impl CryptoComponent for Sha256 {
    fn name() -> &'static str {
        "SHA256"
    }
}

impl Hash for Sha256 {
    type Block = [u8; 64];
    type Output = SecretBytes;

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(self) -> SecretBytes {
        SecretBytes::new(self.0.finalize())
    }
}

/// X25519 with nothing but the ladder of RFC 7748. The library's own way to public keys brings a second kind of
/// arithmetic into the image, and its way to make keys wants random numbers where there are none.
#[derive(Clone)]
struct Curve;

/// The base point (RFC 7748, section 4.1).
const BASE: [u8; 32] = {
    let mut base = [0; 32];
    base[0] = 9;
    base
};

impl CryptoComponent for Curve {
    fn name() -> &'static str {
        X25519::name()
    }
}

impl Dh for Curve {
    type PrivateKey = SecretBytes;
    type PubKey = [u8; 32];
    type Output = SecretBytes;

    fn genkey_rng<R: Rng>(_: &mut R) -> DhResult<KeyPair<Self::PubKey, Self::PrivateKey>> {
        unreachable!("the ephemeral key is given")
    }

    fn pubkey(secret: &SecretBytes) -> [u8; 32] {
        // It fails for no key; were that to change, an all-zero key fails the handshake.
        X25519::dh(secret, &BASE).map_or([0; 32], |public| *public)
    }

    fn dh(secret: &SecretBytes, public: &[u8; 32]) -> DhResult<SecretBytes> {
        X25519::dh(secret, public)
    }
}

/// The library asks for a random number generator where it has to make an ephemeral key; it always gets one made.
#[derive(Clone, Default)]
struct NoRng;

impl clatter::rand_core::RngCore for NoRng {
    fn next_u32(&mut self) -> u32 {
        unreachable!("the ephemeral key is given")
    }

    fn next_u64(&mut self) -> u64 {
        unreachable!("the ephemeral key is given")
    }

    fn fill_bytes(&mut self, _: &mut [u8]) {
        unreachable!("the ephemeral key is given")
    }

    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), clatter::rand_core::Error> {
        unreachable!("the ephemeral key is given")
    }
}

impl clatter::rand_core::CryptoRng for NoRng {}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use crate::session::{Alive, Message};
    use std::{format, vec::Vec};

    fn key() -> Key {
        Key::new([0x5a; KEY_LEN])
    }

    fn opening(key: &Key, seed: u8) -> (Initiator, Vec<u8>) {
        let mut out = [0; OPENING_MAX];
        let secret = Ephemerals::new(&[seed; KEY_LEN]).fresh();
        let (initiator, len) = Initiator::begin(key, "fra1", secret, &mut out).unwrap();
        (initiator, out[..len].to_vec())
    }

    fn answered(key: &Key, opening: &[u8]) -> Result<(Transport, [u8; HANDSHAKE_LEN]), NotAuthentic> {
        let (opening, len) = Opening::read(opening)?.expect("it is complete");
        assert_eq!((opening.agent, len), ("fra1", PREFACE_LEN + 5 + HANDSHAKE_LEN));
        opening.answer(key, Ephemerals::new(&[9; KEY_LEN]).fresh())
    }

    fn pair() -> (Transport, Transport) {
        let (initiator, bytes) = opening(&key(), 1);
        let (collector, answer) = answered(&key(), &bytes).unwrap();
        (initiator.finish(&answer).unwrap(), collector)
    }

    fn sealed(transport: &mut Transport) -> Vec<u8> {
        let mut out = [0; SEALED_MAX];
        let len = Message::Alive(Alive { next: 7 }).encode(&mut out[2..]).unwrap();
        let len = transport.seal(&mut out, len).unwrap();
        out[..len].to_vec()
    }

    #[test]
    fn frames_travel_both_ways_and_none_reads_like_another() {
        // One nonce used twice would give the key stream away; a channel that works one way only acknowledges nothing.
        let (mut agent, mut collector) = pair();
        let mut seen: Vec<Vec<u8>> = Vec::new();
        for _ in 0..3 {
            for agent_speaks in [true, false] {
                let (from, to) = if agent_speaks { (&mut agent, &mut collector) } else { (&mut collector, &mut agent) };
                let mut bytes = sealed(from);
                assert!(!seen.contains(&bytes));
                seen.push(bytes.clone());
                for short in 0..bytes.len() {
                    assert_eq!(to.open(&mut bytes[..short]), Ok(None), "cut at {short}");
                }
                let taken = to.open(&mut bytes).unwrap().unwrap();
                assert_eq!(taken, bytes.len());
                let frame = Message::decode(&bytes[2..taken - TAG_LEN]).unwrap().unwrap();
                assert_eq!(frame, (Message::Alive(Alive { next: 7 }), taken - SEAL_OVERHEAD));
            }
        }
    }

    #[test]
    fn whoever_has_another_key_gets_nowhere() {
        // The point of it all: an address is no identity.
        let other = Key::new([0x5b; KEY_LEN]);
        let (_, bytes) = opening(&other, 1);
        assert_eq!(answered(&key(), &bytes).err(), Some(NotAuthentic));
        let (initiator, bytes) = opening(&key(), 1);
        let (_, answer) = answered(&key(), &bytes).unwrap();
        let (stranger, _) = opening(&key(), 2);
        assert!(stranger.finish(&answer).is_err(), "an answer to another opening");
        assert!(initiator.finish(&[0; HANDSHAKE_LEN]).is_err());
    }

    #[test]
    fn every_byte_of_the_handshake_and_of_a_frame_counts() {
        // What can be changed on the way without being noticed is not authenticated: version, mode and name too.
        let (_, bytes) = opening(&key(), 1);
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            let refused = match Opening::read(&bytes) {
                Ok(Some((opening, _))) => opening.answer(&key(), Ephemerals::new(&[9; 32]).fresh()).is_err(),
                // Another length of the name: more or less has to come, or it cannot be one.
                Ok(None) | Err(NotAuthentic) => at == PREFACE_LEN,
            };
            assert!(refused, "byte {at}");
        }
        for at in 0..HANDSHAKE_LEN {
            let (initiator, bytes) = opening(&key(), 1);
            let (_, mut answer) = answered(&key(), &bytes).unwrap();
            answer[at] ^= 1;
            assert!(initiator.finish(&answer).is_err(), "byte {at} of the answer");
        }
        let len = sealed(&mut pair().0).len();
        for at in 2..len {
            let (mut agent, mut collector) = pair();
            let mut bytes = sealed(&mut agent);
            bytes[at] ^= 1;
            assert_eq!(collector.open(&mut bytes), Err(NotAuthentic), "byte {at} of a frame");
        }
    }

    #[test]
    fn a_frame_is_opened_once_in_its_place_and_by_the_other_end_alone() {
        // A recorded frame sent again, left out, or sent back must not be taken for a new one.
        let (mut agent, mut collector) = pair();
        let first = sealed(&mut agent);
        assert!(collector.open(&mut first.clone()).is_ok());
        assert_eq!(collector.open(&mut first.clone()), Err(NotAuthentic), "again");
        let (mut agent, mut collector) = pair();
        let _ = sealed(&mut agent);
        assert_eq!(collector.open(&mut sealed(&mut agent)), Err(NotAuthentic), "one was left out");
        let mut own = sealed(&mut agent);
        assert_eq!(agent.open(&mut own), Err(NotAuthentic), "sent back");
    }

    #[test]
    fn hostile_lengths_and_names_are_refused() {
        // They come before anything is authenticated.
        let (_, mut collector) = pair();
        for len in [0, TAG_LEN, FRAME_MAX + TAG_LEN + 1, 0xffff] {
            let mut bytes = (len as u16).to_le_bytes().to_vec();
            assert_eq!(collector.open(&mut bytes), Err(NotAuthentic), "{len}");
        }
        for name in [&[0u8][..], &[64], &[2, 0xff, 0xfe]] {
            let bytes = [&preface(Mode::Keyed)[..], name, &[0; HANDSHAKE_LEN]].concat();
            assert_eq!(Opening::read(&bytes), Err(NotAuthentic), "{name:?}");
        }
        let mut out = [0; OPENING_MAX];
        for name in ["", "0123456789012345678901234567890123456789012345678901234567890123"] {
            assert!(Initiator::begin(&key(), name, Ephemerals::new(&[1; 32]).fresh(), &mut out).is_none());
        }
        assert!(pair().0.seal(&mut [0; SEALED_MAX], FRAME_MAX + 1).is_none());
    }

    #[test]
    fn no_secret_is_used_twice_and_none_is_shown() {
        // A handshake with the secret of an earlier one can be replayed; a key in a log is everybody's.
        let mut ephemerals = Ephemerals::new(&[1; KEY_LEN]);
        let (first, second) = (ephemerals.fresh(), ephemerals.fresh());
        assert!(first.0 != second.0 && *first.0 != [1; KEY_LEN]);
        assert!(Ephemerals::new(&[2; KEY_LEN]).fresh().0 != first.0);
        let shown = Key::from_hex(&"5a".repeat(KEY_LEN)).unwrap();
        assert_eq!(shown, key());
        assert_eq!(format!("{shown:?} {ephemerals:?} {:?}", pair().0), "(secret) (secret, 2 used) (secret)");
        for bad in ["", "5a", &"5".repeat(63), &"5g".repeat(32), &"5a".repeat(33), &"é".repeat(32)] {
            assert_eq!(Key::from_hex(bad), None, "{bad}");
        }
    }
}
