//! The name of this version of the catalogue, in Hello. Made by the test `published`, never by hand.

/// The first 8 bytes of the SHA-256 of `schema/events.json`.
pub const CATALOGUE_HASH: [u8; 8] = [0x98, 0xd4, 0xcd, 0x4d, 0x5f, 0x10, 0x7e, 0x27];
