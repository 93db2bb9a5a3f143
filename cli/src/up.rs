//! `outpost up`. Boot the image in QEMU. Not built yet.

use std::process::ExitCode;

/// The arguments of `outpost up`.
#[derive(clap::Args)]
pub struct Args {}

/// Says that it is not built yet.
pub fn run(_args: &Args) -> ExitCode {
    eprintln!("outpost up is not built yet.");
    ExitCode::FAILURE
}
