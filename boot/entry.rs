//! The way in: entry.s brings the processor from the PVH entry to long mode and calls `boot` in main.rs.

core::arch::global_asm!(include_str!("entry.s"), options(att_syntax));
