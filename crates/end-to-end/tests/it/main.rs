//! The three services as processes, from the outside: over HTTP, with commands and signals, against real Postgres,
//! Redis and RabbitMQ and a simulated WhatsApp and Chatwoot.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking, and say when they kill"
)]

mod alerts;
mod backup;
mod broker;
mod chatwoot_files;
mod chatwoot_gowa;
mod collector;
mod endpoints;
mod killed;
mod ledger;
mod load;
mod logs;
mod migrations;
mod outages;
mod pauses;
mod readme;
mod roles;
mod round_trip;
mod settings;
mod stopped;
mod tables;
mod tenants;
mod through_gateway;
mod trace;
mod traces;
mod traffic;
mod upgrade;
mod world;

/// Held by tests that keep the whole machine busy, so that they do not slow one another down beyond all patience.
static HEAVY: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
