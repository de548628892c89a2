//! What a tenant left on another endpoint is unlinked there as soon as that can be done.

use channel_service::flows::erase_tenant::erase;
use channel_service::flows::tenant::Actor;
use domain::ids::TenantId;
use domain::user::Role;
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use simulator::{FaultKind, FaultSpec, GowaConfigChange, Simulator};
use tenant_isolation::TenantScope;
use test_support::eventually;

use crate::devices::Desk;
use crate::gowa_world;
use crate::harness::{Answer, Maker, TestApp, Wishes};
use crate::secrets::{assert_in_no_table, dump};
use crate::signing_in::bearer_of;
use crate::tenant_config::{assign, call, root, two_endpoints};

const CONFIG: &str = "/whatsapp/tenant-config/desa-satu";

/// Nobody answers there.
fn goes_away(at: &Simulator) -> u64 {
    at.add_fault(FaultSpec::on_path("/", FaultKind::Cut)).unwrap()
}

async fn make_session(app: &TestApp, village: &str) -> Answer {
    let body = json!({"village_id": village});
    app.internal(Method::POST, "/whatsapp/session", Some(&body)).await
}

async fn their_turn_comes(app: &TestApp) {
    app.run_sql("UPDATE sessions_to_unlink SET next_try = now() - interval '1 second'")
        .await;
}

/// Whoever found an endpoint away puts off what is due there, and may do so a moment after it was made due here.
async fn until_nothing_is_left(app: &TestApp) {
    eventually("nothing is to be unlinked", || async {
        their_turn_comes(app).await;
        (app.count("sessions_to_unlink").await == 0).then_some(())
    })
    .await;
}

/// What was noted about unlinking: by whom, and what.
async fn acts(app: &TestApp) -> Vec<(String, String)> {
    app.rows("SELECT actor, detail FROM audit_log WHERE action = 'endpoint.unlink' ORDER BY id")
        .await
        .iter()
        .map(|act| {
            (
                act["actor"].as_str().unwrap().to_owned(),
                act["detail"].as_str().unwrap().to_owned(),
            )
        })
        .collect()
}

fn act(actor: &str, detail: &str) -> (String, String) {
    (actor.to_owned(), detail.to_owned())
}

/// What the tenant's configuration tells of it.
async fn shown(app: &TestApp, bearer: &str) -> Vec<Value> {
    let config = call(app, bearer, Method::GET, CONFIG, None).await;
    assert_eq!(config.status, 200, "{}", config.text);
    config.json()["config"]["sessions_to_unlink"]
        .as_array()
        .unwrap()
        .clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_at_an_endpoint_that_was_away_is_unlinked_when_it_is_back() {
    let (app, second) = two_endpoints(Wishes::default()).await;
    let satu = app.tenant("desa-satu").await;
    let root = root(&app).await;
    let admin = bearer_of(&app, "rara@desa.id", Role::TenantAdmin, Some("desa-satu")).await;
    assert!(shown(&app, &admin).await.is_empty());
    let away = goes_away(&app.simulator);
    let moved = assign(&app, &root, "desa-satu", json!({"endpoint_name": "Secondary"})).await;
    assert_eq!(moved["moved"]["left_behind"], 1, "{moved}");
    assert_eq!(app.simulator.wa_users().len(), 1);
    let left = shown(&app, &admin).await.remove(0);
    assert_eq!(
        (
            &left["name"],
            &left["endpoint"],
            &left["tries"],
            &left["last_reason"]
        ),
        (
            &json!("desa-satu-wa"),
            &json!("Primary"),
            &json!(1),
            &json!("provider_silent")
        ),
        "{left}"
    );
    assert!(left["left_at"].as_str() < left["next_try"].as_str(), "{left}");
    assert_in_no_table(&dump(&app).await, &satu.session.token);

    // Tried, and tried later.
    their_turn_comes(&app).await;
    let again = eventually("it is tried again", || async {
        let left = shown(&app, &admin).await.pop()?;
        (left["tries"] == 2).then_some(left)
    })
    .await;
    assert!(again["next_try"].as_str() > left["next_try"].as_str(), "{again}");
    app.simulator.remove_fault(away);
    until_nothing_is_left(&app).await;
    assert!(app.simulator.wa_users().is_empty());
    assert_eq!(
        acts(&app).await,
        [
            act("user super@kanal.id", "left behind"),
            act("sweep", "unlinked")
        ]
    );
    app.finish().await;
    second.stop().await;
}

/// Nothing of what is needed is lost with the process that moves the tenant.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_moves_a_tenant_may_die_at_once() {
    let (app, second) = two_endpoints(Wishes::default()).await;
    app.tenant("desa-satu").await;
    let root = root(&app).await;
    let hangs = FaultSpec::on_path("/wa/", FaultKind::Delay { ms: 60_000 });
    let hangs = app.simulator.add_fault(hangs).unwrap();
    let request = app
        .http()
        .post(format!("{}/api{CONFIG}", app.url))
        .header("authorization", &root)
        .json(&json!({"endpoint_name": "Secondary"}))
        .send();
    let moving = tokio::spawn(request);
    eventually("the tenant is moved", || async {
        let bound = app.values("SELECT endpoint AS value FROM accounts").await;
        (bound == [json!("Secondary")]).then_some(())
    })
    .await;
    let row = app
        .rows("SELECT tenant_id, endpoint, session_id IS NOT NULL AS has_id, token_sealed IS NOT NULL AS has_token FROM sessions_to_unlink")
        .await;
    assert_eq!(
        row,
        [json!({"tenant_id": "desa-satu", "endpoint": "Primary", "has_id": true, "has_token": true})]
    );
    app.simulator.remove_fault(hangs);
    moving.await.unwrap().unwrap();
    app.finish().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_only_begun_is_taken_back_where_it_was_begun() {
    let (app, second) = two_endpoints(Wishes::default()).await;
    app.bare_tenant("desa-satu").await;
    let root = root(&app).await;
    let mut lost = FaultSpec::on_path("/wa/admin/users", FaultKind::LostAnswer).times(1);
    lost.method = Some("POST".to_owned());
    app.simulator.add_fault(lost).unwrap();
    make_session(&app, "desa-satu")
        .await
        .assert_error(500, "gateway_failed");
    assert_eq!(app.simulator.wa_users().len(), 1, "made, and nobody knows");
    let away = goes_away(&app.simulator);
    assign(&app, &root, "desa-satu", json!({"endpoint_name": "Secondary"})).await;
    assert_eq!(app.count("session_intents").await, 0);
    let left = shown(&app, &root).await.remove(0);
    assert_eq!(
        (&left["name"], &left["last_reason"]),
        (&json!("desa-satu"), &json!("provider_silent"))
    );
    assert_eq!(make_session(&app, "desa-satu").await.status, 200);
    app.simulator.remove_fault(away);
    until_nothing_is_left(&app).await;
    assert!(app.simulator.wa_users().is_empty());
    assert_eq!(second.wa_users().len(), 1);
    app.finish().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_its_tenant_came_back_to_stays() {
    let app = gowa_world::spawn().await;
    app.simulator.configure_gowa(GowaConfigChange {
        auto_login: Some(false),
        ..GowaConfigChange::default()
    });
    let desk = Desk::open(&app, "desa-satu", 2).await;
    let root = root(&app).await;
    assign(&app, &root, "desa-satu", json!({"endpoint_name": "Toko"})).await;
    let (used, unused) = (desk.add("Satu").await, desk.add("Dua").await);
    let away = goes_away(&app.simulator);
    let moved = assign(&app, &root, "desa-satu", json!({"endpoint_name": "Lain"})).await;
    assert_eq!(moved["moved"]["left_behind"], 2, "{moved}");
    assign(&app, &root, "desa-satu", json!({"endpoint_name": "Toko"})).await;
    app.simulator.remove_fault(away);
    let connected = desk.call(Method::POST, &format!("/{used}/connect"), None).await;
    assert_eq!(connected.status, 200, "{}", connected.text);
    assert_eq!(
        app.simulator.gowa_devices().len(),
        2,
        "it is the one that was left"
    );
    until_nothing_is_left(&app).await;
    let kept = app
        .values(&format!(
            "SELECT session_id AS value FROM accounts WHERE id = '{used}'"
        ))
        .await;
    let there: Vec<Value> = app
        .simulator
        .gowa_devices()
        .iter()
        .map(|device| json!(device.id))
        .collect();
    assert_eq!(there, kept);
    assert_eq!(desk.device(&unused).await["status"], "no_session");
    let mut ends: Vec<(String, String)> = acts(&app).await.split_off(2);
    ends.sort();
    assert_eq!(ends, [act("sweep", "unlinked"), act("sweep", "used again")]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_try_is_enough_at_an_endpoint_that_is_away_and_others_go_on() {
    let (app, second) = two_endpoints(Wishes::default()).await;
    let root = root(&app).await;
    for village in ["desa-satu", "desa-dua", "desa-tiga"] {
        app.tenant(village).await;
    }
    app.bare_tenant("desa-lain").await;
    assign(&app, &root, "desa-lain", json!({"endpoint_name": "Secondary"})).await;
    assert_eq!(make_session(&app, "desa-lain").await.status, 200);
    let away = [goes_away(&app.simulator), goes_away(&second)];
    for (village, to) in [
        ("desa-satu", "Secondary"),
        ("desa-dua", "Secondary"),
        ("desa-tiga", "Secondary"),
        ("desa-lain", "Primary"),
    ] {
        assign(&app, &root, village, json!({"endpoint_name": to})).await;
    }
    second.remove_fault(away[1]);
    their_turn_comes(&app).await;
    eventually("the one that can be unlinked is", || async {
        (app.count("sessions_to_unlink").await == 3).then_some(())
    })
    .await;
    assert!(second.wa_users().is_empty());
    eventually("the others wait for another time", || async {
        let tries = app
            .values(
                "SELECT array_agg(tries ORDER BY tries) AS value FROM sessions_to_unlink \
                 WHERE endpoint = 'Primary' AND next_try > now()",
            )
            .await;
        (tries == [json!([1, 1, 2])]).then_some(())
    })
    .await;
    app.simulator.remove_fault(away[0]);
    until_nothing_is_left(&app).await;
    assert!(app.simulator.wa_users().is_empty());
    app.finish().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_week_it_is_given_up_aloud() {
    let (app, second) = two_endpoints(Wishes::default()).await;
    app.tenant("desa-satu").await;
    app.run_sql("UPDATE tenants SET created_at = now() - interval '1 year'")
        .await;
    let root = root(&app).await;
    app.run_sql("UPDATE accounts SET endpoint = 'Gone'").await;
    assign(&app, &root, "desa-satu", json!({"endpoint_name": "Secondary"})).await;
    let left = shown(&app, &root).await.remove(0);
    assert_eq!(
        (&left["endpoint"], &left["last_reason"]),
        (&json!("Gone"), &json!("endpoint_missing"))
    );
    app.run_sql("UPDATE sessions_to_unlink SET left_at = now() - interval '6 days 23 hours'")
        .await;
    their_turn_comes(&app).await;
    eventually("it is tried again", || async {
        let left = shown(&app, &root).await.pop()?;
        (left["tries"] == 2).then_some(())
    })
    .await;
    app.run_sql("UPDATE sessions_to_unlink SET left_at = now() - interval '7 days 1 minute'")
        .await;
    until_nothing_is_left(&app).await;
    assert_eq!(
        acts(&app).await,
        [
            act("user super@kanal.id", "left behind"),
            act("sweep", "given up: endpoint_missing")
        ]
    );
    app.finish().await;
    second.stop().await;
}

/// In which tables something of the tenant's is, and how much.
async fn rows_of(app: &TestApp, tenant: &str) -> Vec<(String, u64)> {
    let tables = app
        .values(
            "SELECT c.relname AS value FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
             WHERE a.attname = 'tenant_id' AND c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' \
             ORDER BY 1",
        )
        .await;
    let mut found = Vec::new();
    for table in tables {
        let table = table.as_str().unwrap();
        let count = app.count(&format!("{table} WHERE tenant_id = '{tenant}'")).await;
        if count > 0 {
            found.push((table.to_owned(), count));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_to_be_unlinked_outlives_its_tenant_and_nothing_else_does() {
    let (app, second) = two_endpoints(Wishes::default()).await;
    let root = root(&app).await;
    for village in ["desa-satu", "desa-dua"] {
        app.tenant(village).await;
    }
    let away = goes_away(&app.simulator);
    assign(&app, &root, "desa-dua", json!({"endpoint_name": "Secondary"})).await;
    let redis = cache::RedisLink::new(&SecretString::from(test_support::redis_url()), "eraser").unwrap();
    for village in ["desa-satu", "desa-dua"] {
        let scope = TenantScope::named_by_operator(TenantId::parse(village).unwrap());
        let actor = Actor::operator();
        erase(&app.direct, &app.keys, &redis, &app.routes, None, &scope, &actor)
            .await
            .unwrap();
        let left = eventually("nobody is at it", || async {
            let left = rows_of(&app, village).await;
            left.iter()
                .all(|(table, _)| table != "session_leases")
                .then_some(left)
        })
        .await;
        let tables: Vec<&str> = left.iter().map(|(table, _)| table.as_str()).collect();
        assert_eq!(tables, ["audit_log", "sessions_to_unlink"]);
        assert_eq!(left[1].1, 1, "{village}");
    }
    assert_eq!(app.simulator.wa_users().len(), 2);
    app.simulator.remove_fault(away);
    until_nothing_is_left(&app).await;
    assert!(app.simulator.wa_users().is_empty());
    for village in ["desa-satu", "desa-dua"] {
        eventually("only its acts are left", || async {
            let left = rows_of(&app, village).await;
            (left.len() == 1 && left[0].0 == "audit_log").then_some(())
        })
        .await;
    }
    app.finish().await;
    second.stop().await;
}

async fn an_erased_tenants_sessions_are_unlinked(maker: Maker) {
    let app = TestApp::with(Wishes {
        maker,
        ..Wishes::default()
    })
    .await;
    let root = root(&app).await;
    for village in ["desa-satu", "desa-dua", "desa-tiga"] {
        app.bare_tenant(village).await;
    }
    for village in ["desa-satu", "desa-dua"] {
        assert_eq!(make_session(&app, village).await.status, 200);
    }
    // One that was only begun.
    if maker == Maker::Server {
        let mut lost = FaultSpec::on_path("/wa/admin/users", FaultKind::LostAnswer).times(1);
        lost.method = Some("POST".to_owned());
        app.simulator.add_fault(lost).unwrap();
        make_session(&app, "desa-tiga")
            .await
            .assert_error(500, "gateway_failed");
        assert_eq!(app.simulator.wa_users().len(), 3);
    }
    for village in ["desa-satu", "desa-tiga"] {
        let body = json!({"confirm": village});
        let erased = call(
            &app,
            &root,
            Method::DELETE,
            &format!("/tenants/{village}"),
            Some(body),
        )
        .await;
        assert_eq!(erased.status, 200, "{}", erased.text);
    }
    until_nothing_is_left(&app).await;
    let names: Vec<String> = app
        .simulator
        .wa_users()
        .into_iter()
        .map(|user| user.name)
        .collect();
    assert_eq!(names.len(), 1, "{names:?}");
    eventually("only its acts are left", || async {
        let left = rows_of(&app, "desa-satu").await;
        (left.len() == 1 && left[0].0 == "audit_log").then_some(())
    })
    .await;
    let acts =
        "SELECT detail AS value FROM audit_log WHERE tenant_id = 'desa-satu' AND action = 'tenant.erase'";
    assert_eq!(app.values(acts).await, [json!("1 sessions to be unlinked")]);
    // Whoever has the name next has nothing to do with it.
    app.bare_tenant("desa-satu").await;
    assert_eq!(make_session(&app, "desa-satu").await.status, 200);
    assert_eq!(app.simulator.wa_users().len(), 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_tenants_sessions_are_unlinked_at_the_server() {
    an_erased_tenants_sessions_are_unlinked(Maker::Server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_tenants_sessions_are_unlinked_through_the_gateway() {
    an_erased_tenants_sessions_are_unlinked(Maker::Gateway).await;
}

async fn erase_at(app: &TestApp, root: &str, village: &str) {
    let (path, body) = (format!("/tenants/{village}"), json!({"confirm": village}));
    let erased = call(app, root, Method::DELETE, &path, Some(body)).await;
    assert_eq!(erased.status, 200, "{}", erased.text);
}

async fn the_id_of_an_erased_tenant_opens_nothing_of_it(maker: Maker) {
    let app = TestApp::with(Wishes {
        maker,
        ..Wishes::default()
    })
    .await;
    let root = root(&app).await;
    app.bare_tenant("desa-satu").await;
    assert_eq!(make_session(&app, "desa-satu").await.status, 200);
    let before = app.simulator.wa_users().remove(0);

    let away = goes_away(&app.simulator);
    erase_at(&app, &root, "desa-satu").await;
    app.run_sql("UPDATE sessions_to_unlink SET next_try = now() + interval '1 hour'")
        .await;
    app.simulator.remove_fault(away);
    app.bare_tenant("desa-satu").await;
    assert_eq!(shown(&app, &root).await, [json!(null); 0]);
    assert_eq!(make_session(&app, "desa-satu").await.status, 200);

    let users = app.simulator.wa_users();
    assert_eq!(users.len(), 1, "its session is gone, phone and all");
    assert_ne!(users[0].id, before.id);
    until_nothing_is_left(&app).await;
    assert_eq!(app.simulator.wa_users().len(), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_id_of_an_erased_tenant_opens_nothing_of_it_at_the_server() {
    the_id_of_an_erased_tenant_opens_nothing_of_it(Maker::Server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_id_of_an_erased_tenant_opens_nothing_of_it_through_the_gateway() {
    the_id_of_an_erased_tenant_opens_nothing_of_it(Maker::Gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_being_made_does_not_bring_its_erased_tenant_back() {
    let app = TestApp::with(Wishes {
        maker: Maker::Gateway,
        ..Wishes::default()
    })
    .await;
    let root = root(&app).await;
    app.bare_tenant("desa-satu").await;
    // What it looks at before it makes one: the erasure is over then, and whoever makes it goes on.
    let mut slow = FaultSpec::on_path("/support/v1/sessions", FaultKind::Delay { ms: 4_000 }).times(1);
    slow.method = Some("GET".to_owned());
    app.simulator.add_fault(slow).unwrap();
    let (made, ()) = tokio::join!(make_session(&app, "desa-satu"), async {
        eventually("it is intended", || async {
            (app.count("session_intents").await == 1).then_some(())
        })
        .await;
        erase_at(&app, &root, "desa-satu").await;
    });
    assert_ne!(made.status, 200, "{}", made.text);
    assert_eq!(app.count("tenants").await, 0);
    assert_eq!(app.count("accounts").await, 0);
    until_nothing_is_left(&app).await;
    assert_eq!(app.simulator.wa_users().len(), 0);
    app.finish().await;
}
