//! The name of this version of the catalogue, in Hello. Made by the test `published`, never by hand.

/// The first 8 bytes of the SHA-256 of `schema/events.json`.
pub const CATALOGUE_HASH: [u8; 8] = [0xc9, 0xfb, 0x48, 0x5e, 0x99, 0xd1, 0x77, 0xf6];
