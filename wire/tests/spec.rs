//! SPEC.md against the code: its examples are what the crate writes and reads.

use outpost_wire::session::{Ack, BootRange, DataWriter, Hello, LossReason, Lost, Message, Mode, Welcome, preface};
use outpost_wire::{DownReason, Event, NetworkDown, Record, Severity, limits};

const SPEC: &str = include_str!("../SPEC.md");

/// The bytes of every example, in order.
fn examples() -> Vec<Vec<u8>> {
    let blocks = SPEC.split("```hex").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks
        .map(|block| {
            let digits: Vec<u8> = block.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
            digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
        })
        .collect()
}

#[test]
fn the_examples_are_what_the_code_writes() {
    // A stranger's decoder is only as right as the document it was written from.
    let event = Event::from(NetworkDown { reason: DownReason::NoLink });
    let mut fields = [0; 8];
    let len = event.encode(&mut fields).unwrap();
    let record = Record {
        seq: 300,
        mono_us: 1_000_000,
        severity: Severity::INFO,
        transaction: Some(7),
        event: 4,
        fields: &fields[..len],
    };
    let mut bytes = [0; limits::FRAME_MAX];
    let len = record.encode(&mut bytes).unwrap();
    let mut expected = vec![bytes[..len].to_vec(), preface(Mode::Clear).to_vec()];

    let messages = [
        Message::Hello(Hello {
            features: 0,
            agent: "fra1",
            current: BootRange { boot_id: 0x1234, oldest: 1, next: 3 },
            previous: None,
            catalogue: [1; 8],
            image_id: [2; 32],
            config: [3; 8],
            severities: [4; 8],
        }),
        Message::Welcome(Welcome { features: 0, current: 300, previous: 0 }),
        Message::Lost(Lost { boot: 1, from: 4, to: 5, reason: LossReason::Torn }),
        Message::Ack(Ack { boot: 0, seq: 128 }),
    ];
    for message in messages {
        let len = message.encode(&mut bytes).unwrap();
        expected.push(bytes[..len].to_vec());
    }
    let mut writer = DataWriter::new(&mut bytes, 0, 300).unwrap();
    let mut body = [0; limits::RECORD_MAX];
    let len = record.encode_body(&mut body).unwrap();
    assert!(writer.push(300, &body[..len]));
    let len = writer.finish().unwrap();
    expected.insert(4, bytes[..len].to_vec());

    let hex = |bytes: &Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(examples().iter().map(hex).collect::<Vec<_>>(), expected.iter().map(hex).collect::<Vec<_>>());
}
