//! `deploy/prometheus/`: what wakes people up fires when it must, stays quiet when it must, and asks for metrics that exist.

use crate::guest::{Guest, curl};
use crate::host::{Ran, beside, find};
use crate::support::{Why, left_out};
use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs promtool in the folder of the rules, or says why not.
fn promtool(name: &str, arguments: &[&str]) -> Option<Ran> {
    let Some(program) = find("promtool") else {
        left_out(Why::Skipped, name, "promtool is not installed: scripts/setup test");
        return None;
    };
    let output = Command::new(program).args(arguments).current_dir(beside("deploy/prometheus")).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Some(Ran { code: output.status.code().unwrap_or(-1), said })
}

/// A rule that Prometheus does not load takes all the others with it.
#[test]
fn prometheus_takes_the_rules_and_the_example() {
    const NAME: &str = "alerts::prometheus_takes_the_rules_and_the_example";
    for arguments in [
        &["check", "rules", "alerts.yml"][..],
        &["check", "config", "prometheus.yml"],
        &["test", "rules", "alerts.test.yml"],
    ] {
        let Some(ran) = promtool(NAME, arguments) else { return };
        assert!(ran.code == 0 && !ran.said.contains("WARNING"), "{arguments:?}: {}", ran.said);
    }
}

/// The lines of a file of rules.
fn lines(file: &str) -> Vec<String> {
    let text = fs::read_to_string(beside("deploy/prometheus").join(file)).unwrap();
    text.lines().map(|line| String::from(line.trim())).collect()
}

/// An alert without a test that sees it fire, or that sees it quiet, may never fire, or always.
#[test]
fn each_alert_is_seen_firing_and_quiet() {
    let alerts: BTreeSet<_> =
        lines("alerts.yml").iter().filter_map(|line| line.strip_prefix("- alert: ").map(String::from)).collect();
    let tests = lines("alerts.test.yml");
    let seen = |outcome: &str| -> BTreeSet<String> {
        let pairs = tests.windows(2).filter(|pair| pair[1] == outcome);
        pairs.filter_map(|pair| pair[0].strip_prefix("alertname: ").map(String::from)).collect()
    };
    assert!(alerts.len() >= 10, "{alerts:?}");
    assert_eq!(seen("exp_alerts:"), alerts, "seen firing");
    assert_eq!(seen("exp_alerts: []"), alerts, "seen quiet");
}

/// The names of metrics in what Prometheus is asked.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words
        .filter(|word| ["outpost_", "node_", "probe_"].iter().any(|start| word.starts_with(start)))
        .map(String::from)
        .collect()
}

/// An alert on a metric that was renamed is quiet for ever.
#[test]
fn every_metric_of_a_rule_is_one_that_an_agent_or_its_collector_shows() {
    let folder = tempfile::tempdir().unwrap();
    let said = fs::File::create(folder.path().join("collector")).unwrap();
    let mut collector = Command::new(env!("CARGO_BIN_EXE_outpost"));
    collector.args(["collect", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--notify", "true", "--store"]);
    let mut collector =
        collector.arg(folder.path().join("store.db")).stdout(Stdio::null()).stderr(said).spawn().unwrap();
    let ports = ports(|| fs::read_to_string(folder.path().join("collector")).unwrap());
    let [listen, http, ..] = ports[..] else { panic!("where it listens, and its HTTP: {ports:?}") };
    let config = format!(r#"{{"collector":{{"address":"10.0.2.2:{listen}"}},"time":{{"servers":["10.0.2.2"]}}}}"#);
    let guest = Guest::boot(&config);
    guest.get_until("/status", |status| status.contains(r#""phase":"connected""#) || status.contains(r#""connected""#));
    let mut shown = metrics(&guest.get_until("/metrics", |text| text.contains("outpost_ntp_requests_total{")));
    let url = format!("http://127.0.0.1:{http}/metrics");
    shown.extend(metrics(&curl(&url).said));
    // What only an agent with such targets shows: their families, as the agent's own code names them.
    let code = fs::read_to_string(beside("src/view/metrics.rs")).unwrap();
    let families = code
        .split('"')
        .filter_map(|text| text.split_once(' '))
        .filter(|(kind, _)| matches!(*kind, "gauge" | "counter"));
    shown.extend(families.filter_map(|(_, rest)| rest.split(' ').next()).map(String::from));
    let _ = collector.kill();
    let _ = collector.wait();

    let rules = lines("alerts.yml").into_iter().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    let asked: BTreeSet<_> = metrics(&rules);
    assert!(asked.len() >= 9, "{asked:?}");
    let missing: Vec<_> = asked.difference(&shown).collect();
    assert!(missing.is_empty(), "{missing:?} are not among {shown:?}");
}

/// The ports of addresses on 127.0.0.1 that somebody says that they listen on: two of them.
fn ports(say: impl Fn() -> String) -> Vec<u16> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let said = say();
        let ports: Vec<u16> = said
            .split("127.0.0.1:")
            .skip(1)
            .filter_map(|rest| rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok())
            .collect();
        if ports.len() >= 2 {
            return ports;
        }
        assert!(Instant::now() < deadline, "{said}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
