//! The VM generation id (Microsoft: Virtual Machine Generation ID; QEMU: -device vmgenid): 16 bytes in RAM that the VMM
//! changes when it restores or copies the machine, before a processor of it runs.

use crate::acpi::Platform;
use crate::memory;
use core::ptr::NonNull;
use outpost::resume;

/// Where the id is.
pub struct Generation(NonNull<u64>);

impl Generation {
    /// Finds it; `None` on a machine without.
    pub fn find(platform: &Platform) -> Option<Generation> {
        let address = platform.generation.filter(|address| address.is_multiple_of(8))?;
        memory::map_shared(address, size_of::<resume::Generation>()).map(|at| Generation(at.cast()))
    }

    /// The id as it is now.
    pub fn read(&self) -> resume::Generation {
        [0, 1].map(|word| {
            // SAFETY: `find` mapped both words for ever, aligned; the VMM writes them while the processor stands still.
            unsafe { self.0.as_ptr().wrapping_add(word).read_volatile() }
        })
    }
}
