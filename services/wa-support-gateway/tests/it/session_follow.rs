//! What the gateway takes from calls through the proxy: a connect repeats what the WA server forgets (contract §9.1), a
//! status is noted on the row of the token (§8.6, W-25).

use serde_json::{Value, json};
use simulator::{Simulator, SimulatorConfig};
use test_support::eventually;

use crate::support::{Fault, Gateway, Owner};

const HOOK: &str = "https://hook.invalid/a";

async fn session(gateway: &Gateway, owner: &Owner, more: Value) -> Value {
    let mut body = json!({"session_name": owner.id, "webhook_url": HOOK, "events": "Message,QR"});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    let (status, made) = gateway.ask(owner, "POST", "/v1/sessions", body).await;
    assert_eq!(status, 201, "{made}");
    made["session"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connect_is_followed_by_what_the_wa_server_forgets() {
    let gateway = Gateway::start().await;
    let owner = gateway.owner("desa-a", 1).await;
    let made = session(&gateway, &owner, json!({})).await;
    let token = made["session_token"].as_str().unwrap();
    let key = gateway.wa.user("desa-a")["hmacKey"].clone();
    gateway.wa.change_user("desa-a", |user| {
        user["events"] = json!("Message");
        user["hmacKey"] = Value::Null;
        user["webhook"] = json!("");
    });
    gateway.wa.forget();
    // It has a bad moment right then, before the connect and after it.
    gateway.wa.fail("POST", "/session/hmac", Fault::Status(500), 2);
    let connect = gateway
        .client
        .post(gateway.url("/v1/wa/session/connect"))
        .header("token", token);
    let answer = connect
        .json(&json!({"Subscribe": ["Message", "ReadReceipt"], "Immediate": true}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    eventually("the WA server knows it all again", || async {
        let user = gateway.wa.user("desa-a");
        let right = user["events"] == "Message,QR" && user["webhook"] == HOOK && user["hmacKey"] == key;
        let due = gateway
            .count("SELECT count(*) FROM sessions WHERE upkeep_due IS NOT NULL")
            .await;
        (right && due == 0).then_some(())
    })
    .await;
    let calls = gateway.wa.calls();
    for call in [
        "POST /session/hmac/config",
        "POST /session/s3/config",
        "PUT /webhook",
    ] {
        assert!(calls.iter().any(|made| made == call), "{call} in {calls:?}");
    }

    // The key comes before the session, so that its first events are signed.
    let first = |call: &str| calls.iter().position(|made| made == call).unwrap();
    assert!(
        first("POST /session/hmac/config") < first("POST /session/connect"),
        "{calls:?}"
    );

    // One that was refused changes nothing there, so nothing is repeated.
    gateway.wa.forget();
    let connect = gateway
        .client
        .post(gateway.url("/wa/session/connect"))
        .header("token", token);
    assert_eq!(connect.body("{}").send().await.unwrap().status(), 500);
    assert_eq!(
        gateway
            .count("SELECT count(*) FROM sessions WHERE upkeep_due IS NOT NULL")
            .await,
        0
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_connected_at_once_where_that_is_wanted() {
    let gateway = Gateway::start().await;
    let owner = gateway.owner("desa-a", 1).await;
    session(&gateway, &owner, json!({"auto_connect": true})).await;
    let connect = eventually("it is connected", || async {
        let seen = gateway.wa.seen();
        seen.into_iter()
            .find(|seen| seen.target.ends_with("/session/connect"))
    })
    .await;
    assert_eq!(
        connect.json,
        json!({"Subscribe": ["Message", "QR"], "Immediate": true})
    );
    eventually("and signed", || async {
        let calls = gateway.wa.calls();
        let connected = calls.iter().position(|call| call == "POST /session/connect")?;
        calls[connected..]
            .iter()
            .any(|call| call == "PUT /webhook")
            .then_some(())
    })
    .await;
    gateway.stop().await;
}

/// With a WA server that behaves like the real one: signed events and the right list after a connect by somebody who
/// asked for other events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_simulators_wa_server_signs_after_a_connect_through_the_proxy() {
    test_support::install_crypto_provider();
    let simulator = Simulator::start(SimulatorConfig::for_tests()).await.unwrap();
    let url = format!("{}/wa", simulator.base_url());
    let gateway = Gateway::start_with(|settings| {
        use runtime::config::Setting as _;
        settings.wa_server.url = runtime::config::BaseUrl::from_text(&url).unwrap();
        settings.admin_token = "simulator-admin-token".into();
    })
    .await;
    let owner = gateway.owner("desa-a", 1).await;
    let made = session(&gateway, &owner, json!({})).await;
    let token = made["session_token"].as_str().unwrap();
    let connect = gateway
        .client
        .post(gateway.url("/v1/wa/session/connect"))
        .header("token", token);
    let answer = connect
        .json(&json!({"Subscribe": ["Message"], "Immediate": true}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let status = eventually("the session is told of everything and paired", || async {
        let call = gateway
            .client
            .get(gateway.url("/wa/session/status"))
            .header("token", token);
        let status: Value = call.send().await.ok()?.json().await.ok()?;
        let data = status["data"].clone();
        let right =
            data["events"] == "Message,QR" && data["webhook"] == HOOK && data["hmac_configured"] == true;
        (right && data["loggedIn"] == true).then_some(data)
    })
    .await;
    let listed = eventually("the row knows it", || async {
        // Asked again, because a row is written at most once a second.
        let call = gateway
            .client
            .get(gateway.url("/wa/session/status"))
            .header("token", token);
        call.send().await.ok()?;
        let (_, listed) = gateway.ask(&owner, "GET", "/v1/sessions", Value::Null).await;
        (listed["sessions"][0]["logged_in"] == true).then_some(listed["sessions"][0].clone())
    })
    .await;
    assert_eq!(
        (&listed["status"], &listed["connected"], &listed["jid"]),
        (&json!("connected"), &json!(true), &status["jid"])
    );
    assert_eq!(listed["session_name"], "desa-a");
    assert_eq!(listed["session_token"], "");

    let path = format!("/v1/sessions/{}/settings", made["session_id"].as_str().unwrap());
    let (status, answer) = gateway
        .ask(
            &owner,
            "PUT",
            &path,
            json!({"webhook_url": "https://hook.invalid/new", "events": "All"}),
        )
        .await;
    assert_eq!(status, 200, "{answer}");
    let call = gateway
        .client
        .get(gateway.url("/wa/webhook"))
        .header("token", token);
    let kept: Value = call.send().await.unwrap().json().await.unwrap();
    assert_eq!(
        kept["data"],
        json!({"webhook": "https://hook.invalid/new", "subscribe": ["All"]})
    );
    let (status, _) = gateway
        .ask(&owner, "PUT", &path, json!({"webhook_url": ""}))
        .await;
    assert_eq!(status, 200);
    let path = format!("/v1/sessions/{}", made["session_id"].as_str().unwrap());
    assert_eq!(gateway.ask(&owner, "DELETE", &path, Value::Null).await.0, 200);
    assert!(simulator.wa_users().is_empty());
    gateway.stop().await;
    simulator.stop().await;
}

/// The WA server may say anything: what counts is whose token was shown. And it is not asked more often because of us.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_of_another_session_changes_only_the_row_of_the_token() {
    let gateway = Gateway::start().await;
    let (one, two) = (gateway.owner("desa-a", 1).await, gateway.owner("desa-b", 1).await);
    let (mine, theirs) = (
        session(&gateway, &one, json!({})).await,
        session(&gateway, &two, json!({})).await,
    );
    gateway.wa.say_status(json!({
        "id": theirs["session_id"], "name": "desa-b", "token": theirs["session_token"], "connected": true,
        "loggedIn": false, "jid": "62811@s.whatsapp.net",
    }));
    let token = mine["session_token"].as_str().unwrap();
    let call = gateway
        .client
        .get(gateway.url("/wa/session/status"))
        .header("token", token);
    let passed: Value = call.send().await.unwrap().json().await.unwrap();
    assert_eq!(
        passed["data"]["id"], theirs["session_id"],
        "the answer passes as it is"
    );
    let listed = eventually("the status is noted", || async {
        let (_, listed) = gateway.ask(&one, "GET", "/v1/sessions", Value::Null).await;
        (listed["sessions"][0]["status"] == "qr_waiting").then_some(listed["sessions"][0].clone())
    })
    .await;
    assert_eq!(
        (&listed["session_id"], &listed["session_name"], &listed["jid"]),
        (
            &mine["session_id"],
            &json!("desa-a"),
            &json!("62811@s.whatsapp.net")
        )
    );
    let (_, listed) = gateway.ask(&two, "GET", "/v1/sessions", Value::Null).await;
    assert_eq!(
        (&listed["sessions"][0]["status"], &listed["sessions"][0]["jid"]),
        (&json!("created"), &json!(""))
    );
    assert_eq!(
        gateway.count("SELECT count(*) FROM sessions").await,
        2,
        "none was added"
    );
    gateway.stop().await;
}
