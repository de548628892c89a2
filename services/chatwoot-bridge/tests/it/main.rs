//! The bridge against real Postgres and RabbitMQ and an imitated Chatwoot. Needs what `make test` sets up.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has to fail loudly")]

mod broker;
mod connect;
mod dedup;
mod events;
mod incoming;
mod isolation;
mod merged;
mod process;
mod properties;
mod replies;
mod retention;
mod router;
mod routes;
mod signatures;
mod statuses;
mod torture;
mod webhook;
mod world;
