//! Changes that fail halfway: both sides are as they were, at once and not only after a sweep (contract §7.4).

use std::time::Duration;

use serde_json::{Value, json};
use test_support::eventually;

use crate::support::{Fault, Gateway, Owner};

const NEW: &str = "/v1/sessions";
const HOOK: &str = "https://hook.invalid/a";
const NOT_SETTLED: &str =
    "SELECT count(*) FROM sessions WHERE upkeep_due IS NOT NULL OR record_due OR history_due";

/// A gateway that neither sweeps nor compares while a test lasts, a customer, and the path of its one session.
async fn start(history: i64) -> (Gateway, Owner, String, String) {
    start_sweeping(history, Duration::from_secs(3600)).await
}

async fn start_sweeping(history: i64, every: Duration) -> (Gateway, Owner, String, String) {
    let gateway = Gateway::start_with(|settings| {
        settings.sessions.call_timeout = Duration::from_millis(800);
        settings.sessions.sweep_every = every;
        settings.sessions.unfinished_after = Duration::from_millis(100);
    })
    .await;
    let owner = gateway.owner("desa-a", 1).await;
    let body = json!({"session_name": "desa-a", "webhook_url": HOOK, "history": history});
    let (status, made) = gateway.ask(&owner, "POST", NEW, body).await;
    assert_eq!(status, 201, "{made}");
    let text = |field: &str| made["session"][field].as_str().unwrap().to_owned();
    let (path, token) = (format!("{NEW}/{}", text("session_id")), text("session_token"));
    gateway.wa.forget();
    (gateway, owner, path, token)
}

async fn listed(gateway: &Gateway, owner: &Owner) -> Value {
    let (_, listed) = gateway.ask(owner, "GET", NEW, Value::Null).await;
    listed["sessions"][0].clone()
}

async fn settled(gateway: &Gateway) {
    eventually("nothing is left to tell", || async {
        (gateway.count(NOT_SETTLED).await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_is_told_last() {
    let (gateway, owner, path, _) = start(0).await;
    let change =
        json!({"session_name": "renamed", "webhook_url": "https://hook.invalid/b", "expiration_sec": 9});
    for (method, fault) in [
        ("PUT", Fault::Status(500)),
        ("PUT", Fault::Status(400)),
        ("PUT", Fault::LostAnswer),
        ("GET", Fault::Garbage),
    ] {
        gateway.wa.fail(method, "/webhook", fault, 1);
        let (status, answer) = gateway.ask(&owner, "PUT", &path, change.clone()).await;
        assert_eq!(status, 502, "{method} {fault:?} {answer}");
        assert!(!gateway.wa.users().iter().any(|user| user["name"] == "renamed"));
        settled(&gateway).await;
        let (row, user) = (listed(&gateway, &owner).await, gateway.wa.user("desa-a"));
        assert_eq!(
            (&row["session_name"], &row["webhook_url"], &row["expiration_sec"]),
            (&json!("desa-a"), &json!(HOOK), &json!(0))
        );
        assert_eq!(user["webhook"], HOOK, "{method} {fault:?}");
    }
    let (status, _) = gateway.ask(&owner, "PUT", &path, change).await;
    let user = gateway.wa.user("renamed");
    assert_eq!(
        (status, &user["webhook"], &user["expiration"]),
        (200, &json!("https://hook.invalid/b"), &json!(9))
    );
    assert_eq!(gateway.count(NOT_SETTLED).await, 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rename_that_is_refused_frees_the_name_at_once() {
    let (gateway, owner, path, _) = start(0).await;
    gateway.wa.fail("PUT", "/admin/users", Fault::Status(400), 1);
    let (status, _) = gateway
        .ask(&owner, "PUT", &path, json!({"session_name": "wanted"}))
        .await;
    assert_eq!(status, 502);
    let stranger = gateway.owner("desa-b", 1).await;
    let (status, _) = gateway
        .ask(&stranger, "POST", NEW, json!({"session_name": "wanted"}))
        .await;
    assert_eq!(status, 201);
    let (status, _) = gateway
        .ask(&stranger, "POST", NEW, json!({"session_name": "desa-a"}))
        .await;
    assert_ne!(status, 201, "the session keeps its own");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rename_whose_outcome_nobody_knows_is_taken_back_and_then_the_name_is_free() {
    let (gateway, owner, path, _) = start(5).await;
    gateway.wa.fail("PUT", "/admin/users", Fault::LostAnswer, 1);
    gateway.wa.fail("PUT", "/admin/users", Fault::Status(503), 10_000);
    let change = json!({"session_name": "wanted", "history": 7});
    let (status, _) = gateway.ask(&owner, "PUT", &path, change).await;
    assert_eq!(
        (status, &gateway.wa.user("wanted")["history"]),
        (502, &json!(7)),
        "it has it"
    );
    assert_eq!(listed(&gateway, &owner).await["session_name"], "desa-a");
    let stranger = gateway.owner("desa-b", 1).await;
    let theirs = json!({"session_name": "wanted"});
    let (status, answer) = gateway.ask(&stranger, "POST", NEW, theirs.clone()).await;
    assert_eq!(
        (status, &answer["code"]),
        (409, &json!("session_name_taken")),
        "no two are ever called the same there"
    );

    gateway.wa.recover();
    settled(&gateway).await;
    assert_eq!(gateway.wa.user("desa-a")["history"], 5);
    assert_eq!(gateway.ask(&stranger, "POST", NEW, theirs).await.0, 201);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_be_half_done_is_in_the_row_before_the_wa_server_hears_of_it() {
    let (gateway, owner, path, _) = start(0).await;
    gateway.wa.fail("PUT", "/webhook", Fault::Hang, 1);
    let change = json!({"session_name": "renamed", "webhook_url": "https://hook.invalid/b"});
    let asked = gateway.ask(&owner, "PUT", &path, change);
    let looked = async {
        eventually("the WA server hears of it", || async {
            (gateway.wa.called("PUT /webhook") > 0).then_some(())
        })
        .await;
        let noted = "SELECT count(*) FROM sessions WHERE upkeep_due IS NOT NULL AND record_due";
        gateway.count(noted).await
    };
    let ((status, _), noted) = tokio::join!(asked, looked);
    assert_eq!((status, noted), (502, 1));
    settled(&gateway).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_does_not_run_keeps_no_history_from_its_next_connect_on() {
    let (gateway, owner, path, token) = start(5).await;
    let change = json!({"history": 0, "session_name": "renamed"});
    let (status, answer) = gateway.ask(&owner, "PUT", &path, change).await;
    assert_eq!(
        (status, &answer["session"]["history"]),
        (200, &json!(0)),
        "{answer}"
    );
    assert_eq!(
        gateway.wa.user("renamed")["history"],
        5,
        "it takes that of running sessions only"
    );

    let connect = gateway
        .client
        .post(gateway.url("/wa/session/connect"))
        .header("token", &token);
    assert_eq!(connect.body("{}").send().await.unwrap().status(), 200);
    eventually("it is told", || async {
        (gateway.wa.user("renamed")["history"] == 0).then_some(())
    })
    .await;
    settled(&gateway).await;

    // One that runs is told at once, and what it refuses is a refusal.
    let history = |messages: i64| gateway.ask(&owner, "PUT", &path, json!({"history": messages}));
    assert_eq!(history(9).await.0, 200);
    gateway.wa.fail("POST", "/session/history", Fault::Status(500), 1);
    assert_eq!(history(0).await.0, 502);
    settled(&gateway).await;
    assert_eq!(gateway.wa.user("renamed")["history"], 9);
    assert_eq!(history(0).await.0, 200);
    assert_eq!(gateway.wa.user("renamed")["history"], 0);
    gateway.stop().await;
}

/// Somebody else had the session run: the WA server itself after a restart, or an operator.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_runs_without_us_keeps_no_history_from_the_next_sweep_on() {
    let (gateway, owner, path, token) = start_sweeping(5, Duration::from_millis(100)).await;
    let change = json!({"history": 0});
    assert_eq!(gateway.ask(&owner, "PUT", &path, change).await.0, 200);
    // As long as it does not run it is asked again, but not at each turn.
    let due =
        "SELECT count(*) FROM sessions WHERE history_due AND upkeep_due > now() + interval '10 minutes'";
    for _ in 0..2 {
        eventually("it is due again", || async {
            (gateway.count(due).await == 1).then_some(())
        })
        .await;
        gateway.wa.forget();
        gateway
            .sql("UPDATE sessions SET upkeep_due = now() - interval '1 hour'")
            .await;
        eventually("it is asked", || async {
            (gateway.wa.called("POST /session/history") > 0).then_some(())
        })
        .await;
    }
    eventually("it is due again", || async {
        (gateway.count(due).await == 1).then_some(())
    })
    .await;
    gateway.wa.run(&token);
    gateway
        .sql("UPDATE sessions SET upkeep_due = now() - interval '1 hour'")
        .await;
    eventually("it is told", || async {
        (gateway.wa.user("desa-a")["history"] == 0).then_some(())
    })
    .await;
    settled(&gateway).await;
    gateway.stop().await;
}
