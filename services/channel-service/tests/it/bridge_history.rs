//! What chatwoot-bridge is told of a tenant: its accounts, and what their chats hold.

use messaging::events::message_received::ChatMessage;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, TestApp, message, text};

const RARA: &str = "6281290000011";
const BIMA: &str = "6281290000022";

async fn ask(app: &TestApp, path: &str) -> Answer {
    app.internal(Method::GET, path, None).await
}

async fn page(app: &TestApp, path: &str) -> Value {
    let answer = ask(app, path).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

/// The provider's ids on a page, in order.
fn ids(page: &Value) -> Vec<&str> {
    let messages = page["data"].as_array().unwrap().iter();
    messages
        .map(|entry| entry["message"]["provider_message_id"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accounts_messages_come_page_by_page() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let other = app.tenant("desa-dua").await;
    for (from, id, words) in [
        (RARA, "3EB0H1", "satu"),
        (BIMA, "3EB0H2", "dua"),
        (RARA, "3EB0H3", "tiga"),
    ] {
        app.post(&desa.json(&text(from, id, words))).await.assert_kept();
    }
    app.post(&other.json(&text(RARA, "3EB0H9", "orang lain")))
        .await
        .assert_kept();
    let path = format!("/history?village_id=desa-satu&account_id={}", desa.account);
    let first = page(&app, &format!("{path}&limit=2")).await;
    assert_eq!(ids(&first), ["3EB0H1", "3EB0H2"]);
    let next = first["next"].as_str().unwrap();
    let second = page(&app, &format!("{path}&limit=2&after={next}")).await;
    assert_eq!((ids(&second), &second["next"]), (vec!["3EB0H3"], &Value::Null));
    let told: ChatMessage = serde_json::from_str(&first["data"][0]["message"].to_string()).unwrap();
    assert_eq!((told.text.as_str(), told.account_id), ("satu", desa.account));
    assert_eq!(told.partner.phone.as_deref(), Some(RARA));
    assert_eq!(first["data"][0]["direction"], "inbound");
    let none = page(&app, &format!("{path}&since=2999-01-01T00:00:00Z")).await;
    assert_eq!(none["data"], json!([]));
    let foreign = format!("/history?village_id=desa-satu&account_id={}", other.account);
    assert_eq!(
        page(&app, &foreign).await["data"],
        json!([]),
        "another tenant's account"
    );

    for (path, code) in [
        ("/history?village_id=desa-satu", "account_id_required"),
        ("/history?village_id=desa-satu&account_id=x", "invalid_field"),
        ("/history", "village_id_required"),
        ("/accounts", "village_id_required"),
    ] {
        ask(&app, path).await.assert_error(400, code);
    }
    let since = format!("{path}&since=kemarin");
    ask(&app, &since).await.assert_error(400, "invalid_field");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_message_of_a_conversation_is_left_out() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.post(&desa.json(&text(RARA, "3EB0H1", "satu")))
        .await
        .assert_kept();
    let reaction = json!({"reactionMessage": {"key": {"remoteJID": "x", "fromMe": false, "ID": "3EB0H1"}, "text": "👍"}});
    app.post(&desa.json(&message(RARA, "3EB0H2", &reaction)))
        .await
        .assert_kept();
    app.order(&desa, RARA, "chatwoot:x:1").await;
    app.until_status("chatwoot:x:1", "sent").await;
    let path = format!("/history?village_id=desa-satu&account_id={}", desa.account);
    let all = page(&app, &path).await;
    assert_eq!(all["data"].as_array().unwrap().len(), 2, "{all}");
    assert_eq!(ids(&all)[0], "3EB0H1");
    assert_eq!(
        (&all["data"][1]["direction"], &all["data"][1]["reference"]),
        (&json!("outbound"), &json!("chatwoot:x:1"))
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_accounts_of_a_tenant_are_its_own() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.tenant("desa-dua").await;
    let accounts = page(&app, "/accounts?village_id=desa-satu").await;
    assert_eq!(accounts["data"].as_array().unwrap().len(), 1, "{accounts}");
    let account = &accounts["data"][0];
    assert_eq!(
        (&account["id"], &account["provider"], &account["endpoint"]),
        (
            &json!(desa.account.to_string()),
            &json!("genfity"),
            &json!("Primary")
        )
    );
    assert_eq!(
        page(&app, "/accounts?village_id=desa-tiga").await["data"],
        json!([])
    );
    app.finish().await;
}
