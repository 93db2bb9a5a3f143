//! `outpost content`: runbooks and contacts, written as Markdown, made into the bundle that the image serves.
//!
//! ```text
//! FOLDER/contacts.md ──┐
//! FOLDER/runbooks/*.md ─┴─ html: Markdown to plain HTML ──┬─▶ bundle: header, digest, entries ──▶ content.bin
//! --config, --history or --store (`outpost history`) ──────┘
//! ```
//! What always holds: what is written was read back by the image's own [`Content`], so it is served as it was shown.

mod html;

use crate::{check, history};
use html::{Page, Refused, Target};
use outpost::content::{Content, DIGEST_AT, ENTRY, HEADER, Kind, MAGIC, NAME, VERSION};
use outpost::limits::{CONTENT_MAX, CONTENT_PAGES};
use outpost::watch::brought;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The arguments of `outpost content`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a content bundle from a folder of Markdown.
    Build(Build),
    /// Say what an image will make of a content bundle.
    Show(Show),
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  outpost content build content                          writes content.bin
  outpost content build content --config config.json     the configuration is in it too: one file for a VMM's -initrd
  outpost content build content --store outpost.db       the days of the checks are in it too: for a machine that takes
                                                         the place of one whose records this collector's store has

The folder:
  contacts.md         whom to call, served as /contacts
  runbooks/NAME.md    what to do, served as /runbook/NAME; a check names its runbook, an event's has the event's name

The image gets it as fw_cfg file opt/outpost/content, as its module (-initrd), or on its disk
(outpost image --format raw --content content.bin).")]
struct Build {
    /// Folder with contacts.md and runbooks/
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// The bundle to write
    #[arg(long, short, value_name = "FILE", default_value = "content.bin")]
    out: PathBuf,
    /// Configuration document to put into it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Days of the checks to put into it, as `outpost history --out` writes them
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// The same out of the store of a collector, which may be running
    #[arg(long, value_name = "FILE", conflicts_with = "history")]
    store: Option<PathBuf>,
    /// The agent in it whose days are meant, where the store has several
    #[arg(long, value_name = "NAME", requires = "store")]
    agent: Option<String>,
    /// Tell the result as one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  outpost content show content.bin          the digest, as /about tells it, and each page
  outpost content show content.bin --json

Exit codes: 0 an image would use it, 1 it would not, 2 the file cannot be read.")]
struct Show {
    /// The bundle
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Tell it as one line of JSON
    #[arg(long)]
    json: bool,
}

/// Does what was asked and tells everything.
pub fn run(args: &Args) -> ExitCode {
    match &args.command {
        Command::Build(args) => build(args),
        Command::Show(args) => show(args),
    }
}

fn build(args: &Build) -> ExitCode {
    let written = read_folder(&args.folder).and_then(|pages| {
        let config = args.config.as_deref().map(check::accepted).transpose()?;
        let bundle = bundle(&pages, config.as_deref(), days(args)?.as_deref())?;
        let write = crate::image::replace(&args.out, &bundle);
        write.map_err(|error| format!("{} cannot be written: {error}", args.out.display()))?;
        Ok(bundle)
    });
    let bundle = match written {
        Ok(written) => written,
        Err(problem) => {
            eprintln!("outpost content build: {problem}");
            return ExitCode::FAILURE;
        }
    };
    tell(&args.out, &bundle, args.json);
    ExitCode::SUCCESS
}

/// The days of the checks that are to come along.
fn days(args: &Build) -> Result<Option<Vec<u8>>, String> {
    if let Some(store) = &args.store {
        let history = history::read(store, args.agent.as_deref(), history::today())?;
        return if history.checks.is_empty() { Err(history.nothing(store)) } else { Ok(Some(history.rows())) };
    }
    let Some(file) = &args.history else { return Ok(None) };
    let content = open(&accepted(file)?)?;
    let days = content.page(Kind::History).map(<[u8]>::to_vec);
    let none = || format!("{} has no days of checks in it: write it with `outpost history --out`", file.display());
    days.ok_or_else(none).map(Some)
}

fn show(args: &Show) -> ExitCode {
    let bytes = match fs::read(&args.file) {
        Ok(bytes) => bytes,
        Err(error) => {
            eprintln!(
                "outpost content show: {} cannot be read: {error}. Give the path of a bundle.",
                args.file.display()
            );
            return ExitCode::from(2);
        }
    };
    if let Err(problem) = open(&bytes) {
        eprintln!("outpost content show: {} {problem}", args.file.display());
        return ExitCode::FAILURE;
    }
    tell(&args.file, &bytes, args.json);
    ExitCode::SUCCESS
}

fn tell(file: &Path, bundle: &[u8], as_json: bool) {
    let entries = entries(bundle);
    let digest: String = bundle[DIGEST_AT..HEADER].iter().map(|byte| format!("{byte:02x}")).collect();
    let paths: Vec<String> = entries.iter().filter_map(|(kind, name)| path(*kind, name)).collect();
    let config = entries.iter().any(|(kind, _)| *kind == Kind::Config);
    let history = open(bundle).ok().and_then(|content| content.page(Kind::History));
    let checks = history.map_or(0, |days| brought::rows(days).count());
    let (name, bytes) = (file.display().to_string(), bundle.len());
    if as_json {
        println!(
            "{}",
            json!({ "file": name, "bytes": bytes, "sha256": digest, "paths": paths, "config": config, "history": checks })
        );
        return;
    }
    println!("{name}  {bytes} of {CONTENT_MAX} bytes\nsha256 {digest}");
    paths.iter().for_each(|path| println!("  {path}"));
    if config {
        println!("  with a configuration document");
    }
    if checks > 0 {
        println!("  with the days of {checks} checks");
    }
}

fn path(kind: Kind, name: &str) -> Option<String> {
    match kind {
        Kind::Runbook => Some(format!("/runbook/{name}")),
        Kind::Contacts => Some("/contacts".into()),
        Kind::List => Some("/runbook/".into()),
        Kind::Config | Kind::History => None,
    }
}

/// The bundle as an image sees it, or what it would have against it.
pub fn open(bytes: &[u8]) -> Result<Content, String> {
    // One bundle in a run of the command: the image keeps its own for ever, too.
    let content = Content::open(Box::leak(Box::from(bytes)));
    match content.problem() {
        None => Ok(content),
        Some(problem) => Err(format!(
            "is no content bundle that an image uses: {} ({} bytes, at most {CONTENT_MAX}). Build it again with \
             `outpost content build`.",
            problem.word().unwrap_or("other"),
            bytes.len(),
        )),
    }
}

/// The bundle in this file, if an image would use it; else what it would have against it.
pub fn accepted(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    open(&bytes).map_err(|problem| format!("{} {problem}", path.display()))?;
    Ok(bytes)
}

/// What is in a bundle that an image uses.
fn entries(bundle: &[u8]) -> Vec<(Kind, String)> {
    let count = usize::from(u16::from_le_bytes([bundle[10], bundle[11]]));
    let list = bundle[HEADER..].chunks_exact(ENTRY).take(count);
    list.filter_map(|entry| {
        let known = [Kind::Runbook, Kind::Contacts, Kind::List, Kind::Config, Kind::History];
        let kind = known.into_iter().find(|kind| (*kind as u32).to_le_bytes() == entry[NAME..NAME + 4])?;
        let name = entry[..NAME].split(|byte| *byte == 0).next().unwrap_or_default();
        Some((kind, String::from_utf8_lossy(name).into_owned()))
    })
    .collect()
}

/// A page, rendered.
#[derive(Debug)]
struct Rendered {
    kind: Kind,
    name: String,
    html: String,
}

/// Reads the folder and renders what is in it.
fn read_folder(folder: &Path) -> Result<Vec<Rendered>, String> {
    let runbooks = markdown_files(&folder.join("runbooks"))?;
    let contacts = folder.join("contacts.md");
    let contacts = if contacts.is_file() { Some(read(&contacts)?) } else { None };
    if runbooks.is_empty() && contacts.is_none() {
        return Err(format!(
            "{} has neither contacts.md nor runbooks/*.md in it: write one of them, in Markdown",
            folder.display()
        ));
    }
    let target = |file: &str| match file {
        "contacts.md" | "../contacts.md" if contacts.is_some() => Target::Path("/contacts".into()),
        _ => match file.strip_prefix("runbooks/").unwrap_or(file).strip_suffix(".md") {
            Some(name) if runbooks.contains_key(name) => Target::Path(format!("/runbook/{name}")),
            _ => Target::Missing,
        },
    };
    let mut pages = Vec::new();
    let mut listed = Vec::new();
    for (name, text) in &runbooks {
        let page = render(&folder.join("runbooks").join(format!("{name}.md")), text, name, &target)?;
        listed.push((name.clone(), page.title.clone()));
        pages.push(Rendered { kind: Kind::Runbook, name: name.clone(), html: page.html });
    }
    if let Some(text) = &contacts {
        let page = render(&folder.join("contacts.md"), text, "Contacts", &target)?;
        pages.push(Rendered { kind: Kind::Contacts, name: String::new(), html: page.html });
    }
    if !listed.is_empty() {
        pages.push(Rendered { kind: Kind::List, name: String::new(), html: html::list(&listed) });
    }
    Ok(pages)
}

fn render(file: &Path, text: &str, name: &str, target: &dyn Fn(&str) -> Target) -> Result<Page, String> {
    html::page(text, name, target).map_err(|Refused { line, problem }| format!("{}:{line}: {problem}", file.display()))
}

/// The Markdown files of a folder that may be missing, by their names.
fn markdown_files(folder: &Path) -> Result<BTreeMap<String, String>, String> {
    let unreadable = |error: std::io::Error| format!("{} cannot be read: {error}", folder.display());
    let mut found = BTreeMap::new();
    if !folder.is_dir() {
        return Ok(found);
    }
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        match name.strip_suffix(".md") {
            Some(anchor) if (1..=NAME).contains(&anchor.len()) && anchor.bytes().all(allowed) => {
                found.insert(anchor.to_owned(), read(&path)?);
            }
            _ => {
                return Err(format!(
                    "{}: is not the name of a runbook: allowed are 1 to {NAME} of A-Z, a-z, 0-9, \"-\", \"_\" and \
                     \".\", and .md behind them, as checks name them",
                    path.display()
                ));
            }
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

/// The bundle that has days of checks in it (`watch::brought`) and nothing else.
pub fn bundle_of_history(days: &[u8]) -> Result<Vec<u8>, String> {
    bundle(&[], None, Some(days))
}

/// Puts the pages, a configuration document and days of checks into one bundle.
fn bundle(pages: &[Rendered], config: Option<&[u8]>, history: Option<&[u8]>) -> Result<Vec<u8>, String> {
    let mut all: Vec<(Kind, &str, &[u8])> =
        pages.iter().map(|page| (page.kind, page.name.as_str(), page.html.as_bytes())).collect();
    all.extend(config.map(|config| (Kind::Config, "", config)));
    all.extend(history.map(|days| (Kind::History, "", days)));
    if all.len() > CONTENT_PAGES {
        return Err(format!("{} pages are too many: a bundle has at most {CONTENT_PAGES}", all.len()));
    }
    let mut at = HEADER + all.len() * ENTRY;
    let mut body = Vec::new();
    for (kind, name, bytes) in &all {
        let mut entry = name.as_bytes().to_vec();
        entry.resize(NAME, 0);
        for number in [*kind as u32, at as u32, bytes.len() as u32, 0] {
            entry.extend(number.to_le_bytes());
        }
        body.extend(entry);
        at += bytes.len();
    }
    all.iter().for_each(|(.., bytes)| body.extend(*bytes));
    if at > CONTENT_MAX {
        return Err(format!(
            "what is to be in it makes {at} bytes, and a bundle has at most {CONTENT_MAX}: shorten the pages"
        ));
    }
    let mut bundle = MAGIC.to_vec();
    bundle.extend(VERSION.to_le_bytes());
    bundle.extend((all.len() as u16).to_le_bytes());
    bundle.extend((at as u32).to_le_bytes());
    bundle.extend([0; HEADER - DIGEST_AT]);
    bundle.extend(body);
    let digest = outpost::content::digest(&bundle);
    bundle[DIGEST_AT..HEADER].copy_from_slice(&digest);
    open(&bundle).map_err(|problem| format!("what was made {problem}"))?;
    Ok(bundle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use outpost::hash::fnv1a;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("runbooks")).unwrap();
        files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
        folder
    }

    #[test]
    fn the_image_finds_each_page_that_was_written() {
        // A bundle that only its own builder can read.
        let folder = folder(&[
            ("contacts.md", "# Who\n\n[call](tel:+49301234) or [shop](runbooks/shop.md)\n"),
            ("runbooks/shop.md", "# Shop is down\n\n1. Look.\n2. [Call](../contacts.md), see [db](db.main.md).\n"),
            ("runbooks/db.main.md", "Without a heading <&>\n"),
        ]);
        let pages = read_folder(folder.path()).unwrap();
        let bundle = bundle(&pages, Some(b"{}"), None).unwrap();
        let content = open(&bundle).unwrap();
        let text = |page: Option<&'static [u8]>| String::from_utf8(page.unwrap().to_vec()).unwrap();
        let shop = text(content.runbook(fnv1a(b"shop")));
        assert!(shop.contains("<title>Shop is down</title>") && shop.contains("<li>Look.</li>"), "{shop}");
        assert!(shop.contains("href=\"/contacts\"") && shop.contains("href=\"/runbook/db.main\""), "{shop}");
        assert!(text(content.runbook(fnv1a(b"db.main"))).contains("<title>db.main</title>"));
        assert!(text(content.page(Kind::Contacts)).contains("href=\"tel:+49301234\""));
        let list = text(content.page(Kind::List));
        assert!(list.contains("href=\"/runbook/shop\">Shop is down</a>"), "{list}");
        assert_eq!(content.config(), Some(&b"{}"[..]));
        assert_eq!(entries(&bundle).len(), 5);
    }

    #[test]
    fn what_cannot_be_served_is_refused_with_its_place() {
        // A link that leads nowhere, found when somebody needs it.
        for (files, expected) in [
            (&[("runbooks/a.md", "x\n\n[b](b.md)\n")][..], "a.md:3: the link to b.md leads nowhere"),
            (&[("contacts.md", "[x](javascript:alert(1))")], "contacts.md:1: the link to javascript:"),
            (&[("contacts.md", "a <b>b</b>")], "contacts.md:1: has HTML"),
            (&[("contacts.md", "![x](x.png)")], "contacts.md:1: has a picture"),
            (&[("runbooks/a b.md", "x")], "is not the name of a runbook"),
            (&[("runbooks/a.txt", "x")], "is not the name of a runbook"),
            (&[], "neither contacts.md nor"),
        ] {
            let folder = folder(files);
            let problem = read_folder(folder.path()).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
        let long = "a long word ".repeat(30_000);
        let folder = folder(&[("contacts.md", &long)]);
        let problem = bundle(&read_folder(folder.path()).unwrap(), None, None).unwrap_err();
        assert!(problem.contains("at most 262144"), "{problem}");
    }
}
