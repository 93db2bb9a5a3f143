//! The kernel command line: words parted by spaces, some of them `key=value`.

use core::str;

/// Longest command line that is read: what Firecracker takes, and more than anybody writes by hand.
pub const COMMAND_LINE_MAX: usize = 2048;

/// The text of a command line as it lies in memory: up to the NUL, and up to the first byte that is not UTF-8.
pub fn text(bytes: &[u8]) -> &str {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    match str::from_utf8(&bytes[..end]) {
        Ok(text) => text,
        Err(error) => str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or(""),
    }
}

/// The values of every `key=value` word with this key, in order.
pub fn values<'a>(line: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    line.split_ascii_whitespace().filter_map(move |word| word.strip_prefix(key)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_matches_whole_words_only() {
        // `xvirtio_mmio.device=` or `virtio_mmio.device2=` must not be taken for a device.
        let line = "quiet virtio_mmio.device=512@0xfeb00e00:12 xvirtio_mmio.device=1 virtio_mmio.device2=3 a=b=c";
        assert_eq!(values(line, "virtio_mmio.device").collect::<Vec<_>>(), ["512@0xfeb00e00:12"]);
        assert_eq!(values(line, "a").collect::<Vec<_>>(), ["b=c"]);
        assert_eq!(values(line, "quiet").count(), 0);
    }

    #[test]
    fn text_ends_at_nul_and_at_the_first_bad_byte() {
        // Memory behind the line, or a byte that is not UTF-8, must not get in.
        assert_eq!(text(b"a=1\0b=2"), "a=1");
        assert_eq!(text(b"a=1 \xff b"), "a=1 ");
        assert_eq!(text(b""), "");
    }
}
