//! Whatever the WA server does in the middle of it: neither side keeps what the other does not know (W-12).

use std::time::Duration;

use serde_json::{Value, json};
use test_support::eventually;

use crate::support::{Fault, Gateway, Owner};

const NEW: &str = "/v1/sessions";

fn body() -> Value {
    json!({"session_name": "desa-a", "webhook_url": "https://hook.invalid/a"})
}

/// A gateway that does not wait long for the WA server. `quick`: what is left behind is swept at once.
async fn start(quick: bool) -> (Gateway, Owner) {
    let gateway = Gateway::start_with(|settings| {
        settings.sessions.call_timeout = Duration::from_millis(800);
        if quick {
            settings.sessions.sweep_every = Duration::from_millis(100);
            settings.sessions.unfinished_after = Duration::from_millis(200);
        }
    })
    .await;
    let owner = gateway.owner("desa-a", 1).await;
    (gateway, owner)
}

async fn nothing_is_left(gateway: &Gateway) {
    eventually("neither side has anything left", || async {
        let rows = gateway.count("SELECT count(*) FROM sessions").await;
        let names = gateway
            .count("SELECT count(*) FROM tenant_directory WHERE kind <> 'api_key'")
            .await;
        (rows == 0 && names == 0 && gateway.wa.users().is_empty()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_creation_leaves_nothing_and_tells_nothing() {
    let (gateway, owner) = start(false).await;
    for fault in [
        Fault::Status(400),
        Fault::Status(401),
        Fault::Status(500),
        Fault::Garbage,
    ] {
        gateway.wa.fail("POST", "/admin/users", fault, 1);
        let (status, answer) = gateway.ask(&owner, "POST", NEW, body()).await;
        assert_eq!(status, 502, "{fault:?} {answer}");
        assert!(
            !answer.to_string().contains("s3cret") && !answer.to_string().contains("127.0.0.1"),
            "{answer}"
        );
        // At once, not by a sweep: the name and the place are free again.
        assert_eq!(
            gateway.count("SELECT count(*) FROM sessions").await,
            0,
            "{fault:?}"
        );
    }
    let (status, _) = gateway.ask(&owner, "POST", NEW, body()).await;
    assert_eq!((status, gateway.wa.users().len()), (201, 1));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wa_server_that_cannot_be_reached_is_a_502_without_its_address() {
    let gateway = Gateway::start_with(|settings| {
        use runtime::config::Setting as _;
        settings.wa_server.url = runtime::config::BaseUrl::from_text("http://127.0.0.1:9").unwrap();
    })
    .await;
    let owner = gateway.owner("desa-a", 1).await;
    let (status, answer) = gateway.ask(&owner, "POST", NEW, body()).await;
    assert_eq!(
        (status, &answer["message"]),
        (502, &json!("upstream unavailable"))
    );
    assert_eq!(gateway.count("SELECT count(*) FROM sessions").await, 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_making_was_not_answered_is_found_and_used() {
    let (gateway, owner) = start(false).await;
    gateway.wa.fail("POST", "/admin/users", Fault::LostAnswer, 1);
    let (status, answer) = gateway.ask(&owner, "POST", NEW, body()).await;
    assert_eq!(status, 201, "{answer}");
    assert_eq!(answer["session"]["session_id"], gateway.wa.user("desa-a")["id"]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_order_finishes_what_the_first_began() {
    let (gateway, owner) = start(false).await;
    // Made, and neither the answer nor a look around says so.
    gateway.wa.fail("POST", "/admin/users", Fault::LostAnswer, 1);
    gateway.wa.fail("GET", "/admin/users", Fault::Hang, 1);
    let (status, _) = gateway.ask(&owner, "POST", NEW, body()).await;
    assert_eq!(status, 502);
    assert_eq!(
        gateway
            .count("SELECT count(*) FROM sessions WHERE phase = 'creating'")
            .await,
        1
    );
    let (_, listed) = gateway.ask(&owner, "GET", NEW, Value::Null).await;
    assert_eq!(
        listed,
        json!({"sessions": []}),
        "what is only intended is not shown"
    );
    let stranger = gateway.owner("desa-b", 1).await;
    let (status, answer) = gateway.ask(&stranger, "POST", NEW, body()).await;
    assert_eq!((status, &answer["code"]), (409, &json!("session_name_taken")));
    let (status, answer) = gateway
        .ask(&owner, "POST", NEW, json!({"session_name": "another"}))
        .await;
    assert_eq!(
        (status, &answer["message"]),
        (403, &json!("session limit exceeded")),
        "it takes its place already"
    );

    let (status, answer) = gateway.ask(&owner, "POST", NEW, body()).await;
    assert_eq!(status, 201, "{answer}");
    let user = gateway.wa.user("desa-a");
    assert_eq!(
        (
            &answer["session"]["session_id"],
            &answer["session"]["session_token"]
        ),
        (&user["id"], &user["token"])
    );
    let (status, _) = gateway.ask(&owner, "POST", NEW, body()).await;
    assert_eq!(status, 409, "now it is there");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_finishes_is_taken_back_on_both_sides() {
    let (gateway, owner) = start(true).await;
    for fault in [Fault::LostAnswer, Fault::Hang] {
        gateway.wa.fail("POST", "/admin/users", fault, 1);
        gateway.wa.fail("GET", "/admin/users", Fault::Hang, 1);
        let (status, _) = gateway.ask(&owner, "POST", NEW, body()).await;
        assert_eq!(status, 502, "{fault:?}");
        nothing_is_left(&gateway).await;
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_goes_on_when_its_caller_leaves() {
    let (gateway, owner) = start(false).await;
    gateway.wa.fail("POST", "/admin/users", Fault::LostAnswer, 1);
    let call = gateway
        .as_owner(&owner, reqwest::Method::POST, NEW)
        .json(&body())
        .timeout(Duration::from_millis(300));
    assert!(call.send().await.is_err());
    eventually("the session is there", || async {
        let ready = gateway
            .count("SELECT count(*) FROM sessions WHERE phase = 'ready'")
            .await;
        (ready == 1).then_some(())
    })
    .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_the_wa_server_refuses_is_finished_by_the_sweep() {
    let (gateway, owner) = start(true).await;
    let (_, made) = gateway.ask(&owner, "POST", NEW, body()).await;
    let session = made["session"].clone();
    let path = format!("{NEW}/{}", session["session_id"].as_str().unwrap());
    let token = session["session_token"].as_str().unwrap();
    gateway
        .wa
        .fail("DELETE", "/admin/users", Fault::Status(500), 10_000);
    let (status, answer) = gateway.ask(&owner, "DELETE", &path, Value::Null).await;
    assert_eq!((status, &answer["code"]), (502, &json!("upstream_refused")));
    assert!(!answer.to_string().contains("s3cret"));
    assert_eq!(
        gateway
            .count("SELECT count(*) FROM sessions WHERE phase = 'removing'")
            .await,
        1
    );
    let proxied = gateway
        .client
        .get(gateway.url("/wa/session/status"))
        .header("token", token)
        .send()
        .await
        .unwrap();
    assert_eq!(proxied.status(), 401, "its token is refused at once");
    let (status, _) = gateway
        .ask(&owner, "GET", &format!("{path}/settings"), Value::Null)
        .await;
    assert_eq!(status, 404);
    gateway.wa.recover();
    nothing_is_left(&gateway).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_the_wa_server_lost_can_be_removed_with_all_that_hangs_on_it() {
    let (gateway, owner) = start(false).await;
    let (_, made) = gateway.ask(&owner, "POST", NEW, body()).await;
    gateway
        .sql(
            "INSERT INTO contacts (tenant_id, session, jid, raw) SELECT tenant_id, id, 'a@s.whatsapp.net', '{}' FROM sessions; \
             INSERT INTO message_usage (tenant_id, session, day, message_type) SELECT tenant_id, id, '2026-01-01', 'text' FROM sessions",
        )
        .await;
    gateway.wa.lose_users();
    let path = format!("{NEW}/{}", made["session"]["session_id"].as_str().unwrap());
    let (status, answer) = gateway.ask(&owner, "DELETE", &path, Value::Null).await;
    assert_eq!((status, &answer["success"]), (200, &json!(true)));
    nothing_is_left(&gateway).await;
    assert_eq!(gateway.count("SELECT count(*) FROM contacts").await, 0);
    assert_eq!(gateway.count("SELECT count(*) FROM message_usage").await, 0);
    gateway.stop().await;
}

/// The second order's wishes count, whatever the first one's are and whenever its call arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_order_has_its_own_wishes() {
    let (gateway, owner) = start(false).await;
    let first = json!({
        "session_name": "desa-a", "webhook_url": "https://hook.invalid/first", "events": "Message",
        "history": 5, "expiration_sec": 60, "hmac_key": "the-first-orders-key-of-32-characters",
    });
    let key = "the-second-orders-key-of-32-characters";
    let second = json!({
        "session_name": "desa-a", "webhook_url": "https://hook.invalid/second", "events": "QR", "hmac_key": key,
    });
    for arrives_late in [false, true] {
        gateway.wa.fail("POST", "/admin/users", Fault::LostAnswer, 1);
        gateway.wa.fail("GET", "/admin/users", Fault::Hang, 1);
        let (status, _) = gateway.ask(&owner, "POST", NEW, first.clone()).await;
        assert_eq!((status, gateway.wa.users().len()), (502, 1));
        if arrives_late {
            // As if the first order's user were made only after the second order looked for it.
            gateway.wa.fail("GET", "/admin/users", Fault::Nobody, 1);
        }
        let (status, answer) = gateway.ask(&owner, "POST", NEW, second.clone()).await;
        assert_eq!(status, 201, "{answer}");
        let session = &answer["session"];
        let user = gateway.wa.user("desa-a");
        assert_eq!(
            (
                &user["webhook"],
                &user["events"],
                &user["hmacKey"],
                &user["token"]
            ),
            (
                &json!("https://hook.invalid/second"),
                &json!("QR"),
                &json!(key),
                &session["session_token"]
            )
        );
        // What is nothing is not told at all.
        assert_eq!(
            (&user["history"], &user["expiration"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(
            (
                &session["session_id"],
                &session["webhook_url"],
                &session["history"]
            ),
            (&user["id"], &user["webhook"], &json!(0))
        );
        assert_eq!(gateway.wa.users().len(), 1);
        let path = format!("{NEW}/{}", session["session_id"].as_str().unwrap());
        assert_eq!(gateway.ask(&owner, "DELETE", &path, Value::Null).await.0, 200);
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_free_again_even_when_the_removal_of_its_session_was_not_finished() {
    let (gateway, owner) = start(false).await;
    let (_, made) = gateway.ask(&owner, "POST", NEW, body()).await;
    let old = made["session"].clone();
    let path = format!("{NEW}/{}", old["session_id"].as_str().unwrap());
    gateway
        .wa
        .fail("DELETE", "/admin/users", Fault::Status(500), 10_000);
    assert_eq!(gateway.ask(&owner, "DELETE", &path, Value::Null).await.0, 502);

    // As long as the WA server does not let it go, that is what is wrong.
    let (status, answer) = gateway.ask(&owner, "POST", NEW, body()).await;
    assert_eq!((status, &answer["code"]), (502, &json!("upstream_refused")));
    let stranger = gateway.owner("desa-b", 1).await;
    let (status, answer) = gateway.ask(&stranger, "POST", NEW, body()).await;
    assert_eq!((status, &answer["code"]), (409, &json!("session_name_taken")));

    gateway.wa.recover();
    let (status, answer) = gateway.ask(&owner, "POST", NEW, body()).await;
    assert_eq!(status, 201, "{answer}");
    let user = gateway.wa.user("desa-a");
    assert_eq!(answer["session"]["session_id"], user["id"]);
    assert!(user["id"] != old["session_id"] && user["token"] != old["session_token"]);
    assert_eq!(gateway.count("SELECT count(*) FROM sessions").await, 1);
    gateway.stop().await;
}
