//! The configuration: one JSON document, checked once at start, into typed values. (skeleton)

use core::net::{Ipv4Addr, SocketAddrV4};
use heapless::{String, Vec};
use outpost_wire::limits::AGENT_NAME_MAX;
use smoltcp::wire::Ipv4Cidr;

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Name of this agent: a DNS label or host name.
    pub name: String<AGENT_NAME_MAX>,
    /// How the agent gets its address.
    pub network: Network,
    /// Where log records go; `None`: they stay in the ring and on serial.
    pub collector: Option<Collector>,
    /// The HTTP server.
    pub http: Http,
    /// What the image does after a panic.
    pub on_panic: OnPanic,
}

/// How the agent gets its address.
#[derive(Clone, Debug, PartialEq)]
pub enum Network {
    /// From a DHCP server.
    Dhcp,
    /// As configured.
    Static(StaticNetwork),
}

/// A configured address.
#[derive(Clone, Debug, PartialEq)]
pub struct StaticNetwork {
    /// Our address with its prefix.
    pub address: Ipv4Cidr,
    /// The router for everything else.
    pub gateway: Option<Ipv4Addr>,
    /// DNS servers, in order.
    pub dns: Vec<Ipv4Addr, 4>,
}

/// The collector.
#[derive(Clone, Debug, PartialEq)]
pub struct Collector {
    /// Its address and port.
    pub address: SocketAddrV4,
    /// The shared key of a keyed session (32 secret bytes); never shown.
    pub key: Option<Secret>,
}

/// Secret bytes, redacted by type.
#[derive(Clone, PartialEq)]
pub struct Secret(pub [u8; 32]);

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("(secret)")
    }
}

/// The HTTP server.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    /// TCP port.
    pub port: u16,
    /// Who may see the operator paths.
    pub operator_allow: Vec<Ipv4Cidr, 16>,
    /// Whether the operator took the agent out of service: `/readyz` fails, `/livez` does not.
    pub maintenance: bool,
}

/// What the image does after a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPanic {
    /// Resets the machine.
    Reset,
    /// Stops it in a way that the VMM sees: for tests.
    Stop,
}

/// One error of the document.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Where: the JSON pointer (RFC 6901), `` for the whole document.
    pub pointer: String<64>,
    /// What is wrong, the value, and what is allowed, in a sentence.
    pub text: String<160>,
}

/// What came of loading a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration in force: what could be read, defaults for the rest.
    pub config: Config,
    /// Whether there was a document at all.
    pub present: bool,
    /// The errors, the first ones in full.
    pub problems: Vec<Problem, { crate::limits::CONFIG_PROBLEMS }>,
    /// How many errors there are in all.
    pub problem_count: u16,
}
