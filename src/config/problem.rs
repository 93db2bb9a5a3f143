//! Problems: what is wrong with a document, in sentences that fit everywhere they are shown.
//!
//! A sentence names the value found, what is allowed and so what to do; the same text reaches `outpost check`, the
//! serial line and `/readyz`. The first [`CONFIG_PROBLEMS`] are kept, all are counted, and each is cut at a bound
//! rather than lost.

use crate::limits::{CONFIG_PROBLEM_MAX, CONFIG_PROBLEMS};
use core::fmt::{self, Display, Write};
use heapless::{String, Vec};
use outpost_wire::ConfigSource;

/// One error of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// In which source.
    pub source: ConfigSource,
    /// Where: the JSON pointer (RFC 6901), `` for the whole document.
    pub pointer: String<64>,
    /// The line of the document, from 1; 0 for the command line, which is none, and for what two keys together say.
    pub line: u32,
    /// The character in that line, from 1.
    pub column: u32,
    /// What is wrong, the value, and what is allowed, in a sentence.
    pub text: String<CONFIG_PROBLEM_MAX>,
}

impl Display for Problem {
    /// `line:column: pointer: text`, to be put behind the name of the document; without a line, `pointer: text`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { source: _, pointer, line, column, text } = self;
        let colon = if pointer.is_empty() { "" } else { ": " };
        if *line > 0 {
            write!(f, "{line}:{column}: ")?;
        }
        write!(f, "{pointer}{colon}{text}")
    }
}

/// The problems of a document, in its order.
#[derive(Default)]
pub(super) struct Problems {
    /// The first ones.
    pub first: Vec<Problem, CONFIG_PROBLEMS>,
    /// How many there are in all.
    pub count: u16,
}

impl Problems {
    /// Adds one; `before` is the text of the document in front of it, where it has a place in one.
    pub fn add(&mut self, source: ConfigSource, before: Option<&str>, pointer: &str, text: fmt::Arguments<'_>) {
        self.count = self.count.saturating_add(1);
        if self.first.is_full() {
            return;
        }
        let in_document = before.is_some() && source != ConfigSource::CommandLine;
        let before = before.unwrap_or("");
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let mut problem = Problem {
            source,
            pointer: String::try_from(pointer).unwrap_or_default(),
            line: u32::from(in_document) + before.bytes().filter(|byte| *byte == b'\n').count() as u32,
            column: 1 + before.get(line_start..).unwrap_or("").chars().count() as u32,
            text: String::new(),
        };
        write_cut(&mut problem.text, text);
        // There is room: checked above.
        let _ = self.first.push(problem);
    }
}

/// Writes as much as fits; where something is missing, the text ends in `...`.
pub(super) fn write_cut<const N: usize>(out: &mut String<N>, text: fmt::Arguments<'_>) {
    const MARK: &str = "...";
    struct Cut<'s, const N: usize>(&'s mut String<N>);
    impl<const N: usize> Write for Cut<'_, N> {
        fn write_str(&mut self, s: &str) -> fmt::Result {
            s.chars().try_for_each(|c| self.0.push(c)).map_err(|_| fmt::Error)
        }
    }
    if Cut(out).write_fmt(text).is_err() {
        while out.len() + MARK.len() > N && out.pop().is_some() {}
        // There is room: made above, for every N that is not shorter than the mark.
        let _ = out.push_str(MARK);
    }
}
