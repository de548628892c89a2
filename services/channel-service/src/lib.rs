//! channel-service: the one webhook receiver for all tenants, their chats and messages, and sending.
//!
//! `webhooks/` takes what providers push, `api/` what other services ask, `workers/` wait and loop; all call `flows/`, which decide; `flows/` use
//! `store/`, which knows the tables and calls nobody. The walk of a message through these files is in
//! `docs/ARCHITECTURE.md`.

mod api;
pub mod app;
pub mod aws_secrets;
mod chats;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod endpoints;
mod error;
pub mod flows;
mod gate;
mod looking_after;
pub mod media;
pub mod routes;
pub mod store;
pub mod traffic;
mod ui;
mod webhooks;
mod wiring;
pub mod workers;

use diesel_migrations::{EmbeddedMigrations, embed_migrations};

/// The migrations of the schema `channel`.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/channel");

/// The schema this service owns.
pub const SCHEMA: &str = "channel";
