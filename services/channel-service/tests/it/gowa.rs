//! A GoWA's webhooks: who they are for, what is kept of them, and who cannot post any. And its devices' calls.

use reqwest::Method;
use serde_json::{Value, json};
use simulator::{FaultKind, FaultSpec, FaultTarget, GowaConfigChange, GowaInbound, GowaMedia};
use test_support::eventually;

use crate::gowa_world::{Device, ENDPOINT_SECRET, RARA, device, known, post, post_raw, spawn};
use crate::harness::{TestApp, Wishes};

const NUMBER: &str = "628111000001";

fn inbound(toko: &Device) -> GowaInbound {
    GowaInbound {
        device: toko.id.clone(),
        from: RARA.to_owned(),
        ..GowaInbound::default()
    }
}

fn with_file(toko: &Device, kind: &str, extension: &str, lost: bool) -> GowaInbound {
    let data = match extension {
        "jpg" => "/9j/4AAQSkZJRgABAQ==",
        "ogg" => "T2dnUwACAAAAAAAAAAA=",
        _ => "JVBERi0xLjcgaXNpIGJlcmthcw==",
    };
    GowaInbound {
        media: Some(GowaMedia {
            kind: kind.to_owned(),
            data: data.to_owned(),
            extension: extension.to_owned(),
            lost,
        }),
        ..inbound(toko)
    }
}

fn telling(toko: &Device, event: &str, payload: &Value) -> GowaInbound {
    GowaInbound {
        event: Some(event.to_owned()),
        payload: payload.as_object().unwrap().clone(),
        ..inbound(toko)
    }
}

async fn until_kept(app: &TestApp, messages: u64) {
    eventually(&format!("{messages} messages are kept"), || async {
        (app.count("messages").await == messages).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_that_comes_in_is_kept_once_with_its_file() {
    let app = spawn().await;
    let toko = device(&app, "desa-satu", "toko-1", NUMBER).await;
    // Every event comes twice, at the same time.
    let kind = FaultKind::Duplicate {
        copies: 1,
        concurrent: true,
    };
    app.simulator
        .add_fault(FaultSpec::on_webhook(FaultTarget::GowaWebhook, kind))
        .unwrap();
    let first = GowaInbound {
        id: Some("3EB0FIRST".to_owned()),
        text: Some("Paket saya di mana?".to_owned()),
        lid: Some("99000011112222".to_owned()),
        ..inbound(&toko)
    };
    app.simulator.gowa_inbound(&first).unwrap();
    until_kept(&app, 1).await;
    let captioned = GowaInbound {
        text: Some("Ini fotonya".to_owned()),
        payload: json!({"replied_to_id": "3EB0OURS", "quoted_body": "Boleh?"})
            .as_object()
            .unwrap()
            .clone(),
        ..with_file(&toko, "image", "jpg", false)
    };
    let own = GowaInbound {
        own: true,
        text: Some("Saya balas dari HP".to_owned()),
        ..inbound(&toko)
    };
    let place = json!({"location": {"degreesLatitude": -6.2, "degreesLongitude": 106.8, "name": "Monas"}});
    let card = json!({"contact": {"displayName": "Pak RT", "vcard": "BEGIN:VCARD", "phone_number": "+62"}});
    for event in [
        captioned,
        own,
        with_file(&toko, "audio", "ogg", false),
        with_file(&toko, "sticker", "webp", true),
        telling(&toko, "message", &place),
        telling(&toko, "message", &card),
        telling(&toko, "message", &json!({"order": {"order_id": "7"}})),
        telling(
            &toko,
            "message.reaction",
            &json!({"reaction": "👍", "reacted_message_id": "3EB0FIRST"}),
        ),
        telling(
            &toko,
            "message.edited",
            &json!({"original_message_id": "3EB0FIRST", "body": "Paket saya di mana ya?"}),
        ),
    ] {
        app.simulator.gowa_inbound(&event).unwrap();
    }
    until_kept(&app, 10).await;
    eventually("every delivery was taken", || async {
        let deliveries = app.simulator.gowa_deliveries();
        (deliveries.len() == 20 && deliveries.iter().all(simulator::GowaDelivery::accepted)).then_some(())
    })
    .await;
    let mut kinds: Vec<String> = app
        .values("SELECT kind || ' ' || direction AS value FROM messages")
        .await
        .iter()
        .map(|value| value.as_str().unwrap().to_owned())
        .collect();
    kinds.sort();
    assert_eq!(
        kinds,
        [
            "contact inbound",
            "document inbound",
            "edit inbound",
            "image inbound",
            "location inbound",
            "reaction inbound",
            "text inbound",
            "text outbound",
            "unsupported inbound",
            "voice inbound"
        ]
    );
    assert_eq!(app.count("inbound_ledger").await, 10);
    assert_eq!(
        app.rows("SELECT body FROM messages WHERE provider_message_id = '3EB0FIRST'")
            .await,
        [json!({"body": "Paket saya di mana ya?"})]
    );
    assert_eq!(
        app.rows("SELECT body, quoted FROM messages WHERE kind = 'image'")
            .await,
        [json!({"body": "Ini fotonya", "quoted": "3EB0OURS"})]
    );
    // One person, one chat, under the number and the hidden id.
    assert_eq!(
        app.rows("SELECT address, lid FROM chats").await,
        [json!({"address": format!("{RARA}@s.whatsapp.net"), "lid": "99000011112222"})]
    );
    // Also the file that the server had not got when the message came.
    eventually("three files are stored", || async {
        (app.values("SELECT count(*) AS value FROM media WHERE state = 'stored'")
            .await
            == [json!(3)])
        .then_some(())
    })
    .await;
    let revoke = json!({"revoked_message_id": "3EB0FIRST", "revoked_from_me": false});
    app.simulator
        .gowa_inbound(&telling(&toko, "message.revoked", &revoke))
        .unwrap();
    eventually("it is deleted", || async {
        let deleted = "SELECT count(*) AS value FROM messages WHERE revoked_at IS NOT NULL";
        (app.values(deleted).await == [json!(1)]).then_some(())
    })
    .await;
    assert_eq!(app.count("quarantine").await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_files_are_not_downloaded_the_server_is_asked_for_them() {
    let app = spawn().await;
    let toko = device(&app, "desa-satu", "toko-1", NUMBER).await;
    app.simulator.configure_gowa(GowaConfigChange {
        auto_download: Some(false),
        ..GowaConfigChange::default()
    });
    app.simulator
        .gowa_inbound(&with_file(&toko, "document", "pdf", false))
        .unwrap();
    eventually("the file is stored", || async {
        (app.values("SELECT state AS value FROM media").await == [json!("stored")]).then_some(())
    })
    .await;
    let asked = app.simulator.requests();
    assert!(asked.iter().any(|request| request.path.ends_with("/download")));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_has_a_key_is_believed() {
    let app = spawn().await;
    let toko = device(&app, "desa-satu", "toko-1", NUMBER).await;
    let other = device(&app, "desa-dua", "toko-2", "628111000002").await;
    let event = toko.event("3EB0A", "halo");
    post(&app, "Toko", &event, None)
        .await
        .assert_error(401, "signature_missing");
    for wrong in ["secret", other.key.as_str()] {
        post(&app, "Toko", &event, Some(wrong))
            .await
            .assert_error(401, "signature_mismatch");
    }
    post_raw(&app, "Toko", event.to_string(), Some("sha256=xyz"))
        .await
        .assert_error(401, "signature_malformed");
    assert_eq!(app.count("messages").await + app.count("quarantine").await, 0);
    // Not even the number is learned from what nobody signed.
    assert_eq!(app.count("tenant_directory WHERE kind = 'gowa_number'").await, 0);

    post(&app, "Toko", &event, Some(&toko.key)).await.assert_kept();
    let again = post(&app, "Toko", &event, Some(&toko.key)).await;
    again.assert_done("Duplicate message");
    let shared = post(&app, "Toko", &toko.event("3EB0B", "halo"), Some(ENDPOINT_SECRET)).await;
    shared.assert_kept();
    // The same id at another tenant is another message.
    post(&app, "Toko", &other.event("3EB0A", "halo"), Some(&other.key))
        .await
        .assert_kept();
    assert_eq!(
        app.values("SELECT count(*) AS value FROM messages GROUP BY tenant_id ORDER BY tenant_id DESC")
            .await,
        [json!(2), json!(1)]
    );
    for (body, code) in [("[]", "not_json"), ("{}", "missing_type"), ("", "empty_body")] {
        post_raw(&app, "Toko", body.to_owned(), None)
            .await
            .assert_error(400, code);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_nobody_has_is_quarantined_and_never_a_tenant() {
    let app = spawn().await;
    let toko = device(&app, "desa-satu", "toko-1", NUMBER).await;
    let mut stranger = toko.event("3EB0A", "halo");
    stranger["session_id"] = json!("toko-9");
    post(&app, "Toko", &stranger, Some(ENDPOINT_SECRET))
        .await
        .assert_done("Unknown device");
    // The same device id on another endpoint is another device, and an endpoint that is none has none.
    for endpoint in ["Lain", "Tiada", "a%2Fb"] {
        let event = toko.event("3EB0B", "halo");
        post(&app, endpoint, &event, Some(&toko.key))
            .await
            .assert_done("Unknown device");
    }
    assert_eq!(
        app.values("SELECT DISTINCT provider || ' ' || reason AS value FROM quarantine")
            .await,
        [json!("gowa unknown_device")]
    );
    assert_eq!(app.count("quarantine").await, 4);
    assert_eq!(app.count("messages").await, 0);
    assert_eq!(app.count("tenants").await, 1);
    // No other tenant can take the device.
    let taken = std::panic::AssertUnwindSafe(known(&app, "desa-dua", "toko-1", "other-key"));
    let taken = futures_util::FutureExt::catch_unwind(taken).await;
    assert!(taken.is_err(), "the device is another tenant's");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_a_conversation_is_skipped_ignored_or_kept() {
    let app = spawn().await;
    let toko = device(&app, "desa-satu", "toko-1", NUMBER).await;
    let told = |event: &str, payload: Value| {
        let mut told = toko.event("3EB0A", "halo");
        told["event"] = json!(event);
        for (key, value) in payload.as_object().unwrap() {
            told["payload"][key.as_str()] = value.clone();
        }
        told
    };
    let group = told("message", json!({"chat_id": "120363000000000001@g.us"}));
    post(&app, "Toko", &group, Some(&toko.key))
        .await
        .assert_done("Group message ignored");
    let presence = told("chat_presence", json!({}));
    post(&app, "Toko", &presence, Some(&toko.key))
        .await
        .assert_done("Ignored event type: chat_presence");
    let unknown = told("message.pinned", json!({}));
    post(&app, "Toko", &unknown, Some(&toko.key))
        .await
        .assert_done("Event kept");
    let unusable = told("message", json!({"id": null}));
    post(&app, "Toko", &unusable, Some(&toko.key))
        .await
        .assert_done("No message to process");
    assert_eq!(
        app.rows("SELECT type_name, reason FROM provider_events ORDER BY type_name")
            .await,
        [
            json!({"type_name": "message", "reason": "unusable_message_id"}),
            json!({"type_name": "message.pinned", "reason": null})
        ]
    );
    assert_eq!(app.count("messages").await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_asked_paired_and_unlinked_like_any_session() {
    let app = crate::gowa_world::with(Wishes {
        events_come_here: true,
        ..Wishes::default()
    })
    .await;
    app.simulator.configure_gowa(GowaConfigChange {
        auto_login: Some(false),
        ..GowaConfigChange::default()
    });
    let toko = device(&app, "desa-satu", "toko-1", NUMBER).await;
    let call = |method: Method, route: &'static str| {
        let path = format!("/whatsapp/{route}?village_id=desa-satu");
        let app = &app;
        async move { app.internal(method, &path, None).await }
    };
    let status = call(Method::GET, "status").await;
    assert_eq!(status.status, 200, "{}", status.text);
    assert_eq!(status.json()["data"]["loggedIn"], true, "{}", status.text);
    // GoWA cannot do it, and what it can do instead is not what was asked for.
    let disconnected = call(Method::POST, "disconnect").await;
    assert!(disconnected.status >= 400, "{}", disconnected.text);
    assert_eq!(call(Method::POST, "logout").await.status, 200);
    assert!(!app.simulator.gowa_devices()[0].logged_in);
    assert_eq!(call(Method::POST, "connect").await.status, 200);
    let told = app.simulator.gowa_devices().remove(0);
    let webhook = told.webhook.unwrap();
    assert_eq!(webhook.webhook_url, format!("{}/webhook/gowa/Toko", app.url));
    assert_eq!(webhook.webhook_secret, toko.key);
    assert!(webhook.webhook_events.contains("message.ack"));
    let qr = eventually("a picture to scan", || async {
        let qr = call(Method::GET, "qr").await.json();
        let picture = qr["data"].to_string();
        picture
            .contains("data:image/png;base64,iVBORw0KGgo")
            .then_some(())
    });
    qr.await;
    app.simulator
        .scan_gowa("toko-1", Some(format!("{NUMBER}:9@s.whatsapp.net")))
        .unwrap();
    eventually("it is logged in", || async {
        let status = call(Method::GET, "status").await.json();
        (status["data"]["loggedIn"] == true).then_some(())
    })
    .await;
    let typing = json!({"village_id": "desa-satu", "wa_user_id": RARA});
    let typing = app.internal(Method::POST, "/typing", Some(&typing)).await;
    assert_eq!(typing.status, 200);
    let sends = app.simulator.gowa_sends();
    assert_eq!(
        (sends[0].path.as_str(), sends[0].body["action"].as_str()),
        ("/send/chat-presence", Some("start"))
    );
    app.finish().await;
}
