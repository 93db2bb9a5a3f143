//! The log as its users see it: console lines, volume, names, severities, panics.

use super::*;
use crate::crash::{LastWords, WatchdogVerdict};
use crate::limits::{
    LOG_CONSOLE_PER_SECOND, LOG_LIMITED_PER_SECOND, LOG_LOSS_RECENT, LOG_NAMES, LOG_TRACED_BURST, LOG_TRACED_PER_SECOND,
};
use outpost_wire::{
    ConfigInvalid, DownReason, EndCause, HttpRejected, HttpRequests, Ip4, Method, NetworkDown, Panic, Suppressed,
};
use smoltcp::time::Duration;
use std::vec::Vec;

fn region() -> Vec<u8> {
    vec![0; 512 + 32 * 4136]
}

fn ms(ms: i64) -> Instant {
    Instant::from_millis(ms)
}

fn request(route: NameId, status: u16) -> HttpRequest {
    HttpRequest { method: Method::Get, route, status, client: Ip4([10, 0, 2, 2]), duration_us: 85 }
}

/// The longest id that a request can bring.
fn bound() -> TransactionBound<'static> {
    const ID: &str = "an-id-of-64-characters-as-the-longest-that-is-taken-from-outside";
    TransactionBound { trace_id: [7; 16], parent_id: [7; 8], request_id: Text::new(ID) }
}

/// A serial line that keeps what is written.
struct Serial(Vec<u8>);

impl embedded_io::ErrorType for Serial {
    type Error = core::convert::Infallible;
}

impl embedded_io::Write for Serial {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// Everything that the console says at this moment.
fn shown(log: &mut Log<'_>, now: Instant) -> String {
    let mut out = Serial(Vec::new());
    // A console that always has more would hold up the network.
    for _ in 0..100_000 {
        if !log.console(now, &mut out) {
            return String::from_utf8(out.0).unwrap();
        }
    }
    panic!("the console never ends");
}

/// All events of this boot, in order, with their severities.
fn events(log: &Log<'_>, mut visit: impl FnMut(Record<'_>, Event<'_>)) {
    let mut reader = log.reader(1);
    while let Step::Record(seq, body) = log.read(&mut reader) {
        let record = Record::decode_body(seq, body).unwrap();
        visit(record, record.decode_event().unwrap());
        reader.pass(seq);
    }
}

#[test]
fn a_line_says_what_happened_and_cannot_be_forged() {
    // What comes from outside must neither end a line, nor move the terminal's cursor, nor look like another field.
    let mut region = region();
    let mut log = Log::new(&mut region, 1);
    let route = log.name(ms(1), "/livez");
    log.emit(Instant::from_micros(12_345_678), Some(7), request(route, 200));
    log.emit(ms(20_000), None, request(NameId(99), 503));
    let problem = ConfigInvalid { pointer: Text::new("/na me"), problem: Text::new("\x1b[2J\r\n\"é"), errors: 1 };
    log.emit(ms(100_000_001), None, problem);
    assert_eq!(
        shown(&mut log, ms(100_000_001)),
        "    0.001000 DEBUG  intern id=/livez text=/livez\n   \
            12.345678 INFO   http.request method=GET route=/livez status=200 client=10.0.2.2 duration_us=85 txn=7\n   \
            20.000000 INFO   http.request method=GET route=#99 status=503 client=10.0.2.2 duration_us=85\n\
         100000.001000 ERROR  config.invalid pointer=\"/na me\" problem=\"\\u{1b}[2J\\r\\n\\\"\\u{e9}\" errors=1\n"
    );
}

#[test]
fn the_console_skips_what_is_too_much_and_says_how_many() {
    // A flood must not hold up the agent behind a serial line, nor hide a change of state, nor vanish silently.
    let mut region = region();
    let mut log = Log::new(&mut region, 1);
    let (mut lines, mut skipped) = (0, 0);
    let mut count = |text: &str| {
        for line in text.lines() {
            match line.trim().strip_prefix('(') {
                Some(rest) => skipped += rest.split(' ').next().unwrap().parse::<u64>().unwrap(),
                None => lines += 1,
            }
        }
    };
    for i in 0..10_000 {
        log.emit(ms(i / 1000), None, request(NameId(0), 200));
        if i % 10 == 0 {
            count(&shown(&mut log, ms(i / 1000)));
        }
    }
    log.emit(ms(10), None, NetworkDown { reason: DownReason::NoLink });
    let text = shown(&mut log, ms(10));
    assert!(text.contains("ERROR  network.down reason=no_link\n"), "{text}");
    count(&text);
    log.emit(ms(11), None, request(NameId(0), 200));
    count(&shown(&mut log, ms(11)));
    assert_eq!(log.poll_at(), ms(1000), "the last skipped record is told without a new one");
    count(&shown(&mut log, ms(1000)));
    assert_eq!((lines, lines + skipped), (u64::from(LOG_CONSOLE_PER_SECOND) + 1, 10_002));
    assert_eq!(log.poll_at(), crate::FAR);
}

#[test]
fn a_line_that_is_too_long_is_cut() {
    // 130 bytes of escapes are 780 on the console: the line must end, and the next one begin.
    let mut region = region();
    let mut log = Log::new(&mut region, 1);
    let problem = "\u{1}".repeat(130);
    log.emit(ms(0), None, ConfigInvalid { pointer: Text::new(""), problem: Text::new(&problem), errors: 1 });
    log.emit(ms(0), None, NetworkDown { reason: DownReason::NoNic });
    let text = shown(&mut log, ms(0));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].len() < 400 && lines[0].ends_with("..."), "{}", lines[0]);
}

#[test]
fn requests_are_recorded_once_a_second_and_all_are_accounted_for() {
    // A load test must not fill the ring, and every request must be in a record or in a count.
    let mut region = region();
    let mut log = Log::new(&mut region, 1);
    for i in 0..2500 {
        log.http_request(ms(i), i as u32 + 1, request(NameId(1), 200), (i == 700).then(bound));
        log.poll(ms(i));
    }
    assert_eq!(log.poll_at(), ms(3000));
    log.poll(ms(3000));
    let (mut records, mut counts) = (vec![], vec![]);
    events(&log, |record, event| match event {
        Event::HttpRequest(_) => records.push(record.mono_us / 1000),
        Event::HttpRequests(HttpRequests { route: NameId(1), status: 200, count }) => counts.push(count),
        Event::TransactionBound(_) => assert_eq!(record.transaction, Some(701)),
        other => panic!("{other:?}"),
    });
    assert_eq!(records, [0, 700, 1000, 2000], "the traced one is always recorded");
    assert_eq!(counts, [998, 999, 499]);
    assert_eq!((log.stats().counted, log.poll_at()), (2496, crate::FAR));
}

#[test]
fn made_up_transaction_ids_cannot_push_out_an_hour() {
    // Whoever may ask /livez could otherwise erase the log of an agent without a collector, two records a request.
    let mut region = vec![0; crate::limits::LOG_REGION];
    let mut log = Log::new(&mut region, 1);
    let started = ms(9_000);
    // The hour: 20 records/s, of the mean size.
    let text = DependencyLog { level: 3, target: Text::new("a"), text: Text::new("the mean") };
    let mut asked = 0;
    for tick in 0..3600 * 20 {
        let now = started + Duration::from_millis(50 * tick);
        log.emit(now, None, text);
        // The flood: as many at once as make no difference to the result.
        for _ in 0..if tick == 0 { 1000 } else { 3 } {
            asked += 1;
            log.http_request(now, asked, request(NameId(1), 200), Some(bound()));
        }
        log.poll(now);
    }
    log.poll(started + Duration::from_secs(3602));
    let stats = log.stats();
    assert_eq!((stats.lost, log.last_loss()), (0, None));
    let (mut bindings, mut recorded, mut told, mut counted) = (0, 0, 0, 0);
    events(&log, |record, event| match event {
        // With length and CRC the mean of the promises.
        Event::DependencyLog(_) => assert!(record.mono_us < 2 << 30 || record.encode(&mut [0; 240]).unwrap() + 5 == 28),
        Event::TransactionBound(_) => bindings += 1,
        Event::HttpRequest(_) => recorded += 1,
        Event::HttpRequests(event) => counted += event.count,
        Event::Suppressed(event) => told += if event.event == TransactionBound::SPEC.id { event.count } else { 0 },
        _ => {}
    });
    // Each request, and each id, is in exactly one record or number.
    assert_eq!((bindings + told, recorded + counted), (asked, asked));
    let allowed = LOG_TRACED_BURST + 3600 * LOG_TRACED_PER_SECOND;
    assert!(u64::from(bindings).abs_diff(allowed) <= 1, "{bindings} of {asked} ids are recorded, {allowed} may be");
}

#[test]
fn when_records_were_lost_last_is_known() {
    // A loss of last month must not look like one of now, nor one of now like none.
    let mut region = region();
    let mut log = Log::new(&mut region, 1);
    let overflow = |log: &mut Log<'_>, at| {
        (0..10_000).for_each(|_| _ = log.emit(ms(at), None, request(NameId(0), 200)));
        log.poll(ms(at));
    };
    log.poll(ms(1));
    assert_eq!((log.last_loss(), log.lost_lately(ms(1))), (None, false));
    overflow(&mut log, 5_000);
    log.poll(ms(6_000));
    assert_eq!(log.last_loss(), Some(ms(5_000)));
    overflow(&mut log, 9_000);
    assert_eq!(log.last_loss(), Some(ms(9_000)));
    // The warning ends, what was lost in all stays.
    let end = ms(9_000) + LOG_LOSS_RECENT;
    assert!(log.lost_lately(end - Duration::from_micros(1)) && !log.lost_lately(end) && log.stats().lost > 0);
}

#[test]
fn limited_events_are_told_by_number() {
    // A scanner must not be able to fill the ring, nor to go unnoticed.
    let mut region = region();
    let mut log = Log::new(&mut region, 1);
    let rejected = HttpRejected { status: 400, client: Ip4([10, 0, 2, 2]) };
    let emitted = (0..100).filter_map(|i| log.emit_limited(ms(i), None, rejected)).count();
    assert_eq!(emitted, usize::from(LOG_LIMITED_PER_SECOND));
    assert_eq!(log.stats().suppressed, 100 - emitted as u64);
    log.poll(log.poll_at());
    let mut told = 0;
    events(&log, |_, event| {
        if let Event::Suppressed(Suppressed { event: 17, count, .. }) = event {
            told += count;
        }
    });
    assert_eq!(told as usize, 100 - emitted);
}

#[test]
fn a_name_is_told_once_and_a_full_table_says_none() {
    // An id without a text, or two texts of one id, would make records unreadable.
    let mut region = region();
    let mut log = Log::new(&mut region, 1);
    assert_eq!((log.name(ms(0), "a"), log.name(ms(0), "b"), log.name(ms(0), "a")), (NameId(1), NameId(2), NameId(1)));
    let long = "é".repeat(INTERN_TEXT_MAX);
    assert_eq!(log.name(ms(0), &long), log.name(ms(0), &long), "a text that is cut is the same name every time");
    assert_eq!(log.stats().emitted, 3);
    for i in 0..LOG_NAMES {
        log.name(ms(0), &i.to_string());
    }
    assert_eq!(log.name(ms(0), "one too many"), NameId(0));
    assert_eq!(log.stats().emitted, LOG_NAMES as u64);
}

#[test]
fn severity_is_data_and_never_decides() {
    // A rule that silenced an event would be loss nobody declared.
    let mut region = region();
    let mut log = Log::new(&mut region, 1);
    assert!(log.set_severity(NetworkDown::SPEC.id, Severity::DEBUG));
    assert!(log.set_severity(NetworkDown::SPEC.id, Severity::NOTICE));
    log.emit(ms(0), None, NetworkDown { reason: DownReason::NoLink });
    log.emit(ms(0), None, request(NameId(0), 200));
    let mut severities = vec![];
    events(&log, |record, _| severities.push(record.severity));
    assert_eq!(severities, [Severity::NOTICE, Severity::INFO]);
    while log.set_severity(1, Severity::INFO) {}
}

#[test]
fn a_panic_in_the_middle_of_an_emit_is_recorded() {
    // The record that matters most comes when the ring is in the middle of a write: it replaces the unfinished one.
    let mut region = region();
    let mut log = Log::new(&mut region, 1);
    log.emit(ms(1), None, NetworkDown { reason: DownReason::NoLink });
    let unfinished = std::panic::AssertUnwindSafe(|| {
        log.ring.append(outpost_wire::Lane::Vital, |_, out| {
            out[..20].fill(0xff);
            panic!("in the middle of an emit")
        })
    });
    assert!(std::panic::catch_unwind(unfinished).is_err());
    let mut words = [0; crate::limits::LAST_WORDS];
    let panic = Panic { message: Text::new("why"), location: Text::new("src/x.rs:1"), rip: 1, backtrace: [0; 32] };
    LastWords::begin(&mut words, 1, WatchdogVerdict::Quiet, |_| Duration::ZERO).0.panic(ms(2), EndCause::Panic, panic);
    let (_, history) = LastWords::begin(&mut words, 2, WatchdogVerdict::Quiet, |_| Duration::ZERO);
    let left = history.record.expect("the panic left its record");

    let mut log = Log::new(&mut region, 2);
    // A reset right after it was taken in brings it a second time.
    log.adopt(&left);
    log.adopt(&left);
    assert_eq!(log.earlier(1), Some(Boot { id: 1, acked: 0, next: 3, held: 2 }));
    let mut reader = Reader::new(1, 2);
    let Step::Record(2, body) = log.read(&mut reader) else { panic!("the panic is not there") };
    assert!(matches!(Record::decode_body(2, body).unwrap().decode_event(), Some(Event::Panic(_))));
}

#[test]
fn a_panic_after_everything_was_delivered_is_one_more_record() {
    // The ring forgets a boot whose records are all delivered: its panic must neither be lost nor take a used seq.
    let body = heapless::Vec::from_slice(&[9, 21, 0, 14, 1, 0, 0]).unwrap();
    let left_by = |boot_id| LeftRecord { boot_id, body: body.clone() };
    for delivered in [0, 3] {
        let mut region = region();
        let mut log = Log::new(&mut region, 1);
        (1..=3).for_each(|at| _ = log.emit(ms(at), None, NetworkDown { reason: DownReason::NoLink }));
        assert_eq!(log.ring.acknowledge(1, delivered), delivered > 0);
        let mut log = Log::new(&mut region, 2);
        assert_eq!(log.previous().map(|boot| boot.next), Some(4));
        log.adopt(&left_by(1));
        assert_eq!(log.earlier(1), Some(Boot { id: 1, acked: delivered, next: 5, held: 4 - delivered }));
        // A boot that did not get as far as its log has this one record.
        log.adopt(&left_by(77));
        let mut log = Log::new(&mut region, 3);
        assert_eq!(log.earlier(1).map(|boot| boot.next), Some(5));
        assert_eq!(log.earlier(77), Some(Boot { id: 77, acked: 0, next: 2, held: 1 }));
        assert_eq!(log.read(&mut Reader::new(77, 1)), Step::Record(1, &body));
        // With more boots than there are places, the middle gives way: the oldest and the newest stay.
        (100..108).for_each(|boot_id| log.adopt(&left_by(boot_id)));
        assert!(log.earlier(1).is_some() && log.earlier(107).is_some() && log.earlier(102).is_none());
    }
}

#[test]
fn records_are_as_small_as_promised() {
    // PROMISES: 22 bytes encoded and 28 in the ring, on the mean. A day of health checks with its changes of state.
    let mut region = vec![0; crate::limits::LOG_REGION];
    let mut log = Log::new(&mut region, u64::MAX);
    let route = log.name(ms(0), "/livez");
    let mut now = Instant::from_secs(43_200);
    let count = 30_000;
    for i in 0..count {
        now += Duration::from_micros(333_333);
        match i % 3 {
            0 => log.emit(now, Some(i), request(route, 200)),
            1 => log.emit(now, None, HttpRequests { route, status: 200, count: 12 }),
            _ => log.emit(now, None, NetworkDown { reason: DownReason::NoLink }),
        };
    }
    let mut encoded = 0;
    events(&log, |record, _| encoded += record.encode(&mut [0; 240]).unwrap());
    let (mean, in_ring) = (encoded as f64 / count as f64, log.size_and_used().1 as f64 / count as f64);
    println!("{mean:.1} bytes encoded, {in_ring:.1} in the ring");
    assert!(mean <= 22.0 && in_ring <= 28.0, "{mean:.1} bytes encoded, {in_ring:.1} in the ring");
}

#[test]
fn nothing_comes_after_the_end() {
    // A shutdown record that is not the last one makes every later reader think that the machine was killed.
    let mut region = vec![0; 64 * 1024];
    let mut log = Log::new(&mut region, 1);
    let now = Instant::from_secs(1);
    let route = log.name(now, "/livez");
    let request = HttpRequest {
        method: outpost_wire::Method::Get,
        route,
        status: 200,
        client: outpost_wire::Ip4([10, 0, 0, 1]),
        duration_us: 0,
    };
    log.http_request(now, 1, request, None);
    log.http_request(now, 2, request, None);
    log.end(now, Shutdown { cause: outpost_wire::ShutdownCause::PowerButton, uptime_s: 1 });
    log.http_request(now, 3, request, Some(bound()));
    log.poll(Instant::from_secs(9));
    let mut names = Vec::new();
    let mut reader = log.reader(1);
    while let Step::Record(seq, body) = log.read(&mut reader) {
        names.push(Record::decode_body(seq, body).unwrap().decode_event().unwrap().spec().name);
        reader.pass(seq);
    }
    assert_eq!(names, ["intern", "http.request", "http.requests", "shutdown"]);
}
