//! Answers of time servers: none panics, and what is believed is a time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outpost::time::sntp::parse;

fuzz_target!(|data: &[u8]| {
    // The nonce is the one in the packet, else hardly any answer would come further than that.
    let nonce = data.get(24..32).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
    if let Ok(answer) = parse(data, nonce) {
        assert!((1..=15).contains(&answer.stratum) && answer.sent_us >= answer.received_us);
    }
    let _ = parse(data, !nonce).expect_err("an answer to another request");
});
