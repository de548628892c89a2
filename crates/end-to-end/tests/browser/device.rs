//! A village office from nothing to a linked phone: by its superadmin, then by its own people.

use fantoccini::Locator;
use simulator::WaConfigChange;

use crate::browser::Preferences;
use crate::finder::Kind;
use crate::stage::{PASSWORD, Stage, scenario};

const OFFICE: &str = "sari@desa-sukamaju.id";

/// Made, given an endpoint, and somebody who works there.
async fn make_tenant(stage: &Stage) {
    let page = stage.signed_in("ratna@kanal.id", &["--role", "superadmin"]).await;
    page.clicks(Kind::Link, "Tenants").await;
    page.clicks(Kind::Link, "New tenant").await;
    page.fills("Id", "desa-sukamaju").await;
    page.fills("Name", "Desa Sukamaju").await;
    page.clicks(Kind::Button, "Make it").await;
    page.finds(Kind::Heading, "Desa Sukamaju").await;

    page.clicks(Kind::Link, "WhatsApp setup").await;
    page.finds(Kind::Heading, "WhatsApp setup").await;
    page.chooses("Endpoint", "Primary").await;
    page.clicks(Kind::Button, "Save").await;
    page.finds(Kind::Heading, "Take the endpoint away").await;
    page.is_clean().await;

    page.goto("/dashboard/users/new?tenant=desa-sukamaju").await;
    page.fills("E-mail address", OFFICE).await;
    page.fills("Name", "Sari Wulandari").await;
    page.fills("Password", PASSWORD).await;
    page.clicks(Kind::Button, "Make it").await;
    page.finds(Kind::Heading, OFFICE).await;
    page.is_clean().await;
    page.leaves("ratna@kanal.id").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_is_linked_by_scanning_a_code() {
    scenario(
        "device",
        Preferences::default(),
        |_| {},
        |stage| async move {
            // People scan; the simulator does not do it for them.
            stage.world.simulator.configure_wa(WaConfigChange {
                auto_login: Some(false),
                ..WaConfigChange::default()
            });
            make_tenant(&stage).await;
            let page = stage.signs_in(OFFICE).await;
            page.clicks(Kind::Link, "WhatsApp").await;
            page.clicks(Kind::Button, "Connect a WhatsApp number").await;
            page.finds(Kind::Heading, "Link the phone").await;
            page.until("the code is shown", || async {
                let code = page.client.find(Locator::Css(".qr svg, .qr img")).await.ok()?;
                code.is_displayed().await.ok()?.then_some(())
            })
            .await;
            page.is_sound("device-code").await;

            page.is_marked().await;
            let session = stage.world.simulator.wa_users().remove(0);
            stage.world.simulator.scan_qr(&session.name, None).unwrap();
            page.sees("The phone is linked").await;
            page.was_not_reloaded().await;
            page.is_clean().await;
            page.clicks(Kind::Link, "Finish").await;
            page.sees("Manage this number").await;
            page.is_sound("device").await;
            stage.world.finish().await;
        },
    )
    .await;
}
