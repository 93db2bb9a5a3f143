//! The known keys: each in one place, with its checks and the words for what is allowed.
//!
//! A check takes a leaf and gives the typed value or the end of the sentence that begins with the value found:
//! `70000` + `is not a port: allowed are 1 to 65535`. Whatever follows the mistake is still read. Where a mistake
//! could open something up, the closed side is taken: a list of who is let in keeps only what could be read, and a
//! collector with any mistake is not used, because a mistyped `key` must not mean clear text.

use super::check_keys::read_checks;
use super::incident_keys::read_incidents;
use super::nearest::nearest;
use super::walker::{Key, Leaf, Step, Verdict, Walker};
use super::{
    Collector, Config, Contact, Drill, Host, HostName, Http, Network, OnPanic, Peer, Secret, Security, Severities,
    Sink, StaticNetwork, Time,
};
use crate::limits::{CONNECTIONS, CONTACT_MAX, DNS_SERVERS, HOST_LABEL_MAX, SECURITY_CONTACT_MAX};
use crate::net::is_machine;
use core::net::Ipv4Addr;
use heapless::{String, Vec};
use outpost_wire::limits::AGENT_NAME_MAX;
use outpost_wire::{CATALOGUE, Severity};
use serde::de::DeserializeOwned;
use smoltcp::wire::Ipv4Cidr;

/// The keys of the document.
pub(super) const DOCUMENT: &[Key<Config>] = &[
    Key { name: "name", required: false, read: |walker, config| walker.set(&mut config.name, name) },
    Key { name: "network", required: false, read: |walker, config| read_network(walker, &mut config.network) },
    Key {
        name: "time",
        required: false,
        read: |walker, config| {
            walker.object(TIME, &mut config.time, "is not an object: allowed is one like {\"servers\": [\"10.0.2.2\"]}")
        },
    },
    Key { name: "collector", required: false, read: |walker, config| read_collector(walker, &mut config.collector) },
    Key { name: "sink", required: false, read: |walker, config| read_sink(walker, &mut config.sink) },
    Key {
        name: "http",
        required: false,
        read: |walker, config| {
            walker.object(HTTP, &mut config.http, "is not an object: allowed is one like {\"port\": 80}")
        },
    },
    Key { name: "severity", required: false, read: |walker, config| read_severities(walker, &mut config.severity) },
    Key { name: "contact", required: false, read: |walker, config| read_contact(walker, &mut config.contact) },
    Key { name: "security", required: false, read: |walker, config| read_security(walker, &mut config.security) },
    Key { name: "incidents", required: false, read: |walker, config| read_incidents(walker, &mut config.incidents) },
    Key { name: "drill", required: false, read: |walker, config| read_drill(walker, &mut config.drill) },
    Key { name: "on_panic", required: false, read: |walker, config| walker.set(&mut config.on_panic, on_panic) },
    Key { name: "checks", required: false, read: |walker, _| read_checks(walker) },
];

const NETWORK: &[Key<Network>] = &[Key { name: "static", required: true, read: read_static }];

const STATIC: &[Key<StaticDraft>] = &[
    Key { name: "address", required: true, read: |walker, draft| walker.set(&mut draft.address, own_address) },
    Key {
        name: "gateway",
        required: false,
        read: |walker, draft| {
            draft.gateway_at = walker.position();
            walker.set(&mut draft.gateway, |leaf| machine_address(leaf).map(Some))
        },
    },
    Key {
        name: "dns",
        required: false,
        read: |walker, draft| {
            let otherwise = "is not a list of servers: allowed is one like [\"10.0.2.3\"]";
            read_list(walker, &mut draft.dns, otherwise, "is one too many: allowed are at most 4", machine_address)
        },
    },
];

const TIME: &[Key<Time>] = &[Key {
    name: "servers",
    required: true,
    read: |walker, time| {
        let otherwise = "is not a list of servers: allowed is one like [\"10.0.2.2\"]";
        read_list(walker, &mut time.servers, otherwise, "is one too many: allowed are at most 4", host)
    },
}];

const COLLECTOR: &[Key<CollectorDraft>] = &[
    Key {
        name: "address",
        required: true,
        read: |walker, draft| walker.set(&mut draft.address, |leaf| peer(leaf).map(Some)),
    },
    Key {
        name: "key",
        required: false,
        read: |walker, draft| {
            if let Some(key) = walker.secret(secret_key)? {
                draft.key = Some(key);
            }
            Ok(())
        },
    },
];

const SINK: &[Key<Option<Peer>>] =
    &[Key { name: "syslog", required: true, read: |walker, address| walker.set(address, |leaf| peer(leaf).map(Some)) }];

const HTTP: &[Key<Http>] = &[
    Key { name: "port", required: false, read: |walker, http| walker.set(&mut http.port, port) },
    Key {
        name: "operator_allow",
        required: false,
        read: |walker, http| {
            let otherwise = "is not a list of networks: allowed is one like [\"10.0.0.0/8\"]";
            let too_many = "is one too many: allowed are at most 16";
            read_list(walker, &mut http.operator_allow, otherwise, too_many, subnet)
        },
    },
    Key { name: "maintenance", required: false, read: |walker, http| walker.set(&mut http.maintenance, boolean) },
    Key {
        name: "connections_per_source",
        required: false,
        read: |walker, http| walker.set(&mut http.connections_per_source, |leaf| share(leaf).map(Some)),
    },
];

const CONTACT: &[Key<Contact>] = &[
    Key {
        name: "name",
        required: false,
        read: |walker, contact| walker.set(&mut contact.name, |leaf| contact_name(leaf).map(Some)),
    },
    Key {
        name: "tel",
        required: false,
        read: |walker, contact| walker.set(&mut contact.tel, |leaf| telephone(leaf).map(Some)),
    },
    Key {
        name: "mail",
        required: false,
        read: |walker, contact| walker.set(&mut contact.mail, |leaf| mail_address(leaf).map(Some)),
    },
];

const SECURITY: &[Key<Security>] = &[
    Key {
        name: "contact",
        required: true,
        read: |walker, security| walker.set(&mut security.contact, security_contact),
    },
    Key { name: "expires", required: true, read: |walker, security| walker.set(&mut security.expires, moment) },
];

const DRILL: &[Key<Drill>] = &[
    Key {
        name: "panic_after_s",
        required: false,
        read: |walker, drill| walker.set(&mut drill.panic_after_s, |leaf| drill_time(leaf).map(Some)),
    },
    Key {
        name: "hang_after_s",
        required: false,
        read: |walker, drill| walker.set(&mut drill.hang_after_s, |leaf| drill_time(leaf).map(Some)),
    },
    Key {
        name: "records_per_s",
        required: false,
        read: |walker, drill| walker.set(&mut drill.records_per_s, |leaf| drill_rate(leaf).map(Some)),
    },
    Key { name: "exercise", required: false, read: |walker, drill| walker.set(&mut drill.exercise, boolean) },
];

fn read_contact(walker: &mut Walker<'_>, contact: &mut Option<Contact>) -> Step {
    let mut read = contact.take().unwrap_or_default();
    let outcome =
        walker.object(CONTACT, &mut read, "is not an object: allowed is one like {\"tel\": \"+49 30 000000\"}");
    *contact = Some(read).filter(|read| *read != Contact::default());
    outcome
}

/// RFC 9116, section 2.5: neither of the two may be missing, so one that is wrong leaves nothing.
fn read_security(walker: &mut Walker<'_>, security: &mut Option<Security>) -> Step {
    let mut read = security.take().unwrap_or_default();
    let outcome = walker.object(SECURITY, &mut read, "is not an object: allowed are \"contact\" and \"expires\"");
    *security = Some(read).filter(|read| !read.contact.is_empty() && !read.expires.is_empty());
    outcome
}

fn read_drill(walker: &mut Walker<'_>, drill: &mut Option<Drill>) -> Step {
    let mut read = drill.unwrap_or_default();
    let outcome = walker.object(DRILL, &mut read, "is not an object: allowed is one like {\"panic_after_s\": 60}");
    *drill = Some(read).filter(|read| *read != Drill::default());
    outcome
}

fn read_network(walker: &mut Walker<'_>, network: &mut Network) -> Step {
    const ALLOWED: &str = "is not a network: allowed are \"dhcp\" and {\"static\": {\"address\": ...}}";
    if walker.at_object() {
        return walker.object(NETWORK, network, ALLOWED);
    }
    walker.set(network, |leaf| match text(leaf) {
        Some("dhcp") => Ok(Network::Dhcp),
        _ => Err(ALLOWED),
    })
}

/// What was read of `static` so far.
#[derive(Default)]
struct StaticDraft {
    address: Option<Ipv4Cidr>,
    gateway: Option<Ipv4Addr>,
    gateway_at: usize,
    dns: Vec<Ipv4Addr, DNS_SERVERS>,
}

fn read_static(walker: &mut Walker<'_>, network: &mut Network) -> Step {
    let start = walker.position();
    let mut draft = StaticDraft { gateway_at: start, ..StaticDraft::default() };
    // What an earlier source said of gateway and DNS stays: the address alone is what differs in a fleet.
    if let Network::Static(earlier) = network {
        (draft.gateway, draft.dns) = (earlier.gateway, earlier.dns.clone());
    }
    let allowed = "is not an object: allowed is one like {\"address\": \"10.0.2.15/24\"}";
    let outcome = walker.object(STATIC, &mut draft, allowed);
    // An address that was read counts, whatever else is wrong, even when the document is cut off behind it: an agent
    // that can be reached can say what is wrong with it.
    if let Some(address) = draft.address {
        let gateway = draft.gateway.filter(|gateway| is_neighbour(*gateway, address));
        if let Some(refused) = draft.gateway.filter(|_| gateway.is_none()) {
            let reason = "is not another machine in the subnet of";
            let at = draft.gateway_at;
            walker.report_in(
                "gateway",
                at,
                format_args!("\"{refused}\" {reason} {address}: allowed is a router there"),
            );
        }
        *network = Network::Static(StaticNetwork { address, gateway, dns: draft.dns });
    }
    outcome
}

/// What was read of `collector` so far.
struct CollectorDraft {
    address: Option<Peer>,
    key: Option<Secret>,
}

fn read_collector(walker: &mut Walker<'_>, collector: &mut Option<Collector>) -> Step {
    let before = walker.found.problems.count;
    // A key that an earlier source gave stays: another address must not mean clear text.
    let mut draft = CollectorDraft { address: None, key: collector.take().and_then(|collector| collector.key) };
    walker.object(COLLECTOR, &mut draft, "is not an object: allowed is one like {\"address\": \"10.0.2.2:7600\"}")?;
    if walker.found.problems.count == before {
        *collector = draft.address.map(|address| Collector { address, key: draft.key });
    }
    Ok(())
}

fn read_sink(walker: &mut Walker<'_>, sink: &mut Option<Sink>) -> Step {
    let mut address = None;
    let outcome =
        walker.object(SINK, &mut address, "is not an object: allowed is one like {\"syslog\": \"10.0.2.2:514\"}");
    *sink = address.map(|syslog| Sink { syslog });
    outcome
}

/// Reads the rules that are right. They are kept in the order of the events, so that the order in which they are
/// written does not change the hash.
fn read_severities(walker: &mut Walker<'_>, rules: &mut Severities) -> Step {
    let otherwise = "is not an object: allowed is one like {\"network.down\": \"warn\"}";
    let rules = &mut rules.0;
    // A later source replaces the rules of an earlier one.
    rules.clear();
    walker.entries(otherwise, &mut |walker, at, name| {
        let Some(event) = CATALOGUE.iter().find(|spec| spec.name == name) else {
            match nearest(name, &mut CATALOGUE.iter().map(|spec| spec.name)) {
                Some(near) => walker.report(at, format_args!("unknown event: did you mean \"{near}\"?")),
                None => walker.report(at, format_args!("unknown event: `outpost explain` lists those there are")),
            }
            return walker.skip();
        };
        if rules.iter().any(|(id, _)| *id == event.id) {
            return walker.refuse_twice(at);
        }
        let too_many = "is one too many: allowed are at most 32";
        if let Some(severity) = walker.value(|leaf| if rules.is_full() { Err(too_many) } else { severity(leaf) })? {
            let place = rules.iter().position(|(id, _)| *id > event.id).unwrap_or(rules.len());
            // There is room: checked in the line above.
            let _ = rules.insert(place, (event.id, severity));
        }
        Ok(())
    })?;
    Ok(())
}

/// Reads the items that are right; the default of the list is gone even when there are none.
fn read_list<T, const N: usize>(
    walker: &mut Walker<'_>,
    list: &mut Vec<T, N>,
    otherwise: &'static str,
    too_many: &'static str,
    parse: fn(&Leaf<'_>) -> Verdict<T>,
) -> Step {
    list.clear();
    walker.array(otherwise, &mut |walker| {
        if let Some(item) = walker.value(|leaf| if list.is_full() { Err(too_many) } else { parse(leaf) })? {
            // There is room: checked in the line above.
            let _ = list.push(item);
        }
        Ok(())
    })
}

pub(super) fn text<'l>(leaf: &'l Leaf<'_>) -> Option<&'l str> {
    match leaf {
        Leaf::Text(text) => Some(text),
        _ => None,
    }
}

/// A number or a boolean, by the rules of JSON.
pub(super) fn word<T: DeserializeOwned>(leaf: &Leaf<'_>) -> Option<T> {
    match leaf {
        Leaf::Word(word) => serde_json_core::from_str(word).ok().map(|(value, _)| value),
        _ => None,
    }
}

/// The name of the agent: a host name.
fn name(leaf: &Leaf<'_>) -> Verdict<String<AGENT_NAME_MAX>> {
    text(leaf)
        .filter(|name| name.split('.').all(is_label))
        .and_then(|name| String::try_from(name).ok())
        .ok_or("is not a host name: allowed are at most 63 of a-z, 0-9, \"-\" and \".\", like \"outpost-fra1\"")
}

/// Whoever it is: the walker lets no control character through, and what shows it escapes it.
fn contact_name(leaf: &Leaf<'_>) -> Verdict<String<CONTACT_MAX>> {
    text(leaf)
        .filter(|name| !name.trim().is_empty())
        .and_then(|name| String::try_from(name).ok())
        .ok_or("is not the name of a contact: allowed are 1 to 64 bytes of text, like \"On-call\"")
}

/// What people write as a telephone number, so that it can be shown and, without its signs, dialled (RFC 3966).
fn telephone(leaf: &Leaf<'_>) -> Verdict<String<CONTACT_MAX>> {
    text(leaf)
        .filter(|tel| tel.strip_prefix('+').unwrap_or(tel).bytes().all(|byte| b"0123456789 -./()".contains(&byte)))
        .filter(|tel| (3..=15).contains(&tel.bytes().filter(u8::is_ascii_digit).count()))
        .and_then(|tel| String::try_from(tel).ok())
        .ok_or("is not a telephone number: allowed are 3 to 15 digits, like \"+49 30 000000\"")
}

/// An address as people have it: what RFC 5322 allows beyond that would need other escapes in each place it is shown.
fn mail_address(leaf: &Leaf<'_>) -> Verdict<String<CONTACT_MAX>> {
    text(leaf)
        .filter(|mail| is_mail_address(mail))
        .and_then(|mail| String::try_from(mail).ok())
        .ok_or("is not a mail address: allowed are at most 64 bytes, like \"oncall@example.org\"")
}

fn is_mail_address(mail: &str) -> bool {
    let is_word = |part: &str, more: &[u8]| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
    };
    mail.split_once('@').is_some_and(|(local, domain)| {
        local.split('.').all(|part| is_word(part, b"_+-")) && domain.split('.').all(|part| is_word(part, b"-"))
    })
}

/// RFC 9116, section 2.5.3: a URI, on the web an https one.
fn security_contact(leaf: &Leaf<'_>) -> Verdict<String<SECURITY_CONTACT_MAX>> {
    // RFC 3986, section 2.
    let is_uri = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
    text(leaf)
        .filter(|uri| match uri.split_once(':') {
            Some(("mailto", mail)) => is_mail_address(mail),
            Some(("https", rest)) => {
                let rest = rest.strip_prefix("//").unwrap_or_default().as_bytes();
                rest.first().is_some_and(u8::is_ascii_alphanumeric) && rest.iter().all(|&byte| is_uri(byte))
            }
            _ => false,
        })
        .and_then(|uri| String::try_from(uri).ok())
        .ok_or("is not a contact: allowed is \"mailto:\" or \"https://\" and more, at most 100 bytes")
}

/// A moment of UTC (RFC 3339); the 29th of February is one in any year.
fn moment(leaf: &Leaf<'_>) -> Verdict<String<20>> {
    text(leaf)
        .filter(|text| crate::time::utc::parse(text).is_some())
        .and_then(|text| String::try_from(text).ok())
        .ok_or("is not a moment of UTC: allowed is one like \"2027-12-31T23:59:59Z\"")
}

/// Connections that one client may have.
fn share(leaf: &Leaf<'_>) -> Verdict<u16> {
    const _: () = assert!(CONNECTIONS == 1024 || cfg!(feature = "small-pool"), "the sentence names it");
    word(leaf)
        .filter(|share| (1..=CONNECTIONS as u16).contains(share))
        .ok_or("is not a number of connections: allowed are 1 to 1024")
}

fn port(leaf: &Leaf<'_>) -> Verdict<u16> {
    match leaf {
        Leaf::Text(_) => Err("is a string, not a port: allowed are 1 to 65535, without quotes"),
        leaf => word(leaf).filter(|port| *port != 0).ok_or("is not a port: allowed are 1 to 65535"),
    }
}

fn drill_time(leaf: &Leaf<'_>) -> Verdict<u16> {
    word(leaf).filter(|seconds| (1..=3600).contains(seconds)).ok_or("is not a time: allowed are 1 to 3600 seconds")
}

fn drill_rate(leaf: &Leaf<'_>) -> Verdict<u16> {
    word(leaf).filter(|rate| (1..=10_000).contains(rate)).ok_or("is not a rate: allowed are 1 to 10000 records/s")
}

fn boolean(leaf: &Leaf<'_>) -> Verdict<bool> {
    word(leaf).ok_or("is not a boolean: allowed are true and false, without quotes")
}

fn severity(leaf: &Leaf<'_>) -> Verdict<Severity> {
    const ALLOWED: &str = "is not a severity: allowed are trace, debug, info, notice, warn, error, fatal and 1 to 24";
    text(leaf).map_or_else(|| word(leaf).and_then(Severity::from_number), Severity::from_name).ok_or(ALLOWED)
}

fn on_panic(leaf: &Leaf<'_>) -> Verdict<OnPanic> {
    match text(leaf) {
        Some("reset") => Ok(OnPanic::Reset),
        Some("stop") => Ok(OnPanic::Stop),
        _ => Err("is not known: allowed are \"reset\" and \"stop\""),
    }
}

fn subnet(leaf: &Leaf<'_>) -> Verdict<Ipv4Cidr> {
    text(leaf).and_then(parse_cidr).ok_or("is not a network: allowed is IPv4/prefix, like \"10.0.0.0/8\"")
}

/// The address of this machine, with its prefix.
fn own_address(leaf: &Leaf<'_>) -> Verdict<Option<Ipv4Cidr>> {
    let cidr = text(leaf)
        .and_then(parse_cidr)
        .filter(|cidr| cidr.prefix_len() > 0)
        .ok_or("is not an address with its prefix: allowed is IPv4/prefix, like \"10.0.2.15/24\"")?;
    if !is_machine(cidr.address()) {
        return Err("is not the address of a machine: not allowed are 0.x, 127.x, multicast and above");
    }
    if !is_host_part(cidr.address(), cidr) {
        return Err("is the subnet's network or broadcast address: allowed are the addresses between them");
    }
    Ok(Some(cidr))
}

/// The address of another machine.
fn machine_address(leaf: &Leaf<'_>) -> Verdict<Ipv4Addr> {
    text(leaf)
        .and_then(|text| text.parse().ok())
        .filter(|address| is_machine(*address))
        .ok_or("is not the IPv4 address of a machine: allowed is one like \"10.0.2.2\"")
}

/// Another machine, by address or name, and a port.
pub(super) fn peer(leaf: &Leaf<'_>) -> Verdict<Peer> {
    text(leaf)
        .and_then(parse_peer)
        .ok_or("is not a machine's HOST:PORT: allowed is one like \"10.0.2.2:7600\" or \"logs.example.org:7600\"")
}

pub(super) fn parse_peer(text: &str) -> Option<Peer> {
    let (host, port) = text.split_once(':')?;
    Some(Peer { host: parse_host(host)?, port: parse_number(port).filter(|port| *port != 0)? })
}

/// Another machine, by address or name.
pub(super) fn host(leaf: &Leaf<'_>) -> Verdict<Host> {
    text(leaf)
        .and_then(parse_host)
        .ok_or("is not a machine's address or name: allowed is one like \"10.0.2.2\" or \"ntp.example.org\"")
}

pub(super) fn parse_host(text: &str) -> Option<Host> {
    if let Ok(address) = text.parse() {
        return Some(Host::Address(address)).filter(|_| is_machine(address));
    }
    // RFC 1123, section 2.1: the last label of a name is no number, so a mistyped address is no name.
    let last = text.rsplit('.').next()?;
    let is_name = text.split('.').all(is_label) && last.starts_with(|first: char| first.is_ascii_lowercase());
    HostName::try_from(text).ok().filter(|_| is_name).map(Host::Name)
}

/// A label of a host name (RFC 1123, section 2.1), in lower case so that there is one way to write it.
fn is_label(label: &str) -> bool {
    let inner = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    let length = 1..=HOST_LABEL_MAX;
    length.contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
}

pub(super) fn secret_key(leaf: &Leaf<'_>) -> Verdict<Secret> {
    text(leaf)
        .and_then(hex)
        .map(Secret)
        .ok_or("is not a key: allowed are 64 hex digits, like those of openssl rand -hex 32")
}

/// 32 bytes in hex digits.
pub(super) fn hex(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let digits = digits.as_bytes();
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |index| pair.get(index).and_then(|digit| char::from(*digit).to_digit(16));
        *byte = (digit(0)? << 4 | digit(1)?) as u8;
    }
    (digits.len() == 2 * bytes.len()).then_some(bytes)
}

fn parse_cidr(text: &str) -> Option<Ipv4Cidr> {
    let (address, prefix) = text.split_once('/')?;
    let (address, prefix) = (address.parse().ok()?, parse_number(prefix)?);
    (prefix <= 32).then(|| Ipv4Cidr::new(address, prefix))
}

/// A number by the rules of JSON: no sign, no leading zero.
fn parse_number<T: DeserializeOwned>(text: &str) -> Option<T> {
    let digits = Some(text).filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))?;
    serde_json_core::from_str(digits).ok().map(|(number, _)| number)
}

/// Whether it is neither the network nor the broadcast address of the subnet; 31 and 32 bits have none (RFC 3021).
fn is_host_part(address: Ipv4Addr, subnet: Ipv4Cidr) -> bool {
    subnet.broadcast().is_none_or(|broadcast| address != broadcast && address != subnet.network().address())
}

/// Whether it can be another machine on the subnet of `own`.
fn is_neighbour(address: Ipv4Addr, own: Ipv4Cidr) -> bool {
    own.contains_addr(&address) && address != own.address() && is_host_part(address, own)
}
