//! The dashboard's list of chats, one of them opened, read and deleted (contract channel-service 1.6, 4, 9.D7).

use std::sync::{Arc, Mutex};

use reqwest::Method;
use serde_json::{Value, json};
use test_support::eventually;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::harness::{INTERNAL_KEY, TestApp, Wishes, refusal, text};

const RARA: &str = "6281290000011";
const BIMA: &str = "6281290000022";
const VILLAGE: &str = "village_id=desa-satu";

async fn get(app: &TestApp, path: &str) -> Value {
    let separator = if path.contains('?') { '&' } else { '?' };
    let answer = app
        .internal(Method::GET, &format!("{path}{separator}{VILLAGE}"), None)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

fn identifiers(list: &Value) -> Vec<&str> {
    let rows = list["data"].as_array().unwrap().iter();
    rows.map(|row| row["channel_identifier"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_has_the_contracts_rows_newest_first() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let kept = app.post(&desa.json(&text(RARA, "3EB0C1", "pertama"))).await;
    kept.assert_kept();
    app.post(&desa.json(&text(RARA, "3EB0C2", "kedua")))
        .await
        .assert_kept();
    app.post(&desa.json(&text(BIMA, "3EB0C3", "dari Bima")))
        .await
        .assert_kept();
    let visitor = json!({"village_id": "desa-satu", "channel_identifier": "web_a", "message_text": "web", "direction": "IN"});
    app.internal(Method::POST, "/messages", Some(&visitor)).await;

    let list = get(&app, "/conversations").await;
    assert_eq!((&list["success"], &list["count"]), (&json!(true), &json!(3)));
    assert_eq!(identifiers(&list), ["web_a", BIMA, RARA]);
    let mut row = list["data"][2].clone();
    let fields = row.as_object_mut().unwrap();
    for time in ["last_message_at", "created_at", "updated_at"] {
        let time = fields.remove(time).unwrap();
        let time = time.as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    }
    assert!(fields.remove("id").unwrap().is_string());
    assert_eq!(
        row,
        json!({"village_id": "desa-satu", "wa_user_id": RARA, "channel": "WHATSAPP", "channel_identifier": RARA,
               "user_name": "Rara", "user_phone": RARA, "last_message": "kedua", "unread_count": 2,
               "is_takeover": false, "ai_status": null, "ai_error_message": null, "pending_message_id": null})
    );
    let web = &list["data"][0];
    assert_eq!(
        json!([
            web["wa_user_id"],
            web["channel"],
            web["unread_count"],
            web["user_phone"]
        ]),
        json!([null, "WEBCHAT", 1, null])
    );

    let path = format!("/takeover/{BIMA}?{VILLAGE}");
    app.internal(Method::POST, &path, Some(&json!({"admin_id": "a1"})))
        .await;
    assert_eq!(
        identifiers(&get(&app, "/conversations?status=takeover").await),
        [BIMA]
    );
    for other in ["bot", "whatever"] {
        let list = get(&app, &format!("/conversations?status={other}")).await;
        assert_eq!(identifiers(&list), ["web_a", RARA]);
    }
    assert_eq!(
        identifiers(&get(&app, "/conversations?status=all&limit=1").await),
        ["web_a"]
    );
    for odd in ["0", "-3"] {
        assert_eq!(
            get(&app, &format!("/conversations?limit={odd}")).await["count"],
            1
        );
    }
    for odd in ["x", "99999999999999999999", ""] {
        assert_eq!(
            get(&app, &format!("/conversations?limit={odd}")).await["count"],
            3
        );
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_a_chat_shows_it_and_reads_it() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.post(&desa.json(&text(RARA, "3EB0O1", "pertama")))
        .await
        .assert_kept();
    app.post(&desa.json(&text(RARA, "3EB0O2", "kedua")))
        .await
        .assert_kept();
    app.post(&desa.json(&text(BIMA, "3EB0O3", "lain")))
        .await
        .assert_kept();

    let opened = get(&app, &format!("/conversations/{RARA}")).await;
    let data = &opened["data"];
    assert_eq!(data["conversation"]["unread_count"], 0, "it is open now");
    assert_eq!(
        (&data["is_takeover"], &data["takeover_session"]),
        (&json!(false), &Value::Null)
    );
    let rows = data["messages"].as_array().unwrap();
    assert_eq!(
        json!([rows[0]["message_text"], rows[1]["message_text"]]),
        json!(["pertama", "kedua"])
    );
    let mut row = rows[0].clone();
    let fields = row.as_object_mut().unwrap();
    for generated in ["id", "timestamp", "createdAt"] {
        assert!(fields.remove(generated).unwrap().is_string());
    }
    assert_eq!(
        row,
        json!({"village_id": "desa-satu", "wa_user_id": RARA, "channel": "WHATSAPP", "channel_identifier": RARA,
               "message_id": "3EB0O1", "message_text": "pertama", "direction": "IN", "source": "WA_WEBHOOK"})
    );
    // Every spelling is the same person.
    let spelled = get(&app, &format!("/conversations/{RARA}%40s.whatsapp.net?limit=1")).await;
    assert_eq!(spelled["data"]["messages"][0]["message_text"], "kedua");
    let unread = app
        .values("SELECT unread AS value FROM chats ORDER BY address")
        .await;
    assert_eq!(unread, [json!(0), json!(1)], "the other chat stays unread");

    let path = format!("/conversations/{BIMA}/read?{VILLAGE}");
    for _ in 0..2 {
        let answer = app.internal(Method::POST, &path, None).await;
        assert_eq!(
            (answer.status, answer.json()),
            (
                200,
                json!({"success": true, "message": "Conversation marked as read"})
            )
        );
    }
    let unread = app.values("SELECT sum(unread) AS value FROM chats").await;
    assert_eq!(unread, [json!(0)]);
    let nobody = format!("/conversations/siapa/read?{VILLAGE}");
    assert_eq!(app.internal(Method::POST, &nobody, None).await.status, 200);
    let empty = json!({"success": true, "data": {"conversation": null, "messages": [], "is_takeover": false, "takeover_session": null}});
    for nobody in ["628110000000", "siapa", "%00", "web_x"] {
        assert_eq!(
            get(&app, &format!("/conversations/{nobody}")).await,
            empty,
            "{nobody}"
        );
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_chat_is_gone_with_everything_but_the_ledger() {
    let app = TestApp::with(Wishes {
        retry_first_ms: "60000",
        retry_cap_ms: "60000",
        ..Wishes::default()
    })
    .await;
    let (desa, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    let event = text(RARA, "3EB0D1", "rahasia");
    app.post(&desa.json(&event)).await.assert_kept();
    app.post(&dua.json(&event)).await.assert_kept();
    app.post(&desa.json(&text(BIMA, "3EB0D2", "tetap")))
        .await
        .assert_kept();
    let path = format!("/takeover/{RARA}?{VILLAGE}");
    app.internal(Method::POST, &path, Some(&json!({"admin_id": "a1"})))
        .await;
    // One that is still being tried.
    app.sends_fail(refusal(500, "no session", None), 1);
    app.order(&desa, RARA, "menunggu").await;
    eventually("the first attempt failed", || async {
        (app.count("send_attempts").await == 1).then_some(())
    })
    .await;

    let path = format!("/conversations/{RARA}?{VILLAGE}");
    for _ in 0..2 {
        let answer = app.internal(Method::DELETE, &path, None).await;
        assert_eq!(
            (answer.status, answer.json()),
            (
                200,
                json!({"success": true, "message": "Conversation and message history deleted"})
            )
        );
    }
    for table in ["takeovers", "send_attempts", "lane_tasks", "lanes"] {
        assert_eq!(app.count(table).await, 0, "{table}");
    }
    let left = app
        .rows("SELECT tenant_id, body FROM messages ORDER BY tenant_id, body")
        .await;
    assert_eq!(
        left,
        [
            json!({"tenant_id": "desa-dua", "body": "rahasia"}),
            json!({"tenant_id": "desa-satu", "body": "tetap"})
        ]
    );
    let acts = app
        .rows("SELECT actor, action, detail FROM audit_log WHERE action = 'conversation.delete'")
        .await;
    assert_eq!(
        acts,
        [
            json!({"actor": "internal", "action": "conversation.delete", "detail": "2 messages, 1 not yet sent"})
        ]
    );
    // The webhook comes again, and brings nothing back. What is new begins a new chat.
    app.post(&desa.json(&event))
        .await
        .assert_done("Duplicate message");
    app.post(&desa.json(&text(RARA, "3EB0D4", "baru")))
        .await
        .assert_kept();
    let opened = get(&app, &format!("/conversations/{RARA}")).await;
    assert_eq!(opened["data"]["messages"].as_array().unwrap().len(), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_in_the_middle_of_a_send_leaves_nothing_behind() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.sends_fail(simulator::FaultKind::Delay { ms: 1_000 }, 1);
    app.order(&desa, RARA, "di tengah").await;
    eventually("it is under way", || async {
        let faults = app.simulator.faults();
        faults.iter().all(|fault| fault.hits > 0).then_some(())
    })
    .await;
    let path = format!("/conversations/{RARA}?{VILLAGE}");
    assert_eq!(app.internal(Method::DELETE, &path, None).await.status, 200);
    eventually("the phone has it", || async {
        (!app.texts_on(RARA).is_empty()).then_some(())
    })
    .await;
    // A later message is sent and recorded as ever, behind whatever was written about the one before.
    app.order(&desa, RARA, "sesudahnya").await;
    app.until_status("sesudahnya", "sent").await;
    assert_eq!(
        app.values("SELECT body AS value FROM messages").await,
        [json!("sesudahnya")]
    );
    assert_eq!(app.count("send_attempts").await, 1);
    assert_eq!(app.count("lane_tasks").await, 0);
    app.finish().await;
}

/// Somebody who answers 200 to everything and remembers what was asked.
async fn listener() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !String::from_utf8_lossy(&request).ends_with('}') {
                match socket.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(length) => request.extend_from_slice(&buffer[..length]),
                }
            }
            kept.lock().unwrap().push(String::from_utf8(request).unwrap());
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
            socket.write_all(answer).await.ok();
        }
    });
    (url, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ai_is_asked_to_forget_a_deleted_person_with_the_key() {
    let (url, asked) = listener().await;
    let app = TestApp::with(Wishes {
        ai_service_url: Some(url),
        ..Wishes::default()
    })
    .await;
    app.bare_tenant("desa-satu").await;
    let path = format!("/conversations/web_k3j9?channel=WEBCHAT&{VILLAGE}");
    assert_eq!(app.internal(Method::DELETE, &path, None).await.status, 200);
    let request = eventually("the AI was asked", || async { asked.lock().unwrap().pop() }).await;
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("POST /admin/cache/clear-user HTTP/1.1"),
        "{head}"
    );
    assert!(
        head.contains(&format!("x-internal-api-key: {INTERNAL_KEY}")),
        "{head}"
    );
    assert_eq!(
        serde_json::from_str::<Value>(body).unwrap(),
        json!({"userId": "web_k3j9"})
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ai_service_that_is_away_harms_no_delete() {
    let app = TestApp::with(Wishes {
        ai_service_url: Some("http://127.0.0.1:1".to_owned()),
        ..Wishes::default()
    })
    .await;
    let desa = app.tenant("desa-satu").await;
    app.post(&desa.json(&text(RARA, "3EB0F1", "halo")))
        .await
        .assert_kept();
    let path = format!("/conversations/{RARA}?{VILLAGE}");
    assert_eq!(app.internal(Method::DELETE, &path, None).await.status, 200);
    assert_eq!(app.count("chats").await, 0);
    app.finish().await;
}
