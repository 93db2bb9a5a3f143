//! The name of this version of the catalogue, in Hello. Made by the test `published`, never by hand.

/// The first 8 bytes of the SHA-256 of `schema/events.json`.
pub const CATALOGUE_HASH: [u8; 8] = [0xa5, 0x89, 0xb8, 0x80, 0x7d, 0xf5, 0xc2, 0xdb];
