//! `/config`: every value in force, and where it came from.

use super::{View, hex_text};
use crate::config::checks::Checks;
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
    checks: CheckList<'v>,
    #[serde(serialize_with = "words")]
    origins: &'v Origins,
    problem_count: u16,
    problems: Vec<ProblemDocument<'v>, { limits::CONFIG_PROBLEMS }>,
}

/// What is watched, one by one: no answer needs room for all of them twice. Where and how may hold a secret (a path, a
/// token), and is not shown.
struct CheckList<'v> {
    checks: &'v Checks,
    origin: &'static str,
}

#[derive(Serialize)]
struct CheckDocument<'v> {
    name: &'v str,
    kind: &'static str,
    interval_s: u64,
    origin: &'static str,
}

impl Serialize for CheckList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.checks.list().iter().map(|check| CheckDocument {
            name: self.checks.text(check.name),
            kind: check.kind_name(),
            interval_s: check.interval().secs(),
            origin: self.origin,
        }))
    }
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
        let (loaded, checks) = (self.known.loaded, self.watch.checks());
        // A later source has a list of its own.
        let origin = loaded.origins.get("/checks").and_then(|source| source.word().ok()).unwrap_or("other");
        ConfigDocument {
            hash: hex_text(u64::from_be_bytes(loaded.config.hash(checks))),
            source: loaded.source.word().unwrap_or("other"),
            config: &loaded.config,
            checks: CheckList { checks, origin },
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

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::http::routes::Route;

    #[test]
    fn each_check_is_there_and_none_of_its_secrets() {
        // Who cannot log in must see what is watched, and sixty-four checks must not make the answer a 503.
        let head = |at: u32| format!(r#""name": "{at:0>32}", "owner": "o", "impact": "i", "runbook": "r""#);
        let beat = |at: u32| {
            format!(
                r#"{{{}, "heartbeat": {{"period_s": 604800, "grace_s": 604800, "token_sha256": "{}"}}}}"#,
                head(at),
                format!("{at:02x}").repeat(32)
            )
        };
        let web = r#""interval_s": 7, "timeout_s": 5, "https": {"url": "https://192.0.2.1/s3cret"}"#;
        let checks: std::vec::Vec<std::string::String> =
            (1..64).map(beat).chain([format!("{{{}, {web}}}", head(64))]).collect();
        for (count, list) in [(64, checks.join(",")), (0, std::string::String::new())] {
            fixture::with(&format!(r#"{{"checks": [{list}]}}"#), |fixture| {
                let mut out = vec![0; Route::Config.buffers(count) * limits::ANSWER];
                let len = serde_json_core::to_slice(&fixture.view().config_answer(), &mut out).unwrap();
                let text = core::str::from_utf8(&out[..len]).unwrap();
                let (_, list) = text.split_once("\"checks\":[").unwrap();
                let (list, _) = list.split_once("],\"origins\"").unwrap();
                assert!(!text.contains("s3cret") && !text.contains("3f3f3f"), "{text}");
                let checks: std::vec::Vec<&str> = list.split_inclusive('}').collect();
                assert_eq!((checks.len(), Route::Config.buffers(count)), (count, 1 + count.min(1)));
                if count > 0 {
                    let tail = |at: u32, rest: &str| format!(r#"{{"name":"{at:0>32}",{rest},"origin":"module"}}"#);
                    assert_eq!(checks[0], tail(1, r#""kind":"heartbeat","interval_s":1209600"#));
                    assert_eq!(checks[63], format!(",{}", tail(64, r#""kind":"https","interval_s":7"#)));
                    // The longest word for an origin is 6 bytes longer.
                    assert!(checks.iter().all(|check| check.len() + 6 <= limits::CHECK_CONFIG), "{checks:?}");
                }
            });
        }
    }
}
