//! Texts that other services and the dashboard send: the outcome is waited for, and one order is one message
//! (contract channel-service 1.4, 1.6, 9.C6, 9.C15, 9.C16).

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::FaultKind;
use test_support::eventually;

use crate::harness::{Answer, INTERNAL_KEY, TestApp, Wishes, message, refusal, text};

const RARA: &str = "6281290000011";
const VILLAGE: &str = "village_id=desa-satu";

async fn send(app: &TestApp, body: Value) -> Answer {
    app.internal(Method::POST, "/send", Some(&body)).await
}

fn to(person: &str, words: &str) -> Value {
    json!({"village_id": "desa-satu", "wa_user_id": person, "message": words})
}

async fn answer_in_chat(app: &TestApp, person: &str, words: &str) -> Answer {
    let path = format!("/conversations/{person}/send?{VILLAGE}");
    let body = json!({"message": words, "admin_id": "a1", "admin_name": "Budi"});
    app.internal(Method::POST, &path, Some(&body)).await
}

async fn keyed(app: &TestApp, key: &str, path: &str, body: &Value) -> Answer {
    let request = app
        .http()
        .post(format!("{}/internal{path}", app.url))
        .header("x-internal-api-key", INTERNAL_KEY)
        .header("idempotency-key", key)
        .json(body);
    Answer::of(request.send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_goes_out_and_leaves_the_chat_as_it_is() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.post(&desa.json(&text(RARA, "3EB0S1", "halo")))
        .await
        .assert_kept();
    let answer = send(&app, to(RARA, "Pengajuan Anda disetujui")).await;
    let said = answer.json();
    assert_eq!((answer.status, &said["status"]), (200, &json!("sent")));
    let phone = app.simulator.phone(RARA);
    assert_eq!((phone.len(), phone[0].arrivals), (1, 1));
    assert_eq!(said, json!({"status": "sent", "message_id": phone[0].id}));
    assert_eq!(
        app.rows("SELECT source, status FROM messages WHERE direction = 'outbound'")
            .await,
        [json!({"source": "system", "status": "sent"})]
    );
    assert_eq!(
        app.rows("SELECT last_text, unread FROM chats").await,
        [json!({"last_text": "halo", "unread": 1})]
    );
    // Somebody who never wrote; a number of another country keeps its own.
    for stranger in ["628110000000", "4915112345678"] {
        assert_eq!(send(&app, to(stranger, "halo")).await.status, 200);
        assert_eq!(app.texts_on(stranger), ["halo"]);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_an_order_is_said_rule_by_rule() {
    let app = TestApp::spawn().await;
    app.tenant("desa-satu").await;
    let field = |path: &str, value: Option<Value>, msg: &str| {
        let mut field = json!({"type": "field", "msg": msg, "path": path, "location": "body"});
        if let Some(value) = value {
            field["value"] = value;
        }
        field
    };
    let person = "wa_user_id must be valid Indonesian phone number or webchat session ID";
    let length = "message must be between 1 and 4096 characters";
    for (body, details) in [
        (
            json!({}),
            vec![
                field("wa_user_id", None, "Invalid value"),
                field("wa_user_id", None, person),
                field("message", None, "Invalid value"),
                field("message", None, length),
            ],
        ),
        (
            to("abc", "x"),
            vec![field("wa_user_id", Some(json!("abc")), person)],
        ),
        (
            to("081290000011", "x"),
            vec![field("wa_user_id", Some(json!("081290000011")), person)],
        ),
        (to(RARA, ""), vec![field("message", Some(json!("")), length)]),
        (
            to(RARA, "\u{0}"),
            vec![field("message", Some(json!("\u{0}")), length)],
        ),
        (
            json!({"village_id": 7, "wa_user_id": RARA, "message": "x"}),
            vec![field("village_id", Some(json!(7)), "Invalid value")],
        ),
    ] {
        let answer = send(&app, body.clone()).await;
        answer.assert_error(400, "validation_failed");
        assert_eq!(answer.json()["error"], "Validation failed");
        assert_eq!(answer.json()["details"], json!(details), "{body}");
    }
    send(&app, to(RARA, &"x".repeat(4097)))
        .await
        .assert_error(400, "validation_failed");
    assert_eq!(send(&app, to(RARA, &"👍".repeat(4096))).await.status, 200);
    let long = answer_in_chat(&app, RARA, &"x".repeat(65_537)).await;
    long.assert_error(400, "message_too_long");
    let empty = answer_in_chat(&app, RARA, "").await;
    empty.assert_error(400, "field_required");
    assert_eq!(empty.json()["error"], "message is required");
    answer_in_chat(&app, "081290000011", "x")
        .await
        .assert_error(400, "invalid_identifier");
    assert_eq!(app.simulator.wa_sends(None).len(), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_for_good_is_told() {
    let app = TestApp::with(Wishes {
        send_attempts: "2",
        ..Wishes::default()
    })
    .await;
    app.tenant("desa-satu").await;
    app.sends_fail(refusal(400, "could not parse Phone", None), 2);
    let answer = send(&app, to(RARA, "ditolak")).await;
    answer.assert_error(500, "send_failed");
    let said = answer.json();
    assert_eq!(
        json!([said["status"], said["error"], said["reason"]]),
        json!([
            "failed",
            "WhatsApp does not know this recipient",
            "invalid_recipient"
        ])
    );
    let answer = answer_in_chat(&app, RARA, "ditolak juga").await;
    answer.assert_error(500, "send_failed");
    assert_eq!(
        json!([answer.json()["error"], answer.json()["details"]]),
        json!(["Failed to send message", "WhatsApp does not know this recipient"])
    );
    // Put aside after the last attempt: told as well.
    app.sends_fail(refusal(500, "no session", None), 2);
    let answer = send(&app, to(RARA, "menyerah")).await;
    assert_eq!(
        json!([answer.status, answer.json()["reason"]]),
        json!([500, "no_session"])
    );

    app.run_sql(
        "INSERT INTO channel_accounts (tenant_id, id, enabled_wa) VALUES ('desa-satu', gen_random_uuid(), false)",
    )
    .await;
    let before = app.count("messages").await;
    let answer = send(&app, to(RARA, "mati")).await;
    answer.assert_error(500, "channel_disabled");
    assert_eq!(
        json!([answer.json()["status"], answer.json()["error"]]),
        json!(["failed", "WhatsApp channel disabled"])
    );
    let answer = answer_in_chat(&app, RARA, "mati").await;
    answer.assert_error(500, "channel_disabled");
    assert_eq!(answer.json()["details"], "WhatsApp channel disabled");
    assert_eq!(app.count("messages").await, before);
    assert!(app.texts_on(RARA).is_empty());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn during_an_outage_it_is_queued_and_goes_out_once_afterwards() {
    let app = TestApp::with(Wishes {
        send_attempts: "100",
        message_timeout_ms: "1500",
        ..Wishes::default()
    })
    .await;
    app.tenant("desa-satu").await;
    let fault = simulator::FaultSpec::on_path(crate::harness::SEND, refusal(500, "no session", None));
    let fault = app.simulator.add_fault(fault).unwrap();
    let answer = keyed(&app, "outage", "/send", &to(RARA, "nanti")).await;
    let said = answer.json();
    assert_eq!((answer.status, &said["status"]), (202, &json!("queued")));
    let in_chat = answer_in_chat(&app, RARA, "juga nanti").await;
    assert_eq!(
        json!([
            in_chat.status,
            in_chat.json()["success"],
            in_chat.json()["status"]
        ]),
        json!([202, true, "queued"])
    );
    assert!(app.texts_on(RARA).is_empty());
    app.simulator.remove_fault(fault);
    eventually("both went out", || async {
        (app.texts_on(RARA).len() == 2).then_some(())
    })
    .await;
    assert_eq!(app.texts_on(RARA), ["nanti", "juga nanti"]);
    // The caller asks again, under the same key: the same message, and by now it is sent.
    let again = keyed(&app, "outage", "/send", &to(RARA, "nanti")).await;
    assert_eq!(
        (again.status, again.json()),
        (200, json!({"status": "sent", "message_id": said["message_id"]}))
    );
    let phone = app.simulator.phone(RARA);
    assert_eq!(
        (phone.len(), phone[0].id.as_str()),
        (2, said["message_id"].as_str().unwrap())
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_waited_out_and_shows_once() {
    let app = TestApp::spawn().await;
    app.tenant("desa-satu").await;
    app.sends_fail(FaultKind::LostAnswer, 1);
    assert_eq!(send(&app, to(RARA, "sekali saja")).await.status, 200);
    assert_eq!(app.simulator.phone(RARA).len(), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_is_one_message_however_often_and_however_fast() {
    let app = TestApp::spawn().await;
    app.tenant("desa-satu").await;
    app.tenant("desa-dua").await;
    let body = to(RARA, "sekali");
    let answers = join_all((0..12).map(|_| keyed(&app, "case-7/created", "/send", &body))).await;
    for answer in &answers {
        assert_eq!(
            (answer.status, answer.json()),
            (200, answers[0].json()),
            "{}",
            answer.text
        );
    }
    assert_eq!(app.texts_on(RARA), ["sekali"]);
    let other = keyed(&app, "case-7/created", "/send", &to(RARA, "lain")).await;
    other.assert_error(409, "idempotency_key_used");
    let other = keyed(&app, "case-7/created", "/send", &to("628110000000", "sekali")).await;
    other.assert_error(409, "idempotency_key_used");
    // Another village's key is another key.
    let mut dua = body.clone();
    dua["village_id"] = json!("desa-dua");
    let answer = keyed(&app, "case-7/created", "/send", &dua).await;
    assert_eq!(answer.status, 200);
    assert_ne!(answer.json()["message_id"], answers[0].json()["message_id"]);
    assert_eq!(app.texts_on(RARA).len(), 2);

    // The dashboard's, and a visitor's.
    for person in [RARA, "web_a"] {
        let path = format!("/conversations/{person}/send?{VILLAGE}");
        let body = json!({"message": "balasan"});
        let key = format!("reply {person}");
        let answers = join_all((0..6).map(|_| keyed(&app, &key, &path, &body))).await;
        for answer in &answers {
            assert_eq!(
                (answer.status, answer.json()),
                (200, answers[0].json()),
                "{}",
                answer.text
            );
        }
    }
    let stored = app
        .values("SELECT count(*) AS value FROM messages WHERE body = 'balasan'")
        .await;
    assert_eq!(stored, [json!(2)]);

    for wrong in ["", &"x".repeat(256)] {
        let answer = keyed(&app, wrong, "/send", &body).await;
        answer.assert_error(400, "invalid_idempotency_key");
    }
    // Without a key each order is its own.
    join_all((0..3).map(|_| send(&app, to("628110000000", "tiga kali")))).await;
    assert_eq!(app.texts_on("628110000000").len(), 3);
    // What was deleted cannot be answered for again, and is not sent again either.
    let path = format!("/conversations/{RARA}?{VILLAGE}");
    app.internal(Method::DELETE, &path, None).await;
    keyed(&app, "case-7/created", "/send", &body)
        .await
        .assert_error(409, "idempotency_key_used");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_is_refused_uses_up_no_key() {
    let app = TestApp::spawn().await;
    app.tenant("desa-satu").await;
    app.run_sql("UPDATE tenants SET status = 'suspended'").await;
    keyed(&app, "k", "/send", &to(RARA, "x"))
        .await
        .assert_error(403, "village_suspended");
    app.run_sql("UPDATE tenants SET status = 'active'").await;
    assert_eq!(keyed(&app, "k", "/send", &to(RARA, "y")).await.status, 200);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_in_a_chat_is_the_chats_last_word() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.post(&desa.json(&text(RARA, "3EB0A1", "halo")))
        .await
        .assert_kept();
    let answer = answer_in_chat(&app, RARA, "Selamat\u{0} pagi").await;
    let id = app.simulator.phone(RARA)[0].id.clone();
    assert_eq!(
        (answer.status, answer.json()),
        (
            200,
            json!({"success": true, "message_id": id, "is_takeover": false, "channel": "whatsapp"})
        )
    );
    assert_eq!(app.texts_on(RARA), ["Selamat pagi"]);
    let path = format!("/conversations?{VILLAGE}");
    let list = app.internal(Method::GET, &path, None).await.json();
    assert_eq!(
        json!([list["data"][0]["last_message"], list["data"][0]["unread_count"]]),
        json!(["Selamat pagi", 0])
    );
    let path = format!("/takeover/{RARA}?{VILLAGE}");
    app.internal(Method::POST, &path, Some(&json!({"admin_id": "a"})))
        .await;
    assert_eq!(
        answer_in_chat(&app, RARA, "lagi").await.json()["is_takeover"],
        true
    );
    let path = format!("/messages?wa_user_id={RARA}&{VILLAGE}");
    let seen = app.internal(Method::GET, &path, None).await.json();
    let rows = seen["messages"].as_array().unwrap();
    let row = rows.last().unwrap();
    assert_eq!(json!([row["source"], row["direction"]]), json!(["ADMIN", "OUT"]));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_is_stored_for_and_never_dialled() {
    let app = TestApp::spawn().await;
    app.tenant("desa-satu").await;
    let visitor = json!({"village_id": "desa-satu", "channel_identifier": "web_628129", "message_text": "tanya", "direction": "IN"});
    app.internal(Method::POST, "/messages", Some(&visitor)).await;
    let answer = answer_in_chat(&app, "web_628129", "jawab").await.json();
    assert_eq!(answer["channel"], "webchat");
    assert!(
        answer["message_id"].as_str().unwrap().starts_with("admin-"),
        "{answer}"
    );
    let answer = send(&app, to("web_628129", "pemberitahuan")).await;
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("sent")));
    let path = format!("/messages?wa_user_id=web_628129&{VILLAGE}");
    let seen = app.internal(Method::GET, &path, None).await.json();
    let rows = seen["messages"].as_array().unwrap().iter();
    let rows: Vec<Value> = rows
        .map(|row| json!([row["message_text"], row["source"]]))
        .collect();
    assert_eq!(
        json!(rows),
        json!([
            ["tanya", "WA_WEBHOOK"],
            ["jawab", "ADMIN"],
            ["pemberitahuan", "SYSTEM"]
        ])
    );
    // With WhatsApp switched off the page still works.
    app.run_sql(
        "INSERT INTO channel_accounts (tenant_id, id, enabled_wa) VALUES ('desa-satu', gen_random_uuid(), false)",
    )
    .await;
    assert_eq!(answer_in_chat(&app, "web_628129", "masih").await.status, 200);
    // A number is no visitor, whatever channel is named.
    let path = format!("/conversations/{RARA}/send?channel=WEBCHAT&{VILLAGE}");
    let answer = app
        .internal(Method::POST, &path, Some(&json!({"message": "x"})))
        .await;
    answer.assert_error(400, "invalid_identifier");
    assert_eq!(app.simulator.wa_sends(None).len(), 0);
    assert_eq!(app.count("lane_tasks").await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hidden_id_is_written_to_as_it_is_whichever_name_the_caller_uses() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let mut event = message(RARA, "3EB0L1", &json!({"conversation": "halo"}));
    for field in ["Chat", "Sender"] {
        event["event"]["Info"][field] = json!("204466881133557@lid");
    }
    app.post(&desa.json(&event)).await.assert_kept();
    let answer = send(&app, to("204466881133557@lid", "satu")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(
        answer_in_chat(&app, "204466881133557%40lid", "dua").await.status,
        200
    );
    // The number becomes known: callers may use it, the message still goes to where the person writes from.
    app.run_sql("UPDATE chats SET phone = '6281290000011'").await;
    assert_eq!(send(&app, to(RARA, "tiga")).await.status, 200);
    let sends = app.simulator.wa_sends(None);
    assert_eq!(sends.len(), 3);
    for call in sends {
        assert_eq!(call.body["Phone"], "204466881133557@lid");
    }
    assert_eq!(app.count("chats").await, 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_kept_waiting_when_the_service_stops() {
    let app = TestApp::spawn().await;
    app.tenant("desa-satu").await;
    let fault = simulator::FaultSpec::on_path(crate::harness::SEND, refusal(500, "no session", None));
    app.simulator.add_fault(fault).unwrap();
    let stopping = async {
        eventually("it was tried", || async {
            (app.count("send_attempts").await > 0).then_some(())
        })
        .await;
        app.shutdown.begin();
    };
    let (answer, ()) = tokio::join!(send(&app, to(RARA, "berhenti")), stopping);
    assert_eq!((answer.status, &answer.json()["status"]), (202, &json!("queued")));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_away_meanwhile_is_no_reason_to_order_again() {
    let app = TestApp::with(Wishes {
        send_attempts: "1000",
        message_timeout_ms: "2000",
        ..Wishes::default()
    })
    .await;
    app.tenant("desa-satu").await;
    let fault = simulator::FaultSpec::on_path(crate::harness::SEND, refusal(500, "no session", None));
    let fault = app.simulator.add_fault(fault).unwrap();
    let cutting = async {
        eventually("it was tried", || async {
            (app.count("send_attempts").await > 0).then_some(())
        })
        .await;
        app.proxies.postgres.cut();
    };
    let (answer, ()) = tokio::join!(send(&app, to(RARA, "tetap")), cutting);
    assert_eq!(
        (answer.status, &answer.json()["status"]),
        (202, &json!("queued")),
        "{}",
        answer.text
    );
    app.proxies.postgres.restore();
    app.simulator.remove_fault(fault);
    eventually("it went out", || async {
        (app.texts_on(RARA) == ["tetap"]).then_some(())
    })
    .await;
    app.until_ready("ready").await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_whose_chat_is_deleted_meanwhile_will_not_go_out_and_says_so() {
    let app = TestApp::with(Wishes {
        retry_first_ms: "60000",
        retry_cap_ms: "60000",
        ..Wishes::default()
    })
    .await;
    app.tenant("desa-satu").await;
    app.sends_fail(refusal(500, "no session", None), 1);
    let deleting = async {
        eventually("it was tried", || async {
            (app.count("send_attempts").await > 0).then_some(())
        })
        .await;
        let path = format!("/conversations/{RARA}?{VILLAGE}");
        app.internal(Method::DELETE, &path, None).await
    };
    let (answer, deleted) = tokio::join!(send(&app, to(RARA, "dihapus")), deleting);
    assert_eq!(deleted.status, 200);
    answer.assert_error(500, "send_failed");
    assert_eq!(answer.json()["reason"], "deleted");
    assert!(app.texts_on(RARA).is_empty());
    app.finish().await;
}
