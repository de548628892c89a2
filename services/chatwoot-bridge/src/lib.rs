//! chatwoot-bridge: Chatwoot and WhatsApp, joined inbox by inbox.
//!
//! What people write comes as an event of channel-service and becomes contact, conversation and message in Chatwoot,
//! once. What agents write comes as a webhook, is accepted durably, answered at once and becomes an order to send;
//! what becomes of it is shown to the agent. Contract sections in comments are those of the bridge's contract.

pub mod api;
pub mod app;
pub mod channel;
pub mod channel_files;
pub mod chatwoot;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod error;
pub mod flows;
pub mod forward_chores;
pub use ::outbound_url;
pub mod routes;
pub mod store;
pub mod targets;
mod ui;
pub mod webhooks;
pub mod workers;

use diesel_migrations::{EmbeddedMigrations, embed_migrations};

/// The schema, step by step.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/chatwoot_bridge");
