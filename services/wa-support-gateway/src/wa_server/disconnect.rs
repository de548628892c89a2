//! Taking a session off WhatsApp without signing it out (WA server contract, `POST /session/disconnect`).

use std::time::Duration;

use reqwest::StatusCode;
use secrecy::SecretString;

use super::{WaServer, secret_header};

/// The WA server does it at once.
const TIMEOUT: Duration = Duration::from_secs(8);

/// Longest answer that is looked at.
const ANSWER_LIMIT: usize = 4096;

/// What it says of a session that has no connection to take away.
const NOTHING_TO_DO: [&str; 2] = ["no session", "cannot disconnect because it is not logged in"];

/// Why a session may still be connected.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(crate) enum StillConnected {
    /// The WA server cannot be reached.
    #[error("the WA server does not answer")]
    Unreachable,
    /// It refused.
    #[error("the WA server answers {0}")]
    Refused(u16),
    /// A secret that cannot be a header.
    #[error("the token cannot be sent as a header")]
    ImpossibleToken,
}

impl WaServer {
    /// Takes the session off WhatsApp; one that is off, or that the WA server does not know, is left so.
    ///
    /// # Errors
    /// [`StillConnected`]; trying again is safe.
    pub(crate) async fn disconnect(&self, token: &SecretString) -> Result<(), StillConnected> {
        let token = secret_header(token).ok_or(StillConnected::ImpossibleToken)?;
        let request = self
            .client
            .post(self.url("/session/disconnect"))
            .header("token", token);
        let answer = request.timeout(TIMEOUT).send().await;
        let mut answer = answer.map_err(|_| StillConnected::Unreachable)?;
        let status = answer.status();
        if status.is_success() || status == StatusCode::UNAUTHORIZED {
            return Ok(());
        }
        let mut body = Vec::new();
        while let Ok(Some(piece)) = answer.chunk().await {
            body.extend_from_slice(&piece);
            if body.len() > ANSWER_LIMIT {
                break;
            }
        }
        let said: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let error = said
            .as_ref()
            .and_then(|said| said.get("error")?.as_str())
            .unwrap_or_default();
        if NOTHING_TO_DO.contains(&error) {
            Ok(())
        } else {
            Err(StillConnected::Refused(status.as_u16()))
        }
    }
}
