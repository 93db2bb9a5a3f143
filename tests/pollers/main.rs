//! The programs that ask for our health in production, and those whose health we ask for, against the image on a tap.
//!
//! Each must say that we are well when we are, and that we are not when we are not: a guest in maintenance, and a guest
//! that is gone. Nothing here is a stand-in: what it needs is installed by `scripts/setup test`.
//!
//! | file | what it shows |
//! |---|---|
//! | `programs.rs` | curl, check_http, check_tcp, blackbox_exporter, wrk and ab tell the three guests apart |
//! | `haproxy.rs` | so does HAProxy, in five modes, and it leaves no trace |
//! | `scrape.rs` | Prometheus scrapes us, promtool and a strict parser of OpenMetrics read us |
//! | `page.rs` | the status page in Lynx and curl |
//! | `targets.rs` | nginx, dnsmasq, chrony and others, as the guest that watches them tells |
//! | `together.rs` | all of them at once, and not one connection is left over |
//! | `attack.rs` | 1,000 idle and 1,000 half-open connections keep nobody out |
//! | `conform.rs` | the table of HTTP/1.1 over a real TCP |
//! | `lab.rs` | what they share: a network namespace, guests on taps, programs |
//!
//! The image is the one that OUTPOST_IMAGE names, else `dist/outpost.elf`: `make image` builds it.

#[path = "../support/answer.rs"]
mod answer;
mod attack;
mod conform;
#[path = "../support/conformance.rs"]
mod conformance;
#[path = "../simulation/frames.rs"]
#[allow(dead_code, reason = "the simulation sends more kinds of frames")]
mod frames;
mod haproxy;
#[path = "../support/image.rs"]
mod image;
mod lab;
#[path = "../support/namespace.rs"]
mod namespace;
mod page;
mod programs;
mod scrape;
#[path = "../support/mod.rs"]
mod support;
mod targets;
mod together;
