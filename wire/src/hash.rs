//! The name of this version of the catalogue, in Hello. Made by the test `published`, never by hand.

/// The first 8 bytes of the SHA-256 of `schema/events.json`.
pub const CATALOGUE_HASH: [u8; 8] = [0xa5, 0xe8, 0xd8, 0x29, 0x06, 0x45, 0x25, 0xac];
