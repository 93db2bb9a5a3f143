//! What is watched, as answers tell it.

use super::{View, digest_text};
use crate::watch::{Day, Watched};
use heapless::String;
use outpost_wire::ProbeReason;
use serde::Serialize;
use serde::ser::Serializer;

/// The targets of `/status`: written one by one, so that no answer needs room for all of them twice.
pub struct Targets<'t, 'v, 'a>(pub &'t View<'v, 'a>);

#[derive(Serialize)]
struct TargetDocument<'v> {
    name: &'v str,
    group: Option<&'v str>,
    kind: &'static str,
    state: &'static str,
    since_s: u64,
    /// Of the last probe that said anything; what it found is told by the next three.
    last_s: Option<u64>,
    reason: Option<&'static str>,
    http_status: Option<u16>,
    took_us: Option<u64>,
    certificate: Option<CertificateDocument<'v>>,
    days: DaysDocument,
    owner: &'v str,
    impact: &'v str,
    runbook: &'v str,
    /// Whether `/runbook/` has it.
    runbook_served: bool,
}

/// The last 90 days together.
#[derive(Serialize)]
struct DaysDocument {
    with_data: u32,
    good: u32,
    bad: u32,
}

#[derive(Serialize)]
struct CertificateDocument<'v> {
    not_before: i64,
    not_after: i64,
    names: &'v str,
    spki_sha256: String<64>,
    authenticity: &'static str,
}

impl Serialize for Targets<'_, '_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Targets(view) = self;
        serializer.collect_seq(view.watch.all().iter().map(|watched| view.target(watched)))
    }
}

impl<'v> View<'v, '_> {
    fn target(&self, watched: &'v Watched<'_>) -> TargetDocument<'v> {
        let checks = self.watch.checks();
        let (check, last) = (watched.check(), watched.belief().last());
        let (shown, since) = watched.shown(self.now);
        let (Day { good, bad }, with_data) = self.watch.days().total(watched.number());
        TargetDocument {
            name: checks.text(check.name),
            group: Some(checks.text(check.group)).filter(|group| !group.is_empty()),
            kind: check.kind_name(),
            state: shown.name(),
            since_s: self.seconds_since(since),
            last_s: last.map(|last| self.seconds_since(last.at)),
            reason: last.map(|last| reason(last.reason)),
            http_status: last.map(|last| last.status).filter(|status| *status != 0),
            took_us: last.map(|last| last.took.total_micros()),
            certificate: watched.certificate().map(|seen| CertificateDocument {
                not_before: seen.not_before,
                not_after: seen.not_after,
                names: &seen.names,
                spki_sha256: digest_text(&seen.pin),
                authenticity: if seen.authenticated { "pinned" } else { "not authenticated" },
            }),
            days: DaysDocument { with_data, good, bad },
            owner: checks.text(check.owner),
            impact: checks.text(check.impact),
            runbook: checks.text(check.runbook),
            runbook_served: self.has_runbook(checks.text(check.runbook)),
        }
    }
}

/// As it is written in answers.
pub fn reason(reason: ProbeReason) -> &'static str {
    reason.word().unwrap_or("other")
}
