//! The host side: `outpost up` as a user meets it, and what it says when something is in the way.

use crate::lab::{OUTPOST, PATIENCE, Slot, get, image};
use outpost_qemu::{Error, Forward, Machine, Network, Vm};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// `outpost up` as a process, killed when the test is over.
struct Up {
    child: Child,
    records: Receiver<Value>,
}

impl Up {
    fn start(folder: &Path, port: u16) -> Up {
        let mut child = Command::new(OUTPOST)
            .args(["up", "--json", "--accel", "tcg", "--port", &port.to_string(), "--image"])
            .arg(image())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, records) = channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap()); // the test may be over
            }
        });
        Up { child, records }
    }

    fn wait_for(&self, event: &str) {
        loop {
            let record = self.records.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {event} was shown"));
            if record["event"] == event {
                return;
            }
        }
    }

    fn interrupt(&self) {
        let kill = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
    }

    /// Its exit code and what it said on standard error.
    fn end(&mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let (_, _) = (self.child.kill(), self.child.wait());
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn up_serves_shows_its_records_and_ends_cleanly() {
    // The first thing that anybody does with Outpost.
    let _slot = Slot::take();
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut up = Up::start(folder.path(), port);
    up.wait_for("boot.started");
    up.wait_for("collector.connected");
    let answer = get(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port), "/livez").unwrap();
    assert_eq!((answer.status, answer.body.trim_end()), (200, "ok"));
    up.wait_for("http.request");
    up.interrupt();
    up.wait_for("shutdown");
    let (code, said) = up.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("http://127.0.0.1:{port}/livez")), "{said}");
    assert!(said.contains("Shut down cleanly"), "{said}");
}

#[test]
fn up_says_what_to_do_about_a_taken_port() {
    // QEMU's own words name neither the cause nor a remedy.
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = Command::new(OUTPOST).args(["up", "--port", &port.to_string()]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains(&format!("port {port} of 127.0.0.1 is taken")) && said.contains("--port"), "{said}");
}

#[test]
fn qemu_that_ends_at_once_is_told_with_its_own_words() {
    // A machine that never started must not be waited for, nor reported as a timeout.
    let missing = Vm::new(Machine::Microvm, "no-such-image.elf").start().err().unwrap();
    assert!(matches!(&missing, Error::Ended { stderr, .. } if stderr.contains("no-such-image.elf")), "{missing}");

    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let host = SocketAddrV4::new(Ipv4Addr::LOCALHOST, taken.local_addr().unwrap().port());
    let network = Network::User(vec![Forward { host, guest_port: 80 }]);
    let refused = Vm { network, kernel: None, ..Vm::new(Machine::Pc, "") }.start().err().unwrap();
    assert!(matches!(&refused, Error::Ended { stderr, .. } if stderr.contains("host forwarding")), "{refused}");
}

#[test]
fn a_dropped_machine_is_gone() {
    // Guests left behind by a failed test would eat the machine that runs the next one.
    let running = Vm { kernel: None, ..Vm::new(Machine::Pc, "") }.start().unwrap();
    let process = Path::new("/proc").join(running.process_id().to_string());
    assert!(process.exists());
    drop(running);
    assert!(!process.exists());
}
