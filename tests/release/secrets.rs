//! No key is in the tree or in the image: what is published once cannot be taken back.
//!
//! Looked for are the shapes that keys have: the first words of key files, the prefixes of tokens, 64 hex digits (a key of
//! the log session is that), long words without a pattern, and the first bytes of keys in DER. What looks like a key and
//! is none is listed here, value by value.

use crate::folder::root;
use crate::image::image;
use outpost_cli::pack;
use std::collections::HashSet;
use std::fs;
use std::process::Command;

/// How key files begin, or what stands in all of them. In two parts, for this file is looked at too.
const MARKS: [(&str, &str); 9] = [
    ("PRIVATE", " KEY-----"),
    ("PRIVATE", " KEY BLOCK-----"),
    // Base64 of "openssh-key-v1".
    ("b3BlbnNz", "aC1rZXktdjE"),
    // Secret keys of minisign and of signify.
    ("RWRT", "Y0Iy"),
    ("RWRC", "SwAA"),
    ("minisign encrypted", " secret key"),
    ("signify", " secret key"),
    ("AGE-SECRET", "-KEY-1"),
    ("PuTTY-User", "-Key-File-"),
];

/// How tokens of services begin, and how many letters, digits, `_` or `-` follow at least.
const TOKENS: [(&str, usize); 19] = [
    ("AKIA", 16),
    ("ASIA", 16),
    ("ghp_", 36),
    ("gho_", 36),
    ("ghs_", 36),
    ("ghr_", 36),
    ("github_pat_", 22),
    ("glpat-", 20),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("sk_live_", 16),
    ("sk-ant-", 20),
    ("AIza", 35),
    ("npm_", 36),
    ("pypi-AgEI", 20),
    ("hf_", 30),
    ("hvs.", 24),
    ("ya29.", 20),
    ("eyJhbGciOi", 20),
];

/// How keys begin in DER: PKCS #8 with Ed25519 (RFC 8410, 7), with an elliptic curve or RSA (RFC 5958), SEC 1 with P-256.
const DER: [&[u8]; 4] = [
    &[0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22],
    &[0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01],
    &[
        0x02, 0x01, 0x00, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
        0x04, 0x82,
    ],
    &[0x30, 0x77, 0x02, 0x01, 0x01, 0x04, 0x20],
];

/// Keys of tests, by their first 16 digits: each is a pattern that a person typed.
const TYPED: [&str; 7] = [
    "0001020304050607",
    "0011223344556677",
    "0123456789012345",
    "0202020202020202",
    "11111111c0ffee00",
    "22222222c0ffee00",
    "aaaaaaaaaaaaaaaa",
];

/// Public keys and the order of the group of RFC 8032 (section 7.1, tests 1 to 3; section 5.1): printed there.
const PUBLISHED: [&str; 4] = ["d75a980182b10ab7", "3d4017c3e843895a", "fc51cd8e6218a1a3", "edd3f55c1a631258"];

/// Files whose 64 hex digits are checksums by their format.
const CHECKSUMS: [&str; 2] = ["Cargo.lock", "fuzz/Cargo.lock"];

/// Where results name the image that they are of, by its id: always in a line with this word.
const RESULTS: (&str, &str) = ("bench/results/", "image");

/// From this length on a word without a pattern is suspicious: 32 random bytes are 43 characters of base64.
const WORD: usize = 40;

/// Bits per character from which on a word has no pattern; text and code have 3 to 4.5, random base64 has 4.8.
const PATTERNLESS: f64 = 4.7;

/// What looks like a key, with its place.
fn suspicious(name: &str, bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut found = Vec::new();
    let line = |at: usize| text[..at].lines().count();
    for (first, second) in MARKS {
        let mark = format!("{first}{second}");
        found.extend(text.match_indices(&mark).map(|(at, _)| format!("{name}:{}: {mark:?}", line(at))));
    }
    let of_token = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    for (prefix, rest) in TOKENS {
        for (at, _) in text.match_indices(prefix) {
            let before = text[..at].chars().next_back();
            let follows = text[at + prefix.len()..].chars().take_while(|c| of_token(*c)).count();
            if follows >= rest && !before.is_some_and(|c| c.is_ascii_alphanumeric()) {
                found.push(format!("{name}:{}: a token of {prefix}…", line(at)));
            }
        }
    }
    for (number, line) in text.lines().enumerate() {
        let place = |what: &str| format!("{name}:{}: {what}", number + 1);
        for word in line.split(|c: char| !c.is_ascii_alphanumeric()) {
            let digits = word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
            let result = name.starts_with(RESULTS.0) && line.to_ascii_lowercase().contains(RESULTS.1);
            let known = result
                || CHECKSUMS.contains(&name)
                || TYPED.iter().chain(&PUBLISHED).any(|begin| word.starts_with(begin));
            if digits && !known {
                found.push(place(&format!("64 hex digits, {}…", &word[..8])));
            }
        }
        for word in line.split(|c: char| !(c.is_ascii_alphanumeric() || "+/=".contains(c))) {
            if word.len() >= WORD && without_pattern(word) {
                found.push(place(&format!("{} characters without a pattern, {}…", word.len(), &word[..8])));
            }
        }
    }
    if text.contains('\u{fffd}') {
        for head in DER.iter().filter(|head| bytes.windows(head.len()).any(|window| window == **head)) {
            found.push(format!("{name}: a private key in DER, {head:02x?}"));
        }
    }
    found
}

/// Whether a word has letters of both cases and digits, in no pattern.
fn without_pattern(word: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| word.bytes().any(|byte| kind(&byte));
    let mut counts = [0_u32; 256];
    word.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    let share = |count: &u32| f64::from(*count) / word.len() as f64;
    let bits: f64 = counts.iter().filter(|count| **count > 0).map(share).map(|share| -share * share.log2()).sum();
    has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_digit) && bits > PATTERNLESS
}

#[test]
fn no_key_is_in_the_tree_or_in_the_image() {
    // Whoever finds it has what it opens, in every copy that was ever made.
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root())
        .output();
    let listed = listed.expect("git is installed");
    assert!(listed.status.success());
    let names = String::from_utf8(listed.stdout).unwrap();
    let names: HashSet<&str> = names.split('\0').filter(|name| !name.is_empty()).collect();
    assert!(names.len() > 200, "{} files: is this the tree?", names.len());
    let mut found = Vec::new();
    for name in names {
        // One that is deleted and not yet committed is not there.
        let Ok(bytes) = fs::read(root().join(name)) else { continue };
        found.extend(suspicious(name, &bytes));
    }
    let packed = fs::read(image()).unwrap();
    found.extend(suspicious("the image", &packed));
    found.extend(suspicious("the unpacked image", &pack::unpack(&packed).unwrap()));
    assert!(
        found.is_empty(),
        "if it is a key: revoke it, then remove it; if not: say so in {}\n{}",
        file!(),
        found.join("\n")
    );
}

#[test]
fn a_planted_key_is_found() {
    // A search that finds nothing looks the same as a tree without keys.
    let random = concat!("q3VhR8xT0mWz7LkPbN5cYd", "F2sGj9HvUo1iEa4MwXtKr=");
    let planted = [
        MARKS.map(|(first, second)| format!("x {first}{second} y")).to_vec(),
        TOKENS.map(|(prefix, rest)| format!("key = \"{prefix}{}\"", "Ab1".repeat(rest))).to_vec(),
        vec![format!("\"key\": \"{}\"", "9f86d081884c7d65".repeat(4)), format!("SECRET={random}")],
    ];
    for text in planted.concat() {
        assert!(!suspicious("src/a.rs", text.as_bytes()).is_empty(), "{text}");
        // And in the middle of an image.
        let image = [&[0xff; 100], b"\0".as_slice(), text.as_bytes(), &[0; 100]].concat();
        assert!(!suspicious("image", &image).is_empty(), "{text} in an image");
    }
    for head in DER {
        assert!(!suspicious("image", &[&[0xff; 9], head].concat()).is_empty(), "{head:02x?}");
    }
    let innocent = [
        format!("checksum = \"{}\"", "0001020304050607".repeat(4)),
        "a_function_with_a_very_long_name_of_many_words_1A".to_owned(),
        "https://example.org/a/path/with/many/Parts/0123456789/of/it".to_owned(),
        "the secret key of minisign, AKIA and ghp_ and npm_ as words".to_owned(),
    ];
    for text in innocent {
        assert_eq!(suspicious("src/a.rs", text.as_bytes()), Vec::<String>::new());
    }
}
