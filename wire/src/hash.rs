//! The name of this version of the catalogue, in Hello. Made by the test `published`, never by hand.

/// The first 8 bytes of the SHA-256 of `schema/events.json`.
pub const CATALOGUE_HASH: [u8; 8] = [0x78, 0xa2, 0xfd, 0x42, 0x88, 0xc5, 0xd8, 0x92];
