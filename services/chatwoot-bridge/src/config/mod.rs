//! Settings, read once: what the service itself needs here, a topic's own in a file of its own.

pub mod admin;
mod channel;
mod forward;
mod inbound;
mod known;
mod outbound;
mod router;

use std::time::Duration;

use database::{DatabaseUrl, MigrationAccess, SchemaNames};
use domain::retry::RetrySchedule;
use messaging::lanes::WorkerSettings;
use messaging::topology::Topology;
use runtime::config::{InvalidSettings, Milliseconds, SettingsReader, Variable, url_parts};
use runtime::encryption::KeyRing;
use runtime::process::ProcessSettings;
use secrecy::SecretString;

use self::admin::AdminSettings;
pub use self::channel::ChannelSettings;
pub use self::forward::ForwardSettings;
pub use self::inbound::InboundSettings;
pub use self::known::Known;
pub use self::outbound::OutboundSettings;
pub use self::router::{RedisSettings, RouterSettings};
use crate::outbound_url::OutboundPolicy;

/// The service's name in logs and on the broker.
pub const SERVICE: &str = "chatwoot-bridge";
/// The service's schema.
pub const SCHEMA: &str = "chatwoot_bridge";
const DEFAULT_PORT: &str = "3000";
const LONGEST_REPLY_WINDOW: Duration = Duration::from_secs(10);

/// Everything `serve` needs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address, logs, metrics.
    pub process: ProcessSettings,
    /// Tables and keys.
    pub storage: StorageSettings,
    /// `amqp://` URL.
    pub rabbitmq_url: SecretString,
    /// Names on the broker.
    pub topology: Topology,
    /// Longest accepted webhook, in bytes.
    pub webhook_body_limit: usize,
    /// How far a signature's time may be off.
    pub signature_tolerance: Duration,
    /// Lanes at once, and how long a silent worker keeps one.
    pub lanes: WorkerSettings,
    /// When to try Chatwoot again.
    pub retry: RetrySchedule,
    /// How long an agent's reply waits for those that were written before it.
    pub reply_window: Duration,
    /// How long rows stay that nothing else ends.
    pub kept: Kept,
    /// Who may administer.
    pub admin: AdminSettings,
    /// How events are passed on to the URLs of routes.
    pub forward: ForwardSettings,
}

/// How long rows stay that nothing else ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kept {
    /// Links of messages, and agents' messages.
    pub links_days: f64,
    /// What was put aside for people: tasks, and events that the relay gave up.
    pub parked_days: f64,
}

impl Kept {
    /// Less would forget a message while its webhook or its ticks may still come.
    const LEAST_LINKS_DAYS: u32 = 7;
    /// People's words have an end, whatever is set.
    const MOST_PARKED_DAYS: u32 = 366;
}

/// What the chores need as well.
#[derive(Debug, Clone)]
pub struct StorageSettings {
    /// The service's login.
    pub database_url: DatabaseUrl,
    /// Schema and roles; only tests have others.
    pub names: SchemaNames,
    /// Connections at most.
    pub pool_size: usize,
    /// What seals tokens and secrets.
    pub keys: KeyRing,
    /// Which private hosts may be dialled.
    pub outbound: OutboundPolicy,
    /// How long Chatwoot may take to answer.
    pub fetch_timeout: Duration,
    /// Calls that may be under way to one Chatwoot server.
    pub server_concurrency: usize,
    /// The router's surroundings.
    pub router: RouterSettings,
    /// channel-service, and what is asked of it.
    pub channel: ChannelSettings,
    /// What comes from WhatsApp.
    pub inbound: InboundSettings,
    /// Agents' files.
    pub files: OutboundSettings,
}

impl Settings {
    /// Reads the settings of `serve`.
    ///
    /// # Errors
    /// [`InvalidSettings`] with every mistake.
    pub fn read(mut reader: SettingsReader) -> Result<Self, InvalidSettings> {
        let settings = Self::take(&mut reader);
        reader.finish(|| settings)
    }

    fn take(reader: &mut SettingsReader) -> Option<Self> {
        let process = ProcessSettings::read(reader, DEFAULT_PORT);
        let storage = StorageSettings::take(reader);
        // Only `trace` asks it; it may stand in this service's file all the same.
        drop(chores::peers::Service::Gateway.read(reader));
        let rabbitmq_url = take_rabbitmq_url(reader);
        let prefix: Option<String> = reader.optional(
            "BROKER_PREFIX",
            "Prefix of all exchange and queue names; the same in all services",
        );
        let body_limit = reader.with_default(
            "WEBHOOK_BODY_LIMIT_BYTES",
            "1048576",
            "Longest accepted webhook, in bytes",
        );
        let tolerance: Option<u64> = reader.with_default(
            "SIGNATURE_TOLERANCE_SECONDS",
            "300",
            "How far the time of a signed webhook may be off, in seconds",
        );
        let lease = reader.with_default(
            "LANE_LEASE_MS",
            "15000",
            "How long a worker that fell silent keeps a chat, in ms",
        );
        let concurrency = reader.with_default("LANE_CONCURRENCY", "16", "Chats worked on at once");
        let retry = take_retry(reader);
        let reply_window = take_reply_window(reader);
        let kept = take_kept(reader);
        let lanes = take_lanes(reader, lease, concurrency);
        let admin = AdminSettings::take(reader);
        let forward = ForwardSettings::take(reader);
        Some(Self {
            process: process?,
            storage: storage?,
            rabbitmq_url: rabbitmq_url?,
            topology: Topology::with_prefix(prefix.as_deref().unwrap_or_default()),
            webhook_body_limit: body_limit?,
            signature_tolerance: Duration::from_secs(tolerance?),
            lanes: lanes?,
            retry: retry?,
            reply_window: reply_window?,
            kept: kept?,
            admin: admin?,
            forward: forward?,
        })
    }

    /// Every variable of the service, for the documentation.
    #[must_use]
    pub fn variables() -> Vec<Variable> {
        let mut reader = SettingsReader::from_map([]);
        let _nothing_is_set = Self::take(&mut reader);
        drop(take_migrating(&mut reader));
        reader.variables().to_vec()
    }
}

fn take_lanes(
    reader: &mut SettingsReader,
    lease: Option<Milliseconds>,
    concurrency: Option<usize>,
) -> Option<WorkerSettings> {
    let (Milliseconds(lease), concurrency) = (lease?, concurrency?);
    if !(1..=1024).contains(&concurrency) {
        reader.problem("LANE_CONCURRENCY", "must lie between 1 and 1024");
        return None;
    }
    if lease < Duration::from_secs(1) {
        reader.problem("LANE_LEASE_MS", "must be at least 1000");
        return None;
    }
    Some(WorkerSettings { concurrency, lease })
}

fn take_reply_window(reader: &mut SettingsReader) -> Option<Duration> {
    let window = reader.with_default(
        "REPLY_ORDER_WINDOW_MS",
        "400",
        "How long an agent's reply waits for one that was written before it and comes later, in ms",
    );
    let Milliseconds(window) = window?;
    if window > LONGEST_REPLY_WINDOW {
        reader.problem("REPLY_ORDER_WINDOW_MS", "must be at most 10000");
        return None;
    }
    Some(window)
}

fn take_kept(reader: &mut SettingsReader) -> Option<Kept> {
    let links: Option<u32> = reader.with_default(
        "MESSAGE_LINKS_KEPT_DAYS",
        "180",
        "How long it is remembered which message in Chatwoot is which in WhatsApp, in days",
    );
    let parked: Option<u32> = reader.with_default(
        "PARKED_RETENTION_DAYS",
        "30",
        "Days after which what was put aside between Chatwoot and WhatsApp, counted from when it came, is deleted; between 1 and 366",
    );
    if links.is_some_and(|days| days < Kept::LEAST_LINKS_DAYS) {
        reader.problem("MESSAGE_LINKS_KEPT_DAYS", "must be at least 7");
        return None;
    }
    if parked.is_some_and(|days| !(1..=Kept::MOST_PARKED_DAYS).contains(&days)) {
        reader.problem("PARKED_RETENTION_DAYS", "must lie between 1 and 366");
        return None;
    }
    Some(Kept {
        links_days: f64::from(links?),
        parked_days: f64::from(parked?),
    })
}

fn take_retry(reader: &mut SettingsReader) -> Option<RetrySchedule> {
    let attempts = reader.with_default(
        "RETRY_ATTEMPTS",
        "12",
        "Tries before a task is put aside for people",
    );
    let first = reader.with_default(
        "RETRY_FIRST_MS",
        "1000",
        "Wait after the first failure, doubled after each, in ms",
    );
    let longest = reader.with_default(
        "RETRY_LONGEST_MS",
        "60000",
        "Longest wait between two tries, in ms",
    );
    let (Milliseconds(first), Milliseconds(longest)) = (first?, longest?);
    match RetrySchedule::new(first, longest, attempts?, 0.2) {
        Ok(schedule) => Some(schedule),
        Err(error) => {
            reader.problem(
                "RETRY_ATTEMPTS, RETRY_FIRST_MS, RETRY_LONGEST_MS",
                &error.to_string(),
            );
            None
        }
    }
}

impl StorageSettings {
    /// Reads the settings of the chores.
    ///
    /// # Errors
    /// [`InvalidSettings`] with every mistake.
    pub fn read(mut reader: SettingsReader) -> Result<Self, InvalidSettings> {
        let settings = Self::take(&mut reader);
        reader.finish(|| settings)
    }

    fn take(reader: &mut SettingsReader) -> Option<Self> {
        let database_url = take_database_url(reader);
        let pool_size = reader.with_default("DATABASE_POOL_SIZE", "16", "Connections to Postgres at most");
        let keys = reader.required(
            "ENCRYPTION_KEYS",
            "Keys that seal tokens at rest: `id:base64-of-32-bytes`, newest first, separated by commas",
        );
        let outbound: Option<OutboundPolicy> = reader.optional(
            "OUTBOUND_ALLOWED_PRIVATE_HOSTS",
            "Hosts and IP addresses that may be dialled although they are private: `host:port`, or `host` for ports 80 and 443, or `host:*`, separated by commas",
        );
        let timeout: Option<Milliseconds> = reader.with_default(
            "FETCH_TIMEOUT_MS",
            "10000",
            "How long Chatwoot, or the URL of a route, may take to answer, in ms",
        );
        let server_concurrency = reader.with_default(
            "CHATWOOT_CONCURRENCY",
            "8",
            "Chats that may be worked on at one Chatwoot server at once; the others' chats have the rest of `LANE_CONCURRENCY`",
        );
        if server_concurrency == Some(0) {
            reader.problem("CHATWOOT_CONCURRENCY", "must be at least 1");
        }
        if pool_size == Some(0) {
            reader.problem("DATABASE_POOL_SIZE", "must be at least 1");
        }
        let router = RouterSettings::take(reader);
        let channel = ChannelSettings::take(reader);
        let inbound = InboundSettings::take(reader);
        let files = OutboundSettings::take(reader);
        Some(Self {
            database_url: database_url?,
            names: SchemaNames::of_service(SCHEMA),
            pool_size: pool_size?,
            keys: keys?,
            outbound: outbound.unwrap_or_default(),
            fetch_timeout: timeout?.0,
            server_concurrency: server_concurrency?,
            router: router?,
            channel: channel?,
            inbound: inbound?,
            files: files?,
        })
    }
}

/// Reads what `migrate` needs.
///
/// # Errors
/// [`InvalidSettings`] with every mistake.
pub fn migration_access(mut reader: SettingsReader) -> Result<MigrationAccess, InvalidSettings> {
    let service = take_database_url(&mut reader);
    let (migrating, owner_password) = take_migrating(&mut reader);
    reader.finish_part(|| {
        Some(MigrationAccess {
            migrating: migrating?,
            service: service?,
            owner_password,
        })
    })
}

fn take_database_url(reader: &mut SettingsReader) -> Option<DatabaseUrl> {
    reader.url_of_parts(&url_parts::DATABASE);
    reader.required_as(
        "DATABASE_URL",
        DatabaseUrl::EXPECTED,
        "Postgres, under the service's own login role",
    )
}

fn take_rabbitmq_url(reader: &mut SettingsReader) -> Option<SecretString> {
    reader.url_of_parts(&url_parts::RABBITMQ);
    reader.required(
        "RABBITMQ_URL",
        "RabbitMQ, as `amqp://user:password@host:port/vhost`",
    )
}

fn take_migrating(reader: &mut SettingsReader) -> (Option<DatabaseUrl>, Option<SecretString>) {
    reader.url_of_parts(&url_parts::MIGRATE_DATABASE);
    let url = reader.required_as(
        "MIGRATE_DATABASE_URL",
        DatabaseUrl::EXPECTED,
        "`migrate` and `audit prune` only: the schema's owner `chatwoot_bridge_owner`, or an administrator; `--bootstrap` needs the latter",
    );
    let owner_password = reader.optional(
        "OWNER_PASSWORD",
        "`migrate --bootstrap` only: lets `chatwoot_bridge_owner` log in with this password",
    );
    (url, owner_password)
}

/// Reads what `healthcheck` needs.
///
/// # Errors
/// [`InvalidSettings`] with every mistake.
pub fn process_settings(mut reader: SettingsReader) -> Result<ProcessSettings, InvalidSettings> {
    let settings = ProcessSettings::read(&mut reader, DEFAULT_PORT);
    reader.finish(|| settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_comes_out_and_no_value_does() {
        let reader = SettingsReader::from_map([
            ("DATABASE_URL", "mysql://u:s3cret@h/d"),
            ("OUTBOUND_ALLOWED_PRIVATE_HOSTS", "a b"),
            ("RETRY_FIRST_MS", "90000"),
            ("LANE_CONCURRENCY", "0"),
            ("PARKED_RETENTION_DAYS", "0"),
            ("REDIS_URL", "http://:s3cret@h"),
            ("ROUTES_TENANT", "a b"),
            ("TRUSTED_PROXIES", "proxy"),
            ("PUBLIC_BRIDGE_URL", "https://u:s3cret@h"),
        ]);
        let error = Settings::read(reader).unwrap_err();
        let names: Vec<&str> = error
            .problems
            .iter()
            .map(|problem| problem.name.as_str())
            .collect();
        for name in [
            "DATABASE_URL",
            "ENCRYPTION_KEYS",
            "RABBITMQ_URL",
            "OUTBOUND_ALLOWED_PRIVATE_HOSTS",
            "LANE_CONCURRENCY",
            "PARKED_RETENTION_DAYS",
            "REDIS_URL",
            "ROUTES_TENANT",
            "TRUSTED_PROXIES",
            "PUBLIC_BRIDGE_URL",
        ] {
            assert!(names.contains(&name), "{name} is not among {names:?}");
        }
        assert!(names.iter().any(|name| name.contains("RETRY_FIRST_MS")));
        assert!(!error.to_string().contains("s3cret"));
    }

    #[test]
    fn the_defaults_are_enough_beside_what_is_required() {
        let reader = SettingsReader::from_map([
            ("DATABASE_URL", "postgres://u:p@h/d"),
            ("RABBITMQ_URL", "amqp://h"),
            (
                "ENCRYPTION_KEYS",
                "a:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            ),
        ]);
        let settings = Settings::read(reader).unwrap();
        assert_eq!(settings.process.address.port(), 3000);
        assert_eq!(settings.webhook_body_limit, 1_048_576);
        assert!(
            Settings::variables()
                .iter()
                .any(|variable| variable.name == "MIGRATE_DATABASE_URL")
        );
    }
}
