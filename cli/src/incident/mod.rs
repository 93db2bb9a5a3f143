//! `outpost incident`: writes, signs and checks the document of incidents and maintenances that agents pull.
//!
//! ```text
//! new, update, resolve, postmortem, maintenance, remove ─▶ the document, revision + 1 ─▶ checked, signed ─▶ FILE, at once
//! ```
//! What always holds: a file that is there is replaced as a whole or not at all, by one that every agent would take; what
//! is checked is checked by the code that the image runs.

mod arguments;
mod book;
mod keys;
mod templates;
mod wording;

pub use arguments::Args;
pub use book::{Book, Post, Work, seal};
pub use keys::public_of;
pub use wording::objections;

use arguments::{Command, Common, Text};
use serde_json::json;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

/// What went wrong, and the exit code it has.
pub struct Failure(u8, String);

impl From<String> for Failure {
    fn from(why: String) -> Failure {
        Failure(1, why)
    }
}

/// Does it; has told everything when it returns.
pub fn run(args: &Args) -> ExitCode {
    match run_command(&args.command) {
        Ok(code) => code,
        Err(Failure(code, why)) => {
            eprintln!("outpost incident: {why}");
            ExitCode::from(code)
        }
    }
}

fn run_command(command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Keygen(args) => {
            let public = keys::generate(&args.key).map_err(|why| Failure(2, why))?;
            if args.json {
                println!("{}", json!({"key": args.key, "public_key": public}));
            } else {
                println!("{public}");
                eprintln!(
                    "The secret key is in {0}: whoever has it can put words on your status page. Keep it off the web server.\n\
                     In the configuration of each agent:\n  \"incidents\": {{\"url\": \"http://192.0.2.10/incidents.json\", \"public_key\": \"{public}\"}}",
                    args.key.display()
                );
            }
        }
        Command::New(args) => {
            let id = args.id.clone().unwrap_or_else(|| templates::id_of(&args.title));
            let text = text_or(&args.text, || templates::first(&args.title, &args.target))?;
            check_words(args.common.force, &[&args.title, &text])?;
            change(&args.common, &id, |book| {
                let next_update = moment(args.next_update.as_deref(), book.now)?;
                book.open(&id, &args.title, args.impact.as_str(), &args.target)?;
                book.post(&id, &Post { status: args.status.as_str(), text: &text, next_update })
            })?;
        }
        Command::Update(args) => {
            let text = text_or(&args.text, String::new)?;
            if text.is_empty() {
                return Err(Failure(2, "an update says something: give --text TEXT or --text-file FILE".into()));
            }
            check_words(args.common.force, &[&text])?;
            change(&args.common, &args.id, |book| {
                let next_update = moment(args.next_update.as_deref(), book.now)?;
                book.impact(&args.id, args.impact.map(|impact| impact.as_str()))?;
                let status = match args.status {
                    Some(status) => status.as_str().to_owned(),
                    None => book.status(&args.id)?,
                };
                book.post(&args.id, &Post { status: &status, text: &text, next_update })
            })?;
        }
        Command::Resolve(args) => {
            let given = text_or(&args.text, String::new)?;
            check_words(args.common.force, &[&given])?;
            change(&args.common, &args.id, |book| {
                let text =
                    if given.is_empty() { templates::resolved(book.began(&args.id)?, book.now) } else { given.clone() };
                book.post(&args.id, &Post { status: "resolved", text: &text, next_update: None })
            })?;
        }
        Command::Postmortem(args) => {
            let text = text_or(&args.text, String::new)?;
            if args.template || text.is_empty() {
                let book = Book::read(&args.common.file, now())?;
                print!(
                    "{}",
                    templates::postmortem(&book.title(&args.id)?, book.began(&args.id)?, book.ended(&args.id))
                );
                if args.template {
                    return Ok(ExitCode::SUCCESS);
                }
                return Err(Failure(
                    2,
                    "nothing is written: fill in what stands above and give it with --text-file FILE".into(),
                ));
            }
            if let Some(blank) = templates::blank(&text) {
                return Err(Failure(
                    1,
                    format!("the postmortem still has a blank: {blank}. Say what it asks for, or take the line out"),
                ));
            }
            check_words(args.common.force, &[&text])?;
            change(&args.common, &args.id, |book| {
                if book.status(&args.id)? != "resolved" && !args.common.force {
                    return Err(format!(
                        "{} is not resolved yet: outpost incident resolve {} {0} first",
                        args.id,
                        args.common.file.display()
                    ));
                }
                book.post(&args.id, &Post { status: "postmortem", text: &text, next_update: None })
            })?;
        }
        Command::Maintenance(args) => {
            let id = args.id.clone().unwrap_or_else(|| templates::id_of(&args.title));
            let text = text_or(&args.text, String::new)?;
            // When it ends is known here: only what is guessed is refused.
            check_guesses(args.common.force, &[&args.title, &text])?;
            change(&args.common, &id, |book| {
                let starts = book::moment(&args.starts, book.now)?;
                let ends = book::moment(&args.ends, starts)?;
                book.plan(&id, &Work { title: &args.title, starts, ends, targets: &args.target, text: &text })
            })?;
        }
        Command::Remove(args) => change(&args.common, &args.id, |book| book.remove(&args.id))?,
        Command::Sign(args) => change(&args.common, "document", |_| Ok(()))?,
        Command::Verify(args) => return verify(args),
        Command::Show(args) => {
            let book = Book::read(&args.file, now())?;
            if args.json {
                println!("{:#}", book.document);
            } else {
                print!("{}", book.told());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the document, changes it, and writes it signed.
fn change(common: &Common, what: &str, edit: impl Fn(&mut Book) -> Result<(), String>) -> Result<(), Failure> {
    let (secret, _lock) = keys::read_and_lock(&common.key).map_err(|why| Failure(2, why))?;
    let mut book = Book::read_or_new(&common.file, now())?;
    edit(&mut book)?;
    let valid = book::duration(&common.valid)?;
    let dropped = book.finish(valid)?;
    let file = seal(&book.text(), &secret);
    book::write(&common.file, &file).map_err(|why| Failure(2, why))?;
    if common.json {
        println!(
            "{}",
            json!({
                "file": common.file, "id": what, "revision": book.revision(), "expires_at": book.document["expires_at"],
                "bytes": file.len(), "dropped": dropped, "public_key": public_of(&secret),
            })
        );
    } else {
        for one in dropped {
            eprintln!("{one} is over and made room: it is not in the document any more.");
        }
        println!(
            "{what}: revision {} in {}, {} bytes, valid until {}. Agents show it once the web server has it.",
            book.revision(),
            common.file.display(),
            file.len(),
            book.document["expires_at"].as_str().unwrap_or_default()
        );
    }
    Ok(())
}

fn verify(args: &arguments::Verify) -> Result<ExitCode, Failure> {
    let file = read(&args.file).map_err(|why| Failure(2, why))?;
    let judged = book::judge(&file, &args.public_key, args.min_revision, now());
    let said = match &judged {
        Ok(revision) => json!({"ok": true, "revision": revision}),
        Err((reason, why)) => json!({"ok": false, "reason": reason, "why": why}),
    };
    match (&judged, args.json) {
        (_, true) => println!("{said}"),
        (Ok(revision), false) => println!("good: revision {revision}, an agent with this key takes it"),
        (Err((reason, why)), false) => println!("refused ({reason}): {why}"),
    }
    Ok(ExitCode::from(u8::from(judged.is_err())))
}

/// What is said, or what stands for nothing.
fn text_or(text: &Text, otherwise: impl Fn() -> String) -> Result<String, Failure> {
    let given = match (&text.text, &text.text_file) {
        (Some(text), _) => text.clone(),
        (None, Some(path)) => String::from_utf8(read(path).map_err(|why| Failure(2, why))?)
            .map_err(|_| Failure(2, format!("{} is not UTF-8 text", path.display())))?,
        (None, None) => otherwise(),
    };
    Ok(given.trim().replace("\r\n", "\n"))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    const MOST: u64 = 1 << 20;
    let mut bytes = Vec::new();
    let outcome = match path == Path::new("-") {
        true => std::io::stdin().lock().take(MOST).read_to_end(&mut bytes),
        false => std::fs::File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut bytes)),
    };
    outcome.map_err(|error| {
        format!("{} cannot be read: {error}. Give the path of a readable file, or -", path.display())
    })?;
    Ok(bytes)
}

fn check_words(force: bool, texts: &[&str]) -> Result<(), Failure> {
    refuse(force, texts.iter().flat_map(|text| objections(text)))
}

fn check_guesses(force: bool, texts: &[&str]) -> Result<(), Failure> {
    refuse(force, texts.iter().flat_map(|text| objections(text)).filter(|one| one.kind != "eta"))
}

fn refuse(force: bool, found: impl Iterator<Item = wording::Objection>) -> Result<(), Failure> {
    let found: Vec<String> = found.map(|one| format!("\n  {one}")).collect();
    match found.is_empty() || force {
        true => Ok(()),
        false => Err(Failure(3, format!("nothing is written:{}\nSay it otherwise, or give --force.", found.concat()))),
    }
}

fn moment(text: Option<&str>, now: i64) -> Result<Option<i64>, String> {
    text.map(|text| book::moment(text, now)).transpose()
}

/// Seconds since 1970.
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
