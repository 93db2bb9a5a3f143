//! What a release is made from: the commit, the compiler, the locked crates.

use jiff::Timestamp;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// Digits of a revision, as in the image (build.rs).
const REVISION_DIGITS: usize = 10;

/// The checkout and the compiler.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The commit, in full; empty outside a git checkout.
    pub commit: String,
    /// Whether something in it was changed since.
    pub changed: bool,
    /// Where the commit can be fetched, when the checkout names a place that others can reach.
    pub origin: Option<String>,
    /// When it was committed, or SOURCE_DATE_EPOCH: the one time that a release names.
    pub time: Option<Timestamp>,
    /// What `rustc -vV` says: release.
    pub rustc: String,
    /// And the commit of the compiler.
    pub rustc_commit: String,
    /// Cargo.lock, as it is.
    pub lock: String,
}

impl Source {
    /// Of the checkout at `root`.
    pub fn of(root: &Path) -> Result<Source, String> {
        let git = |arguments: &[&str]| said(Command::new("git").args(arguments), root);
        let compiler = said(Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-vV"), root)
            .ok_or("rustc could not be started. Install Rust from https://rustup.rs")?;
        let line = |name: &str| {
            let value = compiler.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            value.unwrap_or("unknown").to_owned()
        };
        let lock = root.join("Cargo.lock");
        let seconds = env::var("SOURCE_DATE_EPOCH").ok().or_else(|| git(&["log", "-1", "--format=%ct"]));
        let origin = git(&["remote", "get-url", "origin"]);
        Ok(Source {
            commit: git(&["rev-parse", "HEAD"]).unwrap_or_default(),
            changed: git(&["status", "--porcelain"]).is_none_or(|changed| !changed.is_empty()),
            // A path of this machine helps nobody, and a password in a URL the wrong ones.
            origin: origin.filter(|url| url.starts_with("https://") && !url.contains('@')),
            time: seconds.and_then(|seconds| Timestamp::from_second(seconds.parse().ok()?).ok()),
            rustc: line("release"),
            rustc_commit: line("commit-hash"),
            lock: fs::read_to_string(&lock).map_err(|error| format!("{} cannot be read: {error}", lock.display()))?,
        })
    }

    /// The commit, short, with `+` when something was changed since.
    pub fn revision(&self) -> String {
        let short = self.commit.get(..REVISION_DIGITS).unwrap_or("unknown");
        format!("{short}{}", if self.changed { "+" } else { "" })
    }

    /// The SHA-256 of a crate's archive, by Cargo.lock.
    pub fn checksum(&self, name: &str, version: &str) -> Option<&str> {
        let entries = self.lock.split("[[package]]");
        let value = |entry: &'_ str, key: &str| -> Option<&str> {
            let start = entry.find(&format!("\n{key} = \""))? + key.len() + 5;
            // The same text lives as long as the lock.
            let from = entry.as_ptr().addr() - self.lock.as_ptr().addr() + start;
            let rest = self.lock.get(from..)?;
            rest.get(..rest.find('"')?)
        };
        let mut found = entries.filter(|entry| {
            value(entry, "name").is_some_and(|found| found == name)
                && value(entry, "version").is_some_and(|found| found == version)
        });
        value(found.next()?, "checksum")
    }
}

/// What a program says in one go, when it succeeds.
pub fn said(command: &mut Command, folder: &Path) -> Option<String> {
    let output = command.current_dir(folder).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_this_version() {
        // Two versions of one crate: the other's checksum would send people to the wrong archive.
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"11\"\n\n\
                    [[package]]\nname = \"a\"\nversion = \"2.0.0\"\nchecksum = \"22\"\n\n[[package]]\nname = \"own\"\nversion = \"1.0.0\"\n";
        let source = Source { lock: lock.into(), ..Source::default() };
        assert_eq!(source.checksum("a", "2.0.0"), Some("22"));
        assert_eq!(source.checksum("a", "3.0.0"), None);
        assert_eq!(source.checksum("own", "1.0.0"), None);
    }
}
