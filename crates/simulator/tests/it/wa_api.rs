//! The WA server's API: envelopes, refusals, sessions, sends (WA contract §1 to §8).

use serde_json::{Value, json};
use simulator::{Inbound, InboundMedia, Simulator, SimulatorConfig};

use crate::receiver::Receiver;
use crate::{client, eventually, session, start, wa_post};

async fn get(simulator: &Simulator, token: &str, path: &str) -> (u16, Value) {
    let url = format!("{}/wa{path}", simulator.base_url());
    let response = client().get(url).header("token", token).send().await.unwrap();
    (
        response.status().as_u16(),
        response.json().await.unwrap_or(Value::Null),
    )
}

#[tokio::test]
async fn refusals_have_the_texts_of_the_contract() {
    let simulator = start().await;
    let user = session(&simulator, "");
    let unauthorized = json!({"code": 401, "error": "unauthorized", "success": false});
    assert_eq!(
        get(&simulator, "nobody", "/session/status").await,
        (401, unauthorized)
    );
    let missing = json!({"code": 400, "error": "missing Phone in Payload", "success": false});
    assert_eq!(
        wa_post(&simulator, &user.token, "/chat/send/text", json!({"Body": "x"})).await,
        (400, missing)
    );
    let half = json!({"Phone": "62812", "Body": "x", "ContextInfo": {"stanzaId": "A"}});
    let (status, body) = wa_post(&simulator, &user.token, "/chat/send/text", half).await;
    assert_eq!(
        (status, &body["error"]),
        (400, &json!("missing Participant in ContextInfo"))
    );
    let (status, body) = wa_post(&simulator, &user.token, "/session/connect", json!({})).await;
    assert_eq!((status, &body["error"]), (500, &json!("already connected")));

    let url = format!("{}/wa/chat/send/text", simulator.base_url());
    let wrong_method = client()
        .get(url)
        .header("token", &user.token)
        .send()
        .await
        .unwrap();
    assert_eq!(wrong_method.status(), 404);
    assert_eq!(
        wrong_method.headers()["content-type"],
        "text/plain; charset=utf-8"
    );
    assert_eq!(wrong_method.text().await.unwrap(), "404 page not found\n");
}

#[tokio::test]
async fn a_session_is_created_connected_paired_and_disconnected() {
    let simulator = start().await;
    let admin = format!("{}/wa/admin/users", simulator.base_url());
    let new = json!({"name": "b", "token": "tok-b", "events": "Message, Connected"});
    let request = || client().post(&admin).json(&new);
    assert_eq!(request().send().await.unwrap().status(), 401);
    let created = request()
        .header("authorization", "simulator-admin-token")
        .send()
        .await
        .unwrap();
    assert_eq!(created.status(), 201);
    let id = created.json::<Value>().await.unwrap()["data"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(id.len(), 32);
    let again = request()
        .header("authorization", "simulator-admin-token")
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), 409);

    let send = json!({"Phone": "62812", "Body": "x"});
    let (status, body) = wa_post(&simulator, "tok-b", "/chat/send/text", send).await;
    assert_eq!((status, &body["error"]), (500, &json!("no session")));
    let subscribe = json!({"Subscribe": ["Message", "Nonsense"]});
    let (status, body) = wa_post(&simulator, "tok-b", "/session/connect", subscribe).await;
    assert_eq!((status, &body["data"]["events"]), (200, &json!("Message")));
    eventually("paired", || simulator.wa_users()[0].logged_in).await;
    let (_, status) = get(&simulator, "tok-b", "/session/status").await;
    assert_eq!(status["data"]["loggedIn"], true);
    assert!(
        status["data"]["jid"]
            .as_str()
            .unwrap()
            .ends_with(":12@s.whatsapp.net")
    );
    let (_, answer) = wa_post(&simulator, "tok-b", "/session/disconnect", json!({})).await;
    assert_eq!(answer["data"]["Details"], "Disconnected");
    let (_, webhook) = get(&simulator, "tok-b", "/webhook").await;
    assert_eq!(webhook["data"]["subscribe"], json!([""]));
}

#[tokio::test]
async fn without_automatic_login_the_session_waits_for_its_qr_code() {
    let config = SimulatorConfig {
        auto_login: false,
        ..SimulatorConfig::for_tests()
    };
    let simulator = Simulator::start(config).await.unwrap();
    let admin = format!("{}/wa/admin/users", simulator.base_url());
    let new = json!({"name": "c", "token": "tok-c"});
    client()
        .post(&admin)
        .header("authorization", "simulator-admin-token")
        .json(&new)
        .send()
        .await
        .unwrap();
    wa_post(
        &simulator,
        "tok-c",
        "/session/connect",
        json!({"Subscribe": ["All"]}),
    )
    .await;
    let (_, qr) = get(&simulator, "tok-c", "/session/qr").await;
    assert!(
        qr["data"]["QRCode"]
            .as_str()
            .unwrap()
            .starts_with("data:image/png;base64,")
    );
    simulator
        .scan_qr("c", Some("628110:1@s.whatsapp.net".to_owned()))
        .unwrap();
    let (_, qr) = get(&simulator, "tok-c", "/session/qr").await;
    assert_eq!(qr["error"], "already logged in");
}

#[tokio::test]
async fn a_second_send_with_the_same_id_is_answered_but_shows_nothing_new() {
    let simulator = start().await;
    let user = session(&simulator, "");
    let send = json!({"phone": "+6281200000001", "body": "Halo", "id": "OWN1"});
    for _ in 0..2 {
        let (status, body) = wa_post(&simulator, &user.token, "/chat/send/text", send.clone()).await;
        assert_eq!((status, &body["data"]["Id"]), (200, &json!("OWN1")));
    }
    let image = json!({"Phone": "6281200000001", "Image": "data:image/png;base64,AAEC", "Caption": "foto"});
    wa_post(&simulator, &user.token, "/chat/send/image", image).await;
    let shown = simulator.phone("6281200000001");
    assert_eq!(shown.len(), 2);
    assert_eq!((shown[0].text.as_deref(), shown[0].arrivals), (Some("Halo"), 2));
    assert_eq!(
        (shown[1].text.as_deref(), shown[1].media.as_ref().unwrap().bytes),
        (Some("foto"), 3)
    );
    assert_eq!(simulator.wa_sends(Some("desa-contoh")).len(), 3);
}

#[tokio::test]
async fn inbound_media_can_be_downloaded_with_the_keys_of_the_event() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    let user = session(&simulator, &receiver.url);
    let inbound = Inbound {
        session: "desa-contoh".to_owned(),
        from: "6281200000001".to_owned(),
        media: Some(InboundMedia {
            kind: "image".to_owned(),
            mimetype: "image/jpeg".to_owned(),
            data: "AAEC".to_owned(),
            ..InboundMedia::default()
        }),
        ..Inbound::default()
    };
    simulator.inbound(&inbound).unwrap();
    eventually("the event", || receiver.count() == 1).await;
    let event: Value = serde_json::from_str(&receiver.received()[0].form()[1].1).unwrap();
    assert!(event.get("base64").is_none());
    let image = &event["event"]["Message"]["imageMessage"];
    let download = json!({
        "Url": image["URL"], "DirectPath": image["directPath"], "MediaKey": image["mediaKey"],
        "Mimetype": image["mimetype"], "FileEncSHA256": image["fileEncSHA256"],
        "FileSHA256": image["fileSHA256"], "FileLength": image["fileLength"],
    });
    let (_, body) = wa_post(&simulator, &user.token, "/chat/downloadimage", download).await;
    assert_eq!(body["data"]["Data"], "data:image/jpeg;base64,AAEC");
}
