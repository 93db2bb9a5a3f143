//! HAProxy in five modes: what it thinks of each guest, as its stats socket says.

use crate::lab::{Daemon, Lab, lab, run, wait};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// The modes: a name, what its backend says, and whether it sees a guest in maintenance.
const MODES: &[(&str, &str, bool)] = &[
    ("tcp", "mode tcp", false),
    ("default", "option httpchk", true),
    ("get10", "option httpchk GET /readyz HTTP/1.0", true),
    ("host11", "option httpchk\n  http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host outpost", true),
    ("state", "option httpchk /readyz\n  http-check send-state", true),
];

/// The configuration with these guests as servers of every backend.
fn config(socket: &Path, servers: &[(&str, Ipv4Addr)]) -> String {
    let mut text = format!("global\n  stats socket {} mode 600\n", socket.display());
    text.push_str(
        "defaults\n  mode http\n  timeout connect 2s\n  timeout client 5s\n\
         \x20 timeout server 5s\n  timeout check 2s\n  default-server check inter 200ms fall 2 rise 1\n\
         frontend front\n  bind 127.0.0.1:8080\n  default_backend get10\n",
    );
    for (name, mode, _) in MODES {
        text += &format!("backend {name}\n  {mode}\n");
        for (server, address) in servers {
            text += &format!("  server {server} {address}:80\n");
        }
    }
    text
}

fn socket(lab: &Lab) -> PathBuf {
    lab.folder().join("haproxy.sock")
}

/// Starts it with these guests as servers of every backend.
pub fn start(lab: &Lab, servers: &[(&str, Ipv4Addr)]) -> Daemon {
    let file = lab.file("haproxy.cfg", &config(&socket(lab), servers));
    lab.start("haproxy", &["-db", "-f", &file.display().to_string()])
}

/// What its stats socket says: a table of servers, one for each backend.
fn servers(lab: &Lab) -> Vec<BTreeMap<String, String>> {
    let mut text = String::new();
    let asked = UnixStream::connect(socket(lab)).and_then(|mut socket| {
        socket.write_all(b"show stat\n")?;
        socket.read_to_string(&mut text)
    });
    // It is not up yet.
    let Ok(_) = asked else { return Vec::new() };
    let mut lines = text.lines().map(|line| line.trim_start_matches("# ").split(',').map(String::from));
    let Some(columns) = lines.next() else { return Vec::new() };
    let columns: Vec<String> = columns.collect();
    let rows = lines.map(|row| columns.iter().cloned().zip(row).collect::<BTreeMap<_, _>>());
    rows.filter(|row| row.get("svname").is_some_and(|name| !matches!(&name[..], "FRONTEND" | "BACKEND"))).collect()
}

/// How many checks failed since it was started.
pub fn failed_checks(lab: &Lab) -> u64 {
    let servers = servers(lab);
    assert_eq!(servers.len(), MODES.len(), "one server in each mode");
    servers.iter().map(|server| server["chkfail"].parse::<u64>().unwrap()).sum()
}

/// Waits until every mode thinks this of a server.
fn wait_for(lab: &Lab, server: &str, expected: impl Fn(bool) -> &'static str) {
    wait(|| {
        let rows = servers(lab);
        for &(mode, _, sees_maintenance) in MODES {
            let row = rows.iter().find(|row| row["pxname"] == mode && row["svname"] == server);
            let status = row.map_or("unknown", |row| &row["status"]);
            if status != expected(sees_maintenance) {
                return Err(format!(
                    "{server} is {status} for HAProxy in mode {mode}, last check {:?}",
                    row.map(|row| &row["last_chk"])
                ));
            }
        }
        Ok(())
    });
}

/// A load balancer that misreads us sends users to a machine that is not ready; one that resets its checks, as HAProxy
/// does, must not use up the connections.
#[test]
fn five_modes_tell_well_from_unwell_from_gone() {
    lab("haproxy::five_modes_tell_well_from_unwell_from_gone", &["ip", "haproxy", "curl"], |lab| {
        let (well, unwell) = (lab.boot(1), lab.boot_in_maintenance(2));
        let haproxy = start(lab, &[("well", well.link.guest), ("unwell", unwell.link.guest)]);
        wait_for(lab, "well", |_| "UP");
        wait_for(lab, "unwell", |sees_maintenance| if sees_maintenance { "DOWN" } else { "UP" });
        // Users reach us by way of it.
        let ran = run("curl", &["--silent", "--fail", "--max-time", "5", "http://127.0.0.1:8080/readyz"]);
        assert_eq!((ran.code, ran.said.as_str()), (0, "ok"));
        well.kill();
        wait_for(lab, "well", |_| "DOWN");
        drop(haproxy);
        unwell.wait_for_no_connections();
    });
}
