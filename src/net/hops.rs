//! Next hops: the machines of our link that something of ours is to go through, and which of them is to be asked for its
//! MAC now.
//!
//! smoltcp asks for one at a time, and after each question for none at all for a second: a gateway that is dead would keep
//! every other machine from being found. So the questions are ours, each hop at its own pace; the answers fill smoltcp's
//! table as if the questions had been its own, and this one for the packets that we make ourselves.

use crate::limits::{ARP_AGAIN, ARP_FRESH, HOPS};
use core::net::Ipv4Addr;
use heapless::Vec;
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;

struct Hop {
    address: Ipv4Addr,
    asked: Instant,
    heard: Option<(Instant, EthernetAddress)>,
}

/// Those that were needed of late.
#[derive(Default)]
pub struct Hops(Vec<Hop, HOPS>);

impl Hops {
    /// Whether this one is to be asked now; it counts as asked then.
    pub fn is_to_be_asked(&mut self, now: Instant, address: Ipv4Addr) -> bool {
        if let Some(hop) = self.0.iter_mut().find(|hop| hop.address == address) {
            let fresh = hop.heard.is_some_and(|(heard, _)| now < heard + ARP_FRESH);
            let soon = now < hop.asked + ARP_AGAIN;
            if !fresh && !soon {
                hop.asked = now;
            }
            return !fresh && !soon;
        }
        if self.0.is_full() {
            let oldest = self.0.iter().enumerate().min_by_key(|(_, hop)| hop.asked).map(|(at, _)| at);
            oldest.map(|at| self.0.swap_remove(at));
        }
        // There is room: made above.
        let _ = self.0.push(Hop { address, asked: now, heard: None });
        true
    }

    /// Whether this one is to be asked now although what it said may still count: whether it lives is what matters.
    pub fn is_to_be_asked_anew(&mut self, now: Instant, address: Ipv4Addr) -> bool {
        match self.0.iter_mut().find(|hop| hop.address == address) {
            Some(hop) if now < hop.asked + ARP_AGAIN => false,
            Some(hop) => {
                hop.asked = now;
                true
            }
            None => self.is_to_be_asked(now, address),
        }
    }

    /// This machine told its MAC.
    pub fn heard(&mut self, now: Instant, address: Ipv4Addr, mac: EthernetAddress) {
        if let Some(hop) = self.0.iter_mut().find(|hop| hop.address == address) {
            hop.heard = Some((now, mac));
        }
    }

    /// The MAC that it last told: one that is silent since may still be there.
    pub fn mac(&self, address: Ipv4Addr) -> Option<EthernetAddress> {
        self.0.iter().find(|hop| hop.address == address)?.heard.map(|(_, mac)| mac)
    }

    /// Forgets all: behind the link may be another network.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smoltcp::time::Duration;

    fn host(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, last)
    }

    #[test]
    fn each_is_asked_at_its_own_pace() {
        // One that is dead must not cost the others their turn, nor be asked without end.
        let mut hops = Hops::default();
        let start = Instant::from_secs(10);
        assert!(hops.is_to_be_asked(start, host(1)) && hops.is_to_be_asked(start, host(2)));
        assert!(!hops.is_to_be_asked(start, host(1)));
        hops.heard(start, host(2), EthernetAddress([2; 6]));
        assert_eq!((hops.mac(host(1)), hops.mac(host(2))), (None, Some(EthernetAddress([2; 6]))));
        let later = start + ARP_AGAIN;
        assert!(hops.is_to_be_asked(later, host(1)));
        assert!(!hops.is_to_be_asked(later, host(2)));
        assert!(hops.is_to_be_asked(start + ARP_FRESH, host(2)));
    }

    #[test]
    fn the_table_is_bounded() {
        // More targets than it holds: the one that was not needed for longest is asked again, no more.
        let mut hops = Hops::default();
        for last in 0..=HOPS as u8 {
            assert!(hops.is_to_be_asked(Instant::from_secs(10) + Duration::from_millis(last.into()), host(last)));
        }
        let now = Instant::from_secs(10) + ARP_AGAIN / 2;
        assert!(!hops.is_to_be_asked(now, host(1)));
        assert!(hops.is_to_be_asked(now, host(0)));
    }
}
