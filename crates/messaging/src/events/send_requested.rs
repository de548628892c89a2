//! Somebody wants a message sent.

use domain::ids::{AccountId, ProviderMessageId};
use domain::message::MessageContent;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::envelope::Event;

/// The order to send one message. Asking twice with the same `request_id` sends once.
#[derive(Clone, Serialize, Deserialize)]
pub struct SendRequested {
    /// Chosen by whoever asks, unique within the tenant.
    pub request_id: Uuid,
    /// The tenant's sender.
    pub account_id: AccountId,
    /// Canonical address of the person: `628…@s.whatsapp.net`, `…@lid`.
    pub to: String,
    /// The words, 1 to 65,536 characters, when the message is nothing but words. Empty beside `content`: a service that
    /// does not know `content` then refuses the order, instead of sending something else.
    #[serde(default)]
    pub text: String,
    /// What to send, in the domain's JSON: text, media, location, contacts, reaction, edit or revoke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<MessageContent>,
    /// The provider's id of the message that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quoted: Option<ProviderMessageId>,
    /// Repeated in every status of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The `request_id` of an earlier order that this one takes the place of: if it was put aside, nobody sends it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Uuid>,
}

impl std::fmt::Debug for SendRequested {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SendRequested")
            .field("request_id", &self.request_id)
            .field("account_id", &self.account_id)
            .finish_non_exhaustive()
    }
}

impl Event for SendRequested {
    const TYPE: &'static str = "message.send_requested";
    const VERSION: u16 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_of_words_alone_is_read_as_ever() {
        let json = r#"{"request_id":"01a1fc04-ca24-7478-bdff-1753d7ca7de5",
            "account_id":"01a1fc04-ca24-7478-bdff-1753d7ca7de6","to":"6281290000011@s.whatsapp.net","text":"Baik"}"#;
        let order: SendRequested = serde_json::from_str(json).unwrap();
        assert_eq!((order.text.as_str(), order.content.is_none()), ("Baik", true));
        let again = serde_json::to_value(&order).unwrap();
        assert!(again.get("content").is_none() && again.get("quoted").is_none());
        assert!(again.get("replaces").is_none());
    }
}
