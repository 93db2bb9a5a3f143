//! The few ACPI tables that say what a virtual machine has: interrupt controllers (MADT), PCI configuration
//! space (MCFG), and how to switch off, reset and hear the power button (FADT).
//!
//! A small parser over copied bytes and not the `acpi` crate: without an allocator that crate reads the same four
//! tables, but asks for thirty hardware callbacks and dereferences table memory that only the VMM vouches for.
//! Here every table is bounded, its checksum is checked, and a field beyond its end reads as zero (ACPI 6.5, 5.2).

use crate::physical::{Physical, u16_at, u32_at, u64_at};
use heapless::Vec;

/// Longest table that is read, in bytes: a MADT of 255 processors fits.
const TABLE_MAX: usize = 4096;

/// Tables that the root table may list; QEMU has fewer than ten.
const TABLES_MAX: usize = 32;

const HEADER: usize = 36;

/// An IOAPIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApic {
    /// Physical address of its registers.
    pub address: u64,
    /// The first GSI it serves.
    pub gsi_base: u32,
}

/// How an interrupt line signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// By a change.
    Edge,
    /// By a level that its handler must end.
    Level,
}

/// Which level or edge of an interrupt line is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polarity {
    /// High, or rising.
    High,
    /// Low, or falling.
    Low,
}

/// Where an ISA interrupt really goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The global interrupt.
    pub gsi: u32,
    /// How it signals.
    pub trigger: Trigger,
    /// Which level is active.
    pub polarity: Polarity,
}

/// PCI's memory-mapped configuration space (PCI Firmware 3.0, 4.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ecam {
    /// Physical address of bus `first_bus`.
    pub address: u64,
    /// The first bus it covers.
    pub first_bus: u8,
    /// The last bus it covers.
    pub last_bus: u8,
}

/// A register of the machine, one byte wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// An I/O port.
    Io(u16),
    /// A physical address.
    Memory(u64),
}

/// PM1, the fixed power management registers of machines that are not hardware-reduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pm1 {
    /// Port of the status word; the enable word lies `enable_offset` behind it.
    pub status: u16,
    /// See `status`.
    pub enable_offset: u16,
    /// Port of the control word.
    pub control: u16,
    /// Port that ACPI is switched on by, 0 when it always is.
    pub smi_command: u16,
    /// What to write there.
    pub acpi_enable: u8,
    /// The interrupt of its events.
    pub sci: Line,
}

/// The machine as its tables describe it.
#[derive(Clone, Debug)]
pub struct Platform {
    /// Whether there were ACPI tables at all.
    pub described: bool,
    /// The IOAPICs; the usual one where no table names any.
    pub ioapics: Vec<IoApic, 4>,
    /// Memory-mapped PCI configuration space.
    pub ecam: Option<Ecam>,
    /// The machine has no legacy power management (FADT flag HW_REDUCED_ACPI).
    pub hardware_reduced: bool,
    /// How to reset: the register and what to write there.
    pub reset: Option<(Register, u8)>,
    /// The sleep control register of a hardware-reduced machine.
    pub sleep_control: Option<Register>,
    /// The power management registers of other machines.
    pub pm1: Option<Pm1>,
    /// Physical address of the VM generation id.
    pub generation: Option<u64>,
    overrides: Vec<(u8, Line), 16>,
}

impl Platform {
    /// A machine without tables: the IOAPIC where it always is, and nothing else.
    pub fn undescribed() -> Platform {
        let mut ioapics = Vec::new();
        let _ = ioapics.push(IoApic { address: 0xfec0_0000, gsi_base: 0 });
        Platform {
            described: false,
            ioapics,
            ecam: None,
            hardware_reduced: false,
            reset: None,
            sleep_control: None,
            pm1: None,
            generation: None,
            overrides: Vec::new(),
        }
    }

    /// Reads the tables. `rsdp` is what the VMM said; when that is not one, the places where firmware leaves it
    /// are searched: 0xe0000 to 0xfffff (ACPI 6.5, 5.2.5.1; Firecracker) and 0xa0000 (Cloud Hypervisor).
    pub fn read(memory: &impl Physical, rsdp: u64) -> Platform {
        let mut platform = Platform::undescribed();
        let mut buffer = [0; TABLE_MAX];
        let given = [rsdp, 0xa_0000].into_iter().find_map(|address| root_table(memory, address));
        let Some((root, entry_len)) = given.or_else(|| search(memory, &mut buffer)) else { return platform };
        let mut tables = Vec::<u64, TABLES_MAX>::new();
        if let Some(list) = table(memory, root, &mut buffer) {
            for entry in list[HEADER..].chunks_exact(entry_len) {
                let address = if entry_len == 8 { u64_at(entry, 0) } else { u64::from(u32_at(entry, 0)) };
                let _ = tables.push(address);
            }
        }
        platform.described = !tables.is_empty();
        for address in &tables {
            let Some(table) = table(memory, *address, &mut buffer) else { continue };
            match &table[..4] {
                b"APIC" => platform.read_madt(table),
                b"MCFG" => platform.read_mcfg(table),
                b"SSDT" if table[16..].starts_with(b"VMGENID\0") => platform.generation = generation(table),
                _ => {}
            }
        }
        // The FADT's interrupt goes through the MADT's overrides, so it comes last.
        for address in &tables {
            if let Some(table) = table(memory, *address, &mut buffer)
                && table.starts_with(b"FACP")
            {
                platform.read_fadt(table);
            }
        }
        platform
    }

    /// Whether this is QEMU's microvm: its reset register is nowhere else.
    pub fn is_microvm(&self) -> bool {
        self.reset.is_some_and(|(register, _)| register == Register::Memory(0xfea0_0202))
    }

    /// Where an ISA interrupt goes; unchanged, edge and high unless the MADT says otherwise (ACPI 6.5, 5.2.12.5).
    pub fn isa_line(&self, irq: u8) -> Line {
        let usual = Line { gsi: u32::from(irq), trigger: Trigger::Edge, polarity: Polarity::High };
        self.overrides.iter().find(|(source, _)| *source == irq).map_or(usual, |(_, line)| *line)
    }

    fn read_madt(&mut self, table: &[u8]) {
        self.ioapics.clear();
        let mut rest = table.get(44..).unwrap_or(&[]);
        while let [kind, len, ..] = *rest {
            let Some((entry, after)) = rest.split_at_checked(usize::from(len)) else { return };
            if len < 2 {
                return;
            }
            match kind {
                1 => {
                    let ioapic = IoApic { address: u64::from(u32_at(entry, 4)), gsi_base: u32_at(entry, 8) };
                    let _ = self.ioapics.push(ioapic);
                }
                2 if entry.len() >= 10 => {
                    let flags = u16_at(entry, 8);
                    let line = Line {
                        gsi: u32_at(entry, 4),
                        trigger: if flags >> 2 & 3 == 3 { Trigger::Level } else { Trigger::Edge },
                        polarity: if flags & 3 == 3 { Polarity::Low } else { Polarity::High },
                    };
                    let _ = self.overrides.push((entry[3], line));
                }
                _ => {}
            }
            rest = after;
        }
    }

    fn read_mcfg(&mut self, table: &[u8]) {
        // Segment 0 only: no VMM gives a small machine another.
        let mut entries = table.get(44..).unwrap_or(&[]).chunks_exact(16);
        self.ecam = entries.find(|entry| u16_at(entry, 8) == 0).map(|entry| Ecam {
            address: u64_at(entry, 0),
            first_bus: entry[10],
            last_bus: entry[11],
        });
    }

    fn read_fadt(&mut self, table: &[u8]) {
        const RESET_REG_SUP: u32 = 1 << 10;
        const HW_REDUCED_ACPI: u32 = 1 << 20;
        let flags = u32_at(table, 112);
        self.hardware_reduced = flags & HW_REDUCED_ACPI != 0;
        if flags & RESET_REG_SUP != 0 {
            let value = table.get(128).copied().unwrap_or(0);
            self.reset = generic_address(table, 116).map(|register| (register, value));
        }
        if self.hardware_reduced {
            self.sleep_control = generic_address(table, 244);
            return;
        }
        let status = u32_at(table, 56) as u16;
        let control = u32_at(table, 64) as u16;
        if status != 0 && control != 0 {
            let irq = u16_at(table, 46).min(255) as u8;
            // Level and low is what an SCI is unless overridden (ACPI 6.5, 5.2.9: SCI_INT).
            let unless_overridden = Line { gsi: u32::from(irq), trigger: Trigger::Level, polarity: Polarity::Low };
            let overridden = self.overrides.iter().any(|(source, _)| *source == irq);
            self.pm1 = Some(Pm1 {
                status,
                enable_offset: u16::from(table.get(88).copied().unwrap_or(4)) / 2,
                control,
                smi_command: u32_at(table, 48) as u16,
                acpi_enable: table.get(52).copied().unwrap_or(0),
                sci: if overridden { self.isa_line(irq) } else { unless_overridden },
            });
        }
    }
}

/// Where the VM generation id is, as QEMU's table of its own says: a name whose value the firmware patches, and the id
/// behind a header of 40 bytes (QEMU: docs/specs/vmgenid.txt). No AML is run for it: `Name (VGIA, <double word>)`.
fn generation(table: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"\x08VGIA\x0c";
    let at = HEADER + table.get(HEADER..)?.windows(NAME.len()).position(|bytes| bytes == NAME)?;
    let page = u32_at(table, at + NAME.len());
    (page != 0).then_some(u64::from(page) + 40)
}

/// A Generic Address Structure (ACPI 6.5, 5.2.3.2).
fn generic_address(table: &[u8], at: usize) -> Option<Register> {
    let address = u64_at(table, at + 4);
    match table.get(at)? {
        0 if address != 0 => Some(Register::Memory(address)),
        1 if address != 0 => u16::try_from(address).ok().map(Register::Io),
        _ => None,
    }
}

/// The root table that an RSDP at this address names, and the length of its entries.
fn root_table(memory: &impl Physical, address: u64) -> Option<(u64, usize)> {
    let mut rsdp = [0; 36];
    if address == 0 || !memory.read(address, &mut rsdp[..20]) {
        return None;
    }
    if !rsdp.starts_with(b"RSD PTR ") || sum(&rsdp[..20]) != 0 {
        return None;
    }
    if rsdp[15] >= 2 && memory.read(address, &mut rsdp) && sum(&rsdp) == 0 && u64_at(&rsdp, 24) != 0 {
        return Some((u64_at(&rsdp, 24), 8));
    }
    Some((u64::from(u32_at(&rsdp, 16)), 4))
}

/// Searches the BIOS area for an RSDP, a page at a time.
fn search(memory: &impl Physical, buffer: &mut [u8; TABLE_MAX]) -> Option<(u64, usize)> {
    (0xe_0000..0x10_0000).step_by(TABLE_MAX).find_map(|page| {
        if !memory.read(page, buffer) {
            return None;
        }
        let signed = |at: &usize| buffer[*at..].starts_with(b"RSD PTR ");
        (0..TABLE_MAX).step_by(16).filter(signed).find_map(|at| root_table(memory, page + at as u64))
    })
}

/// The table at this address, if it is whole: copied into `buffer`, its length and checksum right.
fn table<'a>(memory: &impl Physical, address: u64, buffer: &'a mut [u8; TABLE_MAX]) -> Option<&'a [u8]> {
    if address == 0 || !memory.read(address, &mut buffer[..HEADER]) {
        return None;
    }
    let len = usize::try_from(u32_at(&buffer[..HEADER], 4)).ok()?;
    let table = buffer.get_mut(..len).filter(|table| table.len() >= HEADER)?;
    (memory.read(address, table) && sum(table) == 0).then_some(table)
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::physical::fake::Memory;

    /// A table with this signature and body, its length and checksum right.
    fn sealed(signature: &[u8; 4], body: &[u8]) -> std::vec::Vec<u8> {
        let mut bytes = std::vec::Vec::new();
        bytes.extend(signature);
        bytes.extend((HEADER as u32 + body.len() as u32).to_le_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend(body);
        bytes[9] = 0u8.wrapping_sub(sum(&bytes));
        bytes
    }

    fn rsdp(root: u32) -> std::vec::Vec<u8> {
        let mut bytes = b"RSD PTR \0BOCHS \0".to_vec();
        bytes.extend(root.to_le_bytes());
        bytes[8] = 0u8.wrapping_sub(sum(&bytes));
        bytes
    }

    fn madt() -> std::vec::Vec<u8> {
        let mut body = vec![0; 8];
        body.extend([0, 8, 0, 0, 1, 0, 0, 0]);
        body.extend([1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
        body.extend([2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0]);
        body.extend([1, 12, 1, 0, 0, 0, 0xc1, 0xfe, 24, 0, 0, 0]);
        sealed(b"APIC", &body)
    }

    fn fadt() -> std::vec::Vec<u8> {
        let mut body = vec![0; 276 - HEADER];
        body[46 - HEADER] = 9;
        body[48 - HEADER] = 0xb2;
        body[52 - HEADER] = 2;
        body[56 - HEADER..58 - HEADER].copy_from_slice(&0x600u16.to_le_bytes());
        body[64 - HEADER..66 - HEADER].copy_from_slice(&0x604u16.to_le_bytes());
        body[88 - HEADER] = 4;
        body[113 - HEADER] = 4;
        body[116 - HEADER] = 1;
        body[120 - HEADER..122 - HEADER].copy_from_slice(&0xcf9u16.to_le_bytes());
        body[128 - HEADER] = 0x0f;
        sealed(b"FACP", &body)
    }

    /// A machine like q35, its RSDP at this address.
    fn machine(at: u64) -> Memory {
        let mut mcfg = vec![0; 8];
        mcfg.extend(0xb000_0000u64.to_le_bytes());
        mcfg.extend([0, 0, 0, 255, 0, 0, 0, 0]);
        let list = [0x2000u32, 0x3000, 0x4000, 0x9999].iter().flat_map(|address| address.to_le_bytes());
        Memory(vec![
            (at, rsdp(0x1000)),
            (0x1000, sealed(b"RSDT", &list.collect::<std::vec::Vec<_>>())),
            (0x2000, fadt()),
            (0x3000, madt()),
            (0x4000, sealed(b"MCFG", &mcfg)),
        ])
    }

    #[test]
    fn the_tables_of_a_machine_are_read() {
        // A wrong offset here is a machine that cannot be reset or has no interrupts.
        let platform = Platform::read(&machine(0x500), 0x500);
        assert!(platform.described && !platform.hardware_reduced);
        let bases =
            platform.ioapics.iter().map(|ioapic| (ioapic.address, ioapic.gsi_base)).collect::<std::vec::Vec<_>>();
        assert_eq!(bases, [(0xfec0_0000, 0), (0xfec1_0000, 24)]);
        assert_eq!(platform.ecam, Some(Ecam { address: 0xb000_0000, first_bus: 0, last_bus: 255 }));
        assert_eq!(platform.reset, Some((Register::Io(0xcf9), 0x0f)));
        let sci = Line { gsi: 9, trigger: Trigger::Level, polarity: Polarity::High };
        let pm1 = Pm1 { status: 0x600, enable_offset: 2, control: 0x604, smi_command: 0xb2, acpi_enable: 2, sci };
        assert_eq!(platform.pm1, Some(pm1));
        assert_eq!(platform.isa_line(4), Line { gsi: 4, trigger: Trigger::Edge, polarity: Polarity::High });
    }

    #[test]
    fn the_generation_id_is_found_in_its_own_table_only() {
        // Any other bytes taken for the id would end a boot each time they change.
        let table = |oem: &[u8; 8], body: &[u8]| {
            let mut bytes = sealed(b"SSDT", body);
            bytes[16..24].copy_from_slice(oem);
            bytes[9] = bytes[9].wrapping_sub(sum(&bytes));
            bytes
        };
        let body = [b"\x08VGIA\x0c".as_slice(), &0x00ff_f000_u32.to_le_bytes(), b"\x10A\x08"].concat();
        for (oem, body, expected) in [
            (b"VMGENID\0", &body[..], Some(0xff_f028)),
            (b"BXSSDTPC", &body, None),
            (b"VMGENID\0", &body[..8], None),
            (b"VMGENID\0", &body[..6], None),
            (b"VMGENID\0", &body[..3], None),
        ] {
            let list = 0x2000_u32.to_le_bytes();
            let memory =
                Memory(vec![(0x500, rsdp(0x1000)), (0x1000, sealed(b"RSDT", &list)), (0x2000, table(oem, body))]);
            assert_eq!(Platform::read(&memory, 0x500).generation, expected, "{oem:?} {body:?}");
        }
    }

    #[test]
    fn the_rsdp_is_searched_where_firmware_leaves_it() {
        // Firecracker and Cloud Hypervisor hand over no RSDP.
        assert!(Platform::read(&machine(0xa_0000), 0).described);
        for at in [0, 0x1_0ff0, 0x1_ffe0] {
            let mut memory = machine(0x500);
            let mut bios = vec![0; 0x2_0000];
            let rsdp = rsdp(0x1000);
            bios[at..at + rsdp.len()].copy_from_slice(&rsdp);
            memory.0.push((0xe_0000, bios));
            assert!(Platform::read(&memory, 0).described, "{at:#x}");
        }
        assert!(!Platform::read(&machine(0x500), 0).described);
        assert_eq!(Platform::read(&Memory::default(), 0).ioapics.len(), 1);
    }

    #[test]
    fn truncated_and_damaged_tables_are_passed_over() {
        // Every cut and every flipped byte must give fewer facts, never a panic or a loop without end.
        let whole = machine(0x500);
        for piece in 0..whole.0.len() {
            for at in 0..whole.0[piece].1.len() {
                let mut cut = machine(0x500);
                cut.0[piece].1.truncate(at);
                let _ = Platform::read(&cut, 0x500);
                let mut damaged = machine(0x500);
                damaged.0[piece].1[at] ^= 0xff;
                let _ = Platform::read(&damaged, 0x500);
            }
        }
        let mut platform = Platform::undescribed();
        let madt = madt();
        for len in 0..madt.len() {
            platform.read_madt(&madt[..len]);
        }
        platform.read_madt(&[0; 64]);
        platform.read_mcfg(&[]);
        platform.read_fadt(&[]);
        assert_eq!((platform.pm1, platform.reset, platform.ecam), (None, None, None));
    }
}
