//! Messages of every kind through `POST /api/whatsapp/messages`: to Meta, and to whoever else can say them.

use chrono::Utc;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::eventually;
use uuid::Uuid;

use crate::cloud_world::{
    BIMA, DUA, Number, RARA, SATU, accepted, body, change, now, number, spawn, text, text_at, wamid,
};
use crate::harness::{Answer, TestApp};
use crate::signing_in::ask;

/// Asks for a message as a person of the number's village.
pub(crate) async fn say(app: &TestApp, number: &Number<'_>, body: Value) -> Answer {
    say_with(app, number, &[], body).await
}

async fn say_with(app: &TestApp, number: &Number<'_>, headers: &[(&str, &str)], body: Value) -> Answer {
    let mut all = vec![("authorization", number.desk.bearer.as_str())];
    all.extend_from_slice(headers);
    ask(app, Method::POST, "/whatsapp/messages", &all, Some(body)).await
}

pub(crate) fn words(to: &str, words: &str) -> Value {
    json!({"messaging_product": "whatsapp", "recipient_type": "individual", "to": format!("+{to}"),
        "type": "text", "text": {"preview_url": false, "body": words}})
}

/// Somebody writes, so that anything may be sent to them. Returns the message's id.
pub(crate) async fn open_window(app: &TestApp, number: &Number<'_>, from: &str) -> String {
    let id = wamid();
    accepted(app, &number.texts(&[text(from, &id, "halo")])).await;
    eventually("the message is there", || async {
        let query = format!("SELECT 1 AS value FROM messages WHERE provider_message_id = '{id}'");
        (!app.values(&query).await.is_empty()).then_some(())
    })
    .await;
    id
}

/// Waits until Meta has taken a message that was answered for.
async fn until_sent(app: &TestApp, answer: &Answer) {
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let query =
        format!("SELECT provider_message_id AS value FROM messages WHERE id = '{id}' AND status = 'sent'");
    let known_as = eventually("the message is sent", || async { app.values(&query).await.pop() }).await;
    assert!(known_as.as_str().unwrap().starts_with("wamid."), "{known_as}");
}

/// The last body that Meta took.
fn last(app: &TestApp) -> Value {
    app.simulator.graph_sends().pop().unwrap().body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_goes_out_as_it_was_written() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let theirs = open_window(&app, &satu, RARA).await;
    let flow = json!({"flow_message_version": "3", "flow_token": "ft-1", "flow_id": "770000000000001",
        "flow_cta": "Mulai", "mode": "published", "flow_action": "navigate",
        "flow_action_payload": {"screen": "INTAKE", "data": {"case_id": "4711"}}});
    let interactive =
        |kind: &str, action: Value| json!({"type": kind, "body": {"text": "Pilih"}, "action": action});
    let cases = [
        ("text", json!({"body": "Selamat pagi"}), None),
        (
            "image",
            json!({"id": "1900000000000011", "caption": "Peta"}),
            None,
        ),
        (
            "video",
            json!({"id": "1900000000000012", "caption": "Film"}),
            None,
        ),
        ("audio", json!({"id": "1900000000000013", "voice": true}), None),
        (
            "document",
            json!({"id": "1900000000000014", "filename": "Surat.pdf", "caption": "Surat"}),
            None,
        ),
        ("sticker", json!({"id": "1900000000000015"}), None),
        (
            "location",
            json!({"latitude": "-6.1753924", "longitude": 106.827_152_8, "name": "Kantor"}),
            None,
        ),
        ("reaction", json!({"message_id": theirs, "emoji": "👍"}), None),
        (
            "template",
            json!({"name": "kode_masuk", "language": {"code": "id"}, "components": [
            {"type": "body", "parameters": [{"type": "text", "text": "493021"}]}]}),
            None,
        ),
        (
            "interactive",
            interactive(
                "button",
                json!({"buttons": [
            {"type": "reply", "reply": {"id": "a", "title": "Ya"}}]}),
            ),
            None,
        ),
        (
            "interactive",
            interactive(
                "list",
                json!({"button": "Lihat", "sections": [
            {"rows": [{"id": "1", "title": "10.00"}]}]}),
            ),
            None,
        ),
        (
            "interactive",
            interactive(
                "cta_url",
                json!({"name": "cta_url", "parameters": {
            "display_text": "Buka", "url": "https://portal.example.test/1"}}),
            ),
            None,
        ),
        (
            "flow",
            json!({"body": {"text": "Isi"}, "flow_id": "770000000000001", "flow_token": "ft-1",
            "flow_cta": "Mulai", "mode": "published", "flow_action": "navigate",
            "flow_action_payload": {"screen": "INTAKE", "data": {"case_id": "4711"}}}),
            Some(
                json!({"type": "flow", "body": {"text": "Isi"}, "action": {"name": "flow", "parameters": flow}}),
            ),
        ),
    ];
    for (kind, said, sent) in cases {
        let mut asked = json!({"to": RARA, "type": kind});
        asked[kind] = said.clone();
        if kind != "reaction" {
            asked["context"] = json!({"message_id": theirs});
        }
        let answer = say(&app, &satu, asked).await;
        assert!(matches!(answer.status, 200 | 202), "{kind}: {}", answer.text);
        until_sent(&app, &answer).await;
        let out = last(&app);
        let wire = if kind == "flow" { "interactive" } else { kind };
        assert_eq!(
            (out["to"].as_str(), out["type"].as_str()),
            (Some("+6281290000011"), Some(wire))
        );
        let expected = sent.unwrap_or(said);
        for (field, value) in expected.as_object().unwrap() {
            // Degrees are written as texts.
            let same =
                out[wire][field] == *value || out[wire][field].as_str() == Some(value.to_string().as_str());
            assert!(same, "{kind}.{field}: {out}");
        }
        assert_eq!(
            out["context"]["message_id"] == theirs,
            kind != "reaction",
            "{out}"
        );
    }
    let card = json!([{"name": {"formatted_name": "Budi Santoso", "first_name": "Budi"},
        "phones": [{"phone": "+62 811-0000-002", "type": "WORK", "wa_id": "628110000002"}]}]);
    let answer = say(
        &app,
        &satu,
        json!({"to": RARA, "type": "contacts", "contacts": card}),
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let contact = last(&app)["contacts"][0].take();
    assert_eq!(contact["name"]["formatted_name"], "Budi Santoso");
    assert_eq!(contact["phones"][0]["wa_id"], "628110000002");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_meant_is_refused_with_the_field_and_nothing_is_queued() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    open_window(&app, &satu, RARA).await;
    let of = |kind: &str, part: Value| {
        let mut asked = json!({"to": RARA, "type": kind});
        asked[kind] = part;
        asked
    };
    let long = "x".repeat(4_097);
    let cases = [
        (json!({"type": "text", "text": {"body": "x"}}), 400, "to"),
        (json!({"to": "0812", "text": {"body": "x"}}), 400, "to"),
        (json!({"to": "ID.908123", "text": {"body": "x"}}), 400, "to"),
        (
            json!({"to": RARA, "messaging_product": "sms", "text": {"body": "x"}}),
            400,
            "messaging_product",
        ),
        (of("text", json!({"body": " "})), 400, "text.body"),
        (of("text", json!({"body": long})), 400, "text.body"),
        (json!({"to": RARA, "type": "poll"}), 400, "type"),
        (json!({"to": RARA, "type": "image"}), 400, "image"),
        (of("image", json!({})), 400, "image.id"),
        (
            of("image", json!({"id": "1", "link": "https://x.example/a.png"})),
            400,
            "image.id",
        ),
        (
            of("image", json!({"link": "file:///etc/passwd"})),
            400,
            "image.link",
        ),
        (
            of("audio", json!({"id": "1", "caption": "x"})),
            400,
            "audio.caption",
        ),
        (
            of("location", json!({"latitude": 91, "longitude": 0})),
            400,
            "location.latitude",
        ),
        (
            of("contacts", json!([{"phones": []}])),
            400,
            "contacts[0].name.formatted_name",
        ),
        (of("reaction", json!({"emoji": "x"})), 400, "reaction.message_id"),
        (
            of("template", json!({"name": "Kode", "language": {"code": "id"}})),
            400,
            "template.name",
        ),
        (of("template", json!({"name": "kode"})), 400, "template.language"),
        (
            of(
                "interactive",
                json!({"type": "button", "body": {"text": "x"}, "action": {"buttons": []}}),
            ),
            400,
            "interactive.action.buttons",
        ),
        (
            of("flow", json!({"flow_id": "1", "body": {"text": "x"}})),
            400,
            "flow.flow_cta",
        ),
        (
            json!({"to": RARA, "text": {"body": "x"}, "context": {}}),
            400,
            "context.message_id",
        ),
        (json!({"to": RARA, "txt": {"body": "x"}}), 400, "txt"),
        (json!({"status": "delivered", "message_id": "x"}), 400, "status"),
        (
            of("reaction", json!({"message_id": "wamid.none", "emoji": "x"})),
            404,
            "reaction.message_id",
        ),
        (
            of(
                "interactive",
                json!({"type": "button", "body": {"text": "x"},
            "header": {"type": "image", "image": {"link": "http://127.0.0.1/x.png"}},
            "action": {"buttons": [{"type": "reply", "reply": {"id": "a", "title": "Ya"}}]}}),
            ),
            422,
            "interactive.header.image.link",
        ),
    ];
    let mut wrong = Vec::new();
    for (asked, status, field) in cases {
        let answer = say(&app, &satu, asked.clone()).await;
        let told = answer.json();
        let fits = answer.status == status
            && told["field"] == field
            && told["error"].is_string()
            && told["code"].is_string();
        if !fits {
            wrong.push(format!("{field}: {} {}", answer.status, answer.text));
        }
    }
    assert_eq!(wrong, [""; 0], "{wrong:#?}");
    assert_eq!(app.count("messages WHERE direction = 'outbound'").await, 0);
    assert!(app.simulator.graph_sends().is_empty());
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_providers_say_what_they_can() {
    let app = spawn_with_primary().await;
    let dua = app.tenant("desa-dua").await;
    let send = |body: Value| {
        let mut body = body;
        body["village_id"] = json!(dua.id);
        let app = &app;
        async move { app.internal(Method::POST, "/messages/send", Some(&body)).await }
    };
    let answer = send(words(RARA, "tanpa jendela")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(app.texts_on(RARA), ["tanpa jendela"]);
    let place = json!({"to": RARA, "type": "location", "location": {"latitude": -6.17, "longitude": 106.82}});
    assert_eq!(send(place).await.status, 200);
    for (kind, part, field) in [
        (
            "template",
            json!({"name": "kode", "language": {"code": "id"}}),
            "template",
        ),
        (
            "flow",
            json!({"body": {"text": "x"}, "flow_id": "1", "flow_cta": "Mulai"}),
            "interactive",
        ),
        ("image", json!({"id": "1900000000000011"}), "id"),
    ] {
        let mut asked = json!({"to": RARA, "type": kind});
        asked[kind] = part;
        let answer = send(asked).await;
        answer.assert_error(422, "not_sayable");
        assert_eq!(answer.json()["field"], field);
    }
    let stranger = send(json!({"recipient": "ID.90812345670000000001", "text": {"body": "x"}})).await;
    stranger.assert_error(422, "not_sayable");
    assert_eq!(stranger.json()["field"], "recipient");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_meta_writes_to_nobody_under_is_refused_before_it_is_queued() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let group =
        json!({"to": "120363025246125486@g.us", "recipient_type": "group", "text": {"body": "rapat"}});
    let answer = say(&app, &satu, group).await;
    answer.assert_error(422, "not_sayable");
    assert_eq!(answer.json()["field"], "to");
    assert_eq!(app.count("messages WHERE direction = 'outbound'").await, 0);
    app.finish().await;
}

async fn spawn_with_primary() -> TestApp {
    TestApp::spawn().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outside_the_window_only_a_template_goes_out() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let never = say(&app, &satu, words(RARA, "satu")).await;
    never.assert_error(409, "window_closed");
    assert_eq!(never.json()["last_inbound_at"], Value::Null);
    assert!(never.json()["remedy"].as_str().unwrap().contains("template"));

    let long_ago = now() - 25 * 60 * 60;
    accepted(&app, &satu.texts(&[text_at(RARA, &wamid(), long_ago, "dulu")])).await;
    let closed = say(&app, &satu, words(RARA, "dua")).await;
    closed.assert_error(409, "window_closed");
    assert!(closed.json()["last_inbound_at"].is_string(), "{}", closed.text);

    let template =
        json!({"to": RARA, "type": "template", "template": {"name": "kode", "language": {"code": "id"}}});
    assert_eq!(say(&app, &satu, template).await.status, 200);
    let mut anyway = words(RARA, "tiga");
    anyway["try_anyway"] = json!(true);
    assert_eq!(say(&app, &satu, anyway).await.status, 200);

    open_window(&app, &satu, RARA).await;
    assert_eq!(say(&app, &satu, words(RARA, "empat")).await.status, 200);
    say(&app, &satu, words(BIMA, "lima"))
        .await
        .assert_error(409, "window_closed");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_sends_once() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    open_window(&app, &satu, RARA).await;
    let key = [("idempotency-key", "perkara 7")];
    let first = say_with(&app, &satu, &key, words(RARA, "sekali")).await;
    let again = say_with(&app, &satu, &key, words(RARA, "sekali")).await;
    assert_eq!((first.status, again.status), (200, 200));
    assert_eq!(first.json()["id"], again.json()["id"]);
    assert_eq!(first.json()["message_id"], again.json()["message_id"]);
    let other = say_with(&app, &satu, &key, words(RARA, "lain")).await;
    other.assert_error(409, "idempotency_key_used");
    assert_eq!(app.simulator.graph_sends().len(), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_villages_numbers_devices_and_messages_are_not_there() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let dua = number(&app, "desa-dua", "Meta", DUA).await;
    let theirs = open_window(&app, &dua, RARA).await;
    open_window(&app, &satu, RARA).await;
    for (field, value) in [("device_id", dua.device.as_str()), ("phone_number_id", dua.id)] {
        let mut asked = words(RARA, "curang");
        asked[field] = json!(value);
        say(&app, &satu, asked)
            .await
            .assert_error(404, "device_not_found");
    }
    let mut asked = words(RARA, "curang");
    asked["device_id"] = json!(Uuid::now_v7());
    say(&app, &satu, asked)
        .await
        .assert_error(404, "device_not_found");
    let read = json!({"status": "read", "message_id": theirs});
    say(&app, &satu, read.clone())
        .await
        .assert_error(404, "message_not_found");
    let mut asked = words(RARA, "curang");
    asked["village_id"] = json!("desa-dua");
    say(&app, &satu, asked)
        .await
        .assert_error(403, "not_your_village");
    assert!(app.simulator.graph_sends().is_empty());

    let mut own = words(RARA, "sendiri");
    own["phone_number_id"] = json!(satu.id);
    assert_eq!(say(&app, &satu, own).await.status, 200);
    assert_eq!(app.simulator.graph_sends()[0].phone_number_id, satu.id);
    assert_eq!(say(&app, &dua, read).await.status, 200);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_marked_as_read_and_typing_is_shown() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let theirs = open_window(&app, &satu, RARA).await;
    let typing = json!({"messaging_product": "whatsapp", "status": "read", "message_id": theirs,
        "typing_indicator": {"type": "text"}});
    let answer = say(&app, &satu, typing).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"success": true})));
    let marks: Vec<Value> = app
        .simulator
        .graph_sends()
        .into_iter()
        .map(|send| send.body)
        .collect();
    assert!(
        marks
            .iter()
            .all(|mark| mark["status"] == "read" && mark["message_id"] == theirs)
    );
    assert_eq!(marks.last().unwrap()["typing_indicator"]["type"], "text");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_message_does_not_close_a_window() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    open_window(&app, &satu, RARA).await;
    let long_ago = (Utc::now().timestamp()) - 48 * 60 * 60;
    let late = text_at(RARA, &wamid(), long_ago, "terlambat");
    accepted(&app, &body(satu.waba, &[change(satu.id, "messages", &[late])])).await;
    assert_eq!(say(&app, &satu, words(RARA, "masih")).await.status, 200);
    app.finish().await;
}
