//! The serial console: one human-readable line per record, so that a console log alone tells the story.
//!
//! ```text
//!    12.345678 INFO   http.request method=GET route=/livez status=200 client=10.0.2.2 duration_us=85 txn=7
//! ```
//!
//! Lines are formatted from the ring when they are shown, not when they are emitted. Serial is slow (an exit of
//! the virtual machine per byte), so each lane has a number of lines per second; what is above it is skipped,
//! never waited for, and the next line says how many. Text from outside is escaped: it cannot move the cursor.

use super::dependency::Cut;
use super::names::Names;
use super::ring::{Reader, Ring, Step};
use crate::limits::{LOG_CONSOLE_LINE, LOG_CONSOLE_PER_CALL, LOG_CONSOLE_PER_SECOND, LOG_CONSOLE_STEPS};
use core::fmt::{self, Write};
use heapless::String;
use outpost_wire::{CATALOGUE, Lane, Record, Value};
use smoltcp::time::{Duration, Instant};

/// What the console has shown.
pub struct Console {
    reader: Reader,
    /// The end of the second that `shown` is about.
    until: Instant,
    /// Lines shown in it, vital and bulk.
    shown: [u16; 2],
    skipped: u64,
}

impl Console {
    /// A console that has shown nothing of this boot.
    pub fn new(boot_id: u64) -> Console {
        Console { reader: Reader::new(boot_id, 1), until: Instant::ZERO, shown: [0; 2], skipped: 0 }
    }

    /// Whether `show` has nothing to say: asked in every turn.
    pub fn is_up_to_date(&self, ring: &Ring<'_>) -> bool {
        self.skipped == 0 && self.reader.next_seq() == ring.current().next
    }

    /// Shows a few lines; `true` when there are more to show now.
    pub fn show<W: embedded_io::Write>(
        &mut self,
        now: Instant,
        ring: &Ring<'_>,
        names: &Names,
        out: &mut W,
    ) -> Result<bool, W::Error> {
        if now >= self.until {
            (self.until, self.shown) = (now + Duration::from_secs(1), [0; 2]);
        }
        let mut lines = 0;
        for _ in 0..LOG_CONSOLE_STEPS {
            match self.reader.peek(ring) {
                Step::End => {
                    if self.skipped > 0 && self.shown == [0; 2] {
                        self.tell_skipped(out)?;
                    }
                    return Ok(false);
                }
                Step::Lost(from, to, _) => {
                    self.skipped += to - from + 1;
                    self.reader.pass(to);
                }
                Step::Record(seq, body) => {
                    let record = Record::decode_body(seq, body).ok();
                    self.reader.pass(seq);
                    let Some(record) = record.filter(|record| self.has_room(record.event)) else {
                        self.skipped += 1;
                        continue;
                    };
                    self.tell_skipped(out)?;
                    let mut line = String::new();
                    let written = write_line(&mut Cut(&mut line), &record, names);
                    finish(&mut line, written);
                    put_line(&mut line, out)?;
                    lines += 1;
                    if lines == LOG_CONSOLE_PER_CALL {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(true)
    }

    /// When there is something to say although nothing new happens: that lines were skipped.
    pub fn poll_at(&self) -> Option<Instant> {
        (self.skipped > 0).then_some(self.until)
    }

    /// Counts a line of this event against its lane's number for this second.
    fn has_room(&mut self, event: u16) -> bool {
        let vital = CATALOGUE.iter().any(|spec| spec.id == event && spec.lane == Lane::Vital);
        let shown = &mut self.shown[usize::from(!vital)];
        *shown = shown.saturating_add(1);
        *shown <= LOG_CONSOLE_PER_SECOND
    }

    fn tell_skipped<W: embedded_io::Write>(&mut self, out: &mut W) -> Result<(), W::Error> {
        let skipped = core::mem::take(&mut self.skipped);
        if skipped == 0 {
            return Ok(());
        }
        let mut line = String::new();
        let _ = write!(Cut(&mut line), "             ({skipped} records not shown here)");
        put_line(&mut line, out)
    }
}

fn put_line<W: embedded_io::Write>(line: &mut String<LOG_CONSOLE_LINE>, out: &mut W) -> Result<(), W::Error> {
    if line.push('\n').is_err() {
        line.pop();
        let _ = line.push('\n');
    }
    out.write_all(line.as_bytes())
}

/// Marks a line that was cut.
pub(super) fn finish<const MAX: usize>(line: &mut String<MAX>, written: fmt::Result) {
    if written.is_err() {
        line.truncate(line.floor_char_boundary(MAX - 4));
        let _ = line.push_str("...");
    }
}

fn write_line(line: &mut dyn Write, record: &Record<'_>, names: &Names) -> fmt::Result {
    let (seconds, micros) = (record.mono_us / 1_000_000, record.mono_us % 1_000_000);
    write!(line, "{seconds:>5}.{micros:06} ")?;
    let severity = record.severity.name();
    severity.chars().try_for_each(|letter| line.write_char(letter.to_ascii_uppercase()))?;
    write!(line, "{:1$}", "", 7usize.saturating_sub(severity.len()))?;
    write_event(line, record, Some(names))
}

/// The event's name, its fields and its transaction; `names` are those of its boot, where they are known.
pub(super) fn write_event(line: &mut dyn Write, record: &Record<'_>, names: Option<&Names>) -> fmt::Result {
    match record.read_fields() {
        None => write!(line, "#{} ({} bytes)", record.event, record.fields.len())?,
        Some((spec, mut fields)) => {
            line.write_str(spec.name)?;
            fields.try_for_each(|(name, value)| write_field(line, name, value, names))?;
        }
    }
    record.transaction.map_or(Ok(()), |transaction| write!(line, " txn={transaction}"))
}

fn write_field(line: &mut dyn Write, name: &str, value: Value<'_>, names: Option<&Names>) -> fmt::Result {
    write!(line, " {name}=")?;
    match value {
        Value::Number(number) => write!(line, "{number}"),
        Value::Bool(yes) => write!(line, "{yes}"),
        Value::Text(text) => write_text(line, text),
        Value::Word(Ok(word)) => line.write_str(word),
        Value::Word(Err(number)) => write!(line, "#{number}"),
        Value::Ip4([a, b, c, d]) => write!(line, "{a}.{b}.{c}.{d}"),
        Value::Bytes(bytes) => bytes.iter().try_for_each(|byte| write!(line, "{byte:02x}")),
        Value::Name(id) => match names.and_then(|names| names.text(outpost_wire::NameId(id))) {
            Some(text) => write_text(line, text),
            None => write!(line, "#{id}"),
        },
    }
}

/// Text as it is where it is one plain word, else quoted and escaped.
fn write_text(line: &mut dyn Write, text: &str) -> fmt::Result {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '=');
    if !text.is_empty() && text.chars().all(plain) {
        return line.write_str(text);
    }
    line.write_char('"')?;
    for c in text.chars() {
        match c {
            '\'' => line.write_char(c)?,
            c => write!(line, "{}", c.escape_default())?,
        }
    }
    line.write_char('"')
}
