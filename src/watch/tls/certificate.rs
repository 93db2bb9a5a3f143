//! What a certificate says: until when, for which names, and with which key. Read, not believed: whoever made it up can
//! say anything in it. RFC 5280, section 4.1.

use super::der::{self, Reader};
use crate::limits::{RSA_MAX, TLS_NAMES};
use crate::time::utc;
use heapless::String;

/// Object identifiers, in DER.
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const PRIME256V1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// Tags of a context: the version, the extensions; a DNS name in a list of alternative names (RFC 5280, section 4.2.1.6).
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;

/// A certificate that was read.
#[derive(Clone, Copy, Debug)]
pub struct Certificate<'d> {
    /// From when on it is valid, in seconds since 1970.
    pub not_before: i64,
    /// Until when, likewise.
    pub not_after: i64,
    /// SubjectPublicKeyInfo, whole: what a pin is made of.
    pub spki: &'d [u8],
    /// The key in it.
    pub key: Key<'d>,
    subject: &'d [u8],
    /// The content of the list of alternative names; empty: there is none.
    names: &'d [u8],
}

/// A public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'d> {
    /// A point on the curve P-256, as SEC 1 writes it.
    P256(&'d [u8]),
    /// An RSA key: modulus and exponent without leading zeros, of a size that can be checked.
    Rsa(&'d [u8], &'d [u8]),
    /// A key of Ed25519.
    Ed25519(&'d [u8; 32]),
    /// One that cannot be checked.
    Other,
}

impl<'d> Certificate<'d> {
    /// Reads one; `None` when it is not a certificate.
    pub fn read(bytes: &'d [u8]) -> Option<Certificate<'d>> {
        let mut outer = Reader::new(bytes);
        let mut certificate = outer.enter(der::SEQUENCE)?;
        let mut tbs = certificate.enter(der::SEQUENCE)?;
        certificate.enter(der::SEQUENCE)?;
        certificate.read(der::BIT_STRING)?;
        if !(outer.is_empty() && certificate.is_empty()) {
            return None;
        }
        tbs.read_if(VERSION);
        tbs.read(der::INTEGER)?;
        tbs.enter(der::SEQUENCE)?;
        tbs.enter(der::SEQUENCE)?;
        let mut validity = tbs.enter(der::SEQUENCE)?;
        let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
        let subject = tbs.read(der::SEQUENCE)?;
        let spki = tbs.next().filter(|spki| spki.tag == der::SEQUENCE)?;
        let key = key(spki.content)?;
        let mut names: &[u8] = &[];
        for element in tbs.by_ref() {
            if element.tag == EXTENSIONS {
                names = alternative_names(element.content)?;
            }
        }
        tbs.is_empty().then_some(Certificate { not_before, not_after, spki: spki.whole, key, subject, names })
    }

    /// The DNS names that it is for; without a list of them, the common name.
    pub fn names(&self) -> impl Iterator<Item = &'d [u8]> {
        let mut subject = Reader::new(self.subject);
        let listed = Reader::new(self.names).filter(|name| name.tag == DNS_NAME);
        let common = core::iter::from_fn(move || subject.read(der::SET)).filter_map(common_name);
        let common = common.take(if self.names.is_empty() { usize::MAX } else { 0 });
        listed.map(|name| name.content).chain(common)
    }

    /// Whether it is for this host: one star may stand for the first label (RFC 6125, section 6.4.3).
    pub fn covers(&self, host: &str) -> bool {
        let host = host.as_bytes();
        // An empty name in a certificate is the name of nobody.
        !host.is_empty()
            && self.names().any(|name| match name.strip_prefix(b"*") {
                None => name.eq_ignore_ascii_case(host),
                Some(rest) => {
                    let dot = host.iter().position(|byte| *byte == b'.').unwrap_or(host.len());
                    dot > 0 && rest.len() > 1 && rest.eq_ignore_ascii_case(&host[dot..])
                }
            })
    }

    /// The names for people, as many as there is room for; what is not plain text is left out.
    pub fn shown(&self) -> String<TLS_NAMES> {
        let mut shown = String::new();
        for name in self.names() {
            let plain = name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.*".contains(byte));
            let Some(name) = core::str::from_utf8(name).ok().filter(|name| plain && !name.is_empty()) else { continue };
            let gap = if shown.is_empty() { "" } else { " " };
            if shown.len() + gap.len() + name.len() <= shown.capacity() {
                // There is room, as the line above says.
                let _ = shown.push_str(gap).and_then(|()| shown.push_str(name));
            }
        }
        shown
    }
}

/// AttributeTypeAndValue (RFC 5280, section 4.1.2.4), the first of a set.
fn common_name(set: &[u8]) -> Option<&[u8]> {
    let mut pair = Reader::new(set).enter(der::SEQUENCE)?;
    (pair.read(der::OID)? == COMMON_NAME).then(|| pair.next().map(|value| value.content))?
}

/// Extensions (RFC 5280, section 4.1.2.9).
fn alternative_names(extensions: &[u8]) -> Option<&[u8]> {
    let mut list = Reader::new(extensions).enter(der::SEQUENCE)?;
    let mut names: &[u8] = &[];
    while !list.is_empty() {
        let mut extension = list.enter(der::SEQUENCE)?;
        let name = extension.read(der::OID)?;
        extension.read_if(der::BOOLEAN);
        let value = extension.read(der::OCTET_STRING)?;
        if name == SUBJECT_ALT_NAME {
            names = Reader::new(value).read(der::SEQUENCE)?;
        }
    }
    Some(names)
}

/// SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7; RFC 3279, section 2.3; RFC 8410, section 4).
fn key(spki: &[u8]) -> Option<Key<'_>> {
    let mut spki = Reader::new(spki);
    let mut algorithm = spki.enter(der::SEQUENCE)?;
    let name = algorithm.read(der::OID)?;
    // The first byte says how many bits of the last are not used: none.
    let bits = spki.read(der::BIT_STRING)?.strip_prefix(&[0])?;
    Some(match name {
        EC_PUBLIC_KEY if algorithm.read(der::OID) == Some(PRIME256V1) => Key::P256(bits),
        RSA_ENCRYPTION => {
            let mut numbers = Reader::new(bits).enter(der::SEQUENCE)?;
            let (modulus, exponent) = (number(&mut numbers)?, number(&mut numbers)?);
            let fits = (RSA_MAX / 2..=RSA_MAX).contains(&modulus.len()) && (1..=4).contains(&exponent.len());
            if fits { Key::Rsa(modulus, exponent) } else { Key::Other }
        }
        ED25519 => bits.try_into().map_or(Key::Other, Key::Ed25519),
        _ => Key::Other,
    })
}

/// A positive number without its leading zero, which is there only for the sign (X.690, section 8.3.2).
fn number<'d>(reader: &mut Reader<'d>) -> Option<&'d [u8]> {
    let bytes = reader.read(der::INTEGER)?;
    match bytes {
        [0, rest @ ..] if rest.first() >= Some(&0x80) => Some(rest),
        [1..0x80, ..] => Some(bytes),
        _ => None,
    }
}

/// RFC 5280, section 4.1.2.5: `YYMMDDhhmmssZ`, where 50 and more is of the last century, or `YYYYMMDDhhmmssZ`.
fn time(reader: &mut Reader<'_>) -> Option<i64> {
    let element = reader.next()?;
    let digits = element.content.strip_suffix(b"Z").filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let pair =
        |at: usize| digits.get(at..at + 2).map(|pair| i64::from(pair[0] - b'0') * 10 + i64::from(pair[1] - b'0'));
    let (year, rest) = match (element.tag, digits.len()) {
        (der::UTC_TIME, 12) => (pair(0)? + if pair(0)? < 50 { 2000 } else { 1900 }, 2),
        (der::GENERALIZED_TIME, 14) => (pair(0)? * 100 + pair(2)?, 4),
        _ => return None,
    };
    let (month, day) = (pair(rest)?, pair(rest + 2)?);
    let (hour, minute, second) = (pair(rest + 4)?, pair(rest + 6)?, pair(rest + 8)?);
    let right = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    right.then(|| utc::days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use std::vec::Vec;

    const P256: &[u8] = include_bytes!("../../../tests/data/tls/p256.der");
    const ALL: [&[u8]; 7] = [
        P256,
        include_bytes!("../../../tests/data/tls/expired.der"),
        include_bytes!("../../../tests/data/tls/unnamed.der"),
        include_bytes!("../../../tests/data/tls/p384.der"),
        include_bytes!("../../../tests/data/tls/ed25519.der"),
        include_bytes!("../../../tests/data/tls/rsa2048.der"),
        include_bytes!("../../../tests/data/tls/rsa4096.der"),
    ];

    #[test]
    fn says_what_openssl_says() {
        // Dates and names as `tests/data/tls/make.py` put them there.
        let at = |year| utc::days(year, 1, 1) * 86_400;
        for (certificate, begin, end, names) in [
            (P256, 2026, 2056, "shop.example *.shop.example"),
            (ALL[1], 2020, 2021, "shop.example *.shop.example"),
            (ALL[2], 2026, 2056, "old.example"),
        ] {
            let read = Certificate::read(certificate).unwrap();
            assert_eq!((read.not_before, read.not_after, &read.shown()[..]), (at(begin), at(end), names));
            assert!(matches!(read.key, Key::P256([4, rest @ ..]) if rest.len() == 64));
        }
        let kinds = ALL.map(|certificate| match Certificate::read(certificate).unwrap().key {
            Key::P256(_) => 'p',
            Key::Rsa(modulus, [1, 0, 1]) => {
                if modulus.len() == 256 {
                    'r'
                } else {
                    'R'
                }
            }
            Key::Ed25519(_) => 'e',
            Key::Rsa(..) | Key::Other => '-',
        });
        assert_eq!(kinds, ['p', 'p', 'p', '-', 'e', 'r', 'R']);
    }

    #[test]
    fn a_modulus_has_no_zeros_in_front() {
        // Found by fuzzing: what is divided by then is shorter than its length says.
        let Key::Rsa(modulus, _) = Certificate::read(ALL[5]).unwrap().key else { panic!("it is RSA") };
        let at = ALL[5].windows(modulus.len()).position(|bytes| bytes == modulus).unwrap();
        let mut padded = ALL[5].to_vec();
        padded[at..at + 8].fill(0);
        assert!(Certificate::read(&padded).is_none());
    }

    #[test]
    fn covers_its_names_and_no_others() {
        // One star stands for one label: a certificate for `*.shop.example` is none for `a.b.shop.example`.
        let certificate = Certificate::read(P256).unwrap();
        for (host, covered) in [
            ("shop.example", true),
            ("SHOP.example", true),
            ("www.shop.example", true),
            ("a.b.shop.example", false),
            (".shop.example", false),
            ("shop.example.org", false),
            ("old.example", false),
            ("example", false),
            ("", false),
        ] {
            assert_eq!(certificate.covers(host), covered, "{host}");
        }
        // Found by fuzzing: a certificate whose common name is empty.
        let mut nobody = ALL[2].to_vec();
        let at = nobody.windows(11).rposition(|bytes| bytes == b"old.example").unwrap();
        nobody[at - 1] = 0;
        nobody[at..at + 2].copy_from_slice(&[0x0c, 9]);
        let nobody = Certificate::read(&nobody).unwrap();
        assert_eq!(nobody.names().collect::<Vec<_>>(), [b""]);
        assert!(!nobody.covers(""));
        // The common name counts where there is no list of names.
        assert!(Certificate::read(ALL[2]).unwrap().covers("old.example"));
    }

    #[test]
    fn dates_are_read_as_they_are_written() {
        let read = |tag: u8, text: &str| {
            let mut bytes = std::vec![tag, text.len() as u8];
            bytes.extend(text.bytes());
            time(&mut Reader::new(&bytes))
        };
        assert_eq!(read(der::UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(read(der::UTC_TIME, "491231235959Z"), Some(utc::days(2050, 1, 1) * 86_400 - 1));
        assert_eq!(read(der::UTC_TIME, "500101000000Z"), Some(utc::days(1950, 1, 1) * 86_400));
        assert_eq!(read(der::GENERALIZED_TIME, "99991231235959Z"), Some(253_402_300_799));
        for wrong in ["7001010000Z", "700101000000", "701301000000Z", "700132000000Z", "70010100000xZ", "700101240000Z"]
        {
            assert_eq!(read(der::UTC_TIME, wrong), None, "{wrong}");
        }
        assert_eq!(read(der::GENERALIZED_TIME, "700101000000Z"), None);
    }

    #[test]
    fn no_change_of_a_certificate_makes_it_panic_or_longer_than_it_is() {
        // A server sends what it likes: half a million certificates that are nearly right.
        let mut random = Random::new(0x5eed);
        let (mut read, mut kept) = (0u32, 0u32);
        for round in 0..500_000u32 {
            let mut bytes: Vec<u8> = ALL[round as usize % ALL.len()].to_vec();
            for _ in 0..=random.number() % 4 {
                let at = random.number() as usize % bytes.len();
                match random.number() % 4 {
                    0 => bytes[at] = random.number() as u8,
                    1 => bytes[at] ^= 1 << (random.number() % 8),
                    2 => bytes.truncate(at.max(1)),
                    _ => bytes[at] = [0, 0x7f, 0x80, 0x81, 0x82, 0x84, 0xff, 0x30][random.number() as usize % 8],
                }
            }
            read += 1;
            let Some(certificate) = Certificate::read(&bytes) else { continue };
            kept += 1;
            let within = bytes.as_ptr_range();
            assert!(within.contains(&certificate.spki.as_ptr()) && certificate.spki.len() < bytes.len());
            assert!(certificate.names().count() <= bytes.len() / 2);
            assert!(certificate.shown().bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
            certificate.covers("www.shop.example");
        }
        assert!(kept > read / 4, "most of them are refused at once, so nothing is tested: {kept} of {read}");
    }

    #[test]
    fn lengths_have_one_form() {
        // X.690, section 10.1: what can be said shorter, long or without end is not DER.
        for wrong in [
            &[0x30, 0x81, 0x01, 0][..],
            &[0x30, 0x82, 0, 0x80],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x83, 0, 0, 1, 0],
            &[0x1f, 1, 0],
            &[0x30, 2, 0],
            &[0x30, 0x81],
            &[0x30, 0x82, 1],
            &[0x30],
            &[],
        ] {
            assert_eq!(Reader::new(wrong).next(), None, "{wrong:?}");
        }
    }
}
