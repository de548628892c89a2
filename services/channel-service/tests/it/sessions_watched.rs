//! Many dialogs watch a session (contract channel-service 9.D8, 9.D9), and what the provider forgets is told again.

use reqwest::Method;
use serde_json::{Value, json};
use simulator::{FaultKind, FaultSpec, RawEvent, WaConfigChange};
use test_support::eventually;

use crate::harness::{Maker, TestApp, Wishes, refusal, text};

const STATUS: &str = "/whatsapp/status?village_id=desa-satu";
const CONNECT: &str = "/whatsapp/connect?village_id=desa-satu";

async fn spawn(maker: Maker) -> TestApp {
    TestApp::with(Wishes {
        maker,
        events_come_here: true,
        ..Wishes::default()
    })
    .await
}

async fn post(app: &TestApp, route: &str) -> Value {
    let path = format!("/whatsapp/{route}?village_id=desa-satu");
    let answer = app.internal(Method::POST, &path, None).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

fn calls(app: &TestApp, path: &str) -> usize {
    app.simulator
        .requests()
        .iter()
        .filter(|request| request.path == path)
        .count()
}

async fn account(app: &TestApp) -> Value {
    app.rows("SELECT status, phone, last_connected_at IS NOT NULL AS seen FROM accounts")
        .await
        .remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_dialogs_cost_a_call_or_two() {
    let app = spawn(Maker::Server).await;
    post(&app, "session").await;
    for (path, call) in [
        (STATUS, "/wa/session/status"),
        ("/whatsapp/qr?village_id=desa-satu", "/wa/session/qr"),
    ] {
        // Slow enough that all of them ask while the first is still waiting.
        let slow = app
            .simulator
            .add_fault(FaultSpec::on_path(call, FaultKind::Delay { ms: 1500 }))
            .unwrap();
        let (begun, before) = (std::time::Instant::now(), calls(&app, call));
        let polls = (0..200).map(|_| app.internal(Method::GET, path, None));
        for answer in futures_util::future::join_all(polls).await {
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
        let (cost, passed) = (calls(&app, call) - before, begun.elapsed());
        // One after the other, however long the two hundred take to ask.
        let most = 2 + usize::try_from(passed.as_millis()).unwrap() / 2500;
        assert!((1..=most).contains(&cost), "{call}: {cost} within {passed:?}");
        app.simulator.remove_fault(slow);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_cannot_be_asked_says_nothing_about_the_session() {
    let app = spawn(Maker::Server).await;
    post(&app, "session").await;
    let number = eventually("the number is known", || async {
        let row = account(&app).await;
        (row["status"] == "connected" && row["phone"].is_string()).then(|| row["phone"].clone())
    })
    .await;
    for kind in [
        FaultKind::Cut,
        refusal(500, "database error", None),
        FaultKind::Status {
            status: 200,
            body: Some(json!("not json")),
            retry_after: None,
        },
    ] {
        let fault = app
            .simulator
            .add_fault(FaultSpec::on_path("/wa/session/status", kind.clone()))
            .unwrap();
        eventually("nobody can tell", || async {
            let status = app.internal(Method::GET, STATUS, None).await.json();
            let unknown = json!({"connected": false, "loggedIn": false, "wa_number": number});
            (status == json!({"success": true, "data": unknown})).then_some(())
        })
        .await;
        assert_eq!(account(&app).await["status"], "connected", "{kind:?}");
        app.simulator.remove_fault(fault);
        eventually("it can be asked again", || async {
            let status = app.internal(Method::GET, STATUS, None).await.json();
            (status["data"]["loggedIn"] == true).then_some(())
        })
        .await;
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_asked_too_often_is_left_alone_for_a_while() {
    let app = spawn(Maker::Server).await;
    post(&app, "session").await;
    let body = json!({"village_id": "desa-dua"});
    app.internal(Method::POST, "/whatsapp/session", Some(&body)).await;
    let limited = refusal(429, "rate limit exceeded", None);
    app.simulator
        .add_fault(FaultSpec::on_path("/wa/session/status", limited).times(1))
        .unwrap();
    let status = app.internal(Method::GET, STATUS, None).await.json();
    assert_eq!(
        status["data"],
        json!({"connected": false, "loggedIn": false, "wa_number": status["data"]["wa_number"]})
    );
    // For all tenants, and for codes to scan too: the gateway counts by our address.
    let before = (calls(&app, "/wa/session/status"), calls(&app, "/wa/session/qr"));
    let path = "/whatsapp/status?village_id=desa-dua";
    let other = app.internal(Method::GET, path, None).await.json();
    assert_eq!(other["data"].get("jid"), None, "not asked");
    let qr = app
        .internal(Method::GET, "/whatsapp/qr?village_id=desa-dua", None)
        .await;
    qr.assert_error(500, "qr_failed");
    assert_eq!(qr.json()["error"], "rate limit exceeded");
    let after = (calls(&app, "/wa/session/status"), calls(&app, "/wa/session/qr"));
    assert_eq!(after, before);
    eventually("it is asked again", || async {
        let status = app.internal(Method::GET, STATUS, None).await.json();
        (status["data"]["loggedIn"] == true).then_some(())
    })
    .await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_tell_without_being_asked() {
    let app = spawn(Maker::Server).await;
    app.simulator.configure_wa(WaConfigChange {
        auto_login: Some(false),
        ..WaConfigChange::default()
    });
    post(&app, "session").await;
    let until = |status: &'static str| {
        let app = &app;
        async move {
            eventually(&format!("the account is {status}"), || async {
                let row = account(app).await;
                (row["status"] == status).then_some(row)
            })
            .await
        }
    };
    let polled = || calls(&app, "/wa/session/status");
    assert_eq!(polled(), 0, "a creation needs no poll");
    // Also the very first event is signed: an unsigned one would have been refused.
    until("qr_waiting").await;
    app.simulator
        .scan_qr("desa-satu", Some("6281100000009:12@s.whatsapp.net".to_owned()))
        .unwrap();
    // Two events tell it, and they come in any order.
    let whole = json!({"status": "connected", "phone": "6281100000009", "seen": true});
    eventually("the account is connected, and its number known", || async {
        (account(&app).await == whole).then_some(())
    })
    .await;
    let emit = |kind: &str, event: Value| {
        let event = RawEvent {
            session: "desa-satu".to_owned(),
            kind: kind.to_owned(),
            event,
            extra: serde_json::Map::new(),
        };
        app.simulator.emit_wa_event(event).unwrap();
    };
    emit("Disconnected", json!({}));
    until("disconnected").await;
    emit("Connected", json!({}));
    until("connected").await;
    emit("LoggedOut", json!({"OnConnect": false, "Reason": 401}));
    let row = until("logged_out").await;
    assert_eq!(
        (&row["phone"], &row["seen"]),
        (&json!("6281100000009"), &json!(true))
    );
    assert_eq!(polled(), 0);
    assert_eq!(app.count("channel_accounts").await, 0);
    assert_eq!(app.count("quarantine").await, 0);
    assert!(
        app.simulator
            .wa_deliveries()
            .iter()
            .all(simulator::DeliveryAttempt::accepted)
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learned_number_shows_where_a_row_is_and_switches_nothing() {
    let app = spawn(Maker::Server).await;
    let off = json!({"enabled_wa": false, "enabled_webchat": true});
    app.internal(Method::PUT, "/channel-accounts/desa-satu", Some(&off))
        .await;
    post(&app, "session").await;
    let row = eventually("the number shows", || async {
        let row = app
            .rows("SELECT wa_number, enabled_wa, enabled_webchat FROM channel_accounts")
            .await
            .remove(0);
        (row["wa_number"] != "").then_some(row)
    })
    .await;
    assert_eq!(
        (&row["enabled_wa"], &row["enabled_webchat"]),
        (&json!(false), &json!(true))
    );
    app.finish().await;
}

async fn connecting_tells_again(maker: Maker) {
    let app = spawn(maker).await;
    post(&app, "session").await;
    let forgets = || async {
        // What a server that lost its memory, and a disconnect, leave behind.
        post(&app, "disconnect").await;
        app.simulator.restart_wa_server();
        let user = app.simulator.wa_users().remove(0);
        assert_eq!((user.events.as_str(), user.signs_webhooks), ("", false));
    };
    forgets().await;
    post(&app, "connect").await;
    let user = app.simulator.wa_users().remove(0);
    assert_eq!(
        (user.events.as_str(), user.webhook),
        ("All", format!("{}/webhook", app.url))
    );
    assert!(user.signs_webhooks);
    // And so what people write arrives, signed.
    app.simulator
        .inbound(&simulator::Inbound {
            session: user.id.clone(),
            ..serde_json::from_value(json!({"session": user.id, "from": "6281290000011", "text": "halo"}))
                .unwrap()
        })
        .unwrap();
    eventually("the message is here", || async {
        (app.count("messages").await == 1).then_some(())
    })
    .await;

    // A session that is up already is told all the same.
    let (hmac, webhook) = match maker {
        Maker::Gateway => ("/support/v1/wa/session/hmac/config", "/support/v1/wa/webhook"),
        _ => ("/wa/session/hmac/config", "/wa/webhook"),
    };
    let before = (calls(&app, hmac), calls(&app, webhook));
    assert_eq!(
        post(&app, "connect").await["data"]["details"],
        "Already connected"
    );
    assert!(calls(&app, hmac) > before.0 && calls(&app, webhook) > before.1);

    // When it cannot be told, people hear of it.
    let prefix = webhook.trim_end_matches("/webhook");
    app.simulator
        .add_fault(
            FaultSpec::on_path(format!("{prefix}/webhook"), refusal(500, "database error", None)).times(1),
        )
        .unwrap();
    let failed = app.internal(Method::POST, CONNECT, None).await;
    failed.assert_error(500, "provider_refused");
    assert_eq!(failed.json()["error"], "database error");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connecting_tells_the_server_again_what_it_forgot() {
    connecting_tells_again(Maker::Server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connecting_tells_it_through_the_gateway_too() {
    connecting_tells_again(Maker::Gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_was_removed_is_nobodys_and_nobody_can_use_its_name() {
    let app = spawn(Maker::Server).await;
    post(&app, "session").await;
    let user = app.simulator.wa_users().remove(0);
    app.internal(Method::DELETE, "/whatsapp/session?village_id=desa-satu", None)
        .await;
    let mut late = text("6281290000011", "3EB0LATE", "terlambat");
    late["instanceName"] = json!("desa-satu");
    for session in [Value::Null, json!(user.id)] {
        late["userID"] = session;
        eventually("the name is forgotten", || async {
            let answer = app.post(&crate::harness::Webhook::json(&late)).await;
            (answer.json()["message"] == "Unknown instance").then_some(())
        })
        .await;
    }
    assert_eq!(app.count("messages").await, 0);
    app.finish().await;
}
