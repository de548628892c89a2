//! The first page says how things stand and what to do next.

use domain::user::Role;

use crate::browser::Browser;
use crate::harness::TestApp;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_page_says_what_to_do_next_and_what_needs_somebody() {
    let app = TestApp::spawn().await;
    let root = Browser::of_superadmin(&app).await;
    assert!(root.page("/dashboard").await.contains("Begin with a tenant"));

    app.bare_tenant("desa-satu").await;
    app.bare_tenant("desa-dua").await;
    app.run_sql("UPDATE tenants SET status = 'suspended' WHERE tenant_id = 'desa-dua'")
        .await;
    let page = root.page("/dashboard").await;
    assert!(!page.contains("Begin with a tenant"));
    assert!(page.contains("<p class=\"figure\">2</p>") && page.contains("1 suspended"));
    assert!(page.contains("Nothing was put aside"));

    let rara = Browser::of(&app, "rara@desa.id", Role::TenantAdmin, Some("desa-satu")).await;
    let page = rara.page("/dashboard").await;
    assert!(page.contains("No phone is connected yet") && page.contains("Not connected yet"));
    assert!(page.contains("href=\"/dashboard/t/desa-satu/device\""));
    assert!(!page.contains("/dashboard/tenants"), "{page}");

    // A device elsewhere changes nothing; one's own does, and work that was put aside is counted.
    app.run_sql(
        "UPDATE accounts SET device_since = now(), status = 'connected' WHERE tenant_id = 'desa-dua'",
    )
    .await;
    assert!(
        rara.page("/dashboard")
            .await
            .contains("No phone is connected yet")
    );
    app.run_sql(
        "UPDATE accounts SET device_since = now(), status = 'disconnected' WHERE tenant_id = 'desa-satu'",
    )
    .await;
    let page = rara.page("/dashboard").await;
    assert!(page.contains("0/1 connected") && !page.contains("No phone is connected yet"));
    app.run_sql("UPDATE accounts SET status = 'connected' WHERE tenant_id = 'desa-satu'")
        .await;
    assert!(rara.page("/dashboard").await.contains(">Connected</span>"));
    app.finish().await;
}
