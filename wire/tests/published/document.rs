//! `docs/events.md`: a page for people, one section per event.

use outpost_wire::{DOCUMENTATION, EventDoc, FieldSpec, Kind};
use std::fmt::Write;

const HEAD: &str = "\
# Events

Everything that Outpost says is a record of one of these events. This page is made from the catalogue
(`wire/src/catalogue.rs`); `outpost explain EVENT` shows a section of it, [schema/events.json](../schema/events.json) has the same
for programs, and [wire/SPEC.md](../wire/SPEC.md) the bytes.

*Severity* is the default; the configuration can change it (`\"severity\": {\"network.down\": \"warn\"}`), and it never decides
whether a record is emitted. The *lane* says what gives way when the agent's memory is full and no collector takes
records: bulk before vital. Whatever gives way is declared lost.

The event's name is also the MSGID of syslog (RFC 5424) and the event name of OpenTelemetry.
";

/// The page as it is committed.
pub fn events() -> String {
    let mut page = format!("{HEAD}\n| event | id | severity | lane | what happened |\n|---|---|---|---|---|\n");
    for EventDoc { spec, meaning, .. } in DOCUMENTATION {
        let (name, anchor, meaning) = (spec.name, spec.name.replace('.', ""), escape(meaning));
        let (severity, lane) = (spec.severity.name(), spec.lane.name());
        write(&mut page, format_args!("| [{name}](#{anchor}) | {} | {severity} | {lane} | {meaning} |\n", spec.id));
    }
    DOCUMENTATION.iter().for_each(|doc| section(&mut page, doc));
    page
}

fn section(page: &mut String, doc: &EventDoc) {
    let spec = doc.spec;
    write(page, format_args!("\n## {}\n\n{}\n\n", spec.name, doc.meaning));
    write(page, format_args!("**What to do:** {}\n\n", doc.action));
    let (name, number) = (spec.severity.name(), spec.severity.number());
    let lane = spec.lane.name();
    write(page, format_args!("Id {}, severity {name} ({number}), lane {lane}, since {}.\n", spec.id, doc.since));
    if spec.fields.is_empty() {
        return;
    }
    write(page, format_args!("\n| field | type | unit | what it says |\n|---|---|---|---|\n"));
    for (field, doc) in doc.fields() {
        let (unit, doc) = (field.unit().unwrap_or(""), escape(doc));
        let age = if field.later { " (absent in older records)" } else { "" };
        write(page, format_args!("| `{}` | {}{age} | {unit} | {doc} |\n", field.name, kind(field)));
    }
}

fn kind(field: &FieldSpec) -> String {
    match field.kind {
        Kind::U8 => "number (8 bits)".into(),
        Kind::U16 => "number (16 bits)".into(),
        Kind::U32 => "number (32 bits)".into(),
        Kind::U64 => "number (64 bits)".into(),
        Kind::Bool => "yes or no".into(),
        Kind::Text(max) => format!("text, at most {max} bytes"),
        Kind::Word(words) => format!("one of `{}`", words.join("`, `")),
        Kind::Ip4 => "IPv4 address".into(),
        Kind::Name => "name".into(),
        Kind::Bytes(len) => format!("{len} bytes in hexadecimal"),
    }
}

/// Text inside a table.
fn escape(text: &str) -> String {
    text.replace('|', "\\|")
}

fn write(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("a string takes everything");
}
