//! Equal ids of two tenants never meet, in the code and below it.

use diesel_async::RunQueryDsl as _;
use diesel_async::SimpleAsyncConnection as _;
use domain::ids::ChatId;
use tenant_isolation::{TenantTransaction, policy};
use uuid::Uuid;

use crate::world::{World, message, received, scope, start_chatwoot};

#[tokio::test(flavor = "multi_thread")]
async fn two_tenants_with_equal_phones_chats_and_message_ids_stay_apart() {
    let world = World::start().await;
    let (one, two) = (start_chatwoot().await, start_chatwoot().await);
    let mut first = world.connect(&one, "desa-a", "default", "").await;
    let mut second = world.connect(&two, "desa-b", "cabang", "").await;
    assert_eq!(
        (first.chatwoot_account, first.inbox),
        (second.chatwoot_account, second.inbox)
    );
    // Even our own ids are equal.
    let account = first.account;
    world
        .sql(&format!("UPDATE inboxes SET account_id = '{account}'"))
        .await;
    (first.account, second.account) = (account, account);
    let chat = ChatId::generate();
    let mut for_a = received(&first, message(&first, chat, "628123450001", "3EB01", "untuk a"));
    let mut for_b = received(
        &second,
        message(&second, chat, "628123450001", "3EB01", "untuk b"),
    );
    for_b.id = for_a.id;
    for event in [&mut for_a, &mut for_b] {
        world.take(event).await;
        world.work().await;
    }
    for (chatwoot, place, text) in [(&one, &first, "untuk a"), (&two, &second, "untuk b")] {
        let messages = chatwoot.chatwoot_messages(place.chatwoot_account);
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].content.as_deref(), Some(text));
        assert_eq!(chatwoot.chatwoot_contacts(place.chatwoot_account).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_where_a_tenant_sees_only_its_own_rows() {
    let (world, chatwoot) = (World::start().await, start_chatwoot().await);
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    let stuck = received(
        &place,
        message(&place, ChatId::generate(), "628123450001", "3EB01", "satu"),
    );
    world.take(&stuck).await;
    world.work().await;
    world
        .take(&received(
            &place,
            message(&place, ChatId::generate(), "628123450002", "3EB02", "dua"),
        ))
        .await;
    world
        .sql(&format!(
            "INSERT INTO agent_messages (tenant_id, inbox_id, chatwoot_message_id, chatwoot_conversation_id, \
             request_id, status) VALUES ('desa-a', '{}', 1, 1, '{}', 'queued')",
            place.link,
            Uuid::now_v7()
        ))
        .await;

    for (table, column, value) in [
        ("agent_parts", "request_id, status", "gen_random_uuid(), 'queued'"),
        ("agent_files", "data_url", "'x'"),
    ] {
        world
            .sql(&format!(
                "INSERT INTO {table} (tenant_id, inbox_id, chatwoot_message_id, part, {column}) \
                 VALUES ('desa-a', '{}', 1, 0, {value})",
                place.link
            ))
            .await;
    }
    world
        .sql(
            "INSERT INTO outbox (tenant_id, lane, event_id, event_type, envelope) \
             VALUES ('desa-a', 'x', gen_random_uuid(), 'x', '{}')",
        )
        .await;

    world
        .sql("INSERT INTO installations VALUES ('desa-a', 'default', 1, 'https://chat.example', 'x')")
        .await;
    for forwarded in [
        "INSERT INTO forward_steps (tenant_id, event_id, step) VALUES ('desa-a', gen_random_uuid(), 'failed')",
        "INSERT INTO forward_done (tenant_id, event_id, route_id, conversation, class, outcome, failures, received_at, \
         ended_at) VALUES ('desa-a', gen_random_uuid(), gen_random_uuid(), 1, 'other', 'delivered', 0, now(), now())",
        "INSERT INTO route_times (tenant_id, route_id, grain, at, took) \
         VALUES ('desa-a', gen_random_uuid(), 1, now(), '{}')",
        "INSERT INTO forward_lanes (tenant_id, route_id, conversation) VALUES ('desa-a', gen_random_uuid(), 1)",
        "INSERT INTO forward_events (tenant_id, id, route_id, conversation, event, class, headers, body, size) \
         VALUES ('desa-a', gen_random_uuid(), gen_random_uuid(), 1, 'x', 'other', '[]', '', 1)",
        "INSERT INTO forward_seen (tenant_id, route_id, key) VALUES ('desa-a', gen_random_uuid(), '')",
        "INSERT INTO forward_counts (tenant_id, route_id, accepted, delivered, dropped, expired) \
         VALUES ('desa-a', gen_random_uuid(), 1, 1, 0, 0)",
        "INSERT INTO history_jobs (tenant_id, id, inbox_id) VALUES ('desa-a', gen_random_uuid(), gen_random_uuid())",
        "INSERT INTO reconcile_marks (tenant_id, inbox_id, seen_until) VALUES ('desa-a', gen_random_uuid(), now())",
        "INSERT INTO notices (tenant_id, inbox_id, kind, id) \
         VALUES ('desa-a', gen_random_uuid(), 'x', gen_random_uuid())",
    ] {
        world.sql(forwarded).await;
    }

    for kept in [
        "INSERT INTO contact_pictures (tenant_id, inbox_id, chatwoot_contact_id) VALUES ('desa-a', gen_random_uuid(), 1)",
        "INSERT INTO drift_reports (tenant_id, route_id) SELECT tenant_id, id FROM routes LIMIT 1",
        "INSERT INTO set_up_probes (tenant_id, nonce, route_id) VALUES ('desa-a', 'x', gen_random_uuid())",
        "INSERT INTO audit_log (tenant_id, id, actor, action) VALUES ('desa-a', gen_random_uuid(), 'x', 'x')",
    ] {
        world.sql(kept).await;
    }

    #[derive(diesel::QueryableByName)]
    struct Count {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        n: i64,
    }
    for table in [
        "drift_reports",
        "set_up_probes",
        "audit_log",
        "inboxes",
        "routes",
        "installations",
        "contacts",
        "contact_pictures",
        "message_links",
        "agent_messages",
        "agent_parts",
        "agent_files",
        "handled_events",
        "outbox",
        "lanes",
        "lane_tasks",
        "forward_events",
        "forward_lanes",
        "forward_seen",
        "forward_counts",
        "forward_steps",
        "forward_done",
        "route_times",
        "history_jobs",
        "reconcile_marks",
        "notices",
        "tenant_directory",
    ] {
        for (tenant, sees) in [("desa-a", true), ("desa-b", false)] {
            let mut tx = TenantTransaction::begin(&world.database.db, &scope(tenant), "test")
                .await
                .unwrap();
            let rows: Vec<Count> = diesel::sql_query(format!("SELECT count(*) AS n FROM {table}"))
                .load(tx.connection())
                .await
                .unwrap();
            assert_eq!(rows[0].n > 0, sees, "{table} as {tenant}");
            let deleted = diesel::sql_query(format!("DELETE FROM {table}"))
                .execute(tx.connection())
                .await;
            if table == "audit_log" {
                assert!(deleted.is_err(), "rows of it are only ever added");
                continue;
            }
            assert_eq!(deleted.unwrap() > 0, sees, "{table} as {tenant}");
        }
        // No scope at all.
        let mut connection = world.database.db.connection().await.unwrap();
        let rows: Vec<Count> = diesel::sql_query(format!("SELECT count(*) AS n FROM {table}"))
            .load(&mut *connection)
            .await
            .unwrap();
        assert_eq!(rows[0].n, 0, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_nobodys_are_no_tenants_to_read() {
    let world = World::start().await;
    world
        .sql(
            "INSERT INTO quarantine (id, installation, reason, body, body_size) \
              VALUES (gen_random_uuid(), 'default', 'invalid_json', 'x', 1)",
        )
        .await;
    let mut tx = TenantTransaction::begin(&world.database.db, &scope("desa-a"), "test")
        .await
        .unwrap();
    let read = diesel::sql_query("DELETE FROM quarantine")
        .execute(tx.connection())
        .await
        .unwrap();
    assert_eq!(read, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_cannot_write_for_another_one() {
    let world = World::start().await;
    let mut tx = TenantTransaction::begin(&world.database.db, &scope("desa-b"), "test")
        .await
        .unwrap();
    let foreign = "INSERT INTO handled_events (tenant_id, event_id) VALUES ('desa-a', gen_random_uuid())";
    assert!(tx.connection().batch_execute(foreign).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policies_hold_and_a_hole_is_found() {
    let world = World::start().await;
    policy::check(&world.database.db).await.unwrap();
    world
        .sql("ALTER TABLE contacts NO FORCE ROW LEVEL SECURITY")
        .await;
    assert!(policy::check(&world.database.db).await.is_err());
}
