//! What the AI says: answers go out once, in order and visibly, and what nobody can handle is kept with its reason
//! (contract channel-service 3.8, 5.4, 9.C4-C8, 9.D4).

use messaging::topology::GovconnectQueue;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::FaultKind;
use test_support::eventually;

use crate::ai_handover::{take_over, write};
use crate::harness::{INTERNAL_KEY, Tenant, TestApp, Wishes, refusal};

const RARA: &str = "6281290000011";
const REPLY: &str = "govconnect.ai.reply";
const ERROR: &str = "govconnect.ai.error";
const STATUS: &str = "govconnect.message.status";

/// A tenant whose citizen waits for an answer to `3EB0Q1`.
async fn asked(app: &TestApp) -> Tenant {
    let desa = app.tenant("desa-satu").await;
    write(app, &desa, RARA, "3EB0Q1", "syarat KTP?").await;
    app.until_to_ai(1).await;
    desa
}

fn reply(message_id: &str, text: &str) -> Value {
    json!({"village_id": "desa-satu", "wa_user_id": RARA, "reply_text": text, "message_id": message_id,
           "batched_message_ids": [message_id]})
}

async fn say(app: &TestApp, key: &str, body: &Value) {
    app.govconnect_says(key, body.to_string()).await;
}

async fn until_texts(app: &TestApp, phone: &str, texts: &[&str]) {
    eventually(&format!("{texts:?} on {phone}"), || async {
        (app.texts_on(phone).len() >= texts.len()).then_some(())
    })
    .await;
    assert_eq!(app.texts_on(phone), texts);
}

async fn chat(app: &TestApp) -> Value {
    app.rows(
        "SELECT ai_status, ai_error_message, pending_message_id, unread, last_text FROM chats \
         WHERE tenant_id = 'desa-satu'",
    )
    .await
    .remove(0)
}

async fn until_ai_status(app: &TestApp, status: Value) -> Value {
    eventually(&format!("ai_status {status}"), || async {
        Some(chat(app).await).filter(|chat| chat["ai_status"] == status)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_goes_out_with_guidance_and_contacts_and_the_history_has_it_once() {
    let app = TestApp::spawn().await;
    asked(&app).await;
    // The AI has stored its words already.
    app.run_sql(
        "INSERT INTO messages (tenant_id, id, account_id, chat_id, direction, source, provider_message_id, kind, \
                               body, content, sent_at, status) \
         SELECT tenant_id, gen_random_uuid(), account_id, id, 'outbound', 'ai', 'ai-1-' || words, 'text', words, \
                '{\"kind\":\"text\",\"text\":\"x\"}', now(), 'sent' \
         FROM chats, unnest(ARRAY['Baik\\nbawa KK', 'Lainnya']) AS words",
    )
    .await;
    let mut body = reply("3EB0Q1", "Baik\\nbawa KK");
    body["guidance_text"] = json!("Syarat: 📋 KTP ✅ KK");
    body["contacts"] =
        json!([{"name": "Pak Lurah", "phone": "0812 9000 0044", "title": "Lurah", "organization": null}]);
    body["intent"] = json!("TANYA");
    say(&app, REPLY, &body).await;
    eventually("three messages", || async {
        (app.simulator.phone(RARA).len() >= 3).then_some(())
    })
    .await;
    let texts = app.texts_on(RARA);
    assert_eq!(
        texts[..2],
        [
            "Baik\nbawa KK".to_owned(),
            "Syarat: \n\n📋 KTP \n\n✅ KK".to_owned()
        ]
    );
    let row = until_ai_status(&app, Value::Null).await;
    assert_eq!(
        row,
        json!({"ai_status": null, "ai_error_message": null, "pending_message_id": null, "unread": 0,
               "last_text": "Baik\nbawa KK"})
    );
    let history =
        "SELECT source, kind, body, status FROM messages WHERE direction = 'outbound' ORDER BY sent_at, id";
    eventually("all are sent", || async {
        let rows = app.rows(history).await;
        rows.iter().all(|row| row["status"] == "sent").then_some(())
    })
    .await;
    let bodies: Vec<Value> = app
        .rows(history)
        .await
        .into_iter()
        .map(|mut row| row["body"].take())
        .collect();
    assert_eq!(bodies.len(), 4, "{bodies:?}");
    assert_eq!(bodies.iter().filter(|body| **body == "Baik\nbawa KK").count(), 1);
    let card = app
        .values("SELECT content AS value FROM messages WHERE kind = 'contact'")
        .await
        .remove(0);
    assert!(
        card.as_str()
            .unwrap()
            .contains("TEL;type=CELL;type=pref:+6281290000044"),
        "{card}"
    );
    assert_eq!(app.count("pending_messages").await, 0);
    // The bubble has ended with the answer.
    eventually("the bubble ends", || async {
        (app.count("lane_tasks").await == 0).then_some(())
    })
    .await;
    let desa = Value::from("desa-satu");
    assert_eq!(app.to_ai()[0]["village_id"], desa);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_answer_the_next_question_stands_alone() {
    let app = TestApp::spawn().await;
    let desa = asked(&app).await;
    say(&app, REPLY, &reply("3EB0Q1", "jawaban")).await;
    until_ai_status(&app, Value::Null).await;
    eventually("the bubble has ended", || async {
        (app.count("lane_tasks").await == 0).then_some(())
    })
    .await;
    write(&app, &desa, RARA, "3EB0Q2", "syarat KTP?").await;
    let got = app.until_to_ai(2).await;
    assert_eq!(
        json!([
            got[1]["spam_guard"]["supersedePrevious"],
            got[1]["spam_guard"]["isDuplicate"]
        ]),
        json!([false, false])
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_five_times_goes_out_once_and_two_answers_keep_their_order() {
    let app = TestApp::spawn().await;
    let desa = asked(&app).await;
    write(&app, &desa, RARA, "3EB0Q2", "dan KK?").await;
    app.until_to_ai(2).await;
    app.sends_fail(refusal(503, "busy", None), 2);
    for _ in 0..5 {
        say(&app, REPLY, &reply("3EB0Q1", "pertama")).await;
    }
    // Found a second time, in other words.
    say(&app, REPLY, &reply("3EB0Q1", "pertama, dengan kata lain")).await;
    for _ in 0..2 {
        say(&app, REPLY, &reply("3EB0Q2", "kedua")).await;
    }
    // Without an id the words tell, and who is meant.
    for _ in 0..3 {
        say(
            &app,
            REPLY,
            &json!({"village_id": "desa-satu", "wa_user_id": format!("{RARA}@s.whatsapp.net"),
                                 "reply_text": "ketiga"}),
        )
        .await;
    }
    until_texts(&app, RARA, &["pertama", "kedua", "ketiga"]).await;
    say(
        &app,
        REPLY,
        &json!({"village_id": "desa-satu", "wa_user_id": RARA, "reply_text": "keempat"}),
    )
    .await;
    until_texts(&app, RARA, &["pertama", "kedua", "ketiga", "keempat"]).await;
    assert_eq!(app.count("ai_replies").await, 4);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_a_takeover_overtook_stays_as_a_note() {
    let app = TestApp::spawn().await;
    let desa = asked(&app).await;
    // Before it came, and while it waits for its next attempt.
    app.sends_fail(refusal(503, "busy", None), 1_000);
    let mut body = reply("3EB0Q1", "terlambat");
    body["guidance_text"] = json!("juga terlambat");
    say(&app, REPLY, &body).await;
    eventually("an attempt was made", || async {
        (app.count("send_attempts").await > 0).then_some(())
    })
    .await;
    take_over(&app, RARA).await;
    let notes = "SELECT body, source, status, reason FROM messages WHERE direction = 'outbound' ORDER BY id";
    let note = |body: &str| json!({"body": body, "source": "ai", "status": "failed", "reason": "takeover"});
    eventually("both are notes", || async {
        (app.rows(notes).await == [note("terlambat"), note("juga terlambat")]).then_some(())
    })
    .await;
    app.simulator.clear_faults();
    say(&app, REPLY, &reply("3EB0Q9", "lebih terlambat")).await;
    eventually("a third note", || async {
        (app.rows(notes).await.last() == Some(&note("lebih terlambat"))).then_some(())
    })
    .await;
    // No error: somebody has the chat. And the person who has it writes on undisturbed.
    let row = until_ai_status(&app, Value::Null).await;
    assert_eq!(row["pending_message_id"], Value::Null);
    assert_eq!(app.count("pending_messages").await, 0);
    app.order(&desa, RARA, "dari petugas").await;
    until_texts(&app, RARA, &["dari petugas"]).await;
    assert_eq!(
        app.values("SELECT state AS value FROM ai_replies ORDER BY key")
            .await,
        [json!("suppressed"), json!("suppressed")]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_did_not_go_out_stays_visible_until_one_does() {
    let app = TestApp::with(Wishes {
        send_attempts: "2",
        ..Wishes::default()
    })
    .await;
    asked(&app).await;
    app.sends_fail(refusal(503, "busy", None), 2);
    let mut body = reply("3EB0Q1", "gagal");
    body["guidance_text"] = json!("tidak sendirian");
    say(&app, REPLY, &body).await;
    let row = until_ai_status(&app, json!("error")).await;
    assert_eq!(row["pending_message_id"], "3EB0Q1");
    assert!(
        row["ai_error_message"]
            .as_str()
            .unwrap()
            .starts_with("send_failed: "),
        "{row}"
    );

    let completed = json!({"village_id": "desa-satu", "wa_user_id": RARA, "message_ids": ["3EB0Q1"],
                           "status": "completed"});
    say(&app, STATUS, &completed).await;
    // Handled one after the other: the error behind it shows that it is through.
    say(
        &app,
        STATUS,
        &json!({"village_id": "desa-satu", "wa_user_id": "web_x", "message_ids": [], "status": "completed"}),
    )
    .await;
    app.govconnect_dead_letter(GovconnectQueue::MessageStatus).await;
    assert_eq!(chat(&app).await, row);
    assert_eq!(
        app.rows("SELECT state, retry_count FROM pending_messages").await,
        [json!({"state": "not_sent", "retry_count": 1})]
    );
    // What belongs to it does not go out alone.
    eventually("the guidance is kept", || async {
        let reasons = app
            .values("SELECT reason AS value FROM messages WHERE body = 'tidak sendirian'")
            .await;
        (reasons == [json!("earlier_part_failed")]).then_some(())
    })
    .await;

    // Another try, another answer to the same message: this one goes out.
    let path = "/conversations/6281290000011/retry?village_id=desa-satu";
    assert_eq!(
        app.internal_as(INTERNAL_KEY, Method::POST, path, None)
            .await
            .status,
        200
    );
    app.until_to_ai(2).await;
    say(&app, REPLY, &reply("3EB0Q1", "berhasil")).await;
    until_texts(&app, RARA, &["berhasil"]).await;
    until_ai_status(&app, Value::Null).await;
    assert_eq!(app.count("pending_messages").await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_and_statuses_are_shown_under_either_name() {
    let app = TestApp::spawn().await;
    let desa = asked(&app).await;
    let failures = || app.rows("SELECT state, retry_count, error FROM pending_messages");
    for (number, name) in (1..).zip(["pending_message_id", "message_id"]) {
        let mut error = json!({"village_id": "desa-satu", "wa_user_id": RARA, "error_message": "x".repeat(900),
                               "can_retry": true});
        error[name] = json!("3EB0Q1");
        say(&app, ERROR, &error).await;
        eventually("the failure is counted", || async {
            (failures().await[0]["retry_count"] == number).then_some(())
        })
        .await;
    }
    let row = chat(&app).await;
    assert_eq!(
        json!([
            row["ai_status"],
            row["pending_message_id"],
            row["ai_error_message"].as_str().unwrap().len()
        ]),
        json!(["error", "3EB0Q1", 500])
    );
    // Nothing explained, and so often that nobody waits any more.
    let mut failed =
        json!({"village_id": "desa-satu", "wa_user_id": RARA, "message_ids": ["3EB0Q1"], "status": "failed"});
    for _ in 0..3 {
        say(&app, STATUS, &failed).await;
    }
    eventually("nobody waits any more", || async {
        (failures().await == [json!({"state": "failed", "retry_count": 5, "error": "Unknown error"})])
            .then_some(())
    })
    .await;
    // Another tenant's word about the same id and phone is about its own.
    app.tenant("desa-dua").await;
    failed["village_id"] = json!("desa-dua");
    failed["status"] = json!("completed");
    say(&app, STATUS, &failed).await;
    failed["status"] = json!("processing");
    failed["village_id"] = json!("desa-satu");
    say(&app, STATUS, &failed).await;
    // The next message begins anew.
    write(&app, &desa, RARA, "3EB0Q2", "halo?").await;
    let row = until_ai_status(&app, json!("processing")).await;
    assert_eq!(
        json!([row["pending_message_id"], row["ai_error_message"]]),
        json!(["3EB0Q2", null])
    );
    // A late word about the old one changes nothing about it. On the queue of what follows: two queues have no order.
    let late = json!({"village_id": "desa-satu", "wa_user_id": RARA, "error_message": "telat", "status": "failed",
                      "message_ids": ["3EB0Q1"]});
    say(&app, STATUS, &late).await;
    failed["status"] = json!("completed");
    failed["message_ids"] = json!(["3EB0Q2"]);
    say(&app, STATUS, &failed).await;
    let row = until_ai_status(&app, Value::Null).await;
    assert_eq!(row["pending_message_id"], Value::Null);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_after_the_answer_is_no_error() {
    let app = TestApp::spawn().await;
    asked(&app).await;
    say(&app, REPLY, &reply("3EB0Q1", "jawaban")).await;
    until_ai_status(&app, Value::Null).await;
    let late = json!({"village_id": "desa-satu", "wa_user_id": RARA, "error_message": "telat", "message_id": "3EB0Q1"});
    say(&app, ERROR, &late).await;
    say(&app, ERROR, &json!("akhir")).await;
    app.govconnect_dead_letter(GovconnectQueue::AiError).await;
    assert_eq!(chat(&app).await["ai_status"], Value::Null);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_can_handle_is_kept_with_its_reason_and_holds_up_nothing() {
    let app = TestApp::spawn().await;
    asked(&app).await;
    let with = |field: &str, value: Value| {
        let mut body = reply("3EB0Q1", "teks");
        body[field] = value;
        body.to_string().into_bytes()
    };
    let oversize = with("reply_text", json!("x".repeat(2_000_000)));
    for (queue, key, body, reason) in [
        (GovconnectQueue::AiReply, REPLY, b"{rahasia".to_vec(), "not JSON"),
        (GovconnectQueue::AiReply, REPLY, Vec::new(), "not JSON"),
        (
            GovconnectQueue::AiReply,
            REPLY,
            with("reply_text", json!(["rahasia"])),
            "a field is missing",
        ),
        (
            GovconnectQueue::AiReply,
            REPLY,
            with("wa_user_id", Value::Null),
            "a field is missing",
        ),
        (
            GovconnectQueue::AiReply,
            REPLY,
            with("reply_text", json!(" \n ")),
            "the text is empty",
        ),
        (
            GovconnectQueue::AiReply,
            REPLY,
            with("reply_text", json!("x".repeat(70_000))),
            "too long",
        ),
        (GovconnectQueue::AiReply, REPLY, oversize, "larger than"),
        (
            GovconnectQueue::AiReply,
            REPLY,
            with("wa_user_id", json!("web_abc")),
            "no single person",
        ),
        (
            GovconnectQueue::AiReply,
            REPLY,
            with("wa_user_id", json!("1203@g.us")),
            "no single person",
        ),
        (
            GovconnectQueue::AiReply,
            REPLY,
            with("wa_user_id", json!("0812-9000")),
            "nobody on WhatsApp",
        ),
        (
            GovconnectQueue::AiError,
            ERROR,
            br#"{"wa_user_id":"6281290000011"}"#.to_vec(),
            "a field is missing",
        ),
        (
            GovconnectQueue::MessageStatus,
            STATUS,
            br#"{"wa_user_id":"6281290000011","message_ids":["a"],"status":"bingung"}"#.to_vec(),
            "a field is missing",
        ),
    ] {
        app.govconnect_says(key, body.clone()).await;
        let (kept, why) = app.govconnect_dead_letter(queue).await;
        assert_eq!(kept, body);
        assert!(why.contains(reason) && !why.contains("rahasia"), "{why}");
    }
    say(&app, REPLY, &reply("3EB0Q1", "NUL \u{0}di tengah")).await;
    until_texts(&app, RARA, &["NUL di tengah"]).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_a_tenant_is_for_the_only_one_that_knows_the_person() {
    let app = TestApp::spawn().await;
    asked(&app).await;
    for village in [json!(null), json!(""), json!("unknown"), json!("tidak ada")] {
        let mut body = reply("3EB0Q1", &format!("untuk {village}"));
        body["village_id"] = village.clone();
        body["message_id"] = Value::Null;
        say(&app, REPLY, &body).await;
    }
    eventually("all are on the phone", || async {
        (app.texts_on(RARA).len() == 4).then_some(())
    })
    .await;
    // Also under the hidden id that the AI may still know the person by.
    app.run_sql("UPDATE chats SET lid = '204466881133557'").await;
    let mut hidden = reply("3EB0Q1", "lewat lid");
    hidden["village_id"] = Value::Null;
    hidden["message_id"] = Value::Null;
    hidden["wa_user_id"] = json!("204466881133557@lid");
    say(&app, REPLY, &hidden).await;
    eventually("it is on the phone", || async {
        (app.texts_on(RARA).len() == 5).then_some(())
    })
    .await;
    let dua = app.tenant("desa-dua").await;
    write(&app, &dua, RARA, "3EB0Q1", "saya juga warga sini").await;
    app.until_to_ai(2).await;
    let mut body = reply("3EB0Q1", "untuk siapa?");
    body["village_id"] = Value::Null;
    say(&app, REPLY, &body).await;
    let (_, why) = app.govconnect_dead_letter(GovconnectQueue::AiReply).await;
    assert!(why.contains("which tenant"), "{why}");
    body["wa_user_id"] = json!("6281299999999");
    say(&app, REPLY, &body).await;
    app.govconnect_dead_letter(GovconnectQueue::AiReply).await;
    // Equal ids and phones: each tenant's own answer goes out over its own account.
    let waiting = "SELECT tenant_id AS value FROM pending_messages";
    assert_eq!(app.values(waiting).await, [json!("desa-dua")]);
    body = reply("3EB0Q1", "dari desa dua");
    body["village_id"] = json!("desa-dua");
    say(&app, REPLY, &body).await;
    eventually("nobody waits", || async {
        app.values(waiting).await.is_empty().then_some(())
    })
    .await;
    assert_eq!(app.texts_on(RARA).last().unwrap(), "dari desa dua");
    let senders = app
        .values("SELECT account_id AS value FROM messages WHERE body = 'dari desa dua'")
        .await;
    assert_eq!(senders, [json!(dua.account)]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_stays_what_it_is() {
    let app = TestApp::spawn().await;
    asked(&app).await;
    for (number, person) in [
        "4915112345678",
        "204466881133557@lid",
        "6281290000099:7@s.whatsapp.net",
    ]
    .iter()
    .enumerate()
    {
        let mut body = reply(&format!("3EB0Z{number}"), "halo");
        body["wa_user_id"] = json!(person);
        say(&app, REPLY, &body).await;
    }
    eventually("all are sent", || async {
        let sent = app
            .values(
                "SELECT c.address AS value FROM messages m JOIN chats c ON c.id = m.chat_id \
                 WHERE m.direction = 'outbound' AND m.status = 'sent' ORDER BY 1",
            )
            .await;
        (sent
            == [
                json!("204466881133557@lid"),
                json!("4915112345678@s.whatsapp.net"),
                json!("6281290000099@s.whatsapp.net"),
            ])
        .then_some(())
    })
    .await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_survive_what_goes_away_in_between() {
    let app = TestApp::spawn().await;
    let desa = asked(&app).await;
    for number in 2..6 {
        write(
            &app,
            &desa,
            RARA,
            &format!("3EB0Q{number}"),
            &format!("soal {number}"),
        )
        .await;
    }
    app.until_to_ai(5).await;
    app.proxies.postgres.cut();
    for number in 1..3 {
        say(
            &app,
            REPLY,
            &reply(&format!("3EB0Q{number}"), &format!("jawab {number}")),
        )
        .await;
    }
    eventually("Postgres is away", || async {
        (app.get("/health/ready").await.status == 503).then_some(())
    })
    .await;
    app.proxies.rabbitmq.cut();
    app.proxies.postgres.restore();
    say(&app, REPLY, &reply("3EB0Q3", "jawab 3")).await;
    app.proxies.rabbitmq.restore();
    until_texts(&app, RARA, &["jawab 1", "jawab 2", "jawab 3"]).await;

    // The process ends with an answer in the provider's hands and another one behind it; the next one goes on.
    app.sends_fail(FaultKind::Delay { ms: 1_000 }, 1);
    for number in 4..6 {
        say(
            &app,
            REPLY,
            &reply(&format!("3EB0Q{number}"), &format!("jawab {number}")),
        )
        .await;
    }
    eventually("both are taken", || async {
        (app.count("ai_replies").await == 5).then_some(())
    })
    .await;
    app.shutdown.begin();
    assert!(
        app.shutdown
            .finished_within(std::time::Duration::from_secs(15))
            .await
    );
    let next = app.replica().await;
    say(&app, REPLY, &reply("3EB0Q5", "jawab 5")).await;
    until_texts(
        &app,
        RARA,
        &["jawab 1", "jawab 2", "jawab 3", "jawab 4", "jawab 5"],
    )
    .await;
    next.finish().await;
    app.finish().await;
}
