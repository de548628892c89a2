//! Typing and read marks (contract channel-service 1.4, 3.7, 6.2), and what people say about themselves.

use reqwest::Method;
use serde_json::{Value, json};
use simulator::{FaultKind, FaultSpec};

use crate::harness::{TestApp, message, text};

const RARA: &str = "6281290000011";

/// Calls of one route at the WhatsApp server, with their bodies.
fn calls(app: &TestApp, path: &str) -> Vec<Value> {
    app.simulator
        .wa_sends(None)
        .into_iter()
        .filter(|call| call.path == path)
        .map(|call| call.body)
        .collect()
}

async fn post(app: &TestApp, path: &str, body: Value) -> Value {
    let answer = app.internal(Method::POST, path, Some(&body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typing_goes_to_the_server_as_the_village_wants() {
    let app = TestApp::spawn().await;
    app.tenant("desa-satu").await;
    let typing = |more: Value| {
        let mut body = json!({"village_id": "desa-satu", "wa_user_id": RARA});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        post(&app, "/typing", body)
    };
    assert_eq!(
        typing(json!({})).await,
        json!({"status": "ok", "state": "composing"})
    );
    let stopped = typing(json!({"state": "stop"})).await;
    assert_eq!(stopped, json!({"status": "ok", "state": "stop"}));
    assert_eq!(
        calls(&app, "/chat/presence"),
        [
            json!({"Phone": RARA, "State": "composing", "Media": ""}),
            json!({"Phone": RARA, "State": "paused", "Media": ""})
        ]
    );
    // The server refuses, nobody is meant, the visitor is not on WhatsApp: no error, and said so.
    app.simulator
        .add_fault(
            FaultSpec::on_path(
                "/wa/chat/presence",
                crate::harness::refusal(500, "no session", None),
            )
            .times(1),
        )
        .unwrap();
    let disabled = |state: &str| json!({"status": "ok", "state": state, "note": "typing_disabled"});
    assert_eq!(typing(json!({})).await, disabled("composing"));
    assert_eq!(typing(json!({"state": "jumping"})).await, disabled("jumping"));
    assert_eq!(
        typing(json!({"wa_user_id": "web_a"})).await,
        disabled("composing")
    );
    assert_eq!(typing(json!({"wa_user_id": null})).await, disabled("composing"));
    app.run_sql("UPDATE tenants SET typing_indicator = false").await;
    assert_eq!(typing(json!({"state": "paused"})).await, disabled("paused"));
    assert_eq!(calls(&app, "/chat/presence").len(), 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_marks_are_counted_whether_or_not_they_are_shown() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.post(&desa.json(&text(RARA, "3EB0R1", "halo")))
        .await
        .assert_kept();
    let read = |ids: Value| {
        let body = json!({"village_id": "desa-satu", "wa_user_id": RARA, "message_ids": ids});
        post(&app, "/messages/read", body)
    };
    let marked = read(json!(["3EB0R1", "bukan id", 7])).await;
    assert_eq!(marked, json!({"status": "ok", "marked_count": 3}));
    assert_eq!(
        calls(&app, "/chat/markread"),
        [json!({"Id": ["3EB0R1"], "ChatPhone": RARA, "SenderPhone": RARA})]
    );
    assert_eq!(read(json!([])).await["marked_count"], 0);
    app.simulator
        .add_fault(FaultSpec::on_path("/wa/chat/markread", FaultKind::Cut).times(1))
        .unwrap();
    assert_eq!(read(json!(["3EB0R1"])).await["marked_count"], 1);
    app.run_sql("UPDATE tenants SET auto_read = false").await;
    assert_eq!(read(json!(["3EB0R1"])).await["marked_count"], 1);
    assert_eq!(calls(&app, "/chat/markread").len(), 1);
    // The AI has read it; no person has.
    assert_eq!(app.values("SELECT unread AS value FROM chats").await, [json!(1)]);

    for body in [
        json!({}),
        json!({"wa_user_id": RARA}),
        json!({"wa_user_id": RARA, "message_ids": "3EB0"}),
        json!({"wa_user_id": 7, "message_ids": []}),
    ] {
        let answer = app.internal(Method::POST, "/messages/read", Some(&body)).await;
        answer.assert_error(400, "field_required");
        assert_eq!(
            answer.json()["error"],
            "wa_user_id and message_ids array are required"
        );
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_who_hides_the_number_is_reached_at_the_hidden_id() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let mut event = message(RARA, "3EB0L1", &json!({"conversation": "halo"}));
    event["event"]["Info"]["Chat"] = json!("204466881133557@lid");
    event["event"]["Info"]["Sender"] = json!("204466881133557@lid");
    app.post(&desa.json(&event)).await.assert_kept();
    let body = json!({"village_id": "desa-satu", "wa_user_id": "204466881133557@lid"});
    assert_eq!(post(&app, "/typing", body).await["note"], Value::Null);
    assert_eq!(calls(&app, "/chat/presence")[0]["Phone"], "204466881133557@lid");
    let list = app
        .internal(Method::GET, "/conversations?village_id=desa-satu", None)
        .await
        .json();
    assert_eq!(list["data"][0]["channel_identifier"], "204466881133557@lid");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_is_noted_and_never_mistaken_for_an_address() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.post(&desa.json(&text(RARA, "3EB0P1", "halo")))
        .await
        .assert_kept();
    let patch = |body: Value| {
        let app = &app;
        async move {
            app.internal(Method::PATCH, "/conversations/user-profile", Some(&body))
                .await
        }
    };
    let answer =
        patch(json!({"channel_identifier": RARA, "user_name": "Ibu\u{0} Rara", "village_id": "desa-satu"}))
            .await;
    assert_eq!(
        (answer.status, answer.json()),
        (
            200,
            json!({"status": "ok", "updated": {"user_name": "Ibu  Rara", "user_phone": false}})
        )
    );
    let answer = patch(json!({"channel_identifier": RARA, "channel": "whatsapp", "user_phone": "0812-345", "village_id": "desa-satu"})).await;
    assert_eq!(
        answer.json(),
        json!({"status": "ok", "updated": {"user_phone": true}})
    );
    let list = app
        .internal(Method::GET, "/conversations?village_id=desa-satu", None)
        .await
        .json();
    let row = &list["data"][0];
    assert_eq!(
        json!([row["user_name"], row["user_phone"], row["channel_identifier"]]),
        json!(["Ibu  Rara", "0812-345", RARA])
    );
    // The next message tells the push name; what the person said stays.
    app.post(&desa.json(&text(RARA, "3EB0P2", "lagi")))
        .await
        .assert_kept();
    let list = app
        .internal(Method::GET, "/conversations?village_id=desa-satu", None)
        .await
        .json();
    assert_eq!(list["data"][0]["user_name"], "Ibu  Rara");

    let nobody = json!({"channel_identifier": "web_nobody", "user_name": "X", "village_id": "desa-satu"});
    assert_eq!(patch(nobody).await.status, 200);
    assert_eq!(app.count("chats").await, 1, "a profile makes no chat");
    for (body, error) in [
        (json!({"user_name": "X"}), "channel_identifier is required"),
        (
            json!({"channel_identifier": RARA, "user_name": ""}),
            "At least one of user_name or user_phone is required",
        ),
    ] {
        let answer = patch(body).await;
        answer.assert_error(400, "field_required");
        assert_eq!(answer.json()["error"], error);
    }
    app.finish().await;
}
