//! What the import uses.

use database::DatabaseUrl;
use runtime::config::{InvalidSettings, SettingsReader};
use runtime::encryption::KeyRing;
use runtime::process::ProcessSettings;

use super::{BusinessZone, DEFAULT_PORT, DatabaseSettings, RedisSettings, finish, read_keys};

/// What the import of the original's tables uses.
#[derive(Debug, Clone)]
pub struct ImportSettings {
    /// How the process reports.
    pub process: ProcessSettings,
    /// Our own rows.
    pub database: DatabaseSettings,
    /// Seals session tokens.
    pub keys: KeyRing,
    /// Where a day begins.
    pub zone: BusinessZone,
    /// The original's database.
    pub from: Option<DatabaseUrl>,
    /// Redis, where running processes hear of changes.
    pub redis: Option<RedisSettings>,
}

impl ImportSettings {
    /// Reads everything the import uses.
    ///
    /// # Errors
    /// [`InvalidSettings`] with every mistake.
    pub fn from_reader(mut reader: SettingsReader) -> Result<Self, InvalidSettings> {
        let process = ProcessSettings::read(&mut reader, DEFAULT_PORT);
        let database = DatabaseSettings::read(&mut reader);
        let keys = read_keys(&mut reader);
        let zone = BusinessZone::read(&mut reader);
        let from = read_import_url(&mut reader);
        let redis = RedisSettings::read_if_set(&mut reader);
        let settings = (|| {
            Some(Self {
                process: process?,
                database: database?,
                keys: keys?,
                zone: zone?,
                from,
                redis: redis?,
            })
        })();
        finish(reader, settings)
    }
}

pub(super) fn read_import_url(reader: &mut SettingsReader) -> Option<DatabaseUrl> {
    reader.optional_as(
        "IMPORT_DATABASE_URL",
        "Postgres of the original service, which `import` reads",
    )
}
