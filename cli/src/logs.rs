//! `outpost logs`: the records of a store, of all agents in one stream, filtered and followed.
//!
//! ```text
//! store ─▶ merge (oldest first) ─▶ filter ─▶ format ─▶ standard output
//!            then, with --follow: as they become durable
//! ```
//!
//! What was lost is a line in its place, so that nobody takes silence for health. Where an agent's clock was not
//! known, the time is the moment of receipt and is marked as such.

pub mod filter;
pub mod format;
pub mod merge;
pub mod moment;

use crate::collect::OpenError;
use crate::store_read::{Entry, Place, Reader};
use filter::Filter;
use format::{Format, Writer};
use merge::Merge;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How often --follow looks for more: below what a person notices.
const FOLLOW: Duration = Duration::from_millis(200);

/// Entries that --follow reads at once.
const FOLLOW_CHUNK: u32 = 1024;

const EXAMPLES: &str = "\
Examples:
  outpost logs                                      everything in outpost.db, oldest first
  outpost logs store.db --since \"10m ago\" --follow  the last ten minutes, and what comes
  outpost logs --severity warn --agent 'outpost-fra*'
  outpost logs --event 'http.*' --format csv > http.csv
  outpost logs --transaction 4bf92f3577b34da6a3ce929d0e0e4736   the whole story of one request
  outpost logs --format json | jq 'select(.fields.status >= 500)'
  outpost logs | less -R

A time with ± is UTC and how far off it may be at most; one marked `recv` is when the collector received the record,
because the agent's clock was not known. What was lost is a line in its place.
Exit code: 0 it was read, 1 nothing belongs to the transaction asked for, 2 the store or a file cannot be read.";

/// What `outpost logs` is told.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Which store
    #[command(flatten)]
    pub store: StoreArgs,
    /// Which entries
    #[command(flatten)]
    pub filter: filter::Args,
    /// Go on with what comes, until Ctrl-C
    #[arg(long, short)]
    pub follow: bool,
    /// How entries are shown
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Where the store is.
#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct StoreArgs {
    /// The store of a collector, which may be running [default: outpost.db]
    #[arg(value_name = "STORE")]
    positional: Option<PathBuf>,
    /// The same, as `outpost collect` calls it
    #[arg(long = "store", value_name = "FILE", conflicts_with = "positional")]
    named: Option<PathBuf>,
}

impl StoreArgs {
    /// The file that was named, or the one that `outpost collect` makes by itself.
    pub fn path(&self) -> &Path {
        self.positional.as_deref().or(self.named.as_deref()).unwrap_or(Path::new("outpost.db"))
    }
}

/// Shows what is asked for; has told everything when it returns.
pub fn run(args: &Args) -> ExitCode {
    match show(args, &mut Writer::new(args.format)) {
        Ok(code) => code,
        Err(Stop::Told(sentence)) => {
            eprintln!("outpost logs: {sentence}");
            ExitCode::from(2)
        }
        // Whoever read our output has seen enough (`| head`, q in less).
        Err(Stop::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Stop::Output(error)) => {
            eprintln!("outpost logs: the output cannot be written: {error}. Is the disk full?");
            ExitCode::from(2)
        }
    }
}

/// Why showing ended early.
enum Stop {
    Told(String),
    Output(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Output(error)
    }
}

fn show(args: &Args, out: &mut Writer<impl Write>) -> Result<ExitCode, Stop> {
    let path = args.store.path();
    let reader = Reader::open(path).map_err(|error| Stop::Told(error.to_string()))?;
    let reading = |error: rusqlite::Error| Stop::Told(OpenError::reading(path, &error).to_string());
    let mut filter = Filter::new(&args.filter, &reader).map_err(Stop::Told)?;
    // One state of the store, whatever a collector writes and clears away meanwhile.
    let snapshot = reader.connection().unchecked_transaction().map_err(reading)?;
    let boots = filter.boots().map_err(reading)?;
    let mut place = Place::end(&reader, &reader.boots().map_err(reading)?).map_err(reading)?;
    for entry in Merge::new(&reader, &boots).map_err(reading)? {
        print(&reader, &mut filter, &entry.map_err(reading)?, out)?;
    }
    snapshot.finish().map_err(reading)?;
    out.flush()?;
    if args.follow {
        loop {
            let version = reader.version().map_err(reading)?;
            loop {
                let entries = place.read(&reader, FOLLOW_CHUNK).map_err(reading)?;
                if entries.is_empty() {
                    break;
                }
                for entry in &entries {
                    print(&reader, &mut filter, entry, out)?;
                }
                place.advance(&Place::of(&entries));
            }
            out.flush()?;
            while reader.version().map_err(reading)? == version {
                std::thread::sleep(FOLLOW);
            }
        }
    }
    if filter.finds_no_transaction() {
        eprintln!(
            "outpost logs: nothing in {} belongs to transaction {:?}: neither a number, nor a trace id, nor a request \
             id. Look at `outpost logs --event transaction.bound`.",
            path.display(),
            args.filter.transaction.as_deref().unwrap_or_default()
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(reader: &Reader, filter: &mut Filter<'_>, entry: &Entry, out: &mut Writer<impl Write>) -> Result<(), Stop> {
    if filter.shows(entry) {
        let mut stored = reader.decode(entry);
        stored.severity = filter.severity(entry);
        out.write(entry, &stored)?;
    }
    Ok(())
}
