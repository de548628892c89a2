//! What `migrate` uses.

use database::{DatabaseUrl, MigrationAccess};
use runtime::config::{InvalidSettings, SettingsReader, url_parts};
use runtime::process::ProcessSettings;
use secrecy::SecretString;

use super::{DEFAULT_PORT, finish, read_database_url};

/// What `migrate` uses.
#[derive(Debug, Clone)]
pub struct MigrateSettings {
    /// How the process reports.
    pub process: ProcessSettings,
    /// Who migrates, and for whom.
    pub access: MigrationAccess,
}

impl MigrateSettings {
    /// Reads everything `migrate` uses.
    ///
    /// # Errors
    /// [`InvalidSettings`] with every mistake.
    pub fn from_reader(mut reader: SettingsReader) -> Result<Self, InvalidSettings> {
        let process = ProcessSettings::read(&mut reader, DEFAULT_PORT);
        let service = read_database_url(&mut reader);
        let (migrating, owner_password) = read_migrating(&mut reader);
        let settings = (|| {
            Some(Self {
                process: process?,
                access: MigrationAccess {
                    migrating: migrating?,
                    service: service?,
                    owner_password,
                },
            })
        })();
        finish(reader, settings)
    }
}

pub(super) fn read_migrating(reader: &mut SettingsReader) -> (Option<DatabaseUrl>, Option<SecretString>) {
    reader.url_of_parts(&url_parts::MIGRATE_DATABASE);
    let url = reader.required_as(
        "MIGRATE_DATABASE_URL",
        DatabaseUrl::EXPECTED,
        "`migrate` and `audit prune` only: the schema's owner `wa_support_owner`, or an administrator; `--bootstrap` needs the latter",
    );
    let owner_password = reader.optional(
        "OWNER_PASSWORD",
        "`migrate --bootstrap` only: lets `wa_support_owner` log in with this password",
    );
    (url, owner_password)
}
