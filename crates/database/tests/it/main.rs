//! The pool, the migrations and the errors against a real Postgres.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod bootstrap;
mod busy;
mod migrating;
mod own_server;
mod pool;
mod standing;
mod tls;

use diesel_migrations::{EmbeddedMigrations, embed_migrations};

/// Small migrations that name no role, so that tests can use roles of their own.
const MIGRATIONS: EmbeddedMigrations = embed_migrations!("tests/migrations");
