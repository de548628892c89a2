//! As much of the settings as can be read, for a doctor who also looks at an installation whose settings have mistakes.

use database::DatabaseUrl;
use runtime::config::SettingsReader;
use runtime::encryption::KeyRing;
use runtime::process::ProcessSettings;
use secrecy::SecretString;

use super::{
    ADMIN_TOKEN, BrokerSettings, DEFAULT_PORT, DatabaseSettings, RedisSettings, RelaySettings,
    SessionSettings, WaServerSettings,
};

/// What is known of the surroundings; `None` where a setting is missing or wrong.
#[derive(Debug, Clone)]
pub struct Known {
    /// Where the service listens.
    pub process: Option<ProcessSettings>,
    /// Our own rows.
    pub database: Option<DatabaseSettings>,
    /// Postgres, as `migrate` uses it.
    pub admin: Option<DatabaseUrl>,
    /// The upstream.
    pub wa_server: Option<WaServerSettings>,
    /// Opens its administration.
    pub admin_token: Option<SecretString>,
    /// Redis.
    pub redis: Option<RedisSettings>,
    /// RabbitMQ.
    pub broker: Option<BrokerSettings>,
    /// Opens what is sealed.
    pub keys: Option<KeyRing>,
    /// Where the WA server's webhooks go.
    pub relay: Option<RelaySettings>,
    /// Making sessions and keeping them.
    pub sessions: Option<SessionSettings>,
}

impl Known {
    /// Reads what can be read.
    #[must_use]
    pub fn read(mut reader: SettingsReader) -> Self {
        let reader = &mut reader;
        Self {
            process: ProcessSettings::read(reader, DEFAULT_PORT),
            database: DatabaseSettings::read(reader),
            admin: super::migrate::read_migrating(reader).0,
            wa_server: WaServerSettings::read(reader),
            admin_token: reader.required(ADMIN_TOKEN.0, ADMIN_TOKEN.1),
            redis: RedisSettings::read(reader),
            broker: BrokerSettings::read(reader),
            keys: super::read_keys(reader),
            relay: RelaySettings::read(reader),
            sessions: SessionSettings::read(reader),
        }
    }
}
