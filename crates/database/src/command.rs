//! `migrate` on a command line, the same for every service.

use diesel_migrations::EmbeddedMigrations;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::{DatabaseUrl, MigrationError, Migrator, SchemaNames};

/// What `migrate` is asked for.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct MigrateCommand {
    /// First make the schema, its roles and their rights, and give the owner role what others own in it: once, after a
    /// release says so, and to give the service's role the password in DATABASE_URL when that is a new one. Needs an
    /// administrator in MIGRATE_DATABASE_URL: a superuser, or a role that may make roles and schemas
    #[arg(long, conflicts_with_all = ["status", "down"])]
    bootstrap: bool,
    /// Change nothing; say which migrations ran and which are pending
    #[arg(long, conflicts_with = "down")]
    status: bool,
    /// Take the newest N migrations back, with what their tables and columns hold. Stop the service first, and have a backup
    #[arg(long, value_name = "N", requires = "confirm", value_parser = clap::value_parser!(u16).range(1..))]
    down: Option<u16>,
    /// With --down: the schema's name, as a sign that its data may go
    #[arg(long, value_name = "SCHEMA", requires = "down")]
    confirm: Option<String>,
}

/// Who migrates, and for whom.
#[derive(Debug, Clone)]
pub struct MigrationAccess {
    /// Who migrates: an administrator, the schema's owner, or a member of that.
    pub migrating: DatabaseUrl,
    /// The service's login role.
    pub service: DatabaseUrl,
    /// Lets the owner role log in.
    pub owner_password: Option<SecretString>,
}

/// Why `migrate` did not do it.
#[derive(Debug, thiserror::Error)]
pub enum MigrateCommandError {
    /// The data of another schema, or of none, was given up.
    #[error("--confirm must be {schema}, the schema whose data goes")]
    NotConfirmed {
        /// The schema.
        schema: String,
    },
    /// See there.
    #[error(transparent)]
    Migration(#[from] MigrationError),
}

impl MigrateCommand {
    /// Does it. Returns what to print.
    ///
    /// # Errors
    /// [`MigrateCommandError`]; asking again after the cause is mended is safe.
    pub async fn run(
        self,
        access: &MigrationAccess,
        names: &SchemaNames,
        migrations: EmbeddedMigrations,
    ) -> Result<Value, MigrateCommandError> {
        let schema = &names.schema;
        if let Some(count) = self.down {
            if self.confirm.as_ref() != Some(schema) {
                let schema = schema.clone();
                return Err(MigrateCommandError::NotConfirmed { schema });
            }
            let reverted = Migrator::connect(&access.migrating, names).await?;
            let reverted = reverted.down(count, migrations).await?;
            return Ok(json!({"schema": schema, "migrations_reverted": reverted}));
        }
        let migrator = if self.bootstrap {
            let password = access.owner_password.as_ref();
            Migrator::bootstrap(&access.migrating, &access.service, password, names).await?
        } else {
            Migrator::connect(&access.migrating, names).await?
        };
        if self.status {
            let standing = migrator.status(&migrations).await?;
            return Ok(json!({
                "schema": schema,
                "applied": standing.applied,
                "pending": standing.pending,
                "unknown": standing.unknown,
            }));
        }
        let ran = migrator.up(migrations).await?;
        Ok(json!({"schema": schema, "migrations_run": ran}))
    }
}
