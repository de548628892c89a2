//! What becomes of agents' messages (contract 3.4).

use reqwest::Method;

use super::client::ChatwootApi;
use super::error::ChatwootError;
use super::wire::{ShownStatus, StatusBody};

impl ChatwootApi<'_> {
    /// Shows an agent what became of a message.
    pub async fn set_status(
        &self,
        conversation: i64,
        message: i64,
        status: ShownStatus,
        external_error: Option<&str>,
    ) -> Result<(), ChatwootError> {
        let path = format!("/conversations/{conversation}/messages/{message}");
        let body = StatusBody {
            status,
            external_error,
        };
        let _answer: serde_json::Value = self.call("set_status", Method::PATCH, &path, Some(&body)).await?;
        Ok(())
    }
}
