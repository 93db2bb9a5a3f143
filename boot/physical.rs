//! Reading physical memory by copy: what the parsers of boot data ask for, so that they run on a host against
//! made-up memory as they run in the image against windows.

/// Physical memory that can be copied from.
pub trait Physical {
    /// Fills `into` from `address` on; `false` when the range cannot be read.
    fn read(&self, address: u64, into: &mut [u8]) -> bool;
}

/// The little-endian u16 at `at`, 0 beyond the end.
pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u64_at_most(bytes, at, 2) as u16
}

/// The little-endian u32 at `at`, 0 beyond the end.
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u64_at_most(bytes, at, 4) as u32
}

/// The little-endian u64 at `at`, 0 beyond the end.
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64_at_most(bytes, at, 8)
}

fn u64_at_most(bytes: &[u8], at: usize, len: usize) -> u64 {
    let field = at.checked_add(len).and_then(|end| bytes.get(at..end)).unwrap_or(&[]);
    field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
pub mod fake {
    //! Made-up physical memory.

    use super::Physical;

    /// Pieces of memory at their addresses; everything else cannot be read.
    #[derive(Default)]
    pub struct Memory(pub Vec<(u64, Vec<u8>)>);

    impl Physical for Memory {
        fn read(&self, address: u64, into: &mut [u8]) -> bool {
            for (start, bytes) in &self.0 {
                let Some(offset) = address.checked_sub(*start) else { continue };
                let Some(found) = bytes.get(offset as usize..offset as usize + into.len()) else { continue };
                into.copy_from_slice(found);
                return true;
            }
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_beyond_the_end_read_as_zero() {
        // A truncated table must not panic the parser.
        assert_eq!(u16_at(&[1, 2, 3], 1), 0x0302);
        assert_eq!(u32_at(&[1, 2, 3], 0), 0);
        assert_eq!(u64_at(&[0xff; 8], 0), u64::MAX);
        assert_eq!(u64_at(&[0xff; 8], usize::MAX), 0);
    }
}
