//! Where a panic was called from: the main stack is searched for return addresses.
//!
//! Frame pointers would give an exact chain and cost a register and two instructions in every function, all the time;
//! where something has gone wrong with a stack there is no chain to follow. So every word of the stack, from the
//! panic upwards, that points behind a call instruction of the image is taken. What remains of calls that have
//! already returned may be among them: names that do not fit the story are to be passed over.

use crate::call::{self, CALL_MAX};
use crate::memory;
use core::ops::Range;
use heapless::Vec;
use outpost::limits::BACKTRACE;

/// Addresses of calls, innermost first.
pub type Backtrace = Vec<u64, BACKTRACE>;

/// Searches the main stack from this address on. Bounded by the stack.
pub fn walk(stack: u64) -> Backtrace {
    let (text, words) = (memory::text(), memory::main_stack());
    // An overflow is found in the guard page below the stack.
    let first = if memory::in_stack_guard(stack) { words.start } else { stack };
    if !words.contains(&first) {
        return Vec::new();
    }
    let words = (first.next_multiple_of(8)..words.end - 7).step_by(8);
    words.map(memory::read_word).filter_map(|word| called_at(word, &text)).take(BACKTRACE).collect()
}

/// The last byte of the call that this address follows, which names the caller's line where the address itself may
/// belong to the next one.
fn called_at(address: u64, text: &Range<u64>) -> Option<u64> {
    let first = address.checked_sub(CALL_MAX as u64)?;
    if !text.contains(&first) || !text.contains(&address) {
        return None;
    }
    let before = core::array::from_fn(|at| memory::read_byte(first + at as u64));
    call::length(&before, |offset| text.contains(&address.wrapping_add_signed(offset.into())))?;
    Some(address - 1)
}

/// As the panic's record carries it.
pub fn packed(callers: &[u64]) -> [u8; 4 * BACKTRACE] {
    let mut bytes = [0; 4 * BACKTRACE];
    for (place, caller) in bytes.chunks_exact_mut(4).zip(callers) {
        place.copy_from_slice(&(*caller as u32).to_be_bytes());
    }
    bytes
}
