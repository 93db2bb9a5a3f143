//! `outpost collect`. Receive and store records. Not built yet.

use std::process::ExitCode;

/// The arguments of `outpost collect`.
#[derive(clap::Args)]
pub struct Args {}

/// Says that it is not built yet.
pub fn run(_args: &Args) -> ExitCode {
    eprintln!("outpost collect is not built yet.");
    ExitCode::FAILURE
}
