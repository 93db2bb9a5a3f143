//! Whatever is handed over as configuration: one sentence, the same everywhere, and an agent that serves.

use crate::alone::{AGENT_MAC, ask_long, run, start};
use crate::nic::AgentNic;
use crate::probe;
use outpost::agent::Agent;
use outpost::config::{Loader, checks::Checks};
use outpost_wire::ConfigSource;
use smoltcp::time::Duration;

/// The network that each document begins with, so that the agent can be asked.
const NETWORK: &str = r#"{"network": {"static": {"address": "10.1.0.50/24"}}"#;

/// A document, a command line, and words of the first sentence about them.
fn table() -> Vec<(Vec<u8>, &'static str, &'static str)> {
    let with = |rest: &str| format!("{NETWORK}, {rest}}}").into_bytes();
    let mut huge = with(r#""name": "a""#);
    huge.resize(1 << 20, b' ');
    let deep = with(&format!(r#""contact": {}"#, "[".repeat(60_000)));
    let many = with(&(0..2000).map(|number| format!(r#""k{number}": 1"#)).collect::<Vec<_>>().join(", "));
    vec![
        (huge, "", "the document is too long: allowed are at most 65536 bytes"),
        (deep, "", "/contact: nested too deep: allowed are 8 brackets inside each other"),
        (with(r#""http": {"port": "eighty"}"#), "", "/http/port: \"eighty\" is a string, not a port"),
        (with(r#""http": 80"#), "", "/http: 80 is not an object"),
        (with(r#""colector": {}"#), "", "/colector: unknown key: did you mean \"collector\"?"),
        (many, "", "/k0: unknown key: known are name"),
        (with(r#""name": "a", "name": "b""#), "", "/name: the key is there twice: the first one counts"),
        (with(r#""severity": {"panic": 9, "panic": 9}"#), "", "/severity/panic: the key is there twice"),
        (with(r#""collector": {"address": "127.0.0.1:7600"}"#), "", "/collector/address: \"127.0.0.1:7600\" is not"),
        (
            with(r#""http": {"operator_allow": ["10.0.0.0/8", "10.0.0.0/33"]}"#),
            "",
            "/http/operator_allow/1: \"10.0.0.0/33\" is not",
        ),
        (with(r#""contact": {"name": "a\u001b[2Jb"}"#), "", "/contact/name: \"a\\u001b[2Jb\" has a control character"),
        (with("\"contact\": {\"name\": \"a\u{7}b\"}"), "", "/contact/name: \"a\\u{7}b\" has a control character"),
        (format!("{NETWORK}, \"name\": \"a").into_bytes(), "", "/name: the document ends too early"),
        ([NETWORK.as_bytes(), b", \"name\": \"\xff\"}"].concat(), "", "/name: the byte 0xff is not UTF-8"),
        (
            with(r#""time": {"servers": ["ntp.example.org"]}"#),
            "",
            "ntp.example.org is a name that no server can look up",
        ),
        (
            with(r#""name": "a""#),
            "outpost.collector.key=5e5e5e5e",
            "/collector/key: a secret is not taken from the command line",
        ),
        (with(r#""name": "a""#), "outpost.nam=b", "unknown setting: did you mean \"outpost.name\"?"),
    ]
}

#[test]
fn every_mistake_is_one_sentence_everywhere_and_the_agent_serves() {
    // A mistake that is told in one place only is looked for in the others.
    for (number, (document, line, says)) in table().into_iter().enumerate() {
        let told = || {
            let mut checks = Box::new(Checks::new());
            let mut loader = Loader::new(&mut checks);
            loader.document(ConfigSource::Module, &document);
            loader.command_line(line);
            let loaded = loader.finish();
            let problem = loaded.problems.first().expect("a problem").clone();
            assert!(problem.to_string().contains(says), "{problem}");
            let mut nic = AgentNic::new(AGENT_MAC, 256);
            let (mut storage, mut region) = (probe::storage(), vec![0; 256 * 1024]);
            let facts = probe::facts(1, [1; 32]);
            let mut agent = Agent::new(facts, loaded, &checks, &mut storage, &mut region, &mut nic, start());
            run(&mut agent, &mut nic, start(), start() + Duration::from_millis(10));
            let now = start() + Duration::from_secs(11);
            agent.poll(now, &mut nic);
            let mut screen = [0; 4096];
            let mut room = &mut screen[..];
            while agent.console(now, &mut room) {}
            let left = room.len();
            let console = String::from_utf8_lossy(&screen[..4096 - left]).into_owned();
            let mut ask = |number: u16, path: &str| ask_long(&mut agent, &mut nic, now, 30_000 + number, path);
            // As JSON writes it.
            let text = serde_json::to_string(problem.text.as_str()).unwrap();
            let waits = console.lines().find(|line| line.starts_with("not ready: ")).unwrap_or_default();
            assert!(waits.contains(problem.text.as_str()), "the console: {console}");
            assert!(ask(1, "/livez").contains(" 200 "));
            let ready = ask(2, "/readyz");
            assert!(ready.contains(" 503 ") && ready.contains("[-]config failed: invalid"), "{ready}");
            for (number, path) in [(3, "/config"), (4, "/status"), (5, "/events")] {
                let answer = ask(number, path);
                assert!(answer.contains(&text), "{path} does not say {text}: {answer}");
            }
            let page = ask(6, "/");
            assert!(page.contains(" 200 ") && page.contains("The configuration has errors"), "{page}");
        };
        if let Err(panic) = probe::alone(told) {
            panic!("case {number}, {says}: {panic}");
        }
    }
}
