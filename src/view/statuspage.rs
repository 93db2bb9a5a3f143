//! `/api/v2/...`: the targets as Atlassian Statuspage's public API has them, for the programs that read that.
//!
//! Its components know no word for "not known", and what is not known must not look good. So a component is
//! `operational` when its target is up and the last probe was good, `major_outage` when it is down, and
//! `degraded_performance` in between: up with a bad last probe, unknown, or stale. What it is exactly stands beside it as
//! `outpost_state`, which is ours, as is `outpost_exercise` of the page. Incidents and maintenances have the ids and the words of their document. The indicator is `none` only when all targets are operational and there are any.

use super::View;
use super::page::{Clock, EXERCISE};
use super::writer::Writer;
use crate::hash::fnv1a;
use crate::watch::{Shown, Watched};
use core::cmp::Ordering;
use outpost_wire::IncidentStatus;
use smoltcp::time::Instant;

const STATUS: u8 = 1;
const COMPONENTS: u8 = 2;
const INCIDENTS: u8 = 4;
const MAINTENANCES: u8 = 8;
/// Of the incidents only those that are not over.
const OPEN: u8 = 16;
/// Of the maintenances only those that are under way, or that are to come.
const ACTIVE: u8 = 32;
const UPCOMING: u8 = 64;
/// And those that are over.
const OVER: u8 = 128;

/// Each document behind `/api/v2/`, and what is in it beside `page`.
const DOCUMENTS: [(&str, u8); 8] = [
    ("summary.json", STATUS | COMPONENTS | INCIDENTS | OPEN | MAINTENANCES | ACTIVE | UPCOMING),
    ("status.json", STATUS),
    ("components.json", COMPONENTS),
    ("incidents.json", INCIDENTS),
    ("incidents/unresolved.json", INCIDENTS | OPEN),
    ("scheduled-maintenances.json", MAINTENANCES | ACTIVE | UPCOMING | OVER),
    ("scheduled-maintenances/active.json", MAINTENANCES | ACTIVE),
    ("scheduled-maintenances/upcoming.json", MAINTENANCES | UPCOMING),
];

/// The number of the document with this path behind `/api/v2/`.
pub fn find(path: &[u8]) -> Option<u8> {
    Some(DOCUMENTS.iter().position(|(name, _)| name.as_bytes() == path)? as u8)
}

/// How many targets there are, and how many of them are up, down, and up with a bad last probe.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// All of them.
    pub all: usize,
    /// Those that are up.
    pub up: usize,
    /// Those that are down.
    pub down: usize,
    /// Those that are up, and whose last probe was bad.
    pub ailing: usize,
}

impl Tally {
    /// Statuspage's indicator, and the sentence beside it.
    const fn indicator(self) -> (&'static str, &'static str) {
        match self {
            Tally { all: 0, .. } => ("minor", "Nothing is watched"),
            Tally { all, down, .. } if down == all => ("critical", "Major System Outage"),
            Tally { down: 1.., .. } => ("major", "Partial System Outage"),
            Tally { all, up, .. } if up < all => ("minor", "Not everything is known"),
            Tally { ailing: 1.., .. } => ("minor", "Partially Degraded Service"),
            _ => ("none", "All Systems Operational"),
        }
    }
}

/// From best to worst, so that a group can be as bad as its worst.
const STATUSES: [&str; 3] = ["operational", "degraded_performance", "major_outage"];

impl View<'_, '_> {
    /// How the targets are doing together.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally { all: self.watch.all().len(), ..Tally::default() };
        for watched in self.watch.all() {
            match (watched.shown(self.now).0, self.severity(watched)) {
                (Shown::Up, severity) => {
                    tally.up += 1;
                    tally.ailing += severity;
                }
                (Shown::Down, _) => tally.down += 1,
                _ => {}
            }
        }
        tally
    }

    /// A place in [`STATUSES`].
    fn severity(&self, watched: &Watched<'_>) -> usize {
        match watched.shown(self.now).0 {
            Shown::Up if watched.belief().last().is_some_and(|last| last.is_good()) => 0,
            Shown::Down => 2,
            _ => 1,
        }
    }

    /// Writes one of the documents; its length, or `None` when it does not fit.
    pub fn write_statuspage(&self, document: u8, out: &mut [u8]) -> Option<usize> {
        let (_, parts) = DOCUMENTS.get(usize::from(document))?;
        let clock = Clock::of(&self.known, self.now);
        let name = &self.config().name;
        let mut writer = Writer::json(out);
        let w = &mut writer;
        w.raw("{\"page\":{\"id\":\"");
        w.hex(&fnv1a(name.as_bytes()).to_be_bytes());
        w.raw("\",\"name\":\"");
        w.say(name);
        w.raw("\",\"url\":\"");
        if let Some(address) = self.network.address() {
            w.raw("http://");
            w.address(address.cidr.address().octets());
            w.raw("/");
        }
        w.raw("\",\"time_zone\":\"Etc/UTC\",\"updated_at\":");
        moment(w, &clock, self.now);
        w.raw(if self.known.is_exercise() { ",\"outpost_exercise\":true}" } else { ",\"outpost_exercise\":false}" });
        if parts & STATUS != 0 {
            let (indicator, description) = self.tally().indicator();
            let mark = if self.known.is_exercise() { EXERCISE } else { "" };
            for text in [",\"status\":{\"indicator\":\"", indicator, "\",\"description\":\"", mark, description, "\"}"]
            {
                w.raw(text);
            }
        }
        if parts & COMPONENTS != 0 {
            w.raw(",\"components\":[");
            self.write_components(w, &clock);
            w.raw("]");
        }
        if parts & INCIDENTS != 0 {
            w.raw(",\"incidents\":[");
            self.list_incidents(w, parts & OPEN != 0);
            w.raw("]");
        }
        if parts & MAINTENANCES != 0 {
            w.raw(",\"scheduled_maintenances\":[");
            self.list_maintenances(w, *parts);
            w.raw("]");
        }
        w.raw("}");
        writer.finish()
    }

    fn list_incidents(&self, w: &mut Writer<'_>, open: bool) {
        let document = self.known.incidents.document;
        let mut first = true;
        for incident in document.incidents() {
            let updates = document.updates(incident);
            let (Some(earliest), Some(latest)) = (updates.first(), updates.last()) else { continue };
            if open && !latest.is_open() {
                continue;
            }
            self.write_head(w, document.text(incident.id), document.text(incident.title), &mut first);
            w.raw(super::incidents::status(latest.status));
            w.raw("\",\"impact\":\"");
            w.raw(incident.impact.word().unwrap_or("none"));
            dated(w, "\",\"created_at\":", earliest.posted_at);
            dated(w, ",\"started_at\":", earliest.posted_at);
            dated(w, ",\"updated_at\":", latest.posted_at);
            for (key, status) in
                [(",\"monitoring_at\":", IncidentStatus::Monitoring), (",\"resolved_at\":", IncidentStatus::Resolved)]
            {
                match updates.iter().find(|update| update.status == status) {
                    Some(update) => dated(w, key, update.posted_at),
                    None => [key, "null"].into_iter().for_each(|part| w.raw(part)),
                }
            }
            w.raw(",\"incident_updates\":[");
            // The newest first, as Statuspage has them.
            for (number, update) in updates.iter().enumerate().rev() {
                w.raw(if number + 1 == updates.len() { "{\"id\":\"" } else { ",{\"id\":\"" });
                w.say(document.text(incident.id));
                w.raw(".");
                w.count(number as u64 + 1);
                w.raw("\",\"incident_id\":\"");
                w.say(document.text(incident.id));
                w.raw("\",\"status\":\"");
                w.raw(super::incidents::status(update.status));
                w.raw("\",\"body\":\"");
                w.say(document.text(update.text));
                for key in ["\",\"created_at\":", ",\"display_at\":", ",\"updated_at\":"] {
                    dated(w, key, update.posted_at);
                }
                w.raw("}");
            }
            w.raw("]}");
        }
    }

    fn list_maintenances(&self, w: &mut Writer<'_>, parts: u8) {
        let (document, unix_s) = (self.known.incidents.document, self.unix_s());
        let mut first = true;
        for one in document.maintenances() {
            // Without a clock nobody can tell whether it has begun.
            let (status, part) = match unix_s.map(|now| one.phase(now)) {
                Some(Ordering::Equal) => ("in_progress", ACTIVE),
                Some(Ordering::Greater) => ("completed", OVER),
                Some(Ordering::Less) | None => ("scheduled", UPCOMING),
            };
            if parts & part == 0 {
                continue;
            }
            self.write_head(w, document.text(one.id), document.text(one.title), &mut first);
            w.raw(status);
            dated(w, "\",\"impact\":\"maintenance\",\"scheduled_for\":", one.starts_at);
            dated(w, ",\"scheduled_until\":", one.ends_at);
            dated(w, ",\"created_at\":", document.issued_at);
            dated(w, ",\"updated_at\":", document.issued_at);
            w.raw(",\"incident_updates\":[{\"id\":\"");
            w.say(document.text(one.id));
            w.raw(".1\",\"status\":\"");
            w.raw(status);
            w.raw("\",\"body\":\"");
            w.say(document.text(one.text));
            dated(w, "\",\"created_at\":", document.issued_at);
            w.raw("}]}");
        }
    }

    /// What incidents and maintenances have alike, up to the value of their status.
    #[inline(never)]
    fn write_head(&self, w: &mut Writer<'_>, id: &str, title: &str, first: &mut bool) {
        w.raw(if core::mem::replace(first, false) { "{\"id\":\"" } else { ",{\"id\":\"" });
        w.say(id);
        w.raw("\",\"name\":\"");
        w.say(title);
        w.raw("\",\"page_id\":\"");
        w.hex(&fnv1a(self.config().name.as_bytes()).to_be_bytes());
        w.raw("\",\"shortlink\":\"/\",\"status\":\"");
    }

    fn write_components(&self, w: &mut Writer<'_>, clock: &Clock) {
        let (all, checks) = (self.watch.all(), self.watch.checks());
        for (number, watched) in all.iter().enumerate() {
            let (check, (shown, since)) = (watched.check(), watched.shown(self.now));
            let group = checks.text(check.group);
            let same = |other: &&Watched<'_>| checks.text(other.check().group) == group;
            w.raw(if number == 0 { "{" } else { ",{" });
            self.write_component(w, checks.text(check.name), fnv1a(checks.text(check.name).as_bytes()), number);
            w.raw(STATUSES[self.severity(watched)]);
            w.raw("\",\"outpost_state\":\"");
            w.raw(shown.name());
            w.raw("\",\"updated_at\":");
            moment(w, clock, since);
            w.raw(",\"description\":\"");
            w.say(checks.text(check.impact));
            w.raw("\",\"group\":false,\"group_id\":");
            if group.is_empty() {
                w.raw("null}");
                continue;
            }
            w.raw("\"");
            w.hex(&group_id(group));
            w.raw("\"}");
            if all.iter().take(number).any(|other| same(&other)) {
                continue;
            }
            // A group stands behind the first of its members.
            w.raw(",{");
            let worst = all.iter().filter(same).map(|watched| self.severity(watched)).max().unwrap_or(1);
            self.write_component(w, group, u64::from_be_bytes(group_id(group)), number);
            w.raw(STATUSES[worst.min(STATUSES.len() - 1)]);
            w.raw("\",\"updated_at\":");
            let latest = all.iter().filter(same).map(|watched| watched.shown(self.now).1).max();
            moment(w, clock, latest.unwrap_or(since));
            w.raw(",\"description\":null,\"group\":true,\"group_id\":null,\"components\":[");
            for (at, member) in all.iter().filter(same).enumerate() {
                w.raw(if at == 0 { "\"" } else { ",\"" });
                w.hex(&fnv1a(checks.text(member.check().name).as_bytes()).to_be_bytes());
                w.raw("\"");
            }
            w.raw("]}");
        }
    }

    /// What targets and groups have alike, up to the value of their status.
    #[inline(never)]
    fn write_component(&self, w: &mut Writer<'_>, name: &str, id: u64, number: usize) {
        w.raw("\"id\":\"");
        w.hex(&id.to_be_bytes());
        w.raw("\",\"name\":\"");
        w.say(name);
        w.raw("\",\"page_id\":\"");
        w.hex(&fnv1a(self.config().name.as_bytes()).to_be_bytes());
        w.raw("\",\"position\":");
        w.count(number as u64 + 1);
        w.raw(
            ",\"showcase\":false,\"only_show_if_degraded\":false,\"start_date\":null,\"created_at\":null,\"status\":\"",
        );
    }
}

/// Another one than that of a target with the same name.
fn group_id(group: &str) -> [u8; 8] {
    (!fnv1a(group.as_bytes())).to_be_bytes()
}

/// A key, and a moment in UTC behind it.
fn dated(w: &mut Writer<'_>, key: &str, unix_s: u64) {
    w.raw(key);
    w.raw("\"");
    w.utc(unix_s);
    w.raw("\"");
}

/// UTC at this moment; null as long as nobody knows.
fn moment(w: &mut Writer<'_>, clock: &Clock, at: Instant) {
    match clock.unix_s(at) {
        None => w.raw("null"),
        Some(unix_s) => dated(w, "", unix_s),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::watch::Outcome;
    use outpost_wire::ProbeReason;
    use smoltcp::time::Duration;

    const CONFIG: &str = r#"{"name": "x", "checks": [
        {"name": "a", "group": "G", "owner": "o", "impact": "\"quoted\" \\ back", "runbook": "r", "tcp": {"address": "192.0.2.1:1"}},
        {"name": "b", "owner": "o", "impact": "i", "runbook": "r", "tcp": {"address": "192.0.2.1:2"}},
        {"name": "c", "group": "G", "owner": "o", "impact": "i", "runbook": "r", "tcp": {"address": "192.0.2.1:3"}}]}"#;

    #[test]
    fn an_exercise_is_marked_in_every_document() {
        // A dashboard shows the outage of a drill, and somebody who was not told of it gets up at night.
        for (drill, expected) in [("", false), (r#""drill": {"exercise": true}, "#, true)] {
            fixture::with(&CONFIG.replacen('{', &format!("{{{drill}"), 1), |fixture| {
                for (name, parts) in DOCUMENTS {
                    let text = read(fixture, name);
                    assert!(text.contains(&format!("\"outpost_exercise\":{expected}}}")), "{name}: {text}");
                    assert!(
                        parts & STATUS == 0 || (member(&text, "description").starts_with("Exercise: ")) == expected
                    );
                }
            });
        }
    }

    #[test]
    fn incidents_and_maintenances_are_where_statuspage_has_them() {
        // A dashboard that reads an empty list says that all is well.
        fixture::with(fixture::INCIDENTS, |fixture| {
            let all = read(fixture, "incidents.json");
            assert_eq!((member(&all, "status"), member(&all, "impact")), ("monitoring", "major"));
            assert!(all.contains("\"monitoring_at\":\"2026-11-22T13:30:00Z\",\"resolved_at\":null"), "{all}");
            assert!(all.contains("\"id\":\"pay.1\"") && all.contains("We look at \\\"it\\\"."), "{all}");
            assert!(all.contains("\"id\":\"old\""));
            assert!(!read(fixture, "incidents/unresolved.json").contains("\"old\""));
            // Without a clock nobody knows that it has begun.
            let empty =
                |fixture: &fixture::Fixture, path: &str| read(fixture, path).contains("\"scheduled_maintenances\":[]");
            assert!(empty(fixture, "scheduled-maintenances/active.json"));
            assert!(!empty(fixture, "scheduled-maintenances/upcoming.json"));
            fixture.time.believe(crate::time::Estimate {
                at: fixture.now,
                unix_us: 1_795_354_805_000_000,
                error_us: 1,
                stratum: 2,
                server: [10, 0, 0, 1].into(),
            });
            assert!(empty(fixture, "scheduled-maintenances/upcoming.json"));
            let active = read(fixture, "scheduled-maintenances/active.json");
            assert_eq!(member(&active, "status"), "in_progress");
            assert!(read(fixture, "summary.json").contains("\"scheduled_for\":\"2026-11-22T13:00:00Z\""));
        });
    }

    fn find(fixture: &mut fixture::Fixture, number: usize, reasons: &[ProbeReason]) {
        for &reason in reasons {
            let outcome = Outcome { at: fixture.now, took: Duration::from_millis(5), reason, status: 0 };
            fixture.watch.find(number, outcome, &mut fixture.log);
        }
    }

    fn read(fixture: &fixture::Fixture, path: &str) -> String {
        let mut out = vec![0; 16 * 1024];
        let len = fixture.view().write_statuspage(super::find(path.as_bytes()).unwrap(), &mut out).unwrap();
        String::from_utf8(out[..len].to_vec()).unwrap()
    }

    /// What stands behind this key for the first time, up to the next quote.
    fn member<'t>(text: &'t str, key: &str) -> &'t str {
        text.split_once(&format!("\"{key}\":\"")).and_then(|(_, rest)| rest.split_once('"')).unwrap().0
    }

    #[test]
    fn what_is_not_known_is_never_operational() {
        // Everybody's dashboard would be green after our restart.
        use ProbeReason::{Ok, Refused};
        fixture::with("{}", |fixture| {
            assert_eq!(member(&read(fixture, "status.json"), "indicator"), "minor");
        });
        fixture::with(CONFIG, |fixture| {
            let is = |fixture: &fixture::Fixture, indicator: &str, expected: [usize; 4]| {
                assert_eq!(member(&read(fixture, "status.json"), "indicator"), indicator);
                let components = read(fixture, "components.json");
                let found: std::vec::Vec<_> = components
                    .split("{\"id\"")
                    .skip(2)
                    .map(|one| (member(one, "name"), member(one, "status")))
                    .collect();
                let expected = expected.map(|severity| STATUSES[severity]);
                assert_eq!(found, ["a", "G", "b", "c"].into_iter().zip(expected).collect::<std::vec::Vec<_>>());
            };
            is(fixture, "minor", [1, 1, 1, 1]);
            (0..3).for_each(|number| find(fixture, number, &[Ok, Ok]));
            is(fixture, "none", [0, 0, 0, 0]);
            find(fixture, 1, &[Refused]);
            is(fixture, "minor", [0, 0, 1, 0]);
            find(fixture, 2, &[Refused; 3]);
            is(fixture, "major", [0, 2, 1, 2]);
            find(fixture, 0, &[Refused; 3]);
            find(fixture, 1, &[Refused; 3]);
            is(fixture, "critical", [2, 2, 2, 2]);
            fixture.now += Duration::from_secs(61);
            is(fixture, "minor", [1, 1, 1, 1]);
            let components = read(fixture, "components.json");
            assert!(
                components.contains(r#""outpost_state":"stale","updated_at":null,"description":"\"quoted\" \\ back""#)
            );
            let ids: std::vec::Vec<&str> = components.split("{\"id\":\"").skip(2).map(|one| &one[..16]).collect();
            assert!(components.contains(&format!("\"components\":[\"{}\",\"{}\"]", ids[0], ids[3])), "{components}");
            assert_eq!(super::find(b"nothing.json"), None);
            assert_eq!(fixture.view().write_statuspage(0, &mut [0; 100]), None);
        });
    }

    #[test]
    fn as_many_targets_as_there_may_be_have_room() {
        // What does not fit is answered with 500.
        let long = "\\\\".repeat(128);
        let checks: Vec<String> = (0..64)
            .map(|at| {
                format!(
                    r#"{{"name": "{at:0>32}", "group": "{at:0>32}", "owner": "o", "impact": "{}", "runbook": "r", "tcp": {{"address": "192.0.2.1:1"}}}}"#,
                    if at < 8 { &*long } else { "i" }
                )
            })
            .collect();
        fixture::with(&format!(r#"{{"checks": [{}]}}"#, checks.join(",")), |fixture| {
            let room = crate::http::routes::Route::Statuspage.buffers(64) * crate::limits::ANSWER;
            let len = fixture.view().write_statuspage(0, &mut vec![0; room]).unwrap();
            assert!(len > room / 3 && len <= 99_999, "{len} of {room}");
        });
    }
}
