//! The kind `dns`: asks one server for one name, and holds what it says against what is expected.
//!
//! Asked by UDP and without extensions, so an answer has at most 512 bytes; of one that is cut short counts what is in
//! it. Aliases are followed within the answer.

use super::probe::Target;
use crate::config::checks::{Kind, Record};
use crate::limits::{DNS_CHAIN, HOST_LABEL_MAX, HOST_NAME_MAX};
use crate::net::answer::{self, Opened, QUESTION_MAX};
use core::net::{Ipv4Addr, Ipv6Addr};
use heapless::Vec;
use outpost_wire::ProbeReason;

/// The port of DNS servers.
pub const DNS_PORT: u16 = 53;

/// The question; its id is a part of `nonce`.
pub fn question(name: &str, record: Record, nonce: u64) -> Vec<u8, QUESTION_MAX> {
    answer::question(name, record as u16, nonce as u16)
}

/// What an answer means; `None` when it is none to what was asked.
pub fn judge(bytes: &[u8], target: Target<'_>, nonce: u64) -> Option<ProbeReason> {
    let Kind::Dns { name, record, rcode, answers } = &target.check.kind else { return None };
    let opened = answer::open(bytes, target.text(*name), *record as u16, nonce as u16)?;
    let good = opened.rcode() == *rcode
        && (*rcode != 0
            || owner(&opened, *record).is_some_and(|owner| {
                answers.iter().all(|&value| {
                    let value = target.text(value);
                    opened.records().any(|found| {
                        found.kind == *record as u16
                            && opened.same(found.owner, owner)
                            && has_value(&opened, *record, found.data, value)
                    })
                })
            }));
    Some(if good { ProbeReason::Ok } else { ProbeReason::Answer })
}

/// The name that has records of this type: the one that was asked for, or one that it is another name for.
fn owner<'b>(opened: &Opened<'b>, record: Record) -> Option<&'b [u8]> {
    let mut name = opened.asked();
    for _ in 0..=DNS_CHAIN {
        let mut own = opened.records().filter(|found| opened.same(found.owner, name));
        if own.clone().any(|found| found.kind == record as u16) {
            return Some(name);
        }
        name = own.find(|found| found.kind == Record::Cname as u16)?.data;
    }
    None
}

/// Whether the data of a record is what this text says.
fn has_value(opened: &Opened<'_>, record: Record, data: &[u8], text: &str) -> bool {
    match record {
        Record::A => text.parse().is_ok_and(|address: Ipv4Addr| address.octets() == *data),
        Record::Aaaa => text.parse().is_ok_and(|address: Ipv6Addr| address.octets() == *data),
        // Of SOA the first name: the primary server (RFC 1035, section 3.3.13).
        Record::Cname | Record::Ns | Record::Ptr | Record::Soa => opened.is_name(data, text),
        Record::Mx => data.split_at_checked(2).is_some_and(|(preference, name)| {
            mail_exchange(text)
                .is_some_and(|(number, text)| number.to_be_bytes() == *preference && opened.is_name(name, text))
        }),
        Record::Txt => is_text(data, text.as_bytes()),
    }
}

/// Whether strings with their lengths are together this text (RFC 1035, section 3.3.14).
fn is_text(mut data: &[u8], mut text: &[u8]) -> bool {
    while let Some((&len, rest)) = data.split_first() {
        let Some((string, next)) = rest.split_at_checked(len.into()) else { return false };
        let Some(left) = text.strip_prefix(string) else { return false };
        (data, text) = (next, left);
    }
    text.is_empty()
}

fn mail_exchange(text: &str) -> Option<(u16, &str)> {
    let (preference, name) = text.split_once(' ')?;
    Some((preference.parse().ok()?, name))
}

/// Whether a record of this type can have this value.
pub fn is_value(record: Record, text: &str) -> bool {
    match record {
        Record::A => text.parse::<Ipv4Addr>().is_ok(),
        Record::Aaaa => text.parse::<Ipv6Addr>().is_ok(),
        Record::Cname | Record::Ns | Record::Ptr | Record::Soa => is_name(text),
        Record::Mx => mail_exchange(text).is_some_and(|(_, name)| is_name(name)),
        Record::Txt => true,
    }
}

/// A name that can be asked for: not all are names of hosts (RFC 2181, section 11).
pub fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_label = |label: &str| (1..=HOST_LABEL_MAX).contains(&label.len()) && label.bytes().all(allowed);
    text.len() <= HOST_NAME_MAX && text.split('.').all(is_label)
}
