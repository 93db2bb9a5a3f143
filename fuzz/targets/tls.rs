//! A session of TLS against a server that says anything: in the clear, sealed with the right keys, in any order. The first
//! byte says whether its key is pinned. None makes the session panic or hang, and who did not prove to have the key that
//! is pinned is told nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outpost::watch::tls::{Buffers, Job, Slot, attend, certificate::Certificate};
use sha2::{Digest, Sha256};
use std::pin::pin;
use std::task::{Context, Waker};

#[path = "../../tests/tls/server.rs"]
mod server;
use server::{HANDSHAKE, Server, record, take_records};

const CERTIFICATE: &[u8] = include_bytes!("../../tests/data/tls/p256.der");
const KEY: &[u8] = include_bytes!("../../tests/data/tls/p256.key");
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// Polls of one session at most: a record each, and a pipe's worth of bytes each.
const POLLS: usize = 400;

/// What a script has done so far.
#[derive(Default)]
struct Script {
    /// Messages that are said with the next record.
    messages: Vec<u8>,
    /// The right certificate was shown, and then its key was proven to be there.
    shown: bool,
    proven: bool,
    finished: bool,
}

impl Script {
    /// What the next part of the input, `length u8 · kind u8 · length bytes`, makes the server say.
    fn say(&mut self, server: &mut Server, rest: &mut &[u8]) -> Option<Vec<u8>> {
        let [len, kind, tail @ ..] = *rest else { return None };
        let (body, next) = tail.split_at(usize::from(*len).min(tail.len()));
        *rest = next;
        let (first, after) = body.split_first().map_or((0, body), |(first, after)| (*first, after));
        match kind % 14 {
            0 => return Some(body.to_vec()),
            1 => return Some(record(first, after)),
            2 => return Some(server.seal(first, after)),
            3 => return Some(server.seal_raw(body)),
            4 => {
                let messages = std::mem::take(&mut self.messages);
                return Some(server.seal(HANDSHAKE, &messages));
            }
            5 => server.change_keys(),
            6 => self.messages.extend(server.extensions()),
            7 => {
                self.messages.extend(server.certificate(&[CERTIFICATE]));
                self.shown = true;
            }
            8 => self.messages.extend(server.certificate(&[body])),
            9 => {
                self.messages.extend(server.verify(KEY));
                self.proven = self.shown;
            }
            10 => self.messages.extend(server.verify_with(u16::from(first), after)),
            // A second one would not be what the session's keys are of.
            11 if !self.finished => {
                self.messages.extend(server.finish());
                self.finished = true;
            }
            12 => self.messages.extend(server.say(first, after)),
            _ => self.messages.extend(body),
        }
        Some(Vec::new())
    }
}

fuzz_target!(|data: &[u8]| {
    let &[first, ref rest @ ..] = data else { return };
    let mut rest = rest;
    let pin = (first % 2 == 0).then(|| Sha256::digest(Certificate::read(CERTIFICATE).unwrap().spki).into());
    let (slot, mut buffers) = (Slot::new(), Box::new(Buffers::new()));
    let mut future = pin!(attend(&slot, &mut buffers));
    slot.desk().ask(Job { seed: [9; 32], name: "shop.example".try_into().unwrap(), pin });
    assert!(slot.desk().send(REQUEST));
    let (mut from_client, mut to_client) = (Vec::new(), Vec::new());
    let (mut server, mut script) = (None::<Server>, Script::default());
    for _ in 0..POLLS {
        slot.desk().give_turn(true);
        assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let mut desk = slot.desk();
        while !desk.outgoing().is_empty() {
            from_client.extend(desk.outgoing());
            let count = desk.outgoing().len();
            desk.sent(count);
        }
        let said = desk.answer().len();
        desk.answer_read(said);
        for heard in take_records(&mut from_client) {
            match &mut server {
                Some(server) => server.hear(&heard),
                None => {
                    let (fresh, hello) = Server::hello(&heard);
                    server = Some(fresh);
                    if first & 2 == 0 {
                        to_client.extend(hello);
                    }
                }
            }
        }
        if to_client.is_empty()
            && let Some(server) = &mut server
        {
            match script.say(server, &mut rest) {
                Some(said) => to_client.extend(said),
                None => desk.arrived(),
            }
        }
        let count = desk.arrive(&to_client);
        to_client.drain(..count);
        if desk.ended().is_some() && desk.answer().is_empty() {
            break;
        }
    }
    let heard = server.map_or(Vec::new(), |server| server.said);
    assert!(REQUEST.starts_with(&heard));
    if pin.is_some() && !script.proven {
        assert!(heard.is_empty() && !slot.desk().is_open(), "a stranger was believed");
    }
    // Wherever it is, it ends when it is told to.
    slot.desk().stop();
    assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert!(!slot.desk().is_busy());
});
