//! How the WA server's webhooks are taken in and passed on.

use std::time::Duration;

use domain::retry::RetrySchedule;
use messaging::lanes::WorkerSettings;
use messaging::topology::Topology;
use outbound_url::OutboundPolicy;
use runtime::config::{Milliseconds, SettingsReader, url_parts};
use secrecy::SecretString;

/// Most bytes of events that are held for one session by default: 1 GiB.
const QUEUE_BYTES: &str = "1073741824";

/// The waits between tries are lengthened by up to this share of themselves.
const JITTER: f64 = 0.2;

/// Taking webhooks in and passing them on.
#[derive(Debug, Clone)]
pub struct HookSettings {
    /// Largest webhook that is taken.
    pub body_limit: usize,
    /// Most memory for webhooks that are taken in, and as much for those that go out.
    pub memory: usize,
    /// Most bytes that wait or are parked for one session.
    pub queue_bytes: i64,
    /// How many sessions are served at once, and how long a dead worker keeps one.
    pub workers: WorkerSettings,
    /// When to try again, and how often.
    pub retry: RetrySchedule,
    /// How long a receiver may take to answer.
    pub timeout: Duration,
    /// Days after which an event that was not delivered is deleted.
    pub retention_days: u32,
    /// Which private hosts may be dialled.
    pub outbound: OutboundPolicy,
    /// Where parked webhooks are announced; nowhere without it.
    pub broker: Option<BrokerSettings>,
}

/// Where RabbitMQ is.
#[derive(Debug, Clone)]
pub struct BrokerSettings {
    /// Its URL.
    pub url: SecretString,
    /// The names on it.
    pub topology: Topology,
}

impl HookSettings {
    pub(super) fn read(reader: &mut SettingsReader, outbound: OutboundPolicy) -> Option<Self> {
        let body_limit: Option<usize> = reader.with_default(
            "HOOK_BODY_LIMIT_BYTES",
            "33554432",
            "Largest webhook that is taken from the WA server",
        );
        let memory: Option<usize> = reader.with_default(
            "HOOK_MEMORY_BYTES",
            "134217728",
            "Most memory for webhooks that are being taken in, and as much for those on their way out; beyond it the WA server reads 503 and comes again",
        );
        let queue_bytes: Option<usize> = reader.with_default(
            "HOOK_QUEUE_BYTES",
            QUEUE_BYTES,
            "Most bytes of webhooks that wait, or are parked, for one session; beyond it the WA server reads 503",
        );
        let workers = read_workers(reader);
        let retry = read_retry(reader);
        let timeout: Option<Milliseconds> = reader.with_default(
            "HOOK_TIMEOUT_MS",
            "30000",
            "How long a customer's receiver may take to answer a webhook, beside the time that a large body needs, in ms",
        );
        let retention_days: Option<u32> = reader.with_default(
            "HOOK_RETENTION_DAYS",
            "7",
            "Days after which a webhook that could not be delivered, waiting or parked, is deleted",
        );
        if retention_days.is_some_and(|days| !(1..=366).contains(&days)) {
            reader.problem("HOOK_RETENTION_DAYS", "must lie between 1 and 366");
        }
        let broker = BrokerSettings::read(reader);
        let (body_limit, memory) = (body_limit?, memory?);
        if body_limit == 0 || memory / COPIES < body_limit {
            reader.problem(
                "HOOK_BODY_LIMIT_BYTES, HOOK_MEMORY_BYTES",
                "the limit must be at least 1 and the memory at least three times the limit",
            );
            return None;
        }
        Some(Self {
            body_limit,
            memory,
            queue_bytes: i64::try_from(queue_bytes?).unwrap_or(i64::MAX),
            workers: workers?,
            retry: retry?,
            timeout: timeout?.0,
            retention_days: retention_days?,
            outbound,
            broker,
        })
    }

    /// How many bytes of bodies may be taken in at once: while one is stored there are two copies beside it.
    #[must_use]
    pub const fn bodies_at_once(&self) -> usize {
        self.memory / COPIES
    }
}

/// A body, and what the driver makes of it on the way to Postgres.
const COPIES: usize = 3;

impl BrokerSettings {
    fn read(reader: &mut SettingsReader) -> Option<Self> {
        reader.url_of_parts(&url_parts::RABBITMQ);
        let url = reader.optional(
            "RABBITMQ_URL",
            "RabbitMQ, where parked webhooks are announced; without it only the `hook` commands, the log and the metrics show them",
        );
        let prefix: Option<String> = reader.optional(
            "BROKER_PREFIX",
            "Prefix of all exchange and queue names; the same in all services",
        );
        Some(Self {
            url: url?,
            topology: Topology::with_prefix(prefix.as_deref().unwrap_or_default()),
        })
    }
}

fn read_workers(reader: &mut SettingsReader) -> Option<WorkerSettings> {
    let concurrency: Option<usize> = reader.with_default(
        "HOOK_CONCURRENCY",
        "32",
        "Sessions whose webhooks are passed on at once; one customer has at most a quarter of them",
    );
    let lease: Option<Milliseconds> = reader.with_default(
        "HOOK_LEASE_MS",
        "15000",
        "How long a worker that fell silent keeps a session's webhooks, in ms",
    );
    let (concurrency, Milliseconds(lease)) = (concurrency?, lease?);
    if !(1..=1024).contains(&concurrency) {
        reader.problem("HOOK_CONCURRENCY", "must lie between 1 and 1024");
        return None;
    }
    if lease < Duration::from_secs(1) {
        reader.problem("HOOK_LEASE_MS", "must be at least 1000");
        return None;
    }
    Some(WorkerSettings { concurrency, lease })
}

fn read_retry(reader: &mut SettingsReader) -> Option<RetrySchedule> {
    let attempts = reader.with_default(
        "HOOK_RETRY_ATTEMPTS",
        "12",
        "Tries before a webhook is parked and the next one of its session has its turn",
    );
    let first: Option<Milliseconds> = reader.with_default(
        "HOOK_RETRY_FIRST_MS",
        "1000",
        "Wait after the first failure, doubled after each, in ms",
    );
    let longest: Option<Milliseconds> = reader.with_default(
        "HOOK_RETRY_LONGEST_MS",
        "300000",
        "Longest wait between two tries, in ms",
    );
    match RetrySchedule::new(first?.0, longest?.0, attempts?, JITTER) {
        Ok(schedule) => Some(schedule),
        Err(error) => {
            reader.problem(
                "HOOK_RETRY_ATTEMPTS, HOOK_RETRY_FIRST_MS, HOOK_RETRY_LONGEST_MS",
                &error.to_string(),
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_possible_and_nothing_is_announced_without_a_broker() {
        let mut reader = SettingsReader::from_map([]);
        let settings = HookSettings::read(&mut reader, OutboundPolicy::default()).unwrap();
        assert_eq!(settings.body_limit, 32 * 1024 * 1024);
        assert!(settings.bodies_at_once() >= settings.body_limit);
        assert!(settings.broker.is_none());
    }

    #[test]
    fn impossible_numbers_are_named() {
        for (name, value) in [
            ("HOOK_MEMORY_BYTES", "1000"),
            ("HOOK_BODY_LIMIT_BYTES", "0"),
            ("HOOK_RETRY_FIRST_MS", "600000"),
            ("HOOK_RETRY_ATTEMPTS", "0"),
            ("HOOK_CONCURRENCY", "0"),
            ("HOOK_LEASE_MS", "10"),
            ("HOOK_RETENTION_DAYS", "0"),
        ] {
            let mut reader = SettingsReader::from_map([(name, value)]);
            let settings = HookSettings::read(&mut reader, OutboundPolicy::default());
            let problems = reader.finish(|| settings).map(drop).unwrap_err().problems;
            assert!(
                problems.iter().any(|problem| problem.name.contains(name)),
                "{name}: {problems:?}"
            );
        }
    }
}
