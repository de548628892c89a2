//! The database keeps customers apart by itself, and the schema can go back and forth.

use database::DatabaseError;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncMigrationHarness, RunQueryDsl as _};
use diesel_migrations::MigrationHarness as _;
use tenant_isolation::{TenantTransaction, policy};
use test_support::TestDatabase;
use wa_support_gateway::MIGRATIONS;

use crate::support::{FakeWaServer, scope, try_session};

#[derive(diesel::QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

const NAMES: &str = "SELECT session_name AS name FROM sessions \
                     UNION ALL SELECT 'customer ' || tenant_id FROM customers \
                     UNION ALL SELECT 'subscription ' || tenant_id FROM subscriptions \
                     UNION ALL SELECT 'directory ' || tenant_id FROM tenant_directory WHERE kind = 'session_name' \
                     ORDER BY 1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_without_a_where_sees_one_customer() {
    test_support::install_crypto_provider();
    let database = TestDatabase::create("wa_support", MIGRATIONS).await;
    policy::check(&database.db).await.unwrap();
    let wa = FakeWaServer::start();
    for customer in ["desa-a", "desa-b"] {
        try_session(&database.db, &wa, customer, customer, |_| {})
            .await
            .unwrap();
    }
    for customer in ["desa-a", "desa-b"] {
        let mut tx = TenantTransaction::begin(&database.db, &scope(customer), "test")
            .await
            .unwrap();
        let rows: Vec<Name> = diesel::sql_query(NAMES).load(tx.connection()).await.unwrap();
        let names: Vec<String> = rows.into_iter().map(|row| row.name).collect();
        let expected =
            ["customer ", "", "directory ", "subscription "].map(|prefix| format!("{prefix}{customer}"));
        assert_eq!(names, expected);
        // Nor can it change or take over what it does not see.
        for statement in [
            "UPDATE sessions SET webhook_url = 'http://x'",
            "DELETE FROM tenant_directory",
        ] {
            let touched = diesel::sql_query(statement)
                .execute(tx.connection())
                .await
                .unwrap();
            assert!(touched <= 3, "{statement} touched {touched}");
        }
        drop(tx);
    }
    let mut tx = TenantTransaction::begin(&database.db, &scope("desa-a"), "test")
        .await
        .unwrap();
    let insert = "INSERT INTO customers (tenant_id, source_service) VALUES ('desa-c', 'x')";
    let error: DatabaseError = diesel::sql_query(insert)
        .execute(tx.connection())
        .await
        .unwrap_err()
        .into();
    assert!(matches!(error, DatabaseError::Refused(_)), "{error:?}");
    drop(tx);

    // Outside a scope there are no rows at all.
    let mut connection = database.db.connection().await.unwrap();
    let count = "SELECT count(*) AS count FROM sessions";
    let counted: Count = diesel::sql_query(count)
        .get_result(&mut *connection)
        .await
        .unwrap();
    assert_eq!(counted.count, 0);
    let mut admin = database.admin().await;
    let counted: Count = diesel::sql_query(count).get_result(&mut admin).await.unwrap();
    assert_eq!(counted.count, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_readable_in_the_database() {
    test_support::install_crypto_provider();
    let database = TestDatabase::create("wa_support", MIGRATIONS).await;
    let wa = FakeWaServer::start();
    let made = try_session(&database.db, &wa, "desa-a", "desa-a", |_| {})
        .await
        .unwrap();
    let mut admin = database.admin().await;
    let dump = "SELECT concat(row_to_json(s)::text, row_to_json(d)::text) AS name FROM sessions s, tenant_directory d";
    let rows: Vec<Name> = diesel::sql_query(dump).load(&mut admin).await.unwrap();
    for row in rows {
        for secret in [&made.token, &made.hmac_key] {
            assert!(!row.name.contains(secrecy::ExposeSecret::expose_secret(secret)));
        }
    }
    let shown = format!("{made:?}");
    assert!(!shown.contains("wat_"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_migrations_go_down_and_up_again() {
    let database = TestDatabase::create("wa_support", MIGRATIONS).await;
    let mut harness = AsyncMigrationHarness::new(database.admin().await);
    harness.revert_all_migrations(MIGRATIONS).unwrap();
    let mut admin = harness.into_inner();
    let left = "SELECT count(*) AS count FROM pg_tables WHERE schemaname = current_schema()";
    let counted: Count = diesel::sql_query(left).get_result(&mut admin).await.unwrap();
    assert_eq!(counted.count, 2, "only the lists of migrations are left");
    let mut harness = AsyncMigrationHarness::new(admin);
    harness.run_pending_migrations(MIGRATIONS).unwrap();
    assert!(!harness.has_pending_migration(MIGRATIONS).unwrap());
    policy::check(&database.db).await.unwrap();
}
