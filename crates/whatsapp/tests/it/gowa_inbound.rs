//! GoWA's webhooks: samples in the shape of the chatwoot-bridge contract's appendix B, and hostile ones.

use std::path::PathBuf;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use domain::address::ChatAddress;
use domain::message::{Direction, InboundMessage, MediaKind, MediaSource, MessageContent};
use proptest::prelude::*;
use whatsapp::credentials::WebhookKey;
use whatsapp::error::{MalformedWebhook, SignatureError, Unusable};
use whatsapp::event::{InboundEvent, Keep, Receipt, ReceiptKind, SkipReason};
use whatsapp::gowa::{Unverified, Verified, sign};

const JSON: Option<&str> = Some("application/json");
const PERSON: &str = "628123450001@s.whatsapp.net";

fn now() -> DateTime<Utc> {
    "2026-01-06T00:00:00Z".parse().unwrap()
}

fn sample(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures-gowa");
    std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap()
}

fn read(body: &str) -> Result<Unverified, MalformedWebhook> {
    Unverified::read(JSON, Bytes::copy_from_slice(body.as_bytes()))
}

fn verified(name: &str) -> Verified {
    read(&sample(name)).unwrap().verify(None, &[]).unwrap()
}

fn event(name: &str) -> Result<InboundEvent, Unusable> {
    verified(name).parse(now())
}

fn message(name: &str) -> InboundMessage {
    match event(name) {
        Ok(InboundEvent::Message(message)) => *message,
        other => panic!("{name}: {other:?}"),
    }
}

fn receipt(name: &str) -> Receipt {
    match event(name) {
        Ok(InboundEvent::Receipt(receipt)) => receipt,
        other => panic!("{name}: {other:?}"),
    }
}

fn words(content: &MessageContent) -> String {
    content.text_for_humans().into_string()
}

#[test]
fn the_contracts_own_signature_passes_and_no_other() {
    let body =
        r#"{"event":"message","device_id":"628111000001@s.whatsapp.net","payload":{"id":"3EB0AAAA0001"}}"#;
    let signature = "sha256=070f225e551a881dc93021cc13d8549790c296ab164a47a2ef4acfc436b81ff0";
    let key = WebhookKey::new("secret").unwrap();
    let other = WebhookKey::new("another").unwrap();
    assert_eq!(sign(&key, body.as_bytes()), signature);
    let check = |signature: Option<&str>, keys: &[WebhookKey]| {
        read(body)
            .unwrap()
            .verify(signature, keys)
            .map(|verified| verified.is_signed())
    };
    assert_eq!(check(Some(signature), &[other.clone(), key.clone()]), Ok(true));
    assert_eq!(
        check(Some(signature), std::slice::from_ref(&other)),
        Err(SignatureError::Mismatch)
    );
    assert_eq!(
        check(None, std::slice::from_ref(&key)),
        Err(SignatureError::Missing)
    );
    assert_eq!(
        check(Some(""), std::slice::from_ref(&key)),
        Err(SignatureError::Missing)
    );
    for malformed in ["sha256=", "sha256=zz", "sha1=070f", "070f225e", "é=", "sha256"] {
        assert_eq!(
            check(Some(malformed), std::slice::from_ref(&key)),
            Err(SignatureError::Malformed),
            "{malformed}"
        );
    }
    // The bare digits are not how this server writes it.
    let bare = signature.trim_start_matches("sha256=");
    assert_eq!(
        check(Some(bare), std::slice::from_ref(&key)),
        Err(SignatureError::Malformed)
    );
    let tampered = read(&body.replace("0001\"}", "0002\"}")).unwrap();
    assert!(matches!(
        tampered.verify(Some(signature), &[key]),
        Err(SignatureError::Mismatch)
    ));
    assert_eq!(check(Some("nonsense"), &[]), Ok(false));
}

#[test]
fn who_claims_to_send_is_read_before_anything_is_believed() {
    let text = read(&sample("text")).unwrap();
    assert_eq!(text.session_id(), Some("toko-1"));
    assert_eq!(
        text.own_address(),
        ChatAddress::parse("628111000001@s.whatsapp.net").ok()
    );
    assert_eq!(text.event_type(), "message");
    assert_eq!(read(&sample("location")).unwrap().session_id(), None);
    for (body, error) in [
        ("", MalformedWebhook::EmptyBody),
        ("[]", MalformedWebhook::NotJson),
        ("{", MalformedWebhook::NotJson),
        ("{}", MalformedWebhook::MissingType),
        ("{\"event\":\"\"}", MalformedWebhook::MissingType),
        (
            "{\"event\":\"message\",\"event\":\"x\"}",
            MalformedWebhook::DuplicateField,
        ),
        (
            "{\"event\":\"message\",\"session_id\":\"a\\u0000b\"}",
            MalformedWebhook::InvalidInstance,
        ),
    ] {
        assert_eq!(read(body).unwrap_err(), error, "{body}");
    }
    let form = Unverified::read(
        Some("application/x-www-form-urlencoded"),
        Bytes::from_static(b"{}"),
    );
    assert_eq!(form.unwrap_err(), MalformedWebhook::UnsupportedContentType);
    let not_utf8 = Unverified::read(JSON, Bytes::from_static(b"{\"event\":\"\xff\"}"));
    assert_eq!(not_utf8.unwrap_err(), MalformedWebhook::NotUtf8);
}

#[test]
fn a_text_is_a_text() {
    let text = message("text");
    assert_eq!(text.provider_message_id.as_str(), "3EB0AAAA0001");
    assert_eq!(text.chat.as_str(), PERSON);
    assert_eq!(text.direction, Direction::Inbound);
    assert_eq!(text.push_name.as_ref().map(|name| name.as_str()), Some("Sari"));
    assert_eq!(text.sent_at.to_rfc3339(), "2026-01-05T02:11:39+00:00");
    assert_eq!(words(&text.content), "Paket saya di mana?");
    assert!(text.quoted.is_none() && !text.truncated);

    let own = message("own");
    assert_eq!((own.direction, own.chat.as_str()), (Direction::Outbound, PERSON));
    assert_eq!(own.push_name, None);
}

#[test]
fn a_captioned_picture_shows_its_words_once_and_quotes() {
    let picture = message("captioned-picture");
    let MessageContent::Media(media) = &picture.content else {
        panic!("{picture:?}")
    };
    assert_eq!(media.media_kind, MediaKind::Image);
    assert_eq!(words(&picture.content), "Ini fotonya");
    let [MediaSource::Server(file)] = media.sources.as_slice() else {
        panic!("{media:?}")
    };
    assert_eq!(file.path.as_deref(), Some("statics/media/1767579150-0001.jpg"));
    assert_eq!(
        (file.message.as_str(), file.chat.as_str()),
        ("3EB0AAAA0002", PERSON)
    );
    let quoted = picture.quoted.unwrap();
    assert_eq!(quoted.provider_message_id.as_str(), "3EB0BBBB0001");
    assert_eq!(quoted.text.unwrap().as_str(), "Boleh kirim foto?");
    assert_eq!(picture.chat.as_str(), PERSON);
    assert_eq!(picture.chat_lid.unwrap().as_str(), "99000011112222");
}

#[test]
fn every_kind_of_file_is_one() {
    for (name, kind, caption, path) in [
        ("picture", MediaKind::Image, None, Some("statics/media/a.jpg")),
        (
            "picture-with-body",
            MediaKind::Image,
            Some("keterangan"),
            Some("statics/media/a.jpg"),
        ),
        (
            "video",
            MediaKind::Video,
            Some("film"),
            Some("statics/media/a.mp4"),
        ),
        ("video-note", MediaKind::Video, None, Some("statics/media/n.mp4")),
        ("document", MediaKind::Document, None, None),
        (
            "sound-file",
            MediaKind::Audio,
            None,
            Some("statics/media/lagu.mp3"),
        ),
        ("sticker", MediaKind::Sticker, None, None),
        (
            "several-files",
            MediaKind::Document,
            Some("dua"),
            Some("statics/media/1.jpg"),
        ),
        // The server did not get it: it is asked once more.
        ("lost-file", MediaKind::Document, None, None),
        ("hostile-path", MediaKind::Image, Some("x"), None),
    ] {
        let message = message(name);
        let MessageContent::Media(media) = &message.content else {
            panic!("{name}: {message:?}")
        };
        assert_eq!(media.media_kind, kind, "{name}");
        assert_eq!(
            media.caption.as_ref().map(|text| text.as_str()),
            caption,
            "{name}"
        );
        let [MediaSource::Server(file)] = media.sources.as_slice() else {
            panic!("{name}: {media:?}")
        };
        assert_eq!(file.path.as_deref(), path, "{name}");
        assert_eq!(message.truncated, name == "several-files");
    }
    let document = message("document");
    assert_eq!(words(&document.content), "[document: KTP Sari.pdf]");
    let keep = Keep {
        groups: true,
        ..Keep::default()
    };
    let Ok(InboundEvent::Message(voice)) = verified("voice-in-a-group").parse_with(now(), keep) else {
        panic!("not kept")
    };
    assert_eq!(words(&voice.content), "[voice note]");
    assert_eq!(voice.chat.as_str(), "120363000000000001@g.us");
    assert_eq!(voice.sender.unwrap().as_str(), PERSON);
}

#[test]
fn places_cards_and_what_is_about_other_messages() {
    let place = message("location").content;
    assert_eq!(words(&place), "📍 Monas (-6.2, 106.816667)");
    let MessageContent::Location { live, address, .. } = message("live-location").content else {
        panic!("no place")
    };
    assert!(live && address.unwrap().as_str() == "Jalan Merdeka");
    assert_eq!(words(&message("contact").content), "👤 Contact: Pak RT");
    assert_eq!(
        words(&message("contacts").content),
        "👤 Contacts: Pak RT, +62 813"
    );
    let MessageContent::Reaction { target, emoji } = message("reaction").content else {
        panic!("no reaction")
    };
    assert_eq!((target.as_str(), emoji.unwrap().as_str()), ("3EB0DDDD0001", "👍"));
    assert_eq!(words(&message("reaction-removed").content), "[reaction removed]");
    let edit = message("edited");
    assert_eq!(edit.content.target().unwrap().as_str(), "3EB0AAAA0001");
    assert_eq!(words(&edit.content), "Paket saya di mana ya?");
    assert_eq!(edit.provider_message_id.as_str(), "3EB0AAAA0006");
    let MessageContent::Revoke { target } = message("revoked").content else {
        panic!("no deletion")
    };
    assert_eq!(target.as_str(), "3EB0AAAA0001");
    assert_eq!(
        words(&message("edited-without-words").content),
        "[unsupported message: message.edited]"
    );
    let MessageContent::Unsupported { type_name, raw } = message("order").content else {
        panic!("understood")
    };
    assert_eq!(type_name.as_str(), "order");
    assert_eq!(raw.as_value()["order"]["order_id"], "7");
}

#[test]
fn receipts_say_how_far_a_message_went_and_by_whom() {
    let ack = receipt("ack");
    assert_eq!(ack.kind, ReceiptKind::Read);
    // By number, although the chat was told by its hidden id.
    assert_eq!(ack.chat.as_str(), PERSON);
    let ids: Vec<_> = ack.ids.iter().map(|id| id.as_str()).collect();
    assert_eq!(ids, ["3EB0DDDD0001", "3EB0DDDD0002"]);
    assert_eq!(ack.at.to_rfc3339(), "2026-01-05T02:15:03+00:00");
    assert!(!ack.from_me);
    assert_eq!(receipt("ack-delivered").kind, ReceiptKind::Delivered);
    assert_eq!(receipt("ack-played").kind, ReceiptKind::Played);
    let own = receipt("ack-read-self");
    assert!(own.from_me && own.kind == ReceiptKind::ReadSelf);
    assert!(receipt("ack-of-own-device").from_me);
    assert!(matches!(event("ack-retry"), Ok(InboundEvent::Ignored { .. })));
    assert_eq!(event("ack-without-ids").unwrap_err(), Unusable::MessageId);
    assert!(matches!(
        event("ack-group"),
        Ok(InboundEvent::Skipped(SkipReason::Group))
    ));
}

#[test]
fn one_person_is_one_chat_by_number_and_by_hidden_id() {
    let chat = |name: &str| message(name).chat.as_str().to_owned();
    assert_eq!(chat("hidden-chat"), PERSON);
    assert_eq!(chat("hidden-alone"), "99000011112222@lid");
    // Who wrote is the tenant; nothing of that is told of the partner.
    assert_eq!(chat("own-to-hidden"), "99000011112222@lid");
}

#[test]
fn what_is_not_for_us_is_skipped_ignored_or_kept() {
    assert!(matches!(
        event("voice-in-a-group"),
        Ok(InboundEvent::Skipped(SkipReason::Group))
    ));
    assert!(matches!(
        event("status"),
        Ok(InboundEvent::Skipped(SkipReason::Status))
    ));
    for name in ["group-participants", "presence"] {
        assert!(matches!(event(name), Ok(InboundEvent::Ignored { .. })), "{name}");
    }
    let Ok(InboundEvent::Unknown(unknown)) = event("unknown") else {
        panic!("known")
    };
    assert_eq!(unknown.type_name.as_str(), "message.pinned");
    assert!(unknown.raw.get().contains("3EB0AAAA0008"));
    assert_eq!(event("no-id").unwrap_err(), Unusable::MessageId);
    assert_eq!(event("no-chat").unwrap_err(), Unusable::Chat);
    assert_eq!(event("odd-shape").unwrap_err(), Unusable::Shape);
    assert_eq!(event("no-payload").unwrap_err(), Unusable::Shape);
    let odd = message("odd-types");
    assert_eq!(odd.provider_message_id.as_str(), "3EB0AAAA0028");
    assert!(odd.sent_at <= now());
}

#[test]
fn nothing_of_a_webhook_shows_in_debug() {
    for name in ["text", "captioned-picture", "contact"] {
        let shown = format!(
            "{:?} {:?} {:?}",
            read(&sample(name)).unwrap(),
            verified(name),
            event(name)
        );
        for words in ["Paket", "fotonya", "Pak RT", "statics/media"] {
            assert!(!shown.contains(words), "{name}: {shown}");
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(webhook) = Unverified::read(JSON, Bytes::from(body)) {
            let _ = webhook.verify(None, &[]).unwrap().parse(now());
        }
    }

    #[test]
    fn no_payload_makes_it_panic(event in "message(\\.(ack|reaction|edited|revoked))?", payload in "[\\[\\]{}\":,a-z0-9@._]{0,200}") {
        let body = format!("{{\"event\":{event:?},\"payload\":{payload}}}");
        if let Ok(webhook) = read(&body) {
            let _ = webhook.verify(None, &[]).unwrap().parse(now());
        }
    }
}
