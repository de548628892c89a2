//! The bridge against real Postgres and RabbitMQ and an imitated Chatwoot. Needs what `make test` sets up.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has to fail loudly")]

mod agent;
mod broker;
mod connect;
mod contacts;
mod dedup;
mod desk;
mod events;
mod files;
mod incoming;
mod incoming_files;
mod isolation;
mod kinds;
mod merged;
mod pace;
mod parts;
mod places;
mod process;
mod properties;
mod replies;
mod retention;
mod router;
mod routes;
mod signatures;
mod statuses;
mod webhook;
mod world;
