//! Notifications by a real `outpost collect` to real receivers: shell scripts, and Python's HTTP server.
//!
//! The measure is what a receiver wrote down: which ids came, in which order, and what stood in each document.

mod support;

use boon::{Compiler, Schemas};
use outpost_wire::{
    BootPreviousEnded, BootStarted, ConfigSource, DrillStarted, EndCause, EntropySource, Event, Intern, Ip4, NameId,
    ProbeReason, TargetDown, TargetUp, TargetWatched, Text,
};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::{Agent, Process, data, directory, execute, get, hello, record_body};

/// How long what is notified may take to arrive, with the back-off after several failures.
const PATIENCE: Duration = Duration::from_secs(30);

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The documents in a file, one a line, when there are so many.
fn documents(file: &Path, count: usize) -> Vec<Value> {
    wait_for(&format!("{count} documents in {}", file.display()), || {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let all: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap_or(Value::Null)).collect();
        (all.len() >= count && text.ends_with('\n')).then_some(all)
    })
}

/// An agent at work, and the seq of its next record.
struct Told {
    agent: Agent,
    next: u64,
}

impl Told {
    fn open(address: SocketAddr, boot_id: u64) -> Told {
        let (agent, _) = Agent::open(address, hello("fra1", boot_id, 1, 1));
        Told { agent, next: 1 }
    }

    /// Sends these and waits until they are stored.
    fn tell(&mut self, events: &[Event<'_>]) {
        let bodies: Vec<_> = (self.next..).zip(events).map(|(seq, event)| record_body(seq, event)).collect();
        self.agent.write(&data(0, self.next, &bodies));
        self.next += events.len() as u64;
        self.agent.expect_ack(self.next - 1);
    }
}

fn started() -> Event<'static> {
    Event::from(BootStarted {
        version: Text::new("0.1.0"),
        revision: Text::new("r"),
        machine: Text::new("m"),
        memory_bytes: 12 << 20,
        entropy: EntropySource::Cpu,
        config: ConfigSource::Module,
        boot_us: 9,
    })
}

/// What an agent says before it says anything of the target with this number.
fn introduced(number: u16, name: &str) -> [Event<'_>; 2] {
    let (owner, impact, runbook) = (Text::new("team-shop"), Text::new("customers cannot pay"), Text::new("shop"));
    [
        Event::from(Intern { id: NameId(number), text: Text::new(name) }),
        Event::from(TargetWatched { check: NameId(number), owner, impact, runbook }),
    ]
}

fn down(number: u16) -> Event<'static> {
    let (reason, address) = (ProbeReason::Status, Ip4([192, 0, 2, 10]));
    Event::from(TargetDown { check: NameId(number), reason, status: 503, up_s: 9, address, maintenance: false })
}

fn up(number: u16) -> Event<'static> {
    Event::from(TargetUp { check: NameId(number), down_s: 0, took_us: 5, maintenance: false })
}

/// A program that writes what it is given into a file, after this line of shell.
fn script(directory: &Path, name: &str, line: &str) -> (String, PathBuf) {
    let (program, file) = (directory.join(name), directory.join(format!("{name}.log")));
    // In one write, so that a line is whole or is not there.
    let text = format!("#!/bin/sh\nread -r document\n{line}\nprintf '%s\\n' \"$document\" >> {}\n", file.display());
    std::fs::write(&program, text).unwrap();
    (format!("sh {}", program.display()), file)
}

fn keys<'d>(documents: &'d [Value], key: &str) -> Vec<&'d str> {
    documents.iter().map(|document| document[key].as_str().unwrap_or("null")).collect()
}

/// Who is woken up for nothing turns it off, and who is not told of the end goes on looking.
#[test]
fn each_transition_is_told_once_with_all_that_is_known_of_it() {
    let (directory, store) = directory();
    let (command, file) = script(directory.path(), "page", "");
    let mut collector = Process::start_with(&store, &["--notify", &command]);
    let mut boot = Told::open(collector.address, 0xa1);
    boot.tell(&[&[started()], &introduced(1, "shop")[..], &introduced(2, "blog")].concat());
    // Everything is up after the start: no news.
    boot.tell(&[up(1), up(2), down(1), up(2)]);
    let first = documents(&file, 1).remove(0);
    let expected = json!({
        "id": "fra1/00000000000000a1/8", "agent": "fra1", "boot": "00000000000000a1", "event": "target.down",
        "action": "open", "key": "fra1/target/shop", "state": "down", "severity": "info", "target": "shop",
        "owner": "team-shop", "impact": "customers cannot pay", "runbook": "shop", "reason": "status",
        "since": null, "since_error_us": null, "received_at": first["received_at"], "maintenance": false,
        "held": false, "exercise": false,
        "text": "shop is down (status): customers cannot pay. Owner: team-shop. Seen by fra1.",
        "fields": { "check": "shop", "reason": "status", "status": 503, "up_s": 9, "address": "192.0.2.10",
            "maintenance": false },
    });
    assert_eq!(first, expected);
    // The agent starts anew, for a drill this time, and finds the target still down: that was told.
    drop(boot);
    let mut boot = Told::open(collector.address, 0xa2);
    let drill = DrillStarted { panic_after_s: 0, hang_after_s: 0, records_per_s: 0 };
    let ended = BootPreviousEnded {
        cause: EndCause::Watchdog,
        last_seq: 9,
        salvaged: 9,
        torn: 0,
        boot_id: 0xa1u64.to_be_bytes(),
        uptime_s: 60,
        abnormal_ends: 1,
        safe_mode: false,
    };
    boot.tell(&[started(), Event::from(drill), Event::from(ended)]);
    boot.tell(&introduced(7, "shop"));
    boot.tell(&[down(7)]);
    // A restart of the collector neither tells anything again nor forgets what is open.
    documents(&file, 2);
    collector.signal("-TERM");
    collector.wait();
    let collector = Process::start_with(&store, &["--notify", &command]);
    let mut boot = Told { agent: Agent::open(collector.address, hello("fra1", 0xa2, 7, 7)).0, next: 7 };
    boot.tell(&[up(7)]);
    documents(&file, 3);
    // The collector tells by itself that an agent is silent; nobody waits a minute here.
    execute(
        &store,
        "INSERT INTO oddities (boot, received_us, event, detail)
         VALUES (2, 1772366400000000, 'agent.silent', '{\"silent_s\": 60}')",
    );
    let all = documents(&file, 4);
    assert_eq!(keys(&all, "event"), ["target.down", "boot.previous_ended", "target.up", "agent.silent"]);
    assert_eq!(keys(&all, "action"), ["open", "tell", "close", "open"]);
    assert_eq!(keys(&all, "key"), ["fra1/target/shop", "fra1/boot", "fra1/target/shop", "fra1/silent"]);
    assert_eq!(keys(&all, "since")[3], "2026-03-01T11:59:00.000000Z");
    assert_eq!(all.iter().map(|it| it["exercise"].as_bool().unwrap()).collect::<Vec<_>>(), [false, true, true, true]);
    assert!(keys(&all, "text")[1].starts_with("EXERCISE: agent fra1: restarted (watchdog)"), "{:#}", all[1]);
    follows_the_schema(&all);
}

/// Receivers are written against the schema.
fn follows_the_schema(documents: &[Value]) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/notify/notification.schema.json");
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    let schema = compiler.compile(path, &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
    for document in documents {
        schemas.validate(document, schema).unwrap_or_else(|error| panic!("{error:#}: {document:#}"));
    }
}

/// A collector that dies while it tells must tell again: whether the other end had it, it cannot know.
#[test]
fn a_collector_killed_amid_a_delivery_tells_that_again_and_nothing_else() {
    let (directory, store) = directory();
    let began = directory.path().join("began");
    let line = format!("printf '%s\\n' \"$document\" >> {}\nsleep 0.3", began.display());
    let (command, file) = script(directory.path(), "slow", &line);
    let mut collector = Process::start_with(&store, &["--notify", &command]);
    let mut boot = Told::open(collector.address, 0xb1);
    boot.tell(&[started()]);
    for number in 1..=6 {
        boot.tell(&introduced(number, &format!("target-{number}")));
    }
    boot.tell(&(1..=6).map(down).collect::<Vec<_>>());
    for round in [1, 3, 5] {
        documents(&began, round);
        collector.kill();
        collector = Process::start_with(&store, &["--notify", &command]);
    }
    let last = format!("fra1/{:016x}/19", 0xb1);
    let all = wait_for("the last notification", || {
        let all = documents(&file, 6);
        (all.last()?["id"] == last.as_str()).then_some(all)
    });
    let mut first = Vec::new();
    for id in keys(&all, "id") {
        if !first.contains(&id) {
            first.push(id);
        }
    }
    let expected: Vec<String> = (14..=19).map(|seq| format!("fra1/{:016x}/{seq}", 0xb1)).collect();
    assert_eq!(first, expected, "every one, in order");
    assert!(all.len() <= 6 + 3, "what had arrived before a kill came again: {:?}", keys(&all, "id"));
    assert!(documents(&began, 7).len() >= 7, "no kill came amid a delivery");
}

/// A pager that hangs must not become a ring that overflows.
#[test]
fn a_receiver_that_hangs_delays_no_acknowledgement() {
    let (_directory, store) = directory();
    let collector = Process::start_with(&store, &["--notify", "sleep 25"]);
    let mut boot = Told::open(collector.address, 0xc1);
    boot.tell(&[&[started()], &introduced(1, "shop")[..], &[up(1), down(1)]].concat());
    wait_for("the delivery", || running("sleep 25").then_some(()));
    let began = Instant::now();
    for _ in 0..20 {
        boot.tell(&vec![up(1); 500]);
    }
    assert!(began.elapsed() < Duration::from_secs(10), "10,000 records took {:?}", began.elapsed());
    assert!(running("sleep 25"), "it was to hang all the time");
}

/// Whether a child of ours runs this.
fn running(command: &str) -> bool {
    let list = Command::new("ps").args(["-eo", "args"]).output().unwrap();
    String::from_utf8_lossy(&list.stdout).lines().any(|line| line == command)
}

/// Python's HTTP server, which answers as a script says: `ID STATUS` lines, each used once.
const SERVER: &str = r#"
import http.server, json, sys
answers, log = sys.argv[1], sys.argv[2]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        target = json.loads(body)["target"]
        assert self.headers["Content-Type"] == "application/json" and self.path == "/hook/secret"
        rest = [line.split() for line in open(answers)]
        status = 204
        for at, (of, answer) in enumerate(rest):
            if of == target:
                status = int(answer)
                del rest[at]
                break
        with open(answers, "w") as file:
            file.writelines(" ".join(line) + "\n" for line in rest)
        with open(log, "a") as file:
            file.write(json.dumps({"target": target, "status": status}) + "\n")
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *arguments):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"#;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A receiver that fails for a while must get everything in order, one that calls a document wrong must not stop all.
#[test]
fn a_url_is_tried_again_in_order_and_what_it_calls_wrong_is_given_up_in_public() {
    let (directory, store) = directory();
    let (answers, file) = (directory.path().join("answers"), directory.path().join("log"));
    std::fs::write(&answers, format!("shop 500\nshop 404\n{}", "blog 422\n".repeat(5))).unwrap();
    let mut python = Command::new("python3");
    let mut child = python.arg("-c").arg(SERVER).arg(&answers).arg(&file).stdout(Stdio::piped()).spawn().unwrap();
    let mut port = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut port).unwrap();
    let _server = Server(child);
    let url = format!("http://127.0.0.1:{}/hook/secret", port.trim());
    let collector = Process::start_with(&store, &["--http", "127.0.0.1:0", "--notify", &url]);
    let mut boot = Told::open(collector.address, 0xd1);
    boot.tell(&[&[started()], &introduced(1, "shop")[..], &introduced(2, "blog"), &[up(1), up(2)]].concat());
    // Whose beginning never arrived is not told the end.
    boot.tell(&[down(1), down(2), up(2), up(1)]);
    let came: Vec<_> =
        documents(&file, 9).iter().map(|it| format!("{} {}", it["target"].as_str().unwrap(), it["status"])).collect();
    let expected = [&["shop 500", "shop 404", "shop 204"][..], &["blog 422"; 5], &["shop 204"]].concat();
    assert_eq!(came, expected);
    collector.err.wait_for("refused 1 records for good: fra1/00000000000000d1/9, 5 times: it answers 422");
    let line = collector.err.wait_for("http://127.0.0.1:").split("http://").nth(1).unwrap().to_owned();
    let (_, metrics) = wait_for("the metric", || {
        let answer = get(line.split('/').next().unwrap(), "/metrics");
        answer.1.contains("_refused_records_total{forwarder=\"notify=").then_some(answer)
    });
    let refused: Vec<_> = metrics.lines().filter(|line| line.contains("_refused_records_total{")).collect();
    assert!(refused.len() == 1 && refused[0].ends_with("\"} 1"), "{refused:?}");
    assert!(!metrics.contains("secret") && collector.err.all().iter().all(|line| !line.contains("secret")));
}

/// What is no receiver must be said before the night in which it is needed.
#[test]
fn what_is_no_receiver_is_refused() {
    for (notify, said) in
        [("https://x/y", "TLS"), ("", "neither"), ("http://", "not a URL"), ("http://u@h/", "not a URL")]
    {
        let output =
            Command::new(env!("CARGO_BIN_EXE_outpost")).args(["collect", "--notify", notify]).output().unwrap();
        let said_by_it = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said_by_it.contains(said), "{notify}: {said_by_it}");
    }
}
