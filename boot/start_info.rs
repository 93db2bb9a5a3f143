//! What the VMM hands over: PVH's `hvm_start_info` (Xen: docs/misc/pvh.pandoc), read once and checked.
//!
//! What always holds: nothing of it is believed. Lists are bounded, and [`StartInfo::check`] says no before
//! anything of ours is written where the VMM has put something of its own.

use crate::physical::{Physical, u32_at, u64_at};
use core::fmt;
use core::ops::Range;

const MAGIC: u32 = 0x336e_c578;
const HEADER: usize = 56;
const MAP_ENTRY: usize = 24;
const MODULE_ENTRY: usize = 32;
const RAM: u32 = 1;

/// How the command line of a module begins that comes from the EFI system partition (boot/uefi).
const ESP: &[u8; 4] = b"esp:";

/// Modules that are read: a configuration document and a content bundle.
const MODULES_MAX: usize = 2;

/// Entries of the memory map that are read; QEMU gives fewer than ten.
const MAP_ENTRIES_MAX: usize = 64;

/// A range of physical memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Its first byte.
    pub address: u64,
    /// Its length in bytes.
    pub len: u64,
}

impl Piece {
    fn end(&self) -> u64 {
        self.address.saturating_add(self.len)
    }

    fn overlaps(&self, range: &Range<u64>) -> bool {
        self.len > 0 && self.address < range.end && range.start < self.end()
    }
}

/// The parts that the image uses.
#[derive(Debug, Default, PartialEq)]
pub struct StartInfo {
    address: u64,
    map: Piece,
    module_list: Piece,
    ram: heapless::Vec<Piece, MAP_ENTRIES_MAX>,
    /// The first modules, in their order: a configuration document, a content bundle.
    pub modules: heapless::Vec<Piece, MODULES_MAX>,
    /// Whether the UEFI loader read them from its EFI system partition, and not the VMM from files.
    pub from_esp: bool,
    /// Where the command line lies, 0 for none.
    pub command_line: u64,
    /// Where ACPI begins, 0 when the VMM does not say.
    pub rsdp: u64,
}

/// Why the image does not go on, with the remedy.
#[derive(Debug, PartialEq)]
pub enum Refusal {
    /// There is no start info where the VMM says.
    NotPvh,
    /// The machine's RAM does not hold the image.
    TooLittleRam {
        /// RAM that the machine has, in bytes.
        has: u64,
        /// The end of the image.
        needs: u64,
    },
    /// The VMM put something where the image runs.
    Overlap {
        /// What it put there.
        what: &'static str,
        /// Where.
        piece: Piece,
        /// What the image claims.
        claimed: Range<u64>,
    },
}

/// MiB, rounded up.
fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotPvh => f.write_str(
                "the VMM gave no PVH start info, so the memory is unknown; boot the ELF by the PVH protocol \
                 (QEMU: -kernel, Firecracker, Cloud Hypervisor: --kernel)",
            ),
            Refusal::TooLittleRam { has, needs } => write!(
                f,
                "the machine has {} MiB of RAM and the image reaches to {} MiB; give it at least {} MiB (QEMU: -m {})",
                mib(*has),
                mib(*needs),
                mib(*needs).max(12),
                mib(*needs).max(12),
            ),
            Refusal::Overlap { what, piece, claimed } => write!(
                f,
                "the VMM put the {what} at {:#x}..{:#x}, over the image's own {:#x}..{:#x}; give the machine more \
                 memory (QEMU: -m 16) or a smaller {what}",
                piece.address,
                piece.end(),
                claimed.start,
                claimed.end
            ),
        }
    }
}

impl StartInfo {
    /// Reads the start info at this address.
    pub fn read(memory: &impl Physical, address: u64) -> Result<StartInfo, Refusal> {
        let mut header = [0; HEADER];
        if !memory.read(address, &mut header) || u32_at(&header, 0) != MAGIC {
            return Err(Refusal::NotPvh);
        }
        // Version 0 has no memory map, and without one nothing can be checked.
        if u32_at(&header, 4) < 1 {
            return Err(Refusal::NotPvh);
        }
        let module_count = u32_at(&header, 12);
        let mut info = StartInfo {
            address,
            module_list: Piece { address: u64_at(&header, 16), len: u64::from(module_count) * MODULE_ENTRY as u64 },
            command_line: u64_at(&header, 24),
            rsdp: u64_at(&header, 32),
            map: Piece { address: u64_at(&header, 40), len: u64::from(u32_at(&header, 48)) * MAP_ENTRY as u64 },
            ..StartInfo::default()
        };
        info.read_map(memory);
        info.read_modules(memory);
        Ok(info)
    }

    fn read_modules(&mut self, memory: &impl Physical) {
        let entries = (self.module_list.len / MODULE_ENTRY as u64).min(MODULES_MAX as u64);
        for index in 0..entries {
            let mut entry = [0; MODULE_ENTRY];
            let at = self.module_list.address.checked_add(index * MODULE_ENTRY as u64);
            if !at.is_some_and(|at| memory.read(at, &mut entry)) {
                return;
            }
            let module = Piece { address: u64_at(&entry, 0), len: u64_at(&entry, 8) };
            let mut name = [0; ESP.len()];
            let name_at = u64_at(&entry, 16);
            self.from_esp = name_at != 0 && memory.read(name_at, &mut name) && name == *ESP;
            // The loader hands over what is there: an empty file is a mistake that somebody wants to know of.
            if module.len > 0 || self.from_esp {
                let _ = self.modules.push(module);
            }
        }
    }

    fn read_map(&mut self, memory: &impl Physical) {
        let entries = (self.map.len / MAP_ENTRY as u64).min(MAP_ENTRIES_MAX as u64);
        for index in 0..entries {
            let mut entry = [0; MAP_ENTRY];
            let Some(at) = self.map.address.checked_add(index * MAP_ENTRY as u64) else { return };
            if !memory.read(at, &mut entry) {
                return;
            }
            let piece = Piece { address: u64_at(&entry, 0), len: u64_at(&entry, 8) };
            // The map may end in a zero entry (QEMU with SeaBIOS); other kinds than RAM are not ours to use.
            if u32_at(&entry, 16) == RAM && piece.len > 0 {
                let _ = self.ram.push(piece);
            }
        }
    }

    /// RAM of the machine, in bytes.
    pub fn ram_bytes(&self) -> u64 {
        self.ram.iter().fold(0, |sum, piece| sum.saturating_add(piece.len))
    }

    /// Whether what the image claims is RAM and free of what the VMM handed over. `command_line_len` is how much
    /// of it was read, its NUL included.
    pub fn check(&self, claimed: &Range<u64>, command_line_len: usize) -> Result<(), Refusal> {
        if !self.is_ram(claimed) {
            return Err(Refusal::TooLittleRam { has: self.ram_bytes(), needs: claimed.end });
        }
        let command_line = Piece { address: self.command_line, len: command_line_len as u64 };
        let handed = [
            ("start info", Piece { address: self.address, len: HEADER as u64 }),
            ("memory map", self.map),
            ("module list", self.module_list),
            ("command line", command_line),
        ];
        let modules = self.modules.iter().map(|module| ("module", *module));
        match handed.into_iter().chain(modules).find(|(_, piece)| piece.overlaps(claimed)) {
            Some((what, piece)) => Err(Refusal::Overlap { what, piece, claimed: claimed.clone() }),
            None => Ok(()),
        }
    }

    /// Whether entries of RAM cover the range, each going on where another ends.
    fn is_ram(&self, range: &Range<u64>) -> bool {
        let mut covered = range.start;
        for _ in 0..self.ram.len() {
            let Some(piece) = self.ram.iter().find(|piece| piece.address <= covered && covered < piece.end()) else {
                break;
            };
            covered = piece.end();
            if covered >= range.end {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::physical::fake::Memory;

    const CLAIMED: Range<u64> = 0x10_0000..0xb8_0000;

    fn words(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// A machine with this map (address, length, kind) and this module.
    fn machine(map: &[(u64, u64, u64)], module: Option<(u64, u64)>) -> Memory {
        let header = [
            u64::from(MAGIC) | 1 << 32,
            u64::from(module.is_some()) << 32,
            0x2000,
            0x3000,
            0xe_0000,
            0x4000,
            map.len() as u64,
        ];
        let (address, len) = module.unwrap_or_default();
        let map = map.iter().flat_map(|(address, len, kind)| [*address, *len, *kind]).collect::<Vec<_>>();
        Memory(vec![(0x1000, words(&header)), (0x2000, words(&[address, len, 0, 0])), (0x4000, words(&map))])
    }

    #[test]
    fn a_usual_machine_is_accepted() {
        // QEMU's map with 12 MiB, its trailing zero entry, and a module at the top of RAM.
        let map = [(0, 0x9_fc00, 1), (0xf_0000, 0x1_0000, 2), (0x10_0000, 0xb0_0000, 1), (0, 0, 0)];
        let info = StartInfo::read(&machine(&map, Some((0xbf_0000, 100))), 0x1000).unwrap();
        assert_eq!(info.modules, [Piece { address: 0xbf_0000, len: 100 }]);
        assert_eq!((info.rsdp, info.command_line), (0xe_0000, 0x3000));
        assert_eq!(info.ram_bytes(), 0xb0_0000 + 0x9_fc00);
        assert_eq!(info.check(&CLAIMED, 1), Ok(()));
    }

    #[test]
    fn too_little_ram_is_refused() {
        // Clearing .bss where there is no RAM would end in a triple fault without a word.
        for map in [&[(0x10_0000, 0x70_0000, 1)][..], &[], &[(0x10_0000, 0xb0_0000, 2)]] {
            let info = StartInfo::read(&machine(map, None), 0x1000).unwrap();
            let refusal = info.check(&CLAIMED, 0).unwrap_err();
            assert!(matches!(refusal, Refusal::TooLittleRam { .. }), "{refusal:?}");
            assert!(refusal.to_string().contains("(QEMU: -m 12)"), "{refusal}");
        }
    }

    #[test]
    fn ram_in_adjoining_entries_counts_as_one() {
        // A map that splits RAM at a page must not be taken for a hole.
        let map = [(0x80_0000, 0x80_0000, 1), (0x10_0000, 0x70_0000, 1)];
        let info = StartInfo::read(&machine(&map, None), 0x1000).unwrap();
        assert_eq!(info.check(&CLAIMED, 0), Ok(()));
    }

    #[test]
    fn whatever_overlaps_the_image_is_refused() {
        // QEMU puts the module at the top of RAM unchecked: into .bss on a small machine.
        let map = [(0x10_0000, 0xb0_0000, 1)];
        for (module, refused) in [
            ((0xb7_ffff, 1), true),
            ((0xb8_0000, 1), false),
            ((0xf_ff00, 0x100), false),
            ((0xf_ff00, 0x101), true),
            ((0, u64::MAX), true),
        ] {
            let info = StartInfo::read(&machine(&map, Some(module)), 0x1000).unwrap();
            assert_eq!(info.check(&CLAIMED, 0).is_err(), refused, "{module:x?}");
        }
        let mut info = StartInfo::read(&machine(&map, None), 0x1000).unwrap();
        info.command_line = 0x50_0000;
        assert!(info.check(&CLAIMED, 1).unwrap_err().to_string().contains("command line at 0x500000"));
    }

    #[test]
    fn garbage_is_not_start_info() {
        // A VMM that boots the ELF in another way leaves anything in ebx.
        assert_eq!(StartInfo::read(&Memory(vec![(0, vec![0x41; 4096])]), 64), Err(Refusal::NotPvh));
        assert_eq!(StartInfo::read(&Memory(vec![]), 0), Err(Refusal::NotPvh));
        // Lists that cannot be read, or that claim four billion entries, are bounded.
        let mut memory = machine(&[], None);
        memory.0[0].1[48..52].copy_from_slice(&u32::MAX.to_le_bytes());
        memory.0[0].1[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        let info = StartInfo::read(&memory, 0x1000).unwrap();
        assert_eq!((info.ram_bytes(), info.modules.len()), (0, 0));
    }
}
