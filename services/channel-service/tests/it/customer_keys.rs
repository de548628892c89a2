//! A tenant is a customer of one gateway and then of another: each has a key of its own, and none is shown the other's.

use channel_service::MIGRATIONS;
use channel_service::config::{EndpointSettings, EndpointsSettings, ProviderSettings};
use channel_service::store::support_customer::key_binding_without_endpoint;
use database::migrate;
use diesel::sql_types::Text;
use diesel_async::{AsyncMigrationHarness, RunQueryDsl, SimpleAsyncConnection as _};
use diesel_migrations::MigrationHarness as _;
use domain::endpoint::EndpointName;
use domain::ids::TenantId;
use reqwest::Method;
use runtime::config::{BaseUrl, Setting as _};
use secrecy::SecretString;
use serde_json::{Value, json};
use simulator::{FaultKind, FaultSpec, Simulator, SimulatorConfig};
use test_support::{TestDatabase, eventually};

use crate::harness::{Answer, Maker, TestApp, Wishes};
use crate::tenant_config::{assign, root};

const VILLAGE: &str = "desa-satu";

/// A service whose endpoints `Primary` and `Secondary` have a gateway each, and the second one's simulator.
async fn two_gateways() -> (TestApp, Simulator) {
    let app = TestApp::with(Wishes {
        maker: Maker::Gateway,
        ..Wishes::default()
    })
    .await;
    let second = Simulator::start(SimulatorConfig::for_tests()).await.unwrap();
    let list = vec![gateway("Primary", &app.simulator), gateway("Secondary", &second)];
    app.endpoints.replace(&EndpointsSettings { list }).unwrap();
    (app, second)
}

fn gateway(name: &str, at: &Simulator) -> EndpointSettings {
    let base = |path: &str| BaseUrl::from_text(&format!("{}{path}", at.base_url())).unwrap();
    let key = "govconnect:simulator-internal-key".parse().unwrap();
    EndpointSettings {
        name: EndpointName::parse(name).unwrap(),
        api_url: base("/support/v1/wa"),
        provider: ProviderSettings::Genfity {
            gateway: Some((base("/support"), key)),
            server: None,
        },
        webhook_keys: Vec::new(),
    }
}

async fn make_session(app: &TestApp) -> Answer {
    let body = json!({"village_id": VILLAGE});
    app.internal(Method::POST, "/whatsapp/session", Some(&body)).await
}

async fn provision(app: &TestApp) -> Answer {
    let body = json!({"village_id": VILLAGE});
    app.internal(Method::POST, "/wa-support/provision", Some(&body))
        .await
}

/// The customer's keys that we keep, by endpoint.
async fn keys(app: &TestApp) -> Vec<Value> {
    app.values("SELECT endpoint AS value FROM support_customers ORDER BY 1")
        .await
}

/// Nobody showed a key to it that is not its own.
#[track_caller]
fn assert_saw_no_others_key(at: &Simulator) {
    let refused: Vec<_> = at
        .requests()
        .into_iter()
        .filter(|request| request.status == Some(401))
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateways_key_is_not_shown_to_another_and_goes_with_what_it_opens() {
    let (app, second) = two_gateways().await;
    let root = root(&app).await;
    assert_eq!(make_session(&app).await.status, 200);
    assert_eq!(keys(&app).await, [json!("Primary")]);
    assign(&app, &root, VILLAGE, json!({"endpoint_name": "Primary"})).await;
    assert_eq!(keys(&app).await, [json!("Primary")], "it stays where it was");

    // What it opens is still there, as if whoever moves the tenant had died before the end.
    let away = FaultSpec::on_path("/support", FaultKind::Cut);
    let away = app.simulator.add_fault(away).unwrap();
    let moved = assign(&app, &root, VILLAGE, json!({"endpoint_name": "Secondary"})).await;
    assert_eq!(moved["moved"]["left_behind"], 1, "{moved}");
    assert_eq!(keys(&app).await, [json!("Primary")], "it is still needed there");
    let made = make_session(&app).await;
    assert_eq!(made.status, 200, "{}", made.text);
    assert_saw_no_others_key(&second);
    assert_eq!(second.support_customers()[0].rotations, 0);
    assert_eq!(keys(&app).await, [json!("Primary"), json!("Secondary")]);

    app.simulator.remove_fault(away);
    app.run_sql("UPDATE sessions_to_unlink SET next_try = now()")
        .await;
    eventually("the session is unlinked", || async {
        (app.count("sessions_to_unlink").await == 0).then_some(())
    })
    .await;
    assert!(app.simulator.support_customers()[0].sessions.is_empty());
    assert_eq!(app.simulator.support_customers()[0].rotations, 0);
    assert_eq!(
        keys(&app).await,
        [json!("Secondary")],
        "nobody needs the other one"
    );
    assert_saw_no_others_key(&app.simulator);
    app.finish().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_was_moved_by_hand_does_not_open() {
    let (app, second) = two_gateways().await;
    let root = root(&app).await;
    assert_eq!(make_session(&app).await.status, 200);
    let deleted = app
        .internal(
            Method::DELETE,
            &format!("/whatsapp/session?village_id={VILLAGE}"),
            None,
        )
        .await;
    assert_eq!(deleted.status, 200, "{}", deleted.text);
    assert_eq!(keys(&app).await, [json!("Primary")]);
    assign(&app, &root, VILLAGE, json!({"endpoint_name": "Secondary"})).await;
    assert!(
        keys(&app).await.is_empty(),
        "there was nothing to unlink, so it went with the move"
    );
    assign(&app, &root, VILLAGE, json!({"endpoint_name": "Primary"})).await;
    assert_eq!(make_session(&app).await.status, 200);
    app.run_sql(
        "UPDATE support_customers SET endpoint = 'Secondary'; UPDATE accounts SET endpoint = 'Secondary'",
    )
    .await;
    let path = format!("/wa-support/users/{VILLAGE}/sessions/x/settings");
    app.internal(Method::GET, &path, None)
        .await
        .assert_error(500, "internal_error");
    assert!(second.requests().is_empty(), "{:?}", second.requests());
    app.finish().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_without_an_account_becomes_a_customer_where_it_belongs() {
    let (app, second) = two_gateways().await;
    let root = root(&app).await;
    assert_eq!(provision(&app).await.status, 200);
    assert_eq!(
        (
            app.simulator.support_customers().len(),
            app.count("accounts").await
        ),
        (1, 0)
    );
    assign(&app, &root, VILLAGE, json!({"endpoint_name": "Secondary"})).await;
    assert!(keys(&app).await.is_empty());
    assert_eq!(provision(&app).await.status, 200);
    assert_eq!(second.support_customers().len(), 1);
    assert_eq!(keys(&app).await, [json!("Secondary")]);
    let user = app
        .internal(Method::GET, &format!("/wa-support/users/{VILLAGE}"), None)
        .await;
    assert!(
        user.json()["data"]["user_info"].is_object() && user.status == 200,
        "{}",
        user.text
    );
    app.run_sql("UPDATE tenant_whatsapp_config SET endpoint_name = 'Gone'")
        .await;
    provision(&app).await.assert_error(409, "endpoint_missing");
    assert_saw_no_others_key(&second);
    app.finish().await;
    second.stop().await;
}

/// As it was sealed before there was more than one endpoint.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_from_before_opens_where_it_did_and_is_sealed_anew() {
    let (app, second) = two_gateways().await;
    assert_eq!(make_session(&app).await.status, 200);
    let customer = app.simulator.support_customers().remove(0);
    app.never_log(&customer.api_key);
    let binding = key_binding_without_endpoint(&TenantId::parse(VILLAGE).unwrap());
    let sealed = app
        .keys
        .seal(&SecretString::from(customer.api_key), &binding)
        .unwrap();
    app.run_sql(&format!(
        "UPDATE support_customers SET key_sealed = '{sealed}', names_endpoint = false"
    ))
    .await;
    let path = format!(
        "/wa-support/users/{VILLAGE}/sessions/{}/settings",
        customer.sessions[0].session_id
    );
    for _ in 0..2 {
        let settings = app.internal(Method::GET, &path, None).await;
        assert_eq!(settings.status, 200, "{}", settings.text);
        let row = app
            .rows("SELECT names_endpoint, key_sealed FROM support_customers")
            .await
            .remove(0);
        assert_eq!(row["names_endpoint"], true);
        assert_ne!(row["key_sealed"], sealed);
    }
    assert_eq!(app.simulator.support_customers()[0].rotations, 0);
    // Only rows that say so open like that.
    app.run_sql(&format!("UPDATE support_customers SET key_sealed = '{sealed}'"))
        .await;
    app.internal(Method::GET, &path, None)
        .await
        .assert_error(500, "internal_error");
    app.finish().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_from_before_are_kept_where_it_is_certain_whose_they_are() {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        row: String,
    }
    let database = TestDatabase::create("channel", MIGRATIONS).await;
    let mut harness = AsyncMigrationHarness::new(database.admin().await);
    loop {
        let reverted = harness.revert_last_migration(MIGRATIONS).unwrap().to_string();
        if reverted.contains("20261128000017") {
            break;
        }
    }
    drop(harness);
    let mut admin = database.admin().await;
    admin
        .batch_execute(
            "INSERT INTO accounts (tenant_id, id, provider, endpoint, instance_name, moved_at) VALUES \
                 ('never-moved', gen_random_uuid(), 'genfity', 'Primary', 'a', NULL), \
                 ('kept-after-a-move', gen_random_uuid(), 'genfity', 'Second', 'a', now() - interval '1 hour'), \
                 ('kept-before-a-move', gen_random_uuid(), 'genfity', 'Second', 'a', now()), \
                 ('in-two-places', gen_random_uuid(), 'genfity', 'Primary', 'a', NULL), \
                 ('in-two-places', gen_random_uuid(), 'genfity', 'Second', 'b', NULL), \
                 ('at-another-kind', gen_random_uuid(), 'gowa', 'Toko', 'a', NULL); \
             INSERT INTO support_customers (tenant_id, key_sealed, updated_at) \
                 SELECT t, 'sealed', now() - interval '1 minute' FROM unnest(ARRAY['never-moved', 'kept-after-a-move', \
                     'kept-before-a-move', 'in-two-places', 'at-another-kind', 'without-an-account']) t",
        )
        .await
        .unwrap();
    let admin_url = database.admin_url().parse().unwrap();
    migrate(&admin_url, &database.url, &database.names, MIGRATIONS)
        .await
        .unwrap();
    let query =
        "SELECT concat_ws(' ', tenant_id, endpoint, names_endpoint) AS row FROM support_customers ORDER BY 1";
    let rows: Vec<Row> = diesel::sql_query(query).load(&mut admin).await.unwrap();
    let rows: Vec<&str> = rows.iter().map(|row| row.row.as_str()).collect();
    assert_eq!(rows, ["kept-after-a-move Second f", "never-moved Primary f"]);
    tenant_isolation::policy::check(&database.db).await.unwrap();
}
