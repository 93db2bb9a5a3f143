//! Who looks for weak spots: requests for paths that only attacks ask for, what is no HTTP, and more of either than a
//! client would send by mistake. They are answered like any other; here they are counted by class, and told by one
//! record per class and [`PROBE_TELL`](limits::PROBE_TELL), however many there are.
//!
//! Connections without a request are counted elsewhere and not told: TCP checks of load balancers are just that.

use crate::limits;
use crate::log::Log;
use outpost_wire::{HttpProbed, Ip4, ProbeClass};
use smoltcp::time::Instant;

/// What is told of a class, in the order of the wire's numbers.
const CLASSES: [ProbeClass; 6] = [
    ProbeClass::AttackPath,
    ProbeClass::Traversal,
    ProbeClass::Malformed,
    ProbeClass::Tls,
    ProbeClass::UnknownPaths,
    ProbeClass::OverShare,
];

/// Beginnings of paths that scanners ask every server for, in lower case; none of them is ours.
const ATTACKED: &str = "/. /wp- /wp/ /wordpress /xmlrpc /php /pma /myadmin /mysql /admin /manager/ /cgi-bin /actuator \
                        /solr /jenkins /druid /geoserver /boaform /hnap1 /owa/ /ecp/ /autodiscover /_ignition \
                        /vendor/ /server-status /setup /shell /login /console /remote/ /sdk /api/jsonws /telescope";

/// Ends of such paths.
const ATTACKED_ENDS: &str = ".php .asp .aspx .jsp .cgi .env .sql .bak .zip .gz .tar";

/// What a path that leads nowhere is a sign of, if it is valid percent-encoding.
pub fn classify(path: &[u8]) -> Option<ProbeClass> {
    let decoded = || {
        let mut at = 0;
        core::iter::from_fn(move || {
            let byte = *path.get(at)?;
            let digit = |at: usize| path.get(at).and_then(|byte| char::from(*byte).to_digit(16));
            let value = match (byte, digit(at + 1), digit(at + 2)) {
                (b'%', Some(high), Some(low)) => {
                    at += 2;
                    (high * 16 + low) as u8
                }
                _ => byte,
            };
            at += 1;
            Some(value.to_ascii_lowercase())
        })
    };
    // Two dots alone between separators, or before the end; 3 stands for a name.
    let mut dots = 0;
    for byte in decoded().chain([b'/']) {
        match byte {
            b'/' | b'\\' if dots == 2 => return Some(ProbeClass::Traversal),
            b'/' | b'\\' => dots = 0,
            b'.' if dots < 3 => dots += 1,
            _ => dots = 3,
        }
    }
    let begins = |with: &str| with.bytes().eq(decoded().take(with.len()));
    let ends = |with: &str| {
        let end = path.len().checked_sub(with.len()).and_then(|at| path.get(at..));
        end.is_some_and(|end| end.eq_ignore_ascii_case(with.as_bytes()))
    };
    let attacked = ATTACKED.split(' ').any(begins) || ATTACKED_ENDS.split(' ').any(ends);
    (attacked && !begins("/.well-known/")).then_some(ProbeClass::AttackPath)
}

/// How often a class was seen, and what was told of it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    total: u64,
    told: u64,
    told_at: Option<Instant>,
    /// Who was the last.
    client: [u8; 4],
}

/// A client that asks for what there is not.
#[derive(Clone, Copy, Debug)]
struct Wanderer {
    client: [u8; 4],
    paths: u16,
    since: Instant,
}

/// What was seen since boot.
#[derive(Clone, Debug)]
pub struct Probes {
    seen: [Seen; CLASSES.len()],
    wanderers: [Wanderer; limits::WANDERERS],
    /// When there is something to tell.
    due: Option<Instant>,
}

impl Probes {
    /// Nothing yet.
    pub const fn new() -> Probes {
        Probes {
            seen: [Seen { total: 0, told: 0, told_at: None, client: [0; 4] }; CLASSES.len()],
            wanderers: [Wanderer { client: [0; 4], paths: 0, since: Instant::ZERO }; limits::WANDERERS],
            due: None,
        }
    }

    /// Each class with how often it was seen.
    pub fn totals(&self) -> impl Iterator<Item = (ProbeClass, u64)> {
        CLASSES.into_iter().zip(self.seen.map(|seen| seen.total))
    }

    /// A probe of this class came from this client.
    pub fn see(&mut self, now: Instant, class: ProbeClass, client: [u8; 4]) {
        for seen in CLASSES.iter().zip(&mut self.seen).filter(|(known, _)| **known == class).map(|(_, seen)| seen) {
            seen.total += 1;
            seen.client = client;
            let due = seen.told_at.map_or(now, |told| told + limits::PROBE_TELL);
            self.due = Some(self.due.map_or(due, |before| before.min(due)));
        }
    }

    /// A client asked for a path that leads nowhere and says nothing. One or two are a typing error or a browser's
    /// habit; from [`limits::WANDERER_PATHS`] in [`limits::WANDERER_TIME`] on each counts.
    pub fn see_unknown(&mut self, now: Instant, client: [u8; 4]) {
        let known = self.wanderers.iter_mut().find(|known| known.client == client && known.paths > 0);
        let wanderer = match known {
            Some(known) => known,
            // The one that began first gives way.
            None => match self.wanderers.iter_mut().min_by_key(|known| (known.paths > 0, known.since)) {
                Some(oldest) => {
                    *oldest = Wanderer { client, paths: 0, since: now };
                    oldest
                }
                None => return,
            },
        };
        if now - wanderer.since >= limits::WANDERER_TIME {
            *wanderer = Wanderer { client, paths: 0, since: now };
        }
        wanderer.paths = wanderer.paths.saturating_add(1);
        if wanderer.paths >= limits::WANDERER_PATHS {
            self.see(now, ProbeClass::UnknownPaths, client);
        }
    }

    /// Tells what is due.
    pub fn tell(&mut self, now: Instant, log: &mut Log<'_>) {
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        self.due = None;
        for (class, seen) in CLASSES.into_iter().zip(&mut self.seen).filter(|(_, seen)| seen.total > seen.told) {
            let due = seen.told_at.map_or(now, |told| told + limits::PROBE_TELL);
            if due > now {
                self.due = Some(self.due.map_or(due, |before| before.min(due)));
                continue;
            }
            let count = u32::try_from(seen.total - seen.told).unwrap_or(u32::MAX);
            log.emit(now, None, HttpProbed { class, count, client: Ip4(seen.client) });
            (seen.told, seen.told_at) = (seen.total, Some(now));
        }
    }

    /// When there is something to tell.
    pub fn poll_at(&self) -> Option<Instant> {
        self.due
    }
}

impl Default for Probes {
    fn default() -> Self {
        Probes::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::routes::Route;
    use crate::log::Step;
    use outpost_wire::{Event, Record};
    use smoltcp::time::Duration;

    #[test]
    fn attacks_are_known_by_their_paths_and_nothing_else_is() {
        // A poller with a typing error that is called an attack makes the operator pass over the next one.
        for (path, class) in [
            ("/wp-login.php", Some(ProbeClass::AttackPath)),
            ("/.env", Some(ProbeClass::AttackPath)),
            ("/%2eGIT/config", Some(ProbeClass::AttackPath)),
            ("/PhpMyAdmin/", Some(ProbeClass::AttackPath)),
            ("/some/where/INDEX.PHP", Some(ProbeClass::AttackPath)),
            ("/actuator/health", Some(ProbeClass::AttackPath)),
            ("/cgi-bin/../../etc/passwd", Some(ProbeClass::Traversal)),
            ("/static/..", Some(ProbeClass::Traversal)),
            ("/%2E%2e%2fetc/passwd", Some(ProbeClass::Traversal)),
            ("/..%5cwindows", Some(ProbeClass::Traversal)),
            ("/.well-known/acme-challenge/x", None),
            ("/.well-known/../x", Some(ProbeClass::Traversal)),
            ("/...", Some(ProbeClass::AttackPath)),
            ("/a..b/..c/c..", None),
            ("/favicon.ico", None),
            ("/robots.txt", None),
            ("/health/", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(classify(path.as_bytes()), class, "{path}");
        }
        for route in Route::ALL {
            assert_eq!(classify(route.name().as_bytes()), None, "{} is ours", route.name());
        }
    }

    /// What was told, and when, in microseconds.
    fn told(log: &Log<'_>) -> Vec<(u64, HttpProbed)> {
        let mut reader = log.reader(1);
        let mut found = Vec::new();
        while let Step::Record(seq, body) = log.read(&mut reader) {
            let record = Record::decode_body(seq, body).unwrap();
            if let Some(Event::HttpProbed(event)) = record.decode_event() {
                found.push((record.mono_us, event));
            }
            reader.pass(seq);
        }
        found
    }

    #[test]
    fn a_scan_is_a_few_records_and_every_probe_is_counted() {
        // A log that a scanner can fill hides what else happens.
        let mut region = vec![0; 64 * 1024];
        let mut log = Log::new(&mut region, 1);
        let mut probes = Probes::new();
        let mut now = Instant::from_secs(5);
        for number in 0..10_000u32 {
            probes.see(now, ProbeClass::AttackPath, [10, 0, 0, 1]);
            // Half a minute later, so that each class has a minute of its own.
            if number >= 1500 && number % 100 == 0 {
                probes.see(now, ProbeClass::Tls, [10, 0, 0, 2]);
            }
            now += Duration::from_millis(20);
            assert!(probes.poll_at().is_some());
            probes.tell(now, &mut log);
        }
        let last = probes.poll_at().unwrap();
        probes.tell(last - Duration::from_micros(1), &mut log);
        while let Some(at) = probes.poll_at() {
            probes.tell(at, &mut log);
        }
        let told = told(&log);
        for (class, records, probes) in [(ProbeClass::AttackPath, 5, 10_000), (ProbeClass::Tls, 4, 85)] {
            let of: Vec<_> = told.iter().filter(|(_, event)| event.class == class).collect();
            // 200 s of scanning: at once, then every minute, then what is left.
            assert_eq!(of.len(), records, "{told:?}");
            assert_eq!(of.iter().map(|(_, event)| event.count).sum::<u32>(), probes);
            let minute = limits::PROBE_TELL.total_micros();
            assert!(of.windows(2).all(|pair| pair[1].0 - pair[0].0 >= minute), "{told:?}");
        }
        let client = |class| told.iter().find(|(_, event)| event.class == class).map(|(_, event)| event.client);
        assert_eq!(client(ProbeClass::Tls), Some(Ip4([10, 0, 0, 2])));
        assert_eq!(probes.totals().map(|(_, total)| total).collect::<Vec<_>>(), [10_000, 0, 0, 85, 0, 0]);
    }

    #[test]
    fn only_a_client_that_goes_on_asking_is_looking_for_something() {
        // Every browser asks for what we do not have.
        let mut probes = Probes::new();
        let unknown = |probes: &Probes| probes.totals().nth(4).unwrap().1;
        for client in 0..100u8 {
            for _ in 1..limits::WANDERER_PATHS {
                probes.see_unknown(Instant::from_secs(1), [10, 0, 0, client]);
            }
        }
        assert_eq!(unknown(&probes), 0);
        probes.see_unknown(Instant::from_secs(2), [10, 0, 0, 99]);
        assert_eq!(unknown(&probes), 1);
        let later = Instant::from_secs(1) + limits::WANDERER_TIME;
        probes.see_unknown(later, [10, 0, 0, 99]);
        assert_eq!(unknown(&probes), 1, "a new window begins");
    }
}
