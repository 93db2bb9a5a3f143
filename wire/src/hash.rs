//! The name of this version of the catalogue, in Hello. Made by the test `published`, never by hand.

/// The first 8 bytes of the SHA-256 of `schema/events.json`.
pub const CATALOGUE_HASH: [u8; 8] = [0xdb, 0xf2, 0x16, 0x21, 0x8f, 0x4e, 0x44, 0x29];
