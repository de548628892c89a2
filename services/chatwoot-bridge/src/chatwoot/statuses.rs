//! What becomes of agents' messages (contract 3.4).

use reqwest::Method;

use serde_json::Value;

use super::client::{ChatwootApi, NOTHING};
use super::error::ChatwootError;
use super::wire::{Listed, ShownStatus, StatusBody};

/// An agent's message as Chatwoot has it now.
#[derive(Clone)]
pub struct AgentsMessage(Value);

impl std::fmt::Debug for AgentsMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentsMessage").finish_non_exhaustive()
    }
}

impl AgentsMessage {
    /// All that Chatwoot says of it.
    #[must_use]
    pub const fn json(&self) -> &Value {
        &self.0
    }

    /// Is it shown as sent, without an error, and not deleted?
    #[must_use]
    pub fn is_unharmed(&self) -> bool {
        let attribute = |key: &str| self.0.get("content_attributes").and_then(|all| all.get(key));
        let is_set = |key: &str| !matches!(attribute(key), None | Some(Value::Null | Value::Bool(false)));
        self.0.get("status").and_then(Value::as_str) == Some("sent")
            && !is_set("external_error")
            && !is_set("deleted")
    }
}

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
    /// A message as it is now. `None`: the conversation has no such message.
    pub async fn message(
        &self,
        conversation: i64,
        message: i64,
    ) -> Result<Option<AgentsMessage>, ChatwootError> {
        // There is no way to ask for one: the newest before the next id are a page of which it is the last.
        let before = message.saturating_add(1);
        let path = format!("/conversations/{conversation}/messages?before={before}");
        let listed: Listed<Value> = self.call("find_message", Method::GET, &path, NOTHING).await?;
        let found = listed
            .payload
            .into_iter()
            .find(|listed| listed.get("id").and_then(Value::as_i64) == Some(message));
        Ok(found.map(AgentsMessage))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unharmed_is_sent_and_nothing_else() {
        let unharmed = |json: Value| AgentsMessage(json).is_unharmed();
        assert!(unharmed(json!({"status": "sent"})));
        assert!(unharmed(
            json!({"status": "sent", "content_attributes": {"external_error": null, "in_reply_to": 1}})
        ));
        for harmed in [
            json!({}),
            json!({"status": "failed"}),
            json!({"status": "delivered"}),
            json!({"status": "sent", "content_attributes": {"external_error": "x"}}),
            json!({"status": "sent", "content_attributes": {"deleted": true}}),
        ] {
            assert!(!unharmed(harmed.clone()), "{harmed}");
        }
    }
}
