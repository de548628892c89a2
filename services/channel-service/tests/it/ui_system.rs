//! Operators see what the service depends on and what waits.

use test_support::eventually;

use crate::browser::Browser;
use crate::harness::TestApp;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_system_page_shows_dependencies_backlogs_and_processes() {
    let app = TestApp::spawn().await;
    app.run_sql(
        "INSERT INTO tenants (tenant_id, name) VALUES ('desa-satu', 'Desa'); \
         INSERT INTO lane_tasks (tenant_id, id, lane, kind, payload, parked) \
            SELECT 'desa-satu', gen_random_uuid(), 'test', 'nothing', '{}', true FROM generate_series(1, 10002)",
    )
    .await;
    let root = Browser::of_superadmin(&app).await;
    let page = eventually("everything is there", || async {
        let page = root.page("/dashboard/system").await;
        let up = page.matches("badge ok").count() == 3 && page.contains("made this page");
        up.then_some(page)
    })
    .await;
    for word in [
        "PostgreSQL",
        "Redis",
        "RabbitMQ",
        "Outbox",
        "more than 10,000",
        env!("CARGO_PKG_VERSION"),
    ] {
        assert!(page.contains(word), "{word}");
    }
    assert!(page.contains("aria-live=\"polite\"") && page.contains("hx-get=\"/dashboard/system/now\""));

    app.proxies.redis.cut();
    let part = eventually("Redis is away", || async {
        let part = root.get("/dashboard/system/now").await;
        part.text.contains("badge bad").then_some(part.text)
    })
    .await;
    assert!(
        !part.contains("<html") && part.contains("Publishes events"),
        "a part, not a page"
    );
    app.proxies.redis.restore();
    let page = root.in_indonesian().page("/dashboard/system").await;
    assert!(page.contains("Yang menunggu") && page.contains("lebih dari 10.000"));
    app.finish().await;
}
