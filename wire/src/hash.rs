//! The name of this version of the catalogue, in Hello. Made by the test `published`, never by hand.

/// The first 8 bytes of the SHA-256 of `schema/events.json`.
pub const CATALOGUE_HASH: [u8; 8] = [0x8d, 0x5c, 0x8a, 0xd0, 0x59, 0x8d, 0xb8, 0xc0];
