//! Forwarding by a real `outpost collect` to receivers that fail in every way: a small OTLP server on the protocol's own
//! types, and the real rsyslog.
//!
//! The measure is the uid of each record: every one arrives at least once and, at its first arrival, in order.

#[path = "support/fill.rs"]
mod fill;
#[path = "../../tests/support/mod.rs"]
mod left_out;
#[path = "../../tests/support/rsyslog.rs"]
mod rsyslog;
mod support;

use fill::{Line, NOON, SECOND, boot, synchronise};
use left_out::{Why, left_out};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use outpost_wire::session::LossReason;
use outpost_wire::{
    BootStarted, ConfigSource, EntropySource, Event, HttpRequest, Intern, Ip4, Method, NameId, Text, TransactionBound,
};
use prost::Message;
use rsyslog::Rsyslog;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use support::{Agent, Process, directory, hello, query, verify};

/// How long a stream with failures in it may take: more than the back-off after several of them.
const PATIENCE: Duration = Duration::from_secs(60);

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn uid(agent: &str, boot_id: u64, place: impl std::fmt::Display) -> String {
    format!("{agent}/{boot_id:016x}/{place}")
}

/// Each uid of the boot must be there, and those that come for the first time must come in order.
fn assert_all_in_order(came: &[String], agent: &str, boot_id: u64, to: u64) {
    let mut first = BTreeSet::new();
    let prefix = uid(agent, boot_id, "");
    let seqs: Vec<u64> = came
        .iter()
        .filter_map(|uid| uid.strip_prefix(&prefix)?.parse().ok())
        .filter(|seq| first.insert(*seq))
        .collect();
    let expected: Vec<u64> = (1..=to).collect();
    let missing: Vec<_> = expected.iter().filter(|seq| !first.contains(seq)).collect();
    assert!(missing.is_empty(), "{prefix}: {} are missing, the first {:?}", missing.len(), missing.first());
    assert!(seqs == expected, "{prefix}: not in order: {seqs:?}");
}

fn request(transaction: Option<u32>, after: i64) -> Line<'static> {
    let event = Event::from(HttpRequest {
        method: Method::Get,
        route: NameId(1),
        status: 503,
        client: Ip4([192, 0, 2, 9]),
        duration_us: 70,
    });
    Line::Record(after, transaction, event)
}

/// How the OTLP server answers one request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reply {
    /// Takes it: 200.
    Take,
    /// Takes it: 204.
    TakeWithoutBody,
    /// Takes it but for so many records.
    Partly(i64),
    /// Does not take it: this status, and Retry-After in seconds.
    Refuse(u16, Option<u64>),
    /// Closes the connection without a word.
    Hang,
    /// Takes it, and dies before it can say so.
    TakeAndDie,
}

#[derive(Default)]
struct Received {
    /// The next answers; then `Take`.
    script: VecDeque<Reply>,
    /// A record that is refused with 400, alone or among others.
    bad: Option<String>,
    /// When each request came, how it was answered, and its uids.
    requests: Vec<(Instant, Reply, Vec<String>)>,
    /// What was taken: each record with the attributes of its resource.
    records: Vec<(BTreeMap<String, String>, LogRecord)>,
}

impl Received {
    fn uids(&self) -> Vec<String> {
        self.records.iter().map(|(_, record)| attributes(&record.attributes)["log.record.uid"].clone()).collect()
    }
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn attributes(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    attributes.iter().map(|pair| (pair.key.clone(), text(pair.value.as_ref()))).collect()
}

/// An OTLP/HTTP server.
struct Server {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(received: Received) -> Server {
        Server::listen("127.0.0.1:0".parse().unwrap(), Arc::new(Mutex::new(received)))
    }

    fn listen(address: SocketAddr, received: Arc<Mutex<Received>>) -> Server {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (to_thread, stopped) = (received.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                answer(stream.unwrap(), &to_thread);
            }
        });
        Server { address, received, stop, thread: Some(thread) }
    }

    /// Closes its port.
    fn die(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
        self.thread.take().unwrap().join().unwrap();
    }

    fn come_back(&mut self) {
        *self = Server::listen(self.address, self.received.clone());
    }

    fn target(&self) -> String {
        format!("otlp=http://{}", self.address)
    }

    fn received(&self) -> std::sync::MutexGuard<'_, Received> {
        self.received.lock().unwrap()
    }

    fn wait_for(&self, records: usize) {
        wait_for(&format!("the arrival of {records} records"), || {
            self.received().uids().into_iter().collect::<BTreeSet<_>>().len() >= records
        });
    }
}

fn answer(mut stream: TcpStream, received: &Mutex<Received>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if line == "\r\n" {
            break;
        }
        head.push(line.trim().to_lowercase());
    }
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    assert_eq!(head[0], "post /v1/logs http/1.1");
    assert!(head.contains(&"content-type: application/x-protobuf".to_owned()), "{head:?}");
    let request = ExportLogsServiceRequest::decode(&body[..]).unwrap();
    let mut records = Vec::new();
    for resource in request.resource_logs {
        let of = attributes(&resource.resource.unwrap().attributes);
        let scopes = resource.scope_logs.into_iter().flat_map(|scope| scope.log_records);
        records.extend(scopes.map(|record| (of.clone(), record)));
    }
    let uids: Vec<_> = records.iter().map(|(_, r)| attributes(&r.attributes)["log.record.uid"].clone()).collect();
    let mut received = received.lock().unwrap();
    let reply = match &received.bad {
        Some(bad) if uids.contains(bad) => Reply::Refuse(400, None),
        _ => received.script.pop_front().unwrap_or(Reply::Take),
    };
    received.requests.push((Instant::now(), reply, uids));
    if matches!(reply, Reply::Take | Reply::TakeWithoutBody | Reply::Partly(_) | Reply::TakeAndDie) {
        received.records.extend(records);
    }
    drop(received);
    let body = match reply {
        Reply::Partly(rejected_log_records) => {
            let partial_success =
                ExportLogsPartialSuccess { rejected_log_records, error_message: "too\nold".to_owned() };
            ExportLogsServiceResponse { partial_success: Some(partial_success) }.encode_to_vec()
        }
        _ => Vec::new(),
    };
    let head = match reply {
        Reply::Hang | Reply::TakeAndDie => return,
        Reply::Take | Reply::Partly(_) => "200 OK".to_owned(),
        Reply::TakeWithoutBody => "204 No Content".to_owned(),
        Reply::Refuse(status, after) => {
            format!("{status} No\r\n{}", after.map(|s| format!("retry-after: {s}")).unwrap_or("x-nothing: 0".into()))
        }
    };
    let _ = stream.write_all(format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes());
    let _ = stream.write_all(&body);
}

/// What a backend files a record under: a wrong resource or time puts it where nobody looks.
#[test]
fn otlp_records_say_all_that_the_store_knows() {
    let (_directory, store) = directory();
    let started = Event::from(BootStarted {
        version: Text::new("0.1.0"),
        revision: Text::new("r"),
        machine: Text::new("m"),
        memory_bytes: 12 << 20,
        entropy: EntropySource::Cpu,
        config: ConfigSource::Default,
        boot_us: 9,
    });
    let name = Event::from(Intern { id: NameId(1), text: Text::new("/livez") });
    let trace_id = *b"\x4b\xf9\x2f\x35\x77\xb3\x4d\xa6\xa3\xce\x92\x9d\x0e\x0e\x47\x36";
    let bound = Event::from(TransactionBound { trace_id, parent_id: [7; 8], request_id: Text::new("r-1") });
    boot(
        &store,
        "fra1",
        0xfa,
        &[
            Line::Record(0, None, started),
            Line::Record(1, None, name),
            Line::Record(2, Some(7), bound),
            request(Some(7), 3),
            request(Some(8), 4),
            Line::Lost(5, 4, LossReason::Overflow), // 6 to 9
            Line::Raw(6, 60_000, &[1, 0xff]),
            Line::Missing(1), // 11
            request(None, 7),
        ],
    );
    synchronise(&store, 0xfa, SECOND, 2_500);
    boot(&store, "ams1", 0xa5, &[request(Some(7), 3)]);
    let server = Server::start(Received { bad: None, script: [Reply::TakeWithoutBody].into(), ..Received::default() });
    let _collector = Process::start_with(&store, &["--forward", &server.target()]);
    server.wait_for(10);
    let received = server.received();
    let mut by_uid: BTreeMap<_, _> = received.uids().into_iter().zip(&received.records).collect();
    assert_eq!(by_uid.len(), received.records.len(), "something came twice");
    let mut take = |agent, boot, place: &str| by_uid.remove(&uid(agent, boot, place)).unwrap();

    let (resource, record) = take("fra1", 0xfa, "4");
    let expected = [
        ("outpost.boot_id", "00000000000000fa"),
        ("service.instance.id", "fra1"),
        ("service.name", "outpost"),
        ("service.version", "0.1.0"),
    ];
    assert_eq!(*resource, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    assert_eq!(record.time_unix_nano, ((NOON + 2 * SECOND) * 1000) as u64);
    assert_eq!(record.observed_time_unix_nano, ((NOON + 3 * SECOND) * 1000) as u64);
    assert_eq!((record.severity_number, record.severity_text.as_str()), (9, "info"));
    assert_eq!((record.event_name.as_str(), &record.trace_id[..]), ("http.request", &trace_id[..]));
    assert_eq!(
        text(record.body.as_ref()),
        "http.request txn=7 method=GET route=/livez status=503 client=192.0.2.9 duration_us=70"
    );
    let of = attributes(&record.attributes);
    for (key, value) in [
        ("log.record.uid", "fra1/00000000000000fa/4"),
        ("outpost.seq", "4"),
        ("outpost.mono_us", "4000000"),
        ("outpost.transaction", "7"),
        ("outpost.utc_error_us", "2500"),
        ("outpost.fields.status", "503"),
        ("outpost.fields.route", "/livez"),
    ] {
        assert_eq!(of.get(key).map(String::as_str), Some(value), "{key}");
    }
    // Without an id from outside the trace is the boot and the transaction.
    let derived = [&0xfa_u64.to_be_bytes()[..], &8_u64.to_be_bytes()].concat();
    assert_eq!(take("fra1", 0xfa, "5").1.trace_id, derived);
    assert!(take("fra1", 0xfa, "12").1.trace_id.is_empty());
    // A transaction of another boot has nothing to do with the trace bound to its number in this one; and without a
    // clock its time is unknown.
    let (resource, record) = take("ams1", 0xa5, "1");
    assert_eq!(record.trace_id, [&0xa5_u64.to_be_bytes()[..], &7_u64.to_be_bytes()].concat());
    assert_eq!((record.time_unix_nano, resource.get("service.version")), (0, None));
    // What was lost is a record that says so.
    let (_, lost) = take("fra1", 0xfa, "lost-6-9");
    assert_eq!(
        (lost.event_name.as_str(), text(lost.body.as_ref()).as_str()),
        ("lost", "lost from=6 to=9 reason=overflow")
    );
    let (_, missing) = take("fra1", 0xfa, "missing-11-11");
    assert_eq!((missing.event_name.as_str(), missing.severity_number), ("missing", 17));
    assert_eq!(take("fra1", 0xfa, "10").1.event_name, "#60000");
}

/// A receiver that is busy, broken, half deaf or gone must get everything in the end, in order, and be left alone when
/// it asks for it; a collector that was killed must go on where it was.
#[test]
fn otlp_survives_every_failure() {
    let (_directory, store) = directory();
    let lines: Vec<_> = (0..3_000).map(|n| request(None, n)).collect();
    boot(&store, "fra1", 0xfa, &lines);
    boot(&store, "ams1", 0xa5, &lines[..500]);
    let script = [
        Reply::Take,
        Reply::Hang,
        Reply::Refuse(503, Some(2)),
        Reply::Partly(3),
        Reply::Refuse(429, None),
        Reply::TakeAndDie,
        Reply::Take,
        Reply::Refuse(500, None),
        Reply::Take,
    ];
    let mut server = Server::start(Received { script: script.into(), ..Received::default() });
    let mut collector = Process::start_with(&store, &["--forward", &server.target()]);
    wait_for("the end of the script", || server.received().script.is_empty());
    server.die();
    collector.err.wait_for("does not answer");
    let before = server.received().requests.len();
    std::thread::sleep(Duration::from_millis(1_500)); // The cursor is saved within a second.
    collector.kill();
    server.come_back();
    let collector_again = Process::start_with(&store, &["--forward", &server.target()]);
    server.wait_for(3_500);
    let received = server.received();
    assert_all_in_order(&received.uids(), "fra1", 0xfa, 3_000);
    assert_all_in_order(&received.uids(), "ams1", 0xa5, 500);
    // 2 s were asked for.
    let asked = received.requests.iter().position(|(_, reply, _)| *reply == Reply::Refuse(503, Some(2))).unwrap();
    let waited = received.requests[asked + 1].0 - received.requests[asked].0;
    assert!(waited >= Duration::from_secs(2), "it waited only {waited:?}");
    // What was taken in part must not come again; what was taken without a word must.
    let times = |uid: &String| received.requests.iter().filter(|(_, _, uids)| uids.contains(uid)).count();
    let batch = |wanted: Reply| received.requests.iter().find(|(_, reply, _)| *reply == wanted).unwrap().2[0].clone();
    assert_eq!(times(&batch(Reply::Partly(3))), 3, "no answer, 503, taken in part");
    assert_eq!(times(&batch(Reply::TakeAndDie)), 3, "429, taken without a word, taken");
    collector.err.wait_for("refused 3 records for good: some of ");
    collector.err.wait_for("too\\u{a}old");
    assert_eq!(query::<i64>(&store, "SELECT refused FROM forwarders"), 3);
    // The collector that came after the kill went on where the first one was: nothing before it came again.
    let again: BTreeSet<_> = received.requests[before..].iter().flat_map(|(_, _, uids)| uids).collect();
    assert!(!again.contains(&uid("fra1", 0xfa, 1)), "it began at the beginning");
    drop(collector_again);
}

/// One record that a receiver chokes on must not hold up all that come after it, and must not vanish without a word.
#[test]
fn otlp_leaves_a_bad_record_behind_and_says_so() {
    let (_directory, store) = directory();
    let lines: Vec<_> = (0..700).map(|n| request(None, n)).collect();
    boot(&store, "fra1", 0xfa, &lines);
    let bad = uid("fra1", 0xfa, 600);
    let server = Server::start(Received { bad: Some(bad.clone()), ..Received::default() });
    let collector = Process::start_with(&store, &["--forward", &server.target()]);
    server.wait_for(699);
    collector.err.wait_for(&format!("refused 1 records for good: {bad}: "));
    let came: BTreeSet<_> = server.received().uids().into_iter().collect();
    assert!(!came.contains(&bad) && came.contains(&uid("fra1", 0xfa, 700)));
    wait_for("the count in the store", || query::<i64>(&store, "SELECT ifnull(max(refused), 0) FROM forwarders") == 1);
}

/// What was declared lost and comes after all lies behind the cursor: it must go out all the same.
#[test]
fn a_record_that_comes_late_is_forwarded() {
    let (_directory, store) = directory();
    boot(&store, "fra1", 0xfa, &[Line::Lost(0, 3, LossReason::Overflow), request(None, 1)]);
    let server = Server::start(Received::default());
    let _collector = Process::start_with(&store, &["--forward", &server.target()]);
    server.wait_for(2);
    // Written as the first of its boot: seq 1.
    boot(&store, "fra1", 0xfa, &[request(None, 2)]);
    boot(&store, "fra1", 0xfb, &[request(None, 3)]);
    server.wait_for(5);
    let came = server.received().uids();
    let of = |agent, boot, place: &str| uid(agent, boot, place);
    let expected = [
        of("fra1", 0xfa, "lost-1-3"),
        of("fra1", 0xfa, "4"),
        of("fra1", 0xfa, "oddity-1"),
        of("fra1", 0xfa, "1"),
        of("fra1", 0xfb, "1"),
    ];
    assert_eq!(came, expected);
}

/// A server that is no OTLP receiver calls everything bad: then nothing may be given up.
#[test]
fn otlp_gives_nothing_up_before_the_receiver_has_taken_anything() {
    let (_directory, store) = directory();
    boot(&store, "fra1", 0xfa, &[request(None, 1), request(None, 2)]);
    let script: VecDeque<_> = [Reply::Refuse(400, None); 4].into();
    let server = Server::start(Received { script, ..Received::default() });
    let collector = Process::start_with(&store, &["--forward", &server.target()]);
    collector.err.wait_for("answers 400");
    server.wait_for(2);
    collector.err.wait_for("works again");
    assert_eq!(query::<i64>(&store, "SELECT ifnull(sum(refused), 0) FROM forwarders"), 0);
}

/// A receiver that was taken off the command line is waited for by nobody: that has to be said, and ended.
#[test]
fn a_receiver_that_is_no_longer_in_use_is_told_of_until_it_is_forgotten() {
    let (_directory, store) = directory();
    boot(&store, "fra1", 0xfa, &[request(None, 1), request(None, 2)]);
    let server = Server::start(Received::default());
    let target = server.target();
    let mut collector = Process::start_with(&store, &["--forward", &target]);
    server.wait_for(2);
    collector.signal("-TERM");
    collector.wait();
    let (code, text) = verify(&store);
    assert!(code == 0 && text.contains(&format!("forwarded to {target}: 0 records have not arrived")), "{text}");
    boot(&store, "fra1", 0xfb, &[request(None, 3)]);
    let mut collector = Process::start(&store);
    collector.err.wait_for(&format!("{target}: nothing is sent there any more, 1 records have not arrived"));
    collector.signal("-TERM");
    collector.wait();
    assert!(verify(&store).1.contains(&format!("outpost collect --forget '{target}'")), "{}", verify(&store).1);
    // What is forgotten is told of no more; a receiver in use is not forgotten by mistake.
    let mut collector = Process::start_with(&store, &["--forget", &target]);
    collector.signal("-TERM");
    assert!(collector.wait().success());
    assert!(!verify(&store).1.contains("forwarded"), "{}", verify(&store).1);
    let mut both = Process::start_with(&store, &["--forward", &target, "--forget", &target]);
    both.err.wait_for("is to be forwarded to and forgotten: take one of the two away");
    assert_eq!(both.wait().code(), Some(1));
    assert_eq!(server.received().uids().len(), 2);
}

/// A receiver that takes a connection and then says nothing must not cost an agent its acknowledgement.
#[test]
fn a_silent_receiver_delays_no_acknowledgement() {
    let (_directory, store) = directory();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let (otlp, syslog) = (format!("otlp=http://{address}"), format!("syslog={address}"));
    let collector = Process::start_with(&store, &["--forward", &otlp, "--forward", &syslog]);
    let (mut agent, _) = Agent::open(collector.address, hello("fra1", 0xfa, 1, 1));
    let begun = Instant::now();
    let mut held = Vec::new();
    for batch in 0..40 {
        agent.send(batch * 50 + 1, batch * 50 + 50);
        agent.expect_ack(batch * 50 + 50);
        if batch == 0 {
            // From now on both are amid a request or a round.
            held = vec![silent.accept().unwrap(), silent.accept().unwrap()];
        }
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(8), "40 acknowledgements took {took:?}, about as long as a request may");
    drop(held);
}

/// Syslog over TCP loses what lies in buffers when the receiver dies: the measure that every pipeline we tried failed.
#[test]
fn rsyslog_killed_mid_stream_loses_nothing() {
    let name = "rsyslog_killed_mid_stream_loses_nothing";
    let Some(program) = Rsyslog::program() else {
        return left_out(Why::Skipped, name, "rsyslogd is not installed: apt-get install rsyslog");
    };
    let (directory, store) = directory();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut rsyslog = Rsyslog::start(&program, directory.path(), port);
    let collector = Process::start_with(&store, &["--forward", &format!("syslog=127.0.0.1:{port}?facility=local3")]);
    let (mut agent, _) = Agent::open(collector.address, hello("fra1", 0xfa, 1, 1));
    let mut next = 1;
    let mut send = |count: u64| {
        agent.send(next, next + count - 1);
        agent.expect_ack(next + count - 1);
        next += count;
        next - 1
    };
    // Killed while it writes.
    for _ in 0..3 {
        let before = rsyslog.uids().len();
        send(2_000);
        wait_for("rsyslog's writing", || rsyslog.uids().len() > before + 100);
        rsyslog.kill_and_restart();
    }
    // Killed when it has stopped reading: what it was sent lies in the kernel's buffers, acknowledged by TCP.
    let arrived = send(10);
    wait_for("the arrival of all before", || rsyslog.uids().contains(&uid("fra1", 0xfa, arrived)));
    rsyslog.stop();
    send(300);
    std::thread::sleep(Duration::from_secs(4));
    rsyslog.kill_and_restart();
    // Killed right after it read a round, and dead for a while.
    let last = send(500);
    wait_for("the arrival of all", || rsyslog.uids().iter().collect::<BTreeSet<_>>().len() as u64 >= last);
    assert_all_in_order(&rsyslog.uids(), "fra1", 0xfa, last);
    // And it understood each part of a message.
    let expected = "local3.info|fra1|outpost|00000000000000fa|http.request|\
                    [timeQuality tzKnown=\"0\" isSynced=\"0\"][meta sequenceId=\"7\" sysUpTime=\"0\"]\
                    [outpost@32473 uid=\"fra1/00000000000000fa/7\" receivedAt=\"";
    let out = rsyslog.out();
    let line = out.lines().find(|line| line.contains("/7\" ")).unwrap();
    assert!(line.starts_with(expected), "{line}");
    assert!(line.ends_with("client=192.0.2.250 duration_us=21"), "{line}");
}
