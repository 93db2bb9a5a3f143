//! The specification is enough: a decoder in Python, written from wire/SPEC.md and schema/events.json alone, reads
//! the golden session as the collector's own code does. And the schema tells the truth about the JSON lines.
//!
//! The session is made by the wire crate (its test `published`): a record of every event, and each oddity.

use boon::{Compiler, Schemas};
use outpost_cli::collect::Stored;
use outpost_wire::session::{Message, PREFACE_LEN};
use outpost_wire::{Event, Record};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Why, left_out};

#[path = "../support/mod.rs"]
mod support;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn session(name: &str) -> Vec<u8> {
    std::fs::read(root().join("tests/decoder").join(name)).unwrap()
}

fn schema() -> Value {
    serde_json::from_slice(&std::fs::read(root().join("schema/events.json")).unwrap()).unwrap()
}

/// What the Python decoder makes of this session with this schema; `None` without Python, which was said.
fn python(test: &str, schema: &Path, session: &str) -> Option<Vec<Value>> {
    let decoder = root().join("tests/decoder/decode.py");
    // -I: neither the environment nor the current folder adds a module.
    let session = root().join("tests/decoder").join(session);
    let Ok(output) = Command::new("python3").arg("-I").args([decoder.as_path(), schema, &session]).output() else {
        left_out(Why::Skipped, test, "python3 is not installed: apt-get install python3");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// What our own code makes of it: the lines of the frames and, as the collector shows them, of the records.
fn ours(bytes: &[u8]) -> Vec<Value> {
    let mut lines = Vec::new();
    let mut records: Vec<(usize, u64, Record<'_>)> = Vec::new();
    let (mut agent, mut boots) = ("", [0; 2]);
    let mut rest = bytes;
    if rest.starts_with(b"OUTP") {
        lines.push(json!({ "frame": "preface", "magic": "OUTP", "version": rest[4], "mode": rest[5] }));
        rest = &rest[PREFACE_LEN..];
    }
    while let Some((message, len)) = Message::decode(rest).unwrap() {
        rest = &rest[len..];
        let boot = |place: u8| format!("{:016x}", boots[usize::from(place)]);
        lines.push(match message {
            Message::Hello(hello) => {
                let range = |range: outpost_wire::session::BootRange| json!({ "boot": format!("{:016x}", range.boot_id), "oldest": range.oldest, "next": range.next });
                (agent, boots) = (hello.agent, [hello.current.boot_id, hello.previous.unwrap().boot_id]);
                json!({
                    "frame": "hello", "features": hello.features, "agent": agent,
                    "current": range(hello.current), "previous": hello.previous.map(range),
                    "catalogue": hex(&hello.catalogue), "image_id": hex(&hello.image_id), "config": hex(&hello.config), "severities": hex(&hello.severities),
                })
            }
            Message::Welcome(welcome) => json!({ "frame": "welcome", "features": welcome.features, "current": welcome.current, "previous": welcome.previous }),
            Message::Data(data) => {
                for record in data.records() {
                    records.push((lines.len(), boots[usize::from(data.boot)], record.unwrap()));
                    lines.push(Value::Null);
                }
                continue;
            }
            Message::Lost(lost) => json!({ "frame": "lost", "boot": boot(lost.boot), "from": lost.from, "to": lost.to, "reason": word(lost.reason.word()) }),
            Message::Ack(ack) => json!({ "frame": "ack", "boot": ack.boot, "seq": ack.seq }),
            Message::Alive(alive) => json!({ "frame": "alive", "next": alive.next }),
            Message::Bye(bye) => json!({ "frame": "bye", "reason": word(bye.reason.word()) }),
            Message::Unknown(kind) => json!({ "frame": format!("#{kind}") }),
        });
    }
    assert!(rest.is_empty(), "{} bytes are no frame", rest.len());
    let mut names = HashMap::new();
    for (_, boot, record) in &records {
        if let Some(Event::Intern(intern)) = record.decode_event() {
            names.insert((*boot, intern.id.0), intern.text.as_str());
        }
    }
    for (place, boot, record) in records {
        let name_of = |id| names.get(&(boot, id)).map(|&text| text.to_owned());
        lines[place] = Stored::record(agent.into(), boot, 0, &record, name_of).value();
    }
    lines
}

/// The line without what only a collector knows.
fn as_sent(mut line: Value) -> Value {
    line.as_object_mut().unwrap().retain(|key, _| !["received_at", "utc", "utc_error_us"].contains(&key.as_str()));
    line
}

fn word(word: Result<&'static str, u8>) -> String {
    word.map_or_else(|number| format!("#{number}"), str::to_owned)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_stranger_reads_what_we_read() {
    // What the specification leaves out, or says otherwise than the code, shows as a difference here.
    for name in ["agent.bin", "collector.bin"] {
        let Some(theirs) = python("the second decoder", &root().join("schema/events.json"), name) else { return };
        let ours: Vec<Value> = ours(&session(name)).into_iter().map(as_sent).collect();
        assert_eq!(theirs.len(), ours.len(), "{name}");
        for (theirs, ours) in theirs.iter().zip(&ours) {
            assert_eq!(theirs, ours, "{name}");
        }
    }
    let lines = ours(&session("agent.bin"));
    let seen = |name: &str| lines.iter().any(|line| line["event"] == name && line["fields"].get("raw").is_none());
    let missing: Vec<&str> = outpost_wire::CATALOGUE.iter().map(|spec| spec.name).filter(|name| !seen(name)).collect();
    assert!(missing.is_empty(), "the golden session has no {missing:?}");
}

#[test]
fn the_second_decoder_believes_the_schema() {
    // A decoder that knew the order of fields by itself would prove nothing about the schema.
    let mut schema = schema();
    schema["$defs"]["http.request"]["x-fields"].as_array_mut().unwrap().swap(0, 2);
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("events.json");
    std::fs::write(&other, schema.to_string()).unwrap();
    let Some(theirs) = python("the second decoder's order of fields", &other, "agent.bin") else { return };
    let ours = ours(&session("agent.bin")).into_iter().map(as_sent);
    let different: Vec<Value> = theirs.into_iter().zip(ours).filter(|(a, b)| a != b).map(|(_, ours)| ours).collect();
    assert_eq!(different.iter().map(|line| &line["event"]).collect::<Vec<_>>(), ["http.request"]);
}

#[test]
fn the_second_decoder_shows_no_value_that_an_older_record_has_not() {
    // Stored records outlive the version that made them: a field that came later must not make them unreadable.
    let mut schema = schema();
    for place in [3, 4] {
        schema["$defs"]["http.request"]["x-fields"][place]["later"] = true.into();
    }
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("events.json");
    std::fs::write(&other, schema.to_string()).unwrap();
    let name = "the second decoder's older records";
    let Some(now) = python(name, &root().join("schema/events.json"), "agent.bin") else { return };
    let Some(later) = python(name, &other, "agent.bin") else { return };
    let different: Vec<_> = now.into_iter().zip(later).filter(|(now, later)| now != later).collect();
    let [(now, later)] = &different[..] else { panic!("{different:?}") };
    // Without the mark the bytes are not the fields of this event, as all its fields came with it.
    assert_eq!(now["fields"], json!({ "raw": "0202d5aa01" }));
    assert_eq!(later["fields"], json!({ "method": "OPTIONS", "route": "#2", "status": 21845 }));
}

#[test]
fn the_schema_is_true_of_every_line() {
    // Whoever validates our lines must neither refuse a right one nor accept a wrong one.
    let mut compiler = Compiler::new();
    compiler.enable_format_assertions();
    compiler.add_resource("events.json", schema()).unwrap();
    let mut schemas = Schemas::new();
    let index = compiler.compile("events.json", &mut schemas).unwrap();
    let refused = |line: &Value| schemas.validate(line, index).err().map(|error| error.to_string());

    let lines: Vec<Value> =
        ours(&session("agent.bin")).into_iter().filter(|line| line.get("fields").is_some()).collect();
    for line in &lines {
        assert_eq!(refused(line), None, "{line}");
        for (name, value) in line["fields"].as_object().unwrap() {
            let mut other = line.clone();
            // No field is a list: not one may be free to be anything.
            other["fields"][name] = json!([value]);
            assert!(refused(&other).is_some() || name == "raw" && line["event"] == "#65535", "{name} of {line}");
            let mut less = line.clone();
            less["fields"].as_object_mut().unwrap().remove(name);
            assert!(refused(&less).is_some() || line["event"] == "#65535", "{line} without {name}");
        }
    }
    let lost = outpost_wire::session::LossReason::Torn;
    assert_eq!(refused(&Stored::lost("a".into(), 1, 0, (1, 2), lost).value()), None);
}
