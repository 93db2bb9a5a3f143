//! HTTP/1.x: the connection table, the parser, the routes and the answers.
//!
//! ```text
//! frame ─▶ server ─▶ pool (4-tuple ─▶ connection) ─▶ smoltcp socket ─▶ exchange ─▶ request::Parser
//!                                                        ▲                 │
//!                                                        └── answer head ◀─┴─▶ routes::respond(request, view)
//! ```

pub mod accept;
pub mod answer;
pub mod beat;
pub mod counters;
pub mod document;
pub mod exchange;
pub mod familiar;
pub mod pool;
pub mod probes;
pub mod query;
pub mod request;
pub mod routes;
pub mod server;
pub mod touched;
pub mod trace;
