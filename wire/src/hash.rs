//! The name of this version of the catalogue, in Hello. Made by the test `published`, never by hand.

/// The first 8 bytes of the SHA-256 of `schema/events.json`.
pub const CATALOGUE_HASH: [u8; 8] = [0x25, 0x92, 0x99, 0xa4, 0x7d, 0x4a, 0xdd, 0x01];
