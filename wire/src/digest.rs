//! SHA-256 as everybody uses it here.
//!
//! The library's own methods are generic over what they take and are inlined with a copy of the block loop each time:
//! nobody here digests enough for that to be worth its bytes in the image.

use sha2::Digest;

/// A SHA-256 that is being made.
#[derive(Clone, Default)]
pub struct Sha256(sha2::Sha256);

impl Sha256 {
    /// Of nothing so far.
    pub fn new() -> Sha256 {
        Sha256::default()
    }

    /// Of these bytes, too.
    pub fn update(&mut self, bytes: impl AsRef<[u8]>) {
        self.take(bytes.as_ref());
    }

    #[inline(never)]
    fn take(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest.
    #[inline(never)]
    pub fn finalize(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    /// The digest of these parts, one after the other.
    pub fn of(parts: &[&[u8]]) -> [u8; 32] {
        let mut digest = Sha256::new();
        parts.iter().for_each(|part| digest.update(part));
        digest.finalize()
    }
}
