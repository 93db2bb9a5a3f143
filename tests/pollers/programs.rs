//! Programs that ask once and say what they think of it.

use crate::lab::{Daemon, Guest, Lab, Ran, lab, run, wait};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;

/// What a program says of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// It is well.
    Up,
    /// It is not.
    Down,
}

/// A program, in one of the ways that people use it.
pub struct Poller {
    /// What the table calls it.
    pub name: &'static str,
    /// Whether it asks for more than a connection, so that it sees a guest in maintenance.
    pub sees_maintenance: bool,
    /// Asks the guest at this address.
    pub ask: fn(Ipv4Addr) -> Ran,
    /// What the outcome says.
    pub judge: fn(&Ran) -> Says,
}

/// How long a program waits for a guest that does not answer, in seconds.
const SECONDS: &str = "3";

/// Where blackbox_exporter listens, in a laboratory's own namespace.
const BLACKBOX: &str = "127.0.0.1:9115";

fn by_code(ran: &Ran) -> Says {
    if ran.code == 0 { Says::Up } else { Says::Down }
}

/// check_http and check_tcp: 0 is OK, 2 is CRITICAL; a WARNING or UNKNOWN would be a misunderstanding.
fn nagios(ran: &Ran) -> Says {
    match ran.code {
        0 => Says::Up,
        2 => Says::Down,
        _ => panic!("{ran:?}"),
    }
}

fn success(ran: &Ran) -> Says {
    match ran.said.lines().find_map(|line| line.strip_prefix("probe_success ")) {
        Some("1") => Says::Up,
        Some("0") => Says::Down,
        _ => panic!("{ran:?}"),
    }
}

/// wrk and ab end well whatever came back, and say how many answers were not 2xx, or none at all.
fn load(ran: &Ran) -> Says {
    let failed = ran.said.lines().find_map(|line| line.strip_prefix("Failed requests:"));
    let complaint = ran.said.contains("Non-2xx") || ran.said.contains("Socket errors");
    if ran.code == 0 && !complaint && failed.is_none_or(|count| count.trim() == "0") { Says::Up } else { Says::Down }
}

fn curl(address: Ipv4Addr, arguments: &[&str]) -> Ran {
    let url = format!("http://{address}/readyz");
    let common = ["--silent", "--show-error", "--fail", "--max-time", SECONDS];
    run("curl", &[&common[..], arguments, &[&url]].concat())
}

fn check_http(address: Ipv4Addr, arguments: &[&str]) -> Ran {
    let address = address.to_string();
    run("check_http", &[&["-I", &address, "-u", "/readyz", "-t", SECONDS], arguments].concat())
}

fn blackbox(address: Ipv4Addr, module: &str, path: &str) -> Ran {
    let url = format!("http://{BLACKBOX}/probe?module={module}&target={address}{path}");
    run("curl", &["--silent", "--show-error", "--max-time", "10", &url])
}

fn wrk(address: Ipv4Addr) -> Ran {
    let url = format!("http://{address}/readyz");
    // It waits for ever for a host that takes no connection.
    run("timeout", &["6", "wrk", "--threads", "1", "--connections", "8", "--duration", "1s", &url])
}

fn ab(address: Ipv4Addr, arguments: &[&str]) -> Ran {
    let url = format!("http://{address}/readyz");
    run("ab", &[&["-q", "-n", "500", "-c", "8", "-s", SECONDS], arguments, &[&url]].concat())
}

/// All of them.
pub const POLLERS: &[Poller] = &[
    Poller { name: "curl", sees_maintenance: true, ask: |at| curl(at, &[]), judge: by_code },
    Poller { name: "curl, HTTP/1.0", sees_maintenance: true, ask: |at| curl(at, &["--http1.0"]), judge: by_code },
    Poller { name: "curl, HEAD", sees_maintenance: true, ask: |at| curl(at, &["--head"]), judge: by_code },
    Poller {
        name: "curl by way of us as a proxy: absolute-form",
        sees_maintenance: true,
        ask: |at| curl("192.0.2.1".parse().unwrap(), &["--proxy", &format!("http://{at}:80")]),
        judge: by_code,
    },
    Poller { name: "check_http", sees_maintenance: true, ask: |at| check_http(at, &[]), judge: nagios },
    Poller {
        name: "check_http with a status",
        sees_maintenance: true,
        ask: |at| check_http(at, &["-H", "outpost", "-e", "HTTP/1.1 200"]),
        judge: nagios,
    },
    Poller {
        name: "check_http with a text",
        sees_maintenance: true,
        ask: |at| check_http(at, &["-s", "ok"]),
        judge: nagios,
    },
    Poller {
        name: "check_tcp",
        sees_maintenance: false,
        ask: |at| run("check_tcp", &["-H", &at.to_string(), "-p", "80", "-t", SECONDS]),
        judge: nagios,
    },
    Poller {
        name: "blackbox_exporter, http",
        sees_maintenance: true,
        ask: |at| blackbox(at, "http", "/readyz"),
        judge: success,
    },
    Poller {
        name: "blackbox_exporter, tcp",
        sees_maintenance: false,
        ask: |at| blackbox(at, "tcp", ":80"),
        judge: success,
    },
    Poller { name: "wrk", sees_maintenance: true, ask: wrk, judge: load },
    Poller { name: "ab", sees_maintenance: true, ask: |at| ab(at, &[]), judge: load },
    Poller { name: "ab -k", sees_maintenance: true, ask: |at| ab(at, &["-k"]), judge: load },
];

/// What must be installed for them.
pub const PROGRAMS: &[&str] = &["ip", "curl", "check_http", "check_tcp", "prometheus-blackbox-exporter", "wrk", "ab"];

/// Starts blackbox_exporter and waits until it answers.
pub fn start_blackbox(lab: &Lab) -> Daemon {
    let modules = "modules:\n  http: {prober: http, timeout: 3s}\n  tcp: {prober: tcp, timeout: 3s}\n";
    let config = lab.file("blackbox.yml", modules);
    let listen = format!("--web.listen-address={BLACKBOX}");
    let exporter =
        lab.start("prometheus-blackbox-exporter", &[&listen, &format!("--config.file={}", config.display())]);
    wait(|| TcpStream::connect(BLACKBOX).map(drop).map_err(|error| format!("blackbox_exporter: {error}")));
    exporter
}

/// A poller that misreads us takes a machine out of service that is well, or sends users to one that is not.
#[test]
fn each_tells_well_from_unwell_from_gone() {
    lab("programs::each_tells_well_from_unwell_from_gone", PROGRAMS, |lab| {
        let _blackbox = start_blackbox(lab);
        let (well, unwell) = (lab.boot(1), lab.boot_in_maintenance(2));
        let compare = |poller: &Poller, address, expected| {
            let ran = (poller.ask)(address);
            let says = (poller.judge)(&ran);
            (says != expected).then(|| format!("{} says {says:?} of {address}: {ran:?}", poller.name))
        };
        let mut wrong = Vec::new();
        for poller in POLLERS {
            wrong.extend(compare(poller, well.link.guest, Says::Up));
            let expected = if poller.sees_maintenance { Says::Down } else { Says::Up };
            wrong.extend(compare(poller, unwell.link.guest, expected));
        }
        // Those that wait for an answer wait side by side.
        let gone = well.kill();
        thread::scope(|scope| {
            let asked: Vec<_> =
                POLLERS.iter().map(|poller| scope.spawn(move || compare(poller, gone, Says::Down))).collect();
            wrong.extend(asked.into_iter().filter_map(|thread| thread.join().unwrap()));
        });
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// What curl says of its connections, an answer each: status, new connections, version.
fn transfers(guest: &Guest, arguments: &[&str], paths: &[&str]) -> Vec<String> {
    let urls: Vec<String> = paths.iter().map(|path| format!("http://{}{path}", guest.link.guest)).collect();
    let mut all =
        vec!["--silent", "--max-time", SECONDS, "--write-out", "\n@%{http_code} %{num_connects} %{http_version}\n"];
    all.extend(arguments);
    all.extend(urls.iter().map(String::as_str));
    let ran = run("curl", &all);
    ran.said.lines().filter_map(|line| line.strip_prefix('@')).map(String::from).collect()
}

/// A connection that is not kept costs every poll a handshake; a body that nobody takes must not hang the client.
#[test]
fn curl_reuses_its_connection_and_is_refused_politely() {
    lab("programs::curl_reuses_its_connection_and_is_refused_politely", &["ip", "curl"], |lab| {
        let guest = lab.boot(1);
        assert_eq!(transfers(&guest, &[], &["/livez", "/readyz", "/nothing"]), ["200 1 1.1", "200 0 1.1", "404 0 1.1"]);
        assert_eq!(transfers(&guest, &["--http1.0"], &["/livez", "/livez"]), ["200 1 1.1", "200 1 1.1"]);
        assert_eq!(transfers(&guest, &["--head"], &["/livez", "/status"]), ["200 1 1.1", "200 0 1.1"]);
        assert_eq!(transfers(&guest, &["--http2"], &["/livez"]), ["200 1 1.1"], "an upgrade that is passed over");
        let body = lab.file("body", &"x".repeat(100_000));
        let body = format!("@{}", body.display());
        for expect in ["Expect: 100-continue", "Expect:"] {
            let post = ["--data-binary", body.as_str(), "--header", expect];
            assert_eq!(transfers(&guest, &post, &["/livez"]), ["405 1 1.1"], "{expect}");
        }
        guest.wait_for_no_connections();
    });
}
