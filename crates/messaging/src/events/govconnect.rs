//! The shape GovConnect's AI service reads (contract channel-service 5.3), made from our own event.

use domain::ids::{EventId, ProviderMessageId};
use serde::Serialize;

use super::message_received::MessageReceived;
use crate::envelope::Envelope;
use crate::publisher::Publication;
use crate::topology::Topology;

/// `whatsapp.message.received` as GovConnect knows it.
#[derive(Serialize)]
struct WhatsappMessageReceived<'a> {
    village_id: &'a str,
    wa_user_id: &'a str,
    message: &'a str,
    message_id: &'a str,
    received_at: String,
    batched_message_ids: [&'a str; 1],
    has_media: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<&'static str>,
    spam_guard: SpamGuard<'a>,
}

/// Nothing is superseded on this path: the guard's own state comes with the spam guard.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SpamGuard<'a> {
    is_duplicate: bool,
    supersede_previous: bool,
    suppressed_message_ids: [&'a str; 0],
    context_messages: [&'a str; 0],
}

/// The publication for GovConnect, if the event is one that GovConnect wants: a message from a person with a phone
/// number (its ids are digits; a hidden id must never be taken for a number).
pub(crate) fn publication(envelope: &Envelope, topology: &Topology) -> Option<Publication> {
    let MessageReceived(message) = envelope.event::<MessageReceived>().ok().flatten()?;
    // An AI that answers into a group or a status post writes to people who asked it nothing.
    if message.place.is_some() {
        return None;
    }
    let phone = message.partner.phone.as_deref()?;
    // Not things a person wants answered: the original never published them, and an AI would reply to each.
    if matches!(
        message.kind.as_str(),
        "reaction" | "poll_vote" | "edit" | "revoke" | "unsupported"
    ) {
        return None;
    }
    let id: &ProviderMessageId = &message.provider_message_id;
    let media_type = match message.kind.as_str() {
        "image" => Some("image"),
        "video" => Some("video"),
        "audio" | "voice" => Some("audio"),
        "document" => Some("document"),
        "sticker" => Some("sticker"),
        _ => None,
    };
    let shape = WhatsappMessageReceived {
        village_id: envelope.tenant_id.as_str(),
        wa_user_id: phone,
        message: &message.text,
        message_id: id.as_str(),
        received_at: message
            .sent_at
            .to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        batched_message_ids: [id.as_str()],
        has_media: media_type.is_some(),
        media_type,
        spam_guard: SpamGuard {
            is_duplicate: false,
            supersede_previous: false,
            suppressed_message_ids: [],
            context_messages: [],
        },
    };
    let event_id: EventId = envelope.id;
    Some(Publication {
        exchange: topology.govconnect_exchange(),
        routing_key: topology.govconnect_message_key().to_owned(),
        event_id,
        body: serde_json::to_vec(&shape).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use domain::ids::{AccountId, ChatId, MessageId, TenantId};
    use tenant_isolation::TenantScope;

    use super::super::message_received::{ChatMessage, ChatPartner};
    use super::*;

    fn received(phone: Option<&str>) -> Envelope {
        let event = MessageReceived(ChatMessage {
            account_id: AccountId::generate(),
            chat_id: ChatId::generate(),
            partner: ChatPartner {
                address: "6281290000011@s.whatsapp.net".to_owned(),
                phone: phone.map(str::to_owned),
                name: None,
            },
            place: None,
            sender: None,
            message_id: MessageId::generate(),
            provider_message_id: ProviderMessageId::parse("3EB0A1B2C3D4E5F60718").unwrap(),
            kind: "image".to_owned(),
            text: "jalan rusak".to_owned(),
            content: serde_json::value::to_raw_value(&serde_json::json!({"kind": "image"})).unwrap(),
            quoted: None,
            sent_at: "2026-03-02T02:15:04Z".parse().unwrap(),
        });
        let scope = TenantScope::named_by_operator(TenantId::parse("desa-satu").unwrap());
        Envelope::new(&scope, &event).unwrap()
    }

    #[test]
    fn govconnect_gets_its_own_shape() {
        let publication = publication(&received(Some("6281290000011")), &Topology::default()).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&publication.body).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "village_id": "desa-satu", "wa_user_id": "6281290000011", "message": "jalan rusak",
                "message_id": "3EB0A1B2C3D4E5F60718", "received_at": "2026-03-02T02:15:04.000Z",
                "batched_message_ids": ["3EB0A1B2C3D4E5F60718"], "has_media": true, "media_type": "image",
                "spam_guard": {"isDuplicate": false, "supersedePrevious": false, "suppressedMessageIds": [],
                               "contextMessages": []}
            })
        );
        assert_eq!(publication.routing_key, "whatsapp.message.received");
    }

    #[test]
    fn a_place_of_several_people_is_not_shown_at_all() {
        let mut envelope = received(Some("6281290000011"));
        let MessageReceived(mut message) = envelope.event().unwrap().unwrap();
        message.place = Some(domain::chat::Place::Group);
        envelope = Envelope::new(&envelope.scope(), &MessageReceived(message)).unwrap();
        assert!(publication(&envelope, &Topology::default()).is_none());
    }

    #[test]
    fn a_person_without_a_number_is_not_shown_as_one() {
        assert!(publication(&received(None), &Topology::default()).is_none());
    }
}
