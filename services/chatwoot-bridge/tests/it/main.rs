//! The bridge against real Postgres and RabbitMQ and an imitated Chatwoot. Needs what `make test` sets up.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has to fail loudly")]

mod broker;
mod connect;
mod contacts;
mod dedup;
mod events;
mod forward;
mod forward_crash;
mod forward_kept;
mod forward_wire;
mod gowa_route;
mod incoming;
mod incoming_files;
mod isolation;
mod kinds;
mod merged;
mod pace;
mod places;
mod process;
mod properties;
mod replies;
mod retention;
mod router;
mod routes;
mod signatures;
mod statuses;
mod target;
mod webhook;
mod world;
