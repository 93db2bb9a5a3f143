//! What is watched: the checks of the configuration, in memory of their own, and beside them the incidents that the
//! configuration tells of.
//!
//! Up to [`CHECKS`] checks with all their texts are too much to be handed around by value, so
//! they stand in a table that its owner lends to the loader, and later to the agent. Texts stand one after the other in
//! one buffer: nobody pays for the longest name.

use crate::http::beat::Fingerprint;
use crate::incidents::document::Document;
use crate::limits::{CHECK_ANSWERS, CHECK_REDIRECTS, CHECK_STATUSES, CHECK_TEXT, CHECKS};
use heapless::{String, Vec};
use outpost_wire::Sha256;
use smoltcp::time::Duration;

use super::{Host, Peer};

/// All checks. Empty, it is all zeros.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checks {
    list: Vec<Check, CHECKS>,
    texts: String<CHECK_TEXT>,
    document: Document,
}

/// A text of a table of checks; empty when nothing was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Words {
    at: u16,
    len: u16,
}

const _: () = assert!(CHECK_TEXT <= u16::MAX as usize);

impl Words {
    /// So many bytes from here on.
    pub(crate) fn new(at: usize, len: usize) -> Words {
        Words { at: at as u16, len: len as u16 }
    }

    /// The text, out of the buffer that it stands in.
    pub(crate) fn of(self, texts: &str) -> &str {
        let at = usize::from(self.at);
        texts.get(at..at + usize::from(self.len)).unwrap_or_default()
    }
}

/// One target, and how it is probed.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// Its name, unique in the table.
    pub name: Words,
    /// The group it is shown in.
    pub group: Words,
    /// Who looks after it.
    pub owner: Words,
    /// What it means for customers when it is down.
    pub impact: Words,
    /// The anchor of its runbook.
    pub runbook: Words,
    /// Seconds from one probe to the next.
    pub interval_s: u16,
    /// Seconds that a probe may take in all; at most the interval.
    pub timeout_s: u16,
    /// Good probes in a row that make it up.
    pub rise: u8,
    /// Bad probes in a row that make it down.
    pub fall: u8,
    /// Milliseconds above which an answer is too slow; 0: the timeout alone counts.
    pub slow_ms: u16,
    /// Its machine and its port; 0 where there is none.
    pub peer: Peer,
    /// What is done there.
    pub kind: Kind,
    /// That it is done over TLS, and what is asked of the certificate.
    pub tls: Option<Secure>,
}

/// How a check uses TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secure {
    /// SHA-256 of the SubjectPublicKeyInfo of the key that the server must have; without it anybody may answer.
    pub pin: Option<[u8; 32]>,
    /// The name that the server is asked for; empty: that of the host, if it has one.
    pub server_name: Words,
    /// Days before the end of its certificate that the check fails.
    pub expiry_days: u16,
}

impl Check {
    /// Its kind, as it is written in the configuration.
    pub const fn kind_name(&self) -> &'static str {
        match (&self.kind, self.tls.is_some()) {
            (Kind::Http { .. }, true) => "https",
            (Kind::Tcp { .. }, true) => "tls",
            (kind, _) => kind.name(),
        }
    }
}

/// What a probe does.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Opens a connection.
    Tcp {
        /// What the server must say first; empty: nothing.
        banner: Words,
    },
    /// Asks for a web page.
    Http {
        /// What is asked for, with its query.
        path: Words,
        /// Asks for the head alone.
        head: bool,
        /// The statuses that are good; none: 200 to 299.
        statuses: Vec<u16, CHECK_STATUSES>,
        /// What must stand in the body; empty: anything.
        body: Words,
        /// The hosts that redirects may lead to, besides its own.
        redirects: Vec<Words, CHECK_REDIRECTS>,
    },
    /// Sends an echo.
    Icmp,
    /// Asks a DNS server.
    Dns {
        /// The name it is asked for.
        name: Words,
        /// The type of the records.
        record: Record,
        /// What it must say of the question as a whole.
        rcode: u8,
        /// Values that records must have; none: any will do.
        answers: Vec<Words, CHECK_ANSWERS>,
    },
    /// Waits for others to say that they live. It has no peer: its address is 0.0.0.0.
    Heartbeat {
        /// The first half of the SHA-256 of their token.
        token: Fingerprint,
        /// Seconds from one sign of life to the next.
        period_s: u32,
        /// Seconds that one may be late.
        grace_s: u32,
    },
    /// Asks a time server.
    Ntp {
        /// Milliseconds that it may be away from our clock; 0: any.
        max_offset_ms: u16,
        /// The highest stratum that is good.
        max_stratum: u8,
    },
}

/// A type of DNS records (RFC 1035, section 3.2.2; RFC 3596).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// An IPv4 address.
    A = 1,
    /// A name server.
    Ns = 2,
    /// What a name is another name for.
    Cname = 5,
    /// The start of a zone.
    Soa = 6,
    /// The name of an address.
    Ptr = 12,
    /// A mail exchange.
    Mx = 15,
    /// A text.
    Txt = 16,
    /// An IPv6 address.
    Aaaa = 28,
}

/// A text with its length, so that no two lists of texts are the same bytes.
fn hash_text(digest: &mut Sha256, text: &str) {
    digest.update((text.len() as u16).to_be_bytes());
    digest.update(text);
}

impl Check {
    /// The time in which something is heard of the target when all is well.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(match self.kind {
            Kind::Heartbeat { period_s, grace_s, .. } => u64::from(period_s) + u64::from(grace_s),
            _ => self.interval_s.into(),
        })
    }
}

impl Kind {
    /// As it is written in the configuration, where it is without TLS.
    pub const fn name(&self) -> &'static str {
        match self {
            Kind::Tcp { .. } => "tcp",
            Kind::Http { .. } => "http",
            Kind::Icmp => "icmp",
            Kind::Dns { .. } => "dns",
            Kind::Ntp { .. } => "ntp",
            Kind::Heartbeat { .. } => "heartbeat",
        }
    }
}

impl Checks {
    /// No checks.
    pub const fn new() -> Checks {
        Checks { list: Vec::new(), texts: String::new(), document: Document::new() }
    }

    /// The checks, in the order of the document.
    pub fn list(&self) -> &[Check] {
        &self.list
    }

    /// A text of this table.
    pub fn text(&self, words: Words) -> &str {
        words.of(&self.texts)
    }

    /// The check with this name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.list.iter().position(|check| self.text(check.name) == name)
    }

    /// Whether one of them waits for this token.
    pub(super) fn has_token(&self, token: Fingerprint) -> bool {
        self.list.iter().any(|check| matches!(check.kind, Kind::Heartbeat { token: known, .. } if known == token))
    }

    /// The incidents and maintenances that stand in the configuration itself.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The same, to be read.
    pub(super) fn document_mut(&mut self) -> &mut Document {
        &mut self.document
    }

    /// The names of the machines that are probed, and of those that they may lead to.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.list.iter().flat_map(|check| {
            let host = match &check.peer.host {
                Host::Name(name) => Some(name.as_str()),
                Host::Address(_) => None,
            };
            let redirects: &[Words] = if let Kind::Http { redirects, .. } = &check.kind { redirects } else { &[] };
            let others = redirects.iter().map(|host| self.text(*host));
            host.into_iter().chain(others.filter(|text| text.parse::<core::net::Ipv4Addr>().is_err()))
        })
    }

    /// How many of them use TLS.
    pub fn secure(&self) -> usize {
        self.list.iter().filter(|check| check.tls.is_some()).count()
    }

    /// How many different names there are when these are there, too.
    pub(super) fn names_with<'n>(&'n self, more: impl Iterator<Item = &'n str> + Clone) -> usize {
        let names = self.names().chain(more);
        let is_first = |(at, name): &(usize, &str)| names.clone().position(|other| other == *name) == Some(*at);
        names.clone().enumerate().filter(is_first).count()
    }

    /// Takes all that is watched, and how, into a hash: nothing of it when there are no checks.
    pub(super) fn hash_into(&self, digest: &mut Sha256) {
        self.document.hash_into(digest);
        for check in &self.list {
            let Check {
                name,
                group,
                owner,
                impact,
                runbook,
                interval_s,
                timeout_s,
                rise,
                fall,
                slow_ms,
                peer,
                kind,
                tls,
            } = check;
            for words in [name, group, owner, impact, runbook] {
                hash_text(digest, self.text(*words));
            }
            for number in [*interval_s, *timeout_s, (*rise).into(), (*fall).into(), *slow_ms, peer.port] {
                digest.update(number.to_be_bytes());
            }
            match &peer.host {
                Host::Address(address) => digest.update(address.octets()),
                Host::Name(name) => hash_text(digest, name),
            }
            hash_text(digest, check.kind_name());
            if let Some(Secure { pin, server_name, expiry_days }) = tls {
                digest.update([u8::from(pin.is_some())]);
                digest.update(pin.unwrap_or_default());
                hash_text(digest, self.text(*server_name));
                digest.update(expiry_days.to_be_bytes());
            }
            match kind {
                Kind::Tcp { banner } => hash_text(digest, self.text(*banner)),
                Kind::Http { path, head, statuses, body, redirects } => {
                    hash_text(digest, self.text(*path));
                    hash_text(digest, self.text(*body));
                    digest.update([u8::from(*head)]);
                    statuses.iter().for_each(|status| digest.update(status.to_be_bytes()));
                    redirects.iter().for_each(|host| hash_text(digest, self.text(*host)));
                }
                Kind::Icmp => {}
                Kind::Heartbeat { token, period_s, grace_s } => {
                    digest.update(token);
                    digest.update(period_s.to_be_bytes());
                    digest.update(grace_s.to_be_bytes());
                }
                Kind::Dns { name, record, rcode, answers } => {
                    hash_text(digest, self.text(*name));
                    digest.update([*record as u8, *rcode]);
                    answers.iter().for_each(|answer| hash_text(digest, self.text(*answer)));
                }
                Kind::Ntp { max_offset_ms, max_stratum } => {
                    digest.update(max_offset_ms.to_be_bytes());
                    digest.update([*max_stratum]);
                }
            }
        }
    }

    /// Keeps a text; `None` when there is no room.
    pub(super) fn keep(&mut self, text: &str) -> Option<Words> {
        let at = self.texts.len() as u16;
        self.texts.push_str(text).ok()?;
        Some(Words { at, len: text.len() as u16 })
    }

    /// Adds a check; `false` when there is no room.
    pub(super) fn add(&mut self, check: Check) -> bool {
        self.list.push(check).is_ok()
    }

    /// Forgets all: a later source has a list of its own.
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.texts.clear();
    }
}
