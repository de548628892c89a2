//! The chore that makes sessions: row first, and any number of times.

use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};
use secrecy::ExposeSecret as _;
use serde_json::json;
use test_support::TestDatabase;
use wa_support_gateway::MIGRATIONS;
use wa_support_gateway::flows::provision_session::ProvisionError;

use crate::support::{ADMIN_TOKEN, FakeWaServer, session_at, try_session};

async fn database() -> TestDatabase {
    test_support::install_crypto_provider();
    TestDatabase::create("wa_support", MIGRATIONS).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_made_with_everything_the_wa_server_forgets() {
    let (database, wa) = (database().await, FakeWaServer::start());
    let made = try_session(&database.db, &wa, "desa-a", "desa-contoh", |_| {})
        .await
        .unwrap();
    assert!(made.created);
    let (token, key) = (made.token.expose_secret(), made.hmac_key.expose_secret());
    assert!(token.len() == 47 && token.starts_with("wat_") && key.len() >= 32);

    let url = "http://channel.example.id/webhook";
    let calls: Vec<_> = wa
        .seen()
        .into_iter()
        .map(|seen| (seen.method, seen.target, seen.json))
        .collect();
    let call = |method: &str, path: &str, body| (method.to_owned(), format!("/wa{path}"), body);
    assert_eq!(
        calls,
        [
            call(
                "POST",
                "/admin/users",
                json!({"name": "desa-contoh", "token": token, "webhook": url, "events": "All", "hmacKey": key})
            ),
            // Before it is connected, too, so that the very first event is signed.
            call("POST", "/session/hmac/config", json!({"hmac_key": key})),
            call(
                "POST",
                "/session/connect",
                json!({"Subscribe": ["All"], "Immediate": true})
            ),
            call("POST", "/session/hmac/config", json!({"hmac_key": key})),
            call(
                "POST",
                "/session/s3/config",
                json!({"enabled": false, "media_delivery": "base64"})
            ),
            call(
                "PUT",
                "/webhook",
                json!({"webhook": url, "active": true, "events": ["All"]})
            ),
            call("GET", "/webhook", serde_json::Value::Null),
        ]
    );
    // The two kinds of call never show each other's credential.
    for seen in wa.seen() {
        let admin = seen.target.contains("/admin/");
        assert_eq!(
            (
                seen.header("authorization").is_some(),
                seen.header("token").is_some()
            ),
            (admin, !admin)
        );
    }
    assert_eq!(wa.users()[0]["id"], made.session_id.as_str());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn running_it_again_changes_nothing_and_repairs_what_is_missing() {
    let (database, wa) = (database().await, FakeWaServer::start());
    let first = try_session(&database.db, &wa, "desa-a", "desa-contoh", |_| {})
        .await
        .unwrap();
    database
        .admin()
        .await
        .batch_execute(
            "UPDATE sessions SET status = 'connected', connected = true, jid = '62811@s.whatsapp.net'",
        )
        .await
        .unwrap();
    let second = try_session(&database.db, &wa, "desa-a", "desa-contoh", |wanted| {
        wanted.webhook_url = None;
    })
    .await
    .unwrap();
    assert!(!second.created);
    // The WA server has it under the id it had, so it is as connected as it was.
    let mut admin = database.admin().await;
    let rows = "SELECT 1 FROM sessions WHERE status = 'connected' AND jid <> ''";
    let kept = diesel::sql_query(rows).execute(&mut admin).await.unwrap();
    assert_eq!(kept, 1);
    assert_eq!(second.session_id, first.session_id);
    assert_eq!(second.token.expose_secret(), first.token.expose_secret());
    assert_eq!(second.hmac_key.expose_secret(), first.hmac_key.expose_secret());
    assert_eq!(
        wa.user("desa-contoh")["webhook"],
        "http://channel.example.id/webhook",
        "the stored address is used again"
    );

    wa.lose_users();
    let third = try_session(&database.db, &wa, "desa-a", "desa-contoh", |_| {})
        .await
        .unwrap();
    assert_ne!(third.session_id, first.session_id);
    assert_eq!(third.token.expose_secret(), first.token.expose_secret());
    assert_eq!(wa.users().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_the_wa_server_cut_short_is_finished_by_the_next() {
    let (database, wa) = (database().await, FakeWaServer::start());
    let nowhere = session_at(
        &database.db,
        "http://127.0.0.1:9",
        ADMIN_TOKEN,
        "desa-a",
        "desa-a",
        |_| {},
    )
    .await;
    assert!(nowhere.unwrap_err().to_string().contains("it cannot be reached"));
    let refused = session_at(&database.db, &wa.url(), "wrong", "desa-a", "desa-a", |_| {}).await;
    assert!(refused.unwrap_err().to_string().contains("401: unauthorized"));
    assert!(wa.users().is_empty());

    let made = try_session(&database.db, &wa, "desa-a", "desa-a", |_| {})
        .await
        .unwrap();
    assert!(made.created, "the runs before were taken back");
    assert_eq!(wa.users().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_belongs_to_one_customer_and_limits_hold() {
    let (database, wa) = (database().await, FakeWaServer::start());
    try_session(&database.db, &wa, "desa-a", "desa-contoh", |_| {})
        .await
        .unwrap();
    let error = try_session(&database.db, &wa, "desa-b", "desa-contoh", |_| {})
        .await
        .unwrap_err();
    assert!(matches!(error, ProvisionError::NameTaken(_)), "{error:?}");
    let error = try_session(&database.db, &wa, "desa-a", "second", |_| {})
        .await
        .unwrap_err();
    assert!(matches!(error, ProvisionError::LimitReached(1)), "{error:?}");
    try_session(&database.db, &wa, "desa-a", "second", |wanted| {
        wanted.max_sessions = Some(2);
    })
    .await
    .unwrap();
    assert_eq!(wa.users().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_at_the_same_time_agree_on_one_row() {
    let (database, wa) = (database().await, FakeWaServer::start());
    let runs = (0..6).map(|_| try_session(&database.db, &wa, "desa-a", "desa-contoh", |_| {}));
    let made: Vec<_> = futures_util::future::join_all(runs)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(made.iter().filter(|made| made.created).count(), 1);
    assert!(
        made.iter()
            .all(|other| other.token.expose_secret() == made[0].token.expose_secret())
    );
    assert_eq!(wa.users().len(), 1);
}
