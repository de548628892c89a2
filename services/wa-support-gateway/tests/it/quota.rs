//! A customer's sends of a period, to the last one: acceptance check 6.

use std::time::Duration;

use futures_util::future::join_all;
use runtime::config::{BaseUrl, Setting as _};
use serde_json::{Value, json};
use test_support::eventually;

use crate::support::{Gateway, Session, Twin};

const USED: &str = "SELECT messages_used FROM subscriptions";

async fn limited(gateway: &Gateway, most: i64) -> Session {
    let session = gateway.session("desa-a").await;
    gateway
        .sql(&format!("UPDATE subscriptions SET max_messages = {most}"))
        .await;
    session
}

async fn send(gateway: &Gateway, session: &Session, body: &str) -> (u16, Value) {
    let answer = gateway
        .post("/wa/chat/send/text", session)
        .json(&json!({"Phone": "62811", "Body": body}))
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn reached(gateway: &Gateway) -> usize {
    let sends = |target: &str| target.contains("/chat/send/");
    gateway
        .wa
        .seen()
        .iter()
        .filter(|seen| sends(&seen.target))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_sends_at_once_through_two_gateways_five_get_out() {
    let gateway = Gateway::start().await;
    let session = limited(&gateway, 5).await;
    let twin = Twin::of(&gateway, |_| {}).await;
    let sends = (0..20).map(|number| {
        let url = match number % 2 {
            0 => gateway.url("/wa/chat/send/text"),
            _ => twin.url("/v1/wa/chat/send/text"),
        };
        let request = gateway
            .client
            .post(url)
            .header("token", &session.token)
            .json(&json!({"Phone": "62811", "Body": "halo"}));
        async move {
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            if status == 403 {
                let body: Value = answer.json().await.unwrap();
                assert_eq!(body["message"], "message quota exceeded");
                assert_eq!(body["code"], "quota_exceeded");
            }
            status
        }
    });
    let statuses = join_all(sends).await;
    let count = |status: u16| statuses.iter().filter(|known| **known == status).count();
    assert_eq!((count(200), count(403)), (5, 15), "{statuses:?}");
    assert_eq!(reached(&gateway), 5, "what is refused goes nowhere");
    assert_eq!(gateway.number(USED).await, 5);
    // Whatever its spelling, a send is one; what is none goes on.
    assert_eq!(send(&gateway, &session, "halo").await.0, 403);
    let spelled = gateway
        .post("/wa/%63hat/sen%64/image/", &session)
        .json(&json!({"Phone": "62811"}));
    assert_eq!(spelled.send().await.unwrap().status(), 403);
    let status = gateway.get("/wa/session/status", &session).send().await.unwrap();
    assert_eq!(status.status(), 200);
    let reaction = gateway
        .post("/wa/chat/react", &session)
        .json(&json!({"Phone": "62811"}));
    assert_eq!(reaction.send().await.unwrap().status(), 200);
    // A new period has all of them.
    gateway
        .sql("UPDATE subscriptions SET messages_used = 0, period_started_at = now()")
        .await;
    assert_eq!(send(&gateway, &session, "halo").await.0, 200);
    twin.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_that_did_not_happen_is_given_back() {
    let gateway = Gateway::start().await;
    let session = limited(&gateway, 2).await;
    for _ in 0..4 {
        let (status, body) = send(&gateway, &session, "refuse").await;
        assert_eq!(
            (status, &body["error"]),
            (500, &json!("error sending message: refused"))
        );
        eventually("the send is given back", || async {
            (gateway.number(USED).await == 0).then_some(())
        })
        .await;
    }
    // Too much of a body: the WA server never had a whole one.
    let announced = gateway
        .post("/wa/chat/send/text", &session)
        .body(vec![b' '; 101 * 1024 * 1024]);
    // The refusal may come before the body has gone.
    drop(announced.send().await);
    eventually("the send is given back", || async {
        (gateway.number(USED).await == 0).then_some(())
    })
    .await;
    assert_eq!(send(&gateway, &session, "halo").await.0, 200);
    assert_eq!(send(&gateway, &session, "halo").await.0, 200);
    assert_eq!(send(&gateway, &session, "halo").await.0, 403);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_sends_of_which_some_fail_are_charged_for_the_others() {
    let gateway = Gateway::start().await;
    let session = limited(&gateway, 40).await;
    let sends = (0..60).map(|number| {
        let body = if number % 3 == 0 { "refuse" } else { "halo" };
        let (gateway, session) = (&gateway, &session);
        async move { send(gateway, session, body).await.0 }
    });
    let statuses = join_all(sends).await;
    let sent = i64::try_from(statuses.iter().filter(|status| **status == 200).count()).unwrap();
    assert!(sent <= 40, "{statuses:?}");
    eventually("only what was sent is charged", || async {
        (gateway.number(USED).await == sent).then_some(())
    })
    .await;
    for left in 0..40 - sent {
        assert_eq!(send(&gateway, &session, "halo").await.0, 200, "{left}");
    }
    assert_eq!(send(&gateway, &session, "halo").await.0, 403);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_an_old_period_is_given_back_into_a_new_one() {
    let gateway = Gateway::start().await;
    let session = limited(&gateway, 10).await;
    let renewed = async {
        eventually("the send is on its way", || async {
            (reached(&gateway) == 1).then_some(())
        })
        .await;
        gateway
            .sql("UPDATE subscriptions SET messages_used = 3, period_started_at = now()")
            .await;
    };
    let ((status, _), ()) = tokio::join!(send(&gateway, &session, "refuse slowly"), renewed);
    assert_eq!(status, 500);
    // What is given back is written before the next send is charged.
    assert_eq!(send(&gateway, &session, "halo").await.0, 200);
    assert_eq!(gateway.number(USED).await, 4);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_knows_stays_charged_and_what_was_never_reached_does_not() {
    let gateway =
        Gateway::start_with(|settings| settings.wa_server.read_timeout = Duration::from_millis(400)).await;
    let session = limited(&gateway, 10).await;
    assert_eq!(send(&gateway, &session, "refuse slowly").await.0, 504);
    assert_eq!(send(&gateway, &session, "halo").await.0, 200);
    assert_eq!(gateway.number(USED).await, 2);
    let twin = Twin::of(&gateway, |settings| {
        settings.wa_server.url = BaseUrl::from_text("http://127.0.0.1:9/wa").unwrap();
    })
    .await;
    let nowhere = gateway
        .client
        .post(twin.url("/wa/chat/send/text"))
        .header("token", &session.token)
        .json(&json!({"Phone": "62811"}));
    assert_eq!(nowhere.send().await.unwrap().status(), 502);
    // Also at the end of a process: the last refunds are written before it ends.
    twin.stop().await;
    assert_eq!(gateway.number(USED).await, 2);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_leaves_is_charged_for_what_it_has_begun() {
    let gateway = Gateway::start().await;
    let session = limited(&gateway, 10).await;
    let slow = gateway
        .post("/wa/chat/send/slow", &session)
        .json(&json!({"Phone": "62811"}));
    let slow = tokio::spawn(slow.send());
    eventually("the send is on its way", || async {
        (reached(&gateway) == 1).then_some(())
    })
    .await;
    slow.abort();
    assert_eq!(send(&gateway, &session, "halo").await.0, 200);
    assert_eq!(gateway.number(USED).await, 2);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_limit_nothing_is_charged() {
    let gateway = Gateway::start().await;
    for most in [0, -1] {
        let session = limited(&gateway, most).await;
        assert_eq!(send(&gateway, &session, "halo").await.0, 200);
        assert_eq!(gateway.number(USED).await, 0);
        gateway
            .sql("DELETE FROM tenant_directory; DELETE FROM customers")
            .await;
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_charged_ahead_of_many_sends_is_given_back_to_the_last() {
    let gateway = Gateway::start().await;
    let session = limited(&gateway, 10_000_000).await;
    let twin = Twin::of(&gateway, |_| {}).await;
    let people = (0..8).map(|person| {
        let url = match person % 2 {
            0 => gateway.url("/wa/chat/send/text"),
            _ => twin.url("/v1/wa/chat/send/text"),
        };
        let (client, token) = (&gateway.client, &session.token);
        async move {
            for number in 0..40 {
                let body = json!({"Phone": "62811", "Body": format!("{person} {number}")});
                let answer = client.post(&url).header("token", token).json(&body).send().await;
                assert_eq!(answer.unwrap().status().as_u16(), 200);
            }
        }
    });
    join_all(people).await;
    eventually("each send is charged once, and nothing else", || async {
        (gateway.number(USED).await == 320).then_some(())
    })
    .await;
    assert_eq!(reached(&gateway), 320);
}
