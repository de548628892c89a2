//! The newest wish of a session's customer wins, connected or not, whatever of ours is under way.

use std::time::Duration;

use test_support::eventually;

use crate::session_connects::{no_wish_is_left, session, start, wish};
use crate::support::{Fault, Gateway};

const OFF: &str = "SELECT count(*) FROM session_switches WHERE off_since IS NOT NULL";

/// What the gateway answers to the customer's own call.
async fn call(gateway: &Gateway, path: &str, token: &str) -> u16 {
    let call = gateway.client.post(gateway.url(path)).header("token", token);
    call.body("{}").send().await.unwrap().status().as_u16()
}

async fn called(gateway: &Gateway, call: &str) {
    eventually(call, || async { (gateway.wa.called(call) > 0).then_some(()) }).await;
}

async fn runs(gateway: &Gateway, token: &str, running: bool) {
    eventually("it runs, or not", || async {
        (gateway.wa.runs(token) == running).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_disconnected_before_it_is_connected_is_not() {
    let gateway = start(false).await;
    let owner = gateway.owner("desa-a", 1).await;
    gateway.wa.fail("POST", "/session/hmac", Fault::Late, 1);
    let token = session(&gateway, &owner, true).await;
    called(&gateway, "POST /session/hmac").await;
    assert_eq!(call(&gateway, "/wa/session/disconnect", &token).await, 500);
    no_wish_is_left(&gateway).await;
    gateway.wa.let_go();
    // What comes after the connect.
    called(&gateway, "PUT /webhook").await;
    assert_eq!(gateway.wa.called("POST /session/connect"), 0);
    gateway.stop().await;
}

/// The WA server answers a connect before the session runs, and says until then that there is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disconnect_right_behind_our_connect_is_not_undone_by_it() {
    let gateway = start(false).await;
    for (customer, path) in [
        ("desa-a", "/wa/session/disconnect"),
        ("desa-b", "/v1/wa/session/logout"),
    ] {
        let owner = gateway.owner(customer, 1).await;
        gateway.wa.fail("POST", "/session/connect", Fault::Asleep, 1);
        let token = session(&gateway, &owner, true).await;
        no_wish_is_left(&gateway).await;
        assert_eq!(call(&gateway, path, &token).await, 500);
        // From here on it runs.
        gateway.wa.let_go();
        runs(&gateway, &token, false).await;
        eventually("nothing is left to do", || async {
            (gateway.count(OFF).await == 0).then_some(())
        })
        .await;
    }
    gateway.stop().await;
}

/// The connect is under way, and nobody knows what becomes of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disconnect_during_our_connect_is_not_undone_by_it() {
    let gateway = start(false).await;
    let owner = gateway.owner("desa-a", 1).await;
    gateway.wa.fail("POST", "/session/connect", Fault::Held, 1);
    let token = session(&gateway, &owner, true).await;
    called(&gateway, "POST /session/connect").await;
    assert_eq!(call(&gateway, "/wa/session/disconnect", &token).await, 500);
    gateway.wa.let_go();
    eventually("it was connected and taken off again", || async {
        let off = gateway.wa.called("POST /session/disconnect") > 1;
        (off && !gateway.wa.runs(&token)).then_some(())
    })
    .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_process_was_to_take_off_is_taken_off_by_whoever_looks_after_sessions() {
    let gateway = start(true).await;
    let owner = gateway.owner("desa-a", 1).await;
    let token = session(&gateway, &owner, false).await;
    assert_eq!(call(&gateway, "/wa/session/connect", &token).await, 200);
    // It is refused at first, which is no reason to forget it.
    gateway
        .wa
        .fail("POST", "/session/disconnect", Fault::Status(503), 1);
    let off = "UPDATE session_switches SET off_since = now(), off_next_try_at = now()";
    gateway.sql(off).await;
    called(&gateway, "POST /session/disconnect").await;
    assert!(gateway.wa.runs(&token));
    eventually("it is due again", || async {
        let due = "SELECT count(*) FROM session_switches WHERE off_next_try_at > now()";
        (gateway.count(due).await == 1).then_some(())
    })
    .await;
    gateway.sql(off).await;
    runs(&gateway, &token, false).await;
    eventually("nothing is left to do", || async {
        (gateway.count(OFF).await == 0).then_some(())
    })
    .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_taken_off_for_a_day_is_given_up_and_noted() {
    let gateway = start(true).await;
    let (stuck, young) = (gateway.owner("desa-a", 1).await, gateway.owner("desa-b", 1).await);
    let never = Fault::Status(500);
    gateway.wa.fail("POST", "/session/disconnect", never, usize::MAX);
    for owner in [&stuck, &young] {
        let token = session(&gateway, owner, false).await;
        assert_eq!(call(&gateway, "/wa/session/disconnect", &token).await, 500);
    }
    gateway.wa.forget();
    gateway
        .sql(
            "UPDATE session_switches SET off_since = now() - interval '23 hours', off_next_try_at = now(); \
             UPDATE session_switches SET off_since = now() - interval '25 hours' WHERE tenant_id = 'desa-a'",
        )
        .await;
    eventually("the old one is given up", || async {
        let off = "SELECT tenant_id AS text FROM session_switches WHERE off_since IS NOT NULL";
        (gateway.rows(off).await == ["desa-b"]).then_some(())
    })
    .await;
    eventually("both were tried once more", || async {
        (gateway.wa.called("POST /session/disconnect") >= 2).then_some(())
    })
    .await;
    let noted = "SELECT concat_ws(' | ', tenant_id, actor, action, detail) AS text FROM audit_log \
                 WHERE action = 'session.disconnect_given_up'";
    assert_eq!(
        gateway.rows(noted).await,
        ["desa-a | wa-support-gateway | session.disconnect_given_up | desa-a: not disconnected within a day"]
    );
    // The younger one stays due, ever more seldom.
    let due = "SELECT count(*) FROM session_switches WHERE off_next_try_at > now()";
    assert_eq!(gateway.count(due).await, 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_its_customer_connects_is_not_taken_off_any_more() {
    let gateway = start(true).await;
    let owner = gateway.owner("desa-a", 1).await;
    gateway.wa.fail("POST", "/session/connect", Fault::Asleep, 1);
    let token = session(&gateway, &owner, true).await;
    no_wish_is_left(&gateway).await;
    assert_eq!(call(&gateway, "/wa/session/disconnect", &token).await, 500);
    assert_eq!(gateway.count(OFF).await, 1);
    assert_eq!(call(&gateway, "/wa/session/connect", &token).await, 200);
    assert_eq!(gateway.count(OFF).await, 0);
    // Longer than it takes to take a session off.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(gateway.wa.runs(&token));
    gateway.stop().await;
}

/// Our disconnect is under way when the customer connects the session, and arrives after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_its_customer_connects_while_it_is_taken_off_is_connected_again() {
    let gateway = start(true).await;
    let owner = gateway.owner("desa-a", 1).await;
    let token = session(&gateway, &owner, false).await;
    assert_eq!(call(&gateway, "/wa/session/disconnect", &token).await, 500);
    gateway.wa.forget();
    gateway.wa.fail("POST", "/session/disconnect", Fault::Held, 1);
    gateway
        .sql("UPDATE session_switches SET off_since = now(), off_next_try_at = now()")
        .await;
    called(&gateway, "POST /session/disconnect").await;
    assert_eq!(call(&gateway, "/wa/session/connect", &token).await, 200);
    gateway.wa.let_go();
    eventually("it was taken off, and connected again", || async {
        let connected = gateway.wa.called("POST /session/connect") == 2;
        (connected && gateway.wa.runs(&token)).then_some(())
    })
    .await;
    no_wish_is_left(&gateway).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_subscription_is_not_undone_by_our_connect() {
    let gateway = start(false).await;
    let owner = gateway.owner("desa-a", 1).await;
    gateway.wa.fail("POST", "/session/connect", Fault::Asleep, 1);
    let token = session(&gateway, &owner, true).await;
    no_wish_is_left(&gateway).await;
    gateway.sql("UPDATE subscriptions SET expires_at = now()").await;
    eventually(
        "its session was disconnected, as far as anybody knows",
        || async {
            let due = "SELECT count(*) FROM expired_sessions";
            (gateway.wa.called("POST /session/disconnect") > 0 && gateway.count(due).await == 0).then_some(())
        },
    )
    .await;
    gateway.wa.let_go();
    runs(&gateway, &token, false).await;
    gateway.stop().await;
}

/// A renewal during the disconnect that the end of the subscription brought.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_that_is_renewed_and_connects_is_not_left_disconnected() {
    let gateway = start(true).await;
    let owner = gateway.owner("desa-a", 1).await;
    let token = session(&gateway, &owner, false).await;
    gateway.wa.fail("POST", "/session/disconnect", Fault::Held, 1);
    gateway.sql("UPDATE subscriptions SET expires_at = now()").await;
    called(&gateway, "POST /session/disconnect").await;
    gateway
        .sql("UPDATE subscriptions SET expires_at = '2099-12-31', status = 'active'")
        .await;
    eventually("it may connect", || async {
        (call(&gateway, "/wa/session/connect", &token).await == 200).then_some(())
    })
    .await;
    gateway.wa.let_go();
    eventually("it is connected again", || async {
        let connected = gateway.wa.called("POST /session/connect") == 2;
        (connected && gateway.wa.runs(&token)).then_some(())
    })
    .await;
    gateway.stop().await;
}

/// A wish that came to nothing is over with the disconnect; nothing has to be taken off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_nobody_tried_to_connect_is_disconnected_once() {
    let gateway = start(false).await;
    let owner = gateway.owner("desa-a", 1).await;
    let token = session(&gateway, &owner, false).await;
    wish(&gateway, "desa-a", "0 seconds").await;
    assert_eq!(call(&gateway, "/wa/session/disconnect", &token).await, 500);
    assert_eq!(gateway.count(OFF).await, 0);
    gateway.stop().await;
}
