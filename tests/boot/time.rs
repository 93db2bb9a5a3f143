//! Wall time from a real chrony, in a network namespace of its own: QEMU's user network leads the guest's 10.0.2.2 to
//! the loopback of the namespace, where chrony may have port 123.

use crate::lab::{Chrony, Guest, Lab, PATIENCE, get};
use crate::namespace::in_a_namespace;
use outpost_qemu::{Accel, Machine, Nic};
use outpost_wire::Event;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A wrong clock makes every record's UTC wrong, and says that it is right.
#[test]
fn takes_utc_from_chrony() {
    in_a_namespace("time::takes_utc_from_chrony", &["chronyd"], follow_chrony);
}

fn follow_chrony() {
    let lab = Lab::new();
    let _chrony = Chrony::start(&lab);
    let config = format!(
        r#"{{"name":"lab","time":{{"servers":["10.0.2.2"]}},"collector":{{"address":"10.0.2.2:{}"}}}}"#,
        lab.port()
    );
    let vm = outpost_qemu::Vm {
        config: Some(lab.file("time.json", &config)),
        ..lab.vm(Machine::Microvm, Nic::MmioV2, Accel::Tcg)
    };
    let mut guest = Guest::boot(&vm);
    guest.wait_ok("/livez");
    let sync = lab.wait_for("clock.sync", 1);
    let Event::ClockSync(event) = sync[0].event() else { panic!("{:?}", sync[0]) };
    assert_eq!((event.stratum, event.step_us), (8, 0));

    let deadline = Instant::now() + PATIENCE;
    let (before, time) = loop {
        let before = now_us();
        let status = get(guest.http(), "/status").unwrap();
        let document: serde_json::Value = serde_json::from_str(&status.body).unwrap();
        if document["time"]["unix_us"].is_u64() {
            break (before, document["time"].clone());
        }
        assert!(Instant::now() < deadline, "{}", status.body);
        thread::sleep(Duration::from_millis(100));
    };
    let (unix_us, error_us) = (time["unix_us"].as_u64().unwrap(), time["error_us"].as_u64().unwrap());
    // A busy test machine makes slow round trips, which are errors; they must be owned up to.
    assert!(unix_us + error_us >= before && unix_us <= now_us() + error_us, "{time}, asked at {before}");
    assert_eq!(time["server"], "10.0.2.2");
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}
