//! `outpost check`. Check a configuration document. Not built yet.

use std::process::ExitCode;

/// The arguments of `outpost check`.
#[derive(clap::Args)]
pub struct Args {}

/// Says that it is not built yet.
pub fn run(_args: &Args) -> ExitCode {
    eprintln!("outpost check is not built yet.");
    ExitCode::FAILURE
}
