//! What every Kanal process needs before it does anything: settings, secrets, logs, metrics and an orderly end.
//!
//! Knows nothing of messages or tenants.

pub mod breaker;
pub mod config;
pub mod encryption;
pub mod env_file;
pub mod process;
pub mod shutdown;
pub mod signing;
pub mod telemetry;
pub mod tls;
