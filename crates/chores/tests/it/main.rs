//! The commands against a real Postgres.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod outbox;
