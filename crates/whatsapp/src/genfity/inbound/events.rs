//! From the server's events to ours.

use chrono::{DateTime, Utc};
use domain::address::{ChatAddress, Jid, PhoneNumber};
use domain::ids::ProviderMessageId;
use domain::message::{Direction, InboundMessage, MessageContent, MessageOrigin, believable_sent_at};
use domain::text::Text;
use serde_json::value::RawValue;

use super::content::{self, Cutter, Files, Reading};
use super::{Payload, wire};
use crate::error::Unusable;
use crate::event::{
    InboundEvent, Keep, OTHER_RECEIPTS, Receipt, ReceiptKind, SentEcho, SessionEvent, UnknownEvent,
};
use crate::place::{Partner, skip_reason};
use crate::port::OperatorText;

/// Kinds of wa-server contract 12 that carry nothing we act on. A closed list: what is not here and not read below
/// is unknown and kept. Kinds that tell of trouble (`UndecryptableMessage`, `TemporaryBan`, `StreamReplaced`) are
/// left out on purpose, so that their bytes stay visible.
const IGNORED: &[&str] = &[
    "AppState",
    "AppStateSyncComplete",
    "Blocklist",
    "BlocklistChange",
    "CallAccept",
    "CallOffer",
    "CallOfferNotice",
    "CallRelayLatency",
    "CallTerminate",
    "ChatPresence",
    "GroupInfo",
    "HistorySync",
    "IdentityChange",
    "JoinedGroup",
    "KeepAliveRestored",
    "KeepAliveTimeout",
    "MediaRetry",
    "NewsletterJoin",
    "NewsletterLeave",
    "NewsletterLiveUpdate",
    "NewsletterMuteChange",
    "OfflineSyncCompleted",
    "OfflineSyncPreview",
    "Picture",
    "Presence",
    "PrivacySettings",
    "PushNameSetting",
    "QRScannedWithoutMultidevice",
    "UserAbout",
];

pub(super) fn read(payload: &Payload, now: DateTime<Utc>, keep: Keep) -> Result<InboundEvent, Unusable> {
    match payload.type_name.as_str() {
        "Message" => message(payload, now, keep),
        "ReadReceipt" | "Receipt" => receipt(payload, now),
        "MessageSent" => sent(payload, now),
        "Connected" => Ok(InboundEvent::Session(SessionEvent::Connected)),
        "Disconnected" => Ok(InboundEvent::Session(SessionEvent::Disconnected)),
        "QR" => Ok(InboundEvent::Session(SessionEvent::Qr)),
        "QRTimeout" => Ok(InboundEvent::Session(SessionEvent::QrTimeout)),
        "LoggedOut" | "PairSuccess" | "ConnectFailure" => Ok(InboundEvent::Session(session(payload))),
        other => match IGNORED.iter().copied().find(|known| *known == other) {
            Some(type_name) => Ok(InboundEvent::Ignored { type_name }),
            None => unknown(payload),
        },
    }
}

/// A piece of JSON, when it is an object.
fn object(piece: Option<&[u8]>) -> Result<&[u8], Unusable> {
    piece
        .filter(|bytes| bytes.first() == Some(&b'{'))
        .ok_or(Unusable::Shape)
}

fn message(payload: &Payload, now: DateTime<Utc>, keep: Keep) -> Result<InboundEvent, Unusable> {
    let event: wire::MessageEvent<'_> =
        serde_json::from_slice(object(payload.event.as_deref())?).map_err(|_| Unusable::Shape)?;
    let info = &event.info;
    let jid = read_chat(&info.chat)?;
    let place = skip_reason(&jid, info.is_group.is_true());
    if let Some(place) = place.filter(|place| !keep.wants(*place)) {
        return Ok(InboundEvent::Skipped(place));
    }

    let from_me = info.is_from_me.is_true();
    // The alternative address of the *partner*: who sent it, or to whom the tenant wrote.
    let alternative = if from_me {
        &info.recipient_alt
    } else {
        &info.sender_alt
    };
    let partner = match place {
        Some(_) => Partner::place(&jid)?,
        None => Partner::new(&jid, address_of(alternative))?,
    };
    let provider_message_id = message_id(&info.id)?;

    let mut cutter = Cutter::default();
    let (content, quoted) = match content::read(event.message, &files(payload), &mut cutter) {
        Reading::Content(content, quoted) => (content, quoted),
        Reading::Housekeeping(type_name) => return Ok(InboundEvent::Ignored { type_name }),
    };

    let sender = match info
        .sender
        .filled()
        .and_then(|text| ChatAddress::parse(text).ok())
    {
        // The same person by number, where the event tells it.
        Some(ChatAddress::Lid(lid)) => {
            Some(phone_of(&info.sender_alt).map_or(ChatAddress::Lid(lid), ChatAddress::Phone))
        }
        sender => sender,
    };

    Ok(InboundEvent::Message(Box::new(InboundMessage {
        provider_message_id,
        chat: partner.chat,
        chat_phone: partner.phone,
        chat_lid: partner.lid,
        chat_user: None,
        direction: if from_me {
            Direction::Outbound
        } else {
            Direction::Inbound
        },
        sender,
        push_name: info
            .push_name
            .filled()
            .and_then(|name| Text::label(name, InboundMessage::MAX_PUSH_NAME)),
        sent_at: believable_sent_at(info.timestamp.time(), now),
        content,
        quoted,
        truncated: cutter.truncated,
        origin: MessageOrigin::default(),
    })))
}

fn files(payload: &Payload) -> Files<'_> {
    Files {
        s3: payload
            .s3
            .as_deref()
            .and_then(|s3| serde_json::from_slice(s3).ok()),
        inline_length: payload.inline_length,
        mime_type: payload.mime_type.as_deref(),
    }
}

fn read_chat(chat: &wire::Loose<'_>) -> Result<Jid, Unusable> {
    Jid::parse(chat.filled().ok_or(Unusable::Chat)?).map_err(|_| Unusable::Chat)
}

fn address_of(address: &wire::Loose<'_>) -> Option<ChatAddress> {
    ChatAddress::parse(address.filled()?).ok()
}

fn phone_of(address: &wire::Loose<'_>) -> Option<PhoneNumber> {
    match ChatAddress::parse(address.filled()?).ok()? {
        ChatAddress::Phone(phone) => Some(phone),
        ChatAddress::Lid(_)
        | ChatAddress::User(_)
        | ChatAddress::Group(_)
        | ChatAddress::Other(_)
        | ChatAddress::Visitor(_) => None,
    }
}

fn message_id(id: &wire::Loose<'_>) -> Result<ProviderMessageId, Unusable> {
    ProviderMessageId::parse(id.text().unwrap_or_default()).map_err(|_| Unusable::MessageId)
}

fn receipt(payload: &Payload, now: DateTime<Utc>) -> Result<InboundEvent, Unusable> {
    let event: wire::ReceiptEvent<'_> =
        serde_json::from_slice(object(payload.event.as_deref())?).map_err(|_| Unusable::Shape)?;
    let jid = read_chat(&event.chat)?;
    if let Some(reason) = skip_reason(&jid, event.is_group.is_true()) {
        return Ok(InboundEvent::Skipped(reason));
    }
    let Some(kind) = receipt_kind(event.kind.text(), payload.state.as_deref()) else {
        return match event.kind.text() {
            Some(other) if OTHER_RECEIPTS.contains(&other) => Ok(InboundEvent::Ignored {
                type_name: "ReadReceipt (other)",
            }),
            _ => unknown(payload),
        };
    };
    let from_me = event.is_from_me.is_true();
    let alternative = if from_me {
        &event.recipient_alt
    } else {
        &event.sender_alt
    };
    let partner = Partner::new(&jid, address_of(alternative))?;
    let ids: Vec<_> = event
        .message_ids
        .iter()
        .flatten()
        .filter_map(|id| message_id(id).ok())
        .collect();
    if ids.is_empty() {
        return Err(Unusable::MessageId);
    }
    let at = believable_sent_at(event.timestamp.time(), now);
    Ok(InboundEvent::Receipt(Receipt {
        chat: partner.chat,
        ids,
        kind,
        from_me,
        at,
    }))
}

/// `Type` is WhatsApp's own word; `state` is the server's name for it and stands in where `Type` is missing.
fn receipt_kind(kind: Option<&str>, state: Option<&str>) -> Option<ReceiptKind> {
    match (kind, state) {
        (Some(""), _) | (None, Some("Delivered")) => Some(ReceiptKind::Delivered),
        (Some("read"), _) | (None, Some("Read")) => Some(ReceiptKind::Read),
        (Some("read-self"), _) | (None, Some("ReadSelf")) => Some(ReceiptKind::ReadSelf),
        (Some("played"), _) => Some(ReceiptKind::Played),
        _ => None,
    }
}

fn sent(payload: &Payload, now: DateTime<Utc>) -> Result<InboundEvent, Unusable> {
    let event: wire::MessageEvent<'_> =
        serde_json::from_slice(object(payload.event.as_deref())?).map_err(|_| Unusable::Shape)?;
    Ok(InboundEvent::Sent(SentEcho {
        id: message_id(&event.info.id)?,
        chat: event
            .info
            .chat
            .filled()
            .and_then(|chat| ChatAddress::parse(chat).ok()),
        at: believable_sent_at(event.info.timestamp.time(), now),
    }))
}

/// The session's events are worth having even when their details are not what we expect.
fn session(payload: &Payload) -> SessionEvent {
    let event = payload.event.as_deref();
    let details: wire::SessionDetails<'_> = object(event)
        .ok()
        .and_then(|bytes| serde_json::from_slice(bytes).ok())
        .unwrap_or_default();
    match payload.type_name.as_str() {
        "LoggedOut" => SessionEvent::LoggedOut {
            on_connect: details.on_connect.is_true(),
            reason: details.reason.whole(),
        },
        "PairSuccess" => {
            let jid = details.id.filled().and_then(|id| Jid::parse(id).ok());
            SessionEvent::PairSuccess {
                jid,
                phone: phone_of(&details.id),
            }
        }
        _ => {
            let code = details.reason.whole().map(|code| code.to_string());
            let said = payload
                .failure
                .as_deref()
                .or(details.message.filled())
                .or(code.as_deref());
            SessionEvent::ConnectFailure {
                reason: said.and_then(|said| Text::label(said, OperatorText::MAX_CHARS)),
            }
        }
    }
}

fn unknown(payload: &Payload) -> Result<InboundEvent, Unusable> {
    let raw = RawValue::from_string(payload.text().to_owned()).map_err(|_| Unusable::Shape)?;
    let type_name = Text::label(&payload.type_name, MessageContent::MAX_TYPE_NAME).unwrap_or_default();
    Ok(InboundEvent::Unknown(UnknownEvent { type_name, raw }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_of_a_kind_we_do_not_know_is_none() {
        assert_eq!(
            receipt_kind(Some(""), Some("Delivered")),
            Some(ReceiptKind::Delivered)
        );
        assert_eq!(receipt_kind(None, Some("ReadSelf")), Some(ReceiptKind::ReadSelf));
        assert_eq!(receipt_kind(Some("played"), None), Some(ReceiptKind::Played));
        assert_eq!(receipt_kind(Some("hist_sync"), Some("Read")), None);
        assert_eq!(receipt_kind(None, None), None);
    }
}
