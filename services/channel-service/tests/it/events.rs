//! Webhooks that bring no message.

use serde_json::{Value, json};

use crate::harness::{TestApp, text};

const RARA: &str = "6281290000011";

async fn account(app: &TestApp) -> Value {
    app.rows("SELECT status, phone FROM accounts").await.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_session_tells_where_the_account_stands() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    assert_eq!(account(&app).await, json!({"status": "unknown", "phone": null}));
    for (event, status, phone) in [
        (
            json!({"type": "QR", "event": "code", "qrCodeBase64": "data:image/png;base64,AAAA"}),
            "qr_waiting",
            None,
        ),
        (
            json!({"type": "PairSuccess", "event": {"ID": "6281100000009:12@s.whatsapp.net", "LID": "", "BusinessName": "", "Platform": "android"}}),
            "connected",
            Some("6281100000009"),
        ),
        (
            json!({"type": "Disconnected", "event": {}}),
            "disconnected",
            Some("6281100000009"),
        ),
        (
            json!({"type": "Connected", "event": {}}),
            "connected",
            Some("6281100000009"),
        ),
        (
            json!({"type": "LoggedOut", "event": {"OnConnect": false, "Reason": 401}}),
            "logged_out",
            Some("6281100000009"),
        ),
    ] {
        app.post(&desa.json(&event))
            .await
            .assert_done("Session state recorded");
        assert_eq!(
            account(&app).await,
            json!({"status": status, "phone": phone}),
            "{event}"
        );
    }
    assert_eq!(app.count("provider_events").await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_understands_is_kept_raw() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let event = json!({"type": "FromTheFuture", "event": {"words": "apa ini", "deep": [1, {"x": null}]}});
    app.post(&desa.form(&event)).await.assert_done("Event kept");
    let kept = app
        .rows("SELECT tenant_id, account_id, type_name, payload FROM provider_events")
        .await;
    assert_eq!(
        json!([kept[0]["tenant_id"], kept[0]["account_id"], kept[0]["type_name"]]),
        json!(["desa-satu", desa.account, "FromTheFuture"])
    );
    let payload: Value = serde_json::from_str(kept[0]["payload"].as_str().unwrap()).unwrap();
    assert_eq!(payload["event"], event["event"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_conversation_is_answered_and_not_kept() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let from = |chat: &str, group: bool| {
        let mut event = text(RARA, "3EB0SKIP", "bukan percakapan");
        event["event"]["Info"]["Chat"] = json!(chat);
        event["event"]["Info"]["IsGroup"] = json!(group);
        event
    };
    for (event, answer) in [
        (from("120363000000000001@g.us", true), "Group message ignored"),
        (from("120363000000000001@g.us", false), "Group message ignored"),
        (from("1234567@broadcast", false), "Broadcast message ignored"),
        (from("status@broadcast", true), "Status update ignored"),
        (
            from("120363000000000002@newsletter", false),
            "Newsletter message ignored",
        ),
        (
            json!({"type": "ChatPresence", "event": {"State": "composing"}}),
            "Ignored event type: ChatPresence",
        ),
        (
            json!({"type": "HistorySync", "event": {"Data": {}}}),
            "Ignored event type: HistorySync",
        ),
    ] {
        app.post(&desa.json(&event)).await.assert_done(answer);
    }
    for table in [
        "messages",
        "chats",
        "inbound_ledger",
        "outbox",
        "quarantine",
        "provider_events",
    ] {
        assert_eq!(app.count(table).await, 0, "{table}");
    }
    // Skipping leaves no trace in the ledger that would swallow a real message.
    app.post(&desa.json(&text(RARA, "3EB0SKIP", "percakapan")))
        .await
        .assert_kept();
    app.finish().await;
}
