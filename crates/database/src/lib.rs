//! Owns Postgres: where it is, a bounded pool of connections, migrations, and what its errors mean.
//!
//! Knows nothing of tenants: who may see which row is `tenant-isolation`'s and the policies' business.

mod error;
mod migrate;
mod pool;
mod sql;
mod url;

pub use error::DatabaseError;
pub use migrate::{MigrationError, migrate};
pub use pool::{Connection, Database, PoolSettings, connect_as_owner, read_elsewhere};
pub use sql::{Bound, Statement, sql};
pub use url::{DatabaseUrl, InvalidDatabaseUrl};

/// The names under which one service lives in a database: its schema and its two roles that hold rights.
///
/// Neither role can log in. The service's login role is a member of both, inherits from neither, and works as
/// `tenant` unless a transaction asks for `platform`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaNames {
    /// The schema that holds every table of the service.
    pub schema: String,
    /// Sees the rows of the tenants its transaction names, and nothing else.
    pub tenant_role: String,
    /// For the few places that work over many tenants.
    pub platform_role: String,
}

impl SchemaNames {
    /// The names of a service: schema `channel` has the roles `channel_tenant` and `channel_platform`.
    #[must_use]
    pub fn of_service(schema: &str) -> Self {
        Self::with_roles_of(schema, schema)
    }

    /// A schema with another service's roles; tests make many schemas and must not make many roles.
    #[must_use]
    pub fn with_roles_of(schema: &str, service: &str) -> Self {
        Self {
            schema: schema.to_owned(),
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
