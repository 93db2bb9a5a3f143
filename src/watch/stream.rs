//! A connection as those see it who talk over it: a TCP socket, or a session of TLS on one.

use smoltcp::socket::tcp;

/// Bytes in both directions. Its two are [`tcp::Socket`] and, in images that have TLS, a session of it.
pub trait Stream {
    /// Sends these bytes; `false` when there is no room for all of them.
    fn send(&mut self, bytes: &[u8]) -> bool;

    /// Hands over the next bytes that have come; `false` when there are none now.
    fn receive(&mut self, take: &mut dyn FnMut(&[u8])) -> bool;

    /// Whether the other side has ended, and all that it sent was handed over.
    fn is_over(&self) -> bool;
}

impl Stream for tcp::Socket<'_> {
    fn send(&mut self, bytes: &[u8]) -> bool {
        self.send_slice(bytes) == Ok(bytes.len())
    }

    fn receive(&mut self, take: &mut dyn FnMut(&[u8])) -> bool {
        self.can_recv() && self.recv(|bytes| (bytes.len(), take(bytes))).is_ok()
    }

    fn is_over(&self) -> bool {
        !(self.may_recv() || self.can_recv())
    }
}
