//! Superadmins give tenants their endpoints by name; a tenant's admin may look, and nobody sees more than names.

use domain::tenant_config::TenantSettings;
use domain::user::Role;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::{Simulator, SimulatorConfig};
use test_support::eventually;

use crate::harness::{Answer, LIMITED_KEY, Maker, TestApp, Wishes};
use crate::secrets::{assert_in_no_table, dump};
use crate::signing_in::{ask, bearer_of};

const RARA: &str = "6281290000011";
const PATH: &str = "/whatsapp/tenant-config/desa-satu";

/// A service with the endpoints `Primary` and `Secondary`, each with a server of its own, and the second one's server.
pub(crate) async fn two_endpoints(wishes: Wishes) -> (TestApp, Simulator) {
    test_support::install_crypto_provider();
    let second = Simulator::start(SimulatorConfig::for_tests()).await.unwrap();
    let app = TestApp::with(Wishes {
        maker: Maker::Server,
        endpoints: vec![("Secondary", second.base_url())],
        ..wishes
    })
    .await;
    (app, second)
}

pub(crate) async fn root(app: &TestApp) -> String {
    bearer_of(app, "super@kanal.id", Role::Superadmin, None).await
}

pub(crate) async fn call(
    app: &TestApp,
    bearer: &str,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Answer {
    ask(app, method, path, &[("authorization", bearer)], body).await
}

/// Gives a tenant an endpoint, which must go well.
pub(crate) async fn assign(app: &TestApp, bearer: &str, tenant: &str, body: Value) -> Value {
    let path = format!("/whatsapp/tenant-config/{tenant}");
    let answer = call(app, bearer, Method::POST, &path, Some(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

async fn config(app: &TestApp, bearer: &str) -> Value {
    let answer = call(app, bearer, Method::GET, PATH, None).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["config"].take()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_is_given_changed_and_taken_away() {
    let (app, second) = two_endpoints(Wishes::default()).await;
    app.bare_tenant("desa-satu").await;
    let root = root(&app).await;
    let names = call(&app, &root, Method::GET, "/whatsapp/available-endpoints", None).await;
    assert_eq!(
        names.json(),
        json!({"endpoints": ["Primary", "Secondary"], "count": 2}),
        "{}",
        names.text
    );

    let usual = config(&app, &root).await;
    assert_eq!(
        (
            &usual["id"],
            &usual["endpoint_name"],
            &usual["assigned"],
            &usual["is_configured"]
        ),
        (&Value::Null, &json!("Primary"), &json!(false), &json!(true))
    );
    assert_eq!(
        assign(&app, &root, "desa-satu", json!({"endpoint_name": "Secondary"})).await,
        json!({"success": true})
    );
    let given = config(&app, &root).await;
    assert!(given["id"].is_string() && given["created_at"].is_string() && given["updated_at"].is_string());
    for (field, value) in [
        ("tenant_id", json!("desa-satu")),
        ("endpoint_name", json!("Secondary")),
        ("assigned", json!(true)),
        ("endpoint_available", json!(true)),
        ("is_configured", json!(true)),
        ("auto_reconnect", json!(true)),
        ("reconnect_interval", json!(30)),
        ("health_check_interval", json!(60)),
        ("webhook_retries", json!(3)),
        ("message_timeout", json!(30)),
    ] {
        assert_eq!(given[field], value, "{field}");
    }
    let change = json!({"endpoint_name": "Secondary", "auto_reconnect": false, "webhook_retries": 0,
                        "message_timeout": null});
    assign(&app, &root, "desa-satu", change).await;
    assign(
        &app,
        &root,
        "desa-satu",
        json!({"endpoint_name": "Primary", "reconnect_interval": 3600}),
    )
    .await;
    let changed = config(&app, &root).await;
    assert_eq!(changed["id"], given["id"], "it is the same row");
    for (field, value) in [
        ("endpoint_name", json!("Primary")),
        ("auto_reconnect", json!(false)),
        ("webhook_retries", json!(0)),
        ("message_timeout", json!(30)),
        ("reconnect_interval", json!(3600)),
    ] {
        assert_eq!(changed[field], value, "{field}");
    }
    for _ in 0..2 {
        let gone = call(&app, &root, Method::DELETE, PATH, None).await;
        assert_eq!((gone.status, gone.json()), (200, json!({"success": true})));
    }
    assert_eq!(config(&app, &root).await, usual);
    let acts = app
        .rows("SELECT action, subject, actor FROM audit_log WHERE action LIKE 'endpoint.%' ORDER BY id")
        .await;
    let act = |action: &str, subject: &str| json!({"action": action, "subject": subject, "actor": "user super@kanal.id"});
    assert_eq!(
        acts,
        [
            act("endpoint.assign", "Secondary"),
            act("endpoint.assign", "Secondary"),
            act("endpoint.assign", "Primary"),
            act("endpoint.unassign", "Primary"),
        ]
    );
    app.finish().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_superadmins_assign_and_a_tenant_admin_sees_its_own() {
    let (app, second) = two_endpoints(Wishes::default()).await;
    app.bare_tenant("desa-satu").await;
    app.bare_tenant("desa-dua").await;
    let root = root(&app).await;
    let admin = bearer_of(&app, "rara@desa.id", Role::TenantAdmin, Some("desa-satu")).await;
    assign(&app, &root, "desa-satu", json!({"endpoint_name": "Secondary"})).await;
    let own = call(&app, &admin, Method::GET, PATH, None).await;
    assert_eq!(own.json()["config"]["endpoint_name"], "Secondary");
    assert!(
        !own.text.contains("http") && !own.text.contains("admin-token"),
        "{}",
        own.text
    );
    call(
        &app,
        &admin,
        Method::GET,
        "/whatsapp/tenant-config/desa-dua",
        None,
    )
    .await
    .assert_error(403, "not_your_village");
    let body = json!({"endpoint_name": "Primary"});
    for (method, path) in [
        (Method::GET, "/whatsapp/available-endpoints"),
        (Method::POST, PATH),
        (Method::DELETE, PATH),
        (Method::POST, "/whatsapp/tenant-config/desa-dua"),
    ] {
        call(&app, &admin, method.clone(), path, Some(body.clone()))
            .await
            .assert_error(403, "superadmin_only");
        ask(&app, method, path, &[("x-internal-api-key", LIMITED_KEY)], None)
            .await
            .assert_error(401, "not_signed_in");
    }
    for method in [Method::GET, Method::POST, Method::DELETE] {
        call(
            &app,
            &root,
            method,
            "/whatsapp/tenant-config/desa-asing",
            Some(body.clone()),
        )
        .await
        .assert_error(404, "village_not_found");
    }
    assert_eq!(config(&app, &root).await["endpoint_name"], "Secondary");
    assert_eq!(app.count("tenant_whatsapp_config").await, 1);
    assert_eq!(app.count("session_leases").await, 0);
    app.finish().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_refused_and_named() {
    let (app, second) = two_endpoints(Wishes::default()).await;
    app.bare_tenant("desa-satu").await;
    let root = root(&app).await;
    for (name, code) in [
        (json!("primary"), "unknown_endpoint"),
        (json!("PRIMARY"), "unknown_endpoint"),
        (json!("Primary "), "unknown_endpoint"),
        (json!("https://user:geheim@host/wa"), "unknown_endpoint"),
        (json!("Tertiary\0"), "unknown_endpoint"),
        (json!(""), "endpoint_name_required"),
        (json!(null), "endpoint_name_required"),
        (json!(7), "invalid_field"),
        (json!(["Primary"]), "invalid_field"),
    ] {
        let answer = call(
            &app,
            &root,
            Method::POST,
            PATH,
            Some(json!({"endpoint_name": name})),
        )
        .await;
        answer.assert_error(400, code);
        assert_eq!(answer.json()["field"], "endpoint_name");
        assert!(!answer.text.contains("geheim"), "{}", answer.text);
        if code != "invalid_field" {
            let error = answer.json()["error"].to_string();
            assert!(error.contains("Primary, Secondary"), "{error}");
        }
    }
    for (field, wrong) in [
        ("auto_reconnect", json!("true")),
        ("auto_reconnect", json!(1)),
        ("reconnect_interval", json!(0)),
        ("reconnect_interval", json!(3601)),
        ("reconnect_interval", json!("30")),
        ("health_check_interval", json!(-1)),
        ("health_check_interval", json!(3601)),
        ("health_check_interval", json!(1.5)),
        ("webhook_retries", json!(-1)),
        ("webhook_retries", json!(21)),
        ("webhook_retries", json!([3])),
        ("message_timeout", json!(0)),
        ("message_timeout", json!(121)),
        ("message_timeout", json!(9_000_000_000_000_000_000_u64)),
        ("force", json!("yes")),
    ] {
        let body = json!({"endpoint_name": "Primary", field: wrong});
        let answer = call(&app, &root, Method::POST, PATH, Some(body)).await;
        answer.assert_error(400, "invalid_field");
        assert_eq!(answer.json()["field"], field);
    }
    for unknown in ["endpointName", "api_url", "apiKey", "tenant_id", "Force"] {
        let body = json!({"endpoint_name": "Primary", unknown: "x"});
        let answer = call(&app, &root, Method::POST, PATH, Some(body)).await;
        answer.assert_error(400, "unknown_field");
        assert_eq!(answer.json()["field"], unknown);
    }
    call(&app, &root, Method::DELETE, &format!("{PATH}?force=1"), None)
        .await
        .assert_error(400, "invalid_field");
    assert_eq!(app.count("tenant_whatsapp_config").await, 0);
    app.finish().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_has_the_same_defaults_and_bounds_and_no_room_for_a_url() {
    let app = TestApp::spawn().await;
    app.bare_tenant("desa-satu").await;
    app.run_sql(
        "INSERT INTO tenant_whatsapp_config (tenant_id, id, endpoint_name) \
         VALUES ('desa-satu', gen_random_uuid(), 'Primary')",
    )
    .await;
    let row = app
        .rows(
            "SELECT auto_reconnect, reconnect_interval, health_check_interval, webhook_retries, message_timeout \
             FROM tenant_whatsapp_config",
        )
        .await;
    assert_eq!(row, [serde_json::to_value(TenantSettings::default()).unwrap()]);
    for wrong in [
        "endpoint_name = 'https://user:key@host'",
        "endpoint_name = ''",
        "endpoint_name = repeat('x', 65)",
        "reconnect_interval = 0",
        "reconnect_interval = 3601",
        "health_check_interval = 0",
        "health_check_interval = 3601",
        "webhook_retries = -1",
        "webhook_retries = 21",
        "message_timeout = 0",
        "message_timeout = 121",
    ] {
        let refused = app
            .values(&format!(
                "SELECT count(*) AS value FROM pg_constraint WHERE conrelid = 'tenant_whatsapp_config'::regclass \
                 AND contype = 'c' AND position('{}' in pg_get_constraintdef(oid)) > 0",
                wrong.split(' ').next().unwrap()
            ))
            .await;
        assert_eq!(refused, [json!(1)], "{wrong}");
        let statement = format!(
            "DO $$ BEGIN UPDATE tenant_whatsapp_config SET {wrong}; RAISE EXCEPTION 'taken'; \
             EXCEPTION WHEN check_violation THEN NULL; END $$"
        );
        app.run_sql(&statement).await;
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn assignments_at_once_end_in_one_whole_row() {
    let (app, second) = two_endpoints(Wishes::default()).await;
    app.bare_tenant("desa-satu").await;
    let root = root(&app).await;
    let wanted: Vec<Value> = (1..=8)
        .map(|n| {
            let endpoint = ["Primary", "Secondary"][n % 2];
            json!({"endpoint_name": endpoint, "auto_reconnect": n % 3 == 0,
                   "reconnect_interval": n, "health_check_interval": n, "webhook_retries": n,
                   "message_timeout": n})
        })
        .collect();
    let answers = futures_util::future::join_all(
        wanted
            .iter()
            .map(|body| call(&app, &root, Method::POST, PATH, Some(body.clone()))),
    )
    .await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let config = config(&app, &root).await;
    let is_whole = |body: &Value| {
        body.as_object()
            .unwrap()
            .iter()
            .all(|(name, value)| config[name] == *value)
    };
    assert_eq!(wanted.iter().filter(|body| is_whole(body)).count(), 1, "{config}");
    assert_eq!(
        app.values("SELECT endpoint AS value FROM accounts").await,
        [config["endpoint_name"].clone()]
    );
    app.finish().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_whose_endpoint_went_away_is_shown_as_such_and_keeps_its_rows() {
    let (app, second) = two_endpoints(Wishes::default()).await;
    app.bare_tenant("desa-satu").await;
    let root = root(&app).await;
    assign(
        &app,
        &root,
        "desa-satu",
        json!({"endpoint_name": "Secondary", "webhook_retries": 9}),
    )
    .await;
    app.run_sql(
        "INSERT INTO endpoint_health (endpoint, status, checked_at) VALUES ('Secondary', 'degraded', now()), \
             ('Gone', 'healthy', now()) ON CONFLICT (endpoint) DO UPDATE SET status = excluded.status, \
             checked_at = excluded.checked_at",
    )
    .await;
    eventually("what was found of the endpoint is shown", || async {
        let config = config(&app, &root).await;
        let found = app
            .values("SELECT status AS value FROM endpoint_health WHERE endpoint = 'Secondary'")
            .await;
        (found == [config["health_status"].clone()] && config["last_health_check"].is_string()).then_some(())
    })
    .await;
    app.run_sql(
        "UPDATE tenant_whatsapp_config SET endpoint_name = 'Gone'; UPDATE accounts SET endpoint = 'Gone'",
    )
    .await;
    let config = config(&app, &root).await;
    for (field, value) in [
        ("endpoint_name", json!("Gone")),
        ("assigned", json!(true)),
        ("endpoint_available", json!(false)),
        ("is_configured", json!(false)),
        ("health_status", json!("unknown")),
        ("last_health_check", Value::Null),
        ("webhook_retries", json!(9)),
    ] {
        assert_eq!(config[field], value, "{field}");
    }
    let made = json!({"village_id": "desa-satu"});
    app.internal(Method::POST, "/whatsapp/session", Some(&made))
        .await
        .assert_error(409, "endpoint_missing");
    assert_eq!(
        app.values("SELECT endpoint AS value FROM accounts").await,
        [json!("Gone")]
    );
    app.finish().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_are_made_where_the_tenant_was_put_and_no_table_holds_a_way_there() {
    let (app, second) = two_endpoints(Wishes {
        events_come_here: true,
        ..Wishes::default()
    })
    .await;
    app.bare_tenant("desa-satu").await;
    let root = root(&app).await;
    assign(&app, &root, "desa-satu", json!({"endpoint_name": "Secondary"})).await;
    let made = json!({"village_id": "desa-satu"});
    let answer = app.internal(Method::POST, "/whatsapp/session", Some(&made)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!((app.simulator.wa_users().len(), second.wa_users().len()), (0, 1));
    app.never_log(&second.wa_users()[0].token);
    assert_eq!(
        app.values("SELECT endpoint AS value FROM accounts").await,
        [json!("Secondary")]
    );
    let message = json!({"wa_user_id": RARA, "message": "halo", "village_id": "desa-satu"});
    eventually("the message is out", || async {
        let sent = app.internal(Method::POST, "/send", Some(&message)).await;
        assert!(sent.status < 300, "{}", sent.text);
        (!second.phone(RARA).is_empty()).then_some(())
    })
    .await;
    assert!(app.simulator.wa_sends(None).is_empty());

    call(&app, &root, Method::DELETE, PATH, None)
        .await
        .assert_error(409, "devices_present");
    let forced = call(&app, &root, Method::DELETE, &format!("{PATH}?force=true"), None).await;
    assert_eq!(forced.status, 200, "{}", forced.text);
    let status = app
        .internal(Method::GET, "/whatsapp/status?village_id=desa-satu", None)
        .await;
    assert_eq!(status.json()["data"]["connected"], true, "{}", status.text);

    let dump = dump(&app).await;
    assert!(
        dump.contains("\"Secondary\"") && dump.contains("endpoint.assign"),
        "the dump is whole"
    );
    let host = second.base_url();
    for secret in [
        "simulator-admin-token",
        "simulator-internal-key",
        host.as_str(),
        host.trim_start_matches("http://"),
    ] {
        assert_in_no_table(&dump, secret);
    }
    app.finish().await;
    second.stop().await;
}
