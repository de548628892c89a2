//! Files at the gate: put up, sent, fetched, deleted, and nobody else's.

use reqwest::Method;
use serde_json::{Value, json};
use test_support::eventually;

use crate::gate_world::{Client, refused};
use crate::harness::{TestApp, Wishes};

const RARA: &str = "6281290000011";

fn jpeg(bytes: usize) -> Vec<u8> {
    let mut jpeg = b"\xff\xd8\xff\xe0\0\x10JFIF\0".to_vec();
    jpeg.resize(bytes, 7);
    jpeg
}

async fn put_up(client: &Client<'_>, bytes: &[u8]) -> String {
    let answer = client.put_up("peta.jpg", "image/jpeg", bytes).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert!(id.bytes().all(|b| b.is_ascii_digit()), "{id}");
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_put_up_is_fetched_and_sent() {
    let app = TestApp::with(Wishes {
        settings: &[("MEDIA_PUBLIC_URL", "http://files.example/uploads")],
        ..Wishes::default()
    })
    .await;
    app.tenant("desa-satu").await;
    let client = Client::of(&app, "desa-satu").await;
    // Larger than what is in memory at once.
    let bytes = jpeg(600_000);
    let id = put_up(&client, &bytes).await;
    let told = client.call(Method::GET, &id, None).await;
    assert_eq!(told.status, 200, "{}", told.text);
    let told = told.json();
    assert_eq!(
        (&told["mime_type"], &told["file_size"], &told["id"]),
        (&json!("image/jpeg"), &json!(600_000), &json!(id))
    );
    assert_eq!(told["sha256"].as_str().unwrap().len(), 64);
    let url = told["url"]
        .as_str()
        .unwrap()
        .replace("http://files.example", &app.url);
    let answer = app
        .http()
        .get(&url)
        .bearer_auth(&client.token)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.unwrap() == bytes);
    client
        .send(json!({"to": RARA, "type": "image", "image": {"id": id, "caption": "Peta"}}))
        .await;
    eventually("the picture is there", || async {
        app.simulator
            .phone(RARA)
            .iter()
            .any(|message| format!("{message:?}").contains("Peta"))
            .then_some(())
    })
    .await;
    let answer = client.call(Method::DELETE, &id, None).await;
    assert_eq!(answer.json(), json!({"success": true}));
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(
            refused(&client.call(method, &id, None).await),
            (400, 100, Some(33))
        );
    }
    let gone = app.http().get(&url).send().await.unwrap();
    assert_eq!(gone.status(), 404);
    assert_eq!(app.count("media_garbage").await, 1, "the object goes, too");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_tenants_file_does_not_exist() {
    let app = TestApp::spawn().await;
    app.tenant("desa-satu").await;
    app.tenant("desa-dua").await;
    let (ours, theirs) = (
        Client::of(&app, "desa-satu").await,
        Client::of(&app, "desa-dua").await,
    );
    let id = put_up(&theirs, &jpeg(100)).await;
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(refused(&ours.call(method, &id, None).await), (400, 100, Some(33)));
    }
    let image = json!({"to": RARA, "type": "image", "image": {"id": id}});
    assert_eq!(refused(&ours.post(image).await), (400, 100, Some(33)));
    // Nor may it be put up for another tenant's number.
    let path = format!("{id}?phone_number_id={}", ours.number);
    assert_eq!(
        refused(&theirs.call(Method::GET, &path, None).await),
        (400, 100, Some(33))
    );
    let stranger = Client {
        number: theirs.number.clone(),
        ..ours
    };
    let answer = stranger.put_up("a.jpg", "image/jpeg", &jpeg(100)).await;
    assert_eq!(refused(&answer), (400, 100, Some(33)));
    let path = format!("{id}?phone_number_id={}", theirs.number);
    assert_eq!(theirs.call(Method::GET, &path, None).await.status, 200);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_what_it_says_and_not_too_large() {
    let app = TestApp::spawn().await;
    app.tenant("desa-satu").await;
    let client = Client::of(&app, "desa-satu").await;
    for (mime_type, bytes) in [
        ("image/jpeg", b"MZ\x90\0 this program".to_vec()),
        ("image/jpeg", jpeg(5_000_001)),
        ("image/jpeg", Vec::new()),
        ("text/plain", b"<html><script>alert(1)</script>".to_vec()),
    ] {
        let answer = client.put_up("a", mime_type, &bytes).await;
        assert_eq!(
            refused(&answer),
            (400, 131_053, None),
            "{mime_type} {}",
            bytes.len()
        );
    }
    let url = format!("{}/graph/v22.0/{}/media", app.url, client.number);
    let forms: [fn() -> reqwest::multipart::Form; 2] = [
        || reqwest::multipart::Form::new().text("messaging_product", "whatsapp"),
        || reqwest::multipart::Form::new().text("type", "x".repeat(2_000)),
    ];
    for form in forms {
        let request = app.http().post(&url).bearer_auth(&client.token).multipart(form());
        let answer = crate::harness::Answer::of(request.send().await.unwrap()).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
    }
    let request = app
        .http()
        .post(&url)
        .bearer_auth(&client.token)
        .json(&Value::Null);
    let answer = crate::harness::Answer::of(request.send().await.unwrap()).await;
    assert_eq!(refused(&answer), (400, 100, None));
    assert_eq!(app.count("gate_media").await, 0);
    app.finish().await;
}
