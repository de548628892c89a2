//! Conversations (contract 3.3).

use reqwest::Method;

use super::client::{ChatwootApi, NOTHING};
use super::error::ChatwootError;
use super::wire::{Conversation, ConversationBody, Listed};

impl ChatwootApi<'_> {
    /// A contact's conversations.
    pub async fn conversations_of(&self, contact: i64) -> Result<Vec<Conversation>, ChatwootError> {
        let path = format!("/contacts/{contact}/conversations");
        let listed: Listed<Conversation> = self
            .call("list_conversations", Method::GET, &path, NOTHING)
            .await?;
        Ok(listed.payload)
    }

    /// Opens a conversation.
    pub async fn create_conversation(
        &self,
        contact: i64,
        source_id: &str,
    ) -> Result<Conversation, ChatwootError> {
        let body = ConversationBody {
            inbox_id: self.inbox_id(),
            contact_id: contact,
            source_id,
        };
        self.call("create_conversation", Method::POST, "/conversations", Some(&body))
            .await
    }
}
