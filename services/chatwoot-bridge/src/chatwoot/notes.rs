//! Notes among agents.

use reqwest::Method;
use serde::Serialize;

use super::client::ChatwootApi;
use super::error::ChatwootError;

#[derive(Serialize)]
struct NoteBody<'a> {
    content: &'a str,
    message_type: &'static str,
    private: bool,
}

impl ChatwootApi<'_> {
    /// Writes a note that only agents see. Chatwoot writes two when asked twice.
    ///
    /// # Errors
    /// [`ChatwootError`].
    pub async fn create_note(&self, conversation: i64, content: &str) -> Result<(), ChatwootError> {
        let body = NoteBody {
            content,
            message_type: "outgoing",
            private: true,
        };
        let path = format!("/conversations/{conversation}/messages");
        let _answer: serde_json::Value = self.call("create_note", Method::POST, &path, Some(&body)).await?;
        Ok(())
    }
}
