//! One message's whole journey, found by any id that anybody has of it.

use channel_service::flows::dead_letter::{self, Replayed, Wake};
use channel_service::flows::journey::{self, AnyId, Found, Journey, What};
use channel_service::flows::tenant::Actor;
use domain::ids::MessageId;
use messaging::outbox::Signal;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{INTERNAL_KEY, Tenant, TestApp, Wishes, order, receipt, refusal, text};

const RARA: &str = "6281290000011";

async fn found(app: &TestApp, tenant: &Tenant, id: &str) -> Found {
    let id = AnyId::parse(id).unwrap();
    journey::find(&app.direct, &tenant.scope(), &id).await.unwrap()
}

async fn everywhere(app: &TestApp, id: &str) -> Found {
    let id = AnyId::parse(id).unwrap();
    journey::find_everywhere(&app.direct, &id).await.unwrap()
}

fn ids(found: &Found) -> Vec<(String, String)> {
    let rows = found.messages.iter();
    rows.map(|row| (row.found_by.clone(), row.message_id.to_string()))
        .collect()
}

async fn journey_of(app: &TestApp, tenant: &Tenant, id: &str) -> Option<Journey> {
    let id = id.parse::<MessageId>().unwrap();
    journey::journey(&app.direct, &tenant.scope(), id).await.unwrap()
}

/// What happened, without times.
fn told(journey: &Journey) -> Vec<String> {
    let hops = journey.hops.iter();
    hops.map(|hop| {
        let parts = [
            Some(hop.what.as_str().to_owned()),
            hop.attempt.map(|number| number.to_string()),
            hop.class.clone(),
            hop.code.clone(),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    })
    .collect()
}

async fn message(app: &TestApp, condition: &str) -> Value {
    let rows = app
        .rows(&format!(
            "SELECT id, provider_message_id FROM messages WHERE {condition}"
        ))
        .await;
    assert_eq!(rows.len(), 1, "{condition}");
    rows[0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_was_parked_and_replayed_tells_every_hop() {
    let app = TestApp::with(Wishes {
        send_attempts: "2",
        ..Wishes::default()
    })
    .await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    app.sends_fail(refusal(500, "no session", None), 2);
    let request = app.order(&satu, RARA, "rahasia").await;
    app.until_status("rahasia", "parked").await;
    let row = message(&app, "reference = 'rahasia'").await;
    let (id, provider_id) = (
        row["id"].as_str().unwrap(),
        row["provider_message_id"].as_str().unwrap(),
    );
    let parked = journey_of(&app, &satu, id).await.unwrap();
    let place = parked.place.as_ref().unwrap();
    assert_eq!(
        (place.parked, place.last_error.as_deref()),
        (true, Some("no_session"))
    );

    let (relay, senders) = (Signal::default(), Signal::default());
    let wake = Wake {
        relay: &relay,
        senders: &senders,
    };
    let message_id: MessageId = id.parse().unwrap();
    let replayed =
        dead_letter::replay(&app.direct, wake, &satu.scope(), message_id, &Actor::operator()).await;
    assert_eq!(replayed.unwrap(), Replayed::Queued);
    app.until_status("rahasia", "sent").await;
    app.post(&satu.json(&receipt(RARA, &[provider_id], "Delivered")))
        .await;
    app.until_status("rahasia", "delivered").await;
    app.until_published().await;

    let whole = journey_of(&app, &satu, id).await.unwrap();
    let hops = told(&whole);
    let ordered: Vec<&str> = hops.iter().map(String::as_str).collect();
    assert_eq!(
        ordered,
        [
            "ordered",
            "attempt 1 retry_later no_session",
            "attempt 2 retry_later no_session",
            "stands parked no_session",
            "replayed",
            "stands queued",
            "attempt 3 accepted",
            "stands sent",
            "stands delivered",
        ]
    );
    assert!(whole.place.is_none() && whole.waiting_events.is_empty());
    let attempt = whole.hops.iter().find(|hop| hop.what == What::Attempt).unwrap();
    assert_eq!(attempt.endpoint.as_deref(), Some("Primary"));
    assert!(whole.hops.is_sorted_by_key(|hop| hop.at));
    // What a terminal prints and what JSON shows have no words of it.
    for shown in [whole.to_string(), json!(whole).to_string()] {
        assert!(
            shown.contains("no_session") && shown.contains(provider_id),
            "{shown}"
        );
        assert!(!shown.contains("rahasia") && !shown.contains(RARA), "{shown}");
    }

    // Every id leads to it, within its tenant only.
    for (found_by, asked) in [
        ("message", id),
        ("provider", provider_id),
        ("request", &request.to_string()),
    ] {
        let expected = vec![(found_by.to_owned(), id.to_owned())];
        assert_eq!(ids(&found(&app, &satu, asked).await), expected, "{asked}");
        assert_eq!(ids(&everywhere(&app, asked).await), expected, "{asked}");
        assert_eq!(ids(&found(&app, &dua, asked).await), [], "{asked}");
    }
    assert!(journey_of(&app, &dua, id).await.is_none());
    assert!(
        journey_of(&app, &satu, &Uuid::now_v7().to_string())
            .await
            .is_none()
    );
    let nothing = found(&app, &satu, "tiada").await;
    assert_eq!(nothing.ask, ["chatwoot-bridge", "wa-support-gateway"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_keys_and_chatwoots_numbers_are_ids_too() {
    let app = TestApp::spawn().await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    for tenant in [&satu, &dua] {
        let mut order = order(tenant.account, RARA, "dari agen");
        order.reference = Some(format!("chatwoot:{}:4711", Uuid::now_v7()));
        app.publish(&tenant.id, &order).await;
    }
    let expected = test_support::eventually("both are there", || async {
        let rows = app
            .rows("SELECT tenant_id, id FROM messages WHERE reference LIKE 'chatwoot:%' ORDER BY tenant_id DESC")
            .await;
        (rows.len() == 2).then_some(rows)
    })
    .await;
    let hit = found(&app, &satu, "4711").await;
    assert_eq!(
        ids(&hit),
        [(
            "chatwoot".to_owned(),
            expected[0]["id"].as_str().unwrap().to_owned()
        )]
    );
    let all = everywhere(&app, "4711").await;
    assert_eq!(all.messages.len(), 2);
    assert_eq!(found(&app, &satu, "4712").await.ask, ["chatwoot-bridge"]);
    let whole = journey_of(&app, &satu, expected[0]["id"].as_str().unwrap())
        .await
        .unwrap();
    assert_eq!(whole.message.chatwoot_message.as_deref(), Some("4711"));

    let sent = app
        .http()
        .request(Method::POST, format!("{}/internal/messages/send", app.url))
        .header("x-internal-api-key", INTERNAL_KEY)
        .header("idempotency-key", "perkara 7")
        .json(&json!({"village_id": "desa-satu", "to": RARA, "type": "text", "text": {"body": "halo"}, "wait": false}))
        .send()
        .await
        .unwrap();
    assert!(sent.status().is_success(), "{}", sent.text().await.unwrap());
    let hit = found(&app, &satu, "perkara 7").await;
    assert_eq!(hit.messages.len(), 1);
    assert_eq!(hit.messages[0].found_by, "request");
    assert_eq!(found(&app, &dua, "perkara 7").await.messages, []);
    // Of which tenant's caller it is the key, nobody can tell.
    assert_eq!(everywhere(&app, "perkara 7").await.messages, []);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_wrote_has_a_journey_and_events_that_wait_are_shown() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.proxies.rabbitmq.cut();
    app.post(&desa.json(&text(RARA, "3EB0MASUK", "rahasia")))
        .await
        .assert_kept();
    let row = message(&app, "provider_message_id = '3EB0MASUK'").await;
    let id = row["id"].as_str().unwrap();
    let whole = journey_of(&app, &desa, id).await.unwrap();
    let hops = told(&whole);
    assert_eq!(hops.len(), 3, "{hops:?}");
    for hop in ["written", "accepted", "kept"] {
        assert!(hops.iter().any(|told| told == hop), "{hops:?}");
    }
    let waiting = whole.waiting_events.iter().map(|event| event.event_type.as_str());
    assert_eq!(waiting.collect::<Vec<_>>(), ["message.received"]);
    assert!(
        whole
            .to_string()
            .contains("waits for the broker: message.received")
    );

    app.proxies.rabbitmq.restore();
    app.until_to_ai(1).await;
    test_support::eventually("all is told", || async {
        let whole = journey_of(&app, &desa, id).await.unwrap();
        let is_handed = told(&whole).contains(&"handed_over handed_over".to_owned());
        (is_handed && whole.waiting_events.is_empty()).then_some(())
    })
    .await;
    app.finish().await;
}
