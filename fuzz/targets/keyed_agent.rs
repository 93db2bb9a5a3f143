//! The agent's side of a keyed session, against a stranger and against a collector that knows the key and says anything.
//! The first byte says which. A stranger is never believed; the other one frees nothing that it was not told.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outpost::log::Security;
use outpost_fuzz::{agent_against, ephemerals, key, sealed};
use outpost_wire::noise::Opening;

fuzz_target!(|data: &[u8]| {
    let [first, rest @ ..] = data else { return };
    let security = Security::Keyed(key(), ephemerals(1));
    if first % 2 == 0 {
        let mut stream = Some(rest.to_vec());
        let (connected, stats) = agent_against(security, |_| stream.take().unwrap_or_default());
        assert!(!connected && stats.delivered == 0, "a stranger was believed");
        return;
    }
    let mut heard = Vec::new();
    let mut answered = false;
    agent_against(security, |bytes| {
        heard.extend_from_slice(bytes);
        match Opening::read(&heard).expect("the agent opens as the specification says") {
            Some((opening, _)) if !answered => {
                answered = true;
                let (mut channel, answer) = opening.answer(&key(), ephemerals(2).fresh()).expect("it knows the key");
                [&answer[..], &sealed(rest, &mut channel)].concat()
            }
            _ => Vec::new(),
        }
    });
});
