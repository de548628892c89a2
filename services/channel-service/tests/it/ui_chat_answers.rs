//! Answers from the dashboard's page of a chat, with words and files: out once, with what becomes of them, and explained
//! where they may not go out.

use serde_json::json;
use test_support::eventually;

use crate::cloud_world;
use crate::harness::{TestApp, receipt, refusal, text};
use crate::media::jpeg;
use crate::ui_chats::{Browser, RARA, assert_has, chat_with, id_of, kept, location};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_goes_out_once_and_shows_what_becomes_of_it() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    kept(&app, &desa, &text(RARA, "3EB0S1", "kapan buka?")).await;
    let path = chat_with(&app, "desa-satu", RARA).await;
    let admin = Browser::admin(&app, "desa-satu").await;
    let asked = id_of(&app, "3EB0S1").await;
    assert_has(
        &admin.page(&format!("{path}?answer={asked}")).await,
        &["You answer", "autofocus"],
    );
    for _ in 0..2 {
        let answer = admin
            .send(&path, "form-1", "Jam delapan\r\npagi", &asked, None)
            .await;
        assert_eq!(location(&answer), format!("/dashboard/t/{path}"));
    }
    eventually("the answer is on the phone", || async {
        (app.texts_on(RARA) == ["Jam delapan\npagi"]).then_some(())
    })
    .await;
    assert_eq!(
        app.values("SELECT quoted AS value FROM messages WHERE direction = 'outbound'")
            .await,
        [json!("3EB0S1")]
    );
    let page = eventually("it is shown as sent", || async {
        let page = admin.page(&path).await;
        page.contains(">Sent</a>").then_some(page)
    })
    .await;
    let mine = app
        .rows("SELECT id, provider_message_id FROM messages WHERE direction = 'outbound'")
        .await
        .remove(0);
    assert_has(
        &page,
        &[
            "Jam delapan\npagi",
            "Dashboard",
            &format!("/dashboard/t/desa-satu/messages/{}", mine["id"].as_str().unwrap()),
        ],
    );
    let read = receipt(RARA, &[mine["provider_message_id"].as_str().unwrap()], "Read");
    assert_eq!(app.post(&desa.json(&read)).await.status, 200);
    eventually("it is shown as read", || async {
        admin.page(&path).await.contains(">Read</a>").then_some(())
    })
    .await;

    // The same form with other words is not taken for the first, and not lost.
    let other = admin.send(&path, "form-1", "Jam sembilan", "", None).await;
    assert_eq!(other.status, 409);
    assert_has(&other.text, &["Jam sembilan</textarea>", "sent before"]);
    let nothing = admin.send(&path, "form-2", " \r\n ", "", None).await;
    assert_eq!(nothing.status, 422);
    assert_has(&nothing.text, &["Write something, or choose a file."]);
    let endless = admin.send(&path, "form-3", &"a".repeat(70_000), "", None).await;
    assert_eq!(endless.status, 422);
    assert_has(&endless.text, &["at most 65,536 characters", &"a".repeat(60_000)]);

    app.sends_fail(refusal(400, "no such number", None), 50);
    location(&admin.send(&path, "form-4", "tidak sampai", "", None).await);
    eventually("it is shown as not sent, with the reason", || async {
        let page = admin.page(&path).await;
        (page.contains("Not sent") && page.contains("tidak sampai")).then_some(())
    })
    .await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_goes_out_once_and_is_seen_in_the_thread() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    kept(&app, &desa, &text(RARA, "3EB0D1", "kirim fotonya")).await;
    let path = chat_with(&app, "desa-satu", RARA).await;
    let admin = Browser::admin(&app, "desa-satu").await;
    let bytes = jpeg(2_000);
    let file = Some(("foto <1>.jpg", "image/jpeg", bytes.as_slice()));
    for _ in 0..2 {
        location(&admin.send(&path, "form-1", "ini fotonya", "", file).await);
    }
    let got = eventually("the picture is on the phone", || async {
        let mut got = app.simulator.phone(RARA);
        got.pop()
    })
    .await;
    assert_eq!(got.kind, "image");
    assert_eq!(app.count("messages").await, 2);
    assert_eq!(app.count("gate_media").await, 1);
    let page = admin.page(&path).await;
    assert_has(&page, &["<img src=\"/uploads/media/", "ini fotonya"]);
    let (_, rest) = page.split_once("<img src=\"").unwrap();
    let link = rest.split('"').next().unwrap();
    let shown = app.http().get(format!("{}{link}", app.url)).send().await.unwrap();
    assert_eq!(shown.bytes().await.unwrap(), bytes);
    // Another file in the same form is another message.
    let other = jpeg(3_000);
    let file = Some(("foto.jpg", "image/jpeg", other.as_slice()));
    location(&admin.send(&path, "form-1", "ini fotonya", "", file).await);
    assert_eq!(app.count("messages").await, 3);

    for (name, kind, bytes, status, words) in [
        (
            "besar.jpg",
            "image/jpeg",
            jpeg(5_000_001),
            413,
            "takes at most 5.0 MB",
        ),
        (
            "kosong.pdf",
            "application/pdf",
            Vec::new(),
            422,
            "The file is empty",
        ),
        (
            "a.pdf",
            "application/pdf",
            b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0\xb8\0\0\0\0\0\0\0".to_vec(),
            422,
            "it is a program",
        ),
    ] {
        let answer = admin
            .send(
                &path,
                "form-2",
                "kata-kataku",
                "",
                Some((name, kind, bytes.as_slice())),
            )
            .await;
        assert_eq!(answer.status, status, "{name}");
        assert_has(&answer.text, &[words, "kata-kataku</textarea>"]);
    }
    assert_eq!(app.count("messages").await, 3);
    // Long afterwards the file is gone, and its message is not.
    app.run_sql("UPDATE gate_media SET expires_at = now() - interval '1 hour'")
        .await;
    assert_has(
        &admin.page(&path).await,
        &["not kept here (any more)", "ini fotonya"],
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_window_is_explained_before_and_after() {
    let app = cloud_world::spawn().await;
    let number = cloud_world::number(&app, "desa-satu", "Meta", cloud_world::SATU).await;
    let long_ago = cloud_world::now() - 26 * 3_600;
    let words = cloud_world::text_at(RARA, &cloud_world::wamid(), long_ago, "halo");
    cloud_world::accepted(&app, &number.texts(&[words])).await;
    let path = chat_with(&app, "desa-satu", RARA).await;
    let admin = Browser::admin(&app, "desa-satu").await;
    assert_has(
        &admin.page(&path).await,
        &["within the last 24 hours", "id=\"answer\""],
    );
    let late = admin.send(&path, "form-1", "masih di sana?", "", None).await;
    assert_eq!(late.status, 409);
    assert_has(&late.text, &["send a template", "masih di sana?</textarea>"]);
    let words = cloud_world::text(RARA, &cloud_world::wamid(), "masih");
    cloud_world::accepted(&app, &number.texts(&[words])).await;
    assert_has(
        &admin.page(&path).await,
        &["WhatsApp lets you write freely here until"],
    );
    location(&admin.send(&path, "form-1", "masih di sana?", "", None).await);
    app.finish().await;
}
