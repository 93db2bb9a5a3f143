//! The image: the shell around the agent. Read it from top to bottom; it is the table of contents of boot/.
//!
//! ```text
//! VMM ──PVH──▶ entry.s ──▶ boot: what did the VMM hand over, does it fit ──▶ run: the machine, the agent, the loop
//! ```
//!
//! What always holds: all `unsafe` of the project is in this folder, one operation per block, each wrapped at once
//! in a safe type; one processor; no heap; interrupts set flags and the loop does the work.
//!
//! On a host this is a program that says how to build the image, and the home of the pure modules' tests.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![cfg_attr(not(target_os = "none"), allow(dead_code, reason = "on a host the pure modules serve their tests alone"))]

#[cfg(any(target_os = "none", test))]
mod acpi;
#[cfg(any(target_os = "none", test))]
mod call;
#[cfg(any(target_os = "none", test))]
mod cmdline;
#[cfg(any(target_os = "none", test))]
mod fw_cfg;
#[cfg(any(target_os = "none", test))]
mod gauge;
#[cfg(any(target_os = "none", test))]
mod physical;
#[cfg(any(target_os = "none", test))]
mod rtc;
#[cfg(any(target_os = "none", test))]
mod scale;
#[cfg(any(target_os = "none", test))]
mod start_info;

#[cfg(target_os = "none")]
mod backtrace;
#[cfg(target_os = "none")]
mod clock;
#[cfg(target_os = "none")]
mod copy;
#[cfg(all(target_os = "none", feature = "fault-drill"))]
mod drill;
#[cfg(target_os = "none")]
mod entropy;
#[cfg(target_os = "none")]
mod entry;
#[cfg(target_os = "none")]
mod exceptions;
#[cfg(target_os = "none")]
mod generation;
#[cfg(target_os = "none")]
mod hypervisor;
#[cfg(target_os = "none")]
mod image;
#[cfg(target_os = "none")]
mod interrupts;
#[cfg(target_os = "none")]
mod memory;
#[cfg(target_os = "none")]
mod nic;
#[cfg(target_os = "none")]
mod note;
#[cfg(target_os = "none")]
mod once;
#[cfg(target_os = "none")]
mod panic;
#[cfg(target_os = "none")]
mod power;
#[cfg(target_os = "none")]
mod pvpanic;
#[cfg(target_os = "none")]
mod serial;
#[cfg(target_os = "none")]
mod sessions;
#[cfg(target_os = "none")]
mod survival;
#[cfg(target_os = "none")]
mod timer;
#[cfg(target_os = "none")]
mod vitals;
#[cfg(target_os = "none")]
mod watchdog;

#[cfg(not(target_os = "none"))]
fn main() {
    println!(
        "This is the image's place holder on a host. Build the image with `cargo build-image`, boot it with `make run`."
    );
}
