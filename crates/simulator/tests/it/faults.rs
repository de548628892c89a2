//! Faults do what they say, to the client and to the state.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simulator::{FaultKind, FaultSpec, FaultTarget, Inbound};

use crate::receiver::Receiver;
use crate::{client, eventually, session, start, wa_post};

#[tokio::test]
async fn a_cut_connection_gives_no_status_and_does_no_work() {
    let simulator = start().await;
    let user = session(&simulator, "");
    simulator
        .add_fault(FaultSpec::on_path("/wa/chat/send/text", FaultKind::Cut).times(1))
        .unwrap();
    let url = format!("{}/wa/chat/send/text", simulator.base_url());
    let send = json!({"Phone": "6281200000001", "Body": "Halo", "Id": "OWN1"});
    let error = client()
        .post(&url)
        .header("token", &user.token)
        .json(&send)
        .send()
        .await
        .unwrap_err();
    assert!(error.is_request() && error.status().is_none(), "{error:?}");
    assert!(simulator.phone("6281200000001").is_empty());
    assert_eq!(simulator.faults()[0].hits, 1);

    let (status, _) = wa_post(&simulator, &user.token, "/chat/send/text", send).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_lost_answer_gives_no_status_although_the_work_is_done() {
    let simulator = start().await;
    let user = session(&simulator, "");
    let lost = FaultSpec::on_path("/wa/chat/send", FaultKind::LostAnswer);
    simulator.add_fault(lost).unwrap();
    let url = format!("{}/wa/chat/send/text", simulator.base_url());
    let send = json!({"Phone": "6281200000001", "Body": "Halo", "Id": "OWN1"});
    assert!(
        client()
            .post(&url)
            .header("token", &user.token)
            .json(&send)
            .send()
            .await
            .is_err()
    );
    assert_eq!(simulator.phone("6281200000001").len(), 1);
    assert_eq!(simulator.requests()[0].status, None);
}

#[tokio::test]
async fn statuses_and_delays_are_switched_on_and_off_over_http() {
    let simulator = start().await;
    let base = simulator.base_url();
    let url = format!("{base}/_sim/faults");
    let fault = json!({
        "path_prefix": "/chatwoot/api", "method": "GET", "kind": "status", "status": 429, "body": "Retry later",
        "retry_after": "7",
    });
    let delay = json!({"path_prefix": "/chatwoot/api", "kind": "delay", "ms": 80});
    let added: Value = client()
        .post(&url)
        .json(&fault)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    client().post(&url).json(&delay).send().await.unwrap();
    let started = Instant::now();
    let target = format!("{base}/chatwoot/api/v1/accounts/1/inboxes");
    let answer = client().get(&target).send().await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(80));
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["retry-after"]),
        (429, &"7".parse().unwrap())
    );
    assert_eq!(answer.text().await.unwrap(), "Retry later");
    assert_eq!(client().post(&target).send().await.unwrap().status(), 401);

    client()
        .delete(format!("{url}/{}", added["id"]))
        .send()
        .await
        .unwrap();
    assert_eq!(client().get(&target).send().await.unwrap().status(), 401);
    let list: Value = client().get(&url).send().await.unwrap().json().await.unwrap();
    assert_eq!((list.as_array().unwrap().len(), &list[0]["hits"]), (1, &json!(3)));
    let nonsense = json!({"path_prefix": "/wa", "kind": "duplicate"});
    assert_eq!(
        client().post(&url).json(&nonsense).send().await.unwrap().status(),
        400
    );
}

#[tokio::test]
async fn duplicates_carry_the_same_event_at_the_same_time() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    session(&simulator, &receiver.url);
    receiver.think(Duration::from_millis(500));
    let kind = FaultKind::Duplicate {
        copies: 3,
        concurrent: true,
    };
    simulator
        .add_fault(FaultSpec::on_webhook(FaultTarget::WaWebhook, kind))
        .unwrap();
    let inbound = Inbound {
        session: "desa-contoh".to_owned(),
        from: "62812".to_owned(),
        text: Some("sekali".to_owned()),
        ..Inbound::default()
    };
    simulator.inbound(&inbound).unwrap();
    eventually("four deliveries", || simulator.wa_deliveries().len() == 4).await;
    // One after another there would never be two at once.
    assert!(receiver.most_at_once() > 1);
    let received = receiver.received();
    assert!(received.windows(2).all(|pair| pair[0].body == pair[1].body));
}

#[tokio::test]
async fn a_webhook_whose_answer_is_lost_comes_again() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    session(&simulator, &receiver.url);
    let lost = FaultSpec::on_webhook(FaultTarget::WaWebhook, FaultKind::LostAnswer).times(1);
    simulator.add_fault(lost).unwrap();
    let inbound = Inbound {
        session: "desa-contoh".to_owned(),
        from: "62812".to_owned(),
        text: Some("dua kali".to_owned()),
        ..Inbound::default()
    };
    simulator.inbound(&inbound).unwrap();
    eventually("delivered twice", || simulator.wa_deliveries().len() == 2).await;
    assert_eq!(receiver.count(), 2);
    let attempts = simulator.wa_deliveries();
    assert!(!attempts[0].accepted() && attempts[1].accepted());
}
