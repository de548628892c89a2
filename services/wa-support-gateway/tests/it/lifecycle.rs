//! Starting without Postgres, losing it, and ending in order.

use std::time::Duration;

use serde_json::Value;
use test_support::{CuttableProxy, TestDatabase, environment, eventually};
use wa_support_gateway::MIGRATIONS;
use wa_support_gateway::app::ApplicationError;

use crate::support::Gateway;

async fn behind_a_proxy() -> (CuttableProxy, TestDatabase) {
    let proxy = CuttableProxy::in_front_of(&environment("WA_SUPPORT_DATABASE_URL"), 5432).await;
    let database = TestDatabase::create_behind("wa_support", MIGRATIONS, |url| proxy.url(url)).await;
    (proxy, database)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_starts_without_postgres_and_serves_when_it_comes() {
    let (proxy, database) = behind_a_proxy().await;
    proxy.cut();
    let gateway = Gateway::start_on(database, |_| {});
    let live = gateway
        .client
        .get(gateway.url("/health/live"))
        .send()
        .await
        .unwrap();
    assert_eq!(live.status(), 200);
    let ready = gateway
        .client
        .get(gateway.url("/health/ready"))
        .send()
        .await
        .unwrap();
    assert_eq!(ready.status(), 503);
    assert_eq!(ready.json::<Value>().await.unwrap()["checks"]["database"], "down");
    let answer = gateway
        .client
        .get(gateway.url("/wa/session/status"))
        .header("token", "wat_x")
        .send()
        .await
        .unwrap();
    assert_eq!(
        answer.status(),
        503,
        "nobody is served before the policies were seen"
    );
    assert!(answer.headers().contains_key("retry-after"));

    proxy.restore();
    gateway.until_ready().await;
    let session = gateway.session("desa-a").await;
    assert_eq!(
        gateway
            .get("/wa/session/status", &session)
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_away_callers_are_asked_to_come_again() {
    let (proxy, database) = behind_a_proxy().await;
    let gateway = Gateway::start_on(database, |_| {});
    gateway.until_ready().await;
    let session = gateway.session("desa-a").await;

    proxy.cut();
    let answer = gateway.get("/wa/session/status", &session).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "2");
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["message"], "Temporarily unavailable, please try again");

    proxy.restore();
    eventually("it serves again", || async {
        let answer = gateway.get("/wa/session/status", &session).send().await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hole_in_the_policies_ends_the_service() {
    let database = TestDatabase::create("wa_support", MIGRATIONS).await;
    let mut admin = database.admin().await;
    diesel_async::SimpleAsyncConnection::batch_execute(
        &mut admin,
        "ALTER TABLE sessions NO FORCE ROW LEVEL SECURITY",
    )
    .await
    .unwrap();
    let gateway = Gateway::start_on(database, |_| {});
    let error = tokio::time::timeout(Duration::from_secs(20), gateway.running)
        .await
        .unwrap()
        .unwrap()
        .unwrap_err();
    assert!(matches!(error, ApplicationError::Policies(_)), "{error:?}");
    assert!(
        error
            .to_string()
            .contains("table sessions has no forced row-level security"),
        "{error}"
    );
}

/// Acceptance check 11. One of the two workers has nothing in hand and ends at once; what the other one waits on must
/// not end with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_send_in_hand_is_answered_when_the_end_begins() {
    for _ in 0..3 {
        let gateway = Gateway::start().await;
        let session = gateway.session("desa-a").await;
        // Every worker has had the chance to open the connection that the send will travel on.
        for _ in 0..4 {
            let fresh = reqwest::Client::builder().no_proxy().build().unwrap();
            let warm = fresh
                .get(gateway.url("/wa/session/status"))
                .header("token", &session.token);
            assert_eq!(warm.send().await.unwrap().status(), 200);
            assert_eq!(
                fresh
                    .get(gateway.url("/health/ready"))
                    .send()
                    .await
                    .unwrap()
                    .status(),
                200
            );
        }
        let slow = gateway.post("/wa/chat/send/slow", &session).body("{}").send();
        let slow = tokio::spawn(slow);
        eventually("the send is on its way", || async {
            gateway
                .wa
                .seen()
                .iter()
                .any(|seen| seen.target.ends_with("/chat/send/slow"))
                .then_some(())
        })
        .await;
        gateway.shutdown.begin();
        let answer = slow.await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.json::<Value>().await.unwrap()["data"]["Details"], "Sent");
        gateway.stop().await;
    }
}
