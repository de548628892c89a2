//! The shapes that GovConnect's services read and write on their own exchange (contract channel-service 5.3 and 5.4).
//! They travel bare: GovConnect knows no envelope.

use serde::{Deserialize, Deserializer, Serialize};

use crate::envelope::Event;

/// `whatsapp.message.received`: what the AI service is asked to answer. In the outbox it is an event like any other;
/// the relay publishes what is inside to GovConnect's exchange, and only there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum WhatsappMessage {
    /// Somebody asks for another try.
    Retry(MessageRetry),
    /// A person wrote.
    Received(MessageForAi),
}

/// A message a person wrote, and what the spam guard knows about the ones before it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageForAi {
    /// The tenant.
    pub village_id: String,
    /// The person: digits, or the whole address of somebody whose number is hidden.
    pub wa_user_id: String,
    /// What was written.
    pub message: String,
    /// The provider's id.
    pub message_id: String,
    /// When it was written.
    pub received_at: String,
    /// Just this message's id.
    pub batched_message_ids: Vec<String>,
    /// A file came with it.
    pub has_media: bool,
    /// What sort of file, in GovConnect's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Where services of the installation fetch the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_url: Option<String>,
    /// Where anybody with the link fetches the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_public_url: Option<String>,
    /// The person's unanswered messages.
    pub spam_guard: SpamGuardBlock,
}

/// What the AI has to know to answer several messages at once.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpamGuardBlock {
    /// The same text is waiting for an answer already.
    pub is_duplicate: bool,
    /// Answers to the earlier messages are not wanted any more.
    pub supersede_previous: bool,
    /// The earlier messages.
    pub suppressed_message_ids: Vec<String>,
    /// The earlier messages and this one, oldest first. Empty when there is no earlier one.
    pub context_messages: Vec<ContextMessage>,
}

/// One unanswered message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContextMessage {
    /// The provider's id.
    pub message_id: String,
    /// What was written.
    pub text: String,
    /// When it was written.
    pub received_at: String,
}

/// Another try for a message that got no answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRetry {
    /// The person.
    pub wa_user_id: String,
    /// The tenant.
    pub village_id: String,
    /// What was written.
    pub message: String,
    /// The provider's id.
    pub message_id: String,
    /// Always true.
    pub is_retry: bool,
    /// `whatsapp` or `webchat`.
    pub channel: String,
}

impl Event for WhatsappMessage {
    const TYPE: &'static str = "whatsapp.message.received";
    const VERSION: u16 = 1;
}

/// `govconnect.ai.reply`: what the AI wants said. Absent and null are alike; other keys are nobody's business.
#[derive(Clone, Deserialize)]
pub struct AiReply {
    /// The tenant, where given.
    #[serde(default)]
    pub village_id: Option<String>,
    /// The person, as we named it.
    pub wa_user_id: String,
    /// The answer.
    pub reply_text: String,
    /// More words, sent as a second message.
    #[serde(default)]
    pub guidance_text: Option<String>,
    /// The message that is answered.
    #[serde(default)]
    pub message_id: Option<String>,
    /// All messages that are answered.
    #[serde(default, deserialize_with = "none_is_empty")]
    pub batched_message_ids: Vec<String>,
    /// People to turn to, each sent as a contact card.
    #[serde(default, deserialize_with = "none_is_empty")]
    pub contacts: Vec<AiContact>,
}

/// A person to turn to.
#[derive(Clone, Deserialize)]
pub struct AiContact {
    /// The name on the card.
    pub name: String,
    /// The number.
    pub phone: String,
    /// The office.
    #[serde(default)]
    pub organization: Option<String>,
    /// The post.
    #[serde(default)]
    pub title: Option<String>,
}

/// `govconnect.ai.error`: the AI could not answer.
#[derive(Clone, Deserialize)]
pub struct AiError {
    /// The tenant, where given.
    #[serde(default)]
    pub village_id: Option<String>,
    /// The person.
    pub wa_user_id: String,
    /// Why.
    pub error_message: String,
    /// The message, as the AI service calls it.
    #[serde(default)]
    pub pending_message_id: Option<String>,
    /// The message, as the contract calls it.
    #[serde(default)]
    pub message_id: Option<String>,
    /// All messages.
    #[serde(default, deserialize_with = "none_is_empty")]
    pub batched_message_ids: Vec<String>,
}

/// `govconnect.message.status`: where the AI stands with some messages.
#[derive(Clone, Deserialize)]
pub struct MessageStatus {
    /// The tenant, where given.
    #[serde(default)]
    pub village_id: Option<String>,
    /// The person.
    pub wa_user_id: String,
    /// The messages.
    pub message_ids: Vec<String>,
    /// Where it stands.
    pub status: AiProgress,
    /// Why it failed.
    #[serde(default)]
    pub error_message: Option<String>,
}

/// Where the AI stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AiProgress {
    /// It has begun.
    Processing,
    /// It is done. Says nothing about whether its answer went out.
    Completed,
    /// It gave up.
    Failed,
}

fn none_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(source: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(source)?.unwrap_or_default())
}

/// Prints nothing of what people wrote.
macro_rules! silent_debug {
    ($($name:ident),+) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )+};
}

silent_debug!(
    WhatsappMessage,
    MessageForAi,
    SpamGuardBlock,
    ContextMessage,
    MessageRetry,
    AiReply,
    AiContact,
    AiError,
    MessageStatus
);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_reads_exactly_as_the_contract_says() {
        let message = WhatsappMessage::Received(MessageForAi {
            village_id: "desa-satu".to_owned(),
            wa_user_id: "6281290000011".to_owned(),
            message: "jalan rusak".to_owned(),
            message_id: "3EB0A1".to_owned(),
            received_at: "2026-03-02T02:15:04.000Z".to_owned(),
            batched_message_ids: vec!["3EB0A1".to_owned()],
            has_media: true,
            media_type: Some("image".to_owned()),
            media_url: None,
            media_public_url: None,
            spam_guard: SpamGuardBlock {
                is_duplicate: true,
                supersede_previous: true,
                suppressed_message_ids: vec!["3EB0A0".to_owned()],
                context_messages: vec![ContextMessage {
                    message_id: "3EB0A0".to_owned(),
                    text: "jalan rusak".to_owned(),
                    received_at: "2026-03-02T02:15:03.000Z".to_owned(),
                }],
            },
        });
        let written = serde_json::to_value(&message).unwrap();
        assert_eq!(
            written,
            json!({
                "village_id": "desa-satu", "wa_user_id": "6281290000011", "message": "jalan rusak",
                "message_id": "3EB0A1", "received_at": "2026-03-02T02:15:04.000Z",
                "batched_message_ids": ["3EB0A1"], "has_media": true, "media_type": "image",
                "spam_guard": {"isDuplicate": true, "supersedePrevious": true, "suppressedMessageIds": ["3EB0A0"],
                    "contextMessages": [{"messageId": "3EB0A0", "text": "jalan rusak",
                                         "receivedAt": "2026-03-02T02:15:03.000Z"}]},
            })
        );
        assert!(serde_json::from_value::<WhatsappMessage>(written).unwrap() == message);
    }

    #[test]
    fn replies_are_read_with_nulls_and_unknown_keys() {
        let reply: AiReply = serde_json::from_value(json!({
            "wa_user_id": "6281290000011", "reply_text": "Baik", "village_id": null, "contacts": null,
            "batched_message_ids": null, "intent": "TANYA", "complaint_id": 7
        }))
        .unwrap();
        assert!(reply.contacts.is_empty() && reply.village_id.is_none());
        assert!(!format!("{reply:?}").contains("Baik"));
        assert!(serde_json::from_value::<AiReply>(json!({"wa_user_id": "628", "reply_text": 7})).is_err());
    }
}
