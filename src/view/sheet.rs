//! Text into a buffer, without the machinery of `core::fmt`.

/// What was written so far. What does not fit is left out, and then the whole has no length.
pub struct Sheet<'o> {
    out: &'o mut [u8],
    len: usize,
    full: bool,
}

impl<'o> Sheet<'o> {
    /// Nothing yet.
    pub fn new(out: &'o mut [u8]) -> Sheet<'o> {
        Sheet { out, len: 0, full: false }
    }

    /// Adds these bytes.
    pub fn put(&mut self, bytes: &[u8]) {
        match self.out.get_mut(self.len..self.len + bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.full = true,
        }
    }

    /// Adds these texts one after the other.
    pub fn say(&mut self, texts: &[&str]) {
        texts.iter().for_each(|text| self.put(text.as_bytes()));
    }

    /// The length of it all; `None` when it did not fit.
    pub fn finish(&self) -> Option<usize> {
        (!self.full).then_some(self.len)
    }
}
