//! `/`: the status page, as HTML for browsers and as text for everybody else.
//!
//! It is public, so it shows no addresses, and of a problem with the configuration only that there is one: what
//! operators may see is at `/status`. One walk writes both forms, so that they cannot say different things. HTML: one
//! request, no script, every state told by a word, and by a sign that page.css draws, beside its colour.

use super::writer::Writer;
use super::{Known, View, incidents, targets};
use crate::health::{CHECKS, Check, Reason, State};
use crate::limits;
use crate::log::{Phase, Ship, Stats, Status};
use crate::watch::{Day, History, Past, Shown, Watch, Watched};
use core::net::Ipv4Addr;
use outpost_wire::{ConfigSource, EntropySource};
use smoltcp::time::Instant;

/// What only the page's HTML has in its head: it may load nothing but images from here, and runs no script. The form
/// depends on these two headers of the request (RFC 9110, section 12.5.5).
pub const HEADERS: &str = "\r\nContent-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; img-src 'self'\
                           \r\nVary: Accept, User-Agent";

/// The page's icon: browsers ask for one whatever the page says.
pub const ICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 8 8\">\
                        <circle cx=\"4\" cy=\"4\" r=\"3\" fill=\"none\" stroke=\"#2a78d0\" stroke-width=\"2\"/></svg>";

const HEAD: &str = concat!(
    "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">\
     <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
     <link rel=\"icon\" href=\"/favicon.ico\" type=\"image/svg+xml\"><style>",
    include_str!("page.css"),
    "</style><title>"
);

/// Where the values of the text form begin.
const COLUMN: usize = 15;

/// Bytes of what comes behind the targets at its longest, of the name of a group, of a target in brief, and of what is added to its texts when it
/// is down.
const REST: usize = 7 * 1024;
const GROUP: usize = 64 + 6 * limits::CHECK_GROUP;
const TARGET: usize = 320;
const TARGET_DOWN: usize = 160;

/// Neither good nor bad: not known, or out of service on purpose and for no other reason.
const HOLD: &str = "hold";
const MAINTENANCE: &str = "In maintenance";

/// What stands before every verdict of a boot that is an exercise: nobody must take its outage for a real one.
pub const EXERCISE: &str = "Exercise: ";

/// What the page tells.
struct Page<'v, 'a> {
    now: Instant,
    known: Known<'v>,
    stats: Stats,
    session: Option<Status>,
    clock: Clock,
    watch: &'v Watch<'a>,
    /// The agent's own address.
    address: Option<Ipv4Addr>,
    /// How many points a curve has at most; `None`: no drawings at all.
    graphics: Option<usize>,
    /// Bytes that are kept free behind the targets; `None`: nothing is left out, whether it fits or not.
    reserve: Option<usize>,
}

/// Points of a curve, finest first. Who watches many targets on a bad day sees coarser drawings before fewer words.
const FINEST: usize = limits::CHECK_HISTORY;
const COARSER: [usize; 2] = [FINEST / 2, FINEST / 6];

/// UTC, as far as it is known.
#[derive(Clone, Copy)]
pub struct Clock {
    /// Monotonic time, and what UTC was then in microseconds since 1970.
    pair: Option<(Instant, u64)>,
    error_us: u64,
    /// The server's stratum; `None` when only the machine says so.
    stratum: Option<u8>,
}

/// The whole in one look.
struct Verdict {
    class: &'static str,
    title: &'static str,
    /// Of how many targets that is said; 0: of all, or not of targets.
    count: usize,
}

impl View<'_, '_> {
    /// Writes the page; returns its length, `None` when it does not fit.
    pub fn write_page(&self, html: bool, out: &mut [u8]) -> Option<usize> {
        let known = self.known;
        let (now, stats) = (self.now, self.log.stats());
        let clock = Clock::of(&known, now);
        let session = known.ship.as_ref().map(Ship::status);
        let address = self.network.address().map(|address| address.cidr.address());
        let watch = self.watch;
        Page { now, known, stats, session, clock, watch, address, graphics: None, reserve: None }.fit(html, out)
    }
}

impl Clock {
    /// As it is known now.
    pub fn of(known: &Known<'_>, now: Instant) -> Clock {
        match (known.time.now(now), known.facts.wall) {
            (Some(time), _) => {
                Clock { pair: Some((now, time.unix_us)), error_us: time.error_us, stratum: Some(time.stratum) }
            }
            (None, Some(wall)) => Clock { pair: Some((wall.at, wall.unix_us)), error_us: wall.error_us, stratum: None },
            (None, None) => Clock { pair: None, error_us: 0, stratum: None },
        }
    }

    /// Seconds since 1970 at this moment.
    pub fn unix_s(&self, at: Instant) -> Option<u64> {
        let (then, unix_us) = self.pair?;
        Some(unix_us.saturating_add_signed(at.total_micros() - then.total_micros()) / 1_000_000)
    }
}

impl Page<'_, '_> {
    /// Writes as much as fits, in two walks at most: how long the first one would have been says what the second one leaves
    /// out. A page that does not fit is one of a bad day, when many ask for it.
    fn fit(mut self, html: bool, out: &mut [u8]) -> Option<usize> {
        self.graphics = html.then_some(FINEST);
        let whole = self.write_into(html, out);
        if whole <= out.len() {
            return Some(whole);
        }
        self.graphics = COARSER.into_iter().find(|&points| html && whole - self.saved(points) <= out.len());
        self.reserve = self.graphics.is_none().then_some(REST);
        let len = self.write_into(html, out);
        (len <= out.len()).then_some(len)
    }

    /// How long it is, also when it did not fit.
    fn write_into(&self, html: bool, out: &mut [u8]) -> usize {
        let mut writer = Writer::new(out, html);
        self.write(&mut writer);
        writer.needed()
    }

    /// By how many bytes curves of so many points are shorter than the finest.
    fn saved(&self, points: usize) -> usize {
        let len = |history, points| {
            let mut nowhere = Writer::new(&mut [], true);
            write_curve(&mut nowhere, history, points);
            nowhere.needed()
        };
        let histories = self.watch.all().iter().map(Watched::history);
        let (finest, coarser) = histories
            .fold((0, 0), |(finest, coarser), history| (finest + len(history, FINEST), coarser + len(history, points)));
        finest.saturating_sub(coarser)
    }

    fn write(&self, w: &mut Writer<'_>) {
        #[cfg(test)]
        tests::WALKS.set(tests::WALKS.get() + 1);
        let config = &self.known.loaded.config;
        let verdict = self.verdict();
        w.tag(HEAD);
        w.say(&config.name);
        w.say(": ");
        self.write_title(&verdict, w);
        w.tag("</title></head><body><main><header class=\"");
        w.tag(verdict.class);
        w.tag("\"><p class=\"n\">");
        w.quote(&config.name);
        w.tag("</p><h1>");
        if w.is_html() {
            self.write_title(&verdict, w);
        }
        w.tag("</h1><p>");
        w.plain("\n");
        self.write_summary(&verdict, w);
        w.tag("</p><p class=\"n\">");
        w.plain("\n");
        w.say("As of ");
        self.moment(w, self.now);
        if self.clock.pair.is_some() {
            w.say(" ");
            w.error(self.clock.error_us);
        }
        w.say(", agent up ");
        w.duration(self.seconds_since(self.known.started));
        w.tag("</p></header>");
        w.plain("\n");
        incidents::write(w, self.known.incidents, self.clock.unix_s(self.now));
        self.write_targets(w);
        w.tag("<div class=\"c\">");
        self.write_contact(w);
        self.write_checks(w);
        self.write_clock(w);
        self.write_log(w);
        self.write_identity(w);
        w.tag("</div>");
        self.write_advice(w);
        w.tag(
            "<footer><p>Reload for how things are now. Programs read \
             <a href=\"/readyz\">/readyz</a> and <a href=\"/livez\">/livez</a>; operators also \
             <a href=\"/status\">/status</a>, <a href=\"/metrics\">/metrics</a>, <a href=\"/events\">/events</a>, \
             <a href=\"/debug/net\">/debug/net</a>, <a href=\"/config\">/config</a>, <a href=\"/about\">/about</a> and \
             <a href=\"/schema/\">/schema/</a>.</p></footer></main></body></html>",
        );
        w.plain(
            "\nPrograms:  /readyz /livez\n\
             Operators: /readyz?verbose /status /metrics /events /debug/net /config /about\n",
        );
    }

    /// The agent's own state where it is not to be relied on, else that of its targets.
    fn verdict(&self) -> Verdict {
        let health = self.known.health;
        let fails = |check| health.get(check).state() == State::Fail;
        let all = self.watch.all().len();
        let (down, up) = (self.count(Shown::Down), self.count(Shown::Up));
        let (class, title, count) = match health.worst() {
            State::Fail if health.get(Check::Boot).reason == Reason::SafeMode => ("fail", "Not ready: safe mode", 0),
            State::Fail if CHECKS.iter().all(|&check| fails(check) == (check == Check::Maintenance)) => {
                (HOLD, MAINTENANCE, 0)
            }
            State::Fail => ("fail", "Not ready", 0),
            _ if down > 0 => ("fail", " targets down", down),
            _ if up < all => (HOLD, " targets not known", all - up),
            _ if all > 0 => ("pass", "All targets up", 0),
            State::Pass => ("pass", "Ready", 0),
            State::Warn => ("warn", "Ready, with warnings", 0),
        };
        Verdict { class, title, count }
    }

    fn write_title(&self, verdict: &Verdict, w: &mut Writer<'_>) {
        if self.known.is_exercise() {
            w.say(EXERCISE);
        }
        if verdict.count > 0 {
            w.number(verdict.count as u64);
            w.say(" of ");
            w.number(self.watch.all().len() as u64);
        }
        w.say(verdict.title);
    }

    /// The sentences under the title: which checks do not pass, and what it means.
    fn write_summary(&self, verdict: &Verdict, w: &mut Writer<'_>) {
        let health = self.known.health;
        if self.known.is_exercise() {
            w.say("This is an exercise: trouble may be made on purpose. ");
        }
        if verdict.title == MAINTENANCE {
            return w.say("Its operator has taken it out of service.");
        }
        for (state, label) in [(State::Fail, "The agent is failing: "), (State::Warn, "The agent warns: ")] {
            let mut between = label;
            for check in CHECKS.into_iter().filter(|&check| health.get(check).state() == state) {
                w.say(between);
                w.say(check.name());
                between = ", ";
            }
            if between == ", " {
                w.say(". ");
            }
        }
        w.say(match health.worst() {
            State::Pass => "The agent itself is well.",
            State::Warn => "A warning does not take it out of service.",
            State::Fail => "It answers, but should not be relied on now.",
        });
    }

    /// Whether there is no room for so many bytes, and they may be left out.
    fn is_short_of(&self, bytes: usize, w: &Writer<'_>) -> bool {
        self.reserve.is_some_and(|reserve| w.room() < reserve + bytes)
    }

    /// What is watched, by groups in the order of the configuration.
    fn write_targets(&self, w: &mut Writer<'_>) {
        let (all, checks) = (self.watch.all(), self.watch.checks());
        if all.is_empty() {
            return;
        }
        section(w, "Targets");
        self.write_tally(w);
        let mut left_out = 0;
        for (number, first) in all.iter().enumerate() {
            let group = checks.text(first.check().group);
            let same = |other: &&Watched<'_>| checks.text(other.check().group) == group;
            if all.iter().take(number).any(|other| same(&other)) {
                continue;
            }
            if self.is_short_of(GROUP + TARGET, w) {
                left_out += all.iter().filter(same).count() as u64;
                continue;
            }
            if !group.is_empty() {
                w.tag("<h3>");
                w.say(group);
                w.tag("</h3>");
                w.plain(":\n");
            }
            w.tag("<ul>");
            for watched in all.iter().filter(same) {
                if self.is_short_of(TARGET, w) {
                    left_out += 1;
                } else {
                    self.write_target(w, watched);
                }
            }
            w.tag("</ul>");
        }
        write_left_out(w, left_out);
        w.tag("</section>");
    }

    /// How many targets there are, where they are looked at from, and how many of them are not up.
    fn write_tally(&self, w: &mut Writer<'_>) {
        let all = self.watch.all();
        w.tag("<p>");
        w.number(all.len() as u64);
        w.say(" watched from ");
        w.say(&self.known.loaded.config.name);
        if let Some(address) = self.address {
            w.say(" at ");
            w.address(address.octets());
        }
        for state in [Shown::Down, Shown::Unknown, Shown::Stale] {
            let count = self.count(state);
            if count > 0 {
                w.say(", ");
                w.number(count as u64);
                w.say(" ");
                w.say(state.name());
            }
        }
        w.say(". Times are UTC.");
        w.plain("\n");
        if self.graphics.is_some() {
            w.quote(
                " Bars: 90 days of UTC, today last; green: all good, taller amber: some bad, tallest red: over 5 % bad, \
                 grey line: no data. Curve: latency of the last 60 probes, red where bad.",
            );
            if self.watch.days().today().is_none() {
                w.quote(" Days are counted once the clock is synchronised.");
            }
        }
        w.tag("</p>");
    }

    fn count(&self, state: Shown) -> usize {
        self.watch.all().iter().filter(|watched| watched.shown(self.now).0 == state).count()
    }

    fn write_target(&self, w: &mut Writer<'_>, watched: &Watched<'_>) {
        let (check, checks) = (watched.check(), self.watch.checks());
        let (shown, since) = watched.shown(self.now);
        let class = match shown {
            Shown::Up => "pass",
            Shown::Down => "fail",
            Shown::Unknown | Shown::Stale => HOLD,
        };
        w.tag("<li class=\"");
        w.tag(class);
        w.tag("\"><strong>");
        w.plain("  ");
        w.say(checks.text(check.name));
        w.column(COLUMN);
        w.tag("</strong><b>");
        w.say(shown.name());
        w.tag("</b><span>");
        w.plain("  ");
        match watched.belief().last() {
            None => w.say("not probed yet"),
            Some(last) => {
                w.say(check.kind_name());
                w.say(" ");
                w.say(targets::reason(last.reason));
                if last.status != 0 {
                    w.say(" ");
                    w.number(last.status.into());
                }
                w.say(", ");
                w.number(last.took.total_millis());
                w.say(" ms, ");
                if let Some(unix_s) = self.clock.unix_s(last.at) {
                    w.time_of_day(unix_s);
                    w.say(", ");
                }
                w.duration(self.seconds_since(last.at));
                w.say(" ago");
            }
        }
        w.tag("</span>");
        self.write_history(w, watched);
        let texts = [check.impact, check.owner, check.runbook].map(|words| escaped_len(checks.text(words)));
        if shown == Shown::Down && !self.is_short_of(TARGET_DOWN + texts.iter().sum::<usize>(), w) {
            w.tag("<small>");
            w.plain("\n    ");
            w.say("Down since ");
            self.moment(w, since);
            w.say(": ");
            w.say(checks.text(check.impact));
            w.say(". Owner ");
            w.say(checks.text(check.owner));
            w.say(", runbook ");
            let runbook = checks.text(check.runbook);
            let served = self.known.facts.content.has_runbook(runbook);
            if served {
                w.tag("<a href=\"/runbook/");
                w.quote(runbook);
                w.tag("\">");
            }
            w.say(runbook);
            if served {
                w.tag("</a>");
            }
            w.tag("</small>");
        }
        w.tag("</li>");
        w.plain("\n");
    }

    /// The days, as bars, and the last latencies, as a curve; in plain text the days' sum alone.
    #[inline(never)]
    fn write_history(&self, w: &mut Writer<'_>, watched: &Watched<'_>) {
        let days = self.watch.days();
        let (Day { good, bad }, count) = days.total(watched.number());
        if let Some(points) = self.graphics {
            let slowest = slowest_of(watched.history());
            w.tag("<svg viewBox=\"0 0 152 12\" role=\"img\" aria-label=\"");
            w.number(count.into());
            w.quote(" days with data");
            if let Some(slowest) = slowest {
                w.quote(", latency up to ");
                w.number(slowest.into());
                w.quote(" ms");
            }
            w.tag("\">");
            for (class, level) in [("<path d=\"", 0), ("<path class=\"w\" d=\"", 1), ("<path class=\"r\" d=\"", 2)] {
                let mut runs = Runs { before: class, end: 0, len: 0 };
                for (at, day) in days.of(watched.number()).enumerate() {
                    // The first is a ground on which the others stand.
                    if day.is_some_and(|day| level == 0 || level_of(day) == level) {
                        runs.extend(w, at);
                    }
                }
                for (at, past) in watched.history().iter().enumerate() {
                    if level == 2 && !past.is_good() {
                        runs.extend(w, CURVE_AT + at);
                    }
                }
                runs.finish(w);
            }
            write_curve(w, watched.history(), points);
            w.tag("</svg>");
        }
        if count > 0 {
            w.tag("<i>");
            w.plain(", ");
            w.percent(good.into(), u64::from(good) + u64::from(bad));
            w.say(" of ");
            w.number(count.into());
            w.say(" d");
            w.tag("</i>");
        }
    }

    /// How the agent itself is doing: what does not pass on a line of its own, the rest in a sentence.
    fn write_checks(&self, w: &mut Writer<'_>) {
        section(w, "This agent");
        let health = self.known.health;
        w.tag("<ul>");
        for check in CHECKS.into_iter().filter(|&check| health.get(check).state() != State::Pass) {
            let finding = health.get(check);
            let state = finding.state().name();
            w.tag("<li class=\"");
            w.tag(state);
            w.tag("\"><strong>");
            w.plain("  ");
            w.say(check.name());
            w.column(COLUMN);
            w.tag("</strong><b>");
            w.say(state);
            w.tag("</b><span>");
            w.plain("  ");
            w.say(finding.reason.text());
            w.say(", since ");
            w.plain("\n    ");
            self.moment(w, finding.since);
            w.say(" (");
            w.duration(self.seconds_since(finding.since));
            w.say(")");
            w.tag("</span></li>");
            w.plain("\n");
        }
        w.tag("</ul><p>");
        let mut between = "Pass: ";
        for check in CHECKS.into_iter().filter(|&check| health.get(check).state() == State::Pass) {
            w.plain(if between == ", " { "" } else { "  " });
            w.say(between);
            w.say(check.name());
            between = ", ";
        }
        w.plain("\n");
        w.tag("</p></section>");
    }

    fn write_log(&self, w: &mut Writer<'_>) {
        section(w, "Log delivery");
        w.tag("<dl>");
        row(w, "Collector", |w| {
            let Some(session) = &self.session else {
                let alone = self.known.loaded.config.sink.is_none();
                return w.say(if alone { "none: records stay in memory and on the serial console" } else { "none" });
            };
            let connected = session.phase == Phase::Connected;
            w.say(match (connected, session.keyed) {
                (true, true) => "connected, authenticated and encrypted",
                (true, false) => "connected, clear text: nobody has proven to be the collector",
                (false, _) => "not connected",
            });
        });
        if let Some(session) = &self.session {
            row(w, "Since", |w| self.moment(w, session.since));
        }
        let Stats { emitted, delivered, lost, buffered, sent_unacknowledged, .. } = self.stats;
        if self.known.loaded.config.sink.is_some() {
            row(w, "Syslog server", |w| {
                w.say("next hop only: ");
                w.number(sent_unacknowledged);
                w.say(" sent unacknowledged");
            });
        }
        for (label, count) in [("Emitted", emitted), ("Delivered", delivered), ("Buffered", buffered), ("Lost", lost)] {
            row(w, label, |w| w.number(count));
        }
        end(w);
    }

    fn write_clock(&self, w: &mut Writer<'_>) {
        section(w, "Clock");
        w.tag("<dl>");
        row(w, "Time", |w| match self.clock.unix_s(self.now) {
            Some(unix_s) => w.moment(unix_s),
            None => w.say("not known"),
        });
        row(w, "Error", |w| match self.clock {
            Clock { pair: None, .. } => w.say("not synchronised"),
            Clock { stratum: None, error_us, .. } => {
                w.say("not synchronised: as the machine has it, ");
                w.error(error_us);
            }
            Clock { error_us, .. } => w.error(error_us),
        });
        if let (Some(stratum), Some(at)) = (self.clock.stratum, self.known.time.last_sync()) {
            row(w, "Source", |w| {
                w.say("NTP, stratum ");
                w.number(stratum.into());
                w.say(", ");
                w.duration(self.seconds_since(at));
                w.say(" ago");
            });
        }
        end(w);
    }

    fn write_identity(&self, w: &mut Writer<'_>) {
        let facts = self.known.facts;
        section(w, "Identity");
        w.tag("<dl>");
        row(w, "Name", |w| w.say(&self.known.loaded.config.name));
        row(w, "Version", |w| {
            w.say("Outpost ");
            w.say(crate::VERSION);
        });
        row(w, "Image", |w| w.hex(&facts.image_id[..6]));
        row(w, "Boot", |w| w.hex(&facts.boot_id.to_be_bytes()));
        row(w, "Machine", |w| w.say(&facts.machine));
        end(w);
    }

    fn write_contact(&self, w: &mut Writer<'_>) {
        let Some(contact) = &self.known.loaded.config.contact else { return };
        section(w, "Contact");
        w.tag("<dl>");
        if let Some(name) = &contact.name {
            row(w, "Name", |w| w.say(name));
        }
        // The configuration lets through what is the same in a URI, but for the spaces and signs of a number.
        if let Some(tel) = &contact.tel {
            row(w, "Telephone", |w| {
                w.tag("<a href=\"tel:");
                let mut digit = [0; 4];
                for sign in tel.chars().filter(|sign| sign.is_ascii_digit() || *sign == '+') {
                    w.quote(sign.encode_utf8(&mut digit));
                }
                link_text(w, tel);
            });
        }
        if let Some(mail) = &contact.mail {
            row(w, "Mail", |w| {
                w.tag("<a href=\"mailto:");
                w.quote(mail);
                link_text(w, mail);
            });
        }
        end(w);
    }

    /// What to do about what only a new boot can change.
    fn write_advice(&self, w: &mut Writer<'_>) {
        let loaded = self.known.loaded;
        let weak = self.known.facts.entropy == EntropySource::Weak;
        let absent = loaded.source == ConfigSource::Default;
        if !absent && loaded.problem_count == 0 && !weak {
            return;
        }
        section(w, "What to do");
        if absent {
            paragraph(
                w,
                "This agent was given no configuration, so defaults are in force. Write one, and boot the image with it:",
            );
            w.tag("<pre>");
            w.say(
                "outpost config init --name outpost-1 --collector 192.0.2.20:7600     (writes config.json)\n\n\
                 QEMU              -kernel outpost.elf -initrd config.json\n\
                 libvirt           <initrd>/path/config.json</initrd>\n\
                 Firecracker       \"initrd_path\": \"config.json\"\n\
                 Cloud Hypervisor  --kernel outpost.elf --initramfs config.json\n\
                 UEFI disk         outpost image --format qcow2 --config config.json\n",
            );
            w.tag("</pre><p>All keys: <a href=\"/schema/config.json\">/schema/config.json</a>");
            w.plain("All keys: /schema/config.json\n");
            w.tag("</p>");
        }
        if loaded.problem_count > 0 {
            paragraph(
                w,
                "The configuration has errors; what could be read is in force. `outpost check config.json` names each, \
                 as do /status and the serial console. Correct it and boot again.",
            );
        }
        if weak {
            paragraph(
                w,
                "The random seed can be guessed: give the machine a processor with RDRAND (-cpu host), or a virtio-rng \
                 device.",
            );
        }
        w.tag("</section>");
    }

    #[inline(never)]
    fn moment(&self, w: &mut Writer<'_>, at: Instant) {
        match self.clock.unix_s(at) {
            Some(unix_s) => w.moment(unix_s),
            None => {
                w.duration((at - self.known.started).secs());
                w.say(" after boot");
            }
        }
    }

    fn seconds_since(&self, then: Instant) -> u64 {
        (self.now - then).secs()
    }
}

/// How many bytes a text takes in HTML.
fn escaped_len(text: &str) -> usize {
    text.bytes().map(|byte| if b"&<>\"".contains(&byte) { "&quot;".len() } else { 1 }).sum()
}

/// What kind of a day it was: 0 all good, 1 some bad, 2 over 5 % bad.
fn level_of(Day { good, bad }: Day) -> u8 {
    u8::from(bad > 0) + u8::from(u64::from(bad) * 20 > u64::from(good) + u64::from(bad))
}

/// Where the curve begins in the drawing, behind the bars of the days.
const CURVE_AT: usize = limits::CHECK_DAYS + 2;

/// The highest point of the curve above its base line.
const CURVE_HEIGHT: u32 = 9;

/// Bars side by side, drawn as one line: `M60 6h30`.
struct Runs {
    /// What stands before the first one.
    before: &'static str,
    end: usize,
    len: usize,
}

impl Runs {
    #[inline(never)]
    fn extend(&mut self, w: &mut Writer<'_>, at: usize) {
        if self.len > 0 && self.end == at {
            self.len += 1;
        } else {
            self.flush(w);
            self.len = 1;
        }
        self.end = at + 1;
    }

    fn flush(&mut self, w: &mut Writer<'_>) {
        if self.len > 0 {
            w.tag(core::mem::take(&mut self.before));
            w.tag("M");
            w.number((self.end - self.len) as u64);
            w.tag(" 6h");
            w.number(self.len as u64);
        }
    }

    #[inline(never)]
    fn finish(mut self, w: &mut Writer<'_>) {
        self.flush(w);
        if self.len > 0 {
            w.tag("\"/>");
        }
    }
}

fn slowest_of(history: &History) -> Option<u16> {
    history.iter().map(Past::took_ms).max()
}

/// The latencies, the highest of them at the top, in so many points at most: each is the slowest of those it stands for.
#[inline(never)]
fn write_curve(w: &mut Writer<'_>, history: &History, points: usize) {
    let slowest = slowest_of(history).unwrap_or_default();
    let each = limits::CHECK_HISTORY / points;
    let count = history.iter().count();
    let height = |point: usize| {
        let took = history.iter().skip(point * each).take(each).map(Past::took_ms).max().unwrap_or_default();
        i32::try_from(u32::from(took) * CURVE_HEIGHT / u32::from(slowest.max(1))).unwrap_or_default()
    };
    let last = count.div_ceil(each).saturating_sub(1);
    if last == 0 {
        // The last path is the curve, whatever there is of it.
        return w.tag("<path/>");
    }
    w.tag("<path d=\"M");
    let (mut at, mut level) = (0, height(0));
    w.step(CURVE_AT as u32, 11 - level);
    w.tag("l");
    for point in 1..=last {
        let next = height(point);
        // A stretch that is level is one step.
        if next == level && point < last && height(point + 1) == level {
            continue;
        }
        w.step(((point - at) * each) as u32, level - next);
        (at, level) = (point, next);
    }
    w.tag("\"/>");
}

#[inline(never)]
fn section(w: &mut Writer<'_>, title: &str) {
    w.tag("<section><h2>");
    w.plain("\n");
    w.say(title);
    w.tag("</h2>");
    w.plain("\n");
}

/// Ends a section that is a list of [`row`]s.
fn end(w: &mut Writer<'_>) {
    w.tag("</dl></section>");
}

fn row(w: &mut Writer<'_>, label: &str, value: impl FnOnce(&mut Writer<'_>)) {
    begin_row(w, label);
    value(w);
    w.tag("</dd>");
    w.plain("\n");
}

#[inline(never)]
fn begin_row(w: &mut Writer<'_>, label: &str) {
    w.tag("<dt>");
    w.plain("  ");
    w.say(label);
    w.column(COLUMN);
    w.tag("</dt><dd>");
}

#[inline(never)]
fn paragraph(w: &mut Writer<'_>, text: &str) {
    w.tag("<p>");
    w.say(text);
    w.tag("</p>");
    w.plain("\n");
}

#[inline(never)]
fn link_text(w: &mut Writer<'_>, text: &str) {
    w.tag("\">");
    w.say(text);
    w.tag("</a>");
}

const _: () = assert!(HEADERS.len() <= limits::ANSWER_HEADERS);

/// That so many items of a section are not on the page.
pub fn write_left_out(w: &mut Writer<'_>, count: u64) {
    if count > 0 {
        w.tag("<p>");
        w.number(count);
        w.say(" more have no room here: see /status.");
        w.plain("\n");
        w.tag("</p>");
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::config::checks::Checks;
    use crate::config::{Loaded, load_into};
    use crate::facts::{Facts, WallTime};
    use crate::health::Health;
    use crate::http::answer::{HeadOf, write_head};
    use crate::http::routes::{Answer, Body, Media};
    use crate::net::resolve::Resolver;
    use crate::time::Time;
    use crate::vitals::Vitals;
    use crate::watch::{self, Outcome};
    use core::net::SocketAddrV4;
    use outpost_wire::ProbeReason;
    use smoltcp::time::Duration;

    const NOW: Instant = Instant::from_micros_const(4_000_000_000);

    std::thread_local! {
        /// How often a page was walked through.
        pub(super) static WALKS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
    }

    /// A page in the making: everything passes at 2026-11-22 13:40:05 UTC, 4,000 s after boot.
    struct Scene {
        loaded: Loaded,
        facts: Facts,
        health: Health,
        clock: Clock,
        stats: Stats,
        session: Option<Status>,
        watch: Watch<'static>,
    }

    fn scene(config: &str) -> Scene {
        let checks = Box::leak(Box::new(Checks::new()));
        let loaded = load_into(Some(config.as_bytes()), checks);
        let memory = Box::leak(Box::new(watch::Memory::new()));
        Scene {
            loaded,
            watch: Watch::new(checks, memory, vec![0; watch::DAYS_REGION].leak(), 1, 1, Instant::from_secs(1)),
            facts: Facts {
                entropy: EntropySource::Cpu,
                machine: "microvm, QEMU TCG".try_into().unwrap(),
                memory_bytes: 12 << 20,
                clock: "tsc",
                image_id: [0xa5; 32],
                ..fixture::facts()
            },
            health: Health::new(Instant::from_secs(1)),
            clock: Clock { pair: Some((NOW, 1_795_354_805_000_000)), error_us: 1_250, stratum: Some(3) },
            stats: Stats { emitted: 1204, delivered: 1200, buffered: 4, ..Stats::default() },
            session: Some(Status {
                address: SocketAddrV4::new([192, 0, 2, 77].into(), 7600),
                phase: Phase::Connected,
                since: Instant::from_secs(2),
                last_ack: None,
                attempts: 0,
                last_end: None,
                keyed: true,
            }),
        }
    }

    impl Scene {
        /// How long the page is with curves of so many points, and how long that was foretold to be.
        fn lengths_with(&self, points: usize) -> (usize, usize) {
            self.page(|mut page| {
                page.graphics = Some(FINEST);
                let foretold = page.write_into(true, &mut []) - page.saved(points);
                page.graphics = Some(points);
                (page.write_into(true, &mut vec![0; 64 * 1024]), foretold)
            })
        }

        fn fill(&self, out: &mut [u8], html: bool) -> Option<usize> {
            self.page(|page| page.fit(html, out))
        }

        fn page<R>(&self, give: impl FnOnce(Page<'_, '_>) -> R) -> R {
            let (time, vitals) = (Time::new(&[], 0, Instant::ZERO), Vitals::default());
            let names = Resolver::new(core::iter::empty(), 0, Instant::ZERO);
            let known = Known {
                started: Instant::ZERO,
                facts: &self.facts,
                loaded: &self.loaded,
                health: &self.health,
                vitals: &vitals,
                names: &names,
                time: &time,
                ship: &None,
                sink: &None,
                incidents: crate::incidents::Told::NOTHING,
                safe_mode: false,
            };
            let page = Page {
                now: NOW,
                known,
                stats: self.stats,
                session: self.session,
                clock: self.clock,
                watch: &self.watch,
                address: Some([10, 0, 2, 15].into()),
                graphics: None,
                reserve: None,
            };
            give(page)
        }

        fn written(&self, html: bool) -> String {
            let mut out = [0; limits::PAGE];
            let len = self.fill(&mut out, html).expect("it fits");
            String::from_utf8(out[..len].to_vec()).unwrap()
        }

        /// Both forms say all of this, and none of that.
        fn says(&self, said: &[&str], unsaid: &[&str]) {
            for html in [true, false] {
                let page = self.written(html);
                said.iter().for_each(|words| assert!(page.contains(words), "{words} is missing in {page}"));
                unsaid.iter().for_each(|words| assert!(!page.contains(words), "{words} is in {page}"));
            }
        }

        fn with(mut self, check: Check, reason: Reason) -> Scene {
            self.health.set(check, reason, Instant::from_secs(3995));
            self
        }
    }

    #[test]
    fn everything_passes() {
        let scene = scene(r#"{"name": "outpost-fra1", "collector": {"address": "192.0.2.77:7600"}}"#);
        scene.says(
            &[
                "outpost-fra1: Ready",
                "The agent itself is well.",
                "2026-11-22 13:40:05 UTC",
                "2026-11-22 13:40:05 UTC",
                "Pass: network, config, clock, collector",
                "1 h 6 min",
                "connected, authenticated and encrypted",
                "1,204",
                "1,200",
                "± 1.2 ms",
                "a5a5a5a5a5a5",
                "000000000000b007",
                "microvm, QEMU TCG",
            ],
            // No address, of whatever.
            &["192.0.2.77", "What to do", "Contact"],
        );
        let text = scene.written(false);
        assert_eq!(text.lines().next(), Some("outpost-fra1: Ready"));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "a terminal breaks a line of {text}");
    }

    /// A check as it stands in a configuration, all its texts of this length.
    fn check(name: &str, group: &str, text: &str) -> String {
        let group = if group.is_empty() { String::new() } else { format!(r#""group": "{group}", "#) };
        format!(
            r#"{{"name": "{name}", {group}"owner": "{text}", "impact": "{text}", "runbook": "r",
                "http": {{"url": "http://192.0.2.10/"}}}}"#
        )
    }

    /// These outcomes of a check, 10 s apart, the last one at 5 s before now.
    fn find(scene: &mut Scene, number: usize, reasons: &[ProbeReason]) {
        let mut region = vec![0; 64 * 1024];
        let mut log = crate::log::Log::new(&mut region, 1);
        for (back, &reason) in (0..reasons.len() as u64).rev().zip(reasons) {
            let at = NOW - Duration::from_secs(5 + 10 * back);
            let status = if reason == ProbeReason::Status { 503 } else { 0 };
            scene.watch.find(number, Outcome { at, took: Duration::from_millis(35), reason, status }, &mut log);
        }
    }

    #[test]
    fn targets_are_shown_with_what_is_known_of_them() {
        // Green before anything is known, or a page at night that does not say whom to wake.
        use ProbeReason::{Ok, Status, TimeoutConnect};
        let checks = [
            check("shop", "Shop", "customers <cannot> pay"),
            check("search", "Shop", "nothing"),
            check("mail", "", "x"),
            check("old", "", "x"),
        ];
        let mut scene = scene(&format!(r#"{{"checks": [{}]}}"#, checks.join(",")));
        assert_eq!(scene.loaded.problem_count, 0, "{:?}", scene.loaded.problems);
        find(&mut scene, 0, &[Ok, Ok, Status, Status, Status]);
        find(&mut scene, 1, &[TimeoutConnect, Ok, Ok]);
        let long_ago = Outcome { at: NOW - Duration::from_secs(61), took: Duration::ZERO, reason: Ok, status: 200 };
        let mut region = vec![0; 64 * 1024];
        scene.watch.find(3, long_ago, &mut crate::log::Log::new(&mut region, 1));
        scene.says(
            &[
                "1 of 4 targets down",
                "4 watched from outpost at 10.0.2.15, 1 down, 1 unknown, 1 stale. Times are UTC.",
                "http status 503, 35 ms, 13:40:00, 5 s ago",
                "not probed yet",
                "runbook r",
            ],
            &["192.0.2.10"],
        );
        let text = scene.written(false);
        assert!(text.contains("\n  shop         down  http status 503, 35 ms, 13:40:00, 5 s ago\n    Down since 2026-11-22 13:40:00 UTC: customers <cannot> pay. "), "{text}");
        assert!(text.contains("\n  search       up  http ok, 35 ms, 13:40:00, 5 s ago\n"), "{text}");
        assert!(scene.written(true).contains("customers &lt;cannot&gt; pay"));
    }

    /// Twenty targets in their groups with a history of 90 days and 60 probes each, none of them dull.
    fn twenty() -> Scene {
        let names = ["shop", "search", "login", "checkout", "mail", "imap", "dns-1", "dns-2", "git", "wiki"];
        let checks: Vec<String> = (0..20)
            .map(|at| {
                let group = ["Shop", "Mail and names", "Inside", "Partners"][at / 5];
                check(&format!("{}{}", names[at % 10], if at < 10 { "" } else { "-b" }), group, "customers cannot pay")
            })
            .collect();
        let contact = r#"{"name": "On-call", "tel": "+49 30 000000", "mail": "oncall@example.org"}"#;
        let mut scene = scene(&format!(
            r#"{{"name": "outpost-fra1", "contact": {contact}, "collector": {{"address": "192.0.2.77:7600"}}, "checks": [{}]}}"#,
            checks.join(",")
        ));
        assert_eq!(scene.loaded.problem_count, 0, "{:?}", scene.loaded.problems);
        let mut random = crate::random::Random::new(1);
        let today = 20_779;
        scene.watch.days_mut().know(today * 86_400_000_000, today * 86_400_000_000, core::iter::empty());
        for number in 0..20 {
            let begun = if number == 19 { 0 } else { random.number() % 90 };
            for day in today - begun..=today {
                let bad = match random.number() % 60 {
                    0 => 2,
                    1 => 300,
                    _ => 0,
                };
                scene.watch.days_mut().set(number, day as u32, Day { good: 2880 - bad, bad });
            }
        }
        let mut region = vec![0; 64 * 1024];
        let mut log = crate::log::Log::new(&mut region, 1);
        for number in (0..20).filter(|number| *number != 7) {
            for back in (0..60).rev() {
                let down = number == 3 && back < 5 || random.number().is_multiple_of(300) && back > 5;
                let (reason, status) = if down { (ProbeReason::TimeoutResponse, 0) } else { (ProbeReason::Ok, 200) };
                let took = Duration::from_millis(
                    20 + random.number() % 15 + if random.number().is_multiple_of(9) { 60 } else { 0 },
                );
                let at = NOW - Duration::from_secs(12 + 30 * back);
                scene.watch.find(number, Outcome { at, took, reason, status }, &mut log);
            }
        }
        scene
    }

    #[test]
    fn twenty_targets_with_all_their_history_fit() {
        // Beyond ten segments a page needs another round trip, on the day when round trips are lost.
        let scene = twenty();
        let page = scene.written(true);
        if let Some(path) = std::env::var_os("OUTPOST_PAGE_SAMPLE") {
            std::fs::write(path, &page).unwrap();
        }
        println!("{} bytes", page.len());
        for points in [FINEST, COARSER[0], COARSER[1]] {
            let (len, foretold) = scene.lengths_with(points);
            println!("{points} points: {len}");
            assert_eq!(len, foretold, "with curves of {points} points");
        }
        assert!(page.contains("1 of 20 targets down") && page.contains("1 unknown"), "{page}");
        assert_eq!(page.matches("<svg").count(), 20, "{page}");
        assert_eq!(page.matches("class=\"pass\"><strong>").count(), 18);
        assert!(!page.contains("more have no room"), "{page}");
    }

    #[test]
    fn an_exercise_says_so_first() {
        // A drill's outage that a customer, or the one on call, takes for a real one.
        let config = r#"{"name": "a", "drill": {"exercise": true}}"#;
        let said = ["a: Exercise: Ready", "This is an exercise: trouble may be made on purpose."];
        scene(config).says(&said, &[]);
        assert!(scene(config).written(true).contains("<h1>Exercise: Ready</h1>"));
        scene(r#"{"name": "a"}"#).says(&["a: Ready"], &["xercise"]);
        // All twenty are on it all the same.
        let mut twenty = twenty();
        twenty.loaded.config.drill = scene(config).loaded.config.drill;
        let page = twenty.written(true);
        assert!(page.contains("<h1>Exercise: 1 of 20 targets down</h1>"), "{page}");
        assert!(page.matches("<svg").count() == 20 && !page.contains("more have no room"), "{page}");
    }

    #[test]
    fn a_page_is_walked_through_twice_at_most() {
        // Whoever finds everything down reloads, and each time the longest page of all would be written four times.
        let scene = twenty();
        let whole = scene.lengths_with(FINEST).0;
        let [coarse, coarsest] = COARSER.map(|points| scene.lengths_with(points).0);
        let too_small = 1_000;
        for (room, walks, expected) in [
            (whole, 1, Some(whole)),
            (whole - 1, 2, Some(coarse)),
            (coarse, 2, Some(coarse)),
            (coarse - 1, 2, Some(coarsest)),
            (coarsest, 2, Some(coarsest)),
            (too_small, 2, None),
        ] {
            WALKS.set(0);
            assert_eq!(scene.fill(&mut vec![0; room], true), expected, "in {room} bytes");
            assert_eq!(WALKS.get(), walks, "in {room} bytes");
        }
        for html in [true, false] {
            WALKS.set(0);
            let room = limits::PAGE.min(coarsest - 1);
            assert!(scene.fill(&mut vec![0; room], html).is_some());
            assert_eq!(WALKS.get(), if html { 2 } else { 1 });
        }
    }

    #[test]
    fn as_many_targets_as_there_may_be_leave_a_page() {
        // A page that does not fit is answered with 500 in the moment when everything is down.
        let text = "\"&".replace('"', "\\\"").repeat(64);
        let checks: Vec<String> = (0..64).map(|at| check(&format!("{at:0>32}"), &format!("{at:0>32}"), "x")).collect();
        let worst: Vec<String> = (0..20).map(|at| check(&format!("{at:0>32}"), "", &text)).collect();
        for (checks, more) in [(checks, " more have no room here"), (worst, "Owner")] {
            let mut scene = scene(&format!(r#"{{"checks": [{}]}}"#, checks.join(",")));
            assert_eq!(scene.loaded.problem_count, 0, "{:?}", scene.loaded.problems);
            for number in 0..checks.len() {
                find(&mut scene, number, &[ProbeReason::TimeoutResponse; 3]);
            }
            assert!(scene.written(true).contains(more));
            scene.written(false);
        }
    }

    #[test]
    fn every_state_has_its_title() {
        // A banner that says less than the checks do is the one thing people look at.
        let scene = || scene(r#"{"name": "x"}"#);
        scene().with(Check::Collector, Reason::Disconnected).says(
            &["x: Ready, with warnings", "The agent warns: collector. ", "2026-11-22 13:40:00 UTC", "5 s"],
            &["is failing"],
        );
        scene()
            .with(Check::Network, Reason::NoAddress)
            .with(Check::Clock, Reason::Unsynchronised)
            .with(Check::Entropy, Reason::WeakEntropy)
            .says(&["x: Not ready", "The agent is failing: network. The agent warns: clock, entropy. "], &["x: Ready"]);
        scene()
            .with(Check::Maintenance, Reason::Maintenance)
            .says(&["x: In maintenance", "Its operator has"], &["is failing"]);
        scene()
            .with(Check::Maintenance, Reason::Maintenance)
            .with(Check::Config, Reason::ConfigInvalid)
            .says(&["x: Not ready"], &["x: In maintenance"]);
        scene().with(Check::Boot, Reason::SafeMode).says(&["x: Not ready: safe mode", "after a crash loop"], &[]);
    }

    #[test]
    fn what_is_not_known_is_not_shown_as_known() {
        // A guessed time or a collector that nobody vouches for must not look like the real thing.
        let mut unknown = scene("{}");
        unknown.clock = Clock { pair: None, error_us: 0, stratum: None };
        unknown.session = None;
        unknown.says(&["not known", "not synchronised", "1 h 6 min after boot", "none: records stay"], &[" UTC", "±"]);
        let mut clear = scene("{}");
        let wall = WallTime { at: NOW, unix_us: 1_795_354_805_000_000, error_us: 1_000_000, source: "rtc" };
        clear.facts.wall = Some(wall);
        clear.clock = clear.page(|page| Clock::of(&page.known, NOW));
        clear.session.as_mut().unwrap().keyed = false;
        clear.says(&["not synchronised: as the machine has it, ± 1,000 ms", "clear text", "13:40:05 UTC"], &["NTP"]);
        clear.session.as_mut().unwrap().phase = Phase::Connecting;
        clear.says(&["not connected"], &["clear text"]);
        clear.loaded.config.sink =
            Some(crate::config::Sink { syslog: SocketAddrV4::new([192, 0, 2, 30].into(), 601).into() });
        clear.stats.sent_unacknowledged = 17;
        clear.says(&["next hop only: 17 sent unacknowledged"], &["192.0.2.30"]);
        clear.session = None;
        clear.says(&["none"], &["none: records stay"]);
    }

    #[test]
    fn it_says_how_to_configure_it() {
        let mut none = scene("{}");
        none.loaded = crate::config::load(None);
        none.facts.entropy = EntropySource::Weak;
        none.says(
            &[
                "What to do",
                "outpost config init",
                "-initrd config.json",
                "/path/config.json",
                "initrd_path",
                "--initramfs config.json",
                "--format qcow2 --config config.json",
                "/schema/config.json",
                "virtio-rng",
            ],
            &["has errors"],
        );
        assert!(none.written(true).contains("&lt;initrd&gt;/path/config.json&lt;/initrd&gt;"));
        // What is wrong with it is for operators: it may hold an address or the half of a secret.
        let bad = scene(r#"{"collector": {"address": "198.51.100.9"}}"#);
        bad.says(&["The configuration has errors"], &["198.51.100.9", "-initrd"]);
    }

    #[test]
    fn text_from_the_configuration_stays_text() {
        let config = r#"{"contact": {"name": "<script>alert(\"1\")</script> & \u202e", "tel": "+49 (30) 000-1", "mail": "a+b@c.example"}}"#;
        let scene = scene(config);
        let page = scene.written(true);
        assert!(page.contains("<dd>&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; \u{202e}</dd>"), "{page}");
        assert!(page.contains(r#"<a href="tel:+49300001">+49 (30) 000-1</a>"#), "{page}");
        assert!(page.contains(r#"<a href="mailto:a+b@c.example">a+b@c.example</a>"#), "{page}");
        assert!(scene.written(false).contains("  Telephone    +49 (30) 000-1\n"));
    }

    /// The longest page there is: every check fails, every text is as long as it may be and is escaped.
    fn longest() -> Scene {
        let (label, wide, long) = ("a".repeat(63), "\\\"".repeat(64), "a".repeat(60));
        let mut scene = scene(&format!(
            r#"{{"name": "{label}", "contact": {{"name": "{wide}", "tel": "+{:049}", "mail": "{long}@b.c"}}, "nmae": 1}}"#,
            ""
        ));
        assert_eq!(scene.loaded.problem_count, 2);
        scene.loaded.config.contact.as_mut().unwrap().tel = Some(long.as_str().try_into().unwrap());
        scene.loaded.source = ConfigSource::Default;
        scene.facts.entropy = EntropySource::Weak;
        scene.facts.machine = "\"".repeat(40).as_str().try_into().unwrap();
        scene.stats =
            Stats { emitted: u64::MAX, delivered: u64::MAX, lost: u64::MAX, buffered: u64::MAX, ..scene.stats };
        scene.session.as_mut().unwrap().keyed = false;
        for check in CHECKS {
            // The longest reason of all stands for each.
            scene.health.set(check, Reason::SafeMode, Instant::ZERO);
        }
        scene
    }

    #[test]
    fn it_is_small_and_has_no_script() {
        let longest = longest().written(true);
        let usual = scene("{}").written(true);
        println!("{} bytes, {} at its longest", usual.len(), longest.len());
        // The checks of other services, their history and incidents are still to come into the same page.
        assert!(usual.len() <= 5500 && longest.len() <= 8500, "{} {}", usual.len(), longest.len());
        for page in [&usual, &longest] {
            let page = page.to_lowercase();
            for forbidden in [
                "<script",
                "javascript:",
                " onload=",
                " onclick=",
                "http-equiv",
                "=\"//",
                "<img",
                "url(",
                "style=",
                "@import",
            ] {
                assert!(!page.contains(forbidden), "{forbidden}");
            }
        }
    }

    #[test]
    fn a_page_without_room_is_no_page() {
        let longest = longest();
        let whole = longest.written(true).len();
        for room in [0, 1, 1000, whole - 1, whole] {
            assert_eq!(longest.fill(&mut vec![0; room], true), (room == whole).then_some(whole));
        }
    }

    #[test]
    fn the_head_holds_the_page_to_its_policy() {
        let answer = Answer { status: 200, media: Media::Html, body: Body::Fixed(b""), headers: HEADERS };
        let mut out = [0; limits::ANSWER_HEAD];
        let head = HeadOf { answer: &answer, body_len: limits::PAGE, request: None, boot_id: 1, transaction: 1 };
        let len = write_head(&head, &mut out);
        let text = core::str::from_utf8(&out[..len]).unwrap();
        for line in [
            "Content-Type: text/html; charset=utf-8",
            "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; img-src 'self'",
            "Vary: Accept, User-Agent",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in {text}");
        }
    }
}
