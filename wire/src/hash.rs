//! The name of this version of the catalogue, in Hello. Made by the test `published`, never by hand.

/// The first 8 bytes of the SHA-256 of `schema/events.json`.
pub const CATALOGUE_HASH: [u8; 8] = [0x98, 0xcd, 0xdc, 0xe7, 0x74, 0xfb, 0xa5, 0x8c];
