//! TLS 1.3 towards a target: who it is, until when its certificate is valid, and what it answers.
//!
//! ```text
//! probe ──▶ Session ──▶ slot ◀──▶ attend: embedded-tls ──▶ wire (which records) ──▶ suite (what is in them)
//!                                             └──▶ judge (who is it) ──▶ certificate, signature ──▶ der
//! ```
//! `embedded-tls` is a future. It borrows from itself, so it cannot lie in the agent's memory without `unsafe`: whoever
//! owns the agent pins one for each session and lends it ([`Sessions`]). A future takes one record with each poll, and one
//! session has a poll at a time: between two steps of public-key arithmetic everything else has its turn.

pub mod certificate;
pub mod der;
mod judge;
mod modular;
mod signature;
mod slot;
mod suite;
#[cfg(test)]
mod tests;
mod wire;

pub use slot::{Job, Slot};

use super::Seen;
use super::probe::Target;
use super::stream::Stream;
use crate::config::Host;
use crate::limits::{TLS_CHECKS, TLS_WRITE};
use core::cell::Cell;
use core::convert::Infallible;
use core::future::poll_fn;
use core::net::Ipv4Addr;
use core::pin::Pin;
use core::task::{Context, Waker};
use embedded_io::ErrorKind;
use embedded_tls::alert::AlertDescription;
use embedded_tls::{TlsConfig, TlsConnection, TlsContext, TlsError};
use heapless::{String, Vec};
use judge::{Judge, Provider};
use outpost_wire::ProbeReason;
use rand_core::{CryptoRng, RngCore};
use sha2::{Digest, Sha256};
use smoltcp::socket::tcp;
use suite::Suite;
use wire::{ENCRYPTED_MAX, Stage, Wire};

/// Where the records of a session are put together.
pub struct Buffers {
    read: [u8; ENCRYPTED_MAX as usize],
    write: [u8; TLS_WRITE],
}

impl Buffers {
    /// All zeros.
    pub const fn new() -> Buffers {
        Buffers { read: [0; ENCRYPTED_MAX as usize], write: [0; TLS_WRITE] }
    }
}

impl Default for Buffers {
    fn default() -> Buffers {
        Buffers::new()
    }
}

/// One session after the other, for ever: the future that a [`Session`] is made of.
pub async fn attend(slot: &Slot, buffers: &mut Buffers) -> Infallible {
    loop {
        let job = poll_fn(|_| slot.desk().next_job()).await;
        let result = open(slot, &job, buffers).await;
        slot.desk().end(result);
    }
}

async fn open(slot: &Slot, job: &Job, buffers: &mut Buffers) -> Result<(), ProbeReason> {
    let stage = Cell::new(Stage::Hello);
    let mut judge = Judge::new(job.pin, &job.name);
    let mut tls = TlsConnection::<_, Suite>::new(Wire::new(slot, &stage), &mut buffers.read, &mut buffers.write);
    let mut config = TlsConfig::new().enable_rsa_signatures();
    if !job.name.is_empty() {
        config = config.with_server_name(&job.name);
    }
    let provider = Provider { judge: &mut judge, random: Secrets::new(job.seed) };
    let opened = tls.open(TlsContext::new(&config, provider)).await;
    if let Some(seen) = judge.seen() {
        slot.desk().see(seen.clone());
    }
    if judge.is_refused() {
        return Err(ProbeReason::Certificate);
    }
    opened.map_err(reason)?;
    if !judge.is_satisfied() {
        return Err(ProbeReason::Certificate);
    }
    stage.set(Stage::Open);
    slot.desk().opened(job.pin.is_some());
    poll_fn(|_| slot.desk().has_request()).await.map_err(|_| ProbeReason::Closed)?;
    converse(slot, &mut tls).await.map_err(reason)
}

/// Says what is to be said, and reads until the server ends in order.
async fn converse(slot: &Slot, tls: &mut TlsConnection<'_, Wire<'_>, Suite>) -> Result<(), TlsError> {
    let mut part = [0; 64];
    loop {
        let count = slot.desk().take_request(&mut part);
        let mut rest = part.get(..count).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
        while !rest.is_empty() {
            let written = tls.write(rest).await?;
            rest = rest.get(written..).unwrap_or_default();
        }
    }
    tls.flush().await?;
    loop {
        let mut said = match tls.read_buffered().await {
            Err(TlsError::ConnectionClosed) => return Ok(()),
            said => said?,
        };
        while !said.is_empty() {
            let count = poll_fn(|_| slot.desk().tell(said.peek_all())).await.map_err(TlsError::Io)?;
            said.pop(count);
        }
    }
}

/// Why a handshake failed, in the words of outcomes.
fn reason(error: TlsError) -> ProbeReason {
    match error {
        TlsError::HandshakeAborted(_, AlertDescription::ProtocolVersion) | TlsError::InvalidSupportedVersions => {
            ProbeReason::TlsVersion
        }
        TlsError::InvalidCertificate | TlsError::InvalidCertificateEntry | TlsError::InvalidSignature => {
            ProbeReason::Certificate
        }
        TlsError::Io(ErrorKind::InvalidData) => ProbeReason::Tls,
        TlsError::Io(_) | TlsError::IoError | TlsError::ConnectionClosed => ProbeReason::Closed,
        _ => ProbeReason::Tls,
    }
}

/// A session: the slot that it works on, and the future that does it.
pub struct Session<'a> {
    slot: &'a Slot,
    future: Pin<&'a mut (dyn Future<Output = Infallible> + 'a)>,
}

/// As many sessions as there are checks that need one.
pub type Sessions<'a> = Vec<Session<'a>, TLS_CHECKS>;

impl<'a> Session<'a> {
    /// Of the future that [`attend`] made for this slot.
    pub fn new(slot: &'a Slot, future: Pin<&'a mut (dyn Future<Output = Infallible> + 'a)>) -> Session<'a> {
        Session { slot, future }
    }

    /// Begins a handshake for this host with a server that must have this key, where one is named. Whatever the session
    /// was about before is over.
    pub fn begin(&mut self, seed: [u8; 32], name: &str, pin: Option<[u8; 32]>) {
        self.end();
        // A longer name is no host's; without one the server chooses.
        let name = String::try_from(name).unwrap_or_default();
        self.slot.desk().ask(Job { seed, name, pin });
    }

    /// Ends what it is about, and forgets its keys.
    pub fn end(&mut self) {
        self.slot.desk().stop();
        if self.slot.desk().is_busy() {
            self.step();
        }
    }

    /// Carries bytes from and to the socket, and takes one step when it may. `true` when it could go on at once: with a
    /// turn, or when more has come than there was room for, or once what it has to tell was read.
    pub fn poll(&mut self, socket: &mut tcp::Socket<'_>, turn: &mut bool) -> bool {
        let slot = self.slot;
        if socket.can_recv() && slot.desk().has_room() {
            // What it returns cannot fail: there is something to receive.
            let _ = socket.recv(|bytes| (slot.desk().arrive(bytes), ()));
        }
        if !(socket.may_recv() || socket.can_recv()) {
            slot.desk().arrived();
        }
        slot.desk().give_turn(*turn);
        self.step();
        let mut desk = slot.desk();
        *turn &= desk.has_turn();
        while socket.can_send() && !desk.outgoing().is_empty() {
            let sent = socket.send_slice(desk.outgoing()).unwrap_or(0);
            desk.sent(sent);
        }
        desk.wants_turn() || !desk.answer().is_empty() || socket.can_recv() && desk.has_room()
    }

    fn step(&mut self) {
        let poll = self.future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        // It never ends: its result is a type without values.
        let core::task::Poll::Pending = poll;
    }

    /// Whether the handshake is over, and all that must be proven is.
    fn is_open(&self) -> bool {
        self.slot.desk().is_open()
    }

    /// The certificate that was shown.
    fn seen(&self) -> Option<Seen> {
        self.slot.desk().seen().cloned()
    }

    /// What went wrong, if it is over and something did.
    fn failure(&self) -> Option<ProbeReason> {
        self.slot.desk().ended().and_then(Result::err)
    }
}

impl Session<'_> {
    fn send(&mut self, bytes: &[u8]) -> bool {
        self.slot.desk().send(bytes)
    }

    fn receive(&mut self, take: &mut dyn FnMut(&[u8])) -> bool {
        let mut desk = self.slot.desk();
        let said = desk.answer();
        let count = said.len();
        if count > 0 {
            take(said);
            desk.answer_read(count);
        }
        count > 0
    }

    fn is_over(&self) -> bool {
        let desk = self.slot.desk();
        desk.answer().is_empty() && desk.ended() == Some(Ok(()))
    }
}

/// All sessions, and whose turn it is.
pub struct Lines<'a> {
    sessions: Sessions<'a>,
    secrets: Secrets,
    /// Whether those can be called secret.
    is_strong: bool,
    /// Nobody has taken a step in this poll of the agent.
    turn: bool,
    /// The check that took the last one.
    last: usize,
}

impl<'a> Lines<'a> {
    /// None.
    pub const fn new() -> Lines<'a> {
        Lines { sessions: Vec::new(), secrets: Secrets::new([0; 32]), is_strong: false, turn: false, last: 0 }
    }

    /// Takes sessions, and random bytes to make their secrets of.
    pub fn lend(&mut self, sessions: Sessions<'a>, seed: &[u8; 32], is_strong: bool) {
        let secrets = Secrets::new(Secrets::new(*seed).fresh());
        *self = Lines { sessions, secrets, is_strong, turn: false, last: 0 };
    }

    /// Gives them back.
    pub fn take(&mut self) -> Sessions<'a> {
        self.sessions.iter_mut().for_each(Session::end);
        core::mem::take(&mut self.sessions)
    }

    /// A poll of the agent begins, with a turn for one session; returns which check comes first.
    pub fn begin_poll(&mut self) -> usize {
        self.turn = true;
        self.last + 1
    }

    /// The session with this number, for this check, at this moment of UTC.
    pub fn line(&mut self, session: u8, check: usize, utc_s: Option<i64>) -> Option<Line<'_, 'a>> {
        let Lines { sessions, secrets, is_strong, turn, last } = self;
        let session = sessions.get_mut(usize::from(session))?;
        Some(Line { session, secrets, is_strong: *is_strong, turn, last, check, utc_s })
    }
}

impl Default for Lines<'_> {
    fn default() -> Self {
        Lines::new()
    }
}

/// A session as the probe of one check uses it.
pub struct Line<'l, 'a> {
    session: &'l mut Session<'a>,
    secrets: &'l mut Secrets,
    is_strong: bool,
    turn: &'l mut bool,
    last: &'l mut usize,
    check: usize,
    utc_s: Option<i64>,
}

impl Line<'_, '_> {
    /// The connection is open: begins the handshake, with the check's own host or with one that a redirect led to.
    pub fn begin(&mut self, target: Target<'_>, listed: Option<&str>) {
        let Some(tls) = &target.check.tls else { return };
        let name = match (listed, target.text(tls.server_name), &target.check.peer.host) {
            // An address is no name (RFC 6066, section 3).
            (Some(listed), ..) => Some(listed).filter(|listed| listed.parse::<Ipv4Addr>().is_err()).unwrap_or(""),
            (None, "", Host::Name(name)) => name,
            (None, name, _) => name,
        };
        self.session.begin(self.secrets.fresh(), name, tls.pin);
    }

    /// Goes on; `true` when it could go on at once.
    pub fn poll(&mut self, socket: &mut tcp::Socket<'_>) -> bool {
        let had = *self.turn;
        let again = self.session.poll(socket, self.turn);
        if had && !*self.turn {
            *self.last = self.check;
        }
        again
    }

    /// Whether the session is open, and the certificate as it should be; an error is the end of the probe, or that it is
    /// not open yet.
    pub fn judge(&self, target: Target<'_>) -> Result<(), Option<ProbeReason>> {
        if let Some(reason) = self.session.failure() {
            return Err(Some(reason));
        }
        let seen = self.session.seen().filter(|_| self.session.is_open()).ok_or(None)?;
        match target.check.tls.map(|tls| seen.judge(&tls, self.utc_s)) {
            Some(ProbeReason::Ok) => Ok(()),
            reason => Err(reason),
        }
    }

    /// What went wrong, once all that came before was read.
    pub fn failure(&self) -> Option<ProbeReason> {
        self.session.failure().filter(|_| self.session.slot.desk().answer().is_empty())
    }

    /// The probe is over; returns the certificate that was shown.
    pub fn end(&mut self) -> Option<Seen> {
        let seen = self.session.seen();
        self.session.end();
        seen.map(|seen| Seen { authenticated: seen.authenticated && self.is_strong, ..seen })
    }
}

impl Stream for Line<'_, '_> {
    fn send(&mut self, bytes: &[u8]) -> bool {
        self.session.send(bytes)
    }

    fn receive(&mut self, take: &mut dyn FnMut(&[u8])) -> bool {
        self.session.receive(take)
    }

    fn is_over(&self) -> bool {
        self.session.is_over()
    }
}

/// Secret numbers of one session: hashes of its seed and a count.
pub struct Secrets {
    seed: [u8; 32],
    count: u32,
}

impl Secrets {
    /// From 32 random bytes that serve nothing else.
    pub const fn new(seed: [u8; 32]) -> Secrets {
        Secrets { seed, count: 0 }
    }

    /// The next 32 bytes; none come twice.
    pub fn fresh(&mut self) -> [u8; 32] {
        self.count += 1;
        let label: &[u8] = b"outpost tls";
        Sha256::new()
            .chain_update(label)
            .chain_update(self.seed)
            .chain_update(self.count.to_be_bytes())
            .finalize()
            .into()
    }
}

impl RngCore for Secrets {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, into: &mut [u8]) {
        for block in into.chunks_mut(32) {
            let fresh = self.fresh();
            block.copy_from_slice(&fresh[..block.len()]);
        }
    }

    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(into);
        Ok(())
    }
}

impl CryptoRng for Secrets {}
