//! The bridge against real Postgres and RabbitMQ and an imitated Chatwoot. Needs what `make test` sets up.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has to fail loudly")]

mod agent;
mod broker;
mod connect;
mod dedup;
mod desk;
mod events;
mod files;
mod incoming;
mod isolation;
mod merged;
mod parts;
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
