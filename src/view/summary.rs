//! `/` as text: for curl, and for whoever has no browser.

use super::View;
use crate::health::CHECKS;
use crate::log::Ship;
use core::fmt::Write;
use outpost_wire::{ConfigSource, EntropySource};

impl View<'_, '_> {
    /// `/` for people: what this is, how it is, where to look.
    pub fn write_summary(&self, out: &mut impl Write) -> core::fmt::Result {
        let (known, stats) = (&self.known, self.log.stats());
        let verdict = if known.health.is_ready() { "ready" } else { "NOT READY" };
        writeln!(out, "{} is {verdict}: Outpost {}, up {} s", self.config().name, crate::VERSION, self.uptime_s())?;
        for check in CHECKS {
            let finding = known.health.get(check);
            let (name, state, age) = (check.name(), finding.state().name(), self.seconds_since(finding.since));
            writeln!(out, "  {name:<12}{state:<5} for {age} s  {}", finding.reason.text())?;
        }
        match known.ship.map(Ship::status) {
            Some(session) => writeln!(out, "log: to {}", session.address)?,
            None => writeln!(out, "log: no collector is configured; records stay in memory and on the serial console")?,
        }
        writeln!(
            out,
            "     {} emitted, {} delivered, {} lost, {} buffered",
            stats.emitted, stats.delivered, stats.lost, stats.buffered
        )?;
        if known.loaded.source == ConfigSource::Default {
            writeln!(out, "config: none was given, defaults are in force; boot with -initrd config.json")?;
        }
        if known.facts.entropy == EntropySource::Weak {
            writeln!(out, "entropy: weak; give the VM a processor with RDRAND (-cpu host) or a virtio-rng device")?;
        }
        writeln!(out, "paths: /livez /readyz?verbose /status /about /metrics")
    }
}
