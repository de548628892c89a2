use std::time::Duration;

use serde_json::{Value, json};

use super::{NUMBER, PERSON, WABA, get, number, send, text_to};
use crate::start;

#[tokio::test]
async fn a_number_has_a_bucket_and_tells_when_it_is_empty() {
    let simulator = start().await;
    number(&simulator, None);
    // One, and the next one after nearly three hours.
    simulator.configure_graph(|settings| settings.number_per_second = 0.0001);
    assert_eq!(send(&simulator, text_to(PERSON)).await.status, 200);
    let refused = send(&simulator, text_to("628110000002")).await;
    assert_eq!(refused.error(), (400, 130_429));
    let usage: Value = serde_json::from_str(refused.header("x-business-use-case-usage")).unwrap();
    assert_eq!(usage[WABA][0]["call_count"], 100);
    simulator.configure_graph(|settings| {
        settings.throttle_status = Some(429);
        settings.throttle_retry_after = Some("7".to_owned());
    });
    let refused = send(&simulator, text_to(PERSON)).await;
    assert_eq!(
        (refused.error(), refused.header("retry-after")),
        ((429, 130_429), "7")
    );
    simulator.reset_graph_limits();
    assert_eq!(send(&simulator, text_to(PERSON)).await.status, 200);
    assert_eq!(simulator.graph_sends().len(), 2);
}

#[tokio::test]
async fn a_pair_has_a_burst_and_other_people_are_spared() {
    let simulator = start().await;
    number(&simulator, None);
    // As real as it gets: 45 at once, and the next one six seconds later; slower here, so that a busy machine cannot
    // refill it meanwhile.
    simulator.configure_graph(|settings| settings.pair_refill_ms = 3_600_000);
    for _ in 0..45 {
        assert_eq!(send(&simulator, text_to(PERSON)).await.status, 200);
    }
    let refused = send(&simulator, text_to(PERSON)).await;
    assert_eq!(refused.error(), (400, 131_056));
    assert_eq!(refused.json["error"]["error_subcode"], 2_494_055);
    assert_eq!(send(&simulator, text_to("628110000002")).await.status, 200);
    simulator.configure_graph(|settings| settings.pair_refill_ms = 1);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(send(&simulator, text_to(PERSON)).await.status, 200);
}

#[tokio::test]
async fn apps_and_accounts_have_allowances_and_tell_how_much_is_gone() {
    let simulator = start().await;
    number(&simulator, None);
    simulator.configure_graph(|settings| settings.app_calls = Some(2));
    let percent = |header: &str| serde_json::from_str::<Value>(header).unwrap()["call_count"].clone();
    let sent = send(&simulator, text_to(PERSON)).await;
    assert_eq!(percent(sent.header("x-app-usage")), json!(50));
    send(&simulator, text_to(PERSON)).await;
    let refused = send(&simulator, text_to(PERSON)).await;
    assert_eq!(refused.error(), (400, 4));
    assert_eq!(percent(refused.header("x-app-usage")), json!(100));

    simulator.configure_graph(|settings| {
        settings.app_calls = None;
        settings.waba_calls = Some(1);
    });
    let path = format!("/{WABA}/phone_numbers");
    assert_eq!(get(&simulator, &path).await.json["data"][0]["id"], NUMBER);
    let refused = get(&simulator, &path).await;
    assert_eq!(refused.error(), (400, 80_007));
    let usage: Value = serde_json::from_str(refused.header("x-business-use-case-usage")).unwrap();
    assert!(
        usage[WABA][0]["estimated_time_to_regain_access"]
            .as_u64()
            .unwrap()
            >= 50
    );
    // Messages do not count there.
    assert_eq!(send(&simulator, text_to(PERSON)).await.status, 200);
}
