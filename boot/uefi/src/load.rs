//! The loader from its entry to the jump.

use crate::console::say;
use crate::elf::{self, Image, SEGMENTS_MAX};
use crate::esp::{Esp, Optional};
use crate::handover::{COMMAND_LINE_MAX, CONFIG_MAX, CONTENT_MAX, Document, PAGE, Page};
use crate::leave::{self, Copy};
use crate::ram::{CLAIMED, Kind, Ram};
use core::convert::Infallible;
use core::fmt;
use core::ops::Range;
use core::ptr::addr_of;
use core::slice;
use uefi::boot::{self, AllocateType, MemoryType};
use uefi::mem::memory_map::{MemoryAttribute, MemoryDescriptor, MemoryMap};
use uefi::proto::security::MemoryProtection;
use uefi::table::cfg::ConfigTableEntry;
use uefi::{CStr16, Status, cstr16, entry, system};

const ELF: &CStr16 = cstr16!("\\outpost\\outpost.elf");
const CONFIG: &CStr16 = cstr16!("\\outpost\\config.json");
const CONTENT: &CStr16 = cstr16!("\\outpost\\content.bin");
const COMMAND_LINE: &CStr16 = cstr16!("\\outpost\\cmdline.txt");

/// Longest image that is read, in bytes: eight times what is promised.
const ELF_MAX: u64 = 4 << 20;

/// The id of the image that this loader starts, behind the words by which `outpost image` finds the place. All zeros, as
/// it is built: any image. Signing the loader signs the image by it.
#[used]
static BOUND: Bound = Bound { mark: *b"OUTPOST-IMAGE-ID", id: [0; 32] };

#[derive(Clone, Copy)]
#[repr(C)]
struct Bound {
    #[allow(dead_code, reason = "read in the file, not here")]
    mark: [u8; 16],
    id: [u8; 32],
}

/// Why the image is not started.
pub enum Refusal {
    /// The loader's own disk cannot be read.
    NoDisk(Status),
    /// The image cannot be read.
    Unreadable(Status),
    /// It is longer than any image of Outpost.
    TooLong(u64),
    /// It ends before its length.
    Short,
    /// It is not one that can be started.
    Wrong(elf::Refusal),
    /// There is no memory for it.
    NoMemory,
    /// The image's place is not free.
    Taken {
        /// What the image needs.
        needed: Range<u64>,
        /// The first byte of it that is not free RAM.
        at: u64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const AGAIN: &str = "write the disk image to the disk again";
        match self {
            Refusal::NoDisk(status) => {
                write!(f, "the disk that the loader is on cannot be read ({status}); attach it to another controller")
            }
            Refusal::Unreadable(status) => write!(f, "{ELF} cannot be read ({status}); {AGAIN}"),
            Refusal::TooLong(len) => write!(f, "{ELF} has {len} bytes, more than any image of Outpost; {AGAIN}"),
            Refusal::Short => write!(f, "{ELF} ends before its length; {AGAIN}"),
            Refusal::Wrong(why) => write!(f, "{ELF} {why}; {AGAIN}"),
            Refusal::NoMemory => {
                f.write_str("the firmware has no memory below 4 GiB for the image; give the machine 128 MiB")
            }
            Refusal::Taken { needed, at } => write!(
                f,
                "the image needs the memory at {:#x}..{:#x}, and {at:#x} is not free; give the machine 128 MiB, or use \
                 firmware that leaves this memory to the system, as OVMF does",
                needed.start, needed.end
            ),
        }
    }
}

#[entry]
fn main() -> Status {
    say(format_args!("loader {} starts {ELF}", env!("CARGO_PKG_VERSION")));
    let Err(refusal) = start();
    say(format_args!("cannot start: {refusal}"));
    Status::LOAD_ERROR
}

/// Starts the image, or says why not.
fn start() -> Result<Infallible, Refusal> {
    let mut esp = Esp::open()?;
    let file = read_elf(&mut esp)?;
    // SAFETY: a static. Volatile, for `outpost image` changes it after the link.
    let bound = unsafe { addr_of!(BOUND).read_volatile() };
    let image = Image::check(file.bytes, &bound.id).map_err(Refusal::Wrong)?;

    // An empty configuration is an error that the image tells; without a beginning nothing says what a bundle is.
    let content = read_module(&mut esp, CONTENT, CONTENT_MAX)?.filter(|content| content.len > 0);
    let modules = [read_module(&mut esp, CONFIG, CONFIG_MAX)?, content];
    let mut line = [0; COMMAND_LINE_MAX];
    let line = read_command_line(&mut esp, &mut line);
    let page = Pages::of(PAGE, MemoryType::LOADER_DATA)?;
    let bytes = page.bytes.first_chunk_mut::<PAGE>().ok_or(Refusal::NoMemory)?;
    let page = Page::new(bytes, page.address, rsdp(), modules, line);

    let list = Pages::of(size_of::<[Copy; SEGMENTS_MAX + 1]>(), MemoryType::LOADER_DATA)?;
    let copies = list.copies();
    for (copy, segment) in copies.iter_mut().zip(image.segments()) {
        let from = file.address as u32 + segment.offset;
        *copy = Copy { from, to: segment.address, len: segment.len, zeros: segment.zeros };
    }
    let code = place_code()?;

    // The last look at the memory while there is somebody to tell.
    let needed = CLAIMED.start..image.end;
    let map = boot::memory_map(MemoryType::LOADER_DATA).map_err(|_| Refusal::NoMemory)?;
    if let Some(at) = Ram::of(map.entries().map(range), &needed).gap(&needed) {
        return Err(Refusal::Taken { needed, at });
    }
    drop((map, esp));

    // SAFETY: nothing of boot services is held any more: the files are closed, and what was read is in our own pages.
    let map = unsafe { boot::exit_boot_services(None) };
    let start_info = page.finish(&Ram::of(map.entries().map(range), &needed));
    // SAFETY: boot services have ended; every one of `Pages` lies below 4 GiB and outside of `CLAIMED`, where all copies
    // go, and `check` found the entry in one of them.
    unsafe { leave::leave(code, copies, start_info, image.entry) }
}

/// Memory of ours, below 4 GiB and outside of what an image may claim; for good.
pub struct Pages {
    /// What is in it.
    pub bytes: &'static mut [u8],
    /// Its physical address.
    pub address: u64,
}

impl Pages {
    /// So many bytes of memory, filled with zeros.
    fn of(len: usize, kind: MemoryType) -> Result<Pages, Refusal> {
        let count = len.div_ceil(PAGE);
        let below = AllocateType::MaxAddress(u64::from(u32::MAX));
        let start = boot::allocate_pages(below, kind, count).map_err(|_| Refusal::NoMemory)?;
        let address = start.as_ptr().addr() as u64;
        if address < CLAIMED.end && CLAIMED.start < address + (count * PAGE) as u64 {
            return Err(Refusal::NoMemory);
        }
        // SAFETY: the firmware gave these pages to us alone, mapped where they are.
        unsafe { start.write_bytes(0, count * PAGE) };
        // SAFETY: as above; written just now, and never given back.
        let bytes = unsafe { slice::from_raw_parts_mut(start.as_ptr(), count * PAGE) };
        Ok(Pages { bytes: bytes.get_mut(..len).unwrap_or_default(), address })
    }

    /// The same memory as a list of copies.
    fn copies(self) -> &'static mut [Copy] {
        // SAFETY: four numbers of 32 bits each may have any bytes.
        let (_, copies, _) = unsafe { self.bytes.align_to_mut() };
        copies
    }
}

fn read_elf(esp: &mut Esp) -> Result<Pages, Refusal> {
    let unreadable = |error: uefi::Error| Refusal::Unreadable(error.status());
    let mut file = esp.file(ELF).map_err(unreadable)?;
    let len = Esp::length(&mut file).map_err(unreadable)?;
    if len > ELF_MAX {
        return Err(Refusal::TooLong(len));
    }
    let pages = Pages::of((len as usize).max(1), MemoryType::LOADER_DATA)?;
    if file.read(pages.bytes).map_err(unreadable)? as u64 == len { Ok(pages) } else { Err(Refusal::Short) }
}

/// A file for the image, if there is one. What is wrong with it, the image says: it never prevents the boot.
fn read_module(esp: &mut Esp, name: &CStr16, longest: usize) -> Result<Option<Document>, Refusal> {
    let pages = Pages::of(longest + 1, MemoryType::LOADER_DATA)?;
    let len = match esp.optional(name, pages.bytes) {
        Optional::Absent => return Ok(None),
        Optional::Read(len) => len as u64,
        Optional::Unreadable(status) => {
            say(format_args!("{name} cannot be read ({status}) and counts as empty; {REPAIR}"));
            0
        }
    };
    Ok(Some(Document { address: pages.address, len }))
}

const REPAIR: &str = "check the disk image with outpost verify-image";

/// What stands on the ESP for the kernel command line.
fn read_command_line<'l>(esp: &mut Esp, line: &'l mut [u8]) -> &'l [u8] {
    match esp.optional(COMMAND_LINE, line) {
        Optional::Absent => &[],
        Optional::Read(len) => {
            if len == line.len() {
                say(format_args!("{COMMAND_LINE} has more than {len} bytes; what is behind them is not used"));
            }
            line.get(..len).unwrap_or_default()
        }
        Optional::Unreadable(status) => {
            say(format_args!("{COMMAND_LINE} cannot be read ({status}) and is not used; {REPAIR}"));
            &[]
        }
    }
}

/// A page with leave.s in it, executable. Returns its address.
fn place_code() -> Result<u64, Refusal> {
    let mut page = Pages::of(PAGE, MemoryType::LOADER_CODE)?;
    leave::place(&mut page);
    // Firmware that keeps W^X gives pages that are not executable, and this protocol to change it (UEFI 2.10, 37.1).
    let handle = boot::get_handle_for_protocol::<MemoryProtection>();
    if let Ok(protection) = handle.and_then(boot::open_protocol_exclusive::<MemoryProtection>) {
        let range = page.address..page.address + PAGE as u64;
        let _ = protection.set_memory_attributes(range.clone(), MemoryAttribute::READ_ONLY);
        let _ = protection.clear_memory_attributes(range, MemoryAttribute::EXECUTE_PROTECT);
    }
    Ok(page.address)
}

/// Where ACPI begins, 0 when the firmware does not say.
fn rsdp() -> u64 {
    system::with_config_table(|tables| {
        let of = |guid| tables.iter().find(|table| table.guid == guid);
        let table = of(ConfigTableEntry::ACPI2_GUID).or(of(ConfigTableEntry::ACPI_GUID));
        table.map_or(0, |table| table.address.addr() as u64)
    })
}

/// A range of the firmware's memory map (UEFI 2.10, 7.2: what each type means after ExitBootServices).
fn range(descriptor: &MemoryDescriptor) -> (Kind, u64, u64) {
    let kind = match descriptor.ty {
        MemoryType::CONVENTIONAL
        | MemoryType::LOADER_CODE
        | MemoryType::LOADER_DATA
        | MemoryType::BOOT_SERVICES_CODE
        | MemoryType::BOOT_SERVICES_DATA => Kind::Free,
        MemoryType::ACPI_NON_VOLATILE => Kind::Nvs,
        _ => Kind::Kept,
    };
    (kind, descriptor.phys_start, descriptor.page_count.saturating_mul(PAGE as u64))
}
