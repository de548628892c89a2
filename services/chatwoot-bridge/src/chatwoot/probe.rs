//! The calls of a self-test: a contact of our own, a conversation with it, and messages that agents can tell from
//! people's; and why a token is refused.

use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde_json::json;

use super::client::{ChatwootApi, NOTHING};
use super::error::ChatwootError;
use super::wire::{Contact, ContactCreated, Conversation, Listed, Message};

/// The contact of self-tests; each inbox has one.
const NAME: &str = "kanal-test";

/// Why a token is refused (contract 3.1; 6, 23).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenRefusal {
    /// Chatwoot saw a token, and it is not one of its.
    Wrong,
    /// Chatwoot saw no token: something between here and there drops the header.
    NotSeen,
    /// The token is somebody's who may not do that: an agent's or a bot's, or one of another account.
    NoRight,
    /// Refused in words that we do not know.
    Unclear,
}

impl TokenRefusal {
    /// What to do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Wrong => {
                "Chatwoot does not know this token: copy the access token of an administrator again, from the profile settings"
            }
            Self::NotSeen => {
                "The token did not reach Chatwoot: a proxy in front of it drops the header api_access_token, as nginx does \
                 with every name that has an underscore unless underscores_in_headers is on"
            }
            Self::NoRight => {
                "The token is good, but not for this account's inboxes: it must be an administrator's of the account"
            }
            Self::Unclear => "Chatwoot refuses the token and does not say why",
        }
    }
}

#[derive(Serialize)]
struct TestMessage<'a> {
    content: &'a str,
    message_type: &'static str,
    source_id: &'a str,
}

impl ChatwootApi<'_> {
    /// Why does Chatwoot refuse the token? `None`: it does not.
    pub async fn token_refusal(&self) -> Result<Option<TokenRefusal>, ChatwootError> {
        let (status, body) = self.look("/inboxes").await?;
        if status != StatusCode::UNAUTHORIZED {
            return Ok(None);
        }
        let words = String::from_utf8_lossy(&body[..body.len().min(4096)]).to_ascii_lowercase();
        Ok(Some(if words.contains("invalid access token") {
            TokenRefusal::Wrong
        } else if words.contains("sign in") {
            TokenRefusal::NotSeen
        } else if words.contains("not authorized") {
            TokenRefusal::NoRight
        } else {
            TokenRefusal::Unclear
        }))
    }

    /// A conversation with our own contact in the inbox.
    pub async fn test_conversation(&self) -> Result<i64, ChatwootError> {
        let identifier = format!("{NAME}-{}", self.inbox_id());
        let wanted = json!({"payload": [{"attribute_key": "identifier", "filter_operator": "equal_to",
            "values": [identifier], "query_operator": null}]});
        let found: Listed<Contact> = self
            .call("find_contact", Method::POST, "/contacts/filter", Some(&wanted))
            .await?;
        let found = found
            .payload
            .into_iter()
            .find(|contact| contact.identifier.as_deref() == Some(identifier.as_str()));
        let contact = match found {
            Some(contact) => contact,
            None => {
                let new = json!({"inbox_id": self.inbox_id(), "name": NAME, "identifier": identifier,
                    "source_id": identifier});
                let made: ContactCreated = self
                    .call("create_contact", Method::POST, "/contacts", Some(&new))
                    .await?;
                made.payload.contact
            }
        };
        let path = format!("/contacts/{}/conversations", contact.id);
        let listed: Listed<Conversation> = self
            .call("list_conversations", Method::GET, &path, NOTHING)
            .await?;
        let here = |conversation: &Conversation| conversation.inbox_id == Some(self.inbox_id());
        if let Some(known) = listed.payload.into_iter().filter(here).max_by_key(|one| one.id) {
            return Ok(known.id);
        }
        let new = json!({"inbox_id": self.inbox_id(), "contact_id": contact.id, "source_id": identifier});
        let made: Conversation = self
            .call("create_conversation", Method::POST, "/conversations", Some(&new))
            .await?;
        Ok(made.id)
    }

    /// A message of the contact's or, `to_contact`, of ours. Chatwoot makes two when asked twice.
    pub async fn create_test_message(
        &self,
        conversation: i64,
        content: &str,
        source_id: &str,
        to_contact: bool,
    ) -> Result<i64, ChatwootError> {
        let body = TestMessage {
            content,
            message_type: if to_contact { "outgoing" } else { "incoming" },
            source_id,
        };
        let path = format!("/conversations/{conversation}/messages");
        let made: Message = self
            .call("create_message", Method::POST, &path, Some(&body))
            .await?;
        Ok(made.id)
    }
}
