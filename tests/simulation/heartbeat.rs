//! Those who push: what each signal changes, when silence is told, and that a token stands nowhere.

use crate::alone::{ask_long, converse, run, start, with_checks};
use crate::frames;
use crate::isolation;
use crate::nic::AgentNic;
use crate::probe;
use outpost::agent::Agent;
use outpost::log::Step;
use outpost::nic::Link;
use outpost_wire::{Event, ProbeReason, Record};
use sha2::{Digest, Sha256};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::TcpPacket;

const TOKEN: &str = "6f75742d6f662d72656163682d6265617473";
const STRANGER: &str = "00000000000000000000000000000000000000";

/// Seconds that the check below is patient for.
const PATIENCE_S: i64 = 60 + 10;

fn document(more: &str) -> String {
    let hash: String = Sha256::digest(TOKEN).iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        r#"{{"checks": [{{"name": "backup", "owner": "o", "impact": "i", "runbook": "r", {more}
            "heartbeat": {{"token_sha256": "{hash}", "period_s": 60, "grace_s": 10}}}}]}}"#
    )
}

/// An agent with that check, and its clock.
struct Scene<'s, 'a> {
    agent: &'s mut Agent<'a>,
    nic: &'s mut AgentNic,
    now: Instant,
    port: u16,
}

impl<'s, 'a> Scene<'s, 'a> {
    fn new(agent: &'s mut Agent<'a>, nic: &'s mut AgentNic) -> Scene<'s, 'a> {
        Scene { agent, nic, now: start(), port: 20_000 }
    }

    fn pass(&mut self, seconds: i64) {
        let until = self.now + Duration::from_secs(seconds as u64);
        while self.now < until {
            let step = (self.now + Duration::from_secs(1)).min(until);
            let sent = run(self.agent, self.nic, self.now, step);
            // The gateway lives: it vouches for silence being theirs.
            for (_, reply) in sent.iter().filter_map(|frame| isolation::answer(frame)) {
                self.nic.arrive(reply);
                run(self.agent, self.nic, step, step);
            }
            self.now = step;
        }
    }

    /// Sends this and says the answer's status.
    fn send(&mut self, request: &str) -> u16 {
        self.port += 1;
        let sent = converse(self.agent, self.nic, self.now, self.port, request.as_bytes()).expect("accepted");
        self.now += Duration::from_millis(50);
        let payload = |frame: &Vec<u8>| frames::tcp_to(frame, self.port, |s: &TcpPacket<&[u8]>| s.payload().to_vec());
        let answer: Vec<u8> = sent.iter().filter_map(payload).flatten().collect();
        let answer = String::from_utf8(answer).expect("text");
        answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{request}: {answer:?}"))
    }

    fn get(&mut self, path: &str) -> u16 {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
    }

    fn show(&mut self, path: &str) -> String {
        self.port += 1;
        let text = ask_long(self.agent, self.nic, self.now, self.port, path);
        self.now += Duration::from_millis(50);
        text
    }

    /// State and reason, as `/status` has them, and how long the run took.
    fn shown(&mut self) -> (String, String, u64) {
        let answer = self.show("/status");
        let body = answer.split_once("\r\n\r\n").expect("a body").1;
        let status: serde_json::Value = serde_json::from_str(body).expect("JSON");
        let target = &status["targets"][0];
        let text = |key: &str| target[key].as_str().unwrap_or("none").to_owned();
        assert_eq!(text("kind"), "heartbeat");
        (text("state"), text("reason"), target["took_us"].as_u64().unwrap_or(0))
    }

    #[track_caller]
    fn expect(&mut self, state: &str, reason: &str) {
        let (is_state, is_reason, _) = self.shown();
        assert_eq!((&*is_state, &*is_reason), (state, reason), "at {}", self.now);
    }

    /// Every record there is.
    fn records(&mut self) -> Vec<(Instant, Option<u32>, Event<'_>)> {
        let log = self.agent.log();
        let (mut reader, mut records) = (log.reader(1), Vec::new());
        while let Step::Record(seq, body) = log.read(&mut reader) {
            probe::seen(seq, body);
            let record = Record::decode_body(seq, body).expect("ours");
            let at = Instant::from_micros(record.mono_us as i64);
            records.extend(record.decode_event().map(|event| (at, record.transaction, event)));
            reader.pass(seq);
        }
        records
    }
}

#[test]
fn silence_is_told_when_it_is_too_long_and_not_before() {
    // A dead man's switch that is green because nobody ever said anything, or that rings too early, is switched off.
    with_checks(&document(""), |agent, nic| {
        let mut scene = Scene::new(agent, nic);
        scene.expect("unknown", "none");
        scene.pass(PATIENCE_S - 1);
        scene.expect("unknown", "none");
        scene.pass(2);
        scene.expect("down", "late");
        assert_eq!(scene.get(&format!("/beat/{TOKEN}")), 200);
        scene.expect("up", "ok");
        scene.pass(PATIENCE_S - 1);
        scene.expect("up", "ok");
        scene.pass(2);
        scene.expect("down", "late");
        // Silence goes on: it stays fresh news, and is one event.
        scene.pass(4 * PATIENCE_S);
        scene.expect("down", "late");
        let told: Vec<_> = scene.records();
        let downs: Vec<_> = told
            .iter()
            .filter_map(|(at, _, event)| match event {
                Event::TargetDown(down) => Some((*at, down.reason)),
                _ => None,
            })
            .collect();
        let deadline = start() + Duration::from_secs(PATIENCE_S as u64);
        assert_eq!(downs.len(), 2);
        assert_eq!(downs[0].1, ProbeReason::Late);
        assert!(downs[0].0 - deadline <= Duration::from_secs(1), "as soon as the gateway has answered");
        let late: Vec<_> = told.iter().filter(|(.., event)| matches!(event, Event::ProbeFailed(_))).collect();
        assert_eq!(late.len(), 1 + 5);
        assert_eq!(late[0].0, deadline, "to the microsecond");
    });
}

#[test]
fn each_signal_changes_what_it_says_and_no_other_request_anything() {
    // A link preview that keeps a dead backup green, or a failure that waits for the deadline.
    with_checks(&document(r#""slow_ms": 9000,"#), |agent, nic| {
        let mut scene = Scene::new(agent, nic);
        let bearer = |path: &str, token: &str| {
            format!(
                "POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: 5\r\n\r\nhello"
            )
        };
        // What changes nothing.
        for (method, path, status) in [
            ("HEAD", format!("/beat/{TOKEN}"), 405),
            ("OPTIONS", format!("/beat/{TOKEN}"), 200),
            ("PUT", format!("/beat/{TOKEN}"), 405),
            ("HEAD", format!("/beat/{STRANGER}"), 405),
            ("OPTIONS", format!("/beat/{STRANGER}"), 200),
            ("GET", format!("/beat/{STRANGER}"), 404),
            ("POST", format!("/beat/{STRANGER}/fail"), 404),
            ("GET", format!("/beat/{TOKEN}/stop"), 404),
            ("GET", format!("/beat/{}", &TOKEN[1..]), 404),
            ("GET", "/beat".into(), 404),
            ("POST", "/livez".into(), 405),
        ] {
            assert_eq!(scene.send(&format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n")), status, "{method} {path}");
        }
        assert_eq!(scene.send(&bearer("/beat", STRANGER)), 404);
        scene.expect("unknown", "none");
        // What does.
        assert_eq!(scene.get(&format!("/beat/{TOKEN}/start")), 200);
        scene.expect("unknown", "none");
        scene.pass(5);
        assert_eq!(scene.send(&bearer("/beat", TOKEN)), 200);
        let (state, reason, took_us) = scene.shown();
        assert_eq!((&*state, &*reason), ("up", "ok"));
        assert!((5_000_000..5_200_000).contains(&took_us), "{took_us}");
        scene.pass(2);
        assert_eq!(scene.send(&bearer("/beat/fail", TOKEN)), 200);
        scene.expect("down", "reported");
        scene.pass(2);
        assert_eq!(scene.get(&format!("/beat/{TOKEN}?run=7")), 200);
        scene.expect("up", "ok");
        scene.pass(2);
        assert_eq!(scene.send(&bearer("/beat/start", TOKEN)), 200);
        scene.pass(10);
        assert_eq!(scene.get(&format!("/beat/{TOKEN}")), 200);
        scene.expect("down", "slow");

        // Each edge has the transaction of the request that made it (one is recorded in each second).
        let records = scene.records();
        let edges = records.iter().filter(|(.., event)| matches!(event, Event::TargetDown(_) | Event::TargetUp(_)));
        for (_, transaction, edge) in edges {
            let made_by = |event: &Event| matches!(event, Event::HttpRequest(request) if request.status == 200);
            let found = records.iter().any(|(_, of, event)| of == transaction && made_by(event));
            assert!(transaction.is_some() && found, "{edge:?}");
        }
        let probed: Vec<_> = records.iter().filter(|(.., event)| matches!(event, Event::HttpProbed(_))).collect();
        assert_eq!(probed.len(), 0, "a few typing errors");
        for _ in 0..40 {
            assert_eq!(scene.get(&format!("/beat/{STRANGER}")), 404);
        }
        let probed =
            |scene: &mut Scene| scene.records().iter().any(|(.., event)| matches!(event, Event::HttpProbed(_)));
        assert!(probed(&mut scene), "who guesses is told of as any other prober");

        // Nothing that shows anything shows a token, or what the configuration has of it.
        let hash: String = Sha256::digest(TOKEN).iter().map(|byte| format!("{byte:02x}")).collect();
        let paths =
            ["/", "/status", "/metrics", "/config", "/events?limit=1000", "/debug/net", "/about", "/readyz?verbose"];
        let mut all: Vec<String> = paths.iter().map(|path| scene.show(path)).collect();
        all.push(scene.records().iter().map(|record| format!("{record:?}\n")).collect());
        let mut console = vec![0; 1 << 20];
        let mut room = &mut console[..];
        while scene.agent.console(scene.now, &mut room) {
            scene.now += Duration::from_secs(1);
        }
        all.push(String::from_utf8_lossy(&console).into_owned());
        for text in &all {
            assert!(text.len() > 200, "{text}");
            for secret in [TOKEN, STRANGER, &hash, &hash[..32]] {
                assert!(!text.contains(secret), "{text}");
            }
        }
        assert!(all[4].contains(r#""route":"/beat/*""#), "{}", all[4]);
        assert!(all[2].contains(r#"route="/beat/*""#), "{}", all[2]);
    });
}

#[test]
fn what_we_could_not_hear_is_not_their_silence() {
    // Our cable was out for an hour, and everybody who pushes is called dead.
    with_checks(&document(""), |agent, nic| {
        let mut scene = Scene::new(agent, nic);
        assert_eq!(scene.get(&format!("/beat/{TOKEN}")), 200);
        scene.pass(30);
        scene.nic.link = Link::Down;
        scene.pass(2 * PATIENCE_S);
        scene.nic.link = Link::Up;
        scene.pass(3);
        // What was believed is old by now, and is called so.
        scene.expect("stale", "ok");
        scene.pass(PATIENCE_S - 5);
        scene.expect("stale", "ok");
        scene.pass(5);
        scene.expect("down", "late");
    });
}
