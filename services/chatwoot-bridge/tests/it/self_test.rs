//! What will not work is named before it fails.

use reqwest::Method;
use serde_json::{Value, json};

use crate::operator::Office;
use crate::world::start_chatwoot;

fn codes(test: &Value) -> Vec<&str> {
    let warnings = test["warnings"].as_array().unwrap();
    warnings.iter().map(|it| it["code"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_target_is_named_before_it_fails() {
    let office = Office::open().await;
    let new = json!({"inboxId": 7, "webhookUrl": "http://127.0.0.1:9/chatwoot/webhook?secret=s3cret"});
    let route = office.post("/admin/routes", &new).await.ok()["route"].clone();
    let test = office
        .post(&format!("/admin/routes/{}/test", route["id"]), &json!({}))
        .await
        .ok();
    let test = &test["test"];
    let told = codes(test);
    assert!(
        told.contains(&"target_url_private") && told.contains(&"bridge_url_private"),
        "{test}"
    );
    let all = test.to_string();
    for word in [
        "SAFE_FETCH_ALLOW_PRIVATE_NETWORK",
        "OUTBOUND_ALLOWED_PRIVATE_HOSTS",
    ] {
        assert!(all.contains(word), "{all}");
    }
    assert!(!all.contains("s3cret"), "{all}");

    let nowhere = Office::open_with(|settings| settings.storage.router.public_url = None).await;
    let new = json!({"inboxId": 7, "webhookUrl": "https://gowa.example/hook"});
    let route = nowhere.post("/admin/routes", &new).await.ok()["route"].clone();
    let test = nowhere
        .post(&format!("/admin/routes/{}/test", route["id"]), &json!({}))
        .await
        .ok();
    assert!(codes(&test["test"]).contains(&"bridge_url_unknown"), "{test}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_test_of_an_account_goes_both_ways_and_says_which_account() {
    let (office, chatwoot) = (Office::open().await, start_chatwoot().await);
    let webhook = format!("{}/webhook", office.running.base);
    let place = office
        .world
        .connect(&chatwoot, "desa-a", "default", &webhook)
        .await;
    let listed = office.get("/admin/routes").await.ok();
    let path = format!("/admin/routes/{}/test", listed["routes"][0]["id"]);
    let test = office.post(&path, &json!({})).await.ok()["test"].clone();
    assert_eq!(
        (&test["works"], &test["drift"]),
        (&json!(true), &json!("ok")),
        "{test}"
    );
    assert_eq!(test["target"], json!({"kind": "account", "who": place.account}));
    assert_eq!(test["chatwoot"]["fromChatwoot"]["works"], true);
    let gone = office.call(Method::POST, "/admin/routes/99999/test", None).await;
    assert_eq!(gone.status.as_u16(), 404);
}
