//! Notifying: who is told what, when it is worth telling (DESIGN 4.5).
//!
//! ```text
//! entry ─▶ Notice ─┬─ begins a problem ─▶ told, and remembered as open   (in a maintenance: held)
//!                  ├─ ends one ─────────▶ told to whom its beginning was told
//!                  └─ news ─────────────▶ told
//! ```
//! What is open or held stands in the store (`problems`), so that neither a restart of ours nor of the agent tells
//! anything a second time. What always holds: in the order of each boot's log; the next one only after the one before has arrived
//! or was given up; at least once, each time with the same `id`. A target that fails while its maintenance lasts is held:
//! told when the maintenance ends and it is still down.

use super::channel::{Channel, Delivery};
use super::notice::{Action, Notice, is_one};
use super::{Failure, Item, Refused, Sink};
use crate::store_read::Reader;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

/// Times that a receiver may refuse a document before that is given up, so that one it cannot read does not hold up all others.
const REFUSALS: u32 = 5;

/// Problems of one receiver that are remembered: more than 100 agents with all their targets.
const PROBLEMS: u32 = 10_000;

/// What `problems.held` says: it was told, it is held, it is no problem but news that was told.
const OPEN: u8 = 0;
const HELD: u8 = 1;
const NEWS: u8 = 2;

/// A receiver of notifications.
pub(super) struct Notify {
    name: String,
    channel: Channel,
    tell: fn(&str),
    /// How often the document that is being delivered was refused.
    refusals: u32,
    /// Batches that are done since `settle` last told.
    done: usize,
    /// Something was delivered and the cursor is not saved.
    delivered: bool,
}

impl Notify {
    pub(super) fn new(name: String, channel: Channel, tell: fn(&str)) -> Notify {
        Notify { name, channel, tell, refusals: 0, done: 0, delivered: false }
    }

    /// Delivers; `Some` when it was given up for good.
    fn deliver(&mut self, document: &Value) -> Result<Option<Refused>, Failure> {
        match self.channel.deliver(&document.to_string()) {
            Delivery::Done => {
                (self.refusals, self.delivered) = (0, true);
                Ok(None)
            }
            Delivery::Refused(why) if self.refusals + 1 >= REFUSALS => {
                self.refusals = 0;
                let id = document.get("id").and_then(Value::as_str).unwrap_or_default();
                Ok(Some(Refused { records: 1, why: format!("{id}, {REFUSALS} times: {why}") }))
            }
            Delivery::Refused(why) => {
                self.refusals += 1;
                Err(why.into())
            }
            Delivery::Failed(failure) => Err(failure),
        }
    }

    fn take(&mut self, item: &Item, store: &Connection) -> Result<Vec<Refused>, Failure> {
        let reading = |error: rusqlite::Error| Failure::from(format!("the store: {error}"));
        if item.stored.event == "maintenance.ended" {
            return self.release(&item.stored.agent, None, store);
        }
        let Some(notice) = Notice::of(item, store).map_err(reading)? else { return Ok(Vec::new()) };
        let problems = Problems { store, forwarder: &self.name };
        let known = problems.find(&notice.key).map_err(reading)?;
        match (notice.action, known) {
            (Action::Open, None) if notice.maintenance => {
                problems.put(&notice, HELD).map_err(reading)?;
                (self.tell)(&format!("{}: held while its maintenance lasts: {}", self.name, notice.key));
                Ok(Vec::new())
            }
            // It was told, or is held: the agent says it again after it has started anew.
            (Action::Open, Some(false)) => Ok(Vec::new()),
            (Action::Open, Some(true)) if notice.maintenance => Ok(Vec::new()),
            (Action::Open, Some(true)) => self.release(&notice.agent, Some(&notice.key), store),
            (Action::Open, None) => {
                let refused = self.deliver(&notice.document)?;
                if refused.is_none() {
                    let problems = Problems { store, forwarder: &self.name };
                    problems.put(&notice, OPEN).map_err(reading)?;
                }
                Ok(refused.into_iter().collect())
            }
            (Action::Close, Some(held)) => {
                let refused = if held { None } else { self.deliver(&notice.document)? };
                let problems = Problems { store, forwarder: &self.name };
                problems.remove(&notice.key).map_err(reading)?;
                Ok(refused.into_iter().collect())
            }
            (Action::Close, None) => Ok(Vec::new()),
            (Action::Tell, _) => {
                // An agent that starts anew tells its incidents again.
                let before = problems.document(&notice.key).map_err(reading)?;
                if before.get("fields") == notice.document.get("fields") {
                    return Ok(Vec::new());
                }
                let refused = self.deliver(&notice.document)?;
                Problems { store, forwarder: &self.name }.put(&notice, NEWS).map_err(reading)?;
                Ok(refused.into_iter().collect())
            }
        }
    }

    /// Tells what was held of this agent, or of one problem of it.
    fn release(&mut self, agent: &str, key: Option<&str>, store: &Connection) -> Result<Vec<Refused>, Failure> {
        let reading = |error: rusqlite::Error| Failure::from(format!("the store: {error}"));
        let held = Problems { store, forwarder: &self.name }.held(agent).map_err(reading)?;
        let mut all = Vec::new();
        for (this, notice) in held.into_iter().filter(|(this, _)| key.is_none_or(|key| key == this)) {
            let mut document: Value = serde_json::from_str(&notice).unwrap_or_default();
            if let Some(held) = document.get_mut("held") {
                *held = true.into();
            }
            let refused = self.deliver(&document)?;
            let problems = Problems { store, forwarder: &self.name };
            match &refused {
                None => problems.told(&this),
                Some(_) => problems.remove(&this),
            }
            .map_err(reading)?;
            all.extend(refused);
        }
        Ok(all)
    }
}

impl Sink for Notify {
    fn send(&mut self, items: &[Item], store: &Reader) -> Result<Vec<Refused>, Failure> {
        // All but the last are nothing to tell of: see `batch`.
        let refused = match items.last() {
            Some(last) if is_one(last) => self.take(last, store.connection())?,
            _ => Vec::new(),
        };
        self.done += 1;
        Ok(refused)
    }

    fn batch(&self, items: &[Item]) -> usize {
        items.iter().position(is_one).map_or(items.len(), |at| at + 1)
    }

    fn must_save(&mut self) -> bool {
        std::mem::take(&mut self.delivered)
    }

    fn settle(&mut self) -> Result<usize, Failure> {
        Ok(std::mem::take(&mut self.done))
    }

    /// One at a time: the cursor has passed the one before.
    fn is_ready(&self) -> bool {
        self.done == 0
    }

    fn reset(&mut self) {
        self.done = 0;
    }
}

/// What a receiver was told and has not ended, and what is held.
struct Problems<'s> {
    store: &'s Connection,
    forwarder: &'s str,
}

impl Problems<'_> {
    /// Whether it is held, where it is known.
    fn find(&self, key: &str) -> rusqlite::Result<Option<bool>> {
        let mut statement =
            self.store.prepare_cached("SELECT held = 1 FROM problems WHERE forwarder = ?1 AND key = ?2")?;
        statement.query_row(params![self.forwarder, key], |row| row.get(0)).optional()
    }

    /// The document that was put last, or null.
    fn document(&self, key: &str) -> rusqlite::Result<Value> {
        let mut statement =
            self.store.prepare_cached("SELECT notice FROM problems WHERE forwarder = ?1 AND key = ?2")?;
        let text: Option<String> = statement.query_row(params![self.forwarder, key], |row| row.get(0)).optional()?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    fn put(&self, notice: &Notice, held: u8) -> rusqlite::Result<()> {
        let document = notice.document.to_string();
        self.store
            .prepare_cached(
                "INSERT OR REPLACE INTO problems (forwarder, key, agent, held, notice) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![self.forwarder, notice.key, notice.agent, held, document])?;
        self.store
            .prepare_cached(
                "DELETE FROM problems WHERE forwarder = ?1 AND id <=
                 (SELECT id FROM problems WHERE forwarder = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            )?
            .execute(params![self.forwarder, PROBLEMS])?;
        Ok(())
    }

    fn told(&self, key: &str) -> rusqlite::Result<()> {
        let mut statement =
            self.store.prepare_cached("UPDATE problems SET held = 0 WHERE forwarder = ?1 AND key = ?2")?;
        statement.execute(params![self.forwarder, key]).map(drop)
    }

    fn remove(&self, key: &str) -> rusqlite::Result<()> {
        let mut statement = self.store.prepare_cached("DELETE FROM problems WHERE forwarder = ?1 AND key = ?2")?;
        statement.execute(params![self.forwarder, key]).map(drop)
    }

    /// Key and document of what is held of an agent, oldest first.
    fn held(&self, agent: &str) -> rusqlite::Result<Vec<(String, String)>> {
        let mut statement = self.store.prepare_cached(
            "SELECT key, notice FROM problems WHERE forwarder = ?1 AND agent = ?2 AND held = 1 ORDER BY id",
        )?;
        let rows = statement.query_map(params![self.forwarder, agent], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::{Store, Stored};
    use crate::store_read::{Boot, Entry, What};
    use outpost_wire::session::{BootRange, Hello};
    use serde_json::json;
    use std::path::Path;
    use std::sync::Arc;

    fn item(row: i64, event: &str, fields: Value) -> Item {
        let boot = Arc::new(Boot { row: 1, agent: "fra1".into(), boot_id: 0xa, durable: 9 });
        let mut stored = Stored::oddity(boot.agent.clone(), boot.boot_id, 0, event, fields);
        stored.event = event.to_owned();
        let what = What::Oddity { row, event: event.to_owned(), detail: String::new() };
        Item { entry: Entry { boot, received_us: 0, utc: None, what }, stored, trace: None, version: None }
    }

    fn target(row: i64, event: &str, name: &str, maintenance: bool) -> Item {
        item(row, event, json!({ "check": name, "maintenance": maintenance }))
    }

    /// What a receiver gets of these.
    fn told(folder: &Path, items: &[Item]) -> Vec<String> {
        let (path, file) = (folder.join("store.db"), folder.join("told"));
        let current = BootRange { boot_id: 0xa, oldest: 1, next: 1 };
        let ids = ([0; 8], [0; 32], [0; 8]);
        let hello = Hello {
            features: 0,
            agent: "fra1",
            current,
            previous: None,
            catalogue: ids.0,
            image_id: ids.1,
            config: ids.2,
            severities: [0; 8],
        };
        let mut store = Store::open(&path).unwrap();
        store.hello(&hello, "peer", 0).unwrap();
        store.commit().unwrap();
        let reader = Reader::new(Connection::open(&path).unwrap());
        let channel = Channel::Command(format!("cat >> {}", file.display()));
        let mut notify = Notify::new("notify=x".to_owned(), channel, |_| {});
        for item in items {
            assert!(notify.send(std::slice::from_ref(item), &reader).unwrap().is_empty());
        }
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let line = |line: &str| {
            let it: Value = serde_json::from_str(line).unwrap();
            format!("{} {} {}", it["target"].as_str().unwrap_or("-"), it["state"].as_str().unwrap(), it["held"])
        };
        text.lines().map(line).collect()
    }

    #[test]
    fn a_maintenance_holds_what_fails_in_it_until_its_end() {
        // Held for ever is an outage that nobody hears of; told at once is what the announcement was to prevent.
        let folder = tempfile::tempdir().unwrap();
        let all = told(
            folder.path(),
            &[
                target(1, "target.down", "early", false),
                target(2, "target.down", "short", true),
                target(3, "target.down", "long", true),
                target(4, "target.down", "left", true),
                target(5, "target.up", "short", true),
                // The end of what was told is told, whatever lasts.
                target(6, "target.up", "early", true),
                // The agent started anew, without the maintenance.
                target(7, "target.down", "left", false),
                item(8, "maintenance.ended", json!({})),
                item(9, "maintenance.ended", json!({})),
                target(10, "target.up", "long", false),
            ],
        );
        assert_eq!(all, ["early down false", "early up false", "left down true", "long down true", "long up false"]);
    }

    #[test]
    fn an_orderly_end_and_the_end_of_what_nobody_was_told_are_no_news() {
        // Sixty-four messages after each start teach people to look away.
        let folder = tempfile::tempdir().unwrap();
        let ended = |row, cause: &str| item(row, "boot.previous_ended", json!({ "cause": cause }));
        let items = [
            target(1, "target.up", "shop", false),
            item(2, "agent.back", json!({})),
            ended(3, "shutdown"),
            ended(4, "resumed"),
            item(5, "probe.failed", json!({ "check": "shop" })),
            ended(6, "panic"),
            item(7, "incident.changed", json!({ "incident": "i1", "status": "investigating" })),
            item(7, "incident.overdue", json!({ "incident": "i1" })),
            item(7, "incident.changed", json!({ "incident": "i1", "status": "investigating" })),
            item(7, "incident.changed", json!({ "incident": "i1", "status": "resolved" })),
            item(8, "agent.isolated", json!({})),
            item(9, "agent.isolated", json!({})),
            item(10, "agent.rejoined", json!({})),
        ];
        assert_eq!(
            told(folder.path(), &items),
            [
                "- restarted false",
                "- investigating false",
                "- overdue false",
                "- resolved false",
                "- isolated false",
                "- rejoined false"
            ]
        );
    }
}
