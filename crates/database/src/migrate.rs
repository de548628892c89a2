//! Bringing a schema up to date, and back: by its owner, before the service runs, one process at a time.

use diesel::migration::{Migration, MigrationSource, MigrationVersion};
use diesel::pg::Pg;
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, SimpleAsyncConnection as _};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _};
use secrecy::SecretString;

use crate::bootstrap::{MAY_BECOME, bootstrap, exists};
use crate::patience::Patience;
use crate::pool::with_causes;
use crate::standing::{self, Standing};
use crate::{DatabaseError, DatabaseUrl, SchemaNames, quote_identifier, quote_literal};

/// Why a schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// A right is missing, or Postgres went away.
    #[error("the database cannot be prepared: {0}")]
    Prepare(#[source] DatabaseError),
    /// Postgres cannot be reached.
    #[error("cannot connect as {role}: {why}")]
    Connect {
        /// The role.
        role: String,
        /// What the driver says, with every cause.
        why: String,
    },
    /// The service would run as who owns or administers the schema.
    #[error(
        "the service would log in as {role}, which owns or administers the schema; name a role of its own in DATABASE_URL \
         (it is made if it is missing) and an administrator in MIGRATE_DATABASE_URL"
    )]
    SameRole {
        /// That role.
        role: String,
    },
    /// A role that was there before may do more than is safe.
    #[error(
        "role {role} is a superuser, bypasses row-level security, makes roles or databases, or may become {owner}; take that \
         away from it, or name another role in DATABASE_URL"
    )]
    TooPowerful {
        /// That role.
        role: String,
        /// The schema's owner.
        owner: String,
    },
    /// The schema is missing, or belongs to somebody else.
    #[error(
        "schema {schema} is not set up: it must be there and belong to {owner}; run `migrate --bootstrap` once, with an \
         administrator in MIGRATE_DATABASE_URL"
    )]
    NotSetUp {
        /// The schema.
        schema: String,
        /// Who should own it.
        owner: String,
    },
    /// The role that connects may not work as the schema's owner.
    #[error(
        "role {role} may not become {owner}; name {owner}, a member of it, or an administrator in MIGRATE_DATABASE_URL"
    )]
    NotOwner {
        /// Who connected.
        role: String,
        /// The schema's owner.
        owner: String,
    },
    /// The way back is not known here.
    #[error("the schema has migrations of a newer release ({}); only that release can take them back", .0.join(", "))]
    Newer(Vec<String>),
    /// Others held what a change needs for too long.
    #[error(
        "gave up after {tries} tries, because running transactions are in the way ({held}): {failure}. What was done before \
         stays; end those transactions (`SELECT pg_terminate_backend(PROCESS)`) or stop who makes them, and run `migrate` again"
    )]
    Busy {
        /// How often it was tried.
        tries: u32,
        /// What went wrong the last time.
        failure: String,
        /// Tables that were held all the while, and by which process of Postgres.
        held: String,
    },
    /// A migration failed; the schema is as the last good one left it.
    #[error("a migration failed: {0}")]
    Migration(Box<dyn std::error::Error + Send + Sync>),
}

impl From<DatabaseError> for MigrationError {
    fn from(error: DatabaseError) -> Self {
        Self::Prepare(error)
    }
}

impl From<diesel::result::Error> for MigrationError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Prepare(error.into())
    }
}

/// Sets a schema up and runs the pending migrations, as `migrate --bootstrap` does; see [`Migrator`].
///
/// # Errors
/// [`MigrationError`]; running it again after the cause is mended is safe.
pub async fn migrate(
    admin: &DatabaseUrl,
    service: &DatabaseUrl,
    names: &SchemaNames,
    migrations: EmbeddedMigrations,
) -> Result<Vec<String>, MigrationError> {
    let migrator = Migrator::bootstrap(admin, service, None, names).await?;
    migrator.up(migrations).await
}

/// A connection that works as the owner of a schema. While it lives, every other migrating process of this database waits.
/// Needs tokio's multi-thread runtime.
pub struct Migrator {
    connection: AsyncPgConnection,
    names: SchemaNames,
    patience: Patience,
}

impl Migrator {
    /// Connects as `migrating`, which may become the schema's owner.
    ///
    /// # Errors
    /// [`MigrationError::NotSetUp`] and [`MigrationError::NotOwner`] among others.
    pub async fn connect(migrating: &DatabaseUrl, names: &SchemaNames) -> Result<Self, MigrationError> {
        Self::work_as_owner(locked(migrating).await?, migrating, names).await
    }

    /// Connects as `admin`, who may make roles and schemas; makes the schema and its roles where they are missing, and gives
    /// the owner role what somebody else owns. The service's login role gets the password of `service`; the owner role
    /// may log in where `owner_password` is given.
    ///
    /// # Errors
    /// [`MigrationError`]; running it again after the cause is mended is safe.
    pub async fn bootstrap(
        admin: &DatabaseUrl,
        service: &DatabaseUrl,
        owner_password: Option<&SecretString>,
        names: &SchemaNames,
    ) -> Result<Self, MigrationError> {
        let mut connection = locked(admin).await?;
        bootstrap(&mut connection, admin, service, owner_password, names).await?;
        Self::work_as_owner(connection, admin, names).await
    }

    async fn work_as_owner(
        mut connection: AsyncPgConnection,
        migrating: &DatabaseUrl,
        names: &SchemaNames,
    ) -> Result<Self, MigrationError> {
        become_owner(&mut connection, migrating, names).await?;
        connection.batch_execute(standing::TABLE).await?;
        Ok(Self {
            connection,
            names: names.clone(),
            patience: Patience::default(),
        })
    }

    /// With another patience towards transactions that are in the way.
    #[must_use]
    pub const fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Runs the pending migrations, beside a service at work if need be. Returns their names.
    ///
    /// # Errors
    /// [`MigrationError::Migration`] names the one that failed, [`MigrationError::Busy`] the one for which there was never room;
    /// those before it stay.
    pub async fn up(mut self, migrations: EmbeddedMigrations) -> Result<Vec<String>, MigrationError> {
        let mut harness = AsyncMigrationHarness::new(self.connection);
        // Makes diesel's table where it is missing.
        harness.applied_migrations().map_err(MigrationError::Migration)?;
        self.connection = harness.into_inner();
        let pending = standing::read(&mut self.connection, &migrations).await?.pending;
        for version in &pending {
            self = self
                .step(&migrations, version, |harness, one| harness.run_migration(one))
                .await?;
        }
        self.connection.batch_execute(&grants(&self.names)).await?;
        Ok(pending)
    }

    /// Takes the newest `count` migrations back, newest first, with all that their tables hold. Returns their names.
    ///
    /// # Errors
    /// [`MigrationError::Newer`] before anything is done; [`MigrationError::Migration`] when one failed.
    pub async fn down(
        mut self,
        count: u16,
        migrations: EmbeddedMigrations,
    ) -> Result<Vec<String>, MigrationError> {
        let standing = standing::read(&mut self.connection, &migrations).await?;
        if !standing.unknown.is_empty() {
            return Err(MigrationError::Newer(standing.unknown));
        }
        let newest: Vec<String> = standing
            .applied
            .into_iter()
            .rev()
            .take(usize::from(count))
            .collect();
        for version in &newest {
            self = self
                .step(&migrations, version, |harness, one| harness.revert_migration(one))
                .await?;
        }
        Ok(newest)
    }

    /// Does something with one migration, until nobody is in its way.
    async fn step(
        mut self,
        migrations: &EmbeddedMigrations,
        version: &str,
        act: impl Fn(&mut Harness, &dyn Migration<Pg>) -> Result<MigrationVersion<'static>, Failure> + Send,
    ) -> Result<Self, MigrationError> {
        self.connection.batch_execute(&self.patience.setting()).await?;
        let mut tries = self.patience.tries();
        loop {
            tries.begin(&mut self.connection, &self.names).await?;
            let mut harness = AsyncMigrationHarness::new(self.connection);
            let done = find(migrations, version).and_then(|one| act(&mut harness, &*one));
            self.connection = harness.into_inner();
            match done {
                Ok(_) => return Ok(self),
                Err(failure) => {
                    let failure = MigrationError::Migration(failure);
                    tries.again(&mut self.connection, &self.names, failure).await?;
                }
            }
        }
    }

    /// Which migrations ran and which are pending.
    ///
    /// # Errors
    /// When Postgres went away.
    pub async fn status(mut self, migrations: &EmbeddedMigrations) -> Result<Standing, MigrationError> {
        Ok(standing::read(&mut self.connection, migrations).await?)
    }
}

type Harness = AsyncMigrationHarness<AsyncPgConnection>;
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn find(migrations: &EmbeddedMigrations, version: &str) -> Result<Box<dyn Migration<Pg>>, Failure> {
    let known = MigrationSource::<Pg>::migrations(migrations)?;
    let found = known
        .into_iter()
        .find(|one| one.name().version().to_string() == version);
    found.ok_or_else(|| format!("migration {version} is not known").into())
}

/// A connection that works as the owner of a schema, for the few chores that the service's roles have no right to. It waits
/// for nobody who migrates.
///
/// # Errors
/// [`MigrationError::NotSetUp`] and [`MigrationError::NotOwner`] among others.
pub async fn connect_as_owner(
    url: &DatabaseUrl,
    names: &SchemaNames,
) -> Result<AsyncPgConnection, MigrationError> {
    let mut connection = connect(url).await?;
    become_owner(&mut connection, url, names).await?;
    connection
        .batch_execute("SET statement_timeout = '120s'; SET lock_timeout = '10s'")
        .await?;
    Ok(connection)
}

/// From here on the connection works as the schema's owner, in the schema. Who logged in as the owner is it already.
async fn become_owner(
    connection: &mut AsyncPgConnection,
    login: &DatabaseUrl,
    names: &SchemaNames,
) -> Result<(), MigrationError> {
    let owner = &names.owner_role;
    let owned = "SELECT 1 AS one FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner \
                  WHERE n.nspname = $1 AND r.rolname = $2";
    if !exists(connection, owned, &[&names.schema, owner]).await? {
        return Err(MigrationError::NotSetUp {
            schema: names.schema.clone(),
            owner: owner.clone(),
        });
    }
    if !exists(connection, MAY_BECOME, &[owner]).await? {
        return Err(MigrationError::NotOwner {
            role: login.user().to_owned(),
            owner: owner.clone(),
        });
    }
    let (schema, owner) = (quote_identifier(&names.schema), quote_identifier(owner));
    connection
        .batch_execute(&format!("SET ROLE {owner}; SET search_path TO {schema}"))
        .await?;
    Ok(())
}

/// A connection that waits for its turn among all migrating processes of the database. The turn ends with the connection.
async fn locked(url: &DatabaseUrl) -> Result<AsyncPgConnection, MigrationError> {
    let mut connection = connect(url).await?;
    connection
        .batch_execute("SELECT pg_advisory_lock(hashtext('kanal migrations'))")
        .await?;
    Ok(connection)
}

async fn connect(url: &DatabaseUrl) -> Result<AsyncPgConnection, MigrationError> {
    let refused = |error| MigrationError::Connect {
        role: url.user().to_owned(),
        why: with_causes(&error),
    };
    let options = url.options().map_err(refused)?;
    let (client, connection) = url.connect(options).await.map_err(refused)?;
    AsyncPgConnection::try_from_client_and_connection(client, connection)
        .await
        .map_err(|error| MigrationError::Migration(Box::new(error)))
}

/// Rights are granted on whole schemas after the migrations, so that no migration can forget them; what a row lets
/// through is the policies' business. Which migrations ran may be read and not changed.
fn grants(names: &SchemaNames) -> String {
    let schema = quote_identifier(&names.schema);
    [&names.tenant_role, &names.platform_role]
        .map(|role| {
            let role = quote_identifier(role);
            format!(
                "GRANT USAGE ON SCHEMA {schema} TO {role}; \
                 GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}; \
                 GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}; \
                 REVOKE ALL ON {schema}.__diesel_schema_migrations, {schema}.__migrations_to_know FROM {role}; \
                 GRANT SELECT ON {schema}.__diesel_schema_migrations, {schema}.__migrations_to_know TO {role};"
            )
        })
        .concat()
        + &append_only(names)
}

/// A table whose comment begins with `append-only` is one: rows are added and read, nothing else.
fn append_only(names: &SchemaNames) -> String {
    let schema = quote_literal(&quote_identifier(&names.schema));
    let roles = [&names.tenant_role, &names.platform_role].map(|role| quote_identifier(role));
    let roles = roles.join(", ");
    format!(
        "DO $append_only$ DECLARE append_only regclass; BEGIN \
           FOR append_only IN SELECT oid FROM pg_class \
                WHERE relnamespace = {schema}::regnamespace AND obj_description(oid, 'pg_class') LIKE 'append-only%' LOOP \
             EXECUTE format('REVOKE UPDATE, DELETE ON %s FROM ', append_only) || {}; \
           END LOOP; \
         END $append_only$;",
        quote_literal(&roles)
    )
}
