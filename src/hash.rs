//! A number for a name: where a name is too long to be kept, or only has to be spread.

/// FNV-1a with 64 bits. Not for what somebody may choose to collide: names of one configuration or bundle are its author's.
pub fn fnv1a(name: &[u8]) -> u64 {
    name.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
