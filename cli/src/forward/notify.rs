//! Notifying: who is told what, when it is worth telling (DESIGN 4.5).
//!
//! ```text
//! entry ─▶ Notice ─┬─ begins a problem ─▶ told, and remembered as open   (in a maintenance: held)
//!                  ├─ ends one ─────────▶ told to whom its beginning was told
//!                  └─ news ─────────────▶ told
//! ```
//! What is open or held stands in the store (`problems`), so that neither a restart of ours nor of the agent tells
//! anything a second time. What always holds: in the order of the log; the next one only after the one before has arrived
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
                problems.put(&notice, true).map_err(reading)?;
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
                    problems.put(&notice, false).map_err(reading)?;
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
            (Action::Tell, _) => Ok(self.deliver(&notice.document)?.into_iter().collect()),
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
        let mut statement = self.store.prepare_cached("SELECT held FROM problems WHERE forwarder = ?1 AND key = ?2")?;
        statement.query_row(params![self.forwarder, key], |row| row.get(0)).optional()
    }

    fn put(&self, notice: &Notice, held: bool) -> rusqlite::Result<()> {
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
            "SELECT key, notice FROM problems WHERE forwarder = ?1 AND agent = ?2 AND held ORDER BY id",
        )?;
        let rows = statement.query_map(params![self.forwarder, agent], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    }
}
