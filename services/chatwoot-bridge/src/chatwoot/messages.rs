//! Messages (contract 3.4).

use reqwest::Method;

use super::client::{ChatwootApi, NOTHING};
use super::error::ChatwootError;
use super::wire::{Listed, Message, MessageBody, QuoteBody};

/// A message to be made.
#[derive(Clone, Copy)]
pub struct NewMessage<'a> {
    /// What agents read.
    pub content: &'a str,
    /// The mark by which we find it again.
    pub source_id: &'a str,
    /// The mark of the message it answers, and that message's id in Chatwoot where known.
    pub quoted: Option<(&'a str, Option<i64>)>,
}

impl ChatwootApi<'_> {
    /// The newest messages of a conversation, or those before a message: a page of about 20, oldest first.
    pub async fn messages(
        &self,
        conversation: i64,
        before: Option<i64>,
    ) -> Result<Vec<Message>, ChatwootError> {
        let path = match before {
            Some(id) => format!("/conversations/{conversation}/messages?before={id}"),
            None => format!("/conversations/{conversation}/messages"),
        };
        let listed: Listed<Message> = self.call("list_messages", Method::GET, &path, NOTHING).await?;
        Ok(listed.payload)
    }

    /// Makes a message of the contact. Chatwoot makes two when asked twice.
    pub async fn create_incoming(
        &self,
        conversation: i64,
        message: NewMessage<'_>,
    ) -> Result<Message, ChatwootError> {
        let body = MessageBody {
            content: message.content,
            message_type: "incoming",
            private: false,
            source_id: message.source_id,
            content_attributes: message.quoted.map(|(external, id)| QuoteBody {
                in_reply_to_external_id: external,
                in_reply_to: id,
            }),
        };
        let path = format!("/conversations/{conversation}/messages");
        self.call("create_message", Method::POST, &path, Some(&body))
            .await
    }
}
