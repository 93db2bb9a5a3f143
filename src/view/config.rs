//! `/config`: every value in force, and where it came from.

use super::{View, hex_text};
use crate::config::{Config, Origins};
use crate::limits;
use heapless::{String, Vec};
use serde::Serialize;
use serde::ser::Serializer;

/// `/config`.
#[derive(Serialize)]
pub struct ConfigDocument<'v> {
    hash: String<16>,
    source: &'static str,
    /// The keys of the documents that are read; secrets are redacted by their type.
    config: &'v Config,
    /// How many checks there are; `/status` shows each.
    checks: usize,
    #[serde(serialize_with = "words")]
    origins: &'v Origins,
    problem_count: u16,
    problems: Vec<ProblemDocument<'v>, { limits::CONFIG_PROBLEMS }>,
}

#[derive(Serialize)]
struct ProblemDocument<'v> {
    source: &'static str,
    pointer: &'v str,
    line: u32,
    column: u32,
    problem: &'v str,
}

impl View<'_, '_> {
    /// `/config`.
    pub fn config_answer(&self) -> ConfigDocument<'_> {
        let loaded = self.known.loaded;
        ConfigDocument {
            hash: hex_text(u64::from_be_bytes(loaded.config.hash(self.watch.checks()))),
            source: loaded.source.word().unwrap_or("other"),
            config: &loaded.config,
            checks: self.watch.checks().list().len(),
            origins: &loaded.origins,
            problem_count: loaded.problem_count,
            problems: loaded
                .problems
                .iter()
                .map(|problem| ProblemDocument {
                    source: problem.source.word().unwrap_or("other"),
                    pointer: &problem.pointer,
                    line: problem.line,
                    column: problem.column,
                    problem: &problem.text,
                })
                .collect(),
        }
    }
}

/// The origin of each value, by its JSON pointer.
fn words<S: Serializer>(origins: &Origins, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(origins.iter().map(|(pointer, source)| (pointer, source.word().unwrap_or("other"))))
}
