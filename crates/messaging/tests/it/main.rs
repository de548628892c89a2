//! Outbox, consumers and lanes against a real Postgres and a real RabbitMQ, there, slow and away.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod consuming;
mod lane_workers;
mod lane_world;
mod lanes;
mod outbox;
mod world;
