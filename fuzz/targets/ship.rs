//! The agent's side of the session against a collector that says anything: nothing is freed that was not told, and
//! the counts hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outpost::log::Security;

fuzz_target!(|data: &[u8]| {
    let mut stream = outpost_fuzz::stream(data);
    // All of it in answer to Hello.
    outpost_fuzz::agent_against(Security::Clear, |_| std::mem::take(&mut stream));
});
