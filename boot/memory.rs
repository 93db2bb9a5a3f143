//! The address space: the image's own regions (mapped by entry.s, named by linker.ld), and windows.
//!
//! A window maps physical memory that is not ours, 4 KiB-wise, from a static pool of page-table pages: read-only
//! for what the VMM handed us (copy, then unmap), or uncached for device registers, for ever. No window is
//! executable, none aliases the image or the log region, and RAM that nobody named is never mapped. So the
//! tables do not grow with the machine's memory.

use crate::once::Once;
use crate::physical::Physical;
use core::ops::Range;
use core::ptr::{NonNull, addr_of};
use core::sync::atomic::{AtomicU64, Ordering};
use outpost::limits::LOG_REGION;
use outpost::vitals::Memory;
use x86_64::registers::control::{Cr4, Cr4Flags};

/// Where physical address 0 would be in the image's address space; as in linker.ld.
const BASE: u64 = 0xffff_ffff_8000_0000;

/// Where the windows begin: the last GiB.
const WINDOWS: u64 = 0xffff_ffff_c000_0000;

/// Pages of windows, as entry.s has tables for: 8 MiB, for an ECAM bus (1 MiB), BARs, APICs and tables.
const WINDOW_PAGES: usize = 4 * 512;

const PAGE: u64 = 4096;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const UNCACHED: u64 = 1 << 3 | 1 << 4;
const ACCESSED_DIRTY: u64 = 1 << 5 | 1 << 6;
const NO_EXECUTE: u64 = 1 << 63;

const READ_ONLY: u64 = PRESENT | ACCESSED_DIRTY | NO_EXECUTE;
const DEVICE: u64 = READ_ONLY | WRITABLE | UNCACHED;

// linker.ld places the image behind the log region and cannot read Rust's constant.
const _: () = assert!(LOG_REGION == 0x40_0000);

unsafe extern "C" {
    static log_start: u8;
    static log_end: u8;
    static image_start: u8;
    static image_end: u8;
    static bss_start: u8;
    static bss_end: u8;
    static main_stack_bottom: u8;
    static main_stack_top: u8;
    static rodata_start: u8;
    static rodata_end: u8;
    static boot_start: u8;
    static text_start: u8;
    static text_end: u8;
    static data_start: u8;
    static tables_start: u8;
    static tables_end: u8;
    static page_fault_stack_bottom: u8;
    static page_fault_stack_top: u8;
    static double_fault_stack_bottom: u8;
    static double_fault_stack_top: u8;
    static other_fault_stack_bottom: u8;
    static other_fault_stack_top: u8;
    static image_id: [u8; 32];
    static window_tables: [AtomicU64; WINDOW_PAGES];
}

/// Physical memory that the image claims: the log region and everything behind it up to the end of .bss.
pub fn claimed() -> Range<u64> {
    address(addr_of!(log_start)) - BASE..address(addr_of!(image_end)) - BASE
}

/// Physical address of something in the image (a static, never something in a window): what DMA needs.
pub fn virt_to_phys<T: ?Sized>(pointer: *const T) -> u64 {
    let at = address(pointer.cast());
    assert!((address(addr_of!(image_start))..address(addr_of!(image_end))).contains(&at), "DMA outside the image");
    at - BASE
}

fn address(pointer: *const u8) -> u64 {
    pointer as u64
}

fn range(start: *const u8, end: *const u8) -> Range<u64> {
    address(start)..address(end)
}

/// Zeroes .bss.
///
/// # Safety
/// Nothing in .bss is in use yet, and nothing that the VMM handed over lies there.
pub unsafe fn clear_bss() {
    let start = addr_of!(bss_start);
    let len = (address(addr_of!(bss_end)) - address(start)) as usize;
    // SAFETY: linker.ld makes this range ours alone and entry.s maps it writable; the caller says it is unused.
    unsafe { core::ptr::write_bytes(start.cast_mut(), 0, len) }
}

/// The log's memory as the last boot left it; once.
pub fn log_region() -> Option<&'static mut [u8]> {
    static TAKEN: Once<()> = Once::new(());
    TAKEN.take()?;
    let start = addr_of!(log_start).cast_mut();
    // SAFETY: linker.ld keeps this range free of anything else, entry.s maps it writable, every byte pattern is a
    // valid u8, and `TAKEN` lets this happen once.
    Some(unsafe { core::slice::from_raw_parts_mut(start, LOG_REGION) })
}

/// The image id that `outpost image` wrote into the note; zeros when it did not.
pub fn id() -> [u8; 32] {
    // SAFETY: the note is mapped read-only and lives as long as the image. Volatile, for the bytes in the file are
    // changed after the link.
    unsafe { addr_of!(image_id).read_volatile() }
}

/// The stacks for exceptions: page fault, double fault, and the others that can come at any time.
pub fn fault_stacks() -> [Range<u64>; 3] {
    [
        range(addr_of!(page_fault_stack_bottom), addr_of!(page_fault_stack_top)),
        range(addr_of!(double_fault_stack_bottom), addr_of!(double_fault_stack_top)),
        range(addr_of!(other_fault_stack_bottom), addr_of!(other_fault_stack_top)),
    ]
}

/// What the memory that the image claims is for.
pub fn regions() -> Memory {
    let len = |start, end| address(end) - address(start);
    let stacks = fault_stacks().into_iter().chain([main_stack()]).map(|stack| stack.end - stack.start).sum();
    Memory {
        log: len(addr_of!(log_start), addr_of!(log_end)),
        rodata: len(addr_of!(rodata_start), addr_of!(rodata_end)),
        text: len(addr_of!(boot_start), addr_of!(rodata_start)) + len(addr_of!(text_start), addr_of!(text_end)),
        data: len(addr_of!(data_start), addr_of!(tables_start)),
        tables: len(addr_of!(tables_start), addr_of!(tables_end)),
        stacks,
        bss: len(addr_of!(bss_start), addr_of!(bss_end)),
    }
}

/// Whether an address lies in the guard page below the main stack: it has overflown.
pub fn in_stack_guard(at: u64) -> bool {
    let bottom = address(addr_of!(main_stack_bottom));
    (bottom - PAGE..bottom).contains(&at)
}

/// The main stack.
pub fn main_stack() -> Range<u64> {
    range(addr_of!(main_stack_bottom), addr_of!(main_stack_top))
}

/// The image's code.
pub fn text() -> Range<u64> {
    range(addr_of!(text_start), addr_of!(text_end))
}

/// A word of the main stack; 0 elsewhere.
pub fn read_word(at: u64) -> u64 {
    let stack = main_stack();
    if !at.is_multiple_of(8) || at < stack.start || at > stack.end - 8 {
        return 0;
    }
    // SAFETY: mapped, aligned, and any bytes are a number. Volatile, for the compiler knows nothing of this access.
    unsafe { core::ptr::with_exposed_provenance::<u64>(at as usize).read_volatile() }
}

/// A byte of the code; 0 elsewhere.
pub fn read_byte(at: u64) -> u8 {
    if !text().contains(&at) {
        return 0;
    }
    // SAFETY: mapped and never written.
    unsafe { core::ptr::with_exposed_provenance::<u8>(at as usize).read_volatile() }
}

/// Turns on the protections that the processor offers beyond NX and WP: SMEP and UMIP.
pub fn harden() {
    let features = core::arch::x86_64::__cpuid_count(0, 0).eax.ge(&7).then(|| core::arch::x86_64::__cpuid_count(7, 0));
    let Some(features) = features else { return };
    let mut flags = Cr4::read();
    flags.set(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION, features.ebx & 1 << 7 != 0);
    flags.set(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION, features.ecx & 1 << 2 != 0);
    // SAFETY: both bits only take rights away from user mode, of which there is none.
    unsafe { Cr4::write(flags) }
}

/// Maps device registers: readable, writable, uncached, not executable, for ever. `None`: beyond the processor's
/// physical addresses, over the image, or no room left in the pool.
pub fn map_device(physical: u64, len: usize) -> Option<NonNull<u8>> {
    let end = physical.checked_add(len as u64)?;
    let ours = claimed();
    if physical < ours.end && ours.start < end {
        return None;
    }
    map(physical, len, DEVICE).map(|window| window.start)
}

/// Maps memory that the VMM writes and we read, for ever. `None` as in [`map_device`].
pub fn map_shared(physical: u64, len: usize) -> Option<NonNull<u8>> {
    map(physical, len, READ_ONLY).map(|window| window.start)
}

/// Physical memory, read through windows that live as long as the copy.
pub struct Windows;

impl Physical for Windows {
    fn read(&self, physical: u64, into: &mut [u8]) -> bool {
        let Some(window) = map(physical, into.len(), READ_ONLY) else { return false };
        // SAFETY: the window covers `into.len()` bytes from its start; plain memory of the machine, which nobody
        // writes meanwhile, and no part of `into`, which is in the image's own mapping.
        unsafe { core::ptr::copy_nonoverlapping(window.start.as_ptr(), into.as_mut_ptr(), into.len()) }
        unmap(&window);
        true
    }
}

/// A mapped range of the pool.
struct Window {
    start: NonNull<u8>,
    first: usize,
    pages: usize,
}

fn entries() -> &'static [AtomicU64; WINDOW_PAGES] {
    // SAFETY: entry.s reserves and zeroes exactly these entries and hands them to nobody else; atomics may be
    // shared with the page walker.
    unsafe { &*addr_of!(window_tables) }
}

fn map(physical: u64, len: usize, flags: u64) -> Option<Window> {
    let end = physical.checked_add(len as u64)?;
    if len == 0 || end > 1 << physical_bits() {
        return None;
    }
    let first_page = physical / PAGE;
    let pages = usize::try_from(end.div_ceil(PAGE) - first_page).ok()?;
    let free = |entry: &AtomicU64| entry.load(Ordering::Relaxed) == 0;
    let first = entries().windows(pages).position(|run| run.iter().all(free))?;
    for (entry, page) in entries()[first..first + pages].iter().zip(first_page..) {
        entry.store((page * PAGE) | flags, Ordering::Relaxed);
    }
    let start = WINDOWS + first as u64 * PAGE + physical % PAGE;
    Some(Window { start: NonNull::new(start as *mut u8)?, first, pages })
}

fn unmap(window: &Window) {
    for page in window.first..window.first + window.pages {
        entries()[page].store(0, Ordering::Relaxed);
        x86_64::instructions::tlb::flush(x86_64::VirtAddr::new(WINDOWS + page as u64 * PAGE));
    }
}

/// How many bits a physical address has here: a page-table entry with more would fault.
fn physical_bits() -> u32 {
    if core::arch::x86_64::__cpuid(0x8000_0000).eax < 0x8000_0008 {
        return 36;
    }
    (core::arch::x86_64::__cpuid(0x8000_0008).eax & 0xff).clamp(32, 52)
}
