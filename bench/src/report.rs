//! The result of a run: rows of figures, a column for each guest or whatever is compared; as a Markdown table and as JSON with every raw number.

use crate::chart::{self, Bar, Group};
use serde_json::{Value, json};
use std::fmt::Write;

/// One figure of one guest.
#[derive(Clone, Debug)]
pub struct Cell {
    /// What the table shows.
    pub text: String,
    /// What it was made of.
    pub raw: Value,
}

impl Cell {
    /// A figure that was measured.
    pub fn new(text: impl Into<String>, raw: Value) -> Cell {
        Cell { text: text.into(), raw }
    }
}

/// One row of the table.
#[derive(Clone, Debug)]
struct Row {
    figure: String,
    how: String,
    cells: Vec<Result<Cell, String>>,
}

/// Everything that a run found out about one subject.
#[derive(Debug)]
pub struct Report {
    title: &'static str,
    guests: Vec<String>,
    conditions: Vec<(String, String)>,
    rows: Vec<Row>,
    notes: Vec<(String, String)>,
    groups: Vec<Group>,
}

impl Report {
    /// An empty report with this heading, about these guests.
    pub fn new(title: &'static str, guests: Vec<String>) -> Report {
        Report { title, guests, conditions: Vec::new(), rows: Vec::new(), notes: Vec::new(), groups: Vec::new() }
    }

    /// Says under what conditions the figures were taken.
    pub fn condition(&mut self, name: &str, value: impl Into<String>) {
        self.conditions.push((name.to_owned(), value.into()));
    }

    /// Adds a row with a cell for each guest, in their order.
    pub fn row(&mut self, figure: impl Into<String>, how: impl Into<String>, cells: Vec<Result<Cell, String>>) {
        let row = Row { figure: figure.into(), how: how.into(), cells };
        eprintln!("bench: {}", self.line(&row).trim());
        self.rows.push(row);
    }

    /// Adds bars to the chart: a value for each guest that has one, in their order.
    pub fn bars(&mut self, title: &str, values: Vec<Option<f64>>, show: impl Fn(f64) -> String) {
        let bars = values.into_iter().map(|value| value.map(|value| Bar { value, text: show(value) })).collect();
        self.groups.push(Group { title: title.to_owned(), bars });
    }

    /// Adds a text under a heading of its own, below the table.
    pub fn note(&mut self, heading: &str, text: String) {
        self.notes.push((heading.to_owned(), text));
    }

    /// What could not be measured, as sentences.
    pub fn failures(&self) -> impl Iterator<Item = String> {
        self.rows.iter().flat_map(|row| {
            let cells = self.guests.iter().zip(&row.cells);
            cells.filter_map(|(guest, cell)| Some(format!("{}, {guest}: {}", row.figure, cell.as_ref().err()?)))
        })
    }

    /// The report for people.
    pub fn markdown(&self) -> String {
        let mut out = format!("# {}\n\nWritten by `make bench`; every figure is of this one run.\n\n", self.title);
        for (name, value) in &self.conditions {
            let _ = writeln!(out, "- {name}: {value}"); // writing into a String cannot fail
        }
        let _ = writeln!(out, "\n| figure | {} | how it was measured |", self.guests.join(" | "));
        let _ = writeln!(out, "|---|{}---|", "---|".repeat(self.guests.len()));
        for row in &self.rows {
            out += &self.line(row);
        }
        for failure in self.failures() {
            let _ = writeln!(out, "\nNot measured: {failure}.");
        }
        for (heading, text) in &self.notes {
            let _ = write!(out, "\n## {heading}\n\n{text}");
        }
        out
    }

    /// The report at a glance, as SVG; empty when nothing of it is a chart.
    pub fn svg(&self) -> String {
        let names = ["date", "machine", "Outpost", "QEMU", "load average at the start"];
        let known = names.iter().filter_map(|name| self.conditions.iter().find(|(known, _)| known == name));
        let caption: Vec<String> = known
            // Of QEMU's version the package's part is left to the table.
            .map(|(name, value)| match name.starts_with("load") {
                true => format!("load {value}"),
                false => value.split(" (").next().unwrap_or_default().to_owned(),
            })
            .collect();
        chart::svg(&self.guests, &self.groups, &caption.join(" · "))
    }

    /// The report for programs.
    pub fn json(&self) -> String {
        let conditions: serde_json::Map<_, _> =
            self.conditions.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let rows: Vec<Value> = self.rows.iter().map(|row| self.row_json(row)).collect();
        format!("{:#}\n", json!({ "conditions": conditions, "rows": rows }))
    }

    fn row_json(&self, row: &Row) -> Value {
        let cell = |cell: &Result<Cell, String>| match cell {
            Ok(cell) => json!({ "shown": cell.text, "raw": cell.raw }),
            Err(problem) => json!({ "problem": problem }),
        };
        let cells: serde_json::Map<_, _> =
            self.guests.iter().zip(&row.cells).map(|(guest, value)| (guest.clone(), cell(value))).collect();
        json!({ "figure": row.figure, "how": row.how, "guests": cells })
    }

    /// One line of the table.
    fn line(&self, row: &Row) -> String {
        let texts = row.cells.iter().map(|cell| cell.as_ref().map_or("not measured", |cell| &cell.text));
        let texts: Vec<&str> = texts.collect();
        format!("| {} | {} | {} |\n", row.figure, texts.join(" | "), row.how)
    }
}

/// A whole number with its thousands set apart: `12,345`.
pub fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value <= -0.5 { "-" } else { "" });
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Microseconds in the unit that reads best.
pub fn duration(microseconds: f64) -> String {
    match microseconds {
        value if value < 1e3 => format!("{value:.0} µs"),
        value if value < 1e5 => format!("{:.1} ms", value / 1e3),
        value => format!("{:.0} ms", value / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_cell_for_each_guest() {
        // A row with a cell too few shifts the columns, and a peer's figure stands under our name.
        let mut report = Report::new("Benchmark", vec![String::from("Outpost"), String::from("Linux")]);
        report.condition("date", "2026-01-01");
        report.row("size", "file", vec![Ok(Cell::new("1 KiB", json!(1024))), Err(String::from("it is not there"))]);
        let markdown = report.markdown();
        assert!(markdown.contains("| figure | Outpost | Linux | how it was measured |\n|---|---|---|---|\n"));
        assert!(markdown.contains("| size | 1 KiB | not measured | file |\n"), "{markdown}");
        assert!(markdown.contains("Not measured: size, Linux: it is not there."), "{markdown}");
        let json: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json.pointer("/rows/0/guests/Outpost/raw"), Some(&json!(1024)));
        assert_eq!(report.failures().count(), 1);
    }

    #[test]
    fn numbers_are_readable() {
        // A misplaced comma is a factor of a thousand.
        assert_eq!(grouped(1_234_567.4), "1,234,567");
        assert_eq!((grouped(999.6), grouped(0.0), grouped(-1500.0)), ("1,000".into(), "0".into(), "-1,500".into()));
        assert_eq!(
            (duration(161.0), duration(1020.0), duration(253_000.0)),
            ("161 µs".into(), "1.0 ms".into(), "253 ms".into())
        );
    }
}
