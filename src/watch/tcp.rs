//! The kind `tcp`: a connection, and the first words of the server where some are expected.

use super::response::Needle;
use super::stream::Stream;
use crate::limits::PROBE_BANNER;
use outpost_wire::ProbeReason;

/// What a server says first, and how much it has said.
pub struct Greeting<'c> {
    needle: Needle<'c>,
    read: usize,
}

impl<'c> Greeting<'c> {
    /// The connection is open: with no `banner` to wait for, that is all.
    pub fn begin(banner: &'c str) -> Result<Greeting<'c>, ProbeReason> {
        if banner.is_empty() {
            Err(ProbeReason::Ok)
        } else {
            Ok(Greeting { needle: Needle::new(banner.as_bytes()), read: 0 })
        }
    }

    /// Reads what has come; a reason is the end.
    pub fn read(&mut self, stream: &mut dyn Stream) -> Option<ProbeReason> {
        let (needle, read) = (&mut self.needle, &mut self.read);
        let mut more = true;
        while more && !needle.found() && *read < PROBE_BANNER {
            more = stream.receive(&mut |bytes| {
                let bytes = bytes.get(..PROBE_BANNER - *read).unwrap_or(bytes);
                bytes.iter().for_each(|&byte| needle.see(byte));
                *read += bytes.len();
            });
        }
        if self.needle.found() {
            return Some(ProbeReason::Ok);
        }
        if self.read >= PROBE_BANNER {
            return Some(ProbeReason::Banner);
        }
        stream.is_over().then_some(ProbeReason::Closed)
    }
}
