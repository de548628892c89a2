//! Delivery of WA events: form, signature, retries, streams (WA contract §9, §10).

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simulator::{Inbound, InboundStream, TroubleKind, WaConfigChange, WebhookFormat, hmac_sha256_hex};

use crate::receiver::Receiver;
use crate::{HMAC_KEY, eventually, session, start, wa_post};

fn text(session: &str, text: &str) -> Inbound {
    Inbound {
        session: session.to_owned(),
        from: "6281200000001".to_owned(),
        text: Some(text.to_owned()),
        ..Inbound::default()
    }
}

#[tokio::test]
async fn form_mode_carries_the_event_sorted_and_signed_over_the_raw_body() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    let user = session(&simulator, &receiver.url);
    let id = simulator
        .inbound(&text("desa-contoh", "Selamat pagi & <halo>"))
        .unwrap();
    eventually("one webhook", || receiver.count() == 1).await;

    let webhook = &receiver.received()[0];
    assert_eq!(
        webhook.headers["content-type"],
        "application/x-www-form-urlencoded"
    );
    assert_eq!(
        webhook.headers["x-hmac-signature"],
        hmac_sha256_hex(HMAC_KEY, &[&webhook.body])
    );
    let form = webhook.form();
    let names: Vec<&str> = form.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["instanceName", "jsonData", "userID"]);
    assert_eq!(
        (form[0].1.as_str(), form[2].1.as_str()),
        ("desa-contoh", user.id.as_str())
    );
    assert!(form[1].1.contains("\\u0026 \\u003chalo\\u003e"));
    let event: Value = serde_json::from_str(&form[1].1).unwrap();
    assert_eq!(event["type"], "Message");
    assert_eq!(event["event"]["Info"]["ID"], json!(id));
    assert_eq!(event["event"]["Info"]["Chat"], "6281200000001@s.whatsapp.net");
    assert_eq!(event["event"]["Message"]["conversation"], "Selamat pagi & <halo>");
    assert!(event.get("userID").is_none());
}

#[tokio::test]
async fn json_mode_merges_name_and_id_into_the_event() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    let user = session(&simulator, &receiver.url);
    simulator.configure_wa(WaConfigChange {
        webhook_format: Some(WebhookFormat::Json),
        ..WaConfigChange::default()
    });
    let hidden = Inbound {
        lid: Some("190000000000001".to_owned()),
        ..text(&user.id, "halo")
    };
    simulator.inbound(&hidden).unwrap();
    eventually("one webhook", || receiver.count() == 1).await;

    let webhook = &receiver.received()[0];
    assert_eq!(webhook.headers["content-type"], "application/json");
    assert_eq!(
        webhook.headers["x-hmac-signature"],
        hmac_sha256_hex(HMAC_KEY, &[&webhook.body])
    );
    assert!(
        webhook
            .body
            .starts_with(b"{\"event\":{\"Info\":{\"AddressingMode\":\"lid\"")
    );
    let body = webhook.json();
    assert_eq!(
        (&body["instanceName"], &body["userID"]),
        (&json!("desa-contoh"), &json!(user.id))
    );
    assert_eq!(body["event"]["Info"]["Chat"], "190000000000001@lid");
    assert_eq!(
        body["event"]["Info"]["SenderAlt"],
        "6281200000001:24@s.whatsapp.net"
    );
}

#[tokio::test]
async fn retries_on_the_schedule_until_any_2xx_and_gives_up_after_five_attempts() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    session(&simulator, &receiver.url);
    receiver.answer(&[500, 404, 302]);
    simulator.inbound(&text("desa-contoh", "satu")).unwrap();
    eventually("four attempts", || simulator.wa_deliveries().len() == 4).await;
    let attempts = simulator.wa_deliveries();
    let statuses: Vec<Option<u16>> = attempts.iter().map(|attempt| attempt.status).collect();
    assert_eq!(statuses, [Some(500), Some(404), Some(302), Some(200)]);
    assert!(attempts[1].moment.at_ms - attempts[0].moment.at_ms >= 45);
    assert_eq!(attempts[3].response, "noted");
    assert!(
        receiver
            .received()
            .windows(2)
            .all(|pair| pair[0].body == pair[1].body)
    );

    receiver.answer(&[500; 9]);
    simulator.inbound(&text("desa-contoh", "dua")).unwrap();
    eventually("five more", || simulator.wa_deliveries().len() == 9).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(simulator.wa_deliveries().len(), 9);
}

#[tokio::test]
async fn webhooks_are_signed_only_after_the_key_is_configured_over_the_session() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    let admin = crate::client()
        .post(format!("{}/wa/admin/users", simulator.base_url()))
        .header("authorization", "simulator-admin-token")
        .json(&json!({"name": "a", "token": "tok-a", "webhook": receiver.url, "hmacKey": HMAC_KEY}))
        .send()
        .await
        .unwrap();
    assert_eq!(admin.status(), 201);
    wa_post(
        &simulator,
        "tok-a",
        "/session/connect",
        json!({"Subscribe": ["All"], "Immediate": true}),
    )
    .await;
    eventually("pairing and connection", || receiver.count() == 2).await;
    assert!(
        receiver
            .received()
            .iter()
            .all(|webhook| !webhook.headers.contains_key("x-hmac-signature"))
    );

    wa_post(
        &simulator,
        "tok-a",
        "/session/hmac/config",
        json!({"hmac_key": HMAC_KEY}),
    )
    .await;
    simulator.inbound(&text("a", "halo")).unwrap();
    eventually("a signed webhook", || receiver.count() == 3).await;
    assert!(receiver.received()[2].headers.contains_key("x-hmac-signature"));
}

#[tokio::test]
async fn receipts_reach_only_subscribers_of_all() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    let user = session(&simulator, &receiver.url);
    let change = WaConfigChange {
        auto_receipts: Some(true),
        ..WaConfigChange::default()
    };
    simulator.configure_wa(change);
    let send = json!({"Phone": "6281200000001", "Body": "Halo", "Id": "OWN1"});
    wa_post(&simulator, &user.token, "/chat/send/text", send).await;
    eventually("sent, delivered, read", || receiver.count() == 3).await;
    // A delivery is journalled after its answer has come back, so the receiver can be ahead of the journal.
    eventually("both receipts are in the journal", || {
        let states: Vec<Option<String>> = simulator
            .wa_deliveries()
            .into_iter()
            .map(|attempt| attempt.state)
            .collect();
        ["Delivered", "Read"]
            .iter()
            .all(|state| states.contains(&Some((*state).to_owned())))
    })
    .await;
    assert_eq!(
        simulator.phone("6281200000001")[0].receipts,
        ["delivered", "read"]
    );

    let names = json!({"webhook": receiver.url, "active": true, "events": ["Message", "ReadReceipt"]});
    let url = format!("{}/wa/webhook", simulator.base_url());
    crate::client()
        .put(url)
        .header("token", &user.token)
        .json(&names)
        .send()
        .await
        .unwrap();
    let send = json!({"Phone": "6281200000001", "Body": "Halo lagi"});
    wa_post(&simulator, &user.token, "/chat/send/text", send).await;
    eventually("read on the phone", || {
        simulator.phone("6281200000001")[1].receipts.len() == 2
    })
    .await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(receiver.count(), 3);
}

#[tokio::test]
async fn a_stream_is_in_order_within_each_chat_even_when_the_receiver_stumbles() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    session(&simulator, &receiver.url);
    receiver.answer(&[503; 10]);
    receiver.think(Duration::from_millis(3));
    let stream = InboundStream {
        session: "desa-contoh".to_owned(),
        chats: 4,
        messages: 42,
        prefix: "uji".to_owned(),
        concurrency: None,
        from_base: 6_281_300_000_000,
        per_second: NonZeroU32::new(210),
    };
    let started = Instant::now();
    let id = simulator.start_inbound_stream(stream.clone()).unwrap();
    eventually("the stream is done", || {
        simulator.inbound_stream(id).unwrap().done
    })
    .await;
    let progress = simulator.inbound_stream(id).unwrap();
    assert_eq!((progress.sent, progress.accepted), (42, 42));
    assert!(
        started.elapsed() >= Duration::from_secs(41) / 210,
        "faster than its pace"
    );
    assert_eq!(receiver.count(), 52);

    let mut last: HashMap<String, u64> = HashMap::new();
    for webhook in receiver.received() {
        let event: Value = serde_json::from_str(&webhook.form()[1].1).unwrap();
        let said = event["event"]["Message"]["conversation"]
            .as_str()
            .unwrap()
            .to_owned();
        let (chat, number) = said.rsplit_once(" #").unwrap();
        let number: u64 = number.parse().unwrap();
        let before = last.insert(chat.to_owned(), number).unwrap_or(0);
        assert!(
            number == before + 1 || number == before,
            "{said} came after #{before}"
        );
    }
    assert_eq!(last.len(), 4);
    assert_eq!((last["uji c0"], last["uji c3"]), (11, 10));
    assert_eq!((stream.messages_in(0), stream.messages_in(3)), (11, 10));
}

#[tokio::test]
async fn a_deaf_session_is_connected_and_tells_nothing_until_it_is_connected_anew() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    let user = session(&simulator, &receiver.url);
    simulator.trouble("desa-contoh", TroubleKind::Deaf).unwrap();
    assert!(simulator.inbound(&text("desa-contoh", "halo")).is_err());
    assert!(simulator.wa_users()[0].logged_in);
    let (status, answer) = wa_post(&simulator, &user.token, "/session/connect", json!({})).await;
    assert_eq!((status, &answer["error"]), (500, &json!("already connected")));
    assert!(simulator.inbound(&text("desa-contoh", "halo")).is_err());
    wa_post(&simulator, &user.token, "/session/disconnect", json!({})).await;
    let all = json!({"Subscribe": ["All"]});
    wa_post(&simulator, &user.token, "/session/connect", all).await;
    eventually("it says that it is connected", || receiver.count() == 1).await;
    simulator.inbound(&text("desa-contoh", "halo")).unwrap();
    eventually("it hears", || receiver.count() == 2).await;
}

#[tokio::test]
async fn a_session_that_drops_or_is_unlinked_says_so_unless_it_is_silent() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    session(&simulator, &receiver.url);
    simulator.trouble("desa-contoh", TroubleKind::Dropped).unwrap();
    eventually("it says so", || receiver.count() == 1).await;
    let user = &simulator.wa_users()[0];
    assert!(!user.connected && !user.logged_in && !user.jid.is_empty());
    simulator
        .trouble("desa-contoh", TroubleKind::DroppedSilently)
        .unwrap();
    simulator.trouble("desa-contoh", TroubleKind::Unlinked).unwrap();
    // A delivery is written down when it was answered, which is after the receiver has it.
    eventually("it says that it was unlinked", || {
        simulator.wa_deliveries().len() == 2
    })
    .await;
    let kinds: Vec<String> = simulator.wa_deliveries().into_iter().map(|d| d.kind).collect();
    assert_eq!(kinds, ["Disconnected", "LoggedOut"]);
    assert!(simulator.wa_users()[0].jid.is_empty());
    assert!(
        simulator.trouble("desa-contoh", TroubleKind::Deaf).is_err(),
        "it runs no more"
    );
}
