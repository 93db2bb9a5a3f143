//! Text for people, in one of two forms: HTML, or plain text.
//!
//! One walk over what there is to say writes either form: [`Writer::say`] goes into both, [`Writer::tag`] and
//! [`Writer::quote`] only into HTML, [`Writer::plain`] only into text. What always holds: what is said is escaped in HTML, whoever wrote it, and
//! nothing is ever written beyond the buffer; what did not fit is counted, and there is no answer then.
//!
//! Each step is called from a hundred places and inlined in none: inlined, the page alone was 40 KiB of code.

/// Writes into a buffer.
pub struct Writer<'o> {
    out: &'o mut [u8],
    len: usize,
    line: usize,
    /// The last byte, wherever it went: a text that does not fit is as long as one that does.
    last: u8,
    html: bool,
    json: bool,
}

impl<'o> Writer<'o> {
    /// A writer of HTML, or of plain text, at the start of the buffer.
    pub fn new(out: &'o mut [u8], html: bool) -> Writer<'o> {
        Writer { out, len: 0, line: 0, last: 0, html, json: false }
    }

    /// A writer of JSON at the start of the buffer: what is said is the inside of a string.
    pub fn json(out: &'o mut [u8]) -> Writer<'o> {
        Writer { json: true, ..Writer::new(out, false) }
    }

    /// How long the text is; `None` when it did not fit.
    pub fn finish(self) -> Option<usize> {
        (self.len <= self.out.len()).then_some(self.len)
    }

    /// How many bytes the text takes, also when it did not fit.
    pub fn needed(&self) -> usize {
        self.len
    }

    /// Whether it is HTML.
    pub fn is_html(&self) -> bool {
        self.html
    }

    /// How many bytes still fit.
    pub fn room(&self) -> usize {
        self.out.len().saturating_sub(self.len)
    }

    /// Markup.
    #[inline(never)]
    pub fn tag(&mut self, markup: &str) {
        if self.html {
            self.put(markup);
        }
    }

    /// Words that only HTML has, escaped.
    #[inline(never)]
    pub fn quote(&mut self, words: &str) {
        if self.html {
            self.say(words);
        }
    }

    /// What only the plain form has.
    #[inline(never)]
    pub fn plain(&mut self, text: &str) {
        if !self.html {
            self.put(text);
        }
    }

    /// Words, escaped where the form needs it: for text and for attributes in double quotes.
    #[inline(never)]
    pub fn say(&mut self, words: &str) {
        if !(self.html || self.json) {
            return self.put(words);
        }
        for &byte in words.as_bytes() {
            match byte {
                b'"' | b'\\' if self.json => {
                    self.byte(b'\\');
                    self.byte(byte);
                }
                // No source of texts lets them through; RFC 8259, section 7, would have them escaped.
                0..0x20 if self.json => self.byte(b' '),
                byte if self.json => self.byte(byte),
                b'&' => self.put("&amp;"),
                b'<' => self.put("&lt;"),
                b'>' => self.put("&gt;"),
                b'"' => self.put("&quot;"),
                byte => self.byte(byte),
            }
        }
    }

    /// Fills the line with spaces up to this column; only in plain text.
    #[inline(never)]
    pub fn column(&mut self, column: usize) {
        while !self.html && self.len - self.line < column {
            self.byte(b' ');
        }
    }

    /// As it stands, in every form.
    #[inline(never)]
    pub fn raw(&mut self, text: &str) {
        self.put(text);
    }

    /// A number as programs read it, like `1204`.
    #[inline(never)]
    pub fn count(&mut self, number: u64) {
        self.digits(number, 1);
    }

    /// A number, like `1,204`.
    #[inline(never)]
    pub fn number(&mut self, number: u64) {
        if number < 1000 {
            return self.digits(number, 1);
        }
        self.number(number / 1000);
        self.byte(b',');
        self.digits(number % 1000, 3);
    }

    /// The bytes in hexadecimal.
    #[inline(never)]
    pub fn hex(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            crate::http::answer::hex::<2>(u64::from(byte)).into_iter().for_each(|digit| self.byte(digit));
        }
    }

    /// A length of time, in the two units that matter, like `3 min 12 s`.
    #[inline(never)]
    pub fn duration(&mut self, seconds: u64) {
        let (large, small, of) = match seconds {
            0..60 => return self.with_unit(seconds, " s"),
            60..3600 => (" min ", " s", 60),
            3600..86_400 => (" h ", " min", 3600),
            _ => (" d ", " h", 86_400),
        };
        self.with_unit(seconds / of, large);
        let rest = seconds % of;
        self.with_unit(if of == 86_400 { rest / 3600 } else { rest / (of / 60) }, small);
    }

    /// How far off a clock may be, like `± 1.2 ms`.
    #[inline(never)]
    pub fn error(&mut self, error_us: u64) {
        self.put("± ");
        match error_us {
            0..10_000 => {
                self.digits(error_us / 1000, 1);
                self.byte(b'.');
                self.with_unit(error_us % 1000 / 100, " ms");
            }
            10_000..10_000_000 => self.with_unit(error_us / 1000, " ms"),
            _ => self.duration(error_us / 1_000_000),
        }
    }

    /// A moment, given in seconds since 1970-01-01 UTC, like `2026-11-22 13:40:05 UTC`.
    #[inline(never)]
    pub fn moment(&mut self, unix_s: u64) {
        if self.html {
            self.put("<time datetime=\"");
            self.utc(unix_s);
            self.put("\">");
        }
        self.date(unix_s, b' ');
        self.put(" UTC");
        self.tag("</time>");
    }

    /// A moment as RFC 3339 has it, like `2026-11-22T13:40:05Z`.
    #[inline(never)]
    pub fn utc(&mut self, unix_s: u64) {
        self.date(unix_s, b'T');
        self.byte(b'Z');
    }

    /// The time of a day, like `13:40:05`.
    #[inline(never)]
    pub fn time_of_day(&mut self, unix_s: u64) {
        for (number, after) in [(unix_s / 3600 % 24, ":"), (unix_s / 60 % 60, ":"), (unix_s % 60, "")] {
            self.digits(number, 2);
            self.put(after);
        }
    }

    /// A part of a whole, rounded down, like `99.95 %`: all is only what is all.
    #[inline(never)]
    pub fn percent(&mut self, part: u64, whole: u64) {
        let hundredths = part * 10_000 / whole.max(1);
        self.digits(hundredths / 100, 1);
        self.byte(b'.');
        self.digits(hundredths % 100, 2);
        self.put(" %");
    }

    /// An IPv4 address.
    #[inline(never)]
    pub fn address(&mut self, octets: [u8; 4]) {
        for (at, octet) in octets.into_iter().enumerate() {
            self.put(if at > 0 { "." } else { "" });
            self.digits(octet.into(), 1);
        }
    }

    /// Two numbers of a drawing, the first of them not negative; a sign or a space parts what needs to be.
    #[inline(never)]
    pub fn step(&mut self, right: u32, down: i32) {
        if self.last.is_ascii_digit() {
            self.byte(b' ');
        }
        self.digits(right.into(), 1);
        self.byte(if down < 0 { b'-' } else { b' ' });
        self.digits(down.unsigned_abs().into(), 1);
    }

    #[inline(never)]
    fn date(&mut self, unix_s: u64, between: u8) {
        let unix_s = unix_s.min(LAST_SECOND);
        let (year, month, day) = civil(unix_s / 86_400);
        for (number, width, after) in [
            (year, 4, b'-'),
            (month, 2, b'-'),
            (day, 2, between),
            (unix_s / 3600 % 24, 2, b':'),
            (unix_s / 60 % 60, 2, b':'),
        ] {
            self.digits(number, width);
            self.byte(after);
        }
        self.digits(unix_s % 60, 2);
    }

    #[inline(never)]
    fn with_unit(&mut self, number: u64, unit: &str) {
        self.number(number);
        self.put(unit);
    }

    /// At least so many digits.
    #[inline(never)]
    fn digits(&mut self, number: u64, width: u32) {
        if number >= 10 || width > 1 {
            self.digits(number / 10, width.saturating_sub(1));
        }
        self.byte(b'0' + (number % 10) as u8);
    }

    #[inline(never)]
    fn put(&mut self, text: &str) {
        text.bytes().for_each(|byte| self.byte(byte));
    }

    #[inline(never)]
    fn byte(&mut self, byte: u8) {
        if let Some(place) = self.out.get_mut(self.len) {
            *place = byte;
        }
        self.len += 1;
        self.last = byte;
        if byte == b'\n' {
            self.line = self.len;
        }
    }
}

/// 9999-12-31 23:59:59 UTC: the last moment that four digits of a year can tell.
const LAST_SECOND: u64 = 253_402_300_799;

/// Year, month and day of a day since 1970-01-01, by the rules of the Gregorian calendar (H. Hinnant's
/// `civil_from_days`: years are counted from March, so that the leap day is the last).
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (400 * era + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(html: bool, write: impl FnOnce(&mut Writer<'_>)) -> String {
        let mut out = [0; 256];
        let mut writer = Writer::new(&mut out, html);
        write(&mut writer);
        let len = writer.finish().unwrap();
        String::from_utf8(out[..len].to_vec()).unwrap()
    }

    #[test]
    fn what_is_said_cannot_become_markup() {
        // A name from the configuration that ends the attribute or the element it stands in.
        let hostile = r#""><script>alert('&')</script>"#;
        assert_eq!(written(true, |w| w.say(hostile)), "&quot;&gt;&lt;script&gt;alert('&amp;')&lt;/script&gt;");
        assert_eq!(written(false, |w| w.say(hostile)), hostile);
        assert_eq!(written(true, |w| w.say("Büro ✓")), "Büro ✓");
    }

    #[test]
    fn what_does_not_fit_is_no_answer() {
        // A page that is cut looks like a page.
        let mut out = [0; 4];
        let mut writer = Writer::new(&mut out, false);
        writer.say("1234");
        assert_eq!(Writer { out: &mut [0; 4], ..writer }.finish(), Some(4));
        let mut writer = Writer::new(&mut out, false);
        writer.say("12345");
        assert_eq!(writer.finish(), None);
    }

    #[test]
    fn numbers_as_people_read_them() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_020_304, "1,020,304")] {
            assert_eq!(written(false, |w| w.number(number)), text);
        }
        assert_eq!(written(false, |w| w.number(u64::MAX)), "18,446,744,073,709,551,615");
        assert_eq!(written(false, |w| w.hex(&[0, 0xa5])), "00a5");
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min 0 s"),
            (3599, "59 min 59 s"),
            (3600, "1 h 0 min"),
            (86_399, "23 h 59 min"),
            (86_400, "1 d 0 h"),
            (100 * 86_400 + 7200, "100 d 2 h"),
        ] {
            assert_eq!(written(false, |w| w.duration(seconds)), text);
        }
        for (error_us, text) in [
            (0, "± 0.0 ms"),
            (1_250, "± 1.2 ms"),
            (10_000, "± 10 ms"),
            (9_999_999, "± 9,999 ms"),
            (61_000_000, "± 1 min 1 s"),
        ] {
            assert_eq!(written(false, |w| w.error(error_us)), text);
        }
        assert_eq!(
            written(false, |w| {
                w.say("é\nab");
                w.column(4);
                w.say("c");
            }),
            "é\nab  c"
        );
    }

    #[test]
    fn dates_of_the_calendar() {
        // Leap days, ends of years and centuries; compared with `date -u -d @N`.
        for (unix_s, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_164_800, "2024-02-29 00:00:00 UTC"),
            (1_798_761_599, "2026-12-31 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (LAST_SECOND, "9999-12-31 23:59:59 UTC"),
            (u64::MAX, "9999-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(written(false, |w| w.moment(unix_s)), text);
        }
        assert_eq!(
            written(true, |w| w.moment(0)),
            "<time datetime=\"1970-01-01T00:00:00Z\">1970-01-01 00:00:00 UTC</time>"
        );
    }
}
