//! What is published of the catalogue, made from it alone and compared with the committed files.
//!
//! ```text
//! CATALOGUE ─▶ schema/events.json ─▶ wire/src/hash.rs (in Hello)
//!          ├─▶ docs/events.md
//!          └─▶ tests/decoder/agent.bin, collector.bin (one session, both directions)
//! ```
//! A file that is not what the catalogue says fails its test, which names the one command that renews them all.

mod document;
mod schema;
mod session;

use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// Renews every file instead of comparing it.
const RENEW: &str = "OUTPOST_RENEW=1 cargo test -p outpost-wire --test published";

/// A file of the checkout, by its path from the top.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

/// How a committed file differs from what the catalogue says; `None` when it does not.
fn difference(name: &str, committed: &[u8], made: &[u8]) -> Option<String> {
    let at = committed.iter().zip(made).position(|(a, b)| a != b).unwrap_or(committed.len().min(made.len()));
    let line = 1 + made[..at].iter().filter(|&&byte| byte == b'\n').count();
    (committed != made)
        .then(|| format!("{name} is stale from line {line} on. Renew it and look at the diff:\n    {RENEW}"))
}

fn keep(name: &str, made: &[u8]) {
    if std::env::var_os("OUTPOST_RENEW").is_some_and(|value| value == "1") {
        fs::write(path(name), made).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let committed = fs::read(path(name)).unwrap_or_default();
    let difference = difference(name, &committed, made);
    assert!(difference.is_none(), "{}", difference.unwrap_or_default());
}

/// The constant that Hello carries: the image needs no SHA-256 and no schema to know it.
fn hash_source(schema: &[u8]) -> String {
    let digest = Sha256::digest(schema);
    let bytes: Vec<String> = digest[..8].iter().map(|byte| format!("{byte:#04x}")).collect();
    format!(
        "//! The name of this version of the catalogue, in Hello. Made by the test `published`, never by hand.\n\n\
         /// The first 8 bytes of the SHA-256 of `schema/events.json`.\n\
         pub const CATALOGUE_HASH: [u8; 8] = [{}];\n",
        bytes.join(", ")
    )
}

#[test]
fn the_schema_is_what_the_catalogue_says() {
    // A decoder built from another version of the schema would misread every record of a changed event.
    let schema = schema::events();
    keep("schema/events.json", schema.as_bytes());
    keep("wire/src/hash.rs", hash_source(schema.as_bytes()).as_bytes());
}

#[test]
fn the_document_is_what_the_catalogue_says() {
    // An operator at night reads this page and nothing else.
    keep("docs/events.md", document::events().as_bytes());
}

#[test]
fn the_golden_session_has_every_event() {
    // What the second decoder is held against must not leave out the event that it gets wrong.
    keep("tests/decoder/agent.bin", &session::of_the_agent());
    keep("tests/decoder/collector.bin", &session::of_the_collector());
}

#[test]
fn a_stale_file_is_seen() {
    // The comparison is all that stands between the catalogue and a page that lies.
    assert_eq!(difference("a", b"x\ny\n", b"x\ny\n"), None);
    for stale in [&b"x\nz\n"[..], b"x\n", b"", b"x\ny\nz\n"] {
        assert!(difference("a", stale, b"x\ny\n").is_some_and(|text| text.contains(RENEW)), "{stale:?}");
    }
    assert!(difference("a", b"x\nz\n", b"x\ny\n").is_some_and(|text| text.contains("from line 2")));
}
