//! A tenant's devices: made, paired, limited, used side by side, removed.

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

    /// Watches the device being paired.
    pub(crate) async fn watch(&self, id: &str) -> Watching {
        let response = self.stream(id).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Watching {
            response,
            read: String::new(),
        }
    }

    /// The same, as soon as there is a place for another one.
    async fn free_place(&self, id: &str) -> Watching {
        let response = eventually("there is a place", || async {
            let response = self.stream(id).await;
            (response.status() == 200).then_some(response)
        })
        .await;
        Watching {
            response,
            read: String::new(),
        }
    }

    async fn stream(&self, id: &str) -> reqwest::Response {
        let request = self
            .app
            .http()
            .get(format!("{}/api/whatsapp/devices/{id}/qr", self.app.url))
            // Of all of the stream: each of its events has its own.
            .timeout(Duration::from_secs(300))
            .header("authorization", &self.bearer)
            .header("accept", "text/event-stream");
        request.send().await.unwrap()
    }
}

/// A stream of events, as a browser reads it.
pub(crate) struct Watching {
    response: reqwest::Response,
    read: String,
}

impl Watching {
    /// The next block. `None`: the stream has ended.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.read.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.read = rest;
                return Some(block);
            }
            let chunk = tokio::time::timeout(Duration::from_secs(60), self.response.chunk());
            let chunk = chunk.await.unwrap().unwrap()?;
            self.read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next event, its data read.
    pub(crate) async fn event(&mut self) -> Option<(String, Value)> {
        loop {
            let block = self.block().await?;
            if block.starts_with(':') {
                continue;
            }
            let (event, data) = block.split_once('\n').unwrap();
            let event = event.strip_prefix("event: ").unwrap().to_owned();
            let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            return Some((event, data));
        }
    }

    /// A code is shown.
    pub(crate) async fn code(&mut self) -> String {
        let (event, data) = self.event().await.unwrap();
        assert_eq!((event.as_str(), &data["status"]), ("qr", &json!("qr_waiting")));
        data["qr"].as_str().unwrap().to_owned()
    }

    /// It ends with the device logged in. A code may have been renewed before.
    pub(crate) async fn logged_in(mut self) -> Value {
        let (mut event, mut data) = self.event().await.unwrap();
        while event == "qr" {
            (event, data) = self.event().await.unwrap();
        }
        assert_eq!(event, "connected", "{data}");
        let (event, mut data) = self.event().await.unwrap();
        assert_eq!(event, "logged_in");
        assert_eq!(self.event().await, None, "the last word");
        data["device"].take()
    }
}

async fn spawn(maker: Maker, settings: &'static [(&'static str, &'static str)]) -> TestApp {
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

async fn scan(app: &TestApp, id: &str, number: &str) {
    let session = instance_of(app, id).await;
    app.simulator
        .scan_qr(&session, Some(format!("{number}:5@s.whatsapp.net")))
        .unwrap();
}

async fn pairs_while_somebody_looks_on(maker: Maker) {
    let app = spawn(maker, &[]).await;
    let desk = Desk::open(&app, "desa-satu", 2).await;
    let none = desk.call(Method::GET, "", None).await;
    assert_eq!(none.json(), json!({"devices": [], "count": 0, "limit": 2}));

    let id = desk.add("Kantor Desa").await;
    let waiting = desk.until(&id, "qr_waiting").await;
    assert_eq!(
        (
            &waiting["connected"],
            &waiting["logged_in"],
            &waiting["phone"],
            &waiting["is_primary"]
        ),
        (&json!(true), &json!(false), &Value::Null, &json!(true))
    );
    assert_eq!(
        (&waiting["provider"], &waiting["endpoint"], &waiting["jid"]),
        (&json!("genfity"), &json!("Primary"), &Value::Null)
    );
    let picture = desk.call(Method::GET, &format!("/{id}/qr"), None).await;
    assert_eq!(picture.headers["cache-control"], "no-store");
    assert_eq!(picture.json()["status"], "qr_waiting");

    let mut first = desk.watch(&id).await;
    let code = first.code().await;
    assert!(code.starts_with("data:image/png;base64,"), "{code}");
    assert_eq!(picture.json()["qr"], code);
    let mut second = desk.watch(&id).await;
    assert_eq!(second.code().await, code);
    scan(&app, &id, "6281200000001").await;
    for watching in [first, second] {
        let device = watching.logged_in().await;
        assert_eq!(
            (&device["id"], &device["status"], &device["phone"]),
            (&json!(id), &json!("connected"), &json!("6281200000001"))
        );
    }
    let device = desk.device(&id).await;
    assert_eq!(
        (&device["connected"], &device["logged_in"], &device["jid"]),
        (
            &json!(true),
            &json!(true),
            &json!("6281200000001:5@s.whatsapp.net")
        )
    );
    assert!(device["last_connected_at"].is_string());
    let picture = desk.call(Method::GET, &format!("/{id}/qr"), None).await;
    assert_eq!(picture.json(), json!({"qr": "", "status": "logged_in"}));
    // Whoever looks on now learns it at once.
    desk.watch(&id).await.logged_in().await;
    desk.call(
        Method::POST,
        &format!("/{id}/pair"),
        Some(json!({"phone": "6281200000001"})),
    )
    .await
    .assert_error(409, "already_logged_in");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_paired_while_people_look_on_at_the_gateway() {
    pairs_while_somebody_looks_on(Maker::Gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_paired_while_people_look_on_at_the_server() {
    pairs_while_somebody_looks_on(Maker::Server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_look_on_cost_one_call_a_second() {
    let app = spawn(Maker::Server, &[]).await;
    let desk = Desk::open(&app, "desa-satu", 1).await;
    let id = desk.add("Kantor").await;
    let asked = || {
        let requests = app.simulator.requests();
        requests
            .iter()
            .filter(|request| request.path.ends_with("/session/qr"))
            .count()
    };
    let mut watching = join_all((0..8).map(|_| desk.watch(&id))).await;
    for one in &mut watching {
        one.code().await;
    }
    let (begun, before) = (tokio::time::Instant::now(), asked());
    let calls = eventually("they look on", || async {
        let calls = asked() - before;
        (calls >= 3).then_some(calls)
    })
    .await;
    let seconds = begun.elapsed().as_secs();
    let most = usize::try_from(seconds).unwrap() + 2;
    assert!(calls <= most, "{calls} calls in {seconds} s");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_when_nothing_is_left_to_see() {
    let app = spawn(
        Maker::Server,
        &[
            ("QR_STREAMS_PER_TENANT", "2"),
            ("QR_STREAM_HEARTBEAT_SECONDS", "1"),
        ],
    )
    .await;
    let desk = Desk::open(&app, "desa-satu", 1).await;
    let id = desk.add("Kantor").await;
    // The codes ran out.
    let mut watching = desk.watch(&id).await;
    watching.code().await;
    assert_eq!(watching.block().await.unwrap(), ": still here");
    let off = desk.call(Method::POST, &format!("/{id}/disconnect"), None).await;
    assert_eq!(off.status, 200, "{}", off.text);
    let end = watching.event().await.unwrap();
    assert_eq!(end, ("expired".to_owned(), json!({"reason": "codes_ran_out"})));
    assert_eq!(watching.event().await, None);
    desk.call(Method::GET, &format!("/{id}/qr"), None)
        .await
        .assert_error(409, "no_session");
    let mut watching = desk.watch(&id).await;
    let end = watching.event().await.unwrap();
    assert_eq!(end, ("expired".to_owned(), json!({"reason": "not_running"})));

    // Those who leave leave their place.
    let on = desk.call(Method::POST, &format!("/{id}/connect"), None).await;
    assert_eq!(on.status, 200, "{}", on.text);
    let both = [desk.free_place(&id).await, desk.free_place(&id).await];
    let full = Answer::of(desk.stream(&id).await).await;
    full.assert_error(429, "too_many_streams");
    drop(both);

    // The device goes while somebody looks on.
    let mut watching = desk.free_place(&id).await;
    watching.code().await;
    assert_eq!(
        desk.call(Method::DELETE, &format!("/{id}"), None).await.status,
        200
    );
    let (event, data) = watching.event().await.unwrap();
    assert_eq!(
        (event.as_str(), &data["code"]),
        ("error", &json!("device_not_found"))
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streams_time_ends_and_its_place_is_free_again() {
    let app = spawn(
        Maker::Server,
        &[("QR_STREAM_SECONDS", "3"), ("QR_STREAMS_PER_TENANT", "1")],
    )
    .await;
    let desk = Desk::open(&app, "desa-satu", 1).await;
    let id = desk.add("Kantor").await;
    for _ in 0..2 {
        let mut watching = desk.free_place(&id).await;
        watching.code().await;
        let end = watching.event().await.unwrap();
        assert_eq!(end, ("expired".to_owned(), json!({"reason": "time_is_over"})));
        assert_eq!(watching.event().await, None);
    }
    app.finish().await;
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
