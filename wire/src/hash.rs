//! The name of this version of the catalogue, in Hello. Made by the test `published`, never by hand.

/// The first 8 bytes of the SHA-256 of `schema/events.json`.
pub const CATALOGUE_HASH: [u8; 8] = [0x0a, 0x1a, 0x4d, 0xc9, 0x74, 0xc7, 0x2a, 0x44];
