//! The `outpost` command: everything that happens on the host.
//!
//! This file knows the subcommands and nothing of what they do: each is a module with its `Args` and a
//! `run(&Args) -> ExitCode` that has already told the user everything when it returns.
#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use outpost_cli::{check, collect, explain, image, key, logs, size, support, symbolize, timeline, top, up, verify};
use std::process::ExitCode;

/// An ops agent that is its own operating system: build it, run it, and receive what it logs.
#[derive(Parser)]
#[command(version, propagate_version = true, after_help = "Start here: outpost up --help")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Boot the image in QEMU with a collector beside it and show its events.
    Up(up::Args),
    /// Receive the records of agents and store them.
    Collect(collect::Args),
    /// Show the records in a store: filtered, followed, as JSON or CSV.
    Logs(logs::Args),
    /// Tell what happened in a stretch of time: the first draft of a postmortem.
    Timeline(timeline::Args),
    /// Say whether every record in a store is accounted for.
    Verify(verify::Args),
    /// Say what an event means and what to do about it.
    Explain(explain::Args),
    /// Make the key that an agent and its collector share.
    Key(key::Args),
    /// Name the functions and lines of a panic's addresses.
    Symbolize(symbolize::Args),
    /// Check a configuration document with the code that the image runs.
    Check(check::Args),
    /// Put every answer of an agent into one tar, for whoever is to help.
    Support(support::Args),
    /// Watch an agent live: health, requests, connections, log delivery, last events.
    Top(top::Args),
    /// Build the image: dist/outpost.elf.
    Image(image::Args),
    /// What the image's bytes are spent on.
    #[command(hide = true)]
    Size(size::Args),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Up(args) => up::run(&args),
        Command::Collect(args) => collect::run(&args),
        Command::Logs(args) => logs::run(&args),
        Command::Timeline(args) => timeline::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Key(args) => key::run(&args),
        Command::Symbolize(args) => symbolize::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Support(args) => support::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Image(args) => image::run(&args),
        Command::Size(args) => size::run(&args),
    }
}
