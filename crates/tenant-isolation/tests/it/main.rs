//! Tenants are kept apart by Postgres itself, whatever the code asks for.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod holes;
mod resolving;
mod rows;
mod transactions;

use std::time::Duration;

use database::{Database, PoolSettings};
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use domain::ids::TenantId;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use test_support::TestDatabase;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/channel");

/// A migrated schema with a small tenant table, used over one single connection.
struct World {
    test: TestDatabase,
    db: Database,
}

impl World {
    async fn new() -> Self {
        let test = TestDatabase::create("channel", MIGRATIONS).await;
        test.admin()
            .await
            .batch_execute(
                "CREATE TABLE notes (tenant_id text NOT NULL, id integer NOT NULL, PRIMARY KEY (tenant_id, id)); \
                 SELECT keep_tenants_apart('notes'); \
                 GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO channel_tenant, channel_platform",
            )
            .await
            .unwrap();
        let one = PoolSettings {
            size: 1,
            wait: Duration::from_secs(5),
        };
        let db = Database::new(&test.url, test.names.clone(), one).unwrap();
        Self { test, db }
    }

    /// With the notes 1 and 2 of `a`, 1 of `b` and 1 of `c`: equal ids that must not meet.
    async fn with_notes() -> Self {
        let world = Self::new().await;
        for (tenant, id) in [("a", 1), ("a", 2), ("b", 1), ("c", 1)] {
            let mut tx = world.begin(tenant).await;
            write(tx.connection(), tenant, id).await.unwrap();
            tx.commit().await.unwrap();
        }
        world
    }

    async fn begin(&self, tenant: &str) -> TenantTransaction {
        TenantTransaction::begin(&self.db, &scope(tenant), "test")
            .await
            .unwrap()
    }

    async fn begin_platform(&self) -> PlatformTransaction {
        PlatformTransaction::begin(&self.db, PlatformScope::for_purpose("test"))
            .await
            .unwrap()
    }

    /// What is really there.
    async fn all(&self) -> Vec<String> {
        notes(&mut self.test.admin().await).await
    }
}

fn scope(tenant: &str) -> TenantScope {
    TenantScope::named_by_operator(TenantId::parse(tenant).unwrap())
}

#[derive(diesel::QueryableByName)]
struct Found {
    #[diesel(sql_type = Text)]
    found: String,
}

/// Every note there is for the connection, without a `WHERE`.
async fn notes(connection: &mut AsyncPgConnection) -> Vec<String> {
    texts(
        connection,
        "SELECT tenant_id || id::text AS found FROM notes ORDER BY 1",
    )
    .await
}

async fn texts(connection: &mut AsyncPgConnection, query: &str) -> Vec<String> {
    let rows: Vec<Found> = diesel::sql_query(query).load(connection).await.unwrap();
    rows.into_iter().map(|row| row.found).collect()
}

async fn write(
    connection: &mut AsyncPgConnection,
    tenant: &str,
    id: i64,
) -> Result<usize, diesel::result::Error> {
    diesel::sql_query("INSERT INTO notes (tenant_id, id) VALUES ($1, $2)")
        .bind::<Text, _>(tenant)
        .bind::<BigInt, _>(id)
        .execute(connection)
        .await
}
