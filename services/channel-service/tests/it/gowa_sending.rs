//! Sending through a GoWA: every kind, under the ids that the server makes, and what happens when it does not play along.
//! Nothing is ever sent twice that may have gone out.

use domain::ids::ProviderMessageId;
use domain::message::{ContactCard, Media, MediaKind, MediaSource, MessageContent};
use serde_json::{Value, json};
use simulator::{FaultKind, FaultSpec, GowaConfigChange, GowaReceipt};
use test_support::eventually;

use crate::gowa_world::{BIMA, Device, RARA, device, spawn, with};
use crate::harness::{TestApp, Wishes};

const NUMBER: &str = "628111000001";

fn id(text: &str) -> ProviderMessageId {
    ProviderMessageId::parse(text).unwrap()
}

fn refuses(status: u16, code: &str) -> FaultKind {
    FaultKind::Status {
        status,
        body: Some(json!({"code": code, "message": "no"})),
        retry_after: None,
    }
}

fn sends_fail(app: &TestApp, kind: FaultKind, times: u64) {
    app.simulator
        .add_fault(FaultSpec::on_path("/gowa/send/message", kind).times(times))
        .unwrap();
}

fn texts_on(app: &TestApp, phone: &str) -> Vec<String> {
    let shown = app.simulator.gowa_phone(phone);
    shown.into_iter().map(|message| message.text).collect()
}

fn receipts(app: &TestApp, on: bool) {
    app.simulator.configure_gowa(GowaConfigChange {
        auto_receipts: Some(on),
        ..GowaConfigChange::default()
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_goes_by_the_servers_id_and_its_receipts_come_back() {
    let app = spawn().await;
    let toko = device(&app, "desa-satu", "toko-1", NUMBER).await;
    receipts(&app, true);
    for _ in 0..3 {
        toko.order(&app, RARA, "halo Rara").await;
    }
    app.until_status("halo Rara", "read").await;
    eventually("three orders, three messages", || async {
        (app.simulator.gowa_phone(RARA).len() == 3).then_some(())
    })
    .await;
    let shown = app.simulator.gowa_phone(RARA);
    let mut ids: Vec<&str> = shown.iter().map(|message| message.id.as_str()).collect();
    eventually("all of them are read", || async {
        let read = "SELECT count(*) AS value FROM messages WHERE status = 'read'";
        (app.values(read).await == [json!(3)]).then_some(())
    })
    .await;
    let rows = app
        .rows("SELECT provider_message_id, ordered_as FROM messages ORDER BY provider_message_id")
        .await;
    ids.sort_unstable();
    let known: Vec<&str> = rows
        .iter()
        .map(|row| row["provider_message_id"].as_str().unwrap())
        .collect();
    assert_eq!(known, ids);
    assert!(
        rows.iter()
            .all(|row| row["ordered_as"] != row["provider_message_id"])
    );
    // Whoever follows the message is told its id when it is known.
    let told = app.data_of("message.status_changed");
    let sent: Vec<&Value> = told.iter().filter(|data| data["status"] == "sent").collect();
    assert!(
        sent.iter()
            .all(|data| ids.contains(&data["provider_message_id"].as_str().unwrap()))
    );
    assert_eq!(app.count("early_receipts").await, 0);
    assert_eq!(app.count("lane_tasks").await, 0);
    app.finish().await;
}

fn file(kind: MediaKind, url: &str, mime: &str) -> MessageContent {
    MessageContent::Media(Media {
        media_kind: kind,
        caption: Some("keterangan".into()),
        mime_type: Some(mime.into()),
        file_name: Some("KK.pdf".into()),
        size: None,
        seconds: None,
        sha256: None,
        sources: vec![MediaSource::Link { url: url.to_owned() }],
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_goes_out_and_messages_are_named_by_either_id() {
    let app = spawn().await;
    let toko = device(&app, "desa-satu", "toko-1", NUMBER).await;
    toko.order(&app, RARA, "pertama").await;
    app.until_status("pertama", "sent").await;
    let ordered = app.values("SELECT ordered_as AS value FROM messages").await;
    let ordered = ordered[0].as_str().unwrap().to_owned();
    let theirs = app.simulator.gowa_phone(RARA)[0].id.clone();
    let url = app.simulator.put_s3_object("a.bin", vec![7; 2000]);
    let contents = [
        ("gambar", file(MediaKind::Image, &url, "image/png")),
        ("film", file(MediaKind::Video, &url, "video/mp4")),
        ("suara", file(MediaKind::Voice, &url, "audio/ogg; codecs=opus")),
        ("lagu", file(MediaKind::Audio, &url, "audio/mpeg")),
        ("berkas", file(MediaKind::Document, &url, "application/pdf")),
        ("stiker", file(MediaKind::Sticker, &url, "image/webp")),
        (
            "tempat",
            MessageContent::Location {
                latitude: -6.2,
                longitude: 106.8,
                name: Some("Monas".into()),
                address: None,
                live: false,
            },
        ),
        (
            "kartu",
            MessageContent::Contacts {
                contacts: vec![ContactCard {
                    display_name: "Pak RT".into(),
                    vcard: Some("BEGIN:VCARD\nTEL;waid=62811:+62 811\nEND:VCARD".into()),
                }],
            },
        ),
    ];
    for (reference, content) in contents {
        toko.send(&app, reference, content, None).await;
    }
    let words = MessageContent::Text {
        text: "jawaban".into(),
    };
    toko.send(&app, "jawaban", words, Some(&ordered)).await;
    let target = id(&ordered);
    let emoji = Some("👍".into());
    let reaction = MessageContent::Reaction {
        target: id(&theirs),
        emoji,
    };
    toko.send(&app, "jempol", reaction, None).await;
    let edit = MessageContent::Edit {
        target: target.clone(),
        content: Box::new(MessageContent::Text {
            text: "pertama, lebih baik".into(),
        }),
    };
    toko.send(&app, "ubah", edit, None).await;
    for reference in [
        "gambar", "film", "suara", "lagu", "berkas", "stiker", "tempat", "kartu", "jawaban", "jempol", "ubah",
    ] {
        app.until_status(reference, "sent").await;
    }
    let shown = app.simulator.gowa_phone(RARA);
    let kinds: Vec<&str> = shown.iter().map(|message| message.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "message", "image", "video", "audio", "audio", "file", "sticker", "location", "contact",
            "message"
        ]
    );
    assert!(
        shown[1..7]
            .iter()
            .all(|message| message.file.as_ref().unwrap().bytes == 2000)
    );
    assert_eq!(
        (shown[3].body["ptt"].as_str(), shown[4].body["ptt"].as_str()),
        (Some("true"), None)
    );
    assert_eq!(shown[5].file.as_ref().unwrap().name, "KK.pdf");
    assert_eq!(shown[8].body["contact_phone"], "62811");
    // Ordered under our id, sent under the server's.
    assert_eq!(shown[9].quoted_id.as_deref(), Some(theirs.as_str()));
    assert_eq!(
        (shown[0].reaction.as_deref(), shown[0].edited),
        (Some("👍"), true)
    );
    assert_eq!(
        app.values("SELECT body AS value FROM messages WHERE reference = 'pertama'")
            .await,
        [json!("pertama, lebih baik")]
    );
    toko.send(&app, "hapus", MessageContent::Revoke { target }, None)
        .await;
    app.until_status("hapus", "sent").await;
    assert!(app.simulator.gowa_phone(RARA)[0].deleted);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_that_are_faster_than_the_answer_are_not_lost() {
    let app = spawn().await;
    let toko = device(&app, "desa-satu", "toko-1", NUMBER).await;
    receipts(&app, true);
    sends_fail(&app, FaultKind::SlowAnswer { ms: 1_500 }, 1);
    toko.order(&app, RARA, "lambat").await;
    eventually("both receipts are kept for later", || async {
        let kept = app.values("SELECT status AS value FROM early_receipts").await;
        (kept == [json!("read")]).then_some(())
    })
    .await;
    assert_eq!(app.statuses("lambat"), ["queued"]);
    app.until_status("lambat", "read").await;
    assert_eq!(app.statuses("lambat"), ["queued", "sent", "read"]);
    assert_eq!(app.count("early_receipts").await, 0);
    // Receipts for what was never sent here wait for nothing and are swept with time.
    let stranger = GowaReceipt {
        device: "toko-1".to_owned(),
        ids: vec!["3EB0NEVER".to_owned()],
        from: RARA.to_owned(),
        receipt_type: "delivered".to_owned(),
        ..GowaReceipt::default()
    };
    app.simulator.gowa_receipt(&stranger).unwrap();
    eventually("it is kept", || async {
        (app.count("early_receipts").await == 1).then_some(())
    })
    .await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_and_answers_that_race_lose_nothing() {
    let app = spawn().await;
    let toko = device(&app, "desa-satu", "toko-1", NUMBER).await;
    receipts(&app, true);
    for number in 0..12 {
        // Around the moment at which the receipts are posted.
        let ms = 10 + number * 4;
        sends_fail(&app, FaultKind::SlowAnswer { ms }, 1);
        toko.order(&app, RARA, &format!("nomor {number}")).await;
    }
    eventually("every one of them is read", || async {
        let read = "SELECT count(*) AS value FROM messages WHERE status = 'read'";
        (app.values(read).await == [json!(12)]).then_some(())
    })
    .await;
    eventually("nothing waits for a message", || async {
        (app.count("early_receipts").await == 0).then_some(())
    })
    .await;
    assert_eq!(app.simulator.gowa_phone(RARA).len(), 12);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_have_gone_out_is_never_sent_again() {
    let app = with(Wishes {
        message_timeout_ms: "1000",
        ..Wishes::default()
    })
    .await;
    let toko = device(&app, "desa-satu", "toko-1", NUMBER).await;
    let late = |status: u16, code: &str| FaultKind::LateStatus {
        status,
        body: Some(json!({"code": code, "message": "no"})),
    };
    for (number, (kind, reason, arrived)) in [
        (late(504, "GATEWAY_TIMEOUT"), "gateway_timeout", 1),
        (late(500, "INTERNAL_SERVER_ERROR"), "server_error", 1),
        (late(502, ""), "bad_gateway", 1),
        (FaultKind::LostAnswer, "connection_cut", 1),
        (FaultKind::SlowAnswer { ms: 3_000 }, "timeout", 1),
        // It did not go out, but nobody can know.
        (FaultKind::Cut, "connection_cut", 0),
        (refuses(500, "INTERNAL_SERVER_ERROR"), "server_error", 0),
    ]
    .into_iter()
    .enumerate()
    {
        let reference = format!("entah {number}");
        let before = app.simulator.gowa_phone(RARA).len();
        sends_fail(&app, kind, 1);
        toko.order(&app, RARA, &reference).await;
        app.until_status(&reference, "unknown").await;
        assert_eq!(
            app.simulator.gowa_phone(RARA).len(),
            before + arrived,
            "{reference}"
        );
        let row = app
            .rows(&format!(
                "SELECT status, reason FROM messages WHERE reference = '{reference}'"
            ))
            .await;
        assert_eq!(
            row,
            [json!({"status": "unknown", "reason": reason})],
            "{reference}"
        );
    }
    // The chat goes on, and nothing of the above was tried again meanwhile.
    toko.order(&app, RARA, "berikutnya").await;
    app.until_status("berikutnya", "sent").await;
    assert_eq!(app.simulator.gowa_phone(RARA).len(), 6);
    assert_eq!(app.count("send_attempts").await, 8);
    assert_eq!(
        app.values("SELECT count(*) AS value FROM lane_tasks WHERE parked")
            .await,
        [json!(7)]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_certainly_did_not_go_out_is_tried_again_and_goes_out_once() {
    let app = spawn().await;
    let toko = device(&app, "desa-satu", "toko-1", NUMBER).await;
    for (number, kind) in [
        refuses(500, "UPLOAD_MEDIA_ERROR"),
        refuses(500, "INVALID_WA_CLI"),
        refuses(401, "AUTHENTICATION_ERROR"),
        refuses(404, "DEVICE_NOT_FOUND"),
        refuses(503, "DEVICE_MANAGER_UNAVAILABLE"),
    ]
    .into_iter()
    .enumerate()
    {
        sends_fail(&app, kind, 1);
        let reference = format!("sabar {number}");
        toko.order(&app, RARA, &reference).await;
        app.until_status(&reference, "sent").await;
        assert_eq!(app.statuses(&reference), ["queued", "sent"]);
    }
    assert_eq!(texts_on(&app, RARA).len(), 5);
    // A device that is off the network sends when it is back.
    app.simulator.cut_gowa("toko-1");
    toko.order(&app, RARA, "nanti").await;
    eventually("it was tried", || async {
        let tried = "SELECT count(*) AS value FROM send_attempts WHERE reason = 'no_session'";
        (app.values(tried).await[0].as_u64() >= Some(3)).then_some(())
    })
    .await;
    let back = app
        .http()
        .post(format!(
            "{}/gowa/devices/toko-1/reconnect",
            app.simulator.base_url()
        ))
        .basic_auth("kanal", Some("password-of-gowa"));
    assert_eq!(back.send().await.unwrap().status(), 200);
    app.until_status("nanti", "sent").await;
    assert_eq!(texts_on(&app, RARA).len(), 6);
    // Refused for good.
    for (code, reason) in [
        ("INVALID_JID", "invalid_recipient"),
        ("VALIDATION_ERROR", "invalid_request"),
    ] {
        sends_fail(&app, refuses(400, code), 1);
        toko.order(&app, RARA, code).await;
        app.until_status(code, "failed").await;
        let row = app
            .values(&format!(
                "SELECT reason AS value FROM messages WHERE reference = '{code}'"
            ))
            .await;
        assert_eq!(row, [json!(reason)]);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timelock_holds_the_new_contact_for_an_hour_and_no_other_chat() {
    let app = spawn().await;
    let toko = device(&app, "desa-satu", "toko-1", NUMBER).await;
    sends_fail(&app, refuses(429, "WA_REACHOUT_TIMELOCK"), 1);
    toko.order(&app, RARA, "kenalan").await;
    eventually("it was tried", || async {
        (app.count("send_attempts").await == 1).then_some(())
    })
    .await;
    toko.order(&app, BIMA, "lama").await;
    app.until_status("lama", "sent").await;
    assert_eq!(app.statuses("kenalan"), ["queued"]);
    assert!(texts_on(&app, RARA).is_empty());
    assert_eq!(
        app.rows("SELECT outcome, reason FROM send_attempts ORDER BY at LIMIT 1")
            .await,
        [json!({"outcome": "retry_later", "reason": "reachout_timelock"})]
    );
    let wait = "SELECT ready_at > now() + interval '50 minutes' AS value FROM lanes l \
                WHERE EXISTS (SELECT 1 FROM lane_tasks t WHERE t.tenant_id = l.tenant_id AND t.lane = l.lane)";
    assert_eq!(app.values(wait).await, [json!(true)]);
    let paused = "SELECT send_paused_until AS value FROM accounts";
    assert_eq!(app.values(paused).await, [Value::Null]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_ours_that_the_server_tells_of_is_no_new_one() {
    let app = spawn().await;
    let toko = device(&app, "desa-satu", "toko-1", NUMBER).await;
    toko.order(&app, RARA, "dari kami").await;
    app.until_status("dari kami", "sent").await;
    let theirs = app.simulator.gowa_phone(RARA)[0].id.clone();
    let answer = echo(&app, &toko, &theirs).await;
    answer.assert_done("Duplicate message");
    assert_eq!(app.count("messages").await, 1);
    app.finish().await;
}

async fn echo(app: &TestApp, toko: &Device, id: &str) -> crate::harness::Answer {
    let mut event = toko.event(id, "dari kami");
    event["payload"]["is_from_me"] = json!(true);
    crate::gowa_world::post(app, "Toko", &event, Some(&toko.key)).await
}
