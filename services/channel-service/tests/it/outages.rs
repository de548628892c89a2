//! Postgres, RabbitMQ and Redis go away and come back, one at a time.

use std::time::{Duration, Instant};

use serde_json::json;
use simulator::InboundStream;
use test_support::eventually;

use crate::harness::{Tenant, TestApp, Wishes, text};

const RARA: &str = "6281290000011";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_postgres_webhooks_are_503_and_come_again() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.post(&desa.json(&text(RARA, "3EB0A", "sebelum")))
        .await
        .assert_kept();

    app.proxies.postgres.cut();
    let webhook = desa.json(&text(RARA, "3EB0B", "saat putus"));
    // Pooled connections die one by one; each costs at most one refused webhook, none an accepted one.
    for _ in 0..8 {
        let started = Instant::now();
        let answer = app.post(&webhook).await;
        answer.assert_error(503, "temporarily_unavailable");
        assert!(answer.headers.contains_key("retry-after"));
        assert!(
            started.elapsed() < Duration::from_secs(6),
            "{:?}",
            started.elapsed()
        );
    }
    let stranger = desa.json(&text(RARA, "3EB0C", "x"));
    app.post(&stranger)
        .await
        .assert_error(503, "temporarily_unavailable");
    let ready = app.get("/health/ready").await;
    assert_eq!(
        (ready.status, ready.json()["checks"]["postgres"].as_str()),
        (503, Some("down"))
    );
    assert_eq!(app.get("/health/live").await.status, 200);
    assert_eq!(app.get("/health").await.status, 200);

    app.proxies.postgres.restore();
    eventually("the provider's retry is accepted", || async {
        let answer = app.post(&webhook).await;
        assert!([200, 503].contains(&answer.status), "{}", answer.text);
        (answer.status == 200).then_some(())
    })
    .await;
    app.until_ready("ready").await;
    assert_eq!(
        app.values("SELECT body AS value FROM messages ORDER BY sent_at")
            .await,
        [json!("sebelum"), json!("saat putus")]
    );
    app.until_published().await;
    eventually("both events", || async {
        (app.events().len() >= 2).then_some(())
    })
    .await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_survives_postgres_going_away_in_the_middle() {
    let app = TestApp::spawn().await;
    let desa = app.live_tenant("desa-satu").await;
    let stream = InboundStream {
        session: desa.session.name.clone(),
        chats: 5,
        messages: 150,
        prefix: "putus".to_owned(),
        concurrency: None,
        from_base: 6_281_300_000_000,
        per_second: None,
    };
    let id = app.simulator.start_inbound_stream(stream.clone()).unwrap();
    for part in [30, 80] {
        eventually("part of the stream", || async {
            (app.simulator.inbound_stream(id).unwrap().accepted >= part).then_some(())
        })
        .await;
        app.proxies.postgres.cut();
        eventually("a refused webhook", || async {
            (app.simulator.wa_deliveries().last().unwrap().status == Some(503)).then_some(())
        })
        .await;
        app.proxies.postgres.restore();
    }
    eventually("the whole stream", || async {
        app.simulator.inbound_stream(id).unwrap().done.then_some(())
    })
    .await;
    assert_eq!(app.count("messages").await, 150);
    app.until_published().await;
    let texts = eventually("all events", || async {
        let mut texts: Vec<(String, String)> = Vec::new();
        for data in app.data_of("message.received") {
            let text = data["text"].as_str().unwrap().to_owned();
            // A relay that lost its connection after publishing publishes again: once more, never earlier.
            if !texts.iter().any(|(_, known)| *known == text) {
                texts.push((data["partner"]["phone"].as_str().unwrap().to_owned(), text));
            }
        }
        (texts.len() == 150).then_some(texts)
    })
    .await;
    for chat in 0..5 {
        let of_chat: Vec<&String> = texts
            .iter()
            .filter(|(phone, _)| *phone == stream.phone(chat))
            .map(|(_, text)| text)
            .collect();
        let expected: Vec<String> = (1..=30).map(|number| stream.text(chat, number)).collect();
        assert_eq!(of_chat, expected.iter().collect::<Vec<_>>());
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_postgres_opens_by_itself_later() {
    let app = TestApp::with(Wishes {
        postgres_away: true,
        ..Wishes::default()
    })
    .await;
    let desa = app.tenant("desa-satu").await;
    let webhook = desa.json(&text(RARA, "3EB0START", "terlalu pagi"));
    let answer = app.post(&webhook).await;
    answer.assert_error(503, "temporarily_unavailable");
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(app.get("/health/ready").await.status, 503);
    assert_eq!(app.get("/health/live").await.status, 200);

    app.proxies.postgres.restore();
    app.until_ready("ready").await;
    app.post(&webhook).await.assert_kept();
    app.until_published().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_rabbitmq_webhooks_are_accepted_and_events_come_later_in_order() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.proxies.rabbitmq.cut();
    app.until_ready("degraded").await;
    let ready = app.get("/health/ready").await;
    assert_eq!(
        (ready.status, ready.json()["checks"]["rabbitmq"].as_str()),
        (200, Some("down"))
    );
    for number in 0..10 {
        let event = text(RARA, &format!("3EB0R{number}"), &format!("nomor {number}"));
        app.post(&desa.json(&event)).await.assert_kept();
    }
    assert_eq!(app.count("outbox").await, 10);
    assert!(app.events().is_empty());

    app.proxies.rabbitmq.restore();
    app.until_published().await;
    eventually("all events", || async {
        (app.events().len() >= 10).then_some(())
    })
    .await;
    let mut texts: Vec<String> = app
        .data_of("message.received")
        .iter()
        .map(|data| data["text"].as_str().unwrap().to_owned())
        .collect();
    texts.dedup();
    let expected: Vec<String> = (0..10).map(|number| format!("nomor {number}")).collect();
    assert_eq!(texts, expected);
    app.until_ready("ready").await;
    // Orders are read again, too.
    app.order(&desa, RARA, "sesudah pulih").await;
    app.until_status("sesudah pulih", "sent").await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_everything_works_and_changes_take_effect() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.post(&desa.json(&text(RARA, "3EB0Q1", "dengan redis")))
        .await
        .assert_kept();

    app.proxies.redis.cut();
    app.until_ready("degraded").await;
    app.post(&desa.json(&text(RARA, "3EB0Q2", "tanpa redis")))
        .await
        .assert_kept();
    app.order(&desa, RARA, "kirim tanpa redis").await;
    app.until_status("kirim tanpa redis", "sent").await;

    let renewed = Tenant {
        key: Some("the-key-after-the-rotation-0123456789".to_owned()),
        ..desa.clone()
    };
    app.register("desa-satu", &desa.session, renewed.key.as_deref())
        .await;
    eventually("the new key is in force", || async {
        (app.post(&renewed.json(&text(RARA, "3EB0Q3", "kunci baru")))
            .await
            .status
            == 200)
            .then_some(())
    })
    .await;
    let old = desa.json(&text(RARA, "3EB0Q4", "kunci lama"));
    app.post(&old).await.assert_error(401, "signature_mismatch");

    // Redis comes back with what it knew before the change; that must not count any more.
    app.proxies.redis.restore();
    app.until_ready("ready").await;
    for _ in 0..30 {
        app.post(&old).await.assert_error(401, "signature_mismatch");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    app.finish().await;
}
