//! The GoWA: devices, logins, sends, webhooks, and what goes wrong on demand.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use simulator::{
    FaultKind, FaultSpec, FaultTarget, GowaConfigChange, GowaInbound, GowaMedia, GowaReceipt, GowaWebhook,
    NewGowaDevice, Simulator, hmac_sha256_hex,
};

use crate::receiver::Receiver;
use crate::{client, eventually, start};

const PHONE: &str = "6281200000001";

async fn call(simulator: &Simulator, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let mut request = client().request(method, format!("{}/gowa{path}", simulator.base_url()));
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

async fn get(simulator: &Simulator, path: &str) -> (u16, Value) {
    call(simulator, Method::GET, path, None).await
}

async fn post(simulator: &Simulator, path: &str, body: Value) -> (u16, Value) {
    call(simulator, Method::POST, path, Some(body)).await
}

fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["code"].as_str().unwrap_or_default())
}

/// A paired device whose events go to the receiver, signed with `key`.
fn device(simulator: &Simulator, receiver: Option<&Receiver>) {
    simulator.create_gowa_device(NewGowaDevice {
        id: "toko-1".to_owned(),
        phone: Some("628111000001".to_owned()),
        webhook: receiver.map(|receiver| GowaWebhook {
            webhook_url: receiver.url.clone(),
            webhook_secret: "key".to_owned(),
            ..GowaWebhook::default()
        }),
    });
}

#[tokio::test]
async fn a_device_is_made_pairs_by_a_picture_and_is_taken_away() {
    let simulator = start().await;
    simulator.configure_gowa(GowaConfigChange {
        auto_login: Some(false),
        ..GowaConfigChange::default()
    });
    assert_eq!(get(&simulator, "/devices").await.1["results"], json!([]));
    let made = post(
        &simulator,
        "/devices",
        json!({"device_id": "toko-1", "webhook_url": "http://a", "webhook_secret": "s"}),
    )
    .await;
    assert_eq!(code(&made), (200, "SUCCESS"));
    assert_eq!(made.1["results"]["webhook_secret"], "s");
    let again = post(&simulator, "/devices", json!({"device_id": "toko-1"})).await;
    assert_eq!(code(&again), (500, "INTERNAL_SERVER_ERROR"));
    assert_eq!(
        code(&get(&simulator, "/devices/toko-2/status").await),
        (500, "INTERNAL_SERVER_ERROR")
    );
    let sent = post(
        &simulator,
        "/send/message",
        json!({"phone": PHONE, "message": "Halo"}),
    )
    .await;
    assert_eq!(code(&sent), (401, "AUTHENTICATION_ERROR"));
    assert!(
        simulator.scan_gowa("toko-1", None).is_err(),
        "nothing to scan yet"
    );

    let login = get(&simulator, "/devices/toko-1/login").await;
    let picture = client()
        .get(login.1["results"]["qr_link"].as_str().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(picture.headers()["content-type"], "image/png");
    assert!(picture.bytes().await.unwrap().starts_with(b"\x89PNG\r\n\x1a\n"));
    simulator
        .scan_gowa("toko-1", Some("628111000001:4@s.whatsapp.net".to_owned()))
        .unwrap();
    let status = get(&simulator, "/devices/toko-1/status").await;
    assert_eq!(status.1["results"]["is_logged_in"], true);
    assert_eq!(
        get(&simulator, "/devices/toko-1").await.1["results"]["phone_number"],
        "628111000001"
    );
    assert_eq!(
        code(&get(&simulator, "/devices/toko-1/login").await),
        (400, "ALREADY_LOGGED_IN")
    );
    simulator.cut_gowa("toko-1");
    let sent = post(
        &simulator,
        "/send/message",
        json!({"phone": PHONE, "message": "Halo"}),
    )
    .await;
    assert_eq!(sent.0, 401);
    assert_eq!(
        post(&simulator, "/devices/toko-1/reconnect", json!({})).await.0,
        200
    );
    assert_eq!(
        get(&simulator, "/app/status").await.1["results"]["is_connected"],
        true
    );

    let changed = call(
        &simulator,
        Method::PATCH,
        "/devices/toko-1/webhook",
        Some(json!({"webhook_secret": "x"})),
    )
    .await;
    assert_eq!(code(&changed), (400, "BAD_REQUEST"));
    assert_eq!(post(&simulator, "/devices/toko-1/logout", json!({})).await.0, 200);
    assert_eq!(
        code(&post(&simulator, "/devices/toko-1/logout", json!({})).await),
        (401, "AUTHENTICATION_ERROR")
    );
    let pair = post(&simulator, "/devices/toko-1/login/code?phone=62811", json!({})).await;
    assert!(pair.1["results"]["pair_code"].as_str().unwrap().len() >= 8);
    assert_eq!(
        call(&simulator, Method::DELETE, "/devices/toko-1", None).await.0,
        200
    );
    assert!(simulator.gowa_devices().is_empty());
}

#[tokio::test]
async fn whoever_has_no_password_gets_files_and_health_only() {
    let simulator = start().await;
    device(&simulator, None);
    simulator.configure_gowa(GowaConfigChange {
        basic_auth: Some("a:b,kanal:geheim".to_owned()),
        ..GowaConfigChange::default()
    });
    assert_eq!(get(&simulator, "/devices").await.0, 401);
    assert_eq!(get(&simulator, "/statics/media/none.jpg").await.0, 404);
    let health = client().get(format!("{}/gowa/health", simulator.base_url()));
    assert_eq!(health.send().await.unwrap().text().await.unwrap(), "OK");
    let url = format!("{}/gowa/devices", simulator.base_url());
    for (password, status) in [("geheim", 200), ("falsch", 401)] {
        let answer = client()
            .get(&url)
            .basic_auth("kanal", Some(password))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status);
    }
}

#[tokio::test]
async fn a_call_names_its_device_unless_there_is_one_only() {
    let simulator = start().await;
    device(&simulator, None);
    let body = json!({"phone": PHONE, "message": "Halo"});
    assert_eq!(post(&simulator, "/send/message", body.clone()).await.0, 200);
    simulator.create_gowa_device(NewGowaDevice {
        id: "toko/2".to_owned(),
        phone: Some("628111000002".to_owned()),
        ..NewGowaDevice::default()
    });
    assert_eq!(
        code(&post(&simulator, "/send/message", body.clone()).await),
        (400, "DEVICE_ID_REQUIRED")
    );
    assert_eq!(
        code(&post(&simulator, "/send/message?device_id=none", body.clone()).await),
        (404, "DEVICE_NOT_FOUND")
    );
    let url = format!("{}/gowa/send/message", simulator.base_url());
    for (name, device) in [("toko%2F2", "toko/2"), ("628111000001@s.whatsapp.net", "toko-1")] {
        let answer = client()
            .post(&url)
            .header("x-device-id", name)
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(simulator.gowa_sends().last().unwrap().device, device);
    }
}

#[tokio::test]
async fn every_kind_arrives_and_is_changed_afterwards() {
    let simulator = start().await;
    device(&simulator, None);
    for (path, body) in [
        (
            "/send/message",
            json!({"phone": PHONE, "message": "Halo", "reply_message_id": "3EB0Q"}),
        ),
        (
            "/send/location",
            json!({"phone": PHONE, "latitude": "1", "longitude": "2"}),
        ),
        (
            "/send/contact",
            json!({"phone": PHONE, "contact_name": "RT", "contact_phone": "62811"}),
        ),
        ("/send/link", json!({"phone": PHONE, "link": "https://a.example"})),
        (
            "/send/image",
            json!({"phone": PHONE, "image_url": "https://a.example/a.png"}),
        ),
    ] {
        assert_eq!(post(&simulator, path, body).await.0, 200, "{path}");
    }
    for (kind, mime) in [
        ("image", "image/png"),
        ("file", "application/pdf"),
        ("video", "video/mp4"),
        ("audio", "audio/ogg"),
        ("sticker", "image/webp"),
    ] {
        let part = reqwest::multipart::Part::bytes(vec![1, 2, 3])
            .file_name("a.bin")
            .mime_str(mime)
            .unwrap();
        let form = reqwest::multipart::Form::new()
            .text("phone", PHONE)
            .part(kind, part);
        let url = format!("{}/gowa/send/{kind}", simulator.base_url());
        assert_eq!(
            client().post(&url).multipart(form).send().await.unwrap().status(),
            200,
            "{kind}"
        );
        let sent = simulator.gowa_sends().pop().unwrap();
        assert_eq!(
            (sent.file.unwrap().bytes, sent.body["phone"].as_str()),
            (3, Some(PHONE))
        );
    }
    for (path, body) in [
        ("/send/message", json!({"phone": "0812", "message": "Halo"})),
        ("/send/message", json!({"phone": PHONE})),
        ("/send/image", json!({"phone": PHONE})),
        ("/send/chat-presence", json!({"phone": PHONE, "action": "sing"})),
    ] {
        assert_eq!(
            code(&post(&simulator, path, body).await),
            (400, "VALIDATION_ERROR"),
            "{path}"
        );
    }
    let shown = simulator.gowa_phone(PHONE);
    assert_eq!(shown.len(), 10);
    assert_eq!(shown[0].quoted_id.as_deref(), Some("3EB0Q"));
    let id = shown[0].id.clone();
    for (act, body) in [
        ("update", json!({"phone": PHONE, "message": "Hai"})),
        ("reaction", json!({"phone": PHONE, "emoji": "👍"})),
        ("revoke", json!({"phone": PHONE})),
        ("read", json!({"phone": PHONE})),
    ] {
        assert_eq!(
            post(&simulator, &format!("/message/{id}/{act}"), body).await.0,
            200
        );
    }
    let first = simulator.gowa_phone(PHONE).remove(0);
    assert!(first.edited && first.deleted && first.text == "Hai");
    assert_eq!(first.reaction.as_deref(), Some("👍"));
    assert_eq!(simulator.gowa_read(), [id]);
    assert_eq!(
        post(
            &simulator,
            "/send/chat-presence",
            json!({"phone": PHONE, "action": "start"})
        )
        .await
        .0,
        200
    );
}

#[tokio::test]
async fn webhooks_are_signed_named_and_tried_five_times() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    device(&simulator, Some(&receiver));
    receiver.answer(&[503, 500]);
    let id = simulator
        .gowa_inbound(&GowaInbound {
            device: "toko-1".to_owned(),
            from: PHONE.to_owned(),
            text: Some("Ini fotonya".to_owned()),
            lid: Some("99000011112222".to_owned()),
            media: Some(GowaMedia {
                kind: "image".to_owned(),
                data: "AQID".to_owned(),
                extension: "jpg".to_owned(),
                lost: false,
            }),
            ..GowaInbound::default()
        })
        .unwrap();
    eventually("taken at the third attempt", || {
        simulator
            .gowa_deliveries()
            .iter()
            .any(|delivery| delivery.accepted())
    })
    .await;
    assert_eq!(simulator.gowa_deliveries().len(), 3);
    let received = receiver.received().pop().unwrap();
    assert_eq!(
        received.headers["x-hub-signature-256"],
        format!("sha256={}", hmac_sha256_hex("key", &[&received.body]))
    );
    let event = received.json();
    assert_eq!(
        json!([
            event["event"],
            event["device_id"],
            event["session_id"],
            event["timestamp"]
        ]),
        json!(["message", "628111000001@s.whatsapp.net", "toko-1", null])
    );
    let payload = &event["payload"];
    assert_eq!(
        json!([payload["body"], payload["image"]["caption"], payload["chat_lid"]]),
        json!(["Ini fotonya", "Ini fotonya", "99000011112222@lid"])
    );
    let path = payload["image"]["path"].as_str().unwrap();
    let file = client()
        .get(format!("{}/gowa/{path}", simulator.base_url()))
        .send()
        .await
        .unwrap();
    assert_eq!(file.bytes().await.unwrap()[..], [1, 2, 3]);
    let again = get(&simulator, &format!("/message/{id}/download?phone={PHONE}")).await;
    assert_eq!(again.1["results"]["file_size"], 3);

    receiver.answer(&[500; 9]);
    let receipt = GowaReceipt {
        device: "toko-1".to_owned(),
        ids: vec!["3EB0A".to_owned()],
        from: PHONE.to_owned(),
        receipt_type: "read".to_owned(),
        ..GowaReceipt::default()
    };
    simulator.gowa_receipt(&receipt).unwrap();
    eventually("given up", || simulator.gowa_deliveries().len() == 8).await;
    let ack = receiver.received().pop().unwrap().json();
    assert_eq!(
        json!([ack["payload"]["ids"], ack["payload"]["receipt_type"]]),
        json!([["3EB0A"], "read"])
    );
    assert!(ack["timestamp"].is_string());
}

#[tokio::test]
async fn faults_of_sends_and_webhooks() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    device(&simulator, Some(&receiver));
    let body = json!({"phone": PHONE, "message": "Halo"});
    let on_send = |kind| FaultSpec::on_path("/gowa/send", kind).times(1);
    let late = FaultKind::LateStatus {
        status: 504,
        body: Some(json!({"code": "GATEWAY_TIMEOUT"})),
    };
    simulator.add_fault(on_send(late)).unwrap();
    assert_eq!(
        code(&post(&simulator, "/send/message", body.clone()).await),
        (504, "GATEWAY_TIMEOUT")
    );
    assert_eq!(simulator.gowa_phone(PHONE).len(), 1, "it was sent");
    let locked = FaultKind::Status {
        status: 429,
        body: Some(json!({"code": "WA_REACHOUT_TIMELOCK"})),
        retry_after: None,
    };
    simulator.add_fault(on_send(locked)).unwrap();
    assert_eq!(post(&simulator, "/send/message", body.clone()).await.0, 429);
    assert_eq!(simulator.gowa_phone(PHONE).len(), 1, "it was not");

    // Receipts before the answer.
    simulator.configure_gowa(GowaConfigChange {
        auto_receipts: Some(true),
        ..GowaConfigChange::default()
    });
    simulator
        .add_fault(on_send(FaultKind::SlowAnswer { ms: 600 }))
        .unwrap();
    let started = Instant::now();
    let sending = post(&simulator, "/send/message", body);
    let (answer, ()) = tokio::join!(
        sending,
        eventually("both receipts came", || receiver.count() == 2)
    );
    assert_eq!(answer.0, 200);
    assert!(started.elapsed() >= Duration::from_millis(600));

    let duplicate = FaultKind::Duplicate {
        copies: 1,
        concurrent: true,
    };
    simulator
        .add_fault(FaultSpec::on_webhook(FaultTarget::GowaWebhook, duplicate))
        .unwrap();
    simulator
        .gowa_inbound(&GowaInbound {
            device: "toko-1".to_owned(),
            from: PHONE.to_owned(),
            text: Some("dua kali".to_owned()),
            ..GowaInbound::default()
        })
        .unwrap();
    eventually("twice", || receiver.count() == 4).await;
    let received = receiver.received();
    assert_eq!(received[2].body, received[3].body);
    let nonsense = FaultSpec::on_webhook(FaultTarget::GowaWebhook, FaultKind::SlowAnswer { ms: 1 });
    assert!(simulator.add_fault(nonsense).is_err());
}

#[tokio::test]
async fn the_control_plane_speaks_http() {
    let simulator = start().await;
    let control = |path: &str| format!("{}/_sim/gowa{path}", simulator.base_url());
    let new = json!({"id": "toko-1", "phone": "628111000001"});
    let made = client()
        .post(control("/devices"))
        .json(&new)
        .send()
        .await
        .unwrap();
    assert_eq!(made.status(), 201);
    let inbound = json!({"device": "toko-1", "from": PHONE, "text": "Halo"});
    assert_eq!(
        client()
            .post(control("/inbound"))
            .json(&inbound)
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    let stranger = json!({"device": "toko-9", "from": PHONE, "text": "Halo"});
    assert_eq!(
        client()
            .post(control("/inbound"))
            .json(&stranger)
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
    let config = json!({"auto_receipts": true});
    let config: Value = client()
        .post(control("/config"))
        .json(&config)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(config["auto_receipts"], true);
    for path in ["/sends", "/deliveries", "/read", "/phones/62812", "/devices"] {
        assert_eq!(
            client().get(control(path)).send().await.unwrap().status(),
            200,
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_receiver_of_chatwoots_webhooks_sends_an_agents_words() {
    let simulator = start().await;
    device(&simulator, None);
    let body = json!({
        "event": "message_created", "message_type": "outgoing", "content": "Halo dari agen",
        "conversation": {"meta": {"sender": {"phone_number": format!("+{PHONE}")}}},
    });
    let strange = post(&simulator, "/chatwoot/webhook/toko-1", body.clone()).await;
    assert_eq!(strange.0, 401);
    assert_eq!(
        post(&simulator, "/chatwoot/webhook/toko-1?secret=secret", body.clone())
            .await
            .0,
        200
    );
    let mut private = body;
    private["private"] = json!(true);
    assert_eq!(
        post(&simulator, "/chatwoot/webhook?secret=secret", private)
            .await
            .0,
        200
    );
    let texts: Vec<String> = simulator
        .gowa_phone(PHONE)
        .into_iter()
        .map(|message| message.text)
        .collect();
    assert_eq!(texts, ["Halo dari agen"]);
}
