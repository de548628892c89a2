//! Whom a caller means, and how chats and messages are written on GovConnect's wire (channel-service contract 1.6, 4).

use ::web::openapi::{Schema, flag, nullable, object, one_of, text, time, whole};
use ::web::{ApiError, wire_time};
use domain::address::ChatAddress;
use domain::chat::Channel;
use domain::delivery::DeliveryStatus;
use domain::message::{Direction, MessageSource};
use serde_json::{Value, json};
use tenant_isolation::TenantScope;

use crate::flows::identifier::{can_be_written_to, read_identifier, wa_user_id, write_identifier};
use crate::store::chat::ChatRow;
use crate::store::message::HistoryRow;
use crate::store::takeover::TakenChatRow;

/// The person behind an identifier. `None`: nobody, be it that the text cannot be read, or that a channel is named on
/// which no such person can be.
pub(crate) fn known_as(identifier: &str, channel: Option<&str>) -> Option<ChatAddress> {
    let person = read_identifier(identifier).ok()?;
    let webchat = channel.and_then(Channel::from_wire) == Some(Channel::Webchat);
    (!webchat || Channel::of(&person) == Channel::Webchat).then_some(person)
}

/// As [`known_as`], for somebody who is written to: a number without its country code would be a stranger's.
///
/// # Errors
/// 400 `invalid_identifier`.
pub(crate) fn writable(identifier: &str, channel: Option<&str>) -> Result<ChatAddress, ApiError> {
    known_as(identifier, channel)
        .filter(can_be_written_to)
        .ok_or_else(|| {
            ApiError::bad_request(
                "invalid_identifier",
                "The identifier must be a phone number with its country code, a WhatsApp address or a webchat session ID",
            )
        })
}

/// Who a row is about: the columns every table of the contract has.
struct About<'a> {
    village_id: &'a str,
    wa_user_id: Option<&'a str>,
    channel: &'static str,
    identifier: &'a str,
}

impl<'a> About<'a> {
    fn new(scope: &'a TenantScope, channel: &str, address: &'a str, phone: Option<&'a str>) -> Self {
        let channel = channel.parse().unwrap_or(Channel::WhatsApp);
        let identifier = write_identifier(address, phone);
        Self {
            village_id: scope.tenant().as_str(),
            wa_user_id: wa_user_id(channel, identifier),
            channel: channel.wire(),
            identifier,
        }
    }
}

/// What [`conversation`] writes.
pub(crate) fn conversation_schema() -> Schema {
    object([
        ("id", text()),
        ("village_id", text()),
        ("wa_user_id", nullable(text())),
        ("channel", one_of(&["WHATSAPP", "WEBCHAT"])),
        ("channel_identifier", text()),
        ("user_name", nullable(text())),
        ("user_phone", nullable(text())),
        ("last_message", nullable(text())),
        ("last_message_at", time()),
        ("unread_count", whole()),
        ("is_takeover", flag()),
        ("ai_status", nullable(text())),
        ("ai_error_message", nullable(text())),
        ("pending_message_id", nullable(text())),
        ("created_at", time()),
        ("updated_at", time()),
    ])
}

/// What [`message`] writes.
pub(crate) fn message_schema() -> Schema {
    let mut schema = object([
        ("id", text()),
        ("village_id", text()),
        ("wa_user_id", nullable(text())),
        ("channel", one_of(&["WHATSAPP", "WEBCHAT"])),
        ("channel_identifier", text()),
        ("message_id", text()),
        ("message_text", text()),
        ("direction", one_of(&["IN", "OUT"])),
        ("source", text()),
        ("timestamp", time()),
        ("createdAt", time()),
    ]);
    schema["properties"]["status"] = one_of(&["failed", "parked"]);
    schema["properties"]["reason"] = nullable(text());
    schema
}

/// What [`takeover`] writes.
pub(crate) fn takeover_schema() -> Schema {
    object([
        ("id", text()),
        ("village_id", text()),
        ("wa_user_id", nullable(text())),
        ("channel", one_of(&["WHATSAPP", "WEBCHAT"])),
        ("channel_identifier", text()),
        ("admin_id", text()),
        ("admin_name", nullable(text())),
        ("started_at", time()),
        ("ended_at", nullable(time())),
        ("reason", nullable(text())),
    ])
}

/// A row of `conversations`.
pub(crate) fn conversation(scope: &TenantScope, row: &ChatRow) -> Value {
    let about = About::new(scope, &row.channel, &row.address, row.phone.as_deref());
    json!({
        "id": row.id, "village_id": about.village_id, "wa_user_id": about.wa_user_id, "channel": about.channel,
        "channel_identifier": about.identifier, "user_name": row.user_name, "user_phone": row.user_phone,
        "last_message": Some(&row.last_text).filter(|text| !text.is_empty()),
        "last_message_at": wire_time(row.last_message_at), "unread_count": row.unread,
        "is_takeover": row.is_takeover, "ai_status": row.ai_status, "ai_error_message": row.ai_error_message,
        "pending_message_id": row.pending_message_id, "created_at": wire_time(row.created_at),
        "updated_at": wire_time(row.updated_at),
    })
}

/// A row of `messages`, of a chat.
pub(crate) fn message(scope: &TenantScope, chat: &ChatRow, row: &HistoryRow) -> Value {
    let about = About::new(scope, &chat.channel, &chat.address, chat.phone.as_deref());
    let mut wire = brief_message(row);
    if let Some(fields) = wire.as_object_mut() {
        fields.insert("village_id".to_owned(), about.village_id.into());
        fields.insert("wa_user_id".to_owned(), about.wa_user_id.into());
        fields.insert("channel".to_owned(), about.channel.into());
        fields.insert("channel_identifier".to_owned(), about.identifier.into());
        fields.insert("message_id".to_owned(), row.provider_message_id.as_str().into());
        fields.insert("createdAt".to_owned(), wire_time(row.created_at).into());
        // Not in the contract, and only where it matters: an answer of the AI that did not go out.
        if matches!(
            row.status.parse(),
            Ok(DeliveryStatus::Failed | DeliveryStatus::Parked)
        ) {
            fields.insert("status".to_owned(), row.status.as_str().into());
            fields.insert("reason".to_owned(), row.reason.as_deref().into());
        }
    }
    wire
}

/// A message as the history shows it.
pub(crate) fn brief_message(row: &HistoryRow) -> Value {
    let inbound = row.direction.parse() == Ok(Direction::Inbound);
    // What a later release wrote into the row is shown as nobody's in particular.
    let source = match row.source.parse::<MessageSource>() {
        Ok(source) => source,
        Err(_) if inbound => MessageSource::Webhook,
        Err(_) => MessageSource::System,
    };
    json!({
        "id": row.id, "message_text": row.body, "direction": if inbound { "IN" } else { "OUT" },
        "source": source.wire(), "timestamp": wire_time(row.sent_at),
    })
}

/// A row of `takeover_sessions`.
pub(crate) fn takeover(scope: &TenantScope, row: &TakenChatRow) -> Value {
    let about = About::new(scope, &row.channel, &row.address, row.phone.as_deref());
    json!({
        "id": row.takeover.id, "village_id": about.village_id, "wa_user_id": about.wa_user_id,
        "channel": about.channel, "channel_identifier": about.identifier, "admin_id": row.takeover.admin_id,
        "admin_name": row.takeover.admin_name, "started_at": wire_time(row.takeover.started_at),
        "ended_at": row.takeover.ended_at.map(wire_time), "reason": row.takeover.reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webchat_channel_makes_nobody_of_a_number() {
        assert!(known_as("6281290000011", None).is_some());
        assert!(known_as("6281290000011", Some("WHATSAPP")).is_some());
        assert_eq!(known_as("6281290000011", Some("webchat")), None);
        assert!(known_as("web_a", Some("WHATSAPP")).is_some());
        assert_eq!(known_as("nobody", None), None);
    }

    #[test]
    fn a_number_without_its_country_is_not_written_to() {
        for wrong in ["081290000011", "abc", "120363@newsletter", ""] {
            let error = writable(wrong, None).unwrap_err();
            assert_eq!(error.code(), "invalid_identifier", "{wrong}");
        }
        for right in ["6281290000011", "4915112345678", "204466881133557@lid", "web_a"] {
            assert!(writable(right, None).is_ok(), "{right}");
        }
    }
}
