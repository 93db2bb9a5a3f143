//! The name of this version of the catalogue, in Hello. Made by the test `published`, never by hand.

/// The first 8 bytes of the SHA-256 of `schema/events.json`.
pub const CATALOGUE_HASH: [u8; 8] = [0xd9, 0x07, 0x2d, 0xb6, 0x88, 0xc3, 0xc4, 0xd3];
