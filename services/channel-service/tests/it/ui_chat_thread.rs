//! A chat's page in the dashboard: every kind of message as it was written, and long chats backwards.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::harness::{TestApp, message, text};
use crate::media::{jpeg, with_inline};
use crate::ui_chats::{Browser, RARA, assert_has, assert_lacks, chat_with, id_of, kept, named};

fn title(page: &str) -> &str {
    let (_, rest) = page.split_once("<title>").unwrap();
    rest.split_once("</title>").unwrap().0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_write_is_shown_as_they_wrote_it_and_nothing_of_it_runs() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let evil = "</p><script>alert(1)</script>";
    let shown = "&#60;script&#62;alert(1)&#60;/script&#62;";
    kept(
        &app,
        &desa,
        &named(
            text(RARA, "3EB0X1", &format!("teks {evil}")),
            &format!("Rara {evil}"),
        ),
    )
    .await;
    let document = json!({"documentMessage": {"mimetype": "application/pdf", "fileName": format!("{evil}.pdf"),
                          "caption": format!("keterangan {evil}")}});
    let mut document = message(RARA, "3EB0X2", &document);
    document["base64"] = json!(BASE64.encode(b"%PDF-1.7\n%%EOF"));
    document["mimeType"] = json!("application/pdf");
    kept(&app, &desa, &document).await;
    let path = chat_with(&app, "desa-satu", RARA).await;
    let admin = Browser::admin(&app, "desa-satu").await;
    for page in [admin.page(&path).await, admin.page("desa-satu/chats").await] {
        assert_lacks(&page, &["<script>alert"]);
        assert_has(&page, &[shown]);
        assert_lacks(title(&page), &["Rara", "teks", "62812"]);
    }
    let answer = admin.get(&path).await;
    let policy = answer.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.contains("script-src 'self';") && policy.contains("default-src 'none'"),
        "{policy}"
    );
    assert_eq!(answer.headers["cache-control"], "no-store");
    // What was not taken comes back as it was written.
    let back = admin
        .send(&path, "", &format!("</textarea>{evil}"), "", None)
        .await;
    assert_lacks(&back.text, &["<script>alert", "</textarea></p>"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_message_can_be_read() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let admin = Browser::admin(&app, "desa-satu").await;
    let at = std::cell::Cell::new(1_770_000_000_i64);
    let said = |id: &str, content: Value| {
        at.set(at.get() + 60);
        let mut event = message(RARA, id, &content);
        let time = chrono::DateTime::from_timestamp(at.get(), 0).unwrap();
        event["event"]["Info"]["Timestamp"] = json!(time.to_rfc3339());
        event
    };
    kept(
        &app,
        &desa,
        &said("3EB0K1", json!({"conversation": "pertanyaan pertama"})),
    )
    .await;
    let picture = json!({"imageMessage": {"mimetype": "image/jpeg", "caption": "jalan rusak"}});
    kept(&app, &desa, &with_inline(said("3EB0K2", picture), &jpeg(400))).await;
    let nothing = json!({"imageMessage": {"mimetype": "image/jpeg"}});
    kept(&app, &desa, &said("3EB0KN", nothing)).await;
    let program = json!({"documentMessage": {"mimetype": "application/pdf", "fileName": "tagihan.pdf"}});
    let mut program = said("3EB0K3", program);
    program["base64"] = json!(BASE64.encode(b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0\xb8\0\0\0\0\0\0\0"));
    kept(&app, &desa, &program).await;
    let place = json!({"locationMessage": {"degreesLatitude": -5.1477, "degreesLongitude": 119.4327, "name": "Balai Desa"}});
    kept(&app, &desa, &said("3EB0K4", place)).await;
    let card = "BEGIN:VCARD\nVERSION:3.0\nFN:Pak Lurah\nTEL;type=CELL:+62 813-1111-2222\nEND:VCARD";
    let card = json!({"contactMessage": {"displayName": "Pak Lurah", "vcard": card}});
    kept(&app, &desa, &said("3EB0K5", card)).await;
    let poll = json!({"pollCreationMessage": {"name": "Kapan rapat?", "selectableOptionsCount": 1,
                      "options": [{"optionName": "Sabtu"}, {"optionName": "Minggu"}]}});
    kept(&app, &desa, &said("3EB0K6", poll)).await;
    let answer = json!({"extendedTextMessage": {"text": "jawaban", "contextInfo": {"stanzaId": "3EB0K1",
                        "participant": format!("{RARA}@s.whatsapp.net"), "quotedMessage": {"conversation": "x"}}}});
    kept(&app, &desa, &said("3EB0K7", answer)).await;
    let reaction = json!({"reactionMessage": {"key": {"ID": "3EB0K1"}, "text": "👍"}});
    kept(&app, &desa, &said("3EB0K8", reaction)).await;
    let edit = json!({"protocolMessage": {"key": {"ID": "3EB0K7"}, "type": 14,
                      "editedMessage": {"conversation": "jawaban yang diubah"}}});
    kept(&app, &desa, &said("3EB0K9", edit)).await;
    kept(
        &app,
        &desa,
        &said("3EB0KA", json!({"conversation": "akan dihapus"})),
    )
    .await;
    kept(
        &app,
        &desa,
        &said(
            "3EB0KB",
            json!({"protocolMessage": {"key": {"ID": "3EB0KA"}, "type": 0}}),
        ),
    )
    .await;
    kept(
        &app,
        &desa,
        &said("3EB0KC", json!({"conversation": "x".repeat(4_000)})),
    )
    .await;
    let first = id_of(&app, "3EB0K1").await;

    let path = chat_with(&app, "desa-satu", RARA).await;
    let page = admin.page(&path).await;
    assert_has(
        &page,
        &[
            "pertanyaan pertama",
            "<img src=\"/uploads/media/",
            "loading=\"lazy\"",
            "jalan rusak",
            "tagihan.pdf",
            "not handed out: it is a program",
            "The message brought no file.",
            "Balai Desa",
            "-5.14770, 119.43270",
            "class=\"sketch\"",
            "Pak Lurah",
            "+62 813-1111-2222",
            "Kapan rapat?",
            "Minggu",
            &format!("href=\"#m-{first}\""),
            "👍",
            "jawaban yang diubah",
            "edited",
            "This message was deleted",
            "Show all of it",
            "2 Feb 2026",
        ],
    );
    assert_lacks(&page, &["akan dihapus", "files.example", &"x".repeat(3_100)]);
    // Edits, deletions and reactions are seen on what they are about, and nowhere else.
    assert_eq!(page.matches("<article").count(), 10);
    let (_, rest) = page.split_once("<img src=\"").unwrap();
    let link = rest.split('"').next().unwrap();
    let file = app.http().get(format!("{}{link}", app.url)).send().await.unwrap();
    assert_eq!(
        (
            file.status().as_u16(),
            file.headers()["content-type"].to_str().unwrap()
        ),
        (200, "image/jpeg")
    );
    let long = id_of(&app, "3EB0KC").await;
    let whole = admin.page(&format!("{path}?with={long}&whole={long}")).await;
    assert_has(&whole, &[&"x".repeat(4_000), "To the newest messages"]);
    let early = admin.page(&format!("{path}?with={first}")).await;
    assert_eq!(early.matches("<article").count(), 1);
    assert_lacks(&early, &["hx-sse:connect"]);
    assert_eq!(
        admin
            .get(&format!("{path}?before={}", uuid::Uuid::now_v7()))
            .await
            .status,
        404
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_chat_is_read_backwards_page_by_page() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    kept(&app, &desa, &text(RARA, "3EB0B1", "yang terbaru")).await;
    let path = chat_with(&app, "desa-satu", RARA).await;
    let chat = path.rsplit('/').next().unwrap();
    app.run_sql(&format!(
        "INSERT INTO messages (tenant_id, id, account_id, chat_id, direction, source, provider_message_id, kind, body, \
                               content, sent_at, status) \
         SELECT 'desa-satu', gen_random_uuid(), '{account}', '{chat}', 'inbound', 'webhook', 'OLD' || n, 'text', \
                'pesan ' || n || '.', json_build_object('kind', 'text', 'text', 'pesan ' || n || '.')::text, \
                now() - interval '1 day' - (n / 3) * interval '1 minute', 'delivered' FROM generate_series(1, 120) n",
        account = desa.account
    ))
    .await;
    let admin = Browser::admin(&app, "desa-satu").await;
    let (mut seen, mut at) = (0, path.clone());
    for _ in 0..3 {
        let page = admin.page(&at).await;
        seen += page.matches("<article").count();
        let Some((_, rest)) = page.split_once("?before=") else {
            break;
        };
        at = format!("{path}?before={}", &rest[..36]);
    }
    assert_eq!(seen, 121);
    app.finish().await;
}
