//! `POST /webhook`: durable, then answered; nothing that is no reply of an agent goes anywhere.

use std::time::Duration;

use chatwoot_bridge::MIGRATIONS;
use chatwoot_bridge::webhooks::forward::NotForwarded;
use database::DatabaseError;
use domain::ids::ChatId;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use simulator::{FaultKind, FaultSpec, FaultTarget, Reply, Simulator, chatwoot_signature};
use test_support::{CuttableProxy, TestDatabase, eventually, install_crypto_provider};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::events::sample;
use crate::router::{Door, put, signed, url_route};
use crate::world::{Place, Running, SECRET, World, message, received, start_chatwoot};

/// Nobody listens there: the webhook does not need the broker.
const NO_BROKER: &str = "amqp://guest:guest@127.0.0.1:1/%2f";

struct Side {
    world: World,
    chatwoot: Simulator,
    running: Running,
    place: Place,
}

impl Side {
    async fn start() -> Self {
        let (world, chatwoot) = (World::start().await, start_chatwoot().await);
        let running = Running::ready(world.settings(NO_BROKER, "")).await;
        let place = world
            .connect(
                &chatwoot,
                "desa-a",
                "default",
                &format!("{}/webhook", running.base),
            )
            .await;
        Self {
            world,
            chatwoot,
            running,
            place,
        }
    }

    fn event(&self) -> Value {
        json!({
            "event": "message_created", "id": 9001, "message_type": "outgoing", "private": false,
            "content": "Halo kak\\\nsudah dikirim\n\n", "source_id": null,
            "account": {"id": self.place.chatwoot_account}, "inbox": {"id": self.place.inbox},
            "conversation": {"id": 317, "contact_inbox": {"source_id": "628123450001@s.whatsapp.net"}},
        })
    }

    async fn post(&self, path: &str, event: &Value) -> (StatusCode, Value) {
        let body = event.to_string();
        let now = chrono::Utc::now().timestamp().to_string();
        let signature = chatwoot_signature(SECRET, &now, body.as_bytes());
        self.post_signed(
            path,
            body,
            &[
                ("x-chatwoot-timestamp", &now),
                ("x-chatwoot-signature", &signature),
            ],
        )
        .await
    }

    async fn post_signed(&self, path: &str, body: String, headers: &[(&str, &str)]) -> (StatusCode, Value) {
        let url = format!("{}{path}", self.running.base);
        let mut request = reqwest::Client::new().post(url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn forwarded(&self) -> i64 {
        self.world.accepted_replies().await
    }
}

fn yes() -> (StatusCode, Value) {
    (StatusCode::OK, json!({"received": true, "forwarded": true}))
}

fn no() -> (StatusCode, Value) {
    (StatusCode::OK, json!({"received": true}))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_reply_becomes_one_order_however_often_it_is_told() {
    let side = Side::start().await;
    side.world
        .take(&received(
            &side.place,
            message(&side.place, ChatId::generate(), "628123450001", "3EB01", "tanya"),
        ))
        .await;
    side.world.work().await;
    let twice = FaultKind::Duplicate {
        copies: 2,
        concurrent: true,
    };
    side.chatwoot
        .add_fault(FaultSpec::on_webhook(FaultTarget::ChatwootWebhook, twice))
        .unwrap();
    let reply = |content: &str, private| Reply {
        account_id: side.place.chatwoot_account,
        conversation_id: 1,
        content: content.into(),
        private,
        ..Reply::default()
    };
    let id = side
        .chatwoot
        .agent_reply(&reply("jawab <b> & \u{2028}", false))
        .unwrap();
    let note = side.chatwoot.agent_reply(&reply("catatan", true)).unwrap();
    let deliveries = eventually("reply and note were each delivered three times", || async {
        let all = side.chatwoot.chatwoot_deliveries();
        let of = |message: u64| all.iter().filter(|it| it.message_id == Some(message)).count();
        (of(id) == 3 && of(note) == 3).then(|| all.clone())
    })
    .await;
    assert!(
        deliveries.iter().all(simulator::ChatwootDelivery::accepted),
        "{deliveries:?}"
    );
    assert_eq!(side.forwarded().await, 1);
    let order = format!(
        "SELECT count(*) AS n FROM outbox WHERE event_type = 'message.send_requested' \
         AND envelope::jsonb->>'tenant_id' = 'desa-a' \
         AND envelope::jsonb->'data'->>'account_id' = '{}' \
         AND envelope::jsonb->'data'->>'to' = '628123450001@s.whatsapp.net' \
         AND envelope::jsonb->'data'->>'text' = U&'jawab <b> & \\2028' \
         AND envelope::jsonb->'data'->>'reference' = 'chatwoot:{}:{id}'",
        side.place.account.as_uuid(),
        side.place.link,
    );
    eventually("the order stands in the outbox", || async {
        (side.world.count(&order).await == 1).then_some(())
    })
    .await;
    for delivery in deliveries {
        let forwarded = delivery.response.contains(r#""forwarded":true"#);
        assert_eq!(forwarded, delivery.message_id == Some(id), "{delivery:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_cleaned_and_repeats_are_answered_alike() {
    let side = Side::start().await;
    for _ in 0..3 {
        assert_eq!(side.post("/webhook", &side.event()).await, yes());
    }
    assert_eq!(side.post("/webhook/default", &side.event()).await, yes());
    let cleaned = r"SELECT count(*) AS n FROM outbox WHERE envelope::jsonb->'data'->>'text' = E'Halo kak\nsudah dikirim'";
    assert_eq!(side.forwarded().await, 1);
    eventually("the text is in the order", || async {
        (side.world.count(cleaned).await == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_reply_is_received_and_goes_nowhere() {
    let side = Side::start().await;
    for (field, value) in [
        ("private", json!(true)),
        ("message_type", json!("incoming")),
        ("message_type", json!("activity")),
        ("source_id", json!("WAID:3EB0AAAA0001")),
        ("event", json!("message_updated")),
        ("event", json!("conversation_typing_on")),
        ("inbox", json!({"id": "7zz"})),
        ("inbox", json!({"id": 424_242})),
        ("account", json!(null)),
    ] {
        let mut event = side.event();
        event[field] = value.clone();
        assert_eq!(side.post("/webhook", &event).await, no(), "{field} {value}");
    }
    // A message that we made ourselves, should its mark be lost.
    side.world
        .take(&received(
            &side.place,
            message(&side.place, ChatId::generate(), "628123450001", "3EB01", "x"),
        ))
        .await;
    side.world.work().await;
    let mut event = side.event();
    event["id"] = json!(side.chatwoot.chatwoot_messages(side.place.chatwoot_account)[0].id);
    assert_eq!(side.post("/webhook", &event).await, no());
    assert_eq!(side.forwarded().await, 0);
    let template = json!("template");
    let mut event = side.event();
    event["message_type"] = template;
    assert_eq!(side.post("/webhook", &event).await, yes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_secret_demands_a_signature() {
    let side = Side::start().await;
    let body = side.event().to_string();
    let now = chrono::Utc::now().timestamp();
    let sign = |secret: &str, at: i64| {
        (
            at.to_string(),
            chatwoot_signature(secret, &at.to_string(), body.as_bytes()),
        )
    };
    let (fresh, right) = sign(SECRET, now);
    let (_, wrong) = sign("another-secret", now);
    let (old, stale) = sign(SECRET, now - 301);
    for (headers, code) in [
        (vec![], "signature_missing"),
        (
            vec![("x-chatwoot-timestamp", fresh.as_str())],
            "signature_missing",
        ),
        (
            vec![("x-chatwoot-timestamp", &fresh), ("x-chatwoot-signature", &wrong)],
            "signature_mismatch",
        ),
        (
            vec![("x-chatwoot-timestamp", &old), ("x-chatwoot-signature", &stale)],
            "signature_stale",
        ),
        (
            vec![("x-chatwoot-timestamp", &old), ("x-chatwoot-signature", &right)],
            "signature_mismatch",
        ),
    ] {
        let (status, answer) = side.post_signed("/webhook", body.clone(), &headers).await;
        assert_eq!(
            (status, answer["code"].as_str()),
            (StatusCode::UNAUTHORIZED, Some(code))
        );
        assert!(answer["error"].is_string() && answer["request_id"].is_string());
    }
    let headers = [
        ("x-chatwoot-timestamp", fresh.as_str()),
        ("x-chatwoot-signature", &right),
    ];
    let changed = body.replace("Halo", "Hola");
    assert_eq!(
        side.post_signed("/webhook", changed, &headers).await.0,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(side.forwarded().await, 0);
    assert_eq!(side.post_signed("/webhook", body.clone(), &headers).await, yes());
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_inboxes_are_noted_within_bounds() {
    let side = Side::start().await;
    let mut event = side.event();
    event["inbox"] = json!({"id": 424_242});
    for _ in 0..2 {
        assert_eq!(side.post("/webhook", &event).await, no());
    }
    // The same inbox of another installation is another inbox.
    assert_eq!(side.post("/webhook/cabang", &side.event()).await, no());
    assert_eq!(side.post("/webhook/a%20b", &side.event()).await, no());
    assert_eq!(
        side.world
            .count("SELECT count(*) AS n FROM unrouted_inboxes")
            .await,
        2
    );
    assert_eq!(
        side.world
            .count("SELECT seen AS n FROM unrouted_inboxes WHERE installation = 'default'")
            .await,
        2
    );
    side.world
        .sql("INSERT INTO unrouted_inboxes SELECT 'x', 1, n FROM generate_series(1, 9998) n")
        .await;
    event["inbox"] = json!({"id": 424_243});
    assert_eq!(side.post("/webhook", &event).await, no());
    assert_eq!(
        side.world
            .count("SELECT count(*) AS n FROM unrouted_inboxes")
            .await,
        10_000
    );
    assert_eq!(side.forwarded().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_ids_of_two_installations_reach_their_own_tenants() {
    let side = Side::start().await;
    let other = start_chatwoot().await;
    let place = side.world.connect(&other, "desa-b", "cabang", "").await;
    assert_eq!(
        (place.chatwoot_account, place.inbox),
        (side.place.chatwoot_account, side.place.inbox)
    );
    assert_eq!(side.post("/webhook", &side.event()).await, yes());
    assert_eq!(side.post("/webhook/cabang", &side.event()).await, yes());
    for tenant in ["desa-a", "desa-b"] {
        let query = format!("SELECT count(*) AS n FROM outbox WHERE tenant_id = '{tenant}'");
        eventually("the tenant's order", || async {
            (side.world.count(&query).await == 1).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_methods_that_are_none() {
    let side = Side::start().await;
    let bodies = [
        ("", "invalid_json"),
        ("{", "invalid_json"),
        ("null", "not_an_object"),
        ("[]", "not_an_object"),
    ];
    for (body, reason) in bodies {
        assert_eq!(
            side.post_signed("/webhook", body.into(), &[]).await,
            no(),
            "{body}"
        );
        let kept = format!(
            "SELECT count(*) AS n FROM quarantine WHERE body = '{body}' AND reason = '{reason}' AND installation = 'default'"
        );
        assert_eq!(side.world.count(&kept).await, 1, "{body}");
    }
    let (status, answer) = side.post_signed("/webhook", "x".repeat(1_048_577), &[]).await;
    assert_eq!(
        (status, answer["error"].as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, Some("Payload too large"))
    );
    assert!(
        chunked_answer(&side.running.base, 1_048_577)
            .await
            .starts_with("HTTP/1.1 413")
    );
    let client = reqwest::Client::new();
    for (method, path, status) in [
        (Method::GET, "/webhook", StatusCode::NOT_FOUND),
        (Method::PUT, "/webhook/default", StatusCode::NOT_FOUND),
        (Method::POST, "/", StatusCode::NOT_FOUND),
        (Method::POST, "/webhook/", StatusCode::NOT_FOUND),
        (Method::POST, "/webhook/a/b", StatusCode::NOT_FOUND),
        (Method::GET, "/admin", StatusCode::UNAUTHORIZED),
        (Method::PUT, "/admin/none", StatusCode::UNAUTHORIZED),
    ] {
        let answer = client
            .request(method.clone(), format!("{}{path}", side.running.base))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "{method} {path}");
    }
    for path in ["/", "/health"] {
        let answer = client
            .get(format!("{}{path}", side.running.base))
            .send()
            .await
            .unwrap();
        assert_eq!(
            answer.json::<Value>().await.unwrap(),
            json!({"status": "ok", "service": "chatwoot-bridge"})
        );
    }
}

async fn chunked_answer(base: &str, length: usize) -> String {
    let mut stream = tokio::net::TcpStream::connect(base.trim_start_matches("http://"))
        .await
        .unwrap();
    stream
        .write_all(b"POST /webhook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    let chunk = format!("{length:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(length));
    // The answer may come, and the connection end, before everything was written.
    drop(stream.write_all(chunk.as_bytes()).await);
    let mut answer = vec![0; 64];
    let read = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgres_is_away_nothing_is_accepted_and_nothing_needless_is_refused() {
    install_crypto_provider();
    let direct = test_support::environment("CHATWOOT_BRIDGE_DATABASE_URL");
    let proxy = CuttableProxy::in_front_of(&direct, 5432).await;
    let world =
        World::over(TestDatabase::create_behind("chatwoot_bridge", MIGRATIONS, |url| proxy.url(url)).await);
    let chatwoot = start_chatwoot().await;
    let running = Running::ready(world.settings(NO_BROKER, "")).await;
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    let side = Side {
        world,
        chatwoot,
        running,
        place,
    };

    proxy.cut();
    let body = side.event().to_string();
    let url = format!("{}/webhook", side.running.base);
    for _ in 0..6 {
        let answer = reqwest::Client::new()
            .post(&url)
            .body(body.clone())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers().contains_key("retry-after"));
    }
    let mut ignored = side.event();
    ignored["event"] = json!("message_updated");
    assert_eq!(side.post("/webhook", &ignored).await, no());
    let (status, report) = side.running.readiness().await;
    assert_eq!(
        (status, report["checks"]["postgres"].as_str()),
        (503, Some("down"))
    );

    proxy.restore();
    let answer = eventually("the webhook is accepted again", || async {
        Some(side.post("/webhook", &side.event()).await).filter(|(status, _)| status.is_success())
    })
    .await;
    assert_eq!(answer, yes());
    assert_eq!(side.forwarded().await, 1);
    tokio::time::timeout(Duration::from_secs(10), side.running.stop())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_nothing_is_2xx_with_postgres_away() {
    install_crypto_provider();
    let direct = test_support::environment("CHATWOOT_BRIDGE_DATABASE_URL");
    let proxy = CuttableProxy::in_front_of(&direct, 5432).await;
    let world =
        World::over(TestDatabase::create_behind("chatwoot_bridge", MIGRATIONS, |url| proxy.url(url)).await);
    let chatwoot = start_chatwoot().await;
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    put(&world, "desa-a", &url_route(&world, "desa-a", None, 77))
        .await
        .unwrap();
    let door = Door::open(&world).await;
    let at = |inbox: u64, name: &str| {
        let mut event = sample(name);
        let account = place.chatwoot_account;
        for (pointer, id) in [
            ("/account/id", account),
            ("/conversation/account/id", account),
            ("/inbox/id", inbox),
            ("/inbox_id", inbox),
            ("/conversation/inbox_id", inbox),
        ] {
            if let Some(field) = event.pointer_mut(pointer) {
                *field = json!(id);
            }
        }
        event.to_string()
    };
    let post = async |inbox, name| {
        let body = at(inbox, name);
        door.post("/webhook", &body, &signed(SECRET, &body)).await.0
    };
    // Both routes are at hand before Postgres goes.
    for inbox in [place.inbox, 77] {
        assert_eq!(post(inbox, "A.12").await, 200);
    }
    proxy.cut();
    let mut echo: Value = serde_json::from_str(&at(place.inbox, "A.1")).unwrap();
    echo["source_id"] = json!("WAID:3EB0AAAA0001");
    let echo = echo.to_string();
    assert_eq!(door.post("/webhook", &echo, &signed(SECRET, &echo)).await.0, 200);
    for needless in ["A.3", "A.4", "A.7", "A.10", "A.12"] {
        assert_eq!(post(place.inbox, needless).await, 200, "{needless}");
        assert_eq!(
            post(99, needless).await,
            200,
            "{needless} of an inbox that nobody remembers"
        );
    }
    for body in ["{", "{}", r#"{"event":"contact_created"}"#] {
        assert_eq!(door.post("/webhook", body, &[]).await.0, 200, "{body}");
    }
    assert_eq!(post(place.inbox, "A.1").await, 503);
    for needed in ["A.1", "A.6"] {
        assert_eq!(post(99, needed).await, 503, "{needed}");
    }
    // What a URL wants is either kept or refused.
    for wanted in ["A.1", "A.7", "A.12"] {
        let away = DatabaseError::Unavailable("cut".into());
        door.says(Err(NotForwarded::Database(away)));
        assert_eq!(post(77, wanted).await, 503, "{wanted}");
    }
    assert_eq!(post(77, "A.4").await, 200, "a note is not wanted");

    proxy.restore();
    eventually("the reply is accepted", || async {
        (post(place.inbox, "A.1").await == 200).then_some(())
    })
    .await;
    assert_eq!(world.accepted_replies().await, 1);
}
