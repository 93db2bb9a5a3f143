//! `outpost explain`: what an event means and what to do about it, from the catalogue that the image was built with.

use outpost_wire::{CATALOGUE, DOCUMENTATION, EventDoc, EventSpec, FieldSpec, Kind, Lane};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  outpost explain                    every event there is
  outpost explain dhcp.timeout       one of them: meaning, fields, what to do
  outpost explain 7                  by its id, as in #7
  outpost explain --json | jq '.[] | select(.lane == \"vital\") | .name'

Exit code: 0 it was explained, 1 there is no such event.";

/// What `outpost explain` is told.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Name or id of an event; without it all are listed
    #[arg(value_name = "EVENT")]
    event: Option<String>,
    /// Tell it as JSON
    #[arg(long)]
    json: bool,
}

/// What the collector itself writes into a store, beside the records of agents: name, meaning, action.
const OF_THE_COLLECTOR: [(&str, &str, &str); 7] = [
    (
        "lost",
        "The agent declared these seqs lost: they will never come. The reason is overflow (its ring was full while the \
         collector was away), torn (found damaged after a reset) or collector_rolled_back (the store had them once).",
        "With overflow, look at how long the collector was unreachable. With collector_rolled_back, see that event.",
    ),
    (
        "missing",
        "Seqs that the store neither holds nor knows to be lost.",
        "Run `outpost verify`; if rows were not deleted by hand, report it.",
    ),
    (
        "record.conflict",
        "Two different records claimed one seq; both are kept.",
        "Look for two machines with one boot id, as a VM that was cloned or restored from a snapshot has.",
    ),
    (
        "record.late",
        "A record has come although its seq was declared lost; it is stored in its place.",
        "Nothing to do: less was lost than was said.",
    ),
    (
        "agent.rewound",
        "The agent knows of fewer records of its boot than the store holds.",
        "Its VM was restored from a snapshot while it ran; the records it repeats are kept as conflicts.",
    ),
    (
        "agent.duplicate_name",
        "Two live sessions have one agent name; the records of both are stored.",
        "Give each agent a name of its own in its configuration.",
    ),
    (
        "collector.rolled_back",
        "The agent has freed records that it was told are durable, and this store does not hold them.",
        "The store was replaced or restored from an older copy; what is missing is in the newer one.",
    ),
];

/// Whether it is a name that the collector gives.
pub fn is_of_the_collector(name: &str) -> bool {
    OF_THE_COLLECTOR.iter().any(|(known, ..)| *known == name)
}

/// Explains; has told everything when it returns.
pub fn run(args: &Args) -> ExitCode {
    let text = match (&args.event, args.json) {
        (None, false) => list(),
        (None, true) => format!("{:#}\n", Value::from(DOCUMENTATION.iter().map(as_json).collect::<Vec<_>>())),
        (Some(event), as_json) => match explain(event, as_json) {
            Some(text) => text,
            None => {
                eprintln!(
                    "outpost explain: no event is called {event:?}. `outpost explain` lists all there are.{}",
                    hint(event)
                );
                return ExitCode::FAILURE;
            }
        },
    };
    // A reader that went away (`| head`) has what it wanted.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn explain(event: &str, json: bool) -> Option<String> {
    let number = event.strip_prefix('#').unwrap_or(event).parse().ok();
    if let Some(doc) = DOCUMENTATION.iter().find(|doc| doc.spec.name == event || Some(doc.spec.id) == number) {
        return Some(if json { format!("{:#}\n", as_json(doc)) } else { as_text(doc) });
    }
    let (name, meaning, action) = OF_THE_COLLECTOR.iter().find(|(name, ..)| *name == event)?;
    Some(match json {
        true => format!("{:#}\n", json!({ "name": name, "meaning": meaning, "action": action, "by": "collector" })),
        false => format!("{name}  (written by the collector)\n\n{meaning}\n\nWhat to do: {action}\n"),
    })
}

/// Events of the same family, as a help for whoever has mistyped one.
fn hint(event: &str) -> String {
    let family = event.split('.').next().unwrap_or_default();
    let names: Vec<_> =
        CATALOGUE.iter().map(|spec| spec.name).filter(|name| name.split('.').next() == Some(family)).collect();
    if names.is_empty() { String::new() } else { format!(" Of {family} there are {}.", names.join(", ")) }
}

fn list() -> String {
    let row = |EventDoc { spec, meaning, .. }: &EventDoc| {
        let severity = spec.severity.name();
        format!("{:>3}  {:<22} {severity:<7} {:<6} {}\n", spec.id, spec.name, lane(spec), meaning)
    };
    let mut text: String = DOCUMENTATION.iter().map(row).collect();
    text += "\nWritten by the collector:\n";
    for (name, meaning, _) in OF_THE_COLLECTOR {
        let first = meaning.split_inclusive([':', '.']).next().unwrap_or(meaning).trim_end_matches([':', '.']);
        text += &format!("     {name:<22} {first}.\n");
    }
    text + "\n`outpost explain EVENT` tells the fields and what to do.\n"
}

fn as_text(doc: &EventDoc) -> String {
    let spec = doc.spec;
    let (severity, number) = (spec.severity.name(), spec.severity.number());
    let mut text = format!(
        "{}  (event {}, since {})\n\n{}\n\nWhat to do: {}\n\nSeverity:   {severity} ({number}) unless the configuration says otherwise\n\
         Lane:       {}\n",
        spec.name,
        spec.id,
        doc.since,
        doc.meaning,
        doc.action,
        match spec.lane {
            Lane::Vital => "vital: kept when the ring is full and bulk records give way",
            Lane::Bulk => "bulk: gives way first when the ring is full",
        },
    );
    text += if spec.fields.is_empty() { "Fields:     none\n" } else { "Fields:\n" };
    let width = spec.fields.iter().map(|field| field.name.len()).max().unwrap_or(0);
    for (field, doc) in doc.fields() {
        text += &format!("  {:<width$}  {doc} ({})\n", field.name, kind(field));
    }
    text
}

fn as_json(doc: &EventDoc) -> Value {
    let spec = doc.spec;
    let fields: Vec<_> = doc
        .fields()
        .map(|(field, doc)| json!({ "name": field.name, "type": kind(field), "unit": unit(field), "doc": doc }))
        .collect();
    json!({
        "id": spec.id, "name": spec.name, "meaning": doc.meaning, "action": doc.action,
        "severity": spec.severity.name(), "severity_number": spec.severity.number(),
        "lane": lane(spec), "since": doc.since, "fields": fields,
    })
}

fn lane(spec: &EventSpec) -> &'static str {
    match spec.lane {
        Lane::Vital => "vital",
        Lane::Bulk => "bulk",
    }
}

fn kind(field: &FieldSpec) -> String {
    let kind = match field.kind {
        Kind::U8 => "8-bit number".to_owned(),
        Kind::U16 => "16-bit number".to_owned(),
        Kind::U32 => "32-bit number".to_owned(),
        Kind::U64 => "64-bit number".to_owned(),
        Kind::Bool => "true or false".to_owned(),
        Kind::Text(max) => format!("text, at most {max} bytes"),
        Kind::Word(words) => format!("one of {}", words.join(", ")),
        Kind::Ip4 => "IPv4 address".to_owned(),
        Kind::Name => "text, interned".to_owned(),
        Kind::Bytes(len) => format!("{len} bytes, shown in hexadecimal"),
    };
    unit(field).map_or(kind.clone(), |unit| format!("{kind}, {unit}"))
}

/// The unit, which is the last part of a field's name where it has one.
fn unit(field: &FieldSpec) -> Option<&'static str> {
    Some(match field.name.rsplit_once('_')?.1 {
        "us" => "microseconds",
        "ms" => "milliseconds",
        "s" => "seconds",
        "bytes" => "bytes",
        _ => return None,
    })
}
