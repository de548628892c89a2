//! Files at the gate: put up, sent, fetched, deleted, and nobody else's.

use reqwest::Method;
use serde_json::{Value, json};
use test_support::eventually;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::gate_world::{Client, refused};
use crate::harness::{Answer, TestApp, Wishes};

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
    // A number that is named has to be the one that the file was put up for.
    app.run_sql(
        "INSERT INTO accounts (tenant_id, id, provider, endpoint, instance_name) \
         VALUES ('desa-dua', gen_random_uuid(), 'genfity', 'Primary', 'desa-dua-lain')",
    )
    .await;
    let second = app
        .values("SELECT gate_number AS value FROM accounts WHERE instance_name = 'desa-dua-lain'")
        .await;
    let path = format!("{id}?phone_number_id={}", second[0].as_str().unwrap());
    for method in [Method::GET, Method::DELETE] {
        let answer = theirs.call(method, &path, None).await;
        assert_eq!(refused(&answer), (400, 100, Some(33)));
    }
    app.finish().await;
}

/// What Meta would say of a file, whatever it says of it.
fn full(answer: &Answer) {
    assert_eq!(refused(answer), (400, 131_053, None), "{}", answer.text);
    assert!(answer.text.contains("may hold"), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_holds_so_many_files_and_so_many_bytes_at_once() {
    let app = TestApp::with(Wishes {
        settings: &[
            ("GATE_MEDIA_FILES_PER_TENANT", "2"),
            ("GATE_MEDIA_BYTES_PER_TENANT", "1000"),
        ],
        ..Wishes::default()
    })
    .await;
    app.tenant("desa-satu").await;
    app.tenant("desa-dua").await;
    let client = Client::of(&app, "desa-satu").await;
    let other = Client::of(&app, "desa-dua").await;
    let put = |bytes: usize| {
        let client = &client;
        async move { client.put_up("a.jpg", "image/jpeg", &jpeg(bytes)).await }
    };
    let first = put_up(&client, &jpeg(600)).await;
    full(&put(401).await);
    put_up(&client, &jpeg(300)).await;
    full(&put(20).await);
    // Another tenant's files are its own.
    put_up(&other, &jpeg(1_000)).await;
    full(&other.put_up("a.jpg", "image/jpeg", &jpeg(20)).await);
    let answer = client.call(Method::DELETE, &first, None).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    // Of many at the same moment as many are kept as there is room for.
    let answers = futures_util::future::join_all((0..6).map(|_| put(20))).await;
    let kept = answers.iter().filter(|answer| answer.status == 200).count();
    answers
        .iter()
        .filter(|answer| answer.status != 200)
        .for_each(full);
    assert_eq!(kept, 1);
    eventually("only what is kept lies in the store", || async {
        app.objects()
            .len()
            .eq(&(3 + usize::try_from(app.count("media_garbage").await).unwrap()))
            .then_some(())
    })
    .await;
    app.finish().await;
}

/// A form whose file has come whole, and whose next field never does.
async fn half_a_form(client: &Client<'_>, file: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(client.app.address).await.unwrap();
    let head = format!(
        "POST /graph/v22.0/{}/media HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {}\r\n\
         content-type: multipart/form-data; boundary=x\r\ncontent-length: 90000000\r\n\r\n--x\r\n\
         content-disposition: form-data; name=\"file\"; filename=\"a\"\r\ncontent-type: application/pdf\r\n\r\n",
        client.number, client.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(file).await.unwrap();
    let rest = "\r\n--x\r\ncontent-disposition: form-data; name=\"messaging_product\"\r\n\r\nwhats";
    stream.write_all(rest.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_form_that_breaks_off_nothing_stays() {
    let app = TestApp::spawn().await;
    app.tenant("desa-satu").await;
    let client = Client::of(&app, "desa-satu").await;
    let mut pdf = b"%PDF-1.4\n".to_vec();
    pdf.resize(6_000_000, b' ');
    // One in the middle of a file that is written in parts.
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let head = format!(
        "POST /graph/v22.0/{}/media HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {}\r\n\
         content-type: multipart/form-data; boundary=x\r\ncontent-length: 90000000\r\n\r\n--x\r\n\
         content-disposition: form-data; name=\"file\"\r\ncontent-type: application/pdf\r\n\r\n",
        client.number, client.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&pdf).await.unwrap();
    eventually("parts are written", || async {
        (!app.objects().is_empty()).then_some(())
    })
    .await;
    drop(stream);
    let gone = || async { app.objects().is_empty().then_some(()) };
    eventually("the parts are gone", gone).await;
    // As many as a tenant may have on their way, each with its file in the store.
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(half_a_form(&client, &pdf[..100]).await);
    }
    eventually("eight files are there", || async {
        (app.objects().len() == 8).then_some(())
    })
    .await;
    let answer = client.put_up("a.jpg", "image/jpeg", &jpeg(100)).await;
    assert_eq!(refused(&answer), (400, 80_007, None), "{}", answer.text);
    assert!(answer.headers.contains_key("retry-after"));
    drop(streams);
    eventually("the files are gone", gone).await;
    // Whole, and not what it should be.
    let url = format!("{}/graph/v22.0/{}/media", app.url, client.number);
    let file = reqwest::multipart::Part::bytes(jpeg(100))
        .mime_str("image/jpeg")
        .unwrap();
    let form = reqwest::multipart::Form::new().part("file", file);
    let request = app.http().post(url).bearer_auth(&client.token).multipart(form);
    let answer = Answer::of(request.send().await.unwrap()).await;
    assert_eq!(refused(&answer), (400, 131_009, None));
    eventually("its file is gone", gone).await;
    assert_eq!(app.count("gate_media").await, 0);
    // Their places are free again.
    put_up(&client, &jpeg(100)).await;
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
