//! The name of this version of the catalogue, in Hello. Made by the test `published`, never by hand.

/// The first 8 bytes of the SHA-256 of `schema/events.json`.
pub const CATALOGUE_HASH: [u8; 8] = [0x43, 0xb3, 0x05, 0xbe, 0x52, 0x2a, 0x31, 0x6b];
