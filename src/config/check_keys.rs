//! The keys of `checks`. A check with any mistake is left out whole: one that watches something else than it says is
//! worse than none, and the problem is told.

use super::checks::{Check, Kind, Record, Secure, Words};
use super::keys::{hex, host, parse_host, parse_peer, peer, secret_key, text, word};
use super::walker::{Key, Leaf, Lent, Step, Verdict, Walker};
use super::{Host, Peer, Secret};
use crate::http::beat::Fingerprint;
use crate::limits::{
    CHECK_ANSWERS, CHECK_GROUP, CHECK_NAMES, CHECK_REDIRECTS, CHECK_SENTENCE, CHECK_STATUSES, CHECK_TEXT, CHECKS,
    CONFIG_TEXT_MAX, PROBE_NEEDLE, TLS_CHECKS,
};
use crate::watch::{DNS_PORT, HTTP_PORT, HTTPS_PORT, NTP_PORT, is_name, is_value};
use core::net::Ipv4Addr;
use heapless::{String, Vec};

/// Seconds from one probe to the next, when the check does not say.
const INTERVAL_S: u16 = 30;

/// Seconds that a probe may take, when the check does not say and its interval allows it.
const TIMEOUT_S: u16 = 10;

/// How many good or bad probes in a row count, when the check does not say: as HAProxy has it.
const RISE: u8 = 2;
const FALL: u8 = 3;

/// The keys that say of which kind a check is.
const KINDS: &str = "\"http\", \"https\", \"tcp\", \"tls\", \"icmp\", \"dns\", \"ntp\" and \"heartbeat\"";

/// Days before the end of a certificate that its check fails, when it does not say: time to renew one by hand.
const EXPIRY_DAYS: u16 = 14;

/// The highest stratum of a synchronised server (RFC 5905, section 7.3).
const STRATA: u8 = 15;

const CHECK: &[Key<Draft>] = &[
    Key { name: "name", required: true, read: |walker, draft| keep(walker, &mut draft.name, name) },
    Key { name: "group", required: false, read: |walker, draft| keep(walker, &mut draft.group, group) },
    Key { name: "owner", required: true, read: |walker, draft| keep(walker, &mut draft.owner, words) },
    Key { name: "impact", required: true, read: |walker, draft| keep(walker, &mut draft.impact, words) },
    Key { name: "runbook", required: true, read: |walker, draft| keep(walker, &mut draft.runbook, name) },
    Key {
        name: "interval_s",
        required: false,
        read: |walker, draft| walker.set(&mut draft.interval_s, |leaf| interval(leaf).map(Some)),
    },
    Key {
        name: "timeout_s",
        required: false,
        read: |walker, draft| {
            draft.timeout_at = walker.position();
            walker.set(&mut draft.timeout_s, |leaf| interval(leaf).map(Some))
        },
    },
    Key { name: "slow_ms", required: false, read: |walker, draft| walker.set(&mut draft.slow_ms, slow) },
    Key {
        name: "rise",
        required: false,
        read: |walker, draft| walker.set(&mut draft.rise, |leaf| count(leaf).map(Some)),
    },
    Key {
        name: "fall",
        required: false,
        read: |walker, draft| walker.set(&mut draft.fall, |leaf| count(leaf).map(Some)),
    },
    Key { name: "http", required: false, read: read_http },
    Key { name: "https", required: false, read: read_https },
    Key { name: "tcp", required: false, read: read_tcp },
    Key { name: "tls", required: false, read: read_tls },
    Key { name: "icmp", required: false, read: read_icmp },
    Key { name: "dns", required: false, read: read_dns },
    Key { name: "ntp", required: false, read: read_ntp },
    Key { name: "heartbeat", required: false, read: read_heartbeat },
];

const HTTP: &[Key<Draft>] = &[
    Key {
        name: "url",
        required: true,
        read: |walker, draft| {
            let at = walker.position();
            let Some((peer, path)) = walker.value(if draft.tls { https_url } else { url })? else { return Ok(()) };
            draft.target = Some(peer);
            draft.path = keep_text(walker, at, &path);
            Ok(())
        },
    },
    Key { name: "method", required: false, read: |walker, draft| walker.set(&mut draft.head, method) },
    Key {
        name: "status",
        required: false,
        read: |walker, draft| {
            walker.array("is not a list of statuses: allowed is one like [200, 204]", &mut |walker| {
                let full = draft.statuses.is_full();
                const _: () = assert!(CHECK_STATUSES == 8, "the sentence names it");
                let too_many = "is one too many: allowed are at most 8";
                if let Some(code) = walker.value(|leaf| if full { Err(too_many) } else { status(leaf) })? {
                    // There is room: checked in the line above.
                    let _ = draft.statuses.push(code);
                }
                Ok(())
            })
        },
    },
    Key { name: "body", required: false, read: |walker, draft| keep(walker, &mut draft.expected, needle) },
    Key {
        name: "redirects",
        required: false,
        read: |walker, draft| {
            const _: () = assert!(CHECK_REDIRECTS == 4, "the sentence names it");
            let otherwise = "is not a list of hosts: allowed is one like [\"www.example.org\"]";
            keep_list(walker, &mut draft.redirects, otherwise, host_text)
        },
    },
];

const TCP: &[Key<Draft>] = &[
    Key {
        name: "address",
        required: true,
        read: |walker, draft| {
            draft.target = walker.value(peer)?;
            Ok(())
        },
    },
    Key { name: "banner", required: false, read: |walker, draft| keep(walker, &mut draft.expected, needle) },
];

/// What `https` and `tls` have besides the keys of `http` and `tcp`.
const TLS: &[Key<Draft>] = &[
    Key { name: "pin", required: false, read: |walker, draft| walker.set(&mut draft.pin, |leaf| pin(leaf).map(Some)) },
    Key {
        name: "server_name",
        required: false,
        read: |walker, draft| keep(walker, &mut draft.server_name, server_name),
    },
    Key { name: "expiry_days", required: false, read: |walker, draft| walker.set(&mut draft.expiry_days, days) },
];

const ICMP: &[Key<Draft>] = &[Key {
    name: "address",
    required: true,
    read: |walker, draft| {
        draft.target = walker.value(host)?.map(|host| Peer { host, port: 0 });
        Ok(())
    },
}];

const DNS: &[Key<Draft>] = &[
    Key {
        name: "server",
        required: true,
        read: |walker, draft| {
            draft.target = walker.value(|leaf| server(leaf, DNS_PORT))?;
            Ok(())
        },
    },
    Key { name: "name", required: true, read: |walker, draft| keep(walker, &mut draft.path, dns_name) },
    Key { name: "type", required: false, read: |walker, draft| walker.set(&mut draft.record, record) },
    Key { name: "rcode", required: false, read: |walker, draft| walker.set(&mut draft.rcode, rcode) },
    Key {
        name: "answers",
        required: false,
        read: |walker, draft| {
            draft.answers_at = walker.position();
            const _: () = assert!(CHECK_ANSWERS == 4, "the sentence names it");
            let otherwise = "is not a list of values: allowed is one like [\"192.0.2.10\"]";
            keep_list(walker, &mut draft.answers, otherwise, dns_value)
        },
    },
];

const NTP: &[Key<Draft>] = &[
    Key {
        name: "server",
        required: true,
        read: |walker, draft| {
            draft.target = walker.value(|leaf| server(leaf, NTP_PORT))?;
            Ok(())
        },
    },
    Key { name: "max_offset_ms", required: false, read: |walker, draft| walker.set(&mut draft.max_offset_ms, slow) },
    Key { name: "max_stratum", required: false, read: |walker, draft| walker.set(&mut draft.max_stratum, stratum) },
];

const HEARTBEAT: &[Key<Draft>] = &[
    Key {
        name: "token_sha256",
        required: true,
        read: |walker, draft| {
            draft.token = walker.secret(fingerprint)?;
            Ok(())
        },
    },
    Key { name: "period_s", required: true, read: |walker, draft| walker.set(&mut draft.period_s, patience) },
    Key { name: "grace_s", required: true, read: |walker, draft| walker.set(&mut draft.grace_s, patience) },
];

/// What was read of a check so far.
struct Draft {
    name: Words,
    group: Words,
    owner: Words,
    impact: Words,
    runbook: Words,
    interval_s: Option<u16>,
    timeout_s: Option<u16>,
    timeout_at: usize,
    slow_ms: u16,
    rise: Option<u8>,
    fall: Option<u8>,
    target: Option<Peer>,
    path: Words,
    head: bool,
    statuses: Vec<u16, CHECK_STATUSES>,
    redirects: Vec<Words, CHECK_REDIRECTS>,
    expected: Words,
    record: Record,
    rcode: u8,
    answers: Vec<Words, CHECK_ANSWERS>,
    answers_at: usize,
    max_offset_ms: u16,
    max_stratum: u8,
    token: Option<Fingerprint>,
    period_s: u32,
    grace_s: u32,
    tls: bool,
    pin: Option<[u8; 32]>,
    server_name: Words,
    expiry_days: u16,
    /// How many kinds it names, and the last of them.
    kinds: u8,
    kind: Option<Kind>,
}

/// Reads the checks that are right; a later source has a list of its own.
pub(super) fn read_checks(walker: &mut Walker<'_>) -> Step {
    walker.found.checks.clear();
    walker.array("is not a list of checks: allowed is one like [{\"name\": \"shop\", \"http\": ...}]", &mut |walker| {
        let (at, before) = (walker.position(), walker.found.problems.count);
        let mut draft = Draft {
            name: Words::default(),
            group: Words::default(),
            owner: Words::default(),
            impact: Words::default(),
            runbook: Words::default(),
            interval_s: None,
            timeout_s: None,
            timeout_at: at,
            slow_ms: 0,
            rise: None,
            fall: None,
            target: None,
            path: Words::default(),
            head: false,
            statuses: Vec::new(),
            redirects: Vec::new(),
            expected: Words::default(),
            record: Record::A,
            rcode: 0,
            answers: Vec::new(),
            answers_at: at,
            max_offset_ms: 0,
            max_stratum: STRATA,
            token: None,
            period_s: 0,
            grace_s: 0,
            tls: false,
            pin: None,
            server_name: Words::default(),
            expiry_days: EXPIRY_DAYS,
            kinds: 0,
            kind: None,
        };
        let is_object = walker.at_object();
        walker.object(CHECK, &mut draft, "is not a check: allowed is one like {\"name\": \"shop\", \"http\": ...}")?;
        if is_object {
            finish(walker, at, draft, before);
        }
        Ok(())
    })
}

/// Looks at what only the whole check tells, and adds it when nothing is wrong with it.
fn finish(walker: &mut Walker<'_>, at: usize, draft: Draft, before: u16) {
    if draft.kinds != 1 {
        walker.report(at, format_args!("a check has exactly one of the keys {KINDS}"));
    }
    // Silence is judged by its first deadline: whoever pushes has retried by then.
    let pushed = matches!(draft.kind, Some(Kind::Heartbeat { .. }));
    let (rise, fall) = if pushed { (1, 1) } else { (RISE, FALL) };
    if pushed && (draft.interval_s.is_some() || draft.timeout_s.is_some()) {
        walker.report(
            at,
            format_args!("a heartbeat has no interval_s and no timeout_s: period_s and grace_s say it all"),
        );
    }
    let interval_s = draft.interval_s.unwrap_or(INTERVAL_S);
    let timeout_s = draft.timeout_s.unwrap_or(TIMEOUT_S.min(interval_s));
    if timeout_s > interval_s {
        let at = draft.timeout_at;
        walker.report_in("timeout_s", at, format_args!("{timeout_s} is longer than interval_s, which is {interval_s}"));
    }
    let checks = &walker.found.checks;
    if checks.find(checks.text(draft.name)).is_some() && !checks.text(draft.name).is_empty() {
        walker.report_in("name", at, format_args!("another check has this name: each needs one of its own"));
    }
    if too_many_names(&walker.found.checks, &draft) {
        walker.report(at, format_args!("is one host name too many: allowed are {CHECK_NAMES} in all checks"));
    }
    if draft.token.is_some_and(|token| walker.found.checks.has_token(token)) {
        walker.report(at, format_args!("another check has this token: each needs one of its own"));
    }
    if draft.tls && walker.found.checks.secure() == TLS_CHECKS {
        walker.report(at, format_args!("is one check with TLS too many: allowed are {TLS_CHECKS}"));
    }
    let whole = draft.target.zip(draft.kind).filter(|_| walker.found.problems.count == before);
    let Some((peer, kind)) = whole else { return };
    let check = Check {
        name: draft.name,
        group: draft.group,
        owner: draft.owner,
        impact: draft.impact,
        runbook: draft.runbook,
        interval_s,
        timeout_s,
        rise: draft.rise.unwrap_or(rise),
        fall: draft.fall.unwrap_or(fall),
        slow_ms: draft.slow_ms,
        peer,
        kind,
        tls: draft.tls.then_some(Secure {
            pin: draft.pin,
            server_name: draft.server_name,
            expiry_days: draft.expiry_days,
        }),
    };
    if !walker.found.checks.add(check) {
        walker.report(at, format_args!("is one too many: allowed are at most {CHECKS} checks"));
    }
}

fn too_many_names(checks: &Lent<'_>, draft: &Draft) -> bool {
    let redirects = draft.redirects.iter().map(|host| checks.text(*host));
    let named = redirects.filter(|host| matches!(parse_host(host), Some(Host::Name(_))));
    let own = draft.target.as_ref().and_then(|peer| match &peer.host {
        Host::Name(name) => Some(name.as_str()),
        Host::Address(_) => None,
    });
    let more = named.chain(own);
    more.clone().next().is_some() && checks.names_with(more) > CHECK_NAMES
}

fn read_http(walker: &mut Walker<'_>, draft: &mut Draft) -> Step {
    draft.kinds += 1;
    walker.object(HTTP, draft, "is not an object: allowed is one like {\"url\": \"http://192.0.2.10/health\"}")?;
    draft.kind = Some(web_kind(draft));
    Ok(())
}

fn read_https(walker: &mut Walker<'_>, draft: &mut Draft) -> Step {
    (draft.kinds, draft.tls) = (draft.kinds + 1, true);
    let otherwise = "is not an object: allowed is one like {\"url\": \"https://192.0.2.10/health\"}";
    walker.object_of(HTTP, TLS, draft, otherwise)?;
    draft.kind = Some(web_kind(draft));
    Ok(())
}

fn web_kind(draft: &Draft) -> Kind {
    let (path, head, body) = (draft.path, draft.head, draft.expected);
    let (statuses, redirects) = (draft.statuses.clone(), draft.redirects.clone());
    Kind::Http { path, head, statuses, body, redirects }
}

fn read_tcp(walker: &mut Walker<'_>, draft: &mut Draft) -> Step {
    draft.kinds += 1;
    walker.object(TCP, draft, "is not an object: allowed is one like {\"address\": \"192.0.2.10:22\"}")?;
    draft.kind = Some(Kind::Tcp { banner: draft.expected });
    Ok(())
}

fn read_tls(walker: &mut Walker<'_>, draft: &mut Draft) -> Step {
    (draft.kinds, draft.tls) = (draft.kinds + 1, true);
    walker.object_of(TCP, TLS, draft, "is not an object: allowed is one like {\"address\": \"192.0.2.10:443\"}")?;
    draft.kind = Some(Kind::Tcp { banner: draft.expected });
    Ok(())
}

fn read_icmp(walker: &mut Walker<'_>, draft: &mut Draft) -> Step {
    draft.kinds += 1;
    draft.kind = Some(Kind::Icmp);
    walker.object(ICMP, draft, "is not an object: allowed is one like {\"address\": \"192.0.2.10\"}")
}

fn read_dns(walker: &mut Walker<'_>, draft: &mut Draft) -> Step {
    draft.kinds += 1;
    let otherwise = "is not an object: allowed is one like {\"server\": \"192.0.2.53\", \"name\": \"example.org\"}";
    walker.object(DNS, draft, otherwise)?;
    let (at, record, rcode) = (draft.answers_at, draft.record, draft.rcode);
    let checks = &walker.found.checks;
    if !draft.answers.iter().all(|&value| is_value(record, checks.text(value))) {
        walker.report_in(
            "answers",
            at,
            format_args!("a value is none of this type: allowed is one like {}", example(record)),
        );
    } else if rcode != 0 && !draft.answers.is_empty() {
        walker.report_in("answers", at, format_args!("an answer with this rcode has no values: leave them out"));
    }
    draft.kind = Some(Kind::Dns { name: draft.path, record, rcode, answers: draft.answers.clone() });
    Ok(())
}

fn read_ntp(walker: &mut Walker<'_>, draft: &mut Draft) -> Step {
    draft.kinds += 1;
    walker.object(NTP, draft, "is not an object: allowed is one like {\"server\": \"192.0.2.123\"}")?;
    draft.kind = Some(Kind::Ntp { max_offset_ms: draft.max_offset_ms, max_stratum: draft.max_stratum });
    Ok(())
}

fn read_heartbeat(walker: &mut Walker<'_>, draft: &mut Draft) -> Step {
    draft.kinds += 1;
    let otherwise =
        "is not an object: allowed is one like {\"token_sha256\": ..., \"period_s\": 86400, \"grace_s\": 600}";
    walker.object(HEARTBEAT, draft, otherwise)?;
    // It goes nowhere.
    draft.target = Some(Peer { host: Host::Address(Ipv4Addr::UNSPECIFIED), port: 0 });
    let (period_s, grace_s) = (draft.period_s, draft.grace_s);
    draft.kind = draft.token.map(|token| Kind::Heartbeat { token, period_s, grace_s });
    Ok(())
}

type Short = String<CONFIG_TEXT_MAX>;

/// Reads a text into the table.
fn keep(walker: &mut Walker<'_>, into: &mut Words, parse: fn(&Leaf<'_>) -> Verdict<Short>) -> Step {
    let at = walker.position();
    if let Some(text) = walker.value(parse)? {
        *into = keep_text(walker, at, &text);
    }
    Ok(())
}

/// Reads at most four texts into the table.
fn keep_list(
    walker: &mut Walker<'_>,
    list: &mut Vec<Words, 4>,
    otherwise: &'static str,
    parse: fn(&Leaf<'_>) -> Verdict<Short>,
) -> Step {
    walker.array(otherwise, &mut |walker| {
        let (at, full) = (walker.position(), list.is_full());
        let too_many = "is one too many: allowed are at most 4";
        if let Some(text) = walker.value(|leaf| if full { Err(too_many) } else { parse(leaf) })? {
            // There is room: checked in the line above.
            let _ = list.push(keep_text(walker, at, &text));
        }
        Ok(())
    })
}

fn host_text(leaf: &Leaf<'_>) -> Verdict<Short> {
    host(leaf)?;
    text(leaf).and_then(|host| Short::try_from(host).ok()).ok_or("is too long")
}

fn keep_text(walker: &mut Walker<'_>, at: usize, text: &str) -> Words {
    walker.found.checks.keep(text).unwrap_or_else(|| {
        walker.report(at, format_args!("the checks' texts are too long: allowed are {CHECK_TEXT} bytes in all"));
        Words::default()
    })
}

/// A name that can stand in a URL and in a metric's label as it is.
pub(super) fn name(leaf: &Leaf<'_>) -> Verdict<Short> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text(leaf)
        .filter(|name| (1..=32).contains(&name.len()) && name.bytes().all(allowed))
        .and_then(|name| Short::try_from(name).ok())
        .ok_or("is not a name: allowed are 1 to 32 of A-Z, a-z, 0-9, \"-\", \"_\" and \".\", like \"shop\"")
}

/// A sentence or a group: the walker lets no control character through, and what shows it escapes it.
fn words(leaf: &Leaf<'_>) -> Verdict<Short> {
    const _: () = assert!(CHECK_SENTENCE == 128, "the sentence names it");
    text(leaf)
        .filter(|text| !text.trim().is_empty() && text.len() <= CHECK_SENTENCE)
        .and_then(|text| Short::try_from(text).ok())
        .ok_or("is not a text: allowed are 1 to 128 bytes")
}

/// What checks are shown under.
fn group(leaf: &Leaf<'_>) -> Verdict<Short> {
    const _: () = assert!(CHECK_GROUP == 32, "the sentence names it");
    words(leaf)
        .ok()
        .filter(|name| name.len() <= CHECK_GROUP)
        .ok_or("is not the name of a group: allowed are 1 to 32 bytes")
}

fn needle(leaf: &Leaf<'_>) -> Verdict<Short> {
    const _: () = assert!(PROBE_NEEDLE == 64, "the sentence names it");
    text(leaf)
        .filter(|text| (1..=PROBE_NEEDLE).contains(&text.len()))
        .and_then(|text| Short::try_from(text).ok())
        .ok_or("is not a text to look for: allowed are 1 to 64 bytes")
}

fn interval(leaf: &Leaf<'_>) -> Verdict<u16> {
    word(leaf).filter(|seconds| (1..=3600).contains(seconds)).ok_or("is not a time: allowed are 1 to 3600 seconds")
}

/// What [`crate::http::beat`] makes of a token.
fn fingerprint(leaf: &Leaf<'_>) -> Verdict<Fingerprint> {
    let hash = secret_key(leaf).ok().and_then(|Secret(hash)| hash.first_chunk().copied());
    hash.ok_or("is not the SHA-256 of a token: allowed are 64 hex digits, which \"outpost token\" prints")
}

/// Up to a month.
fn patience(leaf: &Leaf<'_>) -> Verdict<u32> {
    let seconds = word(leaf).filter(|seconds| (1..=2_678_400).contains(seconds));
    seconds.ok_or("is not a time: allowed are 1 to 2678400 seconds")
}

fn slow(leaf: &Leaf<'_>) -> Verdict<u16> {
    word(leaf).filter(|ms| (1..=60_000).contains(ms)).ok_or("is not a time: allowed are 1 to 60000 milliseconds")
}

fn count(leaf: &Leaf<'_>) -> Verdict<u8> {
    word(leaf).filter(|count| (1..=20).contains(count)).ok_or("is not a number of probes: allowed are 1 to 20")
}

fn status(leaf: &Leaf<'_>) -> Verdict<u16> {
    word(leaf).filter(|code| (200..600).contains(code)).ok_or("is not a status: allowed are 200 to 599")
}

/// `true` for HEAD.
fn method(leaf: &Leaf<'_>) -> Verdict<bool> {
    match text(leaf) {
        Some("GET") => Ok(false),
        Some("HEAD") => Ok(true),
        _ => Err("is not a method: allowed are \"GET\" and \"HEAD\""),
    }
}

/// SHA-256 in hex digits, as `openssl` prints it.
fn pin(leaf: &Leaf<'_>) -> Verdict<[u8; 32]> {
    text(leaf).and_then(hex).ok_or("is not the SHA-256 of a public key: allowed are 64 hex digits (docs/tls.md)")
}

/// A host name: an address is none that a server could be asked for (RFC 6066, section 3).
fn server_name(leaf: &Leaf<'_>) -> Verdict<Short> {
    text(leaf)
        .filter(|name| matches!(parse_host(name), Some(Host::Name(_))))
        .and_then(|name| Short::try_from(name).ok())
        .ok_or("is not a host name: allowed is one like \"shop.example.org\"")
}

fn days(leaf: &Leaf<'_>) -> Verdict<u16> {
    word(leaf).filter(|days| *days <= 365).ok_or("is not a number of days: allowed are 0 to 365")
}

/// A server, with its port where that is not the usual one.
fn server(leaf: &Leaf<'_>, port: u16) -> Verdict<Peer> {
    text(leaf)
        .and_then(|text| match text.contains(':') {
            true => parse_peer(text),
            false => parse_host(text).map(|host| Peer { host, port }),
        })
        .ok_or("is not a server: allowed is one like \"192.0.2.53\" or \"ns.example.org:5353\"")
}

fn dns_name(leaf: &Leaf<'_>) -> Verdict<Short> {
    text(leaf)
        .filter(|name| is_name(name))
        .and_then(|name| Short::try_from(name).ok())
        .ok_or("is not a name: allowed is one like \"www.example.org\"")
}

fn dns_value(leaf: &Leaf<'_>) -> Verdict<Short> {
    text(leaf)
        .filter(|text| !text.is_empty())
        .and_then(|text| Short::try_from(text).ok())
        .ok_or("is not a value: allowed are 1 to 260 bytes")
}

/// Types of records, with a value that they may have.
const RECORDS: [(&str, Record, &str); 8] = [
    ("A", Record::A, "\"192.0.2.10\""),
    ("AAAA", Record::Aaaa, "\"2001:db8::10\""),
    ("CNAME", Record::Cname, "\"www.example.org\""),
    ("MX", Record::Mx, "\"10 mail.example.org\""),
    ("NS", Record::Ns, "\"ns.example.org\""),
    ("PTR", Record::Ptr, "\"www.example.org\""),
    ("SOA", Record::Soa, "\"ns.example.org\""),
    ("TXT", Record::Txt, "\"v=spf1 -all\""),
];

fn record(leaf: &Leaf<'_>) -> Verdict<Record> {
    let name = text(leaf);
    let found = RECORDS.iter().find(|(word, ..)| Some(*word) == name).map(|(_, record, _)| *record);
    found.ok_or("is not a type: allowed are A, AAAA, CNAME, MX, NS, PTR, SOA and TXT")
}

fn example(record: Record) -> &'static str {
    RECORDS.iter().find(|(_, of, _)| *of == record).map_or("", |(.., example)| example)
}

/// RFC 1035, section 4.1.1.
fn rcode(leaf: &Leaf<'_>) -> Verdict<u8> {
    match text(leaf) {
        Some("NOERROR") => Ok(0),
        Some("SERVFAIL") => Ok(2),
        Some("NXDOMAIN") => Ok(3),
        Some("REFUSED") => Ok(5),
        _ => Err("is not an rcode: allowed are NOERROR, SERVFAIL, NXDOMAIN and REFUSED"),
    }
}

fn stratum(leaf: &Leaf<'_>) -> Verdict<u8> {
    word(leaf).filter(|stratum| (1..=STRATA).contains(stratum)).ok_or("is not a stratum: allowed are 1 to 15")
}

/// RFC 9110, section 4.2.1: `http://` host, port if it is not 80, and a path with its query.
pub(super) fn url(leaf: &Leaf<'_>) -> Verdict<(Peer, Short)> {
    web_url(leaf, "http://", HTTP_PORT, "is not a URL: allowed is one like \"http://192.0.2.10:8080/health\"")
}

/// Section 4.2.2: likewise, with 443.
fn https_url(leaf: &Leaf<'_>) -> Verdict<(Peer, Short)> {
    web_url(leaf, "https://", HTTPS_PORT, "is not a URL: allowed is one like \"https://192.0.2.10:8443/health\"")
}

fn web_url(leaf: &Leaf<'_>, scheme: &str, port: u16, otherwise: &'static str) -> Verdict<(Peer, Short)> {
    let rest = text(leaf).and_then(|url| url.strip_prefix(scheme)).ok_or(otherwise)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let peer = match authority.contains(':') {
        true => parse_peer(authority),
        false => parse_host(authority).map(|host| Peer { host, port }),
    }
    .ok_or(otherwise)?;
    // What may stand in a request line as it is (RFC 3986, section 3.3 and 3.4); a fragment is for browsers.
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?@!$&'()*+,;=%[]".contains(&byte);
    if !path.bytes().all(allowed) {
        return Err("has a sign that no URL may have: write it as % and two hex digits");
    }
    let mut whole = Short::new();
    if !path.starts_with('/') {
        whole.push('/').map_err(|_| otherwise)?;
    }
    whole.push_str(path).map_err(|_| otherwise)?;
    Ok((peer, whole))
}
