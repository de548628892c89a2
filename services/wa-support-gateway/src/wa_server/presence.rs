//! Showing a chat that somebody types (contract §7.7).

use std::time::Duration;

use secrecy::SecretString;
use serde_json::json;

use super::{WaServer, secret_header};

/// Nobody waits longer for a courtesy.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// What a chat is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Somebody types.
    Composing,
    /// Nobody does.
    Paused,
}

impl WaServer {
    /// Shows it. False when the WA server did not.
    pub(crate) async fn presence(&self, token: &SecretString, phone: &str, presence: Presence) -> bool {
        let Some(token) = secret_header(token) else {
            return false;
        };
        let state = match presence {
            Presence::Composing => "composing",
            Presence::Paused => "paused",
        };
        let call = self
            .client
            .post(self.url("/chat/presence"))
            .timeout(CALL_TIMEOUT)
            .header("token", token)
            .json(&json!({"Phone": phone, "State": state, "Media": ""}));
        match call.send().await {
            Ok(answer) => answer.status().is_success(),
            Err(error) => {
                tracing::debug!(error = ?error.without_url(), "a chat was not shown that somebody types");
                false
            }
        }
    }
}
