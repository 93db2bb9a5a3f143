//! The name of this version of the catalogue, in Hello. Made by the test `published`, never by hand.

/// The first 8 bytes of the SHA-256 of `schema/events.json`.
pub const CATALOGUE_HASH: [u8; 8] = [0xcb, 0xa9, 0x7f, 0xff, 0xe6, 0x3a, 0x45, 0xd2];
