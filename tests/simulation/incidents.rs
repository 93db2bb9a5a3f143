//! A web server that behaves as a script says, and which documents of incidents the agent takes from it.
//!
//! One machine on a cable of a millisecond, with the document's server on port 80 and a target on port 81. Documents are
//! signed by the host's own code; what the agent makes of them is read from its log, and compared with the script.

use crate::alone::{AGENT, AGENT_MAC};
use crate::nic::AgentNic;
use crate::probe;
use crate::station::Station;
use outpost::agent::{Agent, Wake};
use outpost::config::{self, checks::Checks};
use outpost::facts::WallTime;
use outpost::log::Step;
use outpost_cli::incident::{public_of, seal};
use outpost_wire::{Event, IncidentRefusal, IncidentStatus};
use serde_json::{Value, json};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{self, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, Ipv4Address, Ipv4Cidr};
use std::collections::VecDeque;

const SERVER: Ipv4Address = Ipv4Address::new(10, 1, 0, 20);
const DELAY: Duration = Duration::from_millis(1);
const STEPS: usize = 2_000_000;
const SECRET: [u8; 32] = [0x1c; 32];

/// 2026-11-22 13:00:00 UTC: the moment at which the agent starts.
const NOON: u64 = 1_795_352_400;

/// What the server does with a request.
#[derive(Clone, Debug)]
enum Manner {
    /// Answers with these bytes and closes.
    Says(Vec<u8>),
    /// Says this, one byte a second.
    Trickles(Vec<u8>),
    /// Sends a body without end.
    Floods,
    /// Takes the request and says nothing.
    Hangs,
    /// Nothing listens.
    Refuses,
}

fn ok(file: &[u8]) -> Manner {
    Manner::Says([format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", file.len()).as_bytes(), file].concat())
}

fn moment(after_s: u64) -> String {
    let text = outpost::time::utc::rfc3339((NOON + after_s) * 1_000_000);
    format!("{}Z", std::str::from_utf8(&text[..19]).unwrap())
}

/// A document of one incident with these updates.
fn document(revision: u32, updates: Value) -> Value {
    json!({
        "revision": revision, "issued_at": moment(0), "expires_at": moment(86_400),
        "incidents": [{"id": "pay-1", "title": "Payments fail", "impact": "major", "targets": ["shop"], "updates": updates}],
    })
}

fn first_update() -> Value {
    json!({"status": "investigating", "posted_at": moment(0), "text": "We are investigating."})
}

fn signed(document: &Value) -> Vec<u8> {
    seal(&document.to_string(), &SECRET)
}

/// What the agent told, and when.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Accepted(u32),
    Refused(IncidentRefusal, u32, u16),
    Changed(String, IncidentStatus),
    Overdue(String),
    Started(String),
    Ended(String),
    Target(&'static str, bool),
}

struct World {
    station: Station,
    server: SocketHandle,
    target: SocketHandle,
    script: Vec<(Instant, Manner)>,
    /// When the target listens.
    open: core::ops::Range<u64>,
    asked: Vec<u8>,
    said: usize,
    next: Instant,
    cable: VecDeque<(Instant, bool, Vec<u8>)>,
    told: Vec<(Instant, Told)>,
    requests: Vec<Instant>,
}

impl World {
    fn new(script: Vec<(u64, Manner)>, open: core::ops::Range<u64>) -> World {
        let mac = EthernetAddress([2, 0, 0, 0, 0, 20]);
        let mut station = Station::new(mac, Ipv4Cidr::new(SERVER, 24), None, 1, Instant::ZERO);
        let (server, target) = (station.tcp_socket(4096, 16 * 1024), station.tcp_socket(64, 64));
        let script = script.into_iter().map(|(at, manner)| (Instant::from_secs(at as i64), manner)).collect();
        World {
            station,
            server,
            target,
            script,
            open,
            asked: Vec::new(),
            said: 0,
            next: Instant::ZERO,
            cable: VecDeque::new(),
            told: Vec::new(),
            requests: Vec::new(),
        }
    }

    /// Runs an agent with this `incidents` and these checks for so many seconds.
    fn run(&mut self, incidents: &Value, checks: &Value, until: u64) {
        let config = json!({
            "network": {"static": {"address": format!("{AGENT}/24")}}, "incidents": incidents, "checks": checks,
        })
        .to_string();
        let outcome = probe::alone(|| {
            let mut storage = probe::storage();
            let mut table = Checks::new();
            let loaded = config::load_into(Some(config.as_bytes()), &mut table);
            assert_eq!(loaded.problem_count, 0, "{:?}", loaded.problems);
            let mut nic = AgentNic::new(AGENT_MAC, 256);
            let mut region = vec![0; 1 << 20];
            let mut facts = probe::facts(1, [1; 32]);
            let unix_us = NOON * 1_000_000;
            facts.wall = Some(WallTime { at: Instant::ZERO, unix_us, error_us: 1_000_000, source: "simulation" });
            let mut agent = Agent::new(facts, loaded, &table, &mut storage, &mut region, &mut nic, Instant::ZERO);
            self.live(&mut agent, &mut nic, Instant::from_secs(until as i64));
        });
        if let Err(panic) = outcome {
            panic!("{panic}");
        }
    }

    fn live(&mut self, agent: &mut Agent<'_>, nic: &mut AgentNic, until: Instant) {
        let (mut now, mut seen) = (Instant::ZERO, 0);
        for _ in 0..STEPS {
            let wake = agent.poll(now, nic);
            agent.console(now, &mut &mut [0; 4096][..]);
            let sent = nic.take_sent().into_iter().map(|frame| (now + DELAY, true, frame));
            self.cable.extend(sent);
            seen = self.read(agent, seen);
            let server_at = self.act(now);
            let sent = core::mem::take(&mut self.station.nic.tx).into_iter().map(|frame| (now + DELAY, false, frame));
            self.cable.extend(sent);
            let agent_at = match wake {
                Wake::At(at) => at.max(now + Duration::from_micros(1)),
                Wake::OnFrame => until,
                Wake::PowerOff => panic!("the agent ended by itself"),
            };
            let cable = self.cable.front().map_or(until, |(at, ..)| *at);
            now = agent_at.min(cable).min(server_at.max(now + Duration::from_micros(1))).min(until);
            if now == until {
                return;
            }
            while self.cable.front().is_some_and(|(at, ..)| *at <= now) {
                match self.cable.pop_front() {
                    Some((_, true, frame)) => self.station.nic.rx.push_back(frame),
                    Some((_, false, frame)) => nic.arrive(frame),
                    None => {}
                }
            }
        }
        panic!("more than {STEPS} steps until {now}");
    }

    /// Lets the server do what the script says; returns when it has something to do.
    fn act(&mut self, now: Instant) -> Instant {
        self.station.poll(now);
        let mut wake = Instant::from_micros(i64::MAX / 2);
        let manner = self.script.iter().rev().find(|(from, _)| *from <= now).map(|(_, manner)| manner.clone());
        let manner = manner.unwrap_or(Manner::Refuses);
        let target = self.station.sockets.get_mut::<tcp::Socket>(self.target);
        match (target.state(), self.open.contains(&(now.secs() as u64))) {
            (State::Closed | State::TimeWait, true) => {
                target.abort();
                target.listen(81).expect("a closed socket listens");
            }
            (State::Listen, false) => target.abort(),
            (State::CloseWait, _) => target.close(),
            _ => {}
        }
        let socket = self.station.sockets.get_mut::<tcp::Socket>(self.server);
        match socket.state() {
            State::Closed | State::TimeWait if !matches!(manner, Manner::Refuses) => {
                (self.asked, self.said) = (Vec::new(), 0);
                socket.abort();
                socket.listen(80).expect("a closed socket listens");
            }
            State::Listen if matches!(manner, Manner::Refuses) => socket.abort(),
            _ => {}
        }
        if socket.can_recv() {
            let _ = socket.recv(|bytes| (bytes.len(), self.asked.extend_from_slice(bytes)));
            if self.asked.ends_with(b"\r\n\r\n") {
                assert!(self.asked.starts_with(b"GET /incidents.json HTTP/1.1\r\nHost: 10.1.0.20\r\n"));
                self.requests.push(now);
            }
        }
        let was_asked = self.asked.ends_with(b"\r\n\r\n");
        match manner {
            Manner::Says(text) if was_asked && self.said == 0 && socket.can_send() => {
                self.said = socket.send_slice(&text).unwrap_or(0);
                assert_eq!(self.said, text.len());
                socket.close();
            }
            Manner::Trickles(text) if was_asked && self.said < text.len() && socket.can_send() => {
                if now >= self.next {
                    self.said += socket.send_slice(&text[self.said..=self.said]).unwrap_or(0);
                    self.next = now + Duration::from_secs(1);
                }
                wake = wake.min(self.next);
            }
            Manner::Floods if was_asked && socket.can_send() => {
                if self.said == 0 {
                    self.said = socket.send_slice(b"HTTP/1.1 200 OK\r\n\r\n").unwrap_or(0);
                }
                let _ = socket.send_slice(&[b'x'; 4096]);
            }
            _ => {}
        }
        if socket.state() == State::CloseWait {
            socket.close();
        }
        self.station.poll(now);
        wake.min(self.station.wake(now).unwrap_or(wake))
    }

    fn read(&mut self, agent: &mut Agent<'_>, seen: u64) -> u64 {
        let log = agent.log();
        let (mut reader, mut last) = (log.reader(seen + 1), seen);
        while let Step::Record(seq, body) = log.read(&mut reader) {
            probe::seen(seq, body);
            let record = outpost_wire::Record::decode_body(seq, body).expect("ours");
            let told = match record.decode_event() {
                Some(Event::IncidentsAccepted(event)) => Some(Told::Accepted(event.revision)),
                Some(Event::IncidentsRefused(event)) => {
                    Some(Told::Refused(event.reason, event.kept_revision, event.status))
                }
                Some(Event::IncidentChanged(event)) => {
                    Some(Told::Changed(event.incident.as_str().to_owned(), event.status))
                }
                Some(Event::IncidentOverdue(event)) => Some(Told::Overdue(event.incident.as_str().to_owned())),
                Some(Event::MaintenanceStarted(event)) => Some(Told::Started(event.maintenance.as_str().to_owned())),
                Some(Event::MaintenanceEnded(event)) => Some(Told::Ended(event.maintenance.as_str().to_owned())),
                Some(Event::TargetUp(event)) => Some(Told::Target("up", event.maintenance)),
                Some(Event::TargetDown(event)) => Some(Told::Target("down", event.maintenance)),
                _ => None,
            };
            self.told.extend(told.map(|told| (Instant::from_micros(record.mono_us as i64), told)));
            reader.pass(seq);
            last = seq;
        }
        last
    }
}

fn settings() -> Value {
    json!({"url": format!("http://{SERVER}/incidents.json"), "public_key": public_of(&SECRET), "interval_s": 10, "min_revision": 5})
}

#[test]
fn only_a_good_document_is_taken_and_the_last_one_stays() {
    // Whoever can put a file on the web server, or replay one, could write on the status page.
    let good = signed(&document(5, json!([first_update()])));
    let other =
        |revision| document(revision, json!([{"status": "identified", "posted_at": moment(0), "text": "Other."}]));
    let mut changed = good.clone();
    *changed.last_mut().unwrap() = b' ';
    let mut expired = other(9);
    (expired["issued_at"], expired["expires_at"]) = (json!("2026-11-20T00:00:00Z"), json!("2026-11-21T00:00:00Z"));
    let mut long = document(9, json!([first_update()])).to_string();
    long.push_str(&" ".repeat(8192));
    let file = |revision| signed(&other(revision));
    let cut = match ok(&good) {
        Manner::Says(mut bytes) => {
            bytes.truncate(bytes.len() - 1);
            Manner::Says(bytes)
        }
        manner => manner,
    };
    use IncidentRefusal as Why;
    let bad = [
        (ok(&changed), Why::Signature, 200),
        (ok(&seal(&other(9).to_string(), &[2; 32])), Why::Signature, 200),
        (ok(&file(4)), Why::Older, 200),
        (ok(&file(5)), Why::SameRevision, 200),
        (ok(&seal("{\"revision\": 9", &SECRET)), Why::Document, 200),
        (ok(&signed(&expired)), Why::Expired, 200),
        (ok(other(9).to_string().as_bytes()), Why::Envelope, 200),
        (ok(&seal(&long, &SECRET)), Why::TooLarge, 200),
        (cut, Why::Http, 200),
        (Manner::Floods, Why::TooLarge, 200),
        (Manner::Trickles(b"HTTP/1.1 200 OK\r\n".to_vec()), Why::Timeout, 0),
        (Manner::Hangs, Why::Timeout, 0),
        (
            Manner::Says(b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n".to_vec()),
            Why::Status,
            302,
        ),
        (Manner::Says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()), Why::Status, 404),
        (Manner::Says(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), Why::Http, 0),
        (Manner::Refuses, Why::Connect, 0),
    ];
    // Between two bad ones the good one is there again, and is no news.
    let mut script = vec![(0, ok(&good))];
    for (number, (manner, ..)) in bad.iter().enumerate() {
        let from = 60 + 120 * number as u64;
        script.extend([(from, manner.clone()), (from + 40, ok(&good))]);
    }
    let last = 60 + 120 * bad.len() as u64;
    let resolved = json!([first_update(), {"status": "resolved", "posted_at": moment(60), "text": "It is over."}]);
    script.push((last, ok(&signed(&document(6, resolved)))));
    let mut world = World::new(script, 0..0);
    world.run(&settings(), &json!([]), last + 60);

    let mut expected = vec![Told::Accepted(5), Told::Changed("pay-1".into(), IncidentStatus::Investigating)];
    expected.extend(bad.iter().map(|(_, why, status)| Told::Refused(*why, 5, *status)));
    expected.extend([Told::Accepted(6), Told::Changed("pay-1".into(), IncidentStatus::Resolved)]);
    let told: Vec<Told> = world.told.iter().map(|(_, told)| told.clone()).collect();
    assert_eq!(told, expected);
}

#[test]
fn a_server_that_is_away_is_asked_less_and_less() {
    // A fleet that hammers a web server keeps it from coming back.
    let mut world = World::new(vec![(0, Manner::Hangs)], 0..0);
    world.run(&settings(), &json!([]), 2000);
    let waits: Vec<i64> = world.requests.windows(2).map(|pair| (pair[1] - pair[0]).secs() as i64).collect();
    assert_eq!(
        waits,
        [15, 20, 30, 50, 90, 170, 330, 610, 610],
        "5 s and twice as much each time, behind 10 s of patience"
    );
    assert_eq!(
        world.told.iter().map(|(_, told)| told.clone()).collect::<Vec<_>>(),
        [Told::Refused(IncidentRefusal::Timeout, 0, 0)]
    );
}

#[test]
fn what_time_alone_changes_is_told_in_its_time() {
    // A promised update that does not come, and a maintenance, need nobody who writes that it is so.
    let mut pulled = document(
        5,
        json!([{"status": "investigating", "posted_at": moment(0), "next_update_at": moment(120), "text": "We look."}]),
    );
    pulled["maintenances"] = json!([{
        "id": "disks", "title": "Disks", "starts_at": moment(60), "ends_at": moment(180), "targets": ["shop"],
    }]);
    let mut settings = settings();
    settings["document"] = json!({
        "revision": 2, "issued_at": moment(0), "expires_at": moment(600),
        "incidents": [{"id": "boot", "title": "Known at boot", "impact": "none", "updates": [first_update()]}],
    });
    let checks = json!([{
        "name": "shop", "owner": "o", "impact": "i", "runbook": "r", "interval_s": 5, "rise": 1, "fall": 1,
        "tcp": {"address": format!("{SERVER}:81")},
    }]);
    let mut world = World::new(vec![(20, ok(&signed(&pulled)))], 100..250);
    world.run(&settings, &checks, 300);

    let told: Vec<Told> = world.told.iter().map(|(_, told)| told.clone()).collect();
    let boot = |status| Told::Changed("boot".into(), status);
    let shop = |state, maintenance| Told::Target(state, maintenance);
    let mut expected =
        vec![boot(IncidentStatus::Investigating), Told::Refused(IncidentRefusal::Connect, 2, 0), shop("down", false)];
    expected.extend([
        Told::Accepted(5),
        Told::Changed("pay-1".into(), IncidentStatus::Investigating),
        boot(IncidentStatus::Withdrawn),
    ]);
    expected.extend([Told::Started("disks".into()), shop("up", true), Told::Overdue("pay-1".into())]);
    expected.extend([Told::Ended("disks".into()), shop("down", false)]);
    assert_eq!(told, expected);
    for (told, due) in
        [(Told::Started("disks".into()), 60), (Told::Overdue("pay-1".into()), 120), (Told::Ended("disks".into()), 180)]
    {
        let (at, _) = world.told.iter().find(|(_, other)| *other == told).unwrap();
        assert!((*at - Instant::from_secs(due)).total_micros() < 10_000, "{told:?} at {at}");
    }
}
