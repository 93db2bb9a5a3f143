//! The network card: found at boot, driven as the agent's [`Nic`].
//!
//! ```text
//!           ┌ places ─ mmio ┐         ┌ start: reset, features, queues
//!   find ──▶│               ├─ Port ──┤
//!           └ pci ─ msix    ┘         └ Card: frames in and out of two Queues
//! ```
//!
//! `Card` and `Queue` are plain code over memory and one trait, so that the host tests them against a device that
//! misbehaves (`tests/virtqueue.rs`). No card, or one that cannot be driven, is a sentence on serial and
//! [`AnyNic::Absent`]: never a panic, never a wait without an end.

mod card;
mod checksum;
mod mmio;
mod msix;
pub mod pci;
mod places;
mod queue;
pub mod region;
pub mod rng;
mod start;

use crate::acpi::Platform;
use crate::serial;
use card::{Card, Outgoing, Port, Received};
use core::fmt::{Arguments, Display, Write};
use mmio::MmioPort;
use outpost::nic::{Counters, Link, Nic};
use pci::PciPort;
use smoltcp::phy::{Device, DeviceCapabilities};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::EthernetAddress;
use virtio_drivers::transport::DeviceType;

/// How long to sleep at most beside a card that cannot interrupt.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// Whatever card the machine has.
#[expect(clippy::large_enum_variant, reason = "there is one, and without a heap nothing to box it in")]
pub enum AnyNic {
    /// None that can be driven.
    Absent,
    /// A virtio card.
    Virtio(Card<AnyPort>),
}

/// Either transport.
pub enum AnyPort {
    /// virtio-mmio.
    Mmio(MmioPort),
    /// PCI.
    Pci(PciPort),
}

/// Finds the machine's card and takes it into service; says on serial what came of it. `seed` is random; it makes
/// up a hardware address where the card has none.
pub fn find(platform: &Platform, command_line: &str, seed: u64) -> AnyNic {
    if let Some((place, transport)) = mmio::find(&mmio::places(platform, command_line), DeviceType::Network) {
        let name = format_args!("virtio-mmio at {:#x}", place.address);
        return in_service(name, mmio::bring_up(transport, place, seed));
    }
    if let Some(mut root) = pci::root()
        && let Some(device) = pci::find(&root, pci::NETWORK)
    {
        return in_service(format_args!("virtio-pci at {device}"), pci::bring_up(&mut root, device, seed));
    }
    say(format_args!("there is none, so nobody can reach this machine; give the VM a virtio-net device"));
    AnyNic::Absent
}

fn in_service(place: Arguments<'_>, result: Result<Card<AnyPort>, impl Display>) -> AnyNic {
    match result {
        Ok(card) => {
            say(format_args!("{place}, {}", card.mac()));
            if card.must_poll() {
                say(format_args!(
                    "it has no interrupt that reaches us, so it is looked at every {} ms",
                    POLL_INTERVAL.total_millis()
                ));
            }
            AnyNic::Virtio(card)
        }
        Err(reason) => {
            say(format_args!("{place} cannot be used: {reason}"));
            AnyNic::Absent
        }
    }
}

fn say(text: Arguments<'_>) {
    // The console drops what it cannot take; there is nobody else to tell.
    let _ = writeln!(serial::Port, "outpost: network card: {text}");
}

impl AnyNic {
    /// Gets ready for sleep: see [`Card::prepare_sleep`].
    pub fn prepare_sleep(&mut self) -> bool {
        match self {
            AnyNic::Absent => true,
            AnyNic::Virtio(card) => card.prepare_sleep(),
        }
    }

    /// Looks whether the link has changed, for cards whose interrupts do not tell.
    pub fn look_at_link(&mut self) {
        if let AnyNic::Virtio(card) = self {
            card.look_at_link();
        }
    }

    /// Tells the device what it has: see [`Card::remind`].
    pub fn remind(&mut self) {
        if let AnyNic::Virtio(card) = self {
            card.remind();
        }
    }

    /// How long to sleep at most: a card that cannot interrupt must be looked at.
    pub fn longest_sleep(&self) -> Option<Duration> {
        match self {
            AnyNic::Absent => None,
            AnyNic::Virtio(card) => card.must_poll().then_some(POLL_INTERVAL),
        }
    }
}

impl Nic for AnyNic {
    fn mac(&self) -> EthernetAddress {
        match self {
            AnyNic::Absent => EthernetAddress([2, 0, 0, 0, 0, 0]),
            AnyNic::Virtio(card) => card.mac(),
        }
    }

    fn link(&mut self) -> Link {
        match self {
            AnyNic::Absent => Link::Absent,
            AnyNic::Virtio(card) => card.link(),
        }
    }

    fn counters(&self) -> Counters {
        match self {
            AnyNic::Absent => Counters::default(),
            AnyNic::Virtio(card) => card.counters(),
        }
    }

    #[inline(always)]
    fn flush(&mut self) {
        match self {
            AnyNic::Absent => {}
            AnyNic::Virtio(card) => card.flush(),
        }
    }
}

impl Device for AnyNic {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Outgoing<'a>;

    fn receive(&mut self, now: Instant) -> Option<(Received<'_>, Outgoing<'_>)> {
        match self {
            AnyNic::Absent => None,
            AnyNic::Virtio(card) => card.receive(now),
        }
    }

    #[inline(always)]
    fn transmit(&mut self, now: Instant) -> Option<Outgoing<'_>> {
        match self {
            AnyNic::Absent => None,
            AnyNic::Virtio(card) => card.transmit(now),
        }
    }

    fn capabilities(&self) -> DeviceCapabilities {
        match self {
            AnyNic::Absent => card::capabilities(false),
            AnyNic::Virtio(card) => card.capabilities(),
        }
    }
}

impl Port for AnyPort {
    fn kick(&mut self, queue: u16) {
        match self {
            AnyPort::Mmio(port) => port.kick(queue),
            AnyPort::Pci(port) => port.kick(queue),
        }
    }

    #[inline(always)]
    fn acknowledge(&mut self) -> bool {
        match self {
            AnyPort::Mmio(port) => port.acknowledge(),
            AnyPort::Pci(port) => port.acknowledge(),
        }
    }

    fn link(&mut self) -> Link {
        match self {
            AnyPort::Mmio(port) => port.link(),
            AnyPort::Pci(port) => port.link(),
        }
    }

    fn interrupts(&self) -> bool {
        match self {
            AnyPort::Mmio(port) => port.interrupts(),
            AnyPort::Pci(port) => port.interrupts(),
        }
    }
}
