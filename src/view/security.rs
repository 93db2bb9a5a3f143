//! `/.well-known/security.txt`: where to report a weakness (RFC 9116).

use super::View;
use super::sheet::Sheet;

impl View<'_, '_> {
    /// The file; `None` when none is configured. What the configuration lets through has no line end in it.
    pub fn write_security(&self, out: &mut [u8]) -> Option<usize> {
        let security = self.config().security.as_ref()?;
        let mut sheet = Sheet::new(out);
        sheet.say(&["Contact: ", &security.contact, "\nExpires: ", &security.expires, "\n"]);
        sheet.finish()
    }
}
