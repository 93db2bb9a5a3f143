//! `outpost config`: writes a configuration to begin with.
//!
//! What always holds: what is written passes `outpost check`; a file that is there is never touched; a key is shown
//! nowhere, and the files that hold it are their owner's alone.

use crate::key;
use outpost::config::{self, Loaded};
use serde_json::{Map, Value, json};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  outpost config init                                           config.json: everything at its default, and DHCP
  outpost config init --name fra1 --collector 10.0.0.5:7600 --keys keys
                                                                with a fresh key, added to the collector's key file
  outpost config init fra1.json --name fra1 --address 10.0.2.15/24 --gateway 10.0.2.2 --dns 10.0.2.3
  outpost config init - --collector logs.example.org:7600       on standard output

A file that is there is not overwritten. Exit codes: 0 written, 1 a value is not allowed, 2 the file cannot be written.
All keys with their bounds: docs/config.md, or schema/config.json, which editors understand.";

/// What `outpost config` is told.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Write a valid configuration that says what you say here and leaves the rest at its default.
    Init(Init),
}

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
struct Init {
    /// The file to write, - for standard output
    #[arg(value_name = "FILE", default_value = "config.json")]
    file: PathBuf,
    /// Name of the agent: a host name
    #[arg(long, value_name = "NAME", default_value = "outpost")]
    name: String,
    /// Its own address, instead of DHCP
    #[arg(long, value_name = "IPV4/PREFIX")]
    address: Option<String>,
    /// The router of that network
    #[arg(long, value_name = "IPV4", requires = "address")]
    gateway: Option<String>,
    /// A DNS server of that network; can be given several times
    #[arg(long, value_name = "IPV4", requires = "address")]
    dns: Vec<String>,
    /// Where log records go
    #[arg(long, value_name = "HOST:PORT")]
    collector: Option<String>,
    /// Make a key for the session to the collector, and add it to this key file of `outpost collect --keys`
    #[arg(long, value_name = "FILE", requires = "collector")]
    keys: Option<PathBuf>,
    /// An NTP server; can be given several times
    #[arg(long = "time-server", value_name = "HOST")]
    time_servers: Vec<String>,
}

/// Writes; has told everything when it returns.
pub fn run(args: &Args) -> ExitCode {
    let Command::Init(init) = &args.command;
    match write(init) {
        Ok(said) => {
            eprint!("{said}");
            ExitCode::SUCCESS
        }
        Err((code, why)) => {
            eprintln!("outpost config: {why}");
            ExitCode::from(code)
        }
    }
}

fn write(init: &Init) -> Result<String, (u8, String)> {
    let fresh = match &init.keys {
        Some(_) => Some(key::hex(&key::random().map_err(|error| (1, error))?)),
        None => None,
    };
    let document = document(init, fresh.as_deref());
    let loaded = config::load(Some(document.as_bytes()));
    if let Some(problem) = loaded.problems.first() {
        return Err((1, format!("{} is not written: {}: {}.", name_of(&init.file), problem.pointer, problem.text)));
    }
    let cannot = |path: &Path, error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            (2, format!("{} is there and is not overwritten. Give another FILE, or remove it.", path.display()))
        }
        _ => (2, format!("{} cannot be written: {error}.", path.display())),
    };
    // Opened before the first byte is written: both files have the key in the end, or neither has.
    let keys = init.keys.as_deref().map(|path| {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        file.map(|file| (path, file)).map_err(|error| cannot(path, error))
    });
    let keys = keys.transpose()?;
    if init.file == Path::new("-") {
        // A reader that went away has what it wanted.
        let _ = io::stdout().write_all(document.as_bytes());
    } else {
        let mode = if fresh.is_some() { 0o600 } else { 0o644 };
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&init.file);
        let written = file.and_then(|mut file| file.write_all(document.as_bytes()));
        written.map_err(|error| cannot(&init.file, error))?;
    }
    if let (Some((path, mut file)), Some(key)) = (keys, &fresh) {
        writeln!(file, "{} {key}", init.name).map_err(|error| cannot(path, error))?;
    }
    Ok(next_steps(init, &loaded))
}

fn document(init: &Init, key: Option<&str>) -> String {
    let mut document = Map::from_iter([("name".to_owned(), json!(init.name))]);
    if let Some(address) = &init.address {
        let mut network = Map::from_iter([("address".to_owned(), json!(address))]);
        network.extend(init.gateway.iter().map(|gateway| ("gateway".to_owned(), json!(gateway))));
        if !init.dns.is_empty() {
            network.insert("dns".to_owned(), json!(init.dns));
        }
        document.insert("network".to_owned(), json!({ "static": network }));
    }
    if !init.time_servers.is_empty() {
        document.insert("time".to_owned(), json!({ "servers": init.time_servers }));
    }
    if let Some(address) = &init.collector {
        let mut collector = Map::from_iter([("address".to_owned(), json!(address))]);
        collector.extend(key.map(|key| ("key".to_owned(), json!(key))));
        document.insert("collector".to_owned(), Value::Object(collector));
    }
    format!("{:#}\n", Value::Object(document))
}

/// JSON has no comments, so what to do next is said beside it.
fn next_steps(init: &Init, loaded: &Loaded) -> String {
    let standard_output = init.file == Path::new("-");
    let file = if standard_output { "config.json".into() } else { name_of(&init.file) };
    let first = if standard_output { "Valid. Save it, then" } else { "Written, and valid. Next" };
    let mut said = format!(
        "{first}:\n  outpost check {file}              after each change\n  outpost up --config {file}        boots with it here\n  qemu-system-x86_64 ... -kernel outpost.elf -initrd {file}\n"
    );
    let mut hint = |text: String| said.push_str(&(text + "\n"));
    match (&loaded.config.collector, &init.keys) {
        (None, _) => hint(
            "Without a collector records stay in the agent's memory: start `outpost collect`, then add --collector HOST:PORT."
                .into(),
        ),
        (Some(collector), None) => hint(format!(
            "Records go to {} in clear text: --keys FILE makes a key for the session.",
            collector.address
        )),
        (Some(_), Some(keys)) => hint(format!(
            "The key is in {file} and, for the collector, in {0}: outpost collect --keys {0}",
            keys.display()
        )),
    }
    if loaded.config.contact.is_none() {
        hint("The status page tells whom to call when the document has a \"contact\". All keys: docs/config.md".into());
    }
    said
}

fn name_of(file: &Path) -> String {
    if file == Path::new("-") { "standard output".to_owned() } else { file.display().to_string() }
}
