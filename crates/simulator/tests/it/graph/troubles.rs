use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simulator::{GraphStatusStep, GraphTrouble, GraphTroubleKind, Simulator};

use super::{NUMBER, PERSON, TOKEN, get, number, send, statuses, text_to, value};
use crate::receiver::Receiver;
use crate::{client, eventually, start};

fn trouble(simulator: &Simulator, kind: GraphTroubleKind, times: u64) {
    let trouble = GraphTrouble {
        recipient: Some(PERSON.to_owned()),
        times: Some(times),
        kind,
        ..GraphTrouble::default()
    };
    simulator.add_graph_trouble(trouble).unwrap();
}

/// A send whose answer may not come.
async fn try_send(simulator: &Simulator) -> reqwest::Result<reqwest::Response> {
    let url = format!("{}/v22.0/{NUMBER}/messages", simulator.graph_url());
    let request = client().post(url).bearer_auth(TOKEN).json(&text_to(PERSON));
    request.send().await
}

#[tokio::test]
async fn any_code_hits_the_receiver_as_often_as_it_was_told() {
    let simulator = start().await;
    number(&simulator, None);
    let base = format!("{}/_sim/graph/troubles", simulator.base_url());
    let script = json!({"recipient": format!("+{PERSON}"), "number": NUMBER, "times": 2, "spare": 1, "kind": "error",
        "code": 131_056, "status": 403, "retry_after": "3", "details": "slowly", "transient": true});
    assert_eq!(
        client().post(&base).json(&script).send().await.unwrap().status(),
        201
    );
    assert_eq!(send(&simulator, text_to(PERSON)).await.status, 200);
    assert_eq!(send(&simulator, text_to("628110000002")).await.status, 200);
    for _ in 0..2 {
        let refused = send(&simulator, text_to(PERSON)).await;
        assert_eq!(
            (refused.error(), refused.header("retry-after")),
            ((403, 131_056), "3")
        );
        assert_eq!(refused.json["error"]["error_data"]["details"], "slowly");
        assert_eq!(refused.json["error"]["is_transient"], true);
    }
    assert_eq!(send(&simulator, text_to(PERSON)).await.status, 200);
    let list: Value = client().get(&base).send().await.unwrap().json().await.unwrap();
    assert_eq!((list.as_array().unwrap().len(), &list[0]["hits"]), (1, &json!(2)));
    client().delete(&base).send().await.unwrap();
    assert!(simulator.graph_troubles().is_empty());
    assert_eq!(simulator.graph_sends().len(), 3);

    for (code, status) in [
        (4, 400),
        (80_007, 400),
        (130_429, 400),
        (190, 401),
        (131_016, 500),
        (2, 503),
        (10, 403),
    ] {
        trouble(&simulator, GraphTroubleKind::error(code), 1);
        assert_eq!(send(&simulator, text_to(PERSON)).await.error(), (status, code));
    }
}

#[tokio::test]
async fn servers_in_trouble_answer_pages_that_are_no_json() {
    let simulator = start().await;
    number(&simulator, None);
    trouble(&simulator, GraphTroubleKind::page(502), 3);
    for _ in 0..3 {
        let page = try_send(&simulator).await.unwrap();
        assert_eq!(page.status(), 502);
        assert!(
            page.headers()["content-type"]
                .to_str()
                .unwrap()
                .starts_with("text/html")
        );
        assert!(page.text().await.unwrap().starts_with("<html>"));
    }
    assert!(simulator.graph_sends().is_empty());
    assert_eq!(try_send(&simulator).await.unwrap().status(), 200);
}

#[tokio::test]
async fn what_was_accepted_may_never_be_told() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    number(&simulator, Some(&receiver));
    trouble(&simulator, GraphTroubleKind::Cut, 1);
    assert!(try_send(&simulator).await.is_err());
    assert!(simulator.graph_sends().is_empty(), "nothing was done");

    trouble(&simulator, GraphTroubleKind::LostAnswer { ms: 50 }, 1);
    let started = Instant::now();
    assert!(try_send(&simulator).await.is_err());
    assert!(started.elapsed() >= Duration::from_millis(50));
    assert_eq!(simulator.graph_sends().len(), 1);
    // A status settles it.
    eventually("it was sent", || statuses(&receiver) == ["sent"]).await;
    let body = receiver.received()[0].json();
    assert_eq!(value(&body)["statuses"][0]["biz_opaque_callback_data"], "job:1");

    let accepted = GraphTroubleKind::Page {
        status: 500,
        html: Some(String::new()),
        retry_after: None,
        accepted: true,
    };
    trouble(&simulator, accepted, 1);
    let answer = try_send(&simulator).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), simulator.graph_sends().len()),
        (500, 2)
    );
    assert!(answer.text().await.unwrap().is_empty());

    trouble(&simulator, GraphTroubleKind::NoId, 1);
    let answer = send(&simulator, text_to(PERSON)).await;
    assert_eq!((answer.status, &answer.json["messages"]), (200, &json!([{}])));
    assert_eq!(simulator.graph_sends().len(), 3);

    trouble(&simulator, GraphTroubleKind::SlowAnswer { ms: 80 }, 1);
    let started = Instant::now();
    let id = send(&simulator, text_to(PERSON)).await.id();
    assert!(started.elapsed() >= Duration::from_millis(80));
    // A refusal is no accepted message, so it is not lost.
    trouble(&simulator, GraphTroubleKind::LostAnswer { ms: 0 }, 1);
    let mut wrong = text_to(PERSON);
    wrong["text"] = json!({});
    assert_eq!(send(&simulator, wrong).await.error(), (400, 131_008));
    assert_eq!(simulator.graph_sends().last().unwrap().id, id);
}

#[tokio::test]
async fn statuses_come_as_scripted_late_out_of_order_and_again() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    number(&simulator, Some(&receiver));
    simulator.configure_graph(|settings| {
        settings.auto_statuses = vec!["sent".into(), "delivered".into(), "read".into()];
    });
    send(&simulator, text_to("628110000002")).await;
    eventually("all by themselves", || statuses(&receiver).len() == 3).await;

    let step = |status: &str, after_ms: u64, copies: u32| GraphStatusStep {
        status: status.to_owned(),
        after_ms,
        copies,
        timestamp: Some(1_763_600_000),
        ..GraphStatusStep::default()
    };
    let steps = vec![step("sent", 400, 0), step("read", 0, 2)];
    trouble(&simulator, GraphTroubleKind::Statuses { steps }, 1);
    let id = send(&simulator, text_to(PERSON)).await.id();
    let of_it = || {
        let mut deliveries = simulator.graph_deliveries();
        // In the order they were sent, which is not the order they arrive in on a busy machine.
        deliveries.sort_by_key(|one| one.event_id);
        let items = deliveries.into_iter().flat_map(|one| one.items);
        items.filter(|item| item.starts_with(&id)).collect::<Vec<_>>()
    };
    eventually("four more", || of_it().len() == 4).await;
    let read = format!("{id}:read");
    assert_eq!(of_it(), [read.clone(), read.clone(), read, format!("{id}:sent")]);

    trouble(&simulator, GraphTroubleKind::Statuses { steps: Vec::new() }, 1);
    let silent = send(&simulator, text_to(PERSON)).await.id();
    let fails = GraphTroubleKind::Fails {
        code: 131_026,
        details: Some("gone".to_owned()),
        after_ms: Some(0),
    };
    trouble(&simulator, fails, 1);
    send(&simulator, text_to(PERSON)).await.id();
    eventually("it failed", || statuses(&receiver).contains(&"failed".to_owned())).await;
    let body = receiver.received().last().unwrap().json();
    let error = &value(&body)["statuses"][0]["errors"][0];
    assert_eq!(
        (&error["code"], &error["error_data"]["details"]),
        (&json!(131_026), &json!("gone"))
    );
    assert!(
        !simulator
            .graph_deliveries()
            .iter()
            .any(|one| one.items[0].starts_with(&silent))
    );
}

#[tokio::test]
async fn management_calls_have_troubles_of_their_own() {
    let simulator = start().await;
    number(&simulator, None);
    let script = json!({"call": "management", "times": 1, "kind": "error", "code": 80_008});
    let url = format!("{}/_sim/graph/troubles", simulator.base_url());
    client().post(&url).json(&script).send().await.unwrap();
    assert_eq!(send(&simulator, text_to(PERSON)).await.status, 200);
    assert_eq!(
        get(&simulator, &format!("/{NUMBER}")).await.error(),
        (400, 80_008)
    );
    assert_eq!(get(&simulator, &format!("/{NUMBER}")).await.status, 200);
}
