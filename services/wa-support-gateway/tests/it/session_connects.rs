//! `auto_connect`: a wish that is kept until it is fulfilled, or somebody disconnects the session (contract §7.3).

use std::time::Duration;

use serde_json::{Value, json};
use test_support::eventually;
use wa_support_gateway::config::ExpiredSessions;

use crate::support::{Fault, Gateway, Owner};

pub(crate) const WISHES: &str = "SELECT count(*) FROM sessions WHERE connect_wanted IS NOT NULL";

/// `quick`: what was left behind is swept at once; otherwise never.
pub(crate) async fn start(quick: bool) -> Gateway {
    Gateway::start_with(|settings| {
        settings.sessions.sweep_every = if quick {
            Duration::from_millis(100)
        } else {
            Duration::from_secs(3600)
        };
        settings.sessions.unfinished_after = Duration::from_millis(100);
        settings.expiry.every = Duration::from_millis(200);
        settings.expiry.sessions = ExpiredSessions::Disconnect;
    })
    .await
}

/// The token of a new session.
pub(crate) async fn session(gateway: &Gateway, owner: &Owner, auto_connect: bool) -> String {
    let body = json!({"session_name": owner.id, "auto_connect": auto_connect});
    let (status, made) = gateway.ask(owner, "POST", "/v1/sessions", body).await;
    assert_eq!(status, 201, "{made}");
    made["session"]["session_token"].as_str().unwrap().to_owned()
}

/// As a process leaves it that died.
pub(crate) async fn wish(gateway: &Gateway, customer: &str, since: &str) {
    gateway
        .sql(&format!(
            "UPDATE sessions SET connect_wanted = now() - interval '{since}', connect_next_try_at = now() \
             WHERE tenant_id = '{customer}'"
        ))
        .await;
}

pub(crate) async fn no_wish_is_left(gateway: &Gateway) {
    eventually("no wish is left", || async {
        (gateway.count(WISHES).await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wish_is_in_the_row_until_it_is_fulfilled() {
    let gateway = start(false).await;
    let owner = gateway.owner("desa-a", 1).await;
    gateway
        .wa
        .fail("POST", "/session/connect", Fault::Status(500), 10_000);
    let token = session(&gateway, &owner, true).await;
    eventually("it was tried", || async {
        (gateway.wa.called("POST /session/connect") > 0).then_some(())
    })
    .await;
    assert_eq!(gateway.count(WISHES).await, 1);
    // What the WA server has to know besides does not wait for it.
    eventually("it knows the rest", || async {
        let due = "SELECT count(*) FROM sessions WHERE upkeep_due IS NOT NULL";
        (gateway.wa.called("PUT /webhook") > 0 && gateway.count(due).await == 0).then_some(())
    })
    .await;
    gateway.wa.recover();
    eventually("it is connected", || async {
        gateway.wa.runs(&token).then_some(())
    })
    .await;
    no_wish_is_left(&gateway).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wish_that_a_dead_process_left_is_fulfilled_by_whoever_looks_after_sessions() {
    let gateway = start(true).await;
    let (one, two) = (gateway.owner("desa-a", 1).await, gateway.owner("desa-b", 1).await);
    let (mine, theirs) = (
        session(&gateway, &one, false).await,
        session(&gateway, &two, false).await,
    );
    // Nobody is connected whose subscription has ended.
    gateway
        .sql("UPDATE subscriptions SET status = 'inactive' WHERE tenant_id = 'desa-b'")
        .await;
    wish(&gateway, "desa-b", "2 minutes").await;
    wish(&gateway, "desa-a", "1 minute").await;
    eventually("it is connected", || async {
        gateway.wa.runs(&mine).then_some(())
    })
    .await;
    eventually("its wish is fulfilled", || async {
        (gateway.count(WISHES).await == 1).then_some(())
    })
    .await;
    assert!(!gateway.wa.runs(&theirs));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_connected_is_tried_less_and_less_often_and_then_not_at_all() {
    let gateway = start(true).await;
    let owner = gateway.owner("desa-a", 1).await;
    let token = session(&gateway, &owner, false).await;
    gateway
        .wa
        .fail("POST", "/session/connect", Fault::Status(500), 10_000);
    wish(&gateway, "desa-a", "1 hour").await;
    eventually("it is put off", || async {
        let put_off =
            "SELECT count(*) FROM sessions WHERE connect_next_try_at > now() + interval '10 minutes'";
        (gateway.count(put_off).await == 1).then_some(())
    })
    .await;
    assert_eq!(gateway.wa.called("POST /session/connect"), 1);

    gateway.wa.recover();
    wish(&gateway, "desa-a", "25 hours").await;
    no_wish_is_left(&gateway).await;
    assert!(!gateway.wa.runs(&token));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disconnect_is_the_last_word() {
    let gateway = start(true).await;
    for path in ["/v1/wa/session/disconnect", "/wa/session/logout"] {
        let owner = gateway.owner(&path.replace('/', "-"), 1).await;
        gateway
            .wa
            .fail("POST", "/session/connect", Fault::Status(500), 10_000);
        let token = session(&gateway, &owner, true).await;
        assert_eq!(gateway.count(WISHES).await, 1);
        // It does not run yet, so the WA server refuses. It must not begin to run later.
        let call = gateway.client.post(gateway.url(path)).header("token", &token);
        assert_eq!(call.body("{}").send().await.unwrap().status(), 500, "{path}");
        no_wish_is_left(&gateway).await;
        gateway.wa.recover();
        // Longer than the process that made it waits before it tries again.
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(!gateway.wa.runs(&token), "{path}");
    }
    gateway.stop().await;
}

/// The wish has ended before the WA server hears of the disconnect, so nothing that breaks from then on undoes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disconnect_ends_the_wish_before_it_goes_out() {
    let gateway = start(false).await;
    let owner = gateway.owner("desa-a", 1).await;
    let token = session(&gateway, &owner, false).await;
    wish(&gateway, "desa-a", "1 minute").await;
    gateway.wa.fail("POST", "/session/disconnect", Fault::Late, 1);
    let call = gateway
        .client
        .post(gateway.url("/wa/session/disconnect"))
        .header("token", &token)
        .body("{}");
    let looking = async {
        eventually("the WA server hears of it", || async {
            (gateway.wa.called("POST /session/disconnect") > 0).then_some(())
        })
        .await;
        let wishes = gateway.count(WISHES).await;
        gateway.wa.let_go();
        wishes
    };
    let (answer, wishes) = tokio::join!(call.send(), looking);
    assert_eq!((answer.unwrap().status().as_u16(), wishes), (500, 0));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_its_customer_connects_is_wanted_no_more() {
    let gateway = start(false).await;
    let owner = gateway.owner("desa-a", 1).await;
    let token = session(&gateway, &owner, false).await;
    wish(&gateway, "desa-a", "1 minute").await;
    let call = gateway
        .client
        .post(gateway.url("/wa/session/connect"))
        .header("token", &token);
    assert_eq!(call.body("{}").send().await.unwrap().status(), 200);
    no_wish_is_left(&gateway).await;
    assert!(gateway.wa.runs(&token));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_subscription_ends_the_wish_where_sessions_are_disconnected_then() {
    let gateway = start(false).await;
    let owner = gateway.owner("desa-a", 1).await;
    session(&gateway, &owner, false).await;
    wish(&gateway, "desa-a", "1 minute").await;
    gateway.sql("UPDATE subscriptions SET expires_at = now()").await;
    no_wish_is_left(&gateway).await;
    let (_, listed) = gateway.ask(&owner, "GET", "/v1/sessions", Value::Null).await;
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 1);
    gateway.stop().await;
}
