//! What is counted of sends, and what customers see of it.

use chrono::{Days, FixedOffset, Utc};
use runtime::config::{BaseUrl, Setting as _};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use test_support::eventually;

use crate::support::{Gateway, Session, Twin};

async fn send(gateway: &Gateway, session: &Session, kind: &str, body: &str) {
    let request = gateway
        .post(&format!("/wa/chat/send/{kind}"), session)
        .json(&json!({"Phone": "62811", "Body": body}));
    request.send().await.unwrap();
}

fn today() -> chrono::NaiveDate {
    Utc::now()
        .with_timezone(&FixedOffset::east_opt(7 * 3600).unwrap())
        .date_naive()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_are_counted_by_kind_and_day_and_customers_see_their_own() {
    let gateway = Gateway::start().await;
    let (a, b) = (gateway.session("desa-a").await, gateway.session("desa-b").await);
    let (key, other) = (gateway.key_of("desa-a").await, gateway.key_of("desa-b").await);
    for (kind, body, times) in [
        ("text", "halo", 3),
        ("text", "refuse", 1),
        ("image", "halo", 1),
        ("abc", "halo", 1),
        ("x/y", "refuse", 1),
    ] {
        for _ in 0..times {
            send(&gateway, &a, kind, body).await;
        }
    }
    send(&gateway, &b, "poll", "halo").await;
    gateway.post("/wa/chat/react", &a).send().await.unwrap();

    let usage = async |key: &secrecy::SecretString, query: &str| {
        let request = gateway.client.get(gateway.url(&format!("/v1/usage{query}")));
        let answer = request
            .header("x-api-key", key.expose_secret())
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let before = today();
    eventually("all of them are counted", || async {
        let count = "SELECT coalesce(sum(sent + failed), 0) FROM message_usage WHERE tenant_id = 'desa-a'";
        (gateway.number(count).await == 7).then_some(())
    })
    .await;
    let shown = eventually("they are shown", || async {
        let (status, body) = usage(&key, "").await;
        assert_eq!(status, 200, "{body}");
        (body["sent"] == 5 && body["failed"] == 2).then_some(body)
    })
    .await;
    let day = shown["sessions"][0]["days"][0]["date"].clone();
    assert!([json!(before), json!(today())].contains(&day));
    let row = |kind: &str, sent: i64, failed: i64| json!({"date": day, "type": kind, "sent": sent, "failed": failed});
    assert_eq!(
        shown["sessions"],
        json!([{
            "session_id": a.session_id, "session_name": "desa-a", "sent": 5, "failed": 2,
            "days": [row("image", 1, 0), row("other", 1, 1), row("text", 3, 1)],
        }])
    );
    let (_, of_other) = usage(&other, "").await;
    assert_eq!(
        (&of_other["sent"], &of_other["sessions"][0]["session_name"]),
        (&json!(1), &json!("desa-b"))
    );
    assert_eq!(
        gateway
            .number("SELECT sent_total * 10 + failed_total FROM sessions WHERE last_activity_at IS NOT NULL AND tenant_id = 'desa-a'")
            .await,
        52
    );

    // Other days have nothing; days that are none are refused.
    let long_ago = before.checked_sub_days(Days::new(10)).unwrap();
    let (_, nothing) = usage(&key, &format!("?from={long_ago}&to={long_ago}")).await;
    assert_eq!((&nothing["sent"], &nothing["sessions"]), (&json!(0), &json!([])));
    for wrong in [
        "?from=yesterday".to_owned(),
        format!("?from={before}&to={long_ago}"),
        "?from=2020-01-01".to_owned(),
    ] {
        assert_eq!(usage(&key, &wrong).await.0, 400, "{wrong}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_a_process_ends_in_order() {
    let gateway = Gateway::start().await;
    let session = gateway.session("desa-a").await;
    let twin = Twin::of(&gateway, |_| {}).await;
    for _ in 0..7 {
        let request = gateway
            .client
            .post(twin.url("/wa/chat/send/text"))
            .header("token", &session.token);
        assert_eq!(
            request
                .json(&json!({"Phone": "1"}))
                .send()
                .await
                .unwrap()
                .status(),
            200
        );
    }
    // One is in hand when the end begins.
    let slow = gateway
        .client
        .post(twin.url("/wa/chat/send/slow"))
        .header("token", &session.token)
        .json(&json!({"Phone": "1"}));
    let slow = tokio::spawn(slow.send());
    eventually("the send is on its way", || async {
        let seen = gateway.wa.seen();
        seen.iter()
            .any(|seen| seen.target.ends_with("/slow"))
            .then_some(())
    })
    .await;
    twin.stop().await;
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    assert_eq!(
        gateway
            .number("SELECT coalesce(sum(sent), 0) FROM message_usage")
            .await,
        8
    );
    assert_eq!(gateway.number("SELECT sent_total FROM sessions").await, 8);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_that_was_not_answered_is_not_counted_and_a_removed_session_holds_nobody_up() {
    let gateway = Gateway::start().await;
    let (gone, session) = (gateway.session("desa-a").await, gateway.session("desa-b").await);
    let nowhere = Twin::of(&gateway, |settings| {
        settings.wa_server.url = BaseUrl::from_text("http://127.0.0.1:9/wa").unwrap();
    })
    .await;
    let request = gateway
        .client
        .post(nowhere.url("/wa/chat/send/text"))
        .header("token", &session.token);
    assert_eq!(request.send().await.unwrap().status(), 502);
    nowhere.stop().await;
    assert_eq!(gateway.number("SELECT count(*) FROM message_usage").await, 0);

    let twin = Twin::of(&gateway, |_| {}).await;
    for session in [&gone, &session] {
        let request = gateway
            .client
            .post(twin.url("/wa/chat/send/text"))
            .header("token", &session.token);
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    gateway
        .sql("DELETE FROM sessions WHERE tenant_id = 'desa-a'")
        .await;
    twin.stop().await;
    assert_eq!(
        gateway
            .number("SELECT coalesce(sum(sent), 0) FROM message_usage WHERE tenant_id = 'desa-b'")
            .await,
        1
    );
    gateway.stop().await;
}
