//! Where virtio-mmio devices may be: as the command line says, or where QEMU's microvm always has them. There is
//! no way to search for them otherwise. Pure, so that the tests run it on the host.

/// Bytes of registers that a device has at least: the header and the configuration of a network card.
pub const LEN_MIN: usize = 0x200;

/// Command-line devices that are looked at: Firecracker has at most 19 interrupts to give, microvm 24 slots.
pub const PLACES: usize = 32;

/// Slots of QEMU's microvm with ACPI, their distance, and the address of the first.
const MICROVM_SLOTS: u32 = 24;
const MICROVM_STEP: usize = LEN_MIN;
const MICROVM_BASE: u64 = 0xfeb0_0000;

/// One place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Physical address of the registers.
    pub address: u64,
    /// The interrupt.
    pub gsi: u32,
}

/// Reads the value of `virtio_mmio.device=`: `<size>@<address>:<irq>[:<id>]`, as Linux defines it. `None` when it is
/// no such value or the region is too small for a device.
pub fn parse(value: &str) -> Option<Place> {
    let (size, rest) = value.split_once('@')?;
    let mut rest = rest.split(':');
    let (address, gsi, _id) = (rest.next()?, rest.next()?, rest.next());
    if rest.next().is_some() || number(size)? < LEN_MIN as u64 {
        return None;
    }
    Some(Place { address: number(address)?, gsi: u32::try_from(number(gsi)?).ok()? })
}

/// A number, decimal or hexadecimal, that may end in K, M or G.
fn number(text: &str) -> Option<u64> {
    let (digits, unit) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (&text[..at], 1 << 10),
        (at, 'm' | 'M') => (&text[..at], 1 << 20),
        (at, 'g' | 'G') => (&text[..at], 1 << 30),
        _ => (text, 1),
    };
    let value = match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    value.ok()?.checked_mul(unit)
}

/// The places of a microvm with ACPI whose second IOAPIC begins at `gsi_base`, in the order in which QEMU fills
/// them: from the last to the first.
pub fn microvm(gsi_base: u32) -> impl Iterator<Item = Place> {
    (0..MICROVM_SLOTS).rev().map(move |slot| Place {
        address: MICROVM_BASE + u64::from(slot) * MICROVM_STEP as u64,
        gsi: gsi_base.saturating_add(slot),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_command_line_is_understood() {
        // QEMU's form, Firecracker's form, and Linux's optional id: one of them misread is a card not found.
        assert_eq!(parse("512@0xfeb02e00:12"), Some(Place { address: 0xfeb0_2e00, gsi: 12 }));
        assert_eq!(parse("4K@0xd0000000:5"), Some(Place { address: 0xd000_0000, gsi: 5 }));
        assert_eq!(parse("0x1000@3489660928:5:7"), Some(Place { address: 0xd000_0000, gsi: 5 }));
        assert_eq!(parse("4K@0x400000000:24"), Some(Place { address: 0x4_0000_0000, gsi: 24 }));
    }

    #[test]
    fn nonsense_is_no_place() {
        // The command line comes from outside: nothing on it may panic or become an address by accident.
        for value in [
            "",
            "@",
            "512",
            "512@",
            "512@0xfeb02e00",
            "512@0xfeb02e00:",
            "512@:12",
            "@0xfeb02e00:12",
            "512@0xfeb02e00:12:0:0",
            "511@0xfeb02e00:12",
            "512@0xfeb02e0z:12",
            "512@-1:12",
            "512@0xfeb02e00:4294967296",
            "99999999999999999G@0:0",
            "4K@0x10000000000000000:5",
            "K@0:0",
            "0x@0:0",
            "4Ж@0:0",
            "512@0x+1:2:Ж:",
        ] {
            assert_eq!(parse(value), None, "{value:?}");
        }
    }

    #[test]
    fn microvm_slots_run_from_the_last_to_the_first() {
        // The first `-device` of the command line is in slot 23, and is the card to take.
        let places: Vec<Place> = microvm(24).collect();
        assert_eq!(places[0], Place { address: 0xfeb0_2e00, gsi: 47 });
        assert_eq!(places[23], Place { address: 0xfeb0_0000, gsi: 24 });
        assert!(places.len() <= PLACES);
    }
}
