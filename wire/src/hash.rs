//! The name of this version of the catalogue, in Hello. Made by the test `published`, never by hand.

/// The first 8 bytes of the SHA-256 of `schema/events.json`.
pub const CATALOGUE_HASH: [u8; 8] = [0x4b, 0xc3, 0x6f, 0x38, 0x05, 0xdc, 0xda, 0xd1];
