//! SNTP packets (RFC 4330, RFC 5905): what we ask, and whether an answer may be believed.

/// Length of a packet without extensions, in bytes.
pub const PACKET: usize = 48;

/// Seconds from 1900-01-01 to 1970-01-01.
const UNIX_EPOCH_S: u64 = 2_208_988_800;

/// An answer whose root distance is above this is no time source (RFC 5905, section 7.3: MAXDIST is 1 s, and MAXDISP
/// 16 s; a server of our own network is far below).
const ROOT_DISTANCE_MAX_US: u64 = 1_500_000;

/// An answer that passed all tests of RFC 4330, section 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 1 (a reference clock) to 15.
    pub stratum: u8,
    /// When the request arrived, in microseconds since 1970.
    pub received_us: u64,
    /// When the answer left, in microseconds since 1970.
    pub sent_us: u64,
    /// How far the server itself may be off, in microseconds.
    pub root_distance_us: u64,
}

/// Why an answer is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is no SNTP answer of version 3 or 4.
    Malformed,
    /// It does not answer what we asked: late, or forged.
    Origin,
    /// The server says that it is not synchronised.
    Unsynchronised,
    /// Its times make no sense: zero, or sent before received.
    Times,
    /// The server is too far from a reference clock.
    Distance,
    /// Kiss-o'-death RATE: ask less often (RFC 5905, section 7.4).
    Slower,
    /// Kiss-o'-death DENY or RSTR: never ask again.
    Denied,
}

/// A request. Its transmit timestamp is a random number: it says nothing about our clock, and only who saw it can answer.
pub fn request(nonce: u64) -> [u8; PACKET] {
    let mut packet = [0; PACKET];
    // Leap indicator 0, version 4, mode 3 (client).
    packet[0] = 0x23;
    packet[40..].copy_from_slice(&nonce.to_be_bytes());
    packet
}

/// Reads the answer to the request with this nonce.
pub fn parse(bytes: &[u8], nonce: u64) -> Result<Answer, Refusal> {
    let packet = bytes.first_chunk::<PACKET>().ok_or(Refusal::Malformed)?;
    let word = |at: usize| u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]]);
    let stamp = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 4));
    let (leap, version, mode, stratum) = (packet[0] >> 6, packet[0] >> 3 & 7, packet[0] & 7, packet[1]);
    if mode != 4 || !(3..=4).contains(&version) {
        return Err(Refusal::Malformed);
    }
    if stamp(24) != nonce {
        return Err(Refusal::Origin);
    }
    match (stratum, &packet[12..16]) {
        (0, b"RATE") => return Err(Refusal::Slower),
        (0, b"DENY" | b"RSTR") => return Err(Refusal::Denied),
        (1..=15, _) if leap != 3 => {}
        _ => return Err(Refusal::Unsynchronised),
    }
    let (received, sent) = (stamp(32), stamp(40));
    if received == 0 || sent == 0 || unix_us(sent) < unix_us(received) {
        return Err(Refusal::Times);
    }
    let root_distance_us = short_us(word(4)) / 2 + short_us(word(8));
    if root_distance_us > ROOT_DISTANCE_MAX_US {
        return Err(Refusal::Distance);
    }
    Ok(Answer { stratum, received_us: unix_us(received), sent_us: unix_us(sent), root_distance_us })
}

/// An NTP timestamp as microseconds since 1970. The era ends in 2036: a first bit of 0 means the next one (RFC 4330,
/// section 3), so this is right from 1970 to 2104.
fn unix_us(stamp: u64) -> u64 {
    let seconds = stamp >> 32;
    let era = if seconds & 0x8000_0000 == 0 { 1 << 32 } else { 0 };
    let seconds = (seconds + era).saturating_sub(UNIX_EPOCH_S);
    seconds * 1_000_000 + (((stamp & 0xffff_ffff) * 1_000_000) >> 32)
}

/// An NTP short (16.16 seconds) in microseconds.
fn short_us(short: u32) -> u64 {
    (u64::from(short) * 1_000_000) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: u64 = 0x0123_4567_89ab_cdef;

    fn answer() -> [u8; PACKET] {
        let mut packet = [0; PACKET];
        (packet[0], packet[1]) = (0x24, 2);
        packet[6..8].copy_from_slice(&655u16.to_be_bytes());
        packet[10..12].copy_from_slice(&655u16.to_be_bytes());
        packet[24..32].copy_from_slice(&NONCE.to_be_bytes());
        packet[32..36].copy_from_slice(&((UNIX_EPOCH_S + 1_700_000_000) as u32).to_be_bytes());
        packet[40..44].copy_from_slice(&((UNIX_EPOCH_S + 1_700_000_000) as u32).to_be_bytes());
        packet[44] = 0x80;
        packet
    }

    #[test]
    fn a_good_answer() {
        let read = parse(&answer(), NONCE).unwrap();
        assert_eq!((read.received_us, read.sent_us), (1_700_000_000_000_000, 1_700_000_000_500_000));
        assert_eq!((read.stratum, read.root_distance_us), (2, 4997 + 9994));
    }

    #[test]
    fn what_must_not_be_believed() {
        // Each of these would set the clock of every record wrong, at the will of whoever sends it.
        let with = |change: &dyn Fn(&mut [u8; PACKET])| {
            let mut packet = answer();
            change(&mut packet);
            parse(&packet, NONCE).unwrap_err()
        };
        assert_eq!(with(&|packet| packet[0] = 0x23), Refusal::Malformed, "a client's packet");
        assert_eq!(with(&|packet| packet[0] = 0x14), Refusal::Malformed, "version 2");
        assert_eq!(with(&|packet| packet[31] ^= 1), Refusal::Origin);
        assert_eq!(with(&|packet| packet[0] = 0xe4), Refusal::Unsynchronised, "leap indicator 3");
        assert_eq!(with(&|packet| packet[1] = 16), Refusal::Unsynchronised);
        assert_eq!(with(&|packet| packet[1] = 0), Refusal::Unsynchronised);
        assert_eq!(with(&|packet| packet[40..].fill(0)), Refusal::Times);
        assert_eq!(with(&|packet| packet[43] -= 1), Refusal::Times, "sent before received");
        assert_eq!(with(&|packet| packet[9] = 2), Refusal::Distance);
        assert_eq!(
            with(&|packet| {
                packet[1] = 0;
                packet[12..16].copy_from_slice(b"RATE")
            }),
            Refusal::Slower
        );
        assert_eq!(
            with(&|packet| {
                packet[1] = 0;
                packet[12..16].copy_from_slice(b"DENY")
            }),
            Refusal::Denied
        );
        assert!((0..PACKET).all(|len| parse(&answer()[..len], NONCE) == Err(Refusal::Malformed)));
    }

    #[test]
    fn the_era_ends_in_2036() {
        assert_eq!(unix_us(0xffff_ffff << 32), 2_085_978_495_000_000);
        assert_eq!(unix_us(1 << 32), 2_085_978_497_000_000);
    }
}
