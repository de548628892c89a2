use std::time::Duration;

use serde_json::{Value, json};
use simulator::{
    FaultKind, FaultSpec, FaultTarget, GraphApp, GraphChange, GraphInbound, GraphRaw, GraphRedelivery,
    GraphShape, GraphStatusChange, GraphUpdate, NewGraphNumber, Simulator, graph_user_id, hmac_sha256_hex,
};

use super::{NUMBER, PERSON, SECRET, WABA, callback, number, send, text_to, value};
use crate::receiver::Receiver;
use crate::{client, eventually, start};

fn inbound(kind: &str) -> GraphInbound {
    GraphInbound {
        number: NUMBER.to_owned(),
        from: PERSON.to_owned(),
        kind: kind.to_owned(),
        ..GraphInbound::default()
    }
}

/// The number once more, with webhooks of this generation.
fn shaped(simulator: &Simulator, receiver: &Receiver, shape: GraphShape) {
    simulator.create_graph_number(NewGraphNumber {
        id: NUMBER.to_owned(),
        phone: "6221550001111".to_owned(),
        webhook: Some(callback(receiver)),
        shape,
        ..NewGraphNumber::default()
    });
}

#[tokio::test]
async fn what_is_signed_is_ascii_and_exactly_what_is_sent() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    number(&simulator, Some(&receiver));
    let message = GraphInbound {
        text: Some("caf\u{e9} \u{1f642} https://a.test/b".to_owned()),
        ..inbound("")
    };
    let id = simulator.graph_inbound(&message).unwrap();
    eventually("it came", || receiver.count() == 1).await;
    let received = &receiver.received()[0];
    let expected = format!("sha256={}", hmac_sha256_hex(SECRET, &[&received.body]));
    assert_eq!(received.headers["x-hub-signature-256"], expected);
    assert_eq!(received.headers["content-type"], "application/json");
    let written = String::from_utf8(received.body.clone()).unwrap();
    assert!(written.is_ascii());
    assert!(
        written.contains(r"caf\u00e9 \ud83d\ude42 https:\/\/a.test\/b"),
        "{written}"
    );
    let body = received.json();
    assert_eq!(
        (&body["object"], &body["entry"][0]["id"]),
        (&json!("whatsapp_business_account"), &json!(WABA))
    );
    let value = value(&body);
    assert_eq!(
        value["metadata"],
        json!({"display_phone_number": "6221550001111", "phone_number_id": NUMBER})
    );
    assert_eq!(
        value["contacts"],
        json!([{"profile": {"name": "Sari Wulandari"}, "wa_id": PERSON}])
    );
    let message = &value["messages"][0];
    assert_eq!(
        (&message["id"], &message["from"], &message["type"]),
        (&json!(id), &json!(PERSON), &json!("text"))
    );
    assert!(message["timestamp"].is_string());
}

#[tokio::test]
async fn people_send_every_kind() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    shaped(&simulator, &receiver, GraphShape::New);
    let kinds = [
        "text",
        "image",
        "video",
        "audio",
        "voice",
        "document",
        "sticker",
        "location",
        "contacts",
        "button_reply",
        "list_reply",
        "flow_reply",
        "call_permission_reply",
        "button",
        "order",
        "reaction",
        "reaction_removed",
        "user_changed_number",
        "user_changed_user_id",
        "customer_identity_changed",
        "unsupported",
        "edit",
        "revoke",
        "request_welcome",
    ];
    let all: Vec<GraphUpdate> = kinds
        .iter()
        .map(|kind| GraphUpdate::Inbound(Box::new(inbound(kind))))
        .collect();
    let emitted = simulator.graph_batch(&all).unwrap();
    assert_eq!((emitted.ids.len(), emitted.event_ids.len()), (kinds.len(), 1));
    eventually("one webhook", || receiver.count() == 1).await;
    let body = receiver.received()[0].json();
    let messages = value(&body)["messages"].as_array().unwrap().clone();
    assert_eq!(messages.len(), kinds.len());
    for message in &messages {
        let kind = message["type"].as_str().unwrap();
        assert!(
            message.get(kind).is_some() || kind == "request_welcome",
            "{message}"
        );
        assert_eq!(
            message.get("from_user_id").is_some(),
            kind != "system",
            "{message}"
        );
    }
    assert_eq!(
        messages[1]["image"]["url"]
            .as_str()
            .unwrap()
            .split('?')
            .next()
            .unwrap(),
        format!("{}/whatsapp_business/attachments/", simulator.graph_url())
    );
    assert_eq!(messages[4]["audio"]["voice"], true);
    assert!(messages[16]["reaction"].get("emoji").is_none());
    assert_eq!(value(&body)["contacts"].as_array().unwrap().len(), 1);
    assert!(simulator.graph_inbound(&inbound("poll")).is_err());
}

#[tokio::test]
async fn a_writer_without_a_phone_is_known_by_the_user_id_only() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    shaped(&simulator, &receiver, GraphShape::New);
    let hidden = GraphInbound {
        without_phone: true,
        username: Some("rina.hk".to_owned()),
        reply_to: Some("wamid.x".to_owned()),
        group: Some("Z3Jw".to_owned()),
        ..inbound("text")
    };
    simulator.graph_inbound(&hidden).unwrap();
    eventually("it came", || receiver.count() == 1).await;
    let body = receiver.received()[0].json();
    let (contact, message) = (&value(&body)["contacts"][0], &value(&body)["messages"][0]);
    assert!(contact.get("wa_id").is_none() && message.get("from").is_none());
    assert_eq!(contact["user_id"], graph_user_id(PERSON));
    assert_eq!(message["from_user_id"], graph_user_id(PERSON));
    assert_eq!(
        (&message["context"]["id"], &message["group_id"]),
        (&json!("wamid.x"), &json!("Z3Jw"))
    );
}

#[tokio::test]
async fn statuses_have_the_shape_of_their_generation() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    shaped(&simulator, &receiver, GraphShape::Old);
    let id = send(&simulator, text_to(PERSON)).await.id();
    eventually("sent", || receiver.count() == 1).await;
    let body = receiver.received()[0].json();
    let status = &value(&body)["statuses"][0];
    assert!(value(&body).get("contacts").is_none() && status.get("recipient_user_id").is_none());
    assert_eq!(
        (&status["id"], &status["recipient_id"]),
        (&json!(id), &json!(PERSON))
    );
    assert!(status["conversation"]["expiration_timestamp"].is_string());
    assert_eq!(status["pricing"]["category"], "service");

    shaped(&simulator, &receiver, GraphShape::New);
    let delivered = GraphStatusChange {
        id: id.clone(),
        status: "delivered".to_owned(),
        timestamp: Some(1_763_600_099),
        ..GraphStatusChange::default()
    };
    simulator.graph_status(&delivered).unwrap();
    eventually("delivered", || receiver.count() == 2).await;
    let body = receiver.received()[1].json();
    let status = &value(&body)["statuses"][0];
    assert_eq!(
        value(&body)["contacts"],
        json!([{"wa_id": PERSON, "user_id": graph_user_id(PERSON)}])
    );
    assert_eq!(status["recipient_user_id"], graph_user_id(PERSON));
    assert_eq!(
        (&status["timestamp"], &status["biz_opaque_callback_data"]),
        (&json!("1763600099"), &json!("job:1"))
    );
    assert!(status.get("conversation").is_none());

    let group = GraphStatusChange {
        id,
        status: "read".to_owned(),
        participants: vec!["62811".to_owned(), "62812".to_owned()],
        to: Some("Z3Jw".to_owned()),
        ..GraphStatusChange::default()
    };
    simulator.graph_status(&group).unwrap();
    eventually("read", || receiver.count() == 3).await;
    let body = receiver.received()[2].json();
    let statuses = value(&body)["statuses"].as_array().unwrap().clone();
    assert_eq!(statuses.len(), 2);
    assert_eq!(
        (
            &statuses[1]["recipient_type"],
            &statuses[1]["recipient_participant_id"]
        ),
        (&json!("group"), &json!("62812"))
    );
    let unknown = GraphStatusChange {
        id: "wamid.none".to_owned(),
        ..delivered
    };
    assert!(simulator.graph_status(&unknown).is_err());
    let unknown = GraphStatusChange {
        number: Some(NUMBER.to_owned()),
        to: Some(PERSON.to_owned()),
        ..unknown
    };
    assert_eq!(simulator.graph_status(&unknown).unwrap().event_ids.len(), 1);
}

#[tokio::test]
async fn a_batch_carries_a_thousand_updates_of_many_tenants() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    number(&simulator, Some(&receiver));
    simulator.create_graph_number(NewGraphNumber {
        id: "110987650000333".to_owned(),
        waba: "210987650000999".to_owned(),
        ..NewGraphNumber::default()
    });
    let other = GraphInbound {
        number: "110987650000333".to_owned(),
        ..inbound("text")
    };
    let approved = GraphChange {
        waba: "210987650000999".to_owned(),
        field: "message_template_status_update".to_owned(),
        value: json!({"event": "APPROVED"}).as_object().unwrap().clone(),
        ..GraphChange::default()
    };
    let read = GraphStatusChange {
        id: "wamid.x".to_owned(),
        status: "read".to_owned(),
        number: Some(NUMBER.to_owned()),
        to: Some(PERSON.to_owned()),
        ..GraphStatusChange::default()
    };
    let mixed = [
        GraphUpdate::Inbound(Box::new(inbound("text"))),
        GraphUpdate::Inbound(Box::new(inbound("text"))),
        GraphUpdate::Status(read),
        GraphUpdate::Change(approved),
        GraphUpdate::Inbound(Box::new(other)),
    ];
    simulator.graph_batch(&mixed).unwrap();
    eventually("it came", || receiver.count() == 1).await;
    let body = receiver.received()[0].json();
    let entries = body["entry"].as_array().unwrap();
    let shape: Vec<(&str, usize)> = entries
        .iter()
        .map(|entry| {
            (
                entry["id"].as_str().unwrap(),
                entry["changes"].as_array().unwrap().len(),
            )
        })
        .collect();
    assert_eq!(shape, [(WABA, 2), ("210987650000999", 1), ("210987650000999", 1)]);
    assert_eq!(
        entries[0]["changes"][0]["value"]["messages"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert!(entries[1]["time"].is_i64() && entries[0].get("time").is_none());

    let many: Vec<GraphUpdate> = (0..1_001)
        .map(|_| GraphUpdate::Inbound(Box::new(inbound("text"))))
        .collect();
    assert!(simulator.graph_batch(&many).is_err());
    simulator.graph_batch(&many[1..]).unwrap();
    eventually("a thousand at once", || receiver.count() == 2).await;
    let body = receiver.received()[1].json();
    assert_eq!(value(&body)["messages"].as_array().unwrap().len(), 1_000);
    eventually("noted", || {
        simulator
            .graph_deliveries()
            .iter()
            .any(|one| one.updates == 1_000)
    })
    .await;
}

#[tokio::test]
async fn anything_but_200_comes_again_the_same_bytes_and_not_for_ever() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    number(&simulator, Some(&receiver));
    receiver.answer(&[500, 202, 401]);
    simulator.graph_inbound(&inbound("text")).unwrap();
    eventually("four attempts", || simulator.graph_deliveries().len() == 4).await;
    let attempts = simulator.graph_deliveries();
    assert_eq!(
        attempts.iter().map(|one| one.status.unwrap()).collect::<Vec<_>>(),
        [500, 202, 401, 200]
    );
    assert!(!attempts[1].accepted() && attempts[3].accepted());
    assert!(
        receiver
            .received()
            .windows(2)
            .all(|pair| pair[0].body == pair[1].body)
    );

    receiver.think(Duration::from_millis(300));
    let again = json!({"event_id": attempts[0].event_id, "copies": 5, "concurrent": true});
    let url = format!("{}/_sim/graph/redeliver", simulator.base_url());
    assert_eq!(
        client().post(&url).json(&again).send().await.unwrap().status(),
        200
    );
    eventually("five more", || simulator.graph_deliveries().len() == 9).await;
    assert!(receiver.most_at_once() > 1);
    receiver.think(Duration::ZERO);
    let unknown = GraphRedelivery {
        event_id: 999,
        ..GraphRedelivery::default()
    };
    assert!(simulator.graph_redeliver(&unknown).is_err());

    simulator.configure_graph(|settings| settings.retry_pauses_ms = vec![1, 1]);
    receiver.answer(&[503; 20]);
    simulator.graph_inbound(&inbound("text")).unwrap();
    eventually("three attempts", || simulator.graph_deliveries().len() == 12).await;
    receiver.answer(&[]);
    simulator.graph_inbound(&inbound("text")).unwrap();
    eventually("the next one", || simulator.graph_deliveries().len() == 13).await;
    assert_eq!(simulator.graph_deliveries()[11].attempt, 3);
}

#[tokio::test]
async fn webhooks_are_lost_and_repeated_by_the_common_faults() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    number(&simulator, Some(&receiver));
    let kind = FaultKind::Duplicate {
        copies: 2,
        concurrent: false,
    };
    simulator
        .add_fault(FaultSpec::on_webhook(FaultTarget::GraphWebhook, kind).times(1))
        .unwrap();
    simulator.graph_inbound(&inbound("text")).unwrap();
    eventually("three", || receiver.count() == 3).await;
    let lost = FaultSpec::on_webhook(FaultTarget::GraphWebhook, FaultKind::LostAnswer).times(1);
    simulator.add_fault(lost).unwrap();
    simulator.graph_inbound(&inbound("text")).unwrap();
    eventually("twice", || receiver.count() == 5).await;
}

#[tokio::test]
async fn each_app_signs_with_its_own_secret_and_hostile_bodies_are_signed_too() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    number(&simulator, None);
    simulator.put_graph_app(GraphApp {
        id: "7".to_owned(),
        secret: "own-secret".to_owned(),
        callback: callback(&receiver),
    });
    let raw = GraphRaw {
        app: "7".to_owned(),
        body: "{\"object\": nonsense".to_owned(),
    };
    simulator.graph_raw(&raw).unwrap();
    assert!(
        simulator.graph_raw(&GraphRaw::default()).is_err(),
        "nobody listens"
    );
    eventually("it came", || receiver.count() == 1).await;
    let received = &receiver.received()[0];
    assert_eq!(received.body, raw.body.as_bytes());
    let expected = format!("sha256={}", hmac_sha256_hex("own-secret", &[&received.body]));
    assert_eq!(received.headers["x-hub-signature-256"], expected);
}

/// The document names no route that is not there.
#[tokio::test]
async fn the_documented_routes_exist() {
    let simulator = start().await;
    number(&simulator, None);
    let document = include_str!("../../../../../docs/simulator-graph.md");
    let routes: Vec<(&str, &str)> = document
        .lines()
        .filter_map(|line| {
            line.strip_prefix("| `")?
                .split_once('`')?
                .0
                .split_once(" /_sim/graph")
        })
        .collect();
    assert!(routes.len() > 20, "{routes:?}");
    for (method, path) in routes {
        let path = path.replace("{waba}", WABA).replace("{id}", "1");
        let url = format!("{}/_sim/graph{path}", simulator.base_url());
        let request = client().request(method.parse().unwrap(), url);
        let answer = request.body("{}").send().await.unwrap().text().await.unwrap();
        assert!(!answer.contains("no control route"), "{method} {path}: {answer}");
    }
}

#[tokio::test]
async fn everything_is_reached_over_http() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    let base = format!("{}/_sim/graph", simulator.base_url());
    let post = |path: &str, body: Value| {
        let request = client().post(format!("{base}{path}")).json(&body);
        async { super::read(request.send().await.unwrap()).await }
    };
    let made = post(
        "/numbers",
        json!({"id": NUMBER, "webhook": {"url": receiver.url, "verify_token": "vt-demo"}}),
    )
    .await;
    assert_eq!((made.status, &made.json["waba"]), (201, &json!(WABA)));
    let written = post(
        "/inbound",
        json!({"number": NUMBER, "from": PERSON, "kind": "list_reply"}),
    )
    .await;
    assert!(written.json["id"].as_str().unwrap().starts_with("wamid."));
    assert_eq!(
        post("/inbound", json!({"number": "1", "from": PERSON}))
            .await
            .status,
        404
    );
    let batch = json!([{"what": "inbound", "number": NUMBER, "from": PERSON},
                       {"what": "change", "waba": WABA, "field": "account_update", "value": {"event": "ACCOUNT_DELETED"}}]);
    assert_eq!(
        post("/batch", batch).await.json["ids"].as_array().unwrap().len(),
        1
    );
    assert_eq!(
        post("/config", json!({"pair_burst": 3.0})).await.json["pair_burst"],
        3.0
    );
    assert_eq!(post("/config", json!({"nonsense": 3})).await.status, 404);
    assert_eq!(
        post(&format!("/wabas/{WABA}/templates"), json!({"name": "a"}))
            .await
            .json["status"],
        "APPROVED"
    );
    assert_eq!(post("/wabas/1/templates", json!({"name": "a"})).await.status, 404);
    assert_eq!(
        post("/window", json!({"number": NUMBER, "phone": PERSON}))
            .await
            .status,
        200
    );
    assert_eq!(post("/limits/reset", json!({})).await.status, 200);
    assert_eq!(post("/verify", json!({})).await.json["verified"], true);
    eventually("two", || receiver.count() == 2).await;
    for path in [
        "numbers",
        "apps",
        "wabas",
        "config",
        "media",
        "sends",
        "deliveries",
        "troubles",
    ] {
        let read = client().get(format!("{base}/{path}")).send().await.unwrap();
        assert_eq!(read.status(), 200, "{path}");
    }
}
