//! Every kind of message goes out, and what edits and deletions make of the history.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use channel_service::flows::load_media::{LoadMedia, LoadedFile, MediaNotLoaded, Wanted};
use channel_service::flows::queue_message::{QueueError, queue};
use domain::ids::{MessageId, ProviderMessageId};
use domain::message::{ContactCard, Media, MediaKind, MediaSource, MessageContent};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use messaging::outbox::Signal;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use simulator::{FaultKind, FaultSpec};
use whatsapp::port::{FileBytes, OutboundFile};

use crate::harness::{Tenant, TestApp, Wishes, order, refusal, text};

const RARA: &str = "6281290000011";

/// Files that are there, after a first look in vain.
#[derive(Default)]
struct Shelf {
    looked: AtomicBool,
}

const FILE: &[u8] = b"%PDF-1.7 isi berkas";

impl LoadMedia for Shelf {
    fn load<'a>(
        &'a self,
        media: &'a Media,
        _wanted: Wanted,
    ) -> BoxFuture<'a, Result<LoadedFile, MediaNotLoaded>> {
        async move {
            let MediaSource::S3 { key, .. } = media.sources.first().ok_or(MediaNotLoaded::Never)? else {
                return Err(MediaNotLoaded::Never);
            };
            if key == "slow" && !self.looked.swap(true, Ordering::SeqCst) {
                return Err(MediaNotLoaded::Later);
            }
            if key == "gone" {
                return Err(MediaNotLoaded::Never);
            }
            let bytes = FileBytes::new(Bytes::from_static(FILE)).map_err(|_| MediaNotLoaded::Never)?;
            Ok(LoadedFile {
                file: OutboundFile::Bytes(bytes),
                mime_type: None,
            })
        }
        .boxed()
    }
}

async fn with_shelf() -> TestApp {
    TestApp::with(Wishes {
        files: Some(Arc::new(Shelf::default())),
        ..Wishes::default()
    })
    .await
}

fn file(kind: MediaKind, source: MediaSource) -> MessageContent {
    MessageContent::Media(Media {
        media_kind: kind,
        caption: Some("keterangan".into()),
        mime_type: None,
        file_name: Some("KK.pdf".into()),
        size: None,
        seconds: None,
        sha256: None,
        sources: vec![source],
    })
}

fn on_shelf(key: &str) -> MediaSource {
    MediaSource::S3 {
        url: "https://unused.example/".to_owned(),
        key: key.to_owned(),
        bucket: "b".to_owned(),
    }
}

fn link(url: &str) -> MediaSource {
    MediaSource::Link { url: url.to_owned() }
}

/// Orders a message of any kind over the broker.
async fn send(app: &TestApp, desa: &Tenant, reference: &str, content: MessageContent, quoted: Option<&str>) {
    let mut order = order(desa.account, RARA, reference);
    order.text = String::new();
    order.content = Some(content);
    order.quoted = quoted.map(|id| ProviderMessageId::parse(id).unwrap());
    app.publish(&desa.id, &order).await;
}

/// Takes an order straight.
async fn take(
    app: &TestApp,
    desa: &Tenant,
    content: MessageContent,
) -> Result<Option<MessageId>, QueueError> {
    let mut order = order(desa.account, RARA, "langsung");
    order.text = String::new();
    order.content = Some(content);
    let (relay, workers) = (Signal::default(), Signal::default());
    queue(&app.direct, &relay, &workers, &desa.scope(), &order).await
}

fn words(text: &str) -> MessageContent {
    MessageContent::Text { text: text.into() }
}

fn id(text: &str) -> ProviderMessageId {
    ProviderMessageId::parse(text).unwrap()
}

fn edit(target: &str, text: &str) -> MessageContent {
    MessageContent::Edit {
        target: id(target),
        content: Box::new(words(text)),
    }
}

fn revoke(target: &str) -> MessageContent {
    MessageContent::Revoke { target: id(target) }
}

fn cards(vcard: Option<&str>, count: usize) -> MessageContent {
    let card = ContactCard {
        display_name: "Pak Lurah".into(),
        vcard: vcard.map(Into::into),
    };
    MessageContent::Contacts {
        contacts: vec![card; count],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_reaches_the_phone_once_and_in_order() {
    let app = with_shelf().await;
    let desa = app.tenant("desa-satu").await;
    let place = MessageContent::Location {
        latitude: -5.1477,
        longitude: 119.4327,
        name: Some("Balai Desa".into()),
        address: None,
        live: false,
    };
    let orders = [
        ("text", words("halo")),
        ("image", file(MediaKind::Image, on_shelf("a"))),
        ("video", file(MediaKind::Video, on_shelf("slow"))),
        ("audio", file(MediaKind::Audio, on_shelf("c"))),
        ("voice", file(MediaKind::Voice, on_shelf("d"))),
        ("document", file(MediaKind::Document, on_shelf("e"))),
        ("sticker", file(MediaKind::Sticker, on_shelf("f"))),
        ("location", place),
        ("contact", cards(Some("BEGIN:VCARD\nFN:Pak Lurah\nEND:VCARD"), 1)),
    ];
    for (reference, content) in &orders {
        send(&app, &desa, reference, content.clone(), None).await;
    }
    app.until_status("contact", "sent").await;

    let phone = app.simulator.phone(RARA);
    let kinds: Vec<&str> = phone.iter().map(|message| message.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "text", "image", "video", "audio", "audio", "document", "sticker", "location", "contact"
        ]
    );
    assert!(phone.iter().all(|message| message.arrivals == 1));
    let rows = app
        .rows("SELECT provider_message_id, kind, body, content, status FROM messages ORDER BY id")
        .await;
    for ((message, row), (reference, content)) in phone.iter().zip(&rows).zip(&orders) {
        assert_eq!(row["provider_message_id"], message.id, "our own id on the wire");
        assert_eq!(
            (&row["status"], &row["kind"]),
            (&json!("sent"), &json!(reference))
        );
        let stored: MessageContent = serde_json::from_str(row["content"].as_str().unwrap()).unwrap();
        assert_eq!(&stored, content);
        assert_eq!(row["body"], stored.text_for_humans().as_str());
        if let Some(media) = &message.media {
            assert_eq!(media.sha256, hex::encode(Sha256::digest(FILE)), "{reference}");
        }
        assert_eq!(app.statuses(reference), ["queued", "sent"], "{reference}");
    }
    // The file that could not be read at first was waited for, and counted.
    let waited = app
        .values("SELECT reason AS value FROM send_attempts WHERE outcome = 'retry_later'")
        .await;
    assert_eq!(waited, [json!("media_unavailable")]);
    let calls = app.simulator.wa_sends(None);
    let ptt: Vec<&Value> = calls
        .iter()
        .map(|call| &call.body["ptt"])
        .filter(|ptt| !ptt.is_null())
        .collect();
    assert_eq!(ptt, [&json!(false), &json!(true)]);
    assert_eq!(
        app.values("SELECT last_text AS value FROM chats").await,
        [json!("👤 Contact: Pak Lurah")]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_goes_to_the_server_and_a_missing_file_puts_only_its_message_aside() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    send(
        &app,
        &desa,
        "foto",
        file(MediaKind::Image, link("https://media.example/a.jpg")),
        None,
    )
    .await;
    // What the server does not fetch itself is fetched by us, but from nowhere inside the house.
    let letter = app
        .simulator
        .put_s3_object("surat.pdf", b"%PDF-1.7 surat".to_vec());
    send(
        &app,
        &desa,
        "berkas",
        file(MediaKind::Document, link(&letter)),
        None,
    )
    .await;
    send(
        &app,
        &desa,
        "surat",
        file(MediaKind::Document, link("http://169.254.169.254/a.pdf")),
        None,
    )
    .await;
    send(
        &app,
        &desa,
        "aneh",
        file(MediaKind::Image, link("file:///etc/passwd")),
        None,
    )
    .await;
    send(&app, &desa, "sesudah", words("tetap jalan"), None).await;
    app.until_status("sesudah", "sent").await;
    let phone = app.simulator.phone(RARA);
    assert_eq!(
        phone[0].media.as_ref().unwrap().url.as_deref(),
        Some("https://media.example/a.jpg")
    );
    assert_eq!(phone.len(), 3);
    app.until_status("berkas", "sent").await;
    for reference in ["surat", "aneh"] {
        app.until_status(reference, "parked").await;
    }
    let reasons = app
        .values("SELECT reason AS value FROM messages WHERE status = 'parked'")
        .await;
    assert_eq!(reasons, [json!("media_missing"), json!("media_missing")]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_shows_what_it_answers() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.run_sql("UPDATE accounts SET phone = '6281100000009'").await;
    app.post(&desa.json(&text(RARA, "3EB0ASK", "syaratnya?")))
        .await
        .assert_kept();
    send(&app, &desa, "jawab", words("KTP dan KK"), Some("3EB0ASK")).await;
    app.until_status("jawab", "sent").await;
    let ours = app.simulator.phone(RARA)[0].id.clone();
    send(&app, &desa, "tambah", words("dan foto"), Some(&ours)).await;
    send(&app, &desa, "hilang", words("tanpa kutipan"), Some("3EB0NEVER")).await;
    app.until_status("hilang", "sent").await;
    let contexts: Vec<Value> = app
        .simulator
        .wa_sends(None)
        .iter()
        .map(|call| call.body["ContextInfo"].clone())
        .collect();
    assert_eq!(
        json!(contexts),
        json!([
            {"StanzaID": "3EB0ASK", "Participant": format!("{RARA}@s.whatsapp.net")},
            {"StanzaID": ours, "Participant": "6281100000009@s.whatsapp.net"},
            null,
        ])
    );
    let quoted = app
        .values("SELECT quoted AS value FROM messages WHERE direction = 'outbound' ORDER BY id")
        .await;
    assert_eq!(quoted, [json!("3EB0ASK"), json!(ours), json!("3EB0NEVER")]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_deletions_and_reactions_reach_the_message_and_the_history() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.post(&desa.json(&text(RARA, "3EB0ASK", "syaratnya?")))
        .await
        .assert_kept();
    for reference in ["salah", "rahasia"] {
        app.order(&desa, RARA, reference).await;
        app.until_status(reference, "sent").await;
    }
    let ids: Vec<String> = app
        .simulator
        .phone(RARA)
        .into_iter()
        .map(|message| message.id)
        .collect();
    // The answer to the edit is lost twice: it is repeated, and the message says the same.
    app.simulator
        .add_fault(FaultSpec::on_path("/wa/chat/send/edit", FaultKind::LostAnswer).times(2))
        .unwrap();
    send(&app, &desa, "ubah", edit(&ids[0], "benar"), None).await;
    send(&app, &desa, "hapus", revoke(&ids[1]), None).await;
    let react = |target: &str| MessageContent::Reaction {
        target: id(target),
        emoji: Some("👍".into()),
    };
    send(&app, &desa, "suka", react("3EB0ASK"), None).await;
    send(&app, &desa, "suka-sendiri", react(&ids[0]), None).await;
    app.until_status("suka-sendiri", "sent").await;

    let phone = app.simulator.phone(RARA);
    assert_eq!((phone[0].text.as_deref(), phone[0].edited), (Some("benar"), true));
    assert!(phone[1].deleted);
    assert_eq!(phone[0].reaction.as_deref(), Some("👍"));
    let reactions: Vec<Value> = app
        .simulator
        .wa_sends(None)
        .iter()
        .filter(|call| call.path == "/chat/react")
        .map(|call| call.body["Id"].clone())
        .collect();
    assert_eq!(reactions, [json!("3EB0ASK"), json!(format!("me:{}", ids[0]))]);

    let history = app
        .rows(
            "SELECT body, content, kind, target, edited_at IS NOT NULL AS edited, revoked_at IS NOT NULL AS revoked \
             FROM messages WHERE direction = 'outbound' ORDER BY id",
        )
        .await;
    let seen: Vec<Value> = history
        .iter()
        .map(|row| json!([row["kind"], row["body"], row["edited"], row["revoked"]]))
        .collect();
    assert_eq!(
        json!(seen),
        json!([
            ["text", "benar", true, false],
            ["text", "[message deleted]", false, true],
            ["edit", "benar", false, false],
            ["revoke", "[message deleted]", false, false],
            ["reaction", "[reaction 👍]", false, false],
            ["reaction", "[reaction 👍]", false, false],
        ])
    );
    // What was said first stays with its row.
    assert!(history[1]["content"].as_str().unwrap().contains("rahasia"));
    assert_eq!(history[2]["target"], ids[0]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_ours_can_be_changed_and_only_what_went_out() {
    let app = TestApp::with(Wishes {
        send_attempts: "1",
        ..Wishes::default()
    })
    .await;
    let (desa, lain) = (app.tenant("desa-satu").await, app.tenant("desa-lain").await);
    app.post(&desa.json(&text(RARA, "3EB0ASK", "syaratnya?")))
        .await
        .assert_kept();
    app.order(&lain, RARA, "punya lain").await;
    app.until_status("punya lain", "sent").await;
    let theirs = app.simulator.phone(RARA)[0].id.clone();
    for content in [
        edit("3EB0ASK", "bukan milikku"),
        revoke("3EB0ASK"),
        edit("3EB0NEVER", "tak ada"),
        edit(&theirs, "milik desa lain"),
        revoke(&theirs),
    ] {
        let refused = take(&app, &desa, content).await;
        assert!(matches!(refused, Err(QueueError::Target)), "{refused:?}");
    }
    for content in [
        file(MediaKind::Image, link("x")).tap_sources(),
        MessageContent::Location {
            latitude: 91.0,
            longitude: 0.0,
            name: None,
            address: None,
            live: false,
        },
        MessageContent::Location {
            latitude: f64::NAN,
            longitude: 0.0,
            name: None,
            address: None,
            live: false,
        },
        cards(None, 1),
        cards(Some("BEGIN:VCARD"), 11),
        cards(None, 0),
        MessageContent::PollVote {
            target: id("3EB0ASK"),
        },
        MessageContent::Edit {
            target: id("3EB0ASK"),
            content: Box::new(cards(Some("BEGIN:VCARD"), 1)),
        },
    ] {
        let refused = take(&app, &desa, content).await;
        assert!(matches!(refused, Err(QueueError::Content(_))), "{refused:?}");
    }
    assert!(matches!(
        take(&app, &desa, words("")).await,
        Err(QueueError::Text)
    ));
    assert_eq!(
        app.count("send_requests").await,
        1,
        "a refused order leaves nothing behind"
    );

    // Nobody has a message that was parked, so there is nothing to edit.
    app.sends_fail(refusal(500, "no session", None), 1);
    app.order(&desa, RARA, "tertahan").await;
    app.until_status("tertahan", "parked").await;
    let parked = app
        .values("SELECT provider_message_id AS value FROM messages WHERE reference = 'tertahan'")
        .await;
    send(
        &app,
        &desa,
        "percuma",
        edit(parked[0].as_str().unwrap(), "baru"),
        None,
    )
    .await;
    app.until_status("percuma", "failed").await;
    assert_eq!(
        app.values("SELECT body AS value FROM messages WHERE reference = 'tertahan'")
            .await,
        [json!("tertahan")]
    );
    assert_eq!(
        app.values("SELECT reason AS value FROM messages WHERE reference = 'percuma'")
            .await,
        [json!("target_not_sent")]
    );
    app.finish().await;
}

trait TapSources {
    fn tap_sources(self) -> Self;
}

impl TapSources for MessageContent {
    /// The same file, from nowhere.
    fn tap_sources(mut self) -> Self {
        if let Self::Media(media) = &mut self {
            media.sources.clear();
        }
        self
    }
}
