//! Outpost's agent: everything that decides, nothing that touches hardware.
//!
//! One call drives it: [`Agent::poll`]. Time comes in as an argument, randomness as a seed, memory as
//! [`Storage`](agent::Storage); frames come and go through a [`Nic`](nic::Nic). So the same code runs inside the
//! image (`boot/`) and, unchanged, on any host against a simulated network (`tests/simulation`).
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod agent;
pub mod config;
pub mod crash;
pub mod drill;
pub mod facts;
pub mod health;
pub mod http;
pub mod limits;
pub mod log;
pub mod net;
pub mod nic;
pub mod random;
pub mod time;
pub mod view;
pub mod vitals;

pub use agent::Agent;

use smoltcp::time::Instant;

/// The earliest of these moments, if there is one. A plain loop: it runs several times in each poll.
fn earliest(times: &[Option<Instant>]) -> Option<Instant> {
    let mut earliest: Option<Instant> = None;
    for &time in times {
        if let Some(at) = time
            && earliest.is_none_or(|earliest| at < earliest)
        {
            earliest = time;
        }
    }
    earliest
}

/// Version of the image and of every package of this project.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
