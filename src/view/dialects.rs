//! The agent's own health in the dialects of those who ask: kube-apiserver's lines for `/readyz` and `/livez`, and
//! application/health+json (draft-inadarei-api-health-check-06) for `/health`.

use super::View;
use super::sheet::Sheet;
use crate::health::{CHECKS, Check, Finding, Health, Standing, State};
use crate::http::query::{Checks, Query};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// Whether every check passes that is not excluded.
pub fn passes(health: &Health, exclude: Checks) -> bool {
    health.is_ready()
        || CHECKS.into_iter().all(|check| exclude.contains(check) || health.get(check).state() != State::Fail)
}

/// What Envoy makes of an answer to its health check: each line begins with CRLF. Withdrawn hosts get nothing more
/// without waiting for its threshold, degraded ones only when there are too few others.
pub const fn envoy(health: &Health) -> &'static str {
    match health.standing() {
        Standing::Serving => "",
        Standing::Degraded => "\r\nx-envoy-degraded: true",
        Standing::Withdrawn => "\r\nx-envoy-immediate-health-check-fail: true",
    }
}

/// A line for each check that is asked for, then the verdict. Not verbose: only what failed. A name to be excluded that
/// is no check is told as kube-apiserver does, but not repeated.
pub fn write_ready(health: &Health, query: &Query, out: &mut [u8]) -> Option<usize> {
    let mut sheet = Sheet::new(out);
    for check in CHECKS {
        let finding = health.get(check);
        if query.exclude.contains(check) {
            let excluded = ["[+]", check.name(), " excluded: ok\n"];
            sheet.say(if query.verbose { &excluded } else { &[] });
        } else if query.verbose || finding.state() == State::Fail {
            say_finding(&mut sheet, check, finding);
        }
    }
    finish("readyz", passes(health, query.exclude), query.excludes_unknown, sheet)
}

/// The line of one check alone.
pub fn write_check(health: &Health, check: Check, out: &mut [u8]) -> Option<usize> {
    let mut sheet = Sheet::new(out);
    say_finding(&mut sheet, check, health.get(check));
    sheet.finish()
}

/// Live means that the loop turns, and it does: this is its answer. There is nothing to exclude.
pub fn write_live(name: &str, query: &Query, out: &mut [u8]) -> Option<usize> {
    let mut sheet = Sheet::new(out);
    sheet.say(&["[+]loop ok\n"]);
    finish(name, true, query.excludes_unknown || query.exclude != Checks::NONE, sheet)
}

fn say_finding(sheet: &mut Sheet<'_>, check: Check, finding: Finding) {
    match finding.state() {
        State::Fail => sheet.say(&["[-]", check.name(), " failed: ", finding.reason.text(), "\n"]),
        _ => sheet.say(&["[+]", check.name(), " ok\n"]),
    }
}

fn finish(name: &str, passed: bool, excludes_unknown: bool, mut sheet: Sheet<'_>) -> Option<usize> {
    if excludes_unknown {
        sheet.say(&["warn: some health checks cannot be excluded: no matches for what was asked\n"]);
    }
    sheet.say(&[name, if passed { " check passed\n" } else { " check failed\n" }]);
    sheet.finish()
}

/// `/health`.
#[derive(serde::Serialize)]
pub struct HealthDocument<'v> {
    status: &'static str,
    version: &'static str,
    #[serde(rename = "releaseId")]
    release_id: &'static str,
    #[serde(rename = "serviceId")]
    service_id: &'v str,
    description: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'static str>,
    checks: Findings,
}

/// The object `checks`: its keys are component and measurement, its values lists of one.
struct Findings([FindingDocument; CHECKS.len()]);

#[derive(serde::Serialize)]
struct FindingDocument {
    #[serde(rename = "componentId")]
    component_id: &'static str,
    #[serde(rename = "componentType")]
    component_type: &'static str,
    /// For how long it has been so.
    #[serde(rename = "observedValue")]
    observed_value: u64,
    #[serde(rename = "observedUnit")]
    observed_unit: &'static str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'static str>,
}

impl Serialize for Findings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(CHECKS.len()))?;
        for (check, finding) in CHECKS.iter().zip(&self.0) {
            map.serialize_entry(measurement(*check), &[finding])?;
        }
        map.end()
    }
}

const fn measurement(check: Check) -> &'static str {
    match check {
        Check::Network => "network:since",
        Check::Config => "config:since",
        Check::Clock => "clock:since",
        Check::Collector => "collector:since",
        Check::Entropy => "entropy:since",
        Check::Memory => "memory:since",
        Check::Maintenance => "maintenance:since",
        Check::Boot => "boot:since",
    }
}

impl View<'_, '_> {
    /// `/health`.
    pub fn health(&self) -> HealthDocument<'_> {
        let health = self.known.health;
        let output = |finding: Finding| (finding.state() != State::Pass).then_some(finding.reason.text());
        let worst = CHECKS.into_iter().map(|check| health.get(check)).max_by_key(|finding| finding.state());
        HealthDocument {
            status: health.worst().name(),
            version: crate::VERSION,
            release_id: self.known.facts.revision,
            service_id: &self.config().name,
            description: "health of the Outpost agent itself",
            output: worst.and_then(output),
            checks: Findings(CHECKS.map(|check| {
                let finding = health.get(check);
                FindingDocument {
                    component_id: check.name(),
                    component_type: "system",
                    observed_value: self.seconds_since(finding.since),
                    observed_unit: "s",
                    status: finding.state().name(),
                    output: output(finding),
                }
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Reason;
    use crate::view::fixture;
    use smoltcp::time::Instant;

    fn failing() -> Health {
        let mut health = Health::new(Instant::ZERO);
        health.set(Check::Network, Reason::NoAddress, Instant::ZERO);
        health.set(Check::Clock, Reason::Unsynchronised, Instant::ZERO);
        health.set(Check::Maintenance, Reason::Maintenance, Instant::ZERO);
        health
    }

    fn ready(query: &str) -> String {
        let mut out = [0; 1024];
        let len = write_ready(&failing(), &Query::read(query.as_bytes()), &mut out).unwrap();
        String::from_utf8(out[..len].to_vec()).unwrap()
    }

    #[test]
    fn lines_are_those_of_kube_apiserver() {
        // Scripts cut these lines apart.
        assert_eq!(
            ready(""),
            "[-]network failed: no address\n[-]maintenance failed: the operator asked for it\nreadyz check failed\n"
        );
        assert_eq!(
            ready("verbose&exclude=network&exclude=boot"),
            "[+]network excluded: ok\n[+]config ok\n[+]clock ok\n[+]collector ok\n[+]entropy ok\n[+]memory ok\n\
             [-]maintenance failed: the operator asked for it\n[+]boot excluded: ok\nreadyz check failed\n"
        );
        let passed = ready("verbose&exclude=network&exclude=maintenance&exclude=etcd");
        assert!(
            passed.ends_with(
                "[+]boot ok\nwarn: some health checks cannot be excluded: no matches for what was asked\n\
                 readyz check passed\n"
            ),
            "{passed}"
        );
        assert!(!passed.contains("etcd"), "what a client wrote is not repeated");
        let mut out = [0; 64];
        let len = write_live("livez", &Query::read(b"verbose"), &mut out).unwrap();
        assert_eq!(out[..len], *b"[+]loop ok\nlivez check passed\n");
        assert_eq!(write_ready(&failing(), &Query::NONE, &mut [0; 40]), None, "cut off");
    }

    #[test]
    fn what_is_excluded_does_not_count() {
        // An exclude that only hides the line leaves the pod out of service all the same.
        let both = Checks::NONE.with(Check::Network).with(Check::Maintenance);
        assert!(passes(&failing(), both));
        assert!(!passes(&failing(), Checks::NONE.with(Check::Network)) && !passes(&failing(), Checks::NONE));
        assert!(passes(&Health::new(Instant::ZERO), Checks::NONE));
    }

    #[test]
    fn health_is_as_the_draft_says() {
        // The draft, section 3: status is pass, warn or fail; output is left out where a check passes.
        fixture::with(r#"{"name": "outpost-fra1"}"#, |fixture| {
            let render = |fixture: &fixture::Fixture| {
                let mut out = [0; 4096];
                let len = serde_json_core::to_slice(&fixture.view().health(), &mut out).unwrap();
                String::from_utf8(out[..len].to_vec()).unwrap()
            };
            let document = render(fixture);
            let head = r#"{"status":"pass","version":"0.1.0","releaseId":"test","serviceId":"outpost-fra1","description":"health of the Outpost agent itself","checks":{"network:since":[{"componentId":"network","componentType":"system","observedValue":1,"observedUnit":"s","status":"pass"}],"#;
            assert!(document.starts_with(head) && document.ends_with("}]}}"), "{document}");
            assert!(!document.contains("output"));
            fixture.health.set(Check::Clock, Reason::Unsynchronised, Instant::from_secs(1));
            fixture.health.set(Check::Network, Reason::NoLink, Instant::from_secs(2));
            fixture.now = Instant::from_secs(12);
            let document = render(fixture);
            assert!(
                document.starts_with(r#"{"status":"fail","#) && document.contains(r#","output":"no link","checks":"#)
            );
            assert_eq!(document.matches(r#""status":"pass"}"#).count(), CHECKS.len() - 2, "{document}");
            for (name, rest) in [
                ("network", r#""observedValue":10,"observedUnit":"s","status":"fail","output":"no link"}]"#),
                ("clock", r#""observedValue":11,"observedUnit":"s","status":"warn","output":"unsynchronised"}]"#),
            ] {
                let finding = format!(r#""{name}:since":[{{"componentId":"{name}","componentType":"system",{rest}"#);
                assert!(document.contains(&finding), "{document}");
            }
        });
    }
}
