//! Severity as a number (OpenTelemetry logs data model, "Field: SeverityNumber": 1 to 24).
//!
//! Severity is data about a record, decided by a table that config can change; it never decides whether a
//! record is emitted.

use core::fmt;

/// An OpenTelemetry severity number, 1 (trace) to 24 (fatal4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Severity(u8);

impl Severity {
    /// Fine detail.
    pub const DEBUG: Severity = Severity(5);
    /// Normal work.
    pub const INFO: Severity = Severity(9);
    /// Normal, and worth a look (syslog "notice").
    pub const NOTICE: Severity = Severity(10);
    /// Something is not as it should be; the agent goes on.
    pub const WARN: Severity = Severity(13);
    /// Something failed.
    pub const ERROR: Severity = Severity(17);
    /// The agent could not go on.
    pub const FATAL: Severity = Severity(21);

    /// The severity with this OpenTelemetry number; `None` outside 1 to 24.
    pub const fn from_number(number: u8) -> Option<Severity> {
        if number >= 1 && number <= 24 { Some(Severity(number)) } else { None }
    }

    /// The OpenTelemetry number, 1 to 24.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The short name of the range this severity is in (`trace`, `debug`, `info`, `notice`, `warn`, `error`, `fatal`).
    pub const fn name(self) -> &'static str {
        match self.0 {
            0..=4 => "trace",
            5..=8 => "debug",
            9 => "info",
            10..=12 => "notice",
            13..=16 => "warn",
            17..=20 => "error",
            _ => "fatal",
        }
    }

    /// The severity of syslog (RFC 5424, table 2; OpenTelemetry, "Mapping of SeverityNumber", appendix B).
    pub const fn syslog(self) -> u8 {
        match self.0 {
            0..=8 => 7,
            9 => 6,
            10..=12 => 5,
            13..=16 => 4,
            17 => 3,
            18 => 2,
            19..=20 => 1,
            _ => 0,
        }
    }

    /// The severity that has this short name.
    pub fn from_name(name: &str) -> Option<Severity> {
        Some(match name {
            "trace" => Severity(1),
            "debug" => Severity::DEBUG,
            "info" => Severity::INFO,
            "notice" => Severity::NOTICE,
            "warn" => Severity::WARN,
            "error" => Severity::ERROR,
            "fatal" => Severity::FATAL,
            _ => return None,
        })
    }
}

impl fmt::Debug for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        // A name that maps to a number outside its own range would re-map records on every round trip.
        for name in ["trace", "debug", "info", "notice", "warn", "error", "fatal"] {
            assert_eq!(Severity::from_name(name).map(Severity::name), Some(name));
        }
        assert_eq!(Severity::from_number(0), None);
        assert_eq!(Severity::from_number(25), None);
        assert_eq!(Severity::from_number(24).map(Severity::name), Some("fatal"));
    }
}
