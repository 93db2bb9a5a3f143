//! Volume: what others can cause without end is bounded before it gets a seq, and what is held back is counted
//! and told.
//!
//! Two of the rules work by windows of one second that begin with the first occurrence. All are equally long and none
//! changes its place, so the first is the one that ends first: whether one is over is one comparison, for it is asked
//! with each request. Summaries come out of `due`, which its user calls until it says `None`.

use crate::FAR;
use crate::limits::{LOG_LIMITED_PER_SECOND, LOG_REQUEST_KINDS, LOG_TRACED_BURST, LOG_TRACED_PER_SECOND};
use heapless::Vec;
use outpost_wire::{CATALOGUE, HttpRequests, NameId, Suppressed};
use smoltcp::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(1);

/// The rule for requests: in each second the first of its route and status is a record, the others are a number.
pub struct Requests {
    windows: Vec<RequestWindow, LOG_REQUEST_KINDS>,
    /// When the first window with a number ends.
    tell_at: Instant,
}

struct RequestWindow {
    route: NameId,
    status: u16,
    until: Instant,
    count: u32,
}

impl Requests {
    /// None yet.
    pub const fn new() -> Requests {
        Requests { windows: Vec::new(), tell_at: FAR }
    }

    /// Whether this request is to be recorded; else it was counted. Call `due` first: it closes what is over.
    pub fn admit(&mut self, now: Instant, route: NameId, status: u16) -> bool {
        if let Some(window) = self.windows.iter_mut().find(|w| w.route == route && w.status == status) {
            if window.count == 0 {
                self.tell_at = self.tell_at.min(window.until);
            }
            window.count = window.count.saturating_add(1);
            return false;
        }
        // `due` leaves room for one; without it this request is recorded and opens no window.
        let _ = self.windows.push(RequestWindow { route, status, until: now + WINDOW, count: 0 });
        true
    }

    /// A window that is over, or that must make room, and counted anything.
    pub fn due(&mut self, now: Instant) -> Option<HttpRequests> {
        while self.is_due(now) {
            // The youngest makes room: where kinds come in turn, the oldest would always be the next to come again.
            let over = self.windows.first().is_some_and(|first| first.until <= now);
            let window = if over { self.windows.remove(0) } else { self.windows.pop()? };
            if window.count > 0 {
                let next = self.windows.iter().find(|window| window.count > 0);
                self.tell_at = next.map_or(FAR, |window| window.until);
                return Some(HttpRequests { route: window.route, status: window.status, count: window.count });
            }
        }
        None
    }

    /// Whether `due` has anything to look at.
    #[inline(always)]
    pub fn is_due(&self, now: Instant) -> bool {
        self.windows.first().is_some_and(|first| first.until <= now || self.windows.is_full())
    }

    /// When the next window with a number ends; the end of time means never.
    #[inline(always)]
    pub fn poll_at(&self) -> Instant {
        self.tell_at
    }
}

/// The rule for transaction ids from outside: a bucket of [`LOG_TRACED_BURST`] tokens, into which
/// [`LOG_TRACED_PER_SECOND`] come in a second.
pub struct Bucket {
    /// When it is full again.
    full_at: Instant,
}

impl Bucket {
    const TOKEN: Duration = Duration::from_micros(1_000_000 / LOG_TRACED_PER_SECOND);

    /// A full one.
    pub fn new() -> Bucket {
        Bucket { full_at: Instant::ZERO }
    }

    /// Takes a token, if there is one.
    pub fn admit(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + Self::TOKEN;
        let admitted = full_at <= now + Self::TOKEN * LOG_TRACED_BURST as u32;
        if admitted {
            self.full_at = full_at;
        }
        admitted
    }
}

/// The rule for everything else: so many records of an event in each second, the others are one `suppressed`.
#[derive(Default)]
pub struct Limiter {
    windows: Vec<LimitWindow, { CATALOGUE.len() }>,
}

struct LimitWindow {
    until: Instant,
    used: u16,
    held_back: Suppressed,
}

impl Limiter {
    /// Whether one more record of this event is to be emitted; else it was counted. Call `due` first.
    pub fn admit(&mut self, now: Instant, event: u16) -> bool {
        let Some(window) = self.window(now, event) else { return true };
        window.used = window.used.saturating_add(1);
        if window.used <= LOG_LIMITED_PER_SECOND {
            return true;
        }
        self.hold_back(now, event, 1);
        false
    }

    /// Counts records of this event that were lost before they could be judged.
    pub fn hold_back(&mut self, now: Instant, event: u16, count: u32) {
        let Some(window) = self.window(now, event) else { return };
        let now_us = super::micros(now);
        if window.held_back.count == 0 {
            window.held_back.from_us = now_us;
        }
        window.held_back.to_us = now_us;
        window.held_back.count = window.held_back.count.saturating_add(count);
    }

    /// A window that is over and held anything back.
    pub fn due(&mut self, now: Instant) -> Option<Suppressed> {
        while self.is_due(now) {
            let window = self.windows.remove(0);
            if window.held_back.count > 0 {
                return Some(window.held_back);
            }
        }
        None
    }

    /// Whether `due` has anything to look at.
    #[inline(always)]
    pub fn is_due(&self, now: Instant) -> bool {
        self.windows.first().is_some_and(|first| first.until <= now)
    }

    /// When the next window that held anything back ends.
    pub fn poll_at(&self) -> Option<Instant> {
        self.windows.iter().find(|window| window.held_back.count > 0).map(|window| window.until)
    }

    /// The window of this event, opened if need be; there is room for every event of the catalogue.
    fn window(&mut self, now: Instant, event: u16) -> Option<&mut LimitWindow> {
        let place = self.windows.iter().position(|window| window.held_back.event == event);
        let place = match place {
            Some(place) => place,
            None => {
                let held_back = Suppressed { event, count: 0, from_us: 0, to_us: 0 };
                self.windows.push(LimitWindow { until: now + WINDOW, used: 0, held_back }).ok()?;
                self.windows.len() - 1
            }
        };
        self.windows.get_mut(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Instant {
        Instant::from_millis(ms)
    }

    /// Every request is either recorded or in exactly one summary.
    #[test]
    fn no_request_is_counted_twice_or_never() {
        // A count that is dropped when a window ends or makes room would be a silent loss.
        let mut requests = Requests::new();
        let (mut recorded, mut counted) = (0, 0);
        for i in 0..10_000u16 {
            let now = at(i64::from(i) * 3);
            while let Some(summary) = requests.due(now) {
                counted += summary.count;
            }
            recorded += u32::from(requests.admit(now, NameId(i % 9), 200 + i % 11));
        }
        while let Some(summary) = requests.due(at(1_000_000)) {
            counted += summary.count;
        }
        assert_eq!(recorded + counted, 10_000);
        assert!(recorded < 7_000, "{recorded} recorded: more kinds than windows, yet some must be counted");
    }

    #[test]
    fn the_first_of_a_second_is_recorded_and_the_rest_is_one_number() {
        // The promise of DESIGN 4.4 for requests, to the millisecond.
        let mut requests = Requests::new();
        assert!(requests.admit(at(0), NameId(1), 200));
        assert!(!requests.admit(at(500), NameId(1), 200));
        assert!(requests.admit(at(600), NameId(1), 503));
        assert_eq!(requests.poll_at(), at(1000));
        assert_eq!(requests.due(at(999)), None);
        assert_eq!(requests.due(at(1000)), Some(HttpRequests { route: NameId(1), status: 200, count: 1 }));
        assert_eq!((requests.due(at(1000)), requests.poll_at()), (None, FAR));
        assert!(requests.admit(at(1000), NameId(1), 200));
    }

    #[test]
    fn what_is_above_the_rate_is_told_once() {
        // Suppressing without a number would be silent loss; one record per suppressed one would be no bound.
        let mut limiter = Limiter::default();
        let admitted = (0..100).filter(|&i| limiter.admit(at(i), 14)).count();
        assert_eq!(admitted, usize::from(LOG_LIMITED_PER_SECOND));
        assert!(limiter.admit(at(50), 17), "each event has its own rate");
        assert_eq!(limiter.due(at(999)), None);
        let limit = u64::from(LOG_LIMITED_PER_SECOND);
        let told = Suppressed { event: 14, count: 100 - limit as u32, from_us: limit * 1000, to_us: 99_000 };
        assert_eq!(limiter.due(at(1000)), Some(told));
        assert_eq!(limiter.due(at(1000)), None);
        assert!(limiter.admit(at(1000), 14));
    }
}
