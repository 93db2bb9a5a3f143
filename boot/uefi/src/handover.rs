//! What the image is told: PVH's `hvm_start_info` (Xen: docs/misc/pvh.pandoc), as a VMM would write it.
//!
//! Two things say that it was this loader: the command line begins with `boot=uefi`, and the modules, the configuration
//! and the content bundle, have a command line that begins with `esp:`, by which the image knows their source.

use crate::ram::Ram;

/// Bytes of the page that everything but the module stands in.
pub const PAGE: usize = 4096;

/// Longest command line, its NUL included: what the image reads (boot/cmdline.rs).
pub const COMMAND_LINE_MAX: usize = 2048;

/// Longest configuration document (src/limits.rs). One byte more is handed over, so that the image can say so.
pub const CONFIG_MAX: usize = 65_536;

/// The first word of the command line.
const LOADER: &[u8] = b"boot=uefi";

/// Longest content bundle (src/limits.rs). One byte more is handed over, so that the image can say so.
pub const CONTENT_MAX: usize = 262_144;

/// The command line of each module.
const MODULE: &[u8] = b"esp:\0";

/// What is handed over at most: the configuration and the content bundle.
pub const MODULES: usize = 2;

const MAGIC: u64 = 0x336e_c578;
const VERSION: u64 = 1;
const RAM: u64 = 1;

const HEADER: usize = 56;
const MAP_ENTRY: usize = 24;
const MODULE_ENTRY: usize = 32;

const MODULE_AT: usize = HEADER;
const NAME_AT: usize = MODULE_AT + MODULES * MODULE_ENTRY;
const COMMAND_LINE_AT: usize = NAME_AT + MODULE.len();
const MAP_AT: usize = (COMMAND_LINE_AT + COMMAND_LINE_MAX).next_multiple_of(8);
const _: () = assert!(MAP_AT + MAP_ENTRY * crate::ram::RANGES_MAX <= PAGE);

/// A file of the ESP in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Document {
    /// Its physical address.
    pub address: u64,
    /// Its length in bytes; 0 is an empty file, and not none.
    pub len: u64,
}

/// The page of the start info.
pub struct Page<'p> {
    bytes: &'p mut [u8; PAGE],
    address: u64,
}

impl<'p> Page<'p> {
    /// The page at this physical address. `command_line` is what stands on the ESP.
    pub fn new(
        bytes: &'p mut [u8; PAGE],
        address: u64,
        rsdp: u64,
        modules: [Option<Document>; MODULES],
        command_line: &[u8],
    ) -> Self {
        bytes.fill(0);
        let mut page = Page { bytes, address };
        page.put(0, MAGIC | VERSION << 32);
        page.put(24, address + COMMAND_LINE_AT as u64);
        page.put(32, rsdp);
        page.put(40, address + MAP_AT as u64);
        page.put(16, address + MODULE_AT as u64);
        for (index, module) in modules.into_iter().flatten().enumerate() {
            page.put(8, (index as u64 + 1) << 32); // no flags, so many modules
            let at = MODULE_AT + index * MODULE_ENTRY;
            page.put(at, module.address);
            page.put(at + 8, module.len);
            page.put(at + 16, address + NAME_AT as u64);
        }
        page.write(NAME_AT, MODULE);
        page.write(COMMAND_LINE_AT, LOADER);
        page.write(COMMAND_LINE_AT + LOADER.len(), b" ");
        let room = COMMAND_LINE_MAX - LOADER.len() - 2;
        page.write(COMMAND_LINE_AT + LOADER.len() + 1, command_line.get(..room).unwrap_or(command_line));
        page
    }

    /// Adds the memory map, which is known last. Returns the physical address of the start info.
    pub fn finish(mut self, ram: &Ram) -> u64 {
        let mut count = 0;
        for (index, (start, len)) in ram.ranges().enumerate() {
            let at = MAP_AT + MAP_ENTRY * index;
            self.put(at, start);
            self.put(at + 8, len);
            self.put(at + 16, RAM);
            count += 1;
        }
        self.put(48, count);
        self.address
    }

    fn put(&mut self, at: usize, value: u64) {
        self.write(at, &value.to_le_bytes());
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        for (to, from) in self.bytes.iter_mut().skip(at).zip(bytes) {
            *to = *from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ram::Kind;
    use std::string::String;
    use std::vec::Vec;

    use crate::physical::fake::Memory;
    use crate::start_info::{Piece, StartInfo};

    fn handed(modules: [Option<Document>; MODULES], command_line: &[u8]) -> (StartInfo, Vec<u8>) {
        let map = [(Kind::Free, 0, 0xa_0000), (Kind::Free, 0x10_0000, 0x700_0000), (Kind::Kept, 0x710_0000, 0x1000)];
        let mut bytes = [0xff; PAGE];
        let page = Page::new(&mut bytes, 0x700_0000, 0x1234_5678_9000, modules, command_line);
        assert_eq!(page.finish(&Ram::of(map.into_iter(), &crate::ram::CLAIMED)), 0x700_0000);
        let memory = Memory(vec![(0x700_0000, bytes.to_vec())]);
        (StartInfo::read(&memory, 0x700_0000).unwrap(), bytes.to_vec())
    }

    fn command_line(info: &StartInfo, page: &[u8]) -> String {
        let line = &page[(info.command_line - 0x700_0000) as usize..];
        String::from_utf8(line.split(|byte| *byte == 0).next().unwrap().to_vec()).unwrap()
    }

    #[test]
    fn the_image_reads_what_the_loader_writes() {
        // A field at a wrong offset is a machine without configuration or without memory.
        let (config, content) = (Document { address: 0x600_0000, len: 77 }, Document { address: 0x500_0000, len: 99 });
        let (info, page) = handed([Some(config), Some(content)], b"outpost.name=a\n");
        let piece = |document: Document| Piece { address: document.address, len: document.len };
        assert_eq!(info.modules, [piece(config), piece(content)]);
        assert!(info.from_esp);
        assert_eq!((info.rsdp, info.ram_bytes()), (0x1234_5678_9000, 0x70a_0000));
        assert_eq!(command_line(&info, &page), "boot=uefi outpost.name=a\n");
        assert_eq!(info.check(&(0x10_0000..0xb0_0000), 100), Ok(()));
    }

    #[test]
    fn no_document_and_an_empty_one_are_two_things() {
        let (info, _) = handed([None; MODULES], b"");
        assert_eq!((info.modules.len(), info.from_esp), (0, false));
        let (info, _) = handed([None, Some(Document { address: 0x600_0000, len: 0 })], b"");
        assert_eq!(info.modules, [Piece { address: 0x600_0000, len: 0 }]);
    }

    #[test]
    fn a_long_command_line_is_cut_and_ended() {
        let (info, page) = handed([None; MODULES], &[b'x'; 5000]);
        let line = command_line(&info, &page);
        assert_eq!(line.len(), COMMAND_LINE_MAX - 1);
        assert_eq!(info.ram_bytes(), 0x70a_0000, "the map behind it is whole");
    }

    #[test]
    fn both_sides_have_the_same_bounds() {
        assert_eq!(CONFIG_MAX, outpost::limits::CONFIG_MAX);
        assert_eq!(CONTENT_MAX, outpost::limits::CONTENT_MAX);
    }
}
