//! The gateway against a real Postgres and a WA server that remembers what reached it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod access;
mod bodies;
mod callers;
mod customer_chores;
mod customers;
mod hooks;
mod isolation;
mod keys;
mod lifecycle;
mod me;
mod paths;
mod process;
mod provisioning;
mod routes;
mod subscriptions;
mod support;
mod upstream_trouble;
