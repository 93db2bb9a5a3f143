//! All programs at once, for half a minute: nothing of them is left over.

use crate::haproxy;
use crate::lab::{Guest, lab};
use crate::programs::{POLLERS, PROGRAMS, Says, start_blackbox};
use outpost::http::routes::Route;
use std::thread;
use std::time::{Duration, Instant};

/// How long in `make test`, in seconds; OUTPOST_POLLERS_SECONDS says otherwise.
const SECONDS: u64 = 30;

/// A connection that each poll leaves behind is a guest that is deaf a day later.
#[test]
fn nothing_of_them_is_left_over() {
    let programs = [PROGRAMS, &["haproxy"]].concat();
    lab("together::nothing_of_them_is_left_over", &programs, |lab| {
        let seconds = std::env::var("OUTPOST_POLLERS_SECONDS").map_or(SECONDS, |text| text.parse().unwrap());
        let guest = lab.boot(1);
        let _blackbox = start_blackbox(lab);
        let haproxy = haproxy::start(lab, &[("guest", guest.link.guest)]);
        let until = Instant::now() + Duration::from_secs(seconds);
        let asked: Vec<u64> = thread::scope(|scope| {
            let threads: Vec<_> = POLLERS
                .iter()
                .map(|poller| {
                    scope.spawn(move || {
                        let mut asked = 0;
                        while Instant::now() < until {
                            let ran = (poller.ask)(guest.link.guest);
                            assert_eq!((poller.judge)(&ran), Says::Up, "{}: {ran:?}", poller.name);
                            asked += 1;
                        }
                        asked
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(haproxy::failed_checks(lab), 0);
        drop(haproxy);
        for (poller, asked) in POLLERS.iter().zip(&asked) {
            println!("{asked:6} times {}", poller.name);
        }
        guest.wait_for_no_connections();
        nothing_was_refused(&guest);
    });
}

fn nothing_was_refused(guest: &Guest) {
    let status = guest.status();
    let connections = &status["connections"];
    assert_eq!((&connections["refused"], &connections["recycled"]), (&0.into(), &0.into()), "{status}");
    // The answer that says so is in some of them itself.
    let metrics = String::from_utf8(guest.get("/metrics").unwrap().body).unwrap();
    let used = metrics.lines().find_map(|line| line.strip_prefix("outpost_http_answer_buffers_used "));
    assert_eq!(used, Some(Route::Metrics.buffers(0).to_string().as_str()), "answer buffers in use");
}
