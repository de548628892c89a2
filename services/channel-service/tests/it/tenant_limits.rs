//! Each setting of a tenant does what it says, for that tenant and for nobody else.

use std::time::Duration;

use domain::tenant_config::MESSAGE_TIMEOUT;
use reqwest::Method;
use serde_json::json;
use simulator::{FaultKind, FaultSpec};
use test_support::eventually;

use crate::harness::{TestApp, Wishes, refusal};
use crate::tenant_config::{assign, root};

const RARA: &str = "6281290000011";
const BIMA: &str = "6281290000022";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_timeout_cuts_its_own_calls_only() {
    let app = TestApp::with(Wishes {
        message_timeout_ms: "20000",
        ..Wishes::default()
    })
    .await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    let root = root(&app).await;
    assign(
        &app,
        &root,
        "desa-satu",
        json!({"endpoint_name": "Primary", "message_timeout": 1}),
    )
    .await;
    for (tenant, phone, reference) in [(&dua, BIMA, "ditunggu"), (&satu, RARA, "dipotong")] {
        app.sends_fail(FaultKind::Delay { ms: 6_000 }, 1);
        app.order(tenant, phone, reference).await;
        eventually("the call hangs", || async {
            app.simulator
                .faults()
                .iter()
                .all(|fault| fault.hits == 1)
                .then_some(())
        })
        .await;
    }
    app.until_status("dipotong", "sent").await;
    app.until_status("ditunggu", "sent").await;
    let attempts = |reference: &str| {
        let query = format!(
            "SELECT outcome, a.reason, endpoint, took_ms >= 1000 AS waited FROM send_attempts a \
             JOIN messages m ON m.id = a.message_id WHERE m.reference = '{reference}' ORDER BY seq"
        );
        let app = &app;
        async move { app.rows(&query).await }
    };
    let cut = attempts("dipotong").await;
    assert_eq!(
        cut[0],
        json!({"outcome": "unknown", "reason": "timeout", "endpoint": "Primary", "waited": true})
    );
    assert_eq!(cut.last().unwrap()["outcome"], "accepted");
    assert_eq!(app.statuses("dipotong"), ["queued", "unknown", "sent"]);
    let waited = attempts("ditunggu").await;
    assert_eq!((waited.len(), &waited[0]["outcome"]), (1, &json!("accepted")));
    assert_eq!(app.simulator.phone(RARA).len(), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_timeout_may_be_longer_than_everybodys() {
    let app = TestApp::with(Wishes {
        message_timeout_ms: "1000",
        ..Wishes::default()
    })
    .await;
    let satu = app.tenant("desa-satu").await;
    let root = root(&app).await;
    let longest = json!({"endpoint_name": "Primary", "message_timeout": MESSAGE_TIMEOUT.most});
    assign(&app, &root, "desa-satu", longest).await;
    app.sends_fail(FaultKind::Delay { ms: 3_000 }, 1);
    app.order(&satu, RARA, "sabar").await;
    app.until_status("sabar", "sent").await;
    assert_eq!(
        app.values("SELECT outcome AS value FROM send_attempts").await,
        [json!("accepted")]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_timeout_cuts_calls_about_its_session() {
    let app = TestApp::with(Wishes {
        message_timeout_ms: "20000",
        ..Wishes::default()
    })
    .await;
    app.tenant("desa-satu").await;
    let root = root(&app).await;
    assign(
        &app,
        &root,
        "desa-satu",
        json!({"endpoint_name": "Primary", "message_timeout": 1}),
    )
    .await;
    app.simulator
        .add_fault(FaultSpec::on_path("/wa/session", FaultKind::Delay { ms: 8_000 }).times(20))
        .unwrap();
    for route in ["connect", "disconnect", "logout"] {
        app.internal(
            Method::POST,
            &format!("/whatsapp/{route}?village_id=desa-satu"),
            None,
        )
        .await
        .assert_error(500, "provider_silent");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_retries_bound_its_deliveries() {
    let app = TestApp::with(Wishes {
        send_attempts: "4",
        ..Wishes::default()
    })
    .await;
    let tenants = [
        (app.tenant("desa-satu").await, Some(0), 1),
        (app.tenant("desa-dua").await, Some(2), 3),
        // More than everybody has is no more than everybody has.
        (app.tenant("desa-tiga").await, Some(20), 4),
        (app.tenant("desa-empat").await, None, 4),
    ];
    let root = root(&app).await;
    for (tenant, retries, _) in &tenants {
        if let Some(retries) = retries {
            let body = json!({"endpoint_name": "Primary", "webhook_retries": retries});
            assign(&app, &root, &tenant.id, body).await;
        }
    }
    app.sends_fail(refusal(500, "no session", None), 1 + 3 + 4 + 4);
    for (tenant, _, _) in &tenants {
        app.order(tenant, RARA, &format!("gagal {}", tenant.id)).await;
    }
    for (tenant, _, tries) in &tenants {
        app.until_status(&format!("gagal {}", tenant.id), "parked").await;
        let made = app
            .values(&format!(
                "SELECT count(*) AS value FROM send_attempts WHERE tenant_id = '{}'",
                tenant.id
            ))
            .await;
        assert_eq!(made, [json!(tries)], "{}", tenant.id);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_known_everywhere_within_a_moment() {
    let app = TestApp::with(Wishes {
        message_timeout_ms: "20000",
        ..Wishes::default()
    })
    .await;
    let replica = app.replica().await;
    let satu = app.tenant("desa-satu").await;
    let root = root(&app).await;
    // Both processes have sent for the tenant and know what holds for it.
    for n in 0..10 {
        app.order(&satu, &format!("628129000{n:04}"), &format!("awal {n}"))
            .await;
        app.until_status(&format!("awal {n}"), "sent").await;
    }
    assign(
        &app,
        &root,
        "desa-satu",
        json!({"endpoint_name": "Primary", "webhook_retries": 0}),
    )
    .await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    app.sends_fail(refusal(500, "no session", None), 10);
    for n in 0..10 {
        app.order(&satu, &format!("628129000{n:04}"), &format!("akhir {n}"))
            .await;
    }
    for n in 0..10 {
        app.until_status(&format!("akhir {n}"), "parked").await;
    }
    eventually("each was tried once", || async {
        let tried = app
            .values("SELECT count(*) AS value FROM send_attempts WHERE outcome = 'retry_later'")
            .await;
        (tried == [json!(10)]).then_some(())
    })
    .await;
    replica.finish().await;
    app.finish().await;
}
