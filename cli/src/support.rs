//! `outpost support`: every read-only answer of an agent in one tar, for whoever is to find out what is wrong.
//!
//! The agent says itself which answers there are (`/schema/openapi.json`); where it does not, what this version knows is
//! asked for. Nothing is changed at the agent, and it gives no secret to anybody: its configuration comes redacted.

use crate::collect::escape;
use crate::fetch::{Answer, Client};
use outpost::http::routes::Route;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// All answers together may take this long.
const ALL_TIME: Duration = Duration::from_secs(120);

/// Answers that are fetched at most: an agent has two dozen.
const ANSWERS_MAX: usize = 100;

/// Answers of `/events` that are fetched at most: a full ring has about as many.
const EVENT_PAGES: usize = 200;

/// After so many answers in a row that did not come, the agent is not asked for more.
const GIVE_UP: usize = 2;

const EXAMPLES: &str = "\
Examples:
  outpost support http://10.0.0.5                 writes outpost-support-NAME-TIME.tar here
  outpost support 127.0.0.1:8080 --output a.tar   of an agent that outpost up runs
  outpost support http://10.0.0.5 --json | jq .missing

Run it from an address of the agent's http.operator_allow (loopback and RFC 1918 unless configured).
Exit code: 0 everything was fetched, 1 something is missing (what came is in the tar), 2 nothing could be written.";

/// What `outpost support` is told.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The agent, like http://10.0.0.5
    #[arg(value_name = "URL")]
    url: String,
    /// File to write; it must not exist [default: outpost-support-NAME-TIME.tar]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How long one answer may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
    /// Tell what was fetched as JSON
    #[arg(long)]
    json: bool,
}

/// One answer in the tar, or why it is not there.
struct Item {
    path: String,
    file: String,
    took: Duration,
    answer: Result<Answer, String>,
}

/// Fetches, writes, and has told everything when it returns.
pub fn run(args: &Args) -> ExitCode {
    let client = match Client::new(&args.url, Duration::from_secs(args.timeout)) {
        Ok(client) => client,
        Err(problem) => return fail(&problem),
    };
    let items = fetch_all(&client, |item| tell(args, item));
    let name = items.iter().find_map(agent_name).unwrap_or_else(|| "unknown".to_owned());
    let output = args.output.clone().unwrap_or_else(|| format!("outpost-support-{name}-{}.tar", stamp()).into());
    let missing: Vec<&Item> = items.iter().filter(|item| item.problem().is_some()).collect();
    let fetched = items.len() - missing.len();
    if let Err(error) = write(&output, &client, &items) {
        return fail(&format!("{} cannot be written: {error}. Give another file with --output", output.display()));
    }
    if args.json {
        let told = |item: &&Item| json!({ "path": item.path, "problem": item.problem() });
        let missing: Vec<Value> = missing.iter().map(told).collect();
        println!("{}", json!({ "file": output, "agent": name, "fetched": fetched, "missing": missing }));
    } else {
        println!("{}: {fetched} answers of {}", output.display(), client.base());
    }
    if let Some(remedy) = remedy(&missing, client.base()) {
        eprintln!("outpost support: {remedy}");
    }
    ExitCode::from(u8::from(!missing.is_empty()))
}

fn fail(problem: &str) -> ExitCode {
    eprintln!("outpost support: {problem}.");
    ExitCode::from(2)
}

/// One line for each answer as it comes, for people who wait.
fn tell(args: &Args, item: &Item) {
    if !args.json && io::stderr().is_terminal() {
        let what = item.problem().unwrap_or_else(|| {
            let bytes = item.answer.as_ref().map_or(0, |answer| answer.body.len());
            format!("{bytes} bytes in {} ms", item.took.as_millis())
        });
        eprintln!("{:<28} {}", escape(&item.path), escape(&what));
    }
}

/// What to do about answers that are missing.
fn remedy(missing: &[&Item], base: &str) -> Option<String> {
    let first = missing.first()?;
    let forbidden = missing.iter().any(|item| matches!(&item.answer, Ok(answer) if answer.status == 403));
    let silent = missing.iter().all(|item| item.answer.is_err());
    let why = escape(&first.problem().unwrap_or_default());
    Some(if forbidden {
        format!(
            "{base} answers 403: this machine's address is not in the agent's http.operator_allow. Run it on a machine \
             that is, or add this one's network to the configuration and boot again. What is public is in the tar."
        )
    } else if silent {
        format!(
            "{base} does not answer ({why}). Check the address and port and that the VM runs; its serial console says \
             what it lacks. `outpost logs` has what it sent before."
        )
    } else {
        format!(
            "{} is missing ({why}); {} in all. Run it again, perhaps with a longer --timeout.",
            first.path,
            missing.len()
        )
    })
}

impl Item {
    /// Why it is not what it should be.
    fn problem(&self) -> Option<String> {
        // These say by 503 that something is wrong with the agent: that is their answer.
        // The feed needs UTC, and says by 503 that it is not known.
        let told_by_status = ["/readyz", "/health", "/feed.atom"].iter().any(|path| self.path.starts_with(path));
        // And these say by 404 that they are not configured.
        let optional = [Route::SecurityTxt, Route::Contacts, Route::Runbooks].map(Route::name);
        match &self.answer {
            Err(why) => Some(why.clone()),
            Ok(answer) if answer.status == 200 || (answer.status == 503 && told_by_status) => None,
            Ok(answer) if answer.status == 404 && optional.contains(&self.path.as_str()) => None,
            Ok(answer) => Some(format!("it answers {}", answer.status)),
        }
    }
}

/// The name of the agent, where this answer has it: fit for a file.
fn agent_name(item: &Item) -> Option<String> {
    let answer = item.answer.as_ref().ok().filter(|_| item.path == "/status")?;
    let status: Value = serde_json::from_slice(&answer.body).ok()?;
    let kept = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(*c);
    Some(status["name"].as_str()?.chars().filter(kept).take(63).collect())
}

/// Fetches everything, in bounded time; an agent that does not answer is given up soon.
fn fetch_all(client: &Client, tell: impl Fn(&Item)) -> Vec<Item> {
    let end = Instant::now() + ALL_TIME;
    let (mut items, mut silent) = (Vec::<Item>::new(), 0);
    let mut waiting = vec!["/schema/openapi.json".to_owned()];
    let mut asked = BTreeSet::new();
    while let Some(path) = waiting.pop() {
        if !asked.insert(path.clone()) {
            continue;
        }
        let began = Instant::now();
        let answer = match () {
            () if silent >= GIVE_UP => Err("it did not answer before, and was not asked".to_owned()),
            () if began >= end => Err(format!("{} s were over", ALL_TIME.as_secs())),
            () if path == "/events" => all_events(client, end),
            () => client.get(&path),
        };
        silent = if answer.is_err() { silent + 1 } else { 0 };
        let file = file_name(&path, answer.as_ref().map_or("", |answer| &answer.media));
        let item = Item { path, file, took: began.elapsed(), answer };
        tell(&item);
        for path in further(&item) {
            if asked.len() + waiting.len() < ANSWERS_MAX {
                waiting.push(path);
            }
        }
        items.push(item);
    }
    items
}

/// What is to be fetched because of this answer: the paths of the interface, and the documents of the list.
fn further(item: &Item) -> Vec<String> {
    let document = item.answer.as_ref().ok().and_then(|answer| serde_json::from_slice::<Value>(&answer.body).ok());
    let document = document.unwrap_or_default();
    let mut paths: Vec<String> = match item.path.as_str() {
        "/schema/openapi.json" => {
            // What this version knows comes first, so that it is asked for whatever the agent says.
            let known = Route::ALL.iter().map(|route| route.name().to_owned());
            let said = document["paths"].as_object().into_iter().flatten();
            let readable = said.filter(|(_, item)| item["get"].is_object()).map(|(path, _)| path.clone());
            known.chain(readable).chain(["/readyz?verbose".to_owned()]).collect()
        }
        "/schema/" => {
            let list = document["documents"].as_array().into_iter().flatten();
            list.filter_map(|entry| Some(entry["path"].as_str()?.to_owned())).collect()
        }
        _ => Vec::new(),
    };
    paths.retain(|path| {
        path.starts_with('/') && !path.contains(['{', '*']) && path.bytes().all(|b| b.is_ascii_graphic())
    });
    paths.sort();
    paths.dedup();
    paths.reverse();
    paths
}

/// Every record of this boot that the agent holds, and of earlier ones: page after page as one answer.
fn all_events(client: &Client, end: Instant) -> Result<Answer, String> {
    let mut all: Option<Answer> = None;
    let mut queries = vec!["since=1".to_owned()];
    let mut pages = 0;
    while let Some(query) = queries.pop() {
        let answer = client.get(&format!("/events?{query}&limit=1000"))?;
        if answer.status != 200 {
            return Ok(all.unwrap_or(answer));
        }
        let last: Value =
            serde_json::from_slice(answer.body.trim_ascii_end().rsplit(|&byte| byte == b'\n').next().unwrap_or(&[]))
                .unwrap_or_default();
        let lines = answer.body.iter().filter(|&&byte| byte == b'\n').count();
        let boot = query.split_once('&').map(|(_, boot)| format!("&{boot}")).unwrap_or_default();
        match &mut all {
            None => {
                let earlier = last["earlier_boots"].as_array().cloned().unwrap_or_default();
                let earlier = earlier.iter().filter_map(|id| Some(format!("since=1&boot={}", id.as_str()?)));
                queries.extend(earlier.filter(|query| query.len() == "since=1&boot=".len() + 16));
                all = Some(answer);
            }
            Some(all) => all.body.extend(answer.body),
        }
        pages += 1;
        // A line beside the last one means that there may be more.
        if let Some(next) = last["next"].as_u64().filter(|_| lines > 1 && pages < EVENT_PAGES && Instant::now() < end) {
            queries.push(format!("since={next}{boot}"));
        }
    }
    all.ok_or_else(|| "it has no events".to_owned())
}

/// The file that an answer becomes.
fn file_name(path: &str, media: &str) -> String {
    let name: String = path
        .trim_matches('/')
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "/.-_".contains(c) { c } else { '-' })
        .collect();
    let name = name.replace("..", "-");
    let name = if name.is_empty() { "page".to_owned() } else { name };
    let end = match media.split(';').next().unwrap_or_default() {
        _ if path.contains('.') => "",
        _ if path == "/schema/" => "/list.json",
        "application/x-ndjson" => ".ndjson",
        "image/svg+xml" => ".svg",
        "text/html" => ".html",
        media if media.ends_with("json") => ".json",
        _ => ".txt",
    };
    name + end
}

/// Writes the tar: README, answers, and the checksums of them all.
fn write(output: &Path, client: &Client, items: &[Item]) -> io::Result<()> {
    let mut tar = tar::Builder::new(File::create_new(output)?);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut sums = String::new();
    let mut append = |name: &str, bytes: &[u8]| -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(now);
        tar.append_data(&mut header, format!("outpost-support/{name}"), bytes)?;
        let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        sums += &format!("{digest}  {name}\n");
        Ok(())
    };
    append("README.txt", readme(client, items).as_bytes())?;
    for item in items {
        if let Ok(answer) = &item.answer {
            append(&item.file, &answer.body)?;
        }
    }
    let sums = std::mem::take(&mut sums);
    let mut header = tar::Header::new_gnu();
    header.set_size(sums.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(now);
    tar.append_data(&mut header, "outpost-support/SHA256SUMS", sums.as_bytes())?;
    tar.into_inner()?.flush()
}

fn readme(client: &Client, items: &[Item]) -> String {
    let mut text = format!(
        "What the Outpost agent at {} answered at {} UTC, each as it came.\n\
         Secrets are not in here: the agent shows them to nobody. Addresses, names and events are; see who gets this.\n\
         schema/ says what every answer means; `sha256sum -c SHA256SUMS` that nothing was changed.\n\n",
        client.base(),
        stamp()
    );
    for item in items {
        let what = match (&item.answer, item.problem()) {
            (Ok(_), None) => item.file.clone(),
            (Ok(_), Some(problem)) => format!("{} ({problem})", item.file),
            (Err(why), _) => format!("missing: {why}"),
        };
        text += &format!("{:<28} {}\n", escape(&item.path), escape(&what));
    }
    text
}

/// Now, as it stands in names of files.
fn stamp() -> String {
    jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_becomes_a_file_of_its_own_inside_the_folder() {
        // Two answers in one file, or a file outside the folder, is what a hostile agent would try.
        for (path, media, file) in [
            ("/", "text/plain; charset=utf-8", "page.txt"),
            ("/debug/net", "application/json", "debug/net.json"),
            ("/readyz?verbose", "text/plain", "readyz-verbose.txt"),
            ("/schema/", "application/json", "schema/list.json"),
            ("/schema/status.json", "application/json", "schema/status.json"),
            ("/events", "application/x-ndjson", "events.ndjson"),
            ("/health", "application/health+json", "health.json"),
        ] {
            assert_eq!(file_name(path, media), file);
        }
        let hostile = file_name("/../../etc/passwd", "text/plain");
        assert!(!hostile.contains("..") && !hostile.starts_with('/'), "{hostile}");
    }
}
