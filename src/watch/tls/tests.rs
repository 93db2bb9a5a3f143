//! Sessions against servers that do what no good server does, and against good ones.

use super::certificate::Certificate;
use super::slot::Slot;
use super::*;
use crate::watch::tls::wire::ENCRYPTED_MAX;
use std::boxed::Box;
use std::vec;
use std::vec::Vec as List;

#[path = "../../../tests/tls/server.rs"]
mod server;
use server::{
    ALERT, APPLICATION_DATA, CERTIFICATE_REQUEST, CHANGE_CIPHER_SPEC, HANDSHAKE, KEY_UPDATE, NEW_SESSION_TICKET,
    Server, record, take_records,
};

const P256: &[u8] = include_bytes!("../../../tests/data/tls/p256.der");
const P256_KEY: &[u8] = include_bytes!("../../../tests/data/tls/p256.key");
const EXPIRED: &[u8] = include_bytes!("../../../tests/data/tls/expired.der");
const ED25519: &[u8] = include_bytes!("../../../tests/data/tls/ed25519.der");
const ED25519_KEY: &[u8; 32] = include_bytes!("../../../tests/data/tls/ed25519.key");
const RSA: &[u8] = include_bytes!("../../../tests/data/tls/rsa2048.der");

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// Polls of one session at most: a record each, and a pipe's worth of bytes each.
const POLLS: usize = 400;

/// What came of a session.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    open: bool,
    ended: Option<Result<(), ProbeReason>>,
    /// What the probe read, and what the server heard.
    answer: List<u8>,
    heard: List<u8>,
    names: Option<std::string::String>,
    finished: bool,
}

fn pin_of(certificate: &[u8]) -> Option<[u8; 32]> {
    Some(Sha256::digest(Certificate::read(certificate).unwrap().spki).into())
}

/// One session with a server that answers the ClientHello with what `script` makes of it, and goes on with what `then`
/// makes of each record of the client.
fn meet(
    pin: Option<[u8; 32]>,
    script: impl FnOnce(&mut Server) -> List<u8>,
    mut then: impl FnMut(&mut Server) -> List<u8>,
) -> Found {
    let (slot, mut buffers) = (Slot::new(), Box::new(Buffers::new()));
    let mut future = Box::pin(attend(&slot, &mut buffers));
    slot.desk().ask(Job { seed: [9; 32], name: "shop.example".try_into().unwrap(), pin });
    assert!(slot.desk().send(REQUEST));
    let mut script = Some(script);
    let (mut from_client, mut to_client, mut server) = (List::new(), List::new(), None::<Server>);
    let mut answer = List::new();
    for _ in 0..POLLS {
        slot.desk().give_turn(true);
        assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let mut desk = slot.desk();
        while !desk.outgoing().is_empty() {
            from_client.extend(desk.outgoing());
            let count = desk.outgoing().len();
            desk.sent(count);
        }
        while !desk.answer().is_empty() {
            answer.extend(desk.answer());
            let count = desk.answer().len();
            desk.answer_read(count);
        }
        for heard in take_records(&mut from_client) {
            if let Some(server) = &mut server {
                server.hear(&heard);
                to_client.extend(then(server));
            } else {
                let (mut fresh, hello) = Server::hello(&heard);
                to_client.extend(hello);
                to_client.extend(script.take().unwrap()(&mut fresh));
                server = Some(fresh);
            }
        }
        let count = desk.arrive(&to_client);
        to_client.drain(..count);
        if desk.ended().is_some() && desk.answer().is_empty() {
            break;
        }
    }
    let desk = slot.desk();
    let server = server.unwrap();
    Found {
        open: desk.is_open(),
        ended: desk.ended(),
        answer,
        heard: server.said,
        names: desk.seen().map(|seen| seen.names.as_str().into()),
        finished: server.finished,
    }
}

fn nothing(_: &mut Server) -> List<u8> {
    List::new()
}

/// Answers the request, and ends in order.
fn answer(server: &mut Server) -> List<u8> {
    if server.said != REQUEST {
        return List::new();
    }
    let mut bytes = server.seal(APPLICATION_DATA, b"HTTP/1.1 200 OK\r\n\r\nwell");
    bytes.extend(server.seal(ALERT, &[1, 0]));
    bytes
}

fn good(server: &mut Server) -> List<u8> {
    [record(CHANGE_CIPHER_SPEC, &[1]), server.flight(&[P256], P256_KEY)].concat()
}

/// Whatever the mode: a server that does this is refused, without a panic and without a word to it.
fn refused(reason: ProbeReason, script: fn(&mut Server) -> List<u8>) {
    for pin in [pin_of(P256), None] {
        let found = meet(pin, script, answer);
        assert_eq!(found.ended, Some(Err(reason)), "{found:?}");
        assert_eq!((found.open, found.heard), (false, List::new()));
    }
}

#[test]
fn a_good_server_is_asked_and_answers() {
    for pin in [pin_of(P256), None] {
        let found = meet(pin, good, answer);
        assert!(found.open && found.finished, "{found:?}");
        assert_eq!((found.ended, &found.heard[..]), (Some(Ok(())), REQUEST));
        assert_eq!(found.answer, b"HTTP/1.1 200 OK\r\n\r\nwell");
        assert_eq!(found.names.as_deref(), Some("shop.example *.shop.example"));
    }
}

#[test]
fn each_kind_of_key_proves_itself() {
    // A kind of key that is never right, and one that is right whatever was signed.
    for wrong in [false, true] {
        let found = meet(
            pin_of(ED25519),
            |server| {
                use ed25519_dalek::Signer;
                let mut messages = server.extensions();
                messages.extend(server.certificate(&[ED25519]));
                let mut signed = server.signed();
                signed[0] ^= u8::from(wrong);
                let signature = ed25519_dalek::SigningKey::from_bytes(ED25519_KEY).sign(&signed);
                messages.extend(server.verify_with(0x0807, &signature.to_bytes()));
                messages.extend(server.finish());
                let flight = server.seal(HANDSHAKE, &messages);
                server.change_keys();
                flight
            },
            answer,
        );
        let expected = if wrong { Err(ProbeReason::Certificate) } else { Ok(()) };
        assert_eq!((found.open, found.ended), (!wrong, Some(expected)));
    }
}

#[test]
fn another_key_is_not_the_one_that_is_pinned() {
    // Who has a certificate for the name, but not the key.
    let found = meet(pin_of(RSA), good, answer);
    assert_eq!((found.open, found.ended), (false, Some(Err(ProbeReason::Certificate))));
    assert_eq!(found.heard, b"", "nothing is said to a stranger");
    assert_eq!(found.names.as_deref(), Some("shop.example *.shop.example"), "who it was is shown");
}

#[test]
fn who_has_the_certificate_but_not_its_key_is_refused() {
    // Certificates are public: anybody can show one.
    let found = meet(pin_of(P256), |server| server.flight(&[P256], &[5; 32]), answer);
    assert_eq!((found.open, found.ended, &found.heard[..]), (false, Some(Err(ProbeReason::Certificate)), &b""[..]));
}

#[test]
fn no_certificate_is_no_handshake() {
    // `embedded-tls` says that it is open.
    refused(ProbeReason::Certificate, |server| {
        let mut messages = server.extensions();
        messages.extend(server.finish());
        let flight = server.seal(HANDSHAKE, &messages);
        server.change_keys();
        flight
    });
}

#[test]
fn an_empty_list_of_certificates_is_none() {
    refused(ProbeReason::Certificate, |server| server.flight(&[], P256_KEY));
}

#[test]
fn without_proof_the_pin_is_not_met() {
    // `embedded-tls` says that it is open.
    let script = |server: &mut Server| {
        let mut messages = server.extensions();
        messages.extend(server.certificate(&[P256]));
        messages.extend(server.finish());
        let flight = server.seal(HANDSHAKE, &messages);
        server.change_keys();
        flight
    };
    let found = meet(pin_of(P256), script, answer);
    assert!(found.finished, "the handshake itself is over");
    assert_eq!((found.open, found.ended, &found.heard[..]), (false, Some(Err(ProbeReason::Certificate)), &b""[..]));
    // Without a pin nobody is said to be authentic.
    assert!(meet(None, script, answer).open);
}

#[test]
fn messages_out_of_order_are_refused() {
    refused(ProbeReason::Certificate, |server| {
        // The proof before what it proves.
        let mut messages = server.extensions();
        messages.extend(server.verify(P256_KEY));
        messages.extend(server.certificate(&[P256]));
        server.seal(HANDSHAKE, &messages)
    });
    refused(ProbeReason::Certificate, |server| {
        // A second certificate behind the first.
        let mut messages = server.extensions();
        messages.extend(server.certificate(&[P256]));
        messages.extend(server.certificate(&[EXPIRED]));
        server.seal(HANDSHAKE, &messages)
    });
}

#[test]
fn records_that_hold_nothing_are_refused() {
    // `embedded-tls` panics on the first.
    refused(ProbeReason::Tls, |server| server.seal_raw(&[]));
    refused(ProbeReason::Tls, |server| server.seal_raw(&[0; 40]));
    refused(ProbeReason::Tls, |server| server.seal(HANDSHAKE, &[]));
    refused(ProbeReason::Tls, |_| record(APPLICATION_DATA, &[]));
    refused(ProbeReason::Tls, |_| record(HANDSHAKE, &[]));
}

#[test]
fn clear_text_after_the_keys_is_refused() {
    // Anybody on the way could have put it there.
    refused(ProbeReason::Tls, |server| {
        let message = server.extensions();
        record(HANDSHAKE, &message)
    });
    refused(ProbeReason::Tls, |_| [record(CHANGE_CIPHER_SPEC, &[1]), record(CHANGE_CIPHER_SPEC, &[1])].concat());
    refused(ProbeReason::Tls, |_| record(CHANGE_CIPHER_SPEC, &[1, 1]));
}

#[test]
fn what_is_not_sealed_with_its_keys_is_refused() {
    refused(ProbeReason::Tls, |server| {
        let mut flight = server.flight(&[P256], P256_KEY);
        *flight.last_mut().unwrap() ^= 1;
        flight
    });
    refused(ProbeReason::Tls, |server| {
        // Another version in the header, which is sealed, too.
        let mut flight = server.flight(&[P256], P256_KEY);
        flight[2] = 0xff;
        flight
    });
    refused(ProbeReason::Tls, |_| record(APPLICATION_DATA, &vec![0; usize::from(ENCRYPTED_MAX) + 1]));
}

#[test]
fn a_certificate_in_two_records_fails_in_order() {
    // `embedded-tls` cannot join them. No common server sends them so while one record has room.
    refused(ProbeReason::Certificate, |server| {
        let mut messages = server.extensions();
        messages.extend(server.certificate(&[P256]));
        let (first, second) = messages.split_at(200);
        [server.seal(HANDSHAKE, first), server.seal(HANDSHAKE, second)].concat()
    });
}

#[test]
fn a_message_after_the_handshake_ends_the_session() {
    // `embedded-tls` panics on all of these but the change of keys.
    let messages = [
        server::message_of(CERTIFICATE_REQUEST, &[0, 0, 0]),
        server::message_of(server::ENCRYPTED_EXTENSIONS, &[0, 0]),
        server::message_of(server::CERTIFICATE, &[0; 4]),
        server::message_of(server::CERTIFICATE_VERIFY, &[4, 3, 0, 0]),
        server::message_of(server::FINISHED, &[0; 32]),
        server::message_of(KEY_UPDATE, &[0]),
        List::new(),
    ];
    for pin in [pin_of(P256), None] {
        for message in &messages {
            let mut told = false;
            let found = meet(pin, good, |server| {
                if server.said.is_empty() || core::mem::replace(&mut told, true) {
                    return List::new();
                }
                server.seal(HANDSHAKE, message)
            });
            assert_eq!((found.open, found.ended), (true, Some(Err(ProbeReason::Tls))), "{message:?}");
        }
    }
}

#[test]
fn tickets_are_passed_over_whatever_is_in_them() {
    // OpenSSL sends two. What follows a ticket in its record would reach the reader that panics.
    let hidden = server::message_of(server::FINISHED, &[0; 32]);
    let ticket = [server::message_of(NEW_SESSION_TICKET, &[0; 13]), hidden].concat();
    let found = meet(
        pin_of(P256),
        |server| [good(server), server.seal(HANDSHAKE, &ticket)].concat(),
        |server| [server.seal(HANDSHAKE, &ticket[..5]), answer(server)].concat(),
    );
    assert_eq!((found.ended, &found.answer[..]), (Some(Ok(())), &b"HTTP/1.1 200 OK\r\n\r\nwell"[..]));
}

#[test]
fn the_largest_records_fit() {
    // A body comes in records of 16 KiB.
    let body = vec![b'x'; 1 << 14];
    let found = meet(pin_of(P256), good, |server| {
        if server.said != REQUEST {
            return List::new();
        }
        [server.seal(APPLICATION_DATA, &body), server.seal(APPLICATION_DATA, &body), server.seal(ALERT, &[1, 0])]
            .concat()
    });
    assert_eq!((found.ended, found.answer.len()), (Some(Ok(())), 2 << 14));
}

#[test]
fn a_certificate_is_asked_for_in_vain() {
    // A server that wants one from us gets an empty answer, as RFC 8446, section 4.4.2 has it.
    let script = |server: &mut Server| {
        let mut messages = server.extensions();
        messages.extend(server.say(CERTIFICATE_REQUEST, &[0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3]));
        messages.extend(server.certificate(&[P256]));
        messages.extend(server.verify(P256_KEY));
        messages.extend(server.finish());
        let flight = server.seal(HANDSHAKE, &messages);
        server.change_keys();
        flight
    };
    assert!(meet(pin_of(P256), script, nothing).open);
}

#[test]
fn alerts_say_why() {
    for (alert, reason) in [(70, ProbeReason::TlsVersion), (40, ProbeReason::Tls)] {
        let (slot, mut buffers) = (Slot::new(), Box::new(Buffers::new()));
        let mut future = Box::pin(attend(&slot, &mut buffers));
        slot.desk().ask(Job { seed: [9; 32], name: String::new(), pin: None });
        slot.desk().arrive(&record(ALERT, &[2, alert]));
        for _ in 0..4 {
            slot.desk().give_turn(true);
            assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        assert_eq!(slot.desk().ended(), Some(Err(reason)));
    }
}

#[test]
fn a_session_ends_at_once_wherever_it_is_and_begins_again() {
    // A future that hangs in an old handshake would never serve its check again.
    let (slot, mut buffers) = (Slot::new(), Box::new(Buffers::new()));
    let mut session_future = Box::pin(attend(&slot, &mut buffers));
    let mut session = Session::new(&slot, session_future.as_mut());
    let mut hellos = List::new();
    for round in 0u8..6 {
        session.begin([round; 32], "shop.example", pin_of(P256));
        for _ in 0..round {
            slot.desk().give_turn(true);
            session.step();
        }
        if round > 0 {
            let hello = slot.desk().outgoing().to_vec();
            assert_eq!(hello[0], HANDSHAKE);
            if round > 2 {
                let (mut server, answer) = Server::hello(&hello);
                slot.desk().arrive(&answer);
                slot.desk().arrive(&good(&mut server)[..usize::from(round) * 50]);
            }
            hellos.push(hello);
        }
        session.end();
        assert!(!slot.desk().is_busy());
    }
    hellos.dedup();
    assert_eq!(hellos.len(), 5, "no secret comes twice");
}

#[test]
fn one_record_is_taken_with_a_turn() {
    // The handshake of one target must not hold up everybody else for its whole length.
    let (slot, mut buffers) = (Slot::new(), Box::new(Buffers::new()));
    let mut future = Box::pin(attend(&slot, &mut buffers));
    let mut step = |turn: bool| {
        slot.desk().give_turn(turn);
        assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        !slot.desk().has_turn()
    };
    slot.desk().ask(Job { seed: [9; 32], name: String::new(), pin: None });
    step(false);
    assert!(slot.desk().outgoing().is_empty() && slot.desk().wants_turn(), "without a turn it does nothing");
    assert!(step(true));
    let hello = slot.desk().outgoing().to_vec();
    slot.desk().sent(hello.len());
    let (mut server, answer) = Server::hello(&hello);
    let flight = [answer, good(&mut server)].concat();
    let (mut rest, mut turns) = (&flight[..], 0);
    for _ in 0..10 {
        // The pipe takes less than the whole; what a turn was begun with comes to its end without another.
        let taken = slot.desk().arrive(rest);
        rest = &rest[taken..];
        step(false);
        if slot.desk().wants_turn() {
            assert!(step(true), "it takes the turn");
            turns += 1;
        }
    }
    assert!(slot.desk().is_open() && rest.is_empty());
    // ServerHello, what is meaningless, the rest.
    assert_eq!(turns, 3);
}

#[test]
fn one_session_goes_on_in_a_poll_and_each_has_its_turn() {
    // Eight handshakes that begin together would be one long step, and a busy one could keep the others from theirs.
    let slots: List<Slot> = (0..8).map(|_| Slot::new()).collect();
    let mut buffers: List<Buffers> = (0..8).map(|_| Buffers::new()).collect();
    let mut futures: List<_> = slots.iter().zip(&mut buffers).map(|(slot, own)| Box::pin(attend(slot, own))).collect();
    let mut sessions = Sessions::new();
    for (slot, future) in slots.iter().zip(&mut futures) {
        let mut session = Session::new(slot, future.as_mut());
        session.begin([1; 32], "shop.example", None);
        sessions.push(session).map_err(drop).unwrap();
    }
    let mut lines = Lines::new();
    lines.lend(sessions, &[1; 32], true);
    let mut went_on = List::new();
    for poll in 0..8 {
        let first = lines.begin_poll();
        for check in (0..8).map(|number| (first + number) % 8) {
            let before = slots[check].desk().wants_turn();
            let mut memory = [0; 16];
            let (rx, tx) = memory.split_at_mut(8);
            let mut socket = tcp::Socket::new(tcp::SocketBuffer::new(rx), tcp::SocketBuffer::new(tx));
            lines.line(check as u8, check, None).unwrap().poll(&mut socket);
            if before && !slots[check].desk().wants_turn() {
                went_on.push((poll, check));
            }
        }
    }
    assert_eq!(went_on, (0..8).map(|poll| (poll, (poll + 1) % 8)).collect::<List<_>>());
}

#[test]
fn sizes_are_what_limits_say() {
    // Each session has these bytes of its own in the image.
    let (slot, mut buffers) = (Slot::new(), Box::new(Buffers::new()));
    let future = attend(&slot, &mut buffers);
    let size = size_of_val(&future);
    assert!(size <= crate::limits::TLS_FUTURE, "{size}");
}
