//! The two network cards of the simulation: the agent's, bounded like the image's virtio queues, and the plain
//! one of the peers.

use outpost::nic::{Counters, Link, Nic};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;
use std::collections::VecDeque;

/// Longest frame without its CRC: header and 1,500 bytes.
pub const FRAME_MAX: usize = 1514;

/// Frames that wait for the agent at most; more are dropped, as the image's receive queue does.
const RX_QUEUE: usize = 64;

/// The card under the agent.
pub struct AgentNic {
    pub mac: EthernetAddress,
    pub link: Link,
    /// Frames that have arrived and were not yet taken.
    rx: VecDeque<Vec<u8>>,
    /// Frames the agent has queued and the cable has not yet taken.
    tx: Vec<Vec<u8>>,
    tx_queue: usize,
    /// How much of `tx` the agent has told the card of with `flush`.
    kicked: usize,
    counters: Counters,
}

impl AgentNic {
    pub fn new(mac: EthernetAddress, tx_queue: usize) -> AgentNic {
        AgentNic {
            mac,
            link: Link::Up,
            rx: VecDeque::new(),
            tx: Vec::new(),
            tx_queue,
            kicked: 0,
            counters: Counters::default(),
        }
    }

    /// A frame comes from the cable.
    pub fn arrive(&mut self, frame: Vec<u8>) {
        if self.rx.len() < RX_QUEUE && frame.len() <= FRAME_MAX {
            self.rx.push_back(frame);
        }
    }

    /// The cable takes what the agent has flushed. A frame that was queued and never flushed stays for ever, as it
    /// would in a virtio queue that is not notified.
    pub fn take_sent(&mut self) -> Vec<Vec<u8>> {
        let rest = self.tx.split_off(self.kicked);
        self.kicked = 0;
        core::mem::replace(&mut self.tx, rest)
    }

    /// The machine was reset: both queues are gone.
    pub fn reset(&mut self) {
        self.rx.clear();
        self.tx.clear();
        self.kicked = 0;
        self.counters = Counters::default();
    }
}

impl Nic for AgentNic {
    fn mac(&self) -> EthernetAddress {
        self.mac
    }

    fn link(&mut self) -> Link {
        self.link
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    fn flush(&mut self) {
        self.kicked = self.tx.len();
    }
}

/// A received frame.
pub struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

/// Room for one frame.
pub struct AgentTx<'a> {
    tx: &'a mut Vec<Vec<u8>>,
    counters: &'a mut Counters,
}

impl TxToken for AgentTx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        assert!(len <= FRAME_MAX, "the agent sends a frame of {len} bytes");
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.counters.tx_frames += 1;
        self.counters.tx_bytes += len as u64;
        self.tx.push(frame);
        result
    }
}

impl Device for AgentNic {
    type RxToken<'a> = Received;
    type TxToken<'a> = AgentTx<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received, AgentTx<'_>)> {
        if self.tx.len() >= self.tx_queue {
            self.counters.tx_full += 1;
            return None;
        }
        let frame = self.rx.pop_front()?;
        self.counters.rx_frames += 1;
        self.counters.rx_bytes += frame.len() as u64;
        Some((Received(frame), AgentTx { tx: &mut self.tx, counters: &mut self.counters }))
    }

    fn transmit(&mut self, _now: Instant) -> Option<AgentTx<'_>> {
        if self.tx.len() >= self.tx_queue {
            self.counters.tx_full += 1;
            return None;
        }
        Some(AgentTx { tx: &mut self.tx, counters: &mut self.counters })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        capabilities()
    }
}

fn capabilities() -> DeviceCapabilities {
    let mut capabilities = DeviceCapabilities::default();
    capabilities.medium = Medium::Ethernet;
    capabilities.max_transmission_unit = FRAME_MAX;
    capabilities
}

/// The card of a peer: no bounds.
#[derive(Default)]
pub struct PeerNic {
    pub rx: VecDeque<Vec<u8>>,
    pub tx: Vec<Vec<u8>>,
}

/// Room for one frame of a peer.
pub struct PeerTx<'a>(&'a mut Vec<Vec<u8>>);

impl TxToken for PeerTx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push(frame);
        result
    }
}

impl Device for PeerNic {
    type RxToken<'a> = Received;
    type TxToken<'a> = PeerTx<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received, PeerTx<'_>)> {
        Some((Received(self.rx.pop_front()?), PeerTx(&mut self.tx)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<PeerTx<'_>> {
        Some(PeerTx(&mut self.tx))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        capabilities()
    }
}
