//! Plots of what went through, for a tenant's admin and for all.

use channel_service::traffic::{Counted, Traffic};
use channel_service::workers;
use domain::delivery::DeliveryStatus;
use domain::ids::TenantId;
use domain::user::Role;

use crate::browser::Browser;
use crate::harness::TestApp;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_numbers_are_drawn_for_its_admin_and_for_nobody_elses() {
    let app = TestApp::spawn().await;
    app.bare_tenant("desa-satu").await;
    app.bare_tenant("desa-dua").await;
    let traffic = Traffic::default();
    let satu = TenantId::parse("desa-satu").unwrap();
    traffic.count(&satu, Counted::Received, 4_321);
    traffic.sent(&satu, Some(chrono::Utc::now() - chrono::TimeDelta::seconds(1)));
    traffic.moved(&satu, [DeliveryStatus::Failed, DeliveryStatus::Parked]);
    workers::traffic::write(&app.direct, &traffic).await.unwrap();

    let admin = Browser::of(&app, "admin@desa.id", Role::TenantAdmin, Some("desa-satu")).await;
    let here = "/dashboard/t/desa-satu/pictures";
    for range in ["1h", "24h", "7d", "30d", "nonsense"] {
        let page = admin.page(&format!("{here}?range={range}")).await;
        for bad in ["style=", "<script>", "onclick", "NaN"] {
            assert!(!page.contains(bad), "{bad}: {page}");
        }
        assert!(page.len() < 100_000, "{} bytes", page.len());
        assert!(page.contains("4,321"), "{range}: {page}");
        assert_eq!(page.matches("<svg class=\"plot-image").count(), 3, "{range}");
        assert!(page.contains("Show as table") && page.contains("<desc id=\"latency-desc\">"));
    }
    assert!(admin.page(here).await.contains("aria-current=\"page\">24 hours"));
    assert_eq!(admin.get("/dashboard/t/desa-dua/pictures").await.status, 404);

    let root = Browser::of_superadmin(&app).await;
    let other = root.page("/dashboard/t/desa-dua/pictures").await;
    assert!(other.contains("Nothing in this time.") && !other.contains("4,321"));
    let all = root.in_indonesian().page("/dashboard/pictures").await;
    assert!(
        all.contains("4.321") && all.contains("Semua tenant bersama-sama") && all.contains("health-Primary")
    );
    app.finish().await;
}
