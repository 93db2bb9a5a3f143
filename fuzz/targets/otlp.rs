//! An OTLP receiver that answers anything: nothing of it panics, hangs or costs memory without bound, and what a
//! person is told of it cannot reach into a terminal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outpost_cli::forward::otlp_two_records;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::{LazyLock, Mutex};

/// Longest text for people: a URL, a sentence and the start of what the receiver said, escaped.
const WHY_MAX: usize = 4096;

/// What the receiver answers to every request.
static ANSWER: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// The receiver's URL; it runs from the first use on.
static RECEIVER: LazyLock<String> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/logs", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = ANSWER.lock().unwrap().clone();
            let _ = stream.write_all(&answer);
            // All of the request is read, so that the end is no reset.
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    url
});

fuzz_target!(|data: &[u8]| {
    *ANSWER.lock().unwrap() = data.to_vec();
    for why in otlp_two_records(&RECEIVER) {
        assert!(why.len() < WHY_MAX && !why.contains(char::is_control), "{why:?}");
    }
});
