//! A person takes a chat over and gives it back (contract channel-service 1.6, 3.5, 9.D3).

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, TestApp, text};

const RARA: &str = "6281290000011";
const VILLAGE: &str = "village_id=desa-satu";

async fn start(app: &TestApp, person: &str, body: Value) -> Answer {
    let path = format!("/takeover/{person}?{VILLAGE}");
    app.internal(Method::POST, &path, Some(&body)).await
}

async fn end(app: &TestApp, person: &str) -> Value {
    let path = format!("/takeover/{person}?{VILLAGE}");
    let answer = app.internal(Method::DELETE, &path, None).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

async fn status(app: &TestApp, person: &str) -> Value {
    let path = format!("/takeover/{person}/status?{VILLAGE}");
    app.internal(Method::GET, &path, None).await.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takeover_begins_shows_and_ends() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.post(&desa.json(&text(RARA, "3EB0T1", "tolong")))
        .await
        .assert_kept();
    let nobody = json!({"success": true, "is_takeover": false, "session": null});
    assert_eq!(status(&app, RARA).await, nobody);
    let answer = start(
        &app,
        RARA,
        json!({"admin_id": "admin-1", "admin_name": "Pak\u{0} Budi", "reason": "rumit", "other": 1}),
    )
    .await;
    let said = answer.json();
    assert_eq!(
        (answer.status, &said["success"], &said["message"]),
        (200, &json!(true), &json!(format!("Takeover started for {RARA}")))
    );
    let mut row = said["data"].clone();
    let fields = row.as_object_mut().unwrap();
    assert!(fields.remove("id").unwrap().is_string());
    assert!(
        fields
            .remove("started_at")
            .unwrap()
            .as_str()
            .unwrap()
            .ends_with('Z')
    );
    assert_eq!(
        row,
        json!({"village_id": "desa-satu", "wa_user_id": RARA, "channel": "WHATSAPP", "channel_identifier": RARA,
               "admin_id": "admin-1", "admin_name": "Pak  Budi", "ended_at": null, "reason": "rumit"})
    );
    assert_eq!(
        status(&app, RARA).await,
        json!({"success": true, "is_takeover": true, "session": said["data"]})
    );
    let opened = app
        .internal(Method::GET, &format!("/conversations/{RARA}?{VILLAGE}"), None)
        .await
        .json();
    assert_eq!(
        json!([
            opened["data"]["is_takeover"],
            opened["data"]["takeover_session"],
            opened["data"]["conversation"]["is_takeover"]
        ]),
        json!([true, said["data"], true])
    );

    // Another admin takes it, and has it alone.
    start(&app, RARA, json!({"admin_id": "admin-2"})).await;
    let now = status(&app, RARA).await;
    assert_eq!(
        json!([now["session"]["admin_id"], now["session"]["admin_name"]]),
        json!(["admin-2", null])
    );
    let list = app
        .internal(Method::GET, &format!("/takeover?{VILLAGE}"), None)
        .await
        .json();
    assert_eq!((&list["count"], &list["data"][0]), (&json!(1), &now["session"]));

    assert_eq!(
        end(&app, RARA).await,
        json!({"success": true, "ended": true, "message": format!("Takeover ended for {RARA}")})
    );
    let none = json!({"success": true, "ended": false, "message": "No active takeover found"});
    assert_eq!(end(&app, RARA).await, none);
    assert_eq!(end(&app, "siapa").await, none);
    assert_eq!(status(&app, RARA).await, nobody);
    let acts = app
        .rows("SELECT actor, action, detail FROM audit_log WHERE action LIKE 'takeover%' ORDER BY id")
        .await;
    assert_eq!(
        acts,
        [
            json!({"actor": "internal: admin-1", "action": "takeover.start", "detail": null}),
            json!({"actor": "internal: admin-2", "action": "takeover.start", "detail": "from somebody else"}),
            json!({"actor": "internal", "action": "takeover.end", "detail": null}),
        ]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_the_same_moment_one_has_the_chat() {
    let app = TestApp::spawn().await;
    app.bare_tenant("desa-satu").await;
    // The person never wrote: the chat is made by whoever comes first.
    for round in 0..5 {
        let person = format!("62812900001{round}0");
        let calls = (0..8).map(|admin| start(&app, &person, json!({"admin_id": format!("admin-{admin}")})));
        let answers = join_all(calls).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        let active = app
            .values("SELECT count(*) AS value FROM takeovers WHERE ended_at IS NULL")
            .await;
        assert_eq!(active, [json!(round + 1)]);
        assert_eq!(status(&app, &person).await["is_takeover"], true);
    }
    assert_eq!(app.count("takeovers").await, 40);
    assert_eq!(app.count("chats").await, 5);
    // Starts and ends mixed: afterwards the two tables agree, whoever came last.
    let person = "628129000099";
    let calls = (0..20).map(|number| {
        let app = &app;
        async move {
            if number % 3 == 0 {
                drop(end(app, person).await);
            } else {
                start(app, person, json!({"admin_id": "a"})).await;
            }
        }
    });
    join_all(calls).await;
    let status = status(&app, person).await;
    let opened = app
        .internal(Method::GET, &format!("/conversations/{person}?{VILLAGE}"), None)
        .await
        .json();
    assert_eq!(
        opened["data"]["conversation"]["is_takeover"],
        status["is_takeover"]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_can_be_taken_over_and_wrong_starts_change_nothing() {
    let app = TestApp::spawn().await;
    app.bare_tenant("desa-satu").await;
    let path = format!("/takeover/web_a?channel=WEBCHAT&{VILLAGE}");
    let answer = app
        .internal(Method::POST, &path, Some(&json!({"admin_id": "a"})))
        .await
        .json();
    assert_eq!(
        json!([
            answer["data"]["channel"],
            answer["data"]["wa_user_id"],
            answer["data"]["channel_identifier"]
        ]),
        json!(["WEBCHAT", null, "web_a"])
    );
    let path = format!("/takeover/web_a/status?channel=WEBCHAT&{VILLAGE}");
    assert_eq!(
        app.internal(Method::GET, &path, None).await.json()["is_takeover"],
        true
    );
    let opened = app
        .internal(Method::GET, &format!("/conversations/web_a?{VILLAGE}"), None)
        .await
        .json();
    assert_eq!(opened["data"]["conversation"]["last_message"], Value::Null);

    for body in [
        json!({}),
        json!({"admin_id": ""}),
        json!({"admin_id": null}),
        json!({"admin_id": "\u{0}"}),
    ] {
        let answer = start(&app, RARA, body).await;
        answer.assert_error(400, "field_required");
        assert_eq!(answer.json()["error"], "wa_user_id and admin_id are required");
    }
    start(&app, RARA, json!({"admin_id": 7}))
        .await
        .assert_error(400, "invalid_field");
    start(&app, "081290000011", json!({"admin_id": "a"}))
        .await
        .assert_error(400, "invalid_identifier");
    assert_eq!(app.count("takeovers").await, 1);
    app.finish().await;
}
