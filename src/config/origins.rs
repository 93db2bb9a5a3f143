//! Origins: where each value in force came from.

use outpost_wire::ConfigSource;

/// The keys whose origin is kept, by JSON pointer: every key that has a value of its own. A test compares them with
/// schema/config.json.
pub const ORIGINS: [&str; 27] = [
    "/name",
    "/network",
    "/time/servers",
    "/collector/address",
    "/collector/key",
    "/sink/syslog",
    "/contact/name",
    "/contact/tel",
    "/contact/mail",
    "/http/port",
    "/http/operator_allow",
    "/http/maintenance",
    "/http/connections_per_source",
    "/severity",
    "/security/contact",
    "/security/expires",
    "/incidents/url",
    "/incidents/public_key",
    "/incidents/min_revision",
    "/incidents/interval_s",
    "/incidents/document",
    "/drill/panic_after_s",
    "/drill/hang_after_s",
    "/drill/records_per_s",
    "/drill/exercise",
    "/on_panic",
    "/checks",
];

/// Where each value in force came from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Origins([ConfigSource; ORIGINS.len()]);

impl Origins {
    /// Everything is a default.
    pub const DEFAULT: Origins = Origins([ConfigSource::Default; ORIGINS.len()]);

    /// Where the value at this pointer came from; `None` where there is no value of its own.
    pub fn get(&self, pointer: &str) -> Option<ConfigSource> {
        let at = ORIGINS.iter().position(|known| *known == pointer)?;
        self.0.get(at).copied()
    }

    /// Each pointer with its origin.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, ConfigSource)> {
        ORIGINS.into_iter().zip(self.0)
    }

    pub(super) fn set(&mut self, pointer: &str, source: ConfigSource) {
        for (known, origin) in ORIGINS.into_iter().zip(&mut self.0) {
            if known == pointer {
                *origin = source;
            }
        }
    }
}
