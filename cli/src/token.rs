//! `outpost token`: makes the token that somebody pushes heartbeats with.

use crate::key::{hex, random};
use sha2::{Digest, Sha256};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Example:
  outpost token

The first line is the token, for whoever pushes; the second its SHA-256, for the agent's configuration:
  {\"checks\": [{\"name\": \"backup\", \"owner\": \"team-data\", \"impact\": \"no backup of today\", \"runbook\": \"backup\",
    \"heartbeat\": {\"token_sha256\": \"…\", \"period_s\": 86400, \"grace_s\": 3600}}]}
Who pushes says that it lives, that a run begins, or that it failed, by GET or POST:
  curl -fsS -m 10 --retry 5 -H \"Authorization: Bearer $TOKEN\" -X POST http://AGENT/beat       (/beat/start, /beat/fail)
  curl -fsS -m 10 --retry 5 http://AGENT/beat/$TOKEN                                          (…/start, …/fail)
The token is all that is needed to say so: keep it to whoever pushes.";

/// Bytes of a token: 160 bits.
const LEN: usize = 20;

/// What `outpost token` is told.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

/// Prints; has told everything when it returns.
pub fn run(Args {}: &Args) -> ExitCode {
    match random() {
        Ok(bytes) => {
            let token = hex(&bytes[..LEN]);
            println!("{token}\n{}", hex(&Sha256::digest(&token)));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("outpost token: {error}");
            ExitCode::FAILURE
        }
    }
}
