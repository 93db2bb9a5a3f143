//! What the agent knows, for answers: read-only, taken at the moment of the answer.

use crate::config::{Config, Loaded};
use crate::facts::Facts;
use crate::health::{CHECKS, Health, State};
use crate::http::answer::hex;
use crate::limits;
use crate::log::{self, Log, Phase};
use crate::net::{self, Address};
use crate::time::Estimate;
use core::fmt::Write;
use heapless::{String, Vec};
use outpost_wire::EntropySource;
use serde::Serialize;
use smoltcp::time::Instant;

/// The agent, as answers see it.
pub struct View<'v> {
    /// The time.
    pub now: Instant,
    /// When the agent started.
    pub started: Instant,
    /// The machine.
    pub facts: &'v Facts,
    /// The configuration in force.
    pub config: &'v Config,
    /// What came of loading it.
    pub loaded: &'v Loaded,
    /// The agent's own health.
    pub health: &'v Health,
    /// Whether the network is usable.
    pub network: net::State,
    /// Our address.
    pub address: Option<&'v Address>,
    /// What UTC is, as far as a server was believed.
    pub time: Option<Estimate>,
    /// The session to the collector, where one is configured.
    pub collector: Option<log::Status>,
    /// Whether the agent does no more than it must.
    pub safe_mode: bool,
    /// Connections by what they are doing: open and limit.
    pub connections: Connections,
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

/// `/status`.
#[derive(Serialize)]
pub struct StatusDocument<'v> {
    name: &'v str,
    status: &'static str,
    ready: bool,
    version: &'static str,
    boot_id: String<16>,
    uptime_s: u64,
    checks: Vec<CheckDocument, { CHECKS.len() }>,
    time: Option<TimeDocument>,
    network: NetworkDocument,
    log: LogDocument,
    collector: Option<CollectorDocument>,
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
    buffered: u64,
    suppressed: u64,
    oldest_unacked_ms: Option<u64>,
}

#[derive(Serialize)]
struct CollectorDocument {
    address: String<21>,
    state: &'static str,
    authenticated: bool,
    since_s: u64,
    last_ack_s: Option<u64>,
    failed_attempts: u32,
    last_end: Option<&'static str>,
}

#[derive(Serialize)]
struct ProblemDocument<'v> {
    pointer: &'v str,
    problem: &'v str,
}

/// `/about`.
#[derive(Serialize)]
pub struct AboutDocument<'v> {
    product: &'static str,
    version: &'static str,
    revision: &'static str,
    image_id: String<64>,
    boot_id: String<16>,
    name: &'v str,
    machine: &'v str,
    memory_bytes: u64,
    clock: &'static str,
    wall_clock: Option<&'static str>,
    entropy: &'static str,
    config_source: &'static str,
    config_hash: String<16>,
    severity_hash: String<16>,
    boot_phases_us: Vec<PhaseDocument, 12>,
    last_reset: &'static str,
    previous_boot: Option<PreviousDocument>,
    abnormal_ends: u32,
    safe_mode: bool,
    watchdog: Option<&'static str>,
    limits: LimitsDocument,
}

#[derive(Serialize)]
struct PhaseDocument {
    phase: &'static str,
    took_us: u32,
}

#[derive(Serialize)]
struct PreviousDocument {
    boot_id: String<16>,
    uptime_s: u64,
}

#[derive(Serialize)]
struct LimitsDocument {
    connections: usize,
    connection_receive_bytes: usize,
    connection_send_bytes: usize,
    request_head_bytes: usize,
    answer_buffers: usize,
    answer_bytes: usize,
    log_region_bytes: usize,
    config_bytes: usize,
}

impl View<'_> {
    /// Seconds since the agent started.
    pub fn uptime_s(&self) -> u64 {
        self.seconds_since(self.started)
    }

    fn seconds_since(&self, then: Instant) -> u64 {
        (self.now - then).secs()
    }

    /// `/status` as of now.
    pub fn status(&self, log: &Log<'_>) -> StatusDocument<'_> {
        let stats = log.stats();
        let now_us = self.now.total_micros().max(0) as u64;
        let display = |address: core::net::Ipv4Addr| text(format_args!("{address}"));
        StatusDocument {
            name: &self.config.name,
            status: self.health.worst().name(),
            ready: self.health.is_ready(),
            version: crate::VERSION,
            boot_id: hex_text(self.facts.boot_id),
            uptime_s: self.uptime_s(),
            checks: CHECKS
                .iter()
                .map(|&check| {
                    let finding = self.health.get(check);
                    CheckDocument {
                        name: check.name(),
                        status: finding.state().name(),
                        reason: (finding.state() != State::Pass).then_some(finding.reason.text()),
                        since_s: self.seconds_since(finding.since),
                    }
                })
                .collect(),
            time: self.time.map(|time| TimeDocument {
                unix_us: time.unix_us,
                error_us: time.error_us,
                stratum: time.stratum,
                server: display(time.server),
            }),
            network: NetworkDocument {
                state: self.network.name(),
                address: self.address.map(|address| text(format_args!("{}", address.cidr))),
                gateway: self.address.and_then(|address| address.gateway).map(display),
                dhcp_server: self.address.and_then(|address| address.server).map(display),
            },
            log: LogDocument {
                emitted: stats.emitted,
                delivered: stats.delivered,
                lost: stats.lost,
                buffered: stats.buffered,
                suppressed: stats.suppressed + stats.counted,
                oldest_unacked_ms: log.oldest_unacked_us().map(|us| now_us.saturating_sub(us) / 1000),
            },
            collector: self.collector.map(|session| CollectorDocument {
                address: text(format_args!("{}", session.address)),
                state: match session.phase {
                    Phase::Waiting => "waiting",
                    Phase::Connecting => "connecting",
                    Phase::Greeting => "greeting",
                    Phase::Connected => "connected",
                },
                authenticated: session.keyed && session.phase == Phase::Connected,
                since_s: self.seconds_since(session.since),
                last_ack_s: session.last_ack.map(|at| self.seconds_since(at)),
                failed_attempts: session.attempts,
                last_end: session.last_end.map(|end| end.word().unwrap_or("other")),
            }),
            connections: self.connections,
            config_errors: self
                .loaded
                .problems
                .iter()
                .map(|problem| ProblemDocument { pointer: &problem.pointer, problem: &problem.text })
                .collect(),
        }
    }

    /// `/about`.
    pub fn about(&self) -> AboutDocument<'_> {
        let facts = self.facts;
        let mut image_id = String::new();
        for byte in facts.image_id {
            push_hex(&mut image_id, &hex::<2>(u64::from(byte)));
        }
        AboutDocument {
            product: "outpost",
            version: crate::VERSION,
            revision: facts.revision,
            image_id,
            boot_id: hex_text(facts.boot_id),
            name: &self.config.name,
            machine: &facts.machine,
            memory_bytes: facts.memory_bytes,
            clock: facts.clock,
            wall_clock: facts.wall.map(|wall| wall.source),
            entropy: facts.entropy.word().unwrap_or("other"),
            config_source: facts.config_source.word().unwrap_or("other"),
            config_hash: hex_text(u64::from_be_bytes(self.config.hash())),
            severity_hash: hex_text(u64::from_be_bytes(self.config.severity.hash())),
            boot_phases_us: facts
                .phases
                .iter()
                .map(|phase| PhaseDocument { phase: phase.name, took_us: phase.took_us })
                .collect(),
            last_reset: facts.history.last.as_ref().map_or("power_on", |last| last.cause.word().unwrap_or("unknown")),
            previous_boot: facts
                .history
                .last
                .as_ref()
                .map(|last| PreviousDocument { boot_id: hex_text(last.boot_id), uptime_s: last.uptime.secs() }),
            abnormal_ends: facts.history.abnormal_ends,
            safe_mode: self.safe_mode,
            watchdog: facts.watchdog,
            limits: LimitsDocument {
                connections: limits::CONNECTIONS,
                connection_receive_bytes: limits::CONNECTION_RX,
                connection_send_bytes: limits::CONNECTION_TX,
                request_head_bytes: limits::HTTP_HEAD,
                answer_buffers: limits::ANSWERS,
                answer_bytes: limits::ANSWER,
                log_region_bytes: limits::LOG_REGION,
                config_bytes: limits::CONFIG_MAX,
            },
        }
    }

    /// `/` for people: what this is, how it is, where to look.
    pub fn write_summary(&self, log: &Log<'_>, out: &mut impl Write) -> core::fmt::Result {
        let stats = log.stats();
        let verdict = if self.health.is_ready() { "ready" } else { "NOT READY" };
        writeln!(out, "{} is {verdict}: Outpost {}, up {} s", self.config.name, crate::VERSION, self.uptime_s())?;
        for check in CHECKS {
            let finding = self.health.get(check);
            let (name, state, age) = (check.name(), finding.state().name(), self.seconds_since(finding.since));
            writeln!(out, "  {name:<12}{state:<5} for {age} s  {}", finding.reason.text())?;
        }
        match self.collector {
            Some(session) => writeln!(out, "log: to {}", session.address)?,
            None => writeln!(out, "log: no collector is configured; records stay in memory and on the serial console")?,
        }
        writeln!(
            out,
            "     {} emitted, {} delivered, {} lost, {} buffered",
            stats.emitted, stats.delivered, stats.lost, stats.buffered
        )?;
        if !self.loaded.present {
            writeln!(out, "config: none was given, defaults are in force; boot with -initrd config.json")?;
        }
        if self.facts.entropy == EntropySource::Weak {
            writeln!(out, "entropy: weak; give the VM a processor with RDRAND (-cpu host) or a virtio-rng device")?;
        }
        writeln!(out, "paths: /livez /readyz?verbose /status /about")
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

fn push_hex<const N: usize>(text: &mut String<N>, digits: &[u8]) {
    for &digit in digits {
        // As many digits are pushed as the text has room for.
        let _ = text.push(char::from(digit));
    }
}
