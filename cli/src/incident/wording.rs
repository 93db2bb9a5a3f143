//! What an update must not say: when it will be over, and what it might be.
//!
//! A promise that is not kept, or a cause that turns out to be another, costs more trust than the outage did. What is
//! known, what is done and when the next update comes can always be said. These are rules about English words, not about
//! meaning: `tests/data/incident-wording.tsv` is the table that they are held to, and `--force` is there for the rest.

use std::fmt;

/// Why a sentence is refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Objection {
    /// What it is: `eta` or `speculation`.
    pub kind: &'static str,
    /// The words that show it.
    pub words: String,
    /// The sentence.
    pub sentence: String,
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Objection { kind, words, sentence } = self;
        let advice = match *kind {
            "eta" => {
                "says when it will be over, which nobody knows. Say what is being done, and promise the next update \
                 instead (--next-update 30m)"
            }
            _ => "guesses. Say what is known and what is being looked at; a cause once it is confirmed",
        };
        write!(f, "\"{sentence}\" {advice}. The words are \"{words}\".")
    }
}

/// Refused wherever they stand; `*` ends a beginning of a word.
const ETA: &[&str] = &[
    "eta",
    "estimated time",
    "time to resolution",
    "soon",
    "shortly",
    "momentarily",
    "imminent*",
    "any minute",
    "any moment",
    "in no time",
    "we expect",
    "we are expecting",
    "is expected",
    "are expected",
    "expected to",
    "we hope",
    "we are hoping",
    "hopefully",
    "we anticipate",
    "we aim to",
    "we estimate",
    "back to normal by",
    "back up by",
];
const SPECULATION: &[&str] = &[
    "probabl*",
    "perhaps",
    "maybe",
    "possibl*",
    "presumabl*",
    "apparently",
    "seemingly",
    "supposedly",
    "likely",
    "might",
    "may be",
    "may have",
    "could be",
    "could have been",
    "should be",
    "should now",
    "should have",
    "should work",
    "should recover",
    "should return",
    "should come",
    "we think",
    "i think",
    "we believe",
    "i believe",
    "we suspect",
    "is suspected",
    "we guess",
    "our guess",
    "we assume",
    "we are assuming",
    "looks like",
    "look like",
    "seem",
    "seems",
    "appears to",
    "appears that",
    "appear to",
];

/// With a word of the future, one of an end and one of time in the same sentence, an end is promised.
const FUTURE: &[&str] = &["will", "shall", "going to", "plan to", "should", "won't"];
const END: &[&str] = &[
    "fix*",
    "resol*",
    "restor*",
    "recover*",
    "repair*",
    "solve*",
    "back",
    "online",
    "available",
    "over",
    "done",
    "complete*",
    "finish*",
    "working",
    "work",
    "normal",
    "up",
    "end",
    "ready",
];
const TIME: &[&str] = &[
    "minute*",
    "hour*",
    "day*",
    "week*",
    "tomorrow",
    "tonight",
    "today",
    "noon",
    "midnight",
    "morning",
    "afternoon",
    "evening",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "utc",
    "o'clock",
    "#",
];

/// What is wrong with this text, sentence by sentence.
pub fn objections(text: &str) -> Vec<Objection> {
    sentences(text).filter_map(objection).collect()
}

fn sentences(text: &str) -> impl Iterator<Item = &str> {
    text.split(['!', '?', ';', '\n'])
        .flat_map(|part| part.split(". "))
        .map(|one| one.trim().trim_end_matches('.'))
        .filter(|one| !one.is_empty())
}

fn objection(sentence: &str) -> Option<Objection> {
    let lower = sentence.to_lowercase().replace('\u{2019}', "'");
    let expanded = lower.replace("it'll", "it will").replace("we'll", "we will").replace("we're", "we are");
    let words: Vec<&str> = expanded
        .split(|sign: char| !(sign.is_alphanumeric() || sign == '\'' || sign == ':'))
        .filter(|word| !word.is_empty())
        .collect();
    let found = |phrases: &[&'static str]| phrases.iter().find(|phrase| has(&words, phrase)).copied();
    let object =
        |kind, words: String| Some(Objection { kind, words: words.replace('*', "…"), sentence: sentence.to_owned() });
    if let Some(words) = found(ETA) {
        return object("eta", words.into());
    }
    // What is promised of the next update is just what should be: only what stands before it can promise an end.
    let promise = found(FUTURE).zip(found(END)).zip(found(TIME).filter(|_| !is_of_the_update(&words)));
    if let Some(((future, end), _)) = promise {
        return object("eta", format!("{future} … {end}"));
    }
    found(SPECULATION).and_then(|words| object("speculation", words.into()))
}

fn is_of_the_update(words: &[&str]) -> bool {
    ["next update", "post an update", "update you", "another update", "further update"]
        .iter()
        .any(|phrase| has(words, phrase))
}

/// Whether the phrase stands among the words; `#` is any number.
fn has(words: &[&str], phrase: &str) -> bool {
    let phrase: Vec<&str> = phrase.split(' ').collect();
    let same = |word: &str, wanted: &str| match wanted.strip_suffix('*') {
        _ if wanted == "#" => word.starts_with(|sign: char| sign.is_ascii_digit()),
        Some(beginning) => word.starts_with(beginning),
        None => word == wanted,
    };
    words.windows(phrase.len()).any(|window| window.iter().zip(&phrase).all(|(word, wanted)| same(word, wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sentence_of_the_table_is_judged_as_it_says() {
        // Rules that refuse what has to be said are switched off with --force, and then nothing is refused any more.
        let table = include_str!("../../../tests/data/incident-wording.tsv");
        let rows: Vec<(&str, &str)> =
            table.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_once('\t').unwrap()).collect();
        let passing = rows.iter().filter(|(kind, _)| *kind == "pass").count();
        assert!(rows.len() >= 30 && passing * 2 >= rows.len(), "{passing} of {}", rows.len());
        for (kind, text) in &rows {
            let found = objections(text);
            assert_eq!(found.first().map_or("pass", |one| one.kind), *kind, "{text:?}: {found:?}");
        }
        assert!(["eta", "speculation"].iter().all(|kind| rows.iter().filter(|(one, _)| one == kind).count() >= 8));
    }

    #[test]
    fn one_bad_sentence_among_good_ones_is_found_and_named() {
        let found =
            objections("We have identified the cause: a full disk. It should be fixed in 20 minutes. Thank you.");
        assert_eq!(found.len(), 1);
        assert!(
            found[0].to_string().contains("\"It should be fixed in 20 minutes\" says when it will be over"),
            "{}",
            found[0]
        );
        assert!(objections("").is_empty());
    }
}
