//! Periods of a subscription, and its end (contract §10, W-14, W-28).

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use test_support::eventually;
use wa_support_gateway::config::ExpiredSessions;

use crate::support::{APP, Gateway, Peer, Session, wanted, with_callers};

const ROUND: Duration = Duration::from_millis(200);

async fn statuses(gateway: &Gateway) -> Vec<String> {
    gateway
        .rows("SELECT tenant_id || ' ' || status AS text FROM subscriptions ORDER BY tenant_id")
        .await
}

fn disconnects(gateway: &Gateway, session: &Session) -> usize {
    let seen = gateway.wa.seen();
    let of_it = seen.iter().filter(|seen| {
        seen.target.contains("/session/disconnect") && seen.header("token") == Some(&session.token)
    });
    of_it.count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_period_begins_with_a_later_end_and_with_nothing_else() {
    let gateway = Gateway::start_for_services().await;
    gateway.customer("desa-a", "app").await;
    let renew = async |method: Method, path: &str, end: &str, begins: bool| {
        gateway
            .sql("UPDATE subscriptions SET messages_used = 7, period_started_at = now() - interval '9 days'")
            .await;
        let mut body = wanted("desa-a", "app");
        body["expires_at"] = json!(end);
        gateway.internal(method.clone(), path, APP, &body).await.ok();
        let row = gateway
            .rows("SELECT messages_used || ' ' || (period_started_at > now() - interval '1 hour') AS text FROM subscriptions")
            .await;
        let expected = if begins { "0 true" } else { "7 false" };
        assert_eq!(row, [expected], "{method} {path} {end}");
    };
    for (method, path) in [(Method::POST, "/users"), (Method::PUT, "/users/desa-a")] {
        gateway
            .sql("UPDATE subscriptions SET expires_at = '2099-12-31T23:59:59Z'")
            .await;
        renew(method.clone(), path, "2099-12-31T23:59:59Z", false).await;
        renew(method.clone(), path, "2098-12-31T23:59:59Z", false).await;
        renew(method.clone(), path, "2098-12-31T23:59:59.001Z", true).await;
        // An earlier end and back again is no renewal of what is past, but of what it was shortened to.
        renew(method, path, "2099-01-31T23:59:59Z", true).await;
    }
    // A limit alone begins nothing.
    gateway.sql("UPDATE subscriptions SET messages_used = 7").await;
    gateway
        .internal(Method::PUT, "/users/desa-a", APP, &json!({"max_messages": 100}))
        .await
        .ok();
    assert_eq!(
        gateway
            .rows("SELECT messages_used::text AS text FROM subscriptions")
            .await,
        ["7"]
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ended_subscriptions_are_marked_by_any_number_of_processes() {
    let mut shared = None;
    let gateway = Gateway::start_with(|settings| {
        with_callers(settings);
        settings.expiry.every = ROUND;
        shared = Some(settings.clone());
    })
    .await;
    let peer = Peer::beside(&gateway, &shared.unwrap()).await;
    let key = gateway.customer("desa-a", "app").await;
    for id in ["desa-b", "desa-c", "desa-d"] {
        gateway.customer(id, "app").await;
    }
    assert_eq!(gateway.me(&key).await.status, 200);
    assert_eq!(peer.me(&key).await.status, 200);
    gateway
        .sql(
            "UPDATE subscriptions SET expires_at = now() - interval '3 days' WHERE tenant_id IN ('desa-a', 'desa-b'); \
             UPDATE subscriptions SET expires_at = now() - interval '1 day', status = 'inactive' WHERE tenant_id = 'desa-d'",
        )
        .await;
    eventually("they are marked", || async {
        let marked = [
            "desa-a expired",
            "desa-b expired",
            "desa-c active",
            "desa-d inactive",
        ];
        (statuses(&gateway).await == marked).then_some(())
    })
    .await;
    // What the processes have at hand is taken back with it.
    for process in 0..2 {
        eventually("the customer is refused", || async {
            let answer = if process == 0 {
                gateway.me(&key).await
            } else {
                peer.me(&key).await
            };
            (answer.refusal() == (403, "subscription expired")).then_some(())
        })
        .await;
    }
    // Renewed while the job runs, it stays renewed.
    gateway
        .internal(Method::POST, "/users", APP, &wanted("desa-a", "app"))
        .await
        .ok();
    assert_eq!(gateway.me(&key).await.status, 200);
    tokio::time::sleep(ROUND * 3).await;
    assert_eq!(statuses(&gateway).await[0], "desa-a active");
    peer.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_default_sessions_stay_connected() {
    let gateway = Gateway::start_with(|settings| {
        with_callers(settings);
        settings.expiry.every = ROUND;
    })
    .await;
    let session = gateway.session("desa-a").await;
    gateway.sql("UPDATE subscriptions SET expires_at = now()").await;
    eventually("it is marked", || async {
        (statuses(&gateway).await == ["desa-a expired"]).then_some(())
    })
    .await;
    tokio::time::sleep(ROUND * 3).await;
    assert_eq!(disconnects(&gateway, &session), 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_policy_sessions_are_disconnected_until_it_worked() {
    let gateway = Gateway::start_with(|settings| {
        with_callers(settings);
        settings.expiry.every = ROUND;
        settings.expiry.sessions = ExpiredSessions::Disconnect;
    })
    .await;
    let (a, b, c) = (
        gateway.session("desa-a").await,
        gateway.session("desa-b").await,
        gateway.session("desa-c").await,
    );
    gateway.wa.refuse_disconnects(true);
    gateway
        .sql("UPDATE subscriptions SET expires_at = now() WHERE tenant_id IN ('desa-a', 'desa-b')")
        .await;
    eventually("it is tried again and again", || async {
        (disconnects(&gateway, &a) >= 3 && disconnects(&gateway, &b) >= 3).then_some(())
    })
    .await;
    assert_eq!(
        gateway
            .rows("SELECT count(*)::text AS text FROM expired_sessions")
            .await,
        ["2"]
    );

    // Renewed meanwhile: it is left alone from then on.
    let renewed = wanted("desa-b", "operator");
    gateway
        .internal(Method::POST, "/users", crate::support::GLOBAL, &renewed)
        .await
        .ok();
    gateway.wa.forget();
    eventually("the other one is tried", || async {
        (disconnects(&gateway, &a) >= 2).then_some(())
    })
    .await;
    gateway.wa.refuse_disconnects(false);
    eventually("nothing is left to do", || async {
        let left = gateway
            .rows("SELECT count(*)::text AS text FROM expired_sessions")
            .await;
        (left == ["0"]).then_some(())
    })
    .await;
    let tried = disconnects(&gateway, &a);
    tokio::time::sleep(ROUND * 3).await;
    assert_eq!(disconnects(&gateway, &a), tried, "once done, it is done");
    assert_eq!((disconnects(&gateway, &b), disconnects(&gateway, &c)), (0, 0));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_have_ended_are_removed() {
    let gateway = Gateway::start_with(|settings| {
        with_callers(settings);
        settings.expiry.every = ROUND;
    })
    .await;
    gateway.customer("desa-a", "app").await;
    let path = "/users/desa-a/apikey/rotate";
    gateway
        .internal(Method::POST, path, APP, &json!({"grace_seconds": 1}))
        .await
        .ok();
    eventually("only the new one is left", || async {
        let left = gateway
            .rows("SELECT (SELECT count(*) FROM api_keys) || ' ' || (SELECT count(*) FROM tenant_directory) AS text")
            .await;
        (left == ["1 1"]).then_some(())
    })
    .await;
    gateway.stop().await;
}
