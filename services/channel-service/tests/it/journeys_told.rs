//! What other services are told of an id: every tenant's things by it, without words or numbers, for keys that are good
//! for every tenant.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{INTERNAL_KEY, LIMITED_KEY, TestApp, text};

const RARA: &str = "6281290000011";

async fn told(app: &TestApp, id: &str) -> Value {
    let answer = app.internal(Method::GET, &format!("/journeys/{id}"), None).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(
        !answer.text.contains("rahasia") && !answer.text.contains(RARA),
        "{}",
        answer.text
    );
    answer.json()
}

/// Tenant, subject and state of each thing.
fn things(told: &Value) -> Vec<(String, String, String)> {
    let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    let journeys = told["journeys"].as_array().unwrap().iter();
    let mut things: Vec<_> = journeys
        .map(|one| (text(one, "tenant_id"), text(one, "subject"), text(one, "state")))
        .collect();
    things.sort();
    things
}

fn thing(tenant: &str, subject: &str, state: &str) -> (String, String, String) {
    (tenant.to_owned(), subject.to_owned(), state.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_key_for_every_tenant_is_told_and_equal_ids_stay_apart() {
    let app = TestApp::spawn().await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    for tenant in [&satu, &dua] {
        app.post(&tenant.json(&text(RARA, "3EB0SAMA", "rahasia"))).await;
    }
    let url = format!("{}/internal/journeys/3EB0SAMA", app.url);
    let stranger = app.http().get(&url).send().await.unwrap();
    assert_eq!(stranger.status(), 401);
    for (key, code) in [
        ("no-key-of-ours-at-all", "api_key_invalid"),
        (LIMITED_KEY, "not_for_all_tenants"),
    ] {
        let refused = app
            .internal_as(key, Method::GET, "/journeys/3EB0SAMA", None)
            .await;
        refused.assert_error(403, code);
    }

    let both = told(&app, "3EB0SAMA").await;
    assert_eq!(both["service"], "channel-service");
    let state = both["journeys"][0]["state"].as_str().unwrap().to_owned();
    assert_eq!(
        things(&both),
        [
            thing("desa-dua", "message", &state),
            thing("desa-satu", "message", &state)
        ]
    );
    let one = &both["journeys"][0];
    assert_eq!(one["about"], "inbound text");
    let hops: Vec<&str> = one["hops"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hop| hop["what"].as_str().unwrap())
        .collect();
    assert_eq!(hops[..3], ["written", "accepted", "kept"], "{one}");
    // Its own id means one of them only.
    let own = one["names"][0]["id"].as_str().unwrap();
    let alone = told(&app, own).await;
    assert_eq!(
        things(&alone),
        [thing(one["tenant_id"].as_str().unwrap(), "message", &state)]
    );

    let nothing = told(&app, "tiada%2Fsama").await;
    assert_eq!(things(&nothing), []);
    assert!(nothing["looked_in"].as_array().unwrap().len() > 2);
    let too_long = format!("/journeys/{}", "x".repeat(301));
    app.internal_as(INTERNAL_KEY, Method::GET, &too_long, None)
        .await
        .assert_error(400, "invalid_id");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_of_an_order_is_found_at_each_tenant_that_took_one_under_it() {
    let app = TestApp::spawn().await;
    for id in ["desa-satu", "desa-dua"] {
        app.tenant(id).await;
        let sent = app
            .http()
            .request(Method::POST, format!("{}/internal/messages/send", app.url))
            .header("x-internal-api-key", INTERNAL_KEY)
            .header("idempotency-key", "perkara-7")
            .json(&json!({"village_id": id, "to": RARA, "type": "text", "text": {"body": "rahasia"}, "wait": true}))
            .send()
            .await
            .unwrap();
        assert!(sent.status().is_success(), "{}", sent.text().await.unwrap());
    }
    let both = told(&app, "perkara-7").await;
    let tenants: Vec<String> = things(&both).into_iter().map(|(tenant, ..)| tenant).collect();
    assert_eq!(tenants, ["desa-dua", "desa-satu"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_waits_for_the_broker_is_found_by_its_id() {
    let app = TestApp::spawn().await;
    app.tenant("desa-satu").await;
    let id = "0190a000-0000-7000-8000-000000000001";
    app.run_sql(&format!(
        "INSERT INTO outbox (tenant_id, lane, event_id, event_type, envelope, parked) \
         VALUES ('desa-satu', 'chat', '{id}', 'message.received', 'rahasia', 'too_large')"
    ))
    .await;
    let found = told(&app, id).await;
    assert_eq!(things(&found), [thing("desa-satu", "event", "parked")]);
    assert_eq!(found["journeys"][0]["reason"], "too_large");
    app.run_sql("DELETE FROM outbox").await;
    app.finish().await;
}
