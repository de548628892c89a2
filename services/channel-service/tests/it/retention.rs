//! What a tenant keeps for a time is gone afterwards, wherever it was; its younger things and other tenants' stay.

use channel_service::flows::gate::deliver::TELL;
use channel_service::flows::media_garbage::take_out;
use channel_service::flows::retention::sweep;
use channel_service::store::retention::DaysRow;
use chrono::{DateTime, TimeDelta, Utc};
use domain::user::Role;
use messaging::events::send_requested::SendRequested;
use reqwest::Method;
use runtime::shutdown::Shutdown;
use serde_json::{Value, json};
use test_support::canary::Of;

use crate::ai_handover::until_handled;
use crate::harness::{Tenant, TestApp, Wishes, order, receipt, refusal, text};
use crate::media::{jpeg, picture, with_inline};
use crate::signing_in::{ask, bearer_of};

const ERIN: &str = "6281277700011";
const BUDI: &str = "6281277700022";

async fn say(app: &TestApp, tenant: &Tenant, to: &str, words: &str, status: &str) {
    let reference = format!("ref-{}", hex::encode(words));
    let order = SendRequested {
        text: words.to_owned(),
        ..order(tenant.account, to, &reference)
    };
    app.publish(&tenant.id, &order).await;
    app.until_status(&reference, status).await;
}

/// Words, a file, a raw event, an answer and one that was put aside. All of them hold `mark`.
async fn plant(app: &TestApp, tenant: &Tenant, mark: &str) {
    let id = |n: u8| format!("3EB0{}{n}", &hex::encode(mark)[6..]);
    app.post(&tenant.json(&text(ERIN, &id(1), &format!("{mark} halo"))))
        .await
        .assert_kept();
    let mut bytes = jpeg(400);
    bytes.extend(mark.as_bytes());
    let mut file = picture(&id(2), &format!("{mark} gambar"));
    file["event"]["Info"]["Chat"] = json!(format!("{ERIN}@s.whatsapp.net"));
    file["event"]["Info"]["Sender"] = json!(format!("{ERIN}:7@s.whatsapp.net"));
    file["fileName"] = json!(format!("{mark}.jpg"));
    app.post(&tenant.json(&with_inline(file, &bytes)))
        .await
        .assert_kept();
    app.post(&tenant.json(&json!({"type": "NeverHeardOf", "event": {"said": mark}})))
        .await
        .assert_done("Event kept");
    say(app, tenant, ERIN, &format!("{mark} jawab"), "sent").await;
    app.sends_fail(refusal(500, "no session", None), 1);
    say(app, tenant, ERIN, &format!("{mark} tunda"), "parked").await;
    until_handled(app, &id(1)).await;
}

async fn swept(app: &TestApp, now: DateTime<Utc>) {
    sweep(&app.direct, DaysRow::default(), now, &Shutdown::new())
        .await
        .unwrap();
    take_out(&app.direct, &app.media.storage).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_past_its_time_is_nowhere_and_everything_else_goes_on() {
    let app = TestApp::with(Wishes {
        send_attempts: "1",
        ..Wishes::default()
    })
    .await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    plant(&app, &satu, "canaryOld").await;
    plant(&app, &dua, "canaryOther").await;
    app.post(&satu.json(&text(BUDI, "3EB0B1", "canaryOld saja")))
        .await
        .assert_kept();
    app.until_published().await;
    until_handled(&app, "3EB0B1").await;
    let then = app.values("SELECT clock_timestamp() AS value").await.remove(0);
    let then: DateTime<Utc> = then.as_str().unwrap().parse().unwrap();
    // Ids tell milliseconds.
    let then = then + TimeDelta::milliseconds(2);
    while Utc::now() <= then {
        tokio::task::yield_now().await;
    }
    plant(&app, &satu, "canaryNew").await;
    app.until_published().await;

    let admin = bearer_of(&app, "rara@desa.id", Role::TenantAdmin, Some("desa-satu")).await;
    let put = async |path: &str, body: Value| {
        ask(&app, Method::PUT, path, &[("authorization", &admin)], Some(body)).await
    };
    let path = "/tenants/desa-satu/retention";
    for wrong in [json!(0), json!(3651), json!("30"), json!(1.5)] {
        put(path, json!({"text_days": wrong}))
            .await
            .assert_error(400, "invalid_days");
    }
    put(path, json!({"texts": 30}))
        .await
        .assert_error(400, "unknown_field");
    put("/tenants/desa-dua/retention", json!({"text_days": 1}))
        .await
        .assert_error(403, "not_your_village");
    // Nothing is set yet, so nothing goes.
    let places = async |mark: &str| app.places_of(mark, Of::All).await;
    let all = [
        places("canaryOld").await,
        places("canaryNew").await,
        places("canaryOther").await,
    ];
    swept(&app, then + TimeDelta::days(1)).await;
    assert_eq!(places("canaryOld").await, all[0]);
    for place in [
        "messages.body",
        "messages.content",
        "chats.last_text",
        "provider_events.payload",
        "file ",
    ] {
        assert!(
            all[0].iter().any(|found| found.contains(place)),
            "{place}: {:?}",
            all[0]
        );
    }

    // Words first: files and raw events have their own time.
    let answer = put(path, json!({"text_days": 1})).await;
    assert_eq!(
        answer.json()["data"],
        json!({"text_days": 1, "media_days": null, "raw_days": null})
    );
    let count = app.count("messages").await;
    swept(&app, then + TimeDelta::days(1)).await;
    let left = places("canaryOld").await;
    assert!(
        left.iter()
            .all(|place| place.starts_with("file ") || place == "provider_events.payload"),
        "{left:?}"
    );
    assert_eq!(left.len(), 2);
    let files = "SELECT count(*) AS value FROM media WHERE tenant_id = 'desa-satu'";
    assert_eq!(app.values(files).await, [2]);
    put(path, json!({"media_days": 1, "raw_days": 1})).await;
    swept(&app, then + TimeDelta::days(1)).await;
    assert_eq!(places("canaryOld").await, [] as [String; 0]);
    assert_eq!(app.values(files).await, [1]);
    assert_eq!(
        [places("canaryNew").await, places("canaryOther").await],
        [all[1].clone(), all[2].clone()]
    );

    // Rows, statuses and ids are there: receipts and repeated webhooks go on.
    assert_eq!(app.count("messages").await, count);
    let chats =
        "SELECT phone || ' ' || last_text AS value FROM chats WHERE tenant_id = 'desa-satu' ORDER BY phone";
    assert_eq!(
        app.values(chats).await,
        [format!("{ERIN} canaryNew tunda"), format!("{BUDI} ")]
    );
    app.post(&satu.json(&text(BUDI, "3EB0B1", "canaryOld saja")))
        .await
        .assert_done("Duplicate message");
    let sent = "SELECT provider_message_id AS value FROM messages WHERE tenant_id = 'desa-satu' \
                AND status = 'sent' AND direction = 'outbound' AND body = ''";
    let sent = app.values(sent).await.remove(0);
    app.post(&satu.json(&receipt(ERIN, &[sent.as_str().unwrap()], "Read")))
        .await
        .assert_done("Receipt recorded");
    let aside = "SELECT status, reason FROM messages m WHERE tenant_id = 'desa-satu' AND status = 'parked' AND body = '' \
                 AND NOT EXISTS (SELECT 1 FROM lane_tasks t WHERE t.tenant_id = m.tenant_id AND t.id = m.id)";
    assert_eq!(app.rows(aside).await.len(), 1);
    let acts = "SELECT detail AS value FROM audit_log WHERE action = 'retention.set' ORDER BY id";
    assert_eq!(
        app.values(acts).await,
        [
            "texts 1, media default, raw events default",
            "texts 1, media 1, raw events 1"
        ]
    );
    // Everything is read by people as before.
    let chat = app
        .internal(
            Method::GET,
            &format!("/conversations/{BUDI}?village_id=desa-satu"),
            None,
        )
        .await;
    assert_eq!(chat.status, 200, "{}", chat.text);
    // Back to the default: nothing more goes.
    put(
        path,
        json!({"text_days": null, "media_days": null, "raw_days": null}),
    )
    .await;
    swept(&app, then + TimeDelta::days(400)).await;
    assert_eq!(places("canaryNew").await, all[1]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_messages_go_in_batches_and_what_waits_to_be_sent_is_put_aside() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.run_sql("UPDATE tenants SET status = 'suspended'").await;
    app.post(&desa.json(&text(ERIN, "3EB0M1", "canaryMany")))
        .await
        .assert_kept();
    let reference = "ref-waits";
    let waits = SendRequested {
        text: "canaryMany waits".to_owned(),
        ..order(desa.account, ERIN, reference)
    };
    app.publish(&desa.id, &waits).await;
    app.until_status(reference, "queued").await;
    // Messages as those of a while ago: their ids tell when.
    app.run_sql(
        "INSERT INTO messages (tenant_id, id, account_id, chat_id, direction, source, provider_message_id, kind, body, \
                               content, sent_at, status) \
         SELECT c.tenant_id, ('01000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, c.account_id, c.id, 'inbound', \
                'webhook', 'OLD' || n, 'text', 'canaryMany', '{\"kind\":\"text\",\"text\":\"canaryMany\"}', now(), 'delivered' \
         FROM chats c, generate_series(1, 1201) n",
    )
    .await;
    let days = DaysRow {
        text_days: Some(30),
        ..DaysRow::default()
    };
    sweep(
        &app.direct,
        days,
        Utc::now() + TimeDelta::days(31),
        &Shutdown::new(),
    )
    .await
    .unwrap();
    app.until_status(reference, "parked").await;
    app.until_published().await;
    assert_eq!(app.places_of("canaryMany", Of::All).await, [] as [String; 0]);
    assert_eq!(app.count("messages").await, 1_203);
    app.run_sql("UPDATE tenants SET status = 'active'").await;
    assert_eq!(
        app.values("SELECT reason AS value FROM messages WHERE status = 'parked'")
            .await,
        ["text_expired"]
    );
    assert_eq!(app.texts_on(ERIN), [] as [String; 0]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_put_aside_goes_with_the_words_and_what_still_waits_stays() {
    let app = TestApp::spawn().await;
    for tenant in ["desa-satu", "desa-dua"] {
        app.bare_tenant(tenant).await;
    }
    let tasks = [
        ("desa-satu", TELL, true, 3),
        ("desa-satu", TELL, true, 1),
        // On no lane, so nobody takes it.
        ("desa-satu", TELL, false, 3),
        ("desa-satu", "another_kind", true, 3),
        ("desa-dua", TELL, true, 3),
    ];
    for (tenant, kind, parked, days) in tasks {
        app.run_sql(&format!(
            "INSERT INTO lane_tasks (tenant_id, id, lane, kind, payload, parked, created_at) VALUES \
             ('{tenant}', gen_random_uuid(), 'gate:x', '{kind}', '{days}', {parked}, now() - interval '{days} days'); \
             INSERT INTO outbox (tenant_id, lane, event_id, event_type, envelope, parked, created_at) VALUES \
             ('{tenant}', 'x', gen_random_uuid(), '{kind}', '{days}', 'too_large', now() - interval '{days} days')"
        ))
        .await;
    }
    app.run_sql("UPDATE tenants SET text_days = 2 WHERE tenant_id = 'desa-satu'")
        .await;
    swept(&app, Utc::now()).await;
    let left = "SELECT concat_ws(' ', tenant_id, kind, parked, payload) AS value FROM lane_tasks ORDER BY 1";
    assert_eq!(
        app.values(left).await,
        [
            "desa-dua gate_webhook t 3",
            "desa-satu another_kind t 3",
            "desa-satu gate_webhook f 3",
            "desa-satu gate_webhook t 1"
        ]
    );
    let left = "SELECT concat_ws(' ', tenant_id, envelope) AS value FROM outbox ORDER BY 1";
    assert_eq!(app.values(left).await, ["desa-dua 3", "desa-satu 1"]);
    app.finish().await;
}
