//! Migrations beside a service at work.

use std::time::Duration;

use database::{DatabaseUrl, MigrationError, Migrator, Patience, migrate, quote_identifier};
use diesel::sql_types::{Bool, Integer};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use test_support::eventually;
use tokio::task::JoinHandle;

use super::MIGRATIONS;
use super::migrating::{Own, admin_url};

/// Changes `things`, then `more_things`.
const CHANGE: EmbeddedMigrations = embed_migrations!("tests/changing_migrations");
const VERSION: &str = "20261122000001";

/// A schema whose tables are there, and somebody who is at work in it.
struct Scene {
    own: Own,
    schema: String,
    busy: AsyncPgConnection,
}

impl Scene {
    async fn set() -> Self {
        let own = Own::new();
        let admin: DatabaseUrl = admin_url().parse().unwrap();
        migrate(&admin, &own.url(&admin_url()), &own.names, MIGRATIONS)
            .await
            .unwrap();
        let schema = quote_identifier(&own.names.schema);
        let busy = connect(&schema).await;
        Self { own, schema, busy }
    }

    fn change(&self, patience: Patience) -> JoinHandle<Result<Vec<String>, MigrationError>> {
        let names = self.own.names.clone();
        tokio::spawn(async move {
            let migrator = Migrator::connect(&admin_url().parse().unwrap(), &names).await?;
            migrator.with_patience(patience).up(CHANGE).await
        })
    }

    /// Waits until somebody waits for this table.
    async fn wanted(&self, table: &str) {
        let query = format!(
            "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE relation = '{}.{table}'::regclass AND NOT granted) AS wanted",
            self.schema
        );
        eventually("the migration waits for the table", async || {
            #[derive(diesel::QueryableByName)]
            struct Wanted {
                #[diesel(sql_type = Bool)]
                wanted: bool,
            }
            let mut watching = AsyncPgConnection::establish(&admin_url()).await.unwrap();
            let Wanted { wanted } = diesel::sql_query(&query).get_result(&mut watching).await.unwrap();
            wanted.then_some(())
        })
        .await;
    }
}

async fn connect(schema: &str) -> AsyncPgConnection {
    let mut connection = AsyncPgConnection::establish(&admin_url()).await.unwrap();
    let setting = format!("SET search_path TO {schema}; SET statement_timeout = '50s'");
    connection.batch_execute(&setting).await.unwrap();
    connection
}

const fn patience(lock: u64, tries: u32) -> Patience {
    Patience {
        lock: Duration::from_millis(lock),
        pause: Duration::from_millis(100),
        tries,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_pass_while_a_migration_waits_for_a_table_and_then_it_has_its_turn() {
    let mut scene = Scene::set().await;
    scene
        .busy
        .batch_execute("BEGIN; SELECT FROM things")
        .await
        .unwrap();
    let migrating = scene.change(patience(300, 10_000));
    let mut passing = connect(&scene.schema).await;
    for _ in 0..3 {
        scene.wanted("things").await;
        // It stands behind the migration, until that lets go.
        passing
            .batch_execute("INSERT INTO things SELECT count(*), count(*) FROM things")
            .await
            .unwrap();
    }
    assert!(!migrating.is_finished());
    scene.busy.batch_execute("COMMIT").await.unwrap();
    assert_eq!(migrating.await.unwrap().unwrap(), [VERSION]);
    passing.batch_execute("SELECT more FROM things").await.unwrap();
    scene.own.clean(&[admin_url()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_gives_up_after_its_tries_and_names_who_was_in_the_way() {
    #[derive(diesel::QueryableByName)]
    struct Process {
        #[diesel(sql_type = Integer)]
        process: i32,
    }
    let mut scene = Scene::set().await;
    let asked = diesel::sql_query("SELECT pg_backend_pid() AS process");
    let Process { process } = asked.get_result(&mut scene.busy).await.unwrap();
    scene
        .busy
        .batch_execute("BEGIN; SELECT FROM more_things")
        .await
        .unwrap();
    let refused = scene.change(patience(100, 3)).await.unwrap().unwrap_err();
    assert!(
        matches!(refused, MigrationError::Busy { tries: 3, .. }),
        "{refused}"
    );
    let said = refused.to_string();
    assert!(
        said.contains(&format!("more_things by process {process}")),
        "{said}"
    );
    assert!(said.contains("lock timeout"), "{said}");
    // Nothing of it is left, and it can be done later.
    scene
        .busy
        .batch_execute("ROLLBACK; SELECT FROM things")
        .await
        .unwrap();
    assert!(scene.busy.batch_execute("SELECT more FROM things").await.is_err());
    let ran = scene.change(Patience::default()).await.unwrap().unwrap();
    assert_eq!(ran, [VERSION]);
    scene.own.clean(&[admin_url()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_met_a_service_in_a_deadlock_is_done_again() {
    let mut scene = Scene::set().await;
    // Of the two the migration shall be the one that Postgres ends.
    let holding = "SET deadlock_timeout = '40s'; BEGIN; LOCK TABLE more_things IN ROW EXCLUSIVE MODE";
    scene.busy.batch_execute(holding).await.unwrap();
    let migrating = scene.change(patience(30_000, 3));
    scene.wanted("more_things").await;
    scene
        .busy
        .batch_execute("LOCK TABLE things IN ROW EXCLUSIVE MODE; COMMIT")
        .await
        .unwrap();
    assert_eq!(migrating.await.unwrap().unwrap(), [VERSION]);
    scene.own.clean(&[admin_url()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_other_failure_ends_a_migration_at_once() {
    let mut scene = Scene::set().await;
    scene
        .busy
        .batch_execute("ALTER TABLE things ADD COLUMN more text")
        .await
        .unwrap();
    let refused = scene.change(patience(100, 10_000)).await.unwrap().unwrap_err();
    assert!(matches!(refused, MigrationError::Migration(_)), "{refused}");
    assert!(refused.to_string().contains("already exists"), "{refused}");
    scene.own.clean(&[admin_url()]).await;
}
