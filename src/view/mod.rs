//! What the agent knows, for answers: read-only, as it is at the moment of the answer.
//!
//! A view is a handful of references: nothing is collected before an answer asks for it. Each answer with a format of
//! its own has a file of its own here.

pub mod about;
mod badge;
mod config;
mod debug_net;
pub mod dialects;
mod events;
mod feed;
#[cfg(test)]
pub(crate) mod fixture;
pub mod incidents;
mod metrics;
mod names;
pub mod page;
mod security;
mod sheet;
pub mod status;
pub mod statuspage;
mod targets;
mod writer;

use crate::config::{Config, Loaded};
use crate::facts::Facts;
use crate::health::Health;
use crate::http::answer::hex;
use crate::http::pool::{Class, Pool};
use crate::http::probes::Probes;
use crate::http::server;
use crate::incidents::Told;
use crate::log::{Log, Ship, Sink};
use crate::net::Network;
use crate::net::resolve::Resolver;
use crate::nic;
use crate::time::Time;
use crate::vitals::Vitals;
use crate::watch::Watch;
use core::fmt::Write;
use heapless::String;
use serde::Serialize;
use smoltcp::time::Instant;

/// The parts of the agent that serving a request does not change.
pub struct Parts {
    /// When the agent started.
    pub started: Instant,
    /// The machine.
    pub facts: Facts,
    /// The configuration in force, and what came of loading it.
    pub loaded: Loaded,
    /// The agent's own health.
    pub health: Health,
    /// How the machine is doing, as it said last.
    pub vitals: Vitals,
    /// The host names of the configuration.
    pub names: Resolver,
    /// Wall time.
    pub time: Time,
    /// The session to the collector, where one is configured.
    pub ship: Option<Ship>,
    /// The way to a syslog server, where one is configured.
    pub sink: Option<Sink>,
    /// Until then the agent does no more than it must: after a crash loop.
    pub safe_until: Option<Instant>,
}

impl Parts {
    /// The same for a view: made only for answers that are rendered, for most polls give none.
    pub fn known<'v>(&'v self, incidents: Told<'v>) -> Known<'v> {
        Known {
            started: self.started,
            facts: &self.facts,
            loaded: &self.loaded,
            health: &self.health,
            vitals: &self.vitals,
            names: &self.names,
            time: &self.time,
            ship: &self.ship,
            sink: &self.sink,
            incidents,
            safe_mode: self.safe_until.is_some(),
        }
    }
}

/// What an answer can be made of, beside what serving changes.
#[derive(Clone, Copy)]
pub struct Known<'v> {
    /// When the agent started.
    pub started: Instant,
    /// The machine.
    pub facts: &'v Facts,
    /// The configuration in force, and what came of loading it.
    pub loaded: &'v Loaded,
    /// The agent's own health.
    pub health: &'v Health,
    /// How the machine is doing, as it said last.
    pub vitals: &'v Vitals,
    /// The host names of the configuration.
    pub names: &'v Resolver,
    /// Wall time.
    pub time: &'v Time,
    /// The session to the collector, where one is configured.
    pub ship: &'v Option<Ship>,
    /// The way to a syslog server, where one is configured.
    pub sink: &'v Option<Sink>,
    /// What is told of incidents and maintenances.
    pub incidents: Told<'v>,
    /// Whether the agent does no more than it must.
    pub safe_mode: bool,
}

impl Known<'_> {
    /// Whether this boot is a drill: its configuration asks for trouble, or says that somebody makes it.
    pub fn is_exercise(&self) -> bool {
        self.loaded.config.drill.is_some()
    }
}

/// The agent, as answers see it.
pub struct View<'v, 'a> {
    /// The time.
    pub now: Instant,
    /// What serving does not change.
    pub known: Known<'v>,
    /// Link, lease and interfaces.
    pub network: &'v Network<'a>,
    /// Those who are watched.
    pub watch: &'v Watch<'a>,
    /// The log.
    pub log: &'v Log<'a>,
    /// The connection table.
    pub pool: &'v Pool<'a>,
    /// Who looks for weak spots.
    pub probes: &'v Probes,
    /// What the HTTP server has counted.
    pub counters: &'v server::Counters,
    /// Shared answer buffers in use; the one this answer is rendered into counts.
    pub answers_in_use: usize,
    /// What the card has counted.
    pub nic: nic::Counters,
}

/// How full the connection table is.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Connections {
    /// Connections that are not free.
    pub open: u16,
    /// Of those, established and waiting for a request.
    pub idle: u16,
    /// Of those, with a handshake that is not complete.
    pub half_open: u16,
    /// How many there can be.
    pub limit: u16,
    /// How many completed their handshake since boot.
    pub accepted: u64,
    /// How many new ones were dropped because all were in use.
    pub refused: u64,
    /// How many gave way to newer ones.
    pub recycled: u64,
}

impl View<'_, '_> {
    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.known.loaded.config
    }

    /// Seconds since the agent started.
    pub fn uptime_s(&self) -> u64 {
        self.seconds_since(self.known.started)
    }

    /// For how long the agent itself has been cut off, in seconds, if it is: what is shown of the targets is old then.
    pub fn isolated_s(&self) -> Option<u64> {
        self.watch.isolated_since().map(|since| self.seconds_since(since))
    }

    /// Whether a runbook of this name came along: it is served as `/runbook/NAME`.
    pub fn has_runbook(&self, name: &str) -> bool {
        self.known.facts.content.has_runbook(name)
    }

    fn seconds_since(&self, then: Instant) -> u64 {
        (self.now - then).secs()
    }

    /// How full the connection table is.
    pub fn connections(&self) -> Connections {
        let (pool, counters) = (self.pool, self.counters);
        Connections {
            open: pool.size() as u16 - pool.count(Class::Free),
            idle: pool.count(Class::Idle),
            half_open: pool.count(Class::HalfOpen),
            limit: pool.size() as u16,
            accepted: counters.accepted,
            refused: counters.refused,
            recycled: counters.recycled_half_open + counters.recycled_idle,
        }
    }
}

fn text<const N: usize>(arguments: core::fmt::Arguments<'_>) -> String<N> {
    let mut text = String::new();
    // What is written here has a longest form, and N is its length.
    let _ = text.write_fmt(arguments);
    text
}

fn hex_text<const N: usize>(number: u64) -> String<N> {
    let mut text = String::new();
    push_hex(&mut text, &hex::<N>(number));
    text
}

fn digest_text(digest: &[u8; 32]) -> String<64> {
    let mut text = String::new();
    digest.iter().for_each(|byte| push_hex(&mut text, &hex::<2>(u64::from(*byte))));
    text
}

fn push_hex<const N: usize>(text: &mut String<N>, digits: &[u8]) {
    for &digit in digits {
        // As many digits are pushed as the text has room for.
        let _ = text.push(char::from(digit));
    }
}
