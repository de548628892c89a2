//! Conversations (contract 3.3).

use reqwest::Method;

use super::client::{ChatwootApi, NOTHING};
use super::error::ChatwootError;
use super::wire::{Conversation, ConversationBody, ConversationStatusBody, Listed};

impl ChatwootApi<'_> {
    /// A contact's conversations.
    pub async fn conversations_of(&self, contact: i64) -> Result<Vec<Conversation>, ChatwootError> {
        let path = format!("/contacts/{contact}/conversations");
        let listed: Listed<Conversation> = self
            .call("list_conversations", Method::GET, &path, NOTHING)
            .await?;
        Ok(listed.payload)
    }

    /// A conversation as it is now.
    pub async fn conversation(&self, id: i64) -> Result<Conversation, ChatwootError> {
        let path = format!("/conversations/{id}");
        self.call("show_conversation", Method::GET, &path, NOTHING).await
    }

    /// Opens a conversation; in another status than open, where one is named.
    pub async fn create_conversation(
        &self,
        contact: i64,
        source_id: &str,
        status: Option<&'static str>,
    ) -> Result<Conversation, ChatwootError> {
        let body = ConversationBody {
            inbox_id: self.inbox_id(),
            contact_id: contact,
            source_id,
            status,
        };
        self.call("create_conversation", Method::POST, "/conversations", Some(&body))
            .await
    }

    /// Gives a conversation another status. The same again changes nothing.
    pub async fn set_conversation_status(&self, id: i64, status: &'static str) -> Result<(), ChatwootError> {
        let path = format!("/conversations/{id}/toggle_status");
        let body = ConversationStatusBody { status };
        let _answer: serde_json::Value = self
            .call("set_conversation_status", Method::POST, &path, Some(&body))
            .await?;
        Ok(())
    }
}
