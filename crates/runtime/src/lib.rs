//! What every Kanal process needs: settings, secrets, logs, metrics, circuit breakers and an orderly end.
//!
//! Knows nothing of messages or tenants.

pub mod breaker;
pub mod config;
pub mod described;
pub mod encryption;
pub mod env_file;
pub mod process;
pub mod shutdown;
pub mod signing;
pub mod telemetry;
pub mod tls;
