//! The name of this version of the catalogue, in Hello. Made by the test `published`, never by hand.

/// The first 8 bytes of the SHA-256 of `schema/events.json`.
pub const CATALOGUE_HASH: [u8; 8] = [0x6f, 0x09, 0x0c, 0xdd, 0x1f, 0xc9, 0x5a, 0x3e];
