//! The network card: found at boot, driven as the agent's [`Nic`].

use crate::acpi::Platform;
use outpost::nic::{Counters, Link, Nic};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;

/// Whatever card the machine has.
pub enum AnyNic {
    /// None that can be driven.
    Absent,
}

/// Finds the machine's card and takes it into service.
pub fn find(_platform: &Platform, _command_line: &str) -> AnyNic {
    AnyNic::Absent
}

/// A token that never exists.
pub enum Never {}

impl RxToken for Never {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, _: F) -> R {
        match self {}
    }
}

impl TxToken for Never {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, _: usize, _: F) -> R {
        match self {}
    }
}

impl Device for AnyNic {
    type RxToken<'a> = Never;
    type TxToken<'a> = Never;

    fn receive(&mut self, _: Instant) -> Option<(Never, Never)> {
        None
    }

    fn transmit(&mut self, _: Instant) -> Option<Never> {
        None
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

impl Nic for AnyNic {
    fn mac(&self) -> EthernetAddress {
        EthernetAddress([2, 0, 0, 0, 0, 0])
    }

    fn link(&mut self) -> Link {
        Link::Absent
    }

    fn counters(&self) -> Counters {
        Counters::default()
    }

    fn flush(&mut self) {}
}
