//! The predecessor's file is taken over, as often as one likes.

use std::path::{Path, PathBuf};

use chatwoot_bridge::flows::import_routes::{Import, Outcome, Report};
use chatwoot_bridge::outbound_url::OutboundPolicy;
use chatwoot_bridge::store::audit_log::Actor;
use chatwoot_bridge::store::original;
use domain::ids::AccountId;
use secrecy::SecretString;
use serde_json::json;

use crate::operator::Office;
use crate::world::{World, key, scope};

/// The predecessor's own table (contract 1.5).
const TABLE: &str = r#"CREATE TABLE "WebhookRoute" (
    "id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "inboxId" INTEGER NOT NULL, "webhookUrl" TEXT NOT NULL,
    "name" TEXT, "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" DATETIME NOT NULL);
    CREATE UNIQUE INDEX "WebhookRoute_inboxId_key" ON "WebhookRoute"("inboxId");"#;

const ROWS: &str = r#"INSERT INTO "WebhookRoute" VALUES
    (3, 42, 'https://wa:s3cret@gowa.example/chatwoot/webhook?secret=s3cret', 'Toko', '2026-01-05T02:10:11.120+00:00', 0),
    (5, 43, 'https://gowa.example/b', '', 1767579012000, 0),
    (8, 44, 'not a url', NULL, '2026-01-05 02:10:13', 0),
    (9, -3, 'https://gowa.example/c', NULL, '2026-01-05 02:10:14', 0),
    (12, 45, 'http://127.0.0.1:3000/chatwoot/webhook', NULL, '2026-01-05 02:10:15', 0),
    (13, 77, 'https://gowa.example/d', NULL, '2026-01-05 02:10:16', 0);"#;

pub(crate) fn file(folder: &Path) -> PathBuf {
    let path = folder.join("dev.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch(TABLE).unwrap();
    connection.execute_batch(ROWS).unwrap();
    path
}

async fn import(world: &World, file: &Path, dry_run: bool) -> Report {
    let import = Import {
        tools: &world.tools,
        outbound: &OutboundPolicy::default(),
        scope: &scope("desa-a"),
        installation: "default",
        dry_run,
        actor: &Actor::operator(),
    };
    import.run(&original::read(file).unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_come_with_their_numbers_and_a_second_time_nothing_does() {
    let office = Office::open().await;
    let world = &office.world;
    let folder = tempfile::tempdir().unwrap();
    let file = file(folder.path());
    // Somebody else has inbox 77 here, and takes the events of all its accounts.
    let other = chatwoot_bridge::flows::connect_inbox::Connection {
        account: AccountId::generate(),
        chatwoot_url: "https://chat.example".into(),
        key: key("default", 3, 77),
        api_token: SecretString::from("token-not-real"),
        webhook_secrets: Some(Vec::new()),
    };
    chatwoot_bridge::flows::connect_inbox::connect_inbox(&world.tools, &scope("desa-b"), &other)
        .await
        .unwrap();

    let expected = [
        (3, Outcome::Imported),
        (5, Outcome::Imported),
        (8, Outcome::ImportedOff),
        (9, Outcome::Skipped),
        (12, Outcome::ImportedOff),
        (13, Outcome::Taken),
    ];
    let outcomes = |report: &Report| {
        report
            .routes
            .iter()
            .map(|row| (row.id, row.outcome))
            .collect::<Vec<_>>()
    };
    let count = "SELECT count(*) AS n FROM routes WHERE tenant_id = 'desa-a'";

    let dry = import(world, &file, true).await;
    assert_eq!(outcomes(&dry), expected);
    assert_eq!((dry.read, dry.imported, dry.dry_run), (6, 4, true));
    assert_eq!(world.count(count).await, 0, "a dry run does nothing");

    let report = import(world, &file, false).await;
    assert_eq!(outcomes(&report), expected);
    assert_eq!(world.count(count).await, 4);
    let shown = serde_json::to_string(&report).unwrap();
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(
        shown.contains("https://wa:***@gowa.example/chatwoot/webhook?secret=***"),
        "{shown}"
    );

    let route = office.get("/admin/routes/3").await.ok()["route"].clone();
    for (key, value) in [
        ("inboxId", json!(42)),
        ("name", json!("Toko")),
        ("createdAt", json!("2026-01-05T02:10:11.120Z")),
        ("tenantId", json!("desa-a")),
        ("accountId", json!(null)),
        ("enabled", json!(true)),
    ] {
        assert_eq!(route[key], value, "{key}");
    }
    let off = office.get("/admin/routes/8").await.ok()["route"].clone();
    assert_eq!((&off["enabled"], &off["name"]), (&json!(false), &json!(null)));

    // What was changed here since stays as it is.
    office
        .put(
            "/admin/routes/5",
            &json!({"webhookUrl": "https://gowa.example/other"}),
        )
        .await
        .ok();
    let again = import(world, &file, false).await;
    let expected = [
        (3, Outcome::Unchanged),
        (5, Outcome::Different),
        (8, Outcome::Unchanged),
        (9, Outcome::Skipped),
        (12, Outcome::Unchanged),
        (13, Outcome::Taken),
    ];
    assert_eq!((outcomes(&again), again.imported), (expected.to_vec(), 0));
    assert_eq!(world.count(count).await, 4);

    // New routes get numbers that nobody in the file has.
    let new = json!({"inboxId": 50, "webhookUrl": "https://gowa.example/e"});
    let made = office.post("/admin/routes", &new).await.ok();
    assert!(made["route"]["id"].as_i64().unwrap() > 13, "{made}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_is_somebodys_is_another_one_here() {
    let office = Office::open().await;
    let first = json!({"inboxId": 50, "webhookUrl": "https://gowa.example/e"});
    let mut last = 0;
    for inbox in 50..54 {
        let mut new = first.clone();
        new["inboxId"] = json!(inbox);
        last = office.post("/admin/routes", &new).await.ok()["route"]["id"]
            .as_i64()
            .unwrap();
    }
    assert!(last >= 3);
    let folder = tempfile::tempdir().unwrap();
    let report = import(&office.world, &file(folder.path()), false).await;
    let row = &report.routes[0];
    assert_eq!((row.id, row.outcome), (3, Outcome::Imported));
    let new_id = row.new_id.unwrap();
    assert!(new_id > 13, "{new_id}");
    assert_eq!(
        office.get(&format!("/admin/routes/{new_id}")).await.ok()["route"]["inboxId"],
        42
    );
}

#[test]
fn what_only_the_write_ahead_log_has_is_read_and_the_file_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dev.db");
    let writer = rusqlite::Connection::open(&path).unwrap();
    writer
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;")
        .unwrap();
    writer.execute_batch(TABLE).unwrap();
    writer.execute_batch(ROWS).unwrap();
    let before = std::fs::read(&path).unwrap();
    assert_eq!(
        original::read(&path).unwrap().len(),
        6,
        "while the writer has it open"
    );
    assert_eq!(std::fs::read(&path).unwrap(), before);
    std::fs::write(
        folder.path().join("no.db"),
        "no database at all, whatever its name says",
    )
    .unwrap();
    assert!(original::read(&folder.path().join("no.db")).is_err());
    assert!(original::read(&folder.path().join("nothing.db")).is_err());
}
