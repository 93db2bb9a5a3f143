//! The collector against a stranger, and against an agent that knows a key and says anything. The first byte says which.
//! Of a stranger nothing is stored, and nothing is said to it but the half of a handshake or Bye; to the other one all is
//! said sealed, and in frames.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outpost_cli::collect::{Access, Collector, Keys, Now, SessionId, Store, limits::Deadlines};
use outpost_fuzz::{AGENT, ephemerals, key, sealed};
use outpost_wire::noise::{HANDSHAKE_LEN, Initiator, KEY_LEN, OPENING_MAX, TAG_LEN};
use outpost_wire::session::{Message, Mode, preface};
use std::time::Duration;

/// The collector's secrets come from another seed than the agent's.
const SEED: [u8; KEY_LEN] = [2; KEY_LEN];

struct Side {
    collector: Collector,
    id: SessionId,
    ms: u64,
}

impl Side {
    fn now(&self) -> Now {
        let unix_us = 1_700_000_000_000_000 + self.ms as i64 * 1000;
        Now { monotonic: Duration::from_millis(self.ms), unix_us }
    }

    /// Hears this in some pieces, and returns what it says.
    fn hear(&mut self, bytes: &[u8], piece: usize) -> Vec<u8> {
        for piece in bytes.chunks(piece.max(bytes.len() / 16).max(1)) {
            let now = self.now();
            self.collector.receive(now, self.id, piece);
            self.ms += 60;
            let now = self.now();
            self.collector.poll(now);
        }
        let said = self.collector.outbox(self.id).to_vec();
        let now = self.now();
        self.collector.sent(now, self.id, said.len());
        said
    }

    fn agents(&self) -> usize {
        self.collector.store().agents().unwrap().len()
    }
}

fuzz_target!(|data: &[u8]| {
    let [first, rest @ ..] = data else { return };
    let access = Access::keyed(Keys::one(AGENT, key()), false, &SEED);
    let mut collector = Collector::new(Store::in_memory().unwrap(), access, Deadlines::default());
    let start = Now { monotonic: Duration::ZERO, unix_us: 0 };
    let id = collector.connect(start, "peer".to_owned()).unwrap();
    let mut side = Side { collector, id, ms: 0 };
    let piece = usize::from(first / 2) + 1;
    if first % 2 == 0 {
        let said = side.hear(rest, piece);
        // Bye goes to who did not ask for a keyed session; to who did, it would say which names there are.
        let bye = matches!(Message::decode(&said), Ok(Some((Message::Bye(_), len))) if len == said.len());
        let fits = if rest.starts_with(&preface(Mode::Keyed)) { said.len() == HANDSHAKE_LEN } else { bye };
        assert!(said.is_empty() || fits, "said to a stranger: {said:02x?}");
        assert_eq!(side.agents(), 0, "stored of a stranger");
        return;
    }
    let mut opening = [0; OPENING_MAX];
    let (initiator, len) = Initiator::begin(&key(), AGENT, ephemerals(1).fresh(), &mut opening).unwrap();
    let answer = side.hear(&opening[..len], OPENING_MAX);
    let mut channel = initiator.finish(answer[..].try_into().unwrap()).unwrap();
    let mut said = side.hear(&sealed(rest, &mut channel), piece);
    let mut unread = &mut said[..];
    while !unread.is_empty() {
        let taken = channel.open(unread).expect("all that it says is sealed").expect("and whole");
        let (_, len) = Message::decode(&unread[2..taken - TAG_LEN]).expect("and a frame").expect("and whole");
        assert_eq!(len, taken - TAG_LEN - 2, "one frame in one seal");
        unread = &mut unread[taken..];
    }
});
