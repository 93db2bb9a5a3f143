//! What comes back from a probe that is neither DNS nor NTP: packets of ICMP and UDP, what ICMP says of ours, and the place
//! that a redirect leads to. None panics, and what is taken for a place can be asked for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outpost::net::frame::packet;
use outpost::watch::{Place, Undelivered};

fuzz_target!(|data: &[u8]| {
    for vouched in [false, true] {
        if let Some(packet) = packet(data, vouched) {
            assert!(packet.body.len() + 34 <= data.len());
            let _ = Undelivered::read(packet.body);
        }
    }
    let _ = Undelivered::read(data);
    for place in [false, true].iter().filter_map(|secure| Place::read(data, *secure)) {
        let path = &data[place.path..];
        assert!(path.iter().all(u8::is_ascii_graphic));
        assert!(place.host.is_some() || path.starts_with(b"/"));
        assert!(place.host.is_none_or(|(_, port)| port != 0));
    }
});
