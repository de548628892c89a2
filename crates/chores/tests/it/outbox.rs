//! Events that the broker has not taken: seen, and taken up again.

use chores::outbox::{self, OutboxCommand, OutboxError};
use diesel_async::SimpleAsyncConnection as _;
use serde_json::Value;
use test_support::TestDatabase;
use uuid::Uuid;

use crate::MIGRATIONS;

const WORDS: &str = "rahasia-warga";

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// Two tenants' events: two wait in one lane, one of another is put aside.
async fn filled() -> TestDatabase {
    let test = TestDatabase::create("channel", MIGRATIONS).await;
    let mut admin = test.admin().await;
    for (tenant, lane, number, kind, parked) in [
        ("desa-satu", "chat", 1, "message.received", "NULL"),
        ("desa-satu", "chat", 2, "message.received", "NULL"),
        ("desa-dua", "chat", 3, "message.parked", "'too_large'"),
    ] {
        let (id, age) = (id(number), 100 - number * 10);
        admin
            .batch_execute(&format!(
                "INSERT INTO outbox (tenant_id, lane, event_id, event_type, envelope, created_at, parked) \
                 VALUES ('{tenant}', '{lane}', '{id}', '{kind}', '{WORDS}', now() - interval '{age} s', {parked})"
            ))
            .await
            .unwrap();
    }
    test
}

async fn list(test: &TestDatabase) -> Value {
    outbox::run(&test.db, OutboxCommand::List { limit: 10 })
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_counted_by_type_and_its_words_are_not_shown() {
    let test = filled().await;
    let listed = list(&test).await;
    assert_eq!(listed["waiting"], 2);
    let age = listed["oldest_age_seconds"].as_i64().unwrap();
    assert!((90..600).contains(&age), "{age}");
    let types: Vec<_> = listed["types"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["event_type"].as_str().unwrap(),
                one["waiting"].as_i64().unwrap(),
                one["parked"].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(types, [("message.parked", 0, 1), ("message.received", 2, 0)]);
    assert_eq!(listed["parked"][0]["parked"], "too_large");
    let next: Vec<_> = listed["oldest"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["is_next"].as_bool().unwrap())
        .collect();
    assert_eq!(next, [true, false], "only the head of a lane is tried");

    let shown = outbox::run(&test.db, OutboxCommand::Show { event: id(3) })
        .await
        .unwrap();
    assert_eq!(
        (&shown["events"][0]["tenant_id"], &shown["events"][0]["size"]),
        (&"desa-dua".into(), &13.into())
    );
    assert!(!format!("{listed}{shown}").contains(WORDS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_was_put_aside_is_taken_up_again() {
    let test = filled().await;
    let replay = async |event, all| outbox::run(&test.db, OutboxCommand::Replay { event, all }).await;
    let refused = replay(Some(id(1)), false).await.unwrap_err();
    assert!(matches!(refused, OutboxError::NotParked(_)), "{refused}");
    let refused = replay(Some(id(9)), false).await.unwrap_err();
    assert!(matches!(refused, OutboxError::NotThere(_)), "{refused}");
    assert_eq!(list(&test).await["waiting"], 2);

    assert_eq!(replay(Some(id(3)), false).await.unwrap()["replayed"], 1);
    let listed = list(&test).await;
    assert_eq!(
        (&listed["waiting"], listed["parked"].as_array().unwrap().len()),
        (&3.into(), 0)
    );
    assert_eq!(replay(None, true).await.unwrap()["replayed"], 0);
}
