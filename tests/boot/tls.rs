//! A booted guest meets a real nginx over TLS 1.3, with keys and certificates of a real openssl. What that costs those who
//! ask the agent meanwhile `outpost-bench tls` measures.

use crate::lab::{Guest, Lab, PATIENCE, get};
use crate::support::{Why, left_out};
use crate::watch::Nginx;
use outpost_qemu::{Accel, Machine, Vm};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

const RETRY: Duration = Duration::from_millis(50);

/// Names in the certificates.
const NAMES: &str = "subjectAltName=DNS:shop.example,DNS:*.shop.example";

/// Runs a shell command in the laboratory's folder, as docs/tls.md has them; what it says.
fn shell(lab: &Lab, command: &str) -> String {
    let output = Command::new("sh").args(["-ec", command]).current_dir(lab.folder()).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().into()
}

/// A key and a certificate for it, valid for so many days.
fn certificate(lab: &Lab, name: &str, key: &str, days: i32) {
    shell(
        lab,
        &format!(
            "openssl genpkey {key} -out {name}.key && openssl req -new -key {name}.key -subj /CN=shop.example \
             -addext '{NAMES}' -out {name}.csr && openssl x509 -req -in {name}.csr -signkey {name}.key -days {days} \
             -copy_extensions copyall -out {name}.crt"
        ),
    );
}

/// What a pin of its key is.
fn pin(lab: &Lab, name: &str) -> String {
    let command = format!("openssl pkey -in {name}.key -pubout -outform DER | sha256sum");
    shell(lab, &command)[..64].into()
}

const P256: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
const RSA: &str = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";

/// A laboratory with certificates and an nginx that shows each of them on a port of its own.
struct Shop {
    lab: Lab,
    _nginx: Nginx,
    first_port: u16,
}

/// What listens, in the order of the ports: the certificate, and how.
const SERVERS: [(&str, &str); 7] = [
    ("p256", "ssl_protocols TLSv1.2 TLSv1.3;"),
    ("rsa", "ssl_protocols TLSv1.3;"),
    ("ed25519", "ssl_protocols TLSv1.3;"),
    ("expired", "ssl_protocols TLSv1.3;"),
    ("soon", "ssl_protocols TLSv1.3;"),
    ("p256", "ssl_protocols TLSv1.2;"),
    ("clear", ""),
];

impl Shop {
    /// `None` when something is not installed, which is told.
    fn open(test: &str) -> Option<Shop> {
        let Some(program) = Nginx::program() else {
            left_out(Why::Skipped, test, "nginx is not installed: apt-get install nginx-light");
            return None;
        };
        if Command::new("openssl").arg("version").output().is_err() {
            left_out(Why::Skipped, test, "openssl is not installed: apt-get install openssl");
            return None;
        }
        let lab = Lab::new();
        for (name, key, days) in [
            ("p256", P256, 90),
            ("rsa", RSA, 60),
            ("ed25519", "-algorithm ED25519", 30),
            ("expired", P256, -1),
            ("soon", P256, 3),
        ] {
            certificate(&lab, name, key, days);
        }
        let first_port = free_ports(SERVERS.len());
        let mut servers = String::new();
        for (port, (name, how)) in (first_port..).zip(SERVERS) {
            let folder = lab.folder().display();
            let keys = match name {
                "clear" => String::new(),
                _ => format!("ssl_certificate {folder}/{name}.crt; ssl_certificate_key {folder}/{name}.key; {how}"),
            };
            let ssl = if name == "clear" { "" } else { " ssl" };
            let _ = write!(
                servers,
                "server {{ listen 127.0.0.1:{port}{ssl}; {keys}\n\
                 location / {{ return 200 'all is well'; }} location /teapot {{ return 418 'short and stout'; }} }}\n"
            );
        }
        let _nginx = Nginx::start_with(&program, lab.folder(), first_port, &servers);
        Some(Shop { lab, _nginx, first_port })
    }

    fn port(&self, server: usize) -> u16 {
        self.first_port + server as u16
    }

    fn url(&self, server: usize, path: &str) -> String {
        format!("https://10.0.2.2:{}{path}", self.port(server))
    }

    /// The image, with these checks.
    fn vm(&self, kinds: &[Value]) -> Vm {
        let mut config: Value = serde_json::from_str(&self.lab.config(None)).unwrap();
        config["checks"] = kinds
            .iter()
            .enumerate()
            .map(|(number, kind)| {
                let mut check = json!({
                    "name": format!("c{number}"), "owner": "o", "impact": "i", "runbook": "r",
                    "interval_s": 2, "timeout_s": 2, "rise": 1, "fall": 2,
                });
                check.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
                check
            })
            .collect();
        let mut vm = self.lab.vm(Machine::Microvm, Machine::Microvm.nics()[0], Accel::Tcg);
        vm.config = Some(self.lab.file("tls.json", &config.to_string()));
        vm
    }
}

/// The first of so many ports in a row that nobody listens on.
fn free_ports(count: usize) -> u16 {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let ports = first..first.saturating_add(count as u16);
        let listeners = ports.clone().map(|port| TcpListener::bind(("127.0.0.1", port)));
        if ports.len() == count && listeners.collect::<Result<Vec<_>, _>>().is_ok() {
            return first;
        }
    }
}

fn targets(guest: &Guest) -> Vec<Value> {
    let mut status: Value = serde_json::from_str(&get(guest.http(), "/status").unwrap().body).unwrap();
    serde_json::from_value(status["targets"].take()).unwrap()
}

#[test]
fn servers_of_nginx_are_told_as_they_are() {
    // A simulated server has read the same RFC as the client: keys, certificates, records and tickets here are others'.
    let Some(shop) = Shop::open("tls::servers_of_nginx_are_told_as_they_are") else { return };
    let lab = &shop.lab;
    let pinned = |server: usize, name: &str| json!({ "https": { "url": shop.url(server, "/health"), "body": "all is well", "pin": pin(lab, name) } });
    let named = |server: usize, name: &str| json!({ "https": { "url": shop.url(server, "/"), "server_name": name } });
    let at = |server: usize| format!("10.0.2.2:{}", shop.port(server));
    let table = [
        (pinned(0, "p256"), "ok"),
        (pinned(1, "rsa"), "ok"),
        (pinned(2, "ed25519"), "ok"),
        (pinned(0, "rsa"), "certificate"),
        (pinned(1, "ed25519"), "certificate"),
        (named(0, "www.shop.example"), "ok"),
        (named(0, "bank.example"), "certificate"),
        (pinned(3, "expired"), "expired"),
        (json!({ "tls": { "address": at(3), "server_name": "shop.example" } }), "expired"),
        (json!({ "tls": { "address": at(4), "server_name": "shop.example" } }), "expired"),
        (json!({ "tls": { "address": at(4), "server_name": "shop.example", "expiry_days": 1 } }), "ok"),
        (named(5, "shop.example"), "tls_version"),
        (named(6, "shop.example"), "tls"),
        (
            json!({ "https": { "url": shop.url(1, "/teapot"), "server_name": "shop.example", "status": [418], "body": "stout" } }),
            "ok",
        ),
        (json!({ "https": { "url": shop.url(1, "/teapot"), "server_name": "shop.example" } }), "status"),
        (json!({ "https": { "url": shop.url(2, "/"), "server_name": "shop.example", "body": "stout" } }), "body"),
    ];
    let kinds: Vec<Value> = table.iter().map(|row| row.0.clone()).collect();
    let mut guest = Guest::boot(&shop.vm(&kinds));
    guest.wait_ok("/readyz");
    let deadline = Instant::now() + PATIENCE;
    let told = loop {
        let told = targets(&guest);
        let wrong = table.iter().zip(&told).find(|((_, reason), target)| {
            let state = if *reason == "ok" { "up" } else { "down" };
            (&target["state"], &target["reason"]) != (&json!(state), &json!(reason))
        });
        let Some(((kind, reason), target)) = wrong else { break told };
        assert!(Instant::now() < deadline, "{kind} is not told {reason}: {target}");
        sleep(RETRY);
    };
    for (number, authenticity) in
        [(0, "pinned"), (1, "pinned"), (2, "pinned"), (5, "not authenticated"), (8, "not authenticated")]
    {
        assert_eq!(told[number]["certificate"]["authenticity"], authenticity, "{}", told[number]);
    }
    assert_eq!(told[11]["certificate"], Value::Null, "a server that shows nothing has no certificate");

    // What is shown of a certificate is what openssl reads in it: over the wire, as docs/tls.md has it, and in the file.
    let metrics = get(guest.http(), "/metrics").unwrap().body;
    for (number, server, name) in [(5, 0, "p256"), (1, 1, "rsa"), (2, 2, "ed25519"), (8, 3, "expired")] {
        let end: i64 =
            shell(lab, &format!("date -d \"$(openssl x509 -in {name}.crt -noout -enddate | cut -d= -f2)\" +%s"))
                .parse()
                .unwrap();
        let shown = &told[number]["certificate"];
        assert_eq!((&shown["not_after"], &shown["names"]), (&json!(end), &json!("shop.example *.shop.example")));
        let sample = format!("probe_ssl_earliest_cert_expiry{{target=\"c{number}\"}} {end}.000000\n");
        assert!(metrics.contains(&sample), "{sample} is not in {metrics}");
        let seen = shell(
            lab,
            &format!(
                "openssl s_client -connect 127.0.0.1:{} -servername shop.example </dev/null 2>/dev/null | \
                 openssl x509 -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum",
                shop.port(server)
            ),
        );
        assert_eq!((&shown["spki_sha256"], &seen[..64]), (&json!(pin(lab, name)), pin(lab, name).as_str()));
    }
    let log = fs::read_to_string(lab.folder().join("nginx.log")).unwrap();
    assert!(log.lines().any(|line| line.starts_with("GET /teapot HTTP/1.1 418 00-")), "{log}");
    guest.power_down();
}
