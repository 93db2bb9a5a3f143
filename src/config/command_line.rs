//! The settings of a kernel command line: words like `outpost.http.port=8080`, made into a document, so that the same
//! checks read them and the same sentences are said about them.
//!
//! A few keys only, and no secret: everybody on the host sees a command line (`ps`, `virsh dumpxml`).

use super::nearest::nearest;
use core::fmt::Write;
use heapless::String;

/// The settings there are, in the order in which they stand in the document: what shares its beginning is together.
const SETTINGS: [&str; 8] = [
    "name",
    "network.static.address",
    "network.static.gateway",
    "network",
    "collector.address",
    "http.port",
    "http.maintenance",
    "on_panic",
];

/// The one that is refused with its reason.
const SECRET: &str = "collector.key";

/// Words with our prefix that are read elsewhere: drills of test images.
const NOT_SETTINGS: [&str; 1] = ["drill"];

/// Longest document made of a command line, in bytes: each setting once, with the longest value that is allowed.
const DOCUMENT_MAX: usize = 512;

/// The document that the words of this line say; `None` when there are none. What is wrong with a word as such is
/// reported with the JSON pointer of what it wants to set.
pub(super) fn document(
    line: &str,
    report: &mut impl FnMut(&str, core::fmt::Arguments<'_>),
) -> Option<String<DOCUMENT_MAX>> {
    for (key, _) in words(line) {
        if key == SECRET {
            report(
                "/collector/key",
                format_args!(
                    "a secret is not taken from the command line, which everybody sees: put it into the config document"
                ),
            );
        } else if !SETTINGS.contains(&key) && !NOT_SETTINGS.contains(&key) {
            match nearest(key, &mut SETTINGS.into_iter()) {
                Some(near) => report("", format_args!("unknown setting: did you mean \"outpost.{near}\"?")),
                None => report(
                    "",
                    format_args!("unknown setting: allowed are outpost.name, outpost.http.port and others, see README"),
                ),
            }
        }
    }
    let mut document = String::new();
    match write_document(line, &mut document) {
        Ok(0) => None,
        Ok(_) => Some(document),
        Err(core::fmt::Error) => {
            report("", format_args!("the settings are too long: allowed are {DOCUMENT_MAX} bytes in all"));
            None
        }
    }
}

/// Writes the settings of the line as nested objects; returns how many there are. Of a word that comes twice, the last
/// one counts, as with Linux.
fn write_document(line: &str, out: &mut String<DOCUMENT_MAX>) -> Result<usize, core::fmt::Error> {
    let mut count = 0;
    // The objects that are open, as the beginning of a path.
    let mut open = "";
    out.write_char('{')?;
    for setting in SETTINGS {
        let Some((_, value)) = words(line).filter(|(key, _)| *key == setting).last() else { continue };
        let (above, name) = setting.rsplit_once('.').unwrap_or(("", setting));
        while !is_within(above, open) {
            out.write_char('}')?;
            open = open.rsplit_once('.').map_or("", |(outer, _)| outer);
        }
        if count > 0 {
            out.write_char(',')?;
        }
        let missing = above.get(open.len()..).unwrap_or("").trim_start_matches('.');
        for object in missing.split('.').filter(|object| !object.is_empty()) {
            write!(out, "\"{object}\":{{")?;
        }
        open = above;
        write!(out, "\"{name}\":")?;
        write_value(value, out)?;
        count += 1;
    }
    for _ in open.split('.').filter(|object| !object.is_empty()) {
        out.write_char('}')?;
    }
    out.write_char('}')?;
    Ok(count)
}

fn is_within(path: &str, outer: &str) -> bool {
    outer.is_empty() || path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Numbers and booleans as they are, all else as a string.
fn write_value(value: &str, out: &mut String<DOCUMENT_MAX>) -> core::fmt::Result {
    if matches!(value, "true" | "false") || (!value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit())) {
        return out.write_str(value);
    }
    out.write_char('"')?;
    for letter in value.chars() {
        if matches!(letter, '"' | '\\') {
            out.write_char('\\')?;
        }
        out.write_char(letter)?;
    }
    out.write_char('"')
}

/// The words `outpost.KEY=VALUE`, in order.
fn words(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.split_ascii_whitespace().filter_map(|word| word.strip_prefix("outpost.")?.split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> (Option<std::string::String>, Vec<std::string::String>) {
        let mut said = Vec::new();
        let document = document(line, &mut |pointer, text| said.push(format!("{pointer}: {text}")));
        (document.map(|document| document.as_str().into()), said)
    }

    #[test]
    fn words_become_the_document_they_mean() {
        // A setting that lands in the wrong object is one that is silently not made.
        let line = "quiet outpost.name=a outpost.http.maintenance=true x=1 outpost.http.port=1 outpost.http.port=8080 \
                    outpost.network.static.gateway=10.0.2.2 outpost.network.static.address=10.0.2.15/24 outpost.drill=x";
        let document = r#"{"name":"a","network":{"static":{"address":"10.0.2.15/24","gateway":"10.0.2.2"}},"http":{"port":8080,"maintenance":true}}"#;
        assert_eq!(of(line), (Some(document.into()), vec![]));
        assert_eq!(of("outpost.on_panic=stop").0.unwrap(), r#"{"on_panic":"stop"}"#);
        assert_eq!(of(r#"outpost.name="\x outpost.http.port=x"#).0.unwrap(), r#"{"name":"\"\\x","http":{"port":"x"}}"#);
        assert_eq!(of("console=ttyS0 outpost.name outpost_name=x"), (None, vec![]));
        let every = SETTINGS.map(|setting| format!("outpost.{setting}={}", "v".repeat(40))).join(" ");
        assert!(
            of(&every).0.is_some_and(|text| serde_json_core::from_str::<()>(&text).is_err() && text.ends_with("\"}"))
        );
    }

    #[test]
    fn what_is_no_setting_is_said() {
        // A mistyped or forbidden setting must not look as if it had been made.
        let (document, said) = of("outpost.colector.address=1 outpost.collector.key=00ff");
        assert_eq!(document, None);
        assert_eq!(said[0], ": unknown setting: did you mean \"outpost.collector.address\"?");
        assert!(said[1].starts_with("/collector/key: a secret") && !said[1].contains("00ff"), "{}", said[1]);
        assert!(of(&format!("outpost.name={}", "x".repeat(600))).1[0].contains("too long"));
    }
}
