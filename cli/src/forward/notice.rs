//! What is worth a notification, and the document that tells it: deploy/notify/notification.schema.json describes it.
//!
//! Which events are, one table says. What always holds: a document has all its keys, whatever is known; nothing in it can
//! be longer than a few records; its `id` is the record's own, so that what comes twice can be known.

use super::Item;
use crate::collect::{escape, utc};
use crate::store_read::What;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};

/// What a notification does to the problem that its `key` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// It begins.
    Open,
    /// It is over.
    Close,
    /// Nothing: it is news, the same only once.
    Tell,
}

impl Action {
    fn word(self) -> &'static str {
        match self {
            Action::Open => "open",
            Action::Close => "close",
            Action::Tell => "tell",
        }
    }
}

/// Event, what it does, the kind of problem, the state that it tells of.
type Row = (&'static str, Action, &'static str, &'static str);

const TABLE: &[Row] = &[
    ("target.down", Action::Open, "target", "down"),
    ("target.up", Action::Close, "target", "up"),
    ("agent.isolated", Action::Open, "isolated", "isolated"),
    ("agent.rejoined", Action::Close, "isolated", "rejoined"),
    ("agent.silent", Action::Open, "silent", "silent"),
    ("agent.back", Action::Close, "silent", "back"),
    ("machine.resumed", Action::Tell, "clock", "resumed"),
];

/// Ends of a boot that nobody has to know of: it was asked for.
const ORDERLY: [&str; 2] = ["shutdown", "resumed"];

/// A notification that could be sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Notice {
    pub action: Action,
    /// What it is about: one problem has one key.
    pub key: String,
    pub agent: String,
    /// Whether the target is in a maintenance that was announced.
    pub maintenance: bool,
    pub document: Value,
}

/// Whether this may be worth a notification.
pub(super) fn is_one(item: &Item) -> bool {
    row(item).is_some() || item.stored.event == "maintenance.ended"
}

/// Action, kind and state.
fn row(item: &Item) -> Option<(Action, &str, &str)> {
    let event = item.stored.event.as_str();
    let word = |name: &str| item.stored.fields.get(name).and_then(Value::as_str);
    if event == "boot.previous_ended" {
        return word("cause").filter(|cause| !ORDERLY.contains(cause)).map(|_| (Action::Tell, "boot", "restarted"));
    }
    match event {
        "incident.changed" => return Some((Action::Tell, "incident", word("status").unwrap_or("changed"))),
        "incident.overdue" => return Some((Action::Tell, "overdue", "overdue")),
        _ => {}
    }
    TABLE.iter().find(|(name, ..)| *name == event).map(|(_, action, kind, state)| (*action, *kind, *state))
}

impl Notice {
    /// The notification of this entry, with what the store knows of its target and boot.
    pub(super) fn of(item: &Item, store: &Connection) -> rusqlite::Result<Option<Notice>> {
        let (entry, stored) = (&item.entry, &item.stored);
        let Some((action, kind, state)) = row(item) else { return Ok(None) };
        let field = |name: &str| stored.fields.get(name);
        let word = |name: &str| field(name).and_then(Value::as_str);
        let target = word("check").filter(|_| kind == "target");
        let about = target.or_else(|| word("incident")).unwrap_or_default();
        let agent = stored.agent.to_string();
        let key = format!("{agent}/{kind}/{about}").trim_end_matches('/').to_owned();
        let said: Option<(String, String, String)> = match target {
            None => None,
            Some(target) => store
                .prepare_cached("SELECT owner, impact, runbook FROM watched WHERE boot = ?1 AND target = ?2")?
                .query_row(params![entry.boot.row, target], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()?,
        };
        let exercise: bool = store
            .prepare_cached("SELECT exercise FROM boots WHERE id = ?1")?
            .query_row([entry.boot.row], |row| row.get(0))
            .optional()?
            .unwrap_or(false);
        let (owner, impact, runbook) = match &said {
            Some((owner, impact, runbook)) => (Some(owner.as_str()), Some(impact.as_str()), Some(runbook.as_str())),
            None => (None, None, None),
        };
        // Silence began when the agent was last heard, by our own clock.
        let silent_us = field("silent_s").and_then(Value::as_i64).unwrap_or(0).saturating_mul(1_000_000);
        let since = match (&entry.what, entry.utc) {
            (_, Some(known)) => Some((known.us, Some(known.error_us))),
            (What::Oddity { .. }, None) if action == Action::Open => Some((entry.received_us - silent_us, None)),
            (What::Oddity { .. }, None) => Some((entry.received_us, None)),
            _ => None,
        };
        let reason = word("reason").or_else(|| word("cause")).or_else(|| word("sign"));
        let maintenance = field("maintenance").and_then(Value::as_bool).unwrap_or(false);
        let document = json!({
            "id": entry.uid(),
            "agent": agent,
            "boot": format!("{:016x}", entry.boot.boot_id),
            "event": stored.event,
            "action": action.word(),
            "key": key,
            "state": state,
            "severity": stored.severity.name(),
            "target": target,
            "owner": owner,
            "impact": impact,
            "runbook": runbook,
            "reason": reason,
            "since": since.map(|(us, _)| utc(us)),
            "since_error_us": since.and_then(|(_, error_us)| error_us),
            "received_at": utc(entry.received_us),
            "maintenance": maintenance,
            "held": false,
            "exercise": exercise,
            "text": text(exercise, &agent, (target, state, reason), (owner, impact), since.map(|(us, _)| us)),
            "fields": stored.fields,
        });
        Ok(Some(Notice { action, key, agent, maintenance, document }))
    }
}

/// One sentence or three, for a phone.
fn text(
    exercise: bool,
    agent: &str,
    (target, state, reason): (Option<&str>, &str, Option<&str>),
    (owner, impact): (Option<&str>, Option<&str>),
    since: Option<i64>,
) -> String {
    let mut text = String::from(if exercise { "EXERCISE: " } else { "" });
    text += &match target {
        Some(target) => format!("{target} is {state}"),
        None => format!("agent {agent}: {state}"),
    };
    if let Some(reason) = reason {
        text += &format!(" ({reason})");
    }
    if let (Some(impact), "down") = (impact, state) {
        text += &format!(": {impact}");
    }
    text += ".";
    if let Some(owner) = owner {
        text += &format!(" Owner: {owner}.");
    }
    if target.is_some() {
        text += &format!(" Seen by {agent}");
    }
    if let Some(us) = since {
        text += &format!("{} {}.", if target.is_some() { "," } else { " Since" }, utc(us));
    } else if target.is_some() {
        text += ".";
    }
    escape(&text)
}
