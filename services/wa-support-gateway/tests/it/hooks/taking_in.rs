//! What is taken in, and what is not.

use serde_json::Value;
use test_support::{CuttableProxy, environment, eventually};
use uuid::Uuid;
use whatsapp::credentials::WebhookKey;
use whatsapp::genfity::sign;

use super::world::{
    COUNTS, FORM, HookedSession, JSON, KEPT, Receiver, ask, database_behind, relayed, start, start_with,
    until_it_is,
};
use crate::support::Gateway;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_its_sessions_or_nobodys_and_which_is_not_told() {
    let (gateway, receiver) = (start().await, Receiver::start());
    let own = HookedSession::make(&gateway, "desa-a", &receiver.url()).await;
    let other = HookedSession::make(&gateway, "desa-b", &receiver.url()).await;
    let body = own.event("one");
    let signature = sign(&own.key, body.as_bytes());
    let wrong_key = sign(&WebhookKey::new("k".repeat(32)).unwrap(), body.as_bytes());
    let cases: Vec<(String, Option<String>, String)> = vec![
        (own.id.to_string(), None, body.clone()),
        (own.id.to_string(), Some(wrong_key), body.clone()),
        (own.id.to_string(), Some("not hex".to_owned()), body.clone()),
        (own.id.to_string(), Some(signature[..62].to_owned()), body.clone()),
        // One byte more than was signed.
        (own.id.to_string(), Some(signature.clone()), format!("{body} ")),
        // Another session's event.
        (other.id.to_string(), Some(signature.clone()), body.clone()),
        // Nobody's.
        (Uuid::now_v7().to_string(), Some(signature.clone()), body.clone()),
        (own.id.simple().to_string(), Some(signature.clone()), body.clone()),
        (
            own.id.to_string().to_uppercase(),
            Some(signature.clone()),
            body.clone(),
        ),
        (own.session_id.clone(), Some(signature.clone()), body.clone()),
        ("x".to_owned(), Some(signature.clone()), body.clone()),
    ];
    let mut answers = Vec::new();
    for (hook, signature, body) in &cases {
        let mut request = gateway
            .client
            .post(gateway.url(&format!("/hooks/{hook}")))
            .header("content-type", JSON);
        if let Some(signature) = signature {
            request = request.header("x-hmac-signature", signature);
        }
        let answer = request.body(body.clone()).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{hook} {signature:?}");
        let mut answer: Value = answer.json().await.unwrap();
        answer.as_object_mut().unwrap().remove("request_id");
        answers.push(answer);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(ask(&gateway.database, KEPT).await, "0");

    for (method, path) in [("GET", ""), ("PUT", ""), ("POST", "/x"), ("POST", "/")] {
        let url = gateway.url(&format!("/hooks/{}{path}", own.id));
        let answer = gateway.client.request(method.parse().unwrap(), url).send().await;
        assert_eq!(answer.unwrap().status(), 404, "{method} {path}");
    }

    own.accepted(&gateway, &body).await;
    receiver.until(1).await;
    until_it_is(&gateway, COUNTS, "1 1 0 0 0 0").await;
    assert_eq!(receiver.marks(), ["one"]);

    // A session on its way out has no hook any more.
    gateway
        .sql("UPDATE sessions SET phase = 'removing' WHERE tenant_id = 'desa-a'")
        .await;
    eventually("the hook is closed", || async {
        (own.post(&gateway, JSON, body.as_bytes()).await.status() == 401).then_some(())
    })
    .await;
    receiver.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_session_there_is_has_a_hook_until_it_is_removed() {
    let (gateway, receiver) = (start().await, Receiver::start());
    let session = HookedSession::make(&gateway, "desa-a", &receiver.url()).await;
    let entry = "SELECT count(*) FROM tenant_directory WHERE kind = 'session_hook'";
    assert_eq!(ask(&gateway.database, entry).await, "1");
    receiver.answer(500);
    session.accepted(&gateway, &session.event("one")).await;
    receiver.until(1).await;
    gateway.sql("DELETE FROM sessions").await;
    assert_eq!(ask(&gateway.database, entry).await, "0");
    until_it_is(
        &gateway,
        "SELECT (SELECT count(*) FROM hook_events) + (SELECT count(*) FROM lane_tasks) + (SELECT count(*) FROM lanes)",
        "0",
    )
    .await;
    receiver.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_relay_there_is_no_such_route() {
    let gateway = start_with(|settings| settings.relay.public_base = None).await;
    let session = HookedSession::make(&gateway, "desa-a", "http://127.0.0.1:9/hook").await;
    let answer = session
        .post(&gateway, JSON, session.event("one").as_bytes())
        .await;
    assert_eq!(answer.status(), 404);
    assert_eq!(ask(&gateway.database, KEPT).await, "0");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_refused_and_nothing_of_it_kept() {
    let (gateway, receiver) = (
        start_with(|settings| {
            settings.hooks.body_limit = 1000;
            settings.hooks.queue_bytes = 4 * 1024;
        })
        .await,
        Receiver::start(),
    );
    receiver.answer(500);
    let session = HookedSession::make(&gateway, "desa-a", &receiver.url()).await;
    let answer = session.post(&gateway, JSON, &[b'x'; 1001]).await;
    assert_eq!(answer.status(), 413);
    assert_eq!(ask(&gateway.database, KEPT).await, "0");

    // The session's queue has a bound as well: three of these are more than it holds.
    let body = vec![b'x'; 500];
    for _ in 0..2 {
        assert_eq!(session.post(&gateway, JSON, &body).await.status(), 200);
    }
    let answer = session.post(&gateway, JSON, &body).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(ask(&gateway.database, KEPT).await, "4");
    receiver.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_postgres_nothing_is_accepted() {
    test_support::install_crypto_provider();
    let proxy = CuttableProxy::in_front_of(&environment("WA_SUPPORT_DATABASE_URL"), 5432).await;
    let gateway = Gateway::start_on(database_behind(&proxy).await, relayed);
    gateway.until_ready().await;
    let receiver = Receiver::start();
    let session = HookedSession::make(&gateway, "desa-a", &receiver.url()).await;
    session.accepted(&gateway, &session.event("one")).await;
    receiver.until(1).await;

    proxy.cut();
    // Known a moment ago or not known at all: neither is "nobody's".
    for hook in [session.id, Uuid::now_v7()] {
        let body = session.event("lost");
        let answer = gateway
            .client
            .post(gateway.url(&format!("/hooks/{hook}")))
            .header("content-type", JSON)
            .header("x-hmac-signature", sign(&session.key, body.as_bytes()))
            .body(body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
    }
    proxy.restore();
    eventually("webhooks are accepted again", || async {
        let answer = session
            .post(&gateway, JSON, session.event("two").as_bytes())
            .await;
        (answer.status() == 200).then_some(())
    })
    .await;
    eventually("the new one arrives", || async {
        (receiver.marks().last().map(String::as_str) == Some("two")).then_some(())
    })
    .await;
    receiver.stop().await;
    gateway.shutdown.begin();
    gateway.running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_hears_only_what_it_asked_for() {
    let (gateway, receiver) = (start().await, Receiver::start());
    let session = HookedSession::make(&gateway, "desa-a", &receiver.url()).await;
    gateway.sql("UPDATE sessions SET events = 'Presence'").await;
    let unwanted = session.event_of("Message", Value::Null, "unwanted");
    session.accepted(&gateway, &unwanted).await;
    session.accepted(&gateway, &session.event("wanted")).await;
    // A body that is signed and no webhook: its reader shall judge.
    assert_eq!(session.post(&gateway, FORM, b"a=%FF\xff").await.status(), 200);
    let received = receiver.until(2).await;
    assert_eq!(received[0].mark(), "wanted");
    assert_eq!(&received[1].body[..], b"a=%FF\xff");
    until_it_is(&gateway, COUNTS, "3 2 1 0 0 0").await;

    // And nothing is kept where nobody hears.
    gateway.sql("UPDATE sessions SET webhook_url = NULL").await;
    session.accepted(&gateway, &session.event("nobody")).await;
    assert_eq!(ask(&gateway.database, KEPT).await, "0");
    until_it_is(&gateway, COUNTS, "4 2 2 0 0 0").await;
    receiver.stop().await;
    gateway.stop().await;
}
