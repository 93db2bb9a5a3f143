//! The walker: a bounded cursor over an untrusted JSON document.
//!
//! It goes through the document once and forwards, always knows its JSON pointer and its position, and hands out
//! leaves; [`keys`](super::keys) decides what they mean. What always holds: no allocation, no number of nested
//! brackets makes the stack deeper than [`CONFIG_DEPTH`] calls, every step moves forward or stops, and a mistake
//! inside one value (a wrong type, a bad escape) is reported and passed over, so that the rest is read as well. Only
//! when the structure itself is broken does it [`Stop`].

use super::checks::{Check, Checks, Words};
use super::nearest::nearest;
use super::origins::Origins;
use super::problem::{Problems, write_cut};
use crate::http::beat::Fingerprint;
use crate::limits::{CONFIG_DEPTH, CONFIG_MAX, CONFIG_TEXT_MAX};
use core::fmt::{self, Display, Write};
use core::str::Chars;
use heapless::{String, Vec};
use outpost_wire::ConfigSource;

/// The rest of the document cannot be read; the reason is reported already.
#[derive(Debug)]
pub(super) struct Stop;

/// Whether to go on.
pub(super) type Step = Result<(), Stop>;

/// A known key of an object that is read into a `T`.
pub(super) struct Key<T> {
    /// How it is written.
    pub name: &'static str,
    /// Whether the object makes no sense without it.
    pub required: bool,
    /// Reads its value.
    pub read: fn(&mut Walker<'_>, &mut T) -> Step,
}

/// A value without the parts of an object or an array.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one at a time, and no heap")]
pub(super) enum Leaf<'a> {
    /// A string, escapes resolved, free of control characters.
    Text(String<CONFIG_TEXT_MAX>),
    /// A string longer than anything that is allowed.
    LongText,
    /// Anything written without quotes, as it stands: it need not be valid JSON.
    Word(&'a str),
    /// An array, passed over.
    Array,
    /// An object, passed over.
    Object,
}

/// What a value is expected to be: the typed value, or the end of the sentence that begins with the value.
pub(super) type Verdict<T> = Result<T, &'static str>;

/// Why the readable text ends where it ends.
#[derive(Clone, Copy)]
enum End {
    /// It is the end of the document.
    Document,
    /// This byte is not UTF-8.
    NotUtf8(u8),
    /// The document is longer than it may be, which was reported before the first step.
    TooLong,
}

/// How much of a value a message shows, in bytes: less than half of a key, so that one in the wrong place stays secret.
const SHOWN_MAX: usize = 32;

/// The cursor.
pub(super) struct Walker<'a> {
    text: &'a str,
    end: End,
    at: usize,
    depth: usize,
    /// JSON pointer (RFC 6901) of the value at hand.
    pointer: String<64>,
    pub found: Found<'a>,
}

/// What reading comes to, beside the values.
pub(super) struct Found<'a> {
    /// What is wrong.
    pub problems: Problems,
    /// Which keys were read, and where.
    pub origins: Origins,
    /// The source that is read.
    pub source: ConfigSource,
    /// Where the checks are put.
    pub checks: Lent<'a>,
}

/// A table of checks that its owner lends; without one nothing is kept.
pub(super) struct Lent<'a>(pub Option<&'a mut Checks>);

impl Lent<'_> {
    pub fn text(&self, words: Words) -> &str {
        self.0.as_ref().map_or("", |checks| checks.text(words))
    }

    pub fn find(&self, name: &str) -> Option<usize> {
        self.0.as_ref()?.find(name)
    }

    pub fn has_token(&self, token: Fingerprint) -> bool {
        self.0.as_ref().is_some_and(|checks| checks.has_token(token))
    }

    pub fn names_with<'n>(&'n self, more: impl Iterator<Item = &'n str> + Clone) -> usize {
        self.0.as_ref().map_or(0, |checks| checks.names_with(more))
    }

    pub fn secure(&self) -> usize {
        self.0.as_ref().map_or(0, |checks| checks.secure())
    }

    pub fn keep(&mut self, text: &str) -> Option<Words> {
        self.0.as_mut()?.keep(text)
    }

    pub fn add(&mut self, check: Check) -> bool {
        self.0.as_mut().is_some_and(|checks| checks.add(check))
    }

    pub fn clear(&mut self) {
        if let Some(checks) = &mut self.0 {
            checks.clear();
        }
    }
}

impl<'a> Walker<'a> {
    /// A cursor at the start of `document`, of which it takes as much as can be text.
    pub fn new(document: &'a [u8], found: Found<'a>) -> Walker<'a> {
        let readable = document.get(..CONFIG_MAX).unwrap_or(document);
        let (text, end) = match core::str::from_utf8(readable) {
            Ok(text) => (text, if document.len() > CONFIG_MAX { End::TooLong } else { End::Document }),
            Err(error) => {
                let (valid, rest) = readable.split_at(error.valid_up_to());
                // A character that the limit cuts in two is not the author's mistake.
                let cut_by_us = error.error_len().is_none() && document.len() > CONFIG_MAX;
                let end = if cut_by_us { End::TooLong } else { End::NotUtf8(rest.first().copied().unwrap_or(0)) };
                (core::str::from_utf8(valid).unwrap_or(""), end)
            }
        };
        Walker { text, end, at: 0, depth: 0, pointer: String::new(), found }
    }

    /// Where the next value begins.
    pub fn position(&mut self) -> usize {
        self.peek();
        self.at
    }

    /// Whether there is nothing left to read.
    pub fn at_end(&mut self) -> bool {
        self.peek().is_none() && matches!(self.end, End::Document)
    }

    /// Whether the next value is an object.
    pub fn at_object(&mut self) -> bool {
        self.peek() == Some(b'{')
    }

    /// Steps over `bytes` if they come next.
    pub fn step_over(&mut self, bytes: &str) -> bool {
        let found = self.text.get(self.at..).is_some_and(|rest| rest.starts_with(bytes));
        self.at += if found { bytes.len() } else { 0 };
        found
    }

    /// Reads an object of these keys; `otherwise` ends the sentence about a value that is none.
    pub fn object<T>(&mut self, keys: &[Key<T>], into: &mut T, otherwise: &'static str) -> Step {
        self.object_of(keys, &[], into, otherwise)
    }

    /// [`object`](Self::object) with the keys of two tables.
    pub fn object_of<T>(&mut self, keys: &[Key<T>], more: &[Key<T>], into: &mut T, otherwise: &'static str) -> Step {
        let find = |index: usize| keys.iter().chain(more).nth(index);
        let known = |index: usize| find(index).map(|key| (key.name, key.required));
        let mut read = |walker: &mut Self, index: usize| find(index).map_or(Ok(()), |key| (key.read)(walker, into));
        self.known_object(Known(&known), &mut read, otherwise)
    }

    /// [`object`](Self::object) without its type, so that it is there once: `read` reads the value of the key with
    /// this index.
    fn known_object(
        &mut self,
        keys: Known<'_>,
        read: &mut dyn FnMut(&mut Self, usize) -> Step,
        otherwise: &'static str,
    ) -> Step {
        let start = self.position();
        let mut seen = 0u32;
        let is_object =
            self.entries(otherwise, &mut |walker, at, name| match keys.names().position(|key| key == name) {
                Some(index) if seen & 1 << index == 0 => {
                    seen |= 1 << index;
                    let before = walker.found.problems.count;
                    read(walker, index)?;
                    if walker.found.problems.count == before {
                        walker.found.origins.set(&walker.pointer, walker.found.source);
                    }
                    Ok(())
                }
                Some(_) => walker.refuse_twice(at),
                None => {
                    walker.report_unknown(at, name, keys);
                    walker.skip()
                }
            })?;
        let missing = keys.iter().enumerate().filter(|(index, (_, required))| *required && seen & 1 << index == 0);
        for (_, (name, _)) in missing.filter(|_| is_object) {
            self.report(start, format_args!("the key \"{name}\" is missing: it is required here"));
        }
        Ok(())
    }

    /// Reads an object of any keys, handing each to `entry` with its position and the cursor on its value; a key that
    /// can be no known name comes as an empty one. `otherwise` ends the sentence about a value that is none, for which
    /// this is `false`.
    pub fn entries(
        &mut self,
        otherwise: &'static str,
        entry: &mut dyn FnMut(&mut Self, usize, &str) -> Step,
    ) -> Result<bool, Stop> {
        if !self.at_object() {
            self.refuse(otherwise)?;
            return Ok(false);
        }
        self.open()?;
        let mut first = true;
        while self.next_item(&mut first, b'}')? {
            let at = self.position();
            let name = self.key()?;
            let (known, part) = match &name {
                Ok(name) => (name.as_str(), name.as_str()),
                Err(raw) => ("", *raw),
            };
            let above = self.enter(format_args!("{}", PointerPart(part)));
            entry(self, at, known)?;
            self.pointer = above;
        }
        Ok(true)
    }

    /// Passes over the value of a key, at byte `at`, that was there before.
    pub fn refuse_twice(&mut self, at: usize) -> Step {
        self.report(at, format_args!("the key is there twice: the first one counts, remove the other"));
        self.skip()
    }

    /// Reads an array, handing each item to `item` with the cursor on it.
    /// `otherwise` ends the sentence about a value that is none.
    pub fn array(&mut self, otherwise: &'static str, item: &mut dyn FnMut(&mut Self) -> Step) -> Step {
        if self.peek() != Some(b'[') {
            return self.refuse(otherwise);
        }
        self.open()?;
        let mut first = true;
        let mut index = 0u32;
        while self.next_item(&mut first, b']')? {
            let above = self.enter(format_args!("{index}"));
            item(self)?;
            self.pointer = above;
            index += 1;
        }
        Ok(())
    }

    /// Reads a value with `parse`; `None` when it was refused, which is reported.
    pub fn value<T>(&mut self, parse: impl FnOnce(&Leaf<'a>) -> Verdict<T>) -> Result<Option<T>, Stop> {
        self.checked_value(parse, true)
    }

    /// As [`value`](Self::value), for a value that no message may show.
    pub fn secret<T>(&mut self, parse: impl FnOnce(&Leaf<'a>) -> Verdict<T>) -> Result<Option<T>, Stop> {
        self.checked_value(parse, false)
    }

    /// Reads a value into `target`, which stays as it is when the value is refused.
    pub fn set<T>(&mut self, target: &mut T, parse: impl FnOnce(&Leaf<'a>) -> Verdict<T>) -> Step {
        if let Some(value) = self.value(parse)? {
            *target = value;
        }
        Ok(())
    }

    /// Reads a string of at most `max` bytes, which may be longer than a [`Leaf`] and have several lines, and hands it on
    /// sign by sign; `false` when it was refused, which is reported.
    pub fn long_text(&mut self, max: usize, otherwise: &'static str, take: &mut dyn FnMut(char)) -> Result<bool, Stop> {
        let start = self.position();
        if self.peek() != Some(b'"') {
            return self.refuse(otherwise).map(|()| false);
        }
        let mut chars = self.string()?.chars();
        let mut left = Some(max);
        let mut is_blank = true;
        while let Some(sign) = chars.next() {
            let sign = if sign == '\\' { escape(&mut chars) } else { Some(sign) };
            let sign = sign.filter(|sign| *sign == '\n' || !sign.is_control());
            left = left.zip(sign).and_then(|(left, sign)| left.checked_sub(sign.len_utf8()));
            let (Some(sign), Some(_)) = (sign, left) else { break };
            is_blank &= sign.is_whitespace();
            take(sign);
        }
        if left.is_none() || is_blank {
            self.report_value(start, true, otherwise);
        }
        Ok(left.is_some() && !is_blank)
    }

    /// Reports a problem of the value at hand that was found at byte `at`.
    pub fn report(&mut self, at: usize, text: fmt::Arguments<'_>) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let Found { problems, source, .. } = &mut self.found;
        problems.add(*source, Some(before), &self.pointer, text);
    }

    /// As [`report`](Self::report), about the value of `key` in the object at hand.
    pub fn report_in(&mut self, key: &'static str, at: usize, text: fmt::Arguments<'_>) {
        let above = self.enter(format_args!("{key}"));
        self.report(at, text);
        self.pointer = above;
    }

    /// Passes over whatever is next, without recursion.
    pub fn skip(&mut self) -> Step {
        // The closing bracket of each container that is open, outermost first.
        let mut closing = Vec::<u8, CONFIG_DEPTH>::new();
        loop {
            let mut first = true;
            match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    self.open()?;
                    // `open` bounds the depth, so there is room.
                    let _ = closing.push(if bracket == b'{' { b'}' } else { b']' });
                }
                _ => {
                    self.scalar()?;
                    first = false;
                }
            }
            while let Some(&close) = closing.last() {
                if self.next_item(&mut first, close)? {
                    if close == b'}' {
                        self.key().map(|_| ())?;
                    }
                    break;
                }
                closing.pop();
            }
            if closing.is_empty() {
                return Ok(());
            }
        }
    }

    /// Checks that nothing follows the document's one value.
    pub fn finish(&mut self) -> Step {
        match (self.peek(), self.end) {
            (None, End::Document | End::TooLong) => Ok(()),
            _ => Err(self.unexpected("the end of the document: allowed is one object")),
        }
    }

    /// Reports that something other than `wanted` comes next.
    pub fn unexpected(&mut self, wanted: &str) -> Stop {
        let rest = self.text.get(self.at..).unwrap_or("");
        let hint = match rest.bytes().next() {
            Some(b'/' | b'#') => " (JSON has no comments)",
            Some(b'\'') => " (JSON has double quotes only)",
            _ => "",
        };
        match (rest.chars().next(), self.end) {
            (Some(found), _) => {
                let mut encoded = [0; 4];
                let found = shown(found.encode_utf8(&mut encoded));
                self.report(self.at, format_args!("found {found}, expected is {wanted}{hint}"));
            }
            (None, End::Document) => {
                self.report(
                    self.at,
                    format_args!("the document ends too early, expected is {wanted}: was it cut off?"),
                );
            }
            (None, End::NotUtf8(byte)) => {
                self.report(self.at, format_args!("the byte {byte:#04x} is not UTF-8: save the document as UTF-8"));
            }
            (None, End::TooLong) => {}
        }
        Stop
    }

    /// Passes over a value that is no container.
    fn refuse(&mut self, reason: &'static str) -> Step {
        self.value::<()>(|_| Err(reason)).map(|_| ())
    }

    fn checked_value<T>(
        &mut self,
        parse: impl FnOnce(&Leaf<'a>) -> Verdict<T>,
        may_show: bool,
    ) -> Result<Option<T>, Stop> {
        let start = self.position();
        match self.leaf()?.and_then(|leaf| parse(&leaf)) {
            Ok(value) => Ok(Some(value)),
            Err(reason) => {
                self.report_value(start, may_show, reason);
                Ok(None)
            }
        }
    }

    /// Reports the value that was read from byte `start` on.
    #[inline(never)]
    fn report_value(&mut self, start: usize, may_show: bool, reason: &str) {
        let found = match self.text.get(start..self.at) {
            Some(raw) if may_show => shown(raw),
            _ => String::try_from("the value (secret, not shown)").unwrap_or_default(),
        };
        self.report(start, format_args!("{found} {reason}"));
    }

    // Each value that is read asks for a leaf, and everything asks for the next byte: one of each is enough.
    #[inline(never)]
    fn leaf(&mut self) -> Result<Verdict<Leaf<'a>>, Stop> {
        Ok(match self.peek() {
            Some(b'{') => self.skip().map(|()| Ok(Leaf::Object))?,
            Some(b'[') => self.skip().map(|()| Ok(Leaf::Array))?,
            Some(b'"') => unescape(self.string()?),
            _ => Ok(Leaf::Word(self.scalar()?)),
        })
    }

    /// The next byte that is not white space (RFC 8259, section 2).
    #[inline(never)]
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
        self.byte()
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Steps over the opening bracket that `peek` found.
    fn open(&mut self) -> Step {
        if self.depth == CONFIG_DEPTH {
            self.report(
                self.at,
                format_args!("nested too deep: allowed are {CONFIG_DEPTH} brackets inside each other"),
            );
            return Err(Stop);
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// Goes to the next item of the innermost container, `false` at its end. `first` is true before its first item,
    /// and false again afterwards.
    fn next_item(&mut self, first: &mut bool, close: u8) -> Result<bool, Stop> {
        let had_none = core::mem::replace(first, false);
        match self.peek() {
            Some(found) if found == close => {
                self.at += 1;
                self.depth -= 1;
                return Ok(false);
            }
            Some(b',') if !had_none => self.at += 1,
            Some(_) if had_none => return Ok(true),
            _ if close == b'}' => return Err(self.unexpected("\",\" or \"}\"")),
            _ => return Err(self.unexpected("\",\" or \"]\"")),
        }
        if self.peek() == Some(close) {
            return Err(self.unexpected("another item after the comma: remove the comma"));
        }
        Ok(true)
    }

    /// Reads a key and its colon: the name, or as it stands when it can be no known name.
    fn key(&mut self) -> Result<Result<String<CONFIG_TEXT_MAX>, &'a str>, Stop> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a key in double quotes"));
        }
        let raw = self.string()?;
        if self.peek() != Some(b':') {
            return Err(self.unexpected("\":\" after the key"));
        }
        self.at += 1;
        Ok(match unescape(raw) {
            Ok(Leaf::Text(name)) => Ok(name),
            _ => Err(raw),
        })
    }

    /// Passes over a value without brackets and returns it as it stands.
    fn scalar(&mut self) -> Result<&'a str, Stop> {
        if self.peek() == Some(b'"') {
            return self.string();
        }
        let start = self.at;
        while let Some(b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'+' | b'-' | b'.' | b'_') = self.byte() {
            self.at += 1;
        }
        match self.text.get(start..self.at) {
            Some(word) if !word.is_empty() => Ok(word),
            _ => Err(self.unexpected("a value")),
        }
    }

    /// Passes over the string whose quote `peek` found and returns what is between its quotes.
    fn string(&mut self) -> Result<&'a str, Stop> {
        let start = self.at + 1;
        self.at = start;
        loop {
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                // A line break is where a forgotten quote shows: going on would call the rest of the document wrong.
                Some(b'\n' | b'\r') | None => {
                    self.at = self.at.min(self.text.len());
                    return Err(self.unexpected("the closing \" of the string"));
                }
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        Ok(self.text.get(start..self.at - 1).unwrap_or(""))
    }

    /// Appends a part to the pointer and returns the pointer without it, to be put back.
    fn enter(&mut self, part: fmt::Arguments<'_>) -> String<64> {
        let above = self.pointer.clone();
        let mut short = String::<SHOWN_MAX>::new();
        write_cut(&mut short, part);
        write_cut(&mut self.pointer, format_args!("/{short}"));
        above
    }

    fn report_unknown(&mut self, at: usize, name: &str, keys: Known<'_>) {
        // A document of nothing but unknown keys costs a comparison each only while someone will read the answer.
        let mut names = keys.names().filter(|_| !self.found.problems.first.is_full());
        match nearest(name, &mut names) {
            Some(near) => self.report(at, format_args!("unknown key: did you mean \"{near}\"?")),
            None => self.report(at, format_args!("unknown key: known are {keys}")),
        }
    }
}

/// The known keys of an object, whatever it is read into: the name of each and whether it is required, by its index.
#[derive(Clone, Copy)]
struct Known<'k>(&'k dyn Fn(usize) -> Option<(&'static str, bool)>);

impl<'k> Known<'k> {
    fn iter(self) -> impl Iterator<Item = (&'static str, bool)> + use<'k> {
        (0..).map_while(self.0)
    }

    fn names(self) -> impl Iterator<Item = &'static str> + use<'k> {
        self.iter().map(|(name, _)| name)
    }
}

/// As a list.
impl Display for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.names().enumerate() {
            write!(f, "{}{name}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// A key as a part of a JSON pointer: `~` and `/` as RFC 6901 says, what is not printable ASCII as `\u{..}`.
struct PointerPart<'k>(&'k str);

impl Display for PointerPart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '~' => f.write_str("~0"),
            '/' => f.write_str("~1"),
            c => write_printable(f, c),
        })
    }
}

/// A value as it stands in the document, short, and harmless to a terminal.
fn shown(raw: &str) -> String<SHOWN_MAX> {
    struct Printable<'t>(&'t str);
    impl Display for Printable<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.chars().try_for_each(|c| write_printable(f, c))
        }
    }
    let mut out = String::new();
    match raw.bytes().next() {
        Some(b'{') => write_cut(&mut out, format_args!("an object")),
        Some(b'[') => write_cut(&mut out, format_args!("an array")),
        _ => write_cut(&mut out, format_args!("{}", Printable(raw))),
    }
    out
}

fn write_printable(f: &mut fmt::Formatter<'_>, c: char) -> fmt::Result {
    match c {
        ' '..='~' => f.write_char(c),
        c => write!(f, "{}", c.escape_unicode()),
    }
}

/// Resolves the escapes of a string (RFC 8259, section 7).
fn unescape(raw: &str) -> Verdict<Leaf<'static>> {
    let mut text = String::new();
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        let c = if c == '\\' { escape(&mut chars).ok_or(BAD_ESCAPE)? } else { c };
        if c.is_control() {
            return Err(CONTROL_CHARACTER);
        }
        if text.push(c).is_err() {
            return Ok(Leaf::LongText);
        }
    }
    Ok(Leaf::Text(text))
}

const BAD_ESCAPE: &str =
    "has a broken escape: allowed are \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX, surrogates in pairs";
const CONTROL_CHARACTER: &str = "has a control character (tab, line break, NUL or alike): remove it";

/// The character that follows a backslash.
fn escape(chars: &mut Chars<'_>) -> Option<char> {
    Some(match chars.next()? {
        c @ ('"' | '\\' | '/') => c,
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => match hex4(chars)? {
            high @ 0xd800..=0xdbff => {
                let low = (chars.next()? == '\\' && chars.next()? == 'u').then(|| hex4(chars))??;
                let low = (0xdc00..=0xdfff).contains(&low).then_some(low)?;
                char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))?
            }
            code => char::from_u32(code)?,
        },
        _ => return None,
    })
}

fn hex4(chars: &mut Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0, |code, _| Some(code << 4 | chars.next()?.to_digit(16)?))
}
