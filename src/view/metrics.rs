//! `/metrics`: the text format of Prometheus (0.0.4) and OpenMetrics 1.0.0, written by one hand.
//!
//! The names are those that dashboards know from node_exporter where one of them fits; our own begin with `outpost_`.
//! Units are base units, counters begin at 0 with the boot, and a gauge whose value is not known is absent. Labels take
//! values from closed lists and the configuration, never what a client sent.
//!
//! All numbers are whole: counts, or microseconds that are written as seconds. So no floating point comes into the
//! image.

use super::sheet::Sheet;
use super::{View, push_hex, text};
use crate::health::{CHECKS, State};
use crate::http::answer::hex;
use crate::http::counters::{ANSWERED, DURATIONS, REFUSED};
use crate::http::pool::Class;
use crate::http::routes::Route;
use crate::limits;
use crate::log::{Phase, Ship};
use crate::net;
use crate::watch::{LAGS, Shown};
use core::cmp::Ordering;
use heapless::String;
use outpost_wire::{DownReason, IncidentImpact, ProbeClass, ProbeReason};
use smoltcp::time::Duration;

/// What a sample is worth.
#[derive(Clone, Copy)]
enum Value {
    /// A whole number.
    Count(u64),
    /// Microseconds, shown in seconds.
    Seconds(i64),
}

impl From<u64> for Value {
    fn from(count: u64) -> Value {
        Value::Count(count)
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Value {
        Value::Count(yes.into())
    }
}

impl From<Duration> for Value {
    fn from(duration: Duration) -> Value {
        Value::Seconds(duration.total_micros() as i64)
    }
}

type Label<'l> = (&'static str, &'l str);

impl View<'_, '_> {
    /// Writes `/metrics`; returns its length, or `None` when it does not fit.
    pub fn write_metrics(&self, openmetrics: bool, out: &mut [u8]) -> Option<usize> {
        let mut page = Page { sheet: Sheet::new(out), openmetrics, family: "", pending: false };
        self.write_itself(&mut page);
        self.write_vitals(&mut page);
        self.write_time(&mut page);
        self.write_network(&mut page);
        self.write_http(&mut page);
        self.write_targets(&mut page);
        self.write_incidents(&mut page);
        self.write_log(&mut page);
        if openmetrics {
            page.put("# EOF\n");
        }
        page.sheet.finish()
    }

    fn write_itself(&self, page: &mut Page<'_>) {
        let (facts, health) = (self.known.facts, self.known.health);
        let mut image_id = String::<64>::new();
        for byte in facts.image_id {
            push_hex(&mut image_id, &hex::<2>(u64::from(byte)));
        }
        page.family("gauge outpost_build_info What runs here.");
        page.sample(&[("version", crate::VERSION), ("revision", facts.revision), ("image_id", &image_id)], 1);
        page.family("gauge outpost_boot_phase_seconds How long each phase of the boot took.");
        for phase in &facts.phases {
            page.sample(&[("phase", phase.name)], Value::Seconds(phase.took_us.into()));
        }
        page.family("gauge outpost_uptime_seconds Time since the agent started.");
        page.sample(&[], self.now - self.known.started);
        page.family("gauge outpost_ready Whether no health check fails.");
        page.sample(&[], health.is_ready());
        page.family("gauge outpost_health_check The agent's own health: 1 at the state of each check.");
        for check in CHECKS {
            let found = health.get(check).state();
            for state in [State::Pass, State::Warn, State::Fail] {
                page.sample(&[("check", check.name()), ("state", state.name())], found == state);
            }
        }
    }

    /// Nothing of it where neither a document nor a URL is configured.
    fn write_incidents(&self, page: &mut Page<'_>) {
        if self.config().incidents.is_none() {
            return;
        }
        let (document, pulls) = (self.known.incidents.document, self.known.incidents.pulls);
        page.family("gauge outpost_incidents_open Incidents that are not over, by their impact.");
        for impact in IncidentImpact::WORDS {
            let count = document.open().filter(|(one, _)| one.impact.word() == Ok(*impact)).count();
            page.sample(&[("impact", *impact)], count as u64);
        }
        if let Some(now) = self.unix_s() {
            page.family("gauge outpost_incident_update_overdue Open incidents whose promised update did not come.");
            page.sample(&[], document.open().filter(|(_, update)| update.is_overdue(now)).count() as u64);
            let under_way = document.maintenances().iter().filter(|one| one.phase(now) == Ordering::Equal).count();
            page.family("gauge outpost_maintenances_under_way Maintenances that have begun and are not over.");
            page.sample(&[], under_way as u64);
        }
        if document.revision != 0 {
            page.family("gauge outpost_incidents_revision Revision of the document that is shown.");
            page.sample(&[], u64::from(document.revision));
            page.family("gauge outpost_incidents_expires_seconds When it is outdated, in seconds since 1970.");
            page.sample(&[], document.expires_at);
        }
        if let Some(at) = pulls.good_at {
            page.family("gauge outpost_incidents_age_seconds Time since a good document was last pulled.");
            page.sample(&[], self.now - at);
        }
        page.family("counter outpost_incidents_pull_failures_total Pulls of which nothing was taken.");
        page.sample(&[], u64::from(pulls.failures_ever));
    }

    fn write_vitals(&self, page: &mut Page<'_>) {
        let vitals = self.known.vitals;
        page.family("counter outpost_cpu_seconds_total Processor time, asleep and awake.");
        page.sample(&[("mode", "idle")], vitals.idle);
        page.sample(&[("mode", "busy")], vitals.busy);
        page.family("gauge outpost_memory_bytes Memory that the image claims; it never changes.");
        for (region, bytes) in vitals.memory.regions().into_iter().filter(|(_, bytes)| *bytes > 0) {
            page.sample(&[("region", region)], bytes);
        }
        let stacks = || vitals.stacks.iter().filter(|stack| stack.bytes > 0);
        page.family("gauge outpost_stack_size_bytes Size of each stack.");
        stacks().for_each(|stack| page.sample(&[("stack", stack.name)], u64::from(stack.bytes)));
        page.family("gauge outpost_stack_high_water_bytes The most of it that was ever in use.");
        stacks().for_each(|stack| page.sample(&[("stack", stack.name)], u64::from(stack.high_water)));
    }

    fn write_time(&self, page: &mut Page<'_>) {
        let (time, wall) = (self.known.time, self.known.facts.wall);
        let now = time.now(self.now);
        let carried = wall.map(|wall| wall.unix_us.saturating_add((self.now - wall.at).total_micros()));
        page.family("gauge node_time_seconds Wall time in seconds since 1970; see node_timex_sync_status.");
        if let Some(unix_us) = now.map(|now| now.unix_us).or(carried) {
            page.sample(&[], Value::Seconds(unix_us as i64));
        }
        if let Some(boot) = time.boot_unix_us() {
            page.family("gauge node_boot_time_seconds When the machine started, as the first time server told.");
            page.sample(&[], Value::Seconds(boot));
            page.family("gauge process_start_time_seconds When the agent started, likewise.");
            page.sample(&[], Value::Seconds(boot + self.known.started.total_micros()));
        }
        page.family("gauge node_timex_sync_status Whether a time server was believed lately.");
        page.sample(&[], time.is_confirmed(self.now));
        if let Some(now) = now {
            page.family("gauge node_timex_maxerror_seconds How far off wall time may be.");
            page.sample(&[], Value::Seconds(now.error_us as i64));
            page.family("gauge node_timex_estimated_error_seconds How far off it was when last confirmed, at most.");
            page.sample(&[], Value::Seconds(time.confirmed_error_us().unwrap_or(now.error_us) as i64));
            page.family("gauge node_timex_offset_seconds By how much it was corrected then.");
            page.sample(&[], Value::Seconds(time.step_us()));
            page.family("gauge outpost_time_last_sync_timestamp_seconds When it was last confirmed.");
            let age = time.last_sync().map_or(Duration::ZERO, |at| self.now - at);
            page.sample(&[], Value::Seconds(now.unix_us.saturating_sub(age.total_micros()) as i64));
            page.family("gauge outpost_time_stratum The stratum of the server that is believed.");
            page.sample(&[], u64::from(now.stratum));
        }
        page.family("counter outpost_ntp_requests_total Requests to each time server.");
        self.each_time_server(page, |server| server.asked);
        page.family("counter outpost_ntp_answers_total Answers of each time server that were believed.");
        self.each_time_server(page, |server| server.believed);
    }

    fn each_time_server(&self, page: &mut Page<'_>, count: fn(&crate::time::Server) -> u32) {
        for server in self.known.time.servers() {
            let address: String<15> = text(format_args!("{}", server.address));
            page.sample(&[("server", &address)], u64::from(count(server)));
        }
    }

    fn write_network(&self, page: &mut Page<'_>) {
        const DEVICE: Label<'static> = ("device", "eth0");
        let nic = self.nic;
        for (family, count) in [
            ("counter node_network_receive_bytes_total Bytes received.", nic.rx_bytes),
            ("counter node_network_receive_packets_total Frames received.", nic.rx_frames),
            ("counter node_network_transmit_bytes_total Bytes sent.", nic.tx_bytes),
            ("counter node_network_transmit_packets_total Frames sent.", nic.tx_frames),
            ("counter outpost_network_transmit_waits_total Times the transmit queue was full.", nic.tx_full),
            ("counter outpost_network_device_errors_total What the card said and was not believed.", nic.device_errors),
        ] {
            page.family(family);
            page.sample(&[DEVICE], count);
        }
        let (names, (questions, ignored)) = (self.known.names.names(), self.known.names.counts());
        if !names.is_empty() {
            page.family("gauge outpost_dns_name Host names of the configuration: 1 at the state of each.");
            for name in names {
                for state in ["asking", "resolved", "kept", "failed"] {
                    page.sample(&[("name", &name.host), ("state", state)], name.state() == state);
                }
            }
            page.family("counter outpost_dns_questions_total Questions sent to DNS servers.");
            page.sample(&[], questions);
            page.family("counter outpost_dns_ignored_total Packets that answered none of them: late, or forged.");
            page.sample(&[], ignored);
        }
        let (present, up) = match self.network.state() {
            net::State::Down(DownReason::NoNic) => (false, false),
            net::State::Down(DownReason::NoLink) => (true, false),
            _ => (true, true),
        };
        page.family("gauge node_network_up Whether the card has a link.");
        page.sample(&[DEVICE], up);
        if present {
            let mut mac = String::<17>::new();
            for byte in self.network.mac().0 {
                // Six times two digits, with a colon between.
                let _ = if mac.is_empty() { Ok(()) } else { mac.push(':') };
                push_hex(&mut mac, &hex::<2>(byte.into()));
            }
            page.family("gauge node_network_info The card.");
            page.sample(&[DEVICE, ("address", &mac), ("operstate", if up { "up" } else { "down" })], 1);
        }
    }

    fn write_http(&self, page: &mut Page<'_>) {
        let (pool, counters) = (self.pool, self.counters);
        page.family("counter outpost_http_requests_total Requests answered.");
        for (route, counts) in Route::ALL.into_iter().zip(&counters.answered) {
            for ((status, code), &count) in ANSWERED.iter().zip(counts) {
                if count > 0 || route.usual_statuses().contains(status) {
                    page.sample(&[("route", route.name()), ("code", code)], count);
                }
            }
        }
        page.family("histogram outpost_http_request_duration_seconds From a request's first byte to its answer.");
        page.histogram(&DURATIONS, &counters.durations, counters.duration_us);
        page.family("counter outpost_http_rejected_total Requests refused before they reached a route.");
        for ((_, code), &count) in REFUSED.iter().zip(&counters.rejected) {
            page.sample(&[("code", code)], count);
        }
        page.family("gauge outpost_http_connections Connections by what they do.");
        for (state, class) in [
            ("half_open", Class::HalfOpen),
            ("idle", Class::Idle),
            ("busy", Class::Busy),
            ("time_wait", Class::TimeWait),
        ] {
            page.sample(&[("state", state)], u64::from(pool.count(class)));
        }
        page.family("gauge outpost_http_connections_limit How many there can be.");
        page.sample(&[], pool.size() as u64);
        page.family("counter outpost_http_connections_accepted_total Handshakes completed.");
        page.sample(&[], counters.accepted);
        page.family("counter outpost_http_connections_refused_total New connections dropped.");
        page.sample(&[("reason", "full")], counters.refused);
        for (_, count) in self.probes.totals().filter(|(class, _)| *class == ProbeClass::OverShare) {
            page.sample(&[("reason", "over_share")], count);
        }
        page.family(
            "counter outpost_http_connections_empty_total Connections without a request: TCP checks, or a scan.",
        );
        page.sample(&[], counters.empty);
        page.family("counter outpost_http_probes_total What looks for weak spots, see http.probed in the log.");
        for (class, count) in self.probes.totals().filter(|(class, _)| *class != ProbeClass::OverShare) {
            page.sample(&[("class", class.word().unwrap_or("other"))], count);
        }
        page.family("counter outpost_http_connections_recycled_total Connections that gave way to newer ones.");
        page.sample(&[("state", "half_open")], counters.recycled_half_open);
        page.sample(&[("state", "idle")], counters.recycled_idle);
        page.family("counter outpost_http_connections_given_up_total Clients that took nothing for too long.");
        page.sample(&[], counters.given_up);
        page.family("gauge outpost_http_answer_buffers_used Shared answer buffers in use, this answer's included.");
        page.sample(&[], self.answers_in_use as u64);
        page.family("gauge outpost_http_answer_buffers_limit How many there are.");
        page.sample(&[], limits::ANSWERS as u64);
        page.family("counter outpost_http_answer_buffers_short_total Answers that found none free.");
        page.sample(&[], counters.no_buffer);
    }

    /// The names of blackbox_exporter where one of them fits. What is unknown or stale has no `probe_success`.
    fn write_targets(&self, page: &mut Page<'_>) {
        let now = self.now;
        let checks = self.watch.checks();
        let each = || self.watch.all().iter().map(|watched| (checks.text(watched.check().name), watched));
        let fresh = || {
            each().filter_map(|(name, watched)| match watched.shown(now).0 {
                Shown::Unknown | Shown::Stale => None,
                _ => Some((name, watched.belief().last()?)),
            })
        };
        page.family("gauge probe_success Whether the last probe of the target was good.");
        fresh().for_each(|(name, last)| page.sample(&[("target", name)], last.is_good()));
        page.family("gauge probe_duration_seconds How long it took.");
        fresh().for_each(|(name, last)| page.sample(&[("target", name)], last.took));
        page.family("gauge probe_http_status_code The status it was answered with.");
        for (name, last) in fresh().filter(|(_, last)| last.status != 0) {
            page.sample(&[("target", name)], u64::from(last.status));
        }
        page.family("gauge probe_ssl_earliest_cert_expiry When the certificate that it showed ends, in UTC.");
        for (name, watched) in each().filter(|(_, watched)| watched.shown(now).0 != Shown::Stale) {
            if let Some(seen) = watched.certificate() {
                page.sample(&[("target", name)], Value::Seconds(seen.not_after.saturating_mul(1_000_000)));
            }
        }
        page.family("gauge outpost_check_state What is believed of the target: 1 at its state.");
        for (name, watched) in each() {
            for state in Shown::ALL {
                page.sample(&[("target", name), ("state", state.name())], watched.shown(now).0 == state);
            }
        }
        page.family("gauge outpost_isolated Whether the agent itself is cut off: neither gateway, collector nor any target answers.");
        page.sample(&[], self.isolated_s().is_some());
        page.family("counter outpost_probes_total Probes started.");
        each().for_each(|(name, watched)| page.sample(&[("target", name)], watched.counters().probes));
        page.family("counter outpost_probe_failures_total Bad probes by what was wrong.");
        for (name, watched) in each() {
            for (reason, &count) in
                ProbeReason::WORDS.iter().zip(&watched.counters().failures).filter(|(_, count)| **count > 0)
            {
                page.sample(&[("target", name), ("reason", reason)], u64::from(count));
            }
        }
        page.family("counter outpost_probe_slots_missed_total Slots that passed by without a probe.");
        each().for_each(|(name, watched)| page.sample(&[("target", name)], watched.counters().missed));
        page.family("gauge outpost_probe_schedule_lag_seconds How late the last probe started.");
        each().for_each(|(name, watched)| page.sample(&[("target", name)], watched.counters().lag));
        let lag = self.watch.lag();
        page.family("histogram outpost_probe_start_lag_seconds How late probes started, of all checks.");
        page.histogram(&LAGS, &lag.classes, lag.sum_us);
        page.family("gauge outpost_probe_start_lag_max_seconds The latest start since boot.");
        page.sample(&[], lag.max);
    }

    fn write_log(&self, page: &mut Page<'_>) {
        let (log, stats) = (self.log, self.log.stats());
        let (size, used) = log.size_and_used();
        for (family, count) in [
            ("counter outpost_log_records_emitted_total Records of this boot: acked, lost or buffered.", stats.emitted),
            ("counter outpost_log_records_acked_total Records that the collector holds durably.", stats.delivered),
            ("counter outpost_log_records_lost_total Records that gave way in a full ring.", stats.lost),
            ("gauge outpost_log_records_buffered Records that the collector does not have yet.", stats.buffered),
            ("gauge outpost_log_records_salvaged Records of earlier boots that it does not have yet.", stats.salvaged),
            (
                "counter outpost_log_records_suppressed_total Records held back by volume rules.",
                stats.suppressed + stats.counted,
            ),
            (
                "counter outpost_log_records_sent_unacknowledged_total Records that a syslog server's TCP took: next hop only.",
                stats.sent_unacknowledged,
            ),
            ("gauge outpost_log_ring_size_bytes Size of the ring.", size.into()),
            ("gauge outpost_log_ring_used_bytes How much of it is in use.", used.into()),
        ] {
            page.family(family);
            page.sample(&[], count);
        }
        if let Some(oldest_us) = log.oldest_unacked_us() {
            page.family("gauge outpost_log_oldest_unacked_seconds Age of the oldest record that is buffered.");
            page.sample(&[], Value::Seconds(self.now.total_micros() - oldest_us as i64));
        }
        let Some(session) = self.known.ship.as_ref().map(Ship::status) else { return };
        page.family("gauge outpost_collector_session The session to the collector: 1 at its state.");
        for (state, phase) in [
            ("waiting", Phase::Waiting),
            ("connecting", Phase::Connecting),
            ("greeting", Phase::Greeting),
            ("connected", Phase::Connected),
        ] {
            page.sample(&[("state", state)], session.phase == phase);
        }
        page.family("gauge outpost_collector_authenticated Whether it is authenticated and encrypted.");
        page.sample(&[], session.keyed && session.phase == Phase::Connected);
        page.family("gauge outpost_collector_failed_attempts Attempts that failed since the last acknowledgement.");
        page.sample(&[], u64::from(session.attempts));
        if let Some(at) = session.last_ack {
            page.family("gauge outpost_collector_last_ack_age_seconds Time since the last acknowledgement.");
            page.sample(&[], self.now - at);
        }
    }
}

/// Text in one of the two formats.
struct Page<'o> {
    sheet: Sheet<'o>,
    openmetrics: bool,
    /// The family in hand: its type, name and help with a space between.
    family: &'static str,
    /// Its metadata is not written yet: a family without a sample has none.
    pending: bool,
}

impl Page<'_> {
    /// The samples that follow belong to this family.
    #[inline(never)]
    fn family(&mut self, family: &'static str) {
        (self.family, self.pending) = (family, true);
    }

    fn sample<const N: usize>(&mut self, labels: &[Label<'_>; N], value: impl Into<Value>) {
        self.put_sample("", labels, value.into());
    }

    fn histogram(&mut self, bounds: &[(i64, &'static str)], classes: &[u64], sum_us: u64) {
        let mut count = 0;
        for ((_, bound), class) in bounds.iter().zip(classes) {
            count += class;
            self.put_sample("_bucket", &[("le", bound)], Value::Count(count));
        }
        self.put_sample("_sum", &[], Value::Seconds(sum_us as i64));
        self.put_sample("_count", &[], Value::Count(count));
    }

    #[inline(never)]
    fn put_sample(&mut self, suffix: &str, labels: &[Label<'_>], value: Value) {
        let mut words = self.family.splitn(3, ' ');
        let [kind, name, help] = core::array::from_fn(|_| words.next().unwrap_or_default());
        if core::mem::take(&mut self.pending) {
            self.put_metadata(kind, name, help);
        }
        self.sheet.say(&[name, suffix]);
        let mut before = "{";
        for (label, value) in labels {
            self.sheet.say(&[before, label, "=\""]);
            self.put_escaped(value);
            self.put("\"");
            before = ",";
        }
        self.put(if labels.is_empty() { " " } else { "} " });
        match value {
            Value::Count(count) => self.put_number(count, 1),
            Value::Seconds(micros) => {
                if micros < 0 {
                    self.put("-");
                }
                let micros = micros.unsigned_abs();
                self.put_number(micros / 1_000_000, 1);
                self.put(".");
                self.put_number(micros % 1_000_000, 6);
            }
        }
        self.put("\n");
    }

    fn put_metadata(&mut self, kind: &str, name: &str, help: &str) {
        // OpenMetrics names the family, and only the samples of a counter end in _total.
        let name = if self.openmetrics { name.strip_suffix("_total").unwrap_or(name) } else { name };
        let unit = ["seconds", "bytes"].into_iter().find(|unit| self.openmetrics && name.ends_with(unit));
        for (keyword, text) in [("TYPE", kind), ("UNIT", unit.unwrap_or_default()), ("HELP", help)] {
            if !text.is_empty() {
                self.sheet.say(&["# ", keyword, " ", name, " ", text, "\n"]);
            }
        }
    }

    fn put_escaped(&mut self, value: &str) {
        for character in value.chars() {
            match character {
                '\n' => self.put("\\n"),
                '"' => self.put("\\\""),
                '\\' => self.put("\\\\"),
                other => self.put(other.encode_utf8(&mut [0; 4])),
            }
        }
    }

    /// Decimal digits, at least so many.
    fn put_number(&mut self, mut number: u64, least: usize) {
        let mut digits = [b'0'; 20];
        let mut at = digits.len();
        while number > 0 || at + least > digits.len() {
            at -= 1;
            digits[at] += (number % 10) as u8;
            number /= 10;
        }
        self.sheet.put(&digits[at..]);
    }

    fn put(&mut self, text: &str) {
        self.sheet.put(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts;
    use crate::health::{Check, Reason};
    use crate::time::Estimate;
    use crate::view::fixture::{self, Fixture};
    use crate::vitals::{Memory, Stack, Vitals};
    use smoltcp::time::Instant;
    use std::collections::{BTreeMap, BTreeSet};
    use std::string::String;

    const ROOM: usize = Route::Metrics.buffers(0) * limits::ANSWER;

    fn render(fixture: &Fixture, openmetrics: bool) -> String {
        let mut out = vec![0; ROOM];
        let len = fixture.view().write_metrics(openmetrics, &mut out).expect("fits");
        out.truncate(len);
        String::from_utf8(out).unwrap()
    }

    /// Reads one of the formats strictly; returns the samples by name and labels.
    fn parse(text: &str, openmetrics: bool) -> BTreeMap<String, f64> {
        let text = if openmetrics { text.strip_suffix("# EOF\n").expect("# EOF comes last") } else { text };
        assert!(text.ends_with('\n') && !text.contains("\n\n") && !text.contains("# EOF"));
        let is_name = |name: &str| {
            name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                && !name.starts_with(|c: char| c.is_ascii_digit())
        };
        let mut samples = BTreeMap::new();
        let mut families = BTreeSet::new();
        let (mut family, mut kind) = (String::new(), String::new());
        for line in text.lines() {
            if let Some(metadata) = line.strip_prefix("# ") {
                let [keyword, name, value] = metadata.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
                match keyword {
                    "TYPE" => {
                        assert!(families.insert(name.to_string()), "{name} comes twice");
                        (family, kind) = (name.to_string(), value.to_string());
                        assert!(["counter", "gauge", "histogram"].contains(&value), "{line}");
                        assert_eq!(name.ends_with("_total"), value == "counter" && !openmetrics, "{line}");
                    }
                    "UNIT" => assert!(openmetrics && name == family && name.ends_with(&format!("_{value}")), "{line}"),
                    "HELP" => {
                        assert_eq!(name, family);
                        assert!(value.ends_with('.') && !value.contains(['\\', '"']), "{line}");
                    }
                    other => panic!("{other} in {line}"),
                }
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap();
            let value: f64 = value.parse().unwrap();
            let name = series.split('{').next().unwrap();
            let suffix = name.strip_prefix(&family).unwrap_or_else(|| panic!("{line} is not of {family}"));
            let suffixes: &[&str] = match &*kind {
                "histogram" => &["_bucket", "_sum", "_count"],
                "counter" if openmetrics => &["_total"],
                _ => &[""],
            };
            assert!(is_name(name) && suffixes.contains(&suffix), "{line} in {family}, a {kind}");
            if let Some(labels) = series.strip_prefix(name).filter(|labels| !labels.is_empty()) {
                let labels = labels.strip_prefix('{').and_then(|labels| labels.strip_suffix("\"}")).expect(line);
                for label in labels.split("\",") {
                    let (name, value) = label.split_once("=\"").expect(line);
                    assert!(is_name(name), "{line}");
                    let mut rest = value.chars();
                    while let Some(character) = rest.next() {
                        assert!(character != '"' && character != '\n', "{line}");
                        assert!(character != '\\' || rest.next().is_some_and(|c| "\\\"n".contains(c)), "{line}");
                    }
                }
            }
            assert!(value >= 0.0 || kind == "gauge", "{line}");
            assert!(samples.insert(series.to_string(), value).is_none(), "{line} comes twice");
        }
        samples
    }

    #[test]
    fn both_formats_say_the_same_and_are_well_formed() {
        // Prometheus drops a whole scrape for one line that it cannot read.
        fixture::with(r#"{"collector": {"address": "10.0.2.2:7600"}}"#, |fixture| {
            fixture.counters.answer(Route::Livez, 200, Duration::from_millis(2));
            fixture.counters.answer(Route::Livez, 200, Duration::from_secs(20));
            fixture.counters.reject(431);
            for class in [ProbeClass::OverShare, ProbeClass::Traversal, ProbeClass::OverShare] {
                fixture.probes.see(fixture.now, class, [10, 0, 0, 1]);
            }
            fixture.health.set(Check::Network, Reason::NoAddress, fixture.now);
            fixture.vitals.busy = Duration::from_millis(250);
            fixture.vitals.memory.text = 4096;
            fixture.vitals.stacks[0] = Stack { name: "main", bytes: 65536, high_water: 8192 };
            let plain = parse(&render(fixture, false), false);
            assert_eq!(plain, parse(&render(fixture, true), true));
            for (series, value) in [
                ("outpost_http_requests_total{route=\"/livez\",code=\"200\"}", 2.0),
                ("outpost_http_requests_total{route=\"/readyz\",code=\"200\"}", 0.0),
                ("outpost_http_requests_total{route=\"(not found)\",code=\"404\"}", 0.0),
                ("outpost_http_request_duration_seconds_bucket{le=\"0.001\"}", 0.0),
                ("outpost_http_request_duration_seconds_bucket{le=\"0.01\"}", 1.0),
                ("outpost_http_request_duration_seconds_bucket{le=\"10.0\"}", 1.0),
                ("outpost_http_request_duration_seconds_bucket{le=\"+Inf\"}", 2.0),
                ("outpost_http_request_duration_seconds_sum", 20.002),
                ("outpost_http_request_duration_seconds_count", 2.0),
                ("outpost_http_rejected_total{code=\"431\"}", 1.0),
                ("outpost_http_rejected_total{code=\"400\"}", 0.0),
                ("outpost_http_probes_total{class=\"traversal\"}", 1.0),
                ("outpost_http_probes_total{class=\"attack_path\"}", 0.0),
                ("outpost_http_connections_refused_total{reason=\"over_share\"}", 2.0),
                ("outpost_ready", 0.0),
                ("outpost_health_check{check=\"network\",state=\"fail\"}", 1.0),
                ("outpost_health_check{check=\"network\",state=\"pass\"}", 0.0),
                ("outpost_uptime_seconds", 1.0),
                ("outpost_boot_phase_seconds{phase=\"memory\"}", 0.0015),
                ("outpost_collector_session{state=\"waiting\"}", 1.0),
                ("node_timex_sync_status", 0.0),
                ("node_network_info{device=\"eth0\",address=\"02:00:00:00:00:01\",operstate=\"up\"}", 1.0),
                ("outpost_http_requests_total{route=\"/readyz\",code=\"503\"}", 0.0),
                ("outpost_cpu_seconds_total{mode=\"busy\"}", 0.25),
                ("outpost_memory_bytes{region=\"text\"}", 4096.0),
                ("outpost_stack_size_bytes{stack=\"main\"}", 65536.0),
                ("outpost_stack_high_water_bytes{stack=\"main\"}", 8192.0),
            ] {
                assert_eq!(plain.get(series), Some(&value), "{series}");
            }
        });
    }

    #[test]
    fn what_is_not_known_is_absent() {
        // A start time of 1970 makes every uptime alert fire, and an age of 0 hides that there was never an answer.
        fixture::with("{}", |fixture| {
            let text = render(fixture, false);
            for name in [
                "node_time_seconds",
                "boot_time",
                "start_time",
                "timex_max",
                "timex_offset",
                "last_sync",
                "last_ack",
                "unacked",
                "session",
            ] {
                assert!(!text.contains(name), "{name}");
            }
            let wall = facts::WallTime { at: Instant::ZERO, unix_us: 10_000_000, error_us: 0, source: "rtc" };
            fixture.facts.wall = Some(wall);
            let samples = parse(&render(fixture, false), false);
            assert_eq!(samples.get("node_time_seconds"), Some(&12.0));
            assert!(!samples.contains_key("node_boot_time_seconds"), "nobody has confirmed the wall time");
        });
    }

    #[test]
    fn start_times_are_those_of_the_first_server_and_stay() {
        // Prometheus takes a start time that moves for a restart.
        fixture::with("{}", |fixture| {
            let estimate =
                |at, unix_us| Estimate { at, unix_us, error_us: 2_000, stratum: 2, server: [10, 0, 0, 1].into() };
            fixture.time.believe(estimate(Instant::from_secs(2), 1_000_002_000_000));
            for (seconds, offset) in [(2, 0.0), (60, 0.5)] {
                fixture.now = Instant::from_secs(seconds);
                if seconds > 2 {
                    fixture.time.believe(estimate(fixture.now, 1_000_060_500_000));
                }
                let samples = parse(&render(fixture, true), true);
                let is = |name: &str, value: f64| assert_eq!(samples.get(name), Some(&value), "{name}");
                is("node_boot_time_seconds", 1_000_000.0);
                is("process_start_time_seconds", 1_000_001.0);
                is("node_time_seconds", 1_000_000.0 + seconds as f64 + offset);
                is("node_timex_offset_seconds", offset);
                is("node_timex_maxerror_seconds", 0.002);
                is("outpost_time_last_sync_timestamp_seconds", 1_000_000.0 + seconds as f64 + offset);
            }
            fixture.time.believe(estimate(fixture.now, 1_000_059_250_000));
            assert!(render(fixture, true).contains("\nnode_timex_offset_seconds -1.250000\n"));
        });
    }

    #[test]
    fn what_is_unknown_or_stale_has_no_success() {
        // An alert on `probe_success == 0` that is quiet, or loud, because of a value nobody vouches for.
        let config = r#"{"checks": [{"name": "a", "owner": "o", "impact": "i", "runbook": "r", "tcp": {"address": "192.0.2.1:1"}}]}"#;
        fixture::with(config, |fixture| {
            let has = |fixture: &Fixture, sample: &str| render(fixture, false).contains(&format!("\n{sample}\n"));
            let find = |fixture: &mut Fixture| {
                let outcome =
                    crate::watch::Outcome { at: fixture.now, took: Duration::ZERO, reason: ProbeReason::Ok, status: 0 };
                fixture.watch.find(0, outcome, &mut fixture.log);
            };
            find(fixture);
            assert!(
                !has(fixture, "probe_success{target=\"a\"} 1")
                    && has(fixture, "outpost_check_state{target=\"a\",state=\"unknown\"} 1")
            );
            find(fixture);
            assert!(has(fixture, "probe_success{target=\"a\"} 1"));
            fixture.now += Duration::from_secs(61);
            assert!(
                !render(fixture, false).contains("probe_success{")
                    && has(fixture, "outpost_check_state{target=\"a\",state=\"stale\"} 1")
            );
        });
    }

    #[test]
    fn label_values_are_escaped() {
        // A quote in a revision's name would end the label, and with it the scrape.
        fixture::with("{}", |fixture| {
            fixture.facts.revision = "a\"b\\c\nd";
            let text = render(fixture, true);
            assert!(text.contains(r#"revision="a\"b\\c\nd""#), "{text}");
            parse(&text, true);
        });
    }

    #[test]
    fn everything_at_its_longest_fits() {
        // What does not fit is answered with 500: the agent that is in most trouble would be the one that tells nothing.
        const LONGEST: u64 = u64::MAX;
        let servers = r#"["192.168.100.101", "192.168.100.102", "192.168.100.103", "192.168.100.104"]"#;
        let document = format!(r#"{{"collector": {{"address": "10.0.2.2:7600"}}, "time": {{"servers": {servers}}}}}"#);
        fixture::with(&document, |fixture| {
            let counters = &mut fixture.counters;
            counters.answered = [[LONGEST; ANSWERED.len()]; Route::COUNT];
            counters.durations = [LONGEST / 8; DURATIONS.len()];
            counters.duration_us = LONGEST / 2;
            counters.rejected = [LONGEST; REFUSED.len()];
            counters.accepted = LONGEST;
            (counters.refused, counters.recycled_half_open, counters.recycled_idle) = (LONGEST, LONGEST, LONGEST);
            (counters.given_up, counters.no_buffer) = (LONGEST, LONGEST);
            fixture.nic = crate::nic::Counters {
                rx_frames: LONGEST,
                rx_bytes: LONGEST,
                tx_frames: LONGEST,
                tx_bytes: LONGEST,
                tx_full: LONGEST,
                device_errors: LONGEST,
                ..Default::default()
            };
            fixture.facts.revision = "0123456789012345678901234567890123456789-dirty";
            fixture.facts.phases.clear();
            while fixture.facts.phases.push(facts::Phase { name: "interrupts", took_us: u32::MAX }).is_ok() {}
            let Vitals { idle, busy, memory, stacks } = &mut fixture.vitals;
            (*idle, *busy) = (Duration::from_micros(LONGEST / 2), Duration::from_micros(LONGEST / 2));
            let Memory { log, rodata, text, data, tables, stacks: all, bss } = memory;
            [log, rodata, text, data, tables, all, bss].into_iter().for_each(|region| *region = LONGEST);
            *stacks = [Stack { name: "double_fault", bytes: u32::MAX, high_water: u32::MAX }; 4];
            for (at, name) in ["main_of_image", "nonmaskable", "double_fault", "machine_check"].into_iter().enumerate()
            {
                stacks[at].name = name;
            }
            let far = Instant::from_micros(i64::MAX / 4);
            let estimate = Estimate {
                at: far,
                unix_us: LONGEST / 2,
                error_us: LONGEST / 2,
                stratum: 15,
                server: [192, 168, 100, 101].into(),
            };
            fixture.time.believe(estimate);
            fixture.now = far;
            let len = render(fixture, true).len();
            // Every route with every status, all at 20 digits, is more than there will ever be; what is left is for what
            // comes with the next issues.
            assert!(len < ROOM * 3 / 4, "{len} bytes");
            assert_eq!(fixture.view().write_metrics(true, &mut vec![0; len - 1]), None, "cut off");
        });
    }
}
