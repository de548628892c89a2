//! Who gets through: tokens, customers, subscriptions.

use serde_json::Value;
use test_support::eventually;

use crate::support::{Gateway, Session};

async fn refusal(gateway: &Gateway, session: &Session) -> (u16, String) {
    let answer = gateway.get("/wa/session/status", session).send().await.unwrap();
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    assert!(
        body["request_id"].is_string() && body["code"].is_string(),
        "{body}"
    );
    (status, body["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_known_token_nobody_gets_through() {
    let gateway = Gateway::start().await;
    let session = gateway.session("desa-a").await;
    let answer = gateway
        .client
        .get(gateway.url("/wa/session/status?Token=x"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.json::<Value>().await.unwrap()["message"], "token required");
    for token in [
        "wat_unknown".to_owned(),
        session.token.to_uppercase(),
        session.session_id,
        "x".repeat(5000),
    ] {
        let stranger = Session {
            token,
            session_id: String::new(),
        };
        assert_eq!(
            refusal(&gateway, &stranger).await,
            (401, "invalid token".to_owned())
        );
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_customers_standing_counts_for_its_own_sessions() {
    // Rows are changed behind the service's back, and nothing but its own short memory may delay what it sees.
    let gateway =
        Gateway::start_with(|settings| settings.redis.url = "redis://127.0.0.1:1".to_owned().into()).await;
    let (a, b) = (gateway.session("desa-a").await, gateway.session("desa-b").await);
    assert_ne!(a.session_id, b.session_id);
    let refused = async |session: &Session, text: &str| {
        eventually(text, || async {
            let answer = gateway.get("/wa/session/status", session).send().await.unwrap();
            (answer.status() == 403).then_some(())
        })
        .await;
        assert_eq!(refusal(&gateway, session).await, (403, text.to_owned()));
    };

    gateway
        .sql("UPDATE customers SET status = 'suspended' WHERE tenant_id = 'desa-a'")
        .await;
    refused(&a, "user is not active").await;

    // Whether or not anybody has flipped the row.
    for (gone, back) in [
        ("expires_at = now()", "expires_at = now() + interval '1 day'"),
        ("status = 'inactive'", "status = 'active'"),
        ("provider = 'another'", "provider = 'genfity-wa'"),
    ] {
        gateway.sql(&format!("UPDATE subscriptions SET {gone}")).await;
        refused(&b, "subscription expired").await;
        gateway.wa.forget();
        assert_eq!(refusal(&gateway, &b).await.0, 403);
        assert!(
            !gateway
                .wa
                .seen()
                .iter()
                .any(|seen| seen.target.contains("/session/status"))
        );
        gateway.sql(&format!("UPDATE subscriptions SET {back}")).await;
        eventually("it may again", || async {
            (gateway
                .get("/wa/session/status", &b)
                .send()
                .await
                .unwrap()
                .status()
                == 200)
                .then_some(())
        })
        .await;
    }
    gateway
        .sql("DELETE FROM subscriptions WHERE tenant_id = 'desa-b'")
        .await;
    refused(&b, "subscription expired").await;
    gateway.wa.forget();
    assert_eq!(refusal(&gateway, &b).await.0, 403);

    let proxied = |seen: &crate::support::Seen| seen.target.contains("/session/status");
    assert!(
        !gateway.wa.seen().iter().any(proxied),
        "a refused caller does not reach the WA server"
    );

    gateway.sql("UPDATE customers SET status = 'active'").await;
    let answer = eventually("it may again", || async {
        let answer = gateway.get("/wa/session/status", &a).send().await.unwrap();
        (answer.status() == 200).then_some(answer)
    })
    .await;
    assert_eq!(
        answer.json::<Value>().await.unwrap()["data"]["token"],
        a.token.as_str()
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_customers_calling_at_once_each_reach_their_own_session() {
    let gateway = Gateway::start().await;
    let sessions = [gateway.session("desa-a").await, gateway.session("desa-b").await];
    let calls = (0..40).map(|number| {
        let session = &sessions[number % 2];
        let request = gateway.get(&format!("/wa/session/status?n={number}"), session);
        async move {
            let body: Value = request.send().await.unwrap().json().await.unwrap();
            assert_eq!(body["data"]["token"], session.token.as_str());
            assert_eq!(body["data"]["target"], format!("/wa/session/status?n={number}"));
        }
    });
    futures_util::future::join_all(calls).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_entry_that_outlived_its_token_leads_nowhere() {
    let gateway = Gateway::start().await;
    let session = gateway.session("desa-a").await;
    gateway
        .sql("UPDATE sessions SET token_hash = repeat('0', 64)")
        .await;
    assert_eq!(
        refusal(&gateway, &session).await,
        (401, "invalid token".to_owned())
    );
    gateway.sql("DELETE FROM sessions").await;
    assert_eq!(
        refusal(&gateway, &session).await,
        (401, "invalid token".to_owned())
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_token_moved_to_another_row_does_not_open() {
    let gateway = Gateway::start().await;
    let (a, _b) = (gateway.session("desa-a").await, gateway.session("desa-b").await);
    gateway
        .sql(
            "UPDATE sessions SET token_sealed = (SELECT token_sealed FROM sessions WHERE tenant_id = 'desa-b') \
             WHERE tenant_id = 'desa-a'",
        )
        .await;
    assert_eq!(
        refusal(&gateway, &a).await,
        (500, "Internal server error".to_owned())
    );
    gateway.stop().await;
}
