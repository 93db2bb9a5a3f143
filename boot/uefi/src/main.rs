//! The loader of the disk image: UEFI starts it, it brings `outpost.elf` to the same PVH entry that a VMM would.
//!
//! ```text
//! firmware ──▶ load: read the ESP, check the ELF, ask for memory ──ExitBootServices──▶ leave.s: 32 bit, copy ──▶ pvh_entry
//!                 elf ─ what the file is        handover ─ hvm_start_info        ram ─ the memory map
//! ```
//!
//! What always holds: nothing is written to a disk; whatever goes wrong is one sentence with a remedy on the firmware's
//! console and on the serial port, and then the firmware has the machine back; after `ExitBootServices` nothing can go
//! wrong any more.
//!
//! On a host this is the home of the pure modules' tests.
#![cfg_attr(target_os = "uefi", no_std, no_main)]
#![cfg_attr(not(target_os = "uefi"), allow(dead_code, reason = "on a host the pure modules serve their tests alone"))]

mod elf;
mod handover;
mod ram;

// The image's own reader: the tests hold both sides of the handover against each other.
#[cfg(test)]
#[path = "../../physical.rs"]
mod physical;
#[cfg(test)]
#[path = "../../start_info.rs"]
mod start_info;

#[cfg(target_os = "uefi")]
mod console;
#[cfg(target_os = "uefi")]
mod esp;
#[cfg(target_os = "uefi")]
mod leave;
#[cfg(target_os = "uefi")]
mod load;

#[cfg(not(target_os = "uefi"))]
fn main() {
    println!("This is the UEFI loader's place holder on a host. `outpost image --format raw` builds the loader.");
}
