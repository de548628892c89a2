//! What a superadmin does with a tenant.

use crate::browser::Preferences;
use crate::finder::Kind;
use crate::stage::scenario;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_erased_once_its_id_was_typed() {
    scenario(
        "tenant-erased",
        Preferences::default(),
        |_| {},
        |stage| async move {
            stage.world.add_tenant("desa-lama").await;
            let page = stage.signed_in("ratna@kanal.id", &["--role", "superadmin"]).await;
            page.clicks(Kind::Link, "Tenants").await;
            page.clicks(Kind::Link, "desa-lama").await;
            page.clicks(Kind::Button, "Suspend").await;
            page.sees("This tenant is suspended").await;

            page.clicks(Kind::Link, "Erase").await;
            page.fills("To confirm, type", "desa-baru").await;
            page.clicks(Kind::Button, "Erase for ever").await;
            // Another word is refused, in words.
            page.until("the field is wrong", || async {
                let field = page.finds(Kind::Field, "To confirm, type").await;
                (field.attr("aria-invalid").await.ok()??.as_str() == "true").then_some(())
            })
            .await;
            page.is_clean_but_refused().await;
            page.fills("To confirm, type", "desa-lama").await;
            page.clicks(Kind::Button, "Erase for ever").await;
            page.sees("everything it had is gone").await;
            page.goto("/dashboard/tenants").await;
            page.sees("No tenant yet").await;
            page.is_clean().await;
            stage.world.finish().await;
        },
    )
    .await;
}
