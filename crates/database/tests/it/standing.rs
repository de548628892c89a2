//! A schema that is older or newer than the release that finds it.

use database::{Database, MigrateCommand, MigrationAccess, Migrator, PoolSettings, SchemaError, migrate};
use diesel_async::SimpleAsyncConnection as _;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use test_support::TestDatabase;

use super::MIGRATIONS;
use super::migrating::{Own, admin_url};

/// A release that came before [`MIGRATIONS`]: it knows the first of them.
const EARLIER: EmbeddedMigrations = embed_migrations!("tests/earlier_migrations");

async fn noted(test: &TestDatabase, statement: &str) {
    test.admin().await.batch_execute(statement).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_works_on_its_schema_and_on_one_that_only_grew() {
    let test = TestDatabase::create("channel", MIGRATIONS).await;
    test.db.check_schema(&MIGRATIONS).await.unwrap();
    test.db.check_schema(&EARLIER).await.unwrap();

    noted(
        &test,
        "INSERT INTO __migrations_to_know VALUES ('20261121000002')",
    )
    .await;
    test.db.check_schema(&MIGRATIONS).await.unwrap();
    let error = test.db.check_schema(&EARLIER).await.unwrap_err();
    assert!(
        matches!(&error, SchemaError::Ahead { unknown, .. } if unknown == &["20261121000002"]),
        "{error}"
    );
    assert!(error.to_string().contains("migrate --down"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_schema_says_what_to_run() {
    let test = TestDatabase::create("channel", EARLIER).await;
    let error = test.db.check_schema(&MIGRATIONS).await.unwrap_err();
    assert!(
        matches!(&error, SchemaError::Behind { pending, .. } if pending == &["20261121000002"]),
        "{error}"
    );
    assert!(error.to_string().contains("run `migrate`"), "{error}");
    // Releases before this one kept both tables to themselves, or had none.
    noted(&test, "DROP TABLE __migrations_to_know").await;
    let error = test.db.check_schema(&EARLIER).await.unwrap_err();
    assert!(
        matches!(&error, SchemaError::Behind { pending, .. } if pending.len() == 1),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_is_no_wrong_schema() {
    let test = TestDatabase::create("channel", MIGRATIONS).await;
    let mut url = url::Url::parse(&test.direct_url()).unwrap();
    url.set_port(Some(1)).unwrap();
    let settings = PoolSettings {
        size: 1,
        wait: std::time::Duration::from_secs(1),
    };
    let away = Database::new(&url.as_str().parse().unwrap(), test.names.clone(), settings).unwrap();
    let error = away.check_schema(&MIGRATIONS).await.unwrap_err();
    assert!(matches!(error, SchemaError::Database(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_knows_a_migration_takes_it_back_and_only_when_told_whose_data_goes() {
    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        migrate: MigrateCommand,
    }
    let own = Own::new();
    let access = MigrationAccess {
        migrating: admin_url().parse().unwrap(),
        service: own.url(&admin_url()),
        owner_password: None,
    };
    migrate(&access.migrating, &access.service, &own.names, MIGRATIONS)
        .await
        .unwrap();
    let command = |arguments: &[&str]| {
        let words = [&["migrate"], arguments].concat();
        <Cli as clap::Parser>::try_parse_from(words).map(|cli| cli.migrate)
    };
    for wrong in [
        &["--down", "1"][..],
        &["--down", "0", "--confirm", "x"],
        &["--confirm", "x"],
        &["--bootstrap", "--status"],
        &["--down", "1", "--confirm", "x", "--status"],
    ] {
        assert!(command(wrong).is_err(), "{wrong:?}");
    }
    let schema = own.names.schema.as_str();
    let other = command(&["--down", "1", "--confirm", "public"]).unwrap();
    let refused = other.run(&access, &own.names, MIGRATIONS).await.unwrap_err();
    assert!(refused.to_string().contains(schema), "{refused}");
    let newer = Migrator::connect(&access.migrating, &own.names).await.unwrap();
    let refused = newer.down(1, EARLIER).await.unwrap_err();
    assert!(refused.to_string().contains("20261121000002"), "{refused}");

    let down = command(&["--down", "1", "--confirm", schema]).unwrap();
    let done = down.run(&access, &own.names, MIGRATIONS).await.unwrap();
    assert_eq!(done["migrations_reverted"], serde_json::json!(["20261121000002"]));
    let status = command(&["--status"])
        .unwrap()
        .run(&access, &own.names, MIGRATIONS)
        .await
        .unwrap();
    assert_eq!(
        (&status["applied"], &status["pending"], &status["unknown"]),
        (
            &serde_json::json!(["20261121000001"]),
            &serde_json::json!(["20261121000002"]),
            &serde_json::json!([])
        )
    );
    let up = command(&[])
        .unwrap()
        .run(&access, &own.names, MIGRATIONS)
        .await
        .unwrap();
    assert_eq!(up["migrations_run"], serde_json::json!(["20261121000002"]));
    own.clean(&[admin_url()]).await;
}
