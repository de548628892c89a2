//! The gate: a client of Meta's Cloud API sends through accounts of any provider.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;
use test_support::eventually;

use crate::cloud_world::{self, SATU};
use crate::gate_world::{Client, admin_of, refused};
use crate::gowa_world;
use crate::harness::{Answer, TestApp, Wishes, text};
use crate::signing_in::ask;

const RARA: &str = "6281290000011";

fn said(words: &str) -> serde_json::Value {
    json!({"to": format!("+{RARA}"), "type": "text", "text": {"body": words}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_goes_out_through_each_provider() {
    let app = TestApp::spawn().await;
    let tenant = app.tenant("desa-satu").await;
    let client = Client::of(&app, &tenant.id).await;
    let answer = client.post(said("Halo")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let sent = answer.json();
    assert_eq!(
        sent["contacts"],
        json!([{"input": format!("+{RARA}"), "wa_id": RARA}])
    );
    eventually("the text is there", || async {
        (app.texts_on(RARA) == ["Halo"]).then_some(())
    })
    .await;
    app.finish().await;

    let app = gowa_world::spawn().await;
    let device = gowa_world::device(&app, "toko-satu", "dev-1", "6281290000001").await;
    let client = Client::of(&app, &device.tenant).await;
    client.send(said("Halo dari toko")).await;
    eventually("the text is there", || async {
        let there = format!("{:?}", app.simulator.gowa_phone(RARA));
        there.contains("Halo dari toko").then_some(())
    })
    .await;
    app.finish().await;

    let app = cloud_world::spawn().await;
    let number = cloud_world::number(&app, "kantor-satu", "Meta", SATU).await;
    let client = Client::of(&app, &number.tenant).await;
    assert_eq!(client.number, SATU.0);
    // Nobody has written yet: only a template may go out.
    assert_eq!(refused(&client.post(said("Halo")).await), (400, 131_047, None));
    let template = json!({"to": RARA, "type": "template",
        "template": {"name": "halo", "language": {"code": "id"}}});
    client.send(template).await;
    cloud_world::accepted(
        &app,
        &number.texts(&[cloud_world::text(RARA, &cloud_world::wamid(), "Ada orang?")]),
    )
    .await;
    eventually("the window is open", || async {
        (client.post(said("Ada")).await.status == 200).then_some(())
    })
    .await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_open_one_tenants_numbers_until_they_are_taken_back() {
    let app = TestApp::spawn().await;
    app.tenant("desa-satu").await;
    app.tenant("desa-dua").await;
    let (ours, theirs) = (
        Client::of(&app, "desa-satu").await,
        Client::of(&app, "desa-dua").await,
    );
    // Another tenant's number is as unknown as nobody's.
    for number in [theirs.number.as_str(), "199999999999999", "abc", "%00", "0"] {
        let path = format!("{number}/messages");
        let mut body = said("x");
        body["messaging_product"] = json!("whatsapp");
        let answer = ours.call(Method::POST, &path, Some(&body)).await;
        assert_eq!(refused(&answer), (400, 100, Some(33)), "{number}");
        let answer = ours.call(Method::GET, number, None).await;
        assert_eq!(refused(&answer), (400, 100, Some(33)), "{number}");
    }
    for token in ["", "x", &format!("KANALGATE{}", "0".repeat(64))] {
        let client = Client {
            app: &app,
            token: token.to_owned(),
            number: ours.number.clone(),
        };
        assert_eq!(refused(&client.post(said("x")).await), (401, 190, None));
    }
    let admin = admin_of(&app, "desa-satu").await;
    let headers = [("authorization", admin.as_str())];
    let made = ask(
        &app,
        Method::POST,
        "/whatsapp/gate",
        &headers,
        Some(json!({"name": "CRM"})),
    )
    .await;
    assert_eq!(made.status, 201, "{}", made.text);
    let made = made.json();
    let client = Client {
        app: &app,
        token: made["token"].as_str().unwrap().to_owned(),
        number: ours.number.clone(),
    };
    let view = client.call(Method::GET, &client.number, None).await.json();
    assert_eq!(view["id"], client.number);
    assert_eq!(view["verified_name"], "desa-satu");
    let some = format!("{}?fields=quality_rating", client.number);
    let view = client.call(Method::GET, &some, None).await.json();
    assert_eq!(view, json!({"id": client.number, "quality_rating": "UNKNOWN"}));
    // The token itself is nowhere.
    let shown = ask(&app, Method::GET, "/whatsapp/gate", &headers, None).await;
    assert!(!shown.text.contains(made["token"].as_str().unwrap()));
    // Another tenant's admin cannot take it back.
    let other = admin_of(&app, "desa-dua").await;
    let path = format!("/whatsapp/gate/tokens/{}", made["id"].as_str().unwrap());
    let answer = ask(&app, Method::DELETE, &path, &[("authorization", &other)], None).await;
    assert_eq!(answer.status, 404);
    let answer = ask(&app, Method::DELETE, &path, &headers, None).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(refused(&client.post(said("x")).await), (401, 190, None));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_of_messages_can_be_answered_reacted_to_and_read() {
    let app = TestApp::spawn().await;
    let tenant = app.tenant("desa-satu").await;
    app.tenant("desa-dua").await;
    app.post(&tenant.json(&text(RARA, "3EB0AAAA", "Selamat pagi")))
        .await
        .assert_kept();
    let ids = app
        .values("SELECT id AS value FROM messages WHERE direction = 'inbound'")
        .await;
    let id: uuid::Uuid = ids[0].as_str().unwrap().parse().unwrap();
    let wamid = channel_service::flows::gate::ids::wamid(domain::ids::MessageId::from_uuid(id));
    let client = Client::of(&app, "desa-satu").await;
    let mut reply = said("Pagi");
    reply["context"] = json!({"message_id": wamid});
    let ours = client.send(reply).await;
    client
        .send(json!({"to": RARA, "type": "reaction", "reaction": {"message_id": wamid, "emoji": "👍"}}))
        .await;
    let read = json!({"status": "read", "message_id": wamid, "typing_indicator": {"type": "text"}});
    let answer = client.post(read.clone()).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"success": true})));
    let quoted = app
        .values("SELECT quoted AS value FROM messages WHERE direction = 'outbound' AND kind = 'text'")
        .await;
    assert_eq!(quoted, [json!("3EB0AAAA")]);
    let target = app
        .values("SELECT target AS value FROM messages WHERE kind = 'reaction'")
        .await;
    assert_eq!(target, [json!("3EB0AAAA")]);
    // Nobody else's message can be meant, and ours is not read by us.
    let stranger = Client::of(&app, "desa-dua").await;
    assert_eq!(refused(&stranger.post(read).await).1, 131_009);
    let reaction = json!({"to": RARA, "type": "reaction", "reaction": {"message_id": wamid, "emoji": "👍"}});
    assert_eq!(refused(&stranger.post(reaction).await).1, 131_009);
    let read = json!({"status": "read", "message_id": ours});
    assert_eq!(refused(&client.post(read).await).1, 131_009);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_sent_is_refused_in_metas_words() {
    let app = TestApp::with(Wishes {
        settings: &[("GATE_RATE_PER_NUMBER", "100000")],
        ..Wishes::default()
    })
    .await;
    app.tenant("desa-satu").await;
    app.bare_tenant("desa-tiga").await;
    let client = Client::of(&app, "desa-satu").await;
    let template =
        json!({"to": RARA, "type": "template", "template": {"name": "a", "language": {"code": "id"}}});
    let media = json!({"to": RARA, "type": "image", "image": {"id": "123"}});
    for (body, expected) in [
        (json!({"to": RARA, "type": "text"}), (400, 131_008, None)),
        (
            json!({"to": RARA, "type": "text", "text": {"body": ""}}),
            (400, 131_008, None),
        ),
        (
            json!({"to": "x", "type": "text", "text": {"body": "x"}}),
            (400, 131_009, None),
        ),
        (
            json!({"to": RARA, "type": "flow", "flow": {}}),
            (400, 131_051, None),
        ),
        (template, (400, 131_051, None)),
        (media, (400, 100, Some(33))),
    ] {
        assert_eq!(refused(&client.post(body.clone()).await), expected, "{body}");
    }
    let path = format!("{}/messages", client.number);
    let url = format!("{}/graph/v22.0/{path}", app.url);
    for (body, status) in [("{", 400), ("[]", 400), (&"x".repeat(300_000), 413)] {
        let request = app
            .http()
            .post(&url)
            .bearer_auth(&client.token)
            .body(body.to_owned());
        let answer = Answer::of(request.send().await.unwrap()).await;
        assert_eq!(refused(&answer).0, status);
    }
    // An account without a session, and a suspended tenant.
    let bare = Client::of(&app, "desa-tiga").await;
    assert_eq!(refused(&bare.post(said("x")).await), (400, 133_010, None));
    app.run_sql("UPDATE tenants SET status = 'suspended' WHERE tenant_id = 'desa-satu'")
        .await;
    assert_eq!(refused(&client.post(said("x")).await), (403, 131_031, None));
    assert_eq!(app.count("messages").await, 0, "nothing was queued");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gate_refuses_what_the_ordinary_road_refuses() {
    let app = cloud_world::spawn().await;
    let number = cloud_world::number(&app, "kantor-satu", "Meta", SATU).await;
    let client = Client::of(&app, &number.tenant).await;
    let template = |name: &str, count: u32| {
        let parameters: Vec<_> = (0..count)
            .map(|n| json!({"type": "text", "text": n.to_string()}))
            .collect();
        json!({"to": RARA, "type": "template", "template": {"name": name, "language": {"code": "id"},
            "components": [{"type": "body", "parameters": parameters}]}})
    };
    app.run_sql(&format!(
        "INSERT INTO cloud_templates (tenant_id, waba_id, name, language, status, category, raw) VALUES \
            ('kantor-satu', '{waba}', 'pengingat', 'id', 'APPROVED', 'UTILITY', '{raw}'), \
            ('kantor-satu', '{waba}', 'berhenti', 'id', 'PAUSED', 'UTILITY', '{raw}')",
        waba = SATU.1,
        raw = r#"{"name": "pengingat", "language": "id", "status": "APPROVED", "category": "UTILITY", "components": [{"type": "BODY", "text": "Halo {{1}}, jam {{2}}"}]}"#,
    ))
    .await;
    assert_eq!(
        refused(&client.post(template("pengingat", 1)).await),
        (400, 132_000, None)
    );
    assert_eq!(
        refused(&client.post(template("berhenti", 2)).await),
        (404, 132_001, None)
    );
    // Reactions only to what the chat has, by whatever name.
    let reaction =
        json!({"to": RARA, "type": "reaction", "reaction": {"message_id": "wamid.dGlkYWs=", "emoji": "x"}});
    assert_eq!(refused(&client.post(reaction).await).1, 131_009);
    // Switched off, the channel sends nothing.
    app.run_sql(
        "INSERT INTO channel_accounts (tenant_id, id, enabled_wa) VALUES ('kantor-satu', gen_random_uuid(), false) \
         ON CONFLICT (tenant_id) DO UPDATE SET enabled_wa = false",
    )
    .await;
    let off = client.post(template("pengingat", 2)).await;
    assert_eq!(refused(&off), (400, 133_010, None));
    assert!(off.text.contains("switched off"), "{}", off.text);
    app.run_sql("UPDATE channel_accounts SET enabled_wa = true").await;
    assert_eq!(app.count("messages WHERE direction = 'outbound'").await, 0);
    client.send(template("pengingat", 2)).await;
    // Nor is anything put up or marked for a tenant that is suspended.
    app.run_sql("UPDATE tenants SET status = 'suspended' WHERE tenant_id = 'kantor-satu'")
        .await;
    let answer = client
        .put_up("a.jpg", "image/jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF")
        .await;
    assert_eq!(refused(&answer), (403, 131_031, None));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_refused_in_metas_shape() {
    let app = TestApp::spawn().await;
    app.tenant("desa-satu").await;
    let client = Client::of(&app, "desa-satu").await;
    for (method, path) in [
        (Method::GET, format!("{}/message_templates", client.number)),
        (Method::GET, format!("{}/messages", client.number)),
        (Method::POST, client.number.clone()),
        (Method::GET, String::new()),
    ] {
        let answer = client.call(method.clone(), &path, None).await;
        assert_eq!(refused(&answer), (404, 2_500, None), "{method} {path}");
    }
    app.finish().await;
}

/// What was refused because of a limit; a machine that is busy says "come again" besides.
fn limits(answers: &[Answer]) -> BTreeSet<u64> {
    let limited = answers
        .iter()
        .filter(|answer| !matches!(answer.status, 200 | 503));
    limited.map(|answer| refused(answer).1).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_told_by_what_they_are_about() {
    // Nothing else is limited, and what is comes back so slowly that no machine is slow enough to get it all.
    let app = TestApp::with(Wishes {
        settings: &[
            ("GATE_RATE_PER_NUMBER", "10000"),
            ("GATE_RATE_PER_TENANT", "10000"),
        ],
        ..Wishes::default()
    })
    .await;
    app.tenant("desa-satu").await;
    let client = Client::of(&app, "desa-satu").await;
    // One person gets forty-five at once, whatever the number may.
    let answers = futures_util::future::join_all((0..80).map(|_| client.post(said("x")))).await;
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert!(answer.headers.contains_key("retry-after"));
    }
    assert_eq!(limits(&answers), [131_056].into());
    app.finish().await;

    let app = TestApp::with(Wishes {
        settings: &[("GATE_RATE_PER_NUMBER", "1"), ("GATE_RATE_PER_TENANT", "10000")],
        ..Wishes::default()
    })
    .await;
    app.tenant("desa-satu").await;
    app.tenant("desa-dua").await;
    let client = Client::of(&app, "desa-satu").await;
    let sending =
        (0..80).map(|at| client.post(json!({"to": format!("62812{at:08}"), "text": {"body": "x"}})));
    let answers = futures_util::future::join_all(sending).await;
    assert_eq!(limits(&answers), [130_429].into());
    // Another tenant is not slowed down by it.
    let other = Client::of(&app, "desa-dua").await;
    other.send(said("x")).await;
    app.finish().await;

    let app = TestApp::with(Wishes {
        settings: &[("GATE_RATE_PER_TENANT", "1")],
        ..Wishes::default()
    })
    .await;
    app.tenant("desa-satu").await;
    let client = Client::of(&app, "desa-satu").await;
    let asking = (0..80).map(|_| client.call(Method::GET, &client.number, None));
    let answers = futures_util::future::join_all(asking).await;
    assert_eq!(limits(&answers), [80_007].into());
    app.finish().await;
}
