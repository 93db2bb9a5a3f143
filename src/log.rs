//! The log: the only exit for events. (skeleton)
