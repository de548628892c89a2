//! What commands use that run beside `serve`: the health check, and chores about sessions, keys and our own rows.

use runtime::config::{InvalidSettings, SettingsReader};
use runtime::encryption::KeyRing;
use runtime::process::ProcessSettings;
use secrecy::SecretString;

use super::{
    ADMIN_TOKEN, DEFAULT_PORT, DatabaseSettings, RedisSettings, RelaySettings, SessionSettings,
    WaServerSettings, finish, read_keys,
};

/// What `healthcheck` uses.
#[derive(Debug, Clone)]
pub struct HealthcheckSettings {
    /// Where the service listens.
    pub process: ProcessSettings,
}

impl HealthcheckSettings {
    /// Reads everything `healthcheck` uses.
    ///
    /// # Errors
    /// [`InvalidSettings`] with every mistake.
    pub fn from_reader(mut reader: SettingsReader) -> Result<Self, InvalidSettings> {
        let process = ProcessSettings::read(&mut reader, DEFAULT_PORT);
        finish(reader, process.map(|process| Self { process }))
    }
}

/// What the chores about sessions use.
#[derive(Debug, Clone)]
pub struct ChoreSettings {
    /// How the process reports.
    pub process: ProcessSettings,
    /// Our own rows.
    pub database: DatabaseSettings,
    /// The upstream.
    pub wa_server: WaServerSettings,
    /// Opens the WA server's `/admin`.
    pub admin_token: SecretString,
    /// Opens and seals session tokens.
    pub keys: KeyRing,
    /// Where the WA server's webhooks go.
    pub relay: RelaySettings,
    /// Making sessions and keeping them.
    pub sessions: SessionSettings,
    /// Redis, where running processes hear of changes.
    pub redis: Option<RedisSettings>,
}

impl ChoreSettings {
    /// Reads everything the chores use.
    ///
    /// # Errors
    /// [`InvalidSettings`] with every mistake.
    pub fn from_reader(mut reader: SettingsReader) -> Result<Self, InvalidSettings> {
        let process = ProcessSettings::read(&mut reader, DEFAULT_PORT);
        let database = DatabaseSettings::read(&mut reader);
        let wa_server = WaServerSettings::read(&mut reader);
        let admin_token = reader.required(ADMIN_TOKEN.0, ADMIN_TOKEN.1);
        let keys = read_keys(&mut reader);
        let relay = RelaySettings::read(&mut reader);
        let sessions = SessionSettings::read(&mut reader);
        let redis = RedisSettings::read_if_set(&mut reader);
        let settings = (|| {
            Some(Self {
                redis: redis?,
                relay: relay?,
                sessions: sessions?,
                process: process?,
                database: database?,
                wa_server: wa_server?,
                admin_token: admin_token?,
                keys: keys?,
            })
        })();
        finish(reader, settings)
    }
}

/// What the chores that only look into our own rows use.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// How the process reports.
    pub process: ProcessSettings,
    /// Our own rows.
    pub database: DatabaseSettings,
}

impl StoreSettings {
    /// Reads everything these chores use.
    ///
    /// # Errors
    /// [`InvalidSettings`] with every mistake.
    pub fn from_reader(mut reader: SettingsReader) -> Result<Self, InvalidSettings> {
        let process = ProcessSettings::read(&mut reader, DEFAULT_PORT);
        let database = DatabaseSettings::read(&mut reader);
        let settings = (|| {
            Some(Self {
                process: process?,
                database: database?,
            })
        })();
        finish(reader, settings)
    }
}

/// What the chores about keys use.
#[derive(Debug, Clone)]
pub struct KeySettings {
    /// How the process reports.
    pub process: ProcessSettings,
    /// Our own rows.
    pub database: DatabaseSettings,
    /// Opens and seals secrets; the newest seals.
    pub keys: KeyRing,
}

impl KeySettings {
    /// Reads everything they use.
    ///
    /// # Errors
    /// [`InvalidSettings`] with every mistake.
    pub fn from_reader(mut reader: SettingsReader) -> Result<Self, InvalidSettings> {
        let process = ProcessSettings::read(&mut reader, DEFAULT_PORT);
        let database = DatabaseSettings::read(&mut reader);
        let keys = read_keys(&mut reader);
        let settings = (|| {
            Some(Self {
                process: process?,
                database: database?,
                keys: keys?,
            })
        })();
        finish(reader, settings)
    }
}
