//! Prometheus: it scrapes us, its own checker finds nothing to say, and the strict parser of OpenMetrics reads us.

use crate::lab::{Guest, Lab, lab, run, run_with, wait};
use crate::namespace::beside;
use serde_json::Value;

/// The Accept header of a scraper that knows OpenMetrics.
const OPENMETRICS: &str = "Accept: application/openmetrics-text; version=1.0.0\r\n";

/// Reads a whole exposition as strictly as its specification says; prints the samples.
const PARSE: &str = "\
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text
for family in {'openmetrics': openmetrics, 'text': text}[sys.argv[1]](sys.stdin.read()):
    assert family.documentation, family.name
    for sample in family.samples:
        print(sample.name, sample.labels, sample.value)
";

/// The metrics in one format, read by the parser: the body, and a line for each sample.
fn samples(guest: &Guest, format: &str, accept: &str) -> (Vec<u8>, Vec<String>) {
    let answer = guest.get_with("/metrics", accept).unwrap();
    assert_eq!(answer.status, 200);
    let python = beside("target/python/bin/python");
    let ran = run_with(&python.display().to_string(), &["-c", PARSE, format], &answer.body);
    assert_eq!(ran.code, 0, "{}\n{}", ran.said, String::from_utf8_lossy(&answer.body));
    (answer.body, ran.said.lines().map(String::from).collect())
}

/// A metric that cannot be read is an alert that never fires.
#[test]
fn strict_readers_take_both_formats() {
    const NAME: &str = "scrape::strict_readers_take_both_formats";
    lab(NAME, &["ip", "promtool", "target/python/bin/python"], |lab| {
        let (well, unwell) = (lab.boot(1), lab.boot_in_maintenance(2));
        for guest in [&well, &unwell] {
            let (text, plain) = samples(guest, "text", "");
            let ran = run_with("promtool", &["check", "metrics"], &text);
            assert_eq!((ran.code, ran.said.as_str()), (0, ""), "{}", String::from_utf8_lossy(&text));
            let (text, open) = samples(guest, "openmetrics", OPENMETRICS);
            assert!(text.ends_with(b"# EOF\n"));
            for samples in [&plain, &open] {
                assert!(samples.iter().any(|sample| sample.starts_with("outpost_build_info ")), "{samples:?}");
            }
            // Both say the same, but for what only one of them knows.
            let missing: Vec<_> =
                plain.iter().filter(|plain| !open.iter().any(|open| name(open) == name(plain))).collect();
            assert!(missing.is_empty(), "not in OpenMetrics: {missing:?}");
        }
    });
}

fn name(sample: &str) -> &str {
    sample.split(' ').next().unwrap_or_default()
}

/// The answer of Prometheus to a query: the value for each instance.
fn query(query: &str) -> Result<Vec<(String, String)>, String> {
    let data = format!("query={query}");
    let ran =
        run("curl", &["--silent", "--max-time", "5", "--data-urlencode", &data, "http://127.0.0.1:9090/api/v1/query"]);
    let answer: Value = serde_json::from_str(&ran.said).map_err(|_| format!("{ran:?}"))?;
    let results = answer["data"]["result"].as_array().ok_or_else(|| answer.to_string())?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(results.iter().map(|row| (text(&row["metric"]["instance"]), text(&row["value"][1]))).collect())
}

fn wait_for(lab: &Lab, what: &str, expected: &[(&str, &str)]) {
    let mut expected: Vec<_> = expected.iter().map(|(key, value)| (String::from(*key), String::from(*value))).collect();
    expected.sort();
    wait(|| {
        let mut rows = query(what)?;
        rows.sort();
        let log = || std::fs::read_to_string(lab.folder().join("prometheus")).unwrap_or_default();
        if rows == expected { Ok(()) } else { Err(format!("{what} is {rows:?}, not {expected:?}\n{}", log())) }
    });
}

/// What is down for Prometheus wakes people up; what it cannot read, it calls down.
#[test]
fn prometheus_scrapes_us_and_misses_us() {
    const NAME: &str = "scrape::prometheus_scrapes_us_and_misses_us";
    lab(NAME, &["ip", "curl", "prometheus"], |lab| {
        let (well, unwell) = (lab.boot(1), lab.boot_in_maintenance(2));
        let (first, second) = (well.http().to_string(), unwell.http().to_string());
        let config = format!(
            "global: {{scrape_interval: 500ms, scrape_timeout: 400ms}}\nscrape_configs:\n- job_name: outpost\n  \
             static_configs: [{{targets: ['{first}', '{second}']}}]\n"
        );
        let config = format!("--config.file={}", lab.file("prometheus.yml", &config).display());
        let _prometheus = lab.start(
            "prometheus",
            &[&config, "--storage.tsdb.path=tsdb", "--web.listen-address=127.0.0.1:9090", "--log.level=warn"],
        );
        wait_for(lab, "up", &[(&first, "1"), (&second, "1")]);
        wait_for(lab, "outpost_ready", &[(&first, "1"), (&second, "0")]);
        well.kill();
        wait_for(lab, "up", &[(&first, "0"), (&second, "1")]);
    });
}
