//! Looking through what is in an inbox, and the conversation in which agents are told about it (contract 3.2 to 3.4).

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{ChatwootApi, NOTHING};
use super::error::ChatwootError;

/// Who agents' notices come from: identifier and source id of a contact of ours.
const NOTICES: &str = "kanal-notices";

#[derive(Deserialize)]
struct Conversations {
    #[serde(default)]
    data: ConversationsData,
}

#[derive(Default, Deserialize)]
struct ConversationsData {
    #[serde(default)]
    payload: Vec<Value>,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    payload: Vec<Value>,
}

/// A message as Chatwoot's API shows it, whole.
#[derive(Debug, Clone)]
pub struct ShownMessage(Value);

impl ShownMessage {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> Option<i64> {
        self.0["id"].as_i64()
    }

    /// What its creator set.
    #[must_use]
    pub fn source_id(&self) -> &str {
        self.0["source_id"].as_str().unwrap_or_default()
    }

    /// What an agent, a bot or the inbox itself said to the person: the word that webhooks have for it.
    #[must_use]
    pub fn outgoing(&self) -> Option<&'static str> {
        let is_private = self.0["private"].as_bool().unwrap_or(false);
        match &self.0["message_type"] {
            _ if is_private => None,
            Value::Number(kind) if kind.as_i64() == Some(1) => Some("outgoing"),
            Value::Number(kind) if kind.as_i64() == Some(3) => Some("template"),
            Value::String(kind) if kind == "outgoing" => Some("outgoing"),
            Value::String(kind) if kind == "template" => Some("template"),
            _ => None,
        }
    }

    /// When Chatwoot stored it: unix seconds in lists, text elsewhere.
    #[must_use]
    pub fn created_at(&self) -> Option<DateTime<Utc>> {
        time(&self.0["created_at"])
    }

    /// It stands as sent, without a word about a failure.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        let error = &self.0["content_attributes"]["external_error"];
        self.0["status"] == "sent" && (error.is_null() || *error == "")
    }

    /// It was deleted.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        let deleted = &self.0["content_attributes"]["deleted"];
        *deleted == true || *deleted == "true"
    }

    /// The webhook that would tell of it.
    #[must_use]
    pub fn as_event(&self, event: &str, account: i64, conversation: &ShownConversation) -> Value {
        let shown = &self.0;
        let mut body = json!({
            "event": event, "id": shown["id"], "content": shown["content"],
            "content_type": shown["content_type"], "content_attributes": shown["content_attributes"],
            "additional_attributes": shown["additional_attributes"], "created_at": shown["created_at"],
            "message_type": self.outgoing(), "private": false, "source_id": shown["source_id"],
            "sender": shown["sender"], "inbox": {"id": conversation.0["inbox_id"]}, "account": {"id": account},
            "conversation": conversation.0,
        });
        if let Some(attachments) = shown.get("attachments").filter(|it| it.is_array()) {
            body["attachments"] = attachments.clone();
        }
        body
    }
}

/// A conversation as Chatwoot's API shows it, whole.
#[derive(Debug, Clone)]
pub struct ShownConversation(Value);

impl ShownConversation {
    /// Display id.
    #[must_use]
    pub fn id(&self) -> Option<i64> {
        self.0["id"].as_i64()
    }

    /// When something last happened in it.
    #[must_use]
    pub fn last_activity_at(&self) -> Option<DateTime<Utc>> {
        time(&self.0["last_activity_at"])
    }

    /// Names the contact's place in the inbox, which webhooks do and lists may not.
    pub fn with_source(&mut self, source_id: &str) {
        if self.0["contact_inbox"]["source_id"].is_null() {
            self.0["contact_inbox"] = json!({"source_id": source_id});
        }
    }
}

fn time(value: &Value) -> Option<DateTime<Utc>> {
    match value {
        Value::Number(seconds) => DateTime::from_timestamp(seconds.as_i64()?, 0),
        Value::String(text) => DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc()),
        _ => None,
    }
}

impl ChatwootApi<'_> {
    /// The inbox's conversations in whatever state, those first in which something happened last: a page of 25, from 1.
    pub async fn conversations_by_activity(
        &self,
        page: i64,
    ) -> Result<Vec<ShownConversation>, ChatwootError> {
        let path = format!(
            "/conversations?inbox_id={}&status=all&assignee_type=all&sort_by=last_activity_at_desc&page={page}",
            self.inbox_id()
        );
        let listed: Conversations = self
            .call("list_all_conversations", Method::GET, &path, NOTHING)
            .await?;
        Ok(listed.data.payload.into_iter().map(ShownConversation).collect())
    }

    /// The newest messages of a conversation, or those before a message, whole: a page of about 20.
    pub async fn shown_messages(
        &self,
        conversation: i64,
        before: Option<i64>,
    ) -> Result<Vec<ShownMessage>, ChatwootError> {
        let path = match before {
            Some(id) => format!("/conversations/{conversation}/messages?before={id}"),
            None => format!("/conversations/{conversation}/messages"),
        };
        let listed: Payload = self.call("show_messages", Method::GET, &path, NOTHING).await?;
        Ok(listed.payload.into_iter().map(ShownMessage).collect())
    }

    /// The conversation in which agents are told about the inbox, found or made.
    pub async fn notices_conversation(&self) -> Result<i64, ChatwootError> {
        let contact = match self.notices_contact().await? {
            Some(contact) => contact,
            None => {
                let body = json!({
                    "inbox_id": self.inbox_id(), "name": "Kanal", "identifier": NOTICES, "source_id": NOTICES,
                });
                let made: Result<Value, _> = self
                    .call("create_contact", Method::POST, "/contacts", Some(&body))
                    .await;
                match made {
                    Ok(made) => id(&made["payload"]["contact"])?,
                    // Another inbox of the account was faster.
                    Err(ChatwootError::Taken) => self.notices_contact().await?.ok_or(ChatwootError::Taken)?,
                    Err(error) => return Err(error),
                }
            }
        };
        let path = format!("/contacts/{contact}/conversations");
        let listed: Payload = self
            .call("list_conversations", Method::GET, &path, NOTHING)
            .await?;
        let own = listed
            .payload
            .iter()
            .find(|conversation| conversation["inbox_id"].as_i64() == Some(self.inbox_id()));
        if let Some(own) = own {
            return id(own);
        }
        let body = json!({"inbox_id": self.inbox_id(), "contact_id": contact, "source_id": NOTICES});
        let made: Value = self
            .call("create_conversation", Method::POST, "/conversations", Some(&body))
            .await?;
        id(&made)
    }

    async fn notices_contact(&self) -> Result<Option<i64>, ChatwootError> {
        let body = json!({"payload": [{
            "attribute_key": "identifier", "filter_operator": "equal_to", "values": [NOTICES],
            "query_operator": null,
        }]});
        let listed: Payload = self
            .call("find_contact", Method::POST, "/contacts/filter", Some(&body))
            .await?;
        let own = listed
            .payload
            .iter()
            .find(|contact| contact["identifier"] == NOTICES);
        own.map(id).transpose()
    }

    /// Writes a note that only agents see.
    pub async fn create_notice(
        &self,
        conversation: i64,
        words: &str,
        source_id: &str,
    ) -> Result<(), ChatwootError> {
        let body = json!({
            "content": words, "message_type": "outgoing", "private": true, "source_id": source_id,
        });
        let path = format!("/conversations/{conversation}/messages");
        let _made: Value = self
            .call("create_notice", Method::POST, &path, Some(&body))
            .await?;
        Ok(())
    }
}

fn id(value: &Value) -> Result<i64, ChatwootError> {
    value["id"].as_i64().ok_or(ChatwootError::NoAnswer {
        what: "unreadable",
        settled_in: None,
        outage: false,
    })
}
