//! The other way round: the guest asks real programs over its tap, and says of each what is so.

use crate::lab::{Guest, Lab, lab, wait};
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

/// Nobody sends more than one byte in this time.
const DRIP: Duration = Duration::from_millis(100);

/// Connections that the in-process servers hold at most: more than all probes of the test.
const HELD: usize = 1000;

/// A server of ours on this port: takes connections and says nothing, or one byte at a time without an end.
fn serve(port: u16, drips: bool) {
    let listener = TcpListener::bind(("10.77.1.1", port)).unwrap();
    thread::spawn(move || {
        let mut held = Vec::new();
        for mut stream in listener.incoming().take(HELD).map_while(Result::ok) {
            if drips {
                thread::spawn(move || {
                    for byte in b"HTTP/1.1 200 OK\r\nX: ".iter().chain(std::iter::repeat_n(&b'x', HELD)) {
                        if stream.write_all(&[*byte]).is_err() {
                            return;
                        }
                        thread::sleep(DRIP);
                    }
                });
            } else {
                held.push(stream);
            }
        }
    });
}

/// A chronyd that serves the host's time on this address as stratum 8, and touches no clock.
fn chrony(lab: &Lab, address: &str) -> crate::lab::Daemon {
    let path = lab.folder().join(address).display().to_string();
    let config = lab.file(
        &format!("{address}.conf"),
        &format!("local stratum 8\nallow\nbindaddress {address}\ncmdport 0\nbindcmdaddress /\npidfile {path}.pid\n"),
    );
    lab.start("chronyd", &["-d", "-x", "-u", "root", "-f", &config.display().to_string()])
}

fn nginx(lab: &Lab) -> crate::lab::Daemon {
    let shown = lab.folder().display();
    let config = format!(
        "daemon off; master_process off; pid {shown}/nginx.pid; error_log {shown}/nginx.err; events {{}}\n\
         http {{ access_log {shown}/nginx.log; client_body_temp_path {shown}/body; proxy_temp_path {shown}/proxy;\n\
         fastcgi_temp_path {shown}/fastcgi; uwsgi_temp_path {shown}/uwsgi; scgi_temp_path {shown}/scgi;\n\
         server {{ listen 8080; absolute_redirect off;\n\
         location /new {{ return 200 'all is well'; }} location /old {{ return 302 /new; }}\n\
         location /whole {{ return 301 http://10.77.1.1:8080/new; }}\n\
         location /away {{ return 307 http://10.77.1.3:8080/new; }}\n\
         location /secret {{ return 302 http://169.254.169.254/latest; }}\n\
         location /circle {{ return 302 /circle; }} }} }}\n"
    );
    let path = lab.file("nginx.conf", &config).display().to_string();
    lab.start("nginx", &["-c", &path, "-e", &format!("{shown}/nginx.err")])
}

#[test]
fn every_kind_of_target_is_told_as_it_is() {
    // Servers of a simulation answer as its author read the RFCs; these answer as servers do.
    lab("targets::every_kind_of_target_is_told_as_it_is", &["nginx", "dnsmasq", "chronyd"], |lab| {
        let page = |path: &str| json!({ "url": format!("http://10.77.1.1:8080{path}"), "body": "is well" });
        let listed = |path: &str| json!({ "url": format!("http://10.77.1.1:8080{path}"), "redirects": ["10.77.1.3", "169.254.169.254"] });
        let asks = |name: &str, kind: &str, answer: &str| json!({ "server": "10.77.1.1", "name": name, "type": kind, "answers": [answer] });
        let web = |port: u16| json!({ "url": format!("http://10.77.1.1:{port}/") });
        let table: Vec<(&str, Value, &str, Option<&str>)> = vec![
            ("icmp", json!({ "address": "10.77.1.1" }), "up", Some("ok")),
            ("icmp", json!({ "address": "198.51.100.1" }), "down", Some("unreachable")),
            ("icmp", json!({ "address": "10.77.1.9" }), "down", Some("timeout_connect")),
            ("tcp", json!({ "address": "10.77.1.1:8081" }), "up", Some("ok")),
            ("dns", asks("shop.lab.test", "A", "192.0.2.10"), "up", Some("ok")),
            ("dns", asks("www.lab.test", "A", "192.0.2.10"), "up", Some("ok")),
            ("dns", asks("shop.lab.test", "AAAA", "2001:db8::10"), "up", Some("ok")),
            ("dns", asks("www.lab.test", "CNAME", "shop.lab.test"), "up", Some("ok")),
            ("dns", asks("lab.test", "MX", "10 mail.lab.test"), "up", Some("ok")),
            ("dns", asks("lab.test", "TXT", "v=spf1 -all"), "up", Some("ok")),
            ("dns", asks("shop.lab.test", "A", "192.0.2.11"), "down", Some("answer")),
            ("dns", json!({ "server": "10.77.1.1", "name": "none.lab.test", "rcode": "NXDOMAIN" }), "up", Some("ok")),
            ("dns", json!({ "server": "10.77.1.1", "name": "none.lab.test" }), "down", Some("answer")),
            ("dns", json!({ "server": "10.77.1.1:54", "name": "shop.lab.test" }), "down", Some("unreachable")),
            ("ntp", json!({ "server": "10.77.1.3", "max_offset_ms": 1000 }), "up", Some("ok")),
            ("ntp", json!({ "server": "10.77.1.3", "max_stratum": 7 }), "down", Some("stratum")),
            // It is the only one that our clock is from: nothing is learnt of it.
            ("ntp", json!({ "server": "10.77.1.1", "max_offset_ms": 1000 }), "unknown", None),
            ("http", page("/old"), "up", Some("ok")),
            ("http", page("/whole"), "up", Some("ok")),
            ("http", listed("/away"), "up", Some("ok")),
            ("http", page("/away"), "down", Some("redirect")),
            ("http", listed("/secret"), "down", Some("redirect")),
            ("http", page("/circle"), "down", Some("redirect")),
            ("http", web(8081), "down", Some("timeout_response")),
            ("http", web(8082), "down", Some("timeout_response")),
            ("http", web(8083), "down", Some("refused")),
        ];
        let checks = table.iter().enumerate().map(|(number, (kind, what, ..))| {
            let mut check = json!({ "name": format!("c{number}"), "owner": "o", "impact": "i", "runbook": "r" });
            (check["interval_s"], check["timeout_s"], check["rise"], check["fall"]) =
                (2.into(), 2.into(), 1.into(), 2.into());
            if what.to_string().contains("198.51.100") {
                // The kernel says so once in a second at most, whoever asks for what.
                (check["interval_s"], check["fall"]) = (7.into(), 1.into());
            }
            check[kind] = what.clone();
            check
        });
        // Nothing is behind the host but this route, of which it says so.
        for (setting, value) in [("ip_forward", "1"), ("icmp_ratelimit", "0")] {
            std::fs::write(format!("/proc/sys/net/ipv4/{setting}"), value).unwrap();
        }
        let config = json!({ "checks": checks.collect::<Vec<_>>(), "time": { "servers": ["10.77.1.1"] } });
        let guest = lab.boot_with(1, config);
        guest.link.add_host(3).unwrap();
        assert_eq!(crate::lab::run("ip", &["route", "add", "unreachable", "198.51.100.0/24"]).code, 0);
        let records = [
            "--host-record=shop.lab.test,192.0.2.10,2001:db8::10",
            "--cname=www.lab.test,shop.lab.test",
            "--mx-host=lab.test,mail.lab.test,10",
            "--txt-record=lab.test,v=spf1 -all",
        ];
        let own = [
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--user=root",
            "--pid-file=",
        ];
        let bound = ["--bind-interfaces", "--listen-address=10.77.1.1", "--local=/lab.test/"];
        let _dns = lab.start("dnsmasq", &[&own[..], &bound, &records].concat());
        let _clocks = [chrony(lab, "10.77.1.1"), chrony(lab, "10.77.1.3")];
        let _nginx = nginx(lab);
        serve(8081, false);
        serve(8082, true);
        wait(|| judge(&guest, &table));
    });
}

/// Whether each target is told as its row says.
fn judge(guest: &Guest, table: &[(&str, Value, &str, Option<&str>)]) -> Result<(), String> {
    let status = guest.status();
    for (number, (kind, what, state, reason)) in table.iter().enumerate() {
        let target = &status["targets"][number];
        let told = (&target["kind"], &target["state"], &target["reason"]);
        if told != (&json!(kind), &json!(state), &json!(reason)) {
            return Err(format!("{kind} {what} is not {state} for {reason:?}: {target}"));
        }
    }
    Ok(())
}
