//! `outpost licenses`: the licence texts of everything that the command and the image are made of.
//!
//! A release carries them. A checkout collects them: from cargo the crates that are linked into the two (and nothing that
//! only builds or tests them), from the sources of each its texts, and from the compiler those of its libraries. The same
//! text, as most of them are, is told once.

use crate::{embedded, image};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

/// What is linked: the package, and the target that it is a release for.
const PRODUCTS: [(&str, &str); 3] = [
    ("outpost-cli", "x86_64-unknown-linux-musl"),
    ("outpost", "x86_64-unknown-none"),
    ("outpost-uefi", "x86_64-unknown-uefi"),
];

/// How files with licences are called, in capitals.
const NAMES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

/// The most characters of a file that can be a licence: what is longer is something else, and an error.
const TEXT_MAX: usize = 64 * 1024;

/// Files with licences that a crate has at most.
const TEXTS_MAX: usize = 16;

/// What no crate says of itself: the C library of the static command, and SQLite inside libsqlite3-sys.
const MUSL: &str = include_str!("../notices/musl.txt");
const SQLITE: &str = "The authors of SQLite disclaim copyright to its source code: it is in the public domain.\n";

/// For crates that offer this licence and forgot to publish its text.
const APACHE: &str = include_str!("../../LICENSE-APACHE");

/// The arguments of `outpost licenses`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  outpost licenses | less                        what of others is in here, and under which terms
  outpost licenses | grep '^smoltcp'             one of them: version, licence, the numbers of its texts

A release carries these texts; in a checkout they are collected from the crates.")]
pub struct Args {}

/// Prints; has told everything when it returns.
pub fn run(_: &Args) -> ExitCode {
    let text = match embedded::notices() {
        Some(text) => Ok(text.to_owned()),
        None => image::checkout().and_then(|root| collect(&root)),
    };
    match text {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("outpost licenses: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// A crate that is linked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Linked {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it says its licence is.
    pub license: String,
    /// The folder with its sources.
    pub folder: PathBuf,
}

/// The crates of others that are linked into what is released, in order.
pub fn linked(root: &Path) -> Result<Vec<Linked>, String> {
    let metadata = cargo(root, &["metadata", "--format-version", "1", "--locked"])?;
    let metadata: Value = serde_json::from_str(&metadata).map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = metadata.get("packages").and_then(Value::as_array).ok_or("cargo metadata names no packages")?;
    let mut known = HashMap::new();
    for package in packages {
        let field = |name: &str| package.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let folder = Path::new(&field("manifest_path")).parent().map(Path::to_path_buf).unwrap_or_default();
        let (name, version) = (field("name"), field("version"));
        // Without a source it is ours.
        if package.get("source").is_some_and(Value::is_string) {
            let linked = Linked { name: name.clone(), version: version.clone(), license: field("license"), folder };
            known.insert(format!("{name} v{version}"), linked);
        }
    }
    let mut found = BTreeSet::new();
    for (package, target) in PRODUCTS {
        let edges = ["tree", "--locked", "--package", package, "--target", target, "--edges", "normal,no-proc-macro"];
        let tree = cargo(root, &[&edges[..], &["--prefix", "none", "--format", "{p}"]].concat())?;
        found.extend(tree.lines().filter_map(|line| known.get(line.trim_end_matches(" (*)"))).cloned());
    }
    Ok(found.into_iter().collect())
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(arguments)
        .current_dir(root)
        .output()
        .map_err(|error| format!("cargo could not be started ({error}). Install Rust from https://rustup.rs"))?;
    if !output.status.success() {
        return Err(format!("cargo {}: {}", arguments[0], String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// All notices of what is built in `root`.
pub fn collect(root: &Path) -> Result<String, String> {
    let mut notices = Notices::default();
    for linked in linked(root)? {
        let texts = texts(&linked)?;
        notices.add(&format!("{} {}", linked.name, linked.version), &linked.license, &texts);
    }
    notices.add("musl (C library of the static command)", "MIT", &[MUSL.to_owned()]);
    notices.add("SQLite (inside libsqlite3-sys)", "public domain", &[SQLITE.to_owned()]);
    let rust = rust_libraries(root)?;
    notices.add("Rust standard library and what it is made of", "MIT OR Apache-2.0", &rust);
    Ok(notices.finish())
}

/// What is in a folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    entries.map_err(|error| format!("{} cannot be read: {error}", folder.display()))
}

/// The texts that a crate publishes.
fn texts(linked: &Linked) -> Result<Vec<String>, String> {
    let mut files = Vec::new();
    for path in entries(&linked.folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        if NAMES.iter().any(|known| name.starts_with(known)) {
            // Some have a folder of them, LICENSES.
            files.extend(if path.is_dir() { entries(&path)? } else { vec![path] });
        }
    }
    files.sort();
    files.truncate(TEXTS_MAX);
    let mut texts = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        if text.len() > TEXT_MAX {
            return Err(format!("{} has {} bytes: is that a licence?", path.display(), text.len()));
        }
        texts.push(text);
    }
    if !texts.is_empty() {
        return Ok(texts);
    }
    // Of several we may choose.
    if linked.license.split(" OR ").any(|license| license == "Apache-2.0") {
        return Ok(vec![APACHE.to_owned()]);
    }
    Err(format!(
        "{} {} ({}) comes without a licence text. Add where it is to cli/src/licenses.rs.",
        linked.name, linked.version, linked.license
    ))
}

/// What the compiler's distribution says of its libraries, as one text for each licence in it and one for the rest.
fn rust_libraries(root: &Path) -> Result<Vec<String>, String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let sysroot = Command::new(rustc).args(["--print", "sysroot"]).current_dir(root).output();
    let sysroot = sysroot.map_err(|error| format!("rustc could not be started ({error})"))?;
    let path = Path::new(String::from_utf8_lossy(&sysroot.stdout).trim()).join("share/doc/rust/COPYRIGHT-library.html");
    let page = fs::read_to_string(&path).map_err(|error| {
        format!("{} cannot be read ({error}). It comes with the rustc of https://rustup.rs", path.display())
    })?;
    let mut all = vec![String::new()];
    for (number, part) in page.split("<pre>").enumerate() {
        let (text, rest) = if number == 0 { ("", part) } else { part.split_once("</pre>").unwrap_or((part, "")) };
        if !text.is_empty() {
            all.push(plain(text));
        }
        let about = plain(rest);
        let lines = about.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("LICENSE"));
        if let Some(first) = all.first_mut() {
            lines.for_each(|line| {
                let _ = writeln!(first, "{line}"); // writing into a String cannot fail
            });
        }
    }
    Ok(all)
}

/// A piece of HTML without its tags.
fn plain(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    for (number, part) in html.split('<').enumerate() {
        text += if number == 0 { part } else { part.split_once('>').map_or("", |(_, rest)| rest) };
    }
    let named = [("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&amp;", "&")];
    named.iter().fold(text, |text, (name, sign)| text.replace(name, sign))
}

/// The list of works, and each text once.
#[derive(Default)]
struct Notices {
    works: Vec<String>,
    texts: Vec<String>,
    /// The number of a text by its words: how lines are broken makes no other licence.
    numbers: BTreeMap<String, usize>,
}

impl Notices {
    fn add(&mut self, work: &str, license: &str, texts: &[String]) {
        let mut numbers = Vec::new();
        for text in texts {
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let number = *self.numbers.entry(words).or_insert_with(|| {
                self.texts.push(text.trim_matches(['\n', '\r']).replace('\r', ""));
                self.texts.len()
            });
            if !numbers.contains(&number) {
                numbers.push(number);
            }
        }
        let numbers: Vec<_> = numbers.iter().map(usize::to_string).collect();
        self.works.push(format!("{work}  {license}  texts {}", numbers.join(" ")));
    }

    fn finish(self) -> String {
        let mut all = String::from(
            "What the outpost command and the image are made of besides Outpost itself.\n\
             Each line: the work, its licence, and the numbers of its texts below. The sources of each, under its name and\n\
             version, unchanged: https://crates.io/crates/NAME\n\n",
        );
        all += &self.works.join("\n");
        for (number, text) in self.texts.iter().enumerate() {
            let _ = write!(all, "\n\n{:=<100}\n{text}\n", format!("=== text {} ", number + 1));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_linked_crate_is_named_with_a_text() {
        // A crate without its notice breaks the terms under which it may be handed on. The image's own debug
        // information says, independently of cargo's tree, whose sources are in it: tests/dist holds that against this.
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let notices = collect(&root).unwrap();
        let linked = linked(&root).unwrap();
        assert!(linked.len() > 80, "only {} crates: is this the tree?", linked.len());
        for name in ["smoltcp", "virtio-drivers", "rusqlite", "clap", "x86_64"] {
            assert!(linked.iter().any(|linked| linked.name == name), "{name}");
        }
        for unlinked in ["boon", "nix", "serde_derive", "cc", "syn", "outpost-wire"] {
            assert!(!linked.iter().any(|linked| linked.name == unlinked), "{unlinked} is in no binary");
        }
        let texts = notices.matches("\n=== text ").count();
        for Linked { name, version, .. } in linked {
            let line = notices.lines().find(|line| line.starts_with(&format!("{name} {version} ")));
            let line = line.unwrap_or_else(|| panic!("{name} is missing"));
            let numbers = line.split_once("  texts ").unwrap_or_else(|| panic!("no text: {line}")).1;
            assert!(numbers.split(' ').all(|number| (1..=texts).contains(&number.parse().unwrap())), "{line}");
        }
    }

    #[test]
    fn a_crate_without_a_text_is_an_error_and_the_same_text_is_told_once() {
        // What nobody notices when a dependency is added, and a file ten times as long as it has to be.
        let folder = tempfile::tempdir().unwrap();
        let mut linked = Linked {
            name: "a".into(),
            version: "1.0.0".into(),
            license: "MIT".into(),
            folder: folder.path().to_path_buf(),
        };
        assert!(texts(&linked).unwrap_err().contains("without a licence text"));
        linked.license = "MIT OR Apache-2.0".into();
        assert_eq!(texts(&linked).unwrap(), [APACHE]);
        fs::write(folder.path().join("license-mit"), "as is").unwrap();
        assert_eq!(texts(&linked).unwrap(), ["as is"]);
        let mut notices = Notices::default();
        notices.add("a 1", "MIT", &["as  is\r\n".into(), "other".into()]);
        notices.add("b 1", "MIT", &["as\nis".into()]);
        let all = notices.finish();
        assert!(all.contains("a 1  MIT  texts 1 2\nb 1  MIT  texts 1\n"), "{all}");
        assert_eq!(plain("<p>a &#60;b&#62;</p>"), "a <b>");
    }
}
