//! How an entry looks: a line for people, a JSON object, or a row of CSV.

use crate::collect::{Stored, escape, utc};
use crate::store_read::{Entry, Utc, What};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

/// The forms that can be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One line for people; in colour on a terminal unless NO_COLOR is set
    #[default]
    Pretty,
    /// One JSON object per line, with the keys of `outpost collect --json` and utc, utc_error_us
    Json,
    /// RFC 4180, with a header; the fields of an event are a JSON object in the last column
    Csv,
}

/// The columns of CSV.
const COLUMNS: [&str; 11] = [
    "agent",
    "boot",
    "seq",
    "mono_us",
    "utc",
    "utc_error_us",
    "received_at",
    "severity",
    "event",
    "transaction",
    "fields",
];

/// Writes entries in one form.
pub struct Writer<W: Write> {
    format: Format,
    colour: bool,
    header_due: bool,
    out: W,
}

impl Writer<BufWriter<Stdout>> {
    /// To standard output.
    pub fn new(format: Format) -> Self {
        // https://no-color.org: set and not empty means no colour.
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = io::stdout().is_terminal() && !refused;
        Writer { format, colour, header_due: format == Format::Csv, out: BufWriter::new(io::stdout()) }
    }
}

impl<W: Write> Writer<W> {
    /// Writes an entry; `stored` is what it decodes to.
    pub fn write(&mut self, entry: &Entry, stored: &Stored) -> io::Result<()> {
        self.header()?;
        match self.format {
            Format::Pretty => writeln!(self.out, "{}", pretty(entry, stored, self.colour)),
            Format::Json => writeln!(self.out, "{}", json(entry, stored)),
            Format::Csv => self.out.write_all(csv(&row(entry, stored)).as_bytes()),
        }
    }

    /// Shows what was written so far.
    pub fn flush(&mut self) -> io::Result<()> {
        self.header()?;
        self.out.flush()
    }

    fn header(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.header_due) {
            self.out.write_all(csv(&COLUMNS.map(str::to_owned)).as_bytes())?;
        }
        Ok(())
    }
}

/// The moment of an entry, with its error or the mark that it is the moment of receipt.
pub fn time(entry: &Entry) -> String {
    let shown = utc(entry.time_us());
    // Milliseconds are what a person compares.
    let shown = shown.get(..23).unwrap_or(&shown);
    match entry.utc {
        Some(Utc { error_us, .. }) => format!("{shown}Z ±{}", milliseconds(error_us)),
        None => format!("{shown}Z recv"),
    }
}

/// Milliseconds with one decimal place where it says something, rounded up: an error is never shown too small.
pub fn milliseconds(us: u64) -> String {
    if us < 10_000 {
        let tenths = us.div_ceil(100);
        format!("{}.{}ms", tenths / 10, tenths % 10)
    } else {
        format!("{}ms", us.div_ceil(1000))
    }
}

fn pretty(entry: &Entry, stored: &Stored, colour: bool) -> String {
    let mut line = format!("{:<32} {} ", time(entry), escape(&stored.agent));
    let (from, to) = match entry.what {
        What::Record { seq, .. } => {
            let _ = write!(line, "#{seq} {}", stored.story(colour));
            return line;
        }
        What::Oddity { .. } => {
            let _ = write!(line, "- {}", stored.story(colour));
            return line;
        }
        What::Lost { from, to, .. } | What::Retired { from, to } | What::Missing { from, to } => (from, to),
    };
    let (paint, plain) = if colour { ("\x1b[33m", "\x1b[0m") } else { ("", "") };
    let (count, s) = (to - from + 1, if from == to { "" } else { "s" });
    let why = match stored.fields.get("reason").and_then(|reason| reason.as_str()) {
        Some(reason) => format!("declared lost ({reason})"),
        None => "UNACCOUNTED: neither stored nor declared lost".to_owned(),
    };
    let _ = write!(line, "{paint}~~~ gap: {count} record{s}, #{from} to #{to}, {why}{plain}");
    line
}

/// The keys of `outpost collect --json`, and the moment with its error.
pub fn json(entry: &Entry, stored: &Stored) -> Value {
    let mut value = stored.value();
    if let Some(keys) = value.as_object_mut() {
        keys.insert("utc".to_owned(), entry.utc.map(|moment| utc(moment.us)).into());
        keys.insert("utc_error_us".to_owned(), entry.utc.map(|moment| moment.error_us).into());
    }
    value
}

fn row(entry: &Entry, stored: &Stored) -> [String; COLUMNS.len()] {
    let or_empty = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    [
        escape(&stored.agent),
        format!("{:016x}", stored.boot_id),
        or_empty(stored.record.map(|(seq, _)| seq)),
        or_empty(stored.record.map(|(_, mono_us)| mono_us)),
        entry.utc.map(|moment| utc(moment.us)).unwrap_or_default(),
        or_empty(entry.utc.map(|moment| moment.error_us)),
        utc(stored.received_us),
        stored.severity.name().to_owned(),
        escape(&stored.event),
        or_empty(stored.transaction.map(u64::from)),
        Value::from(stored.fields.clone()).to_string(),
    ]
}

/// A line of RFC 4180, with its CRLF.
fn csv(cells: &[String]) -> String {
    let quoted: Vec<String> = cells
        .iter()
        .map(|cell| match cell.contains([',', '"', '\r', '\n']) {
            true => format!("\"{}\"", cell.replace('"', "\"\"")),
            false => cell.clone(),
        })
        .collect();
    quoted.join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_never_shown_smaller_than_it_is() {
        // ±0.0ms would claim more than the clock can.
        let shown = [0, 1, 1_201, 9_901, 9_999, 10_001].map(milliseconds);
        assert_eq!(shown, ["0.0ms", "0.1ms", "1.3ms", "10.0ms", "10.0ms", "11ms"]);
    }

    #[test]
    fn csv_cells_keep_to_themselves() {
        // A quote or a line end in a cell would move every cell after it.
        let cells = ["a", "b,c", "say \"hi\"", "two\nlines"].map(str::to_owned);
        assert_eq!(csv(&cells), "a,\"b,c\",\"say \"\"hi\"\"\",\"two\nlines\"\r\n");
    }
}
