//! What was in the log before it was chained, and the way back.

use audit_log::Anchors;
use diesel_async::{AsyncMigrationHarness, RunQueryDsl as _, SimpleAsyncConnection as _};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _};

use super::{CHANNEL, CHATWOOT_BRIDGE, WA_SUPPORT, World, act, platform_act};

fn migrations_of(service: &str) -> EmbeddedMigrations {
    match service {
        "channel" => CHANNEL,
        "wa_support" => WA_SUPPORT,
        _ => CHATWOOT_BRIDGE,
    }
}

/// Takes back the migrations from the newest on until the log is not chained.
async fn take_back(world: &World) {
    let mut harness = AsyncMigrationHarness::new(world.test.admin().await);
    loop {
        let version = harness
            .revert_last_migration(migrations_of(world.service))
            .unwrap();
        if version.to_string() == "20261129000045" {
            return;
        }
    }
}

/// As `migrate` does it, with the rights that roles have afterwards.
async fn bring_up(world: &World) {
    let admin = world.test.admin_url().parse().unwrap();
    let names = &world.test.names;
    let ran = database::migrate(&admin, &world.test.url, names, migrations_of(world.service)).await;
    assert!(!ran.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_acts_are_chained_in_their_order_and_chains_come_off_again() {
    for world in World::of_each_service().await {
        let world = world.with_acts("a", 3).await.with_acts("b", 2).await;
        platform_act(world.db(), "1").await;
        take_back(&world).await;
        let mut admin = world.test.admin().await;
        // Out of the order of their ids, as they may be.
        admin
            .batch_execute(
                "INSERT INTO audit_log (tenant_id, id, at, actor, action, detail) VALUES \
                 ('a', gen_random_uuid(), now() - interval '1 day', 'x', 'first', 'Ünï · 漢字'), \
                 ('a', gen_random_uuid(), now() + interval '1 second', 'x', 'last', NULL)",
            )
            .await
            .unwrap();
        let still = admin.batch_execute("DELETE FROM audit_log").await;
        assert!(still.is_err(), "{}", world.service);
        bring_up(&world).await;
        assert_eq!(world.broken(Anchors::default()).await, [], "{}", world.service);
        assert_eq!((world.head("a").await.seq, world.head("b").await.seq), (5, 2));
        #[derive(diesel::QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::Text)]
            action: String,
        }
        let rows: Vec<Row> =
            diesel::sql_query("SELECT action FROM audit_log WHERE tenant_id = 'a' ORDER BY seq")
                .load(&mut admin)
                .await
                .unwrap();
        let actions: Vec<&str> = rows.iter().map(|row| row.action.as_str()).collect();
        assert_eq!(actions, ["first", "test.act", "test.act", "test.act", "last"]);
        act(world.db(), "b", "goes on").await;
        assert_eq!(world.broken(Anchors::default()).await, []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_version_before_notes_into_the_chain_as_well() {
    let world = World::of("wa_support", WA_SUPPORT).await;
    let mut tx = tenant_isolation::PlatformTransaction::begin(
        world.db(),
        tenant_isolation::PlatformScope::for_purpose("test"),
    )
    .await
    .unwrap();
    tx.connection()
        .batch_execute(
            "INSERT INTO operator_log (id, actor, action, subject, detail) VALUES (gen_random_uuid(), 'x', 'x', 'x', 'x')",
        )
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let reports = world.reports(Anchors::default()).await;
    assert!(
        reports[0].entries == 1 && reports[0].broken.is_none(),
        "{reports:?}"
    );
}
