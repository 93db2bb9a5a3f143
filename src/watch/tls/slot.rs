//! Where a session and the rest of the agent meet: bytes in both directions, one job at a time, and what came of it.
//!
//! ```text
//!            ┌──────────────── slot ────────────────┐
//!  socket ──▶│ inbound ──▶  the session's  ──▶ answer │──▶ probe
//!  socket ◀──│ outbound ◀──    future      ◀── request│◀── probe
//!            └──────────────────────────────────────┘
//! ```
//! A future cannot be handed a reference with each poll, so what it works on lies in memory that both sides share, behind
//! a lock that is never waited for: one side runs while the other does not. What always holds: each pipe has a bound, and
//! a full one makes whoever fills it wait.

use crate::limits::{HOST_NAME_MAX, PROBE_TX, TLS_PIPE};
use core::task::Poll;
use embedded_io::ErrorKind;
use heapless::{Deque, String, Vec};
use outpost_wire::ProbeReason;
use spin::{Mutex, MutexGuard};

use crate::watch::Seen;

/// What a session is to do.
#[derive(Clone)]
pub struct Job {
    /// Random bytes for this session alone.
    pub seed: [u8; 32],
    /// The name that is asked for; empty: none.
    pub name: String<HOST_NAME_MAX>,
    /// SHA-256 of the key that the server must have and use.
    pub pin: Option<[u8; 32]>,
}

/// One of these or none. Unlike an `Option`, none is all zeros: static memory that is empty costs the image nothing.
type Maybe<T> = Vec<T, 1>;

/// What both sides share.
pub struct Desk {
    job: Maybe<Job>,
    /// The session is at work.
    busy: bool,
    /// What it does is to end.
    stop: bool,
    /// It may take another record, or begin. Taken away when it does: the rest of the agent comes next.
    turn: bool,
    /// It waits for nothing else than that.
    wants_turn: bool,
    /// Nothing comes after what is in `inbound`.
    over: bool,
    /// The handshake is over, and all that must be proven is.
    open: bool,
    inbound: Deque<u8, TLS_PIPE>,
    outbound: Deque<u8, TLS_PIPE>,
    request: Deque<u8, PROBE_TX>,
    answer: Deque<u8, TLS_PIPE>,
    seen: Maybe<Seen>,
    ended: Maybe<Result<(), ProbeReason>>,
}

/// See the module.
pub struct Slot(Mutex<Desk>);

impl Slot {
    /// An empty one: all zeros.
    pub const fn new() -> Slot {
        Slot(Mutex::new(Desk {
            job: Vec::new(),
            busy: false,
            stop: false,
            turn: false,
            wants_turn: false,
            over: false,
            open: false,
            inbound: Deque::new(),
            outbound: Deque::new(),
            request: Deque::new(),
            answer: Deque::new(),
            seen: Vec::new(),
            ended: Vec::new(),
        }))
    }

    /// What both sides share. To be let go before the other side runs.
    pub fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.lock()
    }
}

impl Default for Slot {
    fn default() -> Slot {
        Slot::new()
    }
}

/// The agent's side.
impl Desk {
    /// Something new is to be done; what was there is forgotten.
    pub fn ask(&mut self, job: Job) {
        self.inbound.clear();
        self.outbound.clear();
        self.request.clear();
        self.answer.clear();
        self.seen.clear();
        self.ended.clear();
        self.job.clear();
        (self.over, self.open, self.wants_turn) = (false, false, true);
        // There is room: it was just cleared.
        let _ = self.job.push(job);
    }

    /// What is being done is to end.
    pub fn stop(&mut self) {
        self.stop = self.busy;
        self.job.clear();
    }

    /// Whether the session is at work.
    pub fn is_busy(&self) -> bool {
        self.busy
    }

    /// Lets it begin, or take another record.
    pub fn give_turn(&mut self, turn: bool) {
        self.turn = turn;
    }

    /// Whether the turn that was given is still there.
    pub fn has_turn(&self) -> bool {
        self.turn
    }

    /// Whether it could go on if it had another turn.
    pub fn wants_turn(&self) -> bool {
        self.wants_turn
    }

    /// Takes in bytes from the socket; returns how many.
    pub fn arrive(&mut self, bytes: &[u8]) -> usize {
        fill(&mut self.inbound, bytes)
    }

    /// Whether more could be taken in.
    pub fn has_room(&self) -> bool {
        !self.inbound.is_full()
    }

    /// Nothing comes after what has come.
    pub fn arrived(&mut self) {
        self.over = true;
    }

    /// The next bytes for the socket; `taken` of them are not given again.
    pub fn outgoing(&self) -> &[u8] {
        self.outbound.as_slices().0
    }

    /// So many of them are on their way.
    pub fn sent(&mut self, count: usize) {
        drop_front(&mut self.outbound, count);
    }

    /// Bytes for the server, encrypted once the session is open; `false` when there is no room for all of them.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        fill(&mut self.request, bytes) == bytes.len()
    }

    /// The next bytes that the server said.
    pub fn answer(&self) -> &[u8] {
        self.answer.as_slices().0
    }

    /// So many of them were read.
    pub fn answer_read(&mut self, count: usize) {
        drop_front(&mut self.answer, count);
    }

    /// Whether the handshake is over, and all that must be proven is.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The certificate that was shown.
    pub fn seen(&self) -> Option<&Seen> {
        self.seen.first()
    }

    /// What came of it, when it is over.
    pub fn ended(&self) -> Option<Result<(), ProbeReason>> {
        self.ended.first().copied()
    }
}

/// The session's side. What waits is woken by the next poll, never by a waker: the agent knows when there is news.
impl Desk {
    /// The next job.
    pub fn next_job(&mut self) -> Poll<Job> {
        (self.busy, self.stop) = (false, false);
        if self.job.is_empty() || !self.take_turn() {
            return Poll::Pending;
        }
        self.busy = true;
        self.job.pop().map_or(Poll::Pending, Poll::Ready)
    }

    /// Takes the turn, if it is there.
    pub fn take_turn(&mut self) -> bool {
        self.wants_turn = !self.turn;
        core::mem::take(&mut self.turn)
    }

    /// How many bytes are there from the socket; 0 when nothing comes any more.
    pub fn wait_for(&mut self, count: usize) -> Poll<Result<usize, ErrorKind>> {
        match self.inbound.len() {
            _ if self.stop => Poll::Ready(Err(ErrorKind::Interrupted)),
            len if len >= count => Poll::Ready(Ok(len)),
            _ if self.over => Poll::Ready(Ok(0)),
            _ => Poll::Pending,
        }
    }

    /// Takes bytes that are there.
    pub fn take(&mut self, into: &mut [u8]) -> usize {
        let mut count = 0;
        while let Some(place) = into.get_mut(count)
            && let Some(byte) = self.inbound.pop_front()
        {
            *place = byte;
            count += 1;
        }
        count
    }

    /// Gives bytes to the socket, as many as there is room for.
    pub fn give(&mut self, bytes: &[u8]) -> Poll<Result<usize, ErrorKind>> {
        match fill(&mut self.outbound, bytes) {
            _ if self.stop => Poll::Ready(Err(ErrorKind::Interrupted)),
            0 if !bytes.is_empty() => Poll::Pending,
            count => Poll::Ready(Ok(count)),
        }
    }

    /// Takes what is to be said to the server.
    pub fn take_request(&mut self, into: &mut [u8]) -> usize {
        let front = self.request.as_slices().0;
        let count = front.len().min(into.len());
        into[..count].copy_from_slice(&front[..count]);
        drop_front(&mut self.request, count);
        count
    }

    /// Gives what the server said to the probe, as much as there is room for.
    pub fn tell(&mut self, bytes: &[u8]) -> Poll<Result<usize, ErrorKind>> {
        match fill(&mut self.answer, bytes) {
            _ if self.stop => Poll::Ready(Err(ErrorKind::Interrupted)),
            0 if !bytes.is_empty() => Poll::Pending,
            count => Poll::Ready(Ok(count)),
        }
    }

    /// This certificate was shown.
    pub fn see(&mut self, seen: Seen) {
        self.seen.clear();
        // There is room: it was just cleared.
        let _ = self.seen.push(seen);
    }

    /// The handshake is over, and all that must be proven is: that it is the server with a certain key, or nothing.
    pub fn opened(&mut self, authenticated: bool) {
        self.open = true;
        self.seen.iter_mut().for_each(|seen| seen.authenticated = authenticated);
    }

    /// Whether something is to be said to the server, or the session is to end.
    pub fn has_request(&self) -> Poll<Result<(), ErrorKind>> {
        match self.request.is_empty() {
            _ if self.stop => Poll::Ready(Err(ErrorKind::Interrupted)),
            true => Poll::Pending,
            false => Poll::Ready(Ok(())),
        }
    }

    /// This came of the job.
    pub fn end(&mut self, result: Result<(), ProbeReason>) {
        self.ended.clear();
        // There is room: it was just cleared.
        let _ = self.ended.push(result);
    }
}

fn fill<const N: usize>(pipe: &mut Deque<u8, N>, bytes: &[u8]) -> usize {
    let count = bytes.len().min(N - pipe.len());
    bytes.iter().take(count).for_each(|byte| {
        // There is room, as the line above says.
        let _ = pipe.push_back(*byte);
    });
    count
}

fn drop_front<const N: usize>(pipe: &mut Deque<u8, N>, count: usize) {
    for _ in 0..count {
        pipe.pop_front();
    }
}
