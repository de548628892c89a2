//! A message's chat is held before the message, everywhere: whoever holds a chat, to delete it or to merge it, finds its
//! messages free and meets nobody who waits for the chat with a message in hand.

use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};
use serde_json::json;
use simulator::FaultKind;
use test_support::eventually;

use crate::ai_handover::write;
use crate::harness::{Tenant, TestApp, receipt};

const RARA: &str = "6281290000011";
const ANSWER: &str = "SELECT id AS value FROM messages WHERE source = 'ai'";

#[derive(diesel::QueryableByName)]
struct Pid {
    #[diesel(sql_type = diesel::sql_types::Integer)]
    pid: i32,
}

/// A transaction that has every chat.
struct Holder {
    connection: AsyncPgConnection,
    pid: i32,
}

impl Holder {
    async fn begin(app: &TestApp) -> Self {
        let mut connection = app.database.admin().await;
        connection
            .batch_execute("BEGIN; SELECT FROM chats ORDER BY id FOR UPDATE")
            .await
            .unwrap();
        let row: Pid = diesel::sql_query("SELECT pg_backend_pid() AS pid")
            .get_result(&mut connection)
            .await
            .unwrap();
        Self {
            connection,
            pid: row.pid,
        }
    }

    /// Somebody waits for a chat; the messages are free all the same.
    async fn finds_messages_free(mut self, app: &TestApp) {
        let waiting = format!(
            "SELECT pid AS value FROM pg_stat_activity WHERE {} = ANY (pg_blocking_pids(pid))",
            self.pid
        );
        eventually("somebody waits for the chat", || async {
            (!app.values(&waiting).await.is_empty()).then_some(())
        })
        .await;
        self.connection
            .batch_execute("SELECT FROM messages ORDER BY id FOR UPDATE NOWAIT; COMMIT")
            .await
            .unwrap();
    }
}

/// A tenant whose citizen has asked and is answered by the AI.
async fn answered(app: &TestApp) -> Tenant {
    let desa = app.tenant("desa-satu").await;
    write(app, &desa, RARA, "3EB0Q1", "syarat KTP?").await;
    app.until_to_ai(1).await;
    let body = json!({"village_id": "desa-satu", "wa_user_id": RARA, "reply_text": "bawa KK", "message_id": "3EB0Q1",
                      "batched_message_ids": ["3EB0Q1"]});
    app.govconnect_says("govconnect.ai.reply", body.to_string()).await;
    desa
}

async fn until_answer(app: &TestApp, status: &str) {
    let found = "SELECT status AS value FROM messages WHERE source = 'ai'";
    eventually(&format!("the answer is {status}"), || async {
        (app.values(found).await == [json!(status)]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_of_an_answer_waits_for_the_chat_with_nothing_in_hand() {
    let app = TestApp::spawn().await;
    let desa = answered(&app).await;
    until_answer(&app, "sent").await;
    let id = app.simulator.phone(RARA).pop().unwrap().id;
    // As if the answer to the send were still under way.
    app.run_sql(
        "UPDATE messages SET status = 'queued' WHERE source = 'ai'; UPDATE ai_replies SET state = 'queued'",
    )
    .await;
    let holder = Holder::begin(&app).await;
    let webhook = desa.json(&receipt(RARA, &[&id], "Delivered"));
    let (answer, ()) = tokio::join!(app.post(&webhook), holder.finds_messages_free(&app));
    answer.assert_done("Receipt recorded");
    until_answer(&app, "delivered").await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_record_of_a_send_waits_for_the_chat_with_nothing_in_hand() {
    let app = TestApp::spawn().await;
    app.sends_fail(FaultKind::Delay { ms: 2_000 }, 1);
    answered(&app).await;
    eventually("it was begun", || async {
        let begun = "SELECT begun AS value FROM lane_tasks WHERE kind = 'send_ai_reply'";
        (app.values(begun).await == [json!(1)]).then_some(())
    })
    .await;
    Holder::begin(&app).await.finds_messages_free(&app).await;
    until_answer(&app, "sent").await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_chat_is_merged_away_meanwhile_moves_in_the_surviving_one() {
    let app = TestApp::spawn().await;
    let desa = answered(&app).await;
    until_answer(&app, "sent").await;
    let id = app.simulator.phone(RARA).pop().unwrap().id;
    let mut holder = Holder::begin(&app).await;
    // What a merge does to the two of them.
    holder
        .connection
        .batch_execute(
            "INSERT INTO chats (tenant_id, id, account_id, address, channel, last_message_at, last_text, unread) \
                 SELECT tenant_id, gen_random_uuid(), account_id, '6281290000099@s.whatsapp.net', channel, now(), '', 0 \
                 FROM chats; \
             UPDATE messages SET chat_id = (SELECT id FROM chats WHERE address LIKE '6281290000099@%'); \
             DELETE FROM chats WHERE address NOT LIKE '6281290000099@%'",
        )
        .await
        .unwrap();
    let webhook = desa.json(&receipt(RARA, &[&id], "Read"));
    let (answer, ()) = tokio::join!(app.post(&webhook), holder.finds_messages_free(&app));
    answer.assert_done("Receipt recorded");
    until_answer(&app, "read").await;
    let answer = app.values(ANSWER).await.remove(0);
    app.until_published().await;
    let told = app.data_of("message.status_changed");
    let told = told
        .iter()
        .find(|data| data["message_id"] == answer && data["status"] == "read")
        .unwrap();
    assert_eq!(
        json!([told["chat_id"]]),
        json!(app.values("SELECT id AS value FROM chats").await)
    );
    app.finish().await;
}
