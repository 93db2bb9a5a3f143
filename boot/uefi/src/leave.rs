//! The way out: leave.s, in a page that the image does not claim, copies the image and jumps to its entry.

use crate::load::Pages;
use core::arch::{asm, global_asm};
use core::ptr::addr_of;
use core::slice;

global_asm!(include_str!("leave.s"), options(att_syntax));

unsafe extern "C" {
    static leave_start: u8;
    static leave_end: u8;
}

/// One copy, as leave.s reads it.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Copy {
    /// From this physical address
    pub from: u32,
    /// to this one; 0 ends the list.
    pub to: u32,
    /// so many bytes,
    pub len: u32,
    /// and zeros behind them.
    pub zeros: u32,
}

/// Puts the code of leave.s into a page.
pub fn place(page: &mut Pages) {
    let start = addr_of!(leave_start);
    let len = addr_of!(leave_end) as usize - start as usize;
    // SAFETY: both symbols are in leave.s, and what lies between them is its code, which nobody writes.
    let code = unsafe { slice::from_raw_parts(start, len) };
    for (to, from) in page.bytes.iter_mut().zip(code) {
        *to = *from;
    }
}

/// Leaves the firmware's world for good.
///
/// # Safety
/// Boot services have ended. `code` is a page with leave.s in it, executable, and it, `copies` (ended by zeros, below
/// 4 GiB) and what they copy from lie outside of what they copy to, which nobody else uses. `entry` is in it then.
pub unsafe fn leave(code: u64, copies: &[Copy], start_info: u64, entry: u32) -> ! {
    // SAFETY: the caller's promise; leave.s needs no stack behind its first steps and never returns.
    unsafe {
        asm!(
            "jmp *%rax",
            in("rax") code,
            in("rdx") copies.as_ptr(),
            in("rdi") start_info,
            in("rsi") u64::from(entry),
            options(noreturn, att_syntax)
        )
    }
}
