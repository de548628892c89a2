//! What the chores about customers use.

use runtime::config::{InvalidSettings, SettingsReader};
use runtime::process::ProcessSettings;

use super::{DEFAULT_PORT, DatabaseSettings, RedisSettings, finish};

/// What the chores about customers use: Redis too, because running processes have to hear of a change.
#[derive(Debug, Clone)]
pub struct CustomerChoreSettings {
    /// How the process reports.
    pub process: ProcessSettings,
    /// Our own rows.
    pub database: DatabaseSettings,
    /// Redis.
    pub redis: RedisSettings,
}

impl CustomerChoreSettings {
    /// Reads everything the chores use.
    ///
    /// # Errors
    /// [`InvalidSettings`] with every mistake.
    pub fn from_reader(mut reader: SettingsReader) -> Result<Self, InvalidSettings> {
        let process = ProcessSettings::read(&mut reader, DEFAULT_PORT);
        let database = DatabaseSettings::read(&mut reader);
        let redis = RedisSettings::read(&mut reader);
        let settings = (|| {
            Some(Self {
                process: process?,
                database: database?,
                redis: redis?,
            })
        })();
        finish(reader, settings)
    }
}
