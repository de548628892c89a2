//! One person, one chat: under a hidden id, under a number, and when it becomes known which belongs to which.

use channel_service::flows::hand_over::request;
use domain::ids::{MessageId, TenantId};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tenant_isolation::TenantScope;
use test_support::eventually;

use crate::harness::{Tenant, TestApp, Wishes, order, refusal, text};

const RARA: &str = "6281290000011";
const LID: &str = "204466881133557";

/// A message in a chat that is addressed by hidden id; `alternative` tells the number, or nothing.
pub(crate) fn by_lid(id: &str, words: &str, alternative: &str) -> Value {
    json!({"type": "Message", "event": {
        "Info": {
            "Chat": format!("{LID}@lid"), "Sender": format!("{LID}:7@lid"), "SenderAlt": alternative,
            "RecipientAlt": "", "IsFromMe": false, "IsGroup": false, "AddressingMode": "lid", "ID": id,
            "Type": "text", "PushName": "Rara", "Timestamp": chrono::Utc::now().to_rfc3339(),
        },
        "Message": {"conversation": words},
    }})
}

/// The same person by both addresses.
pub(crate) fn teaching(id: &str, words: &str) -> Value {
    by_lid(id, words, &format!("{RARA}:7@s.whatsapp.net"))
}

async fn post(app: &TestApp, tenant: &Tenant, event: &Value) {
    app.post(&tenant.json(event)).await.assert_kept();
}

async fn chats(app: &TestApp) -> Vec<Value> {
    app.rows("SELECT address, lid, unread, last_text FROM chats ORDER BY tenant_id, address")
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_chats_become_one_when_the_number_becomes_known() {
    let app = TestApp::spawn().await;
    let (desa, lain) = (app.tenant("desa-satu").await, app.tenant("desa-lain").await);
    post(&app, &desa, &by_lid("3EB0L1", "lewat lid", "")).await;
    post(&app, &lain, &by_lid("3EB0L1", "lewat lid", "")).await;
    post(&app, &desa, &text(RARA, "3EB0P1", "lewat nomor")).await;
    assert_eq!(chats(&app).await.len(), 3);
    let phone_chat = app
        .values(&format!("SELECT id AS value FROM chats WHERE phone = '{RARA}'"))
        .await
        .remove(0);
    let lid_chat = app
        .values("SELECT id AS value FROM chats WHERE phone IS NULL AND tenant_id = 'desa-satu'")
        .await
        .remove(0);
    app.run_sql(&format!(
        "INSERT INTO takeovers (tenant_id, id, chat_id, admin_id) \
             SELECT tenant_id, gen_random_uuid(), id, 'admin-' || coalesce(phone, 'lid') FROM chats \
             WHERE tenant_id = 'desa-satu'; \
         INSERT INTO takeovers (tenant_id, id, chat_id, admin_id, ended_at) \
             VALUES ('desa-satu', gen_random_uuid(), {}, 'admin-lama', now())",
        lid_chat.to_string().replace('"', "'")
    ))
    .await;

    // Each chat has its lane to the AI by now.
    let ai_lanes = "SELECT lane AS value FROM lanes WHERE tenant_id = 'desa-satu' AND lane LIKE 'ai:%'";
    eventually("the AI's lanes are there and idle", || async {
        let waiting = app.count("lane_tasks").await;
        (app.values(ai_lanes).await.len() == 2 && waiting == 0).then_some(())
    })
    .await;

    post(&app, &desa, &teaching("3EB0T1", "keduanya")).await;
    let lane = format!("ai:{}", phone_chat.as_str().unwrap());
    assert_eq!(app.values(ai_lanes).await, [json!(lane)]);
    app.until_published().await;
    let merged = eventually("the merge is told", || async { app.data_of("chat.merged").pop() }).await;
    assert_eq!(
        json!([
            merged["account_id"],
            merged["chat_id"],
            merged["merged_chat_id"],
            merged["address"],
            merged["merged_address"]
        ]),
        json!([
            desa.account,
            phone_chat,
            lid_chat,
            format!("{RARA}@s.whatsapp.net"),
            format!("{LID}@lid")
        ])
    );
    assert_eq!(app.data_of("chat.merged").len(), 1);
    // Told once more of a message of the chat that is gone, the AI's lane is that of the surviving one.
    let told = app
        .data_of("message.received")
        .into_iter()
        .find(|data| data["provider_message_id"] == "3EB0L1" && data["chat_id"] == lid_chat)
        .unwrap();
    let id: MessageId = told["message_id"].as_str().unwrap().parse().unwrap();
    let scope = TenantScope::named_by_operator(TenantId::parse(desa.id.clone()).unwrap());
    request(&app.direct, &scope, id).await.unwrap();
    assert_eq!(app.values(ai_lanes).await, [json!(lane)]);
    assert_eq!(
        json!(chats(&app).await),
        json!([
            // What one tenant learned is nobody else's.
            {"address": format!("{LID}@lid"), "lid": LID, "unread": 1, "last_text": "lewat lid"},
            {"address": format!("{RARA}@s.whatsapp.net"), "lid": LID, "unread": 3, "last_text": "keduanya"},
        ])
    );
    let history = app
        .rows("SELECT chat_id, body FROM messages WHERE tenant_id = 'desa-satu' ORDER BY id")
        .await;
    let words: Vec<&Value> = history.iter().map(|row| &row["body"]).collect();
    assert_eq!(words, ["lewat lid", "lewat nomor", "keduanya"]);
    assert!(
        history.iter().all(|row| row["chat_id"] == phone_chat),
        "the chat of the number survives: {history:?}"
    );
    let takeovers = app
        .rows("SELECT admin_id, chat_id, ended_at IS NULL AS active FROM takeovers ORDER BY admin_id")
        .await;
    assert!(
        takeovers.iter().all(|row| row["chat_id"] == phone_chat),
        "{takeovers:?}"
    );
    let active: Vec<&Value> = takeovers.iter().filter(|row| row["active"] == true).collect();
    assert_eq!(active.len(), 1);
    assert_eq!(active[0]["admin_id"], format!("admin-{RARA}"));

    // From now on the hidden id alone leads to the number's chat, in and out.
    post(&app, &desa, &by_lid("3EB0L2", "lid saja", "")).await;
    let mut reply = order(desa.account, RARA, "balasan");
    reply.to = format!("{LID}@lid");
    app.publish(&desa.id, &reply).await;
    app.until_status("balasan", "sent").await;
    assert_eq!(chats(&app).await.len(), 2);
    let sends = app.simulator.wa_sends(None);
    assert_eq!(sends[0].body["Phone"], RARA);
    app.until_published().await;
    let told = eventually("the event", || async {
        app.data_of("message.received")
            .into_iter()
            .find(|data| data["provider_message_id"] == "3EB0L2")
    })
    .await;
    assert_eq!(
        (&told["chat_id"], &told["partner"]["phone"]),
        (&phone_chat, &json!(RARA))
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_chat_under_a_hidden_id_is_found_again_under_the_number() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    post(&app, &desa, &by_lid("3EB0L1", "lewat lid", "")).await;
    let mut early = order(desa.account, RARA, "sebelum tahu");
    early.to = format!("{LID}@lid");
    app.publish(&desa.id, &early).await;
    app.until_status("sebelum tahu", "sent").await;
    assert_eq!(
        app.simulator.wa_sends(None)[0].body["Phone"],
        format!("{LID}@lid")
    );

    post(&app, &desa, &teaching("3EB0T1", "keduanya")).await;
    let all = chats(&app).await;
    assert_eq!(all.len(), 1);
    assert_eq!(all[0]["unread"], 2);
    assert_eq!(app.count("messages").await, 3);
    // A second lesson of the same teaches nothing.
    let before = app.values("SELECT learned_at AS value FROM contact_lids").await;
    post(&app, &desa, &teaching("3EB0T2", "lagi")).await;
    assert_eq!(
        app.values("SELECT learned_at AS value FROM contact_lids").await,
        before
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_to_be_sent_keeps_its_order_and_goes_to_the_number() {
    let app = TestApp::with(Wishes {
        retry_first_ms: "60000",
        retry_cap_ms: "60000",
        ..Wishes::default()
    })
    .await;
    let desa = app.tenant("desa-satu").await;
    post(&app, &desa, &by_lid("3EB0L1", "lewat lid", "")).await;
    post(&app, &desa, &text(RARA, "3EB0P1", "lewat nomor")).await;
    // Both heads fail, so that both lanes wait with something behind.
    app.sends_fail(refusal(500, "no session", None), 2);
    for (to_lid, words) in [(true, "satu"), (false, "dua"), (true, "tiga"), (false, "empat")] {
        let mut next = order(desa.account, RARA, words);
        if to_lid {
            next.to = format!("{LID}@lid");
        }
        app.publish(&desa.id, &next).await;
    }
    eventually("both heads have failed", || async {
        let waiting = app.count("lane_tasks WHERE lane NOT LIKE 'ai:%'").await;
        (app.count("send_attempts").await == 2 && waiting == 4).then_some(())
    })
    .await;
    post(&app, &desa, &teaching("3EB0T1", "keduanya")).await;
    // The AI's lanes are other orders of work.
    let lanes = app
        .values("SELECT DISTINCT lane AS value FROM lane_tasks WHERE lane NOT LIKE 'ai:%'")
        .await;
    assert_eq!(lanes.len(), 1, "{lanes:?}");
    app.run_sql("UPDATE lanes SET ready_at = now()").await;
    app.until_status("empat", "sent").await;
    assert_eq!(app.texts_on(RARA), ["satu", "dua", "tiga", "empat"]);
    assert!(
        app.simulator
            .phone(RARA)
            .iter()
            .all(|message| message.arrivals == 1)
    );
    let lanes = app
        .values("SELECT lane AS value FROM lanes WHERE lane NOT LIKE 'ai:%'")
        .await;
    assert_eq!(lanes.len(), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_under_way_during_the_merge_is_one_message() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    post(&app, &desa, &by_lid("3EB0L1", "lewat lid", "")).await;
    app.sends_fail(simulator::FaultKind::Delay { ms: 1_500 }, 1);
    let mut slow = order(desa.account, RARA, "lambat");
    slow.to = format!("{LID}@lid");
    app.publish(&desa.id, &slow).await;
    eventually("it was begun", || async {
        (app.values("SELECT begun AS value FROM lane_tasks").await == [json!(1)]).then_some(())
    })
    .await;
    post(&app, &desa, &teaching("3EB0T1", "keduanya")).await;
    app.until_status("lambat", "sent").await;
    eventually("nothing is left to do", || async {
        (app.count("lane_tasks").await == 0).then_some(())
    })
    .await;
    // To the server it is one id, whether it came once or twice and under which address.
    let ids: Vec<Value> = app
        .values("SELECT provider_message_id AS value FROM messages WHERE direction = 'outbound'")
        .await;
    assert_eq!(ids.len(), 1);
    assert!(
        app.simulator
            .wa_sends(None)
            .iter()
            .all(|call| json!(call.id) == ids[0])
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_both_sorts_at_the_same_moment_are_one_chat() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    for round in 0..8 {
        // The AI's workers hold rows of the last round for a moment.
        eventually("the last round is over", || async {
            (app.count("lane_tasks").await == 0).then_some(())
        })
        .await;
        app.run_sql(
            "DELETE FROM messages; DELETE FROM chats; DELETE FROM contact_lids; DELETE FROM inbound_ledger",
        )
        .await;
        let events: Vec<Value> = (0..24)
            .map(|number| {
                let id = format!("3EB0R{round}N{number}");
                match number % 4 {
                    0 => by_lid(&id, "lid", ""),
                    1 => teaching(&id, "keduanya"),
                    2 => text(RARA, &id, "nomor"),
                    _ => text("6281290000022", &id, "orang lain"),
                }
            })
            .collect();
        let answers = join_all(events.iter().map(|event| {
            let webhook = desa.json(event);
            let app = &app;
            async move { app.post(&webhook).await }
        }))
        .await;
        for answer in &answers {
            answer.assert_kept();
        }
        let all = app
            .rows("SELECT c.address, c.unread, count(m.id) AS messages FROM chats c JOIN messages m ON m.chat_id = c.id GROUP BY 1, 2 ORDER BY 1")
            .await;
        assert_eq!(
            json!(all),
            json!([
                {"address": format!("{RARA}@s.whatsapp.net"), "unread": 18, "messages": 18},
                {"address": "6281290000022@s.whatsapp.net", "unread": 6, "messages": 6},
            ]),
            "round {round}"
        );
    }
    app.finish().await;
}
