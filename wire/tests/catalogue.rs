//! The catalogue against its lock: what was published once stays as it is, for stored records are decoded by it.
//!
//! `catalogue.lock` has one line per event: id, name, then each field as `name:type`, with a `?` behind it where the
//! field came later than its event. An event or field, or a word
//! of a closed list, may be added at the end, in the catalogue and in the lock; nothing else may change.

use outpost_wire::{CATALOGUE, EventSpec, Kind};

const LOCK: &str = include_str!("../catalogue.lock");

fn kind(kind: Kind) -> String {
    match kind {
        Kind::U8 => "u8".into(),
        Kind::U16 => "u16".into(),
        Kind::U32 => "u32".into(),
        Kind::U64 => "u64".into(),
        Kind::Bool => "bool".into(),
        Kind::Text(max) => format!("text{max}"),
        Kind::Word(words) => format!("word({})", words.join(",")),
        Kind::Ip4 => "ip4".into(),
        Kind::Bytes(len) => format!("bytes{len}"),
        Kind::Name => "name".into(),
    }
}

fn line(spec: &EventSpec) -> String {
    let fields = spec
        .fields
        .iter()
        .map(|field| format!(" {}:{}{}", field.name, kind(field.kind), if field.later { "?" } else { "" }));
    format!("{} {}{}", spec.id, spec.name, fields.collect::<String>())
}

/// What is wrong with a catalogue of these lines, measured against a lock.
fn differences(lock: &str, catalogue: &[String]) -> Vec<String> {
    let locked: Vec<&str> = lock.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let mut wrong = vec![];
    for (i, then) in locked.iter().enumerate() {
        match catalogue.get(i) {
            Some(now) if now == then => {}
            // A list of words may grow before its closing bracket, the fields at the end of the line.
            Some(now) if now.starts_with(then.trim_end_matches(')')) => {
                wrong.push(format!("grown (a field as Later, unless its event was never released): write it into catalogue.lock too:\n{now}"));
            }
            now => wrong.push(format!(
                "published as\n{then}\nand now\n{}\nIds, names, fields, types and their order are for ever; only add at the end.",
                now.map_or("missing", |now| now)
            )),
        }
    }
    wrong.extend(catalogue.iter().skip(locked.len()).map(|new| format!("new: append to catalogue.lock:\n{new}")));
    wrong
}

#[test]
fn what_is_published_stays() {
    // A renumbered id or a field in another place makes every stored record of that event say something else.
    let catalogue: Vec<String> = CATALOGUE.iter().map(line).collect();
    let wrong = differences(LOCK, &catalogue);
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_kind_of_change_is_seen() {
    // The lock is only worth what its comparison notices.
    let lines = ["1 a x:u8 y:word(p,q)".to_owned(), "2 b".to_owned()];
    let lock = lines.join("\n");
    assert_eq!(differences(&lock, &lines), [""; 0]);
    let changed = |line: &str| !differences(&lock, &[line.to_owned(), lines[1].clone()]).is_empty();
    assert!(changed("3 a x:u8 y:word(p,q)"), "renumbered");
    assert!(changed("1 c x:u8 y:word(p,q)"), "renamed");
    assert!(changed("1 a y:word(p,q) x:u8"), "reordered");
    assert!(changed("1 a x:u8"), "a field removed");
    assert!(changed("1 a x:u16 y:word(p,q)"), "another type");
    assert!(changed("1 a x:u8 y:word(q,p)"), "words in another order");
    assert!(changed("1 a x:u8 y:word(p,q,r)"), "grown without the lock");
    assert!(!differences(&lock, &lines[..1]).is_empty(), "an event removed");
    assert!(!differences(&lock, &[lines[1].clone(), lines[0].clone()]).is_empty(), "events reordered");
}
