//! Which addresses can be return addresses: those that follow a call instruction.

/// Bytes of the longest call: opcode, ModRM, SIB and a displacement of 4.
pub const CALL_MAX: usize = 7;

/// How long the call is that these bytes, the last ones before an address, end with (Intel SDM 2A, CALL). A direct
/// call is one only when its target, counted from the address, passes.
pub fn length(before: &[u8; CALL_MAX], target_passes: impl Fn(i32) -> bool) -> Option<usize> {
    if let [_, _, 0xe8, a, b, c, d] = *before
        && target_passes(i32::from_le_bytes([a, b, c, d]))
    {
        return Some(5);
    }
    (2..=CALL_MAX).find(|len| indirect_length(&before[CALL_MAX - len..]) == Some(*len))
}

/// The length of the indirect near call at the beginning of these bytes: `ff /2`.
fn indirect_length(bytes: &[u8]) -> Option<usize> {
    let [0xff, modrm, rest @ ..] = bytes else { return None };
    if modrm >> 3 & 7 != 2 {
        return None;
    }
    let (mode, base) = (modrm >> 6, modrm & 7);
    let sib = usize::from(mode != 3 && base == 4);
    let sib_base = rest.first().map(|sib| sib & 7);
    let displacement = match mode {
        // Without a base register a displacement of 4 comes alone.
        0 if base == 5 || (base == 4 && sib_base == Some(5)) => 4,
        1 => 1,
        2 => 4,
        _ => 0,
    };
    Some(2 + sib + displacement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_from_what_is_none() {
        // A word of the stack that only looks like an address would send the reader of a backtrace astray.
        let near = |offset: i32| offset.abs() < 0x1000;
        for (bytes, expected) in [
            ([0x90, 0x90, 0xe8, 0x10, 0, 0, 0], Some(5)),
            ([0x90, 0x90, 0xe8, 0x10, 0, 0, 0x70], None),
            ([0x90, 0x90, 0x90, 0x90, 0x90, 0xff, 0xd0], Some(2)), // call rax
            ([0x90, 0x90, 0x90, 0x90, 0xff, 0x50, 0x18], Some(3)), // call [rax + 0x18]
            ([0x90, 0x90, 0x90, 0xff, 0x54, 0x24, 0x08], Some(4)), // call [rsp + 8]
            ([0x90, 0xff, 0x15, 0x44, 0x33, 0x22, 0x11], Some(6)), // call [rip + 0x11223344]
            ([0xff, 0x94, 0x24, 0x44, 0x33, 0x22, 0x11], Some(7)), // call [rsp + 0x11223344]
            ([0xff, 0x14, 0x25, 0x44, 0x33, 0x22, 0x11], Some(7)), // call [0x11223344]
            ([0x90, 0x90, 0x90, 0x90, 0x90, 0xff, 0xe0], None),    // jmp rax
            ([0x90; CALL_MAX], None),
        ] {
            assert_eq!(length(&bytes, near), expected, "{bytes:x?}");
        }
    }
}
