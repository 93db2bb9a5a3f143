//! The keys of `checks`. A check with any mistake is left out whole: one that watches something else than it says is
//! worse than none, and the problem is told.

use super::checks::{Check, Kind, Words};
use super::keys::{parse_host, parse_peer, peer, text, word};
use super::walker::{Key, Leaf, Step, Verdict, Walker};
use super::{Host, Peer};
use crate::limits::{
    CHECK_GROUP, CHECK_NAMES, CHECK_SENTENCE, CHECK_STATUSES, CHECK_TEXT, CHECKS, CONFIG_TEXT_MAX, PROBE_NEEDLE,
};
use crate::watch::HTTP_PORT;
use heapless::{String, Vec};

/// Seconds from one probe to the next, when the check does not say.
const INTERVAL_S: u16 = 30;

/// Seconds that a probe may take, when the check does not say and its interval allows it.
const TIMEOUT_S: u16 = 10;

/// How many good or bad probes in a row count, when the check does not say: as HAProxy has it.
const RISE: u8 = 2;
const FALL: u8 = 3;

const CHECK: &[Key<Draft>] = &[
    Key { name: "name", required: true, read: |walker, draft| keep(walker, &mut draft.name, name) },
    Key { name: "group", required: false, read: |walker, draft| keep(walker, &mut draft.group, group) },
    Key { name: "owner", required: true, read: |walker, draft| keep(walker, &mut draft.owner, words) },
    Key { name: "impact", required: true, read: |walker, draft| keep(walker, &mut draft.impact, words) },
    Key { name: "runbook", required: true, read: |walker, draft| keep(walker, &mut draft.runbook, name) },
    Key { name: "interval_s", required: false, read: |walker, draft| walker.set(&mut draft.interval_s, interval) },
    Key {
        name: "timeout_s",
        required: false,
        read: |walker, draft| {
            draft.timeout_at = walker.position();
            walker.set(&mut draft.timeout_s, |leaf| interval(leaf).map(Some))
        },
    },
    Key { name: "slow_ms", required: false, read: |walker, draft| walker.set(&mut draft.slow_ms, slow) },
    Key { name: "rise", required: false, read: |walker, draft| walker.set(&mut draft.rise, count) },
    Key { name: "fall", required: false, read: |walker, draft| walker.set(&mut draft.fall, count) },
    Key { name: "http", required: false, read: read_http },
    Key { name: "tcp", required: false, read: read_tcp },
];

const HTTP: &[Key<Draft>] = &[
    Key {
        name: "url",
        required: true,
        read: |walker, draft| {
            let at = walker.position();
            let Some((peer, path)) = walker.value(url)? else { return Ok(()) };
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

/// What was read of a check so far.
struct Draft {
    name: Words,
    group: Words,
    owner: Words,
    impact: Words,
    runbook: Words,
    interval_s: u16,
    timeout_s: Option<u16>,
    timeout_at: usize,
    slow_ms: u16,
    rise: u8,
    fall: u8,
    target: Option<Peer>,
    path: Words,
    head: bool,
    statuses: Vec<u16, CHECK_STATUSES>,
    expected: Words,
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
            interval_s: INTERVAL_S,
            timeout_s: None,
            timeout_at: at,
            slow_ms: 0,
            rise: RISE,
            fall: FALL,
            target: None,
            path: Words::default(),
            head: false,
            statuses: Vec::new(),
            expected: Words::default(),
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
        walker.report(at, format_args!("a check has exactly one of the keys \"http\" and \"tcp\""));
    }
    let timeout_s = draft.timeout_s.unwrap_or(TIMEOUT_S.min(draft.interval_s));
    if timeout_s > draft.interval_s {
        let interval_s = draft.interval_s;
        let at = draft.timeout_at;
        walker.report_in("timeout_s", at, format_args!("{timeout_s} is longer than interval_s, which is {interval_s}"));
    }
    let checks = &*walker.found.checks;
    if checks.find(checks.text(draft.name)).is_some() && !checks.text(draft.name).is_empty() {
        walker.report_in("name", at, format_args!("another check has this name: each needs one of its own"));
    }
    if let Some(Peer { host: Host::Name(name), .. }) = &draft.target
        && walker.found.checks.names_with(name) > CHECK_NAMES
    {
        walker.report(at, format_args!("is one host name too many: allowed are {CHECK_NAMES} in all checks"));
    }
    let whole = draft.target.zip(draft.kind).filter(|_| walker.found.problems.count == before);
    let Some((peer, kind)) = whole else { return };
    let check = Check {
        name: draft.name,
        group: draft.group,
        owner: draft.owner,
        impact: draft.impact,
        runbook: draft.runbook,
        interval_s: draft.interval_s,
        timeout_s,
        rise: draft.rise,
        fall: draft.fall,
        slow_ms: draft.slow_ms,
        peer,
        kind,
    };
    if !walker.found.checks.add(check) {
        walker.report(at, format_args!("is one too many: allowed are at most {CHECKS} checks"));
    }
}

fn read_http(walker: &mut Walker<'_>, draft: &mut Draft) -> Step {
    draft.kinds += 1;
    walker.object(HTTP, draft, "is not an object: allowed is one like {\"url\": \"http://192.0.2.10/health\"}")?;
    let (path, head, body) = (draft.path, draft.head, draft.expected);
    draft.kind = Some(Kind::Http { path, head, statuses: draft.statuses.clone(), body });
    Ok(())
}

fn read_tcp(walker: &mut Walker<'_>, draft: &mut Draft) -> Step {
    draft.kinds += 1;
    walker.object(TCP, draft, "is not an object: allowed is one like {\"address\": \"192.0.2.10:22\"}")?;
    draft.kind = Some(Kind::Tcp { banner: draft.expected });
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

fn keep_text(walker: &mut Walker<'_>, at: usize, text: &str) -> Words {
    walker.found.checks.keep(text).unwrap_or_else(|| {
        walker.report(at, format_args!("the checks' texts are too long: allowed are {CHECK_TEXT} bytes in all"));
        Words::default()
    })
}

/// A name that can stand in a URL and in a metric's label as it is.
fn name(leaf: &Leaf<'_>) -> Verdict<Short> {
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

/// RFC 9110, section 4.2.1: `http://` host, port if it is not 80, and a path with its query.
fn url(leaf: &Leaf<'_>) -> Verdict<(Peer, Short)> {
    const OTHERWISE: &str = "is not a URL: allowed is one like \"http://192.0.2.10:8080/health\"";
    let rest = text(leaf).and_then(|url| url.strip_prefix("http://")).ok_or(OTHERWISE)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let peer = match authority.contains(':') {
        true => parse_peer(authority),
        false => parse_host(authority).map(|host| Peer { host, port: HTTP_PORT }),
    }
    .ok_or(OTHERWISE)?;
    // What may stand in a request line as it is (RFC 3986, section 3.3 and 3.4); a fragment is for browsers.
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?@!$&'()*+,;=%[]".contains(&byte);
    if !path.bytes().all(allowed) {
        return Err("has a sign that no URL may have: write it as % and two hex digits");
    }
    let mut whole = Short::new();
    if !path.starts_with('/') {
        whole.push('/').map_err(|_| OTHERWISE)?;
    }
    whole.push_str(path).map_err(|_| OTHERWISE)?;
    Ok((peer, whole))
}
