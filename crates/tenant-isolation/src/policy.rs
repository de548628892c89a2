//! The check that the database itself keeps tenants apart.
//!
//! Run by every service before it serves, and by tests: each table with a `tenant_id` has forced row-level security
//! and policies that ask for the transaction's tenants, nothing in the schema lends its owner's rights, and the roles
//! we work under cannot step around it.

use database::{Database, DatabaseError, SchemaError};
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl;
use diesel_migrations::EmbeddedMigrations;

/// What is wrong with the database's defences.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The catalog cannot be read.
    #[error("the database's policies cannot be checked")]
    Database(#[from] DatabaseError),
    /// The schema is not one that this release works with.
    #[error(transparent)]
    Schema(SchemaError),
    /// At least one hole; the service must not serve.
    #[error("tenants are not kept apart: {}", .0.join("; "))]
    Holes(Vec<String>),
}

#[derive(diesel::QueryableByName)]
struct Hole {
    #[diesel(sql_type = Text)]
    hole: String,
}

const HOLES: &str = r"
SELECT format('table %s has no forced row-level security', c.relname) AS hole
  FROM pg_class c
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
 WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p')
   AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
UNION ALL
SELECT format('table %s has no policy for %s', c.relname, $2)
  FROM pg_class c
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
 WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p')
   AND NOT EXISTS (SELECT 1 FROM pg_policies p
                    WHERE p.schemaname = current_schema() AND p.tablename = c.relname AND $2 = ANY (p.roles))
UNION ALL
SELECT format('policy %s on table %s does not ask for whom the transaction works', p.policyname, c.relname)
  FROM pg_class c
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
  JOIN pg_policies p ON p.schemaname = current_schema() AND p.tablename = c.relname
 WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p')
   AND p.permissive = 'PERMISSIVE' AND ($2 = ANY (p.roles) OR 'public' = ANY (p.roles))
   AND (p.qual NOT LIKE '%kanal.tenants%' OR p.with_check NOT LIKE '%kanal.tenants%')
UNION ALL
SELECT format('view %s shows rows with its owner''s eyes', c.relname)
  FROM pg_class c
 WHERE c.relnamespace = $1::regnamespace
   AND (c.relkind = 'm' OR c.relkind = 'v'
        AND NOT coalesce(c.reloptions, '{}') && ARRAY['security_invoker=true', 'security_invoker=on'])
UNION ALL
SELECT format('function %s works with its owner''s rights', proname)
  FROM pg_proc WHERE pronamespace = $1::regnamespace AND prosecdef
UNION ALL
SELECT format('role %s may become %s', session_user, r.rolname)
  FROM pg_roles r JOIN pg_roles s ON s.rolname = session_user AND NOT s.rolsuper
 WHERE (r.rolsuper OR r.rolbypassrls) AND r.rolname <> session_user AND pg_has_role(session_user, r.oid, 'MEMBER')
UNION ALL
SELECT format('role %s is a superuser or may bypass row-level security', rolname)
  FROM pg_roles WHERE rolname IN (session_user, $2, $3) AND (rolsuper OR rolbypassrls)
UNION ALL
SELECT format('role %s owns table %s', tableowner, tablename)
  FROM pg_tables WHERE schemaname = current_schema() AND tableowner IN (session_user, $2, $3)
UNION ALL
SELECT format('role %s inherits the rights of %s', session_user, $3)
 WHERE pg_has_role(session_user, $3, 'USAGE')
";

/// What a service makes sure of before it serves: the schema is one that it knows, and keeps tenants apart.
///
/// # Errors
/// [`PolicyError`]; only of [`PolicyError::Database`] is there hope that it passes by itself.
pub async fn before_serving(db: &Database, migrations: &EmbeddedMigrations) -> Result<(), PolicyError> {
    match db.check_schema(migrations).await {
        Ok(()) => check(db).await,
        Err(SchemaError::Database(error)) => Err(PolicyError::Database(error)),
        Err(error) => Err(PolicyError::Schema(error)),
    }
}

/// Is the schema still one that this release works with? For readiness, so it takes a database that is away for one.
pub async fn knows_schema(db: &Database, migrations: &EmbeddedMigrations) -> bool {
    match db.check_schema(migrations).await {
        Ok(()) | Err(SchemaError::Database(_)) => true,
        Err(error @ (SchemaError::Behind { .. } | SchemaError::Ahead { .. })) => {
            tracing::error!(%error, "not ready");
            false
        }
    }
}

/// Looks for holes.
///
/// # Errors
/// [`PolicyError::Holes`] lists every one of them.
pub async fn check(db: &Database) -> Result<(), PolicyError> {
    let mut connection = db.connection().await?;
    let names = db.names();
    let holes: Vec<Hole> = diesel::sql_query(HOLES)
        .bind::<Text, _>(database::quote_identifier(&names.schema))
        .bind::<Text, _>(&names.tenant_role)
        .bind::<Text, _>(&names.platform_role)
        .load(&mut *connection)
        .await
        .map_err(DatabaseError::from)?;
    if holes.is_empty() {
        Ok(())
    } else {
        Err(PolicyError::Holes(
            holes.into_iter().map(|row| row.hole).collect(),
        ))
    }
}
