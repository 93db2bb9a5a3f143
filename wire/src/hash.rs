//! The name of this version of the catalogue, in Hello. Made by the test `published`, never by hand.

/// The first 8 bytes of the SHA-256 of `schema/events.json`.
pub const CATALOGUE_HASH: [u8; 8] = [0xa9, 0xe4, 0x6d, 0x08, 0xcf, 0x05, 0x92, 0x8e];
