//! Frames of the network (TCP, ICMP, DHCP, garbage) as they are sorted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outpost::net::frame::{ETHERNET_HEADER, Sort, sort, source};
use smoltcp::wire::{EthernetAddress, Ipv4Address};

fuzz_target!(|data: &[u8]| {
    // Most frames are for us, else hardly one would come further than its first bytes.
    let mac = EthernetAddress(data.first_chunk().copied().unwrap_or_default());
    let address = data.get(30..34).map(|bytes| Ipv4Address::new(bytes[0], bytes[1], bytes[2], bytes[3]));
    for address in [address, None, Some(Ipv4Address::new(10, 0, 0, 1))] {
        if !matches!(sort(data, mac, address), Sort::Other) {
            assert!(data.len() > ETHERNET_HEADER && address.is_some());
        }
    }
    let _ = source(data);
});
