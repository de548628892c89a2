//! Connections: bounded, replaced when they die, and errors that say what a caller can do.

use std::time::{Duration, Instant};

use database::{Database, DatabaseError, PoolSettings};
use diesel::sql_types::{BigInt, Integer, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use test_support::{CuttableProxy, TestDatabase, environment, eventually_within};

use super::MIGRATIONS;

const SMALL: PoolSettings = PoolSettings {
    size: 1,
    wait: Duration::from_millis(400),
};

#[derive(diesel::QueryableByName)]
struct Backend {
    #[diesel(sql_type = Integer)]
    pid: i32,
}

async fn backend(connection: &mut AsyncPgConnection) -> i32 {
    diesel::sql_query("SELECT pg_backend_pid() AS pid")
        .get_result::<Backend>(connection)
        .await
        .unwrap()
        .pid
}

async fn kill(test: &TestDatabase, pid: i32) {
    diesel::sql_query("SELECT pg_terminate_backend($1)")
        .bind::<Integer, _>(pid)
        .execute(&mut test.admin().await)
        .await
        .unwrap();
}

async fn database() -> (TestDatabase, Database) {
    let test = TestDatabase::create("channel", MIGRATIONS).await;
    let small = Database::new(&test.url, test.names.clone(), SMALL).unwrap();
    (test, small)
}

/// The error and its causes, as they would be logged.
fn chain(error: &DatabaseError) -> String {
    let mut text = format!("{error} / {error:?}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(" / {error} / {error:?}"));
        cause = error.source();
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_works_as_the_tenant_role_in_the_services_schema() {
    #[derive(diesel::QueryableByName)]
    struct Session {
        #[diesel(sql_type = Text)]
        role: String,
        #[diesel(sql_type = Text)]
        schema: String,
        #[diesel(sql_type = Text)]
        patience: String,
    }
    let (test, db) = database().await;
    let session: Session = diesel::sql_query(
        "SELECT current_user::text AS role, current_schema()::text AS schema, \
                current_setting('statement_timeout') AS patience",
    )
    .get_result(&mut *db.connection().await.unwrap())
    .await
    .unwrap();
    assert_eq!(session.role, "channel_tenant");
    assert_eq!(session.schema, test.names.schema);
    assert_eq!(session.patience, "30s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_dies_in_use_is_unavailable_and_then_replaced() {
    let (test, db) = database().await;
    let mut connection = db.connection().await.unwrap();
    let pid = backend(&mut connection).await;
    let (outcome, ()) = tokio::join!(connection.batch_execute("SELECT pg_sleep(20)"), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        kill(&test, pid).await;
    });
    let error = DatabaseError::from(outcome.unwrap_err());
    assert!(matches!(error, DatabaseError::Unavailable(_)), "{error:?}");
    assert!(error.is_transient());
    drop(connection);
    eventually_within(Duration::from_secs(2), "a new connection", || async {
        db.ping().await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_died_in_the_pool_are_not_handed_out() {
    let (test, db) = database().await;
    let pid = backend(&mut db.connection().await.unwrap()).await;
    kill(&test, pid).await;
    // The task that reads from the server has to notice; a caller never does.
    tokio::time::sleep(Duration::from_millis(200)).await;
    db.ping().await.unwrap();
    assert_ne!(backend(&mut db.connection().await.unwrap()).await, pid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_free_connection_ends_in_an_error() {
    let (_test, db) = database().await;
    let held = db.connection().await.unwrap();
    let started = Instant::now();
    let error = db.connection().await.err().unwrap();
    let waited = started.elapsed();
    assert!(matches!(error, DatabaseError::Unavailable(_)), "{error:?}");
    assert!(waited >= SMALL.wait, "{waited:?}");
    assert!(waited < SMALL.wait + Duration::from_secs(2), "{waited:?}");
    drop(held);
    db.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_outlives_the_runtime_that_asked_for_it() {
    let (_test, db) = database().await;
    let asking = db.clone();
    let pid = std::thread::spawn(move || {
        // As a worker thread of the HTTP server does it.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async { backend(&mut asking.connection().await.unwrap()).await })
    })
    .join()
    .unwrap();
    assert_eq!(backend(&mut db.connection().await.unwrap()).await, pid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_not_repeated_in_the_error() {
    let (test, _db) = database().await;
    let mut url = url::Url::parse(&test.direct_url()).unwrap();
    url.set_password(Some("Quercus-Robur")).unwrap();
    let url = url.as_str().parse().unwrap();
    let db = Database::new(&url, test.names.clone(), SMALL).unwrap();
    let error = db.connection().await.err().unwrap();
    let text = chain(&error);
    assert!(
        text.contains("password authentication failed"),
        "the operator has to see why: {text}"
    );
    assert!(!text.contains("Quercus"), "{text}");
    assert!(!format!("{db:?} {url:?}").contains("Quercus"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_is_unavailable_until_it_is_back() {
    let url = environment("CHANNEL_DATABASE_URL");
    let proxy = CuttableProxy::in_front_of(&url, 5432).await;
    let test = TestDatabase::create_behind("channel", MIGRATIONS, |url| proxy.url(url)).await;
    test.db.ping().await.unwrap();
    proxy.cut();
    for _ in 0..3 {
        let error = test.db.ping().await.unwrap_err();
        assert!(matches!(error, DatabaseError::Unavailable(_)), "{error:?}");
    }
    proxy.restore();
    test.db.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_say_what_a_caller_can_do() {
    let (_test, db) = database().await;
    let mut connection = db.connection().await.unwrap();
    connection
        .batch_execute("INSERT INTO things VALUES (1, 'one')")
        .await
        .unwrap();
    let raise = |code: &str, message: &str| {
        format!("DO $$ BEGIN RAISE EXCEPTION '{message}' USING ERRCODE = '{code}'; END $$")
    };
    let mut fail = async |statement: &str| -> DatabaseError {
        connection.batch_execute(statement).await.unwrap_err().into()
    };

    let conflict = fail("INSERT INTO things VALUES (2, 'one')").await;
    assert!(!conflict.is_transient());
    match conflict {
        DatabaseError::Conflict { constraint } => assert_eq!(constraint, "things_name"),
        other => panic!("{other:?}"),
    }
    let contended = fail(&raise("40001", "could not serialize access")).await;
    assert!(matches!(contended, DatabaseError::Contended), "{contended:?}");
    assert!(contended.is_transient());
    let deadlock = fail(&raise("40P01", "deadlock detected")).await;
    assert!(matches!(deadlock, DatabaseError::Contended), "{deadlock:?}");
    let full = fail(&raise("53300", "sorry, too many clients already")).await;
    assert!(full.is_transient(), "{full:?}");
    let slow = fail("SET statement_timeout = 50; SELECT pg_sleep(5)").await;
    assert!(matches!(slow, DatabaseError::Unavailable(_)), "{slow:?}");
    let bug = fail("SELECT * FROM no_such_table").await;
    assert!(matches!(bug, DatabaseError::Refused(_)), "{bug:?}");
    assert!(!bug.is_transient());
    let missing = DatabaseError::from(diesel::result::Error::NotFound);
    assert!(matches!(missing, DatabaseError::NotFound));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_is_prepared_once_for_all_its_values() {
    #[derive(diesel::QueryableByName)]
    struct Counted {
        #[diesel(sql_type = BigInt)]
        prepared: i64,
    }
    let (_test, db) = database().await;
    let mut connection = db.connection().await.unwrap();
    for number in 0..20_i64 {
        let question = database::sql(
            "SELECT count(*) FILTER (WHERE $1 >= 0 AND statement LIKE '%prepared%') AS prepared FROM pg_prepared_statements",
        );
        let asked = question.bind::<BigInt, _>(number);
        let found: Counted = asked.get_result(&mut connection).await.unwrap();
        assert_eq!(found.prepared, 1, "{number}");
    }
}
