//! What people edit and delete, as the history shows it.

use serde_json::{Value, json};
use test_support::eventually;

use crate::harness::{TestApp, message, text};

const RARA: &str = "6281290000011";

fn edited(id: &str, target: &str, words: &str) -> Value {
    let content = json!({"protocolMessage": {"key": {"ID": target}, "type": 14,
        "editedMessage": {"conversation": words}}});
    message(RARA, id, &content)
}

fn deleted(id: &str, target: &str) -> Value {
    message(
        RARA,
        id,
        &json!({"protocolMessage": {"key": {"ID": target}, "type": 0}}),
    )
}

async fn shown(app: &TestApp, id: &str) -> Value {
    app.rows(&format!(
        "SELECT body, edited_at IS NOT NULL AS edited, revoked_at IS NOT NULL AS revoked FROM messages \
         WHERE provider_message_id = '{id}'"
    ))
    .await
    .remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_edit_and_delete_shows_in_whatever_order_it_arrives() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let state =
        |body: &str, edited: bool, revoked: bool| json!({"body": body, "edited": edited, "revoked": revoked});
    let post = async |event: Value| app.post(&desa.json(&event)).await.assert_kept();

    post(text(RARA, "3EB0A", "awal")).await;
    post(edited("3EB0A1", "3EB0A", "kedua")).await;
    assert_eq!(shown(&app, "3EB0A").await, state("kedua", true, false));
    // An older edit that comes late changes nothing.
    let mut late = edited("3EB0A0", "3EB0A", "pertama");
    late["event"]["Info"]["Timestamp"] = json!("2026-03-02T09:15:04+07:00");
    post(late).await;
    assert_eq!(shown(&app, "3EB0A").await["body"], "kedua");
    post(deleted("3EB0A2", "3EB0A")).await;
    assert_eq!(shown(&app, "3EB0A").await, state("[message deleted]", true, true));
    post(edited("3EB0A3", "3EB0A", "hidup lagi")).await;
    assert_eq!(shown(&app, "3EB0A").await["body"], "[message deleted]");

    // The change first, its message afterwards.
    post(edited("3EB0B1", "3EB0B", "sudah diubah")).await;
    post(text(RARA, "3EB0B", "awal")).await;
    assert_eq!(shown(&app, "3EB0B").await, state("sudah diubah", true, false));
    post(deleted("3EB0C1", "3EB0C")).await;
    post(text(RARA, "3EB0C", "awal")).await;
    assert_eq!(
        shown(&app, "3EB0C").await,
        state("[message deleted]", false, true)
    );

    // Only who wrote a message changes it: not another person, and a person not what we wrote.
    let mut stranger = deleted("3EB0D1", "3EB0B");
    stranger["event"]["Info"]["Chat"] = json!("6281290000022@s.whatsapp.net");
    post(stranger).await;
    assert_eq!(shown(&app, "3EB0B").await["body"], "sudah diubah");
    app.order(&desa, RARA, "punya kami").await;
    app.until_status("punya kami", "sent").await;
    let ours = app.simulator.phone(RARA)[0].id.clone();
    post(deleted("3EB0D2", &ours)).await;
    assert_eq!(shown(&app, &ours).await, state("punya kami", false, false));
    // By hand on our own phone it is us.
    let mut by_hand = deleted("3EB0D3", &ours);
    by_hand["event"]["Info"]["IsFromMe"] = json!(true);
    post(by_hand).await;
    assert_eq!(shown(&app, &ours).await["revoked"], true);
    eventually("the original words stay", || async {
        let contents = app
            .values(&format!(
                "SELECT content AS value FROM messages WHERE provider_message_id = '{ours}'"
            ))
            .await;
        contents[0].as_str().unwrap().contains("punya kami").then_some(())
    })
    .await;
    app.finish().await;
}
