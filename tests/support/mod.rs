//! What tests share: how they say that something was left out.
//!
//! A test that cannot run must not look like one that passed. [`left_out`] tells at once, past the test runner's
//! capture, and `make test` lists it again at its end.

use std::fs::OpenOptions;
use std::io::{Write, stderr};

/// Why a test, or a part of one, does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Something is missing that set-up installs. Where everything is required, that is a failure.
    Skipped,
    /// This machine cannot do it, whatever is installed.
    NotHere,
}

/// Says that `name` does not run here, and why.
///
/// # Panics
/// When it is skipped and OUTPOST_REQUIRE_ALL=1.
pub fn left_out(why: Why, name: &str, reason: &str) {
    let (word, kind) = match why {
        Why::Skipped => ("skipped", "skip"),
        Why::NotHere => ("not here", "absent"),
    };
    let reason = reason.lines().collect::<Vec<_>>().join(" ");
    // Only the macros are captured, a write to the stream itself is seen. Neither may fail the test.
    let _ = writeln!(stderr(), "{word}: {name}: {reason}");
    if let Some(path) = std::env::var_os("OUTPOST_LEFT_OUT")
        && let Ok(mut list) = OpenOptions::new().append(true).create(true).open(path)
    {
        let _ = writeln!(list, "{kind}\t{name}\t{reason}");
    }
    let required = std::env::var_os("OUTPOST_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(why == Why::NotHere || !required, "{name} was skipped, and OUTPOST_REQUIRE_ALL=1: {reason}");
}
