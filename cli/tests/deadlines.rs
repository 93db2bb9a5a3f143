//! The collector's deadlines over real sockets, shortened so that the test need not wait as long as a slow network may.

mod support;

use outpost_cli::collect::{Options, Output, Server, limits::Deadlines};
use outpost_wire::limits;
use std::io::Write;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};
use support::{Agent, Said, body, data, directory, hello};

const SHORT: Duration = Duration::from_millis(700);

fn start(store: &std::path::Path) -> (Server, Receiver<Output>) {
    let deadlines = Deadlines { hello: SHORT, frame: SHORT, silence: 4 * SHORT, ..Deadlines::default() };
    let listen = "127.0.0.1:0".parse().unwrap();
    Server::start(Options { deadlines, ..Options::new(listen, store.to_path_buf()) }).unwrap()
}

/// How long until the collector closes.
fn closed_after(agent: &mut Agent) -> Duration {
    let start = Instant::now();
    while !matches!(agent.next(), Said::Closed(_)) {}
    start.elapsed()
}

#[test]
fn slow_and_silent_clients_are_closed_while_others_are_served() {
    // Each holds one of a bounded number of places; none may hold it for ever, and none may hold up the others.
    let (_directory, store) = directory();
    let (server, output) = start(&store);
    let address = server.local_address();
    let (mut silent, _) = Agent::open(address, hello("silent", 1, 1, 1));
    let (mut slow, _) = Agent::open(address, hello("slow", 2, 1, 1));
    let mut mute = Agent::raw(address, b"");

    // 1,000 bytes a second, of a frame that takes longer than a frame may.
    let bodies: Vec<_> = (1..=75).map(|seq| body(2, seq)).collect();
    let frame = data(0, 1, &bodies);
    assert!((1000..limits::FRAME_MAX).contains(&frame.len()), "one frame of more than a second: {}", frame.len());
    let mut writer = slow.sender();
    let writer = std::thread::spawn(move || {
        for byte in frame {
            if writer.stream.write_all(&[byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let (mut busy, _) = Agent::open(address, hello("busy", 3, 1, 1));
    let start = Instant::now();
    for seq in 1..=20 {
        busy.send(seq, seq);
        busy.expect_ack(seq);
    }
    println!("emit to durable acknowledgement: {:?} on average of 20", start.elapsed() / 20);
    closed_after(&mut mute);
    closed_after(&mut slow);
    closed_after(&mut silent);
    writer.join().unwrap();
    server.stop().unwrap();
    let lines: Vec<_> =
        output.iter().filter_map(|output| if let Output::Notice(line) = output { Some(line) } else { None }).collect();
    for expected in
        ["no Hello came in time", "(slow): session ended: a frame did not", "(silent): session ended: it fell silent"]
    {
        assert!(lines.iter().any(|line| line.contains(expected)), "{expected}: {lines:#?}");
    }
}

#[test]
fn a_server_that_is_dropped_ends_and_leaves_its_port() {
    // `outpost up` and the tests start one per run: a thread or a port left behind would add up.
    let (_directory, store) = directory();
    let (server, output) = start(&store);
    let address = server.local_address();
    let (mut agent, _) = Agent::open(address, hello("fra1", 1, 1, 1));
    agent.send(1, 3);
    drop(server);
    assert_eq!(output.iter().filter(|output| matches!(output, Output::Stored(_))).count(), 3, "what came is committed");
    assert!(std::net::TcpListener::bind(address).is_ok());
    assert!(matches!(agent.next(), Said::Ack { seq: 3, .. }), "and acknowledged");
    assert!(matches!(agent.next(), Said::Bye(_)));
}
