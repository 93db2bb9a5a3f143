//! `schema/events.json`: the JSON line of a record (`outpost collect --json`, `outpost logs --json`), and, in keys
//! that begin with `x-`, all that a decoder of the records' bytes needs.

use outpost_wire::{DOCUMENTATION, EventDoc, FieldSpec, Kind, Severity};
use serde_json::{Map, Value, json};

/// The schema as it is committed.
pub fn events() -> String {
    let mut definitions = Map::new();
    definitions.insert("raw".into(), raw());
    let mut rules = Vec::new();
    for doc in DOCUMENTATION {
        let spec = doc.spec;
        definitions.insert(spec.name.into(), event(doc));
        let fields = json!([{ "$ref": format!("#/$defs/{}", spec.name) }, { "$ref": "#/$defs/raw" }]);
        rules.push(json!({
            "if": { "properties": { "event": { "const": spec.name } } },
            "then": { "properties": { "fields": { "anyOf": fields } } },
        }));
    }
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Outpost events",
        "description": "One line of JSON of `outpost collect --json` and `outpost logs --json`: a record that an agent emitted, or something that the collector found (then seq and mono_us are null). The agent's own /events has the same lines without received_at, which only a collector knows, and with runbook. The keys that begin with x- say how a record's fields are encoded: in the order of x-fields, each as wire/SPEC.md, section 1, says; those that are later than their event are absent in older records.",
        "type": "object",
        "required": [
            "agent", "boot", "seq", "mono_us", "utc", "utc_error_us", "severity", "severity_number", "event", "transaction", "fields"
        ],
        "properties": line(),
        "allOf": rules,
        "x-severities": severities(),
        "x-encodings": encodings(),
        "$defs": definitions,
    });
    let mut text = serde_json::to_string_pretty(&schema).expect("it is made of strings and numbers");
    text.push('\n');
    text
}

fn line() -> Value {
    let number = |description: &str| json!({ "description": description, "type": ["integer", "null"], "minimum": 0 });
    json!({
        "agent": { "description": "Name of the agent.", "type": "string" },
        "boot": { "description": "Random id of the agent's boot.", "type": "string", "pattern": "^[0-9a-f]{16}$" },
        "seq": number("Sequence number in the boot, from 1, without gaps."),
        "mono_us": number("Monotonic time of the boot, in microseconds."),
        "utc": { "description": "When it happened, in UTC; null where the agent's clock is not known.", "type": ["string", "null"], "format": "date-time" },
        "utc_error_us": number("How far off that may be, in microseconds."),
        "received_at": { "description": "When the collector received it, by the collector's clock.", "type": "string", "format": "date-time" },
        "severity": { "description": "Short name of the severity in force.", "enum": severity_names() },
        "severity_number": { "description": "The same as an OpenTelemetry SeverityNumber.", "type": "integer", "minimum": 1, "maximum": 24 },
        "event": { "description": "Name of the event, or # and its id where the collector does not know it.", "type": "string" },
        "transaction": number("Joins the records of one request or probe of this boot."),
        "fields": { "description": "What is particular to the event.", "type": "object" },
        "runbook": { "description": "Path of the agent's page on what to do about this event; absent where its content bundle has none, and in what a collector tells.", "type": "string", "pattern": "^/runbook/." },
    })
}

fn raw() -> Value {
    json!({
        "description": "Fields that could not be decoded: their bytes.",
        "type": "object",
        "required": ["raw"],
        "properties": { "raw": { "type": "string", "pattern": "^([0-9a-f]{2})*$" } },
    })
}

fn event(doc: &EventDoc) -> Value {
    let spec = doc.spec;
    let names: Vec<&str> = spec.fields.iter().filter(|field| !field.later).map(|field| field.name).collect();
    let properties: Map<String, Value> =
        doc.fields().map(|(field, doc)| (field.name.to_owned(), property(field, doc))).collect();
    json!({
        "title": spec.name,
        "description": doc.meaning,
        "x-id": spec.id,
        "x-severity": spec.severity.number(),
        "x-lane": spec.lane.name(),
        "x-since": doc.since,
        "x-action": doc.action,
        "x-fields": spec.fields.iter().map(encoding).collect::<Vec<_>>(),
        "type": "object",
        "required": names,
        "properties": properties,
    })
}

/// A field's value in JSON.
fn property(field: &FieldSpec, doc: &str) -> Value {
    let integer = |max: u64| json!({ "type": "integer", "minimum": 0, "maximum": max });
    let mut property = match field.kind {
        Kind::U8 => integer(u8::MAX.into()),
        Kind::U16 => integer(u16::MAX.into()),
        Kind::U32 => integer(u32::MAX.into()),
        Kind::U64 => integer(u64::MAX),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Text(max) => json!({ "type": "string", "maxLength": max }),
        Kind::Word(words) => json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": "^#[0-9]+$" }] }),
        Kind::Ip4 => json!({ "type": "string", "format": "ipv4" }),
        Kind::Name => json!({ "type": ["string", "null"] }),
        Kind::Bytes(len) => json!({ "type": ["string", "null"], "pattern": format!("^[0-9a-f]{{{}}}$", 2 * len) }),
    };
    property["description"] = doc.into();
    if let Some(unit) = field.unit() {
        property["x-unit"] = unit.into();
    }
    property
}

/// A field's bytes.
fn encoding(field: &FieldSpec) -> Value {
    let name = field.name;
    let mut encoding = match field.kind {
        Kind::U8 => json!({ "name": name, "type": "u8" }),
        Kind::U16 => json!({ "name": name, "type": "u16" }),
        Kind::U32 => json!({ "name": name, "type": "u32" }),
        Kind::U64 => json!({ "name": name, "type": "u64" }),
        Kind::Bool => json!({ "name": name, "type": "bool" }),
        Kind::Text(max) => json!({ "name": name, "type": "text", "max_bytes": max }),
        Kind::Word(words) => json!({ "name": name, "type": "word", "words": words }),
        Kind::Ip4 => json!({ "name": name, "type": "ip4" }),
        Kind::Name => json!({ "name": name, "type": "name" }),
        Kind::Bytes(len) => json!({ "name": name, "type": "bytes", "length": len }),
    };
    if field.later {
        encoding["later"] = true.into();
    }
    encoding
}

/// The types of [`encoding`] in words, as wire/SPEC.md has them.
fn encodings() -> Value {
    let varint = "LEB128: seven bits per byte, least significant first, the high bit set on all bytes but the last";
    json!({
        "u8": "one byte",
        "u16": format!("{varint}; at most 3 bytes"),
        "u32": format!("{varint}; at most 5 bytes"),
        "u64": format!("{varint}; at most 10 bytes"),
        "bool": "one byte, 0 or 1",
        "text": "length in bytes as u64, then that many bytes of UTF-8, at most max_bytes",
        "word": "one byte: index into words; one beyond the list is shown as # and the index",
        "ip4": "four bytes in network order",
        "name": "u16: the id of a text that an intern record of the same boot gave; 0 is null, one without a text is shown as # and the id",
        "bytes": "exactly length bytes, shown in hexadecimal; all zeros are null",
    })
}

/// Each short name once, from the lowest severity up.
fn severity_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = (1..=24).filter_map(Severity::from_number).map(Severity::name).collect();
    names.dedup();
    names
}

/// Each short name with the numbers it stands for.
fn severities() -> Value {
    let range = |name: &&'static str| {
        let of_name = |number: &u8| Severity::from_number(*number).map(Severity::name) == Some(*name);
        let numbers: Vec<u8> = (1..=24).filter(of_name).collect();
        ((*name).to_owned(), json!([numbers[0], numbers[numbers.len() - 1]]))
    };
    Value::Object(severity_names().iter().map(range).collect())
}
