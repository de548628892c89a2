//! The bridge against real Postgres and RabbitMQ and an imitated Chatwoot. Needs what `make test` sets up.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has to fail loudly")]

mod admin_auth;
mod admin_deliveries;
mod admin_routes;
mod agent;
mod api_document;
mod broker;
mod connect;
mod contacts;
mod dedup;
mod desk;
mod events;
mod files;
mod forward;
mod forward_crash;
mod forward_kept;
mod forward_wire;
mod gowa_route;
mod import;
mod incoming;
mod incoming_files;
mod isolation;
mod kinds;
mod merged;
mod operator;
mod pace;
mod pages;
mod parts;
mod places;
mod process;
mod properties;
mod replies;
mod retention;
mod router;
mod routes;
mod self_test;
mod set_up;
mod signatures;
mod statuses;
mod target;
mod torture;
mod webhook;
mod world;
