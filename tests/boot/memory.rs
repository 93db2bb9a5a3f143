//! No page is writable and executable: in the file that is loaded, and on the running machine.
//!
//! The page tables are read through QEMU's monitor, from outside: an image that believes itself to be right
//! proves nothing.

use crate::lab::{Guest, Lab, can_run, debug_image, image};
use object::LittleEndian;
use object::elf::{FileHeader64, PF_W, PF_X, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Object, ObjectSymbol};
use outpost_qemu::{Accel, Machine, Running};
use std::collections::BTreeSet;
use std::fs;

/// Physical addresses of the log region: linker.ld places it, and no loader may write there.
const LOG_REGION: std::ops::Range<u64> = 0x10_0000..0x50_0000;

/// Everything in, the image is at most this large (PROMISES.md).
const IMAGE_MAX: usize = 512 * 1024;

/// Where physical address 0 is in the image's address space.
const IMAGE_BASE: u64 = 0xffff_ffff_8000_0000;

/// Where the image's half of the address space begins.
const HIGH_HALF: u64 = 0xffff_8000_0000_0000;

#[test]
fn microvm() {
    audit(Machine::Microvm, Accel::Tcg);
}

#[test]
fn microvm_kvm() {
    if can_run(Accel::Kvm, "memory::microvm_kvm") {
        audit(Machine::Microvm, Accel::Kvm);
    }
}

#[test]
fn q35() {
    audit(Machine::Q35, Accel::Tcg);
}

#[test]
fn pc() {
    audit(Machine::Pc, Accel::Tcg);
}

fn audit(machine: Machine, accel: Accel) {
    let lab = Lab::new();
    let mut guest = Guest::boot(&lab.vm(machine, machine.nics()[0], accel));
    audit_running(&mut guest, &format!("{machine} under {accel}"));
}

/// Looks at a guest from outside.
pub fn audit_running(guest: &mut Guest, what: &str) {
    // After it has served, everything that is ever mapped has been.
    guest.wait_ok("/readyz");
    check_control_registers(&mut guest.running);
    check_stacks(&mut guest.running);
    let dump = guest.running.qmp().human("info tlb").unwrap();
    let pages: Vec<Page> = dump.lines().filter(|line| !line.trim().is_empty()).map(Page::parse).collect();
    if let Err(problem) = check(&pages) {
        panic!("{what}: {problem}");
    }
}

/// A page of the running machine.
#[derive(Clone, Copy, Debug)]
struct Page {
    address: u64,
    physical: u64,
    large: bool,
    writable: bool,
    executable: bool,
    user: bool,
}

impl Page {
    /// A line of `info tlb`: `ffffffff80500000: 0000000000500000 XG-DAC-UW`, X for "not executable".
    fn parse(line: &str) -> Page {
        let mut words = line.split_ascii_whitespace();
        let address = words.next().and_then(|word| u64::from_str_radix(word.trim_end_matches(':'), 16).ok());
        let physical = words.next().and_then(|word| u64::from_str_radix(word, 16).ok());
        let (Some(address), Some(physical), Some(flags)) = (address, physical, words.next()) else {
            panic!("QEMU's page table dump is not understood: {line}");
        };
        assert_eq!(flags.len(), 9, "QEMU's page table dump is not understood: {line}");
        Page {
            address,
            physical,
            large: flags.contains('P'),
            writable: flags.ends_with('W'),
            executable: !flags.starts_with('X'),
            user: flags.contains('U'),
        }
    }
}

fn check(pages: &[Page]) -> Result<(), String> {
    if !pages.iter().any(|page| page.executable) || !pages.iter().any(|page| page.writable) {
        return Err(format!("a running machine has code and data, but only {} pages are seen", pages.len()));
    }
    let of = |wanted: fn(&Page) -> bool| pages.iter().filter(move |page| wanted(page));
    let one = |mut found: Box<dyn Iterator<Item = &Page> + '_>, what: &str| match found.next() {
        Some(page) => Err(format!("{what}: {page:x?}")),
        None => Ok(()),
    };
    one(Box::new(of(|page| page.writable && page.executable)), "a page is writable and executable")?;
    one(Box::new(of(|page| page.address < 0x1000)), "page 0 is mapped")?;
    one(Box::new(of(|page| page.address < HIGH_HALF)), "the lower half is mapped, the identity map is not gone")?;
    one(Box::new(of(|page| page.large)), "a page is larger than 4 KiB")?;
    one(Box::new(of(|page| page.user)), "a page is open to user mode")?;
    // Two addresses of one frame are a way round: write here, run there.
    let writable: BTreeSet<u64> = of(|page| page.writable).map(|page| page.physical).collect();
    let alias = of(|page| page.executable).filter(|page| writable.contains(&page.physical));
    one(Box::new(alias), "a page of code is writable at another address")
}

/// Page flags bind only with these bits: write protection in the kernel, no-execute, and what the processor offers.
fn check_control_registers(running: &mut Running) {
    let registers = running.qmp().human("info registers").unwrap();
    let value = |name: &str| {
        let digits = registers.split_once(&format!("{name}=")).map(|(_, rest)| rest);
        let digits = digits.and_then(|rest| rest.split(|c: char| !c.is_ascii_hexdigit()).next());
        u64::from_str_radix(digits.unwrap_or_default(), 16).unwrap_or_else(|_| panic!("no {name} in:\n{registers}"))
    };
    for (register, bit, name) in [("CR0", 16, "WP"), ("EFER", 11, "NXE"), ("CR4", 20, "SMEP"), ("CR4", 11, "UMIP")] {
        assert!(value(register) & (1 << bit) != 0, "{register}.{name} is off:\n{registers}");
    }
}

/// The stacks were painted at boot, so that the image can tell how much of them was ever used: only the main one's upper
/// end is.
fn check_stacks(running: &mut Running) {
    let bytes = fs::read(debug_image()).unwrap();
    let elf = object::File::parse(bytes.as_slice()).unwrap();
    let mut word = |name: &str, offset: i64| {
        let symbol = elf.symbol_by_name(name).unwrap_or_else(|| panic!("no symbol {name}"));
        let physical = (symbol.address() - IMAGE_BASE).wrapping_add_signed(offset);
        let line = running.qmp().human(&format!("xp /1gx {physical:#x}")).unwrap();
        line.trim_end().rsplit_once("0x").map(|(_, digits)| digits.to_owned()).unwrap_or(line)
    };
    let unused = "5afe57ac5afe57ac";
    for name in ["main_stack_bottom", "page_fault_stack_bottom", "double_fault_stack_bottom"] {
        assert_eq!(word(name, 0), unused, "{name}");
    }
    assert_eq!(word("other_fault_stack_top", -8), unused);
    assert_ne!(word("main_stack_top", -8), unused);
}

#[test]
fn the_audit_sees_what_is_wrong() {
    // An audit that cannot fail proves nothing about the machines above.
    let good = ["ffffffff80500000: 0000000000500000 -G--A----", "ffffffff80600000: 0000000000600000 XG-DA---W"];
    let parse = |lines: &[&str]| lines.iter().map(|line| Page::parse(line)).collect::<Vec<_>>();
    assert_eq!(check(&parse(&good)), Ok(()));
    assert!(check(&parse(&good[..1])).is_err());
    for (bad, expected) in [
        ("ffffffff80700000: 0000000000700000 -G-DA---W", "writable and executable"),
        ("0000000000000000: 0000000000000000 XG-DA----", "page 0"),
        ("0000000000500000: 0000000000700000 XG-DA----", "identity map"),
        ("ffffffff80800000: 0000000000800000 XGPDA----", "larger than 4 KiB"),
        ("ffffffff80700000: 0000000000700000 XG-DA--U-", "user mode"),
        ("ffffffff80700000: 0000000000600000 -G--A----", "at another address"),
    ] {
        let problem = check(&parse(&[good[0], good[1], bad])).unwrap_err();
        assert!(problem.contains(expected), "{bad}: {problem}");
    }
}

#[test]
fn no_segment_touches_the_log_or_is_writable_code() {
    // A loader that writes the log region would erase what the last boot left, every time.
    let bytes = fs::read(image()).unwrap();
    assert!(
        bytes.len() <= IMAGE_MAX,
        "the image has {} bytes, allowed are at most {IMAGE_MAX}: `make size` shows what they are spent on",
        bytes.len()
    );
    let header = FileHeader64::<LittleEndian>::parse(bytes.as_slice()).unwrap();
    let endian = LittleEndian;
    let mut loaded = 0;
    for segment in header.program_headers(endian, bytes.as_slice()).unwrap() {
        if segment.p_type(endian) != PT_LOAD {
            continue;
        }
        loaded += 1;
        let (start, len) = (segment.p_paddr(endian), segment.p_memsz(endian));
        assert!(
            start >= LOG_REGION.end || start + len <= LOG_REGION.start,
            "{start:#x} + {len:#x} is in the log region"
        );
        let writable_code = PF_W | PF_X;
        assert_ne!(segment.p_flags(endian) & writable_code, writable_code, "{start:#x} is writable code");
    }
    assert!(loaded >= 3, "the entry, the notes and what is packed are segments of their own, {loaded} found");
}

#[test]
fn no_heap_is_linked() {
    // One `alloc` in a dependency and memory can run out at the worst moment.
    let bytes = fs::read(debug_image()).unwrap();
    let elf = object::File::parse(bytes.as_slice()).unwrap();
    let names: Vec<&str> = elf.symbols().filter_map(|symbol| symbol.name().ok()).collect();
    assert!(names.iter().any(|name| name.contains("outpost")), "the image with symbols has none");
    let heap = names.iter().find(|name| name.contains("__rust_alloc") || name.contains("__rg_alloc"));
    assert_eq!(heap, None);
}
