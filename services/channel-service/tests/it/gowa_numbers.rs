//! Events of a GoWA that name a number and no device: whose they are, and when they are nobody's.

use reqwest::Method;
use serde_json::{Value, json};
use test_support::eventually;

use crate::gowa_world::{Device, device, post, spawn};
use crate::harness::{Answer, TestApp};
use crate::signing_in::ask;
use crate::tenant_config::root;

const NUMBER: &str = "628111000001";

/// The event as older servers post it.
fn nameless(device: &Device, id: &str) -> Value {
    let mut event = device.event(id, "halo");
    event.as_object_mut().unwrap().remove("session_id");
    event
}

async fn tells(app: &TestApp, device: &Device, event: &Value) -> Answer {
    post(app, "Toko", event, Some(&device.key)).await
}

/// Waits until what names only the number is this device's.
async fn until_led_to(app: &TestApp, device: &Device, id: &str) {
    eventually("the number leads to the device", || async {
        let answer = tells(app, device, &nameless(device, id)).await;
        answer.json()["message_id"].is_string().then_some(())
    })
    .await;
}

async fn until_nobodys(app: &TestApp, device: &Device, id: &str) {
    eventually("the number is nobody's", || async {
        let answer = tells(app, device, &nameless(device, id)).await;
        (answer.json()["message"] == "Unknown device").then_some(())
    })
    .await;
}

/// To which accounts the number leads.
async fn led_to(app: &TestApp) -> Vec<Value> {
    app.values("SELECT subject_id AS value FROM tenant_directory WHERE kind = 'gowa_number'")
        .await
}

async fn messages_of(app: &TestApp, tenant: &str) -> u64 {
    app.count(&format!("messages WHERE tenant_id = '{tenant}'")).await
}

/// What the device's server says of it is looked at, as people do who look at their devices.
async fn look_at(app: &TestApp, root: &str, device: &Device, logged_in: bool) {
    let path = format!(
        "/whatsapp/devices/{}?village_id={}",
        device.account, device.tenant
    );
    eventually("it was looked at", || async {
        let shown = ask(app, Method::GET, &path, &[("authorization", root)], None).await;
        (shown.json()["device"]["logged_in"] == logged_in).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_leads_to_the_device_that_proved_it() {
    let app = spawn().await;
    let toko = device(&app, "desa-satu", "toko-1", NUMBER).await;
    tells(&app, &toko, &nameless(&toko, "3EB0A"))
        .await
        .assert_done("Unknown device");
    tells(&app, &toko, &toko.event("3EB0B", "halo"))
        .await
        .assert_kept();
    until_led_to(&app, &toko, "3EB0C").await;
    assert_eq!(
        app.rows("SELECT status, phone FROM accounts").await,
        [json!({"status": "connected", "phone": NUMBER})]
    );
    // Also by what the server says, without an event.
    let other = device(&app, "desa-dua", "toko-2", "628111000002").await;
    let root = root(&app).await;
    look_at(&app, &root, &other, true).await;
    until_led_to(&app, &other, "3EB0D").await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_on_devices_of_two_tenants_is_neithers_until_one_is_unlinked() {
    let app = spawn().await;
    let first = device(&app, "desa-satu", "toko-1", NUMBER).await;
    let second = device(&app, "desa-dua", "toko-2", NUMBER).await;
    tells(&app, &first, &first.event("3EB0A", "halo"))
        .await
        .assert_kept();
    until_led_to(&app, &first, "3EB0B").await;
    // What names the device is its own all the while.
    tells(&app, &second, &second.event("3EB0C", "halo"))
        .await
        .assert_kept();
    for device in [&first, &second, &first, &second] {
        until_nobodys(&app, device, "3EB0D").await;
        tells(&app, device, &device.event("3EB0E", "halo")).await;
        assert_eq!(led_to(&app).await, [] as [Value; 0]);
    }
    let shared = Some(crate::gowa_world::ENDPOINT_SECRET);
    post(&app, "Toko", &nameless(&first, "3EB0F"), shared)
        .await
        .assert_done("Unknown device");
    assert_eq!(messages_of(&app, "desa-satu").await, 3);
    assert_eq!(messages_of(&app, "desa-dua").await, 2);
    assert!(app.count("quarantine WHERE reason = 'unknown_device'").await >= 5);

    // Unlinked for good, and an event that was still on its way proves nothing.
    let path = "/whatsapp/logout?village_id=desa-satu";
    assert_eq!(app.internal(Method::POST, path, None).await.status, 200);
    until_led_to(&app, &second, "3EB0G").await;
    tells(&app, &first, &first.event("3EB0H", "terlambat"))
        .await
        .assert_kept();
    assert_eq!(led_to(&app).await, [json!(second.account.to_string())]);
    tells(&app, &first, &nameless(&first, "3EB0I"))
        .await
        .assert_error(401, "signature_mismatch");
    assert_eq!(messages_of(&app, "desa-dua").await, 3);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_on_two_devices_of_one_tenant_is_the_newest_ones() {
    let app = spawn().await;
    let older = device(&app, "desa-satu", "toko-1", NUMBER).await;
    let newer = device(&app, "desa-satu", "toko-2", NUMBER).await;
    for (number, device) in [&older, &newer, &older, &newer, &older].into_iter().enumerate() {
        tells(&app, device, &device.event(&format!("3EB0{number}"), "halo"))
            .await
            .assert_kept();
    }
    assert_eq!(
        led_to(&app).await,
        [json!(newer.account.to_string())],
        "whoever spoke last"
    );
    until_led_to(&app, &newer, "3EB0A").await;
    // Its phone logs it out: the other one still has the number.
    app.simulator.unlink_gowa("toko-2");
    let root = root(&app).await;
    look_at(&app, &root, &newer, false).await;
    until_led_to(&app, &older, "3EB0B").await;
    assert_eq!(led_to(&app).await, [json!(older.account.to_string())]);
    // Nothing is left when the other one is removed.
    let path = format!("/whatsapp/devices/{}?village_id=desa-satu", older.account);
    let removed = ask(&app, Method::DELETE, &path, &[("authorization", &root)], None).await;
    assert_eq!(removed.status, 200, "{}", removed.text);
    let left = app.count("tenant_directory WHERE kind LIKE 'gowa_%' AND kind <> 'gowa_device'");
    assert_eq!(left.await, 0);
    app.finish().await;
}
