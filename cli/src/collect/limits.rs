//! Every bound of the collector, with the reason for its number. Relations between bounds are checked here.

use outpost_wire::noise::{HANDSHAKE_LEN, SEALED_MAX};
use std::time::Duration;

/// Sessions at the same time: a fleet's worth of agents on one machine, and few enough that their buffers and
/// file descriptors (1,024 by default on Linux, some of which the store needs) are sure to suffice.
pub const SESSIONS: usize = 960;

/// Bytes taken from one session before the others get their turn.
pub const READ_TURN: usize = 16 * 1024;

/// Bytes that wait to be sent on one session: Welcome, a few Acks and Bye. Acks are cumulative, so that one held
/// back for want of room is made up by the next.
pub const OUTBOX: usize = 4096;

/// How long what was received waits for more before it is committed: one fsync then serves all sessions.
pub const GROUP_COMMIT: Duration = Duration::from_millis(20);

/// Records and declarations of loss that may wait for one commit: bounds memory and the length of a commit.
pub const GROUP_COMMIT_ROWS: usize = 4096;

/// Sessions that ended whose rows are kept, for all agents together.
pub const SESSION_ROWS: i64 = 10_000;

/// Oddities that are kept, for all agents together, whatever retention says: an agent that goes on sending what should
/// not be must not fill the disk with what is told of it. `verify` says how many went.
pub const ODDITY_ROWS: i64 = 100_000;

/// Highest seq the store can order: SQLite's integers are signed. At 1,000 records/s this is 292 million years.
pub const SEQ_MAX: u64 = i64::MAX as u64;

/// Lines about sessions in any one second; more are counted and told in one line.
pub const NOTICES_PER_SECOND: u32 = 20;

/// Stored records that wait to be shown; more are counted and told. They are in the store all the same.
pub const OUTPUT: usize = 16 * 1024;

/// How much later than a newer session of the same name a session must speak to be called alive beside it: what
/// a restarted agent left in our receive buffer is read within this time.
pub const DUPLICATE_GRACE: Duration = Duration::from_secs(1);

/// How long a stopping collector goes on writing Bye to its sessions.
pub const STOP_FLUSH: Duration = Duration::from_secs(1);

/// How long another program may hold the store's write lock before that counts as a failure.
pub const STORE_BUSY: Duration = Duration::from_secs(2);

/// While nothing has to go, retention looks this often.
pub const RETIRE_EVERY: Duration = Duration::from_secs(10);

/// While more has to go, there is so much time between two batches: acknowledgements come first.
pub const RETIRE_PAUSE: Duration = Duration::from_millis(50);

/// How often the disk is looked at: at 100 MB/s it fills by a tenth of a gigabyte meanwhile.
pub const DISK_EVERY: Duration = Duration::from_secs(1);

/// What stays free on the store's disk: with less, nothing more is taken in. A field of the options, so that tests need
/// not fill a disk.
#[derive(Clone, Copy, Debug)]
pub struct DiskKept {
    /// One part in so many of the disk.
    pub one_in: u64,
    /// But never more than so many bytes: a part of a large disk would be room for years of records.
    pub at_most: u64,
}

impl DiskKept {
    /// How many bytes stay free of a disk with so many.
    pub fn of(self, disk: u64) -> u64 {
        (disk / self.one_in.max(1)).min(self.at_most)
    }
}

impl Default for DiskKept {
    /// One part in 20, and at most a gibibyte: ten looks at a disk that fills with 100 MB/s.
    fn default() -> DiskKept {
        DiskKept { one_in: 20, at_most: 1 << 30 }
    }
}

/// An agent from which nothing came for this long is told of as silent: four of its Alive messages.
pub const AGENT_SILENT: Duration = Duration::from_secs(60);

/// How long a client may take. A field of the options, so that tests need not wait as long as a slow network may.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// From the connection to the whole Hello.
    pub hello: Duration,
    /// From a frame's first byte to its last: five retransmissions of TCP, which double from one second.
    pub frame: Duration,
    /// From one frame to the next; agents with nothing to say send Alive well within it.
    pub silence: Duration,
    /// From something to send to the client taking any of it.
    pub send: Duration,
    /// From the end of a session to the end of its connection, for Bye to arrive.
    pub linger: Duration,
}

impl Default for Deadlines {
    fn default() -> Deadlines {
        Deadlines {
            hello: Duration::from_secs(10),
            frame: Duration::from_secs(31),
            silence: Duration::from_secs(60),
            send: Duration::from_secs(31),
            linger: Duration::from_secs(1),
        }
    }
}

const _: () = assert!(OUTBOX >= HANDSHAKE_LEN + 2 * SEALED_MAX, "an answer and the Bye after it must fit");
const _: () = assert!(GROUP_COMMIT.as_millis() <= 50, "the promise of DESIGN 4.5");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_disk_need_not_be_nearly_empty() {
        // A collector on a disk of 250 GB refused everything with 12 GB left.
        let of = |size| DiskKept::default().of(size);
        assert_eq!(of(250_000_000_000), 1 << 30);
        assert_eq!(of(10_000_000_000), 500_000_000);
        assert_eq!(of(0), 0, "a file system that does not say how large it is");
    }
}
