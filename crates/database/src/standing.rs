//! What a schema's migrations and a release's have to do with each other.
//!
//! A release runs on a schema that has all of its migrations and perhaps newer ones: those only add, until no release in use
//! reads what they replace. A migration that cannot wait for that is for releases that know it, and says so in its `up.sql`:
//! `INSERT INTO __migrations_to_know VALUES ('20270101000001')` with its own version; its `down.sql` deletes that row.

use std::collections::BTreeSet;

use diesel::migration::MigrationSource;
use diesel::pg::Pg;
use diesel::sql_types::{Bool, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use diesel_migrations::EmbeddedMigrations;

use crate::{Database, DatabaseError, sql};

/// Beside diesel's own table; made before the first migration runs.
pub(crate) const TABLE: &str = "SET client_min_messages = warning; \
                                CREATE TABLE IF NOT EXISTS __migrations_to_know (version text PRIMARY KEY); \
                                RESET client_min_messages";

/// The migrations of a schema and of a release, by their versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Ran, oldest first.
    pub applied: Vec<String>,
    /// Known here, and did not run.
    pub pending: Vec<String>,
    /// Ran, and is not known here: a newer release's.
    pub unknown: Vec<String>,
    /// Of these, those that whoever uses the schema must know.
    pub unknown_to_know: Vec<String>,
}

/// Why a service cannot work with the schema that it finds.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// It cannot be asked.
    #[error("the schema's migrations cannot be read")]
    Database(#[from] DatabaseError),
    /// Migrations of this release did not run.
    #[error("schema {schema} is older than this release: {} of its migrations did not run; run `migrate` of this release, or \
             `migrate --bootstrap` where that says so", .pending.len())]
    Behind {
        /// The schema.
        schema: String,
        /// Which.
        pending: Vec<String>,
    },
    /// A newer release took something away that this one may read.
    #[error("schema {schema} was changed by a newer release in a way that this one cannot work with (migrations {}); run that \
             release, or take them back with its `migrate --down`", .unknown.join(", "))]
    Ahead {
        /// The schema.
        schema: String,
        /// Which.
        unknown: Vec<String>,
    },
}

impl Database {
    /// Can a release with these migrations work with the schema as it is?
    ///
    /// # Errors
    /// [`SchemaError`] says why not, and what would help.
    pub async fn check_schema(&self, migrations: &EmbeddedMigrations) -> Result<(), SchemaError> {
        let schema = self.names().schema.clone();
        let standing = read(&mut *self.connection().await?, migrations).await?;
        if !standing.unknown_to_know.is_empty() {
            let unknown = standing.unknown_to_know;
            return Err(SchemaError::Ahead { schema, unknown });
        }
        if !standing.pending.is_empty() {
            let pending = standing.pending;
            return Err(SchemaError::Behind { schema, pending });
        }
        Ok(())
    }
}

#[derive(diesel::QueryableByName)]
struct Readable {
    #[diesel(sql_type = Bool)]
    readable: bool,
}

#[derive(diesel::QueryableByName)]
struct Noted {
    #[diesel(sql_type = Text)]
    version: String,
    #[diesel(sql_type = Bool)]
    to_know: bool,
}

/// Of a schema that has no such tables, or does not show them as an older release did not, nothing ran.
pub(crate) async fn read(
    connection: &mut AsyncPgConnection,
    migrations: &EmbeddedMigrations,
) -> Result<Standing, DatabaseError> {
    let known = versions(migrations)?;
    let readable: Readable = sql(
        "SELECT coalesce(has_table_privilege(to_regclass('__diesel_schema_migrations')::oid, 'SELECT') \
         AND has_table_privilege(to_regclass('__migrations_to_know')::oid, 'SELECT'), false) AS readable",
    )
    .get_result(connection)
    .await?;
    if !readable.readable {
        return Ok(Standing {
            pending: known.into_iter().collect(),
            ..Standing::default()
        });
    }
    let noted: Vec<Noted> = sql(
        "SELECT version::text AS version, EXISTS (SELECT 1 FROM __migrations_to_know k WHERE k.version = m.version) AS to_know \
         FROM __diesel_schema_migrations m ORDER BY version",
    )
    .load(connection)
    .await?;
    let applied: BTreeSet<&str> = noted.iter().map(|row| row.version.as_str()).collect();
    let unknown = noted.iter().filter(|row| !known.contains(&row.version));
    Ok(Standing {
        pending: known
            .iter()
            .filter(|version| !applied.contains(version.as_str()))
            .cloned()
            .collect(),
        unknown: unknown.clone().map(|row| row.version.clone()).collect(),
        unknown_to_know: unknown
            .filter(|row| row.to_know)
            .map(|row| row.version.clone())
            .collect(),
        applied: noted.iter().map(|row| row.version.clone()).collect(),
    })
}

fn versions(migrations: &EmbeddedMigrations) -> Result<BTreeSet<String>, DatabaseError> {
    let known = MigrationSource::<Pg>::migrations(migrations).map_err(DatabaseError::Refused)?;
    Ok(known.iter().map(|one| one.name().version().to_string()).collect())
}
