//! For tests only: real Postgres, Redis and RabbitMQ, shared by all tests and yet one's own in each.
//!
//! `make test` starts the three and says where they are. A test gets a database of its own, a prefix for its
//! queues and one for its keys, so that tests run side by side. Whatever cannot be set
//! up is a broken test environment: everything here panics with a sentence that says what to do.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot be set up has to fail loudly"
)]

pub mod canary;
pub mod logs;
mod postgres;
mod proxy;
mod template;
mod wait;

pub use postgres::{TestDatabase, TestProcessDatabase};
pub use proxy::CuttableProxy;
pub use wait::{eventually, eventually_within};

/// The value of a variable that `make test` sets.
///
/// # Panics
/// When it is not set.
#[must_use]
pub fn environment(name: &str) -> String {
    std::env::var(name)
        .ok()
        .filter(|value| !value.is_empty())
        .unwrap_or_else(|| {
            panic!("{name} is not set: run the tests with `make test`, or source .stack/env first")
        })
}

/// URL of the tests' Redis.
#[must_use]
pub fn redis_url() -> String {
    environment("TEST_REDIS_URL")
}

/// URL of the tests' RabbitMQ.
#[must_use]
pub fn rabbitmq_url() -> String {
    environment("TEST_RABBITMQ_URL")
}

/// A prefix nobody else uses, for queues and keys.
#[must_use]
pub fn unique_prefix(name: &str) -> String {
    format!("test-{name}-{}.", uuid::Uuid::now_v7().simple())
}

/// A key ring for tests, as the setting `ENCRYPTION_KEYS`.
pub const ENCRYPTION_KEYS: &str = "test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A key that comes after it.
pub const NEWER_ENCRYPTION_KEY: &str = "newer:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

/// Installs the TLS provider; an HTTP client cannot be built without it.
pub fn install_crypto_provider() {
    runtime::tls::install_crypto_provider();
}
