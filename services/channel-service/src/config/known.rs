//! As much of the settings as can be read, for a doctor who also looks at an installation whose settings have mistakes.

use database::{DatabaseUrl, PoolSettings};
use runtime::config::SettingsReader;
use runtime::encryption::KeyRing;
use runtime::process::ProcessSettings;
use secrecy::SecretString;

use super::{
    AiServiceSettings, EndpointsSettings, FetchedSecrets, InternalSettings, MediaSettings, SessionSettings,
    Settings,
};

/// What is known of the surroundings; `None` where a setting is missing or wrong.
#[derive(Debug, Clone)]
pub struct Known {
    /// Where the service listens.
    pub process: Option<ProcessSettings>,
    /// Postgres, as the service's login role.
    pub database: Option<DatabaseUrl>,
    /// Postgres, as `migrate` uses it.
    pub admin: Option<DatabaseUrl>,
    /// Bounds of the pool.
    pub pool: Option<PoolSettings>,
    /// Redis.
    pub redis: Option<SecretString>,
    /// Begins every key in Redis.
    pub redis_prefix: String,
    /// RabbitMQ.
    pub rabbitmq: Option<SecretString>,
    /// Begins every name of an exchange or queue.
    pub broker_prefix: String,
    /// Opens what is sealed in the database.
    pub keys: Option<KeyRing>,
    /// How we are called.
    pub internal: Option<InternalSettings>,
    /// Where the AI service is.
    pub ai_service: AiServiceSettings,
    /// Who makes sessions.
    pub sessions: Option<SessionSettings>,
    /// The WhatsApp API servers.
    pub endpoints: Option<EndpointsSettings>,
    /// GovConnect's exchange is served.
    pub govconnect: bool,
    /// Files of messages and uploads.
    pub media: Option<MediaSettings>,
}

impl Known {
    /// Reads what can be read.
    #[must_use]
    pub fn read(mut reader: SettingsReader, secrets: &FetchedSecrets) -> Self {
        let reader = &mut reader;
        let sessions = SessionSettings::take(reader);
        Self {
            process: ProcessSettings::read(reader, "3001"),
            database: super::database(reader),
            admin: reader.optional_as("MIGRATE_DATABASE_URL", ""),
            pool: super::pool(reader),
            redis: reader.required("REDIS_URL", ""),
            redis_prefix: text(reader, "REDIS_PREFIX", "kanal:channel:"),
            rabbitmq: reader.required("RABBITMQ_URL", ""),
            broker_prefix: text(reader, "BROKER_PREFIX", ""),
            keys: super::keys(reader),
            internal: InternalSettings::take(reader),
            ai_service: AiServiceSettings::take(reader),
            endpoints: EndpointsSettings::take(reader, sessions.as_ref(), secrets),
            sessions,
            govconnect: reader
                .with_default("GOVCONNECT_EVENTS", "false", "")
                .unwrap_or_default(),
            media: MediaSettings::take(reader),
        }
    }
}

fn text(reader: &mut SettingsReader, name: &'static str, default: &str) -> String {
    reader.optional(name, "").unwrap_or_else(|| default.to_owned())
}

impl From<&Settings> for Known {
    fn from(settings: &Settings) -> Self {
        Self {
            process: Some(settings.process.clone()),
            database: Some(settings.database.clone()),
            admin: None,
            pool: Some(settings.pool),
            redis: Some(settings.redis.clone()),
            redis_prefix: settings.redis_prefix.clone(),
            rabbitmq: Some(settings.rabbitmq.clone()),
            broker_prefix: settings.broker_prefix.clone(),
            keys: Some(settings.keys.clone()),
            internal: Some(settings.internal.clone()),
            ai_service: settings.ai_service.clone(),
            sessions: Some(settings.sessions.clone()),
            endpoints: Some(settings.endpoints.clone()),
            govconnect: settings.govconnect,
            media: Some(settings.media.clone()),
        }
    }
}
