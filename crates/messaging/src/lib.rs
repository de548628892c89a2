//! Owns RabbitMQ, and the two tables that make it safe to lose: the outbox and the lanes.
//!
//! - [`outbox`]: what must reach the broker is a row in the transaction that caused it; a relay publishes it.
//! - [`lanes`]: work that must be done in order within one chat, with leases and retries, in Postgres.
//! - [`ledger`]: what was accepted and what became of it, as metrics; [`watch`] shows what waits.
//! - [`leases`]: which of several processes does what only one may do at a time.
//! - [`consumer`]: takes events off a queue, one after the other, until each is durable here.
//!
//! A crash sends an event twice, never zero times; consumers recognise the second one by the envelope's id.

pub mod broker;
pub mod cause;
pub mod consumer;
mod envelope;
pub mod events;
mod examine;
mod handshake;
pub mod lanes;
pub mod leases;
pub mod ledger;
pub mod outbox;
mod publisher;
pub mod topology;
pub mod watch;

pub use envelope::{Envelope, Event, InvalidEnvelope};
pub use examine::examine;
pub use publisher::{Publication, PublishError, Publisher};
