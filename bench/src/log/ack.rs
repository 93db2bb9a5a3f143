//! How long it takes from a record's emission until its acknowledgement leaves the collector, at idle.
//!
//! ```text
//! client ──GET, traceparent──▶ guest (TCG) ──Data──▶ tap ──▶ watcher ──▶ collector ──fsync──▶ Ack ──▶ watcher ──▶ guest
//!   t0                        emits                        t1                                     t2
//! ```
//!
//! A request that brings a trace is always a record, emitted when it is answered; so t0, before the request was sent,
//! is earlier than the emission, and t2 - t0 is more than what is promised by it: the way of the request is in it. The
//! watcher passes on what it reads and looks at the frames of the clear session.

use crate::client::{After, Connection};
use outpost_wire::session::{Message, PREFACE_LEN};
use outpost_wire::{HttpRequest, TransactionBound};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long a record may take.
const LIMIT: Duration = Duration::from_secs(10);

/// What the watcher saw.
enum Seen {
    /// A frame with the record of a request that brought a trace; its last seq.
    Told(Instant, u64),
    /// Everything up to this seq is durable.
    Acknowledged(Instant, u64),
}

/// Stands between an agent and its collector.
pub struct Watcher {
    seen: Receiver<Seen>,
}

/// One record's way, from before its request was sent, in microseconds.
pub struct Way {
    /// Until its frame was here.
    pub told_us: f64,
    /// Until its acknowledgement was.
    pub acknowledged_us: f64,
}

impl Watcher {
    /// Listens here for agents, and connects each to this collector. Ends with this process.
    pub fn start(listen: SocketAddr, collector: SocketAddr) -> Result<Watcher, String> {
        let listener = TcpListener::bind(listen).map_err(|error| format!("the watcher cannot listen: {error}"))?;
        let (sender, seen) = channel();
        thread::spawn(move || {
            for agent in listener.incoming().map_while(Result::ok) {
                // An agent whose session cannot be passed on comes again.
                let _ = pass_on(agent, collector, &sender);
            }
        });
        Ok(Watcher { seen })
    }

    /// Asks over this connection for what becomes a record, and follows it.
    pub fn follow(&self, connection: &mut Connection, path: &str, number: u64) -> Result<Way, String> {
        let traceparent = format!("traceparent: 00-{:032x}-{:016x}-01\r\n", number + 1, number + 1);
        while self.seen.try_recv().is_ok() {}
        let begin = Instant::now();
        connection.ask_with(path, &traceparent)?;
        let status = connection.answer(After::Keep)?;
        if status != 200 {
            return Err(format!("answered with {status} instead of 200"));
        }
        let mut told = None;
        loop {
            let seen = self.seen.recv_timeout(LIMIT).map_err(|_| format!("no acknowledgement within {LIMIT:?}"))?;
            let us = |at: Instant| (at - begin).as_secs_f64() * 1e6;
            match (seen, told) {
                (Seen::Told(at, seq), None) => told = Some((us(at), seq)),
                (Seen::Acknowledged(at, seq), Some((told_us, wanted))) if seq >= wanted => {
                    return Ok(Way { told_us, acknowledged_us: us(at) });
                }
                _ => {}
            }
        }
    }
}

fn pass_on(agent: TcpStream, collector: SocketAddr, seen: &Sender<Seen>) -> std::io::Result<()> {
    let collector = TcpStream::connect(collector)?;
    for stream in [&agent, &collector] {
        stream.set_nodelay(true)?;
    }
    let (upwards, downwards) = ((agent.try_clone()?, collector.try_clone()?), (collector, agent));
    for ((from, to), skip) in [(upwards, PREFACE_LEN), (downwards, 0)] {
        let seen = seen.clone();
        thread::spawn(move || watch(from, to, skip, &seen));
    }
    Ok(())
}

/// Passes everything on until either end closes, and tells what of it matters, before it has arrived.
fn watch(mut from: TcpStream, mut to: TcpStream, skip: usize, seen: &Sender<Seen>) {
    let (mut frames, mut skip, mut chunk) = (Vec::new(), skip, [0; 4096]);
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        let (now, bytes) = (Instant::now(), chunk.get(..count).unwrap_or_default());
        if to.write_all(bytes).is_err() {
            break;
        }
        let preface = skip.min(count);
        skip -= preface;
        frames.extend_from_slice(bytes.get(preface..).unwrap_or_default());
        while let Ok(Some((message, taken))) = Message::decode(&frames) {
            // Nobody listens any more when the measurement has ended.
            let _ = match message {
                Message::Data(data) => {
                    let records: Vec<_> = data.records().map_while(Result::ok).collect();
                    let traced = records.iter().any(|record| record.event == TransactionBound::SPEC.id);
                    let last = records.iter().rfind(|record| record.event == HttpRequest::SPEC.id);
                    last.filter(|_| traced).map(|last| seen.send(Seen::Told(now, last.seq)))
                }
                Message::Ack(ack) => Some(seen.send(Seen::Acknowledged(now, ack.seq))),
                _ => None,
            };
            frames.drain(..taken);
        }
    }
    // The other direction ends by it, too; it fails where that has happened.
    let (_, _) = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
