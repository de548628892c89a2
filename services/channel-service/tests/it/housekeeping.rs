//! Old rows go, young ones stay; the schema goes down and up again.

use std::time::Duration;

use channel_service::MIGRATIONS;
use channel_service::store::quarantine::Aging;
use channel_service::workers::retention::{sweep, sweep_lanes};
use database::migrate;
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};
use diesel_migrations::MigrationHarness as _;
use runtime::shutdown::Shutdown;
use serde_json::json;
use test_support::TestDatabase;

use crate::harness::{TestApp, Webhook, text};

const RARA: &str = "6281290000011";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sweep_takes_only_what_is_older() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    for number in 0..3 {
        app.post(&desa.json(&text(RARA, &format!("3EB0AGE{number}"), "umur")))
            .await
            .assert_kept();
        let mut stranger = text(RARA, "3EB0Z", "asing");
        stranger["instanceName"] = json!(format!("asing-{number}"));
        app.post(&Webhook::json(&stranger))
            .await
            .assert_done("Unknown instance");
        app.order(&desa, RARA, &format!("umur {number}")).await;
        app.until_status(&format!("umur {number}"), "sent").await;
    }
    // A message that was on its way to the AI would be noted as pending anew.
    app.until_to_ai(3).await;
    app.run_sql(
        "UPDATE inbound_ledger SET received_at = now() - interval '14 days 1 minute' WHERE provider_message_id = '3EB0AGE0'; \
         UPDATE inbound_ledger SET received_at = now() - interval '13 days 23 hours' WHERE provider_message_id = '3EB0AGE1'; \
         UPDATE quarantine SET received_at = now() - interval '15 days' WHERE instance = 'asing-0'; \
         UPDATE send_requests SET received_at = now() - interval '15 days' \
          WHERE message_id = (SELECT id FROM messages WHERE reference = 'umur 0'); \
         INSERT INTO ai_replies (tenant_id, key, message_ids, received_at) VALUES \
             ('desa-satu', 'm:LAMA', '{}', now() - interval '15 days'), ('desa-satu', 'm:BARU', '{}', now()); \
         DELETE FROM pending_messages; \
         INSERT INTO pending_messages (tenant_id, message_id, provider_message_id, received_at) \
             SELECT tenant_id, id, provider_message_id, now() - interval '15 days' FROM messages \
             WHERE direction = 'inbound' ORDER BY id LIMIT 1; \
         INSERT INTO provider_events (tenant_id, id, account_id, type_name, payload, received_at) \
             SELECT 'desa-lain', gen_random_uuid(), gen_random_uuid(), 'X', '{}', now() - n * interval '10 days' \
             FROM generate_series(1, 3) n; \
         INSERT INTO early_receipts (tenant_id, account_id, provider_message_id, status, at, received_at) \
             SELECT tenant_id, id, '3EB0EARLY' || n, 'read', now(), now() - n * interval '10 days' \
             FROM accounts, generate_series(1, 3) n; \
         INSERT INTO message_status_details (tenant_id, account_id, provider_message_id, received_at) \
             SELECT tenant_id, id, 'wamid.' || n, now() - n * interval '10 days' FROM accounts, generate_series(1, 2) n; \
         INSERT INTO cloud_updates (tenant_id, scope, key, id, kind, payload, received_at) \
             SELECT 'desa-lain', '1', n::text, gen_random_uuid(), 'account', '{}', now() - n * interval '10 days' \
             FROM generate_series(1, 2) n; \
         INSERT INTO message_standings (tenant_id, message_id, status, received_at) \
             SELECT 'desa-lain', gen_random_uuid(), 'sent', now() - n * interval '10 days' FROM generate_series(1, 3) n; \
         INSERT INTO replay_jobs (tenant_id, id, batch_id, state, asked_by, filter, total, received_at) \
             SELECT 'desa-lain', id, id, 'done', 'x', '{}', 1, now() - n * interval '10 days' \
             FROM (SELECT gen_random_uuid() AS id, n FROM generate_series(1, 2) n) jobs; \
         INSERT INTO replay_items (tenant_id, job_id, message_id) SELECT tenant_id, id, gen_random_uuid() FROM replay_jobs; \
         INSERT INTO inbound_ledger (tenant_id, account_id, provider_message_id, message_id, received_at) \
             SELECT 'desa-lain', gen_random_uuid(), 'lama-' || n, gen_random_uuid(), now() - interval '30 days' \
             FROM generate_series(1, 2500) n",
    )
    .await;
    let (age, shutdown) = (Duration::from_secs(14 * 24 * 60 * 60), Shutdown::new());
    let mut swept = Vec::new();
    for aging in Aging::ALL {
        swept.push((
            format!("{aging:?}"),
            sweep(&app.direct, aging, age, &shutdown).await.unwrap(),
        ));
    }
    assert_eq!(
        swept,
        [
            ("Quarantine".to_owned(), 1),
            ("Ledger".to_owned(), 2501),
            ("SendRequests".to_owned(), 1),
            ("AiReplies".to_owned(), 1),
            ("PendingMessages".to_owned(), 1),
            ("ProviderEvents".to_owned(), 2),
            ("EarlyReceipts".to_owned(), 2),
            ("StatusDetails".to_owned(), 1),
            ("CloudUpdates".to_owned(), 1),
            ("Standings".to_owned(), 2),
            ("ReplayJobs".to_owned(), 1)
        ]
    );
    assert_eq!(app.count("replay_items").await, 1, "items go with their order");
    assert_eq!(
        app.values("SELECT provider_message_id AS value FROM inbound_ledger ORDER BY 1")
            .await,
        [json!("3EB0AGE1"), json!("3EB0AGE2")]
    );
    assert_eq!(
        app.values("SELECT instance AS value FROM quarantine ORDER BY 1")
            .await,
        [json!("asing-1"), json!("asing-2")]
    );
    assert_eq!(
        (app.count("send_requests").await, app.count("messages").await),
        (2, 6)
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_without_work_is_forgotten_and_made_again_with_a_higher_fence() {
    // Without a service, which would sweep by itself.
    let database = TestDatabase::create("channel", MIGRATIONS).await;
    let mut admin = database.admin().await;
    admin.batch_execute(
        "INSERT INTO lanes (tenant_id, lane, fence, ready_at) VALUES ('desa-lain', 'old and idle', 7, NULL), \
             ('desa-lain', 'old with a task put aside', 7, NULL), ('desa-lain', 'old with work', 7, now() + interval '1 hour'); \
         INSERT INTO lanes (tenant_id, lane) VALUES ('desa-lain', 'young and idle'); \
         INSERT INTO lanes (tenant_id, lane, fence) SELECT 'desa-lain', 'many ' || n, n FROM generate_series(1, 1500) n; \
         INSERT INTO lane_tasks (tenant_id, lane, id, kind, payload, parked) VALUES \
             ('desa-lain', 'old with a task put aside', gen_random_uuid(), 'x', '{}', true)",
    )
    .await
    .unwrap();
    let shutdown = Shutdown::new();
    assert_eq!(sweep_lanes(&database.db, &shutdown).await.unwrap(), 1501);
    assert_eq!(sweep_lanes(&database.db, &shutdown).await.unwrap(), 0);
    let left = "SELECT string_agg(lane, ', ' ORDER BY lane) AS name FROM lanes";
    assert_eq!(
        name(&mut admin, left).await,
        "old with a task put aside, old with work, young and idle"
    );
    let again = "INSERT INTO lanes (tenant_id, lane) VALUES ('desa-lain', 'old and idle') \
                 RETURNING (fence > 1000000000000)::text AS name";
    assert_eq!(name(&mut admin, again).await, "true");
}

#[derive(diesel::QueryableByName)]
struct Name {
    #[diesel(sql_type = diesel::sql_types::Text)]
    name: String,
}

async fn name(admin: &mut AsyncPgConnection, query: &str) -> String {
    let row: Name = diesel::sql_query(query).get_result(admin).await.unwrap();
    row.name
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrations_go_down_and_up_and_twice_is_nothing() {
    let database = TestDatabase::create("channel", MIGRATIONS).await;
    let admin_url = database.admin_url().parse().unwrap();
    let again = migrate(&admin_url, &database.url, &database.names, MIGRATIONS)
        .await
        .unwrap();
    assert!(again.is_empty(), "{again:?}");

    let mut harness = AsyncMigrationHarness::new(database.admin().await);
    let reverted = harness.revert_all_migrations(MIGRATIONS).unwrap().len();
    assert!(reverted > 3, "{reverted}");
    drop(harness);
    let left: Vec<Name> = RunQueryDsl::load(
        diesel::sql_query(
            "SELECT relname::text AS name FROM pg_class WHERE relnamespace = current_schema()::regnamespace \
                AND relkind IN ('r', 'p', 'S', 'v') AND relname NOT IN ('__diesel_schema_migrations', '__migrations_to_know') \
             UNION ALL SELECT proname::text FROM pg_proc WHERE pronamespace = current_schema()::regnamespace",
        ),
        &mut database.admin().await,
    )
    .await
    .unwrap();
    assert!(
        left.is_empty(),
        "{:?}",
        left.iter().map(|row| &row.name).collect::<Vec<_>>()
    );

    let ran = migrate(&admin_url, &database.url, &database.names, MIGRATIONS)
        .await
        .unwrap();
    assert_eq!(ran.len(), reverted);
    tenant_isolation::policy::check(&database.db).await.unwrap();
}
