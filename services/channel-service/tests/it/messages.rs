//! Messages that are kept and read back: webchat, the AI's own records, what came by webhook (contract
//! channel-service 1.4).

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, TestApp, text};

const RARA: &str = "6281290000011";
const IDENTIFIER: &str = "wa_user_id must be valid Indonesian phone number or webchat session ID";

async fn store(app: &TestApp, body: Value) -> Answer {
    app.internal(Method::POST, "/messages", Some(&body)).await
}

async fn history(app: &TestApp, query: &str) -> Answer {
    app.internal(
        Method::GET,
        &format!("/messages?village_id=desa-satu&{query}"),
        None,
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_directions_of_a_webchat_are_kept_and_read_oldest_first() {
    let app = TestApp::spawn().await;
    app.bare_tenant("desa-satu").await;
    let visitor = json!({"village_id": "desa-satu", "channel": "WEBCHAT", "channel_identifier": "web_k3j9"});
    let with = |more: Value| {
        let mut body = visitor.clone();
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let said = with(
        json!({"message_text": "Jam berapa buka?", "direction": "IN", "source": "ADMIN",
        "message_type": "text", "status": "sent"}),
    );
    let answer = store(&app, said).await;
    let stored = answer.json();
    assert_eq!((answer.status, &stored["status"]), (201, &json!("stored")));
    let id = stored["message_id"].as_str().unwrap();
    let parts: Vec<&str> = id.split('-').collect();
    assert_eq!((parts[0], parts[1].len(), parts[2].len()), ("in", 13, 7), "{id}");
    assert!(stored["id"].is_string());

    let reply = with(json!({"message_text": "Pukul 08.00", "direction": "OUT", "message_id": "reply-1"}));
    assert_eq!(store(&app, reply).await.json()["message_id"], "reply-1");
    let note = with(json!({"message_text": "Loket 2", "direction": "out", "source": "ADMIN"}));
    assert!(
        store(&app, note).await.json()["message_id"]
            .as_str()
            .unwrap()
            .starts_with("ai-")
    );

    let answer = history(&app, "channel=WEBCHAT&channel_identifier=web_k3j9")
        .await
        .json();
    assert_eq!(answer["total"], 3);
    let rows = answer["messages"].as_array().unwrap();
    let seen: Vec<[&Value; 3]> = rows
        .iter()
        .map(|row| [&row["message_text"], &row["direction"], &row["source"]])
        .collect();
    assert_eq!(
        json!(seen),
        json!([
            ["Jam berapa buka?", "IN", "WA_WEBHOOK"],
            ["Pukul 08.00", "OUT", "AI"],
            ["Loket 2", "OUT", "ADMIN"]
        ])
    );
    assert_eq!(rows[0]["id"], stored["id"]);
    let mut keys: Vec<&str> = rows[0].as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["direction", "id", "message_text", "source", "timestamp"]);
    let time = rows[0]["timestamp"].as_str().unwrap();
    assert!(time.len() == 24 && time.ends_with('Z'), "{time}");

    let newest = history(&app, "wa_user_id=web_k3j9&limit=1").await.json();
    assert_eq!(newest["messages"][0]["message_text"], "Loket 2");
    // Nothing was sent and nobody was told.
    assert_eq!(app.count("lane_tasks").await + app.count("outbox").await, 0);
    assert_eq!(app.simulator.wa_sends(None).len(), 0);
    let chat = app
        .rows("SELECT channel, address, phone, unread, last_text FROM chats")
        .await;
    assert_eq!(
        chat,
        [
            json!({"channel": "webchat", "address": "web_k3j9", "phone": null, "unread": 1, "last_text": "Loket 2"})
        ]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_message_id_is_answered_like_the_first_time() {
    let app = TestApp::spawn().await;
    let satu = app.tenant("desa-satu").await;
    app.bare_tenant("desa-dua").await;
    let body = |village: &str, words: &str| {
        json!({"village_id": village, "wa_user_id": RARA, "message_text": words, "direction": "IN",
               "message_id": "3EB0SAME"})
    };
    let first = store(&app, body("desa-satu", "sekali")).await;
    let again = store(&app, body("desa-satu", "sekali")).await;
    assert_eq!((again.status, again.json()), (201, first.json()));
    let other = store(&app, body("desa-dua", "desa lain")).await.json();
    assert_eq!(other["message_id"], "3EB0SAME");
    assert_ne!(other["id"], first.json()["id"]);

    // At the same moment, too.
    let mut same = body("desa-satu", "bersamaan");
    same["message_id"] = json!("3EB0RACE");
    let calls = (0..8).map(|_| store(&app, same.clone()));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| answer.json() == answers[0].json()));
    assert_eq!(
        app.rows("SELECT tenant_id, unread FROM chats ORDER BY tenant_id")
            .await,
        [
            json!({"tenant_id": "desa-dua", "unread": 1}),
            json!({"tenant_id": "desa-satu", "unread": 2})
        ]
    );
    // What came by webhook is not kept a second time either.
    app.post(&satu.json(&text(RARA, "3EB0HOOK", "dari webhook")))
        .await
        .assert_kept();
    let mut known = body("desa-satu", "dari webhook");
    known["message_id"] = json!("3EB0HOOK");
    assert_eq!(store(&app, known).await.status, 201);
    assert_eq!(
        history(&app, &format!("wa_user_id={RARA}")).await.json()["total"],
        3
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_or_wrong_is_said() {
    let app = TestApp::spawn().await;
    app.bare_tenant("desa-satu").await;
    let village = json!("desa-satu");
    let required = "channel_identifier/wa_user_id and message_text are required";
    for (body, code, error) in [
        (json!({"message_text": "x"}), "field_required", Some(required)),
        (json!({"wa_user_id": RARA}), "field_required", Some(required)),
        (
            json!({"wa_user_id": RARA, "message_text": ""}),
            "field_required",
            Some(required),
        ),
        (
            json!({"wa_user_id": RARA, "message_text": "\u{0}"}),
            "field_required",
            Some(required),
        ),
        (
            json!({"wa_user_id": RARA, "message_text": 7}),
            "invalid_field",
            None,
        ),
        (
            json!({"wa_user_id": "siapa", "message_text": "x"}),
            "invalid_identifier",
            None,
        ),
        (
            json!({"wa_user_id": "web_\u{0}", "message_text": "x"}),
            "invalid_identifier",
            None,
        ),
        (
            json!({"wa_user_id": RARA, "message_text": "x", "channel": "SMS"}),
            "invalid_field",
            None,
        ),
        (
            json!({"wa_user_id": RARA, "message_text": "x", "channel": "WEBCHAT"}),
            "invalid_identifier",
            None,
        ),
        (
            json!({"wa_user_id": RARA, "message_text": "x", "message_id": "a b"}),
            "invalid_field",
            None,
        ),
        (
            json!({"wa_user_id": RARA, "message_text": "x", "metadata": []}),
            "invalid_field",
            None,
        ),
    ] {
        let mut body = body;
        body["village_id"] = village.clone();
        let answer = store(&app, body).await;
        answer.assert_error(400, code);
        if let Some(error) = error {
            assert_eq!(answer.json()["error"], error);
        }
    }
    assert_eq!(app.count("chats").await, 0);

    // Forms, the header, metadata's channel, NUL bytes and more than a message holds: kept, and kept safely.
    let url = format!("{}/internal/messages", app.url);
    let form = app
        .http()
        .post(&url)
        .header("x-internal-api-key", crate::harness::INTERNAL_KEY)
        .header("x-village-id", "desa-satu")
        .header("content-type", "application/x-www-form-urlencoded")
        .body("channel_identifier=web_form&message_text=formulir")
        .send()
        .await
        .unwrap();
    assert_eq!(form.status(), 201);
    let body = json!({"village_id": "desa-satu", "channel_identifier": "web_nul", "message_text": "a\u{0}b",
        "source": "\u{0}", "metadata": {"channel": "WEBCHAT"}});
    assert_eq!(store(&app, body).await.status, 201);
    let seen = history(&app, "wa_user_id=web_nul").await.json();
    assert_eq!(seen["messages"][0]["message_text"], "ab");
    assert_eq!(seen["messages"][0]["source"], "SYSTEM");
    let body = json!({"village_id": "desa-satu", "channel_identifier": "web_long",
        "message_text": "x".repeat(70_000)});
    assert_eq!(store(&app, body).await.status, 201);
    let seen = history(&app, "wa_user_id=web_long").await.json();
    assert_eq!(
        seen["messages"][0]["message_text"].as_str().unwrap().len(),
        65_536
    );
    let excerpt = app
        .values("SELECT length(last_text) AS value FROM chats WHERE address = 'web_long'")
        .await;
    assert_eq!(excerpt, [json!(100)]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_is_asked_for_in_the_contracts_words() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let neither = history(&app, "").await;
    neither.assert_error(400, "identifier_required");
    let said = neither.json();
    assert_eq!(
        said["error"],
        "Either wa_user_id or channel_identifier query parameter is required"
    );
    assert_eq!((&said["messages"], &said["total"]), (&json!([]), &json!(0)));

    let field = |path: &str, value: Value, msg: &str| json!({"type": "field", "value": value, "msg": msg, "path": path, "location": "query"});
    for (query, detail) in [
        ("wa_user_id=abc", field("wa_user_id", json!("abc"), IDENTIFIER)),
        (
            "wa_user_id=081290000011",
            field("wa_user_id", json!("081290000011"), IDENTIFIER),
        ),
        (
            "channel_identifier=6281",
            field(
                "channel_identifier",
                json!("6281"),
                "channel_identifier must be valid Indonesian phone number or webchat session ID",
            ),
        ),
        (
            "wa_user_id=6281290000011&limit=0",
            field("limit", json!("0"), "limit must be between 1 and 100"),
        ),
        (
            "wa_user_id=6281290000011&limit=101",
            field("limit", json!("101"), "limit must be between 1 and 100"),
        ),
        (
            "wa_user_id=6281290000011&limit=5&limit=6",
            field("limit", json!(["5", "6"]), "limit must be between 1 and 100"),
        ),
        (
            "wa_user_id=6281290000011&wa_user_id=6281290000012",
            field(
                "wa_user_id",
                json!(["6281290000011", "6281290000012"]),
                IDENTIFIER,
            ),
        ),
        (
            "wa_user_id=6281290000011&village_id=desa-dua",
            field("village_id", json!(["desa-satu", "desa-dua"]), "Invalid value"),
        ),
    ] {
        let answer = history(&app, query).await;
        answer.assert_error(400, "validation_failed");
        let said = answer.json();
        assert_eq!(said["error"], "Validation failed", "{query}");
        assert_eq!(said["details"], json!([detail]), "{query}");
    }

    // 30 by default, 100 at most, the newest, oldest first; `channel_identifier` wins.
    for number in 0..35 {
        let event = text(RARA, &format!("3EB0N{number}"), &format!("nomor {number}"));
        app.post(&desa.json(&event)).await.assert_kept();
    }
    app.run_sql(
        "UPDATE messages SET sent_at = now() - interval '1 hour' + split_part(body, ' ', 2)::int * interval '1 second'",
    )
    .await;
    let texts = |answer: &Value| -> Vec<String> {
        let rows = answer["messages"].as_array().unwrap().iter();
        rows.map(|row| row["message_text"].as_str().unwrap().to_owned())
            .collect()
    };
    let newest = history(&app, &format!("wa_user_id={RARA}")).await.json();
    let expected: Vec<String> = (5..35).map(|number| format!("nomor {number}")).collect();
    assert_eq!(texts(&newest), expected);
    let all = history(&app, &format!("wa_user_id={RARA}&limit=100&channel=whatsapp"))
        .await
        .json();
    assert_eq!(all["total"], 35);
    let wins = history(
        &app,
        &format!("wa_user_id=628110000000&channel_identifier={RARA}&limit=2"),
    )
    .await
    .json();
    assert_eq!(texts(&wins), ["nomor 33", "nomor 34"]);
    for nobody in [
        "wa_user_id=web_nobody".to_owned(),
        format!("wa_user_id={RARA}&channel=WEBCHAT"),
    ] {
        let answer = history(&app, &nobody).await;
        assert_eq!(answer.json(), json!({"messages": [], "total": 0}), "{nobody}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_ours_that_never_went_out_is_no_part_of_what_was_said() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.sends_fail(crate::harness::refusal(400, "could not parse Phone", None), 1);
    app.order(&desa, RARA, "ditolak").await;
    app.until_status("ditolak", "failed").await;
    app.order(&desa, RARA, "diterima").await;
    app.until_status("diterima", "sent").await;
    let seen = history(&app, &format!("wa_user_id={RARA}")).await.json();
    assert_eq!(seen["total"], 1);
    assert_eq!(seen["messages"][0]["message_text"], "diterima");
    assert_eq!(seen["messages"][0]["source"], "SYSTEM");

    // What the AI could not say is seen by people, marked, and not by the AI.
    app.run_sql("UPDATE messages SET source = 'ai', reason = 'takeover' WHERE status = 'failed'")
        .await;
    let path = format!("/conversations/{RARA}?village_id=desa-satu");
    let opened = app.internal(Method::GET, &path, None).await.json();
    let rows = opened["data"]["messages"].as_array().unwrap();
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| json!([row["message_text"], row["source"], row["status"], row["reason"]]))
        .collect();
    assert_eq!(
        json!(rows),
        json!([
            ["ditolak", "AI", "failed", "takeover"],
            ["diterima", "SYSTEM", null, null]
        ])
    );
    let seen = history(&app, &format!("wa_user_id={RARA}")).await.json();
    assert_eq!(seen["total"], 1);
    app.finish().await;
}
