//! Every answer against `schema/`: is this status, with these headers and this body, what `schema/openapi.json` and the
//! documents that it refers to say of this path?
//!
//! Nothing here knows the agent: it reads the published documents, as another program would.

use boon::{Compiler, SchemaIndex, Schemas};
use flate2::read::GzDecoder;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where the documents would be, so that they find each other.
const BASE: &str = "http://outpost/schema/";

/// Header lines that HTTP itself has.
const FRAMING: &[&str] = &["content-type", "content-length"];

/// The published interface.
pub struct Interface {
    document: Value,
    schemas: Schemas,
    /// The schemas of the bodies, by their JSON pointer.
    compiled: HashMap<String, SchemaIndex>,
}

/// One answer, as it came.
pub struct Seen<'a> {
    pub method: &'a str,
    /// With the query, if any.
    pub target: &'a str,
    pub status: u16,
    /// Names in lower case.
    pub headers: &'a [(String, String)],
    /// As it came; empty in the answer to HEAD.
    pub body: &'a [u8],
}

/// The folder of the documents.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../schema")
}

/// All documents by name.
pub fn documents() -> Vec<(String, Value)> {
    let paths = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, serde_json::from_slice(&fs::read(&path).unwrap()).unwrap())
        })
        .collect()
}

impl Interface {
    /// The one of this checkout.
    pub fn get() -> &'static Interface {
        static INTERFACE: OnceLock<Interface> = OnceLock::new();
        INTERFACE.get_or_init(Interface::read)
    }

    fn read() -> Interface {
        let mut compiler = Compiler::new();
        let mut document = Value::Null;
        for (name, value) in documents() {
            if name == "openapi.json" {
                document = value.clone();
            }
            compiler.add_resource(&format!("{BASE}{name}"), value).unwrap();
        }
        let (mut schemas, mut compiled) = (Schemas::new(), HashMap::new());
        let mut pointers = Vec::new();
        find_contents(&document, String::new(), &mut pointers);
        for pointer in pointers {
            let index = compiler.compile(&format!("{BASE}openapi.json#{pointer}"), &mut schemas);
            compiled.insert(pointer.clone(), index.unwrap_or_else(|error| panic!("{pointer}: {error:#}")));
        }
        Interface { document, schemas, compiled }
    }

    /// The paths of the interface.
    pub fn paths(&self) -> &Map<String, Value> {
        self.document["paths"].as_object().expect("paths are an object")
    }

    /// What is wrong with this answer, if anything.
    pub fn judge(&self, seen: &Seen<'_>) -> Result<(), String> {
        self.try_judge(seen).map_err(|why| format!("{} {} {}: {why}", seen.method, seen.target, seen.status))
    }

    fn try_judge(&self, seen: &Seen<'_>) -> Result<(), String> {
        let path = seen.target.split('?').next().unwrap_or_default();
        let Some(place) = self.paths().keys().find(|template| matches(template, path)) else {
            let refused = self.resolve("/components/responses/Refused".into());
            return if seen.status == 404 { self.judge_response(&refused, seen) } else { Err("no such path".into()) };
        };
        let method = seen.method.to_ascii_lowercase();
        let item = format!("/paths/{}", escape(place));
        let responses = match self.document.pointer(&format!("{item}/{method}")) {
            // RFC 9110, section 9.3.2: the headers are those of GET.
            Some(_) if method == "head" => format!("{item}/get/responses"),
            Some(_) => format!("{item}/{method}/responses"),
            None if seen.status == 405 || seen.status == 501 => "/components/responses".into(),
            None => return Err("no such method".into()),
        };
        let known = |name: &str| format!("{responses}/{name}");
        let response = [seen.status.to_string().as_str(), "default", "Refused"]
            .iter()
            .map(|name| known(name))
            .find(|pointer| self.document.pointer(pointer).is_some());
        let response = self.resolve(response.ok_or("no such status")?);
        if response.ends_with("/Refused") && !self.refusals().contains(&seen.status) {
            return Err("the status is not documented".into());
        }
        self.judge_response(&response, seen)
    }

    fn judge_response(&self, response: &str, seen: &Seen<'_>) -> Result<(), String> {
        let documented = self.document.pointer(&format!("{response}/headers")).and_then(Value::as_object);
        let documented = documented.ok_or("no headers are documented")?;
        for (name, value) in seen.headers {
            if FRAMING.contains(&name.as_str()) {
                continue;
            }
            let known = documented.keys().find(|known| known.eq_ignore_ascii_case(name));
            // An undocumented Allow is that of a refusal.
            let Some(known) = known.cloned().or((name == "allow" && seen.status == 405).then(|| "Allow".into())) else {
                return Err(format!("header {name} is not documented"));
            };
            let schema = &self.document.pointer(&format!("/components/headers/{known}/schema"));
            let schema = schema.ok_or(format!("header {known} has no schema"))?;
            let fits = match (&schema["const"], &schema["enum"], &schema["pattern"]) {
                (Value::String(only), ..) => only == value,
                (_, Value::Array(some), _) => some.iter().any(|one| one == value),
                (.., Value::String(_)) => !value.is_empty(),
                _ => return Err(format!("header {known} may be anything")),
            };
            if !fits {
                return Err(format!("header {name} is {value:?}, and not {schema}"));
            }
        }
        for name in documented.keys() {
            let required = self.document.pointer(&format!("/components/headers/{name}/required"));
            let there = seen.headers.iter().any(|(there, _)| there.eq_ignore_ascii_case(name));
            if required == Some(&Value::Bool(true)) && !there {
                return Err(format!("header {name} is missing"));
            }
        }
        if seen.method.eq_ignore_ascii_case("HEAD") {
            return if seen.body.is_empty() { Ok(()) } else { Err("a body".into()) };
        }
        self.judge_body(response, seen)
    }

    fn judge_body(&self, response: &str, seen: &Seen<'_>) -> Result<(), String> {
        let media = seen.headers.iter().find(|(name, _)| name == "content-type").map_or("", |(_, value)| value);
        let essence = media.split(';').next().unwrap_or_default().trim();
        let content = self.document.pointer(&format!("{response}/content")).and_then(Value::as_object);
        let known = content.and_then(|content| content.keys().find(|known| *known == media || *known == essence));
        let known = known.ok_or_else(|| format!("media type {media:?} is not documented"))?;
        let schema = self.compiled[&format!("{response}/content/{}/schema", escape(known))];
        let mut plain = Vec::new();
        if seen.headers.iter().any(|(name, value)| name == "content-encoding" && value == "gzip") {
            GzDecoder::new(seen.body).read_to_end(&mut plain).map_err(|error| error.to_string())?;
        } else {
            plain.extend(seen.body);
        }
        let text = std::str::from_utf8(&plain).map_err(|error| error.to_string())?;
        let valid = |text: &str| {
            let value: Value = serde_json::from_str(text).map_err(|error| format!("{error} in {text}"))?;
            self.schemas.validate(&value, schema).map_err(|error| format!("{error:#} in {value:#}"))
        };
        match essence {
            "application/x-ndjson" => text.lines().try_for_each(valid),
            json if json.ends_with("json") => valid(text),
            _ => Ok(()),
        }
    }

    /// Follows references.
    fn resolve(&self, mut pointer: String) -> String {
        while let Some(Value::String(to)) = self.document.pointer(&format!("{pointer}/$ref")) {
            pointer = to.strip_prefix('#').expect("a reference within the document").into();
        }
        pointer
    }

    /// The statuses that the description of `Refused` names.
    fn refusals(&self) -> Vec<u16> {
        let text = self.document["components"]["responses"]["Refused"]["description"].as_str().unwrap_or_default();
        text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    }
}

/// The pointers of all schemas of bodies.
fn find_contents(value: &Value, at: String, found: &mut Vec<String>) {
    let Value::Object(members) = value else { return };
    for (name, member) in members {
        let below = format!("{at}/{}", escape(name));
        match member {
            Value::Object(media) if name == "content" => {
                found.extend(media.keys().map(|media| format!("{below}/{}/schema", escape(media))));
            }
            _ => find_contents(member, below, found),
        }
    }
}

/// RFC 6901, section 3.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Whether a path of the interface, perhaps with one `{parameter}` at its end, is this path.
fn matches(template: &str, path: &str) -> bool {
    match template.split_once('{') {
        None => template == path || template.strip_suffix('/').is_some_and(|short| !short.is_empty() && short == path),
        Some((before, _)) => path.strip_prefix(before).is_some_and(|rest| !rest.is_empty() && !rest.contains('/')),
    }
}
