//! The gateway against a real Postgres and a WA server that remembers what reached it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod access;
mod bodies;
mod contacts;
mod isolation;
mod lifecycle;
mod limits;
mod paths;
mod process;
mod provisioning;
mod quota;
mod spellings;
mod support;
mod typing;
mod upstream_trouble;
mod usage;
