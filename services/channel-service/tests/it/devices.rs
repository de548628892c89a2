//! A tenant's devices: made, limited, used side by side, removed.

use std::time::Duration;

use domain::ids::AccountId;
use domain::user::Role;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::{FaultKind, FaultSpec, Inbound, WaConfigChange};
use test_support::eventually;
use uuid::Uuid;

use crate::harness::{Answer, Maker, TestApp, Wishes, order, refusal};
use crate::signing_in::{ask, bearer_of};

/// A village's admin at their dashboard.
pub(crate) struct Desk<'a> {
    pub(crate) app: &'a TestApp,
    pub(crate) bearer: String,
}

impl<'a> Desk<'a> {
    pub(crate) async fn open(app: &'a TestApp, village: &str, limit: u32) -> Self {
        app.bare_tenant(village).await;
        app.run_sql(&format!(
            "UPDATE {}.tenants SET session_limit = {limit} WHERE tenant_id = '{village}'",
            app.database.names.schema
        ))
        .await;
        let email = format!("{}@desa.id", Uuid::now_v7().simple());
        let bearer = bearer_of(app, &email, Role::TenantAdmin, Some(village)).await;
        Self { app, bearer }
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let path = format!("/whatsapp/devices{path}");
        ask(self.app, method, &path, &[("authorization", &self.bearer)], body).await
    }

    /// Makes a device and gives its id.
    pub(crate) async fn add(&self, name: &str) -> String {
        let made = self.call(Method::POST, "", Some(json!({"name": name}))).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let device = made.json()["device"].take();
        assert_eq!(device["name"], name);
        device["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn device(&self, id: &str) -> Value {
        let answer = self.call(Method::GET, &format!("/{id}"), None).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["device"].take()
    }

    pub(crate) async fn until(&self, id: &str, status: &str) -> Value {
        eventually(&format!("the device is {status}"), || async {
            let device = self.device(id).await;
            (device["status"] == status).then_some(device)
        })
        .await
    }
}

pub(crate) async fn spawn(maker: Maker, settings: &'static [(&'static str, &'static str)]) -> TestApp {
    let app = TestApp::with(Wishes {
        maker,
        events_come_here: true,
        settings,
        ..Wishes::default()
    })
    .await;
    scanning_by_hand(&app);
    app
}

fn scanning_by_hand(app: &TestApp) {
    app.simulator.configure_wa(WaConfigChange {
        auto_login: Some(false),
        ..WaConfigChange::default()
    });
}

/// What a device's session is called at the server.
async fn instance_of(app: &TestApp, id: &str) -> String {
    let names = app
        .values(&format!(
            "SELECT instance_name AS value FROM accounts WHERE id = '{id}'"
        ))
        .await;
    names[0].as_str().unwrap().to_owned()
}

pub(crate) async fn scan(app: &TestApp, id: &str, number: &str) {
    let session = instance_of(app, id).await;
    app.simulator
        .scan_qr(&session, Some(format!("{number}:5@s.whatsapp.net")))
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_at_once_make_as_many_devices_as_there_may_be() {
    let app = spawn(Maker::Server, &[]).await;
    let desk = Desk::open(&app, "desa-satu", 3).await;
    let answers = join_all((0..20).map(|_| desk.call(Method::POST, "", None))).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    for refused in answers.iter().filter(|answer| answer.status != 201) {
        refused.assert_error(409, "device_limit");
    }
    assert_eq!(made, 3);
    assert_eq!(app.simulator.wa_users().len(), 3);
    assert_eq!(app.count("accounts").await, 3, "what was refused left nothing");
    assert_eq!(app.count("session_intents").await, 0);
    let all = desk.call(Method::GET, "", None).await.json();
    assert_eq!((&all["count"], &all["limit"]), (&json!(3), &json!(3)));
    let primaries: Vec<bool> = all["devices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|device| device["is_primary"].as_bool().unwrap())
        .collect();
    assert_eq!(primaries, [true, false, false]);

    // A place that was left can be taken.
    let id = all["devices"][1]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        desk.call(Method::DELETE, &format!("/{id}"), None).await.status,
        200
    );
    let answers = join_all((0..5).map(|_| desk.call(Method::POST, "", None))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert_eq!(app.simulator.wa_users().len(), 3);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_villages_device_is_nowhere() {
    // Nothing is told here of what goes on at the server: whatever is written or asked meanwhile is the calls' doing.
    let app = TestApp::with(Wishes {
        maker: Maker::Server,
        ..Wishes::default()
    })
    .await;
    scanning_by_hand(&app);
    let ours = Desk::open(&app, "desa-satu", 1).await;
    let theirs = Desk::open(&app, "desa-dua", 1).await;
    let id = theirs.add("Punya Dua").await;
    let before = app.rows("SELECT * FROM accounts ORDER BY id").await;
    let asked = app.simulator.requests().len();
    let named = json!({"name": "Punya kami"});
    let phone = json!({"phone": "6281200000009"});
    for id in [id.as_str(), "bukan-id", "00000000-0000-7000-8000-000000000000"] {
        for (method, path, body) in [
            (Method::GET, "", None),
            (Method::PATCH, "", Some(named.clone())),
            (Method::DELETE, "", None),
            (Method::POST, "/connect", None),
            (Method::GET, "/qr", None),
            (Method::POST, "/pair", Some(phone.clone())),
            (Method::POST, "/disconnect", None),
            (Method::POST, "/logout", None),
        ] {
            let answer = ours.call(method.clone(), &format!("/{id}{path}"), body).await;
            answer.assert_error(404, "device_not_found");
        }
        let stream = Answer::of(ours.stream(id).await).await;
        stream.assert_error(404, "device_not_found");
    }
    assert_eq!(app.rows("SELECT * FROM accounts ORDER BY id").await, before);
    assert_eq!(
        app.simulator.requests().len(),
        asked,
        "and nobody was asked about it"
    );
    assert_eq!(ours.call(Method::GET, "", None).await.json()["count"], 0);

    // A superadmin names the village, by either name.
    let root = bearer_of(&app, "super@kanal.id", Role::Superadmin, None).await;
    let root = Desk {
        app: &app,
        bearer: root,
    };
    root.call(Method::GET, "", None)
        .await
        .assert_error(400, "village_id_required");
    for query in ["?village_id=desa-dua", "?tenant_id=desa-dua"] {
        let found = root.call(Method::GET, &format!("/{id}{query}"), None).await;
        assert_eq!(found.json()["device"]["name"], "Punya Dua", "{}", found.text);
        let all = root.call(Method::GET, query, None).await;
        assert_eq!(all.json()["count"], 1);
    }
    root.call(Method::GET, "?tenant_id=desa-dua&village_id=desa-satu", None)
        .await
        .assert_error(400, "two_villages");
    root.call(Method::GET, &format!("/{id}?village_id=desa-satu"), None)
        .await
        .assert_error(404, "device_not_found");
    for (method, path) in [(Method::GET, ""), (Method::POST, "")] {
        root.call(method, &format!("{path}?village_id=desa-tiga"), None)
            .await
            .assert_error(404, "village_not_found");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_is_checked() {
    let app = spawn(Maker::Server, &[]).await;
    let desk = Desk::open(&app, "desa-satu", 1).await;
    for (body, code) in [
        (json!({"name": "x".repeat(101)}), "invalid_field"),
        (json!({"name": " "}), "invalid_field"),
        (json!({"name": "a\nb"}), "invalid_field"),
        (json!({"name": 7}), "invalid_field"),
        (json!({"nama": "Kantor"}), "unknown_field"),
        (json!({"name": "Kantor", "endpoint": "Primary"}), "unknown_field"),
    ] {
        desk.call(Method::POST, "", Some(body))
            .await
            .assert_error(400, code);
    }
    assert!(app.simulator.wa_users().is_empty());
    let id = desk.add("Kantor").await;
    let path = format!("/{id}");
    for (body, code) in [
        (None, "name_required"),
        (Some(json!({"name": null})), "name_required"),
        (Some(json!({"name": ""})), "invalid_field"),
        (Some(json!({"is_primary": true})), "unknown_field"),
    ] {
        desk.call(Method::PATCH, &path, body)
            .await
            .assert_error(400, code);
    }
    let renamed = desk
        .call(Method::PATCH, &path, Some(json!({"name": "  Balai Desa "})))
        .await;
    assert_eq!(renamed.json()["device"]["name"], "Balai Desa", "{}", renamed.text);
    let pair = format!("/{id}/pair");
    for (body, code) in [
        (json!({}), "phone_required"),
        (json!({"phone": "nol"}), "phone_invalid"),
        (json!({"Phone": "6281200000009"}), "unknown_field"),
    ] {
        desk.call(Method::POST, &pair, Some(body))
            .await
            .assert_error(400, code);
    }
    let code = desk
        .call(Method::POST, &pair, Some(json!({"phone": "+6281200000009"})))
        .await;
    assert_eq!(code.json(), json!({"code": "ABCD-EFGH"}));
    let acts = app
        .values("SELECT action AS value FROM audit_log WHERE actor LIKE 'user %' ORDER BY id")
        .await;
    assert_eq!(acts, ["session.create", "device.rename", "session.pair_phone"]);
    app.finish().await;
}

async fn connected(desk: &Desk<'_>, name: &str, number: &str) -> String {
    let id = desk.add(name).await;
    scan(desk.app, &id, number).await;
    desk.until(&id, "connected").await;
    id
}

fn account(id: &str) -> AccountId {
    AccountId::from_uuid(id.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_devices_write_and_read_side_by_side_and_the_first_stays_the_first() {
    let app = spawn(Maker::Gateway, &[]).await;
    let desk = Desk::open(&app, "desa-satu", 2).await;
    let first = connected(&desk, "Satu", "6281200000001").await;
    let switches = json!({"wa_number": "6281200000001", "enabled_wa": true, "enabled_webchat": true});
    app.internal(Method::PUT, "/channel-accounts/desa-satu", Some(&switches))
        .await;
    let second = connected(&desk, "Dua", "6281200000002").await;
    let (first_session, second_session) = (instance_of(&app, &first).await, instance_of(&app, &second).await);

    for (id, reference) in [(&first, "dari-satu"), (&second, "dari-dua")] {
        app.publish("desa-satu", &order(account(id), "6281290000011", reference))
            .await;
        app.until_status(reference, "sent").await;
    }
    for (session, text) in [(&first_session, "dari-satu"), (&second_session, "dari-dua")] {
        let sends = app.simulator.wa_sends(Some(session));
        assert_eq!(sends.len(), 1, "{session}");
        assert!(format!("{:?}", sends[0]).contains(text), "{session}");
    }
    for (session, text) in [(&first_session, "ke satu"), (&second_session, "ke dua")] {
        app.simulator
            .inbound(&Inbound {
                session: session.clone(),
                from: "6281290000011".to_owned(),
                text: Some(text.to_owned()),
                ..Inbound::default()
            })
            .unwrap();
    }
    for (id, text) in [(&first, "ke satu"), (&second, "ke dua")] {
        let query = format!("SELECT account_id AS value FROM messages WHERE body = '{text}'");
        let of = eventually("the message is here", || async {
            app.values(&query).await.into_iter().next()
        })
        .await;
        assert_eq!(of, json!(id));
    }

    // Whoever names no device means the first.
    let status = |app: &TestApp| {
        let path = "/whatsapp/status?village_id=desa-satu";
        let asked = app.http().get(format!("{}/internal{path}", app.url));
        let asked = asked
            .header("x-internal-api-key", crate::harness::INTERNAL_KEY)
            .send();
        async move { Answer::of(asked.await.unwrap()).await.json()["data"].take() }
    };
    assert_eq!(status(&app).await["wa_number"], "6281200000001");
    let number = "SELECT wa_number AS value FROM channel_accounts";
    assert_eq!(
        app.values(number).await,
        ["6281200000001"],
        "not the second one's"
    );

    // The second goes, and nothing of the first with it.
    let removed = desk.call(Method::DELETE, &format!("/{second}"), None).await;
    assert_eq!(
        removed.json(),
        json!({"success": true, "status": "removed"}),
        "{}",
        removed.text
    );
    desk.call(Method::GET, &format!("/{second}"), None)
        .await
        .assert_error(404, "device_not_found");
    assert_eq!(status(&app).await["wa_number"], "6281200000001");
    let switched = app
        .rows("SELECT wa_number, enabled_wa FROM channel_accounts")
        .await;
    assert_eq!(
        switched,
        [json!({"wa_number": "6281200000001", "enabled_wa": true})]
    );
    let leads = app
        .values("SELECT DISTINCT subject_id AS value FROM tenant_directory WHERE tenant_id = 'desa-satu'")
        .await;
    assert_eq!(leads, [json!(first)], "names lead to the first only");
    assert_eq!(app.simulator.wa_users().len(), 1);
    assert_eq!(app.count("accounts").await, 2, "the second one's chats stay");
    assert_eq!(app.count("chats").await, 2);

    // Another one is another device; when the first one's session goes, the first account stays the first.
    let third = connected(&desk, "Tiga", "6281200000003").await;
    assert_ne!(third, second);
    let deleted = app
        .internal(Method::DELETE, "/whatsapp/session?village_id=desa-satu", None)
        .await;
    assert_eq!(deleted.json()["data"]["deleted"], true);
    assert_eq!(status(&app).await["exists"], false);
    assert_eq!(desk.device(&third).await["is_primary"], false);
    let again = connected(&desk, "Satu lagi", "6281200000004").await;
    assert_eq!(again, first, "the first account gets the next session");
    assert_eq!(status(&app).await["wa_number"], "6281200000004");
    assert_eq!(desk.device(&again).await["is_primary"], true);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_gone_here_only_when_it_is_gone_there() {
    let app = spawn(Maker::Server, &[]).await;
    let desk = Desk::open(&app, "desa-satu", 2).await;
    desk.add("Satu").await;
    let id = desk.add("Dua").await;
    let mut fault = FaultSpec::on_path("/wa/admin/users/", refusal(500, "database error", None));
    fault.method = Some("DELETE".to_owned());
    let fault = app.simulator.add_fault(fault).unwrap();
    let path = format!("/{id}");
    for _ in 0..2 {
        let later = desk.call(Method::DELETE, &path, None).await;
        assert_eq!(
            (later.status, later.json()),
            (202, json!({"success": true, "status": "removing"})),
            "{}",
            later.text
        );
    }
    assert_eq!(desk.device(&id).await["status"], "removing");
    desk.call(Method::POST, &format!("/{id}/connect"), None)
        .await
        .assert_error(409, "device_removing");
    desk.call(Method::POST, "", None)
        .await
        .assert_error(409, "device_limit");
    let sessions = crate::sessions_made::sweeper(&app, Maker::Server);
    assert_eq!(
        sessions.sweep_devices(Duration::from_secs(600)).await.unwrap(),
        0,
        "too young"
    );
    assert_eq!(
        sessions.sweep_devices(Duration::ZERO).await.unwrap(),
        0,
        "still there"
    );
    assert_eq!(app.simulator.wa_users().len(), 2);
    app.simulator.remove_fault(fault);
    assert_eq!(sessions.sweep_devices(Duration::ZERO).await.unwrap(), 1);
    assert_eq!(sessions.sweep_devices(Duration::ZERO).await.unwrap(), 0);
    assert_eq!(app.simulator.wa_users().len(), 1);
    desk.call(Method::GET, &path, None)
        .await
        .assert_error(404, "device_not_found");
    assert_eq!(app.count("accounts").await, 1, "nobody ever wrote over it");
    assert_eq!(app.count("tenant_directory").await, 2, "the first one's names");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_was_left_half_made_is_finished_or_taken_back() {
    let app = spawn(Maker::Server, &[]).await;
    let desk = Desk::open(&app, "desa-satu", 3).await;
    let first = desk.add("Satu").await;
    let lost = || {
        let mut fault = FaultSpec::on_path("/wa/admin/users", FaultKind::LostAnswer).times(1);
        fault.method = Some("POST".to_owned());
        // The look for it fails as well, or it would be found at once.
        app.simulator.add_fault(fault).unwrap();
    };
    lost();
    let failed = desk.call(Method::POST, "", Some(json!({"name": "Dua"}))).await;
    failed.assert_error(502, "gateway_failed");
    assert_eq!(app.simulator.wa_users().len(), 2, "made, and nobody knows");
    let all = desk.call(Method::GET, "", None).await.json();
    assert_eq!(all["count"], 2);
    let half = &all["devices"][1];
    assert_eq!(
        (&half["name"], &half["status"]),
        (&json!("Dua"), &json!("creating"))
    );
    // The next wish is the same device.
    let second = desk.add("Dua").await;
    assert_eq!(half["id"], second);
    assert_eq!(app.simulator.wa_users().len(), 2);

    // Connecting goes on with it, too.
    lost();
    desk.call(Method::POST, "", Some(json!({"name": "Tiga"})))
        .await
        .assert_error(502, "gateway_failed");
    let all = desk.call(Method::GET, "", None).await.json();
    let third = all["devices"][2]["id"].as_str().unwrap().to_owned();
    desk.call(Method::GET, &format!("/{third}/qr"), None)
        .await
        .assert_error(409, "device_without_session");
    let on = desk.call(Method::POST, &format!("/{third}/connect"), None).await;
    assert_eq!(on.status, 200, "{}", on.text);
    desk.until(&third, "qr_waiting").await;
    assert_eq!(app.simulator.wa_users().len(), 3);
    assert_eq!(
        desk.call(Method::DELETE, &format!("/{third}"), None).await.status,
        200
    );

    // What nobody tries again is taken back, and the others stay.
    lost();
    desk.call(Method::POST, "", Some(json!({"name": "Empat"})))
        .await
        .assert_error(502, "gateway_failed");
    assert_eq!(app.simulator.wa_users().len(), 3);
    let sweeper = crate::sessions_made::sweeper(&app, Maker::Server);
    assert_eq!(sweeper.sweep(Duration::ZERO).await.unwrap(), 1);
    assert_eq!(app.simulator.wa_users().len(), 2);
    assert_eq!(app.count("accounts").await, 2);
    for id in [&first, &second] {
        assert_eq!(desk.device(id).await["status"], "qr_waiting");
    }
    app.finish().await;
}
