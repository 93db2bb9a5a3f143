//! The name of this version of the catalogue, in Hello. Made by the test `published`, never by hand.

/// The first 8 bytes of the SHA-256 of `schema/events.json`.
pub const CATALOGUE_HASH: [u8; 8] = [0x85, 0x13, 0x56, 0x31, 0x94, 0x2f, 0x27, 0x9a];
