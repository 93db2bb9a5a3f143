//! The document on its way: read, changed, held against the image's own reader, signed and written.

use super::{Failure, read};
use ed25519_dalek::{Signer, SigningKey};
use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use outpost::config;
use outpost::incidents::document::Document;
use outpost::incidents::verify;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

/// A document, and the moment that its changes are of, in seconds since 1970.
pub struct Book {
    /// The document.
    pub document: Value,
    /// The moment.
    pub now: i64,
}

/// An update of an incident.
pub struct Post<'p> {
    /// How far one is.
    pub status: &'p str,
    /// What is said.
    pub text: &'p str,
    /// When more is said.
    pub next_update: Option<i64>,
}

/// A maintenance.
pub struct Work<'w> {
    /// Its title.
    pub title: &'w str,
    /// When it begins.
    pub starts: i64,
    /// When it ends.
    pub ends: i64,
    /// The checks it is about.
    pub targets: &'w [String],
    /// What is done.
    pub text: &'w str,
}

impl Book {
    /// An empty one.
    pub fn new(now: i64) -> Book {
        Book {
            document: json!({"revision": 0, "issued_at": "", "expires_at": "", "incidents": [], "maintenances": []}),
            now,
        }
    }

    /// Reads a document, signed or not.
    pub fn read(path: &Path, now: i64) -> Result<Book, Failure> {
        let bytes = read(path).map_err(|why| Failure(2, why))?;
        let json = match bytes.strip_prefix(verify::MARK.as_bytes()) {
            Some(_) => bytes.get(verify::FIRST_LINE..).unwrap_or_default(),
            None => &bytes,
        };
        let mut document: Value = serde_json::from_slice(json).map_err(|error| {
            Failure(
                2,
                format!("{} is no document of incidents: {error}. Give another FILE, or mend it", path.display()),
            )
        })?;
        let Some(keys) = document.as_object_mut() else {
            return Err(Failure(2, format!("{} is no document of incidents: it is not a JSON object", path.display())));
        };
        for list in ["incidents", "maintenances"] {
            keys.entry(list).or_insert_with(|| json!([]));
        }
        Ok(Book { document, now })
    }

    /// The same; where there is no file, an empty document.
    pub fn read_or_new(path: &Path, now: i64) -> Result<Book, Failure> {
        if path.exists() { Book::read(path, now) } else { Ok(Book::new(now)) }
    }

    /// Its revision.
    pub fn revision(&self) -> u64 {
        self.document["revision"].as_u64().unwrap_or(0)
    }

    fn list(&mut self, list: &str) -> Result<&mut Vec<Value>, String> {
        self.document[list]
            .as_array_mut()
            .ok_or_else(|| format!("\"{list}\" of the document is no list: mend the file"))
    }

    fn find(&self, id: &str) -> Result<&Value, String> {
        let all: Vec<&Value> = self.document["incidents"].as_array().into_iter().flatten().collect();
        all.iter().find(|one| one["id"] == id).copied().ok_or_else(|| {
            let ids: Vec<&str> = all.iter().filter_map(|one| one["id"].as_str()).collect();
            format!(
                "there is no incident {id:?}: there are {}",
                if ids.is_empty() { "none".into() } else { ids.join(", ") }
            )
        })
    }

    /// Adds an incident, without an update yet.
    pub fn open(&mut self, id: &str, title: &str, impact: &str, targets: &[String]) -> Result<(), String> {
        if self.find(id).is_ok() {
            return Err(format!("there is an incident {id:?} already: outpost incident update, or give another --id"));
        }
        let incident = json!({"id": id, "title": title, "impact": impact, "targets": targets, "updates": []});
        self.list("incidents")?.push(incident);
        Ok(())
    }

    /// Adds an update.
    pub fn post(&mut self, id: &str, post: &Post<'_>) -> Result<(), String> {
        self.find(id)?;
        let now = self.now;
        let mut update =
            Map::from_iter([("status".to_owned(), json!(post.status)), ("posted_at".into(), json!(rfc3339(now)))]);
        if let Some(next) = post.next_update {
            update.insert("next_update_at".into(), json!(rfc3339(next)));
        }
        update.insert("text".into(), json!(post.text));
        for incident in self.list("incidents")?.iter_mut().filter(|one| one["id"] == id) {
            let updates = incident["updates"].as_array_mut().ok_or("\"updates\" is no list: mend the file")?;
            updates.push(Value::Object(update.clone()));
        }
        Ok(())
    }

    /// Says how bad an incident is by now.
    pub fn impact(&mut self, id: &str, impact: Option<&str>) -> Result<(), String> {
        self.find(id)?;
        let Some(impact) = impact else { return Ok(()) };
        self.list("incidents")?.iter_mut().filter(|one| one["id"] == id).for_each(|one| one["impact"] = json!(impact));
        Ok(())
    }

    /// The status of the last update of an incident.
    pub fn status(&self, id: &str) -> Result<String, String> {
        let last = self.find(id)?["updates"].as_array().and_then(|updates| updates.last());
        Ok(last.and_then(|update| update["status"].as_str()).unwrap_or("investigating").to_owned())
    }

    /// The title of an incident.
    pub fn title(&self, id: &str) -> Result<String, String> {
        Ok(self.find(id)?["title"].as_str().unwrap_or_default().to_owned())
    }

    /// When an incident was first told.
    pub fn began(&self, id: &str) -> Result<i64, String> {
        Ok(seconds(&self.find(id)?["updates"][0]["posted_at"]).unwrap_or(self.now))
    }

    /// When it was told that it is over.
    pub fn ended(&self, id: &str) -> Option<i64> {
        let updates = self.find(id).ok()?["updates"].as_array()?;
        seconds(&updates.iter().find(|update| update["status"] == "resolved")?["posted_at"])
    }

    /// Adds a maintenance, or puts it in the place of the one with this id.
    pub fn plan(&mut self, id: &str, work: &Work<'_>) -> Result<(), String> {
        if work.ends <= self.now {
            return Err(format!("it would be over since {}: give --starts and --ends of the future", told(work.ends)));
        }
        let mut planned = Map::from_iter([
            ("id".to_owned(), json!(id)),
            ("title".into(), json!(work.title)),
            ("starts_at".into(), json!(rfc3339(work.starts))),
            ("ends_at".into(), json!(rfc3339(work.ends))),
            ("targets".into(), json!(work.targets)),
        ]);
        if !work.text.is_empty() {
            planned.insert("text".into(), json!(work.text));
        }
        let list = self.list("maintenances")?;
        list.retain(|one| one["id"] != id);
        list.push(Value::Object(planned));
        Ok(())
    }

    /// Takes out an incident or a maintenance.
    pub fn remove(&mut self, id: &str) -> Result<(), String> {
        let mut removed = false;
        for list in ["incidents", "maintenances"] {
            let list = self.list(list)?;
            let before = list.len();
            list.retain(|one| one["id"] != id);
            removed |= list.len() != before;
        }
        if removed {
            Ok(())
        } else {
            Err(format!("nothing has the id {id:?}: outpost incident show FILE lists what there is"))
        }
    }

    /// Gives it the next revision and its times. What is over makes room, oldest first, until an agent takes it; the ids
    /// of those are returned.
    pub fn finish(&mut self, valid: i64) -> Result<Vec<String>, String> {
        let mut dropped = Vec::new();
        self.document["revision"] = json!(self.revision() + 1);
        self.document["issued_at"] = json!(rfc3339(self.now));
        self.document["expires_at"] = json!(rfc3339(self.now + valid));
        loop {
            let problem = match config::read_pulled(self.text().as_bytes(), &mut Document::new()) {
                Ok(()) => return Ok(dropped),
                Err(problem) => problem,
            };
            let is_room = ["one too many", "too long: allowed"].iter().any(|words| problem.text.contains(words));
            match self.drop_oldest().filter(|_| is_room) {
                Some(id) => dropped.push(id),
                None => return Err(format!("nothing is written, for no agent would take it: {problem}")),
            }
        }
    }

    fn drop_oldest(&mut self) -> Option<String> {
        let now = self.now;
        let closed = |one: &Value| {
            let last = one["updates"].as_array()?.last()?;
            seconds(&last["posted_at"]).filter(|_| last["status"] == "resolved" || last["status"] == "postmortem")
        };
        let over = |one: &Value| seconds(&one["ends_at"]).filter(|ends| *ends <= now);
        let oldest = |list: &Value, when: &dyn Fn(&Value) -> Option<i64>| {
            let all = list.as_array()?.iter().enumerate();
            all.filter_map(|(at, one)| Some((when(one)?, at))).min()
        };
        let incident = oldest(&self.document["incidents"], &closed).map(|(when, at)| (when, at, "incidents"));
        let maintenance = oldest(&self.document["maintenances"], &over).map(|(when, at)| (when, at, "maintenances"));
        let (_, at, list) = incident.into_iter().chain(maintenance).min()?;
        let gone = self.list(list).ok()?.remove(at);
        Some(gone["id"].as_str().unwrap_or_default().to_owned())
    }

    /// The bytes that are signed.
    pub fn text(&self) -> String {
        format!("{:#}\n", self.document)
    }

    /// The document for people.
    pub fn told(&self) -> String {
        let mut out = format!(
            "revision {}, issued {}, expires {}\n",
            self.revision(),
            self.document["issued_at"].as_str().unwrap_or("?"),
            self.document["expires_at"].as_str().unwrap_or("?")
        );
        let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        // Writing to a String cannot fail.
        for one in self.document["incidents"].as_array().into_iter().flatten() {
            let _ = writeln!(out, "\n{}: {} ({})", word(&one["id"]), word(&one["title"]), word(&one["impact"]));
            for update in one["updates"].as_array().into_iter().flatten() {
                let _ = writeln!(
                    out,
                    "  {} {}: {}",
                    word(&update["posted_at"]),
                    word(&update["status"]),
                    word(&update["text"]).replace('\n', "\n    ")
                );
                if let Some(next) = update["next_update_at"].as_str() {
                    let overdue = seconds(&update["next_update_at"]).is_some_and(|next| next <= self.now);
                    let _ = writeln!(out, "    next update {next}{}", if overdue { " (passed)" } else { "" });
                }
            }
        }
        for one in self.document["maintenances"].as_array().into_iter().flatten() {
            let _ = writeln!(
                out,
                "\n{}: {} from {} to {}",
                word(&one["id"]),
                word(&one["title"]),
                word(&one["starts_at"]),
                word(&one["ends_at"])
            );
        }
        out
    }
}

/// The file that is served: the line of the signature, and the document.
pub fn seal(document: &str, secret: &[u8; 32]) -> Vec<u8> {
    let signature = SigningKey::from_bytes(secret).sign(document.as_bytes());
    format!("{}{}\n{document}", verify::MARK, crate::key::hex(&signature.to_bytes())).into_bytes()
}

/// What an agent that has nothing yet makes of a file: its revision, or the word and the sentence of its refusal.
pub fn judge(file: &[u8], public_key: &str, min_revision: u32, now: i64) -> Result<u32, (&'static str, String)> {
    let key = verify::unhex(public_key.as_bytes())
        .ok_or(("signature", "--public-key is not 64 hex digits, as outpost incident keygen prints them".to_owned()))?;
    let json = verify::open(file, &key).map_err(|refusal| {
        let why = match refusal {
            outpost_wire::IncidentRefusal::Envelope => {
                format!("it does not begin with \"{}\" and 128 hex digits: outpost incident sign", verify::MARK)
            }
            _ => "it was not signed with this key, or was changed since: outpost incident sign".to_owned(),
        };
        (refusal.word().unwrap_or("other"), why)
    })?;
    let mut document = Document::new();
    config::read_pulled(json, &mut document).map_err(|problem| ("document", problem.to_string()))?;
    if document.revision < min_revision {
        return Err((
            "older",
            format!("its revision is {}, and at least {min_revision} is asked for", document.revision),
        ));
    }
    if document.expires_at <= now.max(0) as u64 {
        return Err((
            "expired",
            format!("it was valid until {}: outpost incident sign", told(document.expires_at as i64)),
        ));
    }
    Ok(document.revision)
}

/// Puts the file in its place as a whole.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let cannot =
        |error: std::io::Error| format!("{} cannot be written: {error}. The old one is as it was", path.display());
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(cannot)?;
    file.write_all(bytes).map_err(cannot)?;
    // The web server is somebody else.
    let readable = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644);
    file.as_file().set_permissions(readable).and_then(|()| file.as_file().sync_all()).map_err(cannot)?;
    file.persist(path).map_err(|error| cannot(error.error))?;
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(cannot)
}

/// A length of time like `30m`, `2h` or `7d`, in seconds.
pub fn duration(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is not a length of time: allowed is one like 30m, 2h or 7d");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let unit = match unit {
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    number
        .parse::<i64>()
        .ok()
        .filter(|number| (1..=3650).contains(number))
        .map(|number| number * unit)
        .ok_or_else(wrong)
}

/// A moment: in some time from `from` on, at a time of day in UTC that comes next, or written out.
pub fn moment(text: &str, from: i64) -> Result<i64, String> {
    if let Ok(length) = duration(text) {
        return Ok(from + length);
    }
    if let Some(unix_s) = outpost::time::utc::parse(text) {
        return Ok(unix_s as i64);
    }
    let wrong =
        || format!("{text:?} is not a time: allowed are 30m, 2h or 1d from now, 14:30 (UTC) and 2027-01-31T14:30:00Z");
    let time: Time = Some(text)
        .filter(|text| text.len() == 5)
        .and_then(|text| Time::strptime("%H:%M", text).ok())
        .ok_or_else(wrong)?;
    let start = Timestamp::from_second(from).map_err(|_| wrong())?.to_zoned(TimeZone::UTC);
    let today = start.date().to_datetime(time).to_zoned(TimeZone::UTC).map_err(|_| wrong())?.timestamp().as_second();
    Ok(if today > from { today } else { today + 86_400 })
}

fn seconds(value: &Value) -> Option<i64> {
    outpost::time::utc::parse(value.as_str()?).map(|unix_s| unix_s as i64)
}

/// As documents have it.
fn rfc3339(unix_s: i64) -> String {
    Timestamp::from_second(unix_s).map(|moment| moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
}

/// As people read it.
pub fn told(unix_s: i64) -> String {
    Timestamp::from_second(unix_s).map(|moment| moment.strftime("%Y-%m-%d %H:%M UTC").to_string()).unwrap_or_default()
}
