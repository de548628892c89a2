//! Whatever is done to the log behind the service's back is found and named.

use audit_log::Anchors;
use diesel_async::SimpleAsyncConnection as _;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantTransaction};

use super::{World, act, noted, platform_act, scope};

const OF_A: &str = "WHERE tenant_id = 'a' AND seq";

/// What is found after the owner did something to a chain of five entries, in every service.
async fn found(statement: &str, expected: &str) {
    for world in World::of_each_service().await {
        let world = world.with_acts("a", 5).await.with_acts("b", 2).await;
        assert_eq!(world.broken(Anchors::default()).await, [], "{}", world.service);
        world.tamper(statement).await;
        let broken = world.broken(Anchors::default()).await;
        assert_eq!(
            broken,
            [("a".to_owned(), expected.to_owned())],
            "{}: {statement}",
            world.service
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_field_is_found() {
    for change in [
        "actor = 'x'",
        "action = 'x'",
        "subject = NULL",
        "detail = ''",
        "source = '10.0.0.1'",
        "at = at + interval '1 microsecond'",
        "at = 'infinity'",
        "id = gen_random_uuid()",
        "hash = sha256('x')",
    ] {
        let world = World::channel().await.with_acts("a", 5).await;
        world
            .tamper(&format!("UPDATE audit_log SET {change} {OF_A} = 3"))
            .await;
        let broken = world.broken(Anchors::default()).await;
        assert_eq!(
            broken,
            [("a".to_owned(), "entry 3 was altered".to_owned())],
            "{change}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_changed_with_its_hash_is_found() {
    let statement = format!(
        "UPDATE audit_log SET actor = 'x', hash = audit_hash(seq, prev_hash, at, id, \
         ARRAY[tenant_id, 'x', action, subject, detail, source]) {OF_A} = 3"
    );
    found(
        &statement,
        "entry 4 does not follow the one before it: one of them was rewritten",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_taken_out_of_the_middle_or_off_the_beginning_are_found() {
    let middle = format!("DELETE FROM audit_log {OF_A} IN (2, 3)");
    found(&middle, "entries 2 to 3 are missing").await;
    let beginning = format!("DELETE FROM audit_log {OF_A} < 3");
    found(
        &beginning,
        "the chain begins with entry 3, and nothing says that those before it were pruned",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inserted_entry_is_found() {
    let insert = |seq: &str, before: &str| {
        format!(
            "ALTER TABLE audit_log DROP CONSTRAINT audit_log_chain; ALTER TABLE audit_log ALTER seq DROP NOT NULL; \
             INSERT INTO audit_log (tenant_id, id, actor, action, seq, prev_hash, hash) \
             SELECT 'a', gen_random_uuid(), 'x', 'x', {seq}, {before}, sha256('x') FROM audit_log {OF_A} = 3"
        )
    };
    // Which of two entries with one number comes first is a matter of their ids.
    let world = World::channel().await.with_acts("a", 5).await;
    world.tamper(&insert("3", "prev_hash")).await;
    let broken = world.broken(Anchors::default()).await;
    assert!(
        matches!(&broken[..], [(_, said)] if said == "entry 3 was altered" || said == "entry 3 stands where another one should"),
        "{broken:?}"
    );
    found(&insert("6", "hash"), "entry 6 was altered").await;
    found(
        &insert("NULL", "hash"),
        "up to entry 5 there are 1 rows more than entries",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swapped_entries_are_found() {
    let swap = "UPDATE audit_log l SET subject = o.subject, actor = 'operator' FROM audit_log o \
         WHERE l.tenant_id = 'a' AND o.tenant_id = 'a' AND l.seq IN (2, 4) AND o.seq = 6 - l.seq";
    found(swap, "entry 2 was altered").await;
    let numbers = "ALTER TABLE audit_log DROP CONSTRAINT audit_log_chain; \
                   UPDATE audit_log SET seq = 6 - seq WHERE tenant_id = 'a' AND seq IN (2, 4)";
    found(numbers, "entry 2 was altered").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_off_end_is_found_by_a_noted_head_only() {
    let world = World::channel().await.with_acts("a", 5).await;
    let head = world.head("a").await;
    assert_eq!(world.broken(noted("a", head)).await, []);
    world.tamper(&format!("DELETE FROM audit_log {OF_A} > 3")).await;
    assert_eq!(world.broken(Anchors::default()).await, []);
    let gone = [("a".to_owned(), "entry 5, which was noted, is gone".to_owned())];
    assert_eq!(world.broken(noted("a", head)).await, gone);
    // Whoever goes on from there writes other entries.
    act(world.db(), "a", "4").await;
    act(world.db(), "a", "5").await;
    let other = "entry 5 is not the one that was noted: the chain was written anew";
    assert_eq!(
        world.broken(noted("a", head)).await,
        [("a".to_owned(), other.to_owned())]
    );
    world.tamper("DELETE FROM audit_log").await;
    assert_eq!(world.broken(noted("a", head)).await, gone);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_to_the_platforms_acts_is_found() {
    for world in World::of_each_service().await {
        platform_act(world.db(), "1").await;
        platform_act(world.db(), "2").await;
        assert_eq!(world.broken(Anchors::default()).await, []);
        world
            .tamper("UPDATE platform_acts SET subject = 'x' WHERE seq = 2")
            .await;
        let broken = world.broken(Anchors::default()).await;
        assert_eq!(
            broken,
            [("platform".to_owned(), "entry 2 was altered".to_owned())]
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_services_roles_can_only_add_and_read() {
    for world in World::of_each_service().await {
        let world = world.with_acts("a", 1).await;
        platform_act(world.db(), "1").await;
        for table in ["audit_log", "platform_acts"] {
            for change in [
                "UPDATE {} SET actor = 'x'",
                "DELETE FROM {}",
                "TRUNCATE {}",
                "ALTER TABLE {} DISABLE TRIGGER USER",
            ] {
                let statement = change.replace("{}", table);
                let mut tx = TenantTransaction::begin(world.db(), &scope("a"), "test")
                    .await
                    .unwrap();
                let refused = tx
                    .connection()
                    .batch_execute(&statement)
                    .await
                    .unwrap_err()
                    .to_string();
                assert!(
                    refused.contains("permission denied") || refused.contains("must be owner"),
                    "{refused}"
                );
                let purpose = PlatformScope::for_purpose("test");
                let mut tx = PlatformTransaction::begin(world.db(), purpose).await.unwrap();
                let refused = tx
                    .connection()
                    .batch_execute(&statement)
                    .await
                    .unwrap_err()
                    .to_string();
                assert!(
                    refused.contains("permission denied") || refused.contains("must be owner"),
                    "{refused}"
                );
            }
        }
        // Neither place nor time of an entry is its writer's to choose.
        let mut tx = TenantTransaction::begin(world.db(), &scope("a"), "test")
            .await
            .unwrap();
        let forged = "INSERT INTO audit_log (tenant_id, id, actor, action, at, seq, prev_hash, hash) \
                      VALUES ('a', gen_random_uuid(), 'x', 'x', '2001-01-01', 7, sha256('a'), sha256('b'))";
        tx.connection().batch_execute(forged).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(world.broken(Anchors::default()).await, []);
        assert_eq!(world.head("a").await.seq, 2);
        let of_now =
            "DO $$ BEGIN ASSERT (SELECT max(at) - min(at) < interval '1 day' FROM audit_log); END $$";
        world.test.admin().await.batch_execute(of_now).await.unwrap();
    }
}
