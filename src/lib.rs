//! Outpost's agent: everything that decides, nothing that touches hardware.
//!
//! One call drives it: [`Agent::poll`]. Time comes in as an argument, randomness as a seed, memory as
//! [`Storage`](agent::Storage); frames come and go through a [`Nic`](nic::Nic). So the same code runs inside the
//! image (`boot/`) and, unchanged, on any host against a simulated network (`tests/simulation`).
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod agent;
pub mod config;
pub mod content;
pub mod crash;
pub mod drill;
pub mod facts;
pub mod hash;
pub mod health;
pub mod http;
pub mod incidents;
pub mod limits;
pub mod log;
pub mod net;
pub mod nic;
pub mod random;
pub mod resume;
pub mod time;
pub mod view;
pub mod vitals;
pub mod watch;

pub use agent::Agent;

use smoltcp::time::Instant;

/// Later than any deadline: "never".
const FAR: Instant = Instant::from_micros_const(i64::MAX);

/// The earlier of two moments, of which the second need not be. Inlined: it runs a dozen times in each poll.
#[inline(always)]
fn sooner(at: Instant, other: Option<Instant>) -> Instant {
    match other {
        Some(other) if other < at => other,
        _ => at,
    }
}

/// Version of the image and of every package of this project.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
