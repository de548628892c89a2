//! Commands that every service has alike, for the people who run it.
//!
//! - [`trace`]: the way of a message over the three services, from any of its ids; [`journey`] is what one of them tells,
//!   [`peers`] where the others are.
//! - [`outbox`]: what the broker has not taken yet.
//! - [`key`]: sealing stored secrets anew, so that an old key can go.
//! - [`export`] and [`person`]: what a tenant, or one person of it, has is given out and erased.

pub mod export;
pub mod journey;
pub mod key;
pub mod outbox;
pub mod peers;
pub mod person;
pub mod trace;
