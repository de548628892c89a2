//! The chores about customers, as operators run them.

use diesel_async::{AsyncConnection as _, AsyncPgConnection, SimpleAsyncConnection as _};
use serde_json::{Value, json};
use test_support::{TestProcessDatabase, redis_url, unique_prefix};

use crate::process::{Process, stdout};

async fn json_of(process: &Process, arguments: &[&str]) -> Value {
    serde_json::from_str(&stdout(&process.run(arguments).await)).unwrap()
}

async fn refused(process: &Process, arguments: &[&str]) -> String {
    let output = process.run(arguments).await;
    assert!(!output.status.success(), "{arguments:?}");
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_makes_rotates_switches_and_looks_at_a_customer() {
    let database = TestProcessDatabase::create().await;
    let process = Process {
        variables: vec![
            ("DATABASE_URL", database.service_url("wa_support")),
            ("MIGRATE_DATABASE_URL", database.admin_url()),
            ("REDIS_URL", redis_url()),
            ("REDIS_PREFIX", unique_prefix("wa-support")),
        ],
    };
    stdout(&process.run(&["migrate", "--bootstrap"]).await);
    let named = ["--customer", "desa-a"];
    let with = |words: &[&'static str]| [words, &named[..]].concat();

    let create = with(&[
        "customer",
        "create",
        "--source",
        "app",
        "--max-messages",
        "50",
        "--expires-at",
        "2030-01-01T00:00:00+07:00",
    ]);
    let made = json_of(&process, &create).await;
    assert_eq!(
        (&made["user_id"], &made["created"]),
        (&json!("desa-a"), &json!(true))
    );
    let key = made["api_key"].as_str().unwrap();
    assert_eq!(key.len(), 47);
    let again = json_of(&process, &create).await;
    assert_eq!(
        (&again["created"], &again["api_key"]),
        (&json!(false), &Value::Null)
    );

    let rotated = json_of(&process, &with(&["customer", "rotate", "--grace-seconds", "600"])).await;
    let new_key = rotated["api_key"].as_str().unwrap();
    assert_ne!(new_key, key);
    let suspended = json_of(&process, &with(&["customer", "suspend"])).await;
    assert_eq!(
        (&suspended["status"], &suspended["changed"]),
        (&json!("suspended"), &json!(true))
    );
    let shown = json_of(&process, &with(&["customer", "show"])).await;
    assert_eq!(
        (&shown["status"], &shown["source_service"]),
        (&json!("suspended"), &json!("app"))
    );
    assert_eq!(shown["subscription"]["max_messages"], 50);
    assert_eq!(shown["subscription"]["expires_at"], "2029-12-31T17:00:00Z");
    assert_eq!(shown["keys"].as_array().map(Vec::len), Some(2));
    assert_eq!(shown["keys"][0]["prefix"], new_key[..8]);
    let acts: Vec<&str> = shown["audit"]
        .as_array()
        .unwrap()
        .iter()
        .map(|act| act["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        acts,
        [
            "customer.suspend",
            "key.rotate",
            "customer.upsert",
            "customer.create"
        ]
    );
    assert!(
        shown["audit"]
            .as_array()
            .unwrap()
            .iter()
            .all(|act| act["actor"] == "operator")
    );
    let text = shown.to_string();
    assert!(
        !text.contains(key) && !text.contains(new_key),
        "no key is shown again"
    );
    let activated = json_of(&process, &with(&["customer", "activate"])).await;
    assert_eq!(
        (&activated["status"], &activated["changed"]),
        (&json!("active"), &json!(true))
    );

    for command in ["rotate", "suspend", "activate", "show"] {
        let complaint = refused(&process, &["customer", command, "--customer", "desa-none"]).await;
        assert!(complaint.contains("no such customer"), "{complaint}");
    }
    refused(
        &process,
        &["customer", "create", "--customer", "desa b", "--source", "app"],
    )
    .await;
    let document = json_of(&process, &["openapi"]).await;
    assert!(document["paths"]["/internal/users"]["post"].is_object());

    let verified = stdout(&process.run(&["audit", "verify"]).await);
    assert!(verified.contains("\"broken\":0"), "{verified}");
    let prune = ["audit", "prune", "--before", "2026-01-01T00:00:00Z"];
    let pruned = stdout(&process.run(&prune).await);
    assert!(pruned.contains("\"pruned\":0"), "{pruned}");
    let mut owner = AsyncPgConnection::establish(&database.admin_url()).await.unwrap();
    owner
        .batch_execute(
            "SET search_path TO wa_support; ALTER TABLE audit_log DISABLE TRIGGER USER; \
             DELETE FROM audit_log WHERE tenant_id = 'desa-a' AND seq = 2",
        )
        .await
        .unwrap();
    let broken = process.run(&["audit", "verify"]).await;
    assert_eq!(broken.status.code(), Some(1));
    let said = String::from_utf8(broken.stdout).unwrap();
    assert!(said.contains("entries 2 to 2 are missing"), "{said}");
}
