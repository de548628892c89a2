//! The gateway against a real Postgres and a WA server that remembers what reached it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod access;
mod bodies;
mod callers;
mod commands_told;
mod contacts;
mod customer_chores;
mod customers;
mod doctor;
mod duplex;
mod guesses;
mod hooks;
mod import;
mod isolation;
mod keys;
mod leaving;
mod lifecycle;
mod limits;
mod me;
mod paths;
mod process;
mod provisioning;
mod quota;
mod reencrypt;
mod routes;
mod session_acts;
mod session_changes;
mod session_connects;
mod session_crashes;
mod session_follow;
mod session_sweep;
mod session_switches;
mod sessions;
mod spellings;
mod subscriptions;
mod support;
mod typing;
mod upstream_trouble;
mod usage;
