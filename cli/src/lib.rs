//! What the `outpost` command is made of, as a library: the tests and the simulation drive the same parts.
#![forbid(unsafe_code)]

pub mod check;
pub mod collect;
pub mod completions;
pub mod config;
pub mod content;
pub mod disk;
pub mod drill;
pub mod elf;
pub mod embedded;
pub mod explain;
pub mod fetch;
pub mod forward;
pub mod history;
pub mod image;
pub mod incident;
pub mod key;
pub mod licenses;
pub mod logs;
pub mod man;
pub mod pack;
pub mod release;
pub mod size;
pub mod store_read;
pub mod support;
pub mod symbolize;
pub mod timeline;
pub mod token;
pub mod top;
pub mod up;
pub mod verify;
pub mod verify_image;
