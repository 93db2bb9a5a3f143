//! Frames, messages, records and fields from any bytes; what is read is written as it was, or as less.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outpost_wire::session::Message;
use outpost_wire::{Event, Record, limits};

fuzz_target!(|data: &[u8]| {
    if let Ok(record) = Record::decode(data) {
        read(&record);
    }
    let stream = outpost_fuzz::stream(data);
    for bytes in [data, &stream] {
        let mut rest = bytes;
        while let Ok(Some((message, len))) = Message::decode(rest) {
            rest = &rest[len..];
            if let Message::Data(data) = message {
                data.records().flatten().for_each(|record| read(&record));
            }
            let mut out = [0; limits::FRAME_MAX];
            // A Hello without its last field is written with it, and may then be too long for a frame.
            if let Some(len) = message.encode(&mut out) {
                assert_eq!(Message::decode(&out[..len]), Ok(Some((message, len))));
            }
        }
    }
});

fn read(record: &Record<'_>) {
    let event = record.decode_event();
    // Two readers of the same bytes: they agree on what they accept.
    assert_eq!(record.read_fields().is_some(), event.is_some());
    let Some(event) = event else { return };
    let mut out = [0; limits::FIELDS_MAX];
    let len = event.encode(&mut out).expect("what a record held fits a record");
    assert_eq!(Event::decode(record.event, &out[..len]), Some(event));
}
