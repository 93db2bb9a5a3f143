//! `outpost completions`: the script that lets a shell complete this command.

use clap::Command;
use clap_complete::Shell;
use std::io;
use std::process::ExitCode;

/// The arguments of `outpost completions`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  outpost completions bash > /etc/bash_completion.d/outpost
  outpost completions zsh > ~/.zfunc/_outpost          with fpath+=~/.zfunc before compinit
  outpost completions fish > ~/.config/fish/completions/outpost.fish

The Debian package has them in place.")]
pub struct Args {
    /// The shell that is to complete
    shell: Shell,
}

/// Prints the script for `command`.
pub fn run(args: &Args, mut command: Command) -> ExitCode {
    clap_complete::generate(args.shell, &mut command, "outpost", &mut io::stdout());
    ExitCode::SUCCESS
}
