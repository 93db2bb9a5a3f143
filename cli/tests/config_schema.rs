//! schema/config.json says the same as the code that reads a document.
//!
//! The schema may be the milder one, since it cannot see everything, and then only in the places that are listed
//! here; it is never the stricter one. The effective document, which the code writes, keeps to the schema as well.

use boon::{Compiler, SchemaIndex, Schemas};
use outpost::config::{EFFECTIVE_MAX, Loader, ORIGINS, load};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Valid for both.
const VALID: &[&str] = &[
    "{}",
    " \r\n\t{ } ",
    r#"{"name": "a"}"#,
    r#"{"name": "outpost-fra1.example.org"}"#,
    r#"{"n\u0061me": "\u0061"}"#,
    r#"{"name": "0"}"#,
    r#"{"network": "dhcp"}"#,
    r#"{"network": {"static": {"address": "10.0.2.15/24"}}}"#,
    r#"{"network": {"static": {"address": "10.0.2.15/32", "dns": []}}}"#,
    r#"{"network": {"static": {"address": "10.0.2.15/24", "gateway": "10.0.2.2", "dns": ["192.0.2.53"]}}}"#,
    r#"{"network": {"static": {"address": "126.1.255.199/1"}}}"#,
    r#"{"network": {"static": {"address": "128.0.0.1/9"}}}"#,
    r#"{"network": {"static": {"address": "223.249.250.1/30"}}}"#,
    r#"{"collector": {"address": "10.0.2.2:1"}}"#,
    r#"{"collector": {"address": "logs:7600"}}"#,
    r#"{"collector": {"address": "logs.example.org:7600"}}"#,
    r#"{"time": {"servers": ["10.0.2.2", "ntp-1.example.org", "1a.b2"]}}"#,
    r#"{"collector": {"address": "10.0.2.2:65535"}}"#,
    r#"{"collector": {"address": "10.0.2.2:7600", "key": "00112233445566778899aabbccddeeffAABBCCDDEEFF00112233445566778899"}}"#,
    r#"{"sink": {"syslog": "10.0.2.2:514"}}"#,
    r#"{"http": {}}"#,
    r#"{"http": {"port": 1}}"#,
    r#"{"http": {"port": 65535, "maintenance": true}}"#,
    r#"{"http": {"operator_allow": []}}"#,
    r#"{"http": {"operator_allow": ["0.0.0.0/0", "255.255.255.255/32", "10.1.2.3/8"]}}"#,
    r#"{"severity": {}}"#,
    r#"{"severity": {"panic": "trace", "http.request": 1, "collector.lost": 24}}"#,
    r#"{"drill": {}}"#,
    r#"{"drill": {"panic_after_s": 1, "hang_after_s": 3600, "records_per_s": 10000, "exercise": true}}"#,
    r#"{"checks": []}"#,
    r#"{"checks": [{"name": "a", "owner": "o", "impact": "i", "runbook": "r", "tcp": {"address": "192.0.2.1:22"}}]}"#,
    r#"{"checks": [{"name": "a", "owner": "o", "impact": "i", "runbook": "r", "group": "G", "interval_s": 5, "timeout_s": 5,
        "slow_ms": 100, "rise": 1, "fall": 20, "http": {"url": "http://a.example:8080/x?y=z", "method": "HEAD", "status": [200]}}]}"#,
    r#"{"checks": [{"name": "a", "owner": "o", "impact": "i", "runbook": "r", "rise": 2, "slow_ms": 100, "heartbeat": {
        "token_sha256": "00112233445566778899aabbccddeeffAABBCCDDEEFF00112233445566778899", "period_s": 2678400, "grace_s": 1}}]}"#,
    r#"{"incidents": {}}"#,
    r#"{"incidents": {"url": "http://a.example:8080/x.json", "interval_s": 10, "min_revision": 4294967295,
        "public_key": "00112233445566778899aabbccddeeffAABBCCDDEEFF00112233445566778899"}}"#,
    r#"{"incidents": {"document": {"revision": 1, "issued_at": "2026-11-22T00:00:00Z", "expires_at": "2026-11-23T00:00:00Z"}}}"#,
    r#"{"on_panic": "stop"}"#,
    r#"{"on_panic": "reset"}"#,
];

/// Invalid for both.
const INVALID: &[&str] = &[
    "",
    "{",
    "{}}",
    "[]",
    "null",
    "\"dhcp\"",
    "\u{feff}{}",
    "{} {}",
    r#"{"name": "a",}"#,
    r#"{"name": "a\q"}"#,
    r#"{"name": "\ud83d"}"#,
    r#"{"name": 5}"#,
    r#"{"name": null}"#,
    r#"{"name": ""}"#,
    r#"{"name": "A"}"#,
    r#"{"name": "a_b"}"#,
    r#"{"name": "-a"}"#,
    r#"{"name": "a-"}"#,
    r#"{"name": "a."}"#,
    r#"{"name": "a..b"}"#,
    r#"{"name": "a\n"}"#,
    r#"{"name": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}"#,
    r#"{"Name": "a"}"#,
    r#"{"targets": []}"#,
    r#"{"checks": {}}"#,
    r#"{"checks": [{"name": "a", "owner": "o", "impact": "i", "runbook": "r"}]}"#,
    r#"{"checks": [{"name": "a b", "owner": "o", "impact": "i", "runbook": "r", "tcp": {"address": "192.0.2.1:22"}}]}"#,
    r#"{"checks": [{"name": "a", "owner": "o", "impact": "i", "runbook": "r", "tcp": {"address": "192.0.2.1"}}]}"#,
    r#"{"checks": [{"name": "a", "owner": "o", "impact": "i", "runbook": "r", "http": {"url": "https://192.0.2.1/"}}]}"#,
    r#"{"checks": [{"name": "a", "owner": "o", "impact": "i", "runbook": "r", "rise": 0, "tcp": {"address": "192.0.2.1:22"}}]}"#,
    r#"{"checks": [{"name": "a", "owner": "o", "impact": "i", "runbook": "r", "interval_s": 5, "heartbeat": {
        "token_sha256": "00112233445566778899aabbccddeeffAABBCCDDEEFF00112233445566778899", "period_s": 5, "grace_s": 1}}]}"#,
    r#"{"checks": [{"name": "a", "owner": "o", "impact": "i", "runbook": "r", "heartbeat": {
        "token_sha256": "00112233445566778899aabbccddeeff", "period_s": 5, "grace_s": 1}}]}"#,
    r#"{"checks": [{"name": "a", "owner": "o", "impact": "i", "runbook": "r", "heartbeat": {
        "token_sha256": "00112233445566778899aabbccddeeffAABBCCDDEEFF00112233445566778899", "period_s": 5, "grace_s": 0}}]}"#,
    r#"{"network": "static"}"#,
    r#"{"network": {}}"#,
    r#"{"network": {"dhcp": {}}}"#,
    r#"{"network": {"static": {}}}"#,
    r#"{"network": {"static": {"address": "10.0.2.15"}}}"#,
    r#"{"network": {"static": {"address": "10.0.2.15/33"}}}"#,
    r#"{"network": {"static": {"address": "10.0.2.15/024"}}}"#,
    r#"{"network": {"static": {"address": "10.0.2.015/24"}}}"#,
    r#"{"network": {"static": {"address": "10.0.2.256/24"}}}"#,
    r#"{"network": {"static": {"address": "10.0.2.15/24 "}}}"#,
    r#"{"network": {"static": {"address": "10.0.2.15/0"}}}"#,
    r#"{"network": {"static": {"address": "127.0.0.1/8"}}}"#,
    r#"{"network": {"static": {"address": "224.0.0.1/8"}}}"#,
    r#"{"network": {"static": {"address": "0.0.0.1/8"}}}"#,
    r#"{"network": {"static": {"address": "fe80::1/64"}}}"#,
    r#"{"network": {"static": {"address": "10.0.2.15/24", "gateway": "router"}}}"#,
    r#"{"network": {"static": {"address": "10.0.2.15/24", "gateway": "255.255.255.255"}}}"#,
    r#"{"network": {"static": {"address": "10.0.2.15/24", "mtu": 1500}}}"#,
    r#"{"network": {"static": {"address": "10.0.2.15/24", "dns": ["::1"]}}}"#,
    r#"{"network": {"static": {"address": "10.0.2.15/24", "dns": ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4", "1.1.1.5"]}}}"#,
    r#"{"collector": {}}"#,
    r#"{"collector": "10.0.2.2:7600"}"#,
    r#"{"collector": {"address": "10.0.2.2"}}"#,
    r#"{"collector": {"address": "10.0.2.2:0"}}"#,
    r#"{"collector": {"address": "10.0.2.2:07600"}}"#,
    r#"{"collector": {"address": "10.0.2.2:65536"}}"#,
    r#"{"collector": {"address": "logs"}}"#,
    r#"{"collector": {"address": "Logs:7600"}}"#,
    r#"{"collector": {"address": "logs.:7600"}}"#,
    r#"{"collector": {"address": "10.0.2.256:7600"}}"#,
    r#"{"collector": {"address": "a_b:7600"}}"#,
    r#"{"time": {"servers": ["ntp.example.org:123"]}}"#,
    r#"{"time": {"servers": ["127.0.0.1"]}}"#,
    r#"{"time": {"servers": ["1.2"]}}"#,
    r#"{"time": {"servers": ["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]}}"#,
    r#"{"collector": {"address": "10.0.2.2:7600", "key": "00"}}"#,
    r#"{"collector": {"address": "10.0.2.2:7600", "key": "g0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"}}"#,
    r#"{"sink": {}}"#,
    r#"{"sink": "10.0.2.2:514"}"#,
    r#"{"sink": {"syslog": "10.0.2.2"}}"#,
    r#"{"sink": {"syslog": "logs:0"}}"#,
    r#"{"sink": {"syslog": "10.0.2.2:514", "key": "00"}}"#,
    r#"{"http": {"port": 0}}"#,
    r#"{"http": {"port": 65536}}"#,
    r#"{"http": {"port": 080}}"#,
    r#"{"http": {"port": "80"}}"#,
    r#"{"http": {"port": 80.5}}"#,
    r#"{"http": {"maintenance": 0}}"#,
    r#"{"http": {"operator_allow": "10.0.0.0/8"}}"#,
    r#"{"http": {"operator_allow": ["10.0.0.0"]}}"#,
    r#"{"http": {"operator_allow": ["10.0.0.0/33"]}}"#,
    r#"{"severity": ["panic"]}"#,
    r#"{"severity": {"Panic": "warn"}}"#,
    r#"{"severity": {"panic": "warning"}}"#,
    r#"{"severity": {"panic": 0}}"#,
    r#"{"severity": {"panic": 25}}"#,
    r#"{"severity": {"panic": "9"}}"#,
    r#"{"drill": true}"#,
    r#"{"drill": {"panic_after_s": 0}}"#,
    r#"{"drill": {"hang_after_s": 3601}}"#,
    r#"{"drill": {"records_per_s": "500"}}"#,
    r#"{"drill": {"exercise": "yes"}}"#,
    r#"{"incidents": {"url": "http://a/"}}"#,
    r#"{"incidents": {"public_key": "00112233445566778899aabbccddeeffAABBCCDDEEFF00112233445566778899"}}"#,
    r#"{"incidents": {"interval_s": 9}}"#,
    r#"{"incidents": {"min_revision": 0}}"#,
    r#"{"incidents": {"document": []}}"#,
    r#"{"incidents": {"document": {"revision": 1, "issued_at": "2026-11-22T00:00:00Z"}}}"#,
    r#"{"on_panic": "halt"}"#,
];

/// Valid for the schema, refused by the code: what JSON Schema has no words for.
const BEYOND_THE_SCHEMA: &[(&str, &str)] = &[
    ("a key that is there twice", r#"{"name": "a", "name": "a"}"#),
    ("a number that is whole only in value", r#"{"http": {"port": 80.0}}"#),
    ("a number that is whole only in value", r#"{"http": {"port": 8e1}}"#),
    ("an event that the catalogue does not have", r#"{"severity": {"cpu.hot": "warn"}}"#),
    (
        "a name in a network without a DNS server",
        r#"{"network": {"static": {"address": "10.0.2.15/24"}}, "time": {"servers": ["ntp.example.org"]}}"#,
    ),
    (
        "a timeout beyond the interval",
        r#"{"checks": [{"name": "a", "owner": "o", "impact": "i", "runbook": "r", "interval_s": 5, "timeout_s": 6,
            "tcp": {"address": "192.0.2.1:22"}}]}"#,
    ),
    (
        "what is wrong within the document of incidents",
        r#"{"incidents": {"document": {"revision": 1, "issued_at": "2026-11-22T00:00:00Z", "expires_at": "2026-11-21T00:00:00Z"}}}"#,
    ),
    ("the network address", r#"{"network": {"static": {"address": "10.0.2.0/24"}}}"#),
    ("the broadcast address", r#"{"network": {"static": {"address": "10.0.2.255/24"}}}"#),
    ("a gateway elsewhere", r#"{"network": {"static": {"address": "10.0.2.15/24", "gateway": "10.0.3.2"}}}"#),
    ("the agent as its own gateway", r#"{"network": {"static": {"address": "10.0.2.15/24", "gateway": "10.0.2.15"}}}"#),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Schema {
    fn read() -> Schema {
        let text = std::fs::read_to_string(root().join("schema/config.json")).unwrap();
        let mut compiler = Compiler::new();
        compiler.add_resource("config.json", serde_json::from_str(&text).unwrap()).unwrap();
        let mut schemas = Schemas::new();
        let index = compiler.compile("config.json", &mut schemas).unwrap();
        Schema { schemas, index }
    }

    fn accepts(&self, document: &str) -> bool {
        let value = serde_json::from_str::<Value>(document);
        value.is_ok_and(|value| self.schemas.validate(&value, self.index).is_ok())
    }
}

/// An editor that follows the schema must not call wrong what the image takes, nor let pass what it could see.
#[test]
fn schema_and_code_agree() {
    let schema = Schema::read();
    let table = VALID
        .iter()
        .map(|document| (*document, true, true))
        .chain(INVALID.iter().map(|document| (*document, false, false)))
        .chain(BEYOND_THE_SCHEMA.iter().map(|(_, document)| (*document, true, false)));
    for (document, by_schema, by_code) in table {
        let loaded = load(Some(document.as_bytes()));
        assert_eq!(schema.accepts(document), by_schema, "schema on {document}");
        assert_eq!(loaded.problem_count == 0, by_code, "code on {document}: {:?}", loaded.problems);
        if loaded.config.collector.as_ref().is_none_or(|collector| collector.key.is_none()) {
            let effective = loaded.config.effective(&mut [0; EFFECTIVE_MAX]).to_owned();
            assert!(schema.accepts(&effective), "schema on {effective}, which is in force after {document}");
        }
    }
}

/// A default that is written down must be the one in force.
#[test]
fn defaults_in_the_schema_are_those_in_force() {
    let text = std::fs::read_to_string(root().join("schema/config.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let in_force = serde_json::to_value(outpost::config::Config::default()).unwrap();
    for key in ["name", "network", "on_panic", "http"] {
        let documented = &schema["properties"][key];
        let of_members = |properties: &Value| -> Value {
            properties
                .as_object()
                .unwrap()
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), value.get("default")?.clone())))
                .collect()
        };
        let expected = documented.get("default").cloned().unwrap_or_else(|| of_members(&documented["properties"]));
        assert_eq!(in_force[key], expected, "{key}");
    }
}

/// The examples are what people copy.
#[test]
fn examples_are_what_they_say() {
    let schema = Schema::read();
    for (name, valid) in [("minimal", true), ("fleet", true), ("dhcp", true), ("mistakes", false)] {
        let document = std::fs::read_to_string(root().join(format!("tests/data/config/{name}.json"))).unwrap();
        assert_eq!(load(Some(document.as_bytes())).problem_count == 0, valid, "{name}");
        assert_eq!(schema.accepts(&document), valid, "{name}");
    }
}

/// A key whose origin is not kept would be shown with the wrong one, or with none.
#[test]
fn every_key_of_the_schema_has_an_origin() {
    fn leaves(schema: &Value, root: &Value, pointer: &str, into: &mut Vec<String>) {
        let schema = match schema["$ref"].as_str() {
            Some(name) => root.pointer(name.trim_start_matches('#')).unwrap(),
            None => schema,
        };
        match schema["properties"].as_object() {
            Some(keys) => keys.iter().for_each(|(key, schema)| leaves(schema, root, &format!("{pointer}/{key}"), into)),
            None => into.push(pointer.into()),
        }
    }
    let text = std::fs::read_to_string(root().join("schema/config.json")).unwrap();
    let (schema, mut found): (Value, _) = (serde_json::from_str(&text).unwrap(), Vec::new());
    leaves(&schema, &schema, "", &mut found);
    let mut kept = ORIGINS.map(String::from).to_vec();
    found.sort();
    kept.sort();
    assert_eq!(found, kept);
}

/// A row of docs/config.md for each key below this schema.
fn rows(schema: &Value, root: &Value, key: &str, into: &mut Vec<String>) {
    let resolve = |schema: &Value| match schema["$ref"].as_str() {
        Some(name) => root.pointer(name.trim_start_matches('#')).unwrap().clone(),
        None => schema.clone(),
    };
    let resolved = resolve(schema);
    // Of several forms, the one with keys has rows of its own.
    let form = resolved["oneOf"].as_array().and_then(|forms| forms.iter().find(|form| form["properties"].is_object()));
    if let Some(keys) = form.unwrap_or(&resolved)["properties"].as_object() {
        if form.is_some() {
            into.push(row(key, &resolved, "`\"dhcp\"`, or the keys below"));
        }
        let join = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
        return keys.iter().for_each(|(name, schema)| rows(schema, root, &join(name), into));
    }
    if resolved["items"]["properties"].is_object() {
        let form = format!("at most {}, each with the keys below", resolved["maxItems"]);
        into.push(row(key, &resolved, &form));
        return rows(&resolved["items"], root, &format!("{key}[]"), into);
    }
    into.push(row(key, &described(schema, &resolved), &allowed(schema, &resolved, &resolve)));
}

/// The schema itself describes its key where it does; else what it refers to.
fn described(schema: &Value, resolved: &Value) -> Value {
    let mut described = resolved.clone();
    if let Some(own) = schema.get("description") {
        described["description"] = own.clone();
    }
    described
}

fn allowed(schema: &Value, resolved: &Value, resolve: &impl Fn(&Value) -> Value) -> String {
    let known = |schema: &Value| match schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
        Some("peer") => Some("HOST:PORT"),
        Some("host") => Some("IPv4 or host name"),
        Some("machine") => Some("IPv4"),
        Some("own_address" | "subnet") => Some("IPv4/prefix"),
        _ => None,
    };
    if let Some(name) = known(schema) {
        return name.to_owned();
    }
    if let Some(words) = resolved["enum"].as_array() {
        return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    match resolved["type"].as_str() {
        Some("integer") => format!("{} to {}", resolved["minimum"], resolved["maximum"]),
        Some("boolean") => "`true`, `false`".into(),
        Some("array") => {
            let items = known(&resolved["items"]).map(str::to_owned);
            let items = items.unwrap_or_else(|| allowed(&resolved["items"], &resolve(&resolved["items"]), resolve));
            format!("at most {} of {items}", resolved["maxItems"])
        }
        Some("object") if resolved["required"].is_array() => "a document".into(),
        Some("object") => format!("at most {} of EVENT: SEVERITY", resolved["maxProperties"]),
        Some("string") if resolved["writeOnly"] == true => "64 hex digits, secret".into(),
        Some("string") => match resolved["maxLength"].as_u64() {
            Some(max) => format!("text, at most {max} bytes"),
            None => "text".into(),
        },
        other => panic!("what {other:?} is allowed to be has no words here: {resolved}"),
    }
}

fn row(key: &str, schema: &Value, allowed: &str) -> String {
    let mut checks = Box::new(outpost::config::checks::Checks::new());
    let mut loader = Loader::new(&mut checks);
    loader.command_line(&format!("outpost.{key}=x"));
    let problems = loader.finish().problems;
    let refused = |problem: &outpost::config::Problem| {
        ["unknown setting", "a secret is not taken"].iter().any(|start| problem.text.starts_with(start))
    };
    let command_line = if problems.iter().any(refused) { "" } else { "yes" };
    let default = schema.get("default").map(|default| format!("`{default}`")).unwrap_or_default();
    let description = schema["description"].as_str().unwrap_or_else(|| panic!("{key} has no description"));
    format!("| `{key}` | {allowed} | {default} | {command_line} | {description} |")
}

/// A page that lacks a key, or has another bound than the image, is worse than none.
#[test]
fn the_page_has_every_key_with_its_bounds() {
    const MARKS: [&str; 2] = ["<!-- keys -->\n", "<!-- end -->"];
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let schema: Value = serde_json::from_str(&read("schema/config.json")).unwrap();
    let mut table = vec!["| key | allowed | default | cmd | |".to_owned(), "|---|---|---|---|---|".into()];
    rows(&schema, &schema, "", &mut table);
    assert!(table.len() > ORIGINS.len(), "a row for each key");
    let page = read("docs/config.md");
    let (before, rest) = page.split_once(MARKS[0]).unwrap();
    let (_, after) = rest.split_once(MARKS[1]).unwrap();
    let expected = format!("{before}{}{}\n{}{after}", MARKS[0], table.join("\n"), MARKS[1]);
    if std::env::var_os("OUTPOST_RENEW").is_some_and(|value| value == "1") {
        std::fs::write(root().join("docs/config.md"), &expected).unwrap();
    } else {
        assert!(
            page == expected,
            "docs/config.md is stale: OUTPOST_RENEW=1 cargo test -p outpost-cli --test config_schema"
        );
    }
}
