//! channel-service against real Postgres, Redis and RabbitMQ and the simulated WhatsApp server, a file per area.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod accounts;
mod ai_handover;
mod ai_reply;
mod api_document;
mod bad_input;
mod channel_accounts;
mod chat_callers;
mod chat_isolation;
mod conversations;
mod courtesies;
mod dashboard_sessions;
mod day_in_the_life;
mod dead_letters;
mod events;
mod harness;
mod housekeeping;
mod lid_merge;
mod logs;
mod media;
mod memory;
mod message_changes;
mod messages;
mod ordering;
mod outages;
mod receipts;
mod receiving;
mod secrets;
mod sending;
mod sending_kinds;
mod sending_texts;
mod sessions;
mod sessions_made;
mod sessions_watched;
mod signatures;
mod signing_in;
mod spam_guard;
mod stopping;
mod takeovers;
mod tenant_administration;
mod tenants;
mod upload;
mod village;
mod wa_support;
mod webhook_edge;
