//! Answers to messages of our own: by the id that Meta knows them by, or by none.

use serde_json::{Value, json};
use simulator::GraphTroubleKind;
use test_support::eventually;

use crate::cloud_sending::{open_window, say, words};
use crate::cloud_troubles::{error, put, quick, standing, trouble, until, with_settings};
use crate::cloud_world::{ENDPOINTS, Number, RARA, SATU, number};
use crate::harness::TestApp;

/// Orders an answer to the message with these words, by the id it has now.
async fn answer_to(app: &TestApp, number: &Number<'_>, said: &str, text: &str) {
    let other = standing(app, said).await["id"].clone();
    assert!(!other.is_null());
    let mut body = words(RARA, text);
    body["wait"] = json!(false);
    body["context"] = json!({"message_id": other});
    let answer = say(app, number, body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
}

/// What Meta was sent with these words.
fn body_of(app: &TestApp, text: &str) -> Value {
    let sends = app.simulator.graph_sends();
    let mut bodies = sends.into_iter().map(|send| send.body);
    bodies.find(|body| body["text"]["body"] == text).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_a_message_that_waits_goes_out_after_it_and_names_it_by_metas_id() {
    let app = quick().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    open_window(&app, &satu, RARA).await;
    app.run_sql("UPDATE accounts SET send_paused_until = now() + interval '1 hour'")
        .await;
    put(&app, &satu, RARA, "pertama").await;
    let ordered_as = standing(&app, "pertama").await["id"].clone();
    answer_to(&app, &satu, "pertama", "balasan").await;
    app.run_sql("UPDATE accounts SET send_paused_until = NULL").await;
    eventually("the answer is sent", || async {
        // A worker that found the account paused puts its lane off after this, perhaps.
        app.run_sql("UPDATE lanes SET ready_at = now() WHERE leased_until IS NULL")
            .await;
        (standing(&app, "balasan").await["status"] == "sent").then_some(())
    })
    .await;
    let known_as = standing(&app, "pertama").await["id"].clone();
    assert_ne!(known_as, ordered_as);
    let context = body_of(&app, "balasan")["context"].clone();
    assert_eq!(context, json!({"message_id": known_as}));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_what_did_not_go_out_quotes_nothing() {
    let app = with_settings(&[ENDPOINTS, ("CLOUD_UNKNOWN_WAIT_MS", "300")]).await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    open_window(&app, &satu, RARA).await;
    trouble(&app, Some(1), error(131_026));
    put(&app, &satu, RARA, "ditolak").await;
    until(&app, "ditolak", "failed").await;
    trouble(&app, Some(1), GraphTroubleKind::Cut);
    put(&app, &satu, RARA, "entah").await;
    eventually("it is put aside", || async {
        let now = standing(&app, "entah").await;
        (now["status"] == "unknown" && now["parked"] == true).then_some(())
    })
    .await;
    for said in ["ditolak", "entah"] {
        let text = format!("tentang {said}");
        answer_to(&app, &satu, said, &text).await;
        until(&app, &text, "sent").await;
        assert_eq!(body_of(&app, &text)["context"], Value::Null);
    }
    app.finish().await;
}
