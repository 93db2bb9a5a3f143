//! Host names and their addresses, as `/status`, `/debug/net` and `/metrics` show them.

use super::View;
use super::debug_net::Shown;
use crate::limits::DNS_NAMES;
use core::net::Ipv4Addr;
use heapless::Vec;
use serde::{Serialize, Serializer};

/// A name with the addresses that are in use.
#[derive(Serialize)]
pub struct NameDocument<'v> {
    name: &'v str,
    state: &'static str,
    reason: Option<&'static str>,
    #[serde(serialize_with = "texts")]
    addresses: &'v [Ipv4Addr],
    answered_s: Option<u64>,
    ttl_s: Option<u64>,
    failed_lookups: u32,
}

impl View<'_, '_> {
    /// Each name.
    pub fn names(&self) -> Vec<NameDocument<'_>, DNS_NAMES> {
        let mut names = Vec::new();
        for name in self.known.names.names() {
            // There is room for as many as the resolver has.
            let _ = names.push(NameDocument {
                name: &name.host,
                state: name.state(),
                reason: name.failure.map(|reason| reason.word().unwrap_or("other")),
                addresses: &name.addresses,
                answered_s: name.answered.map(|(at, _)| self.seconds_since(at)),
                ttl_s: name.answered.map(|(_, ttl)| ttl.secs()),
                failed_lookups: name.failures,
            });
        }
        names
    }
}

/// The addresses as strings.
fn texts<S: Serializer>(addresses: &[Ipv4Addr], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(addresses.iter().map(Shown))
}
