//! The name of this version of the catalogue, in Hello. Made by the test `published`, never by hand.

/// The first 8 bytes of the SHA-256 of `schema/events.json`.
pub const CATALOGUE_HASH: [u8; 8] = [0x74, 0x28, 0x37, 0xe3, 0x09, 0x52, 0xe4, 0x56];
