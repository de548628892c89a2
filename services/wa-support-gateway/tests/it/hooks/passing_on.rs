//! What a receiver gets: the very bytes, a signature it can check, in order.

use diesel::sql_types::{Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl as _;
use runtime::config::Setting as _;
use runtime::encryption::KeyRing;
use secrecy::SecretString;
use serde_json::json;
use test_support::{ENCRYPTION_KEYS, eventually};
use whatsapp::credentials::WebhookKey;
use whatsapp::genfity::{SIGNATURE_HEADER, Unverified};

use super::world::{COUNTS, FORM, HookedSession, JSON, KEPT, Receiver, ask, beside, start, until_it_is};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_arrive_byte_for_byte_with_a_signature_that_consumers_accept() {
    let (gateway, receiver) = (start().await, Receiver::start());
    let session = HookedSession::make(&gateway, "desa-a", &receiver.url()).await;
    let json_text = session.event_of(
        "Message",
        json!({"Info": {"ID": "A1"}, "Message": {"conversation": "Selamat pagi \u{1F600} é ة \u{2028} <&>\u{0}"}}),
        "json",
    );
    let form = format!(
        "instanceName=desa+contoh&jsonData=%7B%22type%22%3A%22Message%22%2C+%22x%22%3A%22%C3%A9%2B%25%22%7D&userID={}",
        session.session_id
    );
    let big = format!(
        "{{\"type\":\"Message\",\"userID\":\"{}\",\"base64\":\"{}\"}}",
        session.session_id,
        "QUJD".repeat(3 * 1024 * 1024)
    );
    let spaced = format!(
        "  {{ \"type\" : \"Presence\",\r\n\t\"userID\":\"{}\" }}\n\n",
        session.session_id
    );
    let bodies = [
        ("application/json; charset=UTF-8", json_text),
        (FORM, form),
        (JSON, big),
        (JSON, spaced),
    ];
    for (content_type, body) in &bodies {
        let answer = session.post(&gateway, content_type, body.as_bytes()).await;
        assert_eq!(answer.status(), 200);
    }
    let received = receiver.until(bodies.len()).await;
    for ((content_type, body), received) in bodies.iter().zip(&received) {
        assert!(received.body == body.as_bytes(), "{content_type}");
        assert_eq!(received.header("content-type"), Some(*content_type));
        assert_eq!(received.header("x-kanal-attempt"), Some("1"));
        assert!(
            received
                .header("x-kanal-event-id")
                .unwrap()
                .parse::<uuid::Uuid>()
                .is_ok()
        );
        // As channel-service checks it.
        let webhook = Unverified::read(Some(content_type), received.body.clone()).unwrap();
        assert_eq!(webhook.session_id(), Some(session.session_id.as_str()));
        let keys = std::slice::from_ref(&session.customers_key);
        assert!(
            webhook
                .verify(received.header(SIGNATURE_HEADER), keys)
                .unwrap()
                .is_signed()
        );
    }
    // Nothing is kept of what was delivered.
    until_it_is(&gateway, KEPT, "0").await;
    until_it_is(&gateway, COUNTS, "4 4 0 0 0 0").await;
    receiver.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customers_own_key_signs_where_it_has_one() {
    let (gateway, receiver) = (start().await, Receiver::start());
    let session = HookedSession::make(&gateway, "desa-a", &receiver.url()).await;
    let own = "the-customer-chose-this-key-itself-0123";
    let sealed = KeyRing::from_text(ENCRYPTION_KEYS)
        .unwrap()
        .seal(
            &SecretString::from(own),
            &format!("sessions/desa-a/{}/customer_hmac_key", session.id),
        )
        .unwrap();
    diesel::sql_query("UPDATE sessions SET customer_hmac_key_sealed = $1 WHERE id = $2")
        .bind::<Text, _>(sealed)
        .bind::<SqlUuid, _>(session.id)
        .execute(&mut gateway.database.admin().await)
        .await
        .unwrap();
    session.accepted(&gateway, &session.event("one")).await;
    let received = receiver.until(1).await;
    let verify = |key: &WebhookKey| {
        let webhook = Unverified::read(Some(JSON), received[0].body.clone()).unwrap();
        webhook.verify(received[0].header(SIGNATURE_HEADER), std::slice::from_ref(key))
    };
    assert!(verify(&WebhookKey::new(own).unwrap()).is_ok());
    assert!(verify(&session.key).is_err() && verify(&session.customers_key).is_err());
    receiver.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_keep_the_order_of_each_session() {
    const EVENTS: usize = 40;
    let (gateway, first, second) = (start().await, Receiver::start(), Receiver::start());
    let shutdown = beside(&gateway);
    let one = HookedSession::make(&gateway, "desa-a", &first.url()).await;
    let two = HookedSession::make(&gateway, "desa-b", &second.url()).await;
    let expected: Vec<String> = (0..EVENTS).map(|number| format!("{number:03}")).collect();
    for mark in &expected {
        one.accepted(&gateway, &one.event(mark)).await;
        two.accepted(&gateway, &two.event(mark)).await;
        if mark.ends_with('7') {
            // A stumble now and then.
            first.answer(503);
            second.answer(200);
        } else {
            first.answer(200);
        }
    }
    first.answer(200);
    for receiver in [&first, &second] {
        eventually("every event arrives", || async {
            (receiver.marks().last() == expected.last()).then_some(())
        })
        .await;
        let mut marks = receiver.marks();
        // A try that failed is the same event again.
        marks.dedup();
        assert_eq!(marks, expected);
    }
    until_it_is(&gateway, KEPT, "0").await;
    assert_eq!(ask(&gateway.database, COUNTS).await, "80 80 0 0 0 0");
    shutdown.begin();
    first.stop().await;
    second.stop().await;
    gateway.stop().await;
}
