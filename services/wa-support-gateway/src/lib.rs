//! wa-support-gateway: stands between customers and the WA server.
//!
//! What it does today: the token proxy (contract §8). A request is let through when its session token belongs to an
//! active customer with a usable subscription, and when its path can be nothing but one of the WA server's session
//! routes. Everything else of the contract builds on the same tables.
//!
//! `api` calls `flows`, `flows` call `store` and `wa_server`; only `api` knows HTTP's server side, only `wa_server`
//! knows what the WA server's wire looks like.

use diesel_migrations::{EmbeddedMigrations, embed_migrations};

mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod error;
pub mod flows;
pub mod routes;
mod secrets;
mod state;
mod store;
mod traffic;
pub mod wa_server;
mod workers;

/// Name of the process in logs and reports.
pub const SERVICE: &str = "wa-support-gateway";

/// The schema in Postgres and the first half of its roles' names.
pub const SCHEMA: &str = "wa_support";

/// Everything that was ever done to the schema.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/wa_support");
