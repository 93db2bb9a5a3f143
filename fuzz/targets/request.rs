//! HTTP requests: the same bytes mean the same, whole or in pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outpost::http::request::{Parser, Progress};
use outpost::limits::CONNECTION_RX;

fuzz_target!(|data: &[u8]| {
    let data = &data[..data.len().min(CONNECTION_RX)];
    let (taken, whole) = Parser::new().feed(data);
    let mut parser = Parser::new();
    let (mut at, mut last) = (0, Progress::More);
    for end in 1..=data.len() {
        let (read, progress) = parser.feed(&data[at..end]);
        (at, last) = (at + read, progress);
        if last != Progress::More {
            break;
        }
    }
    assert_eq!(last, whole);
    // Where a refused request ends is of no interest: nothing comes after it.
    assert!(at == taken || matches!(whole, Progress::Refused(_)));
});
