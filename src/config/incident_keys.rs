//! The keys of `incidents`, and those of the document of incidents and maintenances, which stands in the configuration
//! or is pulled. A document with any mistake is left out whole: half of what is said of an incident may be wrong.

use super::check_keys::url;
use super::checks::Words;
use super::keys::{text, word};
use super::problem::{Problem, Problems};
use super::walker::{Found, Key, Leaf, Lent, Step, Verdict, Walker};
use super::{Incidents, Origins};
use crate::incidents::document::{Document, Incident, Maintenance, Update};
use crate::limits::{
    CONFIG_TEXT_MAX, INCIDENT_DOCUMENT, INCIDENT_PATH, INCIDENT_TARGETS, INCIDENT_TEXT, INCIDENT_TEXTS,
    INCIDENT_UPDATES, INCIDENTS, MAINTENANCES,
};
use crate::time::utc;
use heapless::String;
use outpost_wire::limits::{INCIDENT_ID_MAX, INCIDENT_TITLE_MAX};
use outpost_wire::{ConfigSource, IncidentImpact, IncidentStatus};

/// Seconds from one pull to the next, when the configuration does not say.
const INTERVAL_S: u16 = 60;

const SOURCE: &[Key<Incidents>] = &[
    Key {
        name: "url",
        required: false,
        read: |walker, incidents| {
            let at = walker.position();
            let Some((peer, path)) = walker.value(url)? else { return Ok(()) };
            match String::try_from(path.as_str()) {
                Ok(path) => (incidents.server, incidents.path) = (Some(peer), path),
                Err(_) => walker.report(at, format_args!("its path is too long: allowed are {INCIDENT_PATH} bytes")),
            }
            Ok(())
        },
    },
    Key {
        name: "public_key",
        required: false,
        read: |walker, incidents| walker.set(&mut incidents.public_key, |leaf| public_key(leaf).map(Some)),
    },
    Key {
        name: "min_revision",
        required: false,
        read: |walker, incidents| walker.set(&mut incidents.min_revision, revision),
    },
    Key {
        name: "interval_s",
        required: false,
        read: |walker, incidents| walker.set(&mut incidents.interval_s, interval),
    },
    Key {
        name: "document",
        required: false,
        read: |walker, _| {
            // Taken out, so that the walker can be used while it is filled.
            let Some(tables) = walker.found.checks.0.take() else { return walker.skip() };
            let outcome = read_document(walker, tables.document_mut());
            walker.found.checks.0 = Some(tables);
            outcome
        },
    },
];

/// Reads where incidents come from; what any mistake is in is not used.
pub(super) fn read_incidents(walker: &mut Walker<'_>, incidents: &mut Option<Incidents>) -> Step {
    let (at, before) = (walker.position(), walker.found.problems.count);
    let mut draft = Incidents::new(INTERVAL_S);
    if let Some(checks) = &mut walker.found.checks.0 {
        checks.document_mut().clear();
    }
    *incidents = None;
    walker.object(SOURCE, &mut draft, "is not an object: allowed is one like {\"url\": ..., \"public_key\": ...}")?;
    if draft.server.is_some() != draft.public_key.is_some() && walker.found.problems.count == before {
        walker.report(at, format_args!("\"url\" and \"public_key\" come together: what is pulled must be signed"));
    }
    *incidents = Some(draft).filter(|_| walker.found.problems.count == before);
    Ok(())
}

/// Reads a document that stands for itself; the first problem is what makes it none.
#[allow(clippy::result_large_err, reason = "there is one in a minute, and no heap")]
pub fn read_pulled(json: &[u8], document: &mut Document) -> Result<(), Problem> {
    let found = Found {
        problems: Problems::default(),
        origins: Origins::DEFAULT,
        source: ConfigSource::Module,
        checks: Lent(None),
    };
    let mut walker = Walker::new(json, found);
    if json.len() > INCIDENT_DOCUMENT {
        walker.report(0, format_args!("the document is too long: allowed are at most {INCIDENT_DOCUMENT} bytes"));
    }
    // A stop is reported like every other problem.
    let _ = read_document(&mut walker, document).and_then(|()| walker.finish());
    match walker.found.problems.first.into_iter().next() {
        None => Ok(()),
        Some(problem) => {
            document.clear();
            Err(problem)
        }
    }
}

fn read_document(walker: &mut Walker<'_>, document: &mut Document) -> Step {
    let (at, before) = (walker.position(), walker.found.problems.count);
    document.clear();
    let outcome = walker.object(DOCUMENT, document, "is not an object: allowed is one like {\"revision\": 1, ...}");
    let document = &mut *document;
    if walker.found.problems.count == before && document.expires_at <= document.issued_at {
        walker.report_in("expires_at", at, format_args!("is not later than issued_at"));
    }
    if outcome.is_err() || walker.found.problems.count != before {
        document.clear();
    }
    outcome
}

const DOCUMENT: &[Key<Document>] = &[
    Key { name: "revision", required: true, read: |walker, into| walker.set(&mut into.revision, revision) },
    Key { name: "issued_at", required: true, read: |walker, into| walker.set(&mut into.issued_at, moment) },
    Key { name: "expires_at", required: true, read: |walker, into| walker.set(&mut into.expires_at, moment) },
    Key {
        name: "incidents",
        required: false,
        read: |walker, into| walker.array(NO_LIST, &mut |walker| read_incident(walker, into)),
    },
    Key {
        name: "maintenances",
        required: false,
        read: |walker, into| walker.array(NO_LIST, &mut |walker| read_maintenance(walker, into)),
    },
];

const NO_LIST: &str = "is not a list: allowed is one like [{\"id\": ..., \"title\": ...}]";
const NO_ITEM: &str = "is not an object: allowed is one like {\"id\": ..., \"title\": ...}";

fn read_incident(walker: &mut Walker<'_>, into: &mut Document) -> Step {
    let (at, before) = (walker.position(), walker.found.problems.count);
    let first = into.updates.len() as u8;
    let (none, impact) = (Words::default(), IncidentImpact::None);
    let empty = Incident { id: none, title: none, impact, targets: none, first, count: 0 };
    if into.incidents.push(empty).is_err() {
        walker.report(at, format_args!("is one too many: allowed are {INCIDENTS} incidents"));
        return walker.skip();
    }
    walker.object(INCIDENT, into, NO_ITEM)?;
    let Some((last, others)) = into.incidents.split_last_mut() else { return Ok(()) };
    last.count = into.updates.len() as u8 - first;
    let name = last.id.of(&into.texts);
    if walker.found.problems.count != before {
        return Ok(());
    }
    if others.iter().any(|other| other.id.of(&into.texts) == name) {
        walker.report_in("id", at, format_args!("another incident has this id: each needs one of its own"));
    }
    if last.count == 0 {
        walker.report_in("updates", at, format_args!("is empty: an incident has at least one update"));
    }
    let updates = into.updates.get(usize::from(first)..).unwrap_or_default();
    if updates.windows(2).any(|pair| matches!(pair, [before, after] if after.posted_at < before.posted_at)) {
        walker.report_in("updates", at, format_args!("are not in order: the oldest comes first"));
    }
    Ok(())
}

const INCIDENT: &[Key<Document>] = &[
    Key {
        name: "id",
        required: true,
        read: |walker, into| keep(walker, into, |into| into.incident().map(|one| &mut one.id), id),
    },
    Key {
        name: "title",
        required: true,
        read: |walker, into| keep(walker, into, |into| into.incident().map(|one| &mut one.title), title),
    },
    Key {
        name: "impact",
        required: true,
        read: |walker, into| {
            let Some(incident) = into.incident() else { return walker.skip() };
            walker.set(&mut incident.impact, impact)
        },
    },
    Key {
        name: "targets",
        required: false,
        read: |walker, into| read_targets(walker, into, |into| into.incident().map(|one| &mut one.targets)),
    },
    Key {
        name: "updates",
        required: true,
        read: |walker, into| walker.array(NO_LIST, &mut |walker| read_update(walker, into)),
    },
];

fn read_update(walker: &mut Walker<'_>, into: &mut Document) -> Step {
    let at = walker.position();
    let empty =
        Update { status: IncidentStatus::Investigating, posted_at: 0, next_update_at: 0, text: Words::default() };
    if into.updates.push(empty).is_err() {
        walker.report(at, format_args!("is one too many: allowed are {INCIDENT_UPDATES} updates in all"));
        return walker.skip();
    }
    walker.object(UPDATE, into, "is not an object: allowed is one like {\"status\": ..., \"text\": ...}")?;
    if into.updates.last().is_some_and(|one| one.next_update_at != 0 && one.next_update_at <= one.posted_at) {
        walker.report_in("next_update_at", at, format_args!("is not later than posted_at"));
    }
    Ok(())
}

const UPDATE: &[Key<Document>] = &[
    Key {
        name: "status",
        required: true,
        read: |walker, into| set_update(walker, into, |walker, one| walker.set(&mut one.status, status)),
    },
    Key {
        name: "posted_at",
        required: true,
        read: |walker, into| set_update(walker, into, |walker, one| walker.set(&mut one.posted_at, moment)),
    },
    Key {
        name: "next_update_at",
        required: false,
        read: |walker, into| set_update(walker, into, |walker, one| walker.set(&mut one.next_update_at, moment)),
    },
    Key {
        name: "text",
        required: true,
        read: |walker, into| keep_long(walker, into, |into| into.updates.last_mut().map(|one| &mut one.text)),
    },
];

fn set_update(walker: &mut Walker<'_>, into: &mut Document, set: fn(&mut Walker<'_>, &mut Update) -> Step) -> Step {
    into.updates.last_mut().map_or(Ok(()), |update| set(walker, update))
}

fn read_maintenance(walker: &mut Walker<'_>, into: &mut Document) -> Step {
    let (at, before) = (walker.position(), walker.found.problems.count);
    let none = Words::default();
    let empty = Maintenance { id: none, title: none, starts_at: 0, ends_at: 0, targets: none, text: none };
    if into.maintenances.push(empty).is_err() {
        walker.report(at, format_args!("is one too many: allowed are {MAINTENANCES} maintenances"));
        return walker.skip();
    }
    walker.object(MAINTENANCE, into, NO_ITEM)?;
    let Some((last, others)) = into.maintenances.split_last() else { return Ok(()) };
    if walker.found.problems.count != before {
        return Ok(());
    }
    if others.iter().any(|other| other.id.of(&into.texts) == last.id.of(&into.texts)) {
        walker.report_in("id", at, format_args!("another maintenance has this id: each needs one of its own"));
    }
    if last.ends_at <= last.starts_at {
        walker.report_in("ends_at", at, format_args!("is not later than starts_at"));
    }
    Ok(())
}

const MAINTENANCE: &[Key<Document>] = &[
    Key {
        name: "id",
        required: true,
        read: |walker, into| keep(walker, into, |into| into.maintenance().map(|one| &mut one.id), id),
    },
    Key {
        name: "title",
        required: true,
        read: |walker, into| keep(walker, into, |into| into.maintenance().map(|one| &mut one.title), title),
    },
    Key {
        name: "starts_at",
        required: true,
        read: |walker, into| into.maintenance().map_or(Ok(()), |one| walker.set(&mut one.starts_at, moment)),
    },
    Key {
        name: "ends_at",
        required: true,
        read: |walker, into| into.maintenance().map_or(Ok(()), |one| walker.set(&mut one.ends_at, moment)),
    },
    Key {
        name: "targets",
        required: true,
        read: |walker, into| read_targets(walker, into, |into| into.maintenance().map(|one| &mut one.targets)),
    },
    Key {
        name: "text",
        required: false,
        read: |walker, into| keep_long(walker, into, |into| into.maintenance().map(|one| &mut one.text)),
    },
];

impl Document {
    fn incident(&mut self) -> Option<&mut Incident> {
        self.incidents.last_mut()
    }

    fn maintenance(&mut self) -> Option<&mut Maintenance> {
        self.maintenances.last_mut()
    }
}

/// Where a text of the item at hand belongs.
type Place = fn(&mut Document) -> Option<&mut Words>;
type Short = String<CONFIG_TEXT_MAX>;

/// Reads a short text.
fn keep(walker: &mut Walker<'_>, into: &mut Document, place: Place, parse: fn(&Leaf<'_>) -> Verdict<Short>) -> Step {
    let (at, from) = (walker.position(), into.texts.len());
    if let Some(text) = walker.value(parse)? {
        match into.texts.push_str(&text) {
            Ok(()) => put(into, place, from),
            Err(_) => report_full(walker, at),
        }
    }
    Ok(())
}

/// Reads a text of several lines.
fn keep_long(walker: &mut Walker<'_>, into: &mut Document, place: Place) -> Step {
    const _: () = assert!(INCIDENT_TEXT == 1200, "the sentence names it");
    let otherwise = "is not a text: allowed are 1 to 1200 bytes, and \\n for a new line";
    let (at, from, mut is_full) = (walker.position(), into.texts.len(), false);
    let texts = &mut into.texts;
    let read = walker.long_text(INCIDENT_TEXT, otherwise, &mut |sign| is_full |= texts.push(sign).is_err())?;
    match read {
        true if is_full => report_full(walker, at),
        true => put(into, place, from),
        false => {}
    }
    Ok(())
}

fn read_targets(walker: &mut Walker<'_>, into: &mut Document, place: Place) -> Step {
    let from = into.texts.len();
    let mut count = 0;
    walker.array("is not a list of targets: allowed is one like [\"shop\"]", &mut |walker| {
        let at = walker.position();
        let Some(name) = walker.value(super::check_keys::name)? else { return Ok(()) };
        count += 1;
        if count > INCIDENT_TARGETS {
            walker.report(at, format_args!("is one too many: allowed are {INCIDENT_TARGETS} targets"));
        }
        let comma = if into.texts.len() == from { Ok(()) } else { into.texts.push(',') };
        if comma.and_then(|()| into.texts.push_str(&name)).is_err() {
            report_full(walker, at);
        }
        Ok(())
    })?;
    put(into, place, from);
    Ok(())
}

/// The texts from here on belong there.
fn put(into: &mut Document, place: Place, from: usize) {
    let words = Words::new(from, into.texts.len() - from);
    if let Some(place) = place(into) {
        *place = words;
    }
}

#[inline(never)]
fn report_full(walker: &mut Walker<'_>, at: usize) {
    walker.report(at, format_args!("the texts are too long: allowed are {INCIDENT_TEXTS} bytes in all"));
}

/// An id that can stand in a URL as it is.
fn id(leaf: &Leaf<'_>) -> Verdict<Short> {
    const _: () = assert!(INCIDENT_ID_MAX == 40, "the sentence names it");
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text(leaf)
        .filter(|id| (1..=INCIDENT_ID_MAX).contains(&id.len()) && id.bytes().all(allowed))
        .and_then(|id| Short::try_from(id).ok())
        .ok_or("is not an id: allowed are 1 to 40 of A-Z, a-z, 0-9, \"-\", \"_\" and \".\"")
}

fn title(leaf: &Leaf<'_>) -> Verdict<Short> {
    const _: () = assert!(INCIDENT_TITLE_MAX == 100, "the sentence names it");
    text(leaf)
        .filter(|title| !title.trim().is_empty() && title.len() <= INCIDENT_TITLE_MAX)
        .and_then(|title| Short::try_from(title).ok())
        .ok_or("is not a title: allowed are 1 to 100 bytes of text")
}

fn impact(leaf: &Leaf<'_>) -> Verdict<IncidentImpact> {
    let known = |word| IncidentImpact::WORDS.iter().position(|known| *known == word);
    text(leaf)
        .and_then(known)
        .map(|number| IncidentImpact::from(number as u8))
        .ok_or("is not an impact: allowed are \"none\", \"minor\", \"major\" and \"critical\"")
}

fn status(leaf: &Leaf<'_>) -> Verdict<IncidentStatus> {
    let known = |word| IncidentStatus::WORDS.iter().position(|known| *known == word);
    text(leaf)
        .and_then(known)
        .map(|number| IncidentStatus::from(number as u8))
        .filter(|status| *status != IncidentStatus::Withdrawn)
        .ok_or("is not a status: allowed are investigating, identified, monitoring, resolved, postmortem")
}

fn revision(leaf: &Leaf<'_>) -> Verdict<u32> {
    word(leaf).filter(|number| *number > 0).ok_or("is not a revision: allowed are 1 to 4294967295")
}

fn interval(leaf: &Leaf<'_>) -> Verdict<u16> {
    word(leaf).filter(|seconds| (10..=3600).contains(seconds)).ok_or("is not a time: allowed are 10 to 3600 seconds")
}

fn moment(leaf: &Leaf<'_>) -> Verdict<u64> {
    text(leaf).and_then(utc::parse).ok_or("is not a moment of UTC: allowed is one like \"2027-12-31T23:59:59Z\"")
}

fn public_key(leaf: &Leaf<'_>) -> Verdict<[u8; 32]> {
    text(leaf)
        .and_then(|digits| crate::incidents::verify::unhex(digits.as_bytes()))
        .ok_or("is not a public key: allowed are 64 hex digits, as outpost incident keygen prints them")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"{"revision": 7, "issued_at": "2026-11-22T13:00:00Z", "expires_at": "2026-11-23T13:00:00Z",
        "incidents": [
            {"id": "pay-1", "title": "Payments fail", "impact": "major", "targets": ["shop", "api"], "updates": [
                {"status": "investigating", "posted_at": "2026-11-22T13:05:00Z", "next_update_at": "2026-11-22T13:35:00Z", "text": "We look."},
                {"status": "identified", "posted_at": "2026-11-22T13:30:00Z", "text": "Two\nlines \u00e9"}]},
            {"id": "old", "title": "Mail", "impact": "none", "updates": [
                {"status": "postmortem", "posted_at": "2026-11-20T13:05:00Z", "text": "I am sorry."}]}],
        "maintenances": [{"id": "disk", "title": "Disks", "starts_at": "2026-11-24T22:00:00Z", "ends_at": "2026-11-24T23:00:00Z",
            "targets": ["shop"]}]}"#;

    fn read(json: &str) -> Result<std::boxed::Box<Document>, std::string::String> {
        let mut document = std::boxed::Box::new(Document::new());
        read_pulled(json.as_bytes(), &mut document).map(|()| document).map_err(|problem| std::format!("{problem}"))
    }

    #[test]
    fn a_document_says_what_stands_in_it() {
        // A time or a text that lands at another incident is told to everybody.
        let document = read(DOCUMENT).unwrap();
        assert_eq!((document.revision, document.issued_at, document.expires_at), (7, 1_795_352_400, 1_795_438_800));
        let [pay, old] = document.incidents() else { panic!("{document:?}") };
        assert_eq!((document.text(pay.id), document.text(pay.title)), ("pay-1", "Payments fail"));
        assert_eq!(document.targets_of(pay).collect::<std::vec::Vec<_>>(), ["shop", "api"]);
        let [first, second] = document.updates(pay) else { panic!("{document:?}") };
        assert_eq!((document.text(first.text), first.next_update_at), ("We look.", 1_795_354_500));
        assert_eq!((document.text(second.text), second.status), ("Two\nlines é", IncidentStatus::Identified));
        assert_eq!(document.text(document.latest(old).unwrap().text), "I am sorry.");
        assert_eq!(document.open().map(|(one, _)| document.text(one.id)).collect::<std::vec::Vec<_>>(), ["pay-1"]);
        let [disk] = document.maintenances() else { panic!("{document:?}") };
        assert_eq!(disk.ends_at - disk.starts_at, 3600);
        for (at, is) in
            [(disk.starts_at - 1, false), (disk.starts_at, true), (disk.ends_at - 1, true), (disk.ends_at, false)]
        {
            assert_eq!((document.is_maintained("shop", at), document.is_maintained("api", at)), (is, false));
        }
        assert!(!first.is_overdue(first.next_update_at - 1) && first.is_overdue(first.next_update_at));
        assert_eq!(document.next_moment(document.issued_at), Some(document.expires_at));
    }

    #[test]
    fn every_mistake_has_its_place_and_leaves_nothing() {
        // A document that is half taken tells half the truth.
        for (from, to, said) in [
            ("\"revision\": 7", "\"revision\": 0", "/revision: 0 is not a revision"),
            ("\"revision\": 7, ", "", "the key \"revision\" is missing"),
            ("2026-11-23T13:00:00Z", "2026-11-22T13:00:00Z", "/expires_at: is not later than issued_at"),
            ("2026-11-23T13:00:00Z", "2026-11-23 13:00", "/expires_at: \"2026-11-23 13:00\" is not a moment of UTC"),
            ("\"major\"", "\"bad\"", "/incidents/0/impact: \"bad\" is not an impact"),
            ("identified", "withdrawn", "/incidents/0/updates/1/status: \"withdrawn\" is not a status"),
            ("2026-11-22T13:30:00Z", "2026-11-22T13:00:00Z", "/incidents/0/updates: are not in order"),
            ("2026-11-22T13:35:00Z", "2026-11-22T13:05:00Z", "/incidents/0/updates/0/next_update_at: is not later"),
            ("\"id\": \"old\"", "\"id\": \"pay-1\"", "/incidents/1/id: another incident has this id"),
            ("\"id\": \"old\"", "\"id\": \"o d\"", "/incidents/1/id: \"o d\" is not an id"),
            ("We look.", "", "/incidents/0/updates/0/text: \"\" is not a text"),
            ("We look.", " \\n", "/incidents/0/updates/0/text: \" \\n\" is not a text"),
            ("We look.", "a\\u0007b", "is not a text"),
            ("We look.", "\\ud800", "is not a text"),
            ("[\"shop\", \"api\"]", "\"shop\"", "/incidents/0/targets: \"shop\" is not a list of targets"),
            ("[\"shop\", \"api\"]", "[\"a,b\"]", "/incidents/0/targets/0: \"a,b\" is not a name"),
            ("T23:00:00Z", "T22:00:00Z", "/maintenances/0/ends_at: is not later than starts_at"),
            ("\"targets\": [\"shop\"]}]}", "\"targets\": [\"shop\"]}]} x", "the end of the document"),
            ("\"Disks\"", "\"Disks\", \"titel\": 1", "/maintenances/0/titel: unknown key: did you mean \"title\""),
        ] {
            assert!(DOCUMENT.contains(from), "{from}");
            let wrong = DOCUMENT.replace(from, to);
            let mut document = std::boxed::Box::new(Document::new());
            let problem = read_pulled(wrong.as_bytes(), &mut document).expect_err(said);
            assert!(std::format!("{problem}").contains(said), "{problem} and not {said}");
            assert_eq!(*document, Document::new(), "{said}");
        }
    }

    #[test]
    fn every_bound_holds_and_is_told() {
        let update = |text: &str| {
            std::format!(r#"{{"status": "monitoring", "posted_at": "2026-11-22T13:05:00Z", "text": "{text}"}}"#)
        };
        let incident = |id: usize, updates: &str| {
            std::format!(r#"{{"id": "i{id}", "title": "t", "impact": "minor", "updates": [{updates}]}}"#)
        };
        let document = |incidents: &[std::string::String], maintenances: &[std::string::String]| {
            std::format!(
                r#"{{"revision": 1, "issued_at": "2026-11-22T13:00:00Z", "expires_at": "2026-11-23T13:00:00Z",
                "incidents": [{}], "maintenances": [{}]}}"#,
                incidents.join(","),
                maintenances.join(",")
            )
        };
        let planned = |id: usize| {
            std::format!(
                r#"{{"id": "m{id}", "title": "t", "starts_at": "2026-11-22T13:00:00Z", "ends_at": "2026-11-22T14:00:00Z",
                "targets": []}}"#
            )
        };
        let some = |count| (0..count).map(|id| incident(id, &update("x"))).collect::<std::vec::Vec<_>>();
        let many = |count| (0..count).map(planned).collect::<std::vec::Vec<_>>();
        let updates = |count| [incident(0, &std::vec![update("x"); count].join(","))];
        let long = |length: usize| [incident(0, &update(&"é".repeat(length / 2)))];
        let full = |texts| (0..texts).map(|id| incident(id, &update(&"y".repeat(1200)))).collect::<std::vec::Vec<_>>();
        for (right, wrong, said) in [
            (
                document(&some(INCIDENTS), &[]),
                document(&some(INCIDENTS + 1), &[]),
                "one too many: allowed are 8 incidents",
            ),
            (document(&[], &many(MAINTENANCES)), document(&[], &many(MAINTENANCES + 1)), "allowed are 8 maintenances"),
            (
                document(&updates(INCIDENT_UPDATES), &[]),
                document(&updates(INCIDENT_UPDATES + 1), &[]),
                "allowed are 32 updates",
            ),
            (
                document(&long(INCIDENT_TEXT), &[]),
                document(&long(INCIDENT_TEXT + 2), &[]),
                "is not a text: allowed are 1 to 1200",
            ),
            (document(&full(4), &[]), document(&full(5), &[]), "the texts are too long: allowed are 6000 bytes"),
            (
                document(&[], &[]) + &" ".repeat(7000),
                document(&[], &[]) + &" ".repeat(9000),
                "the document is too long",
            ),
        ] {
            assert!(read(&right).is_ok(), "{:?}", read(&right));
            let problem = read(&wrong).unwrap_err();
            assert!(problem.contains(said), "{problem} and not {said}");
        }
    }

    #[test]
    fn whatever_comes_ends_without_a_panic() {
        // A signed document is still made by a program: every cut and every changed byte of one.
        for cut in 0..DOCUMENT.len() {
            let _ = read_pulled(&DOCUMENT.as_bytes()[..cut], &mut Document::new());
            for byte in [b'"', b'{', b'\\', 0, 0xff] {
                let mut mutated = DOCUMENT.as_bytes().to_vec();
                mutated[cut] = byte;
                let mut document = Document::new();
                if read_pulled(&mutated, &mut document).is_err() {
                    assert_eq!(document.revision, 0);
                }
            }
        }
    }
}
