//! The configuration: JSON documents and settings of the command line, checked once at start, into typed values.
//!
//! ```text
//! bytes ─ walker (structure, pointer, position) ─ keys (what is known, what is allowed) ─> Config in force
//! (of each source in turn) └──── problems, origins ───┘                                     + Problems + Origins
//! ```
//! What always holds: [`load`] takes any bytes, ends in time linear in their number, needs no heap and at most
//! 16 KiB of stack (optimized; measured with the worst documents of the tests), and gives a configuration the agent
//! can run with: what was readable, defaults for the rest. `outpost check` calls the same function, so it says what
//! the image would say.

mod check_keys;
pub mod checks;
mod command_line;
mod incident_keys;
mod keys;
mod nearest;
mod origins;
mod problem;
mod walker;

#[cfg(test)]
mod tests;

pub use incident_keys::read_pulled;
pub use origins::{ORIGINS, Origins};
pub use problem::Problem;

use crate::limits::{
    CONFIG_MAX, CONFIG_PROBLEMS, CONTACT_MAX, DNS_SERVERS, HOST_KEYS, HOST_NAME_MAX, INCIDENT_PATH, LOG_SEVERITY_RULES,
    SECURITY_CONTACT_MAX, TIME_SERVERS,
};
use checks::Checks;
use core::fmt::{self, Display};
use core::net::{Ipv4Addr, SocketAddrV4};
use heapless::{String, Vec};
use outpost_wire::limits::AGENT_NAME_MAX;
use outpost_wire::{CATALOGUE, ConfigSource, Severity, Sha256};
use problem::Problems;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use smoltcp::wire::Ipv4Cidr;
use walker::{Found, Lent, Step, Walker};

/// Longest [effective document](Config::effective), in bytes: every list full, every name and address at its longest.
pub const EFFECTIVE_MAX: usize = 1024
    + SEVERITIES_MAX
    + 4 * CONTACT_MAX
    + 48
    + SECURITY_CONTACT_MAX
    + 110
    + HOST_KEYS * HOST_NAME_MAX
    + 192
    + INCIDENT_PATH;

/// Longest form of [`Severities`] in it, in bytes: each rule is a syslog MSGID, its quotes, a number and two signs.
const SEVERITIES_MAX: usize = "\"severity\":{},".len() + LOG_SEVERITY_RULES * (32 + 6);

/// Reads one document, the PVH module's, or takes the defaults when there is none.
///
/// Its checks are read and judged, and not kept.
pub fn load(document: Option<&[u8]>) -> Loaded {
    load_into(document, &mut Checks::new())
}

/// As [`load`], with a place for the checks.
pub fn load_into(document: Option<&[u8]>, checks: &mut Checks) -> Loaded {
    let mut loader = Loader::new(checks);
    if let Some(document) = document {
        loader.document(ConfigSource::Module, document);
    }
    loader.finish()
}

/// Reads the sources one after the other. What a later one says counts; what it does not mention stays.
pub struct Loader<'c> {
    checks: &'c mut Checks,
    config: Config,
    source: ConfigSource,
    origins: Origins,
    problems: Problems,
}

impl<'c> Loader<'c> {
    /// Nothing is read yet; `checks` is where they are put.
    pub fn new(checks: &'c mut Checks) -> Loader<'c> {
        checks.clear();
        Loader {
            checks,
            config: Config::default(),
            source: ConfigSource::Default,
            origins: Origins::DEFAULT,
            problems: Problems::default(),
        }
    }

    /// Reads a document. Bytes are copied out of it: it is not needed afterwards.
    pub fn document(&mut self, source: ConfigSource, document: &[u8]) {
        self.source = source;
        let problems = core::mem::take(&mut self.problems);
        let found = Found { problems, origins: self.origins, source, checks: Lent(Some(&mut *self.checks)) };
        let mut walker = Walker::new(document, found);
        // A stop is reported like every other problem; what was read before it counts.
        let _ = read_document(document, &mut walker, &mut self.config);
        Found { problems: self.problems, origins: self.origins, .. } = walker.found;
    }

    /// Reads the words `outpost.key=value` of a kernel command line; other words are not ours.
    pub fn command_line(&mut self, line: &str) {
        let problems = &mut self.problems;
        let mut report = |pointer: &str, text: core::fmt::Arguments<'_>| {
            problems.add(ConfigSource::CommandLine, None, pointer, text);
        };
        if let Some(document) = command_line::document(line, &mut report) {
            self.document(ConfigSource::CommandLine, document.as_bytes());
        }
    }

    /// What came of it.
    pub fn finish(mut self) -> Loaded {
        self.need_dns();
        let Loader { config, source, origins, problems, .. } = self;
        Loaded { config, source, origins, problems: problems.first, problem_count: problems.count }
    }

    /// Finds names that nobody can be asked for; with DHCP, the lease may name a server.
    fn need_dns(&mut self) {
        let Network::Static(network) = &self.config.network else { return };
        if !network.dns.is_empty() {
            return;
        }
        let own = self.config.hosts().filter_map(|(pointer, host)| match host {
            Host::Name(name) => Some((pointer, name.as_str())),
            Host::Address(_) => None,
        });
        for (pointer, name) in own.chain(self.checks.names().map(|name| ("/checks", name))) {
            let mut short = String::<32>::new();
            problem::write_cut(&mut short, format_args!("{name}"));
            let source = self.origins.get(pointer).unwrap_or(ConfigSource::Default);
            self.problems.add(
                source,
                None,
                pointer,
                format_args!(
                    "{short} is a name that no server can look up: add network.static.dns, or give an address"
                ),
            );
        }
    }
}

fn read_document(document: &[u8], walker: &mut Walker<'_>, config: &mut Config) -> Step {
    const MARK: &str = "\u{feff}";
    if let Some((_, what)) = FOREIGN.iter().find(|(magic, _)| document.starts_with(magic)) {
        walker.report(0, format_args!("this is {what}, not text: the configuration is one JSON object"));
        return Ok(());
    }
    if document.len() > CONFIG_MAX {
        // Without its length, of which the image may know less than the host.
        walker.report(0, format_args!("the document is too long: allowed are at most {CONFIG_MAX} bytes"));
    }
    if walker.step_over(MARK) {
        walker.report(0, format_args!("a byte order mark comes first: save the document as UTF-8 without it"));
    }
    if walker.at_end() {
        walker.report(0, format_args!("the document is empty: allowed is one JSON object, at least {{}}"));
        return Ok(());
    }
    let is_object = walker.at_object();
    walker.object(keys::DOCUMENT, config, "is not an object: allowed is one like {\"name\": \"outpost\"}")?;
    if is_object { walker.finish() } else { Ok(()) }
}

/// What people hand over by mistake, by its first bytes.
const FOREIGN: &[(&[u8], &str)] = &[
    (b"\x7fELF", "an ELF file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"PK\x03\x04", "a zip file"),
    (b"07070", "a cpio archive"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
];

/// Everything that can be configured.
///
/// Serialized, it is the effective document: the same keys as in the one that is read, the secrets redacted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    /// Name of this agent: a DNS label or host name.
    #[serde(serialize_with = "text")]
    pub name: String<AGENT_NAME_MAX>,
    /// How the agent gets its address.
    pub network: Network,
    /// Where wall time is asked.
    #[serde(skip_serializing_if = "Time::is_default")]
    pub time: Time,
    /// Where log records go; `None`: they stay in the ring and on serial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collector: Option<Collector>,
    /// Where log records go as well, next hop only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<Sink>,
    /// The HTTP server.
    pub http: Http,
    /// Which events have another severity than the catalogue says.
    #[serde(skip_serializing_if = "Severities::is_empty")]
    pub severity: Severities,
    /// Whom the status page tells people to ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<Contact>,
    /// Where to report a weakness: `/.well-known/security.txt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security: Option<Security>,
    /// Where incidents and maintenances come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incidents: Option<Incidents>,
    /// Trouble to make on purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drill: Option<Drill>,
    /// What the image does after a panic.
    pub on_panic: OnPanic,
}

/// How the agent gets its address.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// From a DHCP server.
    Dhcp,
    /// As configured.
    Static(StaticNetwork),
}

/// A configured address.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StaticNetwork {
    /// Our address with its prefix.
    #[serde(serialize_with = "text")]
    pub address: Ipv4Cidr,
    /// The router for everything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Ipv4Addr>,
    /// DNS servers, in order.
    #[serde(serialize_with = "texts")]
    pub dns: Vec<Ipv4Addr, DNS_SERVERS>,
}

/// The name of another machine (RFC 1123, section 2.1), in lower case.
pub type HostName = String<HOST_NAME_MAX>;

/// Another machine.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "there are few, and no heap")]
pub enum Host {
    /// By its address.
    Address(Ipv4Addr),
    /// By its name, which DNS knows.
    Name(HostName),
}

impl Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Address(address) => Display::fmt(address, f),
            Host::Name(name) => f.write_str(name),
        }
    }
}

/// A port of another machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// The machine.
    pub host: Host,
    /// The TCP port.
    pub port: u16,
}

impl Peer {
    /// Its address, as far as the configuration says it: 0.0.0.0 stands for one that a name has yet to be looked up for.
    pub fn literal(&self) -> SocketAddrV4 {
        let address = match self.host {
            Host::Address(address) => address,
            Host::Name(_) => Ipv4Addr::UNSPECIFIED,
        };
        SocketAddrV4::new(address, self.port)
    }
}

impl From<SocketAddrV4> for Peer {
    fn from(address: SocketAddrV4) -> Peer {
        Peer { host: Host::Address(*address.ip()), port: address.port() }
    }
}

impl Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Where wall time is asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Time {
    /// NTP servers; empty: those that DHCP names (option 42).
    #[serde(serialize_with = "texts")]
    pub servers: Vec<Host, TIME_SERVERS>,
}

impl Time {
    fn is_default(&self) -> bool {
        self.servers.is_empty()
    }
}

/// The collector.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Collector {
    /// The machine and its port.
    #[serde(serialize_with = "text")]
    pub address: Peer,
    /// The shared key of a keyed session (32 secret bytes); never shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
}

/// A receiver that acknowledges nothing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sink {
    /// Machine and port of a syslog server (RFC 5424 over TCP).
    #[serde(serialize_with = "text")]
    pub syslog: Peer,
}

/// Secret bytes, redacted by type.
#[derive(Clone, PartialEq)]
pub struct Secret(pub [u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(secret)")
    }
}

/// The HTTP server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Http {
    /// TCP port.
    pub port: u16,
    /// Who may see the operator paths.
    #[serde(serialize_with = "texts")]
    pub operator_allow: Vec<Ipv4Cidr, 16>,
    /// Whether the operator took the agent out of service: `/readyz` fails, `/livez` does not.
    pub maintenance: bool,
    /// Connections that one client may have; `None`: as many as there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_per_source: Option<u16>,
}

/// Severities by event id, in the order of the ids; serialized, numbers by the events' names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Severities(pub Vec<(u16, Severity), LOG_SEVERITY_RULES>);

impl Severities {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first bytes of the SHA-256 of these rules as they stand in the effective document; zeros when there are
    /// none.
    pub fn hash(&self) -> [u8; 8] {
        let mut buffer = [0; SEVERITIES_MAX];
        match serde_json_core::to_slice(self, &mut buffer) {
            Ok(length) if !self.is_empty() => hash(buffer.get(..length).unwrap_or_default()),
            _ => [0; 8],
        }
    }
}

impl Serialize for Severities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = |id| CATALOGUE.iter().find(|spec| spec.id == id).map_or("", |spec| spec.name);
        serializer.collect_map(self.0.iter().map(|&(id, severity)| (name(id), severity.number())))
    }
}

/// Whom the status page tells people to ask; at least one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Contact {
    /// A name: any text without control characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String<CONTACT_MAX>>,
    /// A telephone number: digits, spaces and the usual signs, `+` only in front.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tel: Option<String<CONTACT_MAX>>,
    /// A mail address, of characters that are the same in a URI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mail: Option<String<CONTACT_MAX>>,
}

/// Where to report a weakness (RFC 9116).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Security {
    /// A URI: `mailto:`, `https:` or `tel:`.
    pub contact: String<SECURITY_CONTACT_MAX>,
    /// Until when that can be relied on: RFC 3339, in UTC, like `2027-12-31T23:59:59Z`.
    pub expires: String<20>,
}

/// Where incidents and maintenances come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Incidents {
    /// The web server that has the signed document; without one there is only what the configuration itself says.
    pub server: Option<Peer>,
    /// What is asked for there.
    pub path: String<INCIDENT_PATH>,
    /// The Ed25519 key that it is signed with; there is one where there is a server.
    pub public_key: Option<[u8; 32]>,
    /// An older revision is refused.
    pub min_revision: u32,
    /// Seconds from one pull to the next.
    pub interval_s: u16,
}

impl Incidents {
    fn new(interval_s: u16) -> Incidents {
        Incidents { server: None, path: String::new(), public_key: None, min_revision: 1, interval_s }
    }
}

/// The keys as they are read, without `document`: that is told by `/status`.
impl Serialize for Incidents {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Url<'u>(&'u Peer, &'u str);
        impl Display for Url<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "http://{}{}", self.0, self.1)
            }
        }
        struct Hex<'h>(&'h [u8; 32]);
        impl Display for Hex<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        struct Text<'t>(&'t dyn Display);
        impl Serialize for Text<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self.0)
            }
        }
        let pulled = self.server.as_ref().zip(self.public_key.as_ref());
        let mut out = serializer.serialize_struct("Incidents", if pulled.is_some() { 4 } else { 0 })?;
        if let Some((server, key)) = pulled {
            out.serialize_field("url", &Text(&Url(server, &self.path)))?;
            out.serialize_field("public_key", &Text(&Hex(key)))?;
            out.serialize_field("min_revision", &self.min_revision)?;
            out.serialize_field("interval_s", &self.interval_s)?;
        }
        out.end()
    }
}

/// Trouble to make on purpose; at least one of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Drill {
    /// Panic so many seconds after the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub panic_after_s: Option<u16>,
    /// Stand still so many seconds after the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hang_after_s: Option<u16>,
    /// Log so many records in each second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records_per_s: Option<u16>,
    /// No trouble from here: it is made elsewhere, and these records are of an exercise.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub exercise: bool,
}

/// What the image does after a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnPanic {
    /// Resets the machine.
    Reset,
    /// Stops it in a way that the VMM sees: for tests.
    Stop,
}

/// What came of loading a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration in force: what could be read, defaults for the rest.
    pub config: Config,
    /// The last source that said anything; `Default` when none did.
    pub source: ConfigSource,
    /// Where each value came from.
    pub origins: Origins,
    /// The errors, the first ones in full.
    pub problems: Vec<Problem, CONFIG_PROBLEMS>,
    /// How many errors there are in all.
    pub problem_count: u16,
}

impl Default for Config {
    fn default() -> Config {
        let private = [([10, 0, 0, 0], 8), ([172, 16, 0, 0], 12), ([192, 168, 0, 0], 16), ([127, 0, 0, 0], 8)];
        Config {
            name: String::try_from("outpost").unwrap_or_default(),
            network: Network::Dhcp,
            time: Time::default(),
            collector: None,
            sink: None,
            http: Http {
                port: 80,
                operator_allow: private
                    .map(|(address, prefix)| Ipv4Cidr::new(address.into(), prefix))
                    .into_iter()
                    .collect(),
                maintenance: false,
                connections_per_source: None,
            },
            severity: Severities::default(),
            contact: None,
            security: None,
            incidents: None,
            drill: None,
            on_panic: OnPanic::Reset,
        }
    }
}

impl Config {
    /// Every machine that is named, with the pointer of its key.
    pub fn hosts(&self) -> impl Iterator<Item = (&'static str, &Host)> {
        let collector = self.collector.iter().map(|collector| ("/collector/address", &collector.address.host));
        let sink = self.sink.iter().map(|sink| ("/sink/syslog", &sink.syslog.host));
        let incidents = self.incidents.iter().filter_map(|incidents| incidents.server.as_ref());
        let incidents = incidents.map(|server| ("/incidents/url", &server.host));
        collector.chain(sink).chain(incidents).chain(self.time.servers.iter().map(|host| ("/time/servers", host)))
    }

    /// The configuration in force as a JSON document, defaults filled in and secrets redacted.
    pub fn effective<'b>(&self, buffer: &'b mut [u8; EFFECTIVE_MAX]) -> &'b str {
        // It fits: a test writes the longest one there is.
        let length = serde_json_core::to_slice(self, buffer).unwrap_or(0);
        buffer.get(..length).and_then(|document| core::str::from_utf8(document).ok()).unwrap_or("")
    }

    /// The first bytes of the SHA-256 of the effective document and of these checks: the same for agents that are
    /// configured alike.
    pub fn hash(&self, checks: &Checks) -> [u8; 8] {
        let mut digest = Sha256::new();
        digest.update(self.effective(&mut [0; EFFECTIVE_MAX]));
        checks.hash_into(&mut digest);
        first(&digest.finalize())
    }
}

fn hash(bytes: &[u8]) -> [u8; 8] {
    first(&Sha256::of(&[bytes]))
}

fn first(digest: &[u8]) -> [u8; 8] {
    core::array::from_fn(|index| digest.get(index).copied().unwrap_or(0))
}

/// Writes a value as the string it displays as.
fn text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    // By a reference to any such value, so that there is one copy of the code behind it.
    serializer.collect_str(value as &dyn Display)
}

/// Writes a list of values as the strings they display as.
fn texts<S: Serializer, T: Display, const N: usize>(list: &Vec<T, N>, serializer: S) -> Result<S::Ok, S::Error> {
    struct Text<'t, T>(&'t T);
    impl<T: Display> Serialize for Text<'_, T> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            text(self.0, serializer)
        }
    }
    serializer.collect_seq(list.iter().map(Text))
}
