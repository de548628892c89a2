//! The settings, read once. Each command reads what it uses and no more: a health check must not fail for want of a
//! key it never touches.

mod business_zone;
mod callers;
mod commands;
mod customer_chores;
mod expiry;
mod hooks;
mod http;
mod import;
mod known;
mod migrate;
mod relay;
mod sessions;
mod traffic;

use std::time::Duration;

use chores::peers::Service;
use database::{DatabaseUrl, PoolSettings};
use runtime::config::{BaseUrl, InvalidSettings, Milliseconds, SettingsReader, Variable, url_parts};
use runtime::encryption::KeyRing;
use runtime::process::ProcessSettings;
use secrecy::SecretString;

pub use business_zone::BusinessZone;
pub use callers::CallerSettings;
pub use commands::{ChoreSettings, HealthcheckSettings, KeySettings, StoreSettings};
pub use customer_chores::CustomerChoreSettings;
pub use expiry::{ExpiredSessions, ExpirySettings};
pub use hooks::{BrokerSettings, HookSettings};
pub use http::{HttpSettings, InvalidOrigins, Origins};
pub use import::ImportSettings;
pub use known::Known;
pub use migrate::MigrateSettings;
pub use relay::RelaySettings;
pub use sessions::SessionSettings;
pub use traffic::TrafficSettings;

/// The port of the contract (§14), for a command line and for documents.
const DEFAULT_PORT: &str = "8070";

/// The longest wait for a database connection: overload becomes a 503 and not a queue.
const POOL_WAIT: Duration = Duration::from_secs(5);

/// Every variable of this service. A settings file may name all of them, whichever command reads it.
const VARIABLES: [&str; 78] = [
    "HOST",
    "PORT",
    "HTTP_WORKERS",
    "LOG_LEVEL",
    "LOG_FORMAT",
    "METRICS_TOKEN",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_RESOURCE_ATTRIBUTES",
    "DATABASE_URL",
    "DATABASE_POOL_SIZE",
    "DATABASE_HOST",
    "DATABASE_PORT",
    "DATABASE_NAME",
    "DATABASE_SSLMODE",
    "DATABASE_SSLROOTCERT",
    "DATABASE_USER",
    "DATABASE_PASSWORD",
    "POSTGRES_PASSWORD_URLENCODED",
    "MIGRATE_DATABASE_URL",
    "MIGRATE_DATABASE_USER",
    "MIGRATE_DATABASE_PASSWORD",
    "OWNER_PASSWORD",
    "WA_SERVER_URL",
    "WA_CONNECT_TIMEOUT_MS",
    "WA_READ_TIMEOUT_MS",
    "WA_ADMIN_TOKEN",
    "ENCRYPTION_KEYS",
    "PROXY_BODY_LIMIT_BYTES",
    "REDIS_URL",
    "REDIS_HOST",
    "REDIS_PORT",
    "REDIS_DATABASE",
    "REDIS_USER",
    "REDIS_PASSWORD",
    "REDIS_PREFIX",
    "INTERNAL_API_KEYS",
    "TRUSTED_PROXIES",
    "WA_CALL_TIMEOUT_MS",
    "SESSION_RECONCILE_MINUTES",
    "API_DOCS",
    "CORS_ALLOWED_ORIGINS",
    "PUBLIC_RATE_LIMIT_WINDOW_SECONDS",
    "PUBLIC_RATE_LIMIT_MAX_REQUEST",
    "PUBLIC_SPAM_MAX_PER_10S",
    "PUBLIC_SPAM_BLOCK_MINUTES",
    "PUBLIC_KEY_RATE_LIMIT_MAX_REQUEST",
    "PUBLIC_KEY_SPAM_MAX_PER_10S",
    "TYPING_MS",
    "BUSINESS_TIME_ZONE",
    "EXPIRY_CHECK_SECONDS",
    "EXPIRED_SESSION_POLICY",
    "IMPORT_DATABASE_URL",
    "PUBLIC_GATEWAY_BASE_URL",
    "WEBHOOK_RELAY",
    "HOOK_BODY_LIMIT_BYTES",
    "HOOK_MEMORY_BYTES",
    "HOOK_QUEUE_BYTES",
    "HOOK_CONCURRENCY",
    "HOOK_LEASE_MS",
    "HOOK_RETRY_ATTEMPTS",
    "HOOK_RETRY_FIRST_MS",
    "HOOK_RETRY_LONGEST_MS",
    "HOOK_TIMEOUT_MS",
    "HOOK_RETENTION_DAYS",
    "OUTBOUND_ALLOWED_PRIVATE_HOSTS",
    "RABBITMQ_URL",
    "RABBITMQ_HOST",
    "RABBITMQ_PORT",
    "RABBITMQ_VHOST",
    "RABBITMQ_USER",
    "RABBITMQ_PASSWORD",
    "BROKER_PREFIX",
    "CHANNEL_SERVICE_URL",
    "CHANNEL_SERVICE_KEY",
    "CHATWOOT_BRIDGE_URL",
    "CHATWOOT_BRIDGE_AUTH",
];

/// Where our own rows are.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// The login role's URL.
    pub url: DatabaseUrl,
    /// Bounds of the pool.
    pub pool: PoolSettings,
}

/// Where the WA server is and how long it may take.
#[derive(Debug, Clone)]
pub struct WaServerSettings {
    /// Its base URL.
    pub url: BaseUrl,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest silence: until the answer begins, and between two pieces of it.
    pub read_timeout: Duration,
}

/// What `serve` uses.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the process listens and how it reports.
    pub process: ProcessSettings,
    /// Our own rows.
    pub database: DatabaseSettings,
    /// The upstream.
    pub wa_server: WaServerSettings,
    /// Opens the WA server's `/admin`.
    pub admin_token: SecretString,
    /// Redis.
    pub redis: RedisSettings,
    /// Who calls, and from where.
    pub callers: CallerSettings,
    /// What browsers and readers see.
    pub http: HttpSettings,
    /// How much they may ask for.
    pub traffic: TrafficSettings,
    /// Where a day begins.
    pub zone: BusinessZone,
    /// What happens when a subscription ends.
    pub expiry: ExpirySettings,
    /// Opens and seals session tokens.
    pub keys: KeyRing,
    /// Largest request body that is passed on.
    pub body_limit: u64,
    /// Where the WA server's webhooks go.
    pub relay: RelaySettings,
    /// How they are passed on.
    pub hooks: HookSettings,
    /// Making sessions and keeping them.
    pub sessions: SessionSettings,
}

/// Where Redis is.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// Its URL.
    pub url: SecretString,
    /// Begins every key.
    pub prefix: String,
    /// How long a process trusts its own copy of a value. No setting: only a test has reason to change it.
    pub copies_live: Duration,
}

impl RedisSettings {
    pub(crate) fn read(reader: &mut SettingsReader) -> Option<Self> {
        reader.url_of_parts(&url_parts::REDIS);
        let url = reader.required(
            "REDIS_URL",
            "Redis; while it is away the service works without it",
        );
        let prefix = reader.with_default("REDIS_PREFIX", "kanal:wa-support:", "Begins every key in Redis");
        Some(Self {
            url: url?,
            prefix: prefix?,
            copies_live: cache::COPIES_LIVE,
        })
    }

    /// For a command that does its work without it, too. The inner `None`: nobody says where it is.
    fn read_if_set(reader: &mut SettingsReader) -> Option<Option<Self>> {
        if reader.is_set("REDIS_URL") || reader.is_set("REDIS_HOST") {
            Self::read(reader).map(Some)
        } else {
            Some(None)
        }
    }
}

impl Settings {
    /// Reads everything `serve` uses.
    ///
    /// # Errors
    /// [`InvalidSettings`] with every mistake.
    pub fn from_reader(mut reader: SettingsReader) -> Result<Self, InvalidSettings> {
        let settings = Self::read(&mut reader);
        finish(reader, settings)
    }

    fn read(reader: &mut SettingsReader) -> Option<Self> {
        let process = ProcessSettings::read(reader, DEFAULT_PORT);
        let database = DatabaseSettings::read(reader);
        let wa_server = WaServerSettings::read(reader);
        let admin_token = reader.required(ADMIN_TOKEN.0, ADMIN_TOKEN.1);
        let redis = RedisSettings::read(reader);
        let callers = CallerSettings::read(reader);
        let http = HttpSettings::read(reader);
        let traffic = TrafficSettings::read(reader);
        let zone = BusinessZone::read(reader);
        let expiry = ExpirySettings::read(reader);
        let keys = read_keys(reader);
        let body_limit = reader.with_default(
            "PROXY_BODY_LIMIT_BYTES",
            "104857600",
            "Largest request body that the proxy passes on; media arrives as base64 inside JSON",
        );
        let relay = RelaySettings::read(reader);
        let sessions = SessionSettings::read(reader);
        // Customers may name what may be dialled for them.
        let outbound = sessions.as_ref().map(|sessions| sessions.private_hosts.clone());
        let hooks = HookSettings::read(reader, outbound.unwrap_or_default());
        Some(Self {
            relay: relay?,
            hooks: hooks?,
            sessions: sessions?,
            process: process?,
            database: database?,
            wa_server: wa_server?,
            admin_token: admin_token?,
            redis: redis?,
            callers: callers?,
            http: http?,
            traffic: traffic?,
            zone: zone?,
            expiry: expiry?,
            keys: keys?,
            body_limit: body_limit?,
        })
    }
}

impl DatabaseSettings {
    fn read(reader: &mut SettingsReader) -> Option<Self> {
        let url = read_database_url(reader);
        let size: Option<usize> =
            reader.with_default("DATABASE_POOL_SIZE", "16", "Most connections to Postgres at once");
        if size == Some(0) {
            reader.problem("DATABASE_POOL_SIZE", "must be at least 1");
        }
        Some(Self {
            url: url?,
            pool: PoolSettings {
                size: size?,
                wait: POOL_WAIT,
            },
        })
    }
}

impl WaServerSettings {
    fn read(reader: &mut SettingsReader) -> Option<Self> {
        let url = reader.required("WA_SERVER_URL", "Base URL of the WA server");
        let connect: Option<Milliseconds> = reader.with_default(
            "WA_CONNECT_TIMEOUT_MS",
            "5000",
            "Longest wait for a connection to the WA server",
        );
        let read: Option<Milliseconds> = reader.with_default(
            "WA_READ_TIMEOUT_MS",
            "130000",
            "Longest silence of the WA server; its own limit for an answer is 120 s",
        );
        Some(Self {
            url: url?,
            connect_timeout: connect?.0,
            read_timeout: read?.0,
        })
    }
}

/// Every variable, for the documentation.
#[must_use]
pub fn variables() -> Vec<Variable> {
    let mut reader = SettingsReader::from_map([]);
    // Nothing is set here, so nothing comes out; what counts is what was asked for.
    drop(Settings::read(&mut reader));
    drop(migrate::read_migrating(&mut reader));
    drop(import::read_import_url(&mut reader));
    drop(Service::Channel.read(&mut reader));
    drop(Service::Bridge.read(&mut reader));
    reader.variables().to_vec()
}

const ADMIN_TOKEN: (&str, &str) = (
    "WA_ADMIN_TOKEN",
    "Admin token of the WA server, which makes and removes sessions; never used by the proxy",
);

fn read_database_url(reader: &mut SettingsReader) -> Option<DatabaseUrl> {
    reader.url_of_parts(&url_parts::DATABASE);
    reader.required_as(
        "DATABASE_URL",
        DatabaseUrl::EXPECTED,
        "Postgres, as the service's own login role",
    )
}

fn read_keys(reader: &mut SettingsReader) -> Option<KeyRing> {
    reader.required(
        "ENCRYPTION_KEYS",
        "Keys for secrets at rest, newest first: `id:base64-of-32-bytes,…`",
    )
}

/// Ends the reading. The variables of other commands count as known, so that one settings file serves all of them.
fn finish<T>(mut reader: SettingsReader, settings: Option<T>) -> Result<T, InvalidSettings> {
    for name in VARIABLES {
        drop(reader.optional::<String>(name, "of another command"));
    }
    reader.finish(|| settings)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const KEYS: &str = "test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const DATABASE: &str = "postgres://wa_support:s3cret-password@db/kanal";

    #[test]
    fn every_variable_is_documented_and_known_to_every_command() {
        let documented: BTreeSet<&str> = variables().iter().map(|variable| variable.name).collect();
        assert_eq!(documented, VARIABLES.into_iter().collect());
        assert_eq!(documented.len(), variables().len(), "no variable is listed twice");
    }

    #[test]
    fn the_originals_defaults_hold() {
        let settings = Settings::from_reader(SettingsReader::from_map([
            ("DATABASE_URL", DATABASE),
            ("WA_SERVER_URL", "http://wa-api:8080/"),
            ("WA_ADMIN_TOKEN", "admin"),
            ("REDIS_URL", "redis://cache"),
            ("ENCRYPTION_KEYS", KEYS),
        ]))
        .unwrap();
        assert_eq!(settings.process.address.port(), 8070);
        assert_eq!(settings.wa_server.url.as_str(), "http://wa-api:8080");
        assert_eq!(settings.wa_server.connect_timeout, Duration::from_secs(5));
        assert_eq!(settings.wa_server.read_timeout, Duration::from_secs(130));
        assert_eq!(
            (settings.body_limit, settings.database.pool.size),
            (100 * 1024 * 1024, 16)
        );
    }

    #[test]
    fn all_mistakes_come_out_together() {
        let error = Settings::from_reader(SettingsReader::from_map([
            ("WA_SERVER_URL", "ftp://x"),
            ("DATABASE_POOL_SIZE", "0"),
            ("PROXY_BODY_LIMIT_BYTES", "lots"),
            ("INTERNAL_API_KEYS", ":no-source"),
        ]))
        .unwrap_err();
        let names: Vec<&str> = error
            .problems
            .iter()
            .map(|problem| problem.name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "DATABASE_URL",
                "DATABASE_POOL_SIZE",
                "WA_SERVER_URL",
                "WA_ADMIN_TOKEN",
                "REDIS_URL",
                "INTERNAL_API_KEYS",
                "ENCRYPTION_KEYS",
                "PROXY_BODY_LIMIT_BYTES"
            ]
        );
    }

    #[test]
    fn a_command_needs_only_what_it_uses() {
        assert!(HealthcheckSettings::from_reader(SettingsReader::from_map([])).is_ok());
        let migrate = MigrateSettings::from_reader(SettingsReader::from_map([
            ("DATABASE_URL", DATABASE),
            ("MIGRATE_DATABASE_URL", "postgres://wa_support_owner@db/kanal"),
        ]))
        .unwrap();
        assert_eq!(migrate.access.migrating.user(), "wa_support_owner");
        assert!(ChoreSettings::from_reader(SettingsReader::from_map([("DATABASE_URL", DATABASE)])).is_err());
    }

    #[test]
    fn no_secret_is_in_debug() {
        let settings = ChoreSettings::from_reader(SettingsReader::from_map([
            ("DATABASE_URL", DATABASE),
            ("WA_SERVER_URL", "http://wa-api:8080"),
            ("WA_ADMIN_TOKEN", "s3cret-admin"),
            ("METRICS_TOKEN", "s3cret-metrics"),
            ("ENCRYPTION_KEYS", KEYS),
        ]))
        .unwrap();
        let shown = format!("{settings:?}");
        assert!(
            !shown.contains("s3cret") && !shown.contains("AAECAwQF"),
            "{shown}"
        );
    }
}
