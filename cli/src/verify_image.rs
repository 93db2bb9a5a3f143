//! `outpost verify-image`: is this file what was released, what is in it, and is it what a running agent runs?
//!
//! ```text
//! file ── ELF, or the ELF on the disk ──▶ image id    its bytes give the id that it names
//!   ├─── SHA256SUMS ──▶ sums           the file is one that was released
//!   │        └── SHA256SUMS.minisig ──▶ signature      by whom
//!   └─── GET /about ──▶ running        the agent there runs this image
//! ```
//!
//! Each check says what it proves. The id alone proves that nothing was damaged; only a signature says who made it.

use crate::collect::escape;
use crate::disk;
use crate::elf::Inside;
use crate::fetch::Client;
use crate::key::hex;
use crate::release::{IMAGE_SBOM, Listed, SIGNATURE, SUMS, sha256, signature, sums};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Bytes of a file that are read at most: a disk image is 4 MiB.
const FILE_MAX: u64 = 256 << 20;

/// How long a running agent may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Examples:
  outpost verify-image outpost.elf                       with SHA256SUMS beside it, when that is there
  outpost verify-image outpost.qcow2 --key minisign.pub  SHA256SUMS must be there and signed by this key
  outpost verify-image outpost.elf --url http://10.0.0.5 and the agent there must run it
  outpost verify-image outpost.elf --json | jq .image_id

Exit code: 0 whatever was checked is right, 1 something is wrong, 2 the file cannot be read.";

/// What `outpost verify-image` is told.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// An image: the ELF, or a disk as raw or qcow2
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The checksums of its release [default: SHA256SUMS beside it]
    #[arg(long, value_name = "SHA256SUMS")]
    sums: Option<PathBuf>,
    /// Public key of minisign, or the file with it, that must have signed the checksums (SHA256SUMS.minisig)
    #[arg(long, value_name = "PUBKEY")]
    key: Option<String>,
    /// What is linked into it [default: outpost-image.cdx.json beside it]
    #[arg(long, value_name = "FILE")]
    sbom: Option<PathBuf>,
    /// An agent that must run this image
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Tell it as JSON
    #[arg(long)]
    json: bool,
}

/// What came out of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Right,
    Wrong,
    NotChecked,
}

/// One check.
#[derive(Clone, Debug)]
struct Check {
    name: &'static str,
    outcome: Outcome,
    /// Why, or what that proves.
    text: String,
}

/// What was found.
#[derive(Default)]
struct Report {
    kind: &'static str,
    bytes: usize,
    sha256: String,
    checks: Vec<Check>,
    inside: Option<Inside>,
    /// The files on the disk, with their lengths.
    files: Vec<(String, usize)>,
    config: &'static str,
    crates: Vec<String>,
}

impl Report {
    fn check(&mut self, name: &'static str, found: Result<String, String>) {
        let (outcome, text) = match found {
            Ok(text) => (Outcome::Right, text),
            Err(text) => (Outcome::Wrong, text),
        };
        self.checks.push(Check { name, outcome, text });
    }

    fn left_out(&mut self, name: &'static str, text: &str) {
        self.checks.push(Check { name, outcome: Outcome::NotChecked, text: text.to_owned() });
    }

    fn wrong(&self) -> bool {
        self.checks.iter().any(|check| check.outcome == Outcome::Wrong)
    }
}

/// Checks and tells; has told everything when it returns.
pub fn run(args: &Args) -> ExitCode {
    let report = match look(args) {
        Ok(report) => report,
        Err(problem) => {
            eprintln!("outpost verify-image: {problem}");
            return ExitCode::from(2);
        }
    };
    if args.json {
        println!("{}", as_json(&report));
    } else {
        print!("{}", as_text(&args.file, &report));
    }
    ExitCode::from(u8::from(report.wrong()))
}

/// Everything there is to know of the file.
fn look(args: &Args) -> Result<Report, String> {
    let bytes = read(&args.file)?;
    let mut report = Report { bytes: bytes.len(), sha256: sha256(&bytes), ..Report::default() };
    let elf = open(args, &bytes, &mut report);
    let listed = released(args, &mut report);
    if let Some(elf) = &elf {
        bill(args, elf, listed.as_deref(), &mut report);
    }
    if let Some(url) = &args.url {
        let found = running(url, report.inside.as_ref());
        report.check("running", found);
    }
    Ok(report)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut bytes));
    match read {
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
        Ok(_) if bytes.len() as u64 > FILE_MAX => {
            Err(format!("{} is longer than {FILE_MAX} bytes: it is no image of Outpost", path.display()))
        }
        Ok(_) => Ok(bytes),
    }
}

/// Looks into the file, and checks what the image says of itself; returns the ELF.
fn open(args: &Args, bytes: &[u8], report: &mut Report) -> Option<Vec<u8>> {
    let mut loader = None;
    let elf = if bytes.starts_with(b"\x7fELF") {
        report.kind = "ELF";
        report.config = "none in it: the machine gives one (module, fw_cfg, command line)";
        bytes.to_vec()
    } else {
        let opened = match disk::open(&args.file) {
            Ok(opened) => opened,
            Err(problem) => {
                report.kind = "unknown";
                report.check("image", Err(problem));
                return None;
            }
        };
        report.kind = match opened.format {
            disk::Format::Raw => "raw disk",
            disk::Format::Qcow2 => "qcow2 disk",
        };
        report.files = opened.files.iter().map(|file| (file.path.clone(), file.bytes.len())).collect();
        report.config = match opened.file(disk::CONFIG) {
            Some(_) => "outpost/config.json on the EFI system partition",
            None => "none on the EFI system partition",
        };
        let Some(elf) = opened.file(disk::ELF) else {
            report.check("image", Err(format!("{} is not on its EFI system partition", disk::ELF)));
            return None;
        };
        let starter = opened.file(disk::LOADER);
        loader = Some(starter.and_then(disk::bound_id));
        // The same parts give the same disk, so every byte between them is known too.
        let made = disk::image(elf, starter.unwrap_or_default(), opened.file(disk::CONFIG), opened.file(disk::CONTENT));
        match made.is_ok_and(|made| *disk::encode(&made, opened.format) == *bytes) {
            true => report.check("disk", Ok("made of these files and nothing else".to_owned())),
            false => report.left_out(
                "disk",
                "it is not as `outpost image` makes it: something wrote to it, or another version made it",
            ),
        }
        elf.to_vec()
    };
    let inside = match Inside::read(&elf) {
        Ok(inside) => inside,
        Err(problem) => {
            report.check("image", Err(problem));
            return Some(elf);
        }
    };
    let (named, computed) = (hex(&inside.id), hex(&inside.computed));
    report.check(
        "image id",
        match inside.id == inside.computed {
            true => Ok(named.clone()),
            false => Err(format!("it names {named} and its bytes give {computed}: it was changed after it was built")),
        },
    );
    if let Some(bound) = loader {
        report.check(
            "loader",
            match bound {
                Some(bound) if bound == inside.id => Ok("starts this image and no other".to_owned()),
                Some(bound) => Err(format!("starts the image {} and not the one on this disk", hex(&bound))),
                None => Err(format!("{} is not there, or not the loader of Outpost", disk::LOADER)),
            },
        );
    }
    let both: Vec<_> = inside.segments.iter().filter(|segment| segment.writable_code()).collect();
    report.check(
        "memory",
        match both.first() {
            None => Ok("no segment is writable and executable".to_owned()),
            Some(segment) => Err(format!("the segment at {:#x} is writable and executable", segment.memory.start)),
        },
    );
    report.inside = Some(inside);
    Some(elf)
}

/// Holds the file against the checksums of a release, and those against their signature; returns the checksums.
fn released(args: &Args, report: &mut Report) -> Option<Vec<Listed>> {
    let folder = args.file.parent().unwrap_or(Path::new(""));
    let path = args.sums.clone().unwrap_or_else(|| folder.join(SUMS));
    let asked = args.sums.is_some() || args.key.is_some();
    if !asked && !path.exists() {
        report.left_out("sums", "there is no SHA256SUMS beside the file; give one with --sums");
        return None;
    }
    let text = match read(&path) {
        Ok(text) => text,
        Err(problem) => {
            report.check("sums", Err(problem));
            return None;
        }
    };
    let listed = str::from_utf8(&text).map_err(|error| error.to_string()).and_then(sums::parse);
    let found = listed.clone().and_then(|listed| find(&args.file, &report.sha256, &listed));
    report.check("sums", found.map_err(|problem| format!("{}: {problem}", path.display())));
    let beside = path.with_file_name(SIGNATURE);
    match &args.key {
        Some(key) => {
            let signature =
                fs::read_to_string(&beside).map_err(|error| format!("{} cannot be read: {error}", beside.display()));
            let verified = signature.and_then(|signature| signature::verify(key, &text, &signature));
            report.check("signature", verified.map(|comment| format!("signed as {:?}", escape(&comment))));
        }
        None if beside.exists() => {
            report.left_out("signature", "SHA256SUMS is signed; give the public key with --key");
        }
        None => report.left_out("signature", "there is none: nothing says who made the file"),
    }
    listed.ok()
}

/// Which line of the checksums the file is.
fn find(file: &Path, sha256: &str, listed: &[Listed]) -> Result<String, String> {
    if let Some(same) = listed.iter().find(|line| line.sha256 == sha256) {
        return Ok(format!("it is {:?} of the release", escape(&same.name)));
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    match listed.iter().find(|line| line.name.rsplit('/').next() == Some(&name)) {
        Some(line) => Err(format!("{name} should have the SHA-256 {} and has {sha256}", line.sha256)),
        None => Err(format!("no line has the SHA-256 of this file, {sha256}: it is not of this release")),
    }
}

/// Reads what is linked into the image, when that is there, and sees that it is about this image.
fn bill(args: &Args, elf: &[u8], listed: Option<&[Listed]>, report: &mut Report) {
    let path = args.sbom.clone().unwrap_or_else(|| args.file.with_file_name(IMAGE_SBOM));
    if args.sbom.is_none() && !path.exists() {
        return report.left_out("sbom", "there is no outpost-image.cdx.json beside the file; give one with --sbom");
    }
    let found = read(&path).and_then(|text| {
        let bom: Value = serde_json::from_slice(&text).map_err(|error| format!("it is not JSON: {error}"))?;
        let about = bom.pointer("/metadata/component/hashes/0/content").and_then(Value::as_str);
        if about != Some(&sha256(elf)) {
            return Err(format!("it is about another image, with the SHA-256 {}", escape(about.unwrap_or("(none)"))));
        }
        let sha256 = sha256(&text);
        if listed.is_some_and(|listed| !listed.iter().any(|line| line.sha256 == sha256)) {
            return Err(format!("its SHA-256 {sha256} is not in the checksums: it was changed"));
        }
        let components = bom.get("components").and_then(Value::as_array).ok_or("it lists no components")?;
        let word = |component: &Value, key: &str| escape(component.get(key).and_then(Value::as_str).unwrap_or("?"));
        Ok(components
            .iter()
            .filter(|component| word(component, "scope") == "required")
            .map(|component| format!("{} {}", word(component, "name"), word(component, "version")))
            .collect::<Vec<_>>())
    });
    match found {
        Ok(crates) => {
            report.check("sbom", Ok(format!("{} crates and libraries have code in this image", crates.len())));
            report.crates = crates;
        }
        Err(problem) => report.check("sbom", Err(format!("{}: {problem}", path.display()))),
    }
}

/// Whether the agent at this URL runs this image.
fn running(url: &str, inside: Option<&Inside>) -> Result<String, String> {
    let base = url.trim_end_matches('/').trim_end_matches("/about");
    let inside = inside.ok_or("the image could not be read")?;
    let client = Client::new(base, ANSWER)?;
    let shown = client.base().to_owned();
    let answer = client.get("/about").map_err(|error| format!("{shown}/about did not answer: {error}"))?;
    if answer.status != 200 {
        return Err(format!(
            "{shown}/about answers {}; ask from an address of the agent's http.operator_allow",
            answer.status
        ));
    }
    let about: Value =
        serde_json::from_slice(&answer.body).map_err(|error| format!("{shown}/about is not JSON: {error}"))?;
    let word = |key: &str| escape(about.get(key).and_then(Value::as_str).unwrap_or("unknown"));
    let id = word("image_id");
    match id == hex(&inside.id) {
        true => Ok(format!("{} at {shown} runs this image", word("name"))),
        false => Err(format!("{} at {shown} runs another image, {id} (revision {})", word("name"), word("revision"))),
    }
}

fn as_text(file: &Path, report: &Report) -> String {
    let mut lines = vec![format!("{}: {}, {} bytes", file.display(), report.kind, report.bytes)];
    lines.extend(report.checks.iter().map(|check| {
        let text = &check.text;
        match check.outcome {
            Outcome::Right => format!("[+]{} ok: {text}", check.name),
            Outcome::Wrong => format!("[-]{} wrong: {text}", check.name),
            Outcome::NotChecked => format!("[ ]{} not checked: {text}", check.name),
        }
    }));
    if let Some(inside) = &report.inside {
        lines.push(format!("version    {}", escape(&inside.version)));
        lines.push(format!("revision   {}", escape(&inside.revision)));
        lines.push(format!("catalogue  {}", hex(&inside.catalogue)));
        lines.push(format!("config     {}", report.config));
        lines.push(format!("entry      {:#x}", inside.entry));
        lines.extend(inside.segments.iter().map(|segment| {
            let memory = segment.memory.end.wrapping_sub(segment.memory.start);
            let start = segment.memory.start;
            format!("segment    {} at {start:#x}: {memory} bytes, {} in the file", segment.rights(), segment.file)
        }));
    }
    lines.extend(report.files.iter().map(|(path, bytes)| format!("file       {}: {bytes} bytes", escape(path))));
    if !report.crates.is_empty() {
        lines.push(format!("crates     {}", report.crates.join(", ")));
    }
    let verdict = match report.wrong() {
        true => "not what it should be: do not run it",
        false => "everything that was checked is right",
    };
    lines.push(verdict.to_owned());
    lines.join("\n") + "\n"
}

fn as_json(report: &Report) -> Value {
    let check = |check: &Check| {
        let outcome = match check.outcome {
            Outcome::Right => "ok",
            Outcome::Wrong => "wrong",
            Outcome::NotChecked => "not checked",
        };
        json!({ "name": check.name, "outcome": outcome, "text": check.text })
    };
    let inside = report.inside.as_ref();
    let segment = |segment: &crate::elf::Segment| {
        json!({
            "address": format!("{:#x}", segment.memory.start),
            "memory_bytes": segment.memory.end.wrapping_sub(segment.memory.start),
            "file_bytes": segment.file,
            "rights": segment.rights(),
        })
    };
    json!({
        "right": !report.wrong(),
        "kind": report.kind,
        "bytes": report.bytes,
        "sha256": report.sha256,
        "image_id": inside.map(|inside| hex(&inside.id)),
        "version": inside.map(|inside| &inside.version),
        "revision": inside.map(|inside| &inside.revision),
        "catalogue": inside.map(|inside| hex(&inside.catalogue)),
        "config": report.config,
        "entry": inside.map(|inside| format!("{:#x}", inside.entry)),
        "segments": inside.map(|inside| inside.segments.iter().map(segment).collect::<Vec<_>>()),
        "files": report.files.iter().map(|(path, bytes)| json!({ "path": path, "bytes": bytes })).collect::<Vec<_>>(),
        "crates": report.crates,
        "checks": report.checks.iter().map(check).collect::<Vec<_>>(),
    })
}
