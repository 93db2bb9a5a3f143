//! `memcpy`, for that of compiler_builtins copies up to seven bytes at either end one by one, and most of what is copied
//! here is a few dozen bytes long: requests, answers, frames. Its symbol is weak, so this one is linked instead.

core::arch::global_asm!(include_str!("copy.s"), options(att_syntax));
