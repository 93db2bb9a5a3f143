//! The name of this version of the catalogue, in Hello. Made by the test `published`, never by hand.

/// The first 8 bytes of the SHA-256 of `schema/events.json`.
pub const CATALOGUE_HASH: [u8; 8] = [0x3e, 0xc1, 0x07, 0x4c, 0x9f, 0x91, 0xec, 0xf3];
