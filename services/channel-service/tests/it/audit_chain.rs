//! The chain of acts beside the traffic of messages, and the command that verifies it.

use std::process::{Command, Output};

use audit_log::{Anchors, verify};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, SimpleAsyncConnection as _};
use reqwest::Method;
use serde_json::json;
use test_support::{ENCRYPTION_KEYS, TestProcessDatabase, eventually};

use crate::harness::{TestApp, text};

const RARA: &str = "6281290000011";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_pass_while_somebodys_act_is_not_committed() {
    let app = TestApp::spawn().await;
    let desa = app.live_tenant("desa-satu").await;
    let mut held = app.database.admin().await;
    held.batch_execute(
        "BEGIN; INSERT INTO audit_log (tenant_id, id, actor, action) VALUES ('desa-satu', gen_random_uuid(), 'x', 'held'); \
         INSERT INTO platform_acts (id, actor, action) VALUES (gen_random_uuid(), 'x', 'held')",
    )
    .await
    .unwrap();
    app.post(&desa.json(&text(RARA, "3EB0AC1", "halo")))
        .await
        .assert_kept();
    app.order(&desa, RARA, "while-held").await;
    app.until_status("while-held", "sent").await;

    // Another act of the tenant waits for it.
    let path = format!("/takeover/{RARA}?village_id=desa-satu");
    let body = json!({"admin_id": "admin-1"});
    let taking = app.internal(Method::POST, &path, Some(&body));
    let committing = async {
        eventually("somebody waits for the chain", || async {
            let waiting = "SELECT pid AS value FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = \
                           (SELECT oid FROM pg_database WHERE datname = current_database()) AND pid IN \
                           (SELECT pid FROM pg_stat_activity WHERE query LIKE 'INSERT INTO audit_log%')";
            (!app.values(waiting).await.is_empty()).then_some(())
        })
        .await;
        held.batch_execute("COMMIT").await.unwrap();
    };
    let (answer, ()) = tokio::join!(taking, committing);
    assert_eq!(answer.status, 200, "{}", answer.text);
    let order =
        "SELECT action AS value FROM audit_log WHERE tenant_id = 'desa-satu' ORDER BY seq DESC LIMIT 2";
    assert_eq!(app.values(order).await, ["takeover.start", "held"]);
    let mut broken = Vec::new();
    verify(&app.database.db, None, Anchors::default(), u64::MAX, |report| {
        broken.extend(report.broken);
    })
    .await
    .unwrap();
    assert_eq!(broken, []);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_verifies_lists_and_prunes_acts() {
    let database = TestProcessDatabase::create().await;
    let run = |arguments: &[&str]| -> Output {
        Command::new(env!("CARGO_BIN_EXE_channel-service"))
            .args(arguments)
            .env_clear()
            .env("DATABASE_URL", database.service_url("channel"))
            .env("MIGRATE_DATABASE_URL", database.admin_url())
            .env("REDIS_URL", "redis://127.0.0.1:9")
            .env("ENCRYPTION_KEYS", ENCRYPTION_KEYS)
            .output()
            .unwrap()
    };
    let said = |output: &Output| String::from_utf8(output.stdout.clone()).unwrap();
    let done = |arguments: &[&str]| {
        let output = run(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        said(&output)
    };
    done(&["migrate", "--bootstrap"]);
    let first = done(&["audit", "verify"]);
    assert!(
        first.ends_with("{\"broken\":0,\"chains\":1,\"entries\":0}\n"),
        "{first}"
    );
    let listed = done(&["audit", "list"]);
    assert!(listed.contains("audit.verify"), "{listed}");
    let pruned = done(&["audit", "prune", "--before", "2026-01-01T00:00:00Z"]);
    assert_eq!(pruned, "{\"chain\":\"platform\",\"pruned\":0}\n");
    let mut owner = AsyncPgConnection::establish(&database.admin_url()).await.unwrap();
    owner
        .batch_execute(
            "SET search_path TO channel; ALTER TABLE platform_acts DISABLE TRIGGER USER; \
             UPDATE platform_acts SET actor = 'somebody else' WHERE seq = 1",
        )
        .await
        .unwrap();
    let output = run(&["audit", "verify"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("entry 1 was altered"), "{}", said(&output));
}
