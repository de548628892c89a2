//! What is counted of an endpoint, by name and by value: its tenants, its health, its calls, its devices, its sends, and what
//! is left to be unlinked there. The endpoint has a name of its own, because all tests share one page of metrics.

use channel_service::workers::endpoint_tenants;
use domain::user::Role;
use reqwest::Method;
use runtime::shutdown::Shutdown;
use serde_json::json;
use simulator::{FaultKind, FaultSpec, Simulator, SimulatorConfig};
use test_support::{eventually, logs};

use crate::endpoints::tenant_at;
use crate::harness::{Maker, SEND, TestApp, Wishes, refusal};
use crate::signing_in::bearer_of;
use crate::tenant_config::{assign, root};

const RARA: &str = "6281290000011";
const NAME: &str = "Terhitung";

/// Checks every 400 ms, and anew after 100 ms.
const OFTEN: &[(&str, &str)] = &[
    ("ENDPOINT_CHECKS", "on"),
    ("ENDPOINT_CHECK_SHORTEST_MS", "100"),
    ("ENDPOINT_CHECK_MS", "400"),
    ("ENDPOINT_CHECK_AGAIN_MS", "100"),
    ("ENDPOINT_SLOW_MS", "20000"),
    ("ENDPOINT_CHECK_TIMEOUT_MS", "20000"),
    ("ENDPOINT_ALERT_AFTER_SECONDS", "1"),
];

/// What the page says of this line.
fn shown(line: &str) -> Option<f64> {
    let line = line.replace("{name}", NAME);
    let page = runtime::telemetry::render_metrics();
    page.lines()
        .find_map(|shown| shown.strip_prefix(line.as_str())?.strip_prefix(' ')?.parse().ok())
}

async fn until_shown(line: &str, value: f64) {
    eventually(&format!("{line} is {value}"), || async {
        (shown(line) == Some(value)).then_some(())
    })
    .await;
}

async fn with_it() -> (TestApp, Simulator) {
    runtime::telemetry::start_metrics();
    test_support::install_crypto_provider();
    let second = Simulator::start(SimulatorConfig::for_tests()).await.unwrap();
    let app = TestApp::with(Wishes {
        maker: Maker::Server,
        endpoints: vec![(NAME, second.base_url())],
        settings: OFTEN,
        ..Wishes::default()
    })
    .await;
    (app, second)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_and_health_of_an_endpoint_are_shown_as_they_are() {
    let (app, second) = with_it().await;
    let root = root(&app).await;
    for n in 0..9 {
        app.bare_tenant(&format!("desa-{n}")).await;
    }
    // Who is put there is in a hurry.
    let there = json!({"endpoint_name": NAME, "health_check_interval": 1});
    for village in ["desa-0", "desa-1"] {
        assign(&app, &root, village, there.clone()).await;
    }
    // Counts once, and ends.
    let count = || async {
        let over = Shutdown::new();
        over.begin();
        endpoint_tenants::run(app.direct.clone(), app.endpoints.clone(), over).await;
    };
    count().await;
    until_shown("kanal_endpoint_tenants{endpoint=\"{name}\"}", 2.0).await;
    // All other tests count their own.
    for without in [7.0, 6.0] {
        eventually("those without an endpoint are counted", || async {
            count().await;
            (shown("kanal_tenants_without_endpoint") == Some(without)).then_some(())
        })
        .await;
        assign(&app, &root, "desa-2", there.clone()).await;
    }
    until_shown("kanal_endpoint_tenants{endpoint=\"{name}\"}", 3.0).await;

    let of = |status: &str| format!("kanal_endpoint_health{{endpoint=\"{NAME}\",status=\"{status}\"}}");
    let alerting = "kanal_endpoint_alerting{endpoint=\"{name}\"}";
    until_shown(&of("healthy"), 1.0).await;
    assert_eq!((shown(&of("unhealthy")), shown(alerting)), (Some(0.0), Some(0.0)));
    let gone = second
        .add_fault(FaultSpec::on_path("/wa", FaultKind::Cut))
        .unwrap();
    until_shown(&of("unhealthy"), 1.0).await;
    until_shown(&of("healthy"), 0.0).await;
    until_shown(alerting, 1.0).await;
    second.remove_fault(gone);
    until_shown(&of("healthy"), 1.0).await;
    until_shown(&of("unhealthy"), 0.0).await;
    until_shown(alerting, 0.0).await;
    let checks = |status: &str| {
        shown(&format!(
            "kanal_endpoint_checks_total{{endpoint=\"{NAME}\",status=\"{status}\"}}"
        ))
    };
    // Two in a row may be chance, the third is none.
    assert_eq!(checks("degraded"), Some(2.0));
    assert!(checks("unhealthy") >= Some(1.0) && checks("healthy") >= Some(2.0));
    app.finish().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_sends_and_calls_are_counted_by_what_came_of_them() {
    const NAME: &str = "Dihitung";
    runtime::telemetry::start_metrics();
    test_support::install_crypto_provider();
    let second = Simulator::start(SimulatorConfig::for_tests()).await.unwrap();
    let app = TestApp::with(Wishes {
        maker: Maker::Server,
        endpoints: vec![(NAME, second.base_url())],
        ..Wishes::default()
    })
    .await;
    let shown = |line: &str| shown(&line.replace("{name}", NAME));
    let root = root(&app).await;
    app.bare_tenant("desa-satu").await;
    assign(&app, &root, "desa-satu", json!({"endpoint_name": NAME})).await;
    let post = async |route: &str| {
        let body = json!({"village_id": "desa-satu"});
        app.internal(
            Method::POST,
            &format!("/whatsapp/{route}?village_id=desa-satu"),
            Some(&body),
        )
        .await
        .status
    };
    let connections = |by: &str, outcome: &str| {
        shown(&format!(
            "kanal_device_connections_total{{by=\"{by}\",endpoint=\"{{name}}\",outcome=\"{outcome}\"}}"
        ))
    };
    assert_eq!(post("session").await, 200);
    assert_eq!(connections("new", "connected"), Some(1.0));
    let refused = refusal(500, "failed to connect", None);
    let fault = second
        .add_fault(FaultSpec::on_path("/wa/session", refused))
        .unwrap();
    assert_ne!(post("connect").await, 200);
    second.remove_fault(fault);
    assert_eq!(post("connect").await, 200);
    assert_eq!(
        (
            connections("person", "failed"),
            connections("person", "connected")
        ),
        (Some(1.0), Some(1.0))
    );

    let dua = tenant_at(&app, &second, NAME, "desa-dua").await;
    app.order(&dua, RARA, "pertama").await;
    app.until_status("pertama", "sent").await;
    let busy = refusal(429, "rate limit exceeded", Some("1"));
    second.add_fault(FaultSpec::on_path(SEND, busy).times(1)).unwrap();
    app.order(&dua, RARA, "kedua").await;
    app.until_status("kedua", "sent").await;
    second
        .add_fault(FaultSpec::on_path(SEND, refusal(400, "no", None)).times(1))
        .unwrap();
    app.order(&dua, RARA, "ketiga").await;
    app.until_status("ketiga", "failed").await;
    for (outcome, times) in [("accepted", 2.0), ("rate_limited", 1.0), ("rejected", 1.0)] {
        let line = format!("kanal_send_attempts_total{{outcome=\"{outcome}\",endpoint=\"{{name}}\"}}");
        assert_eq!(shown(&line), Some(times), "{outcome}");
    }
    let page = runtime::telemetry::render_metrics();
    let sends: f64 = page
        .lines()
        .filter(|line| {
            line.starts_with(&format!(
                "kanal_endpoint_call_seconds_count{{endpoint=\"{NAME}\",call=\"send\""
            ))
        })
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum();
    assert!((sends - 4.0).abs() < 0.5, "{sends} sends were timed");
    let logged = logs::lines_with("an endpoint was called");
    assert!(
        logged
            .iter()
            .any(|line| line.contains(NAME) && line.contains("send"))
    );

    // What cannot be unlinked yet is shown until it is.
    let admin = bearer_of(&app, "rara@desa.id", Role::TenantAdmin, Some("desa-satu")).await;
    app.never_log(&admin);
    let away = second.add_fault(FaultSpec::on_path("/", FaultKind::Cut)).unwrap();
    assign(&app, &root, "desa-satu", json!({"endpoint_name": "Primary"})).await;
    let left = "kanal_sessions_to_unlink{endpoint=\"{name}\"}";
    eventually("it is shown", || async {
        (shown(left) == Some(1.0)).then_some(())
    })
    .await;
    second.remove_fault(away);
    eventually("nothing is left", || async {
        app.run_sql("UPDATE sessions_to_unlink SET next_try = now() - interval '1 second'")
            .await;
        (shown(left) == Some(0.0)).then_some(())
    })
    .await;
    app.finish().await;
    second.stop().await;
}
