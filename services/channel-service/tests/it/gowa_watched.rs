//! A GoWA's devices are looked after: those that drop come back, those whose phone logged them out are given up at once,
//! those whose webhook is not ours any more are told it again.

use channel_service::flows::register_device::{NewDeviceAccount, register};
use domain::endpoint::EndpointName;
use domain::ids::{AccountId, TenantId};
use reqwest::Method;
use serde_json::{Value, json};
use simulator::{GowaConfigChange, GowaInbound, GowaWebhook, NewGowaDevice};
use test_support::{eventually, logs};

use crate::gowa_world::{self, Device, RARA, device};
use crate::harness::{TestApp, Wishes};

const NUMBER: &str = "628111000001";
const AUTHORIZATION: &str = "Basic a2FuYWw6cGFzc3dvcmQtb2YtZ293YQ==";

/// Looks every 300 ms.
const OFTEN: [(&str, &str); 2] = [("SESSION_WATCH", "on"), ("SESSION_LOOK_MS", "300")];

async fn spawn(settings: &[(&'static str, &'static str)]) -> TestApp {
    let all = OFTEN.iter().chain(settings).copied();
    let app = TestApp::with(Wishes {
        events_come_here: true,
        settings: Vec::leak(all.chain([gowa_world::ENDPOINTS]).collect()),
        ..Wishes::default()
    })
    .await;
    app.never_log("password-of-gowa");
    app.simulator.configure_gowa(GowaConfigChange {
        basic_auth: Some("kanal:password-of-gowa".to_owned()),
        auto_login: Some(false),
        ..GowaConfigChange::default()
    });
    app
}

/// A device that is up, and is brought back a second after it dropped.
async fn watched_device(app: &TestApp, tenant: &str, id: &str, number: &str) -> Device {
    let made = device(app, tenant, id, number).await;
    app.run_sql(&format!(
        "INSERT INTO tenant_whatsapp_config \
             (tenant_id, id, endpoint_name, reconnect_interval, health_check_interval) \
         VALUES ('{tenant}', gen_random_uuid(), 'Toko', 1, 5)"
    ))
    .await;
    eventually("its number is known", || async {
        let phone = format!(
            "SELECT phone AS value FROM accounts WHERE id = '{}' AND status = 'connected'",
            made.account
        );
        (app.values(&phone).await == [json!(number)]).then_some(())
    })
    .await;
    made
}

async fn watched(app: &TestApp, account: AccountId) -> Value {
    app.rows(&format!(
        "SELECT attempts, gave_up, deaf_reason, reattachments, fence, down_since IS NOT NULL AS down \
         FROM session_watch WHERE account_id = '{account}'"
    ))
    .await
    .remove(0)
}

async fn until_watched(
    app: &TestApp,
    account: AccountId,
    what: &str,
    holds: impl Fn(&Value) -> bool,
) -> Value {
    eventually(what, || async {
        let row = watched(app, account).await;
        holds(&row).then_some(row)
    })
    .await
}

/// Waits until the device was looked at this many times more, whenever it was due.
async fn looks(app: &TestApp, account: AccountId, times: i64) {
    let before = watched(app, account).await["fence"].as_i64().unwrap();
    eventually("it was looked at", || async {
        app.run_sql("UPDATE session_watch SET look_at = now() WHERE held_until IS NULL")
            .await;
        (watched(app, account).await["fence"].as_i64().unwrap() >= before + times).then_some(())
    })
    .await;
}

/// How often something was asked of a device.
fn calls(app: &TestApp, device: &str, act: &str) -> usize {
    let path = format!("/gowa/devices/{device}/{act}");
    let requests = app.simulator.requests();
    requests.iter().filter(|request| request.path == path).count()
}

/// Somebody changes something at the server itself.
async fn at_the_server(app: &TestApp, method: Method, path: &str, body: &Value) {
    let answer = app
        .http()
        .request(method, format!("{}/gowa{path}", app.simulator.base_url()))
        .header("authorization", AUTHORIZATION)
        .json(body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200, "{path}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_drops_comes_back_and_one_that_no_phone_knows_is_given_up_at_once() {
    let app = spawn(&[]).await;
    let toko = watched_device(&app, "desa-satu", "toko-1", NUMBER).await;
    let up = |id: &'static str| {
        let app = &app;
        move || async move {
            let devices = app.simulator.gowa_devices();
            devices
                .iter()
                .any(|device| device.id == id && device.logged_in)
                .then_some(())
        }
    };
    app.simulator.cut_gowa("toko-1");
    until_watched(&app, toko.account, "it is known to be down", |row| {
        row["down"] == true
    })
    .await;
    eventually("it is back", up("toko-1")).await;
    until_watched(&app, toko.account, "the outage is over", |row| {
        row["down"] == false
    })
    .await;
    assert_eq!(calls(&app, "toko-1", "reconnect"), 1);

    // The phone logs one out, and another one is taken off the server altogether.
    let gone = watched_device(&app, "desa-dua", "toko-2", "628111000002").await;
    app.simulator.unlink_gowa("toko-1");
    at_the_server(&app, Method::DELETE, "/devices/toko-2", &Value::Null).await;
    for device in [&toko, &gone] {
        let row = until_watched(&app, device.account, "it is given up", |row| {
            row["gave_up"] == "not_paired"
        })
        .await;
        assert_eq!(row["attempts"], 0, "at once");
        looks(&app, device.account, 3).await;
        let acts = "SELECT detail AS value FROM audit_log WHERE action = 'session.give_up' AND tenant_id = ";
        let acts = app.values(&format!("{acts}'{}'", device.tenant)).await;
        assert_eq!(acts, [json!("not_paired")], "said once");
    }
    assert_eq!(calls(&app, "toko-1", "reconnect"), 1, "nobody tried");
    assert_eq!(calls(&app, "toko-1", "login"), 0);
    assert!(logs::hold("a session is not brought back any more"));

    // A person with the phone helps.
    let path = "/whatsapp/connect?village_id=desa-satu";
    assert_eq!(app.internal(Method::POST, path, None).await.status, 200);
    app.simulator
        .scan_gowa("toko-1", Some(format!("{NUMBER}:2@s.whatsapp.net")))
        .unwrap();
    until_watched(&app, toko.account, "it is taken up again", |row| {
        row["gave_up"] == Value::Null
    })
    .await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_whose_webhook_is_not_ours_any_more_is_told_it_again() {
    let app = spawn(&[]).await;
    let toko = watched_device(&app, "desa-satu", "toko-1", NUMBER).await;
    looks(&app, toko.account, 3).await;
    let row = watched(&app, toko.account).await;
    assert_eq!(
        (&row["reattachments"], &row["deaf_reason"]),
        (&json!(0), &Value::Null),
        "nothing is missing"
    );
    let ours = format!("{}/webhook/gowa/Toko", app.url);
    let told = |url: &str, secret: &str, events: &str| json!({"webhook_url": url, "webhook_secret": secret, "webhook_events": events});
    for lost in [
        told("https://elsewhere.example/hook", &toko.key, ""),
        told("", &toko.key, ""),
        told(&ours, &toko.key, "message,call.offer"),
        told(&ours, "somebody-elses-key", ""),
    ] {
        at_the_server(&app, Method::PATCH, "/devices/toko-1/webhook", &lost).await;
        until_watched(&app, toko.account, "it is told again", |row| {
            row["reattachments"] == 1 && row["deaf_reason"] == Value::Null
        })
        .await;
        let there: GowaWebhook = app.simulator.gowa_devices().remove(0).webhook.unwrap();
        assert_eq!(
            (there.webhook_url, there.webhook_secret),
            (ours.clone(), toko.key.clone()),
            "{lost}"
        );
        assert!(there.webhook_events.contains("message.ack"), "{lost}");
        // The next one is no repetition of this.
        app.run_sql("UPDATE session_watch SET reattached_at = NULL, reattachments = 0")
            .await;
    }
    looks(&app, toko.account, 3).await;
    assert_eq!(
        watched(&app, toko.account).await["reattachments"],
        0,
        "all is well"
    );
    // The endpoint's own key is as good as the device's.
    let shared = told(&ours, gowa_world::ENDPOINT_SECRET, "");
    at_the_server(&app, Method::PATCH, "/devices/toko-1/webhook", &shared).await;
    looks(&app, toko.account, 3).await;
    assert_eq!(watched(&app, toko.account).await["reattachments"], 0);
    assert_eq!(calls(&app, "toko-1", "reconnect"), 0, "it was up all the time");
    // One without a key of its own may be served by what the server does for all devices.
    app.simulator.create_gowa_device(NewGowaDevice {
        id: "toko-9".to_owned(),
        ..NewGowaDevice::default()
    });
    let new = NewDeviceAccount {
        tenant: TenantId::parse("desa-dua").unwrap(),
        endpoint: EndpointName::parse("Toko").unwrap(),
        device: "toko-9".to_owned(),
        webhook_key: None,
    };
    let plain = register(&app.direct, &app.routes, &app.keys, new).await.unwrap();
    looks(&app, plain, 3).await;
    assert_eq!(watched(&app, plain).await["reattachments"], 0);
    app.simulator
        .gowa_inbound(&GowaInbound {
            device: "toko-1".to_owned(),
            from: RARA.to_owned(),
            text: Some("terdengar".to_owned()),
            ..GowaInbound::default()
        })
        .unwrap();
    eventually("the message is here", || async {
        (app.count("messages WHERE body = 'terdengar'").await == 1).then_some(())
    })
    .await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_take_our_password_says_nothing_about_devices_and_is_unhealthy() {
    let app = spawn(&[
        ("ENDPOINT_CHECKS", "on"),
        ("ENDPOINT_CHECK_SHORTEST_MS", "100"),
        // Of what the devices' own calls find, the checks know nothing yet.
        ("ENDPOINT_CHECK_MS", "5000"),
    ])
    .await;
    let toko = watched_device(&app, "desa-tertolak", "toko-1", NUMBER).await;
    let health = |status: &'static str| {
        let app = &app;
        async move {
            eventually(&format!("the endpoint is {status}"), || async {
                let query = "SELECT status, reason FROM endpoint_health WHERE endpoint = 'Toko'";
                let row = app.rows(query).await.into_iter().next()?;
                (row["status"] == status).then(|| row["reason"].clone())
            })
            .await
        }
    };
    health("healthy").await;
    let password = |password: &str| {
        app.simulator.configure_gowa(GowaConfigChange {
            basic_auth: Some(password.to_owned()),
            ..GowaConfigChange::default()
        });
    };
    password("kanal:another-password");
    // People are told why, by the log and by the endpoint's health.
    eventually("the reason is in the log", || async {
        let lines = logs::lines_with("a session's server did not say where it stands");
        lines
            .iter()
            .any(|line| line.contains("desa-tertolak") && line.contains("provider_refused"))
            .then_some(())
    })
    .await;
    assert_eq!(health("unhealthy").await, "key_refused");
    let row = watched(&app, toko.account).await;
    assert_eq!(
        (&row["down"], &row["gave_up"], &row["deaf_reason"]),
        (&json!(false), &Value::Null, &Value::Null)
    );
    password("kanal:password-of-gowa");
    health("healthy").await;
    assert_eq!(calls(&app, "toko-1", "reconnect"), 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_is_paired_anew_is_looked_after_without_anybody_connecting_it() {
    let app = spawn(&[]).await;
    let toko = watched_device(&app, "desa-satu", "toko-1", NUMBER).await;
    let call = |method: Method, route: &'static str| {
        let path = format!("/whatsapp/{route}?village_id=desa-satu");
        let app = &app;
        async move { app.internal(method, &path, None).await }
    };
    let kept_off = || async {
        let row = format!(
            "SELECT kept_off AS value FROM session_watch WHERE account_id = '{}'",
            toko.account
        );
        app.values(&row).await
    };
    assert_eq!(call(Method::POST, "logout").await.status, 200);
    assert_eq!(kept_off().await, [json!(true)]);
    for (method, route) in [(Method::GET, "qr"), (Method::POST, "pairphone")] {
        app.run_sql("UPDATE session_watch SET kept_off = true").await;
        eventually("a code to pair with", || async {
            let body = (route == "pairphone").then(|| json!({"Phone": NUMBER}));
            let path = format!("/whatsapp/{route}?village_id=desa-satu");
            app.internal(method.clone(), &path, body.as_ref()).await;
            (kept_off().await == [json!(false)]).then_some(())
        })
        .await;
    }
    app.finish().await;
}
