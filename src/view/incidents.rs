//! Incidents and maintenances, as answers tell them.
//!
//! What always holds: each update says when it was posted and when the next one is due, in UTC; that one is overdue, or
//! the whole outdated, is said by the page itself; and that the clock is not known is said instead of guessing.

use super::View;
use super::writer::Writer;
use crate::incidents::Told;
use crate::incidents::document::{Document, Incident, Maintenance, Update};
use crate::limits;
use core::cmp::Ordering;
use outpost_wire::{IncidentImpact, IncidentRefusal, IncidentStatus};
use serde::Serialize;
use serde::ser::Serializer;

/// Bytes of the page that incidents and maintenances get; a text that is longer than what is left is cut.
const SECTION: usize = 3 * 1024;

/// Bytes of an incident without its text, and of the last lines of the section.
const ITEM: usize = 520;

/// Longest beginning of a text that is cut, in bytes.
const BEGINNING: usize = 160;

impl View<'_, '_> {
    /// Seconds since 1970-01-01 UTC, where that is known.
    pub fn unix_s(&self) -> Option<u64> {
        let known = &self.known;
        known.time.unix_us(self.now, known.facts.wall.as_ref()).map(|unix_us| unix_us / 1_000_000)
    }
}

/// The section of the page: nothing where nothing was ever said.
pub fn write(w: &mut Writer<'_>, told: Told<'_>, unix_s: Option<u64>) {
    let document = told.document;
    if document.revision == 0 && told.pulls.refusal.is_none() {
        return;
    }
    let start = w.room();
    let end = start.saturating_sub(SECTION);
    let mut left_out = 0u64;
    w.tag("<section><h2>");
    w.say("Incidents and maintenances");
    w.tag("</h2>");
    w.plain("\n");
    if document.open().next().is_none() && document.revision != 0 {
        line(w, "No open incident is known.");
    }
    for (incident, update) in document.open() {
        if w.room() < end + ITEM {
            left_out += 1;
            continue;
        }
        write_incident(w, document, incident, update, unix_s, end);
    }
    for one in document.maintenances().iter().filter(|one| unix_s.is_none_or(|now| one.phase(now) != Ordering::Greater))
    {
        if w.room() < end + ITEM {
            left_out += 1;
            continue;
        }
        write_maintenance(w, document, one, unix_s, end);
    }
    let latest = |incident| document.latest(incident).map(|update| (incident, update));
    for (incident, update) in document.incidents().iter().filter_map(latest).filter(|(_, update)| !update.is_open()) {
        if w.room() < end + ITEM {
            left_out += 1;
            continue;
        }
        write_closed(w, document, incident, update, end);
    }
    super::page::write_left_out(w, left_out);
    write_source(w, told, unix_s);
    w.tag("</section>");
}

#[inline(never)]
fn write_incident(
    w: &mut Writer<'_>,
    document: &Document,
    incident: &Incident,
    update: &Update,
    unix_s: Option<u64>,
    end: usize,
) {
    head(w, document.text(incident.title));
    let class =
        if matches!(incident.impact, IncidentImpact::Major | IncidentImpact::Critical) { "fail" } else { "warn" };
    w.tag("<p class=\"");
    w.tag(class);
    w.tag("\"><b>");
    w.plain("  ");
    w.say(status(update.status));
    w.tag("</b> ");
    w.plain(", ");
    w.say("impact ");
    w.say(incident.impact.word().unwrap_or("other"));
    targets(w, &mut document.targets_of(incident));
    w.tag("</p>");
    w.plain("\n");
    text(w, document.text(update.text), end);
    w.tag("<small>");
    w.plain("  ");
    w.say("Posted ");
    w.moment(update.posted_at);
    if update.next_update_at != 0 {
        match unix_s {
            Some(now) if update.is_overdue(now) => {
                w.say(". The next update was due ");
                w.moment(update.next_update_at);
                w.say(" and is overdue by ");
                w.duration(now - update.next_update_at);
            }
            _ => {
                w.say(". Next update by ");
                w.moment(update.next_update_at);
            }
        }
    }
    w.say(".");
    w.tag("</small>");
    w.plain("\n");
}

#[inline(never)]
fn write_maintenance(w: &mut Writer<'_>, document: &Document, one: &Maintenance, unix_s: Option<u64>, end: usize) {
    head(w, document.text(one.title));
    w.tag("<p class=\"hold\"><b>");
    w.plain("  ");
    w.say(phase(one, unix_s));
    w.tag("</b> ");
    w.plain(", ");
    w.moment(one.starts_at);
    w.say(" to ");
    w.moment(one.ends_at);
    targets(w, &mut document.targets_in(one));
    w.tag("</p>");
    w.plain("\n");
    text(w, document.text(one.text), end);
}

/// What is over: its end in a line, and the postmortem where there is one.
#[inline(never)]
fn write_closed(w: &mut Writer<'_>, document: &Document, incident: &Incident, update: &Update, end: usize) {
    head(w, document.text(incident.title));
    if update.status == IncidentStatus::Postmortem {
        text(w, document.text(update.text), end);
    }
    w.tag("<small>");
    w.plain("  ");
    w.say(status(update.status));
    w.say(", posted ");
    w.moment(update.posted_at);
    if let Some(first) = document.updates(incident).first() {
        w.say("; began ");
        w.moment(first.posted_at);
    }
    w.say(".");
    w.tag("</small>");
    w.plain("\n");
}

/// Where all of this is from, how old it is, and what is wrong with getting more.
#[inline(never)]
fn write_source(w: &mut Writer<'_>, told: Told<'_>, unix_s: Option<u64>) {
    let document = told.document;
    w.tag("<small>");
    w.plain("  ");
    if document.revision == 0 {
        w.say("Nothing is known of incidents yet.");
    } else {
        w.say("Revision ");
        w.number(document.revision.into());
        w.say(", issued ");
        w.moment(document.issued_at);
        match unix_s {
            None => {
                w.say(", valid until ");
                w.moment(document.expires_at);
                w.say("; the clock is not known, so whether it is outdated is not either.");
            }
            Some(now) if now >= document.expires_at => {
                w.say(". OUTDATED since ");
                w.moment(document.expires_at);
                w.say(": things may have changed.");
            }
            Some(_) => w.say("."),
        }
    }
    if let Some((reason, _)) = told.pulls.refusal {
        w.say(" No newer one was taken the last ");
        w.number(told.pulls.failures.into());
        w.say(" times it was asked for: ");
        w.say(refusal(reason));
        w.say(".");
    }
    w.tag("</small>");
    w.plain("\n");
}

fn head(w: &mut Writer<'_>, title: &str) {
    w.tag("<h3>");
    w.say(title);
    w.tag("</h3>");
    w.plain("\n");
}

fn line(w: &mut Writer<'_>, words: &str) {
    w.tag("<p>");
    w.plain("  ");
    w.say(words);
    w.tag("</p>");
    w.plain("\n");
}

fn targets(w: &mut Writer<'_>, names: &mut dyn Iterator<Item = &str>) {
    let mut between = ": ";
    for name in names {
        w.say(between);
        w.say(name);
        between = ", ";
    }
}

/// A text, paragraph by paragraph; where it does not fit the section, its beginning.
#[inline(never)]
fn text(w: &mut Writer<'_>, whole: &str, end: usize) {
    let escaped: usize = whole.bytes().map(|byte| if b"&<>\"\n".contains(&byte) { 9 } else { 1 }).sum();
    let fits = w.room() >= end + ITEM + escaped;
    let shown = if fits { whole } else { whole.get(..whole.floor_char_boundary(BEGINNING)).unwrap_or_default() };
    for paragraph in shown.split('\n').filter(|paragraph| !paragraph.is_empty()) {
        line(w, paragraph);
    }
    if !fits {
        line(w, "… the rest has no room here.");
    }
}

/// As it is written in answers.
pub fn status(status: IncidentStatus) -> &'static str {
    status.word().unwrap_or("other")
}

/// How far a maintenance is, in the words of Statuspage's interface.
pub fn phase(one: &Maintenance, unix_s: Option<u64>) -> &'static str {
    match unix_s.map(|now| one.phase(now)) {
        Some(Ordering::Equal) => "in progress",
        Some(Ordering::Greater) => "completed",
        // Without a clock nobody can tell.
        Some(Ordering::Less) | None => "scheduled",
    }
}

/// `/status`: `incidents`.
#[derive(Serialize)]
pub struct IncidentsDocument<'v> {
    revision: u32,
    issued_unix_s: u64,
    expires_unix_s: u64,
    /// `None`: the clock is not known.
    outdated: Option<bool>,
    last_good_s: Option<u64>,
    refusal: Option<&'static str>,
    http_status: Option<u16>,
    failures: u32,
    open: Open<'v>,
    maintenances: Planned<'v>,
}

struct Open<'v>(&'v Document, Option<u64>);
struct Planned<'v>(&'v Document, Option<u64>);

#[derive(Serialize)]
struct OpenDocument<'v> {
    id: &'v str,
    title: &'v str,
    impact: &'static str,
    status: &'static str,
    posted_unix_s: u64,
    next_update_unix_s: Option<u64>,
    overdue: Option<bool>,
}

#[derive(Serialize)]
struct PlannedDocument<'v> {
    id: &'v str,
    title: &'v str,
    starts_unix_s: u64,
    ends_unix_s: u64,
    under_way: Option<bool>,
}

impl Serialize for Open<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Open(document, unix_s) = *self;
        serializer.collect_seq(document.open().map(|(incident, update)| OpenDocument {
            id: document.text(incident.id),
            title: document.text(incident.title),
            impact: incident.impact.word().unwrap_or("other"),
            status: status(update.status),
            posted_unix_s: update.posted_at,
            next_update_unix_s: Some(update.next_update_at).filter(|at| *at != 0),
            overdue: unix_s.map(|now| update.is_overdue(now)),
        }))
    }
}

impl Serialize for Planned<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Planned(document, unix_s) = *self;
        serializer.collect_seq(document.maintenances().iter().map(|one| PlannedDocument {
            id: document.text(one.id),
            title: document.text(one.title),
            starts_unix_s: one.starts_at,
            ends_unix_s: one.ends_at,
            under_way: unix_s.map(|now| one.phase(now) == Ordering::Equal),
        }))
    }
}

impl View<'_, '_> {
    /// What `/status` says of incidents; `None` where neither a document nor a URL is configured.
    pub fn incidents(&self) -> Option<IncidentsDocument<'_>> {
        let (told, unix_s) = (self.known.incidents, self.unix_s());
        let (document, pulls) = (told.document, told.pulls);
        self.config().incidents.as_ref()?;
        Some(IncidentsDocument {
            revision: document.revision,
            issued_unix_s: document.issued_at,
            expires_unix_s: document.expires_at,
            outdated: unix_s.map(|now| document.revision != 0 && now >= document.expires_at),
            last_good_s: pulls.good_at.map(|at| self.seconds_since(at)),
            refusal: pulls.refusal.map(|(reason, _)| refusal(reason)),
            http_status: pulls.refusal.map(|(_, status)| status).filter(|status| *status != 0),
            failures: pulls.failures,
            open: Open(document, unix_s),
            maintenances: Planned(document, unix_s),
        })
    }
}

/// As it is written in answers.
pub fn refusal(reason: IncidentRefusal) -> &'static str {
    reason.word().unwrap_or("other")
}

const _: () = assert!(SECTION <= limits::PAGE / 4, "a page has other things to say");

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use crate::facts::WallTime;
    use smoltcp::time::Instant;
    use std::string::String;

    /// 2026-11-22 13:00:00 UTC.
    const NOON: u64 = 1_795_352_400;

    const CONFIG: &str = r#"{"incidents": {"document": {
        "revision": 7, "issued_at": "2026-11-22T13:00:00Z", "expires_at": "2026-11-22T20:00:00Z",
        "incidents": [
            {"id": "pay-1", "title": "Payments <fail>", "impact": "major", "targets": ["shop", "api"], "updates": [
                {"status": "investigating", "posted_at": "2026-11-22T13:05:00Z", "next_update_at": "2026-11-22T13:35:00Z",
                    "text": "We look.\nStill."}]},
            {"id": "old", "title": "Mail", "impact": "none", "updates": [
                {"status": "investigating", "posted_at": "2026-11-20T13:05:00Z", "text": "x"},
                {"status": "postmortem", "posted_at": "2026-11-20T15:05:00Z", "text": "I am sorry."}]}],
        "maintenances": [{"id": "disk", "title": "Disks", "starts_at": "2026-11-22T18:00:00Z", "ends_at": "2026-11-22T19:00:00Z",
            "targets": ["shop"]}]}}}"#;

    /// Section, `/status` and `/metrics` so many seconds after noon; without that, without a clock.
    fn told(after_s: Option<u64>) -> (String, String, String, String) {
        let mut answers = None;
        fixture::with(CONFIG, |fixture| {
            fixture.facts.wall = after_s.map(|after_s| WallTime {
                at: fixture.now,
                unix_us: (NOON + after_s) * 1_000_000,
                error_us: 1_000_000,
                source: "test",
            });
            let view = fixture.view();
            let section = |html| {
                let mut out = [0; 8192];
                let mut writer = super::Writer::new(&mut out, html);
                super::write(&mut writer, view.known.incidents, view.unix_s());
                let len = writer.finish().unwrap();
                String::from_utf8(out[..len].to_vec()).unwrap()
            };
            let mut status = [0; 4096];
            let len = serde_json_core::to_slice(&view.incidents(), &mut status).unwrap();
            let status = String::from_utf8(status[..len].to_vec()).unwrap();
            let mut out = vec![0; 64 * 1024];
            let len = view.write_metrics(false, &mut out).unwrap();
            let metrics = String::from_utf8(out[..len].to_vec()).unwrap();
            answers = Some((section(false), section(true), status, metrics));
        });
        answers.unwrap()
    }

    #[test]
    fn every_update_says_when_and_when_next() {
        // An update without its times is a rumour.
        let (text, html, status, metrics) = told(Some(600));
        for said in [
            "Payments <fail>\n  investigating, impact major: shop, api\n  We look.\n  Still.\n",
            "Posted 2026-11-22 13:05:00 UTC. Next update by 2026-11-22 13:35:00 UTC.",
            "Disks\n  scheduled, 2026-11-22 18:00:00 UTC to 2026-11-22 19:00:00 UTC: shop",
            "Mail\n  I am sorry.\n  postmortem, posted 2026-11-20 15:05:00 UTC; began 2026-11-20 13:05:00 UTC.",
            "Revision 7, issued 2026-11-22 13:00:00 UTC.",
        ] {
            assert!(text.contains(said), "{said} is not in\n{text}");
        }
        assert!(html.contains("<h3>Payments &lt;fail&gt;</h3>") && !html.contains("<fail>"), "{html}");
        assert!(html.contains("<time datetime=\"2026-11-22T13:35:00Z\">"), "{html}");
        assert!(status.contains("\"overdue\":false") && status.contains("\"outdated\":false"), "{status}");
        assert!(metrics.contains("outpost_incidents_open{impact=\"major\"} 1\n"), "{metrics}");
        assert!(metrics.contains("outpost_incident_update_overdue 0\n"), "{metrics}");
    }

    #[test]
    fn what_is_late_says_so_by_itself() {
        // Nobody who forgot to write an update comes to write that it is late.
        let (text, _, status, metrics) = told(Some(35 * 60 + 61));
        assert!(text.contains("was due 2026-11-22 13:35:00 UTC and is overdue by 1 min 1 s."), "{text}");
        assert!(status.contains("\"overdue\":true"), "{status}");
        assert!(metrics.contains("outpost_incident_update_overdue 1\n"), "{metrics}");
        let (text, _, status, metrics) = told(Some(5 * 3600));
        assert!(text.contains("Disks\n  in progress, "), "{text}");
        assert!(status.contains("\"under_way\":true"), "{status}");
        assert!(metrics.contains("outpost_maintenances_under_way 1\n"), "{metrics}");
        let (text, _, status, _) = told(Some(7 * 3600));
        assert!(text.contains("OUTDATED since 2026-11-22 20:00:00 UTC") && !text.contains("Disks"), "{text}");
        assert!(status.contains("\"outdated\":true"), "{status}");
    }

    #[test]
    fn without_a_clock_nothing_is_judged() {
        let (text, _, status, metrics) = told(None);
        assert!(text.contains("the clock is not known, so whether it is outdated is not either."), "{text}");
        assert!(text.contains("Disks\n  scheduled") && !text.contains("overdue"), "{text}");
        assert!(status.contains("\"outdated\":null") && status.contains("\"overdue\":null"), "{status}");
        assert!(!metrics.contains("update_overdue"), "{metrics}");
    }

    #[test]
    fn the_section_keeps_to_its_room() {
        // A long postmortem must not push the targets off the page.
        let update = format!(
            r#"{{"status": "monitoring", "posted_at": "2026-11-22T13:05:00Z", "text": "{}"}}"#,
            "&".repeat(1190)
        );
        let incident = |id| {
            format!(r#"{{"id": "i{id}", "title": "{}", "impact": "minor", "updates": [{update}]}}"#, "<".repeat(100))
        };
        let incidents: Vec<String> = (0..4).map(incident).collect();
        let config = format!(
            r#"{{"incidents": {{"document": {{"revision": 7, "issued_at": "2026-11-22T13:00:00Z",
            "expires_at": "2026-11-22T20:00:00Z", "incidents": [{}]}}}}}}"#,
            incidents.join(",")
        );
        fixture::with(&config, |fixture| {
            fixture.now = Instant::from_secs(9);
            let mut out = vec![0; 16 * 1024];
            let mut writer = super::Writer::new(&mut out, true);
            super::write(&mut writer, fixture.view().known.incidents, None);
            let len = writer.finish().unwrap();
            assert!(len <= super::SECTION + super::ITEM, "{len}");
            assert!(std::str::from_utf8(&out[..len]).unwrap().contains("… the rest has no room here."));
        });
    }
}
