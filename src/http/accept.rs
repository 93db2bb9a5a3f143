//! Which form of an answer a client reads best: Accept, Accept-Encoding and User-Agent (RFC 9110, section 12.5).
//!
//! Every answer has one form that all clients can read; only a client that asks for the other one gets it.

/// What the headers of a request said so far. Weights are thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wants {
    html: u16,
    openmetrics: u16,
    plain: u16,
    gzip: bool,
    reads_text: bool,
}

impl Wants {
    /// A client that said nothing.
    pub const ANYTHING: Wants = Wants { html: 0, openmetrics: 0, plain: 0, gzip: false, reads_text: false };

    /// Whether it prefers HTML to text: browsers name it, programs do not.
    pub const fn html(&self) -> bool {
        self.html > 0 && self.html >= self.plain && !self.reads_text
    }

    /// Whether it prefers OpenMetrics to the text format of Prometheus.
    pub const fn openmetrics(&self) -> bool {
        self.openmetrics > 0 && self.openmetrics >= self.plain
    }

    /// Whether it can undo gzip.
    pub const fn gzip(&self) -> bool {
        self.gzip
    }

    /// Takes in a value of Accept; a header may come more than once.
    pub fn see_accept(&mut self, value: &[u8]) {
        for (range, weight) in weighted(value) {
            let of = if range.eq_ignore_ascii_case(b"text/html") {
                &mut self.html
            } else if range.eq_ignore_ascii_case(b"application/openmetrics-text") {
                &mut self.openmetrics
            } else if range.eq_ignore_ascii_case(b"text/plain") {
                &mut self.plain
            } else {
                continue;
            };
            *of = weight.max(*of);
        }
    }

    /// Takes in a value of Accept-Encoding.
    pub fn see_encoding(&mut self, value: &[u8]) {
        for (coding, weight) in weighted(value) {
            // RFC 9110, section 8.4.1.3: x-gzip is the same.
            self.gzip |= weight > 0 && (coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip"));
        }
    }

    /// Takes in User-Agent: Lynx names HTML first, and reads text better.
    pub fn see_agent(&mut self, value: &[u8]) {
        self.reads_text = value.starts_with(b"Lynx/");
    }
}

/// The elements of a list and their weights (RFC 9110, section 12.4.2): 1000 where none is given, 0 where it makes no
/// sense.
fn weighted(value: &[u8]) -> impl Iterator<Item = (&[u8], u16)> {
    value.split(|&byte| byte == b',').map(|element| {
        let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q=")));
        (name, weight.map_or(1000, thousandths))
    })
}

fn thousandths(weight: &[u8]) -> u16 {
    match weight {
        [b'1', ..] => 1000,
        [b'0', b'.', digits @ ..] if digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => {
            let digit = |at: usize| digits.get(at).map_or(0, |digit| u16::from(digit - b'0'));
            digit(0) * 100 + digit(1) * 10 + digit(2)
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &str) -> Wants {
        let mut wants = Wants::ANYTHING;
        wants.see_accept(value.as_bytes());
        wants
    }

    #[test]
    fn what_real_clients_send() {
        // The wrong form is a page of tags in a terminal, or a failed scrape.
        let chromium = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8";
        assert!(accept(chromium).html() && !accept(chromium).openmetrics());
        for text in ["*/*", "", "text/plain, text/html;q=0.5", "text/html;q=0", "text/html;q=0.x", "application/json"] {
            assert!(!accept(text).html(), "{text}");
        }
        let mut lynx = accept("text/html, text/plain, text/sgml, text/css, */*;q=0.01");
        lynx.see_agent(b"Lynx/2.9.0dev.12 libwww-FM/2.14");
        assert!(!lynx.html());
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;\
                          q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert!(accept(prometheus).openmetrics() && !accept(prometheus).html());
        assert!(!accept("text/plain;version=0.0.4;q=0.5, application/openmetrics-text; q=0.25").openmetrics());
        let mut coding = Wants::ANYTHING;
        coding.see_encoding(b"identity, gzip;q=0");
        assert!(!coding.gzip());
        coding.see_encoding(b"deflate , GZIP;q=0.5");
        assert!(coding.gzip());
    }
}
