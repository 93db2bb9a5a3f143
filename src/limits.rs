//! Every bound of the agent, with the reason for its number. Relations between bounds are checked here at
//! compile time.

/// Connections served at the same time: room for every poller of a fleet and an attacker's thousand.
pub const CONNECTIONS: usize = 1024;

/// Receive buffer of a connection, in bytes: a request line or one header line fits.
pub const CONNECTION_RX: usize = 1024;

/// Send buffer of a connection, in bytes: the common answers fit with their headers.
pub const CONNECTION_TX: usize = 2048;

/// Bytes of the log region at its fixed place in memory: an hour at 20 records/s.
pub const LOG_REGION: usize = 4 * 1024 * 1024;

/// Longest configuration document, in bytes.
pub const CONFIG_MAX: usize = 64 * 1024;

/// Deepest nesting of the configuration document.
pub const CONFIG_DEPTH: usize = 8;

/// Longest string of the configuration document, in bytes: every value and key that is allowed is shorter.
pub const CONFIG_TEXT_MAX: usize = 128;

/// Configuration errors that are kept and shown one by one; more are counted.
pub const CONFIG_PROBLEMS: usize = 8;

const _: () = assert!(CONFIG_TEXT_MAX > outpost_wire::limits::AGENT_NAME_MAX);
