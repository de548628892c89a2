//! The gateway against a real Postgres and a WA server that remembers what reached it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod access;
mod bodies;
mod hooks;
mod isolation;
mod lifecycle;
mod paths;
mod process;
mod provisioning;
mod support;
mod upstream_trouble;
