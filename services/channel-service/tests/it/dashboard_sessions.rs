//! People of the dashboard make, connect and remove their village's session (contract channel-service 8.1).

use domain::user::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, INTERNAL_KEY, Maker, TestApp, Wishes};
use crate::signing_in::{ask, bearer_of};

const ROUTES: [(Method, &str); 7] = [
    (Method::POST, "/whatsapp/session"),
    (Method::DELETE, "/whatsapp/session"),
    (Method::GET, "/whatsapp/status"),
    (Method::POST, "/whatsapp/connect"),
    (Method::GET, "/whatsapp/qr"),
    (Method::POST, "/whatsapp/disconnect"),
    (Method::POST, "/whatsapp/logout"),
];

async fn spawn() -> TestApp {
    let app = TestApp::with(Wishes {
        maker: Maker::Server,
        events_come_here: true,
        ..Wishes::default()
    })
    .await;
    app.bare_tenant("desa-satu").await;
    app.bare_tenant("desa-dua").await;
    app
}

async fn call(app: &TestApp, bearer: &str, method: &Method, path: &str, body: Option<Value>) -> Answer {
    ask(app, method.clone(), path, &[("authorization", bearer)], body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_admin_needs_to_name_nobody_and_may_name_nobody_else() {
    let app = spawn().await;
    let admin = bearer_of(&app, "rara@desa.id", Role::TenantAdmin, Some("desa-satu")).await;
    let status = call(&app, &admin, &Method::GET, "/whatsapp/status", None).await;
    assert_eq!(status.json()["data"]["exists"], false, "{}", status.text);
    for (method, path) in &ROUTES {
        let answer = call(&app, &admin, method, &format!("{path}?village_id=desa-dua"), None).await;
        answer.assert_error(403, "not_your_village");
        assert_eq!(answer.json()["success"], false);
        let body = Some(json!({"village_id": "desa-dua"}));
        call(&app, &admin, method, path, body)
            .await
            .assert_error(403, "not_your_village");
    }
    assert!(app.simulator.wa_users().is_empty());

    let body = Some(json!({"village_slug": "desa-contoh-satu"}));
    let made = call(&app, &admin, &Method::POST, "/whatsapp/session", body.clone()).await;
    assert_eq!(
        (made.status, &made.json()["data"]["existing"]),
        (200, &json!(false)),
        "{}",
        made.text
    );
    let again = call(&app, &admin, &Method::POST, "/whatsapp/session", body).await;
    assert_eq!(again.json()["data"]["existing"], true);
    for (method, path) in [
        (Method::POST, "/whatsapp/connect"),
        (Method::POST, "/whatsapp/disconnect"),
        (Method::DELETE, "/whatsapp/session"),
    ] {
        let answer = call(&app, &admin, &method, path, None).await;
        assert_eq!(
            (answer.status, &answer.json()["success"]),
            (200, &json!(true)),
            "{path}: {}",
            answer.text
        );
    }
    assert!(app.simulator.wa_users().is_empty());
    let actors = app
        .values("SELECT DISTINCT actor AS value FROM audit_log WHERE action LIKE 'session.%'")
        .await;
    assert_eq!(actors, [json!("user rara@desa.id")]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_superadmin_names_the_village() {
    let app = spawn().await;
    let root = bearer_of(&app, "super@kanal.id", Role::Superadmin, None).await;
    let answer = call(&app, &root, &Method::GET, "/whatsapp/status", None).await;
    answer.assert_error(400, "village_id_required");
    assert_eq!(answer.json()["error"], "village_id diperlukan");
    for village in ["desa-satu", "desa-dua"] {
        let answer = call(
            &app,
            &root,
            &Method::GET,
            &format!("/whatsapp/status?village_id={village}"),
            None,
        )
        .await;
        assert_eq!(answer.json()["data"]["exists"], false, "{}", answer.text);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_of_a_service_and_no_other_site_gets_in() {
    let app = spawn().await;
    for (method, path) in &ROUTES {
        for headers in [&[][..], &[("x-internal-api-key", INTERNAL_KEY)]] {
            let path = format!("{path}?village_id=desa-satu");
            ask(&app, method.clone(), &path, headers, None)
                .await
                .assert_error(401, "not_signed_in");
        }
    }
    let admin = bearer_of(&app, "rara@desa.id", Role::TenantAdmin, Some("desa-satu")).await;
    let cookie = admin.replace("Bearer ", "kanal_session=");
    ask(
        &app,
        Method::POST,
        "/whatsapp/session",
        &[("cookie", &cookie)],
        None,
    )
    .await
    .assert_error(403, "csrf_token_required");
    assert!(app.simulator.wa_users().is_empty());
    app.finish().await;
}
