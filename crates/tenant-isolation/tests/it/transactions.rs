//! What is left of a transaction when it is over.

use std::time::Duration;

use database::DatabaseError;
use diesel_async::SimpleAsyncConnection as _;
use test_support::eventually;

use super::{World, notes, texts, write};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_transaction_is_rolled_back_and_its_connection_goes_on() {
    let world = World::new().await;
    for round in 0..20 {
        let mut tx = world.begin("a").await;
        write(tx.connection(), "a", round).await.unwrap();
        drop(tx);
    }
    let mut tx = world.begin("a").await;
    assert_eq!(notes(tx.connection()).await, Vec::<String>::new());
    write(tx.connection(), "a", 1).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.all().await, ["a1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_dropped_in_the_middle_of_a_statement_is_rolled_back() {
    let world = World::new().await;
    let mut tx = world.begin("a").await;
    write(tx.connection(), "a", 1).await.unwrap();
    let slow = tx.connection().batch_execute("SELECT pg_sleep(0.5)");
    assert!(
        tokio::time::timeout(Duration::from_millis(50), slow)
            .await
            .is_err()
    );
    drop(tx);
    let mut tx = world.begin("b").await;
    write(tx.connection(), "b", 1).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.all().await, ["b1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beginning_can_be_given_up_at_any_moment() {
    let world = World::new().await;
    for micros in (0..4000).step_by(200) {
        let begin = world.begin("a");
        if let Ok(mut tx) = tokio::time::timeout(Duration::from_micros(micros), begin).await {
            drop(tokio::time::timeout(Duration::from_micros(micros), write(tx.connection(), "a", 1)).await);
        }
    }
    let mut tx = world.begin("b").await;
    assert_eq!(notes(tx.connection()).await, Vec::<String>::new());
    write(tx.connection(), "b", 1).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.all().await, ["b1"]);
}

/// A worker of the HTTP server ends with a transaction in hand: its rollback will never run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_ends_with_its_runtime_leaves_nothing_behind() {
    let world = World::new().await;
    let db = world.db.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let scope = super::scope("a");
            let mut tx = tenant_isolation::TenantTransaction::begin(&db, &scope, "test")
                .await
                .unwrap();
            write(tx.connection(), "a", 1).await.unwrap();
        });
    })
    .join()
    .unwrap();
    let mut tx = world.begin("b").await;
    write(tx.connection(), "b", 1).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.all().await, ["b1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_user_of_the_connection_inherits_nothing() {
    const SESSION: &str =
        "SELECT current_user::text || '/' || coalesce(current_setting('kanal.tenants', true), '') AS found";
    let world = World::new().await;
    let mut tx = world.begin("a").await;
    assert_eq!(texts(tx.connection(), SESSION).await, ["channel_tenant/a"]);
    tx.commit().await.unwrap();
    let mut tx = world.begin_platform().await;
    assert_eq!(texts(tx.connection(), SESSION).await, ["channel_platform/"]);
    tx.commit().await.unwrap();
    assert_eq!(
        texts(&mut world.db.connection().await.unwrap(), SESSION).await,
        ["channel_tenant/"]
    );
    drop(world.begin("a").await);
    drop(world.begin_platform().await);
    assert_eq!(
        texts(&mut world.db.connection().await.unwrap(), SESSION).await,
        ["channel_tenant/"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_transaction_does_not_look_committed() {
    let world = World::new().await;
    let mut tx = world.begin("a").await;
    write(tx.connection(), "a", 1).await.unwrap();
    let conflict = DatabaseError::from(write(tx.connection(), "a", 1).await.unwrap_err());
    assert!(matches!(conflict, DatabaseError::Conflict { .. }), "{conflict:?}");
    // Whoever swallows the conflict must learn that the first row is gone, too.
    let error = tx.commit().await.unwrap_err();
    assert!(matches!(error, DatabaseError::Refused(_)), "{error:?}");
    assert_eq!(world.all().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_died_in_a_transaction_is_replaced() {
    let world = World::new().await;
    let mut tx = world.begin("a").await;
    write(tx.connection(), "a", 1).await.unwrap();
    let pid = texts(tx.connection(), "SELECT pg_backend_pid()::text AS found")
        .await
        .remove(0);
    let killing = format!("SELECT pg_terminate_backend({pid})");
    world.test.admin().await.batch_execute(&killing).await.unwrap();
    let error = tx.commit().await.unwrap_err();
    assert!(matches!(error, DatabaseError::Unavailable(_)), "{error:?}");
    eventually("the next transaction", || async {
        let scope = super::scope("a");
        tenant_isolation::TenantTransaction::begin(&world.db, &scope, "test")
            .await
            .ok()
    })
    .await;
    assert_eq!(world.all().await, Vec::<String>::new());
}
