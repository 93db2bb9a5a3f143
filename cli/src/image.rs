//! `outpost image`. Build the image. Not built yet.

use std::process::ExitCode;

/// The arguments of `outpost image`.
#[derive(clap::Args)]
pub struct Args {}

/// Says that it is not built yet.
pub fn run(_args: &Args) -> ExitCode {
    eprintln!("outpost image is not built yet.");
    ExitCode::FAILURE
}
