//! The collector against an agent that says anything: it neither panics nor acknowledges what it does not hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outpost_cli::collect::{Access, Collector, Now, Store, limits::Deadlines};
use outpost_wire::session::{Message, Mode, preface};
use std::time::Duration;

fuzz_target!(|data: &[u8]| {
    let mut collector = Collector::new(Store::in_memory().unwrap(), Access::clear(), Deadlines::default());
    let at = |ms: u64| Now { monotonic: Duration::from_millis(ms), unix_us: 1_700_000_000_000_000 + ms as i64 * 1000 };
    let mut now = 0;
    let id = collector.connect(at(now), "peer".to_owned()).unwrap();
    let whole = [&preface(Mode::Clear)[..], &outpost_fuzz::stream(data)].concat();
    let cut = data.first().map_or(1, |byte| usize::from(*byte) + 1);
    for piece in whole.chunks(cut.max(whole.len() / 16)) {
        collector.receive(at(now), id, piece);
        now += 60;
        collector.poll(at(now));
    }
    collector.poll(at(now + 60));
    let mut said = collector.outbox(id);
    while let Some((_, len)) = Message::decode(said).expect("what the collector says are frames") {
        said = &said[len..];
    }
    for output in collector.take_output() {
        if let outpost_cli::collect::Output::Stored(stored) = output {
            assert!(!stored.pretty(false).contains('\x1b') && !stored.json().contains('\n'));
        }
    }
});
