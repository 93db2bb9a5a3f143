//! The document of incidents and maintenances: what it says, as values that keep its rules.
//!
//! The configuration can hold one, and one can be pulled ([`super`]); both are read by the same code
//! (`config::incident_keys`). Texts stand one after the other in one buffer, as those of checks do. What always holds: a
//! document with any mistake is an empty one.

use crate::config::checks::Words;
use crate::limits::{INCIDENT_TEXTS, INCIDENT_UPDATES, INCIDENTS, MAINTENANCES};
use core::cmp::Ordering;
use heapless::{String, Vec};
use outpost_wire::{IncidentImpact, IncidentStatus, Sha256};

/// All of it. Empty, it is all zeros.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// Counts up with each change; 0: there is no document.
    pub revision: u32,
    /// When it was written, in seconds since 1970-01-01 UTC, as all moments here.
    pub issued_at: u64,
    /// From then on it is outdated.
    pub expires_at: u64,
    pub(crate) incidents: Vec<Incident, INCIDENTS>,
    pub(crate) updates: Vec<Update, INCIDENT_UPDATES>,
    pub(crate) maintenances: Vec<Maintenance, MAINTENANCES>,
    pub(crate) texts: String<INCIDENT_TEXTS>,
}

const _: () = assert!(INCIDENT_TEXTS <= u16::MAX as usize && INCIDENT_UPDATES <= u8::MAX as usize);

/// Something that is wrong for those who use what is watched.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// Its id, unique in the document.
    pub id: Words,
    /// Its title.
    pub title: Words,
    /// How bad it is.
    pub impact: IncidentImpact,
    /// The names of the checks that it is about, a comma between them.
    pub(crate) targets: Words,
    /// Its updates are so many from here on: at least one.
    pub(crate) first: u8,
    pub(crate) count: u8,
}

/// What was said of an incident at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// How far those who work on it were.
    pub status: IncidentStatus,
    /// When it was said.
    pub posted_at: u64,
    /// When more is to be said; 0: nothing was promised.
    pub next_update_at: u64,
    /// What was said; it may have several lines.
    pub text: Words,
}

/// Work that is known beforehand.
#[derive(Clone, Debug, PartialEq)]
pub struct Maintenance {
    /// Its id, unique among the maintenances.
    pub id: Words,
    /// Its title.
    pub title: Words,
    /// When it begins.
    pub starts_at: u64,
    /// When it ends.
    pub ends_at: u64,
    /// The names of the checks that it is about, a comma between them.
    pub(crate) targets: Words,
    /// What is done; may be empty.
    pub text: Words,
}

impl Maintenance {
    /// `Less` before it begins, `Equal` while it is under way, `Greater` when it is over.
    pub fn phase(&self, unix_s: u64) -> Ordering {
        match unix_s {
            _ if unix_s < self.starts_at => Ordering::Less,
            _ if unix_s < self.ends_at => Ordering::Equal,
            _ => Ordering::Greater,
        }
    }
}

impl Update {
    /// Whether the incident is still open after it.
    pub fn is_open(&self) -> bool {
        !matches!(self.status, IncidentStatus::Resolved | IncidentStatus::Postmortem)
    }

    /// Whether the next one was promised for a moment that has passed.
    pub fn is_overdue(&self, unix_s: u64) -> bool {
        self.is_open() && self.next_update_at != 0 && unix_s >= self.next_update_at
    }
}

impl Document {
    /// Nothing.
    pub const fn new() -> Document {
        Document {
            revision: 0,
            issued_at: 0,
            expires_at: 0,
            incidents: Vec::new(),
            updates: Vec::new(),
            maintenances: Vec::new(),
            texts: String::new(),
        }
    }

    /// The incidents, in the order of the document.
    pub fn incidents(&self) -> &[Incident] {
        &self.incidents
    }

    /// The maintenances, in the order of the document.
    pub fn maintenances(&self) -> &[Maintenance] {
        &self.maintenances
    }

    /// The updates of an incident, oldest first.
    pub fn updates(&self, incident: &Incident) -> &[Update] {
        let first = usize::from(incident.first);
        self.updates.get(first..first + usize::from(incident.count)).unwrap_or_default()
    }

    /// The newest update of an incident.
    pub fn latest(&self, incident: &Incident) -> Option<&Update> {
        self.updates(incident).last()
    }

    /// The incidents that are not over, with the newest update of each.
    pub fn open(&self) -> impl Iterator<Item = (&Incident, &Update)> {
        let latest = |incident| self.latest(incident).map(|update| (incident, update));
        self.incidents.iter().filter_map(latest).filter(|(_, update)| update.is_open())
    }

    /// A text of this document.
    pub fn text(&self, words: Words) -> &str {
        words.of(&self.texts)
    }

    /// The names of the checks that an incident is about.
    pub fn targets_of(&self, incident: &Incident) -> impl Iterator<Item = &str> {
        self.names(incident.targets)
    }

    /// The names of the checks that a maintenance is about.
    pub fn targets_in(&self, maintenance: &Maintenance) -> impl Iterator<Item = &str> {
        self.names(maintenance.targets)
    }

    fn names(&self, words: Words) -> impl Iterator<Item = &str> {
        self.text(words).split(',').filter(|name| !name.is_empty())
    }

    /// Whether a maintenance of the check with this name is under way.
    pub fn is_maintained(&self, name: &str, unix_s: u64) -> bool {
        let under_way = |one: &&Maintenance| one.phase(unix_s) == Ordering::Equal;
        self.maintenances.iter().filter(under_way).any(|one| self.targets_in(one).any(|target| target == name))
    }

    /// The first moment after this one at which something changes by itself.
    pub fn next_moment(&self, unix_s: u64) -> Option<u64> {
        let windows = self.maintenances.iter().flat_map(|one| [one.starts_at, one.ends_at]);
        let promised = self.open().map(|(_, update)| update.next_update_at);
        windows.chain(promised).chain([self.expires_at]).filter(|moment| *moment > unix_s).min()
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        (self.revision, self.issued_at, self.expires_at) = (0, 0, 0);
        self.incidents.clear();
        self.updates.clear();
        self.maintenances.clear();
        self.texts.clear();
    }

    /// Takes all that it says into a hash: nothing of it when there is no document.
    pub(crate) fn hash_into(&self, digest: &mut Sha256) {
        if self.revision == 0 {
            return;
        }
        // The texts follow each other in one order, and where each ends is told by the lengths below.
        digest.update(self.texts.as_bytes());
        let lens = |words: &[Words]| words.iter().fold(0, |sum, one| sum << 16 | one.of(&self.texts).len() as u64);
        let mut numbers = |numbers: &[u64]| numbers.iter().for_each(|number| digest.update(number.to_be_bytes()));
        numbers(&[self.revision.into(), self.issued_at, self.expires_at]);
        for one in &self.incidents {
            numbers(&[lens(&[one.id, one.title, one.targets]), u8::from(one.impact).into(), one.count.into()]);
        }
        for one in &self.updates {
            numbers(&[u8::from(one.status).into(), one.posted_at, one.next_update_at, lens(&[one.text])]);
        }
        for one in &self.maintenances {
            numbers(&[lens(&[one.id, one.title, one.targets, one.text]), one.starts_at, one.ends_at]);
        }
    }
}
