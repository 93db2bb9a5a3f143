//! What the part of a target after the `?` asks of a route.

use super::beat::Beat;
use crate::health::Check;
use outpost_wire::ProbeClass;

/// What a query may ask of a route. Unknown parameters are passed over, as kube-apiserver does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// `verbose`: every check on a line.
    pub verbose: bool,
    /// `exclude=CHECK`, as often as wanted: these checks do not count.
    pub exclude: Checks,
    /// An `exclude` names no check that there is.
    pub excludes_unknown: bool,
    /// `since=SEQ`: from this record on.
    pub since: Option<u64>,
    /// `limit=N`: at most so many records.
    pub limit: Option<u16>,
    /// `boot=ID`: of the boot with this id.
    pub boot: Option<u64>,
    /// `since`, `limit` or `boot` is no number, or too large a one.
    pub unreadable: bool,
    /// The check that the path names: only this one.
    pub check: Option<Check>,
    /// Which document the path names.
    pub document: Option<u8>,
    /// What the path says of one who pushes.
    pub beat: Option<Beat>,
    /// The hash of the name of the runbook or the target that the path names.
    pub named: Option<u64>,
    /// What a path that leads nowhere is a sign of.
    pub probe: Option<ProbeClass>,
}

/// Some of the checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checks(u16);

impl Checks {
    /// None of them.
    pub const NONE: Checks = Checks(0);

    /// Whether this one is among them.
    pub const fn contains(self, check: Check) -> bool {
        self.0 & 1 << check as u16 != 0
    }

    /// With this one.
    #[must_use]
    pub const fn with(self, check: Check) -> Checks {
        Checks(self.0 | 1 << check as u16)
    }
}

impl Query {
    /// Nothing.
    pub const NONE: Query = Query {
        verbose: false,
        exclude: Checks::NONE,
        excludes_unknown: false,
        since: None,
        limit: None,
        boot: None,
        unreadable: false,
        check: None,
        document: None,
        beat: None,
        named: None,
        probe: None,
    };

    /// Reads a query with valid percent-encoding.
    pub fn read(query: &[u8]) -> Query {
        let mut read = Query::NONE;
        for parameter in query.split(|&byte| byte == b'&') {
            let mut halves = parameter.splitn(2, |&byte| byte == b'=');
            let name = halves.next().unwrap_or_default();
            let mut plain = [0; VALUE_MAX];
            // What is longer is no check and no number.
            let value = decode(halves.next().unwrap_or_default(), &mut plain).unwrap_or(b"too long");
            match name {
                b"verbose" => read.verbose = true,
                b"exclude" => match Check::named(value) {
                    Some(check) => read.exclude = read.exclude.with(check),
                    None => read.excludes_unknown = true,
                },
                b"since" => {
                    read.since = number(value);
                    read.unreadable |= read.since.is_none();
                }
                b"limit" => {
                    read.limit = number(value);
                    read.unreadable |= read.limit.is_none();
                }
                b"boot" => {
                    read.boot = boot_id(value);
                    read.unreadable |= read.boot.is_none();
                }
                _ => {}
            }
        }
        read
    }
}

/// The longest value that means anything, in bytes: a 64-bit number.
const VALUE_MAX: usize = 20;

fn number<T: core::str::FromStr>(text: &[u8]) -> Option<T> {
    // `parse` would take a sign.
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(text).ok()?.parse().ok()
}

/// The id of a boot as answers write it: 16 hex digits.
fn boot_id(text: &[u8]) -> Option<u64> {
    if text.len() != 16 || !text.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(core::str::from_utf8(text).ok()?, 16).ok()
}

/// Decodes `%XX` into `out`; `None` when it does not fit.
pub fn decode<'o>(text: &[u8], out: &'o mut [u8]) -> Option<&'o [u8]> {
    let (mut at, mut len) = (0, 0);
    while let Some(&byte) = text.get(at) {
        let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
        let (value, width) = match byte {
            b'%' => ((digit(at + 1)? * 16 + digit(at + 2)?) as u8, 3),
            other => (other, 1),
        };
        *out.get_mut(len)? = value;
        at += width;
        len += 1;
    }
    out.get(..len)
}

const _: () = assert!(crate::health::CHECKS.len() <= 16, "a set of checks has 16 bits");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_decoded_and_repeated() {
        // A probe whose exclude is misread takes an agent out of service, or keeps a broken one in.
        let read = Query::read(
            b"exclude=c%6Cock&verbose&exclude=network&x=1&since=18446744073709551615&limit=07&boot=00000000000000aB",
        );
        assert!(read.verbose && !read.excludes_unknown && !read.unreadable);
        assert!(read.exclude.contains(Check::Clock) && read.exclude.contains(Check::Network));
        assert!(!read.exclude.contains(Check::Collector));
        assert_eq!((read.since, read.limit, read.boot), (Some(u64::MAX), Some(7), Some(0xab)));
        for query in ["exclude=", "exclude=Clock", "exclude=etcd", "exclude=a-name-longer-than-any-check"] {
            assert!(Query::read(query.as_bytes()).excludes_unknown, "{query}");
        }
        for query in [
            "since",
            "since=",
            "since=-1",
            "since=+1",
            "limit=65536",
            "since=18446744073709551616",
            "limit=1x",
            "boot=",
            "boot=ab",
            "boot=00000000000000xy",
            "boot=+000000000000001",
        ] {
            assert!(Query::read(query.as_bytes()).unreadable, "{query}");
        }
        assert_eq!(Query::read(b"verbosely&&="), Query::NONE);
    }
}
