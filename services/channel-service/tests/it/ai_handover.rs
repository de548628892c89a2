//! A person's message reaches the tenant's AI: once, in order, in GovConnect's shape, and only where the AI answers
//! (contract channel-service 3, 5.3, 9.C1-C3).

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use messaging::{Publication, Publisher, broker::Broker};
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use test_support::eventually;

use crate::harness::{LIMITED_KEY, Tenant, TestApp, message, text};
use crate::media::{jpeg, picture, with_inline};

const RARA: &str = "6281290000011";
const BIMA: &str = "6281290000022";

pub(crate) async fn write(app: &TestApp, tenant: &Tenant, from: &str, id: &str, words: &str) {
    app.post(&tenant.json(&text(from, id, words))).await.assert_kept();
}

/// A person of the tenant's has the chat now.
pub(crate) async fn take_over(app: &TestApp, phone: &str) {
    app.run_sql(&format!(
        "INSERT INTO takeovers (tenant_id, id, chat_id, admin_id) \
         SELECT tenant_id, gen_random_uuid(), id, 'admin-1' FROM chats WHERE phone = '{phone}'"
    ))
    .await;
}

/// What became of a message.
pub(crate) async fn until_handled(app: &TestApp, id: &str) -> Value {
    let query = format!(
        "SELECT ai_handling AS value FROM messages WHERE provider_message_id = '{id}' AND ai_handling IS NOT NULL"
    );
    eventually(&format!("{id} is handled"), || async {
        app.values(&query).await.pop()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_handed_over_with_what_the_contract_wants() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    write(&app, &desa, RARA, "3EB0H1", " Selamat pagi ").await;
    let got = app.until_to_ai(1).await;
    let row = app
        .rows("SELECT sent_at, ai_handling FROM messages")
        .await
        .remove(0);
    assert_eq!(row["ai_handling"], "handed_over");
    assert_eq!(
        got,
        [json!({
            "village_id": "desa-satu", "wa_user_id": RARA, "message": " Selamat pagi ", "message_id": "3EB0H1",
            "received_at": got[0]["received_at"], "batched_message_ids": ["3EB0H1"], "has_media": false,
            "spam_guard": {"isDuplicate": false, "supersedePrevious": false, "suppressedMessageIds": [],
                           "contextMessages": []},
        })]
    );
    let received_at = got[0]["received_at"].as_str().unwrap();
    assert!(
        received_at.ends_with('Z') && received_at.len() == 24,
        "{received_at}"
    );
    assert_eq!(
        app.rows("SELECT ai_status, ai_error_message, pending_message_id FROM chats")
            .await,
        [json!({"ai_status": "processing", "ai_error_message": null, "pending_message_id": "3EB0H1"})]
    );
    let pending = "SELECT provider_message_id, state, retry_count, error FROM pending_messages";
    assert_eq!(
        app.rows(pending).await,
        [json!({"provider_message_id": "3EB0H1", "state": "processing", "retry_count": 0, "error": null})]
    );

    // A second message before the answer: both belong together.
    write(&app, &desa, RARA, "3EB0H2", "mau tanya syarat KTP").await;
    let second = app.until_to_ai(2).await.remove(1);
    let context = second["spam_guard"]["contextMessages"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(
        second["spam_guard"],
        json!({"isDuplicate": false, "supersedePrevious": true, "suppressedMessageIds": ["3EB0H1"],
               "contextMessages": [
                   {"messageId": "3EB0H1", "text": " Selamat pagi ", "receivedAt": received_at},
                   {"messageId": "3EB0H2", "text": "mau tanya syarat KTP", "receivedAt": second["received_at"]}]})
    );
    assert_eq!(context.len(), 2);
    assert_eq!(
        app.values("SELECT provider_message_id AS value FROM pending_messages")
            .await,
        [json!("3EB0H2")]
    );
    // The AI's queue got the same, bare, and kanal's own exchange got nothing of it.
    let queue = app.topology.govconnect_ai_queue();
    assert_eq!(app.take_from(&queue).await.unwrap(), got[0]);
    assert!(
        app.events()
            .iter()
            .all(|event| event.routing_key != "whatsapp.message.received")
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_announced_and_what_nobody_answers_is_not() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let mut photo = message(
        RARA,
        "3EB0M1",
        &json!({"imageMessage": {"mimetype": "image/jpeg", "fileLength": 9, "mediaKey": "AAECAw==",
                                 "directPath": "/v/x.enc", "fileEncSHA256": "/////w=="}}),
    );
    photo["s3"] = json!({"url": "https://media.example.org/a.jpg", "key": "a.jpg", "bucket": "wa", "size": 9,
                         "mimeType": "image/jpeg", "fileName": "a.jpg"});
    app.post(&desa.json(&photo)).await.assert_kept();
    let reaction =
        json!({"reactionMessage": {"key": {"remoteJID": "x", "fromMe": true, "ID": "3EB0M1"}, "text": "👍"}});
    app.post(&desa.json(&message(RARA, "3EB0M2", &reaction)))
        .await
        .assert_kept();
    let voice = json!({"audioMessage": {"mimetype": "audio/ogg; codecs=opus", "seconds": 4, "PTT": true}});
    app.post(&desa.json(&message(BIMA, "3EB0M3", &voice)))
        .await
        .assert_kept();
    // Somebody whose number is hidden is named by the whole address, never by digits that look like a number.
    let mut hidden = text("204466881133557", "3EB0M4", "siapa saya");
    for part in ["Chat", "Sender"] {
        hidden["event"]["Info"][part] = json!("204466881133557@lid");
    }
    app.post(&desa.json(&hidden)).await.assert_kept();

    assert_eq!(until_handled(&app, "3EB0M2").await, "not_answerable");
    let got = app.until_to_ai(3).await;
    let of = |id: &str| got.iter().find(|got| got["message_id"] == id).unwrap();
    let photo = of("3EB0M1");
    assert_eq!(
        json!([
            photo["message"],
            photo["has_media"],
            photo["media_type"],
            photo["media_url"]
        ]),
        json!(["[image]", true, "image", "https://media.example.org/a.jpg"])
    );
    let voice = of("3EB0M3");
    assert_eq!(
        json!([voice["has_media"], voice["media_type"], voice.get("media_url")]),
        json!([true, "audio", null])
    );
    assert_eq!(of("3EB0M4")["wa_user_id"], "204466881133557@lid");
    assert_eq!(app.count("messages").await, 4);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn photos_without_a_caption_are_no_repetition() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let photo = json!({"imageMessage": {"mimetype": "image/jpeg", "fileLength": 9}});
    for number in 0..7 {
        app.post(&desa.json(&message(RARA, &format!("3EB0P{number}"), &photo)))
            .await
            .assert_kept();
    }
    let got = app.until_to_ai(7).await;
    for photo in &got {
        assert_eq!(photo["spam_guard"]["isDuplicate"], false, "{photo}");
    }
    // The same caption is: those are a person's words.
    let captioned =
        json!({"imageMessage": {"mimetype": "image/jpeg", "fileLength": 9, "caption": "jalan rusak"}});
    for number in 0..2 {
        app.post(&desa.json(&message(BIMA, &format!("3EB0C{number}"), &captioned)))
            .await
            .assert_kept();
    }
    let got = app.until_to_ai(9).await;
    let of = |id: &str| got.iter().find(|got| got["message_id"] == id).unwrap();
    assert_eq!(of("3EB0C0")["spam_guard"]["isDuplicate"], false);
    assert_eq!(of("3EB0C1")["spam_guard"]["isDuplicate"], true);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_we_keep_is_handed_over_with_links_that_open_it() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let bytes = jpeg(4_000);
    let event = with_inline(picture("3EB0FILE", "jalan rusak"), &bytes);
    app.post(&desa.json(&event)).await.assert_kept();
    let got = app.until_to_ai(1).await;
    assert_eq!(
        json!([got[0]["has_media"], got[0]["media_type"]]),
        json!([true, "image"])
    );
    for link in ["media_url", "media_public_url"] {
        let link = got[0][link].as_str().unwrap();
        // The bases are the installation's; what is behind them is served here.
        let path = &link[link.find("/uploads/").unwrap()..];
        let answer = app.http().get(format!("{}{path}", app.url)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{link}");
        assert_eq!(answer.bytes().await.unwrap(), bytes);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_comes_again_hands_over_nothing_again() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    write(&app, &desa, RARA, "3EB0D1", "sekali saja").await;
    app.until_to_ai(1).await;
    let event = app.events().remove(0);
    let broker = Broker::new(
        SecretString::from(test_support::rabbitmq_url()),
        "tests",
        app.topology.clone(),
        true,
    );
    let mut publisher = Publisher::connect(&broker).await.unwrap();
    for _ in 0..3 {
        let again = Publication {
            exchange: app.topology.events_exchange(),
            routing_key: "message.received".to_owned(),
            event_id: event.message_id.as_deref().unwrap().parse().unwrap(),
            body: event.body.to_string().into_bytes(),
        };
        publisher.publish(&again).await.unwrap();
    }
    // A later message of the same chat stands behind them.
    write(&app, &desa, RARA, "3EB0D2", "yang kedua").await;
    let got = app.until_to_ai(2).await;
    assert_eq!(got[1]["message_id"], "3EB0D2");
    assert_eq!(got[1]["spam_guard"]["suppressedMessageIds"], json!(["3EB0D1"]));
    app.until_published().await;
    assert_eq!(app.to_ai().len(), 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_after_the_guard_has_spoken_changes_nothing() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let mut holding: AsyncPgConnection = app.database.admin().await;
    holding
        .batch_execute("BEGIN; LOCK TABLE pending_messages IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    write(&app, &desa, RARA, "3EB0K1", "di tengah jalan").await;
    let waiting = "SELECT pid AS value FROM pg_locks \
                   WHERE NOT granted AND relation = 'pending_messages'::regclass";
    for _ in 0..2 {
        let pid = eventually("the hand-over waits for the lock", || async {
            app.values(waiting).await.pop()
        })
        .await;
        app.run_sql(&format!("SELECT pg_terminate_backend({pid})")).await;
        eventually("it is dead", || async {
            (!app.values(waiting).await.contains(&pid)).then_some(())
        })
        .await;
    }
    holding.batch_execute("COMMIT").await.unwrap();
    let got = app.until_to_ai(1).await;
    // Judged three times, counted once: it supersedes nothing, least of all itself.
    assert_eq!(got[0]["spam_guard"]["supersedePrevious"], false);
    write(&app, &desa, RARA, "3EB0K2", "berikutnya").await;
    let got = app.until_to_ai(2).await;
    assert_eq!(got[1]["spam_guard"]["suppressedMessageIds"], json!(["3EB0K1"]));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_ai_has_no_business_messages_are_kept_and_end_the_bubble() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    write(&app, &desa, RARA, "3EB0T1", "untuk AI").await;
    app.until_to_ai(1).await;

    take_over(&app, RARA).await;
    write(&app, &desa, RARA, "3EB0T2", "untuk petugas").await;
    assert_eq!(until_handled(&app, "3EB0T2").await, "takeover");
    app.run_sql("UPDATE takeovers SET ended_at = now()").await;
    write(&app, &desa, RARA, "3EB0T3", "untuk AI lagi").await;
    let got = app.until_to_ai(2).await;
    assert_eq!(
        json!([got[1]["message_id"], got[1]["spam_guard"]["contextMessages"]]),
        json!(["3EB0T3", []])
    );

    let switch = |on: bool| {
        let app = &app;
        async move {
            let body = json!({"enabled_wa": on});
            let path = "/channel-accounts/desa-satu";
            assert_eq!(app.internal(Method::PUT, path, Some(&body)).await.status, 200);
        }
    };
    switch(false).await;
    write(&app, &desa, RARA, "3EB0T4", "dimatikan").await;
    assert_eq!(until_handled(&app, "3EB0T4").await, "whatsapp_disabled");
    switch(true).await;
    // Suspended between the webhook and the hand-over.
    app.proxies.rabbitmq.cut();
    write(&app, &desa, RARA, "3EB0T5", "ditangguhkan").await;
    app.run_sql("UPDATE tenants SET status = 'suspended'").await;
    app.proxies.rabbitmq.restore();
    assert_eq!(until_handled(&app, "3EB0T5").await, "tenant_suspended");
    app.run_sql("UPDATE tenants SET status = 'active'").await;
    app.until_published().await;
    assert_eq!(app.to_ai().len(), 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_ids_and_phones_of_two_tenants_never_meet() {
    let app = TestApp::spawn().await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    for tenant in [&satu, &dua] {
        write(&app, tenant, RARA, "3EB0SAMA", "ok").await;
    }
    let got = app.until_to_ai(2).await;
    let mut villages: Vec<&str> = got
        .iter()
        .map(|got| got["village_id"].as_str().unwrap())
        .collect();
    villages.sort_unstable();
    assert_eq!(villages, ["desa-dua", "desa-satu"]);
    for got in &got {
        assert_eq!(got["spam_guard"]["supersedePrevious"], false);
    }
    assert_eq!(app.count("pending_messages").await, 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waited_for_the_broker_comes_later_in_order() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.proxies.rabbitmq.cut();
    app.until_ready("degraded").await;
    for number in 0..8 {
        write(
            &app,
            &desa,
            RARA,
            &format!("3EB0C{number}"),
            &format!("nomor {number}"),
        )
        .await;
    }
    app.proxies.rabbitmq.restore();
    eventually("all are handed over", || async {
        let mut ids: Vec<Value> = app.to_ai().iter().map(|got| got["message_id"].clone()).collect();
        // A relay whose confirm was lost publishes again.
        ids.dedup();
        (ids == (0..8)
            .map(|number| json!(format!("3EB0C{number}")))
            .collect::<Vec<_>>())
        .then_some(())
    })
    .await;
    app.until_ready("ready").await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_left_the_next_one_hands_over() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let mut holding: AsyncPgConnection = app.database.admin().await;
    holding
        .batch_execute("BEGIN; LOCK TABLE takeovers IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    for number in 0..3 {
        write(&app, &desa, RARA, &format!("3EB0N{number}"), "titipan").await;
    }
    eventually("all wait on the lane", || async {
        (app.values("SELECT count(*) AS value FROM lane_tasks").await == [json!(3)]).then_some(())
    })
    .await;
    app.shutdown.begin();
    app.run_sql(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted AND relation = 'takeovers'::regclass",
    )
    .await;
    assert!(
        app.shutdown
            .finished_within(std::time::Duration::from_secs(15))
            .await
    );
    assert!(app.to_ai().is_empty());
    holding.batch_execute("COMMIT").await.unwrap();
    let next = app.replica().await;
    let got = app.until_to_ai(3).await;
    let ids: Vec<&Value> = got.iter().map(|got| &got["message_id"]).collect();
    assert_eq!(ids, ["3EB0N0", "3EB0N1", "3EB0N2"]);
    next.finish().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_asks_for_another_try() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.tenant("desa-dua").await;
    let retry = |key: &'static str, path: &'static str| {
        let app = &app;
        async move { app.internal_as(key, Method::POST, path, Some(&json!({}))).await }
    };
    let path = "/conversations/6281290000011/retry?village_id=desa-satu";
    let answer = retry(LIMITED_KEY, path).await;
    answer.assert_error(404, "no_pending_message");
    assert_eq!(answer.json()["error"], "No pending message found for retry");

    write(&app, &desa, RARA, "3EB0U1", "belum dijawab").await;
    app.until_to_ai(1).await;
    retry(
        LIMITED_KEY,
        "/conversations/6281290000011/retry?village_id=desa-dua",
    )
    .await
    .assert_error(403, "not_your_village");
    let key = crate::harness::INTERNAL_KEY;
    for nobody in [
        "/conversations/6281290000011/retry?village_id=desa-dua",
        "/conversations/6281290000022/retry?village_id=desa-satu",
        "/conversations/web_abc/retry?village_id=desa-satu",
        "/conversations/%20/retry?village_id=desa-satu",
    ] {
        retry(key, nobody).await.assert_error(404, "no_pending_message");
    }
    retry(key, "/conversations/6281290000011/retry")
        .await
        .assert_error(400, "village_id_required");

    app.govconnect_says(
        "govconnect.ai.error",
        json!({"village_id": "desa-satu", "wa_user_id": RARA, "error_message": "model sibuk",
               "pending_message_id": "3EB0U1"})
        .to_string(),
    )
    .await;
    eventually("the error is shown", || async {
        (app.values("SELECT ai_status AS value FROM chats").await == [json!("error")]).then_some(())
    })
    .await;
    let answer = retry(LIMITED_KEY, path).await;
    assert_eq!(
        (answer.status, answer.json()),
        (
            200,
            json!({"success": true, "message": "AI processing retry initiated"})
        )
    );
    let got = app.until_to_ai(2).await;
    assert_eq!(
        got[1],
        json!({"wa_user_id": RARA, "village_id": "desa-satu", "message": "belum dijawab", "message_id": "3EB0U1",
               "is_retry": true, "channel": "whatsapp"})
    );
    assert_eq!(
        app.rows("SELECT ai_status, ai_error_message, pending_message_id FROM chats")
            .await,
        [json!({"ai_status": "processing", "ai_error_message": null, "pending_message_id": "3EB0U1"})]
    );
    assert_eq!(
        app.rows("SELECT actor, action FROM audit_log WHERE action = 'ai.retry'")
            .await,
        [json!({"actor": "ai", "action": "ai.retry"})]
    );
    app.finish().await;
}
