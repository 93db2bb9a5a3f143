//! `/status`: the agent's state as JSON.

use super::incidents::IncidentsDocument;
use super::names::Names;
use super::targets::Targets;
use super::{Connections, View, hex_text, text};
use crate::health::{CHECKS, State};
use crate::limits;
use crate::log::{Phase, Ship, Sink};
use core::net::SocketAddrV4;
use heapless::{String, Vec};
use serde::Serialize;

/// `/status`.
#[derive(Serialize)]
pub struct StatusDocument<'v, 'a> {
    name: &'v str,
    status: &'static str,
    ready: bool,
    version: &'static str,
    boot_id: String<16>,
    uptime_s: u64,
    isolated_s: Option<u64>,
    checks: Vec<CheckDocument, { CHECKS.len() }>,
    targets: Targets<'v, 'v, 'a>,
    incidents: Option<IncidentsDocument<'v>>,
    time: Option<TimeDocument>,
    network: NetworkDocument,
    log: LogDocument,
    collector: Option<CollectorDocument>,
    sink: Option<SinkDocument>,
    names: Names<'v>,
    connections: Connections,
    config_errors: Vec<ProblemDocument<'v>, { limits::CONFIG_PROBLEMS }>,
}

#[derive(Serialize)]
struct CheckDocument {
    name: &'static str,
    status: &'static str,
    reason: Option<&'static str>,
    since_s: u64,
}

#[derive(Serialize)]
struct NetworkDocument {
    state: &'static str,
    address: Option<String<18>>,
    gateway: Option<String<15>>,
    dhcp_server: Option<String<15>>,
}

#[derive(Serialize)]
struct TimeDocument {
    unix_us: u64,
    error_us: u64,
    stratum: u8,
    server: String<15>,
}

#[derive(Serialize)]
struct LogDocument {
    emitted: u64,
    delivered: u64,
    lost: u64,
    last_loss_s: Option<u64>,
    buffered: u64,
    sent_unacknowledged: u64,
    suppressed: u64,
    oldest_unacked_ms: Option<u64>,
}

#[derive(Serialize)]
struct CollectorDocument {
    address: Option<String<21>>,
    state: &'static str,
    authenticated: bool,
    since_s: u64,
    last_ack_s: Option<u64>,
    failed_attempts: u32,
    last_end: Option<&'static str>,
}

#[derive(Serialize)]
struct SinkDocument {
    syslog: Option<String<21>>,
    delivery: &'static str,
    state: &'static str,
    since_s: u64,
    failed_attempts: u32,
    last_end: Option<&'static str>,
}

#[derive(Serialize)]
struct ProblemDocument<'v> {
    pointer: &'v str,
    problem: &'v str,
}

impl<'a> View<'_, 'a> {
    /// `/status` as of now.
    pub fn status(&self) -> StatusDocument<'_, 'a> {
        let (known, log) = (&self.known, self.log);
        let stats = log.stats();
        let address = self.network.address();
        let now_us = self.now.total_micros().max(0) as u64;
        let display = |address: core::net::Ipv4Addr| text(format_args!("{address}"));
        StatusDocument {
            name: &self.config().name,
            status: known.health.worst().name(),
            ready: known.health.is_ready(),
            version: crate::VERSION,
            boot_id: hex_text(known.facts.boot_id),
            uptime_s: self.uptime_s(),
            isolated_s: self.isolated_s(),
            checks: CHECKS
                .iter()
                .map(|&check| {
                    let finding = known.health.get(check);
                    CheckDocument {
                        name: check.name(),
                        status: finding.state().name(),
                        reason: (finding.state() != State::Pass).then_some(finding.reason.text()),
                        since_s: self.seconds_since(finding.since),
                    }
                })
                .collect(),
            targets: Targets(self),
            incidents: self.incidents(),
            time: known.time.now(self.now).map(|time| TimeDocument {
                unix_us: time.unix_us,
                error_us: time.error_us,
                stratum: time.stratum,
                server: display(time.server),
            }),
            network: NetworkDocument {
                state: self.network.state().name(),
                address: address.map(|address| text(format_args!("{}", address.cidr))),
                gateway: address.and_then(|address| address.gateway).map(display),
                dhcp_server: address.and_then(|address| address.lease).map(|lease| display(lease.server)),
            },
            log: LogDocument {
                emitted: stats.emitted,
                delivered: stats.delivered,
                lost: stats.lost,
                last_loss_s: log.last_loss().map(|at| self.seconds_since(at)),
                buffered: stats.buffered,
                sent_unacknowledged: stats.sent_unacknowledged,
                suppressed: stats.suppressed + stats.counted,
                oldest_unacked_ms: log.oldest_unacked_us().map(|us| now_us.saturating_sub(us) / 1000),
            },
            collector: known.ship.as_ref().map(Ship::status).map(|session| CollectorDocument {
                address: address_of(session.address),
                state: session.phase.name(),
                authenticated: session.keyed && session.phase == Phase::Connected,
                since_s: self.seconds_since(session.since),
                last_ack_s: session.last_ack.map(|at| self.seconds_since(at)),
                failed_attempts: session.attempts,
                last_end: session.last_end.map(|end| end.word().unwrap_or("other")),
            }),
            sink: known.sink.as_ref().map(Sink::status).map(|sink| SinkDocument {
                syslog: address_of(sink.address),
                delivery: "next hop only",
                state: sink.phase.name(),
                since_s: self.seconds_since(sink.since),
                failed_attempts: sink.attempts,
                last_end: sink.last_end.map(|end| end.word().unwrap_or("other")),
            }),
            names: self.names(),
            connections: self.connections(),
            config_errors: known
                .loaded
                .problems
                .iter()
                .map(|problem| ProblemDocument { pointer: &problem.pointer, problem: &problem.text })
                .collect(),
        }
    }
}

/// Nothing, as long as a name has no address.
fn address_of(peer: SocketAddrV4) -> Option<String<21>> {
    (!peer.ip().is_unspecified()).then(|| text(format_args!("{peer}")))
}
