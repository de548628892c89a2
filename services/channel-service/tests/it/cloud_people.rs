//! People as Meta shows them: by number, by user id, by both; and what it tells of them, of accounts and of templates.

use serde_json::{Value, json};

use crate::cloud_world::{
    DUA, Number, RARA, SATU, accepted, body, change, now, number, spawn, text, wamid, words_of,
};
use crate::harness::TestApp;

const USER: &str = "ID.90812345670000000001";

/// A text from somebody who shows a number, a user id, or both.
fn from(number: &Number<'_>, phone: Option<&str>, user: Option<&str>, words: &str) -> Value {
    let mut message =
        json!({"id": wamid(), "timestamp": now().to_string(), "type": "text", "text": {"body": words}});
    let mut contact = json!({"profile": {"name": "Rina"}});
    if let Some(phone) = phone {
        message["from"] = json!(phone);
        contact["wa_id"] = json!(phone);
    }
    if let Some(user) = user {
        message["from_user_id"] = json!(user);
        contact["user_id"] = json!(user);
    }
    let mut told = change(number.id, "messages", &[message]);
    told["value"]["contacts"] = json!([contact]);
    body(number.waba, &[told])
}

async fn chats(app: &TestApp) -> Vec<Value> {
    app.values("SELECT address AS value FROM chats ORDER BY address")
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_who_shows_number_and_user_id_is_one_chat_afterwards() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let user = format!("{USER}@bsuid");
    let phone = format!("{RARA}@s.whatsapp.net");
    accepted(&app, &from(&satu, None, Some(USER), "tanpa nomor")).await;
    assert_eq!(chats(&app).await, [json!(user)]);
    accepted(&app, &from(&satu, Some(RARA), Some(USER), "dengan nomor")).await;
    assert_eq!(chats(&app).await, [json!(phone)]);
    accepted(&app, &from(&satu, None, Some(USER), "lagi tanpa")).await;
    assert_eq!(chats(&app).await, [json!(phone)]);
    assert_eq!(words_of(&app, "desa-satu").await.len(), 3);
    app.until_published().await;
    let merged = app.data_of("chat.merged");
    assert_eq!((merged.len(), &merged[0]["merged_address"]), (1, &json!(user)));
    // What is learned is one village's, and a user id of another portfolio is another person.
    let dua = number(&app, "desa-dua", "Meta", DUA).await;
    accepted(&app, &from(&dua, None, Some(USER), "di desa lain")).await;
    assert_eq!(chats(&app).await, [json!(phone), json!(user)]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_never_one_person_because_nothing_is_known_of_them() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    for words in ["satu", "dua"] {
        accepted(&app, &from(&satu, Some(""), Some(""), words)).await;
        accepted(&app, &from(&satu, None, None, words)).await;
    }
    assert_eq!(app.count("chats").await, 0);
    assert_eq!(app.count("provider_events").await, 4);
    accepted(&app, &from(&satu, Some(""), Some("user.00ff"), "tiga")).await;
    assert_eq!(chats(&app).await, [json!("user.00ff@bsuid")]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_number_is_told_and_joins_no_chats() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let new = "6281290000099";
    accepted(&app, &satu.texts(&[text(RARA, &wamid(), "lama")])).await;
    let changed = satu.texts(&[
        json!({"from": RARA, "id": "wamid.SYS==", "timestamp": now().to_string(),
        "type": "system", "system": {"type": "user_changed_number", "wa_id": new,
        "body": format!("User Rara changed from {RARA} to {new}")}}),
    ]);
    for _ in 0..2 {
        accepted(&app, &changed).await;
    }
    accepted(&app, &satu.texts(&[text(new, &wamid(), "baru")])).await;
    assert_eq!(
        chats(&app).await,
        [
            json!(format!("{RARA}@s.whatsapp.net")),
            json!(format!("{new}@s.whatsapp.net"))
        ]
    );
    app.until_published().await;
    let told = app.data_of("whatsapp.update");
    assert_eq!(told.len(), 1);
    assert_eq!(
        (&told[0]["kind"], &told[0]["subject"], &told[0]["account_id"]),
        (
            &json!("identity"),
            &json!(format!("{RARA}@s.whatsapp.net")),
            &json!(satu.device)
        )
    );
    assert_eq!(told[0]["details"]["change"]["new"], new);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_about_a_business_account_is_told_to_everybody_there_once() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    // Another village with a number in the same business account, and one elsewhere.
    let _dua = number(&app, "desa-dua", "Meta", (DUA.0, SATU.1)).await;
    let quality = |number: &str| {
        json!({"field": "phone_number_quality_update", "value": {
            "display_phone_number": number, "event": "THROUGHPUT_UPGRADE",
            "max_daily_conversations_per_business": "TIER_UNLIMITED"}})
    };
    // What people dial is told by the first webhook that is about the number.
    accepted(&app, &satu.texts(&[text(RARA, &wamid(), "halo")])).await;
    app.until_published().await;
    let template = json!({"field": "message_template_status_update", "value": {"event": "REJECTED",
        "message_template_id": 7, "message_template_name": "pengingat", "message_template_language": "id",
        "reason": "INVALID_FORMAT"}});
    let unknown = json!({"field": "partner_solutions", "value": {"event": "SOLUTION_CREATED"}});
    let told = body(SATU.1, &[quality("+62 2150000222"), template, unknown]);
    for _ in 0..2 {
        accepted(&app, &told).await;
    }
    assert_eq!(
        app.rows("SELECT tenant_id, kind FROM cloud_updates ORDER BY tenant_id, kind")
            .await,
        [
            json!({"tenant_id": "desa-dua", "kind": "template"}),
            json!({"tenant_id": "desa-satu", "kind": "quality"}),
            json!({"tenant_id": "desa-satu", "kind": "template"}),
        ]
    );
    app.until_published().await;
    assert_eq!(app.data_of("whatsapp.update").len(), 3);
    assert_eq!(app.count("quarantine").await, 0);
    assert_eq!(
        app.values("SELECT tenant_id AS value FROM accounts WHERE is_upgraded")
            .await,
        [json!("desa-satu")]
    );
    // About a number of which nobody knows whose it is.
    accepted(&app, &body(SATU.1, &[quality("6221550001111")])).await;
    assert_eq!(
        app.values("SELECT reason AS value FROM quarantine").await,
        [json!("unknown_number")]
    );

    // A person's wish about marketing is about one number.
    let mut stop = change(
        SATU.0,
        "user_preferences",
        &[json!({"wa_id": RARA, "detail": "Stopped",
        "category": "marketing_messages", "value": "stop", "timestamp": now()})],
    );
    stop["field"] = json!("user_preferences");
    accepted(&app, &body(SATU.1, &[stop])).await;
    assert_eq!(
        app.rows("SELECT tenant_id, subject FROM cloud_updates WHERE kind = 'preference'")
            .await,
        [json!({"tenant_id": "desa-satu", "subject": format!("{RARA}@s.whatsapp.net")})]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn news_of_a_partner_are_about_the_account_that_they_name() {
    let app = spawn().await;
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let _dua = number(&app, "desa-dua", "Meta", DUA).await;
    // They come under the partner's portfolio, or under another business account.
    for (entry, event) in [
        ("990000000000001", "PARTNER_ADDED"),
        (DUA.1, "PARTNER_APP_INSTALLED"),
    ] {
        let told = json!({"field": "account_update", "value": {"event": event,
            "waba_info": {"waba_id": satu.waba, "owner_business_id": "990000000000002"}}});
        accepted(&app, &body(entry, &[told])).await;
    }
    assert_eq!(
        app.rows("SELECT tenant_id, scope, payload::jsonb #>> '{event,event}' AS event FROM cloud_updates ORDER BY event")
            .await,
        ["PARTNER_ADDED", "PARTNER_APP_INSTALLED"]
            .map(|event| json!({"tenant_id": "desa-satu", "scope": satu.waba, "event": event}))
    );
    assert_eq!(app.count("quarantine").await, 0);
    app.finish().await;
}
