//! From the server's events to ours.

use chrono::{DateTime, Utc};
use domain::address::{ChatAddress, Jid};
use domain::ids::ProviderMessageId;
use domain::message::{Direction, InboundMessage, MessageContent, MessageOrigin, Quoted, believable_sent_at};
use domain::text::{RawJson, Text};
use serde_json::value::RawValue;

use super::content::{self, Cutter};
use super::{Payload, wire};
use crate::error::Unusable;
use crate::event::{InboundEvent, Keep, OTHER_RECEIPTS, Receipt, ReceiptKind, UnknownEvent};
use crate::place::{Partner, skip_reason};

/// Kinds of chatwoot-bridge contract 4.6 that carry nothing we act on. A closed list: what is not here and not read below
/// is unknown and kept.
const IGNORED: &[&str] = &[
    "call.offer",
    "chat_presence",
    "group.joined",
    "group.participants",
    "label.association",
    "label.edit",
    // Deleted on the phone of the tenant, for the tenant alone: the other side still has it, and so have we.
    "message.deleted",
    "newsletter.joined",
    "newsletter.left",
    "newsletter.message",
    "newsletter.mute",
];

/// A receipt of a sort that says nothing about how far a message of ours went.
const OTHER_RECEIPT: &str = "message.ack (other)";

/// What a message event is about.
#[derive(Clone, Copy)]
enum About {
    Message,
    Reaction,
    Revoke,
    Edit,
}

pub(super) fn read(payload: &Payload, now: DateTime<Utc>, keep: Keep) -> Result<InboundEvent, Unusable> {
    match payload.event.as_str() {
        "message" => message(payload, About::Message, now, keep),
        "message.reaction" => message(payload, About::Reaction, now, keep),
        "message.revoked" => message(payload, About::Revoke, now, keep),
        "message.edited" => message(payload, About::Edit, now, keep),
        "message.ack" => ack(payload, now),
        other => match IGNORED.iter().copied().find(|known| *known == other) {
            Some(type_name) => Ok(InboundEvent::Ignored { type_name }),
            None => unknown(payload),
        },
    }
}

/// The payload, when it is an object.
fn object(payload: &Payload) -> Result<&str, Unusable> {
    let bytes = payload.payload.as_deref().unwrap_or_default();
    let text = std::str::from_utf8(bytes).map_err(|_| Unusable::Shape)?;
    if text.starts_with('{') {
        Ok(text)
    } else {
        Err(Unusable::Shape)
    }
}

fn message(
    payload: &Payload,
    about: About,
    now: DateTime<Utc>,
    keep: Keep,
) -> Result<InboundEvent, Unusable> {
    let raw = object(payload)?;
    let event: wire::Message<'_> = serde_json::from_str(raw).map_err(|_| Unusable::Shape)?;
    let jid = read_chat(&event.chat_id)?;
    let place = skip_reason(&jid, false);
    if let Some(place) = place.filter(|place| !keep.wants(*place)) {
        return Ok(InboundEvent::Skipped(place));
    }
    let from_me = event.is_from_me.is_true();
    let partner = match place {
        Some(_) => Partner::place(&jid)?,
        None => {
            // What is told of the writer is told of the partner, unless the tenant wrote.
            let writer = if from_me {
                None
            } else {
                alternative(&jid, &event.from, &event.from_lid)
            };
            Partner::new(
                &jid,
                alternative(&jid, &event.chat_lid, &event.chat_lid).or(writer),
            )?
        }
    };
    let provider_message_id = message_id(&event.id)?;

    let mut cutter = Cutter::default();
    let content = match about {
        About::Message => content::read(&event, &provider_message_id, raw, &mut cutter),
        About::Reaction => MessageContent::Reaction {
            target: message_id(&event.reacted_message_id)?,
            emoji: event.reaction.filled().and_then(|emoji| Text::label(emoji, 64)),
        },
        About::Revoke => MessageContent::Revoke {
            target: message_id(&event.revoked_message_id)?,
        },
        About::Edit => match cutter.optional(&event.body) {
            Some(text) => MessageContent::Edit {
                target: message_id(&event.original_message_id)?,
                content: Box::new(MessageContent::Text { text }),
            },
            // What it says from now on is not told.
            None => MessageContent::Unsupported {
                type_name: Text::new(&payload.event),
                raw: RawJson::keep(raw),
            },
        },
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
        sender: address(&event.from).or_else(|| address(&event.from_lid)),
        push_name: event
            .from_name
            .filled()
            .or(event.sender_display_name.filled())
            .and_then(|name| Text::label(name, InboundMessage::MAX_PUSH_NAME)),
        sent_at: believable_sent_at(event.timestamp.time().or(payload.at), now),
        content,
        quoted: quoted(&event),
        truncated: cutter.truncated,
        origin: MessageOrigin::default(),
    })))
}

/// What is answered. An unreadable quote costs the quote, never the answer.
fn quoted(event: &wire::Message<'_>) -> Option<Quoted> {
    Some(Quoted {
        provider_message_id: message_id(&event.replied_to_id).ok()?,
        participant: None,
        text: event
            .quoted_body
            .filled()
            .map(|text| Text::cut(text, Text::MAX_CHARS).0),
    })
}

fn read_chat(chat: &wire::Loose<'_>) -> Result<Jid, Unusable> {
    Jid::parse(chat.filled().ok_or(Unusable::Chat)?).map_err(|_| Unusable::Chat)
}

fn address(text: &wire::Loose<'_>) -> Option<ChatAddress> {
    ChatAddress::parse(text.filled()?).ok()
}

/// The other of a person's two addresses: the hidden id of a number, the number of a hidden id.
fn alternative(chat: &Jid, one: &wire::Loose<'_>, other: &wire::Loose<'_>) -> Option<ChatAddress> {
    let hidden = chat.server() == "lid";
    [one, other].into_iter().find_map(|text| match address(text)? {
        phone @ ChatAddress::Phone(_) if hidden => Some(phone),
        lid @ ChatAddress::Lid(_) if !hidden => Some(lid),
        _ => None,
    })
}

fn message_id(id: &wire::Loose<'_>) -> Result<ProviderMessageId, Unusable> {
    ProviderMessageId::parse(id.text().unwrap_or_default()).map_err(|_| Unusable::MessageId)
}

fn ack(payload: &Payload, now: DateTime<Utc>) -> Result<InboundEvent, Unusable> {
    let event: wire::Ack<'_> = serde_json::from_str(object(payload)?).map_err(|_| Unusable::Shape)?;
    let jid = read_chat(&event.chat_id)?;
    if let Some(reason) = skip_reason(&jid, false) {
        return Ok(InboundEvent::Skipped(reason));
    }
    let kind = match event.receipt_type.text() {
        Some("delivered") => ReceiptKind::Delivered,
        Some("read") => ReceiptKind::Read,
        Some("played") => ReceiptKind::Played,
        Some("read-self") => ReceiptKind::ReadSelf,
        Some(other) if OTHER_RECEIPTS.contains(&other) => {
            return Ok(InboundEvent::Ignored {
                type_name: OTHER_RECEIPT,
            });
        }
        _ => return unknown(payload),
    };
    let partner = Partner::new(&jid, alternative(&jid, &event.from, &event.from_lid))?;
    let ids: Vec<_> = event
        .ids
        .iter()
        .flatten()
        .filter_map(|id| message_id(id).ok())
        .collect();
    if ids.is_empty() {
        return Err(Unusable::MessageId);
    }
    let own = payload.own_address();
    Ok(InboundEvent::Receipt(Receipt {
        chat: partner.chat,
        ids,
        from_me: kind == ReceiptKind::ReadSelf || (own.is_some() && address(&event.from) == own),
        kind,
        at: believable_sent_at(payload.at.or(event.timestamp.time()), now),
    }))
}

fn unknown(payload: &Payload) -> Result<InboundEvent, Unusable> {
    let raw = RawValue::from_string(payload.text().trim().to_owned()).map_err(|_| Unusable::Shape)?;
    let type_name = Text::label(&payload.event, MessageContent::MAX_TYPE_NAME).unwrap_or_default();
    Ok(InboundEvent::Unknown(UnknownEvent { type_name, raw }))
}
