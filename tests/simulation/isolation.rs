//! Whose fault is it? Networks that die in parts, and whom the agent blames.
//!
//! All machines are one responder on the agent's cable: it answers ARP and echoes for those that are alive.

use crate::alone::{ask_long, start, with_checks};
use crate::nic::AgentNic;
use crate::probe;
use crate::rng::Rng;
use outpost::agent::{Agent, Wake};
use outpost::log::Step;
use outpost::net::frame::checksum;
use outpost_wire::{Event, Record};
use smoltcp::time::{Duration, Instant};
use std::collections::BTreeSet;

const GATEWAY: u8 = 1;
const STEPS: usize = 200_000;

/// Seconds from a cut to when it must be told: an interval, a timeout, the witnesses' time, and a second.
const TOLD_S: f64 = 5.0 + 2.0 + 3.0 + 1.0;

/// Three targets: of our link, or behind the gateway.
fn document(net: &str) -> String {
    checks(&[20, 21, 22].map(|last| check(last, net, 5, 2, 3)))
}

fn check(last: u8, net: &str, interval_s: u64, timeout_s: u64, fall: u64) -> String {
    format!(
        r#"{{"name": "t-{last}", "owner": "o", "impact": "i", "runbook": "r", "interval_s": {interval_s},
            "timeout_s": {timeout_s}, "rise": 1, "fall": {fall}, "icmp": {{"address": "{net}.{last}"}}}}"#
    )
}

fn checks(all: &[String]) -> String {
    format!(r#"{{"checks": [{}]}}"#, all.join(","))
}

/// The answer of a living machine to a frame of the agent: `(last byte of the address asked, answer)`.
pub fn answer(frame: &[u8]) -> Option<(u8, Vec<u8>)> {
    let mut reply = frame.to_vec();
    reply[..6].copy_from_slice(&frame[6..12]);
    match frame.get(12..14)? {
        [8, 6] if frame[21] == 1 => {
            let mac = [2, 0, 0, 0, 1, frame[41]];
            reply[6..12].copy_from_slice(&mac);
            reply[21] = 2;
            reply[22..28].copy_from_slice(&mac);
            reply[28..32].copy_from_slice(&frame[38..42]);
            reply[32..42].copy_from_slice(&frame[22..32]);
            Some((frame[41], reply))
        }
        [8, 0] if frame[23] == 1 && frame[34] == 8 => {
            reply[6..12].copy_from_slice(&frame[..6]);
            reply[26..30].copy_from_slice(&frame[30..34]);
            reply[30..34].copy_from_slice(&frame[26..30]);
            reply[34] = 0;
            // RFC 1624: the sum of the rest is the same, its complement grows by what the type lost.
            let sum = u32::from(u16::from_be_bytes([frame[36], frame[37]])) + 0x0800;
            reply[36..38].copy_from_slice(&((sum & 0xffff) as u16 + (sum >> 16) as u16).to_be_bytes());
            Some((frame[33], reply))
        }
        _ => None,
    }
}

/// What a machine does with what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voice {
    Silent,
    Answers,
    /// Its firewall says that echoes are prohibited (RFC 1812, section 5.2.7.1: code 10).
    Rejects,
}

impl From<bool> for Voice {
    fn from(alive: bool) -> Voice {
        if alive { Voice::Answers } else { Voice::Silent }
    }
}

/// What its firewall says to an echo.
fn reject(frame: &[u8], reply: &[u8]) -> Vec<u8> {
    let quoted = &frame[14..14 + 20 + 8];
    let mut packet = reply[14..34].to_vec();
    packet.extend([3, 10, 0, 0, 0, 0, 0, 0]);
    packet.extend(quoted);
    let len = packet.len() as u16;
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet[10..12].fill(0);
    for (from, to, at) in [(0, 20, 10), (20, packet.len(), 22)] {
        let sum = checksum(0, &packet[from..to]).to_be_bytes();
        packet[at..at + 2].copy_from_slice(&sum);
    }
    [&reply[..14], &packet].concat()
}

/// What is told of it all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Isolated,
    Rejoined,
    Up,
    Down,
}

fn told(agent: &mut Agent<'_>) -> Vec<(f64, Told)> {
    let log = agent.log();
    let (mut reader, mut told) = (log.reader(1), Vec::new());
    while let Step::Record(seq, body) = log.read(&mut reader) {
        probe::seen(seq, body);
        let record = Record::decode_body(seq, body).expect("ours");
        let word = match record.decode_event() {
            Some(Event::AgentIsolated(event)) => {
                assert_eq!((event.gateway, event.collector), (true, false));
                Some(Told::Isolated)
            }
            Some(Event::AgentRejoined(_)) => Some(Told::Rejoined),
            Some(Event::TargetUp(_)) => Some(Told::Up),
            Some(Event::TargetDown(_)) => Some(Told::Down),
            _ => None,
        };
        told.extend(word.map(|word| (record.mono_us as f64 / 1e6, word)));
        reader.pass(seq);
    }
    told
}

/// Runs until then; who is alive is asked with the second and the last byte of the address.
fn live<V: Into<Voice>>(
    agent: &mut Agent<'_>,
    nic: &mut AgentNic,
    from: Instant,
    until: Instant,
    alive: impl Fn(i64, u8) -> V,
) {
    let mut now = from;
    for _ in 0..STEPS {
        let wake = agent.poll(now, nic);
        agent.console(now, &mut &mut [0; 4096][..]);
        let voice = |frame: &Vec<u8>| {
            let (last, reply) = answer(frame)?;
            match alive(now.secs(), last).into() {
                Voice::Silent => None,
                Voice::Rejects if frame[12..14] == [8, 0] => Some(reject(frame, &reply)),
                Voice::Answers | Voice::Rejects => Some(reply),
            }
        };
        let heard: Vec<_> = nic.take_sent().iter().filter_map(voice).collect();
        let at = match wake {
            Wake::At(at) => at,
            _ => until,
        };
        let delay = if heard.is_empty() { Duration::from_micros(1) } else { Duration::from_millis(1) };
        now = if heard.is_empty() { at.max(now + delay).min(until) } else { now + delay };
        heard.into_iter().for_each(|frame| nic.arrive(frame));
        if now >= until {
            return;
        }
    }
    panic!("more than {STEPS} steps until {now}");
}

fn run_world<V: Into<Voice>>(net: &str, until_s: i64, alive: impl Fn(i64, u8) -> V + Send) -> Vec<(f64, Told)> {
    run_checks(&document(net), until_s, alive)
}

fn run_checks<V: Into<Voice>>(document: &str, until_s: i64, alive: impl Fn(i64, u8) -> V + Send) -> Vec<(f64, Told)> {
    let mut all = Vec::new();
    with_checks(document, |agent, nic| {
        live(agent, nic, start(), Instant::from_secs(until_s), alive);
        all = told(agent);
    });
    all
}

fn words(told: &[(f64, Told)]) -> Vec<Told> {
    told.iter().map(|(_, word)| *word).collect()
}

#[test]
fn when_all_are_silent_together_the_agent_says_that_it_is_itself() {
    // Twenty pages at night for one pulled cable, each of them wrong.
    use Told::*;
    with_checks(&document("10.1.0"), |agent, nic| {
        let (cut, back, end) = (30, 120, 140);
        let alive = |second: i64, _| !(cut..back).contains(&second);
        live(agent, nic, start(), Instant::from_secs(cut + 60), alive);
        let now = Instant::from_secs(cut + 60);
        assert_eq!(words(&told(agent)), [Up, Up, Up, Isolated]);
        let at = told(agent)[3].0 - cut as f64;
        assert!((3.0..TOLD_S).contains(&at), "told {at} s after the cut");
        let status = ask_long(agent, nic, now, 20_001, "/status");
        assert!(status.contains(r#""isolated_s":5"#) && status.contains(r#""state":"stale""#), "{status}");
        assert!(!status.contains(r#""state":"down""#), "{status}");
        let metrics = ask_long(agent, nic, now, 20_002, "/metrics");
        assert!(metrics.contains("outpost_isolated 1\n"), "{metrics}");
        assert!(
            metrics.contains(r#"outpost_probe_failures_total{target="t-20",reason="timeout_"#),
            "raw results are seen"
        );
        let count = |name: &str| -> u64 {
            let line =
                metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {metrics}"));
            line.trim().parse().expect("a number")
        };
        let starts = count("outpost_probe_start_lag_seconds_count");
        assert!(starts >= 48, "3 targets for 89 s: {starts}");
        assert_eq!(count(r#"outpost_probe_start_lag_seconds_bucket{le="0.001"}"#), starts, "each within 1 ms");
        let ready = ask_long(agent, nic, now, 20_003, "/readyz?verbose");
        assert!(ready.starts_with("HTTP/1.1 200 "), "{ready}");
        let health = ask_long(agent, nic, now, 20_004, "/health");
        assert!(health.contains("isolated"), "{health}");
        live(agent, nic, now + Duration::from_millis(50), Instant::from_secs(end), alive);
        assert_eq!(words(&told(agent)), [Up, Up, Up, Isolated, Rejoined]);
        let at = told(agent)[4].0 - back as f64;
        assert!((0.0..2.0).contains(&at), "back {at} s after the cable");
        let now = Instant::from_secs(end);
        let status = ask_long(agent, nic, now, 20_005, "/status");
        assert!(status.contains(r#""isolated_s":null"#) && !status.contains(r#""state":"stale""#), "{status}");
    });
}

#[test]
fn who_is_dead_while_others_answer_is_dead() {
    // An agent that takes every large outage for its own hides it.
    use Told::*;
    let targets_alone = run_world("10.1.0", 90, |second, last| last == GATEWAY || second < 30);
    assert_eq!(words(&targets_alone), [Up, Up, Up, Down, Down, Down]);
    // The cable behind the gateway is cut: from here that is all targets, and the gateway answers.
    let behind = run_world("192.0.2", 90, |second, last| last == GATEWAY || second < 30);
    assert_eq!(words(&behind), [Up, Up, Up, Down, Down, Down]);
    // The gateway is dead, and the targets of our own link answer.
    let gateway_alone = run_world("10.1.0", 90, |second, last| last != GATEWAY || second < 30);
    assert_eq!(words(&gateway_alone), [Up, Up, Up]);
    // The gateway is dead, and all that is behind it silent: nobody answers at all.
    let all_behind = run_world("192.0.2", 90, |second, _| second < 30);
    assert_eq!(words(&all_behind), [Up, Up, Up, Isolated]);
    // One target lives.
    let one_lives = run_world("10.1.0", 90, |second, last| last == 22 || second < 30);
    assert_eq!(words(&one_lives), [Up, Up, Up, Down, Down]);
}

#[test]
fn who_says_no_is_there() {
    // Two dead targets that nobody is told of, because the third one's firewall and not the target itself speaks.
    use Told::*;
    let one_rejects = run_world("10.1.0", 90, |second, last| match last {
        _ if second < 30 => Voice::Answers,
        20 => Voice::Rejects,
        _ => Voice::Silent,
    });
    assert_eq!(words(&one_rejects), [Up, Up, Up, Down, Down, Down]);
}

#[test]
fn a_cable_that_comes_and_goes_blames_nobody() {
    // Each flap would otherwise bring some target over its edge.
    use Told::*;
    let told = run_world("10.1.0", 400, |second, _| second < 30 || second / 20 % 2 == 0);
    let mut expected = vec![Up, Up, Up];
    let flaps = words(&told).iter().filter(|word| **word == Isolated).count();
    assert!(flaps >= 8, "{told:?}");
    expected.extend([Isolated, Rejoined].repeat(flaps));
    let is_open = told.last().is_some_and(|(_, word)| *word == Isolated);
    expected.truncate(expected.len() - usize::from(is_open));
    assert_eq!(words(&told), expected);
}

/// The heartbeat of a job that is late at this second after the start.
fn late_at(second: i64) -> String {
    format!(
        r#"{{"name": "job", "owner": "o", "impact": "i", "runbook": "r", "heartbeat": {{
            "token_sha256": "{}", "period_s": {}, "grace_s": 1}}}}"#,
        "0123456789abcdef".repeat(4),
        second - start().secs() - 1
    )
}

#[test]
fn a_first_silence_is_believed_when_somebody_else_was_heard_after_it() {
    // One lost probe is enough with `fall: 1`, long before it is known who else is silent: each cut cable is told as an
    // outage of whoever was probed first.
    use Told::*;
    let nobody = |second: i64, _| second < 30;
    let several = checks(&[20, 21, 22].map(|last| check(last, "10.1.0", 5, 2, 1)));
    assert_eq!(words(&run_checks(&several, 90, nobody)), [Up, Up, Up, Isolated]);
    let one = checks(&[check(20, "10.1.0", 5, 2, 1)]);
    assert_eq!(words(&run_checks(&one, 90, nobody)), [Up, Isolated], "all that there are");
    let late = run_checks(&checks(&[late_at(31)]), 90, nobody);
    assert_eq!(words(&late), [Isolated], "nobody could push to us");
    let both = run_checks(&checks(&[check(20, "10.1.0", 5, 2, 1), late_at(31)]), 90, nobody);
    assert_eq!(words(&both), [Up, Isolated]);

    // The gateway speaks for one that died, and for a job that is late.
    let dead = run_checks(&several, 90, |second, last| second < 30 || last != 21);
    assert_eq!(words(&dead), [Up, Up, Up, Down]);
    let after = dead[3].0 - 30.0;
    assert!((2.0..5.0 + 2.0 + 0.5).contains(&after), "told {after} s after it died");
    assert_eq!(words(&run_checks(&one, 90, |second, last| second < 30 || last == GATEWAY)), [Up, Down]);
    assert_eq!(words(&run_checks(&checks(&[late_at(31)]), 90, |_, _| true)), [Down]);

    // Without the gateway the other targets do, at their next slot.
    let vouched = run_checks(&several, 90, |second, last| second < 30 || last == 20 || last == 22);
    assert_eq!(words(&vouched), [Up, Up, Up, Down]);
    let after = vouched[3].0 - 30.0;
    assert!((2.0..5.0 + 2.0 + 5.0).contains(&after), "told {after} s after it died");

    // With nobody who could speak soon, a bound: HOLD_TIME.
    let rare = checks(&[check(20, "10.1.0", 5, 2, 1), check(21, "10.1.0", 3_600, 2, 1)]);
    let bounded = run_checks(&rare, 150, nobody);
    assert_eq!(words(&bounded), [Up, Down]);
    let after = bounded[1].0 - 30.0;
    assert!((90.0..5.0 + 2.0 + 90.0 + 1.5).contains(&after), "told {after} s after it died");
}

#[test]
fn whoever_is_cut_off_blames_nobody() {
    // Slots, timeouts and cuts that meet in a way nobody thought of.
    use Told::*;
    for seed in 0..150 {
        let mut rng = Rng::new(seed);
        let (net, fall) = (if rng.chance(500) { "10.1.0" } else { "192.0.2" }, rng.range(1, 3));
        let (slowest, patience) = (12, 4);
        let targets: Vec<u8> =
            (0..rng.range(1, 5)).map(|_| rng.range(20, 200) as u8).collect::<BTreeSet<_>>().into_iter().collect();
        let all: Vec<_> =
            targets.iter().map(|last| check(*last, net, rng.range(5, slowest), rng.range(1, patience), fall)).collect();
        // Time for the slowest to be silent as often as it takes, and for the witnesses.
        let shortest = (slowest * 2 + patience + 5) as i64;
        let cut = rng.range(30, 60) as i64;
        let back = cut + shortest + rng.range(0, 30) as i64;
        let dies = targets[rng.below(targets.len() as u64) as usize];
        let (death, end) = (back + 40, back + 40 + (slowest * fall) as i64 + 20);
        let told = run_checks(&checks(&all), end, |second, last| {
            !(cut..back).contains(&second) && (second < death || last != dies)
        });
        let expected = [vec![Up; targets.len()], vec![Isolated, Rejoined, Down]].concat();
        assert_eq!(words(&told), expected, "seed {seed}, cut from {cut} to {back}, {dies} dies at {death}: {told:?}");
        let (isolated, down) = (told[targets.len()].0 - cut as f64, told[targets.len() + 2].0 - death as f64);
        assert!(isolated < shortest as f64, "seed {seed}: isolated after {isolated} s");
        assert!(down < (slowest * fall + patience) as f64 + 1.0, "seed {seed}: down after {down} s");
    }
}
