//! Owns Postgres: where it is, a bounded pool of connections, migrations, and what its errors mean.
//!
//! Knows nothing of tenants: who may see which row is `tenant-isolation`'s and the policies' business.

mod bootstrap;
mod command;
mod error;
mod examine;
mod migrate;
mod patience;
mod pool;
mod sql;
mod standing;
mod tls;
mod url;

pub use command::{MigrateCommand, MigrateCommandError, MigrationAccess};
pub use error::DatabaseError;
pub use examine::examine;
pub use migrate::{MigrationError, Migrator, connect_as_owner, migrate};
pub use patience::Patience;
pub use pool::{Connection, Database, PoolSettings, PoolUse, read_elsewhere};
pub use sql::{Bound, Statement, sql};
pub use standing::{SchemaError, Standing};
pub use url::{DatabaseUrl, InvalidDatabaseUrl};

/// The names under which one service lives in a database: its schema, who owns that, and its two roles that hold rights.
///
/// The service's login role is a member of the latter two, which cannot log in, inherits from neither, and works as `tenant`
/// unless a transaction asks for `platform`. The owner is another role, as which migrations run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaNames {
    /// The schema that holds every table of the service.
    pub schema: String,
    /// Owns the schema and all that is in it, and has no right anywhere else.
    pub owner_role: String,
    /// Sees the rows of the tenants its transaction names, and nothing else.
    pub tenant_role: String,
    /// For the few places that work over many tenants.
    pub platform_role: String,
}

impl SchemaNames {
    /// The names of a service: schema `channel` has the roles `channel_owner`, `channel_tenant` and
    /// `channel_platform`.
    #[must_use]
    pub fn of_service(schema: &str) -> Self {
        Self::with_roles_of(schema, schema)
    }

    /// A schema with another service's roles; tests make many schemas and must not make many roles.
    #[must_use]
    pub fn with_roles_of(schema: &str, service: &str) -> Self {
        Self {
            schema: schema.to_owned(),
            owner_role: format!("{service}_owner"),
            tenant_role: format!("{service}_tenant"),
            platform_role: format!("{service}_platform"),
        }
    }
}

/// Writes a name so that SQL takes it as one identifier.
#[must_use]
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Writes a text so that SQL takes it as one literal. Only for statements that take no parameters (`SET`, DDL).
#[must_use]
pub fn quote_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
