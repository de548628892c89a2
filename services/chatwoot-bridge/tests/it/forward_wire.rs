//! What a target gets to see: the bytes and headers as they came, and nothing of what is ours.

use std::time::Duration;

use actix_web::web::Bytes;
use chatwoot_bridge::flows::forward::parked;
use chatwoot_bridge::outbound_url::OutboundPolicy;
use chatwoot_bridge::targets::{Answer, Post, Target, Targets};
use reqwest::StatusCode;
use secrecy::SecretString;
use serde_json::json;
use test_support::eventually;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use uuid::Uuid;

use crate::target::{Forwarding, forwarded, message, post, post_with, put, route, signed, that_signs, tries};
use crate::world::{SECRET, keys, open_policy, scope};

#[tokio::test(flavor = "multi_thread")]
async fn bodies_arrive_byte_for_byte_and_headers_with_them() {
    let side = Forwarding::start_with(
        |_| {},
        |mut new, tools| {
            let place = chatwoot_bridge::store::routes::Route::inbox_secret_place("desa-a", new.id);
            new.inbox_secrets_sealed = vec![keys().seal(&SECRET.into(), &place).unwrap()];
            that_signs(new, "gowa-secret", tools)
        },
    )
    .await;
    let url = side.target.url_with("us%40er:p%3Aw", "secret=x%20y&a=1");
    let place = chatwoot_bridge::store::routes::Route::url_place("desa-a", side.route.id);
    let mut changed = side.route.clone();
    if let chatwoot_bridge::store::routes::Target::Url { url_sealed, .. } = &mut changed.target {
        *url_sealed = keys().seal(&url.into(), &place).unwrap();
    }
    put(&side.world.tools, &changed).await;
    // Whatever a parser would change: blanks, a float that is whole, digits beyond 2^53, escapes, keys that come twice.
    let body = concat!(
        "{ \"event\":\"message_created\" ,\n\t\"id\":9001,\"message_type\":\"outgoing\",\"private\":false,",
        "\"n\":1.0,\"big\":9007199254740993,\"exp\":1E5,\"content\":\"caf\\u00e9 \\u003cb\\u003e \\/ é\",",
        "\"twice\":1,\"twice\":2,\"account\":{\"id\":3},\"inbox\":{\"id\":42},\"conversation\":{\"id\":317}}  \n"
    );
    let proof = signed(SECRET, body);
    let mut headers: Vec<(&str, &str)> = proof
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    headers.extend([
        ("x-chatwoot-delivery", "0e1b2c3d-0000-4000-8000-000000000001"),
        ("cookie", "session=secret"),
        ("authorization", "Bearer ours"),
        ("x-forwarded-for", "10.0.0.9"),
    ]);
    let path = "/webhook?token=not-for-the-target";
    assert_eq!(
        post_with(&side.running.base, path, body.to_owned(), &headers).await,
        forwarded()
    );
    let received = side.target.until(1).await.remove(0);
    assert_eq!(received.body, body.as_bytes());
    assert_eq!(
        (received.method.as_str(), received.uri.as_str()),
        ("POST", "/hook?secret=x%20y&a=1")
    );
    for (name, value) in &proof {
        assert_eq!(received.header(name), Some(value.as_str()), "{name}");
    }
    assert_eq!(received.header("content-type"), Some("application/json"));
    assert_eq!(
        received.header("x-chatwoot-delivery"),
        Some("0e1b2c3d-0000-4000-8000-000000000001")
    );
    // `us@er:p:w`
    assert_eq!(received.header("authorization"), Some("Basic dXNAZXI6cDp3"));
    let signature = received.header("x-hub-signature-256").unwrap();
    assert!(
        signature.starts_with("sha256=") && signature.len() == 71,
        "{signature}"
    );
    assert!(
        received
            .header("x-kanal-event-id")
            .is_some_and(|id| id.len() == 36)
    );
    assert_eq!(received.header("x-kanal-attempt"), Some("1"));
    assert_eq!(
        (received.header("cookie"), received.header("x-forwarded-for")),
        (None, None)
    );

    let unsigned = message(42, 317, 9002).to_string();
    assert_eq!(post(&side.running, unsigned).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_not_followed_and_refusals_are_final() {
    let side = Forwarding::start(|_| {}).await;
    let statuses = [301, 302, 303, 307, 308, 400, 401, 404];
    for (id, status) in (1..).zip(statuses) {
        side.target.answer(status);
        side.post(&message(42, id, id)).await;
        side.until_settled().await;
    }
    let received = side.target.received();
    assert_eq!(received.len(), statuses.len(), "each was posted once");
    assert!(
        received
            .iter()
            .all(|one| one.uri == "/hook" && one.method == "POST")
    );
    let (held, _) = parked::parked(&side.world.tools.db, &scope("desa-a"), None, 20)
        .await
        .unwrap();
    let reasons: Vec<_> = held.iter().filter_map(|one| one.reason.clone()).collect();
    assert_eq!(reasons, statuses.map(|status| format!("http_{status}")));
    assert!(held.iter().all(|one| one.parked && !one.unknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn private_targets_are_dialled_only_where_they_are_allowed() {
    let side = Forwarding::start(|settings| {
        settings.storage.outbound = OutboundPolicy::default();
    })
    .await;
    // The user info does not hide the host.
    let hidden = side.target.url_with("user:pass", "secret=x");
    put(&side.world.tools, &route(43, &hidden, &side.world.tools)).await;
    side.post(&message(42, 1, 1)).await;
    side.post(&message(43, 1, 2)).await;
    side.until_settled().await;
    let (held, _) = parked::parked(&side.world.tools.db, &scope("desa-a"), None, 20)
        .await
        .unwrap();
    assert_eq!(held.len(), 2);
    assert!(
        held.iter()
            .all(|one| one.reason.as_deref() == Some("refused_url"))
    );
    assert!(side.target.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_has_a_bound_and_other_routes_have_their_own() {
    let side = Forwarding::start(|settings| {
        settings.forward.queue_bytes = 10 * 1024;
        settings.forward.retry = tries(100_000);
    })
    .await;
    put(
        &side.world.tools,
        &route(43, &side.target.url(), &side.world.tools),
    )
    .await;
    side.target.answer(503);
    let mut event = message(42, 1, 1);
    event["content"] = json!("x".repeat(3_000));
    for (id, status) in [(1, 200), (2, 200), (3, 503)] {
        event["id"] = json!(id);
        assert_eq!(post(&side.running, event.to_string()).await.0, status, "{id}");
    }
    side.post(&message(43, 1, 100)).await;
    side.target.answer(200);
    side.until_settled().await;
    // There is room again when it was passed on.
    event["id"] = json!(4);
    eventually("the route takes events again", || async {
        (post(&side.running, event.to_string()).await == forwarded()).then_some(())
    })
    .await;
}

/// An address to which no connection can be made, and that does not say so: whoever tries waits.
async fn full_house() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    // Nobody lets them in, and the queue is short.
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await
    {
        waiting.push(stream);
        assert!(waiting.len() < 64, "the queue has an end");
    }
    (listener, waiting)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_got_a_connection_has_certainly_not_arrived() {
    test_support::install_crypto_provider();
    let (house, _waiting) = full_house().await;
    let url = SecretString::from(format!("http://{}/hook", house.local_addr().unwrap()));
    let targets = Targets::new(open_policy(), Duration::from_secs(3), 8).unwrap();
    let target = Target::new(Uuid::now_v7(), &url, None, false).unwrap();
    let post = Post {
        event: Uuid::now_v7(),
        attempt: 1,
        headers: Vec::new(),
        body: Bytes::from_static(b"{}"),
    };
    let answer = targets.post(&target, post).await;
    assert!(
        matches!(&answer, Answer::NotNow { reason, .. } if reason == "unreachable"),
        "{answer:?}"
    );
}
