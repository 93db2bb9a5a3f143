//! Moments as people write them: `2026-03-01T12:00:00Z`, `2026-03-01`, `10m ago`, `now`.

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

/// A moment on the command line, in microseconds since 1970-01-01 UTC.
pub fn parse(text: &str) -> Result<i64, String> {
    parse_at(text, Timestamp::now())
}

fn parse_at(text: &str, now: Timestamp) -> Result<i64, String> {
    let text = text.trim();
    let moment = if text == "now" {
        Some(now)
    } else if let Ok(moment) = text.parse() {
        Some(moment)
    } else if let Ok(moment) = format!("{text}T00:00:00Z").parse() {
        Some(moment)
    } else {
        // What is not `ago` lies in the past all the same: nothing is logged in the future.
        duration(text).and_then(|duration| now.checked_sub(duration.abs()).ok())
    };
    moment.map(Timestamp::as_microsecond).ok_or_else(|| {
        "not a moment. Write it like 2026-03-01T12:00:00Z (RFC 3339), 2026-03-01, \"10m ago\", 2h or now".to_owned()
    })
}

/// A length of time on the command line: `90s`, `10m ago`, `1h30m`, `2d`.
fn duration(text: &str) -> Option<SignedDuration> {
    text.parse::<Span>().ok()?.to_duration(SpanRelativeTo::days_are_24_hours()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write_and_refuses_the_rest() {
        // A moment read wrongly hides the records that are looked for.
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let read = |text| parse_at(text, now).map(|us| Timestamp::from_microsecond(us).unwrap().to_string());
        for (text, moment) in [
            ("2026-02-28T23:59:59.5Z", "2026-02-28T23:59:59.5Z"),
            ("2026-03-01T01:00:00+01:00", "2026-03-01T00:00:00Z"),
            ("2026-02-28", "2026-02-28T00:00:00Z"),
            ("now", "2026-03-01T12:00:00Z"),
            ("10m ago", "2026-03-01T11:50:00Z"),
            ("10m", "2026-03-01T11:50:00Z"),
            ("1h30m", "2026-03-01T10:30:00Z"),
            ("90 seconds ago", "2026-03-01T11:58:30Z"),
            ("2d", "2026-02-27T12:00:00Z"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(moment), "{text}");
        }
        for text in ["", "yesterday", "10", "10 parsecs", "2026-13-01", "9999999999h"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
