//! Every secret that may have signed a webhook opens it, old and new, and none of them is ever shown.

use chatwoot_bridge::store::routes::{self as route_store, Route};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tenant_isolation::TenantTransaction;
use test_support::eventually;

use crate::events::sample;
use crate::router::{Door, put, secret_route, signed, url_route};
use crate::world::{SECRET, World, keep_logs, start_chatwoot};

#[tokio::test(flavor = "multi_thread")]
async fn every_secret_old_and_new_and_none_in_logs() {
    let log = keep_logs();
    let (world, chatwoot) = (World::start().await, start_chatwoot().await);
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    let door = Door::open(&world).await;
    let (inbox, account) = (
        ["inbox-new-0001", "inbox-old-0002"],
        ["account-new-0003", "account-old-0004"],
    );
    secret_route(&world, &place, &inbox, &account).await;
    let mut event = sample("A.1");
    event["account"]["id"] = json!(place.chatwoot_account);
    event["inbox"]["id"] = json!(place.inbox);
    let body = event.to_string();
    let all = [&inbox[..], &account[..], &[SECRET]].concat();
    for secret in &all {
        let (status, answer) = door.post("/webhook", &body, &signed(secret, &body)).await;
        assert_eq!((status, &answer["forwarded"]), (200, &json!(true)), "{answer}");
    }
    for delivery in ["0f6d1c2e-dddd", "two words"] {
        let mut headers = signed(SECRET, &body);
        headers.push(("x-chatwoot-delivery".to_owned(), delivery.to_owned()));
        assert_eq!(door.post("/webhook", &body, &headers).await.0, 200);
    }
    for delivery in ["0f6d1c2e-dddd", "two words"] {
        let mut headers = signed(SECRET, &body);
        headers.push(("x-chatwoot-delivery".to_owned(), delivery.to_owned()));
        assert_eq!(door.post("/webhook", &body, &headers).await.0, 200);
    }
    let stranger = door.post("/webhook", &body, &signed("guess-0005", &body)).await;
    assert_eq!(
        (stranger.0, &stranger.1["code"]),
        (401, &json!("signature_mismatch"))
    );
    let none = door.post("/webhook", &body, &[]).await;
    assert_eq!((none.0, &none.1["code"]), (401, &json!("signature_missing")));

    // Changed this moment: the new one opens although the old ones are at hand.
    secret_route(&world, &place, &["inbox-newest-0006", inbox[0]], &account[..1]).await;
    for (secret, opens) in [("inbox-newest-0006", 200), (inbox[0], 200), (account[0], 200)] {
        let (status, answer) = door.post("/webhook", &body, &signed(secret, &body)).await;
        assert_eq!(status, opens, "{answer}");
    }
    for gone in [inbox[1], account[1]] {
        let (status, answer) = door.post("/webhook", &body, &signed(gone, &body)).await;
        assert_eq!((status, &answer["code"]), (401, &json!("signature_mismatch")));
        assert!(!answer.to_string().contains(gone));
    }
    assert_eq!(world.accepted_replies().await, 1);

    let mut tx = TenantTransaction::begin(&world.database.db, &place.scope, "test")
        .await
        .unwrap();
    let route = route_store::find_by_link(&mut tx, place.link)
        .await
        .unwrap()
        .unwrap();
    tx.commit().await.unwrap();
    let written = log.since();
    assert!(written.contains("request done"), "nothing was logged");
    assert!(
        written.contains("0f6d1c2e-dddd"),
        "a delivery has its name in the log"
    );
    assert!(!written.contains("two words"), "and anything else has not");
    let shown = format!("{route:?} {:?} {written}", route.target);
    for secret in all.iter().chain(&["inbox-newest-0006", "guess-0005"]) {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
    assert!(!shown.contains("Halo kak"), "words are shown");
    for sealed in route
        .inbox_secrets_sealed
        .iter()
        .chain(&route.account_secrets_sealed)
    {
        assert!(!shown.contains(sealed));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_path_is_asked_for_where_the_route_has_one() {
    let world = World::start().await;
    let door = Door::open(&world).await;
    let digest = Sha256::digest(b"geheim-0001").to_vec();
    let route = Route {
        path_token_sha256: Some(digest),
        ..url_route(&world, "desa-a", None, 42)
    };
    put(&world, "desa-a", &route).await.unwrap();
    let body = json!({"event": "x", "inbox_id": 42}).to_string();
    for path in [
        "/webhook",
        "/webhook?token=",
        "/webhook?token=geheim-0002",
        "/webhook?secret=geheim-0001",
    ] {
        let (status, answer) = door.post(path, &body, &[]).await;
        assert_eq!(
            (status, &answer["code"]),
            (401, &json!("token_mismatch")),
            "{path}"
        );
    }
    let (status, answer) = door.post("/webhook?a=b&token=geheim%2D0001", &body, &[]).await;
    assert_eq!((status, &answer["forwarded"]), (200, &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_believed_is_throttled_and_what_is_genuine_never() {
    let (world, chatwoot) = (World::start().await, start_chatwoot().await);
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    let door = Door::open(&world).await;
    let mut event = sample("A.1");
    event["account"]["id"] = json!(place.chatwoot_account);
    event["inbox"]["id"] = json!(place.inbox);
    let body = event.to_string();
    // However slow the machine is: sooner or later one is too many.
    eventually("an address has sent too much", || async {
        let answers = (0..30).map(|n| {
            let headers = if n % 2 == 0 {
                Vec::new()
            } else {
                signed("guess", &body)
            };
            let (door, body) = (&door, &body);
            async move { door.post("/webhook", body, &headers).await.0 }
        });
        let answers = futures_util::future::join_all(answers).await;
        assert!(
            answers.iter().all(|status| matches!(status, 401 | 429)),
            "{answers:?}"
        );
        answers.contains(&429).then_some(())
    })
    .await;
    // Malformed bodies come out of the same purse, and are not kept then.
    eventually("a malformed body is one too many", || async {
        (door.post("/webhook", "{", &[]).await.0 == 429).then_some(())
    })
    .await;
    for _ in 0..3 {
        let (status, answer) = door.post("/webhook", &body, &signed(SECRET, &body)).await;
        assert_eq!((status, &answer["forwarded"]), (200, &json!(true)), "{answer}");
    }
}
