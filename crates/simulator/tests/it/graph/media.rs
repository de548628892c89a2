use reqwest::{Method, Response};
use serde_json::{Value, json};
use simulator::{
    GraphCall, GraphInbound, GraphInboundMedia, GraphTrouble, GraphTroubleKind, NewGraphNumber, Simulator,
};

use super::{Answered, NUMBER, PERSON, TOKEN, call, get, number, read, send, value};
use crate::receiver::Receiver;
use crate::{client, eventually, start};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nand more";

/// A body as HTTP clients write it.
async fn upload(simulator: &Simulator, kind: &str, name: &str, bytes: &[u8]) -> Answered {
    let mut body = Vec::new();
    for (field, text) in [("messaging_product", "whatsapp"), ("type", kind)] {
        let part = format!("--xx\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n{text}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    let head = format!(
        "--xx\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n"
    );
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(bytes);
    body.extend_from_slice(b"\r\n--xx--\r\n");
    let request = client()
        .post(format!("{}/v22.0/{NUMBER}/media", simulator.graph_url()))
        .bearer_auth(TOKEN)
        .header("content-type", "multipart/form-data; boundary=xx")
        .body(body);
    read(request.send().await.unwrap()).await
}

async fn download(url: &str, token: &str) -> Response {
    client().get(url).bearer_auth(token).send().await.unwrap()
}

#[tokio::test]
async fn a_file_is_uploaded_described_downloaded_sent_and_deleted() {
    let simulator = start().await;
    number(&simulator, None);
    let uploaded = upload(&simulator, "image/png", "peta.png", PNG).await;
    let id = uploaded.json["id"].as_str().unwrap().to_owned();
    let told = get(&simulator, &format!("/{id}?phone_number_id={NUMBER}"))
        .await
        .json;
    assert_eq!(
        (
            &told["mime_type"],
            &told["file_size"],
            &told["id"],
            &told["messaging_product"]
        ),
        (
            &json!("image/png"),
            &json!(PNG.len()),
            &json!(id),
            &json!("whatsapp")
        )
    );
    assert_eq!(told["sha256"], simulator.graph_media()[0].sha256);
    assert_eq!(told["sha256"].as_str().unwrap().len(), 64);
    let url = told["url"].as_str().unwrap();
    let got = download(url, TOKEN).await;
    assert_eq!(got.headers()["content-type"], "image/png");
    assert_eq!(&got.bytes().await.unwrap()[..], PNG);
    assert_eq!(simulator.graph_media()[0].downloads, 1);
    assert_eq!(
        client().get(url).send().await.unwrap().status(),
        404,
        "without a token"
    );
    assert_eq!(download(url, "made-up").await.status(), 404);

    let image = |id: &str, kind: &str| json!({"messaging_product": "whatsapp", "to": PERSON, "type": kind, kind: {"id": id}});
    assert_eq!(send(&simulator, image(&id, "image")).await.status, 200);
    assert_eq!(
        send(&simulator, image(&id, "audio")).await.error(),
        (400, 131_053)
    );
    assert_eq!(send(&simulator, image("1", "image")).await.error(), (400, 100));
    simulator.create_graph_number(NewGraphNumber {
        id: "2".to_owned(),
        ..NewGraphNumber::default()
    });
    let of_another = super::post(&simulator, "/2/messages", image(&id, "image")).await;
    assert_eq!(of_another.error(), (400, 100));
    let other = get(&simulator, &format!("/{id}?phone_number_id=1")).await;
    assert_eq!(
        (other.error(), &other.json["error"]["error_subcode"]),
        ((400, 100), &json!(33))
    );
    let deleted = call(&simulator, Method::DELETE, &format!("/{id}"), None).await;
    assert_eq!(deleted.json, json!({"success": true}));
    assert_eq!(get(&simulator, &format!("/{id}")).await.error(), (400, 100));
    assert_eq!(download(url, TOKEN).await.status(), 404);
}

#[tokio::test]
async fn files_that_meta_would_not_take_are_refused() {
    let simulator = start().await;
    number(&simulator, None);
    for (kind, name, size, code) in [
        ("audio/opus", "a.ogg", 9, 100),
        ("application/zip", "a.zip", 9, 100),
        ("audio/ogg; codecs=opus", "a.mp3", 9, 131_053),
        ("image/webp", "a.webp", 500_001, 131_053),
        ("image/png", "a.png", 5_000_001, 131_053),
        ("image/png", "a.png", 0, 131_053),
    ] {
        let refused = upload(&simulator, kind, name, &vec![7; size]).await;
        assert_eq!(refused.error(), (400, code), "{kind} {name} {size}");
    }
    assert_eq!(
        upload(&simulator, "audio/ogg; codecs=opus", "a.ogg", b"OggS")
            .await
            .status,
        200
    );
    let nothing = super::post(&simulator, &format!("/{NUMBER}/media"), json!({})).await;
    assert_eq!(nothing.error(), (400, 100));
}

#[tokio::test]
async fn addresses_and_ids_die() {
    let simulator = start().await;
    number(&simulator, None);
    simulator.create_graph_number(NewGraphNumber {
        id: "2".to_owned(),
        waba: "3".to_owned(),
        token: "another-token".to_owned(),
        ..NewGraphNumber::default()
    });
    let id = simulator.put_graph_media(NUMBER, "image/png", PNG.to_vec());
    let url = || async {
        get(&simulator, &format!("/{id}")).await.json["url"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let first = url().await;
    assert_eq!(download(&first, "another-token").await.status(), 404);
    assert_eq!(download(&first, TOKEN).await.status(), 200);
    let expire = format!("{}/_sim/graph/media/expire", simulator.base_url());
    client().post(&expire).send().await.unwrap();
    assert_eq!(download(&first, TOKEN).await.status(), 404);
    assert_eq!(
        download(&url().await, TOKEN).await.status(),
        200,
        "a new address works"
    );
    simulator.configure_graph(|settings| settings.media_url_life_ms = 0);
    assert_eq!(download(&url().await, TOKEN).await.status(), 404);

    let again = GraphTrouble {
        call: GraphCall::Download,
        times: Some(1),
        kind: GraphTroubleKind::page(404),
        ..GraphTrouble::default()
    };
    simulator.add_graph_trouble(again).unwrap();
    simulator.configure_graph(|settings| settings.media_url_life_ms = 60_000);
    let last = url().await;
    assert_eq!(download(&last, TOKEN).await.status(), 404);
    assert_eq!(download(&last, TOKEN).await.status(), 200);
    let expire = format!("{}/_sim/graph/media/{id}/expire", simulator.base_url());
    assert_eq!(client().post(&expire).send().await.unwrap().status(), 200);
    assert_eq!(get(&simulator, &format!("/{id}")).await.error(), (400, 100));
    assert_eq!(download(&last, TOKEN).await.status(), 404);
    assert!(!simulator.graph_media()[0].alive);
}

#[tokio::test]
async fn a_file_that_comes_with_a_message_may_be_lied_about() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    number(&simulator, Some(&receiver));
    let inbound = GraphInbound {
        number: NUMBER.to_owned(),
        from: PERSON.to_owned(),
        kind: "image".to_owned(),
        text: Some("KTP saya".to_owned()),
        media: Some(GraphInboundMedia {
            mime_type: "application/x-msdownload".to_owned(),
            data: "TVqQAA==".to_owned(),
            told_mime_type: Some("image/jpeg".to_owned()),
            told_sha256: Some("00".repeat(32)),
            told_size: Some(1),
            ..GraphInboundMedia::default()
        }),
        ..GraphInbound::default()
    };
    simulator.graph_inbound(&inbound).unwrap();
    eventually("it came", || receiver.count() == 1).await;
    let body = receiver.received()[0].json();
    let image = value(&body)["messages"][0]["image"].clone();
    let zeros = format!("{}=", "A".repeat(43));
    assert_eq!(
        (&image["mime_type"], &image["sha256"], &image["caption"]),
        (&json!("image/jpeg"), &Value::from(zeros), &json!("KTP saya"))
    );
    let told = get(&simulator, &format!("/{}", image["id"].as_str().unwrap()))
        .await
        .json;
    assert_eq!(
        (&told["mime_type"], &told["file_size"]),
        (&json!("image/jpeg"), &json!(1))
    );
    let got = download(told["url"].as_str().unwrap(), TOKEN).await;
    assert_eq!(&got.bytes().await.unwrap()[..], b"MZ\x90\x00");
}
