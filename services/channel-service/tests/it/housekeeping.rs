//! Old rows go, young ones stay; the schema goes down and up again.

use std::time::Duration;

use channel_service::MIGRATIONS;
use channel_service::store::quarantine::Aging;
use channel_service::workers::retention::sweep;
use database::migrate;
use diesel_async::AsyncMigrationHarness;
use diesel_migrations::MigrationHarness as _;
use runtime::shutdown::Shutdown;
use serde_json::json;
use test_support::{TestDatabase, environment};

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
    app.run_sql(
        "UPDATE inbound_ledger SET received_at = now() - interval '14 days 1 minute' WHERE provider_message_id = '3EB0AGE0'; \
         UPDATE inbound_ledger SET received_at = now() - interval '13 days 23 hours' WHERE provider_message_id = '3EB0AGE1'; \
         UPDATE quarantine SET received_at = now() - interval '15 days' WHERE instance = 'asing-0'; \
         UPDATE send_requests SET received_at = now() - interval '15 days' \
          WHERE message_id = (SELECT id FROM messages WHERE reference = 'umur 0'); \
         INSERT INTO provider_events (tenant_id, id, account_id, type_name, payload, received_at) \
             SELECT 'desa-lain', gen_random_uuid(), gen_random_uuid(), 'X', '{}', now() - n * interval '10 days' \
             FROM generate_series(1, 3) n; \
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
            ("ProviderEvents".to_owned(), 2)
        ]
    );
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
async fn migrations_go_down_and_up_and_twice_is_nothing() {
    let database = TestDatabase::create("channel", MIGRATIONS).await;
    let admin_url = environment("TEST_DATABASE_URL").parse().unwrap();
    let again = migrate(&admin_url, &database.url, &database.names, MIGRATIONS)
        .await
        .unwrap();
    assert!(again.is_empty(), "{again:?}");

    let mut harness = AsyncMigrationHarness::new(database.admin().await);
    let reverted = harness.revert_all_migrations(MIGRATIONS).unwrap().len();
    assert!(reverted > 3, "{reverted}");
    drop(harness);
    #[derive(diesel::QueryableByName)]
    struct Left {
        #[diesel(sql_type = diesel::sql_types::Text)]
        name: String,
    }
    let left: Vec<Left> = diesel_async::RunQueryDsl::load(
        diesel::sql_query(
            "SELECT relname::text AS name FROM pg_class WHERE relnamespace = current_schema()::regnamespace \
                AND relkind IN ('r', 'p', 'S', 'v') AND relname <> '__diesel_schema_migrations' \
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
