//! The conventions over actix, as callers meet them: through a socket.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod answers;
mod ending;
mod health;
mod metrics;
mod spans;
mod world;
