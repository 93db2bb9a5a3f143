//! The name of this version of the catalogue, in Hello. Made by the test `published`, never by hand.

/// The first 8 bytes of the SHA-256 of `schema/events.json`.
pub const CATALOGUE_HASH: [u8; 8] = [0xbd, 0xbc, 0x5a, 0xf2, 0x02, 0x41, 0xfe, 0xcd];
