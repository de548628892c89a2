//! Secrets are sealed anew under another key, and nothing else becomes of whom they belong to.

use std::process::{Command, Output};

use channel_service::flows::route_account::AccountRoute;
use channel_service::store::{account, sealed, session_intent, session_to_unlink, support_customer};
use chores::key::{Fared, reencrypt};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, SimpleAsyncConnection as _};
use domain::endpoint::EndpointName;
use domain::ids::TenantId;
use runtime::config::Setting as _;
use runtime::encryption::KeyRing;
use secrecy::SecretString;
use serde_json::{Value, json};
use test_support::{ENCRYPTION_KEYS, NEWER_ENCRYPTION_KEY, TestProcessDatabase};
use uuid::Uuid;

use crate::gate_world::{Receiver, subscribe};
use crate::harness::{Tenant, TestApp};

fn newer() -> KeyRing {
    KeyRing::from_text(NEWER_ENCRYPTION_KEY).unwrap()
}

fn both() -> KeyRing {
    KeyRing::from_text(&format!("{NEWER_ENCRYPTION_KEY},{ENCRYPTION_KEYS}")).unwrap()
}

/// A secret in each place that a session passes through, and keys at two gateways, one of them from before there were two.
async fn fill(app: &TestApp, desa: &Tenant) {
    let tenant = TenantId::parse(desa.id.as_str()).unwrap();
    let seal = |text: &str, binding: &str| app.keys.seal(&SecretString::from(text), binding).unwrap();
    let left = Uuid::now_v7();
    let primary = EndpointName::parse("Primary").unwrap();
    app.run_sql(&format!(
        "INSERT INTO session_intents (tenant_id, account_id, session_name, via, token_sealed) \
             VALUES ('{tenant}', '{account}', 'begun', 'server', '{begun}'); \
         INSERT INTO sessions_to_unlink (tenant_id, id, endpoint, provider, session_name, token_sealed, next_try) \
             VALUES ('{tenant}', '{left}', 'Primary', 'genfity', 'left', '{to_unlink}', now() + interval '1 day'); \
         INSERT INTO sessions_to_unlink (tenant_id, id, endpoint, provider, session_name, next_try) \
             VALUES ('{tenant}', gen_random_uuid(), 'Primary', 'genfity', 'without', now() + interval '1 day'); \
         INSERT INTO support_customers (tenant_id, endpoint, key_sealed) VALUES ('{tenant}', 'Primary', '{key}'); \
         INSERT INTO support_customers (tenant_id, endpoint, key_sealed, names_endpoint) \
             VALUES ('{tenant}', 'Secondary', '{key_from_before}', false)",
        account = desa.account,
        begun = seal("begun", &session_intent::token_binding(&tenant, desa.account)),
        to_unlink = seal("left", &session_to_unlink::token_binding(&tenant, "Primary", left)),
        key = seal("gwa_1", &support_customer::key_binding(&tenant, &primary)),
        key_from_before = seal("gwa_2", &support_customer::key_binding_without_endpoint(&tenant)),
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_secret_of_every_tenant_opens_under_the_newest_key_alone() {
    let app = TestApp::spawn().await;
    let receiver = Receiver::start().await;
    let mut copies: Vec<(Tenant, AccountRoute)> = Vec::new();
    for id in ["desa-satu", "desa-dua"] {
        let desa = app.tenant(id).await;
        fill(&app, &desa).await;
        subscribe(&app, id, &receiver).await;
        let session = (Some(desa.session.name.as_str()), Some(desa.session.id.as_str()));
        let known = app.routes.find(session.0, session.1).await.unwrap().unwrap();
        copies.push((desa, known));
    }
    // Held by Meta, and not to be looked at for long: neither changes with a seal.
    app.run_sql(
        "UPDATE accounts SET send_held = 'restricted', send_probe_at = '2100-01-01'; \
         UPDATE session_watch SET look_at = '2100-01-01'",
    )
    .await;
    let standing = || async {
        let query = "SELECT a.id, send_held, send_probe_at, look_at, status, a.updated_at FROM accounts a \
                     JOIN session_watch w ON w.account_id = a.id ORDER BY 1";
        app.rows(query).await
    };
    let before = standing().await;
    assert_eq!(before.len(), 2);

    let done = reencrypt(&app.direct, &both(), sealed::TABLES).await.unwrap();
    let kinds: Vec<_> = done.kinds.keys().cloned().collect();
    assert_eq!(
        kinds,
        app.database.sealed_columns().await,
        "each column has its row in store/sealed.rs"
    );
    assert!(
        done.unreadable.is_empty() && done.still_under.is_empty(),
        "{done:?}"
    );
    for (kind, fared) in &done.kinds {
        let resealed = if kind == "support_customers.key_sealed" {
            4
        } else {
            2
        };
        let expected = Fared {
            resealed,
            ..Fared::default()
        };
        assert_eq!(*fared, expected, "{kind}");
    }
    assert_eq!(standing().await, before);
    let again = reencrypt(&app.direct, &newer(), sealed::TABLES).await.unwrap();
    for (kind, fared) in &again.kinds {
        assert_eq!((fared.resealed, fared.unreadable), (0, 0), "{kind}");
    }

    // A process that has the newest key alone is given a copy of before.
    for (desa, copy) in &copies {
        let keys = app
            .routes
            .webhook_keys(copy, &newer(), &app.endpoints)
            .await
            .unwrap();
        assert_eq!(keys.len(), 1);
        let tenant = TenantId::parse(desa.id.as_str()).unwrap();
        let stored = app
            .values(&format!(
                "SELECT token_sealed AS value FROM accounts WHERE tenant_id = '{tenant}'"
            ))
            .await;
        let token = newer().open(
            stored[0].as_str().unwrap(),
            &account::token_binding(&tenant, desa.account),
        );
        assert_eq!(
            secrecy::ExposeSecret::expose_secret(&token.unwrap()),
            desa.session.token.as_str()
        );
    }
    // A token that really is another one is something that was done about it.
    app.register("desa-satu", &copies[0].0.session, copies[0].0.key.as_deref())
        .await;
    let after = standing().await;
    let held: Vec<_> = after.iter().map(|row| row["send_held"].is_null()).collect();
    assert_eq!(held, [true, false]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_says_whose_secrets_do_not_open_and_never_what_is_in_them() {
    let database = TestProcessDatabase::create().await;
    let run = |keys: &str, arguments: &[&str]| -> Output {
        Command::new(env!("CARGO_BIN_EXE_channel-service"))
            .args(arguments)
            .env_clear()
            .env("DATABASE_URL", database.service_url("channel"))
            .env("MIGRATE_DATABASE_URL", database.admin_url())
            .env("REDIS_URL", "redis://127.0.0.1:9")
            .env("ENCRYPTION_KEYS", keys)
            .output()
            .unwrap()
    };
    assert!(run(ENCRYPTION_KEYS, &["migrate", "--bootstrap"]).status.success());
    let old = KeyRing::from_text(ENCRYPTION_KEYS).unwrap();
    let sealed = old.seal(
        &SecretString::from("gwa_1"),
        "support_customers/desa-a/Primary/key",
    );
    let mut admin = AsyncPgConnection::establish(&database.admin_url()).await.unwrap();
    admin
        .batch_execute(&format!(
            "INSERT INTO channel.support_customers (tenant_id, endpoint, key_sealed) VALUES \
             ('desa-a', 'Primary', '{}'), ('desa-b', 'Primary', 'test:c3BvaWx0')",
            sealed.unwrap()
        ))
        .await
        .unwrap();
    let both = format!("{NEWER_ENCRYPTION_KEY},{ENCRYPTION_KEYS}");
    let output = run(&both, &["key", "reencrypt"]);
    assert_eq!(output.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let kind = "support_customers.key_sealed";
    assert_eq!(told["key"], "newer");
    assert_eq!(
        told["kinds"][kind],
        json!({"resealed": 1, "current": 0, "unreadable": 1})
    );
    assert_eq!(
        told["unreadable"],
        json!([{"tenant_id": "desa-b", "kind": kind, "secrets": 1}])
    );
    assert_eq!(told["still_under"], json!({"test": 1}));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("1 secret(s) do not open"), "{complaint}");
    assert!(
        !format!("{told}{complaint}").contains("c3Bv"),
        "{told}{complaint}"
    );

    admin
        .batch_execute("DELETE FROM channel.support_customers WHERE tenant_id = 'desa-b'")
        .await
        .unwrap();
    assert!(run(&both, &["key", "reencrypt"]).status.success());
    let alone = run(NEWER_ENCRYPTION_KEY, &["key", "reencrypt"]);
    assert!(alone.status.success());
    let told: Value = serde_json::from_slice(&alone.stdout).unwrap();
    assert_eq!(told["kinds"][kind]["current"], 1);
}
