//! Bringing a schema up to date: run by a privileged role, before the service, by one process at a time.

use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness};
use secrecy::ExposeSecret;

use crate::{DatabaseError, DatabaseUrl, SchemaNames, quote_identifier, quote_literal};

/// Why a schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The privileged role cannot connect or lacks a right.
    #[error("the database cannot be prepared: {0}")]
    Prepare(#[source] DatabaseError),
    /// Postgres cannot be reached.
    #[error("cannot connect as {role}: {source}")]
    Connect {
        /// The privileged role.
        role: String,
        /// What the driver says.
        source: tokio_postgres::Error,
    },
    /// A migration failed; the schema is as the last good one left it.
    #[error("a migration failed: {0}")]
    Migration(Box<dyn std::error::Error + Send + Sync>),
}

impl From<diesel::result::Error> for MigrationError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Prepare(error.into())
    }
}

/// Creates what is missing (schema, roles, the service's login role) and runs the pending migrations.
///
/// `admin` must be able to create roles and schemas. Needs tokio's multi-thread runtime. Returns the names of the
/// migrations that ran.
///
/// # Errors
/// [`MigrationError`]; running it again after the cause is mended is safe.
pub async fn migrate(
    admin: &DatabaseUrl,
    service: &DatabaseUrl,
    names: &SchemaNames,
    migrations: EmbeddedMigrations,
) -> Result<Vec<String>, MigrationError> {
    let connect = |source| MigrationError::Connect {
        role: admin.user().to_owned(),
        source,
    };
    let options = admin.options().map_err(connect)?;
    let (client, connection) = options.connect(tokio_postgres::NoTls).await.map_err(connect)?;
    let mut connection = AsyncPgConnection::try_from_client_and_connection(client, connection)
        .await
        .map_err(|error| MigrationError::Migration(Box::new(error)))?;

    // Every migrating process of this database queues here, whatever its schema.
    connection
        .batch_execute("SELECT pg_advisory_lock(hashtext('kanal migrations'))")
        .await?;
    prepare(&mut connection, service, names).await?;
    let mut harness = AsyncMigrationHarness::new(connection);
    let ran = harness
        .run_pending_migrations(migrations)
        .map(|versions| versions.iter().map(ToString::to_string).collect())
        .map_err(MigrationError::Migration);
    let mut connection = harness.into_inner();
    if ran.is_ok() {
        connection.batch_execute(&grants(names)).await?;
    }
    connection
        .batch_execute("SELECT pg_advisory_unlock(hashtext('kanal migrations'))")
        .await?;
    ran
}

async fn prepare(
    connection: &mut AsyncPgConnection,
    service: &DatabaseUrl,
    names: &SchemaNames,
) -> Result<(), diesel::result::Error> {
    let schema = quote_identifier(&names.schema);
    connection
        .batch_execute(&format!(
            "CREATE SCHEMA IF NOT EXISTS {schema}; SET search_path TO {schema}"
        ))
        .await?;
    let role_exists = "SELECT 1 AS one FROM pg_roles WHERE rolname = $1";
    for role in [&names.tenant_role, &names.platform_role] {
        let create = format!(
            "CREATE ROLE {} NOLOGIN NOSUPERUSER NOBYPASSRLS",
            quote_identifier(role)
        );
        ensure(connection, role_exists, &[role], &create).await?;
    }
    let login = quote_identifier(service.user());
    // NOINHERIT: the login role has no rights of its own until it takes one of the two roles.
    let create = format!(
        "CREATE ROLE {login} LOGIN NOINHERIT NOSUPERUSER NOBYPASSRLS PASSWORD {}",
        quote_literal(service.password().expose_secret())
    );
    ensure(connection, role_exists, &[service.user()], &create).await?;
    for role in [&names.tenant_role, &names.platform_role] {
        let is_member = "SELECT 1 AS one FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid \
                         JOIN pg_roles u ON u.oid = m.member WHERE r.rolname = $1 AND u.rolname = $2";
        let grant = format!("GRANT {} TO {login}", quote_identifier(role));
        ensure(connection, is_member, &[role, service.user()], &grant).await?;
    }
    Ok(())
}

/// Makes what is not there. The lock above holds within one database, but roles belong to all of them: somebody may
/// be making the same one in another database, and then our failure is their success.
async fn ensure(
    connection: &mut AsyncPgConnection,
    query: &str,
    binds: &[&str],
    make: &str,
) -> Result<(), diesel::result::Error> {
    if exists(connection, query, binds).await? {
        return Ok(());
    }
    match connection.batch_execute(make).await {
        Err(error) if !exists(connection, query, binds).await? => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Rights are granted on whole schemas after the migrations, so that no migration can forget them; what a row lets
/// through is the policies' business.
fn grants(names: &SchemaNames) -> String {
    let schema = quote_identifier(&names.schema);
    [&names.tenant_role, &names.platform_role]
        .map(|role| {
            let role = quote_identifier(role);
            format!(
                "GRANT USAGE ON SCHEMA {schema} TO {role}; \
                 GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}; \
                 GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}; \
                 REVOKE ALL ON TABLE {schema}.__diesel_schema_migrations FROM {role};"
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

#[derive(diesel::QueryableByName)]
struct One {
    #[diesel(sql_type = diesel::sql_types::Integer)]
    #[expect(dead_code, reason = "only its existence matters")]
    one: i32,
}

async fn exists(
    connection: &mut AsyncPgConnection,
    query: &str,
    binds: &[&str],
) -> Result<bool, diesel::result::Error> {
    let mut query = diesel::sql_query(query).into_boxed::<diesel::pg::Pg>();
    for bind in binds {
        query = query.bind::<diesel::sql_types::Text, _>((*bind).to_owned());
    }
    let rows: Vec<One> = query.load(connection).await?;
    Ok(!rows.is_empty())
}
