//! `/feed.atom`: what was said of incidents, and what became up or down in this boot, as a feed (RFC 4287).
//!
//! An entry's id is made of the boot's id and its number in it, and its time is counted from the first UTC that this boot
//! believed: both stay the same however often the feed is read. Without UTC there is no feed: every entry must have a
//! time.

use super::View;
use super::page::EXERCISE;
use super::targets::reason;
use super::writer::Writer;

/// Bytes of an entry at its longest: the check's sentences, all of them escaped, and what stands around them. Entries for
/// which there is no room are the oldest.
const ENTRY: usize = 900 + 5 * 2 * crate::limits::CHECK_SENTENCE;

impl View<'_, '_> {
    /// Writes the feed; its length, or `None` without UTC.
    pub fn write_feed(&self, out: &mut [u8]) -> Option<usize> {
        let booted_us = self.known.time.boot_unix_us()?;
        let unix_s = |at: smoltcp::time::Instant| (booted_us + at.total_micros()).max(0) as u64 / 1_000_000;
        let (name, checks) = (&self.config().name, self.watch.checks());
        let latest = self.watch.changes().iter().next().map_or(self.known.started, |(_, change)| change.outcome.at);
        let posted = self.known.incidents.document.incidents().iter();
        let posted =
            posted.filter_map(|incident| self.known.incidents.document.latest(incident)).map(|update| update.posted_at);
        let latest = posted.max().unwrap_or(0).max(unix_s(latest));
        let mut writer = Writer::new(out, true);
        let w = &mut writer;
        w.tag("<?xml version=\"1.0\" encoding=\"utf-8\"?><feed xmlns=\"http://www.w3.org/2005/Atom\"><title>");
        self.say_exercise(w);
        w.say(name);
        w.tag("</title><author><name>");
        w.say(name);
        w.tag("</name></author><link rel=\"self\" href=\"/feed.atom\"/><link href=\"/\"/><id>tag:");
        w.say(name);
        w.tag(",2026:status</id><updated>");
        w.utc(latest);
        w.tag("</updated>");
        self.write_incident_entries(w);
        for (number, change) in self.watch.changes().iter() {
            let Some(check) = checks.list().get(usize::from(change.number)) else { continue };
            if w.room() < ENTRY {
                break;
            }
            let (good, outcome) = (change.outcome.is_good(), change.outcome);
            w.tag("<entry><title>");
            self.say_exercise(w);
            w.say(checks.text(check.name));
            w.say(if good { " is up" } else { " is down: " });
            if !good {
                w.say(reason(outcome.reason));
            }
            w.tag("</title><id>urn:uuid:");
            write_uuid(w, self.known.facts.boot_id, number);
            w.tag("</id><updated>");
            w.utc(unix_s(outcome.at));
            w.tag("</updated><link href=\"/\"/><summary>");
            if change.lasted_s > 0 {
                w.say(if good { "It was down for " } else { "It was up for " });
                w.duration(change.lasted_s.into());
                w.say(". ");
            }
            if !good {
                w.say(checks.text(check.impact));
                w.say(". Owner ");
                w.say(checks.text(check.owner));
                w.say(", runbook ");
                w.say(checks.text(check.runbook));
                w.say(".");
            }
            w.tag("</summary></entry>");
        }
        w.tag("</feed>");
        writer.finish()
    }
}

impl View<'_, '_> {
    /// Each title stands alone in a reader, and each says it.
    fn say_exercise(&self, w: &mut Writer<'_>) {
        if self.known.is_exercise() {
            w.say(EXERCISE);
        }
    }

    /// An entry for each update of an incident, the newest of each first: its id is the document's.
    fn write_incident_entries(&self, w: &mut Writer<'_>) {
        let document = self.known.incidents.document;
        for incident in document.incidents() {
            for (number, update) in document.updates(incident).iter().enumerate().rev() {
                let text = document.text(update.text);
                // Markup takes five bytes for one at most.
                if w.room() < ENTRY + 5 * text.len() {
                    return;
                }
                w.tag("<entry><title>");
                self.say_exercise(w);
                w.say(document.text(incident.title));
                w.say(": ");
                w.say(super::incidents::status(update.status));
                w.tag("</title><id>tag:");
                w.say(&self.config().name);
                w.tag(",2026:incident/");
                w.say(document.text(incident.id));
                w.tag("/");
                w.count(number as u64 + 1);
                w.tag("</id><updated>");
                w.utc(update.posted_at);
                w.tag("</updated><link href=\"/\"/><summary>");
                w.say(text);
                w.tag("</summary></entry>");
            }
        }
    }
}

/// A UUID of version 8 (RFC 9562, section 5.8): the boot's id, then the number.
fn write_uuid(w: &mut Writer<'_>, boot_id: u64, number: u64) {
    let boot = boot_id.to_be_bytes();
    w.hex(&boot[..4]);
    w.tag("-");
    w.hex(&boot[4..6]);
    w.tag("-");
    let rest = u16::from_be_bytes([boot[6], boot[7]]);
    w.hex(&(0x8000 | rest >> 4).to_be_bytes());
    w.tag("-");
    w.hex(&(0x8000 | (rest & 0xf) << 8).to_be_bytes());
    w.tag("-");
    w.hex(&number.to_be_bytes()[2..]);
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use crate::time::Estimate;
    use crate::watch::Outcome;
    use outpost_wire::ProbeReason;
    use smoltcp::time::{Duration, Instant};

    #[test]
    fn entries_stay_what_they_are() {
        // An entry that changes its id or its date is news again for every reader.
        let check = |name: &str| {
            format!(
                r#"{{"name": "{name}", "owner": "o", "impact": "a < b & c", "runbook": "r", "tcp": {{"address": "192.0.2.1:1"}}}}"#
            )
        };
        let config = format!(r#"{{"checks": [{}, {}]}}"#, check("a"), check("b"));
        fixture::with(&config, |fixture| {
            let feed = |fixture: &fixture::Fixture| {
                let mut out = vec![0; crate::limits::ANSWER];
                let len = fixture.view().write_feed(&mut out)?;
                Some(String::from_utf8(out[..len].to_vec()).unwrap())
            };
            assert_eq!(feed(fixture), None, "nothing has a date");
            let believe = |fixture: &mut fixture::Fixture, unix_us| {
                fixture.time.believe(Estimate {
                    at: fixture.now,
                    unix_us,
                    error_us: 1,
                    stratum: 2,
                    server: [10, 0, 0, 1].into(),
                });
            };
            believe(fixture, 1_795_354_805_000_000);
            assert!(feed(fixture).unwrap().contains("<updated>2026-11-22T13:40:04Z</updated></feed>"));
            for (at, reason) in [(10, ProbeReason::Refused), (20, ProbeReason::Ok)] {
                let at = Instant::from_secs(at);
                for _ in 0..3 {
                    fixture.watch.find(1, Outcome { at, took: Duration::ZERO, reason, status: 0 }, &mut fixture.log);
                }
            }
            let first = feed(fixture).unwrap();
            for part in [
                "<title>b is down: refused</title><id>urn:uuid:00000000-0000-8b00-8700-000000000000</id><updated>2026-11-22T13:40:13Z</updated>",
                "<title>b is up</title><id>urn:uuid:00000000-0000-8b00-8700-000000000001</id>",
                "a &lt; b &amp; c. Owner o, runbook r.",
                "It was down for 10 s. ",
            ] {
                assert!(first.contains(part), "{part} is missing in {first}");
            }
            fixture.now += Duration::from_secs(600);
            believe(fixture, 1_795_354_805_000_000 + 605_000_000);
            assert_eq!(feed(fixture).unwrap(), first);
            for number in 0..100 {
                let reason = if number % 2 == 0 { ProbeReason::Refused } else { ProbeReason::Ok };
                for _ in 0..3 {
                    let outcome = Outcome { at: fixture.now, took: Duration::ZERO, reason, status: 0 };
                    fixture.watch.find(0, outcome, &mut fixture.log);
                }
            }
            let full = feed(fixture).unwrap();
            assert!(full.ends_with("</feed>") && full.matches("<entry>").count() > 20, "{full}");
        });
    }

    #[test]
    fn an_exercise_says_so_in_each_title() {
        // A reader shows entries one by one, and that of a drill looks like any other.
        for (drill, marked) in [("", false), (r#""drill": {"exercise": true}, "#, true)] {
            let check =
                r#"{"name": "a", "owner": "o", "impact": "i", "runbook": "r", "tcp": {"address": "192.0.2.1:1"}}"#;
            let more = format!(r#"{{{drill}"checks": [{check}], "#);
            fixture::with(&fixture::INCIDENTS.replacen('{', &more, 1), |fixture| {
                let estimate = Estimate {
                    at: fixture.now,
                    unix_us: 1_795_354_805_000_000,
                    error_us: 1,
                    stratum: 2,
                    server: [10, 0, 0, 1].into(),
                };
                fixture.time.believe(estimate);
                for _ in 0..3 {
                    let outcome =
                        Outcome { at: fixture.now, took: Duration::ZERO, reason: ProbeReason::Refused, status: 0 };
                    fixture.watch.find(0, outcome, &mut fixture.log);
                }
                let mut out = vec![0; crate::limits::ANSWER];
                let len = fixture.view().write_feed(&mut out).unwrap();
                let feed = String::from_utf8(out[..len].to_vec()).unwrap();
                assert!(feed.contains(" is down: refused</title>") && feed.contains("monitoring</title>"), "{feed}");
                let said = feed.matches("<title>Exercise: ").count();
                assert_eq!(said, if marked { feed.matches("<title>").count() } else { 0 }, "{feed}");
            });
        }
    }

    #[test]
    fn each_update_of_an_incident_is_an_entry() {
        // What is said on the page and not in the feed is read by those who happen to look.
        fixture::with(fixture::INCIDENTS, |fixture| {
            let estimate = Estimate {
                at: fixture.now,
                unix_us: 1_795_354_805_000_000,
                error_us: 1,
                stratum: 2,
                server: [10, 0, 0, 1].into(),
            };
            fixture.time.believe(estimate);
            let mut out = vec![0; crate::limits::ANSWER];
            let len = fixture.view().write_feed(&mut out).unwrap();
            let feed = String::from_utf8(out[..len].to_vec()).unwrap();
            let entries: std::vec::Vec<_> = feed.split("<entry>").skip(1).collect();
            assert_eq!(entries.len(), 3, "{feed}");
            assert!(entries[0].starts_with("<title>Payments fail: monitoring</title>"), "{feed}");
            assert!(entries[1].contains(",2026:incident/pay/1</id><updated>2026-11-22T13:00:00Z</updated>"), "{feed}");
        });
    }
}
