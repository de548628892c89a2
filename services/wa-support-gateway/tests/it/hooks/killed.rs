//! A process that is killed in the middle of a delivery, and what operators see of the relay.

use test_support::{TestProcessDatabase, eventually};
use whatsapp::credentials::WebhookKey;
use whatsapp::genfity::sign;

use super::world::{JSON, Receiver};
use crate::process::Process;
use crate::support::{ADMIN_TOKEN, FakeWaServer};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_nothing_and_swaps_nothing() {
    test_support::install_crypto_provider();
    let (database, wa, receiver) = (
        TestProcessDatabase::create().await,
        FakeWaServer::start(),
        Receiver::start(),
    );
    let (process, port) = Process::serving(&database, &wa);
    let process = process
        .with("LOG_LEVEL", "debug")
        .with("PUBLIC_GATEWAY_BASE_URL", &format!("http://127.0.0.1:{port}"))
        .with("OUTBOUND_ALLOWED_PRIVATE_HOSTS", "127.0.0.1:*")
        .with("HOOK_LEASE_MS", "1000")
        .with("HOOK_RETRY_FIRST_MS", "100")
        .with("HOOK_RETRY_ATTEMPTS", "2");
    process.json(&["migrate", "--bootstrap"]).await;
    let receiver_url = receiver.url();
    let session = process
        .json(&[
            "session",
            "create",
            "--customer",
            "desa-a",
            "--name",
            "desa-a",
            "--webhook-url",
            &receiver_url,
        ])
        .await;
    let key = wa.hmac_key_of(session["session_id"].as_str().unwrap());
    let webhook_key = WebhookKey::new(key.as_str()).unwrap();
    let (mut child, logs) = process.serve().await;

    let hook = hook_of(&database).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = async |mark: &str| {
        let body = format!("{{\"type\":\"Presence\",\"mark\":\"{mark}\",\"said\":\"a-private-whisper\"}}");
        let answer = client
            .post(format!("http://127.0.0.1:{port}/hooks/{hook}"))
            .header("content-type", JSON)
            .header("x-hmac-signature", sign(&webhook_key, body.as_bytes()))
            .body(body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
    };
    receiver.answer(0);
    for mark in ["1", "2", "3"] {
        post(mark).await;
    }
    receiver.until(1).await;
    child.kill().await.unwrap();
    let first_logs = logs.await.unwrap();

    receiver.answer(200);
    let (mut child, logs) = process.serve().await;
    receiver.until(4).await;
    assert_eq!(receiver.marks(), ["1", "1", "2", "3"]);
    // Whoever took over knows that it was begun before.
    assert_eq!(receiver.received()[1].header("x-kanal-attempt"), Some("2"));

    // What operators see of one that is put aside.
    receiver.answer(500);
    post("4").await;
    let listed = eventually("it is parked", || async {
        let listed = process.json(&["hook", "parked", "--customer", "desa-a"]).await;
        listed["parked"][0]["event_id"].is_string().then_some(listed)
    })
    .await;
    let event = listed["parked"][0]["event_id"].as_str().unwrap();
    let shown = process
        .json(&["hook", "show", "--customer", "desa-a", "--event", event])
        .await;
    assert_eq!(shown["webhook"]["reason"], "http_500");
    assert_eq!(listed["sessions"][0]["delivered"], 3);
    receiver.answer(200);
    let replayed = process
        .json(&["hook", "replay", "--customer", "desa-a", "--event", event])
        .await;
    assert_eq!(replayed["replayed"], 1);
    eventually("the replayed one arrives", || async {
        (receiver.received().last()?.header("x-kanal-attempt") == Some("1")).then_some(())
    })
    .await;
    let again = process.command(&["hook", "replay", "--customer", "desa-a", "--event", event]);
    let mut again = again;
    assert!(!again.output().await.unwrap().status.success());

    child.start_kill().unwrap();
    child.wait().await.unwrap();
    let logs = format!("{first_logs}{}{listed}{shown}", logs.await.unwrap());
    assert!(logs.contains("a webhook is parked"), "{logs}");
    let token = session["session_token"].as_str().unwrap();
    for secret in ["whisper", key.as_str(), token, ADMIN_TOKEN, "AAECAwQFBgcICQoL"] {
        assert!(!logs.contains(secret), "{secret} is in the log");
    }
    receiver.stop().await;
    wa.stop().await;
}

/// The only session's hook.
async fn hook_of(database: &TestProcessDatabase) -> String {
    use diesel::sql_types::Text;
    use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _};

    #[derive(diesel::QueryableByName)]
    struct Hook {
        #[diesel(sql_type = Text)]
        hook: String,
    }
    let mut admin = AsyncPgConnection::establish(&database.admin_url()).await.unwrap();
    let found: Hook = diesel::sql_query(
        "SELECT external_id AS hook FROM wa_support.tenant_directory WHERE kind = 'session_hook'",
    )
    .get_result(&mut admin)
    .await
    .unwrap();
    found.hook
}
