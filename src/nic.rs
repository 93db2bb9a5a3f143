//! What the agent asks of a network card: smoltcp's [`Device`] and the few things around it.

use smoltcp::phy::Device;
use smoltcp::wire::EthernetAddress;

/// Whether frames can travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// There is no card that can be driven.
    Absent,
    /// There is a card; it says its link is down.
    Down,
    /// Frames can travel, as far as the card knows.
    Up,
}

impl Link {
    /// As it is written in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Link::Absent => "absent",
            Link::Down => "down",
            Link::Up => "up",
        }
    }
}

/// What the card has counted since boot, and how full it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames given to the agent.
    pub rx_frames: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Frames handed to the card.
    pub tx_frames: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Times a frame could not be sent at once because the transmit queue was full.
    pub tx_full: u64,
    /// Completions whose id or length the device got wrong; they were not believed.
    pub device_errors: u64,
    /// Buffers for frames that come: when all are full, the machine under us drops, and tells nobody.
    pub rx_buffers: u16,
    /// Buffers for frames that go.
    pub tx_buffers: u16,
    /// Of those, the ones that a frame can be put into now.
    pub tx_free: u16,
}

/// An Ethernet card, or a simulated link.
///
/// `Device::receive` hands out a frame only when there is also room to transmit one, for a `TxToken` cannot fail.
pub trait Nic: Device {
    /// Our hardware address; it does not change during a boot.
    fn mac(&self) -> EthernetAddress;

    /// The link as the card sees it now.
    fn link(&mut self) -> Link;

    /// What the card has counted.
    fn counters(&self) -> Counters;

    /// Ends a poll: tells the device once of all frames queued for it since the last call.
    fn flush(&mut self);
}
