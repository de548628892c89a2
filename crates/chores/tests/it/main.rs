//! The commands against a real Postgres.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod key;
mod outbox;
mod person;

use diesel_migrations::{EmbeddedMigrations, embed_migrations};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/channel");
