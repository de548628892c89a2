//! wa-support-gateway: stands between customers and the WA server.
//!
//! Services make customers (`/internal`), customers make sessions (`/v1`), sessions send through the token proxy (`/wa`,
//! `/v1/wa`), and the WA server's webhooks come back through the relay (`/hooks`). A request of the proxy is let through
//! when its token belongs to an active customer with a usable subscription, and when its path can be nothing but one of the
//! WA server's session routes.
//!
//! `api` calls `flows`, `flows` call `store` and `wa_server`; only `api` knows HTTP's server side, only `wa_server`
//! knows what the WA server's wire looks like.

use diesel_migrations::{EmbeddedMigrations, embed_migrations};

mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod error;
pub mod flows;
mod receivers;
pub mod routes;
mod secrets;
mod state;
pub mod store;
mod traffic;
pub mod wa_server;
mod workers;

/// Name of the process in logs and reports.
pub const SERVICE: &str = "wa-support-gateway";

/// The schema in Postgres and the first half of its roles' names.
pub const SCHEMA: &str = "wa_support";

/// Everything that was ever done to the schema.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/wa_support");
