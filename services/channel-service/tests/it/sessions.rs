//! `/internal/whatsapp/*`, row by row (contract channel-service 1.5).

use reqwest::Method;
use serde_json::{Value, json};
use simulator::{FaultSpec, WaConfigChange};
use test_support::eventually;

use crate::harness::{Answer, INTERNAL_KEY, LIMITED_KEY, Maker, TestApp, Wishes, refusal};

/// Every route, with a body that is right but for the village.
const ROUTES: [(Method, &str); 11] = [
    (Method::POST, "session"),
    (Method::DELETE, "session"),
    (Method::GET, "status"),
    (Method::POST, "connect"),
    (Method::GET, "qr"),
    (Method::POST, "disconnect"),
    (Method::POST, "logout"),
    (Method::POST, "pairphone"),
    (Method::GET, "settings"),
    (Method::PATCH, "settings"),
    (Method::POST, "force-disconnect"),
];

async fn spawn(maker: Maker) -> TestApp {
    TestApp::with(Wishes {
        maker,
        ..Wishes::default()
    })
    .await
}

fn path(route: &str, village: &str) -> String {
    format!("/whatsapp/{route}?village_id={village}")
}

/// A call as the dashboard makes it: the village in the query, no body at all.
async fn call(app: &TestApp, method: Method, route: &str, village: &str) -> Answer {
    app.internal(method, &path(route, village), None).await
}

/// The data of an answer that must be a success.
async fn data(app: &TestApp, method: Method, route: &str, village: &str) -> Value {
    let answer = call(app, method, route, village).await;
    assert_eq!(answer.status, 200, "{route}: {}", answer.text);
    let mut body = answer.json();
    assert_eq!(body["success"], true, "{route}");
    body["data"].take()
}

fn assert_failed(answer: &Answer, status: u16, code: &str, text: &str) {
    answer.assert_error(status, code);
    let body = answer.json();
    assert_eq!(
        (&body["success"], &body["error"]),
        (&json!(false), &json!(text)),
        "{}",
        answer.text
    );
}

async fn until_logged_in(app: &TestApp, village: &str) {
    eventually("the session is logged in", || async {
        let status = data(app, Method::GET, "status", village).await;
        (status["loggedIn"] == true).then_some(())
    })
    .await;
}

async fn acts(app: &TestApp, village: &str) -> Vec<Value> {
    app.values(&format!(
        "SELECT action AS value FROM audit_log WHERE tenant_id = '{village}' ORDER BY id"
    ))
    .await
}

async fn lives_and_dies(maker: Maker) {
    let app = spawn(maker).await;
    let none = json!({"exists": false, "connected": false, "loggedIn": false, "wa_number": null});
    assert_eq!(data(&app, Method::GET, "status", "desa-satu").await, none);

    let body = json!({"village_id": "desa-satu", "admin_id": "admin-7", "village_slug": "Desa Satu"});
    let made = app.internal(Method::POST, "/whatsapp/session", Some(&body)).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let user = app.simulator.wa_users().remove(0);
    app.never_log(&user.token);
    assert_eq!(
        made.json(),
        json!({"success": true, "data": {"existing": false, "session_id": user.id}})
    );
    let again = app.internal(Method::POST, "/whatsapp/session", Some(&body)).await;
    assert_eq!(again.json(), json!({"success": true, "data": {"existing": true}}));
    assert_eq!(
        (user.name.as_str(), user.webhook.as_str(), user.events.as_str()),
        ("desa-satu", "https://channel.example/webhook", "All")
    );
    assert!(user.signs_webhooks && user.connected);

    until_logged_in(&app, "desa-satu").await;
    let status = data(&app, Method::GET, "status", "desa-satu").await;
    let jid = app.simulator.wa_users().remove(0).jid;
    let number = jid.split(':').next().unwrap();
    assert_eq!(
        status,
        json!({
            "connected": true, "loggedIn": true, "jid": jid, "qrcode": "", "name": "desa-satu", "events": "All",
            "webhook": "https://channel.example/webhook", "wa_number": number,
        })
    );
    let row = app
        .rows("SELECT status, phone, last_connected_at IS NOT NULL AS seen FROM accounts")
        .await
        .remove(0);
    assert_eq!(row, json!({"status": "connected", "phone": number, "seen": true}));
    assert_eq!(
        app.count("channel_accounts").await,
        0,
        "a learned number makes no row"
    );

    let qr = data(&app, Method::GET, "qr", "desa-satu").await;
    assert_eq!(qr, json!({"QRCode": "", "alreadyLoggedIn": true}));
    let again = data(&app, Method::POST, "connect", "desa-satu").await;
    assert_eq!(again, json!({"details": "Already connected"}));
    let off = data(&app, Method::POST, "disconnect", "desa-satu").await;
    assert_eq!(off, json!({"details": "Disconnected"}));
    let status = data(&app, Method::GET, "status", "desa-satu").await;
    assert_eq!(
        (&status["connected"], &status["wa_number"]),
        (&json!(false), &json!(number))
    );
    assert_eq!(
        app.values("SELECT status AS value FROM accounts").await,
        ["disconnected"]
    );
    assert_failed(
        &call(&app, Method::GET, "qr", "desa-satu").await,
        500,
        "no_session",
        "Session not connected. Please connect first.",
    );
    assert_failed(
        &call(&app, Method::POST, "disconnect", "desa-satu").await,
        500,
        "no_session",
        "no session",
    );
    let on = data(&app, Method::POST, "connect", "desa-satu").await;
    assert_eq!(on, json!({"details": "Connected!"}));
    until_logged_in(&app, "desa-satu").await;
    let out = data(&app, Method::POST, "logout", "desa-satu").await;
    assert_eq!(out, json!({"details": "Logged out"}));
    assert_eq!(app.simulator.wa_users().len(), 1, "a logout leaves the session");

    // The switches of a village that has some are turned off with its session; its account and chats stay.
    let on = json!({"wa_number": number, "enabled_wa": true, "enabled_webchat": true});
    app.internal(Method::PUT, "/channel-accounts/desa-satu", Some(&on))
        .await;
    let deleted = data(&app, Method::DELETE, "session", "desa-satu").await;
    assert_eq!(deleted, json!({"deleted": true}));
    assert!(app.simulator.wa_users().is_empty());
    let switches = app
        .rows("SELECT wa_number, enabled_wa, enabled_webchat FROM channel_accounts")
        .await;
    assert_eq!(
        switches,
        [json!({"wa_number": "", "enabled_wa": false, "enabled_webchat": true})]
    );
    let account = app
        .rows("SELECT session_id, token_sealed, webhook_keys_sealed, phone, session_via FROM accounts")
        .await;
    assert_eq!(
        account,
        [
            json!({"session_id": null, "token_sealed": null, "webhook_keys_sealed": [], "phone": null, "session_via": null})
        ]
    );
    assert_eq!(
        app.count("tenant_directory").await,
        0,
        "no name leads to it any more"
    );
    let deleted = data(&app, Method::DELETE, "session", "desa-satu").await;
    assert_eq!(deleted, json!({"deleted": false}));
    assert_eq!(data(&app, Method::GET, "status", "desa-satu").await, none);

    assert_eq!(
        acts(&app, "desa-satu").await,
        [
            "tenant.create",
            "session.create",
            "session.connect",
            "session.disconnect",
            "session.connect",
            "session.logout",
            "channel_account.set",
            "session.delete"
        ]
    );
    let actor = app
        .values("SELECT actor AS value FROM audit_log WHERE action = 'session.create'")
        .await;
    assert_eq!(actor, ["internal: admin-7"]);
    // And it can begin anew.
    let made = data(&app, Method::POST, "session", "desa-satu").await;
    assert_eq!(made["existing"], false);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_lives_and_dies_at_the_gateway() {
    lives_and_dies(Maker::Gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_lives_and_dies_at_the_server() {
    lives_and_dies(Maker::Server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_paired_by_scanning_or_typing() {
    let app = spawn(Maker::Server).await;
    app.simulator.configure_wa(WaConfigChange {
        auto_login: Some(false),
        ..WaConfigChange::default()
    });
    data(&app, Method::POST, "session", "desa-satu").await;
    let status = data(&app, Method::GET, "status", "desa-satu").await;
    assert_eq!(
        (&status["connected"], &status["loggedIn"], &status["wa_number"]),
        (&json!(true), &json!(false), &Value::Null)
    );
    let qr = data(&app, Method::GET, "qr", "desa-satu").await;
    assert!(
        qr["QRCode"]
            .as_str()
            .unwrap()
            .starts_with("data:image/png;base64,")
    );
    assert_eq!(qr.get("alreadyLoggedIn"), None);

    let pair = |body: Value| {
        let app = &app;
        async move {
            app.internal(Method::POST, &path("pairphone", "desa-satu"), Some(&body))
                .await
        }
    };
    let required = "Phone number is required";
    for nothing in [json!({}), json!({"Phone": ""}), json!({"phone": "6281"})] {
        assert_failed(&pair(nothing).await, 400, "phone_required", required);
    }
    pair(json!({"Phone": "zero"}))
        .await
        .assert_error(400, "phone_invalid");
    pair(json!({"Phone": 628}))
        .await
        .assert_error(400, "invalid_field");
    let paired = pair(json!({"Phone": "+6281100000009"})).await;
    assert_eq!(
        paired.json(),
        json!({"success": true, "data": {"LinkingCode": "ABCD-EFGH"}})
    );
    // A provider's own text is the answer's text; something in between keeps its troubles to itself.
    app.simulator
        .add_fault(FaultSpec::on_path("/wa/session/pairphone", refusal(400, "already paired", None)).times(1))
        .unwrap();
    assert_failed(
        &pair(json!({"Phone": "6281100000009"})).await,
        500,
        "already_logged_in",
        "already paired",
    );
    app.simulator
        .add_fault(
            FaultSpec::on_path(
                "/wa/session/pairphone",
                refusal(502, "dial tcp 10.0.0.7:8080", None),
            )
            .times(1),
        )
        .unwrap();
    assert_failed(
        &pair(json!({"Phone": "6281100000009"})).await,
        500,
        "provider_silent",
        "WhatsApp provider is not available",
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_village_or_a_session_the_texts_are_those_the_dashboard_compares() {
    let app = spawn(Maker::Server).await;
    for (method, route) in ROUTES {
        let answer = app
            .internal(method.clone(), &format!("/whatsapp/{route}"), None)
            .await;
        assert_failed(&answer, 400, "village_id_required", "village_id diperlukan");
        let answer = call(&app, method, route, "desa%20satu").await;
        assert_eq!(answer.json()["success"], false);
        answer.assert_error(400, "invalid_village_id");
    }
    for (method, route) in [
        (Method::POST, "connect"),
        (Method::GET, "qr"),
        (Method::POST, "disconnect"),
        (Method::POST, "logout"),
    ] {
        let answer = call(&app, method, route, "desa-satu").await;
        assert_failed(&answer, 404, "session_not_found", "Session belum dibuat");
    }
    let body = json!({"Phone": "6281100000009", "village_id": "desa-satu"});
    let answer = app
        .internal(Method::POST, "/whatsapp/pairphone", Some(&body))
        .await;
    assert_failed(&answer, 404, "session_not_found", "Session belum dibuat");
    assert_eq!(app.count("tenants").await, 0, "asking registers nobody");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_village_is_in_the_query_the_body_or_the_header_in_this_order() {
    let app = spawn(Maker::Server).await;
    data(&app, Method::POST, "session", "desa-satu").await;
    let exists = |query: &'static str, body: Option<&'static str>, header: Option<&'static str>| {
        let url = format!("{}/internal/whatsapp/status{query}", app.url);
        let mut request = app.http().get(url).header("x-internal-api-key", INTERNAL_KEY);
        if let Some(body) = body {
            request = request.json(&json!({"village_id": body}));
        }
        if let Some(header) = header {
            request = request.header("x-village-id", header);
        }
        async move {
            let body = Answer::of(request.send().await.unwrap()).await.json();
            body["data"].get("exists").is_none()
        }
    };
    assert!(exists("?village_id=desa-satu", Some("desa-dua"), Some("desa-dua")).await);
    assert!(exists("", Some("desa-satu"), Some("desa-dua")).await);
    assert!(exists("", None, Some("desa-satu")).await);
    assert!(!exists("?village_id=desa-dua", Some("desa-satu"), Some("desa-satu")).await);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_and_keys_of_other_villages_get_nowhere() {
    let app = spawn(Maker::Server).await;
    data(&app, Method::POST, "session", "desa-dua").await;
    let before = app.simulator.requests().len();
    for (method, route) in ROUTES {
        let url = format!("{}/internal{}", app.url, path(route, "desa-dua"));
        let stranger = app.http().request(method.clone(), url).send().await.unwrap();
        Answer::of(stranger).await.assert_error(401, "api_key_missing");
        let answer = app
            .internal_as(LIMITED_KEY, method, &path(route, "desa-dua"), None)
            .await;
        answer.assert_error(403, "not_your_village");
        assert_eq!(answer.json()["success"], false);
    }
    let asked = path("check-duplicate", "desa-dua") + "&wa_number=6281100000001";
    app.internal_as(LIMITED_KEY, Method::GET, &asked, None)
        .await
        .assert_error(403, "not_your_village");
    assert_eq!(app.simulator.requests().len(), before);
    assert_eq!(app.simulator.wa_users().len(), 1);
    // Its own village is open to it.
    let own = app
        .internal_as(LIMITED_KEY, Method::POST, &path("session", "desa-satu"), None)
        .await;
    assert_eq!(own.status, 200, "{}", own.text);
    assert_eq!(app.simulator.wa_users().len(), 2);
    // Not what others have: it names its own village and aims at another.
    let aimed = json!({"target_village_id": "desa-dua"});
    app.internal_as(
        LIMITED_KEY,
        Method::POST,
        &path("force-disconnect", "desa-satu"),
        Some(&aimed),
    )
    .await
    .assert_error(403, "not_your_village");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_body_is_no_body_whatever_its_type() {
    let app = spawn(Maker::Server).await;
    let send = |method: Method, route: &'static str, json: bool| {
        let url = format!("{}/internal{}", app.url, path(route, "desa-satu"));
        let mut request = app
            .http()
            .request(method, url)
            .header("x-internal-api-key", INTERNAL_KEY);
        if json {
            request = request.header("content-type", "application/json").body("");
        }
        async move { Answer::of(request.send().await.unwrap()).await }
    };
    for json in [false, true] {
        for (method, route) in [
            (Method::POST, "session"),
            (Method::POST, "connect"),
            (Method::POST, "disconnect"),
            (Method::PATCH, "settings"),
            (Method::DELETE, "session"),
        ] {
            let answer = send(method.clone(), route, json).await;
            assert_eq!(answer.status, 200, "{method} {route} {json}: {}", answer.text);
        }
    }
    let url = format!("{}/internal{}", app.url, path("session", "desa-satu"));
    let broken = app
        .http()
        .post(url)
        .header("x-internal-api-key", INTERNAL_KEY)
        .header("content-type", "application/json")
        .body("{")
        .send()
        .await
        .unwrap();
    Answer::of(broken).await.assert_error(400, "invalid_json");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_each_villages_own() {
    let app = spawn(Maker::Nobody).await;
    let both = json!({"autoReadMessages": true, "typingIndicator": true});
    assert_eq!(data(&app, Method::GET, "settings", "desa-satu").await, both);
    let set = |village: &'static str, body: Value| {
        let app = &app;
        async move {
            app.internal(Method::PATCH, &path("settings", village), Some(&body))
                .await
        }
    };
    let changed = set(
        "desa-satu",
        json!({"autoReadMessages": false, "typingIndicator": null}),
    )
    .await;
    assert_eq!(
        changed.json(),
        json!({"success": true, "data": {"autoReadMessages": false, "typingIndicator": true}})
    );
    set("desa-satu", json!({"typingIndicator": false, "other": 1})).await;
    assert_eq!(
        data(&app, Method::GET, "settings", "desa-satu").await,
        json!({"autoReadMessages": false, "typingIndicator": false})
    );
    assert_eq!(data(&app, Method::GET, "settings", "desa-dua").await, both);
    set("desa-satu", json!({"autoReadMessages": "yes"}))
        .await
        .assert_error(400, "invalid_field");
    assert_eq!(
        acts(&app, "desa-satu").await,
        ["tenant.create", "session_settings.set", "session_settings.set"]
    );
    app.finish().await;
}

/// Two villages with a session each; the phone of `desa-dua` is that of `desa-satu` when `same`.
async fn two_villages(app: &TestApp, same: bool) -> String {
    for village in ["desa-satu", "desa-dua"] {
        data(app, Method::POST, "session", village).await;
        until_logged_in(app, village).await;
    }
    if same {
        app.run_sql(&format!(
            "UPDATE {schema}.accounts SET phone = '6281100000009'",
            schema = app.database.names.schema
        ))
        .await;
    }
    app.values("SELECT phone AS value FROM accounts WHERE tenant_id = 'desa-dua'")
        .await[0]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_else_holds_a_number_is_told_by_id_only() {
    let app = spawn(Maker::Server).await;
    let number = two_villages(&app, false).await;
    let ask = |village: &'static str, number: String| {
        let app = &app;
        async move {
            let path = path("check-duplicate", village) + "&wa_number=" + &number;
            app.internal(Method::GET, &path, None).await
        }
    };
    let no = json!({"success": true, "data": {"isDuplicate": false}});
    assert_eq!(ask("desa-dua", number.clone()).await.json(), no, "its own");
    assert_eq!(ask("desa-satu", "6289999999999".to_owned()).await.json(), no);
    assert_eq!(ask("desa-satu", "x".to_owned()).await.json(), no);
    assert_eq!(
        ask("desa-satu", number.clone()).await.json(),
        json!({"success": true, "data": {
            "isDuplicate": true, "existingVillageId": "desa-dua", "existingVillageName": "desa-dua"}})
    );
    let answer = ask("desa-satu", String::new()).await;
    assert_failed(&answer, 400, "wa_number_required", "wa_number diperlukan");
    // One that is not connected holds nothing.
    data(&app, Method::POST, "disconnect", "desa-dua").await;
    assert_eq!(ask("desa-satu", number).await.json(), no);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_villages_session_is_ended_only_when_it_holds_the_same_number() {
    let app = spawn(Maker::Server).await;
    let force = |target: Option<&'static str>| {
        let app = &app;
        let body = json!({"target_village_id": target});
        async move {
            app.internal(Method::POST, &path("force-disconnect", "desa-satu"), Some(&body))
                .await
        }
    };
    assert_failed(
        &force(None).await,
        400,
        "target_village_id_required",
        "target_village_id diperlukan",
    );
    assert_failed(
        &force(Some("desa-dua")).await,
        404,
        "target_session_not_found",
        "Target village session tidak ditemukan",
    );
    two_villages(&app, false).await;
    force(Some("desa-dua")).await.assert_error(403, "numbers_differ");
    force(Some("desa-satu")).await.assert_error(403, "numbers_differ");
    assert_eq!(app.simulator.wa_users().len(), 2);
    app.run_sql(&format!(
        "UPDATE {}.accounts SET phone = '6281100000009'",
        app.database.names.schema
    ))
    .await;
    let done = force(Some("desa-dua")).await;
    assert_eq!(
        done.json(),
        json!({"success": true, "data": {"message": "Session dari desa/kelurahan lain berhasil diputuskan"}})
    );
    assert_eq!(app.simulator.wa_users().len(), 1);
    assert_eq!(
        data(&app, Method::GET, "status", "desa-dua").await["exists"],
        false
    );
    assert_eq!(
        acts(&app, "desa-dua").await.last().unwrap(),
        "session.force_delete"
    );
    assert_eq!(
        acts(&app, "desa-satu").await.last().unwrap(),
        "session.force_disconnect"
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_answers_everything_and_touches_nothing() {
    let app = TestApp::with(Wishes {
        maker: Maker::Server,
        dry_run: true,
        ..Wishes::default()
    })
    .await;
    let made = data(&app, Method::POST, "session", "desa-satu").await;
    assert_eq!(made, json!({"existing": false, "session_id": null}));
    let status = data(&app, Method::GET, "status", "desa-satu").await;
    assert_eq!(
        status,
        json!({"connected": false, "loggedIn": false, "jid": "", "qrcode": "", "name": "dry-run",
               "events": "All", "webhook": "", "wa_number": null})
    );
    for (route, details) in [
        ("connect", "Connected (dry-run)"),
        ("disconnect", "Disconnected (dry-run)"),
        ("logout", "Logged out (dry-run)"),
    ] {
        assert_eq!(
            data(&app, Method::POST, route, "desa-satu").await,
            json!({"details": details})
        );
    }
    let qr = data(&app, Method::GET, "qr", "desa-satu").await;
    assert_eq!(qr, json!({"QRCode": "dry-run-qr-not-available"}));
    let body = json!({"Phone": "6281100000009"});
    let paired = app
        .internal(Method::POST, &path("pairphone", "desa-satu"), Some(&body))
        .await;
    assert_eq!(paired.json()["data"], json!({"LinkingCode": "DRYRUN-CODE"}));

    // Sending, too: the message counts as sent and no phone has it.
    let desa = app.tenant("desa-dua").await;
    app.order(&desa, "6281290000011", "kering").await;
    app.until_status("kering", "sent").await;
    assert!(app.texts_on("6281290000011").is_empty());
    let typing = json!({"village_id": "desa-dua", "wa_user_id": "6281290000011"});
    let shown = app.internal(Method::POST, "/typing", Some(&typing)).await.json();
    assert_eq!(shown["note"], Value::Null, "{shown}");

    assert_eq!(
        data(&app, Method::DELETE, "session", "desa-satu").await,
        json!({"deleted": true})
    );
    assert!(app.simulator.requests().is_empty());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_without_a_token_sends_with_the_one_for_all() {
    let token = format!("wat_{}", uuid::Uuid::now_v7().simple());
    let app = TestApp::with(Wishes {
        access_token: token.clone(),
        ..Wishes::default()
    })
    .await;
    app.simulator
        .create_wa_session(simulator::NewSession {
            name: "bersama".to_owned(),
            token: Some(token.clone()),
            ..simulator::NewSession::default()
        })
        .unwrap();
    app.never_log(&token);
    app.bare_tenant("desa-satu").await;
    let account = app.values("SELECT id AS value FROM accounts").await.remove(0);
    let account = account.as_str().unwrap().parse().unwrap();
    let order = crate::harness::order(account, "6281290000011", "bersama");
    app.publish("desa-satu", &order).await;
    app.until_status("bersama", "sent").await;
    assert_eq!(app.texts_on("6281290000011"), ["bersama"]);
    // It is no session of the village's.
    assert_eq!(
        data(&app, Method::GET, "status", "desa-satu").await["exists"],
        false
    );
    app.finish().await;
}
