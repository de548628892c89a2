//! What phones confirm: statuses move forward only, and each move is told once and in order.

use serde_json::json;
use simulator::{FaultKind, Receipt, ReceiptState};
use test_support::eventually;

use crate::harness::{Tenant, TestApp, Wishes, receipt};

const RARA: &str = "6281290000011";

/// Sends a text and returns the id its receipts will name.
async fn sent(app: &TestApp, tenant: &Tenant, reference: &str) -> String {
    app.order(tenant, RARA, reference).await;
    app.until_status(reference, "sent").await;
    app.simulator.phone(RARA).pop().unwrap().id
}

async fn status(app: &TestApp, reference: &str) -> String {
    let found = app
        .values(&format!(
            "SELECT status AS value FROM messages WHERE reference = '{reference}'"
        ))
        .await;
    found[0].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_move_a_message_forward_and_never_back() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let (first, second) = (sent(&app, &desa, "satu").await, sent(&app, &desa, "dua").await);

    app.post(&desa.json(&receipt(RARA, &[&first], "Delivered")))
        .await
        .assert_done("Receipt recorded");
    assert_eq!(status(&app, "satu").await, "delivered");
    // One receipt for several messages, one of them unknown, in form mode; then everything once more, late.
    let read = desa.form(&receipt(RARA, &[&second, "3EB0NOTOURS", &first], "Read"));
    app.post(&read).await.assert_done("Receipt recorded");
    app.post(&read).await.assert_done("Receipt recorded");
    let late = desa.json(&receipt(RARA, &[&first, &second], "Delivered"));
    app.post(&late).await.assert_done("Receipt recorded");
    assert_eq!(
        (
            status(&app, "satu").await.as_str(),
            status(&app, "dua").await.as_str()
        ),
        ("read", "read")
    );

    app.until_status("satu", "read").await;
    app.until_status("dua", "read").await;
    app.until_published().await;
    assert_eq!(app.statuses("satu"), ["queued", "sent", "delivered", "read"]);
    assert_eq!(app.statuses("dua"), ["queued", "sent", "read"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_that_say_nothing_of_ours_move_nothing() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let id = sent(&app, &desa, "satu").await;
    let mut own = receipt(RARA, &[&id], "ReadSelf");
    own["event"]["IsFromMe"] = json!(true);
    own["event"]["Type"] = json!("read-self");
    app.post(&desa.json(&own)).await.assert_done("Receipt recorded");
    let mut group = receipt(RARA, &[&id], "Read");
    group["event"]["Chat"] = json!("120363000000000001@g.us");
    group["event"]["IsGroup"] = json!(true);
    app.post(&desa.json(&group))
        .await
        .assert_done("Group message ignored");
    assert_eq!(status(&app, "satu").await, "sent");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_that_overtakes_our_own_record_wins() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    // The work is done at once; we learn nothing of it for a while, and then only that the connection is gone.
    app.sends_fail(FaultKind::LostAnswerDelay { ms: 9_000 }, 1);
    app.order(&desa, RARA, "cepat sekali").await;
    let id = eventually("it is on the phone", || async {
        app.simulator.phone(RARA).pop().map(|message| message.id)
    })
    .await;
    assert_eq!(status(&app, "cepat sekali").await, "queued");
    app.post(&desa.json(&receipt(RARA, &[&id], "Delivered")))
        .await
        .assert_done("Receipt recorded");
    assert_eq!(status(&app, "cepat sekali").await, "delivered");

    eventually("the lane is done", || async {
        (app.count("lane_tasks").await == 0).then_some(())
    })
    .await;
    assert_eq!(status(&app, "cepat sekali").await, "delivered");
    assert_eq!(
        app.values("SELECT outcome AS value FROM send_attempts").await,
        [json!("unknown")]
    );
    assert_eq!(app.simulator.phone(RARA)[0].arrivals, 1);
    app.until_published().await;
    app.until_status("cepat sekali", "delivered").await;
    assert_eq!(app.statuses("cepat sekali"), ["queued", "delivered"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_servers_echo_settles_a_send_whose_answer_was_lost() {
    let app = TestApp::with(Wishes {
        retry_first_ms: "60000",
        retry_cap_ms: "60000",
        ..Wishes::default()
    })
    .await;
    let desa = app.tenant("desa-satu").await;
    app.sends_fail(FaultKind::LostAnswer, 1);
    app.order(&desa, RARA, "gema").await;
    app.until_status("gema", "unknown").await;
    let id = app.simulator.phone(RARA)[0].id.clone();
    let echo = json!({"type": "MessageSent", "event": {
        "Info": {"Chat": format!("{RARA}@s.whatsapp.net"), "ID": id, "IsFromMe": true, "MessageType": "text",
                 "Timestamp": chrono::Utc::now().to_rfc3339()},
        "Message": {"extendedTextMessage": {"text": "gema"}},
    }});
    app.post(&desa.json(&echo)).await.assert_done("Echo recorded");
    app.until_status("gema", "sent").await;
    // The wait is over.
    app.run_sql("UPDATE lanes SET ready_at = now()").await;
    eventually("the lane is done", || async {
        (app.count("lane_tasks").await == 0).then_some(())
    })
    .await;
    assert_eq!(app.simulator.phone(RARA)[0].arrivals, 1, "it was not sent again");
    assert_eq!(app.statuses("gema"), ["queued", "unknown", "sent"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_ours_that_comes_back_as_a_message_is_not_a_second_one() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let id = sent(&app, &desa, "bumerang").await;
    let mut own = crate::harness::text(RARA, &id, "bumerang");
    own["event"]["Info"]["IsFromMe"] = json!(true);
    app.post(&desa.json(&own)).await.assert_done("Duplicate message");
    app.post(&desa.json(&own)).await.assert_done("Duplicate message");
    app.until_published().await;
    assert_eq!(app.count("messages").await, 1);
    assert!(app.data_of("message.sent_elsewhere").is_empty());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_live_session_the_whole_road_is_walked() {
    let app = TestApp::spawn().await;
    let desa = app.live_tenant("desa-satu").await;
    app.order(&desa, RARA, "perjalanan").await;
    app.until_status("perjalanan", "sent").await;
    let id = app.simulator.phone(RARA)[0].id.clone();
    for state in [ReceiptState::Delivered, ReceiptState::Read] {
        let receipt = Receipt {
            session: desa.session.id.clone(),
            ids: vec![id.clone()],
            chat: RARA.to_owned(),
            state,
        };
        app.simulator.receipt(&receipt).unwrap();
        let expected = if state == ReceiptState::Read {
            "read"
        } else {
            "delivered"
        };
        app.until_status("perjalanan", expected).await;
    }
    assert_eq!(
        app.statuses("perjalanan"),
        ["queued", "sent", "delivered", "read"]
    );
    eventually("all webhooks were accepted", || async {
        let deliveries = app.simulator.wa_deliveries();
        (deliveries.len() >= 3).then_some(())
    })
    .await;
    assert!(
        app.simulator
            .wa_deliveries()
            .iter()
            .all(simulator::DeliveryAttempt::accepted)
    );
    app.finish().await;
}
