//! A number that two tenants hold, on the dashboard's pages of both.

use serde_json::json;

use crate::ui_device::{Visitor, connected, spawn};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_is_held_twice_is_ended_elsewhere_without_a_name() {
    let app = spawn(&[]).await;
    let first = Visitor::admin(&app, "desa-satu", 1).await;
    let second = Visitor::admin(&app, "desa-dua", 1).await;
    let theirs = connected(&first, "desa-satu", "6281200000005").await;
    let ours = connected(&second, "desa-dua", "6281200000005").await;
    let page = second.page(&ours).await;
    assert!(page.contains("also connected somewhere else"), "{page}");
    assert!(
        second
            .in_indonesian()
            .page(&ours)
            .await
            .contains("juga terhubung di tempat lain")
    );
    let ask = format!("{ours}/duplicate");
    let question = second.page(&ask).await;
    assert!(question.contains("End the other connection") && question.contains("Unlink it here"));
    for page in [&page, &question] {
        assert!(!page.contains("desa-satu"), "{page}");
    }
    let page = second.page(&second.post_and_go(&ask, &ask, &[]).await).await;
    assert!(
        page.contains("was ended") && !page.contains("somewhere else"),
        "{page}"
    );
    let page = first.page("/dashboard/t/desa-satu/device").await;
    assert!(page.contains("No WhatsApp number is connected yet"), "{page}");
    assert!(!page.contains("desa-dua"), "{page}");
    assert_eq!(first.get(&theirs).await.status, 404);
    assert_eq!(app.simulator.wa_users().len(), 1);
    let acts = app
        .rows(
            "SELECT tenant_id, action, actor LIKE 'user %' AS by_user, \
                    (actor || coalesce(detail, '') || coalesce(subject, '')) LIKE '%desa-dua%' AS names_us \
             FROM audit_log WHERE action LIKE 'session.force%' ORDER BY tenant_id",
        )
        .await;
    assert_eq!(
        acts,
        [
            json!({"tenant_id": "desa-dua", "action": "session.force_disconnect", "by_user": true, "names_us": true}),
            json!({"tenant_id": "desa-satu", "action": "session.force_delete", "by_user": false, "names_us": false}),
        ]
    );
    // A second time there is nobody; and a device that is not connected proves nothing.
    let late = second.post(&ask, &ask, &[]).await;
    assert_eq!(late.status, 409);
    assert!(
        late.text.contains("Nobody else holds this number"),
        "{}",
        late.text
    );
    let third = connected(&first, "desa-satu", "6281200000005").await;
    let out = format!("{ours}/logout");
    second.post_and_go(&out, &out, &[]).await;
    let refused = second.post(&ask, &ask, &[]).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(
        refused.text.contains("connected here at this moment"),
        "{}",
        refused.text
    );
    assert!(first.page(&third).await.contains(">Connected<"));
    app.finish().await;
}
