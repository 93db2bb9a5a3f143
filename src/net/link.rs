//! Devices that stand between smoltcp and the card for the length of one call.
//!
//! The interface that serves connections has no Ethernet of its own (`Medium::Ip`): what it sends goes to the MAC
//! the client's last frame came from, so that no answer ever waits for ARP.

use super::frame::{self, ETHERNET_HEADER};
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;

/// The two ends of an Ethernet hop, as the frame we send names them.
#[derive(Clone, Copy, Debug)]
pub struct Hop {
    /// Our MAC.
    pub source: EthernetAddress,
    /// The next hop's.
    pub destination: EthernetAddress,
}

/// One received frame, and room for one reply. The reply goes out as an IP packet to `hop`, or as the frame it is.
pub struct OneFrame<'f, T> {
    frame: Option<&'f [u8]>,
    reply: Option<Reply<T>>,
}

impl<'f, T: TxToken> OneFrame<'f, T> {
    /// The frame as Ethernet.
    pub fn ethernet(frame: &'f [u8], token: T) -> Self {
        OneFrame { frame: Some(frame), reply: Some(Reply { token, hop: None }) }
    }

    /// The IP packet inside the frame.
    pub fn ip(frame: &'f [u8], token: T, hop: Hop) -> Self {
        OneFrame { frame: frame.get(ETHERNET_HEADER..), reply: Some(Reply { token, hop: Some(hop) }) }
    }
}

impl<T: TxToken> Device for OneFrame<'_, T> {
    type RxToken<'a>
        = Frame<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Reply<T>
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Frame<'_>, Reply<T>)> {
        Some((Frame(self.frame.take()?), self.reply.take()?))
    }

    fn transmit(&mut self, _: Instant) -> Option<Reply<T>> {
        None
    }

    /// An interface asks for these once, when it is made (with [`Shape`]), and goes by them from then on.
    fn capabilities(&self) -> DeviceCapabilities {
        DeviceCapabilities::default()
    }
}

/// A received frame.
pub struct Frame<'f>(&'f [u8]);

impl RxToken for Frame<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// Room for one frame; with a hop, its Ethernet header is written here.
pub struct Reply<T> {
    token: T,
    hop: Option<Hop>,
}

impl<T: TxToken> TxToken for Reply<T> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let Some(hop) = self.hop else { return self.token.consume(len, f) };
        self.token.consume(len + ETHERNET_HEADER, |frame| {
            let (header, packet) = frame.split_at_mut(ETHERNET_HEADER);
            header[..6].copy_from_slice(&hop.destination.0);
            header[6..12].copy_from_slice(&hop.source.0);
            header[12..].copy_from_slice(&[0x08, 0x00]);
            let result = f(packet);
            frame::write_checksum(packet);
            result
        })
    }
}

/// The card as a way out: for IP packets to one hop, or for whole frames. One type for both, so that the image has smoltcp's
/// way out once.
pub struct ToHop<'n, D> {
    /// The card.
    pub device: &'n mut D,
    /// Where its frames go, if they are not whole yet.
    pub hop: Option<Hop>,
}

impl<D: Device> Device for ToHop<'_, D> {
    type RxToken<'a>
        = Frame<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Reply<D::TxToken<'a>>
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Frame<'_>, Reply<D::TxToken<'_>>)> {
        None
    }

    fn transmit(&mut self, now: Instant) -> Option<Reply<D::TxToken<'_>>> {
        let hop = self.hop;
        self.device.transmit(now).map(|token| Reply { token, hop })
    }

    /// As of [`OneFrame`].
    fn capabilities(&self) -> DeviceCapabilities {
        DeviceCapabilities::default()
    }
}

/// What a device can do, for an interface: its capabilities and nothing to send or receive.
pub struct Shape(pub DeviceCapabilities);

impl Device for Shape {
    type RxToken<'a> = Frame<'a>;
    type TxToken<'a> = Never;

    fn receive(&mut self, _: Instant) -> Option<(Frame<'_>, Never)> {
        None
    }

    fn transmit(&mut self, _: Instant) -> Option<Never> {
        None
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.0.clone()
    }
}

/// A token that is never made.
pub enum Never {}

impl TxToken for Never {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, _: usize, _: F) -> R {
        match self {}
    }
}

/// The same device seen without its Ethernet header. The checksum of IP headers is ours: [`frame::sort`] looks at it,
/// and [`Reply`] writes it.
pub fn as_ip(mut capabilities: DeviceCapabilities) -> DeviceCapabilities {
    if capabilities.medium == Medium::Ethernet {
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit -= ETHERNET_HEADER;
        capabilities.checksum.ipv4 = Checksum::None;
    }
    capabilities
}
