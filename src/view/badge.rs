//! `/badge.svg` and `/badge/CHECK.svg`: the state in a picture for other pages. The words are in it, the colour is beside
//! them.

use super::View;
use super::page::EXERCISE;
use super::writer::Writer;
use crate::hash::fnv1a;
use crate::watch::Shown;

/// Width of a letter of the font, about; `textLength` makes it so.
const LETTER: usize = 7;

impl View<'_, '_> {
    /// Draws the state of the check whose name has this hash, or of all; `None` when there is none or no room.
    pub fn write_badge(&self, name: Option<u64>, out: &mut [u8]) -> Option<usize> {
        let (label, shown, count, word) = match name {
            Some(name) => {
                let text = |watched: &crate::watch::Watched<'_>| self.watch.checks().text(watched.check().name);
                let watched = self.watch.all().iter().find(|watched| fnv1a(text(watched).as_bytes()) == name)?;
                let shown = watched.shown(self.now).0;
                (text(watched), shown, 0, shown.name())
            }
            None => {
                let tally = self.tally();
                let (count, word, shown) = match (tally.down, tally.all - tally.up) {
                    _ if tally.all == 0 => (0, "nothing watched", Shown::Unknown),
                    (0, 0) => (0, "up", Shown::Up),
                    (0, unknown) => (unknown, " not known", Shown::Unknown),
                    (down, _) => (down, " down", Shown::Down),
                };
                (&*self.config().name, shown, count, word)
            }
        };
        let mut words = [0; 32];
        let mut w = Writer::new(&mut words, false);
        if self.known.is_exercise() {
            w.say(EXERCISE);
        }
        if count > 0 {
            w.count(count as u64);
        }
        w.say(word);
        let len = w.finish()?;
        let words = core::str::from_utf8(words.get(..len)?).ok()?;
        let (left, right) = ((label.len() + 1) * LETTER, (words.len() + 1) * LETTER);
        let mut writer = Writer::new(out, true);
        let w = &mut writer;
        w.tag("<svg xmlns=\"http://www.w3.org/2000/svg\" height=\"20\" width=\"");
        w.count((left + right) as u64);
        w.tag("\" role=\"img\"><title>");
        w.say(label);
        w.say(": ");
        w.say(words);
        w.tag("</title><path fill=\"#333\" d=\"M0 0h");
        w.count((left + right) as u64);
        w.tag("v20H0\"/><path fill=\"");
        w.tag(colour(shown));
        w.tag("\" d=\"M");
        w.count(left as u64);
        w.tag(" 0h");
        w.count(right as u64);
        w.tag("v20h-");
        w.count(right as u64);
        w.tag("\"/><g fill=\"#fff\" font-family=\"monospace\" font-size=\"11\">");
        for (x, text) in [(0, label), (left, words)] {
            w.tag("<text y=\"14\" x=\"");
            w.count((x + LETTER / 2) as u64);
            w.tag("\" textLength=\"");
            w.count((text.len() * LETTER) as u64);
            w.tag("\">");
            w.say(text);
            w.tag("</text>");
        }
        w.tag("</g></svg>");
        writer.finish()
    }
}

/// White can be read on each: WCAG asks for 4.5 to 1.
const fn colour(shown: Shown) -> &'static str {
    match shown {
        Shown::Up => "#0a6638",
        Shown::Down => "#a3161b",
        Shown::Unknown | Shown::Stale => "#56606c",
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::watch::Outcome;
    use outpost_wire::ProbeReason;
    use smoltcp::time::Duration;

    #[test]
    fn an_exercise_says_so() {
        // The red badge of a drill in somebody's wiki.
        let check = r#"{"name": "a", "owner": "o", "impact": "i", "runbook": "r", "tcp": {"address": "192.0.2.1:1"}}"#;
        let config = format!(r#"{{"name": "x", "drill": {{"exercise": true}}, "checks": [{check}]}}"#);
        fixture::with(&config, |fixture| {
            for (name, title) in [(None, "x: Exercise: 1 not known"), (Some("a"), "a: Exercise: unknown")] {
                let mut out = vec![0; 4096];
                let len = fixture.view().write_badge(name.map(|name| fnv1a(name.as_bytes())), &mut out).unwrap();
                let text = core::str::from_utf8(&out[..len]).unwrap();
                let words = title.split_once(": ").unwrap().1;
                assert!(text.contains(&format!("<title>{title}</title>")), "{text}");
                assert!(text.contains(&format!("textLength=\"{}\">{words}</text>", words.len() * LETTER)), "{text}");
            }
        });
    }

    #[test]
    fn the_words_and_the_colour_say_the_same() {
        // A green badge of what nobody has looked at yet.
        let check = |name: &str| {
            format!(
                r#"{{"name": "{name}", "owner": "o", "impact": "i", "runbook": "r", "tcp": {{"address": "192.0.2.1:1"}}}}"#
            )
        };
        let badge = |fixture: &fixture::Fixture, name: Option<&str>| {
            let mut out = vec![0; 4096];
            let len = fixture.view().write_badge(name.map(|name| fnv1a(name.as_bytes())), &mut out)?;
            Some(String::from_utf8(out[..len].to_vec()).unwrap())
        };
        let says = |text: Option<String>, title: &str, shown| {
            let text = text.unwrap();
            assert!(text.contains(&format!("<title>{title}</title>")) && text.contains(colour(shown)), "{text}");
        };
        fixture::with(r#"{"name": "x"}"#, |fixture| {
            says(badge(fixture, None), "x: nothing watched", Shown::Unknown);
            assert_eq!(badge(fixture, Some("x")), None);
        });
        fixture::with(&format!(r#"{{"name": "x", "checks": [{}, {}]}}"#, check("a"), check("b")), |fixture| {
            says(badge(fixture, None), "x: 2 not known", Shown::Unknown);
            for (number, reason) in [(0, ProbeReason::Ok), (1, ProbeReason::Refused)] {
                for _ in 0..3 {
                    let outcome = Outcome { at: fixture.now, took: Duration::ZERO, reason, status: 0 };
                    fixture.watch.find(number, outcome, &mut fixture.log);
                }
            }
            says(badge(fixture, None), "x: 1 down", Shown::Down);
            says(badge(fixture, Some("a")), "a: up", Shown::Up);
            says(badge(fixture, Some("b")), "b: down", Shown::Down);
        });
    }
}
