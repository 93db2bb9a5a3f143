//! The `outpost` command: everything that happens on the host.
//!
//! This file knows the subcommands and nothing of what they do: each is a module with its `Args` and a
//! `run(&Args) -> ExitCode` that has already told the user everything when it returns.
#![forbid(unsafe_code)]

use clap::{CommandFactory, Parser, Subcommand};
use outpost_cli::{
    check, collect, completions, config, content, drill, explain, history, image, incident, key, licenses, logs, man,
    release, size, support, symbolize, timeline, token, top, up, verify, verify_image,
};
use std::process::ExitCode;

/// An ops agent that is its own operating system: build it, run it, and receive what it logs.
#[derive(Parser)]
#[command(
    name = "outpost",
    version,
    propagate_version = true,
    after_help = "Examples:
  outpost up           boots the image in QEMU and shows its events
  outpost up --help    what more it can do"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Boot the image in QEMU with a collector beside it and show its events.
    Up(up::Args),
    /// Make trouble for an agent of its own and measure who learns of it, how soon.
    Drill(drill::Args),
    /// Receive the records of agents and store them.
    Collect(collect::Args),
    /// Show the records in a store: filtered, followed, as JSON or CSV.
    Logs(logs::Args),
    /// Tell what happened in a stretch of time: the first draft of a postmortem.
    Timeline(timeline::Args),
    /// Take the days of an agent's checks out of a store, for a machine that takes its place.
    History(history::Args),
    /// Say whether every record in a store is accounted for.
    Verify(verify::Args),
    /// Say what an event means and what to do about it.
    Explain(explain::Args),
    /// Make the key that an agent and its collector share.
    Key(key::Args),
    /// Make a token that somebody pushes heartbeats with.
    Token(token::Args),
    /// Name the functions and lines of a panic's addresses.
    Symbolize(symbolize::Args),
    /// Check a configuration document with the code that the image runs.
    Check(check::Args),
    /// Write a configuration to begin with.
    Config(config::Args),
    /// Make runbooks and contacts into what the image serves.
    Content(content::Args),
    /// Put every answer of an agent into one tar, for whoever is to help.
    Support(support::Args),
    /// Write and sign what the status page tells of incidents and maintenances.
    Incident(incident::Args),
    /// Watch an agent live: health, requests, connections, log delivery, last events.
    Top(top::Args),
    /// Write the image: the one that a release carries, or build the one of a checkout.
    Image(image::Args),
    /// Say whether an image is what was released, and what is in it.
    VerifyImage(verify_image::Args),
    /// Print the script that lets bash, zsh or fish complete this command.
    Completions(completions::Args),
    /// Write the manual pages into a folder.
    Man(man::Args),
    /// Print the licences of what the command and the image are made of.
    Licenses(licenses::Args),
    /// Write checksums, bills of materials, provenance and signature for a folder of finished files.
    #[command(hide = true)]
    Release(release::Args),
    /// What the image's bytes are spent on.
    #[command(hide = true)]
    Size(size::Args),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Up(args) => up::run(&args),
        Command::Drill(args) => drill::run(&args),
        Command::Collect(args) => collect::run(&args),
        Command::Logs(args) => logs::run(&args),
        Command::Timeline(args) => timeline::run(&args),
        Command::History(args) => history::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Key(args) => key::run(&args),
        Command::Token(args) => token::run(&args),
        Command::Symbolize(args) => symbolize::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Content(args) => content::run(&args),
        Command::Support(args) => support::run(&args),
        Command::Incident(args) => incident::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Image(args) => image::run(&args),
        Command::Completions(args) => completions::run(&args, Cli::command()),
        Command::Man(args) => man::run(&args, Cli::command()),
        Command::Licenses(args) => licenses::run(&args),
        Command::VerifyImage(args) => verify_image::run(&args),
        Command::Release(args) => release::run(&args),
        Command::Size(args) => size::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The subcommands that have none of their own, with their names in full.
    fn leaves(command: &clap::Command, name: &str) -> Vec<(String, clap::Command)> {
        let name = format!("{name} {}", command.get_name());
        match command.has_subcommands() {
            true => command.get_subcommands().flat_map(|command| leaves(command, &name)).collect(),
            false => vec![(name, command.clone())],
        }
    }

    #[test]
    fn the_help_of_every_subcommand_has_an_example() {
        // Who meets a command for the first time learns it from one that works, not from a list of options.
        let command = Cli::command();
        command.clone().debug_assert();
        let all = leaves(&command, "");
        assert!(all.len() >= 16, "{}", all.len());
        for (name, mut command) in all {
            let help = command.render_long_help().to_string();
            let (_, examples) = help.split_once("Example").unwrap_or_else(|| panic!("{name} has none"));
            assert!(examples.contains(&format!("\n {name}")), "no example of{name} calls it:{examples}");
        }
    }
}
