//! Making and removing sessions while things go wrong (contract channel-service 6.5, 9.D5, 9.D6).

use std::time::Duration;

use cache::RedisLink;
use channel_service::config::{EndpointSettings, EndpointsSettings, PRIMARY, ProviderSettings};
use channel_service::endpoints::{CallSettings, Endpoints};
use channel_service::flows::session::{Sessions, Tools};
use channel_service::flows::tenant_config::TenantConfigs;
use domain::endpoint::EndpointName;
use reqwest::Method;
use runtime::config::{BaseUrl, Setting as _};
use secrecy::SecretString;
use serde_json::{Value, json};
use simulator::{FaultKind, FaultSpec};

use crate::harness::{Answer, Maker, TestApp, Wishes, refusal};

const SESSION: &str = "/whatsapp/session?village_id=desa-satu";

async fn spawn(maker: Maker) -> TestApp {
    TestApp::with(Wishes {
        maker,
        ..Wishes::default()
    })
    .await
}

async fn create(app: &TestApp) -> Answer {
    app.internal(Method::POST, SESSION, None).await
}

/// As many sessions at the server, at the gateway and here, and nothing half made.
async fn assert_sessions(app: &TestApp, maker: Maker, count: usize, when: &str) {
    assert_eq!(app.simulator.wa_users().len(), count, "at the server, {when}");
    let at_gateway: usize = app
        .simulator
        .support_customers()
        .iter()
        .map(|customer| customer.sessions.len())
        .sum();
    if maker == Maker::Gateway {
        assert_eq!(at_gateway, count, "at the gateway, {when}");
    }
    let here = app
        .values("SELECT session_id AS value FROM accounts WHERE token_sealed IS NOT NULL")
        .await;
    let there: Vec<Value> = app
        .simulator
        .wa_users()
        .iter()
        .map(|user| json!(user.id))
        .collect();
    assert_eq!(here, there, "{when}");
    assert_eq!(app.count("session_intents").await, 0, "half made, {when}");
}

/// The sweep as its worker runs it, without the wait.
pub(crate) fn sweeper(app: &TestApp, maker: Maker) -> Sessions {
    let base = |path: &str| BaseUrl::from_text(&format!("{}{path}", app.simulator.base_url())).unwrap();
    let gateway = (
        base("/support"),
        "govconnect:simulator-internal-key".parse().unwrap(),
    );
    let server = (base("/wa"), "simulator-admin-token".parse().unwrap());
    let primary = EndpointSettings {
        name: EndpointName::parse(PRIMARY).unwrap(),
        api_url: base("/wa"),
        provider: ProviderSettings::Genfity {
            gateway: (maker == Maker::Gateway).then_some(gateway),
            server: (maker == Maker::Server).then_some(server),
        },
        webhook_keys: Vec::new(),
    };
    let calls = CallSettings {
        timeout: Duration::from_secs(5),
        dry_run: false,
        outage: channel_service::config::OutageSettings::default(),
    };
    Sessions::new(Tools {
        db: app.direct.clone(),
        keys: app.keys.clone(),
        routes: app.routes.clone(),
        redis: RedisLink::new(&SecretString::from(test_support::redis_url()), "sweeper").unwrap(),
        endpoints: Endpoints::build(&EndpointsSettings { list: vec![primary] }, calls).unwrap(),
        configs: TenantConfigs::new(
            app.direct.clone(),
            RedisLink::new(&SecretString::from(test_support::redis_url()), "sweeper").unwrap(),
        ),
        webhook_url: None,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_creations_at_once_make_one_session() {
    for maker in [Maker::Gateway, Maker::Server] {
        let app = spawn(maker).await;
        let answers = futures_util::future::join_all((0..8).map(|_| create(&app))).await;
        let new = answers
            .iter()
            .filter(|answer| answer.json()["data"]["existing"] == false)
            .count();
        let existing = answers
            .iter()
            .filter(|answer| answer.json() == json!({"success": true, "data": {"existing": true}}))
            .count();
        assert_eq!((new, existing), (1, 7));
        assert_sessions(&app, maker, 1, "after eight at once").await;
        app.finish().await;
    }
}

/// Every call of a creation, and every way in which it can go wrong.
fn faults(maker: Maker) -> Vec<(&'static str, &'static str)> {
    match maker {
        Maker::Gateway => vec![
            ("POST", "/support/internal/users"),
            ("GET", "/support/v1/sessions"),
            ("POST", "/support/v1/sessions"),
        ],
        _ => vec![("POST", "/wa/admin/users")],
    }
}

async fn fails_then_succeeds(maker: Maker) {
    for (method, path) in faults(maker) {
        for kind in [
            refusal(500, "database error", None),
            FaultKind::Cut,
            FaultKind::LostAnswer,
        ] {
            let app = spawn(maker).await;
            let mut fault = FaultSpec::on_path(path, kind.clone()).times(1);
            fault.method = Some(method.to_owned());
            app.simulator.add_fault(fault).unwrap();
            let when = format!("{method} {path} {kind:?}");

            let failed = create(&app).await;
            failed.assert_error(500, "gateway_failed");
            assert_eq!(failed.json()["success"], false);
            let none = app
                .internal(Method::GET, "/whatsapp/status?village_id=desa-satu", None)
                .await;
            assert_eq!(none.json()["data"]["exists"], false, "{when}");

            let made = create(&app).await;
            assert_eq!(made.json()["data"]["existing"], false, "{when}: {}", made.text);
            assert_sessions(&app, maker, 1, &when).await;
            app.finish().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_that_failed_anywhere_at_the_gateway_is_finished_by_the_next() {
    fails_then_succeeds(Maker::Gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_that_failed_anywhere_at_the_server_is_finished_by_the_next() {
    fails_then_succeeds(Maker::Server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_that_nobody_tries_again_is_taken_back() {
    for maker in [Maker::Gateway, Maker::Server] {
        let app = spawn(maker).await;
        let (method, path) = faults(maker).pop().unwrap();
        let mut fault = FaultSpec::on_path(path, FaultKind::LostAnswer).times(1);
        fault.method = Some(method.to_owned());
        app.simulator.add_fault(fault).unwrap();
        create(&app).await.assert_error(500, "gateway_failed");
        assert_eq!(app.simulator.wa_users().len(), 1, "made, and nobody knows");

        let sweeper = sweeper(&app, maker);
        assert_eq!(sweeper.sweep(Duration::from_secs(600)).await.unwrap(), 0);
        assert_eq!(app.count("session_intents").await, 1, "too young");
        // Not while the other side is away.
        let away = FaultSpec::on_path("/", FaultKind::Cut);
        let away = app.simulator.add_fault(away).unwrap();
        assert_eq!(sweeper.sweep(Duration::ZERO).await.unwrap(), 0);
        assert_eq!(app.count("session_intents").await, 1, "still needed");
        app.simulator.remove_fault(away);
        assert_eq!(sweeper.sweep(Duration::ZERO).await.unwrap(), 1);
        assert_sessions(&app, maker, 0, "after the sweep").await;
        assert_eq!(app.count("tenant_directory").await, 0, "the name is free again");
        assert_eq!(sweeper.sweep(Duration::ZERO).await.unwrap(), 0);

        assert_eq!(create(&app).await.json()["data"]["existing"], false);
        assert_sessions(&app, maker, 1, "made anew").await;
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_gone_here_only_when_it_is_gone_there() {
    for (maker, path) in [
        (Maker::Gateway, "/support/v1/sessions/"),
        (Maker::Server, "/wa/admin/users/"),
    ] {
        let app = spawn(maker).await;
        create(&app).await;
        for kind in [
            refusal(500, "database error", None),
            refusal(404, "Route not found", None),
            FaultKind::Cut,
        ] {
            let mut fault = FaultSpec::on_path(path, kind).times(1);
            fault.method = Some("DELETE".to_owned());
            app.simulator.add_fault(fault).unwrap();
            let refused = app.internal(Method::DELETE, SESSION, None).await;
            refused.assert_error(500, "gateway_failed");
            assert_eq!(refused.json()["success"], false);
            assert_sessions(&app, maker, 1, "after a refusal").await;
        }
        // Removed, and the answer lost: the next try finds nothing, and that is as good.
        let mut fault = FaultSpec::on_path(path, FaultKind::LostAnswer).times(1);
        fault.method = Some("DELETE".to_owned());
        app.simulator.add_fault(fault).unwrap();
        app.internal(Method::DELETE, SESSION, None)
            .await
            .assert_error(500, "gateway_failed");
        let deleted = app.internal(Method::DELETE, SESSION, None).await;
        assert_eq!(
            deleted.json(),
            json!({"success": true, "data": {"deleted": true}})
        );
        assert_sessions(&app, maker, 0, "at the end").await;
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_customers_key_is_kept_sealed_and_renewed_when_it_was_replaced() {
    let app = spawn(Maker::Gateway).await;
    create(&app).await;
    let customer = app.simulator.support_customers().remove(0);
    assert_eq!(
        (
            customer.user_id.as_str(),
            customer.source.as_str(),
            customer.rotations
        ),
        ("desa-satu", "govconnect", 0)
    );
    app.never_log(&customer.api_key);
    app.never_log(&customer.sessions[0].session_token);
    let tables = app
        .rows("SELECT (SELECT jsonb_agg(c) FROM support_customers c) AS c, (SELECT jsonb_agg(a) FROM accounts a) AS a")
        .await;
    let tables = tables[0].to_string();
    assert!(tables.contains("key_sealed"));
    assert!(!tables.contains(&customer.api_key));
    assert!(!tables.contains(&customer.sessions[0].session_token));

    // Somebody replaced it behind our back.
    let rotate = format!(
        "{}/support/internal/users/desa-satu/apikey/rotate",
        app.simulator.base_url()
    );
    let rotated = app
        .http()
        .post(rotate)
        .header("x-internal-api-key", "simulator-internal-key")
        .body("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(rotated.status(), 200);
    let deleted = app.internal(Method::DELETE, SESSION, None).await;
    assert_eq!(deleted.json()["data"]["deleted"], true, "{}", deleted.text);
    assert_eq!(app.simulator.support_customers()[0].rotations, 2);
    create(&app).await;
    assert_sessions(&app, Maker::Gateway, 1, "with the new key").await;
    assert_eq!(
        app.simulator.support_customers()[0].rotations,
        2,
        "and it was kept"
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_taken_becomes_another_and_leaves_no_orphan() {
    let app = spawn(Maker::Gateway).await;
    let make = |village: &'static str| {
        let app = &app;
        let body = json!({"village_id": village, "village_slug": "suka-maju"});
        async move { app.internal(Method::POST, "/whatsapp/session", Some(&body)).await }
    };
    for village in ["desa-satu", "desa-dua"] {
        assert_eq!(make(village).await.json()["data"]["existing"], false);
    }
    let names = app
        .values("SELECT instance_name AS value FROM accounts ORDER BY tenant_id DESC")
        .await;
    assert_eq!(names, ["suka-maju", "desa-dua"]);
    assert_eq!(app.simulator.wa_users().len(), 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_suspensions_and_missing_makers_refuse_before_anything_is_made() {
    let app = spawn(Maker::Server).await;
    app.bare_tenant("desa-satu").await;
    let schema = &app.database.names.schema;
    app.run_sql(&format!("UPDATE {schema}.tenants SET session_limit = 0"))
        .await;
    create(&app).await.assert_error(403, "session_limit");
    app.run_sql(&format!(
        "UPDATE {schema}.tenants SET session_limit = 1, status = 'suspended'"
    ))
    .await;
    create(&app).await.assert_error(403, "village_suspended");
    assert_sessions(&app, Maker::Server, 0, "refused").await;
    assert!(app.simulator.requests().is_empty());
    app.finish().await;

    let app = spawn(Maker::Nobody).await;
    create(&app).await.assert_error(500, "session_maker_missing");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_was_registered_by_hand_exists_and_is_removed_where_it_can_be() {
    let app = spawn(Maker::Server).await;
    app.tenant("desa-satu").await;
    assert_eq!(create(&app).await.json()["data"], json!({"existing": true}));
    let deleted = app.internal(Method::DELETE, SESSION, None).await;
    assert_eq!(deleted.json()["data"]["deleted"], true, "{}", deleted.text);
    assert!(app.simulator.wa_users().is_empty());
    app.finish().await;
}
