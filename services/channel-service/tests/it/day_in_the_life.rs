//! One day of a village, told from outside: its people open a session, citizens write in every way there is, the AI and
//! an admin answer, somebody floods, something is refused, and in the evening everything adds up. A second village with
//! the same people and the same message ids runs beside it and notices nothing.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use domain::message::{ContactCard, MediaKind, MessageContent};
use domain::user::Role;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::{Inbound, Receipt, ReceiptState, WaConfigChange};
use test_support::eventually;

use crate::ai_handover::until_handled;
use crate::harness::{Maker, TestApp, Wishes, refusal};
use crate::media::jpeg;
use crate::signing_in::bearer_of;
use crate::village::{RARA, Village, id, linked, words};

const BIMA: &str = "6281290000022";
const SARI: &str = "6281290000033";
const SARI_LID: &str = "204466881133557";
const DODI: &str = "6281290000044";
const PDF: &[u8] = b"%PDF-1.7 kartu keluarga";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_village_lives_through_a_day_and_everything_adds_up() {
    let app = TestApp::with(Wishes {
        maker: Maker::Server,
        events_come_here: true,
        send_attempts: "2",
        // However slow the machine is, a flood is one.
        settings: &[("SPAM_RATE_WINDOW_MS", "600000")],
        ..Wishes::default()
    })
    .await;
    let by_hand = WaConfigChange {
        auto_login: Some(false),
        ..WaConfigChange::default()
    };
    app.simulator.configure_wa(by_hand);
    let root = bearer_of(&app, "super@kanal.id", Role::Superadmin, None).await;
    let desa = Village::opens(&app, &root, "desa-satu", "6281100000001").await;
    citizens_write(&desa).await;

    // The neighbours: the same people, the same ids, other words.
    let dua = Village::opens(&app, &root, "desa-dua", "6281100000002").await;
    dua.hears_text(RARA, "3EB0R1", "rahasia desa dua").await;
    dua.hears_text(BIMA, "3EB0B1", "juga rahasia").await;

    files_come_in(&desa).await;
    one_person_has_two_addresses(&desa).await;
    the_ai_and_an_admin_answer(&desa).await;
    services_send(&desa).await;
    somebody_floods(&desa).await;
    what_gave_up_is_replayed(&desa).await;
    in_the_evening_the_session_ends(&desa).await;
    everything_adds_up(&desa).await;
    the_neighbours_noticed_nothing(&dua).await;
    app.finish().await;
}

/// Texts, an answer with a quote, a correction, a deletion, a reaction, and a text typed on the village's own phone.
async fn citizens_write(desa: &Village<'_>) {
    desa.hears_text(RARA, "3EB0R1", "Selamat pagi").await;
    let reply = json!({"extendedTextMessage": {"text": "syaratnya?", "contextInfo": {
        "stanzaID": "3EB0R1", "participant": format!("{RARA}@s.whatsapp.net"),
        "quotedMessage": {"conversation": "Selamat pagi"}}}});
    desa.hears_content(RARA, "3EB0R2", reply).await;
    desa.hears_text(RARA, "3EB0R3", "KPT").await;
    desa.hears_text(RARA, "3EB0R4", "salah kirim").await;
    let edit = json!({"protocolMessage": {"key": {"ID": "3EB0R3"}, "type": 14,
                      "editedMessage": {"conversation": "KTP"}}});
    desa.hears_content(RARA, "3EB0R5", edit).await;
    let revoke = json!({"protocolMessage": {"key": {"ID": "3EB0R4"}, "type": 0}});
    desa.hears_content(RARA, "3EB0R6", revoke).await;
    let reaction = json!({"reactionMessage": {"key": {"remoteJID": "x", "fromMe": false, "ID": "3EB0R1"}, "text": "👍"}});
    desa.hears_content(RARA, "3EB0R7", reaction).await;
    desa.types_itself(RARA, "3EB0OWN", "baik, ditunggu").await;

    let quoted = "SELECT quoted AS value FROM messages WHERE provider_message_id = '3EB0R2'";
    assert_eq!(desa.app.values(quoted).await, [json!("3EB0R1")]);
    let seen = desa.history(RARA).await;
    for words in [
        "Selamat pagi",
        "syaratnya?",
        "KTP",
        "[message deleted]",
        "baik, ditunggu",
    ] {
        assert!(seen.iter().any(|seen| seen == words), "{words}: {seen:?}");
    }
    assert!(
        !seen.iter().any(|seen| seen == "KPT" || seen == "salah kirim"),
        "{seen:?}"
    );
}

/// Files of all kinds, inside the webhook, at an address, and at the server: the AI's links open every one.
async fn files_come_in(desa: &Village<'_>) {
    let (photo, voice) = (jpeg(30_000), [b"OggS\0\x02".as_slice(), &[3; 9_000]].concat());
    let video = [b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom".as_slice(), &[5; 9_000]].concat();
    let sticker = [b"RIFF\x24\0\0\0WEBPVP8 ".as_slice(), &[1; 100]].concat();
    for (id, kind, mimetype, bytes, caption) in [
        ("3EB0B1", "image", "image/jpeg", &photo[..], Some("jalan rusak")),
        ("3EB0B2", "image", "image/jpeg", &photo, None),
        ("3EB0B3", "video", "video/mp4", &video, Some("banjir")),
        ("3EB0B4", "document", "application/pdf", PDF, None),
        ("3EB0B5", "audio", "audio/ogg; codecs=opus", &voice, None),
        ("3EB0B6", "sticker", "image/webp", &sticker, None),
    ] {
        desa.hears_file(BIMA, id, kind, mimetype, bytes, caption).await;
    }

    let document = json!({"documentMessage": {"mimetype": "application/pdf", "fileName": "KK.pdf", "caption": "KK saya"}});
    let inline = json!({"base64": BASE64.encode(PDF), "mimeType": "application/pdf"});
    desa.hears_with(BIMA, "3EB0B7", document.clone(), inline).await;
    let url = desa.app.simulator.put_s3_object("users/a/kk.pdf", PDF.to_vec());
    let s3 = json!({"s3": {"url": url, "key": "users/a/kk.pdf", "bucket": "wa", "size": PDF.len(),
                           "mimeType": "application/pdf", "fileName": "kk.pdf"}});
    desa.hears_with(BIMA, "3EB0B8", document, s3).await;
    // Only at the server, under the keys of the first photo.
    let path = "/v/t62.7118-24/3EB0B1?ccb=11-4&oh=01_Q5Aa&oe=69B3";
    let keys = json!({"imageMessage": {"mimetype": "image/jpeg", "directPath": path,
                                       "mediaKey": BASE64.encode([7; 32]), "fileLength": photo.len()}});
    desa.hears_with(BIMA, "3EB0B9", keys, json!({})).await;

    let given = eventually("the AI has all files", || async {
        Some(desa.given_to_ai(BIMA)).filter(|given| given.len() == 9)
    })
    .await;
    let files: [&[u8]; 9] = [&photo, &photo, &video, PDF, &voice, &sticker, PDF, PDF, &photo];
    for (given, file) in given.iter().zip(files) {
        let link = given["media_url"]
            .as_str()
            .unwrap_or_else(|| panic!("no link: {given}"));
        let path = &link[link.find("/uploads/").unwrap()..];
        let answer = desa
            .app
            .http()
            .get(format!("{}{path}", desa.app.url))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{given}");
        assert!(answer.bytes().await.unwrap() == file, "{given}");
    }
    assert_eq!(desa.number("media", "state = 'stored'").await, 9);
}

/// Somebody under a hidden id and under a number is one chat; places, cards and polls are readable.
async fn one_person_has_two_addresses(desa: &Village<'_>) {
    desa.hears_text(SARI, "3EB0S1", "lewat nomor").await;
    let hidden = Inbound {
        text: Some("lewat lid".to_owned()),
        lid: Some(SARI_LID.to_owned()),
        ..Inbound::default()
    };
    desa.hears(SARI, "3EB0S2", hidden).await;
    for (id, content) in [
        (
            "3EB0S3",
            json!({"locationMessage": {"degreesLatitude": -5.1477, "degreesLongitude": 119.4327, "name": "Balai Desa"}}),
        ),
        (
            "3EB0S4",
            json!({"contactMessage": {"displayName": "Pak Lurah", "vcard": "BEGIN:VCARD\nFN:Pak Lurah\nEND:VCARD"}}),
        ),
        (
            "3EB0S5",
            json!({"pollCreationMessageV3": {"name": "Hari apa?", "options": [{"optionName": "Senin"},
                          {"optionName": "Selasa"}], "selectableOptionsCount": 1}}),
        ),
    ] {
        desa.hears_content(SARI, id, content).await;
    }
    let expected = [
        "lewat nomor",
        "lewat lid",
        "📍 Balai Desa (-5.1477, 119.4327)",
        "👤 Contact: Pak Lurah",
        "📊 Hari apa?\n- Senin\n- Selasa",
    ];
    let seen: BTreeSet<String> = desa.history(SARI).await.into_iter().collect();
    assert_eq!(seen, expected.map(str::to_owned).into());
    assert_eq!(desa.unread(SARI).await, 5);
    desa.call(Method::POST, &format!("/conversations/{SARI}/read"), None)
        .await;
    assert_eq!(desa.unread(SARI).await, 0);
}

/// The AI answers once however often it says so; while an admin has the chat, only the admin does.
async fn the_ai_and_an_admin_answer(desa: &Village<'_>) {
    desa.hears_text(RARA, "3EB0Q1", "jam berapa buka?").await;
    let is_given = async |id: &'static str| {
        eventually(&format!("the AI has {id}"), || async {
            let given = desa.given_to_ai(RARA);
            given.iter().any(|given| given["message_id"] == id).then_some(())
        })
        .await;
    };
    is_given("3EB0Q1").await;
    for _ in 0..3 {
        desa.ai_replies("3EB0Q1", "Buka pukul 08.00").await;
    }
    let on_phone = async |texts: &[&str]| {
        eventually(&format!("{texts:?} on the phone"), || async {
            (desa.app.texts_on(RARA) == texts).then_some(())
        })
        .await;
    };
    on_phone(&["Buka pukul 08.00"]).await;

    let takeover = format!("/takeover/{RARA}");
    desa.call(
        Method::POST,
        &takeover,
        Some(json!({"admin_id": "a1", "admin_name": "Budi"})),
    )
    .await;
    desa.hears_text(RARA, "3EB0Q2", "saya mau bicara dengan orang")
        .await;
    assert_eq!(until_handled(desa.app, "3EB0Q2").await, "takeover");
    desa.ai_replies("3EB0Q2", "saya orang").await;
    let note = "body = 'saya orang' AND status = 'failed' AND reason = 'takeover'";
    eventually("the late answer is a note", || async {
        (desa.number("messages", note).await == 1).then_some(())
    })
    .await;
    let answer = json!({"message": "Dengan Budi, silakan", "admin_id": "a1", "admin_name": "Budi"});
    desa.call(Method::POST, &format!("/conversations/{RARA}/send"), Some(answer))
        .await;
    on_phone(&["Buka pukul 08.00", "Dengan Budi, silakan"]).await;
    assert_eq!(desa.call(Method::DELETE, &takeover, None).await["ended"], true);
    desa.hears_text(RARA, "3EB0Q3", "terima kasih").await;
    is_given("3EB0Q3").await;
    assert!(
        desa.given_to_ai(RARA)
            .iter()
            .all(|given| given["message_id"] != "3EB0Q2")
    );

    let opened = desa
        .call(Method::GET, &format!("/conversations/{RARA}?limit=100"), None)
        .await;
    assert_eq!(opened["data"]["conversation"]["unread_count"], 0);
    assert_eq!(desa.unread(RARA).await, 0);
}

/// A notification, then orders of every kind; the phone has each once and confirms.
async fn services_send(desa: &Village<'_>) {
    let (app, before) = (desa.app, desa.app.simulator.phone(RARA).len());
    let body = json!({"village_id": desa.id, "wa_user_id": RARA, "message": "Surat Anda selesai"});
    assert_eq!(
        desa.call(Method::POST, "/send", Some(body)).await["status"],
        "sent"
    );
    let file = app.simulator.put_s3_object("surat.pdf", PDF.to_vec());
    let contact = ContactCard {
        display_name: "Pak Lurah".into(),
        vcard: Some("BEGIN:VCARD\nFN:Pak Lurah\nEND:VCARD".into()),
    };
    let place = MessageContent::Location {
        latitude: -5.1477,
        longitude: 119.4327,
        name: Some("Balai Desa".into()),
        address: None,
        live: false,
    };
    desa.orders("teks", words("ambil di loket"), None).await;
    desa.orders("kutipan", words("KTP dan KK"), Some("3EB0R2")).await;
    desa.orders("foto", linked(MediaKind::Image, &file), None).await;
    desa.orders("video", linked(MediaKind::Video, &file), None).await;
    desa.orders("suara", linked(MediaKind::Voice, &file), None).await;
    desa.orders("berkas", linked(MediaKind::Document, &file), None)
        .await;
    desa.orders("tempat", place, None).await;
    desa.orders(
        "kartu",
        MessageContent::Contacts {
            contacts: vec![contact],
        },
        None,
    )
    .await;
    app.until_status("kartu", "sent").await;
    let phone = app.simulator.phone(RARA).split_off(before);
    let kinds: Vec<&str> = phone.iter().map(|message| message.kind.as_str()).collect();
    let expected = [
        "text", "text", "text", "image", "video", "audio", "document", "location", "contact",
    ];
    assert_eq!(kinds, expected);
    assert!(phone.iter().all(|message| message.arrivals == 1));
    assert_eq!(phone[2].quoted_id.as_deref(), Some("3EB0R2"));

    let (first, second) = (phone[1].id.as_str(), phone[2].id.as_str());
    let edit = MessageContent::Edit {
        target: id(first),
        content: Box::new(words("ambil di loket 2")),
    };
    desa.orders("ubah", edit, None).await;
    desa.orders("hapus", MessageContent::Revoke { target: id(second) }, None)
        .await;
    let thumb = MessageContent::Reaction {
        target: id("3EB0Q3"),
        emoji: Some("👍".into()),
    };
    desa.orders("suka", thumb, None).await;
    app.until_status("suka", "sent").await;
    let after = app.simulator.phone(RARA).split_off(before);
    assert_eq!(after[1].text.as_deref(), Some("ambil di loket 2"));
    assert!(after[2].deleted);
    let seen = desa.history(RARA).await;
    for words in [
        "Surat Anda selesai",
        "ambil di loket 2",
        "👤 Contact: Pak Lurah",
        "[reaction 👍]",
    ] {
        assert!(seen.iter().any(|seen| seen == words), "{words}: {seen:?}");
    }

    for (state, name) in [
        (ReceiptState::Delivered, "delivered"),
        (ReceiptState::Read, "read"),
    ] {
        let (session, chat) = (desa.id.to_owned(), RARA.to_owned());
        let ids = vec![first.to_owned(), phone[5].id.clone()];
        app.simulator
            .receipt(&Receipt {
                session,
                ids,
                chat,
                state,
            })
            .unwrap();
        app.until_status("teks", name).await;
        app.until_status("suara", name).await;
    }
    assert_eq!(app.statuses("teks"), ["queued", "sent", "delivered", "read"]);
}

/// Twelve messages where ten are allowed: the AI is spared the rest, the village sees all.
async fn somebody_floods(desa: &Village<'_>) {
    for number in 0..12 {
        desa.hears_text(DODI, &format!("3EB0D{number}"), &format!("nomor {number}"))
            .await;
    }
    for (id, start) in [
        ("3EB0D9", "handed_over"),
        ("3EB0D10", "spam: rate_spam"),
        ("3EB0D11", "spam: rate_banned"),
    ] {
        let handled = until_handled(desa.app, id).await;
        assert!(handled.as_str().unwrap().starts_with(start), "{id}: {handled}");
    }
    assert_eq!(
        (desa.history(DODI).await.len(), desa.unread(DODI).await),
        (12, json!(12))
    );
    let bans = desa.call(Method::GET, "/spam-guard/bans", None).await;
    assert_eq!(
        (&bans["total"], &bans["bans"][0]["wa_user_id"]),
        (&json!(1), &json!(DODI))
    );
}

/// What leads nowhere is a dead letter of the broker's, what the server refuses for good stays visible as failed; what
/// gave up is put aside, found, and goes out once when somebody tries again.
async fn what_gave_up_is_replayed(desa: &Village<'_>) {
    desa.app
        .sends_fail(refusal(400, "could not parse Phone", None), 1);
    desa.orders("ditolak", words("pesan yang ditolak"), None).await;
    desa.app.until_status("ditolak", "failed").await;
    desa.app.sends_fail(refusal(500, "no session", None), 2);
    desa.orders("tertahan", words("pesan yang tertahan"), None).await;
    desa.app.until_status("tertahan", "parked").await;
    let list = async || desa.call(Method::GET, "/dead-letters", None).await["data"].take();
    let letters = list().await;
    assert_eq!(letters.as_array().unwrap().len(), 1, "{letters}");
    assert_eq!(letters[0]["reason"], "no_session");
    assert_eq!(times_on_phone(desa, "pesan yang tertahan"), 0);

    let letter = letters[0]["message_id"].as_str().unwrap();
    let replay = format!("/dead-letters/{letter}/replay");
    desa.call(Method::POST, &replay, None).await;
    desa.app.until_status("tertahan", "sent").await;
    assert_eq!(list().await, json!([]));
    assert_eq!(times_on_phone(desa, "pesan yang tertahan"), 1);
    assert_eq!(times_on_phone(desa, "pesan yang ditolak"), 0);
}

fn times_on_phone(desa: &Village<'_>, words: &str) -> usize {
    let texts = desa.app.texts_on(RARA);
    texts.iter().filter(|text| *text == words).count()
}

async fn in_the_evening_the_session_ends(desa: &Village<'_>) {
    desa.session(Method::POST, "logout").await;
    let status = desa.session(Method::GET, "status").await;
    assert_eq!(
        (&status["exists"], &status["loggedIn"]),
        (&Value::Null, &json!(false)),
        "{status}"
    );
    assert_eq!(desa.session(Method::DELETE, "session").await["deleted"], true);
    assert_eq!(desa.session(Method::GET, "status").await["exists"], false);
    let left: Vec<String> = desa
        .app
        .simulator
        .wa_users()
        .into_iter()
        .map(|user| user.name)
        .collect();
    assert_eq!(left, ["desa-dua"]);
}

/// What was accepted is delivered, parked, failed or alive, and nothing else is anywhere.
async fn everything_adds_up(desa: &Village<'_>) {
    desa.app.until_published().await;
    eventually("no lane has work", || async {
        (desa.number("lane_tasks", "lane NOT LIKE 'ai:%'").await == 0).then_some(())
    })
    .await;
    let outbound = async |statuses: &str| {
        let condition =
            format!("direction = 'outbound' AND provider_message_id <> '3EB0OWN' AND status IN ({statuses})");
        desa.number("messages", &condition).await
    };
    // Two answers of the AI, the admin's, a notification, eleven orders, one refused, one that had given up.
    let accepted = 2 + 1 + 1 + 11 + 1 + 1;
    let delivered = outbound("'sent', 'delivered', 'read'").await;
    let (parked, failed) = (outbound("'parked'").await, outbound("'failed'").await);
    let live = outbound("'queued', 'unknown'").await;
    // The answer that a takeover overtook, and the refused order.
    assert_eq!([delivered, parked, failed, live], [accepted - 2, 0, 2, 0]);
    // Ten of Rara's, nine of Bima's, five of Sari's, twelve of Dodi's, and one of the village's own.
    let heard = 10 + 9 + 5 + 12;
    assert_eq!(desa.number("inbound_ledger", "true").await, heard + 1);
    assert_eq!(desa.number("messages", "direction = 'inbound'").await, heard);
    eventually("every message was handled", || async {
        let open = "direction = 'inbound' AND ai_handling IS NULL";
        (desa.number("messages", open).await == 0).then_some(())
    })
    .await;
    assert_eq!(desa.number("chats", "true").await, 4);
    assert_eq!(desa.app.count("quarantine").await, 0);
}

async fn the_neighbours_noticed_nothing(dua: &Village<'_>) {
    assert_eq!(dua.history(RARA).await, ["rahasia desa dua"]);
    assert_eq!(dua.history(BIMA).await, ["juga rahasia"]);
    assert_eq!(
        (dua.unread(RARA).await, dua.unread(BIMA).await),
        (json!(1), json!(1))
    );
    for (table, count) in [
        ("messages", 2),
        ("chats", 2),
        ("inbound_ledger", 2),
        ("media", 0),
        ("takeovers", 0),
    ] {
        assert_eq!(dua.number(table, "true").await, count, "{table}");
    }
    assert!(dua.app.simulator.wa_sends(Some(dua.id)).is_empty());
    assert_eq!((dua.given_to_ai(RARA).len(), dua.given_to_ai(BIMA).len()), (1, 1));
    let theirs = dua.app.events().into_iter();
    let theirs: BTreeSet<String> = theirs
        .filter(|event| event.body["tenant_id"] == dua.id && event.routing_key.starts_with("message."))
        .map(|event| event.body["data"]["text"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(
        theirs,
        ["juga rahasia", "rahasia desa dua"].map(str::to_owned).into()
    );
    assert_eq!(dua.session(Method::GET, "status").await["loggedIn"], true);
}
