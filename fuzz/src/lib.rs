//! What the fuzz targets share: how bytes of the fuzzer become a session's stream that gets past the CRC.
#![forbid(unsafe_code)]

use outpost_wire::session::CRC;

/// The stream that `data` describes: parts of `length u8 · kind u8 · length bytes`. Kind 0 is sent as it is, every
/// other as a frame of that kind with the right length and CRC, which a fuzzer would not find by itself.
pub fn stream(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = data;
    while let [len, kind, tail @ ..] = rest {
        let (body, next) = tail.split_at(usize::from(*len).min(tail.len()));
        rest = next;
        if *kind == 0 {
            out.extend(body);
            continue;
        }
        let start = out.len();
        out.extend((body.len() as u16 + 1).to_le_bytes());
        out.push(*kind);
        out.extend(body);
        let crc = CRC.checksum(&out[start..]);
        out.extend(crc.to_le_bytes());
    }
    out
}
