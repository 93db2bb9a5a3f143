//! `/about`: which image runs on which machine, how it came up, and what its bounds are.

use super::{View, digest_text, hex_text};
use crate::content::Kind;
use crate::limits;
use heapless::{String, Vec};
use serde::Serialize;

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
    boot_path: &'static str,
    memory_bytes: u64,
    clock: &'static str,
    wall_clock: Option<&'static str>,
    entropy: &'static str,
    config_source: &'static str,
    config_hash: String<16>,
    severity_hash: String<16>,
    content: ContentDocument,
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
    content_bytes: usize,
}

#[derive(Serialize)]
struct ContentDocument {
    bytes: usize,
    sha256: Option<String<64>>,
    runbooks: usize,
    contacts: bool,
    problem: Option<&'static str>,
}

impl View<'_, '_> {
    /// `/about`.
    pub fn about(&self) -> AboutDocument<'_> {
        let (facts, config) = (self.known.facts, self.config());
        AboutDocument {
            product: "outpost",
            version: crate::VERSION,
            revision: facts.revision,
            image_id: digest_text(&facts.image_id),
            boot_id: hex_text(facts.boot_id),
            name: &config.name,
            machine: &facts.machine,
            boot_path: facts.boot_path,
            memory_bytes: facts.memory_bytes,
            clock: facts.clock,
            wall_clock: facts.wall.map(|wall| wall.source),
            entropy: facts.entropy.word().unwrap_or("other"),
            config_source: self.known.loaded.source.word().unwrap_or("other"),
            config_hash: hex_text(u64::from_be_bytes(config.hash(self.watch.checks()))),
            severity_hash: hex_text(u64::from_be_bytes(config.severity.hash())),
            content: ContentDocument {
                bytes: facts.content.len(),
                sha256: (!facts.content.is_empty()).then(|| digest_text(&facts.content.digest())),
                runbooks: facts.content.runbooks(),
                contacts: facts.content.page(Kind::Contacts).is_some(),
                problem: facts.content.problem().map(|problem| problem.word().unwrap_or("other")),
            },
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
            safe_mode: self.known.safe_mode,
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
                content_bytes: limits::CONTENT_MAX,
            },
        }
    }
}
