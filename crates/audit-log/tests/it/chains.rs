//! Chains are whole whoever writes, and both ways to compute a hash agree.

use audit_log::{Actor, Anchors, Chain, Fields, hash_of, note, verify};
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Bytea, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};
use futures_util::future::try_join_all;
use rand::RngExt as _;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

use super::{World, act, scope};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_writers_make_unbroken_chains() {
    let world = World::channel().await;
    let writers = (0..50).map(|writer| {
        let db = world.db().clone();
        tokio::spawn(async move {
            for place in 0..4 {
                act(&db, &format!("t{}", (writer + place) % 5), &writer.to_string()).await;
            }
        })
    });
    try_join_all(writers).await.unwrap();
    assert_eq!(world.broken(Anchors::default()).await, []);
    for tenant in ["t0", "t1", "t2", "t3", "t4"] {
        assert_eq!(world.head(tenant).await.seq, 40, "{tenant}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_act_that_is_rolled_back_leaves_no_gap() {
    let world = World::channel().await.with_acts("a", 1).await;
    let actor = Actor::operator();
    let mut tx = TenantTransaction::begin(world.db(), &scope("a"), "test")
        .await
        .unwrap();
    note(&mut tx, &actor.act("test.never", None)).await.unwrap();
    tx.connection().batch_execute("ROLLBACK").await.unwrap();
    drop(tx);
    let world = world.with_acts("a", 1).await;
    assert_eq!(world.broken(Anchors::default()).await, []);
    assert_eq!(world.head("a").await.seq, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acts_of_several_tenants_in_one_statement_are_chained() {
    let world = World::channel().await;
    let statement = "INSERT INTO audit_log (tenant_id, id, actor, action) \
        SELECT 't' || n % 3, gen_random_uuid(), 'x', 'x' FROM generate_series(1, 1201) AS n ORDER BY 1";
    world.test.admin().await.batch_execute(statement).await.unwrap();
    let reports = world.reports(Anchors::default()).await;
    assert!(
        reports.iter().all(|report| report.broken.is_none()),
        "{reports:?}"
    );
    assert_eq!(reports.iter().map(|report| report.entries).sum::<u64>(), 1201);
    // As many as are wanted and a page are read, and it is said that there are more.
    let mut read = 0;
    let complete = verify(world.db(), None, Anchors::default(), 100, |report| {
        read += report.entries;
    })
    .await;
    assert!(!complete.unwrap() && (100..=600).contains(&read), "{read}");
    let only = Chain::Tenant("t1".to_owned());
    let mut read = 0;
    verify(world.db(), Some(&only), Anchors::default(), u64::MAX, |report| {
        read += report.entries;
    })
    .await
    .unwrap();
    assert_eq!(read, 401);
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = Bytea)]
    hash: Vec<u8>,
}

/// A text that somebody may write into a field, or none.
fn text() -> Option<String> {
    let mut rng = rand::rng();
    if rng.random_ratio(1, 4) {
        return None;
    }
    let length = rng.random_range(0..40);
    let characters = (0..length).map(|_| match rng.random_range(0..4) {
        0 => rng.random_range(' '..='~'),
        1 => rng.random_range('\u{1}'..='\u{2ff}'),
        2 => rng.random_range('\u{4e00}'..='\u{9fff}'),
        _ => rng.random_range('\u{1f300}'..='\u{1faff}'),
    });
    Some(characters.collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ways_to_compute_a_hash_agree() {
    for world in World::of_each_service().await {
        let mut connection = world.test.admin().await;
        let mut before = audit_log::GENESIS;
        let mut stored = vec![0; 32];
        for _ in 0..200 {
            let seq = rand::rng().random_range(1..=i64::MAX);
            let micros = rand::rng().random_range(0..=253_402_300_799_999_999_i64);
            let fields = Fields {
                tenant: text(),
                id: Uuid::from_u128(rand::rng().random()),
                at: DateTime::<Utc>::from_timestamp_micros(micros).unwrap(),
                actor: text().unwrap_or_default(),
                action: text().unwrap_or_default(),
                subject: text(),
                detail: text(),
                source: text(),
            };
            let texts = vec![
                fields.tenant.clone(),
                Some(fields.actor.clone()),
                Some(fields.action.clone()),
                fields.subject.clone(),
                fields.detail.clone(),
                fields.source.clone(),
            ];
            let row: Row = diesel::sql_query("SELECT audit_hash($1, $2, $3, $4, $5) AS hash")
                .bind::<BigInt, _>(seq)
                .bind::<Bytea, _>(&stored)
                .bind::<Timestamptz, _>(fields.at)
                .bind::<SqlUuid, _>(fields.id)
                .bind::<Array<Nullable<Text>>, _>(texts)
                .get_result(&mut connection)
                .await
                .unwrap();
            before = hash_of(seq, &before, &fields);
            assert_eq!(
                before.to_string(),
                row.hash
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<String>(),
                "{fields:?}"
            );
            stored = row.hash;
        }
    }
}
