//! Host names and their addresses, as `/status` and `/debug/net` show them.

use super::View;
use super::debug_net::Shown;
use crate::net::resolve::Name;
use core::net::Ipv4Addr;
use serde::{Serialize, Serializer};
use smoltcp::time::Instant;

/// All names.
#[derive(Serialize)]
pub struct Names<'v>(#[serde(serialize_with = "documents")] (&'v [Name], Instant));

/// A name with the addresses that are in use.
#[derive(Serialize)]
struct NameDocument<'v> {
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
    /// All names.
    pub fn names(&self) -> Names<'_> {
        Names((self.known.names.names(), self.now))
    }
}

// Once in the image, for the two answers that have them.
#[inline(never)]
fn documents<S: Serializer>((names, now): &(&[Name], Instant), serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(names.iter().map(|name| NameDocument {
        name: &name.host,
        state: name.state(),
        reason: name.failure.map(|reason| reason.word().unwrap_or("other")),
        addresses: &name.addresses,
        answered_s: name.answered.map(|(at, _)| (*now - at).secs()),
        ttl_s: name.answered.map(|(_, ttl)| ttl.secs()),
        failed_lookups: name.failures,
    }))
}

/// The addresses as strings.
fn texts<S: Serializer>(addresses: &[Ipv4Addr], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(addresses.iter().map(Shown))
}
