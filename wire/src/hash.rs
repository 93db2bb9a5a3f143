//! The name of this version of the catalogue, in Hello. Made by the test `published`, never by hand.

/// The first 8 bytes of the SHA-256 of `schema/events.json`.
pub const CATALOGUE_HASH: [u8; 8] = [0x21, 0xd3, 0x9c, 0x10, 0x22, 0x50, 0x50, 0x9a];
