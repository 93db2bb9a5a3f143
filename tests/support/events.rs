//! Which events of the catalogue the tests have seen come out of the agent's own paths.
//!
//! A test calls [`seen`] for what it found in a collector's store or in the log region of a machine, never for what it
//! emitted itself. `make test` holds the list against `wire/catalogue.lock` at its end: an event that nobody ever saw
//! may be one that cannot happen.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

static SEEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// This event was seen. Outside `make test` it says so to nobody.
pub fn seen(event: &str) {
    let Some(path) = std::env::var_os("OUTPOST_EVENTS_SEEN") else { return };
    if SEEN.lock().unwrap_or_else(PoisonError::into_inner).insert(event.to_owned()) {
        let mut list = OpenOptions::new().append(true).create(true).open(path).expect("the list of events seen");
        // In one write, for several test programs share the file.
        list.write_all(format!("{event}\n").as_bytes()).expect("the list of events seen");
    }
}
