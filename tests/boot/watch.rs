//! A booted guest watches a real nginx: it is up, down when nginx is stopped or answers badly, and up again; the page, the
//! metrics and the collector's store all say so.

use crate::lab::{Guest, Lab, PATIENCE, get};
use crate::support::{Why, left_out};
use outpost_qemu::{Accel, Machine};
use outpost_wire::{Event, ProbeReason};
use serde_json::{Value, json};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const RETRY: Duration = Duration::from_millis(50);

/// A running nginx; killed when it is dropped.
pub struct Nginx(Child);

impl Nginx {
    /// Where it is installed.
    pub fn program() -> Option<PathBuf> {
        ["/usr/sbin/nginx", "/usr/local/sbin/nginx"].into_iter().map(PathBuf::from).find(|path| path.exists())
    }

    /// Starts it with one location on this port of loopback, with its files in this folder.
    pub fn start(program: &Path, folder: &Path, port: u16, location: &str) -> Nginx {
        let server = format!("server {{ listen 127.0.0.1:{port}; location / {{ {location} }} }}");
        Nginx::start_with(program, folder, port, &server)
    }

    /// Starts it with these servers, one of which listens on this port.
    pub fn start_with(program: &Path, folder: &Path, port: u16, servers: &str) -> Nginx {
        let shown = folder.display();
        let configuration = format!(
            "daemon off; master_process off; pid {shown}/nginx.pid; error_log {shown}/nginx.err; events {{}}\n\
             http {{ log_format trace '$request $status $http_traceparent'; access_log {shown}/nginx.log trace;\n\
             client_body_temp_path {shown}/body; proxy_temp_path {shown}/proxy; fastcgi_temp_path {shown}/fastcgi;\n\
             uwsgi_temp_path {shown}/uwsgi; scgi_temp_path {shown}/scgi;\n\
             {servers} }}\n"
        );
        std::fs::write(folder.join("nginx.conf"), configuration).unwrap();
        let child = Command::new(program)
            .arg("-c")
            .arg(folder.join("nginx.conf"))
            .arg("-e")
            .arg(folder.join("nginx.err"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let errors = std::fs::read_to_string(folder.join("nginx.err")).unwrap_or_default();
            assert!(Instant::now() < deadline, "nginx does not listen on port {port}: {errors}");
            sleep(RETRY);
        }
        Nginx(child)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn target(guest: &Guest) -> Value {
    let status: Value = serde_json::from_str(&get(guest.http(), "/status").unwrap().body).unwrap();
    status["targets"][0].clone()
}

fn wait_for(guest: &Guest, state: &str, reason: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let target = target(guest);
        if target["state"] == state && target["reason"] == reason {
            return target;
        }
        assert!(Instant::now() < deadline, "it is not {state} for {reason}: {target}");
        sleep(RETRY);
    }
}

#[test]
fn a_web_server_is_watched() {
    // A watcher that sees its own simulation only: the real server's connections end in other ways.
    let Some(program) = Nginx::program() else {
        return left_out(
            Why::Skipped,
            "a_web_server_is_watched",
            "nginx is not installed: apt-get install nginx-light",
        );
    };
    let lab = Lab::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut config: Value = serde_json::from_str(&lab.config(None)).unwrap();
    config["checks"] = json!([{
        "name": "shop", "group": "Shop", "owner": "team-shop", "impact": "customers cannot pay", "runbook": "shop",
        "interval_s": 1, "rise": 1, "fall": 2, "http": { "url": format!("http://10.0.2.2:{port}/health"), "body": "all is well" },
    }]);
    let mut vm = lab.vm(Machine::Microvm, Machine::Microvm.nics()[0], Accel::Tcg);
    vm.config = Some(lab.file("watch.json", &config.to_string()));
    let nginx = Nginx::start(&program, lab.folder(), port, "return 200 'all is well';");
    let mut guest = Guest::boot(&vm);
    guest.wait_ok("/readyz");
    let up = wait_for(&guest, "up", "ok");
    assert_eq!((&up["name"], &up["http_status"]), (&json!("shop"), &json!(200)));
    let metrics = get(guest.http(), "/metrics").unwrap().body;
    assert!(metrics.contains("probe_success{target=\"shop\"} 1\n"), "{metrics}");

    // The same probe stands in nginx's log under the id that ours has for it.
    let log = std::fs::read_to_string(lab.folder().join("nginx.log")).unwrap();
    let about: Value = serde_json::from_str(&get(guest.http(), "/about").unwrap().body).unwrap();
    let boot = about["boot_id"].as_str().unwrap();
    assert!(log.lines().any(|line| line.starts_with(&format!("GET /health HTTP/1.1 200 00-{boot}"))), "{log}");

    drop(nginx);
    // QEMU's user network takes the connection and closes it when nobody listens behind it.
    let deadline = Instant::now() + PATIENCE;
    while target(&guest)["state"] != "down" {
        assert!(Instant::now() < deadline, "{}", target(&guest));
        sleep(RETRY);
    }
    assert_eq!(get(guest.http(), "/readyz").unwrap().status, 200, "a target is not the agent");
    let page = get(guest.http(), "/").unwrap().body;
    assert!(
        page.contains("1 watched from lab at 10.0.2.15, 1 down.") && page.contains("customers cannot pay"),
        "{page}"
    );

    let nginx = Nginx::start(&program, lab.folder(), port, "return 200 'all is well';");
    wait_for(&guest, "up", "ok");
    drop(nginx);
    let _ill = Nginx::start(&program, lab.folder(), port, "return 503 'not well';");
    let down = wait_for(&guest, "down", "status");
    assert_eq!(down["http_status"], 503);

    let downs = lab.wait_for("target.down", 2);
    let Event::TargetDown(last) = downs[1].event() else { panic!("{downs:?}") };
    assert_eq!((last.reason, last.status), (ProbeReason::Status, 503));
    assert_eq!(lab.records("target.up").len(), 2);
    guest.power_down();
}
