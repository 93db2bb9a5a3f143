//! What `outpost incident` is told.

use clap::ValueEnum;
use std::path::PathBuf;

/// The arguments of `outpost incident`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(clap::Subcommand, Debug)]
pub(super) enum Command {
    /// Make the key that documents are signed with.
    Keygen(Keygen),
    /// Tell of an incident.
    New(New),
    /// Say how things are with one.
    Update(Update),
    /// Say that one is over.
    Resolve(Resolve),
    /// Say what happened, why, and what is done about it.
    Postmortem(Postmortem),
    /// Announce work that is known beforehand.
    Maintenance(Maintenance),
    /// Take an incident or a maintenance out of the document.
    Remove(Remove),
    /// Sign a document anew: after an edit by hand, or before it expires.
    Sign(Sign),
    /// Say whether an agent would take a document, and why not.
    Verify(Verify),
    /// Show what a document says.
    Show(Show),
}

#[derive(clap::Args, Debug)]
pub(super) struct Common {
    /// The document: the file that the web server serves; it is made when it is not there
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The secret key of `outpost incident keygen`
    #[arg(long, value_name = "FILE", default_value = "incidents.key")]
    pub key: PathBuf,
    /// For how long agents take it for current
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub valid: String,
    /// Write it whatever its words are
    #[arg(long)]
    pub force: bool,
    /// Tell the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::Args, Debug)]
pub(super) struct Text {
    /// What is said; what must not be is refused: when it will be over, and guesses
    #[arg(long, value_name = "TEXT", conflicts_with = "text_file")]
    pub text: Option<String>,
    /// A file with what is said, - for standard input
    #[arg(long, value_name = "FILE")]
    pub text_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Impact {
    None,
    Minor,
    Major,
    Critical,
}

impl Impact {
    pub fn as_str(self) -> &'static str {
        ["none", "minor", "major", "critical"][self as usize]
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Status {
    Investigating,
    Identified,
    Monitoring,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        ["investigating", "identified", "monitoring"][self as usize]
    }
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  outpost incident keygen
  outpost incident keygen --key ~/.config/outpost/incidents.key

Prints the public key, for the agents' configuration. A file that is there is not overwritten.")]
pub(super) struct Keygen {
    /// Where the secret key is written, readable by you alone
    #[arg(long, value_name = "FILE", default_value = "incidents.key")]
    pub key: PathBuf,
    /// Tell the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  outpost incident new incidents.json --title \"Payments fail\" --impact major --target shop --next-update 30m
  outpost incident new incidents.json --id pay-1 --title \"Payments fail\" --impact major \\
      --text \"Payments in the shop fail with error 502 since 13:05 UTC.\" --next-update 14:30

Times: 30m, 2h, 1d from now, 14:30 (UTC), or 2027-01-31T14:30:00Z.
Exit codes: 0 written, 1 not allowed, 2 a file cannot be read or written, 3 refused for its words.")]
pub(super) struct New {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub text: Text,
    /// Its title
    #[arg(long, value_name = "TITLE")]
    pub title: String,
    /// How bad it is for customers
    #[arg(long)]
    pub impact: Impact,
    /// The name of a check that it is about; can be given several times
    #[arg(long, value_name = "CHECK")]
    pub target: Vec<String>,
    /// Its id; without it, the day and the title
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// How far you are
    #[arg(long, default_value = "investigating")]
    pub status: Status,
    /// When the next update comes: the page says so by itself when it is overdue
    #[arg(long, value_name = "TIME")]
    pub next_update: Option<String>,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  outpost incident update incidents.json pay-1 --status identified --next-update 30m \\
      --text \"We have identified the cause: a certificate that ran out at 09:00 UTC.\"
  outpost incident update incidents.json pay-1 --text-file - < update.txt")]
pub(super) struct Update {
    #[command(flatten)]
    pub common: Common,
    /// Its id
    #[arg(value_name = "ID")]
    pub id: String,
    #[command(flatten)]
    pub text: Text,
    /// How far you are; without it, as before
    #[arg(long)]
    pub status: Option<Status>,
    /// How bad it is by now
    #[arg(long)]
    pub impact: Option<Impact>,
    /// When the next update comes
    #[arg(long, value_name = "TIME")]
    pub next_update: Option<String>,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  outpost incident resolve incidents.json pay-1
  outpost incident resolve incidents.json pay-1 --text \"Payments work again since 14:12 UTC.\"")]
pub(super) struct Resolve {
    #[command(flatten)]
    pub common: Common,
    /// Its id
    #[arg(value_name = "ID")]
    pub id: String,
    #[command(flatten)]
    pub text: Text,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  outpost incident postmortem incidents.json pay-1 --template > pay-1.txt
  outpost incident postmortem incidents.json pay-1 --text-file pay-1.txt

`outpost timeline` tells from the records what happened when.")]
pub(super) struct Postmortem {
    #[command(flatten)]
    pub common: Common,
    /// Its id
    #[arg(value_name = "ID")]
    pub id: String,
    #[command(flatten)]
    pub text: Text,
    /// Print what to fill in
    #[arg(long)]
    pub template: bool,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  outpost incident maintenance incidents.json --title \"New database disks\" --target shop \\
      --starts 2027-01-31T22:00:00Z --ends 2h
  outpost incident maintenance incidents.json --title \"Router restart\" --target shop --starts 10m --ends 30m

--ends may be a time from --starts on. While it is under way notifications about its targets are held.")]
pub(super) struct Maintenance {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub text: Text,
    /// Its title
    #[arg(long, value_name = "TITLE")]
    pub title: String,
    /// When it begins
    #[arg(long, value_name = "TIME")]
    pub starts: String,
    /// When it ends
    #[arg(long, value_name = "TIME")]
    pub ends: String,
    /// The name of a check that it is about; can be given several times
    #[arg(long, value_name = "CHECK")]
    pub target: Vec<String>,
    /// Its id; without it, the day and the title. One that is there is replaced
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  outpost incident remove incidents.json router-restart")]
pub(super) struct Remove {
    #[command(flatten)]
    pub common: Common,
    /// Its id
    #[arg(value_name = "ID")]
    pub id: String,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  outpost incident sign incidents.json                   once a day, so that agents see that it is current
  outpost incident sign incidents.json --valid 30d

FILE may be a signed document or its JSON alone; it gets the next revision either way.")]
pub(super) struct Sign {
    #[command(flatten)]
    pub common: Common,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  outpost incident verify incidents.json --public-key 5b0c…
  curl -s http://192.0.2.10/incidents.json | outpost incident verify - --public-key 5b0c… --min-revision 12

Exit codes: 0 an agent takes it, 1 it refuses it, 2 the file cannot be read.")]
pub(super) struct Verify {
    /// The signed document, - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The public key, as in the agents' configuration
    #[arg(long, value_name = "HEX")]
    pub public_key: String,
    /// As in the agents' configuration
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub min_revision: u32,
    /// Tell the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  outpost incident show incidents.json
  outpost incident show incidents.json --json | jq .revision")]
pub(super) struct Show {
    /// The document, signed or not; the signature is not checked here
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print the document itself
    #[arg(long)]
    pub json: bool,
}
