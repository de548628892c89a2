//! Tests over the crate's public face: the contract's sample webhooks, hostile ones, and a server that misbehaves.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that fails fails its test"
)]

mod cloud_files;
mod cloud_inbound;
mod cloud_management;
mod cloud_messages;
mod cloud_outbound;
mod cloud_properties;
mod cloud_samples;
mod cloud_signature;
mod courtesy;
mod downloads;
mod envelope;
mod fixtures;
mod gowa_courtesy;
mod gowa_devices;
mod gowa_downloads;
mod gowa_inbound;
mod gowa_outbound;
mod gowa_server;
mod kinds;
mod messages;
mod others;
mod outbound;
mod places;
mod properties;
mod server;
