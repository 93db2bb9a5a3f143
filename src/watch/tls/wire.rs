//! What `embedded-tls` reads and writes: a slot's bytes, a record at a time, and only records that it can read.
//!
//! Whatever is refused here would make it panic, or believe what was not encrypted: an encrypted record that holds
//! nothing, one in clear text after the ServerHello, one that is too long. RFC 8446, section 5.

use super::slot::Slot;
use super::suite::{AFTER_HANDSHAKE, ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, VERSION};
use core::cell::Cell;
use core::future::poll_fn;
use core::task::{Poll, ready};
use embedded_io::{ErrorKind, ErrorType};
use embedded_io_async::{Read, Write};

/// Bytes of a record's header.
const HEADER: usize = 5;

/// Least bytes of an encrypted record: a byte that says what it is, and the tag.
const ENCRYPTED_MIN: u16 = 17;

/// Most bytes of one (RFC 8446, section 5.2).
pub const ENCRYPTED_MAX: u16 = (1 << 14) + 256;

/// How far the session is, as records show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The server has said nothing yet.
    Hello,
    /// Its first record has come: from now on all is encrypted. Whether the meaningless one has come, too (appendix D.4).
    Handshake {
        /// It may come once.
        changed: bool,
    },
    /// The handshake is over.
    Open,
}

/// The wire of one session.
pub struct Wire<'s> {
    slot: &'s Slot,
    stage: &'s Cell<Stage>,
    header: [u8; HEADER],
    /// How much of the header was read, and how much of the record is left.
    header_read: usize,
    left: u16,
}

impl<'s> Wire<'s> {
    /// A new one. Who opens the session sets the stage to [`Stage::Open`].
    pub fn new(slot: &'s Slot, stage: &'s Cell<Stage>) -> Wire<'s> {
        Wire { slot, stage, header: [0; HEADER], header_read: HEADER, left: 0 }
    }

    /// Takes the next header, when all of it is there and the session has a turn; 0 when nothing comes any more.
    fn next_header(&mut self) -> Poll<Result<usize, ErrorKind>> {
        let mut desk = self.slot.desk();
        if ready!(desk.wait_for(HEADER))? == 0 {
            return Poll::Ready(Ok(0));
        }
        if !desk.take_turn() {
            return Poll::Pending;
        }
        desk.take(&mut self.header);
        let [kind, high, low, len @ ..] = self.header;
        let len = u16::from_be_bytes(len);
        self.stage.set(admit(self.stage.get(), kind, len).ok_or(ErrorKind::InvalidData)?);
        // In the first record it may be another one (section 5.1), and nobody looks at it.
        if kind == APPLICATION_DATA && [high, low] != VERSION {
            return Poll::Ready(Err(ErrorKind::InvalidData));
        }
        if self.stage.get() == Stage::Open {
            [self.header[1], self.header[2]] = AFTER_HANDSHAKE;
        }
        (self.header_read, self.left) = (0, len);
        Poll::Ready(Ok(HEADER))
    }
}

/// Whether such a record may come now, and what stage it leads to.
fn admit(stage: Stage, kind: u8, len: u16) -> Option<Stage> {
    let right = match (stage, kind) {
        // A message has a header of four bytes.
        (Stage::Hello, HANDSHAKE) => (4..=1 << 14).contains(&len),
        (Stage::Hello, ALERT) => len == 2,
        (Stage::Handshake { changed: false }, CHANGE_CIPHER_SPEC) => len == 1,
        // What went wrong before the server had keys.
        (Stage::Handshake { .. }, ALERT) => len == 2,
        (Stage::Handshake { .. } | Stage::Open, APPLICATION_DATA) => (ENCRYPTED_MIN..=ENCRYPTED_MAX).contains(&len),
        _ => false,
    };
    right.then_some(match (stage, kind) {
        (Stage::Hello, _) => Stage::Handshake { changed: false },
        (Stage::Handshake { .. }, CHANGE_CIPHER_SPEC) => Stage::Handshake { changed: true },
        (stage, _) => stage,
    })
}

impl ErrorType for Wire<'_> {
    type Error = ErrorKind;
}

impl Read for Wire<'_> {
    async fn read(&mut self, into: &mut [u8]) -> Result<usize, ErrorKind> {
        if self.left == 0 && self.header_read == HEADER && poll_fn(|_| self.next_header()).await? == 0 {
            return Ok(0);
        }
        if let Some(header) = self.header.get(self.header_read..).filter(|rest| !rest.is_empty()) {
            let count = header.len().min(into.len());
            into[..count].copy_from_slice(&header[..count]);
            self.header_read += count;
            return Ok(count);
        }
        let room = into.len().min(self.left.into());
        let slot = self.slot;
        if poll_fn(|_| slot.desk().wait_for(1)).await? == 0 {
            return Ok(0);
        }
        let count = slot.desk().take(&mut into[..room]);
        self.left -= count as u16;
        Ok(count)
    }
}

impl Write for Wire<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        poll_fn(|_| self.slot.desk().give(bytes)).await
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}
