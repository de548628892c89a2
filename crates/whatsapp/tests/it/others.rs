//! What the samples tell that is no message.

use whatsapp::error::Unusable;
use whatsapp::event::{InboundEvent, ReceiptKind, SessionEvent, SkipReason};

use crate::fixtures::{event, names};

fn session(name: &str) -> SessionEvent {
    match event(name) {
        Ok(InboundEvent::Session(event)) => event,
        other => panic!("{name} is no session event: {other:?}"),
    }
}

#[test]
fn what_is_no_conversation_with_one_person_is_skipped() {
    for (name, reason) in [
        ("s09-poll-created-in-a-group", SkipReason::Group),
        ("s10-poll-vote", SkipReason::Group),
        ("c-group", SkipReason::Group),
        ("x-status", SkipReason::Status),
        ("x-broadcast", SkipReason::Broadcast),
        ("x-newsletter", SkipReason::Newsletter),
        ("x-bot", SkipReason::Bot),
    ] {
        assert!(
            matches!(event(name), Ok(InboundEvent::Skipped(actual)) if actual == reason),
            "{name}"
        );
    }
}

#[test]
fn receipts_and_echoes_are_read() {
    let chat_of_budi = "6281200000001@s.whatsapp.net";
    for (name, chat, ids, kind) in [
        (
            "s15-readreceipt",
            chat_of_budi,
            vec!["3EB0AA11BB22CC33DD44"],
            ReceiptKind::Read,
        ),
        (
            "c-receipt",
            "6281290000011@s.whatsapp.net",
            vec!["3EB0FFEEDDCCBBAA9988"],
            ReceiptKind::Read,
        ),
        // One id that cannot be kept costs itself only; the chat is the number behind the hidden id.
        (
            "x-receipt-delivered-lid",
            "6281290000011@s.whatsapp.net",
            vec!["A1", "B2"],
            ReceiptKind::Delivered,
        ),
    ] {
        let Ok(InboundEvent::Receipt(receipt)) = event(name) else {
            panic!("{name} is no receipt")
        };
        let actual: Vec<_> = receipt.ids.iter().map(|id| id.as_str()).collect();
        assert_eq!(
            (receipt.chat.as_str(), actual, receipt.kind),
            (chat, ids, kind),
            "{name}"
        );
    }
    let Ok(InboundEvent::Sent(echo)) = event("s14-messagesent") else {
        panic!("no echo")
    };
    assert_eq!(echo.id.as_str(), "3EB0AA11BB22CC33DD44");
    assert_eq!(echo.chat.unwrap().as_str(), chat_of_budi);
    assert_eq!(echo.at.to_rfc3339(), "2026-02-17T12:16:40+00:00");
}

#[test]
fn session_events_are_read() {
    assert_eq!(session("s16-qr"), SessionEvent::Qr);
    assert_eq!(session("s17-qrtimeout"), SessionEvent::QrTimeout);
    assert_eq!(session("s19-connected"), SessionEvent::Connected);
    assert_eq!(session("s20-disconnected"), SessionEvent::Disconnected);
    assert_eq!(
        session("s21-loggedout"),
        SessionEvent::LoggedOut {
            on_connect: false,
            reason: Some(401)
        }
    );

    let SessionEvent::PairSuccess { jid, phone } = session("s18-pairsuccess") else {
        panic!("not paired")
    };
    assert_eq!(jid.unwrap().device(), Some(12));
    assert_eq!(phone.unwrap().as_str(), "6281100000009");

    for (name, said) in [
        ("s22-connectfailure", "dial tcp: i/o timeout"),
        ("x-connect-failure-object", "503"),
    ] {
        let SessionEvent::ConnectFailure { reason } = session(name) else {
            panic!("{name} is no failure")
        };
        assert_eq!(reason.unwrap().as_str(), said);
    }
}

#[test]
fn known_kinds_without_use_are_counted_and_unknown_kinds_are_kept() {
    for (name, kind) in [
        ("s23-chatpresence", "ChatPresence"),
        ("s24-presence", "Presence"),
        ("s25-historysync", "HistorySync"),
        ("s26-calloffer", "CallOffer"),
        ("x-key-share", "Message.protocolMessage"),
    ] {
        assert!(
            matches!(event(name), Ok(InboundEvent::Ignored { type_name }) if type_name == kind),
            "{name}"
        );
    }
    // A message that could not be decrypted comes again under the same id: it must not take that id now.
    for (name, kind) in [
        ("x-undecryptable", "UndecryptableMessage"),
        ("x-receipt-odd-kind", "ReadReceipt"),
    ] {
        let Ok(InboundEvent::Unknown(unknown)) = event(name) else {
            panic!("{name} is known")
        };
        assert_eq!(unknown.type_name.as_str(), kind);
        assert!(unknown.raw.get().contains(kind));
    }
}

#[test]
fn known_kinds_that_cannot_be_used_say_why() {
    for (name, why) in [
        ("x-bad-id", Unusable::MessageId),
        ("x-no-id", Unusable::MessageId),
        ("x-receipt-no-ids", Unusable::MessageId),
        ("x-bad-chat", Unusable::Chat),
        ("x-object-chat", Unusable::Chat),
        ("x-odd-server", Unusable::UnservedChat),
        ("x-message-without-event", Unusable::Shape),
    ] {
        assert_eq!(event(name).err(), Some(why), "{name}");
    }
}

#[test]
fn every_sample_is_read_alike_in_both_modes() {
    let names = names();
    assert!(names.len() >= 35 + 40, "samples are missing: {}", names.len());
    for name in names {
        // Compares the modes; what it says is the other tests' business.
        let _ = event(&name);
    }
}
