//! The name of this version of the catalogue, in Hello. Made by the test `published`, never by hand.

/// The first 8 bytes of the SHA-256 of `schema/events.json`.
pub const CATALOGUE_HASH: [u8; 8] = [0x89, 0xd9, 0x27, 0xfb, 0xb9, 0xd3, 0x21, 0x0a];
