//! What tenants are told in Meta's words: once it is wanted, signed, in order, again after failures, and to nobody else.

use std::time::Duration;

use channel_service::flows::gate::deliver::tell;
use channel_service::flows::gate::ids;
use channel_service::flows::gate::subscribers::Subscribers;
use channel_service::workers::gate::sweep;
use database::{Database, PoolSettings};
use messaging::Envelope;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::eventually;

use crate::gate_world::{Client, Receiver, admin_of, subscribe};
use crate::harness::{TestApp, Wishes, message, receipt, text};
use crate::lid_merge::{by_lid, teaching};
use crate::signing_in::ask;

const RARA: &str = "6281290000011";

fn quick() -> Wishes {
    Wishes {
        settings: &[
            ("GATE_WEBHOOK_ATTEMPTS", "3"),
            ("GATE_WEBHOOK_RETRY_FIRST_MS", "50"),
            ("GATE_WEBHOOK_RETRY_CAP_MS", "200"),
        ],
        ..Wishes::default()
    }
}

fn words(value: &Value) -> Option<&str> {
    value["messages"][0]["text"]["body"].as_str()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_and_statuses_are_told() {
    let app = TestApp::with(quick()).await;
    let tenant = app.tenant("desa-satu").await;
    let client = Client::of(&app, "desa-satu").await;
    let receiver = Receiver::start().await;
    let (_, secret) = subscribe(&app, "desa-satu", &receiver).await;
    app.post(&tenant.json(&text(RARA, "3EB0AAAA", "Selamat pagi \u{1f600}")))
        .await;
    let told = receiver
        .until(&secret, "the message is told", |value| words(value).is_some())
        .await;
    assert_eq!(words(&told), Some("Selamat pagi \u{1f600}"));
    assert_eq!(told["metadata"]["phone_number_id"], client.number);
    let (contact, said) = (&told["contacts"][0], &told["messages"][0]);
    assert_eq!((&contact["wa_id"], &said["from"]), (&json!(RARA), &json!(RARA)));
    assert_eq!(contact["user_id"], said["from_user_id"]);
    // By the ids that are told everything can be answered.
    let reply = json!({"recipient": contact["user_id"], "type": "text", "text": {"body": "Pagi"},
        "context": {"message_id": said["id"]}, "biz_opaque_callback_data": "job:1"});
    let wamid = client.send(reply).await;
    let sent = receiver
        .until(&secret, "the move is told", |value| {
            value["statuses"][0]["status"] == "sent"
        })
        .await;
    let status = &sent["statuses"][0];
    assert_eq!(
        (
            &status["id"],
            &status["biz_opaque_callback_data"],
            &status["recipient_id"]
        ),
        (&json!(wamid), &json!("job:1"), &json!(RARA))
    );
    assert_eq!(sent["contacts"][0]["user_id"], status["recipient_user_id"]);
    let ours = app
        .values("SELECT provider_message_id AS value FROM messages WHERE direction = 'outbound'")
        .await;
    let ours = ours[0].as_str().unwrap().to_owned();
    app.post(&tenant.json(&receipt(RARA, &[&ours], "Read"))).await;
    receiver
        .until(&secret, "it was read", |value| {
            value["statuses"][0]["status"] == "read"
        })
        .await;
    // A message that comes twice is told once.
    app.post(&tenant.json(&text(RARA, "3EB0AAAA", "Selamat pagi \u{1f600}")))
        .await;
    app.post(&tenant.json(&text(RARA, "3EB0BBBB", "Terakhir"))).await;
    receiver
        .until(&secret, "the last", |value| words(value) == Some("Terakhir"))
        .await;
    let times = receiver
        .taken(&secret)
        .iter()
        .filter(|body| body.to_string().contains("Selamat"))
        .count();
    assert_eq!(times, 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_told_when_they_are_there() {
    let app = TestApp::with(quick()).await;
    let tenant = app.tenant("desa-satu").await;
    let client = Client::of(&app, "desa-satu").await;
    let receiver = Receiver::start().await;
    let (_, secret) = subscribe(&app, "desa-satu", &receiver).await;
    let jpeg = "/9j/4AAQSkZJRgA=";
    let mut event = message(
        RARA,
        "3EB0CCCC",
        &json!({"imageMessage": {"mimetype": "image/jpeg", "caption": "KTP"}}),
    );
    event["base64"] = json!(jpeg);
    app.post(&tenant.json(&event)).await;
    let told = receiver
        .until(&secret, "the picture is told", |value| {
            value["messages"][0]["type"] == "image"
        })
        .await;
    let image = &told["messages"][0]["image"];
    assert_eq!(
        (&image["mime_type"], &image["caption"]),
        (&json!("image/jpeg"), &json!("KTP"))
    );
    let answer = client
        .call(Method::GET, image["id"].as_str().unwrap(), None)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    // Not another tenant's.
    app.tenant("desa-dua").await;
    let other = Client::of(&app, "desa-dua").await;
    assert_eq!(
        other
            .call(Method::GET, image["id"].as_str().unwrap(), None)
            .await
            .status,
        400
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_taken_comes_again_in_order_and_is_put_aside_in_the_end() {
    let app = TestApp::with(quick()).await;
    let tenant = app.tenant("desa-satu").await;
    let receiver = Receiver::start().await;
    let (_, secret) = subscribe(&app, "desa-satu", &receiver).await;
    // A redirect is no answer either.
    receiver.fails_with(&[500, 302]);
    for (id, said) in [("3EB0A1", "satu"), ("3EB0A2", "dua"), ("3EB0A3", "tiga")] {
        app.post(&tenant.json(&text(RARA, id, said))).await;
    }
    receiver
        .until(&secret, "the third", |value| words(value) == Some("tiga"))
        .await;
    let order: Vec<Value> = receiver.taken(&secret);
    let order: Vec<&str> = order
        .iter()
        .filter_map(|body| words(&body["entry"][0]["changes"][0]["value"]))
        .collect();
    assert_eq!(order, ["satu", "dua", "tiga"]);
    receiver.fails_with(&[500, 500, 500]);
    app.post(&tenant.json(&text(RARA, "3EB0A4", "empat"))).await;
    app.post(&tenant.json(&text(RARA, "3EB0A5", "lima"))).await;
    receiver
        .until(&secret, "the fifth", |value| words(value) == Some("lima"))
        .await;
    let parked = app
        .values("SELECT last_error AS value FROM lane_tasks WHERE kind = 'gate_webhook' AND parked")
        .await;
    assert_eq!(parked, [json!("http_500")]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_over_tells_what_was_left() {
    let app = TestApp::with(quick()).await;
    let tenant = app.tenant("desa-satu").await;
    let receiver = Receiver::start().await;
    let (_, secret) = subscribe(&app, "desa-satu", &receiver).await;
    app.post(&tenant.json(&text(RARA, "3EB0A1", "satu"))).await;
    receiver
        .until(&secret, "the first", |value| words(value) == Some("satu"))
        .await;
    // Somebody has the lane and says nothing any more.
    let payload = "{\"about\":\"received\",\"event\":' || (SELECT json_build_object('account_id', account_id, 'chat_id', \
                   chat_id, 'partner', json_build_object('address', '6281290000011@s.whatsapp.net'), 'message_id', id, \
                   'provider_message_id', provider_message_id, 'kind', kind, 'text', 'dua', 'content', \
                   json_build_object('kind', 'text', 'text', 'dua'), 'sent_at', sent_at)::text FROM messages) || '}";
    app.run_sql(&format!(
        "UPDATE lanes SET leased_until = now() + interval '1 second', fence = fence + 1, ready_at = now() \
          WHERE lane LIKE 'gate:%'; \
         INSERT INTO lane_tasks (tenant_id, lane, id, kind, payload, begun) \
         SELECT tenant_id, lane, gen_random_uuid(), 'gate_webhook', '{payload}', 1 FROM lanes WHERE lane LIKE 'gate:%'"
    ))
    .await;
    receiver
        .until(&secret, "the second", |value| words(value) == Some("dua"))
        .await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_answers_is_subscribed_and_only_to_its_own() {
    let app = TestApp::with(quick()).await;
    let tenant = app.tenant("desa-satu").await;
    let other = app.tenant("desa-dua").await;
    let receiver = Receiver::start().await;
    let admin = admin_of(&app, "desa-satu").await;
    let headers = [("authorization", admin.as_str())];
    let path = "/whatsapp/gate/subscriptions";
    let try_with = |url: String, token: &'static str| {
        let body = json!({"callback_url": url, "verify_token": token});
        let (app, headers) = (&app, &headers);
        async move { ask(app, Method::POST, path, headers, Some(body)).await }
    };
    for (url, token) in [
        (receiver.url.clone(), "salah"),
        ("http://10.1.2.3/webhook".to_owned(), "kata-kunci"),
        ("http://localhost:1/webhook".to_owned(), "kata-kunci"),
        ("ftp://example.test/".to_owned(), "kata-kunci"),
        ("tidak".to_owned(), "kata-kunci"),
    ] {
        let answer = try_with(url.clone(), token).await;
        assert_eq!(answer.status, 422, "{url}: {}", answer.text);
    }
    receiver.refuses();
    assert_eq!(try_with(receiver.url.clone(), "kata-kunci").await.status, 422);
    assert_eq!(app.count("gate_subscriptions").await, 0);

    let receiver = Receiver::start().await;
    let (id, secret) = subscribe(&app, "desa-satu", &receiver).await;
    let sealed = app
        .values("SELECT app_secret_sealed || verify_token_sealed AS value FROM gate_subscriptions")
        .await;
    let sealed = sealed[0].as_str().unwrap().to_owned();
    assert!(!sealed.contains(&secret) && !sealed.contains("kata-kunci"));
    app.post(&other.json(&text(RARA, "3EB0A1", "rahasia desa dua")))
        .await;
    app.post(&tenant.json(&text(RARA, "3EB0A1", "desa satu"))).await;
    receiver
        .until(&secret, "ours", |value| words(value) == Some("desa satu"))
        .await;
    app.until_published().await;
    assert_eq!(receiver.taken(&secret).len(), 1);

    // Another tenant's admin cannot end it; ours can, and then nothing is told.
    let stranger = admin_of(&app, "desa-dua").await;
    let one = format!("{path}/{id}");
    let answer = ask(&app, Method::DELETE, &one, &[("authorization", &stranger)], None).await;
    assert_eq!(answer.status, 404);
    assert_eq!(ask(&app, Method::DELETE, &one, &headers, None).await.status, 200);
    app.post(&tenant.json(&text(RARA, "3EB0A2", "sesudahnya"))).await;
    app.until_published().await;
    eventually("nothing waits", || async {
        let waiting = app
            .values("SELECT count(*) AS value FROM lane_tasks WHERE lane LIKE 'gate:%'")
            .await;
        (waiting == [json!(0)]).then_some(())
    })
    .await;
    assert_eq!(receiver.taken(&secret).len(), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_receiver_that_is_gone_nothing_piles_up() {
    let app = TestApp::with(Wishes {
        settings: &[
            ("GATE_WEBHOOK_ATTEMPTS", "1000"),
            ("GATE_WEBHOOK_RETRY_FIRST_MS", "100"),
            ("GATE_WEBHOOK_RETRY_CAP_MS", "100"),
        ],
        ..Wishes::default()
    })
    .await;
    let tenant = app.tenant("desa-satu").await;
    let receiver = Receiver::start().await;
    subscribe(&app, "desa-satu", &receiver).await;
    receiver.fails_with(&[500; 1_000]);
    for (id, said) in [("3EB0A1", "satu"), ("3EB0A2", "dua")] {
        app.post(&tenant.json(&text(RARA, id, said))).await;
    }
    let waiting = |what: &'static str| {
        let app = &app;
        async move {
            app.count(&format!("lane_tasks WHERE kind = 'gate_webhook' AND {what}"))
                .await
        }
    };
    eventually("both wait", || async {
        (waiting("NOT parked").await == 2).then_some(())
    })
    .await;
    app.run_sql("UPDATE lane_tasks SET created_at = created_at - interval '37 hours'")
        .await;
    eventually("both are put aside, with many attempts left", || async {
        (waiting("parked").await == 2).then_some(())
    })
    .await;
    // There they can be tried again for a month.
    sweep(&app.direct).await.unwrap();
    assert_eq!(waiting("parked").await, 2);
    app.run_sql("UPDATE lane_tasks SET created_at = created_at - interval '30 days'")
        .await;
    sweep(&app.direct).await.unwrap();
    assert_eq!(waiting("parked").await, 0);
    app.finish().await;
}

/// The event of a message that came in, as it is published.
async fn event_of(app: &TestApp, provider_message_id: &str) -> Envelope {
    let arrival = eventually("the event", || async {
        app.events().into_iter().find(|arrival| {
            arrival.routing_key == "message.received"
                && arrival.body["data"]["provider_message_id"] == provider_message_id
        })
    })
    .await;
    Envelope::read(arrival.body.to_string().as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_to_be_told_keeps_its_order_when_two_chats_become_one() {
    let app = TestApp::with(Wishes {
        settings: &[
            ("GATE_WEBHOOK_ATTEMPTS", "50"),
            ("GATE_WEBHOOK_RETRY_FIRST_MS", "1500"),
            ("GATE_WEBHOOK_RETRY_CAP_MS", "1500"),
        ],
        ..Wishes::default()
    })
    .await;
    let tenant = app.tenant("desa-satu").await;
    let client = Client::of(&app, "desa-satu").await;
    let receiver = Receiver::start().await;
    let (_, secret) = subscribe(&app, "desa-satu", &receiver).await;
    receiver.fails_with(&[500; 500]);
    let events = [
        by_lid("3EB0L1", "satu", ""),
        text(RARA, "3EB0P1", "dua"),
        by_lid("3EB0L2", "tiga", ""),
        text(RARA, "3EB0P2", "empat"),
    ];
    for (at, event) in events.iter().enumerate() {
        app.post(&tenant.json(event)).await.assert_kept();
        eventually("it waits to be told", || async {
            let waiting = app.count("lane_tasks WHERE kind = 'gate_webhook'").await;
            (waiting == at as u64 + 1).then_some(())
        })
        .await;
    }
    let vanishing = app
        .values("SELECT id AS value FROM chats WHERE phone IS NULL")
        .await;
    let vanishing: uuid::Uuid = vanishing[0].as_str().unwrap().parse().unwrap();
    app.post(&tenant.json(&teaching("3EB0T1", "lima")))
        .await
        .assert_kept();
    eventually("one chat's lane has all of it", || async {
        let lanes = app
            .values("SELECT DISTINCT lane AS value FROM lane_tasks WHERE kind = 'gate_webhook'")
            .await;
        let waiting = app.count("lane_tasks WHERE kind = 'gate_webhook'").await;
        (lanes.len() == 1 && waiting == 5).then_some(())
    })
    .await;
    // What was published of the chat that is gone is told on the lane of the one that it became.
    let late = event_of(&app, "3EB0L2").await;
    assert!(tell(&app.direct, &Subscribers::default(), &late).await.unwrap());
    assert_eq!(
        app.count(&format!("lanes WHERE lane = 'gate:{vanishing}'")).await,
        0
    );
    receiver.fails_with(&[]);
    receiver
        .until(&secret, "the last", |value| words(value) == Some("lima"))
        .await;
    let told: Vec<Value> = receiver
        .taken(&secret)
        .into_iter()
        .map(|mut body| body["entry"][0]["changes"][0]["value"].take())
        .filter(|value| words(value).is_some())
        .collect();
    let said: Vec<&str> = told.iter().filter_map(words).collect();
    assert_eq!(said, ["satu", "dua", "tiga", "empat", "lima"]);
    // One person by one name, whichever chat it was; and the name that was told before is still theirs.
    assert!(
        told.iter()
            .all(|value| value["contacts"][0] == told[4]["contacts"][0]),
        "{told:?}"
    );
    let before = ids::user_id(domain::ids::ChatId::from_uuid(vanishing));
    client
        .send(json!({"recipient": before, "type": "text", "text": {"body": "Pagi"}}))
        .await;
    eventually("it came to the number", || async {
        (app.texts_on(RARA) == ["Pagi"]).then_some(())
    })
    .await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_comes_in_after_the_answer_is_told_by_every_process() {
    let app = TestApp::with(quick()).await;
    let tenant = app.tenant("desa-satu").await;
    app.post(&tenant.json(&text(RARA, "3EB0A1", "satu"))).await;
    let event = event_of(&app, "3EB0A1").await;
    // Another process looks all the time, and finds nobody until a moment before the answer.
    let elsewhere = Subscribers::default();
    assert!(!tell(&app.direct, &elsewhere, &event).await.unwrap());
    let receiver = Receiver::start().await;
    let looking = async {
        loop {
            tell(&app.direct, &elsewhere, &event).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = subscribe(&app, "desa-satu", &receiver) => {}
        () = looking => {}
    }
    assert!(tell(&app.direct, &elsewhere, &event).await.unwrap());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_nobody_wants_cost_no_question_to_postgres() {
    let app = TestApp::spawn().await;
    let tenant = app.tenant("desa-satu").await;
    app.post(&tenant.json(&text(RARA, "3EB0A1", "satu"))).await;
    let event = event_of(&app, "3EB0A1").await;
    let away = Database::new(
        &"postgres://nobody@127.0.0.1:9/none".parse().unwrap(),
        app.database.names.clone(),
        PoolSettings {
            size: 1,
            wait: Duration::from_secs(1),
        },
    )
    .unwrap();
    let subscribers = Subscribers::good_for(Duration::from_secs(3_600));
    tell(&away, &subscribers, &event).await.unwrap_err();
    assert!(!tell(&app.direct, &subscribers, &event).await.unwrap());
    for _ in 0..1_000 {
        assert!(!tell(&away, &subscribers, &event).await.unwrap());
    }
    assert_eq!(app.count("lanes WHERE lane LIKE 'gate:%'").await, 0);
    app.finish().await;
}
