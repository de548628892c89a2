//! Devices on other endpoints than the usual one: a GoWA's, and what is said where none can be made.

use domain::ids::AccountId;
use domain::user::Role;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::{FaultKind, FaultSpec, GowaConfigChange, GowaInbound};
use test_support::eventually;

use crate::devices::Desk;
use crate::gowa_world::{self, BIMA, RARA};
use crate::harness::{Answer, TestApp, Wishes, order, refusal};
use crate::signing_in::{ask, bearer_of};

/// A GoWA for the villages that are put there.
async fn spawn() -> TestApp {
    let app = gowa_world::with(Wishes {
        events_come_here: true,
        ..Wishes::default()
    })
    .await;
    app.simulator.configure_gowa(GowaConfigChange {
        auto_login: Some(false),
        ..GowaConfigChange::default()
    });
    app
}

/// A superadmin gives the village an endpoint.
async fn assign(app: &TestApp, root: &str, village: &str, endpoint: &str) -> Answer {
    let path = format!("/whatsapp/tenant-config/{village}");
    let body = Some(json!({"endpoint_name": endpoint}));
    ask(app, Method::POST, &path, &[("authorization", root)], body).await
}

async fn root_of(app: &TestApp) -> String {
    bearer_of(app, "super@kanal.id", Role::Superadmin, None).await
}

fn account(id: &str) -> AccountId {
    AccountId::from_uuid(id.parse().unwrap())
}

/// What the device is called at the GoWA.
async fn name_of(app: &TestApp, id: &str) -> String {
    let names = app
        .values(&format!(
            "SELECT instance_name AS value FROM accounts WHERE id = '{id}'"
        ))
        .await;
    names[0].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gowas_device_is_paired_while_people_look_on_and_writes_and_reads() {
    let app = spawn().await;
    let desk = Desk::open(&app, "desa-satu", 2).await;
    // There is no telling which endpoint is meant before somebody says so.
    desk.call(Method::POST, "", None)
        .await
        .assert_error(409, "endpoint_missing");
    let root = root_of(&app).await;
    let assigned = assign(&app, &root, "desa-satu", "Toko").await;
    assert_eq!(assigned.status, 200, "{}", assigned.text);

    let id = desk.add("Toko Satu").await;
    let name = name_of(&app, &id).await;
    let there = app.simulator.gowa_devices().remove(0);
    assert_eq!(there.id, name);
    let webhook = there.webhook.clone().unwrap();
    assert_eq!(webhook.webhook_url, format!("{}/webhook/gowa/Toko", app.url));
    assert!(webhook.webhook_secret.len() >= 32);
    app.never_log(&webhook.webhook_secret);
    let device = desk.device(&id).await;
    assert_eq!(
        (&device["provider"], &device["endpoint"], &device["is_primary"]),
        (&json!("gowa"), &json!("Toko"), &json!(true))
    );

    let asked = |end: &str| {
        let requests = app.simulator.requests();
        let asked = requests.iter().filter(|request| request.path.ends_with(end));
        asked.count()
    };
    let mut watching = desk.watch(&id).await;
    let code = watching.code().await;
    assert!(code.starts_with("data:image/png;base64,"), "{code}");
    let picture = desk.call(Method::GET, &format!("/{id}/qr"), None).await;
    assert_eq!(picture.json(), json!({"qr": code, "status": "qr_waiting"}));
    // A code is held while it can be scanned, without Redis as well: each look asks where the device stands, and hardly one
    // for a code.
    app.proxies.redis.cut();
    let (begun, looks, logins) = (tokio::time::Instant::now(), asked("/status"), asked("/login"));
    let logins = eventually("somebody looks on", || async {
        (asked("/status") >= looks + 4).then(|| asked("/login") - logins)
    })
    .await;
    let seconds = begun.elapsed().as_secs();
    let renewed = usize::try_from(seconds / 20).unwrap() + 1;
    assert!(logins <= renewed, "{logins} codes in {seconds} s");
    app.proxies.redis.restore();
    app.simulator
        .scan_gowa(&name, Some("6281200000001:1@s.whatsapp.net".to_owned()))
        .unwrap();
    let device = watching.logged_in().await;
    assert_eq!(
        (&device["status"], &device["phone"], &device["jid"]),
        (
            &json!("connected"),
            &json!("6281200000001"),
            &json!("6281200000001:1@s.whatsapp.net")
        )
    );

    // A second one, paired by a code that is typed.
    let second = desk.add("Toko Dua").await;
    let code = desk
        .call(
            Method::POST,
            &format!("/{second}/pair"),
            Some(json!({"phone": "6281200000002"})),
        )
        .await;
    assert!(
        code.json()["code"].as_str().unwrap().starts_with("KANA-"),
        "{}",
        code.text
    );
    let second_name = name_of(&app, &second).await;
    app.simulator
        .scan_gowa(&second_name, Some("6281200000002:1@s.whatsapp.net".to_owned()))
        .unwrap();
    desk.until(&second, "connected").await;
    desk.call(Method::POST, "", None)
        .await
        .assert_error(409, "device_limit");
    desk.call(Method::POST, &format!("/{second}/disconnect"), None)
        .await
        .assert_error(409, "provider_refused");

    for (id, name, reference) in [(&id, &name, "dari-satu"), (&second, &second_name, "dari-dua")] {
        app.publish("desa-satu", &order(account(id), RARA, reference))
            .await;
        app.until_status(reference, "sent").await;
        let sends = app.simulator.gowa_sends();
        assert!(
            sends
                .iter()
                .any(|send| send.device == *name && send.message == reference)
        );
        app.simulator
            .gowa_inbound(&GowaInbound {
                device: name.clone(),
                from: BIMA.to_owned(),
                text: Some(format!("ke {reference}")),
                ..GowaInbound::default()
            })
            .unwrap();
        let query = format!("SELECT account_id AS value FROM messages WHERE body = 'ke {reference}'");
        let of = eventually("the message is here", || async {
            app.values(&query).await.into_iter().next()
        })
        .await;
        assert_eq!(of, json!(id));
    }

    let removed = desk.call(Method::DELETE, &format!("/{second}"), None).await;
    assert_eq!(removed.status, 200, "{}", removed.text);
    let left: Vec<String> = app
        .simulator
        .gowa_devices()
        .into_iter()
        .map(|device| device.id)
        .collect();
    assert_eq!(left, [name]);
    let leads = app
        .values("SELECT DISTINCT subject_id AS value FROM tenant_directory")
        .await;
    assert_eq!(leads, [json!(id)]);
    // What is about the first device of all goes on over the other road.
    let status = app
        .internal(Method::GET, "/whatsapp/status?village_id=desa-satu", None)
        .await;
    assert_eq!(
        status.json()["data"]["wa_number"],
        "6281200000001",
        "{}",
        status.text
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gowas_device_is_made_once_and_gone_here_only_when_it_is_gone_there() {
    let app = spawn().await;
    let desk = Desk::open(&app, "desa-satu", 1).await;
    let root = root_of(&app).await;
    assign(&app, &root, "desa-satu", "Toko").await;
    let fails = |kind| {
        let mut fault = FaultSpec::on_path("/gowa/devices", kind).times(1);
        fault.method = Some("POST".to_owned());
        app.simulator.add_fault(fault).unwrap();
    };
    fails(refusal(503, "DEVICE_MANAGER_UNAVAILABLE", None));
    let failed = desk.call(Method::POST, "", Some(json!({"name": "Toko"}))).await;
    failed.assert_error(502, "gateway_failed");
    assert!(app.simulator.gowa_devices().is_empty());
    let half = desk.call(Method::GET, "", None).await.json();
    assert_eq!(half["devices"][0]["status"], "creating");
    // Made, and the answer lost: it is found by its name.
    fails(FaultKind::LostAnswer);
    let id = desk.add("Toko").await;
    assert_eq!(half["devices"][0]["id"], id);
    assert_eq!(app.simulator.gowa_devices().len(), 1);
    desk.until(&id, "qr_waiting").await;

    let mut fault = FaultSpec::on_path("/gowa/devices/", FaultKind::Cut);
    fault.method = Some("DELETE".to_owned());
    let fault = app.simulator.add_fault(fault).unwrap();
    let later = desk.call(Method::DELETE, &format!("/{id}"), None).await;
    assert_eq!(later.status, 202, "{}", later.text);
    assert_eq!(app.simulator.gowa_devices().len(), 1);
    app.simulator.remove_fault(fault);
    let gone = desk.call(Method::DELETE, &format!("/{id}"), None).await;
    assert_eq!(gone.status, 200, "{}", gone.text);
    assert!(app.simulator.gowa_devices().is_empty());
    assert_eq!(app.count("tenant_directory").await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_moves_with_its_village_and_is_paired_anew() {
    let app = TestApp::with(Wishes {
        events_come_here: true,
        settings: &[gowa_world::ENDPOINTS],
        ..Wishes::default()
    })
    .await;
    app.simulator.configure_gowa(GowaConfigChange {
        basic_auth: Some("kanal:password-of-gowa".to_owned()),
        auto_login: Some(false),
        ..GowaConfigChange::default()
    });
    let desk = Desk::open(&app, "desa-satu", 2).await;
    let root = root_of(&app).await;
    assign(&app, &root, "desa-satu", "Toko").await;
    let ids = [desk.add("Satu").await, desk.add("Dua").await];
    let moved = assign(&app, &root, "desa-satu", "Lain").await;
    assert_eq!(moved.json()["moved"]["devices"], 2, "{}", moved.text);
    for id in &ids {
        let device = desk.device(id).await;
        assert_eq!(
            (&device["status"], &device["endpoint"]),
            (&json!("no_session"), &json!("Lain"))
        );
        let on = desk.call(Method::POST, &format!("/{id}/connect"), None).await;
        assert_eq!(on.status, 200, "{}", on.text);
        desk.until(id, "qr_waiting").await;
    }
    let all = desk.call(Method::GET, "", None).await.json();
    let shown: Vec<&Value> = all["devices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|device| &device["id"])
        .collect();
    assert_eq!(
        shown,
        ids.iter()
            .map(|id| json!(id))
            .collect::<Vec<_>>()
            .iter()
            .collect::<Vec<_>>()
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cloud_endpoint_no_device_is_made_without_a_number() {
    let app = TestApp::with(Wishes {
        settings: &[(
            "WHATSAPP_ENDPOINTS",
            r#"[{"name":"Meta","provider":"cloud","apiUrl":"{simulator}/graph","apiKey":"token-of-meta",
                 "appSecret":"secret-of-meta","verifyToken":"verify-of-meta","phoneNumberIds":["100000000000001"]}]"#,
        )],
        ..Wishes::default()
    })
    .await;
    let desk = Desk::open(&app, "desa-satu", 2).await;
    desk.call(Method::POST, "", None)
        .await
        .assert_error(409, "phone_number_id_required");
    assert_eq!(app.count("session_intents").await, 0);
    let none = desk.call(Method::GET, "", None).await;
    assert_eq!(none.json(), json!({"devices": [], "count": 0, "limit": 2}));

    // One that somebody registered is shown, and goes.
    let schema = &app.database.names.schema;
    let id = "01900000-0000-7000-8000-000000000001";
    app.run_sql(&format!(
        "INSERT INTO {schema}.accounts (tenant_id, id, provider, endpoint, instance_name, device_since) \
         VALUES ('desa-satu', '{id}', 'cloud', 'Meta', '100000000000001', now())"
    ))
    .await;
    let all = desk.call(Method::GET, "", None).await.json();
    assert_eq!(
        (&all["count"], &all["devices"][0]["provider"]),
        (&json!(1), &json!("cloud"))
    );
    desk.call(Method::POST, &format!("/{id}/connect"), None)
        .await
        .assert_error(409, "phone_number_id_required");
    let gone = desk.call(Method::DELETE, &format!("/{id}"), None).await;
    assert_eq!(gone.status, 200, "{}", gone.text);
    assert_eq!(desk.call(Method::GET, "", None).await.json()["count"], 0);
    app.finish().await;
}
