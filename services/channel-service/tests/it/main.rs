//! channel-service against real Postgres, Redis and RabbitMQ and the simulated WhatsApp server, a file per area.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod bad_input;
mod channel_accounts;
mod events;
mod harness;
mod housekeeping;
mod logs;
mod media;
mod memory;
mod outages;
mod receipts;
mod receiving;
mod secrets;
mod sending;
mod signatures;
mod stopping;
mod tenants;
mod upload;
