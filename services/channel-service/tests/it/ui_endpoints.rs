//! Superadmins see how the endpoints are and were, and who has them.

use simulator::{FaultKind, FaultSpec};
use test_support::eventually;

use crate::browser::{Browser, sent_to};
use crate::harness::{Maker, TestApp, Wishes};

const HERE: &str = "/dashboard/endpoints/Primary";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_is_checked_on_demand_and_its_trouble_told_in_words() {
    let app = TestApp::with(Wishes {
        maker: Maker::Server,
        settings: &[
            ("ENDPOINT_CHECKS", "on"),
            // Nobody checks by himself while the test looks.
            ("ENDPOINT_CHECK_MS", "3600000"),
            ("ENDPOINT_FAILURES", "1"),
            ("ENDPOINT_SLOW_MS", "20000"),
            ("ENDPOINT_CHECK_TIMEOUT_MS", "20000"),
        ],
        ..Wishes::default()
    })
    .await;
    let root = Browser::of_superadmin(&app).await;
    let check = || async {
        let answer = root.post(&format!("{HERE}/check"), &[]).await;
        assert!(sent_to(&answer).starts_with(&format!("{HERE}?said=check")));
    };
    check().await;
    let healthy = eventually("it was found healthy", || async {
        let page = root.page(HERE).await;
        page.contains("Healthy").then_some(page)
    })
    .await;
    assert!(!healthy.contains("simulator-admin-token") && !healthy.contains(&app.simulator.base_url()));
    app.simulator
        .add_fault(FaultSpec::on_path("/wa", FaultKind::Cut))
        .unwrap();
    check().await;
    let down = eventually("it was found down", || async {
        let page = root.page(HERE).await;
        page.contains("Down").then_some(page)
    })
    .await;
    assert!(
        down.contains("Down: no answer") || down.contains("Down: no connection"),
        "the strip: {down}"
    );
    assert!(down.contains("aria-current=\"page\">24 hours") && down.contains("<figure class=\"plot\""));
    let list = root.page("/dashboard/endpoints").await;
    assert!(list.contains("Down") && list.contains("the usual one"));
    let indonesian = root.in_indonesian().page("/dashboard/endpoints").await;
    assert!(indonesian.contains("Tidak berfungsi"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_of_an_endpoint_come_page_by_page() {
    let app = TestApp::spawn().await;
    app.run_sql(
        "INSERT INTO tenants (tenant_id, name) SELECT 'desa-' || lpad(n::text, 3, '0'), 'Desa <i>' || n FROM generate_series(1, 70) n; \
         INSERT INTO tenant_whatsapp_config (tenant_id, id, endpoint_name) \
            SELECT tenant_id, gen_random_uuid(), 'Primary' FROM tenants",
    )
    .await;
    let root = Browser::of_superadmin(&app).await;
    let first = root.page(HERE).await;
    assert!(first.contains(">70<") || first.contains("70 ·"), "how many");
    assert!(first.contains("desa-050") && !first.contains("desa-051"));
    assert!(!first.contains("<i>"));
    assert!(first.contains(&format!("{HERE}?after=desa-050")));
    let second = root.page(&format!("{HERE}?after=desa-050&range=7d")).await;
    assert!(second.contains("desa-051") && second.contains("desa-070") && !second.contains("desa-050"));
    assert_eq!(root.get("/dashboard/endpoints/Nowhere").await.status, 404);
    let answer = root.post(&format!("{HERE}/check"), &[]).await;
    assert_eq!(
        sent_to(&answer),
        format!("{HERE}?said=unchecked"),
        "nobody checks in this test"
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strip_has_an_episode_for_each_state_and_a_gap_where_nobody_looked() {
    use channel_service::flows::pictures::{self, Range};
    use channel_service::store::endpoint_health::HealthStatus::{Healthy, Unhealthy};

    let app = TestApp::spawn().await;
    // Healthy for an hour, down for half of one, then nobody looked for six hours, and lately healthy again.
    app.run_sql(
        "INSERT INTO endpoint_checks (endpoint, at, status, reason) \
         SELECT 'Primary', now() - interval '10 hours' + n * interval '10 minutes', \
                CASE WHEN n BETWEEN 6 AND 8 THEN 'unhealthy' ELSE 'healthy' END, \
                CASE WHEN n BETWEEN 6 AND 8 THEN 'no_answer' END \
         FROM generate_series(0, 10) n; \
         INSERT INTO endpoint_checks (endpoint, at, status) \
         SELECT 'Primary', now() - n * interval '10 minutes', 'healthy' FROM generate_series(0, 5) n ORDER BY n DESC",
    )
    .await;
    let health = pictures::health(&app.direct, &["Primary", "Secondary"], Range::Day)
        .await
        .unwrap();
    let seen: Vec<_> = health
        .episodes
        .iter()
        .map(|one| {
            (
                one.status,
                (one.until - one.from).num_minutes(),
                one.reason.as_deref(),
            )
        })
        .collect();
    let (last, before) = seen.split_last().unwrap();
    assert_eq!(
        before,
        [
            (Healthy, 60, None),
            (Unhealthy, 30, Some("no_answer")),
            (Healthy, 10, None),
        ]
    );
    // It lasts until now, whenever that is.
    assert!(last.0 == Healthy && (50..120).contains(&last.1), "{last:?}");
    app.finish().await;
}
