//! What grows with every message is forgotten by its age, and nothing that is still in use.

use chatwoot_bridge::config::Kept;
use chatwoot_bridge::workers::retention::{Forgettable, step};
use domain::ids::ChatId;

use crate::world::{World, message, received, start_chatwoot};

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
    let kept = Kept { links_days: 30.0 };
    let forget = async || {
        let mut forgotten = Vec::new();
        for what in Forgettable::ALL.iter().copied() {
            let rows = step(&world.database.db, kept, what).await.unwrap();
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
