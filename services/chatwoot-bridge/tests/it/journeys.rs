//! What is told of an id to whoever has the operator's password: every tenant's things by it.

use domain::ids::ChatId;
use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use crate::operator::{Office, USER, said};
use crate::world::{message, received, start_chatwoot};

const PHONE: &str = "6281290000011";

fn tenants(told: &Value) -> Vec<&str> {
    let journeys = told["journeys"].as_array().unwrap().iter();
    let mut tenants: Vec<&str> = journeys.map(|one| one["tenant_id"].as_str().unwrap()).collect();
    tenants.sort_unstable();
    tenants
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_told_by_each_of_its_ids_and_equal_ids_stay_apart() {
    let office = Office::open().await;
    let chatwoot = start_chatwoot().await;
    let mut events = Vec::new();
    for (tenant, installation) in [("desa-a", "default"), ("desa-b", "cabang")] {
        let place = office.world.connect(&chatwoot, tenant, installation, "").await;
        let said = message(&place, ChatId::generate(), PHONE, "3EB0SAMA", "rahasia");
        let envelope = received(&place, said);
        office.world.take(&envelope).await;
        events.push(envelope.id.to_string());
    }
    office.world.work().await;

    let path = "/internal/journeys/3EB0SAMA";
    let url = format!("{}{path}", office.running.base);
    let stranger = said(office.client.get(&url)).await;
    assert_eq!(stranger.status, 401);
    let wrong = said(
        office
            .client
            .get(&url)
            .basic_auth(USER, Some("some other password")),
    )
    .await;
    assert_eq!(wrong.status, 401);

    let both = office.get(path).await.ok();
    assert_eq!(both["service"], "chatwoot-bridge");
    assert_eq!(tenants(&both), ["desa-a", "desa-b"]);
    for one in both["journeys"].as_array().unwrap() {
        assert_eq!(
            (&one["about"], &one["state"]),
            (&"a message to agents".into(), &"in_chatwoot".into())
        );
        assert_eq!(one["hops"][0]["what"], "put_in_chatwoot");
        let ids = one["names"].as_array().unwrap().iter();
        assert!(
            ids.clone()
                .any(|name| name["kind"] == "whatsapp" && name["id"] == "3EB0SAMA")
        );
        assert!(ids.clone().any(|name| name["kind"] == "chatwoot"), "{one}");
    }
    assert!(!both.to_string().contains("rahasia") && !both.to_string().contains(PHONE));

    // The event's own id is one tenant's.
    let event = office
        .get(&format!("/internal/journeys/{}", events[1]))
        .await
        .ok();
    assert_eq!(tenants(&event), ["desa-b"]);
    assert_eq!(event["journeys"][0]["hops"][0]["what"], "taken_from_broker");
    assert_eq!(event["journeys"][0]["state"], "done");

    let nothing = office
        .get(&format!("/internal/journeys/{}", Uuid::now_v7()))
        .await
        .ok();
    assert_eq!(tenants(&nothing), Vec::<&str>::new());
    assert!(nothing["looked_in"].as_array().unwrap().len() > 2);
    let no_id = office
        .call(
            Method::GET,
            &format!("/internal/journeys/{}", "x".repeat(301)),
            None,
        )
        .await;
    assert_eq!(no_id.status, 400);
}
