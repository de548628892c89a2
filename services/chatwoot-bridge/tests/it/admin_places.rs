//! A connection of an inbox lives as long as the route that leads to it, whatever operators do to that.

use domain::ids::ChatId;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::Simulator;

use crate::operator::Office;
use crate::router::signed;
use crate::world::{Place, message, received, start_chatwoot};

const URL: &str = "https://gowa.example/chatwoot/webhook?secret=s3cret-in-query";
const CONNECTED: &str = "SELECT count(*) AS n FROM inboxes";
const PEOPLE: &str = "SELECT count(*) AS n FROM contacts";

/// An inbox that is connected, behind an office, and the path of its route.
async fn connected(office: &Office, chatwoot: &Simulator) -> (Place, String) {
    let webhook = format!("{}/webhook", office.running.base);
    let place = office
        .world
        .connect(chatwoot, "desa-a", "default", &webhook)
        .await;
    let route = office.get("/admin/routes").await.ok()["routes"][0].clone();
    assert_eq!(
        (&route["target"], &route["webhookUrl"], &route["tenantId"]),
        (&json!("account"), &Value::Null, &json!("desa-a"))
    );
    assert_eq!(route["accountId"], place.chatwoot_account);
    (place, format!("/admin/routes/{}", route["id"]))
}

/// A person writes; how many messages the inbox has then.
async fn written(office: &Office, chatwoot: &Simulator, place: &Place, id: &str) -> usize {
    let told = message(place, ChatId::generate(), "628123450001", id, "halo");
    office.world.take(&received(place, told)).await;
    office.world.work().await;
    chatwoot.chatwoot_messages(place.chatwoot_account).len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_leads_to_a_url_takes_the_connection_with_it() {
    let (office, chatwoot) = (Office::open().await, start_chatwoot().await);
    let (place, path) = connected(&office, &chatwoot).await;
    assert_eq!(written(&office, &chatwoot, &place, "3EB001").await, 1);
    let moved = office.put(&path, &json!({"inboxId": 99})).await;
    assert_eq!(moved.status.as_u16(), 422, "{moved:?}");
    office.put(&path, &json!({"name": "Toko"})).await.ok();
    assert_eq!(office.world.count(CONNECTED).await, 1, "a name changes nothing");

    let to_url = office.put(&path, &json!({"webhookUrl": URL})).await.ok();
    assert_eq!(to_url["route"]["target"], "url");
    assert_eq!(office.world.count(CONNECTED).await, 0);
    assert_eq!(office.world.count(PEOPLE).await, 0);
    assert_eq!(
        written(&office, &chatwoot, &place, "3EB002").await,
        1,
        "who gets the answers writes into the inbox now"
    );
    let back = json!({"target": "account", "whatsappAccountId": place.account});
    assert_eq!(office.put(&path, &back).await.status.as_u16(), 422);
    office.call(Method::DELETE, &path, None).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_route_nothing_of_a_connection_is_left() {
    let (office, chatwoot) = (Office::open().await, start_chatwoot().await);
    let (place, path) = connected(&office, &chatwoot).await;
    assert_eq!(written(&office, &chatwoot, &place, "3EB001").await, 1);
    office.call(Method::DELETE, &path, None).await.ok();
    assert_eq!(office.world.count(CONNECTED).await, 0);
    assert_eq!(office.world.count(PEOPLE).await, 0);
    assert_eq!(written(&office, &chatwoot, &place, "3EB002").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_an_earlier_release_left_behind_goes_with_the_place() {
    let (office, chatwoot) = (Office::open().await, start_chatwoot().await);
    // As it was when a route became one to a URL and its connection stayed.
    let left = "UPDATE routes SET link_id = NULL, url_sealed = 'x', url_shown = 'https://gowa.example/'";
    let (_, path) = connected(&office, &chatwoot).await;
    office.world.sql(left).await;
    office
        .put(&path, &json!({"inboxId": 99, "webhookUrl": URL}))
        .await
        .ok();
    assert_eq!(
        office.world.count(CONNECTED).await,
        0,
        "the route is elsewhere now"
    );
    office.call(Method::DELETE, &path, None).await.ok();

    let (_, path) = connected(&office, &chatwoot).await;
    office.world.sql(left).await;
    office.call(Method::DELETE, &path, None).await.ok();
    assert_eq!(office.world.count(CONNECTED).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_of_a_new_route_to_an_account_open_its_webhooks() {
    let (office, chatwoot) = (Office::open().await, start_chatwoot().await);
    let (place, _) = connected(&office, &chatwoot).await;
    // A connection whose route is missing.
    office.world.sql("DELETE FROM routes").await;
    let body = json!({
        "inboxId": place.inbox, "accountId": place.chatwoot_account, "tenantId": "desa-a", "target": "account",
        "whatsappAccountId": place.account, "webhookSecrets": {"inbox": ["s3cret-inbox"], "account": ["s3cret-account"]},
    });
    let made = office.post("/admin/routes", &body).await.ok();
    assert_eq!(made["route"]["inboxLinkId"], json!(place.link));
    let event = json!({"event": "message_created", "id": 1, "message_type": "outgoing", "content": "x",
        "account": {"id": place.chatwoot_account}, "inbox": {"id": place.inbox}, "conversation": {"id": 9}})
    .to_string();
    for (secret, expected) in [("s3cret-inbox", 200), ("s3cret-account", 200), ("another", 401)] {
        let hook = format!("{}/webhook", office.running.base);
        let mut request = office.client.post(hook).body(event.clone());
        for (name, value) in signed(secret, &event) {
            request = request.header(name, value);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), expected, "{secret}");
    }
}
