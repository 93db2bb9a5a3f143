//! A static value that is handed out once, as the exclusive reference it then is for ever.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// The cell. What always holds: at most one reference to its content exists.
pub struct Once<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the content is reached only through `take`, which succeeds once, so no two contexts share it.
unsafe impl<T: Send> Sync for Once<T> {}

impl<T> Once<T> {
    /// A cell with this content.
    pub const fn new(value: T) -> Once<T> {
        Once { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// The content, the first time.
    #[allow(clippy::mut_from_ref, reason = "`taken` makes the one reference exclusive")]
    pub fn take(&'static self) -> Option<&'static mut T> {
        if self.taken.swap(true, Ordering::AcqRel) {
            return None;
        }
        // SAFETY: the swap above lets exactly one caller come here, and the cell is static.
        Some(unsafe { &mut *self.value.get() })
    }
}
