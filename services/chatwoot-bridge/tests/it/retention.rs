//! What grows with every message is forgotten by its age, and nothing that is still in use.

use chatwoot_bridge::config::Kept;
use chatwoot_bridge::flows::parked_tasks;
use chatwoot_bridge::workers::retention::{Forgettable, Retention, step};
use domain::ids::ChatId;
use runtime::shutdown::Shutdown;
use test_support::canary::Of;

use crate::world::{World, keep_logs, message, received, scope, start_chatwoot};

const KEPT: Kept = Kept {
    links_days: 30.0,
    parked_days: 30.0,
};

#[tokio::test(flavor = "multi_thread")]
async fn old_rows_leave_and_young_ones_stay() {
    let (world, chatwoot) = (World::start().await, start_chatwoot().await);
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    for (n, phone) in ["628123450001", "628123450002"].into_iter().enumerate() {
        world
            .take(&received(
                &place,
                message(&place, ChatId::generate(), phone, &format!("3EB0{n}"), "satu"),
            ))
            .await;
        world.work().await;
    }
    for n in 1..=2 {
        world
            .sql(&format!(
                "INSERT INTO agent_messages (tenant_id, inbox_id, chatwoot_message_id, chatwoot_conversation_id, \
                 request_id, status) VALUES ('desa-a', '{}', {n}, 1, gen_random_uuid(), 'queued')",
                place.link
            ))
            .await;
    }
    for n in 1..=2 {
        let key = format!("'desa-a', '{}', {n}, 0", place.link);
        world
            .sql(&format!(
                "INSERT INTO agent_parts (tenant_id, inbox_id, chatwoot_message_id, part, request_id, status) \
                 VALUES ({key}, gen_random_uuid(), 'queued')"
            ))
            .await;
        world
            .sql(&format!(
                "INSERT INTO agent_files (tenant_id, inbox_id, chatwoot_message_id, part, data_url) VALUES ({key}, 'x')"
            ))
            .await;
    }
    let forget = async || {
        let mut forgotten = Vec::new();
        for what in Forgettable::ALL.iter().copied() {
            let rows = step(&world.database.db, KEPT, what).await.unwrap();
            forgotten.extend((rows > 0).then_some((what, rows)));
        }
        forgotten
    };
    for n in 1..=2 {
        world
            .sql(&format!(
                "INSERT INTO quarantine (id, installation, reason, body, body_size) \
                 VALUES (gen_random_uuid(), 'default', 'x', '{n}', 1)"
            ))
            .await;
        world
            .sql(&format!(
                "INSERT INTO unrouted_inboxes VALUES ('default', 1, {n})"
            ))
            .await;
    }
    assert_eq!(forget().await, []);

    let old = "now() - interval '31 days'";
    world
        .sql(&format!(
            "UPDATE message_links SET created_at = {old} WHERE provider_message_id = '3EB00'"
        ))
        .await;
    world
        .sql(&format!(
            "UPDATE agent_messages SET created_at = {old} WHERE chatwoot_message_id = 1"
        ))
        .await;
    world
        .sql(
            "UPDATE handled_events SET received_at = now() - interval '15 days' \
              WHERE event_id = (SELECT event_id FROM handled_events ORDER BY received_at LIMIT 1)",
        )
        .await;
    world
        .sql("UPDATE agent_files SET created_at = now() - interval '9 days' WHERE chatwoot_message_id = 1")
        .await;
    // One lane is old and empty, the other one old and not.
    world.sql("UPDATE lanes SET fence = 7").await;
    world
        .sql(
            "INSERT INTO lane_tasks (tenant_id, lane, id, kind, payload, parked) \
              SELECT tenant_id, lane, gen_random_uuid(), 'x', '{}', true FROM lanes ORDER BY lane LIMIT 1",
        )
        .await;
    // Of two locks, one is of a worker that died long ago.
    for (name, until) in [
        ("place:old", "- interval '2 hours'"),
        ("place:new", "+ interval '1 hour'"),
    ] {
        let lock = format!("INSERT INTO leases VALUES ('{name}', gen_random_uuid(), now() {until})");
        world.sql(&lock).await;
    }
    world
        .sql(&format!(
            "UPDATE quarantine SET received_at = {old} WHERE body = '1'"
        ))
        .await;
    world
        .sql(&format!(
            "UPDATE unrouted_inboxes SET last_seen = {old} WHERE chatwoot_inbox_id = 1"
        ))
        .await;
    // Of what stands beside an inbox, one is old, and the inbox is gone.
    let ages = "FROM (VALUES (interval '0'), (interval '32 days')) AS v (age)";
    for insert in [
        "history_jobs (tenant_id, id, inbox_id, state, finished_at) \
         SELECT 'desa-a', gen_random_uuid(), gen_random_uuid(), 'done', now() - age",
        "set_up_probes (tenant_id, nonce, route_id, created_at) \
         SELECT 'desa-a', gen_random_uuid()::text, gen_random_uuid(), now() - age",
        "reconcile_marks (tenant_id, inbox_id, seen_until, updated_at) \
         SELECT 'desa-a', gen_random_uuid(), now(), now() - age",
        "notices (tenant_id, inbox_id, kind, id, created_at) \
         SELECT 'desa-a', gen_random_uuid(), 'logged_out', gen_random_uuid(), now() - age",
        "erasures (tenant_id, who, erased_at) SELECT 'desa-a', convert_to(age::text, 'UTF8'), now() - age",
        "lane_tasks (tenant_id, lane, id, kind, payload, parked, created_at) \
         SELECT 'desa-a', 'no lane', gen_random_uuid(), 'x', '{}', true, now() - age",
        "outbox (tenant_id, lane, event_id, event_type, envelope, parked, created_at) \
         SELECT 'desa-a', 'no lane', gen_random_uuid(), 'x', '{}', 'too_large', now() - age",
    ] {
        world.sql(&format!("INSERT INTO {insert} {ages}")).await;
    }
    let one_each: Vec<_> = Forgettable::ALL.iter().map(|what| (*what, 1)).collect();
    assert_eq!(forget().await, one_each);
    assert_eq!(forget().await, []);
    assert_eq!(world.count("SELECT count(*) AS n FROM lanes").await, 1);
    // A message's parts go with it.
    let parts = "SELECT min(chatwoot_message_id) AS n FROM agent_parts HAVING count(*) = 1";
    assert_eq!(world.count(parts).await, 2);
    // A lane that is made again begins above what its predecessor gave away.
    world
        .sql("INSERT INTO lanes (tenant_id, lane) VALUES ('desa-a', 'new')")
        .await;
    let new = "SELECT count(*) AS n FROM lanes WHERE lane = 'new' AND fence > 1000000000000";
    assert_eq!(world.count(new).await, 1);
}

/// So many tasks and events of the tenant's, with the words in them, put aside or still to be done.
async fn plant(world: &World, tenant: &str, words: &str, parked: bool, days: u32, many: u32) {
    let why = if parked { "'too_large'" } else { "NULL" };
    let of_them = format!("now() - interval '{days} days' FROM generate_series(1, {many})");
    for statement in [
        format!(
            "INSERT INTO lanes (tenant_id, lane, ready_at) VALUES ('{tenant}', 'chat', now()) ON CONFLICT DO NOTHING"
        ),
        format!(
            "INSERT INTO lane_tasks (tenant_id, lane, id, kind, payload, parked, created_at) \
             SELECT '{tenant}', 'chat', gen_random_uuid(), 'reply', '{{\"text\": \"{words}\"}}', {parked}, {of_them}"
        ),
        format!(
            "INSERT INTO outbox (tenant_id, lane, event_id, event_type, envelope, parked, created_at) \
             SELECT '{tenant}', 'chat', gen_random_uuid(), 'send.requested', '{{\"text\": \"{words}\"}}', {why}, {of_them}"
        ),
    ] {
        world.sql(&statement).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_that_were_put_aside_leave_by_their_age_and_what_is_to_be_delivered_never_does() {
    let log = keep_logs();
    let world = World::start().await;
    for tenant in ["desa-a", "desa-b"] {
        // More than a batch, so that several are needed.
        plant(&world, tenant, "canaryOld", true, 31, 101).await;
        plant(&world, tenant, "canaryYoung", true, 29, 1).await;
        plant(&world, tenant, "canaryWaits", false, 90, 1).await;
        plant(&world, tenant, "canaryAgain", true, 31, 1).await;
    }
    for tenant in ["desa-a", "desa-b"] {
        let again = format!(
            "SELECT id::text AS value FROM lane_tasks WHERE payload LIKE '%canaryAgain%' AND tenant_id = '{tenant}'"
        );
        let id = world.values(&again).await[0].parse().unwrap();
        assert!(
            parked_tasks::replay(&world.database.db, &scope(tenant), id)
                .await
                .unwrap()
        );
    }
    world
        .sql("UPDATE outbox SET parked = NULL WHERE envelope LIKE '%canaryAgain%'")
        .await;
    let both = ["lane_tasks.payload", "outbox.envelope"];
    let kept = ["canaryYoung", "canaryWaits", "canaryAgain"];
    for words in kept.into_iter().chain(["canaryOld"]) {
        assert_eq!(world.database.columns_with(words, Of::All).await, both, "{words}");
    }

    // Two processes: the one whose turn it is does it, the other one nothing.
    let process = || Retention::new(world.database.db.clone(), KEPT);
    let (leader, other) = (process(), process());
    let shutdown = Shutdown::new();
    world
        .sql("INSERT INTO leases VALUES ('retention', gen_random_uuid(), now() + interval '1 hour')")
        .await;
    assert!(!leader.round(&shutdown).await.unwrap());
    assert_eq!(world.database.columns_with("canaryOld", Of::All).await, both);
    world.sql("DELETE FROM leases").await;
    assert!(leader.round(&shutdown).await.unwrap());
    assert!(!other.round(&shutdown).await.unwrap());

    assert_eq!(
        world.database.columns_with("canaryOld", Of::All).await,
        [] as [&str; 0]
    );
    for words in kept {
        for tenant in ["desa-a", "desa-b"] {
            let there = world.database.columns_with(words, Of::Tenant(tenant)).await;
            assert_eq!(there, both, "{words} of {tenant}");
        }
    }
    let left = "SELECT (SELECT count(*) FROM lane_tasks) + (SELECT count(*) FROM outbox) AS n";
    assert_eq!(world.count(left).await, 12);
    let told = log.since();
    assert!(
        told.contains("what was put aside grew too old and was deleted"),
        "{told}"
    );
    assert!(!told.contains("canary"), "{told}");
    // Nothing more is found, and the next look is the same process's.
    assert!(leader.round(&shutdown).await.unwrap());
    assert_eq!(world.count(left).await, 12);
}
