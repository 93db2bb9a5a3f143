//! `outpost key`: makes the keys that agents and collectors share.

use outpost_wire::limits::AGENT_NAME_MAX;
use outpost_wire::noise::KEY_LEN;
use std::fmt::Write;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  outpost key new --agent fra1
  outpost key new --agent fra1 | tail -1 >> keys && chmod 600 keys

The first line is the key, for the agent's configuration:
  {\"name\": \"fra1\", \"collector\": {\"address\": \"10.0.0.5:7600\", \"key\": \"…\"}}
The second is the line for the collector's key file: outpost collect --keys keys
Whoever has the key can acknowledge, and so erase, the agent's records: keep both files to yourself.";

/// What `outpost key` is told.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Print a fresh key, and its line for the collector's key file.
    #[command(after_help = EXAMPLES)]
    New {
        /// Name of the agent, as in its configuration
        #[arg(long, value_name = "NAME", default_value = "outpost", value_parser = agent_name)]
        agent: String,
    },
}

/// Prints; has told everything when it returns.
pub fn run(args: &Args) -> ExitCode {
    let Command::New { agent } = &args.command;
    match random() {
        Ok(bytes) => {
            let key = hex(&bytes);
            println!("{key}\n{agent} {key}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("outpost key: {error}");
            ExitCode::FAILURE
        }
    }
}

/// 32 random bytes from the system.
pub fn random() -> Result<[u8; KEY_LEN], String> {
    let mut bytes = [0; KEY_LEN];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) => Err(format!("the system gives no random bytes ({error}): no key can be made.")),
    }
}

/// As hexadecimal digits: how keys are written in configurations and key files.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn agent_name(name: &str) -> Result<String, String> {
    let allowed = |c: char| !c.is_whitespace() && !c.is_control() && c != '#';
    if name.is_empty() || name.len() > AGENT_NAME_MAX || !name.chars().all(allowed) || name.starts_with('{') {
        return Err(format!("allowed are 1 to {AGENT_NAME_MAX} bytes without spaces, like \"outpost-fra1\""));
    }
    Ok(name.to_owned())
}
