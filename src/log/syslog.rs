//! A record as a message of RFC 5424, framed for TCP by octet counting (RFC 6587, section 3.4.1).
//!
//! The same rules as the collector's forwarder has (`cli/src/forward/syslog.rs`), so that a receiver sees one kind of
//! message whichever way it came: PROCID is the boot id, MSGID the event's name, TIMESTAMP `-` as long as UTC is not
//! known. The text is the console's, and ASCII.

use super::console::{finish, write_event};
use super::dependency::Cut;
use super::names::Names;
use crate::limits::LOG_SINK_MESSAGE;
use crate::time::Estimate;
use core::fmt::{self, Write};
use heapless::String;
use outpost_wire::session::LossReason;
use outpost_wire::{CATALOGUE, Record, Severity};

/// The facility of a system service that is not of the mail, printing or clock kind (RFC 5424, table 1).
const FACILITY: u8 = 3;

/// A message.
pub type Message = String<LOG_SINK_MESSAGE>;

/// Who speaks.
#[derive(Clone, Copy)]
pub struct From<'f> {
    /// The agent: a host name, and so a HOSTNAME.
    pub agent: &'f str,
    /// The boot.
    pub boot_id: u64,
}

impl From<'_> {
    /// This record. `names` are those of its boot, where they are known; `utc` is when it was emitted.
    pub fn record(self, record: &Record<'_>, names: Option<&Names>, utc: Option<Estimate>) -> Message {
        let event = CATALOGUE.iter().find(|spec| spec.id == record.event).map_or("-", |spec| spec.name);
        let mut message = Message::new();
        let mut out = Cut(&mut message);
        let written = self.header(&mut out, record.severity, event, utc).and_then(|()| {
            // From 1 to 2147483647 and round again; sysUpTime is in hundredths of a second (sections 7.3.1 and 7.3.3).
            let (seq, mono_us) = (record.seq, record.mono_us);
            let (sequence, up) = (seq.saturating_sub(1) % 0x7fff_ffff + 1, mono_us / 10_000);
            write!(out, "[meta sequenceId=\"{sequence}\" sysUpTime=\"{up}\"]")?;
            self.identity(&mut out, format_args!("{seq}"))?;
            write!(out, " seq=\"{seq}\" mono_us=\"{mono_us}\"] ")?;
            write_event(&mut out, record, names)
        });
        finish(&mut message, written);
        message
    }

    /// That these records will never come this way.
    pub fn lost(self, from: u64, to: u64, reason: LossReason) -> Message {
        let mut message = Message::new();
        let mut out = Cut(&mut message);
        // What the collector acknowledged is not in the ring any more, and not lost.
        let (event, reason) = match reason {
            LossReason::CollectorRolledBack => ("skipped", "the_collector_has_them"),
            other => ("lost", other.word().unwrap_or("other")),
        };
        let written = self.header(&mut out, Severity::WARN, event, None).and_then(|()| {
            self.identity(&mut out, format_args!("{event}-{from}-{to}"))?;
            write!(out, "] {event} from={from} to={to} reason={reason}")
        });
        finish(&mut message, written);
        message
    }

    /// All up to the first element of structured data.
    fn header(self, out: &mut dyn Write, severity: Severity, event: &str, utc: Option<Estimate>) -> fmt::Result {
        write!(out, "<{}>1 ", FACILITY * 8 + severity.syslog())?;
        match utc {
            Some(utc) => write_utc(out, utc.unix_us)?,
            None => out.write_char('-')?,
        }
        write!(out, " {} outpost {:016x} {event} [timeQuality ", self.agent, self.boot_id)?;
        match utc {
            // syncAccuracy is in microseconds and only for clocks that are synchronised (section 7.1.3).
            Some(utc) => write!(out, "tzKnown=\"1\" isSynced=\"1\" syncAccuracy=\"{}\"]", utc.error_us),
            None => out.write_str("tzKnown=\"0\" isSynced=\"0\"]"),
        }
    }

    /// The element with the record's identity, left open. Its name needs an enterprise number, and we have none: this
    /// one is for examples (RFC 5612) and can be nobody else's.
    fn identity(self, out: &mut dyn Write, place: fmt::Arguments<'_>) -> fmt::Result {
        write!(out, "[outpost@32473 uid=\"{}/{:016x}/{place}\"", self.agent, self.boot_id)
    }
}

/// A moment as section 6.2.3 says, in microseconds.
fn write_utc(out: &mut dyn Write, unix_us: u64) -> fmt::Result {
    let (seconds, micros) = (unix_us / 1_000_000, unix_us % 1_000_000);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    // Days since 0000-03-01: a year that begins in March has its leap day at its end.
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let (month, turned) = if from_march < 10 { (from_march + 3, 0) } else { (from_march - 9, 1) };
    let year = era * 400 + year_of_era + turned;
    write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use outpost_wire::{ConfigInvalid, Event, Text};
    use smoltcp::time::Instant;
    use std::string::ToString;

    const FROM: From<'static> = From { agent: "fra1", boot_id: 0xab };

    fn estimate(unix_us: u64, error_us: u64) -> Option<Estimate> {
        Some(Estimate { at: Instant::ZERO, unix_us, error_us, stratum: 1, server: [10, 0, 0, 1].into() })
    }

    #[test]
    fn a_message_is_what_the_forwarder_would_send() {
        // A receiver that cannot parse it files it under its own time and name, or drops it.
        let (pointer, problem) = (Text::new("/a"), Text::new("say \"]\\\n<0>1"));
        let event = Event::from(ConfigInvalid { pointer, problem, errors: 3 });
        let mut fields = [0; 200];
        let len = event.encode(&mut fields).unwrap();
        let (severity, transaction) = (Severity::ERROR, Some(7));
        let mut record =
            Record { seq: 2_147_483_648, mono_us: 1_500_000, severity, transaction, event: 15, fields: &fields[..len] };
        let synchronised = estimate(1_700_000_000_000_001, 250);
        assert_eq!(
            FROM.record(&record, None, synchronised).as_str(),
            "<27>1 2023-11-14T22:13:20.000001Z fra1 outpost 00000000000000ab config.invalid \
             [timeQuality tzKnown=\"1\" isSynced=\"1\" syncAccuracy=\"250\"]\
             [meta sequenceId=\"1\" sysUpTime=\"150\"]\
             [outpost@32473 uid=\"fra1/00000000000000ab/2147483648\" seq=\"2147483648\" mono_us=\"1500000\"] \
             config.invalid pointer=/a problem=\"say \\\"]\\\\\\n<0>1\" errors=3 txn=7"
        );
        record.event = 9999;
        let unknown = FROM.record(&record, None, None);
        assert!(
            unknown.starts_with(
                "<27>1 - fra1 outpost 00000000000000ab - [timeQuality tzKnown=\"0\" isSynced=\"0\"][meta "
            ),
            "{unknown}"
        );
        assert_eq!(
            FROM.lost(3, 9, LossReason::Overflow).as_str(),
            "<28>1 - fra1 outpost 00000000000000ab lost [timeQuality tzKnown=\"0\" isSynced=\"0\"]\
             [outpost@32473 uid=\"fra1/00000000000000ab/lost-3-9\"] lost from=3 to=9 reason=overflow"
        );
        assert!(FROM.lost(3, 9, LossReason::CollectorRolledBack).contains("] skipped from=3 to=9"));
    }

    #[test]
    fn a_message_that_is_too_long_is_cut_and_still_ascii() {
        // A message beyond its buffer would break the octet count, and with it everything after it.
        let (pointer, problem) = ("é".repeat(32), "\u{1}".repeat(130));
        let event =
            Event::from(ConfigInvalid { pointer: Text::new(&pointer), problem: Text::new(&problem), errors: 3 });
        let mut fields = [0; 240];
        let len = event.encode(&mut fields).unwrap();
        let record = Record {
            seq: 1,
            mono_us: 1,
            severity: Severity::ERROR,
            transaction: None,
            event: 15,
            fields: &fields[..len],
        };
        let agent = "a".repeat(outpost_wire::limits::AGENT_NAME_MAX);
        let message = From { agent: &agent, boot_id: 1 }.record(&record, None, None);
        assert!(message.len() <= LOG_SINK_MESSAGE && message.is_ascii() && message.ends_with("..."), "{message}");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        // A wrong day in a leap year files every message of a year under another date.
        for (unix_s, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (951_868_800, "2000-03-01T00:00:00.000000Z"),
            (1_735_603_200, "2024-12-31T00:00:00.000000Z"),
            (1_798_761_599, "2026-12-31T23:59:59.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ] {
            let mut out = Message::new();
            write_utc(&mut out, unix_s * 1_000_000).unwrap();
            assert_eq!(out.to_string(), expected);
        }
    }
}
