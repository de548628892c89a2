use serde_json::{Value, json};
use simulator::{
    GraphInbound, GraphTemplate, GraphToken, GraphWindow, GraphWindowChange, NewGraphNumber, graph_user_id,
};

use super::{NUMBER, PERSON, TOKEN, WABA, number, post, send, statuses, text_to};
use crate::receiver::Receiver;
use crate::{client, eventually, start};

#[tokio::test]
async fn every_body_of_the_contract_is_taken() {
    let simulator = start().await;
    let bodies: Vec<Value> = serde_json::from_str(include_str!("requests.json")).unwrap();
    assert!(bodies.len() > 15);
    for body in &bodies {
        let sent = send(&simulator, body.clone()).await;
        assert_eq!(sent.status, 200, "{body} {}", sent.json);
        if body["status"] == "read" {
            assert_eq!(sent.json, json!({"success": true}));
        } else {
            assert_eq!(sent.json["contacts"][0]["wa_id"], "628110000001");
            assert!(sent.id().starts_with("wamid."));
        }
    }
    assert_eq!(simulator.graph_sends().len(), bodies.len());
}

#[tokio::test]
async fn bodies_that_break_a_rule_are_refused_with_its_code() {
    let simulator = start().await;
    let to = |kind: &str, object: Value| json!({"messaging_product": "whatsapp", "to": "+628110000001", "type": kind, kind: object});
    let reply = |title: &str, id: &str| json!({"type": "reply", "reply": {"id": id, "title": title}});
    let button = |buttons: Value| {
        to(
            "interactive",
            json!({"type": "button", "body": {"text": "?"}, "action": {"buttons": buttons}}),
        )
    };
    let rows = |count: usize| {
        let rows: Vec<Value> = (0..count)
            .map(|n| json!({"id": n.to_string(), "title": "x"}))
            .collect();
        to(
            "interactive",
            json!({"type": "list", "body": {"text": "?"},
            "action": {"button": "b", "sections": [{"title": "a", "rows": rows[..count / 2]}, {"title": "b", "rows": rows[count / 2..]}]}}),
        )
    };
    let contact = json!({"name": {"formatted_name": "Budi"}});
    for (body, code) in [
        (json!({"to": "628110000001", "text": {"body": "x"}}), 100),
        (
            json!({"messaging_product": "whatsapp", "text": {"body": "x"}}),
            100,
        ),
        (
            json!({"messaging_product": "whatsapp", "to": "budi", "text": {"body": "x"}}),
            131_009,
        ),
        (to("text", json!({"body": "x".repeat(4_097)})), 100),
        (to("text", json!({"body": ""})), 131_008),
        (to("flow", json!({})), 100),
        (
            json!({"messaging_product": "whatsapp", "to": "628110000001", "type": "image"}),
            131_008,
        ),
        (to("image", json!({"caption": "x"})), 131_008),
        (
            to("image", json!({"id": "1", "link": "https://a.test/b"})),
            131_009,
        ),
        (to("image", json!({"link": "file:///etc/passwd"})), 131_009),
        (to("image", json!({"id": "1", "caption": "x".repeat(1_025)})), 100),
        (to("audio", json!({"id": "1", "caption": "x"})), 100),
        (to("location", json!({"latitude": 91, "longitude": 1})), 131_009),
        (to("contacts", json!([contact])), 131_008),
        (to("reaction", json!({"message_id": "wamid.x"})), 131_008),
        (
            to("reaction", json!({"message_id": "wamid.x", "emoji": "ok"})),
            131_009,
        ),
        (button(json!([])), 131_008),
        (button(json!([reply("Ya", "1"), reply("Ya", "2")])), 131_009),
        (
            button(json!([
                reply("Ya", "1"),
                reply("b", "2"),
                reply("c", "3"),
                reply("d", "4")
            ])),
            131_009,
        ),
        (button(json!([reply(&"x".repeat(21), "1")])), 100),
        (rows(11), 131_009),
        (
            to(
                "interactive",
                json!({"type": "poll", "body": {"text": "?"}, "action": {}}),
            ),
            131_009,
        ),
        (to("template", json!({"language": {"code": "id"}})), 131_008),
        (
            to(
                "template",
                json!({"name": "a", "language": {"code": "id"}, "components":
                [{"type": "body", "parameters": [{"type": "text", "text": "a\nb"}]}]}),
            ),
            132_012,
        ),
        (
            json!({"messaging_product": "whatsapp", "status": "read", "message_id": "x"}),
            131_009,
        ),
        (
            json!({"messaging_product": "whatsapp", "to": "628110000001", "text": {"body": "x"},
                "biz_opaque_callback_data": "x".repeat(513)}),
            100,
        ),
    ] {
        let refused = send(&simulator, body.clone()).await;
        assert_eq!(refused.error(), (400, code), "{body} {}", refused.json);
        assert!(
            refused.json["error"]["message"]
                .as_str()
                .unwrap()
                .starts_with("(#")
        );
    }
    assert_eq!(send(&simulator, rows(10)).await.status, 200);
    assert_eq!(simulator.graph_sends().len(), 1);
}

#[tokio::test]
async fn tokens_and_numbers_are_told_apart_once_there_are_any() {
    let simulator = start().await;
    number(&simulator, None);
    simulator.create_graph_number(NewGraphNumber {
        id: "110987650000333".to_owned(),
        waba: "210987650000999".to_owned(),
        token: "another-token".to_owned(),
        unregistered: true,
        ..NewGraphNumber::default()
    });
    let with = |token: &'static str, number: &'static str| {
        let url = format!("{}/v22.0/{number}/messages", simulator.graph_url());
        let request = client().post(url).bearer_auth(token).json(&text_to(PERSON));
        async { super::read(request.send().await.unwrap()).await }
    };
    assert_eq!(with(TOKEN, NUMBER).await.status, 200);
    assert_eq!(with("made-up", NUMBER).await.error(), (401, 190));
    let foreign = with(TOKEN, "110987650000333").await;
    assert_eq!(foreign.error(), (400, 100));
    assert_eq!(foreign.json["error"]["error_subcode"], 33);
    assert_eq!(with(TOKEN, "999").await.json["error"]["error_subcode"], 33);
    assert_eq!(
        with("another-token", "110987650000333").await.error(),
        (400, 133_010)
    );
    simulator.put_graph_token(GraphToken {
        token: TOKEN.to_owned(),
        app: "1".to_owned(),
        wabas: vec![WABA.to_owned()],
        broken: Some(463),
    });
    let expired = with(TOKEN, NUMBER).await;
    assert_eq!(
        (expired.error(), &expired.json["error"]["error_subcode"]),
        ((401, 190), &json!(463))
    );
    assert_eq!(simulator.graph_sends().len(), 1);
}

#[tokio::test]
async fn the_answer_tells_what_whatsapp_makes_of_the_receiver() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    number(&simulator, Some(&receiver));
    simulator.configure_graph(|settings| {
        settings
            .wa_ids
            .insert("5511987654321".to_owned(), "551187654321".to_owned());
    });
    let sent = send(&simulator, text_to("+55 (11) 98765-4321")).await;
    assert_eq!(
        sent.json["contacts"][0],
        json!({"input": "+55 (11) 98765-4321", "wa_id": "551187654321"})
    );
    let user = json!({"messaging_product": "whatsapp", "recipient": "ID.0123", "text": {"body": "x"}});
    assert_eq!(
        send(&simulator, user).await.json["contacts"][0],
        json!({"input": "ID.0123", "user_id": "ID.0123"})
    );
    let mut group = text_to("Z3JvdXA");
    group["recipient_type"] = json!("group");
    assert_eq!(
        send(&simulator, group).await.json["messages"][0]["group_id"],
        "Z3JvdXA"
    );
    eventually("three are sent", || statuses(&receiver).len() == 3).await;
    let to_self = send(&simulator, text_to("6221550001111")).await;
    assert_eq!(to_self.error(), (400, 131_021));
    // A user id where a phone belongs is taken and never heard of again; what is sent after it is.
    let lost = send(&simulator, text_to(&graph_user_id(PERSON))).await.id();
    let after = send(&simulator, text_to(PERSON)).await.id();
    eventually("the last is sent", || {
        simulator
            .graph_deliveries()
            .iter()
            .any(|one| one.items == [format!("{after}:sent")])
    })
    .await;
    assert!(
        !simulator
            .graph_deliveries()
            .iter()
            .any(|one| one.items[0].starts_with(&lost))
    );
}

#[tokio::test]
async fn templates_must_be_there_be_approved_and_fit() {
    let simulator = start().await;
    number(&simulator, None);
    let put = |name: &str, status: &str, components: Value| {
        let template = GraphTemplate {
            name: name.to_owned(),
            status: status.to_owned(),
            components: components.as_array().unwrap().clone(),
            ..GraphTemplate::default()
        };
        simulator.put_graph_template(WABA, template).unwrap();
    };
    put(
        "dua",
        "",
        json!([{"type": "HEADER", "format": "DOCUMENT"}, {"type": "BODY", "text": "{{1}} dan {{2}} dan {{1}}"}]),
    );
    put("nama", "", json!([{"type": "BODY", "text": "Halo {{nama}}"}]));
    put("jeda", "PAUSED", json!([]));
    put("mati", "DISABLED", json!([]));
    put("tunggu", "PENDING", json!([]));
    let template = |name: &str, components: Value| {
        json!({"messaging_product": "whatsapp", "to": PERSON, "type": "template",
               "template": {"name": name, "language": {"code": "id"}, "components": components}})
    };
    let body = |texts: &[&str]| {
        let all: Vec<Value> = texts
            .iter()
            .map(|text| json!({"type": "text", "text": text}))
            .collect();
        json!({"type": "body", "parameters": all})
    };
    let header = |kind: &str| json!({"type": "header", "parameters": [{"type": kind, kind: {"link": "https://a.test/b"}}]});
    let named =
        json!([{"type": "body", "parameters": [{"type": "text", "parameter_name": "nama", "text": "a"}]}]);
    let taken = send(
        &simulator,
        template("dua", json!([header("document"), body(&["a", "b"])])),
    )
    .await;
    assert_eq!(taken.json["messages"][0]["message_status"], "accepted");
    assert_eq!(send(&simulator, template("nama", named)).await.status, 200);
    for (body, expected) in [
        (
            template("dua", json!([header("document"), body(&["a"])])),
            (400, 132_000),
        ),
        (template("dua", json!([body(&["a", "b"])])), (400, 132_000)),
        (
            template("dua", json!([header("image"), body(&["a", "b"])])),
            (400, 132_012),
        ),
        (template("nama", json!([body(&["a"])])), (400, 100)),
        (template("jeda", json!([])), (400, 132_015)),
        (template("mati", json!([])), (400, 132_016)),
        (template("tunggu", json!([])), (404, 132_001)),
        (template("tidak_ada", json!([])), (404, 132_001)),
    ] {
        assert_eq!(send(&simulator, body.clone()).await.error(), expected, "{body}");
    }
}

#[tokio::test]
async fn a_closed_window_fails_later_or_at_once_and_opens_when_the_person_writes() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    number(&simulator, Some(&receiver));
    simulator.configure_graph(|settings| settings.window = GraphWindow::Kept);
    let id = send(&simulator, text_to(PERSON)).await.id();
    eventually("it failed", || statuses(&receiver) == ["failed"]).await;
    let body = receiver.received()[0].json();
    let status = &super::value(&body)["statuses"][0];
    assert_eq!(
        (&status["id"], &status["errors"][0]["code"]),
        (&json!(id), &json!(131_047))
    );
    assert_eq!(status["biz_opaque_callback_data"], "job:1");

    simulator.configure_graph(|settings| settings.window_refuses_at_once = true);
    assert_eq!(send(&simulator, text_to(PERSON)).await.error(), (400, 131_047));
    let inbound = GraphInbound {
        number: NUMBER.to_owned(),
        from: PERSON.to_owned(),
        ..GraphInbound::default()
    };
    simulator.graph_inbound(&inbound).unwrap();
    assert_eq!(send(&simulator, text_to(PERSON)).await.status, 200);
    simulator.set_graph_window(&GraphWindowChange {
        number: NUMBER.to_owned(),
        phone: PERSON.to_owned(),
        open: false,
    });
    assert_eq!(send(&simulator, text_to(PERSON)).await.error(), (400, 131_047));
    assert_eq!(
        post(&simulator, &format!("/{NUMBER}/nonsense"), json!({}))
            .await
            .error(),
        (404, 2500)
    );
}
