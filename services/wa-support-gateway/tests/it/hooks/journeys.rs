//! Webhooks that wait are found by their ids and by the requests that brought them.

use reqwest::Method;
use serde_json::Value;
use whatsapp::genfity::sign;

use super::world::{HookedSession, JSON, Receiver, ask, start_with, until_it_is};
use crate::support::{APP, DESK, GLOBAL, Gateway, with_callers};

async fn told(gateway: &Gateway, key: &str, id: &str) -> Value {
    gateway.internal_get(&format!("/journeys/{id}"), key).await.ok()
}

fn customers(told: &Value) -> Vec<&str> {
    let journeys = told["journeys"].as_array().unwrap().iter();
    let mut customers: Vec<&str> = journeys.map(|one| one["tenant_id"].as_str().unwrap()).collect();
    customers.sort_unstable();
    customers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_is_told_of_its_own_customers_and_a_global_key_of_all() {
    let gateway = start_with(with_callers).await;
    let receiver = Receiver::start();
    receiver.answer(404);
    let mut requests = Vec::new();
    for (customer, source) in [("desa-a", "app"), ("kantor-b", "desk")] {
        let session = HookedSession::make(&gateway, customer, &receiver.url()).await;
        gateway
            .sql(&format!(
                "UPDATE customers SET source_service = '{source}' WHERE tenant_id = '{customer}'"
            ))
            .await;
        let body = session.event("rahasia");
        let answer = gateway
            .client
            .request(Method::POST, gateway.url(&format!("/hooks/{}", session.id)))
            .header("content-type", JSON)
            .header("x-hmac-signature", sign(&session.key, body.as_bytes()))
            .body(body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        requests.push(answer.headers()["x-request-id"].to_str().unwrap().to_owned());
    }
    until_it_is(&gateway, "SELECT count(*) FROM lane_tasks WHERE parked", "2").await;

    // What the WA server was answered leads to what it brought.
    assert_eq!(customers(&told(&gateway, GLOBAL, &requests[0]).await), ["desa-a"]);
    assert_eq!(customers(&told(&gateway, APP, &requests[0]).await), ["desa-a"]);
    assert_eq!(
        customers(&told(&gateway, APP, &requests[1]).await),
        Vec::<&str>::new()
    );

    // Equal ids of two services' customers.
    gateway
        .sql(r#"UPDATE lane_tasks SET payload = '{"request_id":"permintaan-7"}'"#)
        .await;
    let path = "/internal/journeys/permintaan-7";
    let no_key = gateway.call(Method::GET, path, &[]).await;
    assert_eq!(no_key.status, 401);
    assert_eq!(
        gateway
            .internal_get("/journeys/permintaan-7", "some-other-key")
            .await
            .status,
        401
    );
    let all = told(&gateway, GLOBAL, "permintaan-7").await;
    assert_eq!(customers(&all), ["desa-a", "kantor-b"]);
    assert_eq!(customers(&told(&gateway, APP, "permintaan-7").await), ["desa-a"]);
    assert_eq!(
        customers(&told(&gateway, DESK, "permintaan-7").await),
        ["kantor-b"]
    );

    let event = ask(
        &gateway.database,
        "SELECT id FROM hook_events WHERE tenant_id = 'desa-a'",
    )
    .await;
    let found = told(&gateway, GLOBAL, &event).await;
    let webhook = &found["journeys"][0];
    assert_eq!(
        (&webhook["subject"], &webhook["state"]),
        (&"webhook".into(), &"parked".into())
    );
    assert_eq!(webhook["about"], "webhook Presence");
    assert!(!webhook["reason"].is_null());
    assert!(!found.to_string().contains("rahasia"));
    assert_eq!(customers(&told(&gateway, DESK, &event).await), Vec::<&str>::new());

    let nothing = told(&gateway, GLOBAL, "tiada").await;
    assert_eq!(customers(&nothing), Vec::<&str>::new());
    assert_eq!(nothing["looked_in"].as_array().unwrap().len(), 2);
    receiver.stop().await;
    gateway.stop().await;
}
