//! `outpost check`: says about a configuration document what the image would say.
//!
//! There is no second opinion here: it is the image's own [`Loader`], so a document that passes is a document
//! that boots as written, and every sentence can be found again on the serial line.

use crate::content;
use outpost::config::checks::Checks;
use outpost::config::{Loaded, Loader, Problem, load};
use outpost_wire::ConfigSource;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What is read at most, in bytes: far more than a document may have, far less than a disk image or /dev/zero.
const READ_MAX: u64 = 64 * 1024 * 1024;

/// The arguments of `outpost check`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  outpost check config.json           one line per problem: file:line:column: place: what is wrong and allowed
  outpost check config.json --json    the same as JSON, with the configuration that would be in force
  outpost check - < config.json       reads standard input
  outpost check config.json --content content.bin
                                      says too which checks have no runbook in the content bundle
  outpost check template.json --fw-cfg fra1.json --command-line outpost.name=fra1
                                      what one VM of a fleet has, from all its sources in their order

Exit codes: 0 no problems, 1 problems, 2 a file cannot be read.
The keys: schema/config.json, a JSON Schema that editors understand.")]
pub struct Args {
    /// The document, - for standard input.
    #[arg(value_name = "CONFIG")]
    file: PathBuf,
    /// What the VM is given as fw_cfg file opt/outpost/config, which counts before CONFIG
    #[arg(long, value_name = "FILE")]
    fw_cfg: Option<PathBuf>,
    /// Its kernel command line, whose outpost.KEY=VALUE count before both
    #[arg(long, value_name = "LINE")]
    command_line: Option<String>,
    /// The content bundle that the VM is given: says which checks have no runbook in it
    #[arg(long, value_name = "FILE")]
    content: Option<PathBuf>,
    /// Tell the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Checks the document and tells what was found.
pub fn run(args: &Args) -> ExitCode {
    let mut checks = Box::new(Checks::new());
    let mut loader = Loader::new(&mut checks);
    for (source, file) in [(ConfigSource::Module, Some(&args.file)), (ConfigSource::FwCfg, args.fw_cfg.as_ref())] {
        let Some(file) = file else { continue };
        match read(file) {
            Ok(document) => loader.document(source, &document),
            Err(error) => {
                let name = name_of(file);
                eprintln!("outpost check: {name} cannot be read: {error}. Give the path of a readable file, or -.");
                return ExitCode::from(2);
            }
        }
    }
    if let Some(line) = &args.command_line {
        loader.command_line(line);
    }
    let loaded = loader.finish();
    let missing = match args.content.as_deref().map(|content| without_runbook(&checks, content)).transpose() {
        Ok(missing) => missing.unwrap_or_default(),
        Err(problem) => {
            eprintln!("outpost check: {problem}");
            return ExitCode::from(2);
        }
    };
    let hash: String = loaded.config.hash(&checks).iter().map(|byte| format!("{byte:02x}")).collect();
    let report = if args.json {
        as_json(args, &loaded, &hash, &missing)
    } else {
        let told = |line: &String| format!("{}: {line}\n", name_of(&args.file));
        missing.iter().map(told).collect::<String>() + &as_text(args, &loaded, &hash)
    };
    // A reader that went away (`| head`) has what it wanted.
    let _ = io::stdout().write_all(report.as_bytes());
    ExitCode::from(u8::from(loaded.problem_count > 0 || !missing.is_empty()))
}

/// A sentence for each check whose runbook is not in the content bundle.
fn without_runbook(checks: &Checks, bundle: &Path) -> Result<Vec<String>, String> {
    let bytes = content::accepted(bundle)?;
    let content = content::open(&bytes)?;
    let missing =
        checks.list().iter().enumerate().filter(|(_, check)| !content.has_runbook(checks.text(check.runbook)));
    let told = missing.map(|(number, check)| {
        let anchor = checks.text(check.runbook);
        format!("/checks/{number}/runbook: \"{anchor}\" is not in {}: write runbooks/{anchor}.md", bundle.display())
    });
    Ok(told.collect())
}

/// The document in this file, if the image would have nothing to say about it; else what it would say.
pub fn accepted(path: &Path) -> Result<Vec<u8>, String> {
    let args = Args { file: path.to_owned(), fw_cfg: None, command_line: None, content: None, json: false };
    let document = read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let loaded = load(Some(&document));
    if loaded.problem_count == 0 { Ok(document) } else { Err(as_text(&args, &loaded, "").trim_end().to_owned()) }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut document = Vec::new();
    if is_standard_input(path) {
        io::stdin().lock().take(READ_MAX).read_to_end(&mut document)?;
    } else {
        File::open(path)?.take(READ_MAX).read_to_end(&mut document)?;
    }
    Ok(document)
}

fn is_standard_input(path: &Path) -> bool {
    path == Path::new("-")
}

fn name_of(path: &Path) -> String {
    if is_standard_input(path) { "stdin".into() } else { path.display().to_string() }
}

/// The name of what the user gave as this source.
fn source_name(args: &Args, source: ConfigSource) -> String {
    match (source, &args.fw_cfg) {
        (ConfigSource::CommandLine, _) => "command line".into(),
        (ConfigSource::FwCfg, Some(file)) => name_of(file),
        _ => name_of(&args.file),
    }
}

fn as_text(args: &Args, loaded: &Loaded, hash: &str) -> String {
    let name = name_of(&args.file);
    let in_source = |problem: &Problem| {
        let space = if problem.line == 0 { " " } else { "" };
        format!("{}:{space}{problem}", source_name(args, problem.source))
    };
    let mut lines: Vec<String> = loaded.problems.iter().map(in_source).collect();
    let count = usize::from(loaded.problem_count);
    match count - loaded.problems.len() {
        0 => {}
        more => lines.push(format!("{name}: and {more} more, shown when these are gone")),
    }
    lines.push(match count {
        0 => format!("{name}: ok, hash {}", hash),
        1 => format!("{name}: 1 problem; {CONSEQUENCE}"),
        count => format!("{name}: {count} problems; {CONSEQUENCE}"),
    });
    lines.join("\n") + "\n"
}

const CONSEQUENCE: &str = "the image would boot with what is right, and not be ready";

fn as_json(args: &Args, loaded: &Loaded, hash: &str, missing: &[String]) -> String {
    let problems: Vec<Value> = loaded
        .problems
        .iter()
        .map(|problem| {
            json!({
                "source": problem.source.word().unwrap_or("other"),
                "pointer": problem.pointer.as_str(),
                "line": problem.line,
                "column": problem.column,
                "text": problem.text.as_str(),
            })
        })
        .collect();
    let origins: Map<String, Value> = loaded
        .origins
        .iter()
        .map(|(pointer, source)| (pointer.to_owned(), json!(source.word().unwrap_or("other"))))
        .collect();
    let report = json!({
        "file": name_of(&args.file),
        "ok": loaded.problem_count == 0 && missing.is_empty(),
        "problem_count": loaded.problem_count,
        "problems": problems,
        "missing_runbooks": missing,
        "hash": hash,
        "origins": origins,
        "effective": serde_json::to_value(&loaded.config).unwrap_or_default(),
    });
    format!("{report:#}\n")
}
