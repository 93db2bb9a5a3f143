//! The name of this version of the catalogue, in Hello. Made by the test `published`, never by hand.

/// The first 8 bytes of the SHA-256 of `schema/events.json`.
pub const CATALOGUE_HASH: [u8; 8] = [0x19, 0xfe, 0x21, 0xac, 0xe9, 0x1a, 0x3f, 0xc8];
