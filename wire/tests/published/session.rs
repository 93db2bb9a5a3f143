//! `tests/decoder/*.bin`: one session as it is on the wire, each direction in a file of its own. It has a record of
//! every event and each oddity that a decoder must bear.

use outpost_wire::session::{
    Ack, Alive, BootRange, Bye, ByeReason, CRC, DataWriter, Hello, LossReason, Lost, Message, Mode, Welcome, preface,
};
use outpost_wire::{CATALOGUE, Event, EventSpec, Kind, Record, limits};

const BOOT: u64 = 0x0123_4567_89ab_cdef;
const PREVIOUS_BOOT: u64 = 0xfedc_ba98_7654_3210;

/// The first record of the current boot in this session.
const FIRST: u64 = 1000;

/// What the agent sends.
pub fn of_the_agent() -> Vec<u8> {
    let bodies = bodies();
    let next = FIRST + bodies.len() as u64;
    let mut out = preface(Mode::Clear).to_vec();
    message(
        &mut out,
        Message::Hello(Hello {
            features: 0,
            agent: "fra1",
            current: BootRange { boot_id: BOOT, oldest: 1, next },
            previous: Some(BootRange { boot_id: PREVIOUS_BOOT, oldest: 7, next: 9 }),
            catalogue: [1; 8],
            image_id: [2; 32],
            config: [3; 8],
            severities: [4; 8],
        }),
    );
    data(&mut out, 1, 7, &bodies[..1]);
    message(&mut out, Message::Lost(Lost { boot: 1, from: 8, to: 8, reason: LossReason::Torn }));
    message(&mut out, Message::Lost(Lost { boot: 0, from: 1, to: FIRST - 1, reason: LossReason::Overflow }));
    message(&mut out, Message::Lost(Lost { boot: 0, from: u64::MAX, to: u64::MAX, reason: LossReason::Other(200) }));
    frame(&mut out, 99, b"a kind of a later version");
    data(&mut out, 0, FIRST, &bodies);
    message(&mut out, Message::Alive(Alive { next }));
    out
}

/// What the collector answers.
pub fn of_the_collector() -> Vec<u8> {
    let mut out = Vec::new();
    message(&mut out, Message::Welcome(Welcome { features: 1, current: 300, previous: 6 }));
    message(&mut out, Message::Ack(Ack { boot: 0, seq: u64::MAX }));
    message(&mut out, Message::Bye(Bye { reason: ByeReason::Shutdown }));
    out
}

/// A record of every event, then the oddities.
fn bodies() -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    for (place, spec) in CATALOGUE.iter().enumerate() {
        let fields = fields(spec);
        let event = Event::decode(spec.id, &fields).unwrap_or_else(|| panic!("{} does not decode", spec.name));
        let mut again = [0; limits::FIELDS_MAX];
        let len = event.encode(&mut again).expect("fields fit");
        assert_eq!(again[..len], fields, "{}", spec.name);
        bodies.push(body(place, spec.id, &fields));
    }
    let known = &CATALOGUE[0];
    let mut longer = fields(known);
    longer.extend(b"a field of a later version");
    bodies.push(body(0, known.id, &longer));
    bodies.push(body(1, known.id, &fields(known)[..3]));
    // As if its last two fields had come later than the event.
    let grown = CATALOGUE.iter().find(|spec| spec.name == "http.request").expect("a known event");
    let before = EventSpec { fields: &grown.fields[..3], ..*grown };
    bodies.push(body(3, grown.id, &fields(&before)));
    bodies.push(body(2, u16::MAX, b"an event of a later version"));
    bodies
}

fn body(place: usize, event: u16, fields: &[u8]) -> Vec<u8> {
    let severity = CATALOGUE.iter().find(|spec| spec.id == event).unwrap_or(&CATALOGUE[0]).severity;
    let transaction = (place % 2 == 1).then_some(place as u32 * 1000);
    let record = Record { seq: FIRST, mono_us: place as u64 * 123_456, severity, transaction, event, fields };
    let mut out = [0; limits::RECORD_MAX];
    let len = record.encode_body(&mut out).expect("a record fits");
    out[..len].to_vec()
}

/// Values that differ from field to field, so that two in the wrong order show. Written here from the types alone.
fn fields(spec: &EventSpec) -> Vec<u8> {
    let mut out = Vec::new();
    for (place, field) in spec.fields.iter().enumerate() {
        let part = place as u64 + 1;
        match field.kind {
            Kind::U8 => out.push(u8::MAX / part as u8),
            Kind::Bool => out.push(1),
            Kind::U16 => varint(&mut out, u64::from(u16::MAX) / part),
            Kind::U32 => varint(&mut out, u64::from(u32::MAX) / part),
            Kind::U64 => varint(&mut out, u64::MAX / part),
            Kind::Text(max) => {
                let text = format!("{} \"é\"", field.name);
                let text = &text[..text.floor_char_boundary(max)];
                varint(&mut out, text.len() as u64);
                out.extend(text.as_bytes());
            }
            // One more than there are: every fourth event has a word that this version does not know.
            Kind::Word(words) => out.push((usize::from(spec.id) % (words.len() + 1)) as u8),
            Kind::Ip4 => out.extend([192, 0, 2, part as u8]),
            // 1 is given by `intern`, which has this value itself; the others stay without a text, 0 is none.
            Kind::Name => varint(&mut out, if spec.name == "intern" { 1 } else { u64::from(spec.id) % 3 }),
            Kind::Bytes(len) => out.extend((0..len).map(|byte| if place == 0 { byte as u8 } else { 0 })),
        }
    }
    out
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// As many Data frames as these records need.
fn data(out: &mut Vec<u8>, boot: u8, first_seq: u64, bodies: &[Vec<u8>]) {
    let mut told = 0;
    while told < bodies.len() {
        let mut buffer = [0; limits::FRAME_MAX];
        let mut writer = DataWriter::new(&mut buffer, boot, first_seq + told as u64).expect("a frame has room");
        while told < bodies.len() && writer.push(writer.next_seq(), &bodies[told]) {
            told += 1;
        }
        let len = writer.finish().expect("one record always fits");
        out.extend(&buffer[..len]);
    }
}

fn message(out: &mut Vec<u8>, message: Message<'_>) {
    let mut buffer = [0; limits::FRAME_MAX];
    let len = message.encode(&mut buffer).expect("it fits a frame");
    out.extend(&buffer[..len]);
}

/// A frame of any kind, written by hand.
fn frame(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    let mut frame = (body.len() as u16 + 1).to_le_bytes().to_vec();
    frame.push(kind);
    frame.extend(body);
    let crc = CRC.checksum(&frame).to_le_bytes();
    out.extend(frame.into_iter().chain(crc));
}
