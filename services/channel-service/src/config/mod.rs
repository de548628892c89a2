//! The service's settings, read once. The names are those of the contract (channel-service 7) where it has one.

mod ai_service;
mod cloud_sending;
mod dashboard;
mod devices;
mod endpoints;
mod gate;
mod health;
mod internal;
mod known;
mod media;
mod outage;
mod pages;
mod pictures;
mod replay;
mod retention;
mod sessions;
mod spam_guard;
mod traffic;
mod webhook;

use std::num::NonZeroU32;
use std::time::Duration;

use cache::{Rate, SpamRules};
use database::{DatabaseUrl, MigrationAccess, PoolSettings};
use domain::retry::RetrySchedule;
use runtime::config::{InvalidSettings, Milliseconds, SettingsReader, url_parts};
use runtime::encryption::KeyRing;
use runtime::process::ProcessSettings;
use secrecy::SecretString;

use crate::store::retention::DaysRow;

pub use ai_service::AiServiceSettings;
pub use cloud_sending::CloudSendingSettings;
pub use dashboard::DashboardSettings;
pub use devices::DeviceSettings;
pub use endpoints::{
    ApiKey, CloudSettings, EndpointSettings, EndpointsSettings, FetchedSecrets, InvalidApiKey, LIST, PRIMARY,
    ProviderSettings, SecretTrouble, aws_paths, gateway_base,
};
pub use gate::{GateSettings, UploadLimits};
pub use health::{AlertSettings, AlertUrl, CheckSettings, HealthSettings, WatchSettings};
pub use internal::InternalSettings;
pub use known::Known;
pub use media::{MediaSettings, S3Settings, StorageSettings};
pub use outage::OutageSettings;
pub use pages::PageSettings;
pub use pictures::{PictureHosts, PictureSettings};
pub use replay::ReplaySettings;
pub use sessions::SessionSettings;
pub use webhook::WebhookSettings;

/// Everything `serve` needs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen and how to report.
    pub process: ProcessSettings,
    /// Postgres, as the service's login role.
    pub database: DatabaseUrl,
    /// Bounds of the pool.
    pub pool: PoolSettings,
    /// Redis.
    pub redis: SecretString,
    /// Begins every key in Redis.
    pub redis_prefix: String,
    /// RabbitMQ.
    pub rabbitmq: SecretString,
    /// Begins every name of an exchange or queue.
    pub broker_prefix: String,
    /// Opens what is sealed in the database.
    pub keys: KeyRing,
    /// Who may call, and how we are called.
    pub internal: InternalSettings,
    /// The dashboard's API.
    pub dashboard: DashboardSettings,
    /// Devices of the dashboard's people.
    pub devices: DeviceSettings,
    /// The dashboard's pages.
    pub pages: PageSettings,
    /// The gate in the shape of Meta's Cloud API.
    pub gate: GateSettings,
    /// Where the AI service is.
    pub ai_service: AiServiceSettings,
    /// Who makes sessions, and what is sent with.
    pub sessions: SessionSettings,
    /// From where webhooks are taken.
    pub webhook: WebhookSettings,
    /// The WhatsApp API servers.
    pub endpoints: EndpointsSettings,
    /// Serve GovConnect's exchange too.
    pub govconnect: bool,
    /// Who writes too much for the AI.
    pub spam_guard: SpamRules,
    /// Receiving webhooks.
    pub ingest: IngestSettings,
    /// Sending messages.
    pub sending: SendingSettings,
    /// Sending through the Cloud API.
    pub cloud_sending: CloudSendingSettings,
    /// What happens while an endpoint cannot be reached.
    pub outage: OutageSettings,
    /// Files of messages and uploads.
    pub media: MediaSettings,
    /// Pictures that people show of themselves.
    pub pictures: PictureSettings,
    /// How long ledgers and quarantine are kept.
    pub ledger_retention: Duration,
    /// For how many days things are kept of tenants that set nothing.
    pub retention: DaysRow,
    /// How endpoints and sessions are looked after.
    pub health: HealthSettings,
    /// How often what went through is written down.
    pub traffic_write: Duration,
    /// Taking many messages up again.
    pub replay: ReplaySettings,
}

/// Bounds of receiving.
#[derive(Debug, Clone, Copy)]
pub struct IngestSettings {
    /// Largest body of a webhook, in bytes.
    pub body_limit: usize,
    /// Bytes of bodies that may be in memory at once.
    pub body_budget: usize,
    /// Webhooks that may wait for a commit; one more is answered 503.
    pub queue: usize,
    /// Most webhooks that share one commit.
    pub batch: usize,
    /// Commits under way at once.
    pub committers: usize,
}

/// How messages go out.
#[derive(Debug, Clone, Copy)]
pub struct SendingSettings {
    /// Chats worked on at once.
    pub concurrency: usize,
    /// How long a worker may be silent before its chat is taken over.
    pub lease: Duration,
    /// Longest wait for the provider's answer.
    pub timeout: Duration,
    /// When a failed attempt is repeated.
    pub retries: RetrySchedule,
    /// How fast one account may send.
    pub account_rate: Rate,
    /// How fast all accounts of one tenant may send.
    pub tenant_rate: Rate,
}

impl Settings {
    /// Reads the settings.
    ///
    /// # Errors
    /// [`InvalidSettings`] with every mistake.
    pub fn read(reader: SettingsReader) -> Result<Self, InvalidSettings> {
        Self::read_with(reader, &FetchedSecrets::default())
    }

    /// As [`Self::read`], with the secrets of AWS that the settings refer to.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_with(mut reader: SettingsReader, secrets: &FetchedSecrets) -> Result<Self, InvalidSettings> {
        let settings = Self::take(&mut reader, secrets);
        reader.finish(|| settings)
    }

    fn take(reader: &mut SettingsReader, secrets: &FetchedSecrets) -> Option<Self> {
        let process = ProcessSettings::read(reader, "3001");
        let database = database(reader);
        let pool = pool(reader);
        let redis = redis(reader);
        let redis_prefix = reader.with_default("REDIS_PREFIX", "kanal:channel:", "Begins every key in Redis");
        let rabbitmq = rabbitmq(reader);
        let broker_prefix = reader.optional(
            "BROKER_PREFIX",
            "Begins every exchange and queue, so that installations can share a vhost",
        );
        let keys = keys(reader);
        let internal = InternalSettings::take(reader);
        let dashboard = DashboardSettings::take(reader);
        let devices = DeviceSettings::take(reader);
        let pages = PageSettings::take(reader);
        let gate = GateSettings::take(reader);
        let ai_service = AiServiceSettings::take(reader);
        let webhook = WebhookSettings::take(reader);
        let sessions = SessionSettings::take(reader);
        let endpoints = EndpointsSettings::take(reader, sessions.as_ref(), secrets);
        let govconnect = reader.with_default(
            "GOVCONNECT_EVENTS",
            "false",
            "Hand messages over to GovConnect's AI service on `govconnect.events`, and take its answers; only where it reads its queue, which has no limit",
        );
        let spam_guard = spam_guard::take(reader);
        let ingest = IngestSettings::take(reader);
        let sending = SendingSettings::take(reader);
        let cloud_sending = CloudSendingSettings::take(reader);
        let outage = OutageSettings::take(reader);
        let media = MediaSettings::take(reader);
        let pictures = PictureSettings::take(reader);
        let health = HealthSettings::take(reader);
        let traffic_write = traffic::take(reader);
        let replay = ReplaySettings::take(reader);
        let kept_days = retention::take(reader);
        // Only `trace` asks it; it may stand in this service's file all the same.
        drop(chores::peers::Service::Bridge.read(reader));
        let retention: Option<u64> = reader.with_default(
            "LEDGER_RETENTION_DAYS",
            "14",
            "Days for which repeated webhooks are recognised",
        );
        if retention.is_some_and(|days| days < 7) {
            reader.problem(
                "LEDGER_RETENTION_DAYS",
                "must be at least 7: providers repeat webhooks for days",
            );
        }
        Some(Self {
            process: process?,
            database: database?,
            pool: pool?,
            redis: redis?,
            redis_prefix: redis_prefix?,
            rabbitmq: rabbitmq?,
            broker_prefix: broker_prefix.unwrap_or_default(),
            keys: keys?,
            internal: internal?,
            dashboard: dashboard?,
            devices: devices?,
            pages: pages?,
            gate: gate?,
            ai_service,
            sessions: sessions?,
            webhook: webhook?,
            endpoints: endpoints?,
            govconnect: govconnect?,
            spam_guard: spam_guard?,
            ingest: ingest?,
            sending: sending?,
            cloud_sending: cloud_sending?,
            outage: outage?,
            media: media?,
            pictures: pictures?,
            ledger_retention: Duration::from_secs(retention? * 24 * 60 * 60),
            retention: kept_days?,
            health: health?,
            traffic_write: traffic_write?,
            replay: replay?,
        })
    }
}

impl IngestSettings {
    fn take(reader: &mut SettingsReader) -> Option<Self> {
        let body_limit = reader.with_default(
            "WEBHOOK_BODY_LIMIT_BYTES",
            "33554432",
            "Largest webhook in memory; above it a file inside goes to disk (`TMPDIR`), other text is 413",
        );
        let body_budget = reader.with_default(
            "BODY_BUDGET_BYTES",
            "268435456",
            "Bytes of bodies in memory at once; 503 above it",
        );
        let queue = reader.with_default(
            "INGEST_QUEUE",
            "4096",
            "Webhooks that may wait for a commit; 503 above it",
        );
        let batch = reader.with_default("INGEST_BATCH", "64", "Most webhooks that share one commit");
        let committers = reader.with_default("INGEST_COMMITTERS", "2", "Commits under way at once");
        let settings = Self {
            body_limit: body_limit?,
            body_budget: body_budget?,
            queue: queue?,
            batch: batch?,
            committers: committers?,
        };
        if settings.queue == 0 || settings.batch == 0 || settings.committers == 0 {
            reader.problem("INGEST_*", "must each be at least 1");
        }
        if settings.body_budget < settings.body_limit {
            reader.problem(
                "BODY_BUDGET_BYTES",
                "must hold one body of WEBHOOK_BODY_LIMIT_BYTES",
            );
        }
        Some(settings)
    }
}

impl SendingSettings {
    fn take(reader: &mut SettingsReader) -> Option<Self> {
        let concurrency = reader.with_default("SEND_CONCURRENCY", "32", "Chats that are sent to at once");
        let lease: Option<Milliseconds> = reader.with_default(
            "LANE_LEASE_MS",
            "15000",
            "How long a silent worker keeps its chat",
        );
        let timeout: Option<Milliseconds> = reader.with_default(
            "MESSAGE_TIMEOUT_MS",
            "30000",
            "Longest wait for the provider's answer to a send",
        );
        let attempts = reader.with_default("SEND_ATTEMPTS", "8", "Attempts before a message is parked");
        let first: Option<Milliseconds> = reader.with_default(
            "SEND_RETRY_FIRST_MS",
            "1000",
            "Wait after the first failure; it doubles",
        );
        let cap: Option<Milliseconds> = reader.with_default("SEND_RETRY_CAP_MS", "300000", "Longest wait");
        let account_rate = rate(
            reader,
            "SEND_RATE_PER_ACCOUNT",
            "20",
            "Messages a second of one account",
        );
        let tenant_rate = rate(
            reader,
            "SEND_RATE_PER_TENANT",
            "50",
            "Messages a second of one tenant",
        );
        let retries = match RetrySchedule::new(first?.0, cap?.0, attempts?, 0.2) {
            Ok(retries) => Some(retries),
            Err(error) => {
                reader.problem(
                    "SEND_ATTEMPTS, SEND_RETRY_FIRST_MS, SEND_RETRY_CAP_MS",
                    &error.to_string(),
                );
                None
            }
        };
        Some(Self {
            concurrency: concurrency?,
            lease: lease?.0,
            timeout: timeout?.0,
            retries: retries?,
            account_rate: account_rate?,
            tenant_rate: tenant_rate?,
        })
    }
}

/// A bucket holds two seconds' worth.
fn rate(
    reader: &mut SettingsReader,
    name: &'static str,
    default: &str,
    meaning: &'static str,
) -> Option<Rate> {
    let per_second: u32 = reader.with_default(name, default, meaning)?;
    let rate = NonZeroU32::new(per_second)
        .zip(NonZeroU32::new(per_second.saturating_mul(2)))
        .map(|(per_second, burst)| Rate { per_second, burst });
    if rate.is_none() {
        reader.problem(name, "must be at least 1");
    }
    rate
}

fn database(reader: &mut SettingsReader) -> Option<DatabaseUrl> {
    reader.url_of_parts(&url_parts::DATABASE);
    reader.required_as(
        "DATABASE_URL",
        DatabaseUrl::EXPECTED,
        "Postgres, as the service's login role",
    )
}

fn redis(reader: &mut SettingsReader) -> Option<SecretString> {
    reader.url_of_parts(&url_parts::REDIS);
    reader.required(
        "REDIS_URL",
        "Redis; while it is away the service works without it",
    )
}

fn rabbitmq(reader: &mut SettingsReader) -> Option<SecretString> {
    reader.url_of_parts(&url_parts::RABBITMQ);
    reader.required("RABBITMQ_URL", "RabbitMQ, with its vhost")
}

fn pool(reader: &mut SettingsReader) -> Option<PoolSettings> {
    let size = reader.with_default("DATABASE_POOL_SIZE", "16", "Most connections to Postgres");
    let wait: Option<Milliseconds> = reader.with_default(
        "DATABASE_WAIT_MS",
        "5000",
        "Longest wait for a connection; 503 after it",
    );
    Some(PoolSettings {
        size: size?,
        wait: wait?.0,
    })
}

fn keys(reader: &mut SettingsReader) -> Option<KeyRing> {
    reader.required(
        "ENCRYPTION_KEYS",
        "Keys for secrets at rest: `id:base64`, newest first",
    )
}

/// Reads what `migrate` needs: two ways into one database.
///
/// # Errors
/// [`InvalidSettings`] with every mistake.
pub fn migration_access(mut reader: SettingsReader) -> Result<MigrationAccess, InvalidSettings> {
    let service = database(&mut reader);
    let (migrating, owner_password) = migrating(&mut reader);
    reader.finish_part(|| {
        Some(MigrationAccess {
            migrating: migrating?,
            service: service?,
            owner_password,
        })
    })
}

fn migrating(reader: &mut SettingsReader) -> (Option<DatabaseUrl>, Option<SecretString>) {
    reader.url_of_parts(&url_parts::MIGRATE_DATABASE);
    let url = reader.required_as(
        "MIGRATE_DATABASE_URL",
        DatabaseUrl::EXPECTED,
        "`migrate` and `audit prune` only: the schema's owner `channel_owner`, or an administrator; `--bootstrap` needs the latter",
    );
    let owner_password = reader.optional(
        "OWNER_PASSWORD",
        "`migrate --bootstrap` only: lets `channel_owner` log in with this password",
    );
    (url, owner_password)
}

/// What the administrative commands need.
#[derive(Debug)]
pub struct ChoreSettings {
    /// Postgres, as the service's login role.
    pub database: DatabaseUrl,
    /// Bounds of the pool.
    pub pool: PoolSettings,
    /// Redis, where changes have to be made known.
    pub redis: SecretString,
    /// Begins every key in Redis.
    pub redis_prefix: String,
    /// Seals what goes into the database.
    pub keys: KeyRing,
}

impl ChoreSettings {
    /// Reads the settings.
    ///
    /// # Errors
    /// [`InvalidSettings`] with every mistake.
    pub fn read(mut reader: SettingsReader) -> Result<Self, InvalidSettings> {
        let database = database(&mut reader);
        let pool = pool(&mut reader);
        let redis = redis(&mut reader);
        let redis_prefix = reader.with_default("REDIS_PREFIX", "kanal:channel:", "Begins every key in Redis");
        let keys = keys(&mut reader);
        reader.finish_part(|| {
            Some(Self {
                database: database?,
                pool: pool?,
                redis: redis?,
                redis_prefix: redis_prefix?,
                keys: keys?,
            })
        })
    }
}

/// Every variable of `serve` and `migrate`, as the README's table.
#[must_use]
pub fn reference() -> String {
    let mut reader = SettingsReader::from_map([]);
    drop(Settings::take(&mut reader, &FetchedSecrets::default()));
    let mut variables = reader.variables().to_vec();
    let mut reader = SettingsReader::from_map([]);
    drop(migrating(&mut reader));
    variables.extend_from_slice(reader.variables());
    runtime::config::markdown_table(&variables)
}
